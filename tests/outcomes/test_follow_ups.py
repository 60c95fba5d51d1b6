"""Follow-ups: when they fall due, what a visit has to say, and what it makes of the household."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.envelope import Event
from contracts.outcomes import (
    AppliedRule,
    BasicNeed,
    CaseClosed,
    ClosingReason,
    Evidence,
    FollowUpDue,
    FollowUpMissed,
    FollowUpRecorded,
    FollowUpScheduled,
    HouseholdGraduated,
    HouseholdRelapsed,
    IncomeAgainstLine,
    Livelihood,
)
from services.kit.refusal import Refused
from services.outcomes.calendar import beginning_of, day_of, months_after
from services.outcomes.cases.state import Standing
from services.outcomes.follow_ups.decisions import RecordFollowUp, fall_due, miss, record, schedule
from services.outcomes.follow_ups.state import FollowUpStatus
from services.outcomes.people.state import PERSONS
from services.outcomes.rules.decisions import PROJECT_DEFAULTS, adopt
from services.outcomes.rules.state import RULES
from tests.outcomes.facts import (
    ALL_REQUIRED,
    BEFORE,
    COMPLETED_AT,
    LINE,
    NOW,
    VILLAGE,
    Story,
    default_rules,
    held,
    known,
    visit,
)

DUE = {1: date(2024, 8, 12), 3: date(2024, 10, 12), 6: date(2025, 1, 12), 12: date(2025, 7, 12)}
RULE = AppliedRule(rule_id="graduation", rule_version=1)


class Followed(Story):
    """Sari's case with the visits of the default plan, and what is decided on it."""

    def __init__(self) -> None:
        super().__init__(now=BEFORE)
        self.told(*known("sari"))
        self.at(COMPLETED_AT).told(*held("sari"))
        self.at(NOW).given(*default_rules())
        self.given(*schedule(self.case("sari"), self.the(RULES, "follow_up_plan")))

    def decide_visit(self, follow_up: int, at: datetime | None = None, *args: Any, **more: Any) -> list[Event]:
        """What recording a visit decides; it is made at noon of its day, and told at once, unless said otherwise."""
        made = at or beginning_of(DUE[follow_up]) + timedelta(hours=12)
        self.now = max(made, self.now)
        by = more.pop("by", "pendamping-1")
        return record(
            self.case("sari"),
            self.visits("sari"),
            self.row(PERSONS, "sari"),
            self.row(RULES, "graduation"),
            RecordFollowUp.model_validate(visit(follow_up, made, *args, **more)),
            by,
            self.now,
        )

    def visited(self, follow_up: int, at: datetime | None = None, *args: Any, **more: Any) -> list[Event]:
        decided = self.decide_visit(follow_up, at, *args, **more)
        self.given(*decided)
        return decided

    def clock_at(self, instant: datetime) -> list[Event]:
        """What the timers decide at an instant."""
        self.now = instant
        due = fall_due(self.case("sari"), self.visits("sari"), self.row(PERSONS, "sari"), instant)
        self.given(*due)
        missed = miss(self.case("sari"), self.visits("sari"), instant)
        self.given(*missed)
        return [*due, *missed]

    def statuses(self) -> dict[int, str]:
        return {visit.months: visit.status for visit in self.visits("sari")}


# --- The calendar -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        (date(2024, 7, 12), 1, date(2024, 8, 12)),
        (date(2024, 8, 31), 6, date(2025, 2, 28)),
        (date(2023, 8, 31), 6, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 12, 31), 1, date(2025, 1, 31)),
        (date(2024, 10, 18), 3, date(2025, 1, 18)),
    ],
)
def test_months_are_calendar_months_and_end_with_the_month(day, months, then):
    assert months_after(day, months) == then


