"""Recovery: no history forks. A restored database takes its tail back; a lost Kafka is filled again; readers go on."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from contracts.envelope import Event
from services.kit import recovery
from services.kit.keyring import LocalKeys
from services.kit.recovery import Recovered, RecoveryRefused, recover
from services.kit.relay import Relay, abandon, producer_for, record_batches, send_all
from services.kit.reseeding import ReseedRefused, remap_cursors, reseed
from services.kit.transaction import Workplace, acting_as
from tests.kit.test_consumer import consumer_of, publish, same_totals
from tests.kit.test_cursor import admin_of
from tests.kit.test_intake import message, read_up_to, send, structured, taking_in, whole
from tests.kit.test_process import LAB_SERVICE, house, shown_if_it_fails, soon
from tests.kit.test_relay import assert_whole, outbox_is_empty
from tests.support.databases import FreshDatabase
from tests.support.lab import (
    MASTER_KEY,
    NOW,
    Lab,
    Site,
    all_records,
    eventually,
    make_topics,
    migrate_lab,
    relay_of,
    running,
    site,
)
from tests.support.nursery import nursery


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@asynccontextmanager
async def opened(lab: Lab, dsn: str, service: str | None = None) -> AsyncIterator[Site]:
    """The publisher, or a reader, on a database that is there already."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=5)
    tables = lab.own_tables if service is None else lab.tables
    try:
        keys = LocalKeys(MASTER_KEY)
        yield Site(lab, dsn, pool, Workplace(service or lab.service, pool, tables, keys, lambda: NOW, lambda: None))
    finally:
        await pool.close()


async def backup_of(dsn: str) -> str:
    """A copy of a database that nobody is connected to."""
    parts = urlsplit(dsn)
    server = await asyncpg.connect(parts._replace(path="/postgres").geturl())
    try:
        await server.execute(f'CREATE DATABASE "{parts.path[1:]}_backup" TEMPLATE "{parts.path[1:]}"')
    finally:
        await server.close()
    return parts._replace(path=parts.path + "_backup").geturl()


async def drop(dsn: str) -> None:
    parts = urlsplit(dsn)
    server = await asyncpg.connect(parts._replace(path="/postgres").geturl())
    await server.execute(f'DROP DATABASE "{parts.path[1:]}" WITH (FORCE)')
    await server.close()


async def relayed(place: Site, kafka: str, transactions: int = 0) -> None:
    async with running(relay_of(place, kafka).run):
        if transactions:
            await publish(place, transactions)
        await eventually(lambda: outbox_is_empty(place))


@asynccontextmanager
async def restored(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, *, waiting: int = 10
) -> AsyncIterator[tuple[str, str]]:
    """The DSN of a database that was lost, and of a backup from before: `waiting` of its facts were not sealed yet."""
    await make_topics(kafka, lab)
    dsn = await fresh_database("lab", migrate_lab)
    async with opened(lab, dsn) as place:
        await relayed(place, kafka, 40)
        await publish(place, waiting)
    backup = await backup_of(dsn)
    async with opened(lab, dsn) as place:
        await relayed(place, kafka, 60)
    try:
        yield dsn, backup
    finally:
        await drop(backup)


async def recovered(place: Site, kafka: str, **options: Any) -> Recovered:
    return await recover(place.dsn, place.lab.service, kafka, place.workplace.tables, (place.lab.partner,), **options)


async def history(place: Site) -> list[Any]:
    """All that is sealed, and what was folded: everything but the ids that the database drew for itself."""
    return [
        await place.rows(
            "SELECT sequence, topic, stream, version, partition, type, event_id, occurred_at, recorded_at, actor, "
            "correlation_id, causation_id, area_code, value FROM log JOIN seal USING (id) ORDER BY sequence"
        ),
        await place.rows("SELECT level, number, hashes FROM tile ORDER BY level, number"),
        (await place.rows("SELECT root, frontier, tails FROM sealed_batch ORDER BY batch_no DESC LIMIT 1")),
        await place.rows("SELECT * FROM counter ORDER BY counter_id"),
        await place.rows("SELECT * FROM part ORDER BY counter_id, part"),
        await place.rows("SELECT * FROM rejection ORDER BY rejection_id"),
        await place.rows("SELECT * FROM outbox"),
    ]


