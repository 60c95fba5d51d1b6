"""Commands that meet: what never happens alone does not happen at once either, on a real PostgreSQL."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx

from contracts.registry import ParticipantRejected, RejectionReason
from services.kit.transaction import acting_as
from services.training.cohorts.queries import number_is_taken
from tests.training.conftest import Training
from tests.training.facts import (
    COHORT,
    DAYS,
    LOMBOK_BARAT,
    MATARAM,
    OTHER_COHORT,
    PROGRAMME,
    defined,
    enrolled,
    known_people,
    opened,
    planned,
    quota,
    verified,
    waitlisted,
)

# Of another programme: nothing but the person is common to the two cohorts.
ANOTHER = {"programme_id": "programme-2"}
ANOTHER_PROGRAMME = (opened().model_copy(update=ANOTHER), defined().model_copy(update=ANOTHER))
OVERLAPPING = planned(OTHER_COHORT, number="P3KE-2024-02", days=DAYS[4:], **ANOTHER)
LATER = planned(OTHER_COHORT, number="P3KE-2024-02", days=tuple(day + timedelta(days=7) for day in DAYS))


def codes(answers: list[httpx.Response]) -> list[str]:
    """How each ended: the refusal's code, or "done"."""
    return sorted("done" if a.is_success else a.json()["code"] for a in answers)


async def test_nobody_gets_into_two_overlapping_cohorts_at_once(training: Training):
    people = [verified(f"p{n}") for n in range(4)]
    await training.told(*known_people(*people))
    await training.given(opened(), defined(), planned(capacity=len(people)), *ANOTHER_PROGRAMME, OVERLAPPING)
    officer = training.officer()
    for person in people:
        wish = {"participant_id": person.participant_id}
        answers = await asyncio.gather(
            officer.post(f"/cohorts/{COHORT}/participants", wish),
            officer.post(f"/cohorts/{OTHER_COHORT}/waitlist", wish),
        )
        assert codes(answers) == ["done", "overlapping-cohort"]


async def test_enrolling_two_overlapping_cohorts_by_priority_at_once_takes_nobody_twice(training: Training):
    await training.told(*known_people(*(verified(f"p{n}", n) for n in range(4))))
    await training.given(opened(), defined(), planned(), *ANOTHER_PROGRAMME, OVERLAPPING)
    officer = training.officer()
    answers = await asyncio.gather(
        *(officer.post(f"/cohorts/{cohort}/enrol-by-priority", {}) for cohort in (COHORT, OTHER_COHORT))
    )
    assert codes(answers) == ["done", "done"]
    rows = await training.table("enrolment")
    assert len({row["participant_id"] for row in rows}) == len(rows) >= 3


async def test_a_cohort_does_not_get_over_its_capacity_at_once(training: Training):
    await training.told(*known_people(*(verified(f"p{n}") for n in range(6))))
    await training.given(opened(), defined(), planned())
    officer = training.officer()
    answers = await asyncio.gather(
        *(officer.post(f"/cohorts/{COHORT}/participants", {"participant_id": f"p{n}"}) for n in range(6))
    )
    assert codes(answers) == ["cohort-full"] * 3 + ["done"] * 3
    assert sorted(row["place"] for row in await training.table("enrolment")) == [1, 2, 3]


async def test_a_quota_is_not_exceeded_by_two_cohorts_at_once(training: Training):
    await training.told(*known_people(*(verified(f"p{n}") for n in range(6))))
    await training.given(opened(), defined(), planned(), LATER, quota(LOMBOK_BARAT, 2))
    officer = training.officer()
    cohorts = (COHORT, OTHER_COHORT)
    answers = await asyncio.gather(
        *(officer.post(f"/cohorts/{cohorts[n % 2]}/participants", {"participant_id": f"p{n}"}) for n in range(6))
    )
    assert codes(answers) == ["done"] * 2 + ["quota-full"] * 4


