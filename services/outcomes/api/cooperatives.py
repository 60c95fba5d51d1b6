"""Cooperatives, and whether they are alive: when they last met, with how many members, and whom they took in."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query

from services.kit.paging import Page
from services.kit.refusal import Refused
from services.outcomes.api.shapes import AreaQuery, IdPath, OpenReads, Paged, View, range_of
from services.outcomes.cooperatives import queries
from services.outcomes.cooperatives.decisions import overdue_before

router = APIRouter(tags=["cooperatives"])


class CooperativeView(View):
    cooperative_number: str
    version: int
    name: str | None  # as all but `recruited`: None as long as no meeting was reported
    area_code: str
    meeting_year: int | None
    meeting_held_on: date | None
    meeting_overdue: bool | None
    members: int | None
    net_surplus_rupiah: int | None
    recruited: int


@router.get("/cooperatives")
async def list_cooperatives(
    reads: OpenReads,
    paged: Paged,
    area: AreaQuery = None,
    overdue: Annotated[
        bool | None, Query(description="Only those whose last annual meeting is, or is not, over 18 months ago")
    ] = None,
) -> Page[CooperativeView]:
    """Cooperatives by number. They are no persons: whoever may read sees those of all areas."""
    async with reads as db:
        rows = await queries.cooperatives(
            db.connection,
            paged.after(str),
            paged.fetch,
            codes=range_of(area),
            overdue_before=overdue_before(db.now),
            overdue=overdue,
        )
        return paged.page(rows, CooperativeView.of, lambda row: (row["cooperative_number"],))


@router.get("/cooperatives/{cooperative_number}")
async def show_cooperative(cooperative_number: IdPath, reads: OpenReads) -> CooperativeView:
    async with reads as db:
        row = await queries.cooperative(db.connection, cooperative_number, overdue_before(db.now))
        if row is None:
            raise Refused(
                "no-such-cooperative",
                "No annual meeting and no new member of such a cooperative was ever reported.",
                status=404,
                remedy="Check the cooperative's own number.",
            )
        return CooperativeView.of(row)
