"""Jobs: long work in small transactions, which resumes from what it committed and stops nothing else when it fails."""

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from services.kit import jobs as jobs_module
from services.kit import metrics, parts
from services.kit.jobs import JobContext, run_job
from services.kit.refusal import Unavailable
from services.kit.settings import Settings
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, running, site


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


def context_of(place: Site, stopping: asyncio.Event) -> JobContext:
    settings = Settings(
        environment="test",
        database_url=place.dsn,
        kafka_bootstrap="localhost:1",
        token_issuer="https://issuer.entas.test",
        jwks_url="https://issuer.entas.test/jwks",
    )
    return JobContext(place.workplace, settings, stopping)


async def count_up_to(context: JobContext, lab: Lab, goal: int, planted: list[Exception]) -> None:
    """Counts in one transaction each, from wherever an earlier run came to."""
    while not context.stopping.is_set():
        async with context.transaction("counter") as tx:
            counter = await tx.row(lab.counters, "c1")
            if counter is not None and counter.times >= goal:
                return
            await tx.decide([lab.Counted(counter_id="c1", amount=1)])
            if planted and counter is not None and counter.times % 3 == 0:
                raise planted.pop(0)


@pytest.mark.parametrize(
    "outage", [asyncpg.ConnectionDoesNotExistError("planted"), Unavailable("planted", "planted"), OSError("planted")]
)
async def test_a_job_resumes_after_an_outage_from_what_it_committed(
    lab: Lab, fresh_database: FreshDatabase, outage: Exception
):
    planted, failing = [outage, outage], {}
    async with site(lab, fresh_database) as place:

        async def counting(context: JobContext) -> None:
            await count_up_to(context, lab, 10, planted)

        async with running(lambda stopping: run_job(counting, context_of(place, stopping), failing)):
            await eventually(lambda: reached(place, 10))
        assert (planted, failing) == ([], {})
        assert await place.totals() == {"c1": (10, 10)}
        assert [r["actor"] for r in await place.rows("SELECT DISTINCT actor FROM log")] == ["counter"]


async def reached(place: Site, times: int) -> bool:
    return (await place.totals()).get("c1", (0, 0))[0] >= times


async def test_a_job_that_fails_is_an_alarm_and_is_tried_again(
    lab: Lab, fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "FIRST_PAUSE_SECONDS", 0.3)
    planted: list[Exception] = [KeyError("5270010101010001")]
    failing: dict[str, str] = {}
    async with site(lab, fresh_database) as place:

        async def importing(context: JobContext) -> None:
            await count_up_to(context, lab, 10, planted)

        async with running(lambda stopping: run_job(importing, context_of(place, stopping), failing)):

            async def alarmed() -> bool:
                return bool(failing)

            await eventually(alarmed)
            assert failing == {"importing": "KeyError: '[16 digits masked]'"}
            assert metrics.timer_failing.labels("importing")._value.get() == 1
            await eventually(lambda: reached(place, 10))

            async def calm() -> bool:
                return not failing

            await eventually(calm)
        assert await place.totals() == {"c1": (10, 10)}


async def test_a_job_that_ends_by_itself_does_not_spin(
    lab: Lab, fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs_module, "PAUSE_SECONDS", 0.05)
    runs: list[Any] = []
    async with site(lab, fresh_database) as place:

        async def nothing_to_do(_: JobContext) -> None:
            runs.append(1)

        async with running(lambda stopping: run_job(nothing_to_do, context_of(place, stopping))):
            await asyncio.sleep(0.4)
    assert 2 <= len(runs) <= 9
