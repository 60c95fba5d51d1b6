"""Recovery: a database that was restored from an older backup takes back from Kafka what it has sealed and sent since.

The log of a service must never fork: a sequence that others have read means one event for ever. So the relay's leader
asks Kafka before it seals anything (`look_at_tails`), and `recover` appends the missing tail as it was.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic_core import from_json

from contracts.envelope import NOTHING_BEFORE, Envelope, Event, Position, Unreadable, read_event, read_headers
from contracts.topics import TOPICS, published_by
from services.kit import intake
from services.kit.fetching import extent, read_from, reader
from services.kit.intake import Message
from services.kit.log import Entry, append
from services.kit.merkle import Frontier
from services.kit.partition import partition_for
from services.kit.positions import Place, Standing, take
from services.kit.reactions import Partner
from services.kit.relay import Outgoing, write_seal
from services.kit.replay import Folding, Standings, facts_of, foreign_slices, own_and_foreign, standings_of
from services.kit.reseeding import lead
from services.kit.rows import Connection, Rows
from services.kit.service import Redo
from services.kit.table import Table

BATCH_EVENTS = 2_000
BUFFERED_RECORDS = 20_000  # of one partition, while another one's turn it is
NAMED = 20


class RecoveryRefused(Exception):
    """The tail in Kafka does not follow what this database holds; nothing was changed. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record of the own log as it stands in Kafka."""

    envelope: Envelope
    position: Position
    place: Place
    offset: int
    value: bytes


@dataclass(slots=True)
class Recovered:
    first_sequence: int
    events: int = 0
    appended: int = 0  # the others were on the log already, not yet sealed
    moved: dict[Place, int] = field(default_factory=dict)  # foreign places -> records folded without reacting anew


# --- Reading the tail -------------------------------------------------------------------------------------------------


async def tail_of(bootstrap: str, service: str, tails: Mapping[str, int], size: int) -> AsyncIterator[Sealed]:
    """What Kafka holds of the service's log from sequence `size` on: gapless, chained to `tails`, each sequence once.

    Raises `RecoveryRefused` and names the first sequence, topic, partition and offset that does not fit.
    """
    places = [Place(topic.name, n) for topic in published_by(service) for n in range(topic.partitions)]
    async with reader(bootstrap) as consumer:
        merged = _Merged(service, {place: tails.get(str(place), NOTHING_BEFORE) for place in places}, size)
        async for sealed in merged.read(consumer, places):
            yield sealed


class _Merged:
    """Records of many partitions in the order of their sequences, of which none may be missing."""

    def __init__(self, service: str, last: dict[Place, int], size: int) -> None:
        self._source = f"/entas/{service}"
        self._last = last
        self._next = size
        self._buffers: dict[Place, deque[Sealed]] = {place: deque() for place in last}

    async def read(self, consumer: AIOKafkaConsumer, places: Sequence[Place]) -> AsyncIterator[Sealed]:
        partitions = [TopicPartition(*place) for place in places]
        begins, ends = await extent(consumer, partitions)
        read_from(consumer, begins)
        waiting = {
            place for place in places if await consumer.position(TopicPartition(*place)) < ends[TopicPartition(*place)]
        }
        while waiting or any(self._buffers.values()):
            for sealed in self._ready():
                yield sealed
            if not waiting:
                self._refuse_gap()
                return
            for of_place in (await consumer.getmany(timeout_ms=200)).values():
                for record in of_place:
                    self._buffer(record)
            for place in list(waiting):
                partition = TopicPartition(*place)
                if await consumer.position(partition) >= ends[partition]:
                    waiting.discard(place)
                    consumer.pause(partition)
            self._hold_back(consumer, waiting)

    def _hold_back(self, consumer: AIOKafkaConsumer, waiting: set[Place]) -> None:
        """Bounds what is in memory: a partition that is far ahead waits, unless all are, which is a gap."""
        ahead = {place for place in waiting if len(self._buffers[place]) > BUFFERED_RECORDS}
        for place in waiting:
            (consumer.pause if place in ahead and ahead != waiting else consumer.resume)(TopicPartition(*place))

    def _buffer(self, record: Any) -> None:
        place = Place(record.topic, record.partition)
        try:
            envelope, position = read_headers(record.topic, record.headers)
        except Unreadable as error:
            raise RecoveryRefused(f"{place} offset {record.offset}: {error}") from None
        if position.sequence <= self._last[place] or position.sequence < self._next:
            return  # What the database holds, or a copy.
        where = f"sequence {position.sequence} at {place} offset {record.offset}"
        if position.previous_sequence != self._last[place]:
            raise RecoveryRefused(
                f"{where} follows {position.previous_sequence}, but {self._last[place]} is the one before it here: "
                "records are missing, or the backup is of another log; restore a newer backup"
            )
        if envelope.source != self._source:
            raise RecoveryRefused(f"{where} is of {envelope.source}, not of {self._source}")
        if partition_for(envelope.key, TOPICS[record.topic].partitions) != record.partition:
            raise RecoveryRefused(f"{where}: its key belongs to another partition")
        self._last[place] = position.sequence
        self._buffers[place].append(Sealed(envelope, position, place, record.offset, record.value))

    def _ready(self) -> list[Sealed]:
        ready = []
        while True:
            for buffer in self._buffers.values():
                if buffer and buffer[0].position.sequence == self._next:
                    ready.append(buffer.popleft())
                    self._next += 1
                    break
            else:
                return ready

    def _refuse_gap(self) -> None:
        held = [buffer[0] for buffer in self._buffers.values() if buffer]
        if held:
            first = min(held, key=lambda sealed: sealed.position.sequence)
            raise RecoveryRefused(
                f"sequence {self._next} is nowhere in Kafka, but {first.position.sequence} is, at {first.place} offset "
                f"{first.offset}: the last batch was not sent whole; restore a backup that holds sequence {self._next}"
            )


# --- Recovering -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """How far this database has sealed."""

    batch_no: int
    frontier: Frontier
    tails: dict[str, int]

    @property
    def size(self) -> int:
        return self.frontier.size


async def head_of(connection: Connection) -> Head:
    row = await connection.fetchrow("SELECT batch_no, frontier, tails FROM sealed_batch ORDER BY batch_no DESC LIMIT 1")
    if row is None:
        return Head(0, Frontier(), {})
    return Head(row["batch_no"], Frontier.from_bytes(row["frontier"]), from_json(row["tails"]))


async def recover(
    url: str,
    service: str,
    bootstrap: str,
    tables: Sequence[Table[Any]],
    partners: Sequence[Partner] = (),
    progress: Callable[[int], None] | None = None,
    redo: Redo | None = None,
) -> Recovered:
    """Appends the missing tail with its own ids, versions, times and sequences, seals it and folds it into the own
    tables, batch by batch; `redo` does again what its facts did beside that. Run again, it goes on where it was; where
    nothing is missing it changes nothing.

    Raises `RecoveryRefused` before it changes anything. No worker and no API may run.
    """
    connection = await asyncpg.connect(url)
    try:
        await lead(connection)
        head = await head_of(connection)
        done = Recovered(head.size)
        causes = await _look_through(connection, bootstrap, service, head)
        # First of all: once the tail is on the log, nothing would tell any more which foreign facts it answered.
        done.moved = await fold_what_was_answered(connection, bootstrap, service, tables, partners, causes)
        batch: list[Sealed] = []
        async for sealed in tail_of(bootstrap, service, head.tails, head.size):
            batch.append(sealed)
            if len(batch) >= BATCH_EVENTS:
                await _take_back(connection, service, tables, batch, done, redo)
                batch = []
                if progress is not None:
                    progress(BATCH_EVENTS)
        if batch:
            await _take_back(connection, service, tables, batch, done, redo)
        return done
    finally:
        await connection.close()


@dataclass(slots=True)
class _Causes:
    """Which foreign facts the tail answers: by their ids, and partners' messages that it rejects by their offsets."""

    ids: set[str] = field(default_factory=set)
    rejected: dict[Place, int] = field(default_factory=dict)


