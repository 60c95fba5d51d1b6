"""Figures: the funnel by kabupaten, attendance and results by cohort."""

from datetime import date
from typing import Annotated

import asyncpg
from fastapi import APIRouter

from contracts.training import DeliveryMode
from services.kit.paging import Page
from services.training.api.shapes import AreaQuery, FromJson, IdQuery, OpenReads, Paged, View, area_name
from services.training.cohorts import queries
from services.training.cohorts.state import CohortStatus

router = APIRouter(tags=["figures"])


class FunnelView(View):
    area_code: str
    name: str | None
    enrolled: int
    confirmed: int
    waitlisted: int
    withdrawn: int
    withdrawn_by_reason: Annotated[dict[str, int], FromJson]
    completed: int
    not_completed: int


class ClassFigures(View):
    cohort_id: str
    number: str
    course_title: str
    area_code: str
    delivery_mode: DeliveryMode
    status: CohortStatus
    starts_on: date
    enrolled: int
    confirmed: int
    withdrawn: int
    completed: int
    not_completed: int
    attendance_rate: float | None
    pass_rate: float | None
    pre_test_average: float | None
    post_test_average: float | None


@router.get("/figures/funnel")
async def show_funnel(reads: OpenReads, area: AreaQuery = None, programme: IdQuery = None) -> list[FunnelView]:
    """By the kabupaten where people live: who ever had a place, confirmed, gave it up and why, completed or did not."""
    async with reads as db:
        rows = await queries.funnel(db.connection, area, programme)
        return [FunnelView(**row, name=area_name(row["area_code"])) for row in rows]


@router.get("/figures/cohorts")
async def show_class_figures(reads: OpenReads, paged: Paged, programme: IdQuery = None) -> Page[ClassFigures]:
    """Each cohort with attendance rate (present, of all marks) and pass rate (completed, of who stayed to the end)."""
    async with reads as db:
        rows = await queries.class_figures(db.connection, programme, paged.after(date, str), paged.fetch)
        return paged.page(rows, _class_figures, lambda row: (row["starts_on"], row["cohort_id"]))


def _class_figures(row: asyncpg.Record) -> ClassFigures:
    marks = row["marks_present"] + row["marks_absent"] + row["marks_excused"]
    judged = row["completed"] + row["not_completed"]
    return ClassFigures(
        **row,
        attendance_rate=row["marks_present"] / marks if marks else None,
        pass_rate=row["completed"] / judged if judged else None,
    )