def test_a_day_begins_at_midnight_in_mataram():
    assert beginning_of(date(2024, 8, 12)).isoformat() == "2024-08-11T16:00:00+00:00"
    assert day_of(beginning_of(date(2024, 8, 12))) == date(2024, 8, 12)
    assert day_of(beginning_of(date(2024, 8, 12)) - timedelta(microseconds=1)) == date(2024, 8, 11)


# --- Scheduling -------------------------------------------------------------------------------------------------------


def test_a_case_is_given_the_visits_of_the_plan_in_force():
    story = Followed()
    assert {visit.months: (visit.due_on, visit.missed_after) for visit in story.visits("sari")} == {
        months: (day, day + timedelta(days=14)) for months, day in DUE.items()
    }
    assert {visit.plan_version for visit in story.visits("sari")} == {1}
    assert story.case("sari").follow_ups == (1, 3, 6, 12)


def test_a_case_that_has_visits_keeps_them_when_another_plan_comes_into_force():
    story = Followed()
    default = PROJECT_DEFAULTS["follow_up_plan"]
    monthly = default.model_copy(
        update={"definition": default.definition.model_copy(update={"months": tuple(range(1, 13))})}
    )
    story.given(*adopt(story.the(RULES, "follow_up_plan"), monthly))
    assert schedule(story.case("sari"), story.the(RULES, "follow_up_plan")) == []


def test_a_closed_case_is_given_no_visits():
    story = Story(*default_rules(), now=COMPLETED_AT)
    story.told(*held("sari"))
    story.given(CaseClosed(case_id="sari", because=ClosingReason.DECEASED))
    assert schedule(story.case("sari"), story.the(RULES, "follow_up_plan")) == []


# --- Falling due ------------------------------------------------------------------------------------------------------


def test_a_visit_falls_due_at_midnight_and_to_who_knows_the_participant():
    story = Followed()
    midnight = beginning_of(DUE[1])
    assert story.clock_at(midnight - timedelta(seconds=1)) == []
    (due,) = story.clock_at(midnight)
    assert due == FollowUpDue(
        case_id="sari",
        follow_up=1,
        due_on=DUE[1],
        missed_after=DUE[1] + timedelta(days=14),
        participant_id="sari",
        facilitator_id="pendamping-1",
    )
    assert story.clock_at(midnight) == []


def test_of_somebody_whom_the_registry_has_not_told_of_nobody_is_named():
    story = Story(*default_rules(), now=COMPLETED_AT)
    story.told(*held("sari"))
    story.given(*schedule(story.case("sari"), story.the(RULES, "follow_up_plan")))
    (due,) = fall_due(story.case("sari"), story.visits("sari"), None, beginning_of(DUE[1]))
    assert isinstance(due, FollowUpDue)
    assert due.facilitator_id is None


def test_a_visit_that_nobody_makes_is_missed_when_its_last_day_is_over():
    story = Followed()
    story.clock_at(beginning_of(DUE[1]))
    over = beginning_of(DUE[1] + timedelta(days=15))
    assert story.clock_at(over - timedelta(seconds=1)) == []
    assert story.clock_at(over) == [FollowUpMissed(case_id="sari", follow_up=1, due_on=DUE[1])]
    assert story.statuses()[1] == "missed"


def test_after_a_long_stop_what_was_due_and_missed_meanwhile_is_both():
    story = Followed()
    decided = story.clock_at(beginning_of(date(2025, 2, 1)))
    assert [(type(fact), fact.follow_up) for fact in decided if hasattr(fact, "follow_up")] == [
        *((FollowUpDue, months) for months in (1, 3, 6)),
        *((FollowUpMissed, months) for months in (1, 3, 6)),
    ]


def test_the_last_visit_missed_closes_the_case():
    story = Followed()
    story.clock_at(beginning_of(DUE[12]))
    decided = story.clock_at(beginning_of(DUE[12] + timedelta(days=15)))
    assert decided[-1] == CaseClosed(case_id="sari", because=ClosingReason.PLAN_COMPLETED)
    assert set(story.statuses().values()) == {"missed"}


