"""Writes an archive's log into an empty database of its service, as the relay would have sealed it there."""

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
from pydantic_core import to_json

from contracts.envelope import proof_bytes, value_digest
from services.audit.archive import ArchiveSource
from services.audit.sources import Broken, Found
from services.kit.merkle import Frontier, leaf_hash, partial_tiles_needed, tile_updates
from services.kit.notes import BadNote, Checkpoint, read_checkpoint


class NotImported(Exception):
    """The database or the archive is not fit for it; nothing was written."""


async def import_log(
    source: ArchiveSource, service: str, database_url: str, progress: Callable[[int, int], None] = lambda *_: None
) -> int:
    """All of the archive's log or nothing, in one transaction. Returns how many events. Raises NotImported."""
    if service not in source.services:
        raise NotImported(f"{source.name} holds {', '.join(source.services)}, not {service}")
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await _refuse_unless_empty(connection)
            return await _write(connection, source, service, progress)
    except asyncpg.UndefinedTableError as error:
        raise NotImported(f"the database has no log: run `python -m services.{service} migrate` on it first") from error
    finally:
        await connection.close()


async def _refuse_unless_empty(connection: Any) -> None:
    for table in ("log", "seal", "sealed_batch", "checkpoint"):
        if await connection.fetchval(f"SELECT EXISTS (SELECT 1 FROM {table})"):
            raise NotImported(f"the table {table} is not empty: an archive is never mixed with another log")


async def _write(connection: Any, source: ArchiveSource, service: str, progress: Callable[[int, int], None]) -> int:
    notes = [_read(noted.text) async for noted in source.notes(service)]
    size = max((checkpoint.size for checkpoint, _ in notes), default=0)
    frontier, number = Frontier(), 0
    tails: dict[str, int] = {}
    async for batch in source.entries(service, 0, size):
        found = [_sound(entry) for entry in batch]
        if found:
            number += 1
            frontier = await _seal(connection, number, frontier, found, tails)
            progress(frontier.size, size)
    roots = {checkpoint.size: checkpoint.root for checkpoint, _ in notes}
    if frontier.size != size or roots.get(size) != frontier.root():
        raise NotImported(f"{source.name} does not hold what was signed of {service}: verify it")
    await _write_checkpoints(connection, notes)
    return size


def _read(note: str) -> tuple[Checkpoint, str]:
    try:
        return read_checkpoint(note), note
    except BadNote as error:
        raise NotImported(f"a checkpoint cannot be read: {error}") from error


def _sound(entry: Found | Broken) -> Found:
    if isinstance(entry, Broken):
        raise NotImported(f"the archive cannot be read: {entry.why}")
    return entry


async def _seal(
    connection: Any, number: int, before: Frontier, found: Sequence[Found], tails: dict[str, int]
) -> Frontier:
    """One piece of the log, as a sealed batch that was sent."""
    if [entry.position.sequence for entry in found] != list(range(before.size, before.size + len(found))):
        raise NotImported(f"the sequences from {before.size} are not one after the other: verify the archive")
    await _write_log(connection, found)
    await connection.execute(
        """
        INSERT INTO seal (sequence, id)
        SELECT sequence, l.id
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[]) AS entry (sequence, topic, stream, version)
        JOIN log l USING (topic, stream, version)
        """,
        [e.position.sequence for e in found],
        [e.envelope.topic for e in found],
        [e.envelope.key for e in found],
        [e.envelope.version for e in found],
    )
    leaves = [leaf_hash(proof_bytes(e.envelope, e.position.sequence, value_digest(e.value))) for e in found]
    frontier, completed = before.extend(leaves)
    await _write_tiles(connection, before.size, leaves, completed)
    tails.update({entry.place: entry.position.sequence for entry in found})
    await connection.execute(
        """
        INSERT INTO sealed_batch (batch_no, first_sequence, size, root, frontier, tails, sent_at)
        VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, now())
        """,
        number,
        before.size,
        len(found),
        frontier.root(),
        frontier.to_bytes(),
        to_json(tails).decode(),
    )
    return frontier


async def _write_log(connection: Any, found: Sequence[Found]) -> None:
    """The rows of the log, their ids in the order of sequences."""
    await connection.copy_records_to_table(
        "log",
        columns=(
            "topic", "stream", "version", "partition", "type", "event_id", "occurred_at", "recorded_at", "actor",
            "correlation_id", "causation_id", "traceparent", "area_code", "value",
        ),
        records=[
            (
                e.envelope.topic, e.envelope.key, e.envelope.version, e.partition, e.envelope.type, e.envelope.id,
                e.envelope.time, e.envelope.recorded, e.envelope.actor, e.envelope.correlation_id,
                e.envelope.causation_id, e.envelope.traceparent, e.area_code or "", e.value,
            )
            for e in found
        ],
    )  # fmt: skip


async def _write_tiles(
    connection: Any, size: int, leaves: Sequence[bytes], completed: Sequence[Sequence[bytes]]
) -> None:
    partial = {
        tile: await connection.fetchval("SELECT hashes FROM tile WHERE level = $1 AND number = $2", *tile)
        for tile in partial_tiles_needed(size, len(leaves))
    }
    tiles = tile_updates(size, leaves, partial, completed)
    await connection.executemany(
        """
        INSERT INTO tile (level, number, hashes)
        VALUES ($1, $2, $3)
        ON CONFLICT (level, number) DO UPDATE SET hashes = EXCLUDED.hashes
        """,
        [(level, number, hashes) for (level, number), hashes in tiles.items()],
    )


async def _write_checkpoints(connection: Any, notes: Sequence[tuple[Checkpoint, str]]) -> None:
    await connection.executemany(
        """
        INSERT INTO checkpoint (tree_size, root, made_at, counts, tails, cursors, note, published_at, witnessed_at)
        VALUES ($1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6::text::jsonb, $7, now(), now())
        ON CONFLICT (tree_size) DO NOTHING
        """,
        [
            (
                c.size,
                c.root,
                c.made,
                to_json(c.counts).decode(),
                to_json(c.tails).decode(),
                to_json(c.cursors).decode(),
                n,
            )
            for c, n in notes
        ],
    )
