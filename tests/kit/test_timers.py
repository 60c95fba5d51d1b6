"""Timers on a real PostgreSQL: each due row is decided once, by whoever is first, and a broken timer stops nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.kit import metrics, parts
from services.kit.clock import SteeredClock, steer
from services.kit.consumer import Consumer
from services.kit.process import _progress
from services.kit.relay import Relay
from services.kit.timers import Timer, Timers, run_once, run_timer
from services.kit.transaction import Transaction, Workplace
from tests.support.cable import cable_to
from tests.support.databases import FreshDatabase
from tests.support.lab import NOW, Lab, Site, eventually, migrate_lab, running, site
from tests.support.lab_service.service import DUE_AT_ONCE, service_of, timers_of


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


def reminders(lab: Lab) -> Timer:
    [timer] = timers_of(lab).all
    return timer


async def remind(place: Site, *due_at: datetime, counter: str = "c1") -> None:
    await place.pool.executemany(
        "INSERT INTO reminder (counter_id, due_at) VALUES ($1, $2)", [(counter, due) for due in due_at]
    )


async def still_due(place: Site) -> int:
    [row] = await place.rows("SELECT count(*) AS due FROM reminder WHERE done_by IS NULL")
    return int(row["due"])


async def test_one_passage_decides_on_a_bounded_number_of_due_rows(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await remind(place, *[NOW] * (DUE_AT_ONCE + 1), NOW + timedelta(seconds=1))
        assert await run_once(reminders(lab), place.workplace) == DUE_AT_ONCE
        assert await run_once(reminders(lab), place.workplace) == 1
        assert await run_once(reminders(lab), place.workplace) == 0, "what is due later is not due"
        log = await place.rows("SELECT DISTINCT actor, occurred_at FROM log")
        assert log == [{"actor": "timer:count_reminders", "occurred_at": NOW}]
        assert await place.totals() == {"c1": (DUE_AT_ONCE + 1, DUE_AT_ONCE + 1)}


async def test_two_workers_decide_each_row_once_and_do_not_wait_for_one_another(
    lab: Lab, fresh_database: FreshDatabase
):
    async with site(lab, fresh_database) as place:
        await remind(place, *[NOW] * 60, counter="c1")
        await remind(place, *[NOW] * 60, counter="c2")
        # One worker is in the middle of its passage, and takes its time.
        in_the_middle, go_on = asyncio.Event(), asyncio.Event()
        timer = reminders(lab)

        async def slowly(tx: Transaction) -> int:
            done = await timer.work(tx)
            in_the_middle.set()
            await go_on.wait()
            return done

        slow = asyncio.ensure_future(run_once(replace(timer, work=slowly), place.workplace))
        await in_the_middle.wait()
        # Its rows are of c1; the others need not wait for them, but for the row of c1 that they count on.
        await place.pool.execute(
            "UPDATE reminder SET due_at = due_at + interval '1 hour' WHERE counter_id = 'c1' AND reminder_id > $1",
            DUE_AT_ONCE,
        )
        assert await asyncio.wait_for(run_once(timer, place.workplace), 5) == DUE_AT_ONCE
        go_on.set()
        assert await slow == DUE_AT_ONCE
        await place.pool.execute("UPDATE reminder SET due_at = $1", NOW)
        async with running(*[lambda stopping: run_timer(timer, place.workplace, stopping) for _ in range(3)]):
            await eventually(lambda: nothing_due(place))
        assert await place.totals() == {"c1": (60, 60), "c2": (60, 60)}


async def nothing_due(place: Site) -> bool:
    return await still_due(place) == 0


async def test_the_steered_clock_stands_still_and_stops_at_each_due_time(
    lab: Lab, fresh_database: FreshDatabase, tmp_path: Path
):
    file = tmp_path / "clock"
    steer(file, NOW)
    timer = reminders(lab)
    async with site(lab, fresh_database) as place:
        workplace = replace(place.workplace, now=SteeredClock(file).now)
        due = [NOW + timedelta(days=days) for days in (1, 30, 30, 400)]
        await remind(place, *due)
        counted: list[tuple[datetime, int]] = []
        async with running(lambda stopping: run_timer(timer, workplace, stopping)):
            await asyncio.sleep(0.2)
            assert await still_due(place) == len(due), "time does not pass by itself"
            while (following := await place_next_due(place, timer)) is not None:
                steer(file, following)
                await eventually(lambda following=following: moved_past(place, timer, following))
                counted.append((following, len(due) - await still_due(place)))
        assert counted == [(due[0], 1), (due[1], 3), (due[3], 4)]
        times = await place.rows("SELECT DISTINCT occurred_at FROM log ORDER BY occurred_at")
        assert [row["occurred_at"] for row in times] == sorted(set(due))
        [recorded] = await place.rows("SELECT max(recorded_at) AS last FROM log")
        assert abs((recorded["last"] - datetime.now(UTC)).total_seconds()) < 60, "the real time is kept as well"


async def place_next_due(place: Site, timer: Timer) -> datetime | None:
    async with place.pool.acquire() as connection:
        return await timer.next_due(connection)


async def moved_past(place: Site, timer: Timer, instant: datetime) -> bool:
    following = await place_next_due(place, timer)
    return following is None or following > instant


async def test_an_outage_in_the_middle_of_a_timer_is_waited_out(lab: Lab, fresh_database: FreshDatabase):
    dsn = await fresh_database("lab", migrate_lab)
    async with site(lab, fresh_database) as other, cable_to(dsn) as (cable, by_cable):
        pool = await asyncpg.create_pool(by_cable, min_size=1, max_size=2)
        place = Site(lab, by_cable, await asyncpg.create_pool(dsn, min_size=1, max_size=2), _at(other, pool))
        timer, cuts, failing = reminders(lab), 0, {}

        async def cut_in_the_middle(tx: Transaction) -> int:
            nonlocal cuts
            done = await timer.work(tx)
            if done and cuts < 2:
                cuts += 1
                await cable.cut()
                asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(cable.mend()))
            return done

        await remind(place, *[NOW] * 10)
        cut_timer = replace(timer, work=cut_in_the_middle)
        async with running(lambda stopping: run_timer(cut_timer, place.workplace, stopping, failing)):
            await eventually(lambda: nothing_due(place))
        assert cuts == 2
        assert failing == {}, "an outage is no alarm"
        assert await place.totals() == {"c1": (10, 10)}
        pool.terminate()
        place.pool.terminate()


def _at(other: Site, pool: Any) -> Workplace:
    return replace(other.workplace, pool=pool)


async def test_a_timer_that_fails_is_an_alarm_and_is_tried_again(
    lab: Lab, fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "FIRST_PAUSE_SECONDS", 0.02)
    timers, tries, broken = Timers(), [], True

    async def never(_: Any) -> None:
        return None

    @timers.every(seconds=0.02, next_due=never)
    async def breaks_at_first(tx: Transaction) -> int:
        tries.append(1)
        await tx.decide([lab.Counted(counter_id="c1", amount=1)])
        if broken:
            raise ZeroDivisionError("planted 5270010101010001")
        return 0

    def alarm() -> float:
        return metrics.timer_failing.labels("breaks_at_first")._value.get()

    failing: dict[str, str] = {}
    async with site(lab, fresh_database) as place:
        await remind(place, *[NOW] * 5)
        async with running(
            lambda stopping: run_timer(timers.all[0], place.workplace, stopping, failing),
            lambda stopping: run_timer(reminders(lab), place.workplace, stopping, failing),
        ):

            async def tried_several_times() -> bool:
                return len(tries) >= 3

            await eventually(tried_several_times)
            await eventually(lambda: nothing_due(place))
            assert failing == {"breaks_at_first": "ZeroDivisionError: planted [16 digits masked]"}
            assert alarm() == 1
            assert await place.totals() == {"c1": (5, 5)}, "the other timer worked, and the broken one left no trace"
            broken = False

            async def calm() -> bool:
                return not failing and alarm() == 0

            await eventually(calm)
        times, _ = (await place.totals())["c1"]
        assert times > 5


async def test_a_workers_health_shows_what_fails_and_when_the_next_is_due(lab: Lab, fresh_database: FreshDatabase):
    timers = timers_of(lab)

    async def breaks(_: Any) -> None:
        raise ZeroDivisionError("planted")

    async def never_called(_: Transaction) -> int:
        return 0

    async with site(lab, fresh_database) as place:
        await remind(place, NOW + timedelta(days=3), NOW + timedelta(days=2))
        service = replace(service_of(lab), timers=timers)
        consumer = Consumer(place.workplace, "localhost:1", service.reactions, service.partners)
        relay = Relay("/entas/lab", place.dsn, "localhost:1")
        state = await _progress(service, place.workplace, relay, consumer, {})
        assert (state["stopped"], state["ready"], state["outbox"]) == ({}, True, 0)
        assert state["next_due"] == NOW + timedelta(days=2)
        timers.every(next_due=breaks)(never_called)
        state = await _progress(service, place.workplace, relay, consumer, {"importing": "KeyError: 'x'"})
        assert state["stopped"] == {
            "importing": "KeyError: 'x'",
            "never_called": "its next_due fails: ZeroDivisionError: planted",
        }
        assert state["ready"] is False
        assert state["next_due"] == NOW + timedelta(days=2), "the others can still say"


async def test_a_stop_is_heard_at_once_whatever_a_timer_waits_for(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        started = asyncio.get_running_loop().time()
        slow = replace(reminders(lab), seconds=60)

        async def breaks(_: Transaction) -> int:
            raise ZeroDivisionError("planted")

        async with running(
            lambda stopping: run_timer(slow, place.workplace, stopping),
            lambda stopping: run_timer(replace(slow, work=breaks), place.workplace, stopping),
        ):
            await asyncio.sleep(0.3)
        assert asyncio.get_running_loop().time() - started < 3


async def test_a_row_that_another_transaction_holds_is_skipped(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await remind(place, NOW, NOW)
        async with place.pool.acquire() as holder, holder.transaction():
            await holder.execute("SELECT 1 FROM reminder WHERE reminder_id = 1 FOR UPDATE")
            assert await asyncio.wait_for(run_once(reminders(lab), place.workplace), 5) == 1
        assert await run_once(reminders(lab), place.workplace) == 1
