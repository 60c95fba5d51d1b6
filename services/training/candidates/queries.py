"""Who could be given a place, and where the listed households live."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import asyncpg

from contracts.areas import AreaCode
from contracts.training import DeliveryMode
from services.kit.rows import Connection
from services.kit.transaction import Transaction
from services.training.candidates.state import CANDIDATES, Candidate
from services.training.cohorts.state import Cohort


def range_of(area: AreaCode | None) -> tuple[str, str]:
    """The area and all below it as one range of codes, in byte order: "/" is the character after "."."""
    return ("", "~") if area is None else (area, area + "/")


async def as_they_stand(tx: Transaction, participant_ids: Iterable[str]) -> dict[str, Candidate]:
    """These candidates, not locked: enough for people who are on a list already.

    If the registry's next fact about one of them is being folded at this moment, its reaction waits for the
    cohort's row and then finds them where this transaction put them.
    """
    ids = list(participant_ids)
    await tx.working_set.load(tx.connection, CANDIDATES, [(person,) for person in ids], lock=False)
    rows = ((person, tx.working_set.get(CANDIDATES, person)) for person in ids)
    return {person: row for person, row in rows if row is not None}


async def to_enrol_by_priority(
    connection: Connection, cohort: Cohort, area: AreaCode, wanted_per_kabupaten: int
) -> list[str]:
    """Ids of free candidates who can come to this cohort: the first of each kabupaten, so that quotas leave enough.

    Free is who is on no open list, has completed no course yet, and was not on this cohort's list before.
    """
    low, high = range_of(area)
    rows = await connection.fetch(
        """
        SELECT participant_id
        FROM (
            SELECT
                c.participant_id,
                row_number() OVER (PARTITION BY left(c.area_code, 5) ORDER BY c.score DESC, c.participant_id) AS place
            FROM candidate c
            WHERE c.status = 'verified'
              AND c.adult
              AND c.expires_at > $1
              AND c.area_code >= $2
              AND c.area_code < $3
              AND (c.can_leave_home OR $4 OR left(c.area_code, 8) = left($5, 8))
              AND NOT EXISTS (
                  SELECT
                  FROM enrolment e
                  WHERE e.participant_id = c.participant_id
                    AND (e.status IN ('waitlisted', 'enrolled', 'confirmed', 'completed') OR e.cohort_id = $6)
              )
        ) AS free
        WHERE place <= $7
        ORDER BY participant_id
        """,
        cohort.starts_at,
        low,
        high,
        cohort.delivery_mode == DeliveryMode.ON_SITE,
        cohort.area_code,
        cohort.cohort_id,
        wanted_per_kabupaten,
    )
    return [row["participant_id"] for row in rows]


POOL = """
    SELECT c.participant_id, c.version, c.area_code, c.household_id, c.sex, c.age_band, c.can_leave_home, c.reachable,
           c.verified_at, c.expires_at, c.score, c.priority
    FROM candidate c
    WHERE c.status = 'verified'
      AND c.adult
      AND c.expires_at > $1
      AND c.area_code >= $2
      AND c.area_code < $3
      AND c.score <= $4
      AND (c.score < $4 OR c.participant_id > $5)
      AND NOT EXISTS (
          SELECT
          FROM enrolment e
          WHERE e.participant_id = c.participant_id
            AND e.status IN ('waitlisted', 'enrolled', 'confirmed', 'completed')
      )
    ORDER BY c.score DESC, c.participant_id
    LIMIT $6
"""
"""Everybody whom enrolling by priority could take somewhere, the first in line first."""

_HIGHEST = (1 << 63) - 1


async def pool(
    connection: Connection, now: datetime, area: AreaCode | None, after: tuple[int, str] | None, limit: int
) -> list[asyncpg.Record]:
    """A page of the candidate pool, in priority order."""
    low, high = range_of(area)
    score, participant_id = after or (_HIGHEST, "")
    return await connection.fetch(POOL, now, low, high, score, participant_id, limit)


async def demand(
    connection: Connection, now: datetime, area: AreaCode | None, by: Literal["kabupaten", "kecamatan", "village"]
) -> list[asyncpg.Record]:
    """Listed households and people, verified candidates and those of them who are free, by area."""
    low, high = range_of(area)
    return await connection.fetch(
        """
        WITH listed AS (
            SELECT left(area_code, $1) AS area, count(*) AS households, sum(people) AS people
            FROM demand
            WHERE status = 'listed'
              AND area_code >= $2
              AND area_code < $3
            GROUP BY 1
        ),
        verified AS (
            SELECT
                left(c.area_code, $1) AS area,
                count(*) AS candidates,
                count(*) FILTER (
                    WHERE NOT EXISTS (
                        SELECT
                        FROM enrolment e
                        WHERE e.participant_id = c.participant_id
                          AND e.status IN ('waitlisted', 'enrolled', 'confirmed', 'completed')
                    )
                ) AS free
            FROM candidate c
            WHERE c.status = 'verified'
              AND c.adult
              AND c.expires_at > $4
              AND c.area_code >= $2
              AND c.area_code < $3
            GROUP BY 1
        )
        SELECT
            area AS area_code,
            coalesce(households, 0) AS households,
            coalesce(people, 0)::bigint AS people,
            coalesce(candidates, 0) AS verified,
            coalesce(free, 0) AS free
        FROM listed
        FULL JOIN verified USING (area)
        ORDER BY area
        """,
        {"kabupaten": 5, "kecamatan": 8, "village": 13}[by],
        low,
        high,
        now,
    )
