"""Households over HTTP: lists by area, decile and status, one with its people, and the funnel."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from contracts.registry import HouseholdDetails, PersonDetails
from services.kit.http import Reads, reads_as
from services.kit.paging import Page
from services.registry.api.parameters import WHO_SEE_FIGURES, WHO_SEE_NAMES, Area, Id, Pages, Within, unknown
from services.registry.households import queries
from services.registry.households.queries import FunnelRow, HouseholdView, HouseholdWithMembers, SealedHousehold
from services.registry.households.state import HouseholdStatus

router = APIRouter(tags=["households"])


@router.get("/households")
async def list_households(
    reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_FIGURES))],
    wanted: Within,
    pages: Pages,
    status: Annotated[list[HouseholdStatus] | None, Query()] = None,
) -> Page[HouseholdView]:
    """Households of your areas, by area; nothing personal. A list shows once it is applied whole."""
    async with reads as db:
        return await queries.households(db.connection, pages, wanted, status or list(HouseholdStatus))


@router.get("/households/{household_id}")
async def show_household(
    household_id: Id, reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_FIGURES))]
) -> HouseholdWithMembers:
    """One household with its people; names and the like for officers, facilitators and districts. Looks are kept."""
    async with reads as db:
        found = await queries.household(db.connection, household_id)
        if found is None:
            raise unknown("household")
        if db.principal.has_any(WHO_SEE_NAMES):
            return await _with_names(db, found)
        return found.view


async def _with_names(db: Reads, found: SealedHousehold) -> HouseholdWithMembers:
    (home,) = await db.open([found.details], HouseholdDetails, "household shown")
    people = await db.open(found.members, PersonDetails, "household shown")
    members = [
        member.model_copy(update={"details": details})
        for member, details in zip(found.view.members, people, strict=True)
    ]
    details = home or HouseholdDetails()
    return found.view.model_copy(
        update={
            "members": members,
            "family_card_number": details.family_card_number,
            "address": details.address if found.address_is_current else None,
        }
    )


@router.get("/funnel")
async def show_funnel(reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_FIGURES))], area: Area) -> list[FunnelRow]:
    """How far the people of each kabupaten or kota have come: listed, nominated, visited, verified, rejected."""
    async with reads as db:
        return await queries.funnel(db.connection, area)
