"""Verifications end by the clock: each once, at its time, whoever runs the timer."""

import asyncio
from datetime import timedelta

from services.kit.timers import Timer, run_once
from services.registry.timers import AT_ONCE, TIMERS
from tests.registry.conftest import Registry
from tests.registry.facts import FATHER, MOTHER, NOW, TODAY, listed, nominated, verified

EXPIRY: Timer = next(timer for timer in TIMERS.all if timer.name == "expire_verifications")


async def test_a_verification_ends_at_its_time_and_can_be_done_again(registry: Registry):
    await registry.given(listed())
    for person, days in ((MOTHER, 10), (FATHER, 20)):
        await registry.given(nominated(person), verified(person, expires_at=NOW + timedelta(days=days)))
    async with registry.pool.acquire() as connection:
        assert await EXPIRY.next_due(connection) == NOW + timedelta(days=10)
        registry.later(days=10, seconds=-1)
        assert await run_once(EXPIRY, registry.workplace) == 0
        registry.later(seconds=1)
        assert await run_once(EXPIRY, registry.workplace) == 1
        assert await EXPIRY.next_due(connection) == NOW + timedelta(days=20)
    assert (await registry.officer().get(f"/participants/{MOTHER}")).json()["status"] == "expired"
    again = {
        "facilitator_id": "facilitator-8",
        "due_on": str(TODAY + timedelta(days=30)),
        "person_ids": [MOTHER, FATHER],
    }
    answer = (await registry.officer().post("/assignments", again)).json()
    assert [item["status"] or item["problem"]["code"] for item in answer["outcomes"]] == [
        "assigned",
        "already-verified",
    ]


async def test_two_workers_end_each_verification_once(registry: Registry):
    people = [f"p-{number}" for number in range(AT_ONCE + 30)]
    await registry.given(listed(), *[nominated(person) for person in people])
    await registry.given(*[verified(person, expires_at=NOW + timedelta(days=1)) for person in people])
    registry.later(days=1)
    done = 0
    while made := sum(await asyncio.gather(*[run_once(EXPIRY, registry.workplace) for _ in range(3)])):
        done += made
    assert done == len(people)
    assert (await registry.names("registry.participants")).count("VerificationExpired") == len(people)