async def _look_through(connection: Connection, bootstrap: str, service: str, head: Head) -> _Causes:
    """Reads the whole tail once, so that it is known to fit before anything is changed. Raises `RecoveryRefused`."""
    waiting = await _unsealed(connection)
    causes, collisions = _Causes(), []
    async for sealed in tail_of(bootstrap, service, head.tails, head.size):
        row = waiting.get(_stream(sealed))
        if row is not None and row["event_id"] != sealed.envelope.id:
            collisions.append((row, sealed))
        if sealed.envelope.causation_id is not None:
            causes.ids.add(sealed.envelope.causation_id)
        _note_rejected(causes, sealed)
    if collisions:
        raise RecoveryRefused(_told(collisions))
    return causes


def _note_rejected(causes: _Causes, sealed: Sealed) -> None:
    """A partner's topic has a twin, `<topic>.rejected`, whose facts say which record they reject."""
    topic = sealed.envelope.topic.removesuffix(".rejected")
    if topic != sealed.envelope.topic and topic in TOPICS:
        event: Any = read_event(sealed.envelope.type, sealed.value)
        place = Place(topic, event.partition)
        causes.rejected[place] = max(causes.rejected.get(place, -1), event.offset)


async def _unsealed(connection: Connection) -> dict[tuple[str, str, int], asyncpg.Record]:
    rows = await connection.fetch(
        """
        SELECT l.topic, l.stream, l.version, l.event_id, l.type, l.actor, l.recorded_at
        FROM outbox o
        JOIN log l ON l.id = o.id
        LEFT JOIN seal s ON s.id = l.id
        WHERE s.id IS NULL
        """
    )
    return {(row["topic"], row["stream"], row["version"]): row for row in rows}


