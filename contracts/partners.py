"""The facts that other government systems publish to us, and what we tell them when a message cannot be taken.

A partner knows a person by the NIK only: partner topics are the one place where it travels, kept for seven days and
readable by the service that takes them in alone.
"""

from datetime import date

from contracts.envelope import Event, Open, Personal, Pseudonymous, Value

# --- partners.dukcapil: the civil registry ----------------------------------------------------------------------------


class CivilRegistryFact(Event, topic="partners.dukcapil", key="national_id"):
    national_id: Personal[str]  # NIK, 16 digits


class IdentityMatched(CivilRegistryFact):
    """The civil registry compared a person with its records."""

    matched: Personal[bool]


class DeathRecorded(CivilRegistryFact):
    """A death was registered."""

    died_on: Personal[date]


class HouseholdMoved(CivilRegistryFact):
    """The head of a household registered a move of the whole household."""

    to_area_code: Personal[str]  # a village, dotted or not
    moved_on: Personal[date]


# --- What we answer ---------------------------------------------------------------------------------------------------


class Fault(Value):
    """What is wrong in a message: where, why, and what to do. Never the value itself."""

    field: Open[str]
    reason: Open[str]
    remedy: Open[str]


class RejectionFact(Event, topic="partners.dukcapil.rejected", key="rejection_id"):
    rejection_id: Open[str]


class MessageRejected(RejectionFact):
    """A partner's message was not taken in. It is kept sealed for 90 days; publish it again, mended, with a new id."""

    system: Open[str]
    message_id: Pseudonymous[str | None] = None  # the message's own ce_id, where it had a readable one
    message_type: Open[str | None] = None
    partition: Open[int]
    offset: Open[int]
    faults: Open[tuple[Fault, ...]]
