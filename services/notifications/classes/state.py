"""What notifications keeps of training's facts: cohorts as messages speak of them, and who has a place."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.training import (
    CohortCancelled,
    CohortCompleted,
    CohortPlanned,
    CohortStarted,
    ParticipantCompleted,
    ParticipantEnrolled,
    ParticipantNotCompleted,
    ParticipantReplaced,
    ParticipantWithdrawn,
)
from services.kit.table import Table, one, present, replace


class CohortStatus(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class PlacementStatus(StrEnum):
    HELD = "held"
    LOST = "lost"
    ENDED = "ended"  # completed, or not


@dataclass(frozen=True, slots=True)
class Cohort:
    cohort_id: str
    version: int
    area_code: str
    number: str
    course_title: str
    venue: str
    days: tuple[date, ...]
    status: CohortStatus


@dataclass(frozen=True, slots=True)
class Placement:
    """A participant's place in a cohort."""

    cohort_id: str
    participant_id: str
    area_code: str  # where the participant lives
    status: PlacementStatus
    given_by: str  # the event that gave the place: what was said of an earlier one no longer holds


def evolve_cohort(cohort: Cohort | None, event: Event, envelope: Envelope) -> Cohort | None:
    match event:
        case CohortPlanned():
            return Cohort(
                cohort_id=event.cohort_id,
                version=envelope.version,
                area_code=event.area_code,
                number=event.number,
                course_title=event.course_title,
                venue=event.venue,
                days=event.days,
                status=CohortStatus.PLANNED,
            )
    cohort = present(cohort, envelope)
    match event:
        case CohortStarted():
            return replace(cohort, status=CohortStatus.RUNNING)
        case CohortCompleted():
            return replace(cohort, status=CohortStatus.COMPLETED)
        case CohortCancelled():
            return replace(cohort, status=CohortStatus.CANCELLED)
        case _:
            return cohort


def evolve_placement(
    placement: Placement | None, event: Event, envelope: Envelope, participant_id: str
) -> Placement | None:
    match event:
        case ParticipantEnrolled() | ParticipantReplaced():
            return Placement(event.cohort_id, participant_id, event.area_code, PlacementStatus.HELD, envelope.id)
    if placement is None:
        return None  # Somebody on the waitlist gave up waiting.
    match event:
        case ParticipantWithdrawn():
            return replace(placement, status=PlacementStatus.LOST)
        case ParticipantCompleted() | ParticipantNotCompleted():
            return replace(placement, status=PlacementStatus.ENDED)
        case _:
            return placement


COHORTS = Table("cohort", Cohort, topic="training.cohorts", key=("cohort_id",), evolve=evolve_cohort, head=True)
PLACEMENTS = Table(
    "placement",
    Placement,
    topic="training.cohorts",
    key=("cohort_id", "participant_id"),
    evolve=evolve_placement,
    touches={
        ParticipantEnrolled: one("participant_id"),
        ParticipantReplaced: one("participant_id"),
        ParticipantWithdrawn: one("participant_id"),
        ParticipantCompleted: one("participant_id"),
        ParticipantNotCompleted: one("participant_id"),
    },
)
