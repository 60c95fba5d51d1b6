"""What falls due, and what is asked of follow-ups."""

from datetime import date, datetime, timedelta

import asyncpg

from services.kit.rows import Connection
from services.outcomes.calendar import beginning_of
from services.outcomes.follow_ups.state import FollowUpStatus

# --- For timers -------------------------------------------------------------------------------------------------------


async def cases_to_schedule(connection: Connection, limit: int) -> list[str]:
    """Open cases that have no follow-ups yet, locked; those that another worker holds are passed over."""
    records = await connection.fetch(
        """
        SELECT case_id
        FROM case_file
        WHERE status = 'open'
          AND follow_ups = '[]'
        ORDER BY completed_at
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        """,
        limit,
    )
    return [record["case_id"] for record in records]


async def next_to_schedule(connection: Connection) -> datetime | None:
    """Since when a case waits for its follow-ups, if a plan is in force that asks for any."""
    since: datetime | None = await connection.fetchval(
        """
        SELECT min(completed_at)
        FROM case_file
        WHERE status = 'open'
          AND follow_ups = '[]'
          AND EXISTS (SELECT FROM rule WHERE rule_id = 'follow_up_plan')
        """
    )
    return since


CASES_WITH_ONES_TO_FALL_DUE = """
    SELECT c.case_id
    FROM case_file c
    WHERE c.case_id IN (
        SELECT f.case_id
        FROM follow_up f
        WHERE f.status = 'scheduled'
          AND f.due_on <= $1
        ORDER BY f.due_on, f.case_id, f.months
        LIMIT $2
    )
    ORDER BY c.case_id
    FOR UPDATE SKIP LOCKED
"""
CASES_WITH_ONES_TO_MISS = """
    SELECT c.case_id
    FROM case_file c
    WHERE c.case_id IN (
        SELECT f.case_id
        FROM follow_up f
        WHERE f.status = 'due'
          AND f.missed_after < $1
        ORDER BY f.missed_after, f.case_id, f.months
        LIMIT $2
    )
    ORDER BY c.case_id
    FOR UPDATE SKIP LOCKED
"""


async def cases_with_ones_to_fall_due(connection: Connection, today: date, limit: int) -> list[str]:
    """Cases of which a visit's day has come, locked; those that another worker holds are passed over."""
    return [record["case_id"] for record in await connection.fetch(CASES_WITH_ONES_TO_FALL_DUE, today, limit)]


async def next_to_fall_due(connection: Connection) -> datetime | None:
    """When the next visit falls due: 00:00 WITA of its day."""
    day: date | None = await connection.fetchval("SELECT min(due_on) FROM follow_up WHERE status = 'scheduled'")
    return None if day is None else beginning_of(day)


async def cases_with_ones_to_miss(connection: Connection, today: date, limit: int) -> list[str]:
    """Cases of which a due visit was not made in time, locked; those that another worker holds are passed over."""
    return [record["case_id"] for record in await connection.fetch(CASES_WITH_ONES_TO_MISS, today, limit)]


async def next_to_miss(connection: Connection) -> datetime | None:
    """When the next due visit is missed: the end of the last day in WITA on which it counts as in time."""
    day: date | None = await connection.fetchval("SELECT min(missed_after) FROM follow_up WHERE status = 'due'")
    return None if day is None else beginning_of(day + timedelta(days=1))


# --- Reads ------------------------------------------------------------------------------------------------------------

FOLLOW_UPS_BY_DAY = """
    SELECT f.*, c.cohort_id, c.household_id
    FROM follow_up f
    JOIN case_file c USING (case_id)
    WHERE f.area_code >= $1
      AND f.area_code < $2
      AND f.due_on <= $3
      AND f.status = ANY($4::text[])
      AND ($5::text IS NULL OR f.facilitator_id = $5)
      AND ($6::text IS NULL OR c.cohort_id = $6)
      AND (f.due_on, f.case_id, f.months) > ($7, $8, $9)
    ORDER BY f.due_on, f.case_id, f.months
    LIMIT $10
"""


async def follow_ups(
    connection: Connection,
    codes: tuple[str, str],
    *,
    due: date | None,
    statuses: list[FollowUpStatus],
    facilitator_id: str | None,
    cohort_id: str | None,
    after: tuple[date, str, int] | None,
    limit: int,
) -> list[asyncpg.Record]:
    """A page of follow-ups that fall due on a day or before, the earliest first."""
    low, high = codes
    due_on, case_id, months = after or (date.min, "", 0)
    return await connection.fetch(
        FOLLOW_UPS_BY_DAY,
        low,
        high,
        due or date.max,
        statuses,
        facilitator_id,
        cohort_id,
        due_on,
        case_id,
        months,
        limit,
    )


async def follow_ups_of(connection: Connection, case_id: str) -> list[asyncpg.Record]:
    return await connection.fetch("SELECT * FROM follow_up WHERE case_id = $1 ORDER BY months", case_id)
