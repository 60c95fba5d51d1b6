"""What the demo plans for the year after: how households fare, who is visited when, what is reported, who leaves."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import areas
from contracts.envelope import EVENTS
from contracts.outcomes import BasicNeed
from contracts.partners import AnnualMeetingHeld, FinancingGranted, SupportFact
from deploy.demo import dinkop, fates, managers, partners_year, programme
from deploy.demo.clock import WITA, at
from deploy.demo.contacts import contact_of
from deploy.demo.diary import Diary
from deploy.demo.dinkop import KINDS, cooperatives_of, mistyped, spoilt, support_for
from deploy.demo.follow_ups import FollowUpVisit, friday_from, plan_follow_ups
from deploy.demo.households import Fortune, draw, with_a_relapse
from deploy.demo.known_cases import KnownCase, months_after
from deploy.demo.play import Person
from deploy.demo.tally import KnownParticipant, Tally
from deploy.demo.visits import phone_of
from deploy.demo.year_figures import telling_numbers, written
from tests.deploy.demo_year import COMPLETED_ON, PLAN, TERMS, anns_case, living

LINE = TERMS["line_rupiah_per_person_month"]
MONTHS = PLAN["months"]
NOW = datetime(2024, 8, 30, 9, tzinfo=UTC)


def people(count: int) -> list[Person]:
    return [
        Person(f"p{row}", f"h{row}", "52.01.01.2001", 1 + row % 6, row, f"F{row}", f"5270{row:012}")
        for row in range(2, 2 + 5 * count, 5)
    ]


def fortunes(count: int) -> dict[str, Fortune]:
    return {person.person_id: draw(person.row, person.people, MONTHS) for person in people(count)}


# --- How households fare ---------------------------------------------------------------------------------------------


def test_the_same_household_fares_the_same_in_every_run() -> None:
    assert draw(17, 4, MONTHS) == draw(17, 4, MONTHS)
    assert draw(17, 4, MONTHS) != draw(18, 4, MONTHS)


def test_incomes_grow_and_some_households_get_above_the_line_and_most_do_not_at_once() -> None:
    found = {m: [fortune.after(m, LINE) for fortune in fortunes(600).values()] for m in MONTHS}
    above = [sum(one.per_person >= LINE for one in found[m]) / 600 for m in MONTHS]
    medians = [median(one.per_person for one in found[m]) for m in MONTHS]
    assert above == sorted(above)
    assert medians == sorted(medians)
    assert above[0] < 0.15
    assert 0.4 < above[-1] < 0.65
    assert sum(found[6][n].meets(TERMS) and found[12][n].meets(TERMS) for n in range(600)) > 100


def test_a_need_that_is_met_stays_met_and_incomes_are_told_in_steps() -> None:
    for fortune in fortunes(100).values():
        lives = [fortune.after(m, LINE) for m in MONTHS]
        assert all(before.needs_met <= after.needs_met for before, after in pairwise(lives))
        assert all(rupiah % 5_000 == 0 for one in lives for _, rupiah in one.income)
        assert all((one.turnover > 0) == (one.assets > 0) for one in lives)


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_whoever_completes_one_household_rises_and_falls_again(count: int, first_row: int) -> None:
    drawn = {f"p{n}": draw(first_row + n, 1 + n % 7, MONTHS) for n in range(count)}
    made, fallen = with_a_relapse(drawn, TERMS)
    lives = {m: made[fallen].after(m, LINE) for m in MONTHS}
    assert lives[3].meets(TERMS)
    assert lives[6].meets(TERMS)
    assert lives[12].per_person < LINE
    assert {
        participant: fortune for participant, fortune in made.items() if participant != fallen
    }.items() <= drawn.items()


# --- What has to become of a case ------------------------------------------------------------------------------------


def test_a_month_later_is_the_same_day_or_the_months_last() -> None:
    assert months_after(date(2024, 8, 31), 6) == date(2025, 2, 28)
    assert months_after(date(2024, 7, 12), 12) == date(2025, 7, 12)
    assert months_after(date(2024, 12, 2), 1) == date(2025, 1, 2)


def test_a_case_goes_through_its_year() -> None:
    case = anns_case()
    assert case.statuses == {1: "missed", 3: "recorded", 6: "recorded", 12: "recorded"}
    assert (case.standing, case.graduations, case.relapses) == ("relapsed", 1, 1)
    assert (case.closed, case.closed_on) == ("plan_completed", date(2025, 7, 14))
    assert case.fallen_due == {1, 3, 6, 12}


def test_a_follow_up_is_due_on_its_day_and_missed_after_the_last_day_in_time() -> None:
    case = KnownCase("52.01", COMPLETED_ON, PLAN, TERMS)
    seen = {}
    for day in (date(2024, 8, 11), date(2024, 8, 12), date(2024, 8, 26), date(2024, 8, 27)):
        case.pass_time(day)
        seen[day.day] = case.statuses[1]
    assert seen == {11: "scheduled", 12: "due", 26: "due", 27: "missed"}


def test_a_visit_that_was_missed_between_two_breaks_the_row() -> None:
    case = KnownCase("52.01", COMPLETED_ON, PLAN, TERMS)
    case.record(1, date(2024, 8, 12), living(400_000), date(2024, 8, 16))
    case.pass_time(date(2025, 1, 12))
    case.record(6, date(2025, 1, 13), living(400_000), date(2025, 1, 17))
    assert case.standing == "followed"
    case.record(12, date(2025, 7, 14), living(400_000), date(2025, 7, 18))
    assert case.standing == "graduated"
    case = KnownCase("52.01", COMPLETED_ON, PLAN, TERMS)
    case.record(3, date(2024, 10, 12), living(400_000), date(2024, 10, 12))
    case.record(6, date(2025, 1, 13), living(400_000), date(2025, 1, 17))
    assert case.standing == "graduated"


@pytest.mark.parametrize(
    "lacking",
    [
        living(322_169),
        living(400_000, livelihoods=1),
        living(400_000, needs=frozenset(BasicNeed) - {BasicNeed.HOUSING}),
    ],
)
def test_whoever_lacks_one_thing_has_not_graduated(lacking: object) -> None:
    case = KnownCase("52.01", COMPLETED_ON, PLAN, TERMS)
    case.record(3, date(2024, 10, 12), living(400_000), date(2024, 10, 12))
    case.record(6, date(2025, 1, 13), lacking, date(2025, 1, 13))  # type: ignore[arg-type]
    assert case.standing == "followed"


def test_a_case_that_closes_drops_what_is_still_to_come() -> None:
    case = KnownCase("52.01", COMPLETED_ON, PLAN, TERMS)
    case.record(1, date(2024, 8, 12), living(200_000), date(2024, 8, 16))
    case.close("deceased", date(2024, 11, 22))
    case.pass_time(date(2025, 12, 31))
    case.close("erased", date(2026, 1, 1))
    assert case.statuses == {1: "recorded", 3: "dropped", 6: "dropped", 12: "dropped"}
    assert case.closed == "deceased"


def test_the_tally_lets_verifications_end_and_closes_the_cases_of_who_leaves() -> None:
    tally = Tally(participants={"ann": KnownParticipant("52.01"), "ben": KnownParticipant("52.02")})
    tally.verified("ann", at(date(2024, 8, 5), 10))
    tally.verified("ben", at(date(2024, 8, 6), 10))
    tally.opened("ann", COMPLETED_ON, PLAN, TERMS)
    tally.pass_time(at(date(2024, 8, 5), 12))
    assert [known.status for known in tally.participants.values()] == ["expired", "verified"]
    tally.erased("ann", date(2024, 9, 1))
    assert (tally.cases["ann"].closed, tally.participants["ann"].status) == ("erased", "erased")


# --- Visits ----------------------------------------------------------------------------------------------------------


def planned(count: int, sure: str | None = None) -> list[FollowUpVisit]:
    chosen = people(count)
    cases = {person.person_id: KnownCase("52.01", COMPLETED_ON, PLAN, TERMS) for person in chosen}
    return plan_follow_ups(chosen, cases, fortunes(count), sure)


def test_most_visits_are_made_in_time_some_late_some_never() -> None:
    visits = planned(500)
    due = {months: months_after(COMPLETED_ON, months) for months in MONTHS}
    in_time = [v for v in visits if v.day <= due[v.months] + timedelta(days=14)]
    missed_first = [v for v in in_time if v.sent_on > due[v.months] + timedelta(days=14)]
    assert 0.87 < len(visits) / 2000 < 0.93
    assert 0.02 < (len(visits) - len(in_time)) / 2000 < 0.06
    assert 0.02 < len(missed_first) / 2000 < 0.06
    assert len({visit.visit_id for visit in visits}) == len(visits)


def test_visits_are_made_by_day_and_sent_on_a_friday_after() -> None:
    for visit in planned(200):
        local = visit.captured_at.astimezone(WITA)
        assert 8 <= local.hour < 15
        assert local >= at(months_after(COMPLETED_ON, visit.months) - timedelta(days=7), 0)
        assert visit.sent_on.weekday() == 4
        assert visit.sent_on >= local.date()


def test_whom_the_story_needs_is_always_visited_in_time() -> None:
    sure = [visit for visit in planned(50, "p2") if visit.person.person_id == "p2"]
    assert [visit.months for visit in sure] == MONTHS
    assert all(visit.sent_on - visit.day < timedelta(days=7) for visit in sure)
    assert all(visit.day <= months_after(COMPLETED_ON, visit.months) + timedelta(days=14) for visit in sure)


def test_a_visit_tells_every_need_once_and_no_number_of_anybody() -> None:
    body = planned(1)[0].body()
    assert [need["need"] for need in body["needs"]] == [need.value for need in BasicNeed]
    assert not {"national_id", "name"} & body.keys()


@given(st.dates(date(2024, 1, 1), date(2026, 1, 1)))
def test_the_next_friday_is_never_more_than_six_days_off(day: date) -> None:
    friday = friday_from(day)
    assert friday.weekday() == 4
    assert timedelta(0) <= friday - day < timedelta(days=7)


def test_the_diary_keeps_what_is_to_be_done_in_order() -> None:
    diary = Diary()
    for day in (3, 1, 2, 1):
        diary.add(at(date(2024, 8, day), 9), lambda _play: None)  # type: ignore[arg-type, return-value]
    assert [instant.day for instant in diary.instants] == [1, 2, 3]


# --- The agency for cooperatives -------------------------------------------------------------------------------------

COOPERATIVES = cooperatives_of(["52.01.01", "52.02.03"])


def test_support_is_of_every_kind_and_in_the_two_weeks_before() -> None:
    facts = support_for(people(400), COOPERATIVES, NOW.date(), random.Random(1))
    assert {type(fact) for fact in facts} == set(KINDS) == set(SupportFact.__subclasses__())
    for fact in facts:
        (given,) = [value for value in fact.model_dump().values() if isinstance(value, date)]
        assert timedelta(0) < NOW.date() - given < timedelta(days=14)
        if isinstance(fact, FinancingGranted):
            assert 0 < fact.amount_rupiah <= 10_000_000


def test_members_join_a_cooperative_of_their_own_kabupaten() -> None:
    facts = support_for(people(400), list(reversed(COOPERATIVES)), NOW.date(), random.Random(1))
    assert {fact.cooperative_number for fact in facts if hasattr(fact, "cooperative_number")} == {"DEMO-KOP-001"}


def test_cooperatives_have_known_seats_and_numbers_that_are_nobodys() -> None:
    for cooperative in COOPERATIVES:
        assert areas.is_known(cooperative.area_code)
        assert sum(sign.isdigit() for sign in cooperative.number) < 16
        meeting = cooperative.meeting(2023, date(2024, 3, 1), random.Random(2))
        assert isinstance(meeting, AnnualMeetingHeld)
        assert meeting.members > 0


def test_every_spoilt_report_is_spoilt_in_a_way_of_its_own() -> None:
    found = list(spoilt(people(1)[0], COOPERATIVES[0], NOW))
    assert len({(message.value, tuple(message.headers)) for _, message in found}) == len(found) == 16
    assert {field for field, _ in found} == {
        *("value", "visited_on", "national_id", "amount_rupiah", "scheme", "cooperative_number", "area_code", "year"),
        *("members", "name", "ce_source", "ce_type", "ce_id", "ce_time"),
    }
    later = {message.headers[1] for _, message in spoilt(people(1)[0], COOPERATIVES[0], NOW + timedelta(days=60))}
    assert later.isdisjoint(
        {message.headers[1] for _, message in found} - {message.headers[1] for _, message in found[14:15]}
    )


def test_a_sound_report_can_be_read_again() -> None:
    facts = support_for(people(40), COOPERATIVES, NOW.date(), random.Random(1))
    for fact, message in zip(facts, dinkop.DINKOP.messages_of(facts, NOW), strict=True):
        attributes = {name: value.decode() for name, value in message.headers}
        if attributes["content-type"] == "application/json":
            assert EVENTS[attributes["ce_type"]].model_validate_json(message.value or b"") == fact
            assert attributes["ce_source"] == "urn:dinkop"


def test_a_mistyped_number_differs_in_one_digit() -> None:
    for person in people(20):
        wrong = mistyped(person.national_id)
        assert sum(a != b for a, b in zip(wrong, person.national_id, strict=True)) == 1
        assert len(wrong) == 16


def test_reports_come_on_fridays_but_for_the_first_before_anybody_has_completed() -> None:
    assert list(partners_year.DAYS) == sorted(partners_year.DAYS)
    assert all(day.weekday() == 4 for day in partners_year.DAYS[1:])
    assert min(c.days[-1] for c in programme.SIZES["ntb"].classes) > partners_year.FIRST_DAY
    assert partners_year.MEETINGS_DAY < partners_year.REVIEW_DAY


# --- Managers, fates, contacts ---------------------------------------------------------------------------------------


def test_nearly_all_managers_are_willing_and_those_with_a_case_all() -> None:
    chosen = people(78)
    visits = managers.plan_renewals(chosen, frozenset(person.person_id for person in chosen[:10]))
    assert sum(not visit.willing for visit in visits) == 4
    assert all(visit.willing for visit in visits[:10])
    assert all(visit.captured_at < at(programme.RENEWAL_SYNC_DAY, 17) for visit in visits)
    assert all(visit.captured_at > at(programme.RENEWAL_DAY, 9) for visit in visits)


def test_a_renewed_verification_holds_until_the_class() -> None:
    holds = timedelta(days=programme.VERIFICATION_HOLDS_DAYS)
    for size in programme.SIZES.values():
        assert all(at(c.days[0], 0) < at(programme.RENEWAL_DAY, 9) + holds for c in size.manager_classes)


def test_units_belong_to_the_nearest_cooperative() -> None:
    body = managers.plan_of(people(1)[0], COOPERATIVES, date(2024, 10, 18))
    assert body["cooperative_number"] == "DEMO-KOP-001"
    assert body["planned_on"] < body["launch_by"]


def test_nobody_dies_and_moves_and_the_story_spares_whom_it_needs() -> None:
    chosen = fates.choose(people(60), 3, random.Random(4), {"p7", "p12"})
    everybody = [*chosen.died, *chosen.moved_away, *chosen.moved_within, *chosen.erased]
    assert len({person.person_id for person in everybody}) == len(everybody) == 15
    assert not {"p7", "p12"} & {person.person_id for person in everybody}
    assert all(person.people > 1 for person in everybody)


def test_numbers_for_messages_belong_to_nobody_and_are_written_in_many_ways() -> None:
    numbers = [phone_of(person) for person in people(30)]
    assert Counter(number[0] for number in numbers).keys() == {"0", "6", "+"}
    digits = {"".join(sign for sign in number if sign.isdigit()).removeprefix("62").lstrip("0") for number in numbers}
    assert len(digits) == 30
    assert all(number.startswith("844") for number in digits)
    assert all("0844" in contact_of(number, "52")["phone"] for number in range(3))


# --- Files -----------------------------------------------------------------------------------------------------------


def test_messages_are_counted_by_channel_and_numbers_are_found_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "sms.jsonl").write_text('{"text": "Halo"}\n{"text": "Sampai jumpa"}\n')
    (tmp_path / "email.jsonl").write_text('{"text": "5270 0112 0490 0001"}\n')
    (tmp_path / "api.log").write_text('{"took": 0.123456789012345678}\n{"event": "5270011204900001"}\n')
    assert written(tmp_path) == {"email": 1, "sms": 2}
    assert telling_numbers(tmp_path.iterdir()) == {"email.jsonl": 1, "api.log": 1}
