"""Owns what is read of households: pages by area, one household with its people, and the funnel by kabupaten."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, TypeAdapter

from contracts import areas
from contracts.registry import (
    AgeBand,
    AreaCode,
    DelistingReason,
    HouseholdId,
    LeavingReason,
    ListEvidence,
    LivingConditions,
    PersonDetails,
    PersonId,
    Rank,
    Sex,
)
from services.kit.paging import Page, Paging
from services.kit.rows import Connection
from services.kit.transaction import SealedText
from services.registry.households.state import HouseholdStatus

FIRST_CODE, AFTER_THE_LAST_CODE = "", ":"  # Codes are of digits and dots, and ":" comes after "9".


def area_range(area: AreaCode | None) -> tuple[AreaCode, AreaCode]:
    """From, and up to but without: every code in the area, as a range of an index. None is everywhere.

    "/" comes after "." and before "0": "52.0/" lies before "52.01", so segments count.
    """
    return (FIRST_CODE, AFTER_THE_LAST_CODE) if area is None else (area, area + "/")


class HouseholdView(BaseModel):
    """A household without anything personal, as the snapshots that are applied whole say it is."""

    household_id: HouseholdId
    version: int
    area_code: AreaCode
    status: HouseholdStatus
    rank: Rank
    evidence: ListEvidence
    people: int
    head_person_id: PersonId | None
    conditions: LivingConditions
    delisted_because: DelistingReason | None


class MemberView(BaseModel):
    person_id: PersonId
    head: bool
    sex: Sex
    age_band: AgeBand
    adult: bool
    civil_registry_match: bool | None
    left_because: LeavingReason | None
    left_on: date | None
    details: PersonDetails | None = None  # of who may see them; nobody's once the person was erased


class HouseholdWithMembers(HouseholdView):
    address: str | None = None
    family_card_number: str | None = None
    members: list[MemberView]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which households, or whose participants, a list is to show."""

    area: AreaCode | None = None
    decile_from: int = 1
    decile_to: int = 10


async def households(
    connection: Connection, paging: Paging, wanted: Wanted, statuses: Collection[HouseholdStatus]
) -> Page[HouseholdView]:
    """Ordered by area and id. Readers see the households of their areas alone: row-level security sees to that.

    What the view computes has no statistics: bare conditions on it make the planner expect a row or two, and sort the
    whole area instead of walking the index to the end of the page. Inside `coalesce` it expects half of them.
    """
    low, high = area_range(wanted.area)
    after_area, after_id = paging.after(str, str) or (FIRST_CODE, "")
    rows = await connection.fetch(
        """
        SELECT *
        FROM household_shown
        WHERE area_code >= $1 AND area_code < $2
        AND (area_code, household_id) > ($3, $4)
        AND coalesce(welfare_decile BETWEEN $5 AND $6, false)
        AND coalesce(status = ANY($7::text[]), false)
        ORDER BY area_code, household_id
        LIMIT $8
        """,
        low,
        high,
        after_area,
        after_id,
        wanted.decile_from,
        wanted.decile_to,
        [str(status) for status in statuses],
        paging.fetch,
    )
    return paging.page(rows, _household, lambda row: (row["area_code"], row["household_id"]))


_CONDITIONS: TypeAdapter[LivingConditions] = TypeAdapter(LivingConditions)


def _household(row: Any) -> HouseholdView:
    return HouseholdView(**_shown(row))


def _shown(row: Any) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("household_id", "version", "area_code", "status", "people", "head_person_id")},
        "delisted_because": row["delisted_because"],
        "conditions": _CONDITIONS.validate_json(row["conditions"]),
        "evidence": ListEvidence(file_digest=row["file_digest"], row=row["file_row"]),
        "rank": Rank(
            source=row["source"],
            snapshot_id=row["snapshot_id"],
            dated=row["dated"],
            welfare_decile=row["welfare_decile"],
            welfare_percentile=row["welfare_percentile"],
        ),
    }


@dataclass(frozen=True, slots=True)
class SealedHousehold:
    """A household with its members, and what stands sealed of them; `address` only while it is where they live."""

    view: HouseholdWithMembers
    details: SealedText
    address_is_current: bool
    members: list[SealedText]


