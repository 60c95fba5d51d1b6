"""Outcomes over HTTP: who may do and see what, what is answered, and what is refused."""

import asyncio
import json
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from contracts.registry import PersonErased
from services.kit.clock import steer
from services.outcomes.calendar import beginning_of
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import (
    BEFORE,
    COMPLETED_AT,
    IN_LOMBOK_TIMUR,
    LINE,
    NOW,
    OTHER_COHORT,
    VILLAGE,
    held,
    known,
    visit,
)

DUE = {1: date(2024, 8, 12), 3: date(2024, 10, 12), 6: date(2025, 1, 12), 12: date(2025, 7, 12)}
PLAN = {
    "cooperative_number": "5208020050007",
    "sector": "fishery",
    "planned_on": "2024-07-12",
    "launch_by": "2024-12-31",
    "capital_rupiah": 7_500_000,
    "jobs": 3,
}


@pytest.fixture
async def cases(outcomes: Outcomes) -> Outcomes:
    """Sari's case in Lombok Barat and Dewi's in Lombok Timur, with the visits of the default plan."""
    await outcomes.told(*known("sari"), *known("dewi", area_code=IN_LOMBOK_TIMUR), at=BEFORE)
    await outcomes.told(
        *held("sari"), *held("dewi", cohort_id=OTHER_COHORT, area_code=IN_LOMBOK_TIMUR), at=COMPLETED_AT
    )
    await outcomes.timers_run(NOW)
    return outcomes


def made(months: int) -> datetime:
    return beginning_of(DUE[months]) + timedelta(hours=3)


async def recorded(outcomes: Outcomes, months: int, person: str = "sari", **more: Any) -> Any:
    """A visit at its day, as the facilitator's device tells it."""
    await outcomes.timers_run(made(months))
    return await outcomes.facilitator().done(f"/cases/{person}/follow-ups", visit(months, made(months), **more))


# --- The way to graduation --------------------------------------------------------------------------------------------


async def test_a_household_is_followed_to_its_graduation_and_relapse(cases: Outcomes):
    standings = [
        (await recorded(cases, months, per_person=per_person))["standing"]
        for months, per_person in ((1, 200_000), (3, 400_000), (6, LINE), (12, LINE - 1))
    ]
    assert standings == ["followed", "followed", "graduated", "relapsed"]
    shown = await cases.officer().shown("/cases/sari")
    assert (shown["status"], shown["closed_because"], shown["graduated_on"]) == (
        "closed",
        "plan_completed",
        "2025-01-12",
    )
    graduated, relapsed = shown["turns"]
    assert [e["visit_id"] for e in graduated["evidence"]] == ["visit-3", "visit-6"]
    assert (graduated["rule_version"], relapsed["evidence"][0]["per_person_rupiah"]) == (1, LINE - 1)
    assert [(v["months"], v["status"], v["above_line"]) for v in shown["visits"]] == [
        (1, "recorded", False),
        (3, "recorded", True),
        (6, "recorded", True),
        (12, "recorded", False),
    ]
    assert (shown["baseline"]["rank"]["welfare_decile"], shown["baseline"]["people"]) == (1, 4)
    assert (await cases.names("sari"))[-3:] == ["FollowUpRecorded", "HouseholdRelapsed", "CaseClosed"]


async def test_a_visit_that_is_sent_again_is_answered_as_done(cases: Outcomes):
    await cases.timers_run(made(1))
    facilitator, body = cases.facilitator(), visit(1, made(1))
    first = await facilitator.post("/cases/sari/follow-ups", body)
    again = await facilitator.post("/cases/sari/follow-ups", body)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.headers["ETag"] == again.headers["ETag"]
    assert (await cases.names("sari")).count("FollowUpRecorded") == 1
    other = await facilitator.post("/cases/sari/follow-ups", body | {"people": 5})
    assert (other.status_code, other.json()["code"]) == (409, "visit-differs")
    assert other.json()["errors"][0]["field"] == "body.people"


