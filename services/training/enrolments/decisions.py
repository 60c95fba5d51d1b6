"""Who gets a place in a cohort: enrolling, the waitlist, confirming, withdrawing, and replacing who withdrew."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

from contracts.areas import AreaCode, Level, at_level
from contracts.envelope import Event
from contracts.registry import Priority
from contracts.training import (
    DeliveryMode,
    ParticipantConfirmed,
    ParticipantEnrolled,
    ParticipantWaitlisted,
)
from services.kit.refusal import Refused
from services.training.candidates.decisions import objection_to
from services.training.candidates.state import Candidate
from services.training.cohorts.decisions import day_before, planned
from services.training.cohorts.state import Cohort, day_of
from services.training.enrolments.state import COUNTED, OPEN, WITH_A_PLACE, Enrolment, EnrolmentStatus
from services.training.forms import Area, Id
from services.training.programmes.decisions import QuotaRoom, kabupaten_of


class Enrol(BaseModel):
    model_config = ConfigDict(extra="forbid")

    participant_id: Id


class Waitlist(BaseModel):
    model_config = ConfigDict(extra="forbid")

    participant_id: Id


class EnrolByPriority(BaseModel):
    model_config = ConfigDict(extra="forbid")

    waitlist: int = Field(0, ge=0, le=500, description="How long the waitlist is to be once all places are taken")
    area_code: Area | None = Field(
        None,
        description="Where the participants live. Without it: the class's kecamatan if it is on site, else all areas "
        "of the programme",
    )


@dataclass(frozen=True, slots=True)
class Commitments:
    """What else a person is on the list for: the days of their other open cohorts, and the courses they completed."""

    days: frozenset[date] = frozenset()
    courses: frozenset[str] = frozenset()


# --- Onto the list ----------------------------------------------------------------------------------------------------


def enrol(
    cohort: Cohort | None,
    enrolments: Sequence[Enrolment],
    candidate: Candidate | None,
    commitments: Commitments,
    quotas: QuotaRoom,
    now: datetime,
) -> list[Event]:
    """Gives one candidate the lowest free place, on or off the waitlist.

    It is enough that the verification holds now: an officer may have it renewed until the start, and who does not
    loses the place when it expires. `quotas` counts what the programme's other cohorts take.
    """
    cohort = _still_planned(cohort, now)
    candidate = _admissible(cohort, enrolments, candidate, commitments, now)
    mine = next((e for e in enrolments if e.participant_id == candidate.participant_id), None)
    if mine is not None and mine.status in WITH_A_PLACE:
        raise Refused("enrolled-already", f"The participant has place {mine.place} of cohort {cohort.number} already.")
    free = free_places(cohort, enrolments)
    if not free:
        raise Refused(
            "cohort-full",
            f"All {cohort.capacity} places of cohort {cohort.number} are taken.",
            remedy="Put the participant on the waitlist, or choose another cohort.",
        )
    if not quotas.admits(candidate.area_code, taken_by_kabupaten(enrolments)):
        raise Refused(
            "quota-full",
            f"The quota of {kabupaten_of(candidate.area_code)} in this programme is used up.",
            remedy="Raise the quota, or put the participant on the waitlist.",
        )
    waiting = mine is not None and mine.status is EnrolmentStatus.WAITLISTED
    return [_enrolled(cohort, candidate, free[0], now, from_waitlist=waiting)]


def waitlist(
    cohort: Cohort | None,
    enrolments: Sequence[Enrolment],
    candidate: Candidate | None,
    commitments: Commitments,
    now: datetime,
) -> list[Event]:
    """Puts one candidate on the waitlist, where priority decides who is next."""
    cohort = _still_planned(cohort, now)
    candidate = _admissible(cohort, enrolments, candidate, commitments, now)
    if any(e.participant_id == candidate.participant_id and e.status in OPEN for e in enrolments):
        raise Refused("on-the-list-already", f"The participant is on the list of cohort {cohort.number} already.")
    return [_waitlisted(cohort, candidate)]


def enrol_by_priority(
    cohort: Cohort | None,
    enrolments: Sequence[Enrolment],
    pool: Iterable[Candidate],
    commitments: Mapping[str, Commitments],
    quotas: QuotaRoom,
    command: EnrolByPriority,
    now: datetime,
) -> list[Event]:
    """Fills the free places from the waitlist and the pool, the highest priority first; who remains may wait in line.

    Takes only who is verified until the start, can come, is free on all days and was not on this list before, each
    kabupaten within its quota. Of two with one score the id decides, so the same pool gives the same list.
    `pool` holds the candidates on the waitlist too.
    """
    cohort = _still_planned(cohort, now)
    free = free_places(cohort, enrolments)
    taken = taken_by_kabupaten(enrolments)
    waiting = [e for e in enrolments if e.status is EnrolmentStatus.WAITLISTED]
    admissible = {
        c.participant_id: c
        for c in pool
        if _may_come_by_priority(cohort, c, commitments.get(c.participant_id, Commitments()))
    }
    known_here = {e.participant_id for e in enrolments}
    line: list[Candidate | Enrolment] = [
        *(e for e in waiting if e.participant_id in admissible),
        *(c for c in admissible.values() if c.participant_id not in known_here),
    ]
    events: list[Event] = []
    room_to_wait = command.waitlist - len(waiting)
    for person in sorted(line, key=in_line):
        if free and quotas.admits(person.area_code, taken):
            events.append(_enrolled(cohort, person, free.pop(0), now, from_waitlist=isinstance(person, Enrolment)))
            taken[kabupaten_of(person.area_code)] += 1
            room_to_wait += isinstance(person, Enrolment)
        elif isinstance(person, Candidate) and room_to_wait > 0:
            events.append(_waitlisted(cohort, person))
            room_to_wait -= 1
    return events


def pool_area(cohort: Cohort, programme_area: AreaCode, command: EnrolByPriority) -> AreaCode:
    """Where to look for candidates."""
    if command.area_code is not None:
        return command.area_code
    if cohort.delivery_mode is DeliveryMode.ON_SITE:
        return at_level(cohort.area_code, Level.KECAMATAN)
    return programme_area


def _admissible(
    cohort: Cohort,
    enrolments: Sequence[Enrolment],
    candidate: Candidate | None,
    commitments: Commitments,
    now: datetime,
) -> Candidate:
    objection = objection_to(candidate, cohort.delivery_mode, cohort.area_code, now)
    if objection is not None:
        raise objection
    assert candidate is not None
    if clash := sorted(commitments.days.intersection(cohort.days)):
        raise Refused(
            "overlapping-cohort",
            f"The participant is on the list of another cohort that meets on {clash[0]}.",
            remedy="Withdraw the participant there first, or choose a cohort on other days.",
        )
    if cohort.course_id in commitments.courses:
        raise Refused(
            "course-completed",
            f"The participant completed {cohort.course_title} before.",
            remedy="Choose a cohort of another course.",
        )
    return candidate


def _may_come_by_priority(cohort: Cohort, candidate: Candidate, commitments: Commitments) -> bool:
    return (
        objection_to(candidate, cohort.delivery_mode, cohort.area_code, cohort.starts_at) is None
        and commitments.days.isdisjoint(cohort.days)
        and cohort.course_id not in commitments.courses
    )


# --- On the list ------------------------------------------------------------------------------------------------------


def confirm(cohort: Cohort | None, enrolment: Enrolment | None, now: datetime) -> list[Event]:
    """The participant said that they will come."""
    cohort = _still_planned(cohort, now)
    if enrolment is None or enrolment.status not in WITH_A_PLACE:
        raise no_place(cohort)
    if enrolment.status is EnrolmentStatus.CONFIRMED:
        raise Refused("confirmed-already", "The participant has confirmed before.", remedy="Nothing is left to do.")
    if enrolment.confirm_by is not None and day_of(now) > enrolment.confirm_by:
        raise Refused(
            "confirmed-too-late",
            f"The participant could confirm until {enrolment.confirm_by}.",
            remedy="Enrol the participant again if a place is free.",
        )
    return [ParticipantConfirmed(cohort_id=cohort.cohort_id, participant_id=enrolment.participant_id)]


# --- Counting ---------------------------------------------------------------------------------------------------------


def in_line(person: Candidate | Enrolment) -> tuple[int, str]:
    return -person.score, person.participant_id


def free_places(cohort: Cohort, enrolments: Iterable[Enrolment]) -> list[int]:
    held = {e.place for e in enrolments if e.status in WITH_A_PLACE}
    return [place for place in range(1, cohort.capacity + 1) if place not in held]


def taken_by_kabupaten(enrolments: Iterable[Enrolment]) -> Counter[AreaCode]:
    """How many places the people of each kabupaten hold or held to the end: what their quotas count."""
    return Counter(kabupaten_of(e.area_code) for e in enrolments if e.status in COUNTED)


def _still_planned(cohort: Cohort | None, now: datetime) -> Cohort:
    cohort = planned(cohort)
    if now >= cohort.starts_at:
        raise Refused(
            "cohort-closed", f"Cohort {cohort.number} begins today.", remedy="Choose one that is still planned."
        )
    return cohort


def no_place(cohort: Cohort) -> Refused:
    return Refused(
        "not-on-the-list",
        f"The participant has no place in cohort {cohort.number}.",
        status=404,
        remedy="See who has: GET /cohorts/{cohort_id}.",
    )


def _enrolled(
    cohort: Cohort, person: Candidate | Enrolment, place: int, now: datetime, *, from_waitlist: bool
) -> ParticipantEnrolled:
    # Who is enrolled after the cohort's own deadline has until the day before the start.
    in_time = day_of(now) <= cohort.confirm_by
    return ParticipantEnrolled(
        cohort_id=cohort.cohort_id,
        participant_id=person.participant_id,
        area_code=person.area_code,
        place=place,
        priority=_priority_of(person),
        confirm_by=cohort.confirm_by if in_time else day_before(cohort.starts_on),
        from_waitlist=from_waitlist,
    )


def _waitlisted(cohort: Cohort, candidate: Candidate) -> ParticipantWaitlisted:
    return ParticipantWaitlisted(
        cohort_id=cohort.cohort_id,
        participant_id=candidate.participant_id,
        area_code=candidate.area_code,
        priority=_priority_of(candidate),
    )


def _priority_of(person: Candidate | Enrolment) -> Priority:
    if person.priority is None:
        raise AssertionError(f"{person.participant_id} is verified and has no priority")
    return person.priority