def _told(collisions: Sequence[tuple[asyncpg.Record, Sealed]]) -> str:
    """What was accepted after the restore, on streams that the tail goes on with: it can never be sealed."""
    lines = [
        f"  {row['topic']}/{row['stream']} version {row['version']}: {row['type']} {row['event_id']} by {row['actor']} "
        f"at {row['recorded_at']:%Y-%m-%dT%H:%M:%SZ}; Kafka has {sealed.envelope.id} there "
        f"(sequence {sealed.position.sequence})"
        for row, sealed in collisions[:NAMED]
    ]
    if len(collisions) > NAMED:
        lines.append(f"  … and {len(collisions) - NAMED} more")
    return "\n".join(
        [
            f"{len(collisions)} events were accepted after the restore, on streams that had gone on before it:",
            *lines,
            "Nobody has read them, and they can never be sealed. Restore the backup again, with the API and the "
            "workers stopped, run `recover` first, and have these commands given again. Nothing was changed.",
        ]
    )


# --- Foreign facts that the tail answers ------------------------------------------------------------------------------


async def fold_what_was_answered(
    connection: Connection,
    bootstrap: str,
    service: str,
    tables: Sequence[Table[Any]],
    partners: Sequence[Partner],
    causes: _Causes,
) -> dict[Place, int]:
    """Moves each cursor behind the last foreign fact that the tail answers, folding without reacting.

    The tail holds whatever the service had decided on these facts: to react to them again would decide twice. A
    partition is read in order, so all before the last one that was answered had been read, too.
    """
    before = {
        place: standing
        for place, standing in (await _all_standings(connection)).items()
        if place.topic not in {topic.name for topic in published_by(service)}
    }
    if not causes.ids and not causes.rejected:
        return {}
    _, foreign = own_and_foreign(service, tables)
    moved = {}
    by_topic = {partner.topic: partner for partner in partners}
    for place, (end, seen) in (await _last_answered(bootstrap, before, by_topic, causes)).items():
        if place.topic in by_topic:
            async with connection.transaction():
                await intake.drop_copies(connection, seen, by_topic[place.topic])
                await _move(connection, place, before[place], end)
        else:
            await _project(connection, bootstrap, foreign, place, before[place], end)
        moved[place] = end.next_offset - before[place].next_offset
    return moved


