"""What falls due by the programme's clock: the last day to confirm, and the first day of a cohort."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from services.kit.clock import steer
from services.kit.timers import Timer, run_once
from services.kit.transaction import acting_as
from services.training.programmes.state import PROGRAMMES
from services.training.timers import TIMERS
from tests.training.conftest import Training
from tests.training.facts import (
    COHORT,
    DAYS,
    OTHER_COHORT,
    PROGRAMME,
    STARTS_AT,
    confirmed,
    defined,
    enrolled,
    known_people,
    opened,
    planned,
    verified,
    waitlisted,
)

UNCONFIRMED, START = TIMERS.all
DEADLINE = datetime(2024, 7, 5, 16, 0, tzinfo=UTC)  # the end of 5 July in Mataram
LATER = planned(OTHER_COHORT, number="P3KE-2024-02", days=tuple(day + timedelta(days=7) for day in DAYS))


async def set_up(training: Training, *more: Any) -> None:
    people = {"ani": 90, "budi": 80, "high": 60, "low": 10}
    await training.told(*known_people(*(verified(p, score) for p, score in people.items())))
    await training.given(opened(), defined(), planned(capacity=2), LATER, enrolled("ani", 1), enrolled("budi", 2))
    await training.given(confirmed("ani"), waitlisted("low", 10), waitlisted("high", 60), *more)


async def due(training: Training, timer: Timer) -> datetime | None:
    async with training.pool.acquire() as connection:
        return await timer.next_due(connection)


async def test_each_timer_says_when_it_is_due_next(training: Training):
    assert (await due(training, UNCONFIRMED), await due(training, START)) == (None, None)
    await set_up(training)
    assert await due(training, UNCONFIRMED) == DEADLINE
    assert await due(training, START) == STARTS_AT == datetime(2024, 7, 7, 16, 0, tzinfo=UTC)


async def test_nothing_happens_a_moment_early(training: Training):
    await set_up(training)
    before = await training.names()
    await training.timers_run(DEADLINE - timedelta(microseconds=1))
    assert await training.names() == before


async def test_who_has_not_confirmed_in_time_makes_room_and_who_follows_has_until_the_start(training: Training):
    await set_up(training)
    await training.timers_run(DEADLINE)
    (_, withdrawn), (_, replaced) = (await training.facts(COHORT))[-2:]
    assert (withdrawn["participant_id"], withdrawn["reason"]) == ("budi", "not_confirmed")
    assert (replaced["participant_id"], replaced["place"], replaced["confirm_by"]) == ("high", 2, "2024-07-07")
    assert await due(training, UNCONFIRMED) == STARTS_AT


async def test_a_cohort_starts_by_itself_at_midnight_of_its_first_day_in_mataram(training: Training):
    await set_up(training)
    await training.timers_run(DEADLINE)
    await training.caller("facilitator").done(f"/cohorts/{COHORT}/participants/high/confirm")
    await training.timers_run(STARTS_AT - timedelta(seconds=1))
    assert "CohortStarted" not in await training.names(COHORT)
    await training.timers_run(STARTS_AT)
    assert (await training.names(COHORT))[-1] == "CohortStarted"
    statuses = {r["participant_id"]: r["status"] for r in await training.table("enrolment")}
    assert statuses == {"ani": "confirmed", "budi": "withdrawn", "high": "confirmed", "low": "released"}
    assert await due(training, START) == STARTS_AT + timedelta(days=7)


async def test_whoever_is_first_of_the_two_timers_at_the_start_the_list_ends_the_same(training: Training):
    await set_up(training)
    await training.timers_run(DEADLINE)
    steer(training.clock, STARTS_AT)
    for timer in (START, UNCONFIRMED):
        while await run_once(timer, training.workplace):
            pass
    statuses = {r["participant_id"]: (r["status"], r["withdrawn_because"]) for r in await training.table("enrolment")}
    assert statuses["high"] == ("withdrawn", "not_confirmed")
    assert (await training.names(COHORT))[-2:] == ["ParticipantWithdrawn", "CohortStarted"]


async def test_a_timer_does_a_long_nights_work_one_cohort_at_a_time(training: Training):
    await set_up(training, enrolled("eka", 1, OTHER_COHORT))
    await training.timers_run(STARTS_AT + timedelta(days=30))
    assert [row["status"] for row in await training.table("cohort")] == ["running", "cancelled"]
    assert (await training.facts(OTHER_COHORT))[-1] == (
        "CohortCancelled",
        {"cohort_id": OTHER_COHORT, "because": "too_few_participants"},
    )
    assert (await due(training, UNCONFIRMED), await due(training, START)) == (None, None)


async def test_a_deadline_whose_programme_is_busy_is_passed_over_and_not_waited_for(training: Training):
    await set_up(training)
    steer(training.clock, DEADLINE)
    async with training.workplace.transaction(acting_as("test")) as tx:
        await tx.row(PROGRAMMES, PROGRAMME)
        assert await asyncio.wait_for(run_once(UNCONFIRMED, training.workplace), 10) == 0
    assert await run_once(UNCONFIRMED, training.workplace) == 2


async def test_two_workers_do_not_start_one_cohort_twice(training: Training):
    await set_up(training)
    steer(training.clock, STARTS_AT)
    async with training.workplace.transaction(acting_as("timer:test")) as tx:
        assert await START.work(tx) == 1
        assert await run_once(START, training.workplace) == 0
    assert (await training.names(COHORT)).count("CohortStarted") == 1
