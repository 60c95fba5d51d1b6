"""What is asked of deliveries: what was wanted already, what is due, what was left behind, and the ledger."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from contracts.areas import AreaCode
from contracts.notifications import Channel
from services.kit.rows import Connection

# --- For reactions ----------------------------------------------------------------------------------------------------


async def wanted_about(connection: Connection, streams: Collection[str]) -> frozenset[str]:
    """Ids of the notifications that were ever wanted about facts of these streams."""
    rows = await connection.fetch(
        "SELECT notification_id FROM delivery WHERE about_stream = ANY($1::text[])", list(streams)
    )
    return frozenset(row["notification_id"] for row in rows)


# --- For sending ------------------------------------------------------------------------------------------------------


async def is_something_due(connection: Connection, now: datetime) -> bool:
    """Whether a message's time has come, though it may have been put off. Asked often: one look into an index."""
    found: bool = await connection.fetchval(
        """
        SELECT EXISTS (
            SELECT
            FROM delivery
            WHERE status = 'requested'
              AND next_at <= $1
        )
        """,
        now,
    )
    return found


async def due(connection: Connection, now: datetime, free: Mapping[Channel, int]) -> list[str]:
    """Ids of messages whose time has come, locked: for each channel as many as it has free slots.

    First come those that wait for such a channel already, then those of which nobody knows the channel yet, each the
    longest due first. What another worker holds is passed over.
    """
    ids: list[str] = []
    for channel, slots in free.items():
        ids += await _waiting_for(connection, now, channel, slots)
    if rest := sum(free.values()) - len(ids):
        ids += await _not_looked_at(connection, now, rest)
    return ids


async def _waiting_for(connection: Connection, now: datetime, channel: Channel, limit: int) -> list[str]:
    rows = await connection.fetch(
        """
        SELECT d.notification_id
        FROM put_off p
        JOIN delivery d USING (notification_id)
        WHERE p.channel = $1
          AND d.status = 'requested'
          AND d.next_at <= $2
        ORDER BY d.next_at, d.notification_id
        LIMIT $3
        FOR UPDATE OF d SKIP LOCKED
        """,
        str(channel),
        now,
        limit,
    )
    return [row["notification_id"] for row in rows]