async def _all_standings(connection: Connection) -> Standings:
    return await standings_of(connection, [row["topic"] for row in await connection.fetch("SELECT topic FROM cursor")])


async def _last_answered(
    bootstrap: str, before: Standings, partners: Mapping[str, Partner], causes: _Causes
) -> dict[Place, tuple[Standing, list[Message]]]:
    """Reads each foreign partition from its cursor on; where it stood behind the last fact that the tail answers, and
    what a partner had sent up to there."""
    answered: dict[Place, tuple[Standing, list[Message]]] = {}
    messages: dict[Place, list[Message]] = {place: [] for place in before}
    async with reader(bootstrap) as consumer:
        places = {TopicPartition(*place): place for place in before}
        begins, ends = await extent(consumer, places)
        standings = {place: before[place] for place in places.values()}
        read_from(consumer, {p: max(before[place].next_offset, begins[p]) for p, place in places.items()})
        waiting = {partition for partition in places if ends[partition] > before[places[partition]].next_offset}
        while waiting:
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                place = places[partition]
                partner = partners.get(place.topic)
                for record in records:
                    piece = take(place, standings[place], [record], chained=partner is None)
                    if piece.trouble is not None:
                        raise RecoveryRefused(str(piece.trouble))
                    standings[place], id_ = piece.after, piece.after.last_event_id
                    if partner is not None:
                        messages[place].append(message := intake.read_message(record, partner))
                        id_ = message.id
                    if id_ in causes.ids or record.offset <= causes.rejected.get(place, -1):
                        answered[place] = piece.after, list(messages[place])
            for partition in list(waiting):
                if await consumer.position(partition) >= ends[partition]:
                    waiting.discard(partition)
    return answered


async def _project(
    connection: Connection,
    bootstrap: str,
    tables: Sequence[Table[Any]],
    place: Place,
    before: Standing,
    end: Standing,
) -> None:
    folding = Folding([table for table in tables if table.topic == place.topic])
    standing = before
    async for slices in foreign_slices(bootstrap, {place: before}, {place: end}, folding.read_ahead):
        async with connection.transaction():
            await folding.fold(connection, facts_of(folding, slices, {}))
            await folding.write(connection)
            await _move(connection, place, standing, slices[0].after)
        standing = slices[0].after


async def _move(connection: Connection, place: Place, before: Standing, after: Standing) -> None:
    moved = await connection.execute(
        """
        UPDATE cursor
        SET next_offset = $4, last_sequence = $5, last_event_id = $6, stopped = NULL
        WHERE topic = $1 AND partition = $2 AND next_offset = $3
        """,
        *place,
        before.next_offset,
        after.next_offset,
        after.last_sequence,
        after.last_event_id,
    )
    if moved != "UPDATE 1":
        raise RecoveryRefused(f"the cursor of {place} moves: stop the workers, and run it again")


# --- Appending --------------------------------------------------------------------------------------------------------


