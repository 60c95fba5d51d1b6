"""What the demo plans before it asks any service: who is visited, what is found, what Dukcapil says, how classes go."""

import json
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import areas
from contracts.envelope import EVENTS
from contracts.partners import DeathRecorded, HouseholdMoved, IdentityMatched
from contracts.registry import Finding
from contracts.training import DeliveryMode
from deploy.demo import civil_registry, classes, lists, programme
from deploy.demo.classes import entries
from deploy.demo.expected import expect
from deploy.demo.learners import Learner, plan_answers, plan_learners
from deploy.demo.lists import Defect, Defects, ListSize
from deploy.demo.play import Person, PlannedClass
from deploy.demo.programme import COURSES, SIZES, Pocket, Size, pockets, quotas, visits_by_kabupaten
from deploy.demo.visits import FINDINGS, plan_visits, sendings

WITA = timezone(timedelta(hours=8))
NOW = datetime(2024, 6, 20, 2, tzinfo=UTC)

both_sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())


def people(count: int, *, first_row: int = 2) -> list[Person]:
    rows = range(first_row, first_row + count)
    return [Person(f"p{row}", f"h{row}", "52.01.01.2001", 4, row, f"F{row}", f"5270{row:012}") for row in rows]


# --- The programme ---------------------------------------------------------------------------------------------------


