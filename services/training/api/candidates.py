"""The candidate pool, and where training is needed."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from contracts.registry import AgeBand, Priority, Sex
from services.kit.paging import Page
from services.training.api.shapes import AreaQuery, FromJson, OpenReads, Paged, View, area_name
from services.training.candidates import queries

router = APIRouter(tags=["candidates"])


class CandidateView(View):
    participant_id: str
    version: int
    area_code: str
    household_id: str
    sex: Sex
    age_band: AgeBand
    can_leave_home: bool
    reachable: bool
    verified_at: datetime
    expires_at: datetime
    priority: Annotated[Priority, FromJson]


class DemandView(View):
    area_code: str
    name: str | None
    households: int
    people: int
    verified: int
    free: int


@router.get("/candidates")
async def list_candidates(reads: OpenReads, paged: Paged, area: AreaQuery = None) -> Page[CandidateView]:
    """The pool: verified adults who are on no open list and have completed no course, in priority order, with why."""
    async with reads as db:
        rows = await queries.pool(db.connection, db.now, area, paged.after(int, str), paged.fetch)
        return paged.page(rows, CandidateView.of, lambda row: (row["score"], row["participant_id"]))


@router.get("/demand")
async def show_demand(
    reads: OpenReads,
    area: AreaQuery = None,
    by: Annotated[Literal["kabupaten", "kecamatan", "village"], Query()] = "kecamatan",
) -> list[DemandView]:
    """Where to plan cohorts: listed households and people, verified candidates, and those who are free, by area."""
    async with reads as db:
        rows = await queries.demand(db.connection, db.now, area, by)
        return [DemandView(**row, name=area_name(row["area_code"])) for row in rows]
