"""Cooperatives as whoever may read sees them: are they alive, and whom did they take in."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from services.kit.clock import steer
from tests.outcomes.agency import Agency, an_agency
from tests.outcomes.reports import COOPERATIVE, VILLAGE, joined, met, opened
from tests.support.databases import FreshDatabase

OTHER, SLEEPING = "5203030500777", "5271030500001"


@pytest.fixture
async def agency(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Agency]:
    async with an_agency(fresh_database, tmp_path) as world:
        yield world


async def test_a_cooperative_shows_its_last_meeting_and_whom_it_took_in(agency: Agency):
    await agency.given(opened())
    await agency.taken(met(), met(year=2022, held_on=date(2023, 3, 1), members=35), met(), joined(), joined())
    await agency.matched()
    assert await agency.caller("district").shown(f"/cooperatives/{COOPERATIVE}") == {
        "cooperative_number": COOPERATIVE,
        "version": 3,
        "name": "Koperasi Tenun Kebon Ayu",
        "area_code": VILLAGE,
        "meeting_year": 2023,
        "meeting_held_on": "2024-03-18",
        "meeting_overdue": False,
        "members": 42,
        "net_surplus_rupiah": 18_500_000,
        "recruited": 1,
    }
    assert await agency.names("outcomes.cooperatives") == ["AnnualMeetingRecorded"] * 2 + ["MemberRecruited"]


async def test_a_meeting_becomes_overdue_as_time_passes(agency: Agency):
    await agency.taken(met())
    first_second_of_the_day = datetime(2025, 9, 17, 16, 0, tzinfo=UTC)  # 18 September in Mataram
    for now, overdue in ((first_second_of_the_day, False), (first_second_of_the_day + timedelta(days=1), True)):
        steer(agency.clock, now)
        shown = await agency.caller("auditor").shown(f"/cooperatives/{COOPERATIVE}")
        assert shown["meeting_overdue"] is overdue, now


async def test_cooperatives_are_listed_by_area_and_by_whether_they_have_missed_a_meeting(agency: Agency):
    await agency.given(opened())
    await agency.taken(
        met(),
        met(OTHER, area_code="52.03.01"),
        met(SLEEPING, area_code="52.71.01", year=2021, held_on=date(2022, 4, 4)),
        joined(number="K-NEW"),
    )
    await agency.matched()
    # They are no persons: the caller's areas do not matter.
    caller = agency.caller("facilitator", areas=["52.01"])
    everything = [COOPERATIVE, OTHER, SLEEPING, "K-NEW"]
    for asked, numbers in (
        ({}, everything),
        ({"area": "52"}, everything),
        ({"area": "52.03"}, [OTHER]),
        ({"overdue": True}, [SLEEPING]),
        ({"overdue": False}, [COOPERATIVE, OTHER]),
        ({"area": "52.01", "overdue": True}, []),
    ):
        items = (await caller.shown("/cooperatives", **asked))["items"]
        assert [item["cooperative_number"] for item in items] == numbers, asked
    first = await caller.shown("/cooperatives", limit=3)
    rest = await caller.shown("/cooperatives", limit=3, cursor=first["next"])
    assert [item["cooperative_number"] for item in first["items"] + rest["items"]] == everything
    assert rest["items"][0]["meeting_overdue"] is None, "of which no meeting was reported"


async def test_a_cooperative_that_nobody_reported_is_not_known(agency: Agency):
    answer = await agency.caller("officer").get("/cooperatives/K-0")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-cooperative")
    assert (await agency.caller("partner:dinkop").get("/cooperatives")).status_code == 403