def test_nothing_falls_due_on_a_closed_case():
    story = Followed()
    story.given(CaseClosed(case_id="sari", because=ClosingReason.DECEASED))
    assert story.clock_at(beginning_of(DUE[12] + timedelta(days=99))) == []


# --- Recording --------------------------------------------------------------------------------------------------------


def test_a_visit_is_recorded_with_income_set_against_the_line():
    story = Followed()
    (recorded,) = story.visited(1, per_person=LINE)
    assert isinstance(recorded, FollowUpRecorded)
    assert recorded.against_line == IncomeAgainstLine(per_person_rupiah=LINE, line_rupiah=LINE, above=True)
    assert (recorded.late, recorded.rule, recorded.people) == (False, RULE, 4)
    row = story.visits("sari")[0]
    assert (row.status, row.per_person_rupiah, row.above_line, row.livelihoods) == ("recorded", LINE, True, 2)
    assert row.needs_met == ALL_REQUIRED
    assert (row.turnover_rupiah, row.workers, row.recorded_on) == (2_000_000, 1, DUE[1])
    case = story.case("sari")
    assert (case.last_follow_up, case.last_per_person_rupiah, case.last_above_line) == (1, LINE, True)


@pytest.mark.parametrize(
    ("total", "people", "per_person", "above"),
    [(4 * LINE, 4, LINE, True), (4 * LINE - 1, 4, LINE - 1, False), (0, 4, 0, False), (10, 3, 3, False)],
)
def test_income_per_person_is_rounded_down_and_the_line_itself_is_above(total, people, per_person, above):
    story = Followed()
    income = [{"livelihood": "wage_work", "monthly_rupiah": total}]
    (recorded,) = story.visited(1, income=income, people=people)
    assert isinstance(recorded, FollowUpRecorded)
    assert (recorded.against_line.per_person_rupiah, recorded.against_line.above) == (per_person, above)


def test_livelihoods_are_those_that_bring_something_in_each_kind_once():
    story = Followed()
    kinds = [(Livelihood.WAGE_WORK, 5), (Livelihood.WAGE_WORK, 6), (Livelihood.FARMING, 0), (Livelihood.FISHING, 1)]
    story.visited(1, income=[{"livelihood": kind, "monthly_rupiah": rupiah} for kind, rupiah in kinds])
    assert story.visits("sari")[0].livelihoods == 2


def test_a_visit_may_be_made_a_week_early_and_then_never_falls_due():
    story = Followed()
    week_before = beginning_of(DUE[1] - timedelta(days=7))
    with pytest.raises(Refused, match="visit-too-early"):
        story.decide_visit(1, week_before - timedelta(seconds=1))
    story.visited(1, week_before)
    assert story.clock_at(beginning_of(DUE[1])) == []


def test_a_visit_after_its_last_day_is_late_and_makes_up_for_the_missed_one():
    story = Followed()
    story.clock_at(beginning_of(DUE[1] + timedelta(days=15)))
    (recorded,) = story.visited(1, beginning_of(DUE[1] + timedelta(days=15)))
    assert isinstance(recorded, FollowUpRecorded)
    assert recorded.late
    assert story.statuses()[1] == "recorded"


def test_a_visit_that_was_made_in_time_and_reaches_us_late_is_not_late():
    story = Followed()
    story.clock_at(beginning_of(DUE[1]))
    story.clock_at(beginning_of(DUE[1] + timedelta(days=20)))
    (recorded,) = story.visited(1, beginning_of(DUE[1] + timedelta(days=14)))
    assert isinstance(recorded, FollowUpRecorded)
    assert (recorded.late, recorded.received_at > recorded.captured_at) == (False, True)


def test_the_last_visit_recorded_closes_the_case():
    story = Followed()
    for months in (1, 3, 6):
        story.clock_at(beginning_of(DUE[months] + timedelta(days=15)))
    decided = story.visited(12, per_person=100)
    assert decided[-1] == CaseClosed(case_id="sari", because=ClosingReason.PLAN_COMPLETED)


