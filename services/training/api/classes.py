"""In class: attendance, tests and competency units, completion, results."""

from datetime import date
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Response

from contracts.training import AttendanceStatus
from services.kit.http import Reads
from services.training.api.cohorts import CohortView, answer_with_cohort, locked_cohort
from services.training.api.enrolment_view import EnrolmentView
from services.training.api.shapes import ClassWork, FromJson, IdPath, OfficerWork, OpenReads, View
from services.training.classes import decisions, queries
from services.training.cohorts import queries as cohorts
from services.training.cohorts.decisions import no_such_cohort
from services.training.enrolments import queries as lists
from services.training.enrolments.state import ENROLMENTS, EnrolmentStatus, UnitResult

router = APIRouter(tags=["classes"])


@router.post("/cohorts/{cohort_id}/attendance", status_code=201, response_model=CohortView)
async def record_attendance(cohort_id: IdPath, command: decisions.RecordAttendance, work: ClassWork) -> Response:
    """Records one day for the whole class."""
    async with work as tx:
        cohort = await locked_cohort(tx, cohort_id)
        enrolments = await tx.stream_rows(ENROLMENTS, cohort_id)
        await tx.decide(decisions.record_attendance(cohort, enrolments, command, tx.now))
        return await answer_with_cohort(tx, cohort_id, status=201)


@router.post("/cohorts/{cohort_id}/attendance/corrections", status_code=201, response_model=CohortView)
async def correct_attendance(cohort_id: IdPath, command: decisions.CorrectAttendance, work: ClassWork) -> Response:
    """Changes one mark of a recorded day."""
    async with work as tx:
        cohort = await locked_cohort(tx, cohort_id)
        enrolment = await tx.row(ENROLMENTS, cohort_id, command.participant_id)
        await tx.decide(decisions.correct_attendance(cohort, enrolment, command))
        return await answer_with_cohort(tx, cohort_id, status=201)


@router.post("/cohorts/{cohort_id}/assessments", status_code=201, response_model=CohortView)
async def record_assessment(cohort_id: IdPath, command: decisions.RecordAssessment, work: ClassWork) -> Response:
    """Records the results of a pre-test or post-test, or attempts at competency units, of any number of the class."""
    async with work as tx:
        cohort = await locked_cohort(tx, cohort_id)
        enrolments = await tx.stream_rows(ENROLMENTS, cohort_id)
        course = await queries.course_of(tx, cohort)
        terms = await queries.terms_in_force(tx)
        await tx.decide(decisions.record_assessment(cohort, course, enrolments, terms, command))
        return await answer_with_cohort(tx, cohort_id, status=201)


@router.post("/cohorts/{cohort_id}/complete", response_model=CohortView)
async def complete_cohort(cohort_id: IdPath, work: OfficerWork) -> Response:
    """Ends the cohort: the completion rule in force says who completed; certificates and letters are issued."""
    async with work as tx:
        cohort = await locked_cohort(tx, cohort_id)
        enrolments = await tx.stream_rows(ENROLMENTS, cohort_id)
        course = await queries.course_of(tx, cohort)
        terms = await queries.terms_in_force(tx)
        await tx.decide(decisions.complete_cohort(cohort, course, enrolments, terms, tx.now))
        return await answer_with_cohort(tx, cohort_id)


class AttendanceLine(View):
    participant_id: str
    place: int | None
    status: EnrolmentStatus
    attendance: Annotated[dict[date, AttendanceStatus], FromJson]
    days_present: int
    days_absent: int
    days_excused: int


class AttendanceSheet(View):
    days: tuple[date, ...]
    days_recorded: tuple[date, ...]
    participants: list[AttendanceLine]


@router.get("/cohorts/{cohort_id}/attendance")
async def show_attendance(cohort_id: IdPath, reads: OpenReads) -> AttendanceSheet:
    """The attendance sheet: everybody who had a mark or is to get one, as far as the caller's areas go."""
    async with reads as db:
        cohort = CohortView.of(await _cohort(db, cohort_id))
        lines = [AttendanceLine.of(row) for row in await lists.list_of(db.connection, cohort_id)]
        return AttendanceSheet(
            days=cohort.days,
            days_recorded=cohort.days_recorded,
            participants=[line for line in lines if line.attendance or line.status is EnrolmentStatus.CONFIRMED],
        )


class ResultLine(EnrolmentView):
    pre_test: int | None
    post_test: int | None
    units: Annotated[dict[str, UnitResult], FromJson]
    rule_id: str | None
    rule_version: int | None


@router.get("/cohorts/{cohort_id}/results")
async def show_results(cohort_id: IdPath, reads: OpenReads) -> list[ResultLine]:
    """Tests, units and completion of everybody who had a place, with the rule version that decided."""
    async with reads as db:
        await _cohort(db, cohort_id)
        rows = await lists.list_of(db.connection, cohort_id)
        return [ResultLine.of(row) for row in rows if row["place"] is not None]


async def _cohort(db: Reads, cohort_id: str) -> asyncpg.Record:
    row = await cohorts.cohort(db.connection, cohort_id)
    if row is None:
        raise no_such_cohort()
    return row