@both_sizes
def test_half_of_the_classes_meet_on_site_and_the_first_two_from_8_to_12_july(size: Size) -> None:
    planned = size.classes
    assert Counter(c.mode for c in planned) == dict.fromkeys(DeliveryMode, len(planned) // 2)
    assert [c.number for c in planned] == [f"P3KE-2024-{n:02}" for n in range(1, len(planned) + 1)]
    first_days = [date(2024, 7, day) for day in range(8, 13)]
    assert [list(c.days) for c in planned if c.week == 0] == [first_days, first_days]
    assert [c.course.title for c in planned[:2]] == ["Keterampilan Teknis Pijat", "Kerajinan Tangan"]


def test_the_whole_programme_trains_480_people_and_60_managers_from_14_to_18_october() -> None:
    assert len(SIZES["ntb"].classes) * programme.CAPACITY == 480
    managers = SIZES["ntb"].manager_classes
    assert sum(c.capacity for c in managers) == 60
    for c in managers:
        assert (c.days[0], c.days[-1], c.course) == (date(2024, 10, 14), date(2024, 10, 18), programme.MANAGERS_COURSE)


@both_sizes
def test_every_kabupaten_is_visited_and_where_a_class_meets_on_site_often_enough_to_fill_it(size: Size) -> None:
    visits = visits_by_kabupaten(size)
    assert sum(visits.values()) == size.visits
    assert set(visits) == set(areas.children(areas.NTB))
    assert min(visits.values()) > 0
    hosts = Counter(c.host for c in size.classes if c.mode is DeliveryMode.ON_SITE)
    found_willing = 0.82 * 0.97
    for kabupaten, times in hosts.items():
        assert visits[kabupaten] * found_willing > times * (programme.CAPACITY + size.waitlist)


@both_sizes
def test_quotas_leave_room_for_every_place(size: Size) -> None:
    assert sum(quotas(size).values()) > programme.CAPACITY * len(size.classes)


def test_the_kecamatan_with_most_poor_people_is_visited_first_and_never_whole() -> None:
    assert pockets({"a": 100, "b": 300, "c": 200}, 250) == [Pocket("b", 210), Pocket("c", 40)]


def test_two_classes_on_site_get_two_kecamatan() -> None:
    assert pockets({"a": 100, "b": 300, "c": 200}, 200, at_once=2) == [Pocket("b", 100), Pocket("c", 100)]


@given(
    st.dictionaries(st.text("abc", min_size=1), st.integers(0, 500), min_size=1), st.integers(0, 900), st.integers(1, 3)
)
def test_pockets_give_all_visits_that_there_are_households_for(
    households: dict[str, int], visits: int, at_once: int
) -> None:
    found = pockets(households, visits, at_once)
    assert sum(p.visits for p in found) == min(visits, sum(n * 7 // 10 for n in households.values()))
    assert all(0 < p.visits <= households[p.kecamatan] * 7 // 10 for p in found)


def test_the_poorest_come_first_then_the_larger_households_then_the_order_of_the_list() -> None:
    def household(percentile: int, members: int, row: int) -> dict[str, object]:
        return {"rank": {"welfare_percentile": percentile}, "people": members, "evidence": {"row": row}}

    poor, poor_later, large, less_poor = (
        household(1, 3, 9),
        household(1, 3, 20),
        household(1, 8, 50),
        household(2, 9, 2),
    )
    assert programme.by_need([less_poor, poor_later, poor, large]) == [large, poor, poor_later, less_poor]


# --- The list --------------------------------------------------------------------------------------------------------

TINY = ListSize("tiny", households=60, people=280, villages_per_kabupaten=1)


@pytest.mark.parametrize(
    ("defect", "households"),
    [
        ("nik_disagrees", 60),
        ("disagreeing_family", 58),
        ("duplicate_family", 62),
        ("repeated_family", 60),
    ],
)
def test_what_can_be_taken_of_a_list_follows_from_what_was_planted(
    tmp_path: Path, defect: str, households: int
) -> None:
    written = lists.write_list(tmp_path / "list.csv", TINY, defects=Defects(**{defect: 2}))
    expected = expect(written)
    assert sum(expected.households.values()) == households
    taken = {Defect.NIK_DISAGREES: 280, Defect.DUPLICATE_FAMILY: written.rows, Defect.REPEATED_FAMILY: 280}
    if written.planted[0].defect in taken:
        assert expected.people == taken[written.planted[0].defect]
    else:
        assert expected.people < 280


def test_a_household_without_its_heads_row_cannot_be_taken_and_one_without_anothers_can(tmp_path: Path) -> None:
    written = lists.write_list(tmp_path / "list.csv", TINY, defects=Defects(bad_nik=4))
    first_rows = {}
    for number, line in enumerate(written.path.read_text().splitlines(), start=1):
        first_rows.setdefault(line.split(",")[0], number)
    heads = [planted for planted in written.planted if first_rows[planted.family_id] == planted.row]
    assert 0 < len(heads) < 4
    expected = expect(written)
    assert sum(expected.households.values()) == 60 - len(heads)
    assert expected.reported == {(planted.row, planted.problem) for planted in written.planted}


def test_the_part_of_a_second_list_is_about_its_area_alone(tmp_path: Path) -> None:
    whole = lists.second_list(tmp_path / "whole.csv", lists.SMALL)
    part = lists.second_list(tmp_path / "part.csv", lists.SMALL, only="52.03")
    assert part.summary.households == {"52.03": whole.summary.households["52.03"]}
    assert part.delisted < whole.delisted
    assert part.added <= whole.added
    assert part.renumbered.items() <= whole.renumbered.items()
    assert set(part.rank_changed) < set(whole.rank_changed)


# --- The field -------------------------------------------------------------------------------------------------------


def test_every_finding_has_its_share_and_every_visit_is_made_in_working_hours() -> None:
    visits = plan_visits(people(1000), random.Random(1))
    assert Counter(visit.finding for visit in visits) == FINDINGS
    assert set(FINDINGS) == set(Finding)
    for visit in visits:
        local = visit.captured_at.astimezone(WITA)
        assert local.weekday() < 5
        assert 8 <= local.hour < 15
        assert date(2024, 5, 27) <= local.date() <= programme.SYNC_DAYS[-1]
        assert visit.willing <= (visit.finding is Finding.MATCHED)


def test_the_same_numbers_make_the_same_visits() -> None:
    assert plan_visits(people(50), random.Random(7)) == plan_visits(people(50), random.Random(7))


@given(st.integers(0, 450), st.integers(0, 100), st.integers())
def test_devices_send_every_visit_once_and_copies_beside(new: int, before: int, seed: int) -> None:
    visits = plan_visits(people(new), random.Random(seed))
    earlier = plan_visits(people(before, first_row=9000), random.Random(seed))
    sent = sendings(visits, earlier, random.Random(seed))
    everything = Counter(visit.visit_id for sending in sent for visit in sending.visits)
    assert all(everything[visit.visit_id] >= 1 for visit in visits)
    assert everything.total() - len(visits) == sum(sending.copies for sending in sent)
    assert all(len(sending.visits) <= 200 for sending in sent)
    assert all(everything[visit.visit_id] == 1 for visit in visits if visit.fast_clock)


def test_verifications_of_the_field_outlast_every_class_and_those_of_the_village_meeting_do_not() -> None:
    holds = timedelta(days=programme.VERIFICATION_HOLDS_DAYS)
    earliest_visit = programme.SYNC_DAYS[0] - timedelta(days=4)
    for size in SIZES.values():
        assert earliest_visit + holds > max(c.days[0] for c in size.classes)
        assert any(c.days[0] > programme.VILLAGE_MEETING_DAY + holds for c in size.classes)


# --- The civil registry ----------------------------------------------------------------------------------------------


def meant() -> civil_registry.Meant:
    return civil_registry.choose(
        with_a_place=people(30),
        verified=people(30, first_row=100),
        visited=people(200, first_row=100),
        not_visited=people(30, first_row=1000),
        scale=2,
        rng=random.Random(3),
    )


def test_the_civil_registry_says_one_thing_of_each_person() -> None:
    chosen = meant()
    everybody = [*chosen.matched, *chosen.died, *chosen.moved_within, *chosen.moved_away]
    assert len({person.person_id for person in everybody}) == len(everybody) == 80 + 14 + 4 + 2


def test_nobody_is_spoken_of_without_a_nik_or_out_of_a_household_of_one() -> None:
    nameless = [Person("a", "h", "52.01.01.2001", 4, 2, "F"), Person("b", "i", "52.01.01.2001", 1, 3, "G", "5270" * 4)]
    chosen = civil_registry.choose(nameless, nameless, nameless, nameless, 1, random.Random(1))
    assert [*chosen.matched, *chosen.died, *chosen.moved_within, *chosen.moved_away] == []


def test_messages_carry_their_fact_in_both_modes_and_the_nik_in_no_header() -> None:
    facts = civil_registry.facts(meant(), random.Random(1))
    messages = civil_registry.DUKCAPIL.messages_of(facts, NOW)
    assert {type(fact) for fact in facts} == {IdentityMatched, DeathRecorded, HouseholdMoved}
    structured = 0
    for fact, message in zip(facts, messages, strict=True):
        attributes = {name.removeprefix("ce_"): value.decode() for name, value in message.headers}
        data = message.value or b""
        if attributes["content-type"] == "application/cloudevents+json":
            structured += 1
            attributes |= json.loads(data)
            data = json.dumps(attributes.pop("data")).encode()
        assert (attributes["source"], attributes["specversion"]) == ("urn:dukcapil", "1.0")
        assert EVENTS[attributes["type"]].model_validate_json(data) == fact
        assert not any(fact.national_id in str(value) for value in attributes.values())
    assert structured == len(messages) // 10
    assert len({message.value for message in messages}) == len(messages)


def test_every_spoilt_message_is_spoilt_in_a_way_of_its_own() -> None:
    spoilt = list(civil_registry.spoilt(people(1)[0], NOW))
    assert len({(message.value, tuple(message.headers)) for _, message in spoilt}) == len(spoilt) == 12
    assert {field for field, _ in spoilt} == {
        *("value", "died_on", "national_id", "to_area_code", "ce_source", "ce_type", "ce_id", "ce_time"),
    }


# --- The classes -----------------------------------------------------------------------------------------------------


@both_sizes
def test_everybody_with_a_place_gives_one_answer(size: Size) -> None:
    for planned in size.classes:
        answers = plan_answers(planned, range(1, 31))
        assert sorted((*answers.confirm, *answers.withdraw, *answers.silent)) == list(range(1, 31))
        assert "cannot_leave_children" in answers.withdraw.values()
        assert len(answers.silent) == 1


def test_of_a_small_class_fewer_leave() -> None:
    (managers,) = SIZES["small"].manager_classes
    answers = plan_answers(managers, range(1, managers.capacity + 1))
    assert len(answers.confirm) == managers.capacity - 1


@given(st.sets(st.integers(1, 30)))
def test_a_class_of_any_size_can_be_asked(places: set[int]) -> None:
    answers = plan_answers(SIZES["small"].classes[0], list(places))
    assert sorted((*answers.confirm, *answers.withdraw, *answers.silent)) == sorted(places)


def learner(*, present: int, competent: bool = True) -> Learner:
    marks = ["present"] * present + ["absent"] * (5 - present)
    attempts = {unit.unit_id: (competent or not unit.critical,) for unit in COURSES[0].units}
    return Learner(marks, 40, 70, attempts)


@pytest.mark.parametrize(
    ("fares", "completes"),
    [
        (learner(present=5), True),
        (learner(present=4), True),
        (learner(present=3), False),
        (learner(present=5, competent=False), False),
    ],
)
def test_who_completes_came_four_days_of_five_and_is_competent_in_what_is_critical(
    fares: Learner, completes: bool
) -> None:
    assert fares.completes(COURSES[0], 80) is completes


def test_a_second_attempt_counts_and_a_unit_that_is_not_critical_does_not() -> None:
    critical, other = COURSES[0].units[0], COURSES[0].units[-1]
    passed = dict(learner(present=5).attempts)
    assert not other.critical
    for attempts, completes in (
        (passed | {critical.unit_id: (False, True)}, True),
        (passed | {critical.unit_id: (False, False)}, False),
        (passed | {other.unit_id: (False, False)}, True),
    ):
        assert Learner(["present"] * 5, 40, 70, attempts).completes(COURSES[0], 80) is completes


@both_sizes
def test_one_of_each_class_misses_too_much_and_most_complete(size: Size) -> None:
    for planned in size.classes:
        learners = plan_learners(planned, range(1, 31))
        course = planned.course
        assert set(learners) == set(range(1, 31))
        assert any(one.marks.count("present") <= 3 for one in learners.values())
        assert sum(one.completes(course, 80) for one in learners.values()) > 15
        assert all(one.post_test >= one.pre_test for one in learners.values())


def test_a_class_is_asked_before_its_deadline_asked_again_after_it_and_then_taught_for_five_days() -> None:
    planned = [PlannedClass(c, c.number, c.host) for c in SIZES["small"].classes]
    written = entries(planned)
    assert [when for when, _, _ in written] == sorted(when for when, _, _ in written)
    deadline_days_before = 3  # The confirmation rule's default.
    for one in planned:
        mine = [(when.astimezone(WITA), doing) for when, doing, of in written if of is one]
        starts = one.plan.days[0]
        assert mine[0][0].date() < starts - timedelta(days=deadline_days_before) < mine[1][0].date() < starts
        assert [when.date() for when, _ in mine[2:]] == list(one.plan.days)
        assert [doing for _, doing in mine[:2]] == [classes._ask, classes._ask_again]