def test_a_copy_of_a_visit_changes_nothing_even_on_a_closed_case():
    story = Followed()
    story.visited(1)
    assert story.decide_visit(1) == []
    story.given(CaseClosed(case_id="sari", because=ClosingReason.DECEASED))
    assert story.decide_visit(1) == []
    # What is put together in another order is still the same visit.
    assert story.decide_visit(1, needs=list(reversed(visit(1, NOW)["needs"]))) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"people": 5}, "body.people"),
        ({"per_person": 500_000}, "body.income"),
        ({"needs": []}, "body.needs"),
        ({"business": None}, "body.business"),
        ({"by": "pendamping-2"}, "body.visit_id"),
        ({"at": beginning_of(DUE[1]) + timedelta(hours=13)}, "body.captured_at"),
    ],
)
def test_another_visit_under_a_known_id_is_refused_by_what_differs(change, field):
    story = Followed()
    story.visited(1)
    with pytest.raises(Refused, match="visit-differs") as refused:
        story.decide_visit(1, **change)
    assert field in [problem.field for problem in refused.value.fields]


def test_another_follow_up_under_a_known_visit_id_is_refused():
    story = Followed()
    story.visited(1)
    with pytest.raises(Refused, match="visit-differs"):
        story.decide_visit(3, visit_id="visit-1")


def test_what_a_visit_may_not_be():
    story = Followed()
    with pytest.raises(Refused, match="no-such-follow-up"):
        story.decide_visit(2, beginning_of(DUE[1]))
    now = beginning_of(DUE[1])
    case, visits, rule = story.case("sari"), story.visits("sari"), story.row(RULES, "graduation")
    tomorrow = RecordFollowUp.model_validate(visit(1, now + timedelta(minutes=6)))
    with pytest.raises(Refused, match="visit-in-the-future"):
        record(case, visits, None, rule, tomorrow, "pendamping-1", now)
    story.visited(1)
    with pytest.raises(Refused, match="already-recorded"):
        story.decide_visit(1, visit_id="another")
    story.given(CaseClosed(case_id="sari", because=ClosingReason.DECEASED))
    with pytest.raises(Refused, match="case-closed"):
        story.decide_visit(3)


def test_without_a_graduation_rule_nobody_knows_where_the_line_is():
    story = Story(*(event for event in default_rules() if event.key == "follow_up_plan"), now=COMPLETED_AT)
    story.told(*held("sari"))
    story.given(*schedule(story.case("sari"), story.the(RULES, "follow_up_plan")))
    command = RecordFollowUp.model_validate(visit(1, beginning_of(DUE[1])))
    with pytest.raises(Refused, match="no-graduation-rule"):
        record(story.case("sari"), story.visits("sari"), None, None, command, "p", beginning_of(DUE[1]))


@pytest.mark.parametrize(
    "change",
    [
        {"people": 0},
        {"people": "4"},
        {"people": 4.0},
        {"people": True},
        {"people": 10**30},
        {"follow_up": -1},
        {"visit_id": ""},
        {"visit_id": "x" * 65},
        {"visit_id": "a b"},
        {"visit_id": "5271010101900001\n"},
        {"captured_at": "2024-08-12T10:00:00"},
        {"captured_at": "tomorrow"},
        {"income": [{"livelihood": "gambling", "monthly_rupiah": 1}]},
        {"income": [{"livelihood": "farming", "monthly_rupiah": -1}]},
        {"income": [{"livelihood": "farming", "monthly_rupiah": 10**11}]},
        {"income": [{"livelihood": "farming", "monthly_rupiah": 1.5}]},
        {"income": [{"livelihood": "farming", "monthly_rupiah": 1}] * 31},
        {"needs": [{"need": "food", "met": True}, {"need": "food", "met": False}]},
        {"needs": [{"need": "food", "met": "yes"}]},
        {"notes": "x" * 2001},
        {"notes": "a\x00b"},
        {"latitude": 91},
        {"longitude": float("nan")},
        {"national_id": "5270010101900001"},
    ],
)
def test_a_visit_of_a_wrong_form_is_refused_without_being_quoted(change):
    body = visit(1, NOW) | change
    with pytest.raises(ValidationError) as refused:
        RecordFollowUp.model_validate(body)
    assert "5270010101900001" not in str(refused.value)


