"""What is asked of cohorts: whether a number is taken, which are to start, lists, and figures about them."""

from datetime import date, datetime

import asyncpg

from contracts.areas import AreaCode
from services.kit.rows import Connection, statements
from services.kit.transaction import Transaction
from services.training.candidates.queries import range_of
from services.training.cohorts.state import COHORTS, Cohort, beginning_of


async def number_is_taken(tx: Transaction, number: str) -> bool:
    """Whether a cohort bears the number. Whoever plans one waits until the other has it or not."""
    await tx.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('training.cohort-numbers', 0))")
    taken: bool = await tx.connection.fetchval("SELECT EXISTS (SELECT FROM cohort WHERE number = $1)", number)
    return taken


async def programme_of(connection: Connection, cohort_id: str) -> str | None:
    """The programme that a cohort belongs to, for ever; None if there is no such cohort."""
    programme_id: str | None = await connection.fetchval(
        "SELECT programme_id FROM cohort WHERE cohort_id = $1", cohort_id
    )
    return programme_id


async def as_it_stands(connection: Connection, cohort_id: str) -> Cohort | None:
    """The cohort, not locked: enough to find out what to lock before it."""
    row = await connection.fetchrow(statements(COHORTS).select, [cohort_id])
    return None if row is None else statements(COHORTS).row(row)


async def area_of_programme(connection: Connection, programme_id: str) -> AreaCode:
    """The area that a programme serves, for ever."""
    area: AreaCode = await connection.fetchval("SELECT area_code FROM programme WHERE programme_id = $1", programme_id)
    return area


async def cohort_to_start(connection: Connection, today: date) -> str | None:
    """A planned cohort whose first day has come, locked; one that another worker holds is passed over."""
    cohort_id: str | None = await connection.fetchval(
        """
        SELECT cohort_id
        FROM cohort
        WHERE status = 'planned'
          AND starts_on <= $1
        ORDER BY starts_on, cohort_id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
        """,
        today,
    )
    return cohort_id


async def next_start(connection: Connection) -> datetime | None:
    """When the next planned cohort starts: 00:00 WITA of its first day."""
    day: date | None = await connection.fetchval("SELECT min(starts_on) FROM cohort WHERE status = 'planned'")
    return None if day is None else beginning_of(day)


# --- Reads ------------------------------------------------------------------------------------------------------------


async def cohorts(
    connection: Connection,
    area: AreaCode | None,
    status: str | None,
    programme_id: str | None,
    after: tuple[date, str] | None,
    limit: int,
) -> list[asyncpg.Record]:
    """A page of cohorts by the area where they meet, the earliest start first."""
    low, high = range_of(area)
    starts_on, cohort_id = after or (date.min, "")
    return await connection.fetch(
        """
        SELECT cohort_id, version, area_code, number, programme_id, course_id, course_title, capacity, delivery_mode,
               venue, days, starts_on, ends_on, confirm_by, status, enrolled, waitlisted, days_recorded, completed,
               not_completed, completed_on, cancelled_because
        FROM cohort
        WHERE area_code >= $1
          AND area_code < $2
          AND ($3::text IS NULL OR status = $3)
          AND ($4::text IS NULL OR programme_id = $4)
          AND (starts_on, cohort_id) > ($5, $6)
        ORDER BY starts_on, cohort_id
        LIMIT $7
        """,
        low,
        high,
        status,
        programme_id,
        starts_on,
        cohort_id,
        limit,
    )


async def cohort(connection: Connection, cohort_id: str) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT cohort_id, version, area_code, number, programme_id, course_id, course_title, capacity, delivery_mode,
               venue, days, starts_on, ends_on, confirm_by, status, enrolled, waitlisted, days_recorded, completed,
               not_completed, completed_on, cancelled_because
        FROM cohort
        WHERE cohort_id = $1
        """,
        cohort_id,
    )


async def funnel(connection: Connection, area: AreaCode | None, programme_id: str | None) -> list[asyncpg.Record]:
    """By the kabupaten where people live: who had a place, confirmed, gave it up and why, completed or did not."""
    low, high = range_of(area)
    return await connection.fetch(
        """
        WITH lists AS (
            SELECT left(e.area_code, 5) AS kabupaten, e.status, e.enrolled_at, e.confirmed_at, e.withdrawn_because
            FROM enrolment e
            JOIN cohort c USING (cohort_id)
            WHERE e.area_code >= $1
              AND e.area_code < $2
              AND ($3::text IS NULL OR c.programme_id = $3)
        ),
        reasons AS (
            SELECT kabupaten, jsonb_object_agg(withdrawn_because, people) AS withdrawn_by_reason
            FROM (
                SELECT kabupaten, withdrawn_because, count(*) AS people
                FROM lists
                WHERE status = 'withdrawn'
                  AND enrolled_at IS NOT NULL
                GROUP BY 1, 2
            ) AS counted
            GROUP BY kabupaten
        )
        SELECT
            kabupaten AS area_code,
            count(enrolled_at) AS enrolled,
            count(confirmed_at) AS confirmed,
            count(*) FILTER (WHERE status = 'waitlisted') AS waitlisted,
            count(enrolled_at) FILTER (WHERE status = 'withdrawn') AS withdrawn,
            coalesce(withdrawn_by_reason, '{}') AS withdrawn_by_reason,
            count(*) FILTER (WHERE status = 'completed') AS completed,
            count(*) FILTER (WHERE status = 'not_completed') AS not_completed
        FROM lists
        LEFT JOIN reasons USING (kabupaten)
        GROUP BY kabupaten, withdrawn_by_reason
        ORDER BY kabupaten
        """,
        low,
        high,
        programme_id,
    )


async def class_figures(
    connection: Connection, programme_id: str | None, after: tuple[date, str] | None, limit: int
) -> list[asyncpg.Record]:
    """Attendance and results of each cohort: marks counted by status, and how many completed."""
    starts_on, cohort_id = after or (date.min, "")
    return await connection.fetch(
        """
        SELECT
            c.cohort_id, c.number, c.course_title, c.area_code, c.delivery_mode, c.status, c.starts_on,
            count(e.enrolled_at) AS enrolled,
            count(e.confirmed_at) AS confirmed,
            count(e.enrolled_at) FILTER (WHERE e.status = 'withdrawn') AS withdrawn,
            count(*) FILTER (WHERE e.status = 'completed') AS completed,
            count(*) FILTER (WHERE e.status = 'not_completed') AS not_completed,
            coalesce(sum(e.days_present), 0)::bigint AS marks_present,
            coalesce(sum(e.days_absent), 0)::bigint AS marks_absent,
            coalesce(sum(e.days_excused), 0)::bigint AS marks_excused,
            avg(e.pre_test)::float AS pre_test_average,
            avg(e.post_test)::float AS post_test_average
        FROM cohort c
        LEFT JOIN enrolment e USING (cohort_id)
        WHERE ($1::text IS NULL OR c.programme_id = $1)
          AND (c.starts_on, c.cohort_id) > ($2, $3)
        GROUP BY c.cohort_id
        ORDER BY c.starts_on, c.cohort_id
        LIMIT $4
        """,
        programme_id,
        starts_on,
        cohort_id,
        limit,
    )
