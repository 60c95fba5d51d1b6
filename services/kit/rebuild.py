"""Rebuild: makes projections of foreign facts anew while the service runs, and changes only the rows that differ.

The new rows are folded into shadow tables beside the live ones. Only the last step touches a live table: with the
cursor held, so that nobody folds meanwhile, it writes the rows that differ. There is no DDL on a live table, so no plan
that a running process has cached breaks, and a rebuild that is broken off has changed nothing.
"""

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from pydantic_core import from_json, to_json

from services.kit.comparing import differs, shadow_of
from services.kit.folds import folds_of
from services.kit.garbage import without_looking
from services.kit.positions import Place, Standing
from services.kit.rebuild_parts import FOLDED_HERE, Order, fold_in_processes
from services.kit.replay import (
    Folding,
    Parked,
    ReplayDefect,
    Standings,
    facts_of,
    foreign_slices,
    own_and_foreign,
    parked_streams,
    standings_of,
)
from services.kit.rows import Connection, statements
from services.kit.table import Table

SUFFIX = "__rebuild"
NEAR_RECORDS = 2_000
"""When no more than these are missing, the last step folds them while it holds the cursor: some tenths of a second."""

LOCKED_ONE_BY_ONE = 5_000
"""When more rows differ, their table is locked: to lock each row takes a quarter of what it takes to write it."""

JOINED_IN = "128MB"
"""What PostgreSQL may take to join a table with its shadow: by default it would write a million rows to disk for it."""

Progress = Callable[[str, int], None]


class RebuildRefused(Exception):
    """What was asked for cannot be rebuilt; the message says why, and what can be."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What a rebuild did to one table."""

    table: Table[Any]
    rows: int  # that the facts make
    written: int  # that were changed, added or deleted


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild of one topic's tables did."""

    topic: str
    events: int
    resumed_at: int  # records that an earlier run had folded
    tables: Sequence[Mended]
    left_out: Sequence[str]  # streams that are, or were meanwhile, parked: their rows are as they were


@dataclass(slots=True)
class _Building:
    """The tables of one topic while they are being rebuilt."""

    topic: str
    tables: Sequence[Table[Any]]  # all of the service's tables of the topic, in locking order
    shadows: Sequence[Table[Any]]
    standings: Standings = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)

    @property
    def folds(self) -> dict[str, int]:
        return folds_of(self.topic, self.tables)


def _building(tables: Sequence[Table[Any]], topic: str) -> _Building:
    of_topic = [table for table in tables if table.topic == topic]
    return _Building(topic, of_topic, [shadow_of(table, SUFFIX) for table in of_topic])


def topics_to_rebuild(service: str, tables: Sequence[Table[Any]], names: Sequence[str]) -> list[str]:
    """The topics whose projections are meant; all when no table is named. Raises `RebuildRefused`."""
    own, foreign = own_and_foreign(service, tables)
    for name in names:
        if name in {table.name for table in own}:
            raise RebuildRefused(
                f"{name} holds {service}'s own facts: its rows were decided upon and are not made anew. "
                f"`rebuild --check {name}` compares them with the log."
            )
        if name not in {table.name for table in foreign}:
            known = ", ".join(table.name for table in foreign) or "none"
            raise RebuildRefused(f"{service} has no projection {name}; it has: {known}")
    return sorted({table.topic for table in foreign if not names or table.name in names})