# --- Graduation and relapse -------------------------------------------------------------------------------------------


def test_two_good_visits_in_a_row_graduate_a_household_after_six_months():
    story = Followed()
    assert [type(fact) for fact in story.visited(1)] == [FollowUpRecorded]
    assert [type(fact) for fact in story.visited(3)] == [FollowUpRecorded], "not before the sixth month"
    _, graduated = story.visited(6)
    assert graduated == HouseholdGraduated(
        case_id="sari",
        household_id="home-of-sari",
        area_code=VILLAGE,
        follow_up=6,
        evidence=tuple(
            Evidence(
                follow_up=months,
                visit_id=f"visit-{months}",
                per_person_rupiah=400_000,
                livelihoods=2,
                needs_met=ALL_REQUIRED,
            )
            for months in (3, 6)
        ),
        rule=RULE,
    )
    case = story.case("sari")
    assert (case.standing, case.graduated_on, case.is_open) == (Standing.GRADUATED, DUE[6], True)
    assert [(turn.standing, turn.follow_up) for turn in case.turns] == [("graduated", 6)]


@pytest.mark.parametrize(
    "change",
    [
        {"per_person": LINE - 1},
        {"income": [{"livelihood": "wage_work", "monthly_rupiah": 4 * LINE}]},
        {"needs": [{"need": need, "met": True} for need in ALL_REQUIRED[1:]]},
        {"needs": [{"need": need, "met": need is not BasicNeed.HOUSING} for need in ALL_REQUIRED]},
    ],
    ids=["below the line", "one livelihood", "a need that nobody asked for", "a need that is not met"],
)
@pytest.mark.parametrize("which", [3, 6])
def test_each_visit_of_the_row_has_to_meet_the_whole_rule(change, which):
    story = Followed()
    story.visited(3, **(change if which == 3 else {}))
    assert [type(fact) for fact in story.visited(6, **(change if which == 6 else {}))] == [FollowUpRecorded]


def test_a_missed_visit_between_breaks_the_row():
    story = Followed()
    story.visited(1)
    story.clock_at(beginning_of(DUE[3]))
    story.clock_at(beginning_of(DUE[3] + timedelta(days=15)))
    assert story.statuses()[3] == "missed"
    assert [type(fact) for fact in story.visited(6)] == [FollowUpRecorded]
    assert HouseholdGraduated in [type(fact) for fact in story.visited(12)]


def test_a_visit_that_makes_up_for_the_missed_one_closes_the_row():
    story = Followed()
    story.visited(1)
    story.clock_at(beginning_of(DUE[3]))
    story.clock_at(beginning_of(DUE[3] + timedelta(days=15)))
    story.visited(3, beginning_of(DUE[3] + timedelta(days=20)))
    assert HouseholdGraduated in [type(fact) for fact in story.visited(6)]


def test_visits_count_in_the_order_in_which_they_were_made():
    story = Followed()
    story.visited(6)
    # Made before the sixth month's, and told after it: now the row is there, and it ends with the sixth month.
    decided = story.visited(3, beginning_of(DUE[3]))
    assert [type(fact) for fact in decided] == [FollowUpRecorded, HouseholdGraduated]
    assert isinstance(decided[1], HouseholdGraduated)
    assert (decided[1].follow_up, [e.follow_up for e in decided[1].evidence]) == (6, [3, 6])
    assert story.case("sari").last_follow_up == 6


