"""What outcomes decides on others' facts, on PostgreSQL: in one batch as in many, and with few queries."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts.envelope import Event
from contracts.registry import (
    HouseholdRankChanged,
    ListEvidence,
    ParticipantRejected,
    PersonErased,
    RejectionReason,
)
from services.kit.transaction import acting_as
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import (
    BEFORE,
    COHORT,
    COMPLETED_AT,
    NOW,
    VILLAGE,
    assigned,
    held,
    home_of,
    known,
    listed,
    nominated,
    over,
    rank,
    verified,
)

EVIDENCE = ListEvidence(file_digest="cd" * 32, row=7)


def ranked(person: str, decile: int) -> HouseholdRankChanged:
    return HouseholdRankChanged(household_id=home_of(person), rank=rank(decile), evidence=EVIDENCE)


async def case_of(outcomes: Outcomes, person: str = "sari") -> dict[str, Any]:
    return next(case for case in await outcomes.table("case_file") if case["case_id"] == person)


async def test_a_class_opens_cases_with_their_baselines(outcomes: Outcomes):
    await outcomes.told(*known("sari"), *known("dewi"), at=BEFORE)
    await outcomes.told(*held("sari", "dewi"), at=COMPLETED_AT)
    assert await outcomes.names() == ["CaseOpened", "BaselineRecorded"] * 2
    case = await case_of(outcomes)
    assert (case["area_code"], case["cohort_id"], case["post_test"]) == (VILLAGE, COHORT, 80)
    assert (case["household_id"], case["baseline_decile"]) == ("home-of-sari", 1)


TIMES: dict[str, list[list[Event]]] = {
    "the class first": [held("sari"), known("sari")],
    "the household last": [[nominated("sari"), verified("sari")], held("sari"), [listed("sari")]],
    "the person last": [[listed("sari")], held("sari"), [nominated("sari"), verified("sari")]],
    "all at once": [[*held("sari"), *known("sari")]],
    "all at once, the household last": [[*held("sari"), nominated("sari"), verified("sari"), listed("sari")]],
    "all at once, the class last": [[*known("sari"), *held("sari")]],
    "the person and the class at once": [[listed("sari")], [nominated("sari"), verified("sari"), *held("sari")]],
    "the class and the person at once": [[listed("sari")], [*held("sari"), nominated("sari"), verified("sari")]],
    "the household and the class at once": [[nominated("sari"), verified("sari")], [*held("sari"), listed("sari")]],
}


@pytest.mark.parametrize("batches", TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("ranked_in", ["the same batch", "the next"])
async def test_in_one_batch_as_in_many_the_baseline_is_the_same(
    outcomes: Outcomes, batches: list[list[Event]], ranked_in: str
):
    told = [list(batch) for batch in batches]
    told[-1 if ranked_in == "the same batch" else len(told) :] = [
        [*(told[-1] if ranked_in == "the same batch" else []), ranked("sari", 4)]
    ]
    for batch in told:
        await outcomes.told(*batch, at=BEFORE)
    case = await case_of(outcomes)
    assert (case["baseline_decile"], case["household_id"], case["sex"]) == (4, "home-of-sari", "female")


async def test_who_ended_in_the_same_batch_has_a_closed_case(outcomes: Outcomes):
    gone = ParticipantRejected(participant_id="sari", reason=RejectionReason.DECEASED)
    await outcomes.told(*held("sari"), nominated("sari"), gone, at=BEFORE)
    assert await outcomes.names() == ["CaseOpened", "CaseClosed"]
    assert (await case_of(outcomes))["closed_because"] == "deceased"


async def test_an_erasure_may_be_the_first_that_is_heard_of_somebody(outcomes: Outcomes):
    erased = PersonErased(participant_id="sari", household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8")
    await outcomes.told(erased, at=BEFORE)
    await outcomes.told(*held("sari"), at=COMPLETED_AT)
    assert await outcomes.names() == ["CaseOpened", "CaseClosed"]
    assert (await outcomes.facts("sari"))[-1][1]["because"] == "erased"


async def test_a_closed_case_drops_its_visits(outcomes: Outcomes):
    await outcomes.told(*known("sari"), *held("sari"), at=COMPLETED_AT)
    await outcomes.timers_run(NOW)
    await outcomes.told(ParticipantRejected(participant_id="sari", reason=RejectionReason.MOVED))
    assert {row["status"] for row in await outcomes.table("follow_up")} == {"dropped"}
    await outcomes.timers_run(NOW + timedelta(days=500))
    assert (await outcomes.names())[-1] == "CaseClosed"


async def test_the_cause_of_a_case_is_the_class(outcomes: Outcomes):
    facts = [outcomes.published(fact, COMPLETED_AT) for fact in held("sari")]
    await outcomes.arrive(facts)
    row = await outcomes.pool.fetchrow("SELECT causation_id, actor, area_code FROM log WHERE type LIKE '%CaseOpened%'")
    assert dict(row) == {"causation_id": facts[-1][1].id, "actor": "projection", "area_code": VILLAGE}


# --- What a batch costs -----------------------------------------------------------------------------------------------


async def asked(outcomes: Outcomes, *facts: Event, at: datetime) -> list[str]:
    """The queries that taking in these facts sends, until the transaction ends."""
    published = [outcomes.published(fact, at) for fact in facts]
    queries: list[str] = []
    async with outcomes.workplace.transaction(acting_as("projection")) as tx:
        with tx.connection.query_logger(lambda record: queries.append(record.query)):
            await outcomes.take_in(tx, published)
            await asyncio.sleep(0)  # The driver calls its loggers in the loop's next turn.
    return queries


async def test_bulk_listing_costs_two_queries_a_batch(outcomes: Outcomes):
    await outcomes.told(*known("sari"), *held("sari"), at=COMPLETED_AT)
    few = await asked(outcomes, listed("a"), listed("b"), at=NOW)
    many = await asked(outcomes, *(listed(f"person-{n}", people=5) for n in range(500)), at=NOW)
    assert len(few) == len(many) == 2, "homes that begin are not asked for"
    assert "FROM parked" in many[0]
    assert "FROM case_file" in many[1], "which cases are concerned"


async def test_a_batch_about_cases_costs_the_same_however_many_it_concerns(outcomes: Outcomes):
    people = [f"person-{n}" for n in range(30)]
    await outcomes.told(*(fact for person in people for fact in known(person)), at=BEFORE)
    await outcomes.told(*held(*people), at=COMPLETED_AT)
    one = await asked(outcomes, ranked(people[0], 5), at=NOW)
    all_ = await asked(outcomes, *(ranked(person, 6) for person in people), at=NOW)
    # What is parked, homes, cases, their follow-ups, their people.
    assert len(all_) == len(one) == 5


async def test_a_class_of_thirty_costs_as_many_queries_as_a_class_of_one(outcomes: Outcomes):
    people = [f"person-{n}" for n in range(31)]
    await outcomes.told(*(fact for person in people for fact in [*known(person), assigned(person)]), at=BEFORE)
    await outcomes.told(*held(people[0])[:-1], *held(*people[1:], cohort_id="big")[:-1], at=BEFORE)
    one = await asked(outcomes, over(people[0]), at=COMPLETED_AT)
    thirty = await asked(outcomes, over(*people[1:], cohort_id="big"), at=COMPLETED_AT)
    assert len(one) == len(thirty)