async def test_a_quota_is_not_lowered_below_what_is_taken_at_once(training: Training):
    await training.told(*known_people(verified("ani")))
    await training.given(opened(), defined(), planned(), quota(LOMBOK_BARAT, 1))
    officer = training.officer()
    answers = await asyncio.gather(
        officer.post(f"/cohorts/{COHORT}/participants", {"participant_id": "ani"}),
        officer.post(f"/programmes/{PROGRAMME}/quotas", {"area_code": LOMBOK_BARAT, "places": 0}),
    )
    assert codes(list(answers)) in (["done", "quota-full"], ["done", "quota-below-use"])


async def test_one_number_is_given_once_by_two_programmes_at_once(training: Training):
    await training.given(opened(), defined(), *ANOTHER_PROGRAMME)
    wish: dict[str, Any] = {
        "course_id": "course-1",
        "number": "P3KE-2024-07",
        "capacity": 1,
        "delivery_mode": "classroom",
        "area_code": MATARAM,
        "venue": "Balatkop",
        "days": ["2024-07-08"],
    }
    async with training.workplace.transaction(acting_as("test")) as tx:
        assert not await number_is_taken(tx, "P3KE-2024-07")
        await tx.decide([planned(number="P3KE-2024-07")])
        other = asyncio.ensure_future(training.officer().post("/cohorts", wish | ANOTHER))
        done, _ = await asyncio.wait({other}, timeout=0.5)
        assert not done, "the other one did not wait until this one has the number or not"
    assert codes([await other]) == ["number-taken"]


async def test_two_who_withdraw_at_once_are_followed_by_two(training: Training):
    await training.told(*known_people(verified("v", 40), verified("w", 30)))
    places = [enrolled(p, n) for n, p in enumerate("abc", 1)]
    await training.given(opened(), defined(), planned(), *places, waitlisted("v", 40), waitlisted("w", 30))
    officer = training.officer()
    answers = await asyncio.gather(
        *(officer.post(f"/cohorts/{COHORT}/participants/{p}/withdraw", {"reason": "work"}) for p in "ab")
    )
    assert codes(answers) == ["done", "done"]
    held = {r["participant_id"] for r in await training.table("enrolment") if r["status"] == "enrolled"}
    assert held == {"c", "v", "w"}


async def test_whoever_is_first_a_rejection_or_a_command_the_rejected_is_on_no_list(training: Training):
    """The registry's facts and officers' commands meet on the same people, again and again."""
    people = [f"p{n}" for n in range(12)]
    await training.told(*known_people(*(verified(p, n) for n, p in enumerate(people))))
    await training.given(opened(), defined(), planned(), LATER, quota(LOMBOK_BARAT, 5))
    officer = training.officer()

    async def rejects() -> None:
        for person in people[::2]:
            await training.told(ParticipantRejected(participant_id=person, reason=RejectionReason.MOVED))

    async def commands(cohort: str) -> None:
        for person in people:
            for path, wish in (
                ("waitlist", {"participant_id": person}),
                ("enrol-by-priority", {"waitlist": 3}),
                (f"participants/{person}/withdraw", {"reason": "work"}),
            ):
                answer = await officer.post(f"/cohorts/{cohort}/{path}", wish)
                assert answer.status_code < 500, answer.text

    await asyncio.gather(rejects(), commands(COHORT), commands(OTHER_COHORT))
    rows = await training.table("enrolment")
    open_lists = [r for r in rows if r["status"] in ("waitlisted", "enrolled", "confirmed")]
    assert {r["participant_id"] for r in open_lists}.isdisjoint(people[::2])
    held = [r for r in rows if r["status"] == "enrolled"]
    assert len(held) <= 5
    assert len({(r["cohort_id"], r["place"]) for r in held}) == len(held)
    for cohort in await training.table("cohort"):
        mine = [r["status"] for r in rows if r["cohort_id"] == cohort["cohort_id"]]
        assert (cohort["enrolled"], cohort["waitlisted"]) == (mine.count("enrolled"), mine.count("waitlisted"))
