"""What people can be told of: a closed list of facts, whom each can be told to, and what its messages can say."""

from dataclasses import dataclass
from enum import StrEnum

from contracts.envelope import EVENTS, Event
from contracts.notifications import Recipient
from contracts.outcomes import FollowUpDue
from contracts.registry import VerificationAssigned
from contracts.training import ParticipantCompleted, ParticipantEnrolled, ParticipantReplaced


class Place(StrEnum):
    """What can stand in a template's braces."""

    NAME = "name"  # of whom the message goes to
    PARTICIPANT = "participant"  # the name of whom it is about
    AREA = "area"  # where the participant lives
    COURSE = "course"
    COHORT = "cohort"  # its number, as people call it
    VENUE = "venue"
    STARTS_ON = "starts_on"
    ENDS_ON = "ends_on"
    DAYS = "days"  # how many days the cohort meets
    CONFIRM_BY = "confirm_by"
    ATTENDANCE_PERCENT = "attendance_percent"
    DUE_ON = "due_on"
    VISIT_BY = "visit_by"  # the last day on which a follow-up counts as in time
    FOLLOW_UP = "follow_up"  # months after completion
    TOLD_ON = "told_on"  # the day of the fact
    TOLD_AT = "told_at"  # its time of day


class Kind(StrEnum):
    """How the value of a place is written."""

    TEXT = "text"
    AREA = "area"  # a code, shown as the names of village, kecamatan, kabupaten
    DATE = "date"
    TIME = "time"
    NUMBER = "number"


NAMES = frozenset({Place.NAME, Place.PARTICIPANT})
"""Looked up when a message is sent: they are on no log."""

KINDS: dict[Place, Kind] = dict.fromkeys(Place, Kind.TEXT) | {
    Place.AREA: Kind.AREA,
    Place.STARTS_ON: Kind.DATE,
    Place.ENDS_ON: Kind.DATE,
    Place.CONFIRM_BY: Kind.DATE,
    Place.DUE_ON: Kind.DATE,
    Place.VISIT_BY: Kind.DATE,
    Place.TOLD_ON: Kind.DATE,
    Place.TOLD_AT: Kind.TIME,
    Place.DAYS: Kind.NUMBER,
    Place.ATTENDANCE_PERCENT: Kind.NUMBER,
    Place.FOLLOW_UP: Kind.NUMBER,
}

_ALWAYS = frozenset({Place.NAME, Place.AREA, Place.TOLD_ON, Place.TOLD_AT})
_CLASS = frozenset(
    {
        Place.COURSE,
        Place.COHORT,
        Place.VENUE,
        Place.STARTS_ON,
        Place.ENDS_ON,
        Place.DAYS,
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A kind of fact that a rule may name."""

    event: type[Event]
    recipients: frozenset[Recipient]
    places: frozenset[Place]
    remind_before: Place | None = None  # the day before which a reminder can be wanted


_PARTICIPANT = frozenset({Recipient.PARTICIPANT})
_BOTH = frozenset({Recipient.PARTICIPANT, Recipient.FACILITATOR})
_PLACE_GIVEN = _ALWAYS | _CLASS | {Place.CONFIRM_BY}


def name_of(event: type[Event]) -> str:
    """The name by which rules call a fact: "training.ParticipantEnrolled"."""
    return f"{event.topic.partition('.')[0]}.{event.__name__}"


def _named(*facts: Fact) -> dict[str, Fact]:
    return {name_of(fact.event): fact for fact in facts}


FACTS = _named(
    Fact(ParticipantEnrolled, _PARTICIPANT, _PLACE_GIVEN, Place.STARTS_ON),
    Fact(ParticipantReplaced, _PARTICIPANT, _PLACE_GIVEN, Place.STARTS_ON),
    Fact(ParticipantCompleted, _PARTICIPANT, _ALWAYS | _CLASS | {Place.ATTENDANCE_PERCENT}),
    Fact(VerificationAssigned, _BOTH, _ALWAYS | {Place.PARTICIPANT, Place.DUE_ON}, Place.DUE_ON),
    Fact(
        FollowUpDue,
        _BOTH,
        _ALWAYS | {Place.PARTICIPANT, Place.FOLLOW_UP, Place.DUE_ON, Place.VISIT_BY},
        Place.VISIT_BY,
    ),
)
"""By the name that a rule gives."""

BULK = frozenset({"registry.households", "registry.snapshots"})
"""Topics of lists with hundreds of thousands of people: nobody is told of what a list says."""


def is_of_bulk_listing(name: str) -> bool:
    """Whether "registry.HouseholdListed", say, is a fact by which lists come in."""
    return any(event.topic in BULK and name == name_of(event) for event in EVENTS.values())