async def rebuild(
    url: str,
    bootstrap: str,
    tables: Sequence[Table[Any]],
    topic: str,
    *,
    anew: bool = False,
    progress: Progress | None = None,
    tables_in: str = "",
    processes: int = 1,
) -> Rebuilt:
    """Rebuilds every table of a topic. Goes on where an earlier run was broken off, unless `anew`.

    Where much is to be folded, `processes` processes do it, which find the tables in the module `tables_in`. Raises
    `ReplayDefect`, and `RebuildRefused` if another rebuild of the topic runs.
    """
    building = _building(tables, topic)
    connection = await asyncpg.connect(url)
    try:
        async with _alone(connection, topic):
            await _begin(connection, building, anew=anew)
            resumed_at = sum(standing.next_offset for standing in building.standings.values())
            by_others = 0
            if processes > 1 and await _missing(connection, building) > FOLDED_HERE:
                everything = tuple(sorted(place.partition for place in building.standings))
                order = Order(url, bootstrap, topic, everything)
                by_others = await _catch_up_in_processes(connection, building, tables_in, order, processes, progress)
            folding = Folding(building.shadows)
            with without_looking():
                before = math.inf
                # Where facts come as fast as they are folded here, the gap does not close: the last step closes it.
                while NEAR_RECORDS < (left := await _missing(connection, building)) < before / 2:
                    before = left
                    await _catch_up(connection, building, folding, bootstrap, progress)
                mended = await _finish(connection, building, folding, bootstrap, progress)
            return Rebuilt(topic, by_others + folding.events, resumed_at, mended, sorted(building.skipped))
    finally:
        await connection.close()


async def discard(url: str, tables: Sequence[Table[Any]], topic: str) -> None:
    """Puts away what a rebuild that was broken off has left."""
    connection = await asyncpg.connect(url)
    try:
        async with _alone(connection, topic), connection.transaction():
            await _drop(connection, _building(tables, topic))
    finally:
        await connection.close()


@asynccontextmanager
async def _alone(connection: Connection, topic: str) -> AsyncIterator[None]:
    name = f"entas rebuild {topic}"
    if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name):
        raise RebuildRefused(f"another rebuild of what is folded of {topic} is running; wait for it, or end it")
    # The lock ends with its connection.
    yield


# --- Beginning --------------------------------------------------------------------------------------------------------


async def _begin(connection: Connection, building: _Building, *, anew: bool) -> None:
    async with connection.transaction():
        if not anew and await _resume(connection, building):
            return
        await _drop(connection, building)
        for table, shadow in zip(building.tables, building.shadows, strict=True):
            await connection.execute(f"CREATE UNLOGGED TABLE {shadow.name} (LIKE {table.name})")
            await connection.execute(f"ALTER TABLE {shadow.name} ADD PRIMARY KEY ({', '.join(table.key)})")
        await connection.execute(
            """
            INSERT INTO rebuild_progress (topic, partition, folds, next_offset, last_sequence)
            SELECT topic, partition, $2::text::jsonb, 0, -1 FROM cursor WHERE topic = $1
            """,
            building.topic,
            to_json(building.folds).decode(),
        )
        building.standings = dict.fromkeys(await standings_of(connection, [building.topic]), Standing())
        if not building.standings:
            raise RebuildRefused(
                f"nothing of {building.topic} was read yet: start a worker, and there is nothing to do"
            )


async def _resume(connection: Connection, building: _Building) -> bool:
    """Whether an earlier run has left something that fits: the same folds, into shadows with the same columns."""
    rows = await connection.fetch(
        """
        SELECT partition, folds, next_offset, last_sequence, last_event_id, skipped
        FROM rebuild_progress
        WHERE topic = $1
        """,
        building.topic,
    )
    if not rows or any(from_json(row["folds"]) != building.folds for row in rows):
        return False
    if not all([await _same_columns(connection, shadow) for shadow in building.shadows]):
        return False
    for row in rows:
        place = Place(building.topic, row["partition"])
        building.standings[place] = Standing(row["next_offset"], row["last_sequence"], row["last_event_id"])
        building.skipped.update(row["skipped"])
    return True


async def _same_columns(connection: Connection, shadow: Table[Any]) -> bool:
    found = await connection.fetch(
        """
        SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
        """,
        shadow.name,
    )
    return {column.name for column in statements(shadow).columns} == {row["attname"] for row in found}


async def _drop(connection: Connection, building: _Building) -> None:
    for shadow in building.shadows:
        await connection.execute(f"DROP TABLE IF EXISTS {shadow.name}")
    await connection.execute("DELETE FROM rebuild_progress WHERE topic = $1", building.topic)


