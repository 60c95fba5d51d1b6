"""Cooperatives: what a report of an annual meeting has to say, and which meeting counts as the last."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.outcomes import AnnualMeetingRecorded, MemberRecruited
from services.kit.refusal import Refused
from services.outcomes.cooperatives.decisions import overdue_before, record_meeting
from services.outcomes.cooperatives.state import COOPERATIVES, Cooperative
from services.outcomes.state import TABLES
from tests.outcomes.reports import COOPERATIVE, IN_MALAKA, LAST_WEEK, NOW, SARI, SARIS_NIK, VILLAGE, met
from tests.support.scenario import Scenario


def after(*reports: Any) -> Cooperative:
    """The cooperative once these meetings were reported, one after the other."""
    story = Scenario(TABLES, NOW)
    for fact in reports:
        story.given(*record_meeting(story.row(COOPERATIVES, COOPERATIVE), fact, NOW))
    return story.the(COOPERATIVES, COOPERATIVE)


@pytest.mark.parametrize(
    ("code", "dotted"),
    [(VILLAGE, VILLAGE), ("5201012002", VILLAGE), ("52.01.01", "52.01.01"), ("520101", "52.01.01"), (IN_MALAKA,) * 2],
)
def test_a_meeting_is_recorded_with_our_area_code(code: str, dotted: str):
    [event] = record_meeting(None, met(area_code=code), NOW)
    assert event == AnnualMeetingRecorded(
        cooperative_number=COOPERATIVE,
        name="Koperasi Tenun Kebon Ayu",
        area_code=dotted,
        year=2023,
        held_on=date(2024, 3, 18),
        members=42,
        net_surplus_rupiah=18_500_000,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"number": SARIS_NIK}, {"cooperative_number"}),
        ({"name": ""}, {"name"}),
        ({"name": "12345"}, {"name"}),
        ({"name": "x" * 201}, {"name"}),
        ({"name": "Koperasi\nTenun"}, {"name"}),
        ({"name": f"Koperasi {SARIS_NIK}"}, {"name"}),
        ({"area_code": "52.01"}, {"area_code"}),
        ({"area_code": "52.01.99"}, {"area_code"}),
        ({"area_code": "Lombok Barat"}, {"area_code"}),
        ({"year": 2025}, {"year"}),
        ({"year": 23}, {"year"}),
        ({"held_on": date(2024, 9, 3)}, {"held_on"}),
        ({"members": 0}, {"members"}),
        ({"number": "", "name": " ", "area_code": "", "year": 0, "held_on": date(2025, 1, 1), "members": -1},
         {"cooperative_number", "name", "area_code", "year", "held_on", "members"}),
    ],
)  # fmt: skip
def test_a_meeting_is_refused_with_all_that_is_wrong_with_it(changes: dict[str, Any], expected: set[str]):
    with pytest.raises(Refused) as refused:
        record_meeting(None, met(**changes), NOW)
    assert {problem.field for problem in refused.value.fields} == expected
    assert SARIS_NIK not in f"{refused.value} {refused.value.fields}"


def test_a_loss_is_told_as_it_was():
    assert after(met(net_surplus_rupiah=-1_250_000)).net_surplus_rupiah == -1_250_000


def test_a_meeting_that_is_known_as_the_last_is_not_told_again_and_a_correction_is():
    known = after(met())
    assert record_meeting(known, met(), NOW) == []
    assert len(record_meeting(known, met(members=43), NOW)) == 1


MEETINGS = [
    met(year=2021, held_on=date(2022, 5, 2), members=30),
    met(year=2022, held_on=date(2023, 3, 1), members=35),
    met(year=2022, held_on=date(2023, 6, 1), members=36),
    met(year=2023, held_on=date(2024, 3, 18), members=42, name="Koperasi Tenun Baru"),
]


@given(st.permutations(MEETINGS))
def test_in_whatever_order_meetings_are_reported_the_last_one_counts(reports: list[Any]):
    last = after(*reports)
    assert (last.meeting_year, last.meeting_held_on, last.members) == (2023, date(2024, 3, 18), 42)
    assert last.name == "Koperasi Tenun Baru"


def test_a_cooperative_is_known_by_whom_it_took_in_before_a_meeting_was_reported():
    recruited = MemberRecruited(
        cooperative_number=COOPERATIVE, participant_id=SARI, intervention_id="i-1", joined_on=LAST_WEEK
    )
    story = Scenario(TABLES, NOW).given(recruited)
    before = story.the(COOPERATIVES, COOPERATIVE)
    assert (before.name, before.area_code, before.recruited) == (None, "52", 1)
    story.given(*record_meeting(before, met(), NOW))
    known = story.the(COOPERATIVES, COOPERATIVE)
    assert (known.name, known.area_code, known.recruited) == ("Koperasi Tenun Kebon Ayu", VILLAGE, 1)


def test_a_meeting_is_overdue_after_eighteen_months_by_the_calendar_in_mataram():
    assert overdue_before(NOW) == date(2023, 3, 2)
    assert overdue_before(datetime(2024, 8, 30, 16, 0, tzinfo=UTC)) == date(2023, 2, 28)  # 31 August there
