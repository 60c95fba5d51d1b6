"""Whatever facilitators send and whenever: no visit counts twice, and nobody graduates without the evidence for it."""

from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from contracts.envelope import Event
from contracts.outcomes import (
    CaseClosed,
    FollowUpDue,
    FollowUpMissed,
    FollowUpRecorded,
    FollowUpScheduled,
    HouseholdGraduated,
    HouseholdRelapsed,
)
from contracts.registry import ParticipantRejected, RejectionReason
from services.kit.refusal import Refused
from services.outcomes.calendar import beginning_of
from services.outcomes.follow_ups.decisions import RecordFollowUp, fall_due, miss, record, schedule
from services.outcomes.people.state import PERSONS
from services.outcomes.rules.state import RULES
from tests.outcomes.facts import BEFORE, COMPLETED_AT, LINE, NOW, Story, default_rules, held, known, visit

MONTHS = {1: date(2024, 8, 12), 3: date(2024, 10, 12), 6: date(2025, 1, 12), 12: date(2025, 7, 12)}
REQUIRED = {"food", "clean_water", "sanitation", "housing"}


class Oracle:
    """What may be said of one case, by the facts alone. It knows nothing of rows and of how decisions come about."""

    def __init__(self) -> None:
        self.status: dict[int, str] = {}
        self.visits: dict[str, FollowUpRecorded] = {}
        self.missed: dict[int, date] = {}
        self.standing = "followed"
        self.closed = False

    def hear(self, fact: Event) -> None:
        assert not self.closed, "something was decided on a closed case"
        match fact:
            case FollowUpScheduled():
                assert fact.follow_up not in self.status
                self.status[fact.follow_up] = "scheduled"
            case FollowUpDue():
                assert self.status[fact.follow_up] == "scheduled"
                self.status[fact.follow_up] = "due"
            case FollowUpMissed():
                assert self.status[fact.follow_up] == "due"
                self.status[fact.follow_up] = "missed"
                self.missed[fact.follow_up] = fact.due_on
            case FollowUpRecorded():
                self._recorded(fact)
            case HouseholdGraduated():
                assert self.standing != "graduated", "graduated twice without a relapse between"
                self._graduated(fact)
                self.standing = "graduated"
            case HouseholdRelapsed():
                assert self.standing == "graduated"
                (found,) = fact.evidence
                assert found.visit_id == self._in_order()[-1].visit_id
                assert found.per_person_rupiah < LINE
                self.standing = "relapsed"
            case CaseClosed():
                self.closed = True

    def _recorded(self, fact: FollowUpRecorded) -> None:
        assert self.status[fact.follow_up] != "recorded", "a follow-up was recorded twice"
        assert fact.visit_id not in self.visits, "a visit was recorded twice"
        income = sum(source.monthly_rupiah for source in fact.income) // fact.people
        assert (fact.against_line.per_person_rupiah, fact.against_line.above) == (income, income >= LINE)
        assert fact.late == (fact.captured_at >= beginning_of(MONTHS[fact.follow_up] + timedelta(days=15)))
        self.status[fact.follow_up] = "recorded"
        self.missed.pop(fact.follow_up, None)
        self.visits[fact.visit_id] = fact

    def _in_order(self) -> list[FollowUpRecorded]:
        """The visits by when they were made; of those of one moment, the one that was due later comes later."""
        return sorted(self.visits.values(), key=lambda visit: (visit.captured_at, visit.follow_up))

    def check_standing(self) -> None:
        """What the last visits make of the household has been decided: neither too much nor too little."""
        made = self._in_order()
        if self.standing == "graduated":
            assert made[-1].against_line.above, "the latest visit is below the line"
        elif len(made) >= 2 and made[-1].follow_up >= 6 and not self._missed_between(made[-2], made[-1]):
            assert not all(self._is_good(visit) for visit in made[-2:]), "they have earned their graduation"

    def _is_good(self, visit: FollowUpRecorded) -> bool:
        kinds = {source.livelihood for source in visit.income if source.monthly_rupiah}
        met = {str(need.need) for need in visit.needs if need.met}
        return visit.against_line.above and len(kinds) >= 2 and met >= REQUIRED

    def _missed_between(self, one: FollowUpRecorded, other: FollowUpRecorded) -> bool:
        return any(one.captured_at < beginning_of(day) <= other.captured_at for day in self.missed.values())

    def _graduated(self, fact: HouseholdGraduated) -> None:
        made = self._in_order()[-2:]
        assert [v.visit_id for v in made] == [found.visit_id for found in fact.evidence], "the last two visits"
        assert fact.follow_up == made[-1].follow_up >= 6
        for seen, found in zip(made, fact.evidence, strict=True):
            assert found.per_person_rupiah == sum(s.monthly_rupiah for s in seen.income) // seen.people >= LINE
            assert len({s.livelihood for s in seen.income if s.monthly_rupiah}) == found.livelihoods >= 2
            assert {need.need for need in seen.needs if need.met} == set(found.needs_met) >= REQUIRED
        assert not self._missed_between(*made), "a missed visit stands between"