async def _not_looked_at(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Left out is what is about a person of whom the registry's facts have not arrived yet."""
    rows = await connection.fetch(
        """
        SELECT d.notification_id
        FROM delivery d
        LEFT JOIN put_off p USING (notification_id)
        WHERE d.status = 'requested'
          AND d.next_at <= $1
          AND p.channel IS NULL
          AND (p.until IS NULL OR p.until <= $1)
          AND EXISTS (SELECT FROM person WHERE participant_id = d.participant_id)
        ORDER BY d.next_at, d.notification_id
        LIMIT $2
        FOR UPDATE OF d SKIP LOCKED
        """,
        now,
        limit,
    )
    return [row["notification_id"] for row in rows]


async def put_off(connection: Connection, until: Mapping[str, datetime], channels: Mapping[str, Channel]) -> None:
    """Notes what waits for the end of quiet hours, and what waits for a channel."""
    ids = [*until, *channels]
    if not ids:
        return
    await connection.execute(
        """
        INSERT INTO put_off (notification_id, until, channel)
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[])
        ON CONFLICT (notification_id) DO UPDATE
        SET until = EXCLUDED.until, channel = EXCLUDED.channel
        """,
        ids,
        [until.get(id_) for id_ in ids],
        [str(channels[id_]) if id_ in channels else None for id_ in ids],
    )


async def no_longer_put_off(connection: Connection, ids: Collection[str]) -> None:
    if ids:
        await connection.execute("DELETE FROM put_off WHERE notification_id = ANY($1::text[])", list(ids))


async def left_behind(connection: Connection, myself: str, limit: int) -> list[str]:
    """Ids of messages that a worker was sending which is no more, locked.

    A worker holds an advisory lock on its name for as long as its connection lives, and that ends with the process.
    """
    rows = await connection.fetch(
        """
        WITH gone AS (
            SELECT sending_by
            FROM (SELECT DISTINCT sending_by FROM delivery WHERE status = 'sending' AND sending_by <> $1) AS others
            WHERE pg_try_advisory_xact_lock(hashtextextended(sending_by, 0))
        )
        SELECT d.notification_id
        FROM delivery d
        WHERE d.status = 'sending'
          AND d.sending_by = ANY (ARRAY(SELECT sending_by FROM gone))
        ORDER BY d.notification_id
        LIMIT $2
        FOR UPDATE OF d SKIP LOCKED
        """,
        myself,
        limit,
    )
    return [row["notification_id"] for row in rows]


# --- By the clock -----------------------------------------------------------------------------------------------------


async def old_news(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Ids of messages that are old news by now, locked; what another worker holds is passed over."""
    rows = await connection.fetch(
        """
        SELECT notification_id
        FROM delivery
        WHERE status = 'requested'
          AND send_before <= $1
        ORDER BY send_before, notification_id
        LIMIT $2
        FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )
    return [row["notification_id"] for row in rows]


async def next_due(connection: Connection) -> datetime | None:
    """When the next message may go, or becomes old news; an instant that has passed while one is being sent.

    A health check asks this often: each part is the first entry of an index.
    """
    due: datetime | None = await connection.fetchval(
        """
        SELECT least(
            (SELECT min(next_at) FROM delivery WHERE status = 'sending'),
            (SELECT min(send_before) FROM delivery WHERE status = 'requested'),
            (
                SELECT d.next_at
                FROM delivery d
                WHERE d.status = 'requested'
                  AND NOT EXISTS (
                      SELECT
                      FROM put_off p
                      WHERE p.notification_id = d.notification_id
                        AND p.until IS NOT NULL
                  )
                ORDER BY d.next_at
                LIMIT 1
            ),
            (
                SELECT min(greatest(d.next_at, p.until))
                FROM put_off p
                JOIN delivery d USING (notification_id)
                WHERE d.status = 'requested'
                  AND p.until IS NOT NULL
            )
        )
        """
    )
    return due


# --- The ledger -------------------------------------------------------------------------------------------------------

_SHOWN = """
    notification_id, version, area_code, status, rule_id, rule_version, template_id, template_version, recipient,
    recipient_id, participant_id, about_id, about_stream, requested_at, send_after, send_before, next_at, attempt,
    channel, in_doubt, refused, because, provider_reference, sent_at, delivered_at
"""


async def ledger(
    connection: Connection, wanted: Mapping[str, Any], after: tuple[datetime, str] | None, limit: int
) -> list[asyncpg.Record]:
    """A page of the ledger, the latest request first. `wanted`: participant, recipient, status, rule, area."""
    low, high = _range_of(wanted.get("area"))
    requested_at, notification_id = after or (None, "")
    return await connection.fetch(
        f"""
        SELECT {_SHOWN}
        FROM delivery
        WHERE ($1::text IS NULL OR participant_id = $1)
          AND ($2::text IS NULL OR recipient_id = $2)
          AND ($3::text IS NULL OR status = $3)
          AND ($4::text IS NULL OR rule_id = $4)
          AND area_code >= $5
          AND area_code < $6
          AND ($7::timestamptz IS NULL OR (requested_at, notification_id) < ($7, $8))
        ORDER BY requested_at DESC, notification_id DESC
        LIMIT $9
        """,
        wanted.get("participant"),
        wanted.get("recipient"),
        wanted.get("status"),
        wanted.get("rule"),
        low,
        high,
        requested_at,
        notification_id,
        limit,
    )


async def notification(connection: Connection, notification_id: str) -> asyncpg.Record | None:
    return await connection.fetchrow(f"SELECT {_SHOWN} FROM delivery WHERE notification_id = $1", notification_id)


async def counts(connection: Connection, area: AreaCode | None) -> Sequence[asyncpg.Record]:
    """How many notifications stand where, by rule, channel and reason."""
    low, high = _range_of(area)
    return await connection.fetch(
        """
        SELECT rule_id, status, channel, because, count(*) AS notifications
        FROM delivery
        WHERE area_code >= $1
          AND area_code < $2
        GROUP BY rule_id, status, channel, because
        ORDER BY rule_id, status, channel, because
        """,
        low,
        high,
    )


def _range_of(area: AreaCode | None) -> tuple[str, str]:
    """An area and all below it are one range of codes: "/" is the character after "."."""
    return ("", "~") if area is None else (area, area + "/")