# --- Catching up ------------------------------------------------------------------------------------------------------


async def _missing(connection: Connection, building: _Building) -> int:
    live = await standings_of(connection, [building.topic])
    return sum(end.next_offset - building.standings[place].next_offset for place, end in live.items())


async def _catch_up(
    connection: Connection, building: _Building, folding: Folding, bootstrap: str, progress: Progress | None
) -> None:
    """Folds up to where the live tables stood when this began, in transactions of their own with what they reached."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        live = await standings_of(connection, [building.topic])
        parked = await parked_streams(connection, [building.topic])
    ends = {place: live[place] for place in building.standings}
    building.skipped.update(stream for _, stream in parked)
    async for slices in foreign_slices(bootstrap, building.standings, ends, folding.read_ahead):
        async with connection.transaction():
            await _fold(connection, building, folding, slices, parked)
            await _note_progress(connection, building)
        if progress is not None:
            progress(building.topic, sum(len(piece.arrivals) for piece in slices))


async def _catch_up_in_processes(
    connection: Connection,
    building: _Building,
    tables_in: str,
    order: Order,
    processes: int,
    progress: Progress | None,
) -> int:
    """As `_catch_up`, by other processes. Returns how many records they have read."""
    read = 0

    def count(records: int) -> None:
        nonlocal read
        read += records
        if progress is not None:
            progress(building.topic, records)

    if failure := await fold_in_processes(tables_in, order, processes, count):
        raise ReplayDefect(failure)
    if not await _resume(connection, building):
        raise ReplayDefect(f"{building.topic}: what the parts of the rebuild had folded is gone; run it again")
    return read


async def fold_part(
    url: str, bootstrap: str, tables: Sequence[Table[Any]], topic: str, partitions: Sequence[int], progress: Progress
) -> None:
    """Catches up in some partitions of a rebuild that another process leads. Raises `ReplayDefect`."""
    building = _building(tables, topic)
    connection = await asyncpg.connect(url)
    try:
        if not await _resume(connection, building):
            raise ReplayDefect(f"no rebuild of what is folded of {topic} is under way")
        building.standings = {place: at for place, at in building.standings.items() if place.partition in partitions}
        with without_looking():
            await _catch_up(connection, building, Folding(building.shadows), bootstrap, progress)
    finally:
        await connection.close()


async def _fold(
    connection: Connection, building: _Building, folding: Folding, slices: Sequence[Any], parked: Parked
) -> None:
    await folding.fold(connection, facts_of(folding, slices, parked))
    await folding.write(connection)
    building.standings |= {piece.place: piece.after for piece in slices}


async def _note_progress(connection: Connection, building: _Building) -> None:
    places = list(building.standings)
    await connection.execute(
        """
        UPDATE rebuild_progress p
        SET next_offset = r.next_offset, last_sequence = r.last_sequence, last_event_id = r.last_event_id, skipped = $6
        FROM unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::text[])
             AS r (partition, next_offset, last_sequence, last_event_id)
        WHERE p.topic = $1 AND p.partition = r.partition
        """,
        building.topic,
        [place.partition for place in places],
        [building.standings[place].next_offset for place in places],
        [building.standings[place].last_sequence for place in places],
        [building.standings[place].last_event_id for place in places],
        sorted(building.skipped),
    )


# --- The last step ----------------------------------------------------------------------------------------------------


async def _finish(
    connection: Connection, building: _Building, folding: Folding, bootstrap: str, progress: Progress | None
) -> list[Mended]:
    """Holds the cursor, folds what is missing, and writes the rows that differ: one transaction."""
    for shadow in building.shadows:
        await connection.execute(f"ANALYZE {shadow.name}")
    async with connection.transaction():
        await connection.execute(f"SET LOCAL work_mem = '{JOINED_IN}'")
        # Parallel workers would share that much in /dev/shm, of which a container has 64 MB.
        await connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        ends = await standings_of(connection, [building.topic], lock=True)
        parked = await parked_streams(connection, [building.topic])
        building.skipped.update(stream for _, stream in parked)
        async for slices in foreign_slices(bootstrap, building.standings, ends, folding.read_ahead):
            await _fold(connection, building, folding, slices, parked)
            if progress is not None:
                progress(building.topic, sum(len(piece.arrivals) for piece in slices))
        _at_the_cursor(building, ends)
        left_out = sorted(building.skipped)
        pairs = zip(building.tables, building.shadows, strict=True)
        mended = [await _mend(connection, table, shadow, left_out) for table, shadow in pairs]
        await set_folds(connection, building.topic, building.folds)
        await _drop(connection, building)
    return mended


def _at_the_cursor(building: _Building, ends: Mapping[Place, Standing]) -> None:
    for place, end in ends.items():
        reached = building.standings[place]
        if (reached.next_offset, reached.last_sequence) != (end.next_offset, end.last_sequence):
            raise ReplayDefect(
                f"{place}: the rebuild stands at offset {reached.next_offset} (sequence {reached.last_sequence}), the "
                f"cursor at {end.next_offset} ({end.last_sequence}); run it again with --anew"
            )


async def _mend(connection: Connection, table: Table[Any], shadow: Table[Any], exempt: Sequence[str]) -> Mended:
    """Makes the live table equal to its shadow, but for the rows of exempt streams, which do not count either.

    Rows are locked first, in the order in which every command locks; many of them as one table, which whoever only
    reads goes on to read.
    """
    key = table.key
    same = " AND ".join(f"l.{column} = s.{column}" for column in key)
    counted = await connection.fetchrow(
        f"SELECT count(s.{key[0]}) AS rows, count(*) FILTER (WHERE {differs(table)}) AS differing "
        f"FROM {table.name} l FULL JOIN {shadow.name} s ON {same} "
        f"WHERE NOT coalesce(l.{key[0]}, s.{key[0]}) = ANY($1::text[])",
        exempt,
    )
    assert counted is not None
    rows, differing = counted
    if not differing:
        return Mended(table, rows, 0)
    if differing > LOCKED_ONE_BY_ONE:
        await connection.execute(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE")
    else:
        await connection.execute(
            f"SELECT 1 FROM {table.name} l LEFT JOIN {shadow.name} s ON {same} "
            f"WHERE {differs(table)} AND NOT l.{key[0]} = ANY($1::text[]) "
            f"ORDER BY {', '.join(f'l.{column}' for column in key)} FOR UPDATE OF l",
            exempt,
        )
    names = [column.name for column in statements(table).columns]
    folded, rest = ", ".join(f"s.{name}" for name in names), [name for name in names if name not in key]
    change = "UPDATE SET " + ", ".join(f"{name} = s.{name}" for name in rest) if rest else "DO NOTHING"
    # One join of the two for all three; an upsert would look each row up once more.
    done = await connection.execute(
        f"MERGE INTO {table.name} l USING {shadow.name} s ON {same} "
        f"WHEN MATCHED AND {differs(table)} AND NOT s.{key[0]} = ANY($1::text[]) THEN {change} "
        f"WHEN NOT MATCHED BY TARGET AND NOT s.{key[0]} = ANY($1::text[]) "
        f"THEN INSERT ({', '.join(names)}) VALUES ({folded}) "
        f"WHEN NOT MATCHED BY SOURCE AND NOT l.{key[0]} = ANY($1::text[]) THEN DELETE",
        exempt,
    )
    return Mended(table, rows, int(done.removeprefix("MERGE ")))


async def set_folds(connection: Connection, topic: str, folds: Mapping[str, int]) -> None:
    """Says with which folds the tables of a topic are made, in the transaction that has made them so."""
    await connection.execute(
        "UPDATE cursor SET folds = $2::text::jsonb, stopped = NULL WHERE topic = $1", topic, to_json(folds).decode()
    )