class OneCase(Story):
    def __init__(self) -> None:
        super().__init__(now=BEFORE)
        self.oracle = Oracle()
        self.told(*known("sari"))
        self.at(COMPLETED_AT).told(*held("sari"))
        self.at(NOW).given(*default_rules())
        self.happen(schedule(self.case("sari"), self.the(RULES, "follow_up_plan")))

    def happen(self, decided: list[Event]) -> None:
        for fact in decided:
            self.oracle.hear(fact)
        self.given(*decided)

    def day(self, instant: datetime) -> None:
        self.now = max(instant, self.now)
        self.happen(fall_due(self.case("sari"), self.visits("sari"), self.row(PERSONS, "sari"), self.now))
        self.happen(miss(self.case("sari"), self.visits("sari"), self.now))

    def visited(self, follow_up: int, made_at: datetime, visit_id: str, found: dict[str, Any]) -> None:
        body = visit(follow_up, made_at, visit_id=visit_id, **found)
        try:
            command = RecordFollowUp.model_validate(body)
            rule, person = self.row(RULES, "graduation"), self.row(PERSONS, "sari")
            case, visits = self.case("sari"), self.visits("sari")
            decided = record(case, visits, person, rule, command, "pendamping-1", self.now)
        except Refused:
            return
        self.happen(decided)
        self.oracle.check_standing()

    def step(self, step: Any) -> None:
        match step:
            case ("day", days):
                self.day(self.now + timedelta(days=days))
            case ("visit", follow_up, days_ago, visit_id, seen):
                self.visited(follow_up, self.now - timedelta(days=days_ago), visit_id, seen)
            case ("rejected",):
                self.rejected()

    def compare(self) -> None:
        """The rows say what the oracle heard."""
        case = self.case("sari")
        assert (case.standing, case.is_open) == (self.oracle.standing, not self.oracle.closed)
        for row in self.visits("sari"):
            expected = self.oracle.status[row.months]
            dropped = self.oracle.closed and expected in ("scheduled", "due")
            assert row.status == ("dropped" if dropped else expected)

    def rejected(self) -> None:
        for fact in self._told(ParticipantRejected(participant_id="sari", reason=RejectionReason.MOVED)):
            self.oracle.hear(fact)


GOOD: dict[str, Any] = {}
founds = st.one_of(
    st.just(GOOD),
    st.just({"per_person": LINE}),
    st.fixed_dictionaries(
        {
            "per_person": st.sampled_from([0, LINE - 1, LINE, 400_000]),
            "people": st.integers(1, 6),
            "needs": st.sampled_from(
                [[{"need": need, "met": True} for need in sorted(REQUIRED)], [{"need": "food", "met": True}], []]
            ),
        }
    ),
)
ways = st.fixed_dictionaries(
    {
        "made": st.sampled_from(["in time", "in time", "in time", "late", "never"]),
        "days": st.integers(-7, 13),
        "told": st.sampled_from(["at once", "at once", "before the next", "after the next"]),
        "found": founds,
    }
)
oddities = st.lists(
    st.one_of(
        st.tuples(st.just("day"), st.integers(1, 60)),
        st.tuples(
            st.just("visit"),
            st.sampled_from(sorted(MONTHS)),
            st.integers(-3, 40),  # days ago
            st.sampled_from(["v-1", "v-3", "v-6", "v-12", "another", "yet-another"]),
            founds,
        ),
        st.just(("rejected",)),
    ),
    max_size=4,
)


# A year that fails is short enough to be read as it is; to shrink one takes minutes.
@settings(max_examples=300, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(year=st.tuples(ways, ways, ways, ways), odd=st.lists(oddities, min_size=4, max_size=4))
def test_facilitators_may_send_what_they_like(year: Any, odd: Any):
    world = OneCase()
    waiting: list[tuple[int, datetime, dict[str, Any]]] = []
    for (months, due_on), way, between in zip(MONTHS.items(), year, odd, strict=True):
        made_at = beginning_of(due_on + timedelta(days=way["days"] + (30 if way["made"] == "late" else 0)))
        untold, waiting = waiting, []
        world.day(beginning_of(due_on - timedelta(days=7)))
        if way["made"] != "never":
            if way["told"] == "at once":
                world.day(made_at)
                world.visited(months, made_at, f"v-{months}", way["found"])
            else:
                waiting.append((months, made_at, way["found"]))
        for told in untold:
            world.visited(told[0], told[1], f"v-{told[0]}", told[2])
        if way["told"] == "before the next":
            world.day(made_at)
            for told in waiting:
                world.visited(told[0], told[1], f"v-{told[0]}", told[2])
            waiting = []
        for step in between:
            world.step(step)
        world.day(beginning_of(due_on + timedelta(days=40)))
    world.compare()


def test_the_story_reaches_graduations_and_relapses():
    """The property above would hold of a case in which nothing ever happens: here is one in which it does."""
    world = OneCase()
    for months, per_person in ((1, 0), (3, 400_000), (6, 400_000), (12, 0)):
        world.day(beginning_of(MONTHS[months]))
        world.visited(months, world.now, f"v-{months}", {"per_person": per_person})
    assert (world.oracle.standing, world.oracle.closed) == ("relapsed", True)
