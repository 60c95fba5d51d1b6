"""Rebuild: projections come to equal what the facts say, while the service runs, and nothing else is touched."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from services.kit import rebuild as rebuild_module
from services.kit.comparing import Report, diff
from services.kit.consumer import Consumer
from services.kit.partition import partition_for
from services.kit.reactions import Reactions
from services.kit.rebuild import RebuildRefused, Rebuilt, discard, rebuild, topics_to_rebuild
from services.kit.rebuild_part import while_led
from services.kit.rebuild_parts import own_tables
from services.kit.replay import ReplayDefect, live_reach
from services.kit.transaction import acting_as
from tests.kit.test_consumer import consumer_of, publish, same_totals
from tests.kit.test_cursor import admin_of
from tests.kit.test_relay import outbox_is_empty
from tests.support.databases import FreshDatabase
from tests.support.lab import (
    PARTITIONS,
    Counter,
    Lab,
    Site,
    all_records,
    eventually,
    make_topics,
    relay_of,
    running,
    site,
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@asynccontextmanager
async def projected(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, events: int = 200
) -> AsyncIterator[tuple[Site, Site]]:
    """A publisher with that many facts, and a reader that has folded them all; neither relay nor consumer runs."""
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await publish(publisher, events)
            await publisher.decide(
                lab.Spread(counter_id="c1", parts=("x", "y"), amount=3), lab.Cleared(counter_id="c2")
            )
            await eventually(lambda: same_totals(publisher, reader))
        yield publisher, reader


async def parts(place: Site) -> list[dict[str, Any]]:
    return await place.rows("SELECT * FROM part ORDER BY counter_id, part")


LAB_TABLES = "tests.support.lab_service.state"


async def rebuilt(reader: Site, kafka: str, **options: Any) -> Rebuilt:
    return await rebuild(reader.dsn, kafka, reader.workplace.tables, reader.lab.topic, **options)


async def differs(place: Site, kafka: str) -> Report:
    return await diff(place.dsn, place.workplace.service, kafka, place.workplace.tables, live_reach)


async def spoil(reader: Site) -> None:
    """A row is changed, one is lost and one is invented, as no fold would do it."""
    await reader.pool.execute("UPDATE counter SET total = total + 1 WHERE counter_id = 'c3'")
    await reader.pool.execute("DELETE FROM part WHERE counter_id = 'c1' AND part = 'x'")
    await reader.pool.execute("INSERT INTO part VALUES ('c9', 'z', 7)")


async def test_a_projection_that_is_right_has_no_difference(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        for place in (publisher, reader):
            report = await differs(place, kafka)
            assert report.same
            assert report.events == 202
            assert [compared.live_hash for compared in report.tables] == [c.folded_hash for c in report.tables]


async def test_a_difference_names_rows_columns_and_events(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        await spoil(reader)
        await spoil(publisher)
        for place, where in ((reader, f"{lab.topic}/"), (publisher, "sequence ")):
            report = await differs(place, kafka)
            counters, of_parts, *_ = report.tables
            assert (counters.differing, of_parts.differing) == (1, 2)
            assert [row.columns()[0][0] for row in counters.rows] == ["total"]
            assert [(row.key, row.live is None, row.folded is None) for row in of_parts.rows] == [
                ("c1/x", True, False),
                ("c9/z", False, True),
            ]
            events = report.explained[lab.topic, "c1"]
            assert any("Spread" in line and where in line for line in events), events
            assert report.explained[lab.topic, "c9"] == []


async def test_diff_is_of_one_moment_though_commands_and_batches_go_on(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        ending = asyncio.Event()

        async def go_on() -> None:
            while not ending.is_set():
                await publish(publisher, 20)

        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            load = asyncio.ensure_future(go_on())
            for _ in range(3):
                assert (await differs(reader, kafka)).same
                assert (await differs(publisher, kafka)).same
            ending.set()
            await load


@pytest.fixture(params=[5_000, 0], ids=["rows locked", "table locked"])
def locking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_module, "LOCKED_ONE_BY_ONE", request.param)


@pytest.mark.usefixtures("locking")
async def test_a_rebuild_writes_the_rows_that_differ_and_no_other(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        await spoil(reader)
        untouched = await reader.rows("SELECT counter_id, xmin FROM counter WHERE counter_id <> 'c3' ORDER BY 1")
        done = await rebuilt(reader, kafka)
        assert [mended.written for mended in done.tables] == [1, 2]
        assert await same_totals(publisher, reader)
        assert await parts(reader) == await parts(publisher)
        assert (
            await reader.rows("SELECT counter_id, xmin FROM counter WHERE counter_id <> 'c3' ORDER BY 1") == untouched
        )
        assert (await differs(reader, kafka)).same
        assert not await reader.rows("SELECT 1 FROM pg_class WHERE relname LIKE '%\\_\\_rebuild'")


@pytest.mark.usefixtures("locking")
async def test_a_rebuild_under_load_fails_nothing_and_misses_nothing(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rebuild_module, "NEAR_RECORDS", 20)
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        await spoil(reader)
        ending, looks = asyncio.Event(), 0

        async def write() -> None:
            while not ending.is_set():
                await publish(publisher, 20)

        async def look() -> None:
            nonlocal looks
            while not ending.is_set():
                # A prepared statement that is kept, over the live table and under its lock, as commands have it.
                async with reader.workplace.transaction(acting_as("tester")) as tx:
                    await tx.row(lab.counters, f"c{looks % 7}")
                looks += 1

        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            load = [asyncio.ensure_future(write()), asyncio.ensure_future(look())]
            for _ in range(3):
                await rebuilt(reader, kafka)
                await spoil(reader)
            await rebuilt(reader, kafka)
            ending.set()
            await asyncio.gather(*load)
            await eventually(lambda: same_totals(publisher, reader))
        assert looks > 0
        assert await parts(reader) == await parts(publisher)


async def test_a_rebuild_that_is_broken_off_changes_nothing_and_is_resumed(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rebuild_module, "NEAR_RECORDS", 0)
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        await spoil(reader)
        before = await reader.totals(), await parts(reader)

        class Broken(Exception):
            pass

        def break_off(_topic: str, _records: int) -> None:
            raise Broken

        with pytest.raises(Broken):
            await rebuilt(reader, kafka, progress=break_off)
        assert (await reader.totals(), await parts(reader)) == before
        done = await rebuilt(reader, kafka)
        assert done.resumed_at > 0
        assert done.resumed_at + done.events >= 202
        assert await same_totals(publisher, reader)
        assert await parts(reader) == await parts(publisher)


async def test_processes_side_by_side_fold_the_same_rows(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rebuild_module, "FOLDED_HERE", 100)
    monkeypatch.setenv("LAB", lab.service)
    async with projected(lab, fresh_database, kafka) as (_, reader):
        await spoil(reader)
        heard: list[int] = []
        done = await rebuilt(
            reader, kafka, tables_in=LAB_TABLES, processes=2, progress=lambda _, records: heard.append(records)
        )
        assert done.events == sum(heard) == 202
        assert len(heard) >= 2
        assert sum(mended.written for mended in done.tables) == 3
        assert (await differs(reader, kafka)).same


async def test_a_part_that_fails_is_quoted_and_changes_nothing(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rebuild_module, "FOLDED_HERE", 100)
    monkeypatch.setenv("LAB", "another")  # Its tables are of another topic: none of them was begun.
    async with projected(lab, fresh_database, kafka) as (_, reader):
        await spoil(reader)
        before = await parts(reader)
        with pytest.raises(ReplayDefect, match=f"no rebuild of what is folded of {lab.topic} is under way"):
            await rebuilt(reader, kafka, tables_in=LAB_TABLES, processes=2)
        assert await parts(reader) == before
        await rebuilt(reader, kafka)
        assert (await differs(reader, kafka)).same


async def test_a_part_that_cannot_reach_kafka_says_so(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rebuild_module, "FOLDED_HERE", 100)
    monkeypatch.setenv("LAB", lab.service)
    async with projected(lab, fresh_database, kafka) as (_, reader):
        with pytest.raises(ReplayDefect, match="the database or Kafka cannot be reached; nothing was changed"):
            await rebuilt(reader, "127.0.0.1:1", tables_in=LAB_TABLES, processes=2)


def test_a_program_finds_its_tables_beside_it(monkeypatch: pytest.MonkeyPatch):
    program = SimpleNamespace(__spec__=SimpleNamespace(name="services.training.__main__"))
    monkeypatch.setitem(sys.modules, "__main__", program)
    assert own_tables() == "services.training.state"


@pytest.mark.parametrize("service", ["registry", "training", "outcomes", "notifications"])
def test_a_part_folds_the_tables_that_its_service_has(service: str):
    wired = import_module(f"services.{service}.__main__").SERVICE
    assert wired.tables == import_module(f"services.{service}.state").TABLES


async def test_a_part_ends_with_the_process_that_leads_it():
    led = f"""