def test_a_graduated_household_that_falls_below_the_line_relapses():
    story = Followed()
    for months in (3, 6):
        story.visited(months)
    decided = story.visited(12, per_person=LINE - 1)
    assert [type(fact) for fact in decided] == [FollowUpRecorded, HouseholdRelapsed]
    case = story.case("sari")
    assert (case.standing, case.graduated_on, case.relapsed_on) == (Standing.RELAPSED, DUE[6], DUE[12])


def test_a_graduated_household_above_the_line_stays_so_whatever_else_it_lacks():
    story = Followed()
    for months in (3, 6):
        story.visited(months)
    assert HouseholdRelapsed not in [type(fact) for fact in story.visited(12, needs=[], per_person=LINE)]


def test_an_older_visit_that_is_told_late_makes_no_relapse():
    story = Followed()
    for months in (3, 6):
        story.visited(months)
    decided = story.visited(1, beginning_of(DUE[1]), per_person=0)
    assert [type(fact) for fact in decided] == [FollowUpRecorded]


def test_who_relapsed_may_graduate_again_on_new_visits():
    story = Followed()
    more = PROJECT_DEFAULTS["graduation"].model_copy(
        update={"definition": PROJECT_DEFAULTS["graduation"].definition.model_copy(update={"follow_ups_in_a_row": 1})}
    )
    story.given(*adopt(story.the(RULES, "graduation"), more))
    standings = []
    for months, per_person in ((1, 400_000), (3, 0), (6, 400_000), (12, 0)):
        story.visited(months, per_person=per_person)
        standings.append(str(story.case("sari").standing))
    assert standings == ["followed", "followed", "graduated", "relapsed"]
    assert {turn.rule_version for turn in story.case("sari").turns} == {2}


def test_a_household_that_nobody_knows_cannot_graduate():
    story = Story(*default_rules(), now=COMPLETED_AT)
    story.told(*held("sari"))
    story.given(*schedule(story.case("sari"), story.the(RULES, "follow_up_plan")))
    for months, refused in ((3, False), (6, True)):
        made = beginning_of(DUE[months])
        arguments = (
            story.case("sari"),
            story.visits("sari"),
            None,
            story.row(RULES, "graduation"),
            RecordFollowUp.model_validate(visit(months, made)),
            "pendamping-1",
            made,
        )
        if refused:
            with pytest.raises(Refused, match="household-unknown"):
                record(*arguments)
        else:
            story.given(*record(*arguments))


def test_notes_are_sealed_under_the_participant():
    story = Followed()
    (recorded,) = story.visited(1, notes="Rumah baru\ndi RT 3", latitude=-8.58)
    assert isinstance(recorded, FollowUpRecorded)
    assert recorded.personal["sari"].notes == "Rumah baru\ndi RT 3"
    row = story.visits("sari")[0]
    assert row.sealed is not None
    assert row.sealed.startswith("sealed:")
    assert row.status is FollowUpStatus.RECORDED


def test_a_case_is_given_the_visits_of_the_version_that_is_in_force_when_it_opens():
    story = Story(*default_rules(), now=COMPLETED_AT)
    default = PROJECT_DEFAULTS["follow_up_plan"]
    changed = default.model_copy(
        update={"definition": default.definition.model_copy(update={"months": (2,), "missed_after_days": 0})}
    )
    story.given(*adopt(story.the(RULES, "follow_up_plan"), changed))
    story.told(*held("sari"))
    (only,) = schedule(story.case("sari"), story.the(RULES, "follow_up_plan"))
    assert only == FollowUpScheduled(
        case_id="sari",
        follow_up=2,
        area_code=VILLAGE,
        due_on=date(2024, 9, 12),
        missed_after=date(2024, 9, 12),
        plan=AppliedRule(rule_id="follow_up_plan", rule_version=2),
    )
