"""The sealed log as others read it: one entry a line, in the order of sequences, from the tables as they stand."""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from pydantic_core import from_json, to_json

from contracts.envelope import NOTHING_BEFORE, instant_text
from services.kit.merkle import HASH_BYTES, TILE_WIDTH
from services.kit.rows import Connection

READ_AT_ONCE = 1_000


async def sealed_size(connection: Connection) -> int:
    """How many events have a sequence."""
    size = await connection.fetchval(
        "SELECT first_sequence + size FROM sealed_batch ORDER BY first_sequence DESC LIMIT 1"
    )
    return int(size or 0)


async def entry_lines(pool: Any, source: str, first: int, last: int) -> AsyncIterator[bytes]:
    """The entries `first` up to, not with, `last`, as pieces of JSON lines. No connection is held between pieces."""
    begin, tails = await _tails_before(pool, first)
    while begin < last:
        rows = await _entries(pool, begin, min(begin + READ_AT_ONCE, last))
        lines = []
        for row in rows:
            place = f"{row['topic']}/{row['partition']}"
            previous, tails[place] = tails.get(place, NOTHING_BEFORE), row["sequence"]
            if row["sequence"] >= first:
                lines.append(to_json(entry_of(source, row, previous)) + b"\n")
        yield b"".join(lines)
        begin += READ_AT_ONCE


def entry_of(source: str, row: Any, previous: int) -> dict[str, Any]:
    """An entry as the endpoint and archives show it."""
    return {
        "sequence": row["sequence"],
        "previous_sequence": previous,
        "topic": row["topic"],
        "partition": row["partition"],
        "key": row["stream"],
        "version": row["version"],
        "type": row["type"],
        "id": row["event_id"],
        "source": source,
        "time": instant_text(row["occurred_at"]),
        "recorded": instant_text(row["recorded_at"]),
        "actor": row["actor"],
        "correlation_id": row["correlation_id"],
        "causation_id": row["causation_id"],
        "traceparent": row["traceparent"],
        "area_code": row["area_code"],
        "value": b64encode(row["value"]).decode(),
    }


async def _tails_before(pool: Any, sequence: int) -> tuple[int, dict[str, int]]:
    """Where the batch that holds the sequence begins, and the last sequence of each partition before it."""
    row = await pool.fetchrow(
        """
        SELECT b.first_sequence, before.tails
        FROM sealed_batch b
        LEFT JOIN sealed_batch before ON before.batch_no = b.batch_no - 1
        WHERE b.first_sequence <= $1
        ORDER BY b.first_sequence DESC
        LIMIT 1
        """,
        sequence,
    )
    if row is None:
        return 0, {}
    return row["first_sequence"], {} if row["tails"] is None else dict(from_json(row["tails"]))


async def _entries(pool: Any, first: int, last: int) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await pool.fetch(
        """
        SELECT s.sequence, l.topic, l.partition, l.stream, l.version, l.type, l.event_id, l.occurred_at, l.recorded_at,
               l.actor, l.correlation_id, l.causation_id, l.traceparent, l.area_code, l.value
        FROM seal s
        JOIN log l ON l.id = s.id
        WHERE s.sequence >= $1 AND s.sequence < $2
        ORDER BY s.sequence
        """,
        first,
        last,
    )
    return rows


async def leaf_pieces(pool: Any, first: int, last: int) -> AsyncIterator[bytes]:
    """The leaf hashes `first` up to, not with, `last`, 32 bytes each, as the tree holds them."""
    for tile in range(first // TILE_WIDTH, (last + TILE_WIDTH - 1) // TILE_WIDTH):
        hashes = await pool.fetchval("SELECT hashes FROM tile WHERE level = 0 AND number = $1", tile)
        start = tile * TILE_WIDTH
        yield (hashes or b"")[max(first - start, 0) * HASH_BYTES : (last - start) * HASH_BYTES]
