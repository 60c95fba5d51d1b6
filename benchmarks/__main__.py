"""`python -m benchmarks`: what relay and projection do, as ratios against the raw limit in the same run.

EVENTS (default 20000) households are listed, relayed and projected, RUNS (default 3) times; medians are shown. Ratios
hold from machine to machine, figures do not. The same figures go to .local/bench.json.
"""

import asyncio
import json
import logging
import os
import platform
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.world import Site, World, list_households, relay_all, world
from contracts.envelope import read_event, read_headers
from contracts.topics import TOPICS
from services.kit.consumer import Consumer
from services.kit.reactions import Reactions
from services.registry.__main__ import SERVICE as REGISTRY
from services.training.__main__ import SERVICE as TRAINING

TOPIC = "registry.households"


async def main() -> None:
    events, runs = int(os.environ.get("EVENTS", "20000")), int(os.environ.get("RUNS", "3"))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.WARNING)
    console = Console()
    measured: dict[str, list[float]] = {}
    async with world() as place:
        for run in range(runs):
            with console.status(f"run {run + 1} of {runs}: {events:,} households"):
                for name, rate in (await one_run(place, events)).items():
                    measured.setdefault(name, []).append(rate)
    show(console, events, runs, {name: median(rates) for name, rates in measured.items()})


async def one_run(place: World, events: int) -> dict[str, float]:
    """Events per second of each stage."""
    async with place.site(REGISTRY) as registry, place.site(TRAINING) as training:
        rates = {}
        start = perf_counter()
        await list_households(registry, events)
        rates["decide, seal, fold, append"] = events / (perf_counter() - start)
        before = await _ends(place.kafka)
        start = perf_counter()
        await relay_all(registry, place.kafka)
        rates["relay"] = events / (perf_counter() - start)
        rates["raw send"] = events / await _raw_send(place.kafka, registry, events)
        start = perf_counter()
        await _project(training, place.kafka, before, events)
        rates["projection"] = events / (perf_counter() - start)
        start = perf_counter()
        await _raw_projection(training, place.kafka, before, events)
        rates["raw projection"] = events / (perf_counter() - start)
        return rates


def show(console: Console, events: int, runs: int, rates: dict[str, float]) -> None:
    ratios = {
        "relay against raw send of the same records": rates["relay"] / rates["raw send"],
        "projection against getmany, validation and one upsert": rates["projection"] / rates["raw projection"],
    }
    table = Table(
        title=f"{events:,} households of 4-5 people, median of {runs}, {platform.machine()}, {os.cpu_count()} cores"
    )
    table.add_column("stage")
    table.add_column("events/s", justify="right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}")
    table.add_section()
    for name, ratio in ratios.items():
        table.add_row(name, f"x {ratio:.2f}")
    console.print(table)
    out = Path(".local/bench.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"events": events, "runs": runs, "rates": rates, "ratios": ratios}, indent=2))
    console.print(f"The figures are in {out}.")


# --- The raw limits ---------------------------------------------------------------------------------------------------


async def _raw_send(kafka: str, registry: Site, events: int) -> float:
    """Seconds to send the very same records with plain `send`, gathered by the thousand, to a topic of their own."""
    name = f"bench.raw.{perf_counter():.6f}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, TOPICS[TOPIC].partitions, 1)])
    await admin.close()
    rows = await registry.pool.fetch("SELECT stream, value, partition FROM log WHERE topic = $1 ORDER BY id", TOPIC)
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    sample = await consumer.getone()
    await consumer.stop()
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, compression_type="zstd", max_batch_size=1_000_000
    )
    await producer.start()
    start = perf_counter()
    for first in range(0, events, 1000):
        sent = [
            await producer.send(
                name, row["value"], row["stream"].encode(), partition=row["partition"], headers=list(sample.headers)
            )
            for row in rows[first : first + 1000]
        ]
        await asyncio.gather(*sent)
    seconds = perf_counter() - start
    await producer.stop()
    return seconds


async def _project(training: Site, kafka: str, before: dict[int, int], events: int) -> None:
    """Training's own tables, through the consumer, from where this run's records begin."""
    stopping = asyncio.Event()
    consumer = Consumer(training.workplace, kafka, Reactions(), ())
    await consumer._workplace_ready()
    for partition, offset in before.items():
        await training.pool.execute(
            "UPDATE cursor SET next_offset = $1, last_sequence = -1 WHERE topic = $2 AND partition = $3",
            offset,
            TOPIC,
            partition,
        )
    running = asyncio.ensure_future(consumer.run(stopping))
    while await training.pool.fetchval("SELECT count(*) FROM demand") < events:  # noqa: ASYNC110 (the end is in the database)
        await asyncio.sleep(0.02)
    stopping.set()
    await running


async def _raw_projection(training: Site, kafka: str, before: dict[int, int], events: int) -> None:
    """The least that any projection does: getmany, validate, one upsert a batch; no cursor, no chain, no fold."""
    await training.pool.execute(
        "CREATE TABLE raw_demand (household_id text PRIMARY KEY, version bigint, area_code text, status text, "
        "decile bigint, percentile bigint, people bigint)"
    )
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed")
    await consumer.start()
    places = {TopicPartition(TOPIC, partition): offset for partition, offset in before.items()}
    consumer.assign(list(places))
    for place, offset in places.items():
        consumer.seek(place, offset)
    seen = 0
    while seen < events:
        records = [
            r for of_place in (await consumer.getmany(timeout_ms=100, max_records=2000)).values() for r in of_place
        ]
        if not records:
            continue
        rows: list[tuple[Any, ...]] = []
        for record in records:
            envelope, _ = read_headers(record.topic, record.headers)
            event: Any = read_event(envelope.type, record.value)
            rows.append(
                (
                    event.household_id,
                    envelope.version,
                    event.area_code,
                    "listed",
                    event.rank.welfare_decile,
                    event.rank.welfare_percentile,
                    len(event.members),
                )
            )
        await training.pool.execute(
            "INSERT INTO raw_demand SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], "
            "$5::bigint[], $6::bigint[], $7::bigint[]) "
            "ON CONFLICT (household_id) DO UPDATE SET version = EXCLUDED.version",
            *[list(column) for column in zip(*rows, strict=True)],
        )
        seen += len(records)
    await consumer.stop()


async def _ends(kafka: str) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    places = [TopicPartition(TOPIC, n) for n in range(TOPICS[TOPIC].partitions)]
    ends = await consumer.end_offsets(places)
    await consumer.stop()
    return {place.partition: end for place, end in ends.items()}


if __name__ == "__main__":
    asyncio.run(main())