async def refusal_of(relay: Relay, *, says: str) -> None:
    async with running(relay.run):

        async def refuses() -> bool:
            return relay.defect is not None

        await eventually(refuses)
        assert says in str(relay.defect), relay.defect
        assert not relay.leading


# --- An older backup --------------------------------------------------------------------------------------------------


async def test_a_restored_database_refuses_to_fork_and_takes_its_tail_back(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with restored(lab, fresh_database, kafka) as (dsn, backup), opened(lab, backup) as place:
        before = await history(place)
        await refusal_of(relay_of(place, kafka), says="recover")
        assert await history(place) == before, "nothing is sealed where that would fork the log"
        redone: list[Event] = []

        async def redo(_: Any, events: Sequence[Event]) -> None:
            redone.extend(events)

        done = await recovered(place, kafka, redo=redo)
        assert (done.first_sequence, done.events, done.appended) == (40, 70, 60)
        assert len(redone) == 60, "what the backup had is not done again"
        async with opened(lab, dsn) as lost:
            assert await history(place) == await history(lost)
        assert (await recovered(place, kafka)).events == 0
        await relayed(place, kafka, 20)
        assert_whole(await all_records(kafka, lab.topic), 130)


async def test_a_recovery_that_is_broken_off_goes_on(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recovery, "BATCH_EVENTS", 25)
    async with restored(lab, fresh_database, kafka) as (dsn, backup), opened(lab, backup) as place:

        def break_off(_events: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await recovered(place, kafka, progress=break_off)
        assert await place.pool.fetchval("SELECT count(*) FROM seal") == 65
        assert (await recovered(place, kafka)).events == 45
        async with opened(lab, dsn) as lost:
            assert await history(place) == await history(lost)


async def test_what_was_accepted_after_the_restore_is_named_and_nothing_is_changed(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with restored(lab, fresh_database, kafka, waiting=0) as (_, backup), opened(lab, backup) as place:
        await place.decide(lab.Counted(counter_id="c3", amount=1), lab.Counted(counter_id="new", amount=1))
        before = await history(place)
        with pytest.raises(RecoveryRefused, match=rf"1 events were accepted.*\n  {lab.topic}/c3 version 7: .*tester"):
            await recovered(place, kafka)
        assert await history(place) == before


async def test_a_tail_that_was_not_sent_whole_is_refused(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with restored(lab, fresh_database, kafka) as (dsn, backup):
        async with opened(lab, dsn) as lost, lost.pool.acquire() as connection:
            await publish(lost, 20)
            batch = await relay_of(lost, kafka)._seal(connection)
            assert batch is not None
            producer = producer_for(kafka)
            await producer.start()
            builders = record_batches(producer, batch.events)
            first_place = next(reversed(builders))
            await send_all(producer, {first_place: builders[first_place]})
            await abandon(producer)
        async with opened(lab, backup) as place:
            before = await history(place)
            with pytest.raises(RecoveryRefused, match=r"sequence 110 is nowhere in Kafka, but \d+ is, at"):
                await recovered(place, kafka)
            assert await history(place) == before


async def test_a_kafka_of_another_history_is_refused(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as first, site(lab, fresh_database) as second:
        await relayed(first, kafka, 20)
        await publish(second, 20)
        # The second has sealed as much, but it was never told to this Kafka.
        async with second.pool.acquire() as connection:
            assert await relay_of(second, kafka)._seal(connection) is not None
        await refusal_of(relay_of(second, kafka), says="two histories")


async def test_what_the_tail_had_answered_is_not_answered_again(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    dsn = await fresh_database("lab", migrate_lab)
    async with opened(lab, dsn) as place:
        await send(kafka, lab.partner_topic, [message(lab, "m0", amount=1)])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 1))
            await eventually(lambda: outbox_is_empty(place))
    backup = await backup_of(dsn)
    try:
        async with opened(lab, dsn) as place:
            more = [
                message(lab, "m1", amount=10),
                structured(lab, whole(lab, "m2", "c1", data={"counter_id": "c1", "amount": 100})),
                message(lab, "m3", amount=2_000_000),  # Too much to be true: it is rejected.
            ]
            await send(kafka, lab.partner_topic, more)
            async with taking_in(place, kafka):
                await eventually(lambda: read_up_to(place, 4))
                await eventually(lambda: outbox_is_empty(place))
            assert await place.totals() == {"c1": (3, 111)}
        async with opened(lab, backup) as place:
            done = await recovered(place, kafka)
            assert list(done.moved.values()) == [3]
            await send(kafka, lab.partner_topic, [message(lab, "m1", amount=10), message(lab, "m4", amount=1000)])
            async with taking_in(place, kafka):
                await eventually(lambda: read_up_to(place, 6))
            assert await place.totals() == {"c1": (4, 1111)}
            assert len(await place.rows("SELECT 1 FROM rejection")) == 1
    finally:
        await drop(backup)


async def test_projections_come_back_with_what_was_answered(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    """A reader whose tail answers a foreign fact: its projection and its cursor come up to there."""
    other = Lab()
    try:
        await make_topics(kafka, lab)
        await make_topics(kafka, other)
        # The reader owns `other`, and projects the lab's parts.
        tables = (*other.own_tables, replace(lab.counters, name="foreign_counter", head=False))
        dsn = await fresh_database("lab", migrate_lab)
        async with site(lab, fresh_database) as publisher:
            await relayed(publisher, kafka, 30)
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE foreign_counter (LIKE counter INCLUDING ALL)")
        await connection.close()
        seen = sorted(await all_records(kafka, lab.topic), key=lambda s: s.position.sequence)
        cause = seen[-1]
        async with opened(other, dsn) as place:
            work = replace(place, workplace=replace(place.workplace, tables=tables))
            await consumer_of(work, kafka)._workplace_ready()
            backup_rows = await work.rows("SELECT next_offset FROM cursor")
            assert {row["next_offset"] for row in backup_rows} == {0}
        backup = await backup_of(dsn)
        try:
            async with opened(other, dsn) as place:
                async with place.workplace.transaction(acting_as("reaction")) as tx:
                    await tx.decide([other.Counted(counter_id="o1", amount=1)], cause=cause.envelope)
                await relayed(place, kafka)
            done = await recover(backup, other.service, kafka, tables)
            [(moved, count)] = done.moved.items()
            assert (moved.topic, moved.partition, count) == (lab.topic, cause.partition, cause.offset + 1)
            async with opened(other, backup) as place:
                folded = await place.rows("SELECT counter_id, times FROM foreign_counter")
            told = [s.envelope.key for s in seen if s.partition == cause.partition]
            assert {row["counter_id"]: row["times"] for row in folded} == {key: told.count(key) for key in told}
        finally:
            await drop(backup)
    finally:
        other.forget()


async def test_a_worker_on_an_older_backup_takes_nothing_in_until_it_is_recovered(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, tmp_path: Path
):
    async with restored(lab, fresh_database, kafka) as (_, backup), opened(lab, backup) as place:
        await send(kafka, lab.partner_topic, [message(lab, "m1", "c1", 5)])
        async with house(lab, backup, kafka, tmp_path) as lab_house:
            log = tmp_path / "worker.log"
            with (
                shown_if_it_fails(log),
                nursery(LAB_SERVICE, environment=lab_house.environment) as starting,
            ):
                worker = starting.start(LAB_SERVICE, "worker", environment={}, log_file=log)

                async def refuses() -> bool:
                    stopped = (await lab_house.progress()).get("stopped", {})
                    return "recover" in stopped.get("log", "") and "recover" in stopped.get("relay", "")

                await soon(refuses)
                assert not await place.rows("SELECT 1 FROM cursor WHERE next_offset > 0")
                await recovered(place, kafka)
                await soon(lab_house.all_dealt_with)
                assert await place.rows("SELECT 1 FROM cursor WHERE next_offset > 0")
                worker.kill()
        assert_whole(await all_records(kafka, lab.topic), 111)


# --- A lost Kafka -----------------------------------------------------------------------------------------------------


async def lose_topics(kafka: str, lab: Lab) -> None:
    names = {lab.topic, lab.partner_topic, lab.rejected_topic}
    async with admin_of(kafka) as admin:
        await admin.delete_topics(list(names))

        async def gone() -> bool:
            return not names & set(await admin.list_topics())

        await eventually(gone)
    await make_topics(kafka, lab)


async def test_a_lost_kafka_is_filled_from_the_log_and_readers_go_on(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        async with running(consumer_of(reader, kafka).run):
            for _ in range(3):
                await relayed(publisher, kafka, 40)
            await eventually(lambda: same_totals(publisher, reader))
        sent = sorted(await all_records(kafka, lab.topic), key=lambda s: s.position.sequence)
        # Some more, which the reader has not read when Kafka is lost.
        await relayed(publisher, kafka, 30)
        await lose_topics(kafka, lab)

        await refusal_of(relay_of(publisher, kafka), says="reseed")
        stopped = consumer_of(reader, kafka)
        async with running(stopped.run):

            async def noticed() -> bool:
                return any("made anew" in reason for reason in stopped.stopped.values())

            await eventually(noticed)
        with pytest.raises(ReseedRefused, match="does not hold sequence"):
            await remap_cursors(reader.dsn, kafka)

        def break_off(_events: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await reseed(publisher.dsn, lab.service, kafka, break_off)
        done = await reseed(publisher.dsn, lab.service, kafka)
        assert 0 < sum(done.values()) < 150
        assert await reseed(publisher.dsn, lab.service, kafka) == {}
        again = sorted(await all_records(kafka, lab.topic), key=lambda s: s.position.sequence)
        assert_whole(again, 150)
        assert [(s.envelope, s.position, s.value, s.headers) for s in again[: len(sent)]] == [
            (s.envelope, s.position, s.value, s.headers) for s in sent
        ]

        moved = await remap_cursors(reader.dsn, kafka)
        assert not moved.begun_anew
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await publish(publisher, 20)
            await eventually(lambda: same_totals(publisher, reader))
        assert_whole(await all_records(kafka, lab.topic), 170)


async def test_cursors_do_not_move_into_another_history(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database, service=f"reader-{lab.service}") as reader:
        async with site(lab, fresh_database) as publisher, running(consumer_of(reader, kafka).run):
            await relayed(publisher, kafka, 40)
            await eventually(lambda: same_totals(publisher, reader))
        await lose_topics(kafka, lab)
        async with site(lab, fresh_database) as other:
            await relayed(other, kafka, 40)
            before = await reader.rows("SELECT * FROM cursor ORDER BY topic, partition")
            with pytest.raises(ReseedRefused, match="another history"):
                await remap_cursors(reader.dsn, kafka)
            assert await reader.rows("SELECT * FROM cursor ORDER BY topic, partition") == before


async def test_a_partners_topic_made_anew_is_read_from_its_beginning(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}") for n in range(3)])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 3))
            await eventually(lambda: outbox_is_empty(place))
        await lose_topics(kafka, lab)
        await reseed(place.dsn, lab.service, kafka)
        done = await remap_cursors(place.dsn, kafka)
        assert [p.topic for p in done.begun_anew] == [lab.partner_topic]
        await send(kafka, lab.partner_topic, [message(lab, "m2"), message(lab, "m3")])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 2))
        assert await place.totals() == {"c1": (4, 4)}, "what was taken in before is known by its id"


async def test_topics_that_are_not_there_are_said_to_hold_nothing(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with site(lab, fresh_database, service=f"reader-{lab.service}") as reader:
        await reader.pool.execute("INSERT INTO cursor VALUES ($1, 0, 6, 5, 'event-5')", lab.topic)
        with pytest.raises(ReseedRefused, match=f"{lab.topic}/0 does not hold sequence 5"):
            await remap_cursors(reader.dsn, kafka)
    async with site(lab, fresh_database) as publisher:
        assert (await recovered(publisher, kafka)).events == 0
