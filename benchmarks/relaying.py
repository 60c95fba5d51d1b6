"""The relay, and the raw limit: plain `send` of the very same records."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from benchmarks.world import TOPIC, Site, new_topic
from contracts.envelope import read_headers
from services.kit.fetching import read_from, reader
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


async def send_raw(kafka: str, starts: Mapping[int, int], events: int) -> float:
    """Seconds to send the very records that the relay has sent, with plain `send`, gathered by the thousand, to a topic
    of their own; reading them is not counted."""
    topic = await new_topic(kafka)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, compression_type="zstd", max_batch_size=1_000_000
    )
    await producer.start()
    seconds, seen = 0.0, 0
    async with reader(kafka) as consumer:
        read_from(consumer, {TopicPartition(TOPIC, partition): offset for partition, offset in starts.items()})
        while seen < events:
            found = await consumer.getmany(timeout_ms=200, max_records=20 * GATHERED)
            read = sorted((record for each in found.values() for record in each), key=_sequence)
            records = [(record.value, record.key, record.partition, list(record.headers)) for record in read]
            start = perf_counter()
            for at in range(0, len(records), GATHERED):
                sent = [
                    await producer.send(topic, value, key, partition=partition, headers=headers)
                    for value, key, partition, headers in records[at : at + GATHERED]
                ]
                await asyncio.gather(*sent)
            seconds += perf_counter() - start
            seen += len(records)
    await producer.stop()
    return seconds


def _sequence(record: Any) -> int:
    return read_headers(record.topic, record.headers)[1].sequence
