"""The relay: seals what the outbox holds into batches of the Merkle tree and sends each batch whole, in order.

One leader per database. What it promises: every event of the log reaches Kafka at least once, in the order of sequences
within its partition, and a copy is a copy of a whole batch, byte for byte.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple, cast

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from pydantic_core import from_json, to_json

from contracts.envelope import NOTHING_BEFORE, Envelope, Position, headers_of, proof_bytes, value_digest
from services.kit import metrics
from services.kit.backoff import Backoff
from services.kit.compressing import compress_quickly
from services.kit.crash import crash_point
from services.kit.log import LOG_COLUMNS, envelope_of
from services.kit.merkle import Frontier, leaf_hash, partial_tiles_needed, tile_updates
from services.kit.outages import OUTAGES
from services.kit.rows import Connection
from services.kit.tails import TailsDiffer, refuse_to_fork
from services.kit.tasks import first_of, sleep_unless

_log = structlog.get_logger(__name__)

OUTBOX_CHANNEL = "entas_outbox"
LEADER_LOCK = 0x656E746173  # "entas"
MAX_BATCH_EVENTS = 5_000
MAX_BATCH_BYTES = 1_000_000  # of one partition; a broker refuses record batches above 1,048,588 bytes by default
POLL_SECONDS = 0.5
CAMPAIGN_SECONDS = 0.5
ABANDON_SECONDS = 1.0

NUDGE_SECONDS = 0.01  # between nudges, at least
PACE_SECONDS = 0.03  # between batches of a few events
A_FEW_EVENTS = 200

Tails = dict[str, int]  # "topic/partition" -> the last sequence sealed for it


class RelayDefect(Exception):
    """The log holds what cannot be sent; an operator has to look. Nothing is skipped."""


class Outgoing(NamedTuple):
    """An event on its way out, with the place that sealing gives it."""

    # A tuple, since one is made for every event.
    log_id: int
    partition: int
    envelope: Envelope
    value: bytes
    position: Position


@dataclass(frozen=True, slots=True)
class SealedBatch:
    number: int
    events: Sequence[Outgoing]
    resent: bool  # an earlier leader, or an earlier try, may have sent it already
    built: "Builders | None" = None  # its record batches, where they were built while it was being sealed


@dataclass(frozen=True, slots=True)
class Draft:
    """The next batch, worked out while the one before it is under way. It counts once it is sealed, and not before."""

    number: int
    before: Frontier
    events: Sequence[Outgoing]
    leaves: Sequence[bytes]
    tails: Tails


class Relay:
    """Runs until the process stops. An outage of the database or of Kafka is waited out, for as long as it takes."""

    def __init__(self, source: str, database_url: str, kafka_bootstrap: str) -> None:
        self._source = source
        self._service = source.rpartition("/")[2]
        self._database_url = database_url
        self._kafka = kafka_bootstrap
        self._room = MAX_BATCH_EVENTS  # how many events a batch is likely to hold: no more are looked at
        self.leading = False
        self.defect: str | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        backoff = Backoff()
        while not stopping.is_set():
            try:
                await self._campaign_and_lead(stopping, backoff)
            except OUTAGES as outage:
                _log.warning("relay waits for an outage to end", error=f"{type(outage).__name__}: {outage}")
            except RelayDefect as defect:
                self.defect = str(defect)
                _log.error("relay stands still", error=self.defect)
                await sleep_unless(stopping, 10)
            finally:
                self.leading = False
                metrics.relay_leading.set(0)
            await backoff.wait(stopping)

    async def _campaign_and_lead(self, stopping: asyncio.Event, backoff: Backoff) -> None:
        # The lock lives on the connection that seals: who loses the connection can seal nothing more.
        connection = await asyncpg.connect(self._database_url, command_timeout=60, timeout=10)
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEADER_LOCK):
                await sleep_unless(stopping, CAMPAIGN_SECONDS)
                if stopping.is_set():
                    return
            nudged = asyncio.Event()
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: nudged.set())
            await self._lead(connection, nudged, stopping, backoff)
        finally:
            # A graceful close would wait for a server that may be frozen.
            connection.terminate()

    async def _lead(
        self, connection: Connection, nudged: asyncio.Event, stopping: asyncio.Event, backoff: Backoff
    ) -> None:
        try:
            if not await first_of(refuse_to_fork(connection, self._service, self._kafka), stopping):
                return
        except TailsDiffer as differ:
            raise RelayDefect(str(differ)) from differ
        producer = producer_for(self._kafka)
        try:
            await first_of(producer.start(), stopping)
            self.leading, self.defect = True, None
            metrics.relay_leading.set(1)
            _log.info("relay leads")
            batch = await self._unsent(connection)
            while not stopping.is_set():
                nudged.clear()
                batch = batch or await self._seal(connection, producer=producer)
                if batch is None:
                    await first_of(nudged.wait(), stopping, seconds=POLL_SECONDS)
                    continue
                batch = await self._send_and_seal_next(producer, connection, batch, stopping)
                backoff.reset()
        finally:
            await abandon(producer)

    async def _send_and_seal_next(
        self, producer: AIOKafkaProducer, connection: Connection, batch: SealedBatch, stopping: asyncio.Event
    ) -> SealedBatch | None:
        """Sends a batch, and meanwhile works the next one out. What was sent is marked and the next batch sealed in one
        transaction, so there is never more than one on its way.

        Where events come one by one they are gathered for a moment: a batch costs every reader a transaction."""
        if len(batch.events) < A_FEW_EVENTS:
            due = monotonic() + PACE_SECONDS
            if not await self._send(producer, batch, stopping):
                return None
            await sleep_unless(stopping, max(0.0, due - monotonic()))
            return await self._seal(connection, sent=batch, producer=producer)
        drafting = asyncio.ensure_future(self._draft(connection, behind=batch))
        try:
            if not await self._send(producer, batch, stopping):
                return None
            return await self._seal(connection, await drafting, sent=batch, producer=producer)
        finally:
            drafting.cancel()
            await asyncio.gather(drafting, return_exceptions=True)

    # --- sealing -----------------------------------------------------------------------------------------------------

    async def _unsent(self, connection: Connection) -> SealedBatch | None:
        """The batch that was sealed but not marked sent, exactly as it was sealed."""
        batch = await connection.fetchrow(
            """
            SELECT b.batch_no, b.first_sequence, b.size, before.tails
            FROM sealed_batch b
            LEFT JOIN sealed_batch before ON before.batch_no = b.batch_no - 1
            WHERE b.sent_at IS NULL
            ORDER BY b.batch_no
            LIMIT 1
            """
        )
        if batch is None:
            return None
        return await load_sealed(connection, self._source, batch)

    async def _draft(self, connection: Connection, behind: SealedBatch | None = None) -> Draft | None:
        """The oldest unsent events with the sequences and leaves that they will get, behind the batch under way."""
        under_way = [event.log_id for event in behind.events] if behind else []
        # One query, whose answer comes while the batch before is compressed. Looked up one by one: the planner, who
        # sees a table that is filled and emptied all the time, would read the whole log.
        rows = await connection.fetch(
            f"""
            SELECT {LOG_COLUMNS}
            FROM (SELECT id FROM outbox WHERE id <> ALL ($1::bigint[]) ORDER BY id LIMIT $2) AS waiting
            CROSS JOIN LATERAL (SELECT * FROM log WHERE log.id = waiting.id OFFSET 0) l
            ORDER BY l.id
            """,
            under_way,
            self._room,
        )
        if not rows:
            return None
        fitting = _fitting(rows)
        self._room = min(MAX_BATCH_EVENTS, self._room * 2 if fitting is rows else len(fitting) * 5 // 4)
        last = await connection.fetchrow(
            "SELECT batch_no, frontier, tails FROM sealed_batch ORDER BY batch_no DESC LIMIT 1"
        )
        number = 1 if last is None else last["batch_no"] + 1
        frontier = Frontier() if last is None else Frontier.from_bytes(last["frontier"])
        tails = {} if last is None else _read_tails(last["tails"])
        events = _placed(self._source, fitting, frontier.size, tails)
        return Draft(number, frontier, events, _leaves(events), tails)

    async def _seal(
        self,
        connection: Connection,
        draft: Draft | None = None,
        *,
        sent: SealedBatch | None = None,
        producer: AIOKafkaProducer | None = None,
    ) -> SealedBatch | None:
        """Gives the drafted events their sequences and leaves, in one transaction, in which the batch before them is
        marked sent. None if there is nothing to seal. Meanwhile what `producer` will send is built."""
        async with connection.transaction():
            if sent is not None:
                await _mark_sent(connection, sent)
            draft = draft or await self._draft(connection)
            if draft is None:
                return None
            building = asyncio.ensure_future(_built(producer, draft.events))
            try:
                await write_seal(connection, draft.number, draft.before, draft.events, draft.tails, draft.leaves)
                built = await building
            finally:
                building.cancel()
        for topic, events in Counter(event.envelope.topic for event in draft.events).items():
            metrics.relay_sealed_events.labels(topic).inc(events)
        crash_point("sealed-not-sent")
        return SealedBatch(draft.number, draft.events, resent=False, built=built)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _send(self, producer: AIOKafkaProducer, batch: SealedBatch, stopping: asyncio.Event) -> bool:
        """Sends one Kafka record batch per partition: all or nothing each. False if the process stops meanwhile."""
        if batch.resent:
            metrics.relay_resent_batches.inc()
        builders = batch.built or record_batches(producer, batch.events)
        if not await first_of(send_all(producer, builders), stopping):
            return False
        for topic, events in Counter(event.envelope.topic for event in batch.events).items():
            metrics.relay_sent_events.labels(topic).inc(events)
        crash_point("sent-not-marked")
        return True


def _placed(source: str, rows: Sequence[asyncpg.Record], first_sequence: int, tails: Tails) -> list[Outgoing]:
    """Each row with its sequence and the sequence before it in its partition; moves `tails` on."""
    placed = []
    for sequence, row in enumerate(rows, first_sequence):
        tail = f"{row['topic']}/{row['partition']}"
        position = Position(sequence, tails.get(tail, NOTHING_BEFORE))
        tails[tail] = sequence
        placed.append(Outgoing(row["id"], row["partition"], envelope_of(source, row), row["value"], position))
    return placed


async def load_sealed(connection: Connection, source: str, batch: asyncpg.Record) -> SealedBatch:
    """A batch exactly as it was sealed, from its `batch_no, first_sequence, size` and the `tails` before it."""
    rows = await connection.fetch(
        f"""
        SELECT {LOG_COLUMNS}
        FROM seal s
        JOIN log l ON l.id = s.id
        WHERE s.sequence >= $1 AND s.sequence < $2
        ORDER BY s.sequence
        """,
        batch["first_sequence"],
        batch["first_sequence"] + batch["size"],
    )
    if len(rows) != batch["size"]:
        raise RelayDefect(f"batch {batch['batch_no']} was sealed with {batch['size']} events, {len(rows)} are there")
    tails = _read_tails(batch["tails"])
    return SealedBatch(batch["batch_no"], _placed(source, rows, batch["first_sequence"], tails), resent=True)


Builders = dict[tuple[str, int], Any]


def record_batches(producer: AIOKafkaProducer, events: Sequence[Outgoing]) -> Builders:
    """One Kafka record batch per partition, byte for byte the same whenever it is made. Raises `RelayDefect`."""
    return {place: _record_batch(producer, place, of_place) for place, of_place in _by_place(events).items()}


async def _built(producer: AIOKafkaProducer | None, events: Sequence[Outgoing]) -> Builders | None:
    """The same, giving way after each to whoever waits for the database. None without a producer."""
    if producer is None:
        return None
    builders = {}
    for place, of_place in _by_place(events).items():
        builders[place] = _record_batch(producer, place, of_place)
        await asyncio.sleep(0)
    return builders


def _by_place(events: Sequence[Outgoing]) -> dict[tuple[str, int], list[Outgoing]]:
    places: dict[tuple[str, int], list[Outgoing]] = {}
    for event in events:
        places.setdefault((event.envelope.topic, event.partition), []).append(event)
    return places


def _record_batch(producer: AIOKafkaProducer, place: tuple[str, int], events: Sequence[Outgoing]) -> Any:
    builder = producer.create_batch()
    for event in events:
        taken = builder.append(
            timestamp=_milliseconds(event.envelope.recorded),
            key=event.envelope.key.encode(),
            value=event.value,
            headers=headers_of(event.envelope, event.position),
        )
        if taken is None:
            raise RelayDefect(f"sequence {event.position.sequence} does not fit into a record batch of {place}")
    builder.close()
    return builder


async def send_all(producer: AIOKafkaProducer, builders: Builders) -> None:
    """Sends the record batches and waits for every acknowledgement."""
    sent = [
        await producer.send_batch(builder, topic, partition=partition)
        for (topic, partition), builder in builders.items()
    ]
    await asyncio.gather(*sent)


def _fitting(rows: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
    """The first rows whose shares all stay below one record batch of their partition."""
    shares: dict[tuple[str, int], int] = {}
    for count, row in enumerate(rows):
        place = (row["topic"], row["partition"])
        shares[place] = shares.get(place, 0) + len(row["value"]) + _RECORD_OVERHEAD_BYTES + 2 * len(row["stream"])
        if shares[place] > MAX_BATCH_BYTES and count:
            return rows[:count]
    return rows


# Headers and framing of a record beside its value and key; the envelope's own texts are bounded, see log.py.
_RECORD_OVERHEAD_BYTES = 1_200


async def write_seal(
    connection: Connection,
    number: int,
    before: Frontier,
    events: Sequence[Outgoing],
    tails: Tails,
    leaves: Sequence[bytes] | None = None,
) -> None:
    leaves = leaves or _leaves(events)
    frontier, completed = before.extend(leaves)
    needed = partial_tiles_needed(before.size, len(leaves))
    partial = await connection.fetch(
        """
        SELECT t.level, t.number, t.hashes
        FROM tile t
        JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, number) USING (level, number)
        """,
        [level for level, _ in needed],
        [index for _, index in needed],
    )
    tiles = tile_updates(
        before.size, leaves, {(row["level"], row["number"]): row["hashes"] for row in partial}, completed
    )
    await connection.execute(
        """
        INSERT INTO tile (level, number, hashes)
        SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
        ON CONFLICT (level, number) DO UPDATE SET hashes = EXCLUDED.hashes
        """,
        [level for level, _ in tiles],
        [index for _, index in tiles],
        list(tiles.values()),
    )
    await connection.execute(
        "INSERT INTO seal (sequence, id) SELECT * FROM unnest($1::bigint[], $2::bigint[])",
        [event.position.sequence for event in events],
        [event.log_id for event in events],
    )
    await connection.execute(
        """
        INSERT INTO sealed_batch (batch_no, first_sequence, size, root, frontier, tails)
        VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
        """,
        number,
        before.size,
        len(events),
        frontier.root(),
        frontier.to_bytes(),
        to_json(tails).decode(),
    )


def _leaves(events: Sequence[Outgoing]) -> list[bytes]:
    return [leaf_hash(proof_bytes(e.envelope, e.position.sequence, value_digest(e.value))) for e in events]


async def _mark_sent(connection: Connection, batch: SealedBatch) -> None:
    """Only with this may the next batch be sealed."""
    await connection.execute("UPDATE sealed_batch SET sent_at = now() WHERE batch_no = $1", batch.number)
    await connection.execute(
        "DELETE FROM outbox WHERE id = ANY($1::bigint[])", [event.log_id for event in batch.events]
    )


def producer_for(bootstrap: str) -> AIOKafkaProducer:
    compress_quickly()
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=_BUILDER_BYTES,
        max_request_size=_BUILDER_BYTES,
        compression_type="zstd",
        request_timeout_ms=15_000,
    )


# What a builder may hold: above MAX_BATCH_BYTES, so that an estimate that is a little short still fits.
_BUILDER_BYTES = 1_040_000


async def abandon(producer: AIOKafkaProducer) -> None:
    """Ends a producer: what it had in flight is sent again, identical, by the next one, so it need not be flushed."""
    try:
        await asyncio.wait_for(producer.stop(), ABANDON_SECONDS)
    except OUTAGES as error:
        _log.info("producer abandoned", error=type(error).__name__)
        # `stop` flushes until the request times out (40 s by default); a sender that is left would go on trying.
        await producer._sender.close()
        for connection in producer.client._conns.values():
            connection.close()


def _read_tails(text: str | None) -> Tails:
    return {} if text is None else cast(Tails, from_json(text))


@lru_cache(maxsize=1024)
def _milliseconds(instant: datetime) -> int:
    """The facts of one transaction share the time at which they were recorded."""
    return int(instant.timestamp() * 1000)


class Nudge:
    """Tells the relay, after commits and coalesced, that the outbox has something: one NOTIFY for many commits."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._waiting = asyncio.Event()

    def __call__(self) -> None:
        self._waiting.set()

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if not await first_of(self._waiting.wait(), stopping):
                return
            self._waiting.clear()
            try:
                await self._pool.execute(f"NOTIFY {OUTBOX_CHANNEL}")
            except OUTAGES as outage:
                # The relay polls as well, so a lost nudge costs at most POLL_SECONDS.
                _log.info("nudge lost", error=type(outage).__name__)
            await sleep_unless(stopping, NUDGE_SECONDS)