async def household(connection: Connection, household_id: HouseholdId) -> SealedHousehold | None:
    row = await connection.fetchrow("SELECT * FROM household_shown WHERE household_id = $1", household_id)
    if row is None:
        return None
    people = await connection.fetch(
        """
        SELECT *
        FROM member
        WHERE household_id = $1
        ORDER BY head DESC, person_id
        """,
        household_id,
    )
    return SealedHousehold(
        view=HouseholdWithMembers(**_shown(row), members=[MemberView(**dict(person)) for person in people]),
        details=(household_id, row["sealed_by"], row["sealed"]),
        address_is_current=row["sealed_area"] == row["area_code"],
        members=[(person["person_id"], person["sealed_by"], person["sealed"]) for person in people],
    )


async def households_of(connection: Connection, people: Collection[PersonId]) -> dict[PersonId, HouseholdId]:
    """The household that each person is listed with, whether or not they have left it; unknown ones are missing."""
    rows = await connection.fetch(
        """
        SELECT person_id, household_id
        FROM member
        WHERE person_id = ANY($1::text[])
        """,
        list(people),
    )
    return {row["person_id"]: row["household_id"] for row in rows}


# --- The funnel -------------------------------------------------------------------------------------------------------


class FunnelRow(BaseModel):
    """How far a kabupaten's or kota's people have come, now. A participant counts in each stage they have reached."""

    area_code: AreaCode
    name: str
    households_listed: int
    people_listed: int
    nominated: int
    assigned: int  # still to be visited
    visited: int
    verified: int
    expired: int
    rejected: dict[str, int]  # by reason


async def funnel(connection: Connection, area: AreaCode | None) -> list[FunnelRow]:
    """Counts by kabupaten, as one query over one moment."""
    rows = await connection.fetch(
        """
        WITH listed AS (
            SELECT left(area_code, 5) AS kabupaten, count(*) AS households, sum(people)::bigint AS people
            FROM household_shown
            WHERE area_code >= $1 AND area_code < $2
            AND status = 'listed'
            GROUP BY 1
        ), reached AS (
            SELECT
                left(area_code, 5) AS kabupaten,
                rejection,
                count(*) FILTER (WHERE route IS NOT NULL) AS nominated,
                count(*) FILTER (WHERE status = 'assigned') AS assigned,
                count(*) FILTER (WHERE visits > 0) AS visited,
                count(*) FILTER (WHERE status = 'verified') AS verified,
                count(*) FILTER (WHERE status = 'expired') AS expired,
                count(rejection) AS rejected
            FROM participant
            WHERE area_code >= $1 AND area_code < $2
            GROUP BY 1, 2
        ), participants AS (
            SELECT
                kabupaten,
                sum(nominated)::bigint AS nominated,
                sum(assigned)::bigint AS assigned,
                sum(visited)::bigint AS visited,
                sum(verified)::bigint AS verified,
                sum(expired)::bigint AS expired,
                array_agg(rejection ORDER BY rejection) FILTER (WHERE rejection IS NOT NULL) AS reasons,
                array_agg(rejected ORDER BY rejection) FILTER (WHERE rejection IS NOT NULL) AS rejected
            FROM reached
            GROUP BY 1
        )
        SELECT
            kabupaten,
            coalesce(households, 0) AS households,
            coalesce(people, 0) AS people,
            coalesce(nominated, 0) AS nominated,
            coalesce(assigned, 0) AS assigned,
            coalesce(visited, 0) AS visited,
            coalesce(verified, 0) AS verified,
            coalesce(expired, 0) AS expired,
            reasons,
            rejected
        FROM listed
        FULL JOIN participants USING (kabupaten)
        ORDER BY kabupaten
        """,
        *area_range(area),
    )
    return [_funnel_row(row) for row in rows]


def _funnel_row(row: Any) -> FunnelRow:
    return FunnelRow(
        area_code=row["kabupaten"],
        name=areas.short_name(row["kabupaten"]),
        households_listed=row["households"],
        people_listed=row["people"],
        nominated=row["nominated"],
        assigned=row["assigned"],
        visited=row["visited"],
        verified=row["verified"],
        expired=row["expired"],
        rejected=dict(zip(row["reasons"] or (), row["rejected"] or (), strict=True)),
    )
