"""What outcomes keeps of training's facts: cohorts, and who had a place in them with what result."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.training import (
    CohortCancelled,
    CohortCompleted,
    CohortPlanned,
    CohortStarted,
    DeliveryMode,
    NotCompletedReason,
    ParticipantCompleted,
    ParticipantConfirmed,
    ParticipantEnrolled,
    ParticipantNotCompleted,
    ParticipantReplaced,
    ParticipantWaitlisted,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.table import Table, one, present, replace, whole_stream


class CohortStatus(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class PlacementStatus(StrEnum):
    WAITLISTED = "waitlisted"
    ENROLLED = "enrolled"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"  # the waitlist ended without a place, or the cohort was cancelled
    COMPLETED = "completed"
    NOT_COMPLETED = "not_completed"


OPEN = frozenset({PlacementStatus.WAITLISTED, PlacementStatus.ENROLLED, PlacementStatus.CONFIRMED})


@dataclass(frozen=True, slots=True)
class Cohort:
    cohort_id: str
    version: int
    area_code: str  # where it meets
    number: str
    programme_id: str
    course_id: str
    course_title: str
    delivery_mode: DeliveryMode
    capacity: int
    starts_on: date
    ends_on: date
    status: CohortStatus
    completed: int
    not_completed: int
    completed_on: date | None
    completed_at: datetime | None  # the instant of CohortCompleted


@dataclass(frozen=True, slots=True)
class Placement:
    """One person on one cohort's list."""

    cohort_id: str
    participant_id: str
    area_code: str  # where the participant lived when they came on the list
    status: PlacementStatus
    enrolled_at: datetime | None  # None: only ever waitlisted
    confirmed_at: datetime | None
    withdrawn_because: WithdrawalReason | None
    attendance_percent: int | None
    pre_test: int | None
    post_test: int | None
    not_completed_because: NotCompletedReason | None
    rule_id: str | None  # of completion: which said whether the training is completed
    rule_version: int | None


def evolve_cohort(cohort: Cohort | None, event: Event, envelope: Envelope) -> Cohort | None:
    match event:
        case CohortPlanned():
            return _planned(event, envelope)
    cohort = present(cohort, envelope)
    match event:
        case CohortStarted():
            return replace(cohort, status=CohortStatus.RUNNING)
        case CohortCompleted():
            return replace(
                cohort,
                status=CohortStatus.COMPLETED,
                completed=len(event.completed),
                not_completed=len(event.not_completed),
                completed_on=event.completed_on,
                completed_at=envelope.time,
            )
        case CohortCancelled():
            return replace(cohort, status=CohortStatus.CANCELLED)
        case _:
            return cohort


def _planned(event: CohortPlanned, envelope: Envelope) -> Cohort:
    return Cohort(
        cohort_id=event.cohort_id,
        version=envelope.version,
        area_code=event.area_code,
        number=event.number,
        programme_id=event.programme_id,
        course_id=event.course_id,
        course_title=event.course_title,
        delivery_mode=event.delivery_mode,
        capacity=event.capacity,
        starts_on=event.days[0],
        ends_on=event.days[-1],
        status=CohortStatus.PLANNED,
        completed=0,
        not_completed=0,
        completed_on=None,
        completed_at=None,
    )


def evolve_placement(
    placement: Placement | None, event: Event, envelope: Envelope, participant_id: str
) -> Placement | None:
    match event:
        case ParticipantWaitlisted():
            return _on_the_list(event, PlacementStatus.WAITLISTED, None)
        case ParticipantEnrolled() | ParticipantReplaced():
            return _on_the_list(event, PlacementStatus.ENROLLED, envelope.time)
    placement = present(placement, envelope)
    match event:
        case ParticipantConfirmed():
            return replace(placement, status=PlacementStatus.CONFIRMED, confirmed_at=envelope.time)
        case ParticipantWithdrawn():
            return replace(placement, status=PlacementStatus.WITHDRAWN, withdrawn_because=event.reason)
        case CohortStarted() if placement.status is PlacementStatus.WAITLISTED:
            return replace(placement, status=PlacementStatus.RELEASED)
        case CohortCancelled() if placement.status in OPEN:
            return replace(placement, status=PlacementStatus.RELEASED)
        case ParticipantCompleted():
            return _judged(placement, event, PlacementStatus.COMPLETED)
        case ParticipantNotCompleted():
            judged = _judged(placement, event, PlacementStatus.NOT_COMPLETED)
            return replace(judged, not_completed_because=event.reason)
        case _:
            return placement


def _on_the_list(
    event: ParticipantWaitlisted | ParticipantEnrolled | ParticipantReplaced,
    status: PlacementStatus,
    enrolled_at: datetime | None,
) -> Placement:
    return Placement(
        cohort_id=event.cohort_id,
        participant_id=event.participant_id,
        area_code=event.area_code,
        status=status,
        enrolled_at=enrolled_at,
        confirmed_at=None,
        withdrawn_because=None,
        attendance_percent=None,
        pre_test=None,
        post_test=None,
        not_completed_because=None,
        rule_id=None,
        rule_version=None,
    )


def _judged(
    placement: Placement, event: ParticipantCompleted | ParticipantNotCompleted, status: PlacementStatus
) -> Placement:
    return replace(
        placement,
        status=status,
        attendance_percent=event.attendance_percent,
        pre_test=event.pre_test,
        post_test=event.post_test,
        rule_id=event.rule.rule_id,
        rule_version=event.rule.rule_version,
    )


COHORTS = Table("cohort", Cohort, topic="training.cohorts", key=("cohort_id",), evolve=evolve_cohort, head=True)
PLACEMENTS = Table(
    "placement",
    Placement,
    topic="training.cohorts",
    key=("cohort_id", "participant_id"),
    evolve=evolve_placement,
    touches={
        ParticipantEnrolled: one("participant_id"),
        ParticipantWaitlisted: one("participant_id"),
        ParticipantReplaced: one("participant_id"),
        ParticipantConfirmed: one("participant_id"),
        ParticipantWithdrawn: one("participant_id"),
        CohortStarted: whole_stream,
        CohortCancelled: whole_stream,
        ParticipantCompleted: one("participant_id"),
        ParticipantNotCompleted: one("participant_id"),
    },
)
