"""Timers on PostgreSQL: visits are scheduled, fall due and are missed by the steered clock; nothing is overlooked."""

import asyncio
from datetime import date, datetime, timedelta

import pytest

from contracts.envelope import Event
from contracts.registry import ParticipantRejected, RejectionReason
from services.kit.clock import steer
from services.kit.timers import run_once
from services.kit.transaction import acting_as
from services.outcomes.calendar import beginning_of
from services.outcomes.timers import TIMERS
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import BEFORE, COMPLETED_AT, NOW, held, known, listed, nominated, verified

DUE = {1: date(2024, 8, 12), 3: date(2024, 10, 12), 6: date(2025, 1, 12), 12: date(2025, 7, 12)}


async def set_up(outcomes: Outcomes, *people: str) -> None:
    await outcomes.told(*(fact for person in people for fact in known(person)), at=BEFORE)
    await outcomes.told(*held(*people), at=COMPLETED_AT)


async def next_dues(outcomes: Outcomes) -> dict[str, datetime | None]:
    async with outcomes.pool.acquire() as connection:
        return {timer.name: await timer.next_due(connection) for timer in TIMERS.all}


async def test_a_year_passes(outcomes: Outcomes):
    await set_up(outcomes, "sari", "dewi")
    assert (await next_dues(outcomes))["schedule_follow_ups"] == COMPLETED_AT
    await outcomes.timers_run(NOW)
    assert (await outcomes.names("sari"))[2:] == ["FollowUpScheduled"] * 4
    for months, day in DUE.items():
        assert (await next_dues(outcomes))["tell_of_due_follow_ups"] == beginning_of(day)
        await outcomes.timers_run(beginning_of(day) - timedelta(seconds=1))
        assert (await outcomes.names("sari"))[-1] != "FollowUpDue"
        await outcomes.timers_run(beginning_of(day))
        name, due = (await outcomes.facts("sari"))[-1]
        assert (name, due["follow_up"], due["facilitator_id"]) == ("FollowUpDue", months, "pendamping-1")
        assert (await next_dues(outcomes))["give_up_missed_follow_ups"] == beginning_of(day + timedelta(days=15))
        await outcomes.timers_run(beginning_of(day + timedelta(days=15)))
    for person in ("sari", "dewi"):
        assert (await outcomes.names(person))[-2:] == ["FollowUpMissed", "CaseClosed"]
        assert (await outcomes.names(person)).count("FollowUpMissed") == 4
    assert set((await next_dues(outcomes)).values()) == {None}


async def test_without_a_plan_cases_wait_and_hold_no_clock_up(outcomes: Outcomes):
    await outcomes.pool.execute("DELETE FROM rule WHERE rule_id = 'follow_up_plan'")
    await set_up(outcomes, "sari")
    assert set((await next_dues(outcomes)).values()) == {None}
    await outcomes.timers_run(NOW)
    assert "FollowUpScheduled" not in await outcomes.names()


async def test_more_cases_than_one_passage_takes_are_all_scheduled_once(outcomes: Outcomes):
    people = [f"person-{n:03}" for n in range(230)]
    await outcomes.told(*held(*people), at=COMPLETED_AT)
    await outcomes.timers_run(NOW)
    assert await outcomes.pool.fetchval("SELECT count(*) FROM follow_up") == 230 * 4
    await outcomes.timers_run(beginning_of(DUE[1]))
    assert await outcomes.pool.fetchval("SELECT count(*) FROM follow_up WHERE status = 'due'") == 230
    assert (await outcomes.names()).count("FollowUpDue") == 230


async def test_two_workers_decide_on_no_visit_twice(outcomes: Outcomes):
    await set_up(outcomes, *(f"person-{n}" for n in range(20)))
    await outcomes.timers_run(NOW)
    steer(outcomes.clock, beginning_of(DUE[1]))
    timer = next(timer for timer in TIMERS.all if timer.name == "tell_of_due_follow_ups")
    await asyncio.gather(*(run_once(timer, outcomes.workplace) for _ in range(4)))
    assert (await outcomes.names()).count("FollowUpDue") == 20


# --- What two workers overlook of one another -------------------------------------------------------------------------


async def at_once(outcomes: Outcomes, one: list[Event], other: list[Event], *, at: datetime) -> None:
    """Two workers take in a batch each; neither has committed when the other decides."""
    holding, done = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with outcomes.workplace.transaction(acting_as("projection")) as tx:
            await outcomes.take_in(tx, [outcomes.published(fact, at) for fact in one])
            holding.set()
            await done.wait()

    async def second() -> None:
        await holding.wait()
        try:
            async with outcomes.workplace.transaction(acting_as("projection")) as tx:
                await outcomes.take_in(tx, [outcomes.published(fact, at) for fact in other])
        finally:
            done.set()

    await asyncio.wait_for(asyncio.gather(first(), second()), 20)


PERSON = [nominated("sari"), verified("sari")]
GONE = ParticipantRejected(participant_id="sari", reason=RejectionReason.DECEASED)


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (PERSON, [listed("sari")]),
        ([listed("sari")], PERSON),
        ([listed("sari")], [*PERSON, GONE]),
    ],
    ids=["the household", "the person", "the person, and their death"],
)
@pytest.mark.parametrize("case_first", [True, False])
async def test_what_arrives_while_the_case_is_being_opened_is_not_lost(
    outcomes: Outcomes, before: list[Event], meanwhile: list[Event], case_first: bool
):
    await outcomes.told(*before, at=BEFORE)
    batches = (held("sari"), meanwhile) if case_first else (meanwhile, held("sari"))
    await at_once(outcomes, *batches, at=COMPLETED_AT)
    (case,) = await outcomes.table("case_file")
    assert case["baseline"] is None, "neither has seen the other"
    assert (await next_dues(outcomes))["settle_what_two_workers_overlooked"] == COMPLETED_AT
    await outcomes.timers_run(NOW)
    (case,) = await outcomes.table("case_file")
    assert (case["baseline_people"], case["household_id"]) == (4, "home-of-sari")
    assert case["closed_because"] == ("deceased" if GONE in meanwhile else None)
    assert (await next_dues(outcomes))["settle_what_two_workers_overlooked"] is None


async def test_what_can_never_be_a_baseline_holds_no_clock_up(outcomes: Outcomes):
    await outcomes.told(*held("sari"), at=COMPLETED_AT)
    await outcomes.told(*known("sari"), at=NOW)
    assert (await next_dues(outcomes))["settle_what_two_workers_overlooked"] is None
