"""Leaving a list: withdrawing, not confirming, no longer being eligible; and who follows on the place."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts.areas import AreaCode
from contracts.envelope import Event
from contracts.training import (
    ParticipantEnrolled,
    ParticipantReplaced,
    ParticipantWithdrawn,
    WithdrawalNote,
    WithdrawalReason,
)
from services.kit.refusal import Refused
from services.training.candidates.state import Candidate
from services.training.cohorts.decisions import day_before, known
from services.training.cohorts.state import Cohort, CohortStatus, day_of
from services.training.enrolments.decisions import free_places, in_line, no_place, taken_by_kabupaten
from services.training.enrolments.state import OPEN, WITH_A_PLACE, Enrolment, EnrolmentStatus
from services.training.programmes.decisions import QuotaRoom, kabupaten_of


class PersonalReason(StrEnum):
    """Why somebody says that they will not come. The other reasons are found by the service itself."""

    CANNOT_LEAVE_CHILDREN = "cannot_leave_children"
    ILLNESS = "illness"
    WORK = "work"
    OTHER = "other"


class Withdraw(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: PersonalReason
    note: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)] | None = Field(
        None, description="Sealed under the participant's own key"
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """What decides who follows on a place that becomes free: their standing in the registry, and the quotas."""

    candidates: Mapping[str, Candidate]  # of everybody on the waitlist
    quotas: QuotaRoom


def withdraw(
    cohort: Cohort | None,
    enrolments: Sequence[Enrolment],
    participant_id: str,
    waiting: Waiting,
    command: Withdraw,
    now: datetime,
) -> list[Event]:
    """The participant gives up the place; before the start the next on the waitlist gets it."""
    cohort = known(cohort)
    if cohort.status not in (CohortStatus.PLANNED, CohortStatus.RUNNING):
        raise Refused("cohort-closed", f"Cohort {cohort.number} is {cohort.status}.", remedy="Nothing is left to do.")
    enrolment = next((e for e in enrolments if e.participant_id == participant_id and e.status in OPEN), None)
    if enrolment is None:
        raise no_place(cohort)
    reason = WithdrawalReason(command.reason)
    note = {} if command.note is None else {participant_id: WithdrawalNote(note=command.note)}
    return give_up(cohort, enrolments, {participant_id: reason}, waiting, now, notes=note)


def withdraw_unconfirmed(
    cohort: Cohort, enrolments: Sequence[Enrolment], waiting: Waiting, now: datetime
) -> list[Event]:
    """Takes the place back from who has not confirmed in time, and gives it to the next on the waitlist."""
    if cohort.status is not CohortStatus.PLANNED:
        return []
    today = day_of(now)
    late = {
        e.participant_id: WithdrawalReason.NOT_CONFIRMED
        for e in enrolments
        if e.status is EnrolmentStatus.ENROLLED and e.confirm_by is not None and e.confirm_by < today
    }
    return give_up(cohort, enrolments, late, waiting, now)


def lose_eligibility(
    cohort: Cohort,
    enrolments: Sequence[Enrolment],
    participant_id: str,
    reason: WithdrawalReason,
    waiting: Waiting,
    now: datetime,
) -> list[Event]:
    """The registry no longer vouches for the participant. Before the start they leave the list; afterwards they stay.

    Facts about several people give the same list in whichever order they arrive: who follows is decided by the
    priority that stands on the list, and every free place is looked at again.
    """
    on_list = any(e.participant_id == participant_id and e.status in OPEN for e in enrolments)
    if cohort.status is not CohortStatus.PLANNED or not on_list:
        return []
    return give_up(cohort, enrolments, {participant_id: reason}, waiting, now)


def give_up(
    cohort: Cohort,
    enrolments: Sequence[Enrolment],
    leaving: Mapping[str, WithdrawalReason],
    waiting: Waiting,
    now: datetime,
    notes: Mapping[str, WithdrawalNote] | None = None,
) -> list[Event]:
    """Takes people off the list, and fills the free places from the waitlist as long as there is time before the start.

    A replacement has until the day before the start to confirm.
    """
    gone = sorted((e for e in enrolments if e.participant_id in leaving and e.status in OPEN), key=in_line)
    if not gone:
        return []
    events: list[Event] = [
        ParticipantWithdrawn(
            cohort_id=cohort.cohort_id,
            participant_id=e.participant_id,
            reason=leaving[e.participant_id],
            place=e.place if e.status in WITH_A_PLACE else None,
            personal={person: note for person, note in (notes or {}).items() if person == e.participant_id},
        )
        for e in gone
    ]
    staying = [e for e in enrolments if e.participant_id not in leaving]
    former = [e for e in enrolments if e.status is EnrolmentStatus.WITHDRAWN]
    last_holders = {e.place: e.participant_id for e in (*former, *gone) if e.place is not None}
    return [*events, *_filled_from_waitlist(cohort, staying, last_holders, waiting, now)]


def _filled_from_waitlist(
    cohort: Cohort,
    enrolments: Sequence[Enrolment],
    last_holders: Mapping[int, str],
    waiting: Waiting,
    now: datetime,
) -> list[Event]:
    if cohort.status is not CohortStatus.PLANNED or now >= cohort.starts_at:
        return []
    # Places that somebody gave up go first: there it is a replacement, and the place is known by its former holder.
    free = sorted(free_places(cohort, enrolments), key=lambda place: (place not in last_holders, place))
    taken = taken_by_kabupaten(enrolments)
    events: list[Event] = []
    for person in sorted((e for e in enrolments if e.status is EnrolmentStatus.WAITLISTED), key=in_line):
        candidate = waiting.candidates.get(person.participant_id)
        if not free:
            break
        if candidate is None or not candidate.holds_at(cohort.starts_at):
            continue
        if not waiting.quotas.admits(person.area_code, taken):
            continue
        taken[kabupaten_of(person.area_code)] += 1
        events.append(_follows(cohort, person, free.pop(0), last_holders))
    return events


def _follows(cohort: Cohort, person: Enrolment, place: int, last_holders: Mapping[int, str]) -> Event:
    confirm_by = day_before(cohort.starts_on)
    if (former := last_holders.get(place)) is None:
        return ParticipantEnrolled(
            cohort_id=cohort.cohort_id,
            participant_id=person.participant_id,
            area_code=person.area_code,
            place=place,
            priority=person.priority,
            confirm_by=confirm_by,
            from_waitlist=True,
        )
    return ParticipantReplaced(
        cohort_id=cohort.cohort_id,
        participant_id=person.participant_id,
        area_code=person.area_code,
        place=place,
        replaces=former,
        priority=person.priority,
        confirm_by=confirm_by,
    )


def places_changed(events: Iterable[Event], enrolments: Iterable[Enrolment]) -> Counter[AreaCode]:
    """By how many places each kabupaten's share changes through these events about one cohort's list."""
    homes = {e.participant_id: e.area_code for e in enrolments}
    change: Counter[AreaCode] = Counter()
    for event in events:
        match event:
            case ParticipantEnrolled() | ParticipantReplaced():
                change[kabupaten_of(event.area_code)] += 1
            case ParticipantWithdrawn(place=int()):
                change[kabupaten_of(homes[event.participant_id])] -= 1
    return change
