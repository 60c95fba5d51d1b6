"""Business units: planned on a manager's case, and launched once."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.envelope import Event
from contracts.outcomes import BusinessUnitLaunched, BusinessUnitPlanned, CaseClosed, ClosingReason
from services.kit.refusal import Refused
from services.outcomes.business_units.decisions import (
    MOST_UNITS,
    LaunchBusinessUnit,
    PlanBusinessUnit,
    launch,
    plan,
)
from services.outcomes.business_units.state import BUSINESS_UNITS, BusinessUnit
from tests.outcomes.facts import COMPLETED_AT, NOW, VILLAGE, Story, held

WISH: dict[str, Any] = {
    "cooperative_number": "5208020050007",
    "sector": "fishery",
    "planned_on": "2024-07-12",
    "launch_by": "2024-12-31",
    "capital_rupiah": 7_500_000,
    "jobs": 3,
}


def wish(**change: Any) -> PlanBusinessUnit:
    return PlanBusinessUnit.model_validate(WISH | change)


def launched(on: str = "2024-07-15", jobs: int = 2) -> LaunchBusinessUnit:
    return LaunchBusinessUnit(launched_on=date.fromisoformat(on), jobs=jobs)


class Manager(Story):
    def __init__(self) -> None:
        super().__init__(now=COMPLETED_AT)
        self.told(*held("sari"))
        self.at(NOW)

    def planned(self, unit_id: str = "u-1", **change: Any) -> list[Event]:
        units = self.of_stream(BUSINESS_UNITS, "sari")
        decided = plan(self.case("sari"), units, unit_id, wish(**change), self.now)
        self.given(*decided)
        return decided

    def unit(self) -> BusinessUnit | None:
        return self.row(BUSINESS_UNITS, "sari", "u-1")


def test_a_unit_is_planned_and_launched():
    story = Manager()
    (planned,) = story.planned()
    assert planned == BusinessUnitPlanned(case_id="sari", unit_id="u-1", area_code=VILLAGE, **wish().model_dump())
    assert story.case("sari").business_units == 1
    (done,) = launch(story.case("sari"), story.unit(), launched(), NOW)
    assert done == BusinessUnitLaunched(case_id="sari", unit_id="u-1", launched_on=date(2024, 7, 15), jobs=2)
    story.given(done)
    unit = story.the(BUSINESS_UNITS, "sari", "u-1")
    assert (unit.status, unit.jobs_planned, unit.jobs) == ("launched", 3, 2)


def test_a_launch_that_is_told_again_changes_nothing_and_another_is_refused():
    story = Manager()
    story.planned()
    story.given(*launch(story.case("sari"), story.unit(), launched(), NOW))
    assert launch(story.case("sari"), story.unit(), launched(), NOW) == []
    with pytest.raises(Refused, match="already-launched"):
        launch(story.case("sari"), story.unit(), launched(jobs=3), NOW)


def test_a_case_whose_plan_is_completed_may_still_tell_of_a_launch_but_plans_nothing():
    story = Manager()
    story.planned()
    story.given(CaseClosed(case_id="sari", because=ClosingReason.PLAN_COMPLETED))
    assert launch(story.case("sari"), story.unit(), launched(), NOW)
    with pytest.raises(Refused, match="case-closed"):
        story.planned("u-2", sector="trade")


def test_a_case_of_who_is_no_participant_any_more_tells_nothing():
    story = Manager()
    story.planned()
    story.given(CaseClosed(case_id="sari", because=ClosingReason.DECEASED))
    with pytest.raises(Refused, match="case-closed"):
        launch(story.case("sari"), story.unit(), launched(), NOW)


def test_days_have_to_follow_one_another_and_the_calendar():
    story = Manager()
    with pytest.raises(Refused, match="date-in-the-future"):
        story.planned(planned_on="2024-07-16")
    with pytest.raises(Refused, match="launch-before-plan"):
        story.planned(launch_by="2024-07-11")
    story.planned()
    with pytest.raises(Refused, match="date-in-the-future"):
        launch(story.case("sari"), story.unit(), launched("2024-07-16"), NOW)
    with pytest.raises(Refused, match="launch-before-plan"):
        launch(story.case("sari"), story.unit(), launched("2024-07-11"), NOW)
    with pytest.raises(Refused, match="no-such-business-unit"):
        launch(story.case("sari"), None, launched(), NOW)


def test_the_same_plan_twice_and_plans_without_end_are_refused():
    story = Manager()
    story.planned()
    with pytest.raises(Refused, match="already-planned"):
        story.planned("u-2")
    for n in range(MOST_UNITS - 1):
        story.planned(f"u-{n + 2}", capital_rupiah=n)
    with pytest.raises(Refused, match="too-many-units"):
        story.planned("u-99", sector="trade")


@pytest.mark.parametrize(
    "change",
    [
        {"cooperative_number": "5270010101900001"},
        {"cooperative_number": "5270 0101 0190 0001"},
        {"cooperative_number": "x"},
        {"sector": "gambling"},
        {"capital_rupiah": -1},
        {"capital_rupiah": 10**15},
        {"jobs": "3"},
        {"planned_on": "yesterday"},
        {"name": "Ibu Sari"},
    ],
)
def test_a_plan_of_a_wrong_form_is_refused_without_being_quoted(change: dict[str, Any]):
    with pytest.raises(ValidationError) as refused:
        wish(**change)
    assert "5270010101900001" not in str(refused.value)
