"""Planning, starting and cancelling cohorts."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts import areas
from contracts.areas import Level
from contracts.envelope import Event
from contracts.training import (
    CohortCancelled,
    CohortPlanned,
    CohortStarted,
    DeliveryMode,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.refusal import FieldProblem, Refused
from services.training.candidates.state import Candidate, CandidateStatus
from services.training.cohorts.state import Cohort, CohortStatus, day_of
from services.training.enrolments.state import WITH_A_PLACE, Enrolment, EnrolmentStatus
from services.training.forms import Area, Id, Text
from services.training.programmes.decisions import known_area, open_for_changes
from services.training.programmes.state import Course, Programme
from services.training.rules.decisions import confirmation_deadline
from services.training.rules.state import Rule

TOO_FEW_PARTICIPANTS = "too_few_participants"


class PlanCohort(BaseModel):
    model_config = ConfigDict(extra="forbid")

    programme_id: Id
    course_id: Id
    number: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]+(-[A-Z0-9]+)*$", max_length=40)] = Field(
        description="As people call it, such as P3KE-2024-01; certificates carry it. Nobody else's number"
    )
    capacity: int = Field(ge=1, le=1000)
    delivery_mode: DeliveryMode
    area_code: Area = Field(description="Where the class meets; a kecamatan or village if it is on site")
    venue: Text
    days: list[date] = Field(min_length=1, max_length=100, description="The days it meets, in order")
    confirm_by: date | None = Field(
        None, description="The last day to confirm; without it the confirmation rule in force says it"
    )


class CancelCohort(BaseModel):
    model_config = ConfigDict(extra="forbid")

    because: Literal["too_few_participants", "budget", "force_majeure"]


def plan_cohort(
    programme: Programme | None,
    course: Course | None,
    rule: Rule | None,
    number_taken: bool,
    cohort_id: str,
    command: PlanCohort,
    now: datetime,
) -> list[Event]:
    """Plans a cohort of an open programme's course on days to come. `rule` is the confirmation rule in force."""
    programme = open_for_changes(programme)
    if course is None:
        raise Refused(
            "no-such-course",
            "The programme has no such course.",
            status=404,
            remedy="Define the course first: POST /programmes/{programme_id}/courses.",
        )
    if number_taken:
        raise Refused(
            "number-taken",
            f"There is a cohort {command.number} already, and certificates carry the number.",
            remedy="Choose another number.",
        )
    _check_place(programme, command)
    today = day_of(now)
    _check_days(command.days, today)
    # A cohort that is planned at short notice leaves less time than the rule would: today at least.
    confirm_by = command.confirm_by or max(today, confirmation_deadline(rule, command.days[0]))
    if not today <= confirm_by < command.days[0]:
        problem = FieldProblem("body.confirm_by", "The last day to confirm is today or later, and before the start.")
        raise Refused("confirm-by", f"Participants cannot confirm by {confirm_by}.", status=422, fields=[problem])
    return [
        CohortPlanned(
            cohort_id=cohort_id,
            number=command.number,
            programme_id=programme.programme_id,
            course_id=course.course_id,
            course_title=course.title,
            capacity=command.capacity,
            delivery_mode=command.delivery_mode,
            area_code=command.area_code,
            venue=command.venue,
            days=tuple(command.days),
            confirm_by=confirm_by,
        )
    ]


def _check_place(programme: Programme, command: PlanCohort) -> None:
    known_area(command.area_code, "body.area_code")
    if not areas.covers(programme.area_code, command.area_code):
        problem = FieldProblem("body.area_code", "The area is not one that the programme serves.")
        raise Refused(
            "outside-programme",
            f"The programme serves {programme.area_code}; {command.area_code} is outside.",
            status=422,
            fields=[problem],
        )
    if command.delivery_mode is DeliveryMode.ON_SITE and areas.level(command.area_code) < Level.KECAMATAN:
        problem = FieldProblem("body.area_code", "An on-site class meets in a kecamatan or village.")
        raise Refused("place-too-large", "The place is too large for a class on site.", status=422, fields=[problem])


