"""What is asked of programmes, courses and quotas."""

import asyncpg

from contracts.areas import AreaCode
from services.kit.rows import Connection
from services.kit.transaction import Transaction
from services.training.programmes.decisions import QuotaRoom
from services.training.programmes.state import QUOTAS, Quota


def places_of(quotas: list[Quota]) -> dict[AreaCode, int]:
    return {quota.area_code: quota.places for quota in quotas}


async def quota_room(tx: Transaction, programme_id: str, *, besides_cohort: str) -> QuotaRoom:
    """The programme's quotas and what its other cohorts take of them. The caller has locked the programme's row."""
    quotas = await tx.stream_rows(QUOTAS, programme_id)
    taken = await places_taken(tx.connection, programme_id, besides_cohort=besides_cohort)
    return QuotaRoom(places_of(quotas), taken)


async def places_taken(connection: Connection, programme_id: str, *, besides_cohort: str = "") -> dict[AreaCode, int]:
    """How many places the people of each kabupaten hold, or held to the end, in the programme's cohorts."""
    rows = await connection.fetch(
        """
        SELECT left(e.area_code, 5) AS kabupaten, count(*) AS places
        FROM cohort c
        JOIN enrolment e USING (cohort_id)
        WHERE c.programme_id = $1
          AND c.cohort_id <> $2
          AND e.status IN ('enrolled', 'confirmed', 'completed', 'not_completed')
        GROUP BY 1
        """,
        programme_id,
        besides_cohort,
    )
    return {row["kabupaten"]: row["places"] for row in rows}


async def programmes(connection: Connection, after: tuple[int, str] | None, limit: int) -> list[asyncpg.Record]:
    """A page of programmes, the latest year first."""
    year, programme_id = after or (None, "")
    return await connection.fetch(
        """
        SELECT programme_id, version, area_code, name, year, status
        FROM programme
        WHERE $1::bigint IS NULL OR year < $1 OR (year = $1 AND programme_id > $2)
        ORDER BY year DESC, programme_id
        LIMIT $3
        """,
        year,
        programme_id,
        limit,
    )


async def programme(connection: Connection, programme_id: str) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT programme_id, version, area_code, name, year, status
        FROM programme
        WHERE programme_id = $1
        """,
        programme_id,
    )


async def courses(connection: Connection, programme_id: str) -> list[asyncpg.Record]:
    return await connection.fetch(
        """
        SELECT course_id, title, lesson_hours, units
        FROM course
        WHERE programme_id = $1
        ORDER BY title, course_id
        """,
        programme_id,
    )


async def quotas(connection: Connection, programme_id: str) -> list[asyncpg.Record]:
    return await connection.fetch(
        """
        SELECT area_code, places
        FROM quota
        WHERE programme_id = $1
        ORDER BY area_code
        """,
        programme_id,
    )