async def test_one_visit_sent_many_times_at_once_is_recorded_once(cases: Outcomes):
    await cases.timers_run(made(1))
    facilitator, body = cases.facilitator(), visit(1, made(1))
    answers = await asyncio.gather(*(facilitator.post("/cases/sari/follow-ups", body) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await cases.names("sari")).count("FollowUpRecorded") == 1


async def test_two_visits_for_one_follow_up_at_once_are_one_too_many(cases: Outcomes):
    await cases.timers_run(made(1))
    facilitator = cases.facilitator()
    bodies = [visit(1, made(1), visit_id=f"v-{n}") for n in range(6)]
    answers = await asyncio.gather(*(facilitator.post("/cases/sari/follow-ups", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already-recorded"}


async def test_the_answer_says_what_to_wait_for(cases: Outcomes):
    await cases.timers_run(made(1))
    answer = await cases.facilitator().post("/cases/sari/follow-ups", visit(1, made(1)))
    version = (await cases.officer().shown("/cases/sari"))["version"]
    assert answer.headers["Stream-Version"] == f"outcomes.cases/sari={version}"


# --- What is refused --------------------------------------------------------------------------------------------------


async def test_who_may_do_what(cases: Outcomes):
    await cases.timers_run(made(1))
    body = visit(1, made(1))
    for role in ("district", "auditor", "operator", "partner:dinkop"):
        answer = await cases.caller(role).post("/cases/sari/follow-ups", body)
        assert answer.status_code == 403, role
        assert (await cases.caller(role).post("/cases/sari/business-units", PLAN)).status_code == 403
    elsewhere = await cases.facilitator("pendamping-9", "52.03").post("/cases/sari/follow-ups", body)
    assert elsewhere.status_code == 403
    assert (await cases.caller("partner:dinkop").get("/cases")).status_code == 403
    assert (await cases.caller("facilitator").get("/cases/sari/person")).status_code == 403
    assert (await cases.caller("auditor").get("/cases/sari/person")).status_code == 403
    assert (await cases.facilitator().post("/rules", {})).status_code == 403
    assert (await cases.client.get("/cases")).status_code == 401
    assert await cases.names("sari") == ["CaseOpened", "BaselineRecorded", *["FollowUpScheduled"] * 4, "FollowUpDue"]


@pytest.mark.parametrize(
    ("path", "change", "status", "code"),
    [
        ("/cases/nobody/follow-ups", {}, 404, "no-such-case"),
        ("/cases/sari/follow-ups", {"follow_up": 2}, 422, "no-such-follow-up"),
        ("/cases/sari/follow-ups", {"follow_up": 3}, 422, "visit-too-early"),
        ("/cases/sari/follow-ups", {"captured_at": "2031-01-01T00:00:00Z"}, 422, "visit-in-the-future"),
        ("/cases/sari/follow-ups", {"captured_at": "0001-01-01T00:00:00+14:00"}, 422, "visit-too-early"),
        ("/cases/sari/follow-ups", {"captured_at": "9999-12-31T23:59:59-12:00"}, 422, "visit-in-the-future"),
        ("/cases/sari/follow-ups", {"captured_at": "2024-08-12T10:00:00"}, 422, None),
        ("/cases/sari/follow-ups", {"people": 2**63}, 422, None),
        ("/cases/sari/follow-ups", {"income": [{"livelihood": "farming", "monthly_rupiah": 2**63}]}, 422, None),
        ("/cases/sari/follow-ups", {"needs": [{"need": "food", "met": True}] * 7}, 422, None),
        ("/cases/sari/follow-ups", {"notes": "5270010101900001\x00"}, 422, None),
        ("/cases/sari/follow-ups", {"visit_id": "5270010101900001 '; DROP TABLE case_file"}, 422, None),
        ("/cases/sari/follow-ups", {"national_id": "5270010101900001"}, 422, None),
        ("/cases/%00/follow-ups", {}, 422, None),
        ("/cases/sari%0a/follow-ups", {}, 422, None),
        (f"/cases/{'x' * 65}/follow-ups", {}, 422, None),
    ],
)
async def test_wrong_visits_are_refused_and_never_quoted(cases: Outcomes, path, change, status, code):
    await cases.timers_run(made(1))
    answer = await cases.facilitator().post(path, visit(1, made(1)) | change)
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code
    assert "5270010101900001" not in answer.text
    assert "FollowUpRecorded" not in await cases.names()


@pytest.mark.parametrize("body", [None, [], "visit", 7, {}, {"follow_up": None}, {"income": {"x": {"y": []}}}])
async def test_what_is_no_visit_at_all_is_refused(cases: Outcomes, body: Any):
    answer = await cases.facilitator().post("/cases/sari/follow-ups", body)
    assert answer.status_code == 422


async def test_a_body_nested_without_end_or_too_long_is_refused(cases: Outcomes):
    headers = {
        "Authorization": f"Bearer {cases.facilitator().bearer}",
        "Idempotency-Key": "hostile",
        "Content-Type": "application/json",
    }
    for content, statuses in ((b"[" * 100_000, {400, 422}), (b"{" + b" " * 20_000_000 + b"}", {413, 422})):
        answer = await cases.client.post("/cases/sari/follow-ups", content=content, headers=headers)
        assert answer.status_code in statuses


# --- Business units and rules -----------------------------------------------------------------------------------------


async def test_a_business_unit_over_http(cases: Outcomes):
    facilitator = cases.facilitator()
    unit = await facilitator.done("/cases/sari/business-units", PLAN)
    assert (unit["status"], unit["jobs_planned"]) == ("planned", 3)
    launched = await facilitator.done(
        f"/cases/sari/business-units/{unit['unit_id']}/launch", {"launched_on": "2024-07-14", "jobs": 2}
    )
    assert (launched["status"], launched["jobs"]) == ("launched", 2)
    shown = await cases.officer().shown("/cases/sari")
    assert [u["unit_id"] for u in shown["units"]] == [unit["unit_id"]]
    assert shown["business_units"] == 1
    again = await facilitator.post("/cases/sari/business-units", PLAN)
    assert (again.status_code, again.json()["code"]) == (409, "already-planned")
    unknown = await facilitator.post("/cases/dewi/business-units/none/launch", {"launched_on": "2024-07-14", "jobs": 2})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no-such-business-unit")
    person = await facilitator.post("/cases/dewi/business-units", PLAN | {"cooperative_number": "5270010101900001"})
    assert person.status_code == 422
    assert "5270010101900001" not in person.text


async def test_rules_over_http(cases: Outcomes):
    everywhere = cases.officer("*")
    offered = await everywhere.shown("/rules/graduation/default")
    offered["definition"]["line_rupiah_per_person_month"] = 400_000
    adopted = await everywhere.done("/rules", offered | {"source": "SK Kepala Dinas 12/2025"})
    assert (adopted["rule_version"], [e["rule_version"] for e in adopted["earlier"]]) == (2, [1])
    shown = await cases.caller("auditor").shown("/rules")
    assert [(rule["kind"], rule["rule_version"]) for rule in shown] == [
        ("follow_up_plan", 1),
        ("graduation", 2),
        ("publication", 1),
    ]
    assert (await cases.officer("52").post("/rules", offered)).status_code == 403, "a rule holds everywhere"
    visited = await recorded(cases, 1, per_person=399_999)
    assert (visited["follow_up"]["above_line"], visited["follow_up"]["rule_version"]) == (False, 2)


# --- Reads ------------------------------------------------------------------------------------------------------------


async def ids(
    outcomes: Outcomes, who: str = "officer", areas: tuple[str, ...] = ("52",), **parameters: Any
) -> list[str]:
    page = await outcomes.caller(who, areas=areas).shown("/cases", **parameters)
    return [case["case_id"] for case in page["items"]]


async def test_cases_are_found_by_area_status_standing_and_cohort_in_pages(cases: Outcomes):
    for months in (3, 6):
        await recorded(cases, months)
    assert await ids(cases) == ["dewi", "sari"]
    assert await ids(cases, area="52.01") == ["sari"]
    assert await ids(cases, standing="graduated") == ["sari"]
    assert await ids(cases, status="closed") == []
    assert await ids(cases, cohort=OTHER_COHORT) == ["dewi"]
    assert await ids(cases, who="facilitator", areas=("52.03",)) == ["dewi"]
    assert await ids(cases, areas=("53",)) == []
    first = await cases.officer().shown("/cases", limit=1)
    assert await ids(cases, limit=1, cursor=first["next"]) == ["sari"]
    assert (await cases.officer().get("/cases", cursor="nonsense")).status_code == 422
    assert (await cases.officer().get("/cases", area="52.0")).status_code == 422
    assert (await cases.officer().get("/cases", standing="rich")).status_code == 422


async def test_a_case_of_another_area_is_none(cases: Outcomes):
    answer = await cases.caller("officer", areas=["52.03"]).get("/cases/sari")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-case")
    answer = await cases.caller("officer", areas=["52.03"]).get("/cases/sari/person")
    assert answer.status_code == 404


async def test_follow_ups_are_listed_by_the_day_on_which_they_are_due(cases: Outcomes):
    async def found(who: str = "officer", areas: tuple[str, ...] = ("52",), **parameters: Any) -> list[Any]:
        page = await cases.caller(who, areas=areas).shown("/follow-ups", **parameters)
        return [(f["case_id"], f["months"]) for f in page["items"]]

    assert await found(due="2024-08-11") == []
    assert await found(due="2024-08-12") == [("dewi", 1), ("sari", 1)]
    assert await found(due="2024-10-12", area="52.01") == [("sari", 1), ("sari", 3)]
    await recorded(cases, 1)
    assert await found(due="2024-08-12") == [("dewi", 1)]
    assert await found(due="2024-08-12", status="recorded") == [("sari", 1)]
    assert await found(status="due", facilitator="pendamping-1") == [("dewi", 1)]
    assert await found(status="due", facilitator="pendamping-2") == []
    assert await found(who="facilitator", areas=("52.03",)) == [("dewi", months) for months in DUE]
    assert await found(cohort=OTHER_COHORT, due="2024-12-31") == [("dewi", 1), ("dewi", 3)]
    first = await cases.officer().shown("/follow-ups", limit=2)
    following = await cases.officer().shown("/follow-ups", limit=2, cursor=first["next"])
    assert [(f["case_id"], f["months"]) for f in [*first["items"], *following["items"]]] == [
        ("dewi", 1),
        ("dewi", 3),
        ("sari", 3),
        ("dewi", 6),
    ]
    assert (await cases.officer().get("/follow-ups", due="soon")).status_code == 422


async def test_names_are_for_officers_and_districts_and_each_look_is_logged(cases: Outcomes):
    await recorded(cases, 1, notes="Rumah di RT 3", latitude=-8.58, longitude=116.1)
    seen = await cases.caller("district", areas=["52.01"], subject="district-1").shown(
        "/cases/sari/person", purpose="complaint"
    )
    assert seen == {
        "case_id": "sari",
        "name": "Ibu sari",
        "phone": "+6281200000000",
        "visits": [{"follow_up": 1, "notes": "Rumah di RT 3", "latitude": -8.58, "longitude": 116.1}],
    }
    looks = await cases.pool.fetch("SELECT subject_id, reader, purpose, fields FROM read_log ORDER BY id")
    assert [(look["subject_id"], look["reader"], look["purpose"]) for look in looks] == [
        ("sari", "district-1", "complaint")
    ] * 2
    assert "name" in looks[0]["fields"]
    assert "notes" in looks[1]["fields"]
    everything = json.dumps([await cases.facts(), await cases.officer().shown("/cases/sari")])
    assert "Ibu sari" not in everything
    assert "RT 3" not in everything


async def test_of_an_erased_person_nobody_reads_anything(cases: Outcomes):
    await recorded(cases, 1, notes="Rumah di RT 3")
    cases.authority.erased.add("sari")
    await cases.told(PersonErased(participant_id="sari", household_id="h", area_code=VILLAGE, basis="UU 27/2022"))
    seen = await cases.officer().shown("/cases/sari/person")
    assert (seen["name"], seen["phone"], seen["visits"]) == (None, None, [])
    steer(cases.clock, made(3))
    refused = await cases.facilitator().post("/cases/sari/follow-ups", visit(3, made(3)))
    assert (refused.status_code, refused.json()["code"]) == (409, "case-closed")
