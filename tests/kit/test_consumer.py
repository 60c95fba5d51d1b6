"""The consumer on a real Kafka: each fact has its effect exactly once, whatever is copied, cut, killed or raised."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from contracts.envelope import Position, headers_of
from services.kit import consumer as consuming
from services.kit.consumer import Consumer
from services.kit.partition import partition_for
from services.kit.positions import Place, Record
from services.kit.reactions import Reactions
from services.kit.transaction import new_id
from tests.support.databases import FreshDatabase
from tests.support.lab import PARTITIONS, Lab, Site, all_records, eventually, make_topics, relay_of, running, site


@pytest.fixture
def lab():
    made = Lab()
    yield made
    made.forget()


@asynccontextmanager
async def publisher_and_reader(lab: Lab, fresh_database: FreshDatabase, kafka: str) -> AsyncIterator[tuple[Site, Site]]:
    """A service that publishes, and one that reads what it publishes."""
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        yield publisher, reader


def consumer_of(reader: Site, kafka: str, reactions: Reactions | None = None) -> Consumer:
    return Consumer(reader.workplace, kafka, reactions or Reactions(), ())


async def publish(publisher: Site, count: int, counters: int = 7) -> None:
    for n in range(0, count, 10):
        facts = [publisher.lab.Counted(counter_id=f"c{(n + i) % counters}", amount=n + i) for i in range(10)]
        await publisher.decide(*facts)


async def same_totals(publisher: Site, reader: Site) -> bool:
    return await publisher.totals() == await reader.totals()


async def test_a_projection_comes_to_equal_the_publishers_table(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        consumer = consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, consumer.run):
            await publish(publisher, 300)
            await eventually(lambda: same_totals(publisher, reader))
        oracle: dict[str, tuple[int, int]] = {}
        for n in range(300):
            times, total = oracle.get(f"c{n % 7}", (0, 0))
            oracle[f"c{n % 7}"] = (times + 1, total + n)
        assert await reader.totals() == oracle
        assert consumer.stopped == {}


async def test_whole_copies_and_a_restart_change_nothing(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await publish(publisher, 100)
            await eventually(lambda: same_totals(publisher, reader))
        await publisher.pool.execute(
            "UPDATE sealed_batch SET sent_at = NULL WHERE batch_no = (SELECT max(batch_no) FROM sealed_batch)"
        )
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await publish(publisher, 100)
            await eventually(lambda: same_totals(publisher, reader))
        assert len(await all_records(kafka, lab.topic)) > 200


async def test_two_members_share_the_work_and_none_of_it_is_done_twice(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        first, second = consumer_of(reader, kafka), consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, first.run):
            await publish(publisher, 200)
            async with running(second.run):
                await publish(publisher, 200)
                await eventually(lambda: same_totals(publisher, reader))
            # The second has left: its partitions come back to the first.
            await publish(publisher, 200)
            await eventually(lambda: same_totals(publisher, reader))


async def test_a_member_with_an_outdated_position_changes_nothing(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        consumer = consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, consumer.run):
            await publish(publisher, 50)
            await eventually(lambda: same_totals(publisher, reader))
            # Another member, as it were, has read on and its work was undone by nobody: the cursor is ahead.
            held = dict(consumer._held)
            before = await reader.totals()
            await reader.pool.execute("UPDATE cursor SET next_offset = next_offset + 1000")
            await publish(publisher, 50)
            await asyncio.sleep(1)
            assert await reader.totals() == before, "a compare-and-set that fails folds nothing"
            for place, standing in held.items():
                await reader.pool.execute(
                    "UPDATE cursor SET next_offset = $3, stopped = NULL WHERE topic = $1 AND partition = $2",
                    *place,
                    standing.next_offset,
                )
        async with running(consumer_of(reader, kafka).run):
            await eventually(lambda: same_totals(publisher, reader))


async def test_a_handler_that_raises_in_the_middle_skips_nothing(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        consumer = consumer_of(reader, kafka)
        real, raised = consumer._batches.apply, 0

        async def sometimes(tx: Any, slices: Any) -> None:
            nonlocal raised
            raised += 1
            if raised in (1, 3):
                raise RuntimeError("planted before")
            await real(tx, slices)
            if raised in (2, 5):
                raise asyncpg.ConnectionDoesNotExistError("planted after")

        monkeypatch.setattr(consumer._batches, "apply", sometimes)

        async def has_raised_often() -> bool:
            await publish(publisher, 20)
            return raised > 5

        async with running(relay_of(publisher, kafka).run, consumer.run):
            await eventually(has_raised_often)
            # Nothing is published any more: the tail must be read though the topic is quiet.
            await eventually(lambda: same_totals(publisher, reader))


async def test_what_is_read_ahead_is_taken_once_and_in_order_though_batches_fail(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(consuming, "MAX_RECORDS", 20)
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        async with running(relay_of(publisher, kafka).run):
            await publish(publisher, 600)
            await eventually(lambda: _sent(publisher))
        consumer = consumer_of(reader, kafka)
        real, batches, read_ahead = consumer._batches.apply, 0, 0

        async def sometimes(tx: Any, slices: Any) -> Any:
            nonlocal batches, read_ahead
            batches += 1
            read_ahead += sum(arrival.record.read is not None for piece in slices for arrival in piece.arrivals)
            if batches in (3, 7):
                raise asyncpg.ConnectionDoesNotExistError("planted")
            return await real(tx, slices)

        monkeypatch.setattr(consumer._batches, "apply", sometimes)
        async with running(consumer.run):
            await eventually(lambda: same_totals(publisher, reader))
        assert consumer.stopped == {}
        assert read_ahead > 300, "most batches were read while the one before was written"


async def test_a_place_that_is_sought_takes_nothing_that_was_fetched_before(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with site(lab, fresh_database, service=f"reader-{lab.service}") as reader:
        consumer = consumer_of(reader, kafka)
        await consumer._workplace_ready()
        there = TopicPartition(lab.topic, 0)
        found = {there: [Record(lab.topic, 0, 5, 0, None, b"{}", ())]}
        client = SimpleNamespace(
            getmany=AsyncMock(return_value=found), _subscription=SimpleNamespace(reassignment_in_progress=False)
        )
        await consumer._ahead.fetch(client, 10, lambda record: record)
        await consumer._settle([Place(*there)])
        assert consumer._ahead.taken() == ()


async def test_a_batch_that_was_taken_is_gone_though_nobody_looks_for_garbage(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    """What holds itself is held until somebody looks: with all records of a batch that is a lot, and a long look."""
    monkeypatch.setattr(consuming, "MAX_RECORDS", 20)
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        gc.collect()
        before = _records_held()
        gc.disable()
        try:
            async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
                await publish(publisher, 400)
                await eventually(lambda: same_totals(publisher, reader))
            assert _records_held() == before
        finally:
            gc.enable()


def _records_held() -> int:
    return sum(type(each) is Record for each in gc.get_objects())


async def test_a_hole_in_the_chain_stops_the_partition_with_an_alarm(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        async with running(relay_of(publisher, kafka).run):
            await publisher.decide(*[lab.Counted(counter_id="c1", amount=1) for _ in range(3)])
            await eventually(lambda: _sent(publisher))
        [*_, last] = await all_records(kafka, lab.topic)
        # A record whose predecessor never reached Kafka, as after a loss.
        lost = Position(last.position.sequence + 2, last.position.sequence + 1)
        producer = AIOKafkaProducer(bootstrap_servers=kafka)
        await producer.start()
        await producer.send_and_wait(
            lab.topic, last.value, b"c1", partition=last.partition, headers=headers_of(last.envelope, lost)
        )
        await producer.stop()
        consumer = consumer_of(reader, kafka)
        async with running(consumer.run):
            await eventually(lambda: _stopped(consumer))
        [reason] = consumer.stopped.values()
        assert f"sequence {lost.sequence} follows {lost.previous_sequence}" in reason
        assert (await reader.totals())["c1"] == (3, 3)


async def _sent(publisher: Site) -> bool:
    return not await publisher.rows("SELECT 1 FROM outbox")


async def _stopped(consumer: Consumer) -> bool:
    return bool(consumer.stopped)


async def tell_too_new(publisher: Site, counter: str) -> str:
    """Puts a fact on the log of a version that no release here knows, as a newer publisher would. Gives its type."""
    newer = publisher.lab.Counted.ce_type.replace(".v1", ".v2")
    await publisher.pool.execute(
        """
        WITH appended AS (
            INSERT INTO log (topic, stream, version, partition, type, event_id, occurred_at, recorded_at, actor,
                             correlation_id, area_code, value)
            VALUES ($1, $2, 1000, $3, $4, $5, now(), now(), 'tester', 'test', '', '{}')
            RETURNING id
        )
        INSERT INTO outbox SELECT id FROM appended
        """,
        publisher.lab.topic,
        counter,
        partition_for(counter, PARTITIONS),
        newer,
        new_id(),
    )
    return newer


async def test_a_newer_version_stops_its_partition_and_says_what_to_deploy(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with publisher_and_reader(lab, fresh_database, kafka) as (publisher, reader):
        newer = await tell_too_new(publisher, "c1")
        consumer = consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, consumer.run):
            await eventually(lambda: _stopped(consumer))
        [reason] = consumer.stopped.values()
        assert f"{newer} is newer than version 1" in reason
        assert "deploy" in reason
        assert await reader.rows("SELECT 1 FROM parked") == []
        assert await reader.totals() == {}
