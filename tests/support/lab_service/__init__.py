"""A small real service of the lab's facts: `python -m tests.support.lab_service api|worker|migrate|topics`.

The name of the lab stands in the environment variable LAB, so that several processes and their test share it.
"""
