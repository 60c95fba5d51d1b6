"""One projection, by the consumer and in three other ways: the raw limit, the usual way, and a fair rival.

All four read the same records of `registry.households` and keep the same row a household; what differs is the way. Of
two facts: the largest that there is, a household with its four to five people, and a small one, its rank.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from benchmarks.world import TOPIC, Site
from contracts.envelope import Event, read_event, read_headers
from contracts.registry import HouseholdListed, HouseholdRankChanged
from services.kit.consumer import Consumer
from services.kit.reactions import Reactions

AT_ONCE = 2_000
LOOK_SECONDS = 0.02

Starts = Mapping[int, int]  # partition -> the offset where this run's records begin
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Fact:
    """A fact, and what a plain projection keeps of it: the columns, the first of which is the key, and their values."""

    event: type[Event]
    columns: Mapping[str, str]
    row: Callable[[Any, int], Row]


LISTED = Fact(
    HouseholdListed,
    {
        "household_id": "text",
        "version": "bigint",
        "area_code": "text",
        "status": "text",
        "decile": "bigint",
        "percentile": "bigint",
        "people": "bigint",
    },
    lambda event, version: (
        event.household_id,
        version,
        event.area_code,
        "listed",
        event.rank.welfare_decile,
        event.rank.welfare_percentile,
        len(event.members),
    ),
)
RANKED = Fact(
    HouseholdRankChanged,
    {"household_id": "text", "version": "bigint", "decile": "bigint", "percentile": "bigint"},
    lambda event, version: (
        event.household_id,
        version,
        event.rank.welfare_decile,
        event.rank.welfare_percentile,
    ),
)


async def by_consumer(site: Site, kafka: str, starts: Starts, events: int, fact: Fact) -> float:
    """Ours: cursor, chain, fold, everything; training's own tables, which go on from where they stand."""
    consumer = Consumer(site.workplace, kafka, Reactions(), ())
    await consumer._workplace_ready()
    await _group(kafka, starts)  # Kafka's coordinator is awake then, as it is for the others.
    stopping = asyncio.Event()
    before = await _records_read(site)
    start = perf_counter()
    running = asyncio.ensure_future(consumer.run(stopping))
    while await _records_read(site) < before + events:  # noqa: ASYNC110 (the end is in the database)
        await asyncio.sleep(LOOK_SECONDS)
    seconds = perf_counter() - start
    stopping.set()
    await running
    assert not consumer.stopped, consumer.stopped
    return seconds


async def _records_read(site: Site) -> int:
    """By the cursor: to count rows again and again would take from the servers what is to be measured."""
    return int(await site.pool.fetchval("SELECT sum(next_offset) FROM cursor WHERE topic = $1", TOPIC))


async def raw(site: Site, kafka: str, starts: Starts, events: int, fact: Fact) -> float:
    """The least that any projection does: getmany, validation, one upsert a batch."""
    async with _table(site, fact):
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed")
        start = perf_counter()
        await consumer.start()
        places = {TopicPartition(TOPIC, partition): offset for partition, offset in starts.items()}
        consumer.assign(list(places))
        for place, offset in places.items():
            consumer.seek(place, offset)
        seen = 0
        while seen < events:
            found = await consumer.getmany(timeout_ms=100, max_records=AT_ONCE)
            rows = [_row_of(record, fact) for records in found.values() for record in records]
            if rows:
                await _upsert(site.pool, rows, fact)
            seen += len(rows)
        seconds = perf_counter() - start
        await consumer.stop()
        return seconds


async def usual(site: Site, kafka: str, starts: Starts, events: int, fact: Fact) -> float:
    """The usual way: a typed handler a message, an inbox table, one transaction each, acknowledged when it is done."""
    broker = KafkaBroker(kafka, logger=None)
    done = Done()

    @broker.subscriber(TOPIC, group_id=await _group(kafka, starts), ack_policy=AckPolicy.ACK)
    async def keep_household(event: fact.event, message: KafkaMessage) -> None:  # type: ignore[name-defined]
        envelope, _ = read_headers(TOPIC, message.raw_message.headers)  # type: ignore[union-attr]
        async with site.pool.acquire() as connection, connection.transaction():
            fresh = await connection.fetchval(
                "INSERT INTO inbox (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id", envelope.id
            )
            if fresh:
                await _upsert(connection, [fact.row(event, envelope.version)], fact)
        done.events += 1

    return await _timed(site, broker, done, events, fact)


async def rival(site: Site, kafka: str, starts: Starts, events: int, fact: Fact) -> float:
    """A fair rival: FastStream in batches, ids of the whole batch in an inbox, one transaction, one upsert."""
    broker = KafkaBroker(kafka, logger=None)
    done = Done()

    @broker.subscriber(
        TOPIC,
        group_id=await _group(kafka, starts),
        batch=True,
        max_records=AT_ONCE,
        batch_timeout_ms=20,
        ack_policy=AckPolicy.ACK,
    )
    async def keep_households(events: list[fact.event], message: KafkaMessage) -> None:  # type: ignore[name-defined]
        envelopes = [read_headers(TOPIC, record.headers)[0] for record in message.raw_message]
        async with site.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                "INSERT INTO inbox (id) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING id",
                [envelope.id for envelope in envelopes],
            )
            fresh = {row["id"] for row in rows}
            await _upsert(
                connection,
                [fact.row(e, v.version) for e, v in zip(events, envelopes, strict=True) if v.id in fresh],
                fact,
            )
        done.events += len(events)

    return await _timed(site, broker, done, events, fact)


# --- What they share --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _table(site: Site, fact: Fact) -> AsyncIterator[None]:
    columns = ", ".join(f"{name} {type_}" for name, type_ in fact.columns.items())
    key = next(iter(fact.columns))
    await site.pool.execute(
        f"CREATE TABLE plain_demand ({columns}, PRIMARY KEY ({key})); CREATE TABLE inbox (id text PRIMARY KEY)"
    )
    try:
        yield
    finally:
        await site.pool.execute("DROP TABLE plain_demand; DROP TABLE inbox")


@dataclass
class Done:
    """How many events a handler has committed."""

    events: int = 0


async def _timed(site: Site, broker: KafkaBroker, done: Done, events: int, fact: Fact) -> float:
    async with _table(site, fact):
        start = perf_counter()
        await broker.start()
        while done.events < events:  # noqa: ASYNC110 (the handler is not ours to change)
            await asyncio.sleep(LOOK_SECONDS)
        seconds = perf_counter() - start
        await broker.stop()
        return seconds


async def _group(kafka: str, starts: Starts) -> str:
    """A consumer group that begins where this run's records do."""
    group = f"bench-{perf_counter():.6f}"
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    places = {TopicPartition(TOPIC, partition): offset for partition, offset in starts.items()}
    consumer.assign(list(places))
    await consumer.commit(places)
    await consumer.stop()
    return group


def _row_of(record: Any, fact: Fact) -> Row:
    envelope, _ = read_headers(record.topic, record.headers)
    return fact.row(read_event(envelope.type, record.value), envelope.version)


async def _upsert(connection: Any, rows: Sequence[Row], fact: Fact) -> None:
    """The last row of each key: a statement changes no row twice."""
    key, *rest = fact.columns
    arrays = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(fact.columns.values(), 1))
    columns: Iterable[Any] = zip(*{row[0]: row for row in rows}.values(), strict=True)
    await connection.execute(
        f"INSERT INTO plain_demand SELECT * FROM unnest({arrays}) ON CONFLICT ({key}) DO UPDATE SET "
        + ", ".join(f"{name} = EXCLUDED.{name}" for name in rest),
        *[list(column) for column in columns],
    )