import asyncio, sys
from {while_led.__module__} import while_led

async def main():
    leader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(leader), sys.stdin)
    await while_led(asyncio.sleep(60), leader)

asyncio.run(main())
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", led, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    child.stdin.close()
    _, complaint = await asyncio.wait_for(child.communicate(), 30)
    assert (child.returncode, complaint.decode().strip()) == (1, "the process that led the rebuild has ended")


async def test_what_was_broken_off_can_be_put_away(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (_, reader):

        def break_off(_topic: str, _records: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await rebuilt(reader, kafka, progress=break_off)
        await discard(reader.dsn, reader.workplace.tables, lab.topic)
        assert not await reader.rows("SELECT 1 FROM pg_class WHERE relname LIKE '%\\_\\_rebuild'")
        assert not await reader.rows("SELECT 1 FROM rebuild_progress")


async def test_two_rebuilds_of_a_topic_do_not_run_at_once(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (_, reader), reader.pool.acquire() as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", f"entas rebuild {lab.topic}")
        with pytest.raises(RebuildRefused, match="another rebuild"):
            await rebuilt(reader, kafka)


async def test_the_rows_of_a_parked_stream_stay_as_they_are(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (_, reader):
        await park(reader, "c3", kafka)
        await spoil(reader)
        report = await differs(reader, kafka)
        assert report.tables[0].differing == 0, "c3 is parked and does not count"
        assert [stream for _, stream in report.reach.parked] == ["c3"]
        before = await reader.totals()
        done = await rebuilt(reader, kafka)
        assert done.left_out == ["c3"]
        assert await reader.totals() == before


async def park(reader: Site, stream: str, kafka: str) -> None:
    partition = partition_for(stream, PARTITIONS)
    seen = [r for r in await all_records(kafka, reader.lab.topic) if r.envelope.key == stream]
    await reader.pool.execute(
        "INSERT INTO parked (topic, partition, record_offset, stream, event_id, type, version, record) "
        "VALUES ($1, $2, $3, $4, 'event', 'type', 1, '')",
        reader.lab.topic,
        partition,
        seen[-1].offset,
        stream,
    )


def test_own_tables_and_unknown_ones_are_not_rebuilt(lab: Lab):
    with pytest.raises(RebuildRefused, match="own facts"):
        topics_to_rebuild(lab.service, lab.own_tables, ["counter"])
    with pytest.raises(RebuildRefused, match="has no projection counters; it has: counter, part"):
        topics_to_rebuild("reader", lab.tables, ["counters"])
    assert topics_to_rebuild("reader", lab.tables, ["part"]) == [lab.topic]


# --- Fold versions ----------------------------------------------------------------------------------------------------


def with_new_fold(lab: Lab, reader: Site) -> tuple[Any, ...]:
    """The reader's next release: it counts the facts that this one ignores, too."""
    counters = replace(lab.counters, fold_version=2, evolve=counts_every_fact)
    return (counters, *[table for table in reader.workplace.tables if table.name != "counter"])


def counts_every_fact(counter: Any, event: Any, envelope: Any) -> Any:
    counter = counter or Counter(event.key, 0, "52.01", 0, 0, None, None)
    return replace(counter, times=counter.times + 1, total=envelope.version)


def next_release(lab: Lab, reader: Site, kafka: str) -> Consumer:
    workplace = replace(reader.workplace, tables=with_new_fold(lab, reader))
    return Consumer(workplace, kafka, Reactions(), ())


async def test_a_new_fold_waits_for_a_rebuild_and_goes_on_by_itself(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        before = await reader.totals()
        new = next_release(lab, reader, kafka)
        async with running(relay_of(publisher, kafka).run, new.run):

            async def stopped() -> bool:
                return len(new.stopped) == 3

            await eventually(stopped)
            assert "rebuild counter" in next(iter(new.stopped.values()))
            await publish(publisher, 30)
            await eventually(lambda: outbox_is_empty(publisher))
            assert await reader.totals() == before, "rows of the old fold are not folded on by the new one"
            await rebuild(reader.dsn, kafka, with_new_fold(lab, reader), lab.topic)

            async def follows() -> bool:
                rows = await reader.rows("SELECT version, times, total FROM counter")
                expected = {r["counter_id"]: r["version"] for r in await publisher.rows("SELECT * FROM counter")}
                return sum(r["version"] for r in rows) == sum(expected.values()) and all(
                    r["times"] == r["total"] == r["version"] for r in rows
                )

            await eventually(follows)
            assert new.stopped == {}


async def test_an_older_release_does_not_fold_on_what_a_newer_one_has_made(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        old = consumer_of(reader, kafka)
        async with running(relay_of(publisher, kafka).run, old.run):
            await rebuild(reader.dsn, kafka, with_new_fold(lab, reader), lab.topic)
            made = await reader.totals()
            await publish(publisher, 30)

            async def stopped() -> bool:
                return len(old.stopped) == 3

            await eventually(stopped)
            assert "newer release" in next(iter(old.stopped.values()))
            assert await reader.totals() == made


async def test_a_batch_that_waited_for_the_cursor_sees_the_rebuild_that_held_it(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        old = consumer_of(reader, kafka)
        # What the worker looks at twice a second plays no part here: the batch itself has to see it.
        monkeypatch.setattr(Consumer, "_mind_folds", lambda self, assigned: asyncio.sleep(0))
        async with running(relay_of(publisher, kafka).run, old.run), reader.pool.acquire() as rebuilding:

            async def holds() -> bool:
                return len(old._held) == 3

            await eventually(holds)
            before = await reader.totals()
            holding = rebuilding.transaction()
            await holding.start()
            await rebuilding.execute("SELECT 1 FROM cursor FOR UPDATE")
            await publish(publisher, 30)

            async def a_batch_waits() -> bool:
                return bool(await publisher.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))

            await eventually(a_batch_waits)
            await rebuilding.execute('UPDATE cursor SET folds = \'{"counter": 2, "part": 1}\'')
            await holding.commit()

            async def stopped() -> bool:
                return bool(old.stopped)

            await eventually(stopped)
            assert await reader.totals() == before


async def test_a_topic_with_a_hole_is_not_rebuilt(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (_, reader):
        before = await reader.totals()
        async with admin_of(kafka) as admin:
            await admin.delete_records({TopicPartition(lab.topic, 0): RecordsToDelete(before_offset=5)})
        with pytest.raises(ReplayDefect, match="follows"):
            await rebuilt(reader, kafka)
        assert await reader.totals() == before