def _check_days(days: Sequence[date], today: date) -> None:
    wrong = [
        FieldProblem(f"body.days.{n}", "The day is not after the one before it.", "Send each day once, in order.")
        for n, (before, day) in enumerate(pairwise(days), start=1)
        if day <= before
    ]
    if days[0] <= today:
        wrong.append(FieldProblem("body.days.0", "The first day has come already.", "Plan from tomorrow on."))
    if wrong:
        raise Refused("days", "The cohort cannot meet on these days.", status=422, fields=wrong)


def start_cohort(
    cohort: Cohort | None, enrolments: Sequence[Enrolment], candidates: Mapping[str, Candidate], now: datetime
) -> list[Event]:
    """Starts a cohort whose first day has come. Enrolment is over.

    Who has not confirmed, or whose verification no longer holds, loses the place; there is no time to replace them.
    A cohort that nobody is left in is cancelled instead. `candidates` are those of the people with a place.
    """
    cohort = planned(cohort)
    if now < cohort.starts_at:
        raise Refused(
            "before-first-day",
            f"Cohort {cohort.number} starts on {cohort.starts_on}.",
            remedy="Wait for the first day: the cohort then starts by itself.",
        )
    placed = sorted((e for e in enrolments if e.status in WITH_A_PLACE), key=lambda e: e.place or 0)
    leaving = {e.participant_id: reason for e in placed if (reason := _lost_at_the_start(e, candidates, cohort))}
    gone: list[Event] = [
        ParticipantWithdrawn(
            cohort_id=cohort.cohort_id,
            participant_id=e.participant_id,
            reason=leaving[e.participant_id],
            place=e.place,
        )
        for e in placed
        if e.participant_id in leaving
    ]
    if len(leaving) == len(placed):
        return [*gone, CohortCancelled(cohort_id=cohort.cohort_id, because=TOO_FEW_PARTICIPANTS)]
    return [*gone, CohortStarted(cohort_id=cohort.cohort_id, started_on=cohort.starts_on)]


def _lost_at_the_start(
    enrolment: Enrolment, candidates: Mapping[str, Candidate], cohort: Cohort
) -> WithdrawalReason | None:
    candidate = candidates.get(enrolment.participant_id)
    if candidate is None or candidate.status in (CandidateStatus.REJECTED, CandidateStatus.ERASED):
        return WithdrawalReason.NO_LONGER_ELIGIBLE
    if not candidate.holds_at(cohort.starts_at):
        return WithdrawalReason.VERIFICATION_EXPIRED
    if enrolment.status is not EnrolmentStatus.CONFIRMED:
        return WithdrawalReason.NOT_CONFIRMED
    return None


def cancel_cohort(cohort: Cohort | None, command: CancelCohort) -> list[Event]:
    """Cancels a cohort that is still to come or under way; everybody on its list is free again."""
    cohort = known(cohort)
    if cohort.status not in (CohortStatus.PLANNED, CohortStatus.RUNNING):
        raise Refused("cohort-closed", f"Cohort {cohort.number} is {cohort.status}; there is nothing to cancel.")
    return [CohortCancelled(cohort_id=cohort.cohort_id, because=command.because)]


def known(cohort: Cohort | None) -> Cohort:
    """The cohort, if there is one."""
    if cohort is None:
        raise no_such_cohort()
    return cohort


def no_such_cohort() -> Refused:
    return Refused("no-such-cohort", "There is no such cohort.", status=404, remedy="See GET /cohorts.")


def planned(cohort: Cohort | None) -> Cohort:
    """The cohort, if there is one and it has not begun."""
    cohort = known(cohort)
    if cohort.status is not CohortStatus.PLANNED:
        raise Refused(
            "cohort-closed", f"Cohort {cohort.number} is {cohort.status}.", remedy="Choose one that is still planned."
        )
    return cohort


def running(cohort: Cohort | None) -> Cohort:
    """The cohort, if there is one and it is under way."""
    cohort = known(cohort)
    if cohort.status is not CohortStatus.RUNNING:
        raise Refused(
            "cohort-not-running",
            f"Cohort {cohort.number} is {cohort.status}.",
            remedy="Choose one that has begun and is not over.",
        )
    return cohort


def day_before(day: date) -> date:
    return day - timedelta(days=1)
