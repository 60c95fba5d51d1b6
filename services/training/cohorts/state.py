"""Cohorts (angkatan): a course at a place on some days, with a capacity of its own."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.training import (
    AttendanceRecorded,
    CohortCancelled,
    CohortCompleted,
    CohortPlanned,
    CohortStarted,
    DeliveryMode,
    ParticipantEnrolled,
    ParticipantReplaced,
    ParticipantWaitlisted,
    ParticipantWithdrawn,
)
from services.kit.table import Table, present, replace

WITA = timezone(timedelta(hours=8), "WITA")
"""Asia/Makassar, the time of Nusa Tenggara: UTC+8 all year."""


def beginning_of(day: date) -> datetime:
    """00:00 WITA of a day, in UTC."""
    return datetime.combine(day, time.min, tzinfo=WITA).astimezone(UTC)


def day_of(instant: datetime) -> date:
    """The day that the calendar in Nusa Tenggara shows at an instant."""
    return instant.astimezone(WITA).date()


class CohortStatus(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Cohort:
    cohort_id: str
    version: int
    area_code: str
    number: str
    programme_id: str
    course_id: str
    course_title: str
    capacity: int
    delivery_mode: DeliveryMode
    venue: str
    days: tuple[date, ...]
    starts_on: date
    ends_on: date
    confirm_by: date
    status: CohortStatus
    enrolled: int  # places that somebody holds
    waitlisted: int
    days_recorded: tuple[date, ...]  # whose attendance is recorded
    completed: int
    not_completed: int
    completed_on: date | None
    cancelled_because: str | None

    @property
    def starts_at(self) -> datetime:
        """When the first day begins: 00:00 WITA."""
        return beginning_of(self.starts_on)


def evolve_cohort(cohort: Cohort | None, event: Event, envelope: Envelope) -> Cohort | None:
    match event:
        case CohortPlanned():
            return _planned(event, envelope)
    cohort = present(cohort, envelope)
    match event:
        case ParticipantEnrolled():
            waiting = cohort.waitlisted - 1 if event.from_waitlist else cohort.waitlisted
            return replace(cohort, enrolled=cohort.enrolled + 1, waitlisted=waiting)
        case ParticipantWaitlisted():
            return replace(cohort, waitlisted=cohort.waitlisted + 1)
        case ParticipantReplaced():
            return replace(cohort, enrolled=cohort.enrolled + 1, waitlisted=cohort.waitlisted - 1)
        case ParticipantWithdrawn(place=None):
            return replace(cohort, waitlisted=cohort.waitlisted - 1)
        case ParticipantWithdrawn():
            return replace(cohort, enrolled=cohort.enrolled - 1)
        case CohortStarted():
            return replace(cohort, status=CohortStatus.RUNNING, waitlisted=0)
        case AttendanceRecorded():
            return replace(cohort, days_recorded=(*cohort.days_recorded, event.day))
        case CohortCompleted():
            return replace(
                cohort,
                status=CohortStatus.COMPLETED,
                completed=len(event.completed),
                not_completed=len(event.not_completed),
                completed_on=event.completed_on,
            )
        case CohortCancelled():
            return replace(
                cohort, status=CohortStatus.CANCELLED, enrolled=0, waitlisted=0, cancelled_because=event.because
            )
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
        capacity=event.capacity,
        delivery_mode=event.delivery_mode,
        venue=event.venue,
        days=event.days,
        starts_on=event.days[0],
        ends_on=event.days[-1],
        confirm_by=event.confirm_by,
        status=CohortStatus.PLANNED,
        enrolled=0,
        waitlisted=0,
        days_recorded=(),
        completed=0,
        not_completed=0,
        completed_on=None,
        cancelled_because=None,
    )


COHORTS = Table("cohort", Cohort, topic="training.cohorts", key=("cohort_id",), evolve=evolve_cohort, head=True)
