"""Replay: folds a service's log and the topics it listens to once more, into tables that nobody else writes.

Only folds run: no reaction, no timer, no message; nothing is appended or sealed. What it streams is constant in memory.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic_core import from_json

from contracts.envelope import EVENTS, UPCASTERS, Envelope, Event, UnknownType, read_event
from contracts.topics import TOPICS, published_by
from services.kit.causes import told
from services.kit.fetching import extent, fetched, read_from, reader
from services.kit.garbage import without_looking
from services.kit.log import LOG_COLUMNS, envelope_of
from services.kit.positions import Place, Record, Slice, Standing, by_place, take
from services.kit.rows import Connection, Rows
from services.kit.table import Table

BATCH_EVENTS = 10_000
HOT_ROWS = 200_000
"""Rows kept in memory over batches, so that what is folded again soon need not be loaded again; some 200 MB."""

FETCH_MS = 200
PARTITION_FETCH_BYTES = 4 * 1024 * 1024

Fact = tuple[Event, Envelope]
Standings = dict[Place, Standing]


class ReplayDefect(Exception):
    """What is to be replayed is not whole, or cannot be folded. Nothing is skipped."""


# --- Folding ----------------------------------------------------------------------------------------------------------


class Folding:
    """Tables that are folded by this alone, from the first fact on.

    A stream's first fact (version 1) says that none of its rows exist yet, so nothing is loaded for it, and its rows
    are written by COPY. Rows stay in memory until there are more than `HOT_ROWS`.
    """

    def __init__(self, tables: Sequence[Table[Any]]) -> None:
        self._tables = tuple(tables)
        self._of_topic: dict[str, list[Table[Any]]] = {}
        for table in tables:
            self._of_topic.setdefault(table.topic, []).append(table)
        self._wanted = {event.ce_type for table in tables for event in table.folds}
        self.events = 0
        self.forget()

    def forget(self) -> None:
        """Drops what is in memory; what was not written is lost, as after a rollback."""
        self._rows = Rows(self._tables)
        self._whole: set[tuple[str, str]] = set()
        self._begun = 0

    @property
    def topics(self) -> list[str]:
        return sorted(self._of_topic)

    def read(self, envelope: Envelope, value: bytes | None) -> Event | None:
        """The event, or None if no table folds it. Raises `ReplayDefect`."""
        if envelope.type not in self._wanted:
            if envelope.type in EVENTS:
                return None
            if envelope.type not in UPCASTERS:
                self._refuse_newer(envelope)
                return None
        try:
            return read_event(envelope.type, value)
        except Exception as error:
            raise ReplayDefect(f"{_named(envelope)} cannot be read: {told(error)}") from error

    def read_ahead(self, record: Record) -> Record:
        """The record with its event, if a table folds it. If it cannot be read, `read` says so when its turn comes."""
        return record.read_ahead(self._wanted)

    def _refuse_newer(self, envelope: Envelope) -> None:
        try:
            read_event(envelope.type, b"{}")
        except UnknownType:
            return
        except Exception as error:
            raise ReplayDefect(f"{_named(envelope)} cannot be read: {told(error)}") from error

    async def fold(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Folds these facts in their order. Raises `ReplayDefect` and names the one that cannot be folded."""
        await self._know_streams(connection, facts)
        fold = self._rows.fold
        for event, envelope in facts:
            try:
                fold(event, envelope)
            except Exception as error:
                raise ReplayDefect(f"{_named(envelope)} cannot be folded: {told(error)}") from error
        self.events += len(facts)

    async def _know_streams(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Every row of the streams of these facts becomes known: by a query where the stream began before."""
        whole = self._whole
        begun: dict[str, list[str]] = {}
        known: dict[str, list[str]] = {}
        for _, envelope in facts:
            stream = (envelope.topic, envelope.key)
            if stream not in whole:
                whole.add(stream)
                (begun if envelope.version == 1 else known).setdefault(envelope.topic, []).append(envelope.key)
        for topic, keys in begun.items():
            self._rows.begin(topic, keys)
        for topic, keys in known.items():
            for table in self._of_topic.get(topic, ()):
                await self._rows.load_streams(connection, table, keys, lock=False)

    async def write(self, connection: Connection) -> None:
        """Writes what changed; lets go of the rows once they are many."""
        await self._rows.write(connection, copied=lambda table: True)
        if self._rows.count > HOT_ROWS:
            self.forget()


def _named(envelope: Envelope) -> str:
    return f"{envelope.type} {envelope.id} (version {envelope.version} of {envelope.topic}/{envelope.key})"


# --- The own log ------------------------------------------------------------------------------------------------------


async def own_facts(
    connection: Connection, service: str, folding: Folding, *, last_sequence: int | None = None
) -> AsyncIterator[list[Fact]]:
    """The facts of the service's own log that its tables fold, in the order of conflicts.

    With `last_sequence` those up to that number alone, by sequence; else all, sealed or not, by id. One transaction of
    the caller's (REPEATABLE READ) has to hold the whole reading, since lower ids may appear late.
    """
    source, after = f"/entas/{service}", -1
    while rows := await _log_page(connection, folding.topics, after, last_sequence):
        after = rows[-1]["place"]
        facts = []
        for row in rows:
            envelope = envelope_of(source, row)
            event = folding.read(envelope, row["value"])
            if event is not None:
                facts.append((event, envelope))
        yield facts


async def _log_page(
    connection: Connection, topics: Sequence[str], after: int, last_sequence: int | None
) -> list[asyncpg.Record]:
    if last_sequence is None:
        return await connection.fetch(
            f"""
            SELECT {LOG_COLUMNS}, l.id AS place
            FROM log l
            WHERE l.id > $1 AND l.topic = ANY($2::text[])
            ORDER BY l.id
            LIMIT $3
            """,
            after,
            topics,
            BATCH_EVENTS,
        )
    return await connection.fetch(
        f"""
        SELECT {LOG_COLUMNS}, s.sequence AS place
        FROM seal s
        JOIN log l ON l.id = s.id
        WHERE s.sequence > $1 AND s.sequence <= $4 AND l.topic = ANY($2::text[])
        ORDER BY s.sequence
        LIMIT $3
        """,
        after,
        topics,
        BATCH_EVENTS,
        last_sequence,
    )


# --- Foreign topics ---------------------------------------------------------------------------------------------------


async def foreign_slices(
    bootstrap: str,
    starts: Standings,
    ends: Mapping[Place, Standing],
    read: Callable[[Record], Record] = lambda record: record,
) -> AsyncIterator[list[Slice]]:
    """What stands in Kafka from `starts` up to `ends`, each record once and chained, as the consumer takes it; and as
    `read` makes it.

    Raises `ReplayDefect` where a partition does not hold that any more.
    """
    open_places = {place for place, end in ends.items() if starts[place].next_offset < end.next_offset}
    if not open_places:
        return
    async with reader(bootstrap, max_partition_fetch_bytes=PARTITION_FETCH_BYTES) as consumer:
        await _seek(consumer, {place: starts[place] for place in open_places}, ends)
        standings = dict(starts)
        while open_places:
            slices = []
            for place, records in by_place(await fetched(consumer, BATCH_EVENTS, FETCH_MS, read)).items():
                wanted = [record for record in records if record.offset < ends[place].next_offset]
                piece = take(place, standings[place], wanted, chained=True)
                if piece.trouble is not None:
                    raise ReplayDefect(str(piece.trouble))
                standings[place] = piece.after
                slices.append(piece)
            for place in [place for place in open_places if await _reached(consumer, place, ends[place])]:
                _same_end(place, standings[place], ends[place])
                consumer.pause(TopicPartition(*place))
                open_places.discard(place)
            if slices:
                yield slices


async def _seek(consumer: AIOKafkaConsumer, starts: Standings, ends: Mapping[Place, Standing]) -> None:
    begins, there = await extent(consumer, [TopicPartition(*place) for place in starts])
    offsets = {}
    for place, standing in starts.items():
        partition = TopicPartition(*place)
        if there[partition] < ends[place].next_offset:
            raise ReplayDefect(
                f"{place} ends at offset {there[partition]}, but was read up to {ends[place].next_offset}: the topic "
                "was made anew or truncated; see docs/runbooks/topic-made-anew.md"
            )
        # Where the beginning was deleted, the chain of the first record says so.
        offsets[partition] = max(standing.next_offset, begins[partition])
    read_from(consumer, offsets)


async def _reached(consumer: AIOKafkaConsumer, place: Place, end: Standing) -> bool:
    return bool(await consumer.position(TopicPartition(*place)) >= end.next_offset)


def _same_end(place: Place, found: Standing, end: Standing) -> None:
    if found.last_sequence != end.last_sequence:
        raise ReplayDefect(
            f"{place}: the last sequence before offset {end.next_offset} is {found.last_sequence}, but the cursor says "
            f"{end.last_sequence}: the topic was made anew; see docs/runbooks/topic-made-anew.md"
        )


Parked = Mapping[tuple[Place, str], int]  # where a stream is parked -> the offset of its first event that waits


def facts_of(folding: Folding, slices: Sequence[Slice], parked: Parked) -> list[Fact]:
    """The facts in these slices that the tables fold. Of a parked stream those before the event that it waits for."""
    facts = []
    for piece in slices:
        for arrival in piece.arrivals:
            envelope = arrival.envelope
            assert envelope is not None, "foreign slices are chained"
            if parked and parked.get((piece.place, envelope.key), arrival.record.offset + 1) <= arrival.record.offset:
                continue
            read = arrival.record.read
            event = (read and read.event) or folding.read(envelope, arrival.record.value)
            if event is not None:
                facts.append((event, envelope))
    return facts


# --- What a database has folded ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a replay goes: the own log up to a sequence (None: all of it), foreign topics up to these standings."""

    last_sequence: int | None
    foreign: Mapping[Place, Standing]
    parked: Parked
    says: str


def own_and_foreign(service: str, tables: Sequence[Table[Any]]) -> tuple[list[Table[Any]], list[Table[Any]]]:
    """The tables of the service's own facts, and the projections of others'."""
    own = {topic.name for topic in published_by(service)}
    return [t for t in tables if t.topic in own], [t for t in tables if t.topic not in own]


async def live_reach(connection: Connection, topics: Collection[str]) -> Reach:
    """All that the database has folded at the caller's snapshot."""
    standings = await standings_of(connection, topics)
    return Reach(None, standings, await parked_streams(connection, topics), "everything up to now")


async def reach_as_of(connection: Connection, topics: Collection[str], as_of: datetime | int) -> Reach:
    """What the service knew at a time or sequence. Raises `ReplayDefect` for a sequence that is not sealed yet.

    Foreign facts count as far as the newest checkpoint at or before it says that they had been folded.
    """
    sequence = as_of if isinstance(as_of, int) else await _last_sequence_at(connection, as_of)
    sealed = await connection.fetchval("SELECT coalesce(max(sequence), -1) FROM seal")
    if sequence > sealed:
        raise ReplayDefect(f"sequence {sequence} is not sealed yet; the newest is {sealed}")
    made_at = as_of if isinstance(as_of, datetime) else None
    row = await connection.fetchrow(
        """
        SELECT tree_size, made_at, cursors
        FROM checkpoint
        WHERE tree_size <= $1 + 1 AND ($2::timestamptz IS NULL OR made_at <= $2)
        ORDER BY tree_size DESC
        LIMIT 1
        """,
        sequence,
        made_at,
    )
    places = [Place(topic, n) for topic in sorted(topics) for n in range(TOPICS[topic].partitions)]
    if row is None:
        says = f"sequence {sequence}; no checkpoint is that old, so projections of foreign facts stay empty"
        return Reach(sequence, dict.fromkeys(places, Standing()), {}, says)
    noted = from_json(row["cursors"])
    foreign = {place: Standing(**noted[str(place)]) if str(place) in noted else Standing() for place in places}
    says = f"sequence {sequence}; foreign facts as of the checkpoint of {row['tree_size']} events, {row['made_at']}"
    return Reach(sequence, foreign, await parked_streams(connection, topics), says)


async def _last_sequence_at(connection: Connection, instant: datetime) -> int:
    sequence = await connection.fetchval(
        """
        SELECT s.sequence
        FROM seal s
        JOIN log l ON l.id = s.id
        WHERE l.recorded_at <= $1
        ORDER BY s.sequence DESC
        LIMIT 1
        """,
        instant,
    )
    return -1 if sequence is None else int(sequence)


async def standings_of(connection: Connection, topics: Collection[str], *, lock: bool = False) -> Standings:
    """Where the database stands in each partition of these topics; with `lock`, nobody moves on until it commits."""
    rows = await connection.fetch(
        """
        SELECT topic, partition, next_offset, last_sequence, last_event_id
        FROM cursor
        WHERE topic = ANY($1::text[])
        ORDER BY topic, partition
        """
        + ("FOR UPDATE" if lock else ""),
        sorted(topics),
    )
    return {
        Place(row["topic"], row["partition"]): Standing(row["next_offset"], row["last_sequence"], row["last_event_id"])
        for row in rows
    }


async def parked_streams(connection: Connection, topics: Collection[str]) -> Parked:
    """The streams of these topics that wait for a mended fold, with the offset of the first event that waits."""
    if await connection.fetchval("SELECT to_regclass('parked') IS NULL"):
        return {}
    rows = await connection.fetch(
        """
        SELECT topic, partition, stream, min(record_offset) AS first
        FROM parked
        WHERE topic = ANY($1::text[])
        GROUP BY topic, partition, stream
        """,
        sorted(topics),
    )
    return {(Place(row["topic"], row["partition"]), row["stream"]): row["first"] for row in rows}


# --- The whole of it --------------------------------------------------------------------------------------------------


async def fold_all(
    source: Connection,
    target: Connection,
    service: str,
    bootstrap: str,
    tables: Sequence[Table[Any]],
    reach: Reach,
    progress: Any = None,
) -> int:
    """Folds into the tables of `target`, which are empty, what `source`'s log and Kafka hold up to `reach`.

    The tables may be shadows of the service's: their names say where the rows go. Returns how many facts were folded.
    """
    own, foreign = own_and_foreign(service, tables)
    with without_looking():
        folding = Folding(own)
        if own:
            async for facts in own_facts(source, service, folding, last_sequence=reach.last_sequence):
                await folding.fold(target, facts)
                await folding.write(target)
                if progress is not None:
                    progress(len(facts))
        projecting = Folding(foreign)
        ends = {place: end for place, end in reach.foreign.items() if place.topic in projecting.topics}
        async for slices in foreign_slices(bootstrap, dict.fromkeys(ends, Standing()), ends, projecting.read_ahead):
            facts = facts_of(projecting, slices, reach.parked)
            await projecting.fold(target, facts)
            await projecting.write(target)
            if progress is not None:
                progress(len(facts))
    return folding.events + projecting.events


async def replay_into(
    source_url: str,
    target_url: str,
    service: str,
    bootstrap: str,
    tables: Sequence[Table[Any]],
    as_of: datetime | int | None,
    progress: Any = None,
) -> tuple[Reach, int]:
    """Replays into an empty, migrated database, in one transaction: it holds all, or nothing. Raises `ReplayDefect`."""
    foreign = {table.topic for table in own_and_foreign(service, tables)[1]}
    source, target = await asyncpg.connect(source_url), await asyncpg.connect(target_url)
    try:
        async with source.transaction(isolation="repeatable_read", readonly=True), target.transaction():
            await _refuse_filled(target, tables)
            reach = await (live_reach(source, foreign) if as_of is None else reach_as_of(source, foreign, as_of))
            events = await fold_all(source, target, service, bootstrap, tables, reach, progress)
            await _note_standings(target, reach.foreign)
            return reach, events
    finally:
        await source.close()
        await target.close()


async def _refuse_filled(target: Connection, tables: Sequence[Table[Any]]) -> None:
    for name in ("log", "cursor", *[table.name for table in tables]):
        if await target.fetchval("SELECT to_regclass($1) IS NULL", name):
            raise ReplayDefect(
                f"the database to replay into has no table {name}; migrate it first: "
                "ENTAS_DATABASE_URL=<that database> python -m services.<name> migrate"
            )
        if await target.fetchval(f"SELECT EXISTS (SELECT 1 FROM {name})"):
            raise ReplayDefect(f"the database to replay into is not empty: {name} has rows; make a new one")


async def _note_standings(target: Connection, standings: Mapping[Place, Standing]) -> None:
    """Says in the new database up to where its projections go."""
    await target.executemany(
        "INSERT INTO cursor (topic, partition, next_offset, last_sequence, last_event_id) VALUES ($1, $2, $3, $4, $5)",
        [(*place, s.next_offset, s.last_sequence, s.last_event_id) for place, s in standings.items()],
    )
