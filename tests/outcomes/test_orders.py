"""Facts of the registry and of training reach outcomes in any order, batch and number of copies: cases end the same."""

import dataclasses
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python

from contracts.envelope import Event
from contracts.registry import (
    AgeBand,
    Finding,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdRankChanged,
    LeavingReason,
    ListEvidence,
    LivingConditions,
    MemberLeft,
    ParticipantCorrected,
    ParticipantRejected,
    ParticipantRelocated,
    PersonErased,
    RejectionReason,
    Sex,
    VerificationExpired,
    VisitRecorded,
)
from services.kit.partition import partition_for
from services.kit.positions import Place, Standing, by_place, take
from services.kit.transaction import acting_as
from services.outcomes.cases.state import CASES
from services.outcomes.follow_ups.decisions import schedule
from services.outcomes.follow_ups.state import FOLLOW_UPS
from services.outcomes.rules.state import RULES
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import (
    BEFORE,
    COHORT,
    COMPLETED_AT,
    IN_LOMBOK_TIMUR,
    OTHER_COHORT,
    SOUND,
    VILLAGE,
    Story,
    assigned,
    default_rules,
    held,
    home_of,
    listed,
    nominated,
    rank,
    verified,
)
from tests.support.taking import record_of, take_all

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)  # To shrink whole worlds takes minutes and helps nobody.
PEOPLE = ("sari", "dewi", "rini")
EVIDENCE = ListEvidence(file_digest="cd" * 32, row=7)
INSTANTS = tuple(COMPLETED_AT + timedelta(days=days) for days in (-20, -9, -2, 0, 3, 40))
"""Some before both trainings, some between them, some at the very end of one, some after."""

Told = list[tuple[Event, datetime]]  # one stream: facts in their order, each with its instant

# --- What may happen --------------------------------------------------------------------------------------------------


def _household(person: str) -> list[Event]:
    home = home_of(person)
    return [
        HouseholdRankChanged(household_id=home, rank=rank(3), evidence=EVIDENCE),
        HouseholdConfirmed(household_id=home, rank=rank(2, date(2024, 6, 1)), evidence=EVIDENCE),
        HouseholdChanged(household_id=home, area_code=IN_LOMBOK_TIMUR),
        HouseholdChanged(household_id=home, conditions=SOUND),
        HouseholdChanged(household_id=home),
        MemberLeft(household_id=home, person_id=f"{person}-kin-1", reason=LeavingReason.MOVED, on=date(2024, 6, 1)),
        HouseholdDelisted(household_id=home, reason="not_on_list"),
        listed(person, people=6, conditions=SOUND),
    ]


def _seen(person: str) -> VisitRecorded:
    return VisitRecorded(
        participant_id=person,
        visit_id="second",
        area_code=VILLAGE,
        facilitator_id="pendamping-2",
        captured_at=BEFORE,
        received_at=BEFORE,
        finding=Finding.MATCHED,
        willing=True,
        can_leave_home=True,
        situation_changed=False,
        reachable=True,
        conditions=LivingConditions(floor="Keramik"),
    )


def _person(person: str) -> list[list[Event]]:
    return [
        [ParticipantCorrected(participant_id=person, sex=Sex.MALE, age_band=AgeBand.FROM_60, adult=True)],
        [_seen(person), verified(person, visit_id="second", age_band=AgeBand.FROM_60)],
        [VerificationExpired(participant_id=person, verified_at=BEFORE, expired_at=BEFORE)],
        [ParticipantRelocated(participant_id=person, area_code=IN_LOMBOK_TIMUR)],
        [ParticipantRejected(participant_id=person, reason=RejectionReason.DECEASED)],
        [ParticipantRejected(participant_id=person, reason=RejectionReason.MOVED)],
        [PersonErased(participant_id=person, household_id=home_of(person), area_code=VILLAGE, basis="UU 27/2022")],
    ]


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """The streams of one world: three households, their people and two classes, each told in its own order."""
    streams: list[Told] = []
    for person in PEOPLE:
        home = draw(st.lists(st.sampled_from(range(8)), max_size=3))
        streams.append(_dated(draw, [listed(person), *(_household(person)[n] for n in home)]))
        lives = draw(st.lists(st.sampled_from(range(7)), max_size=3))
        begins = [nominated(person), assigned(person), *([verified(person)] if draw(st.booleans()) else [])]
        streams.append(_dated(draw, [*begins, *(fact for n in lives for fact in _person(person)[n])]))
    for cohort_id, instant in ((COHORT, COMPLETED_AT), (OTHER_COHORT, INSTANTS[1])):
        class_ = draw(st.lists(st.sampled_from(PEOPLE), unique=True, min_size=1))
        streams.append([(fact, instant) for fact in held(*class_, cohort_id=cohort_id, completed_on=instant.date())])
    return streams