async def _take_back(
    connection: Connection,
    service: str,
    tables: Sequence[Table[Any]],
    batch: Sequence[Sealed],
    done: Recovered,
    redo: Redo | None,
) -> None:
    """One batch in one transaction: rows, log, seal, and away from the outbox."""
    own = [table for table in tables if table.topic in {topic.name for topic in published_by(service)}]
    async with connection.transaction():
        head = await head_of(connection)
        ids = await _ids_on_the_log(connection, batch)
        new = [sealed for sealed in batch if _stream(sealed) not in ids]
        events = [_read(sealed) for sealed in new]
        entries = await _folded(connection, own, new, events)
        if redo is not None:
            await redo(connection, events)
        await append(connection, entries)
        ids = await _ids_on_the_log(connection, batch)
        placed = [Outgoing(ids[_stream(s)], s.place.partition, s.envelope, s.value, s.position) for s in batch]
        tails = head.tails | {str(sealed.place): sealed.position.sequence for sealed in batch}
        await write_seal(connection, head.batch_no + 1, head.frontier, placed, tails)
        await _mark_sent(connection)
    done.events += len(batch)
    done.appended += len(new)


async def _mark_sent(connection: Connection) -> None:
    """What is sealed is in Kafka: a batch is sent only when all before it are."""
    await connection.execute(
        """
        DELETE FROM outbox o
        USING sealed_batch b
        JOIN seal s ON s.sequence >= b.first_sequence AND s.sequence < b.first_sequence + b.size
        WHERE b.sent_at IS NULL AND o.id = s.id
        """
    )
    await connection.execute("UPDATE sealed_batch SET sent_at = now() WHERE sent_at IS NULL")


def _stream(sealed: Sealed) -> tuple[str, str, int]:
    return sealed.envelope.topic, sealed.envelope.key, sealed.envelope.version


async def _ids_on_the_log(connection: Connection, batch: Sequence[Sealed]) -> dict[tuple[str, str, int], int]:
    """Where these events stand on the log already. Raises `RecoveryRefused` if another event stands in their place."""
    rows = await connection.fetch(
        """
        SELECT l.id, l.topic, l.stream, l.version, l.event_id
        FROM log l
        JOIN unnest($1::text[], $2::text[], $3::int[]) AS wanted (topic, stream, version)
             USING (topic, stream, version)
        """,
        [sealed.envelope.topic for sealed in batch],
        [sealed.envelope.key for sealed in batch],
        [sealed.envelope.version for sealed in batch],
    )
    found = {(row["topic"], row["stream"], row["version"]): row for row in rows}
    for sealed in batch:
        row = found.get(_stream(sealed))
        if row is not None and row["event_id"] != sealed.envelope.id:
            raise RecoveryRefused(
                f"sequence {sealed.position.sequence} is {sealed.envelope.id} in Kafka, but the log has "
                f"{row['event_id']} as version {row['version']} of {row['topic']}/{row['stream']}"
            )
    return {stream: row["id"] for stream, row in found.items()}


def _read(sealed: Sealed) -> Event:
    try:
        return read_event(sealed.envelope.type, sealed.value)
    except Unreadable as error:
        raise RecoveryRefused(
            f"sequence {sealed.position.sequence} at {sealed.place} {sealed.offset}: {error}"
        ) from None


async def _folded(
    connection: Connection, own: Sequence[Table[Any]], new: Sequence[Sealed], events: Sequence[Event]
) -> list[Entry]:
    """Folds the events into the own tables; gives what goes on the log, each with the area of its stream after it."""
    rows = Rows(own)
    await rows.load_touched(connection, events)
    for topic in {event.topic for event in events}:
        keys = [(event.key,) for event in events if event.topic == topic]
        await rows.load(connection, rows.head(topic), keys)
    entries = []
    for event, sealed in zip(events, new, strict=True):
        head: Any = rows.get(rows.head(event.topic), event.key)
        before = 0 if head is None else head.version
        if sealed.envelope.version != before + 1:
            raise RecoveryRefused(
                f"sequence {sealed.position.sequence} is version {sealed.envelope.version} of "
                f"{sealed.envelope.topic}/{sealed.envelope.key}, but {before} is the one before it here"
            )
        rows.fold(event, sealed.envelope)
        after: Any = rows.get(rows.head(event.topic), event.key)
        entries.append(Entry(sealed.envelope, after.area_code, sealed.value))
    await rows.write(connection)
    return entries
