"""Imports whose process is killed (-9), or that several workers apply at once: everybody is listed exactly once."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.registry.snapshots.applying import HOUSEHOLDS_AT_ONCE, apply_next
from tests.registry.importing import Registry, csv_of, family, running_registry
from tests.support.databases import FreshDatabase
from tests.support.lab import eventually
from tests.support.stack import ROOT

HOUSEHOLDS = HOUSEHOLDS_AT_ONCE + 20


@pytest.fixture
async def registry(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Registry]:
    async with running_registry(fresh_database, tmp_path) as running:
        yield running


async def two_lists_wait(registry: Registry) -> None:
    """The second confirms all but three of the first: one has another rank, one is gone, one is new."""
    first = [family(n) for n in range(HOUSEHOLDS)]
    second = [*first[2:], family(1, desil_kesejahteraan=5, persentil=""), family(HOUSEHOLDS)]
    for dated, families in (("2024-03-31", first), ("2024-06-30", second)):
        received = await registry.upload(csv_of(*families), dated=dated)
        assert received.status_code == 201


async def both_are_applied_exactly_once(registry: Registry) -> None:
    counts = ("households_on_list", "people_on_list", "listed", "rank_changed", "unchanged", "delisted", "unresolved")
    second, first = (await registry.get("/snapshots")).json()["items"]
    n = HOUSEHOLDS
    assert [first[name] for name in counts] == [n, 2 * n, n, 0, 0, 0, 0]
    assert [second[name] for name in counts] == [n, 2 * n, 1, 1, n - 2, 1, 0]
    assert Counter(await registry.facts()) == {
        "SnapshotReceived": 2,
        "SnapshotApplied": 2,
        "HouseholdListed": n + 1,
        "HouseholdConfirmed": n - 2,
        "HouseholdRankChanged": 1,
        "HouseholdDelisted": 1,
    }
    # A household's versions are 1, 2, … without a gap, and each of its people has one key and one entry to be found by.
    gaps = "SELECT stream FROM log GROUP BY stream HAVING max(version) <> count(*) OR min(version) <> 1"
    assert await registry.fetch(gaps) == []
    assert await registry.value("SELECT count(*) FROM member") == 2 * (n + 1)
    assert await registry.value("SELECT count(*) FROM person_search") == 2 * (n + 1)
    assert await registry.value("SELECT count(*) FROM person_key") == 3 * (n + 1)
    assert await registry.value("SELECT count(*) FROM household_family") == n + 1
    assert await registry.value("SELECT count(*) FROM outbox") == await registry.value("SELECT count(*) FROM log")
    assert set(await registry.households()) == {f"K-{number}" for number in range(n + 1)}


LIVES = ("half-an-import:1", "command-before-commit:2", "command-after-commit:3", "half-an-import:2")
"""Where each worker after the other dies: between two steps, before and after a commit, while listing and delisting."""


async def test_an_import_that_is_killed_again_and_again_goes_on_where_it_was(registry: Registry):
    await two_lists_wait(registry)
    for points in LIVES:
        assert await worker(registry, points) == -signal.SIGKILL, points
    assert await worker(registry, "") == 0
    await both_are_applied_exactly_once(registry)


async def worker(registry: Registry, points: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.registry.importer",
        cwd=ROOT,
        env=os.environ | registry.environment | {"ENTAS_CRASH_POINTS": points},
    )
    return await process.wait()


async def test_of_several_workers_one_applies_at_a_time(registry: Registry):
    await two_lists_wait(registry)

    async def work() -> int:
        steps, idle = 0, 0
        while idle < 3:
            if await apply_next(registry.context):
                steps, idle = steps + 1, 0
            else:
                idle += 1
                await asyncio.sleep(0.05)
        return steps

    await asyncio.gather(work(), work(), work())
    await registry.apply()
    await both_are_applied_exactly_once(registry)


async def test_what_a_killed_upload_left_behind_is_swept_and_one_that_is_alive_is_not(registry: Registry):
    go_on = asyncio.Event()
    content = csv_of(*[family(n) for n in range(3_000)])

    async def slow() -> AsyncIterator[bytes]:
        yield content[:-10]
        await go_on.wait()
        yield content[-10:]

    # As if its process had died: the rows are there, and nobody holds the lock.
    await registry.pool.execute("INSERT INTO snapshot_import (snapshot_id, area_code) VALUES ('dead', '52')")
    await registry.pool.execute(
        "INSERT INTO snapshot_row (import, row, family, head) SELECT number, 2, 'x', true FROM snapshot_import"
    )
    alive = asyncio.ensure_future(registry.upload(slow()))
    await eventually(lambda: registry.value("SELECT count(*) > 1000 FROM snapshot_row"))
    assert (await registry.upload(csv_of(family(1)), dated="2024-01-31", dry_run=True)).status_code == 200
    assert [row["snapshot_id"] == "dead" for row in await registry.fetch("SELECT * FROM snapshot_import")] == [False]
    assert await registry.value("SELECT count(*) FROM snapshot_row WHERE family = 'x'") == 0
    go_on.set()
    assert (await alive).json()["households"] == 3_000
