"""Replay: an empty database comes to hold what the service knew at a time, from the log and from Kafka alone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from pydantic_core import to_json

from services.kit import replay as replay_module
from services.kit.replay import ReplayDefect, replay_into
from tests.kit.test_consumer import consumer_of, publish, same_totals
from tests.kit.test_rebuild import parts, projected
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, migrate_lab, relay_of, running, site


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


async def replayed(place: Site, into: str, kafka: str, as_of: datetime | int | None = None) -> Any:
    return await replay_into(place.dsn, into, place.workplace.service, kafka, place.workplace.tables, as_of)


async def table(dsn: str, sql: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [dict(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


COUNTERS = "SELECT * FROM counter ORDER BY counter_id"
PARTS = "SELECT * FROM part ORDER BY counter_id, part"


@pytest.mark.parametrize("hot_rows", [0, 200_000])
async def test_own_tables_and_projections_come_back_from_the_facts(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, hot_rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(replay_module, "BATCH_EVENTS", 17)
    monkeypatch.setattr(replay_module, "HOT_ROWS", hot_rows)
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        for place in (publisher, reader):
            empty = await fresh_database("lab", migrate_lab)
            _, events = await replayed(place, empty, kafka)
            assert events == 202
            assert await table(empty, COUNTERS) == await place.rows(COUNTERS)
            assert await table(empty, PARTS) == await parts(place)
            assert (
                await table(empty, "SELECT 1 FROM log UNION ALL SELECT 1 FROM outbox UNION ALL SELECT 1 FROM seal")
                == []
            )


async def test_the_past_is_cut_by_sequence_or_by_time(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as publisher:
        async with running(relay_of(publisher, kafka).run):
            oracle: dict[int, dict[str, tuple[int, int]]] = {}
            for count in (20, 30):
                await publish(publisher, count)

                async def sealed() -> int:
                    return not await publisher.pool.fetchval("SELECT count(*) FROM outbox")

                await eventually(sealed)
                last = await publisher.pool.fetchval("SELECT max(sequence) FROM seal")
                oracle[last] = await publisher.totals()
        first = min(oracle)
        recorded = await publisher.pool.fetchval(
            "SELECT recorded_at FROM log JOIN seal USING (id) WHERE sequence = $1", first
        )
        for as_of in (first, recorded):
            empty = await fresh_database("lab", migrate_lab)
            reach, events = await replayed(publisher, empty, kafka, as_of)
            assert (reach.last_sequence, events) == (first, first + 1)
            found = {r["counter_id"]: (r["times"], r["total"]) for r in await table(empty, COUNTERS)}
            assert found == oracle[first] != oracle[max(oracle)]
        empty = await fresh_database("lab", migrate_lab)
        with pytest.raises(ReplayDefect, match="not sealed yet; the newest is 49"):
            await replayed(publisher, empty, kafka, 50)


async def test_projections_are_cut_by_the_cursors_of_the_checkpoint(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with projected(lab, fresh_database, kafka, events=50) as (publisher, reader):
        cursors = await reader.rows("SELECT topic, partition, next_offset, last_sequence FROM cursor")
        noted = {
            f"{c['topic']}/{c['partition']}": {"next_offset": c["next_offset"], "last_sequence": c["last_sequence"]}
            for c in cursors
        }
        await reader.pool.execute(
            "INSERT INTO checkpoint (tree_size, root, made_at, counts, tails, cursors, note) "
            "VALUES (0, '', '2024-07-01T00:00Z', '{}', '{}', $1::text::jsonb, '')",
            to_json(noted).decode(),
        )
        then = await reader.rows(COUNTERS)
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await publish(publisher, 50)
            await eventually(lambda: same_totals(publisher, reader))
        empty = await fresh_database("lab", migrate_lab)
        await replayed(reader, empty, kafka, -1)
        assert await table(empty, COUNTERS) == then
        before = await fresh_database("lab", migrate_lab)
        reach, _ = await replayed(reader, before, kafka, datetime(2024, 6, 30, tzinfo=UTC))
        assert "no checkpoint is that old" in reach.says
        assert await table(before, COUNTERS) == []


async def test_only_an_empty_migrated_database_is_replayed_into(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with projected(lab, fresh_database, kafka) as (publisher, reader):
        with pytest.raises(ReplayDefect, match="not empty: log has rows"):
            await replayed(reader, publisher.dsn, kafka)
        bare = await fresh_database("bare", lambda dsn: None)
        with pytest.raises(ReplayDefect, match="has no table log; migrate it first"):
            await replayed(publisher, bare, kafka)


async def test_a_fact_that_cannot_be_folded_is_named_and_nothing_is_left(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    async with projected(lab, fresh_database, kafka) as (publisher, _):
        real = lab._evolve_counter

        def broken(row: Any, event: Any, envelope: Any) -> Any:
            if envelope.version == 5:
                raise RuntimeError("planted")
            return real(row, event, envelope)

        object.__setattr__(lab.counters, "evolve", broken)
        empty = await fresh_database("lab", migrate_lab)
        with pytest.raises(
            ReplayDefect, match=rf"version 5 of {lab.topic}/c\d\) cannot be folded: RuntimeError: planted"
        ):
            await replayed(publisher, empty, kafka)
        assert await table(empty, COUNTERS) == []
