"""Cohorts: planning, starting, cancelling, and finding them."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Response

from contracts.training import DeliveryMode
from services.kit.http import CommandTransaction
from services.kit.paging import Page
from services.kit.transaction import new_id
from services.training.api.enrolment_view import EnrolmentView
from services.training.api.shapes import AreaQuery, FromJson, IdPath, IdQuery, OfficerWork, OpenReads, Paged, View
from services.training.candidates.queries import as_they_stand
from services.training.cohorts import decisions, queries
from services.training.cohorts.state import COHORTS, Cohort, CohortStatus
from services.training.enrolments import queries as lists
from services.training.enrolments.state import ENROLMENTS, WITH_A_PLACE
from services.training.programmes.state import COURSES, PROGRAMMES
from services.training.rules.decisions import CONFIRMATION
from services.training.rules.state import RULES

router = APIRouter(tags=["cohorts"])


class CohortView(View):
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
    days: Annotated[tuple[date, ...], FromJson]
    confirm_by: date
    status: CohortStatus
    enrolled: int
    waitlisted: int
    days_recorded: Annotated[tuple[date, ...], FromJson]
    completed: int
    not_completed: int
    completed_on: date | None
    cancelled_because: str | None


class CohortInFull(CohortView):
    participants: list[EnrolmentView]


@router.post("/cohorts", status_code=201, response_model=CohortView)
async def plan_cohort(command: decisions.PlanCohort, work: OfficerWork) -> Response:
    """Plans a cohort (angkatan) of a course on days to come."""
    async with work as tx:
        tx.authorise(command.area_code)
        programme = await tx.row(PROGRAMMES, command.programme_id)
        course = await tx.row(COURSES, command.programme_id, command.course_id)
        rule = await tx.row(RULES, CONFIRMATION)
        taken = await queries.number_is_taken(tx, command.number)
        cohort_id = new_id()
        await tx.decide(decisions.plan_cohort(programme, course, rule, taken, cohort_id, command, tx.now))
        return await answer_with_cohort(tx, cohort_id, status=201)


@router.post("/cohorts/{cohort_id}/start", response_model=CohortView)
async def start_cohort(cohort_id: IdPath, work: OfficerWork) -> Response:
    """Starts a cohort whose first day has come; it would do so by itself within seconds."""
    async with work as tx:
        cohort = await locked_cohort(tx, cohort_id)
        on_list = await tx.stream_rows(ENROLMENTS, cohort_id)
        placed = await as_they_stand(tx, [e.participant_id for e in on_list if e.status in WITH_A_PLACE])
        await tx.decide(decisions.start_cohort(cohort, on_list, placed, tx.now))
        return await answer_with_cohort(tx, cohort_id)


@router.post("/cohorts/{cohort_id}/cancel", response_model=CohortView)
async def cancel_cohort(cohort_id: IdPath, command: decisions.CancelCohort, work: OfficerWork) -> Response:
    """Cancels a cohort; everybody on its list is free again."""
    async with work as tx:
        cohort = await locked_cohort(tx, cohort_id)
        await tx.decide(decisions.cancel_cohort(cohort, command))
        return await answer_with_cohort(tx, cohort_id)


async def locked_cohort(tx: CommandTransaction, cohort_id: str) -> Cohort:
    """The cohort, if the caller may act on it and has seen its latest version."""
    row = await tx.row(COHORTS, cohort_id)
    cohort = decisions.known(row)
    tx.authorise(cohort.area_code)
    tx.expect_version(cohort)
    return cohort


async def answer_with_cohort(tx: CommandTransaction, cohort_id: str, *, status: int = 200) -> Response:
    row = await tx.row(COHORTS, cohort_id)
    cohort = decisions.known(row)
    return tx.answer(
        CohortView.of(cohort), status=status, version=cohort.version, stream=f"{COHORTS.topic}/{cohort_id}"
    )


@router.get("/cohorts")
async def list_cohorts(
    reads: OpenReads,
    paged: Paged,
    area: AreaQuery = None,
    status: Annotated[CohortStatus | None, Query()] = None,
    programme: IdQuery = None,
) -> Page[CohortView]:
    """Cohorts by the area where they meet, the earliest start first."""
    async with reads as db:
        rows = await queries.cohorts(db.connection, area, status, programme, paged.after(date, str), paged.fetch)
        return paged.page(rows, CohortView.of, lambda row: (row["starts_on"], row["cohort_id"]))


@router.get("/cohorts/{cohort_id}")
async def show_cohort(cohort_id: IdPath, reads: OpenReads, response: Response) -> CohortInFull:
    """One cohort with its list, as far as the participants live in the caller's areas."""
    async with reads as db:
        row = await queries.cohort(db.connection, cohort_id)
        if row is None:
            raise decisions.no_such_cohort()
        cohort = CohortView.of(row)
        response.headers["ETag"] = f'"{cohort.version}"'
        participants = [EnrolmentView.of(e) for e in await lists.list_of(db.connection, cohort_id)]
        return CohortInFull(**cohort.model_dump(), participants=participants)
