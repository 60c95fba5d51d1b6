"""One projection, by the consumer and in three other ways: the raw limit, the usual way, and a fair rival.

All four read the same records of `registry.households` and keep the same row a household; what differs is the way.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from benchmarks.world import TOPIC, Site
from contracts.envelope import read_event, read_headers
from contracts.registry import HouseholdListed
from services.kit.consumer import Consumer
from services.kit.reactions import Reactions

AT_ONCE = 2_000
LOOK_SECONDS = 0.02

Starts = Mapping[int, int]  # partition -> the offset where this run's records begin
Row = tuple[Any, ...]


async def by_consumer(site: Site, kafka: str, starts: Starts, events: int) -> float:
    """Ours: cursor, chain, fold, everything; training's own tables."""
    await site.pool.execute("DELETE FROM demand")
    consumer = Consumer(site.workplace, kafka, Reactions(), ())
    await consumer._workplace_ready()
    for partition, offset in starts.items():
        await site.pool.execute(
            "UPDATE cursor SET next_offset = $1, last_sequence = -1, last_event_id = NULL "
            "WHERE topic = $2 AND partition = $3",
            offset,
            TOPIC,
            partition,
        )
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
    assert await site.pool.fetchval("SELECT count(*) FROM demand") == events
    return seconds


async def _records_read(site: Site) -> int:
    """By the cursor: to count rows again and again would take from the servers what is to be measured."""
    return int(await site.pool.fetchval("SELECT sum(next_offset) FROM cursor WHERE topic = $1", TOPIC))


async def raw(site: Site, kafka: str, starts: Starts, events: int) -> float:
    """The least that any projection does: getmany, validation, one upsert a batch."""
    async with _table(site):
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
            rows = [_row_of(record) for records in found.values() for record in records]
            if rows:
                await _upsert(site.pool, rows)
            seen += len(rows)
        seconds = perf_counter() - start
        await consumer.stop()
        return seconds


async def usual(site: Site, kafka: str, starts: Starts, events: int) -> float:
    """The usual way: a typed handler a message, an inbox table, one transaction each, acknowledged when it is done."""
    broker = KafkaBroker(kafka, logger=None)
    done = Done()

    @broker.subscriber(TOPIC, group_id=await _group(kafka, starts), ack_policy=AckPolicy.ACK)
    async def keep_household(event: HouseholdListed, message: KafkaMessage) -> None:
        envelope, _ = read_headers(TOPIC, message.raw_message.headers)  # type: ignore[union-attr]
        async with site.pool.acquire() as connection, connection.transaction():
            fresh = await connection.fetchval(
                "INSERT INTO inbox (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id", envelope.id
            )
            if fresh:
                await _upsert(connection, [_row(event, envelope.version)])
        done.events += 1

    return await _timed(site, broker, done, events)


async def rival(site: Site, kafka: str, starts: Starts, events: int) -> float:
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
    async def keep_households(events: list[HouseholdListed], message: KafkaMessage) -> None:
        envelopes = [read_headers(TOPIC, record.headers)[0] for record in message.raw_message]
        async with site.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                "INSERT INTO inbox (id) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING id",
                [envelope.id for envelope in envelopes],
            )
            fresh = {row["id"] for row in rows}
            await _upsert(
                connection,
                [_row(e, v.version) for e, v in zip(events, envelopes, strict=True) if v.id in fresh],
            )
        done.events += len(events)

    return await _timed(site, broker, done, events)


# --- What they share --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _table(site: Site) -> AsyncIterator[None]:
    await site.pool.execute(
        "CREATE TABLE plain_demand (household_id text PRIMARY KEY, version bigint, area_code text, status text, "
        "decile bigint, percentile bigint, people bigint); CREATE TABLE inbox (id text PRIMARY KEY)"
    )
    try:
        yield
    finally:
        await site.pool.execute("DROP TABLE plain_demand; DROP TABLE inbox")


@dataclass
class Done:
    """How many events a handler has committed."""

    events: int = 0


async def _timed(site: Site, broker: KafkaBroker, done: Done, events: int) -> float:
    async with _table(site):
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


def _row_of(record: Any) -> Row:
    envelope, _ = read_headers(record.topic, record.headers)
    return _row(read_event(envelope.type, record.value), envelope.version)


def _row(event: Any, version: int) -> Row:
    rank = event.rank
    people = len(event.members)
    return event.household_id, version, event.area_code, "listed", rank.welfare_decile, rank.welfare_percentile, people


async def _upsert(connection: Any, rows: Sequence[Row]) -> None:
    columns: Iterable[Any] = zip(*rows, strict=True)
    await connection.execute(
        "INSERT INTO plain_demand SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], "
        "$6::bigint[], $7::bigint[]) ON CONFLICT (household_id) DO UPDATE SET version = EXCLUDED.version, "
        "area_code = EXCLUDED.area_code, status = EXCLUDED.status, decile = EXCLUDED.decile, "
        "percentile = EXCLUDED.percentile, people = EXCLUDED.people",
        *[list(column) for column in columns],
    )
