"""The cursor against a real Kafka: read from it alone, through rebalances, retention, outages and topics made anew."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.kit import standstill
from services.kit.consumer import Consumer
from services.kit.positions import Place
from tests.kit.test_consumer import consumer_of, publish, same_totals, tell_too_new
from tests.kit.test_intake import message, outbox_is_empty, read_up_to, send, taking_in
from tests.support.cable import cable_to
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, migrate_lab, relay_of, running, site
from tests.support.lab_service.service import reactions_of


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@asynccontextmanager
async def admin_of(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def reader_of(lab: Lab, fresh_database: FreshDatabase) -> Any:
    return site(lab, fresh_database, service=f"reader-{lab.service}")


async def test_a_quiet_topic_is_read_from_the_cursor_though_kafka_was_told_more(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher:
        async with running(relay_of(publisher, kafka).run):
            await publish(publisher, 60)
            await eventually(lambda: outbox_is_empty(publisher))
        # Each reader has a database of its own and the group of all: what Kafka was told is ahead of what it holds, as
        # after restoring a backup. Nothing is published any more.
        for _ in range(3):
            async with reader_of(lab, fresh_database) as reader, running(consumer_of(reader, kafka).run):
                await eventually(lambda reader=reader: same_totals(publisher, reader))


@pytest.mark.parametrize(("events", "reason"), [(2, "ends at offset"), (40, "another event at offset")])
async def test_a_topic_that_was_made_anew_is_noticed(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, events: int, reason: str
):
    await make_topics(kafka, lab)
    async with reader_of(lab, fresh_database) as reader:
        async with (
            site(lab, fresh_database) as publisher,
            running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run),
        ):
            await publisher.decide(*[lab.Counted(counter_id="c1", amount=1) for _ in range(20)])
            await eventually(lambda: same_totals(publisher, reader))
        before = await reader.totals()
        async with admin_of(kafka) as admin:
            await admin.delete_topics([lab.topic, lab.partner_topic, lab.rejected_topic])

            async def topics_are_gone() -> bool:
                return not {lab.topic, lab.partner_topic, lab.rejected_topic} & set(await admin.list_topics())

            await eventually(topics_are_gone)
        await make_topics(kafka, lab)
        async with site(lab, fresh_database) as other, running(relay_of(other, kafka).run):
            await other.decide(*[lab.Counted(counter_id="c1", amount=1) for _ in range(events)])
            await eventually(lambda: outbox_is_empty(other))
            consumer = consumer_of(reader, kafka)
            async with running(consumer.run):

                async def noticed() -> dict[Any, str]:
                    return consumer.stopped

                stopped = await eventually(noticed)
                assert [reason in told for told in stopped.values()] == [True], stopped
                assert "made anew" in next(iter(stopped.values()))
                assert await reader.totals() == before


async def test_a_partners_topic_whose_beginning_was_deleted_goes_on(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}") for n in range(2)])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 2))
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}") for n in range(2, 9)])
        async with admin_of(kafka) as admin:
            # As retention does it after seven days: offsets 2 to 4 are gone unread.
            await admin.delete_records({TopicPartition(lab.partner_topic, 0): RecordsToDelete(before_offset=5)})
        async with taking_in(place, kafka) as consumer:
            await eventually(lambda: read_up_to(place, 9))
        assert consumer.stopped == {}
        assert await place.totals() == {"c1": (6, 6)}


async def test_a_rebalance_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher, reader_of(lab, fresh_database) as reader:
        first, second = consumer_of(reader, kafka), consumer_of(reader, kafka)
        real, in_the_middle, go_on = first._batches.apply, asyncio.Event(), asyncio.Event()

        async def held(tx: Any, slices: Any) -> None:
            await real(tx, slices)
            in_the_middle.set()
            await go_on.wait()

        monkeypatch.setattr(first._batches, "apply", held)
        async with running(relay_of(publisher, kafka).run, first.run):
            await publish(publisher, 100, counters=20)
            await asyncio.wait_for(in_the_middle.wait(), 20)
            async with running(second.run):

                async def second_has_partitions() -> bool:
                    consumer = second._subscriber.consumer
                    return consumer is not None and bool(consumer.assignment())

                await eventually(second_has_partitions)
                await publish(publisher, 100, counters=20)
                go_on.set()
                await eventually(lambda: same_totals(publisher, reader))
            await publish(publisher, 50, counters=20)
            await eventually(lambda: same_totals(publisher, reader))
        assert first.stopped == second.stopped == {}


async def test_where_kafka_ended_a_while_ago_says_nothing_of_what_was_read_since(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher, reader_of(lab, fresh_database) as reader:
        consumer = consumer_of(reader, kafka)
        asked, answered_late = consumer.measure, asyncio.Event()

        async def late() -> None:
            await asked()
            if consumer._ends and not answered_late.is_set():
                await publish(publisher, 60)
                await eventually(lambda: same_totals(publisher, reader))
                answered_late.set()

        monkeypatch.setattr(consumer, "measure", late)
        async with running(relay_of(publisher, kafka).run, consumer.run):
            await asyncio.wait_for(answered_late.wait(), 20)
            await publish(publisher, 60)
            await eventually(lambda: same_totals(publisher, reader))
        assert consumer.stopped == {}


async def test_a_client_that_brings_nothing_any_more_is_replaced(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    """Its fetching has ended without a word, as after an error that it does not expect."""
    monkeypatch.setattr(standstill, "PATIENCE_SECONDS", 0.5)
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher, reader_of(lab, fresh_database) as reader:
        consumer = consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, consumer.run):
            await publish(publisher, 60)
            await eventually(lambda: same_totals(publisher, reader))
            client = consumer._subscriber.consumer
            assert client is not None
            client._fetcher._fetch_task.cancel()
            await publish(publisher, 60)
            await eventually(lambda: same_totals(publisher, reader))
            assert consumer._subscriber.consumer is not client
        assert consumer.stopped == {}


async def test_a_stopped_partition_stays_stopped_through_a_rebalance(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher, reader_of(lab, fresh_database) as reader:
        await tell_too_new(publisher, "bad")
        first = consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, first.run):
            await eventually(lambda: is_stopped(first))
            [place] = first.stopped
            async with running(consumer_of(reader, kafka).run):
                await publish(publisher, 100, counters=20)
                await eventually(lambda: others_arrived(publisher, reader, place.partition))
            # The second has left, so that all partitions are the first's again.
            await publisher.decide(lab.Counted(counter_id="bad", amount=1))
            await publish(publisher, 100, counters=20)
            await eventually(lambda: others_arrived(publisher, reader, place.partition))

            async def laid_again() -> bool:
                consumer = first._subscriber.consumer
                assert consumer is not None
                return {TopicPartition(*place)} == consumer.paused() & consumer.assignment()

            await eventually(laid_again)
        assert set(first.stopped) == {place}
        [cursor] = await reader.rows("SELECT next_offset FROM cursor WHERE stopped IS NOT NULL")
        assert cursor["next_offset"] == 0
        assert "bad" not in await reader.totals()


async def is_stopped(consumer: Consumer) -> bool:
    return bool(consumer.stopped)


async def others_arrived(publisher: Site, reader: Site, stopped: int) -> bool:
    there, all_ = await reader.totals(), await publisher.totals()
    streams = await publisher.rows("SELECT DISTINCT stream FROM log WHERE partition <> $1", stopped)
    return all(there.get(row["stream"]) == all_[row["stream"]] for row in streams)


async def test_a_database_that_is_away_for_a_while_stops_nothing(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher, reader_of(lab, fresh_database) as other:
        dsn = await fresh_database("lab", migrate_lab)
        async with cable_to(dsn) as (cable, by_cable):
            pool = await asyncpg.create_pool(by_cable, min_size=1, max_size=3)
            reader = Site(lab, by_cable, pool, replace(other.workplace, pool=pool))
            consumer = consumer_of(reader, kafka)
            async with running(relay_of(publisher, kafka).run, consumer.run):
                await publish(publisher, 50)
                await eventually(lambda: same_totals(publisher, reader))
                await cable.cut()
                await publish(publisher, 50)
                await asyncio.sleep(0.5)
                await cable.mend()
                await publish(publisher, 50)
                await eventually(lambda: same_totals(publisher, reader))
            pool.terminate()
        assert consumer.stopped == {}


async def test_what_was_fetched_before_the_cursor_was_known_does_not_skip_a_partners_messages(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as former:
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}") for n in range(5)])
        async with taking_in(former, kafka):
            await eventually(lambda: read_up_to(former, 5))
    await send(kafka, lab.partner_topic, [message(lab, f"m{n}") for n in range(5, 8)])
    # The database is another one, which holds nothing; Kafka was told that five messages were read.
    async with site(lab, fresh_database) as place:
        consumer = Consumer(place.workplace, kafka, reactions_of(lab), (lab.partner,))
        partition = TopicPartition(lab.partner_topic, 0)
        await consumer._lock.acquire()
        async with running(consumer.run):

            async def last_three_are_fetched() -> bool:
                member = consumer._subscriber.consumer
                return member is not None and partition in member.assignment() and await member.position(partition) == 8

            await eventually(last_three_are_fetched)
            # They wait to be taken, while the cursor is read.
            await consumer._settle([Place(*partition)])
            consumer._lock.release()
            await eventually(lambda: read_up_to(place, 8))
        assert await place.totals() == {"c1": (8, 8)}
