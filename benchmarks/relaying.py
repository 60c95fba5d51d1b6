"""The relay, and the raw limit: plain `send` of the very same records."""

import asyncio
from time import perf_counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.world import TOPIC, Site, new_topic
from services.kit.relay import Relay

GATHERED = 1_000


async def relay_all(site: Site, kafka: str) -> float:
    """Seconds until everything that waits is sealed, sent and marked."""
    stopping = asyncio.Event()
    start = perf_counter()
    relaying = asyncio.ensure_future(Relay("/entas/registry", site.dsn, kafka).run(stopping))
    while await site.pool.fetchval("SELECT EXISTS (SELECT 1 FROM outbox)"):  # noqa: ASYNC110 (the end is in the database)
        await asyncio.sleep(0.01)
    seconds = perf_counter() - start
    stopping.set()
    await relaying
    return seconds


async def send_raw(site: Site, kafka: str, first: int, events: int) -> float:
    """Seconds to send the records of these sequences with plain `send`, gathered by the thousand, to a topic of their
    own; reading them from the log is not counted."""
    topic = await new_topic(kafka)
    headers = await _headers_of_any(kafka)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, compression_type="zstd", max_batch_size=1_000_000
    )
    await producer.start()
    seconds = 0.0
    for begin in range(first, first + events, 20 * GATHERED):
        rows = await site.pool.fetch(
            "SELECT l.stream, l.value, l.partition FROM seal s JOIN log l ON l.id = s.id "
            "WHERE s.sequence >= $1 AND s.sequence < $2 ORDER BY s.sequence",
            begin,
            min(begin + 20 * GATHERED, first + events),
        )
        start = perf_counter()
        for at in range(0, len(rows), GATHERED):
            sent = [
                await producer.send(
                    topic, row["value"], row["stream"].encode(), partition=row["partition"], headers=headers
                )
                for row in rows[at : at + GATHERED]
            ]
            await asyncio.gather(*sent)
        seconds += perf_counter() - start
    await producer.stop()
    return seconds


async def _headers_of_any(kafka: str) -> list[tuple[str, bytes]]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    sample = await consumer.getone()
    await consumer.stop()
    return list(sample.headers)