def _dated(draw: st.DrawFn, facts: Sequence[Event]) -> Told:
    instants = sorted(draw(st.lists(st.sampled_from(INSTANTS), min_size=len(facts), max_size=len(facts))))
    return list(zip(facts, instants, strict=True))


def shuffled(streams: Sequence[Told], order: random.Random) -> Told:
    """One of the orders in which they may arrive: each stream keeps its own."""
    waiting = [list(stream) for stream in streams]
    arriving = []
    while waiting := [stream for stream in waiting if stream]:
        arriving.append(order.choice(waiting).pop(0))
    return arriving


# --- In memory: every order, one fact at a time -----------------------------------------------------------------------


def told(row: Any) -> str:
    """A row as text, without its version: how often a baseline was mended depends on the order."""
    return json.dumps(to_jsonable_python(row) | {"version": 0}, sort_keys=True)


def ending(arriving: Told) -> dict[str, list[str]]:
    story = Story(*default_rules())
    for fact, instant in arriving:
        story.at(instant).told(fact)
    plan = story.the(RULES, "follow_up_plan")
    for person in PEOPLE:
        if (case := story.row(CASES, person)) is not None:
            story.given(*schedule(case, plan))
    # By when a case is closed on the calendar is when we hear of it, which is told by the order.
    cases = [(story.row(CASES, person)) for person in PEOPLE]
    return {
        "cases": [told(dataclasses.replace(case, closed_on=None)) for case in cases if case is not None],
        "visits": [told(visit) for person in PEOPLE for visit in story.of_stream(FOLLOW_UPS, person)],
    }


@settings(max_examples=80, phases=UNSHRUNK)
@given(streams=histories(), order=st.randoms(use_true_random=False))
def test_every_order_across_streams_gives_the_same_cases_baselines_and_follow_ups(streams, order):
    one, other = (ending(shuffled(streams, order)) for _ in range(2))
    assert one == other


@settings(max_examples=40, phases=UNSHRUNK)
@given(streams=histories(), order=st.randoms(use_true_random=False))
def test_there_is_one_case_for_each_who_completed_from_their_earliest_training_on(streams, order):
    """Against what the script itself says, without a fold."""
    story = Story()
    for fact, instant in shuffled(streams, order):
        story.at(instant).told(fact)
    completed: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for stream in streams:
        fact, instant = stream[-1]
        for person in getattr(fact, "completed", ()):
            completed[person].append((instant, fact.key))
    for person in PEOPLE:
        case = story.row(CASES, person)
        assert (case is not None) == (person in completed)
        if case is not None:
            assert (case.completed_at, case.cohort_id) == min(completed[person])
            assert len(case.trainings) == len(completed[person])
            facts = [fact for stream in streams for fact, _ in stream if fact.key == person]
            ended = any(isinstance(fact, ParticipantRejected | PersonErased) for fact in facts)
            assert case.is_open == (not ended)


@settings(max_examples=40, phases=UNSHRUNK)
@given(streams=histories(), order=st.randoms(use_true_random=False))
def test_a_baseline_says_what_the_facts_up_to_the_completion_said(streams, order):
    """Against what the script itself says, without a fold: the household's size, decile and village at that instant."""
    story = Story()
    for fact, instant in shuffled(streams, order):
        story.at(instant).told(fact)
    for person in PEOPLE:
        case = story.row(CASES, person)
        if case is None:
            continue
        home = [f for s in streams for f, at in s if f.key == home_of(person) and at <= case.completed_at]
        life = [f for s in streams for f, at in s if f.key == person and at <= case.completed_at]
        if not home or not any(type(fact).__name__ == "ParticipantVerified" for fact in life):
            assert case.baseline is None
            continue
        assert case.baseline is not None
        people, decile, village = 0, 0, ""
        for fact in home:
            if hasattr(fact, "members"):
                people, village = len(fact.members), fact.area_code
            if hasattr(fact, "rank"):
                decile = fact.rank.welfare_decile
            if isinstance(fact, MemberLeft):
                people -= 1
            if isinstance(fact, HouseholdChanged) and fact.area_code:
                village = fact.area_code
        assert (case.baseline_people, case.baseline_decile, case.baseline.area_code) == (people, decile, village)


