"""What outcomes keeps of the registry's facts: who completed a training, and how their households stood at each time.

Rows keep short histories, each state with the instant of the fact that brought it: a baseline is asked "as of" an
instant, and must not depend on what arrived first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from contracts.envelope import Envelope, Event, Open, Pseudonymous, Value
from contracts.registry import (
    AgeBand,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdListed,
    HouseholdRankChanged,
    LivingConditions,
    MemberLeft,
    ParticipantCorrected,
    ParticipantNominated,
    ParticipantRejected,
    ParticipantRelocated,
    ParticipantVerified,
    PersonErased,
    Rank,
    RejectionReason,
    Sex,
    VerificationAssigned,
    VerificationExpired,
    VisitRecorded,
)
from services.kit.table import Table, present, replace


class PersonStatus(StrEnum):
    NOMINATED = "nominated"
    ASSIGNED = "assigned"
    VISITED = "visited"
    VERIFIED = "verified"
    EXPIRED = "expired"
    REJECTED = "rejected"
    ERASED = "erased"


class HomeStatus(StrEnum):
    LISTED = "listed"
    DELISTED = "delisted"


ENDED = frozenset({PersonStatus.REJECTED, PersonStatus.ERASED})
"""The registry takes nobody back who was rejected or erased."""


class PersonThen(Value):
    """What was known of a person from an instant on."""

    since: Open[datetime]
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    verified_at: Pseudonymous[datetime | None] = None  # None: not verified yet
    conditions: Pseudonymous[LivingConditions | None] = None  # as the visit saw them that the verification stands on


class HomeThen(Value):
    """How a household stood from an instant on."""

    since: Open[datetime]
    area_code: Open[str]
    people: Pseudonymous[int]
    rank: Pseudonymous[Rank]
    conditions: Pseudonymous[LivingConditions]


class Visit(Value):
    """What a visit saw, kept until a verification stands on it."""

    visit_id: Pseudonymous[str]
    conditions: Pseudonymous[LivingConditions | None] = None


@dataclass(frozen=True, slots=True)
class Person:
    """A person whom the registry considers, or considered, for the programme."""

    participant_id: str
    version: int
    area_code: str  # where they live now
    household_id: str
    status: PersonStatus
    rejected_because: RejectionReason | None
    sex: Sex
    age_band: AgeBand
    facilitator_id: str | None  # who was last asked to visit them, or did
    verified_since: datetime | None  # the instant of the first ParticipantVerified
    visits: tuple[Visit, ...]
    history: tuple[PersonThen, ...]
    sealed: str | None  # PersonDetails
    sealed_by: str | None


@dataclass(frozen=True, slots=True)
class Home:
    """A household of the targeting list, now and before."""

    household_id: str
    version: int
    area_code: str
    status: HomeStatus
    people: int
    decile: int
    percentile: int | None
    listed_since: datetime  # the instant of the first HouseholdListed
    members: tuple[str, ...]  # everybody who was ever listed with it
    history: tuple[HomeThen, ...]


# --- People -----------------------------------------------------------------------------------------------------------


def evolve_person(person: Person | None, event: Event, envelope: Envelope) -> Person | None:
    match event:
        case ParticipantNominated():
            return _nominated(event, envelope)
        case PersonErased():
            return _erased(person, event, envelope)
    person = present(person, envelope)
    match event:
        case ParticipantRelocated():
            return replace(person, area_code=event.area_code)
    if person.status is PersonStatus.ERASED:
        return person
    match event:
        case VerificationAssigned():
            return replace(person, status=PersonStatus.ASSIGNED, facilitator_id=event.facilitator_id)
        case VisitRecorded():
            seen = Visit(visit_id=event.visit_id, conditions=event.conditions)
            return replace(
                person,
                status=PersonStatus.VISITED,
                facilitator_id=event.facilitator_id,
                visits=(*person.visits, seen),
            )
        case ParticipantVerified():
            return _verified(person, event, envelope)
        case ParticipantRejected():
            because = person.rejected_because or event.reason  # What ended it first.
            return replace(person, status=PersonStatus.REJECTED, rejected_because=because)
        case VerificationExpired():
            return replace(person, status=PersonStatus.EXPIRED)
        case ParticipantCorrected():
            corrected = replace(person, sex=event.sex, age_band=event.age_band)
            return _with_details(_from_now_on(corrected, envelope, person.history[-1]), event, envelope)
        case _:
            return person


def _nominated(event: ParticipantNominated, envelope: Envelope) -> Person:
    known = PersonThen(since=envelope.time, sex=event.sex, age_band=event.age_band)
    person = Person(
        participant_id=event.participant_id,
        version=envelope.version,
        area_code=event.area_code,
        household_id=event.household_id,
        status=PersonStatus.NOMINATED,
        rejected_because=None,
        sex=event.sex,
        age_band=event.age_band,
        facilitator_id=None,
        verified_since=None,
        visits=(),
        history=(known,),
        sealed=None,
        sealed_by=None,
    )
    return _with_details(person, event, envelope)


def _verified(person: Person, event: ParticipantVerified, envelope: Envelope) -> Person:
    seen = next((visit.conditions for visit in person.visits if visit.visit_id == event.visit_id), None)
    verified = replace(
        person,
        area_code=event.area_code,
        household_id=event.household_id,
        status=PersonStatus.VERIFIED,
        sex=event.sex,
        age_band=event.age_band,
        verified_since=person.verified_since or envelope.time,
        visits=(),
    )
    known = PersonThen(
        since=envelope.time,
        sex=event.sex,
        age_band=event.age_band,
        verified_at=event.verified_at,
        conditions=seen,
    )
    return _with_details(_from_now_on(verified, envelope, known), event, envelope)


def _from_now_on(person: Person, envelope: Envelope, known: PersonThen) -> Person:
    now = replace(known, since=envelope.time, sex=person.sex, age_band=person.age_band)
    return replace(person, history=(*person.history, now))


def _with_details(
    person: Person, event: ParticipantNominated | ParticipantVerified | ParticipantCorrected, envelope: Envelope
) -> Person:
    sealed = event.personal.get(person.participant_id)
    return replace(person, sealed=sealed, sealed_by=envelope.id) if isinstance(sealed, str) else person


def _erased(person: Person | None, event: PersonErased, envelope: Envelope) -> Person:
    if person is not None:
        return replace(person, status=PersonStatus.ERASED, visits=(), sealed=None, sealed_by=None)
    return Person(
        participant_id=event.participant_id,
        version=envelope.version,
        area_code=event.area_code,
        household_id=event.household_id,
        status=PersonStatus.ERASED,
        rejected_because=None,
        sex=Sex.UNKNOWN,
        age_band=AgeBand.UNKNOWN,
        facilitator_id=None,
        verified_since=None,
        visits=(),
        history=(),
        sealed=None,
        sealed_by=None,
    )


# --- Homes ------------------------------------------------------------------------------------------------------------


def evolve_home(home: Home | None, event: Event, envelope: Envelope) -> Home | None:
    match event:
        case HouseholdListed():
            return _listed(home, event, envelope)
    home = present(home, envelope)
    now = home.history[-1]
    match event:
        case HouseholdRankChanged() | HouseholdConfirmed():
            return _stands(home, envelope, replace(now, rank=event.rank))
        case HouseholdChanged(area_code=None, conditions=None):
            return home
        case HouseholdChanged():
            area, conditions = event.area_code or now.area_code, event.conditions or now.conditions
            return _stands(home, envelope, replace(now, area_code=area, conditions=conditions))
        case MemberLeft(counted_no_longer=True):
            return home
        case MemberLeft():
            return _stands(home, envelope, replace(now, people=now.people - 1))
        case HouseholdDelisted():
            return replace(home, status=HomeStatus.DELISTED)
        case _:
            return home


def _listed(home: Home | None, event: HouseholdListed, envelope: Envelope) -> Home:
    now = HomeThen(
        since=envelope.time,
        area_code=event.area_code,
        people=len(event.members),
        rank=event.rank,
        conditions=event.conditions,
    )
    members = tuple(member.person_id for member in event.members)
    if home is not None:
        stayed = tuple(person for person in home.members if person not in members)
        return _stands(replace(home, status=HomeStatus.LISTED, members=(*stayed, *members)), envelope, now)
    return Home(
        household_id=event.household_id,
        version=envelope.version,
        area_code=event.area_code,
        status=HomeStatus.LISTED,
        people=now.people,
        decile=event.rank.welfare_decile,
        percentile=event.rank.welfare_percentile,
        listed_since=envelope.time,
        members=members,
        history=(now,),
    )


def _stands(home: Home, envelope: Envelope, now: HomeThen) -> Home:
    now = replace(now, since=envelope.time)
    return replace(
        home,
        area_code=now.area_code,
        people=now.people,
        decile=now.rank.welfare_decile,
        percentile=now.rank.welfare_percentile,
        history=(*home.history, now),
    )


# --- As of an instant -------------------------------------------------------------------------------------------------


class Since(Protocol):
    @property
    def since(self) -> datetime: ...


Then = TypeVar("Then", bound=Since)


def as_of(history: Sequence[Then], instant: datetime) -> Then | None:
    """What held at an instant, by the facts up to it; None if there were none yet."""
    return next((then for then in reversed(history) if then.since <= instant), None)


PERSONS = Table(
    "person", Person, topic="registry.participants", key=("participant_id",), evolve=evolve_person, head=True
)
HOMES = Table("home", Home, topic="registry.households", key=("household_id",), evolve=evolve_home, head=True)
