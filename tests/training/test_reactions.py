"""The registry's facts reach training in batches: what becomes of the lists, in PostgreSQL."""

import asyncio
from datetime import timedelta

from contracts.envelope import Event
from contracts.registry import (
    ParticipantRejected,
    PersonErased,
    PriorityChanged,
    RejectionReason,
    VerificationExpired,
)
from services.kit.transaction import acting_as
from tests.training.conftest import Training
from tests.training.facts import (
    COHORT,
    DAYS,
    IN_LOMBOK_TIMUR,
    LOMBOK_TIMUR,
    NOW,
    OTHER_COHORT,
    VILLAGE,
    confirmed,
    defined,
    enrolled,
    known_people,
    opened,
    planned,
    priority,
    quota,
    started,
    verified,
    waitlisted,
)

LATER = planned(OTHER_COHORT, number="P3KE-2024-02", days=tuple(day + timedelta(days=7) for day in DAYS))


def expired(person: str) -> VerificationExpired:
    return VerificationExpired(participant_id=person, verified_at=NOW, expired_at=NOW)


def rejected(person: str) -> ParticipantRejected:
    return ParticipantRejected(participant_id=person, reason=RejectionReason.DECEASED)


async def set_up(training: Training, *more: Event) -> None:
    """A full cohort of three, two in line, a later cohort with one of the same people."""
    scores = {"ani": 90, "budi": 80, "citra": 70, "high": 60, "low": 10}
    await training.told(*known_people(*(verified(p, score) for p, score in scores.items())))
    places = [enrolled(p, n) for n, p in enumerate(("ani", "budi", "citra"), 1)]
    lines = [waitlisted("low", 10), waitlisted("high", 60)]
    await training.given(opened(), defined(), planned(), LATER, *places, *lines, *more)


async def lists(training: Training, cohort_id: str = COHORT) -> dict[str, tuple[str, int | None]]:
    rows = await training.table("enrolment")
    return {r["participant_id"]: (r["status"], r["place"]) for r in rows if r["cohort_id"] == cohort_id}


async def counts(training: Training) -> dict[str, tuple[int, int]]:
    return {row["cohort_id"]: (row["enrolled"], row["waitlisted"]) for row in await training.table("cohort")}


async def test_a_verification_that_expires_before_the_start_reopens_the_place(training: Training):
    await set_up(training)
    await training.told(expired("budi"))
    assert await lists(training) == {
        "ani": ("enrolled", 1),
        "budi": ("withdrawn", 2),
        "citra": ("enrolled", 3),
        "high": ("enrolled", 2),
        "low": ("waitlisted", None),
    }
    (name, withdrawn), (_, replaced) = (await training.facts(COHORT))[-2:]
    assert (name, withdrawn["reason"], withdrawn["place"]) == ("ParticipantWithdrawn", "verification_expired", 2)
    assert (replaced["participant_id"], replaced["replaces"]) == ("high", "budi")


async def test_what_follows_names_its_cause(training: Training):
    await set_up(training)
    fact = training.published(expired("budi"))
    await training.arrive([fact])
    causes = await training.pool.fetch(
        "SELECT causation_id FROM log WHERE stream = $1 ORDER BY id DESC LIMIT 2", COHORT
    )
    assert [row["causation_id"] for row in causes] == [fact[1].id] * 2


async def test_facts_of_one_batch_are_met_in_their_order(training: Training):
    await set_up(training)
    # The one who would follow on Budi's place is rejected in the same batch, before and after Budi expires.
    await training.told(rejected("high"), expired("budi"), PriorityChanged(participant_id="low", priority=priority(5)))
    assert (await lists(training))["low"] == ("enrolled", 2)
    assert (await counts(training))[COHORT] == (3, 0)


async def test_who_followed_and_is_rejected_in_the_same_batch_makes_room_again(training: Training):
    await set_up(training)
    await training.told(expired("budi"), rejected("high"))
    assert (await lists(training)) == {
        "ani": ("enrolled", 1),
        "budi": ("withdrawn", 2),
        "citra": ("enrolled", 3),
        "high": ("withdrawn", 2),
        "low": ("enrolled", 2),
    }
    assert (await counts(training))[COHORT] == (3, 0)


async def test_one_fact_reopens_the_places_on_every_list(training: Training):
    await set_up(training, enrolled("ani", 1, OTHER_COHORT), waitlisted("low", 10, OTHER_COHORT))
    erased = PersonErased(participant_id="ani", household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8")
    await training.told(erased)
    assert (await lists(training))["ani"] == ("withdrawn", 1)
    assert await lists(training, OTHER_COHORT) == {"ani": ("withdrawn", 1), "low": ("enrolled", 1)}


async def test_quotas_hold_when_places_are_reopened(training: Training):
    east = [verified(p, s, area_code=IN_LOMBOK_TIMUR) for p, s in (("tuti", 95), ("tina", 94))]
    await training.told(*known_people(*east))
    lines = [waitlisted(p, s, area_code=IN_LOMBOK_TIMUR) for p, s in (("tuti", 95), ("tina", 94))]
    taken = enrolled("elsewhere", 1, OTHER_COHORT, area_code=IN_LOMBOK_TIMUR)
    await set_up(training, *lines, taken, quota(LOMBOK_TIMUR, 2))
    await training.told(expired("ani"), expired("budi"), rejected("citra"))
    held = {person: place for person, (status, place) in (await lists(training)).items() if status == "enrolled"}
    assert held == {"tuti": 1, "high": 2, "low": 3}


async def test_after_the_start_nothing_changes_on_the_list(training: Training):
    await set_up(training, *(confirmed(p) for p in ("ani", "budi", "citra")), started())
    await training.told(expired("ani"), rejected("budi"))
    assert {person: status for person, (status, _) in (await lists(training)).items()} == {
        "ani": "confirmed",
        "budi": "confirmed",
        "citra": "confirmed",
        "high": "released",
        "low": "released",
    }
    assert [row["status"] for row in await training.table("candidate")][:2] == ["expired", "rejected"]


async def test_a_batch_costs_the_same_number_of_queries_however_many_lists_it_concerns(training: Training):
    await set_up(training, enrolled("ani", 1, OTHER_COHORT), enrolled("budi", 2, OTHER_COHORT))
    one = await queries_for(training, expired("citra"))
    many = await queries_for(training, *(expired(p) for p in ("ani", "budi", "high", "low")))
    # What is parked; candidates and their lists, programmes, quotas, planned cohorts, cohorts, lists, who waits, what
    # others take.
    assert many <= one == 10


async def queries_for(training: Training, *facts: Event) -> int:
    """How many queries taking in these facts sends, until the transaction ends."""
    published = [training.published(fact) for fact in facts]
    asked: list[str] = []
    async with training.workplace.transaction(acting_as("projection")) as tx:
        with tx.connection.query_logger(lambda record: asked.append(record.query)):
            await training.take_in(tx, published)
            await asyncio.sleep(0)  # The driver calls its loggers in the loop's next turn.
    return len(asked)
