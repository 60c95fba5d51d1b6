"""Owns what is read of cooperatives."""

from collections.abc import Sequence
from datetime import date

import asyncpg

from contracts.outcomes import CooperativeNumber
from contracts.partners import AnnualMeetingHeld
from services.kit.rows import Connection, Rows
from services.outcomes.cooperatives.state import COOPERATIVES


async def load_cooperatives_that_met(connection: Connection, rows: Rows, facts: Sequence[AnnualMeetingHeld]) -> None:
    """By one query."""
    await rows.load(connection, COOPERATIVES, [(fact.cooperative_number,) for fact in facts])


async def cooperatives(
    connection: Connection,
    after: tuple[str] | None,
    fetch: int,
    *,
    codes: tuple[str, str],
    overdue_before: date,
    overdue: bool | None,
) -> list[asyncpg.Record]:
    """Cooperatives with their seats in a range of codes, by number; of all, or of those that are overdue or are not.

    One of which no meeting was ever reported is neither.
    """
    (number,) = after or ("",)
    return await connection.fetch(
        """
        SELECT *, meeting_held_on < $4 AS meeting_overdue
        FROM cooperative
        WHERE cooperative_number > $1
          AND area_code >= $2
          AND area_code < $3
          AND ($5::boolean IS NULL OR (meeting_held_on < $4) = $5)
        ORDER BY cooperative_number
        LIMIT $6
        """,
        number,
        *codes,
        overdue_before,
        overdue,
        fetch,
    )


async def cooperative(connection: Connection, number: CooperativeNumber, overdue_before: date) -> asyncpg.Record | None:
    return await connection.fetchrow(
        "SELECT *, meeting_held_on < $2 AS meeting_overdue FROM cooperative WHERE cooperative_number = $1",
        number,
        overdue_before,
    )