# --- On PostgreSQL: any split into batches, with copies, as the worker takes them in ----------------------------------


class Log:
    """What other services' relays put on Kafka, record by record with its position; each partition is a chain."""

    def __init__(self, outcomes: Outcomes, arriving: Told) -> None:
        self.records: list[Any] = []
        tails: dict[Place, int] = {}
        offsets: dict[Place, int] = defaultdict(int)
        for sequence, (fact, instant) in enumerate(arriving):
            sealed, envelope = outcomes.published(fact, instant)
            place = Place(fact.topic, partition_for(fact.key, 6))
            self.records.append(record_of(sealed, envelope, place, offsets[place], sequence, tails.get(place, -1)))
            tails[place] = sequence
            offsets[place] += 1


async def taken_in(outcomes: Outcomes, records: Sequence[Any], order: random.Random) -> None:
    """In batches of any size. Now and then a batch fails at its end and comes again, and some records come twice."""
    service = outcomes.service
    standings: dict[Place, Standing] = defaultdict(Standing)
    start = 0
    while start < len(records):
        end = start + order.choice((1, 2, 5, 13, 60))
        # Copies of what was sent before come again as a whole, at the front.
        batch = [*records[max(0, start - order.choice((0, 0, 4))) : start], *records[start:end]]
        slices = [take(p, standings[p], of_place, chained=True) for p, of_place in by_place(batch).items()]
        assert not any(piece.trouble for piece in slices)
        if order.random() < 0.2:
            try:
                async with outcomes.workplace.transaction(acting_as("projection")) as tx:
                    await take_all(service, outcomes.workplace, tx, slices)
                    raise ConnectionResetError
            except ConnectionResetError:
                pass
        async with outcomes.workplace.transaction(acting_as("projection")) as tx:
            await take_all(service, outcomes.workplace, tx, slices)
        standings.update({piece.place: piece.after for piece in slices})
        start = end


async def tables_of(outcomes: Outcomes) -> dict[str, list[dict[str, Any]]]:
    left_out = {"version", "sealed", "sealed_by"}
    return {
        name: [{k: v for k, v in row.items() if k not in left_out} for row in await outcomes.table(name)]
        for name in ("person", "home", "cohort", "placement", "case_file", "follow_up")
    }


async def test_any_order_any_batches_and_any_copies_give_the_same_tables(outcomes: Outcomes):
    truncated = "TRUNCATE person, home, cohort, placement, case_file, follow_up, outbox"
    for seed in range(6):
        order = random.Random(seed)
        streams = _some_history(order)
        endings = []
        for _ in range(3):
            await outcomes.pool.execute(truncated)
            outcomes.versions.clear()
            run = f"r{seed}x{len(endings)}r"
            # Own facts of an earlier round stay on the log, which nobody empties; so each round has its own people.
            arriving = [(_renamed(fact, run), instant) for fact, instant in shuffled(streams, order)]
            await taken_in(outcomes, Log(outcomes, arriving).records, order)
            await outcomes.timers_run(outcomes.workplace.now())
            endings.append(json.dumps(to_jsonable_python(await tables_of(outcomes)), sort_keys=True).replace(run, "-"))
        assert endings[0] == endings[1] == endings[2], f"seed {seed}"
        assert "case_id" in endings[0]


def _some_history(order: random.Random) -> list[Told]:
    def dated(facts: list[Event]) -> Told:
        return list(zip(facts, sorted(order.choice(INSTANTS) for _ in facts), strict=True))

    streams: list[Told] = []
    for person in PEOPLE:
        streams.append(dated([listed(person), *order.sample(_household(person), 3)]))
        begins = [nominated(person), assigned(person), verified(person)]
        streams.append(dated([*begins, *(fact for facts in order.sample(_person(person), 2) for fact in facts)]))
    for cohort_id, instant in ((COHORT, COMPLETED_AT), (OTHER_COHORT, INSTANTS[1])):
        class_ = order.sample(PEOPLE, 2)
        streams.append([(fact, instant) for fact in held(*class_, cohort_id=cohort_id, completed_on=instant.date())])
    return streams


def _renamed(fact: Event, run: str) -> Event:
    text = fact.model_dump_json(exclude={"personal"})
    for name in (*PEOPLE, COHORT, OTHER_COHORT):
        text = text.replace(f'"{name}', f'"{name}-{run}-').replace(f"home-of-{name}", f"home-of-{name}-{run}-")
    return type(fact).model_validate_json(text)
