"""The oracle: a plain model of what must be true, told by the test's own script what happened.

Imports nothing of ours, so that a mistake of the services cannot be its mistake too. It knows the rules from
their description alone: what a list does to the households that it names, who goes first, who gets a place. It is told
what was accepted, never what was refused; ids that services give are told to it with what they belong to.
"""

from tests.journeys.oracle.model import Oracle

__all__ = ["Oracle"]
