"""What training shows over HTTP: the pool, demand, cohorts, programmes, rules; in pages, and by area."""

from datetime import timedelta
from typing import Any

from contracts.training import DeliveryMode
from tests.training.conftest import Training
from tests.training.facts import (
    DAYS,
    IN_LOMBOK_TIMUR,
    LOMBOK_BARAT,
    NOW,
    OTHER_KECAMATAN,
    VILLAGE,
    confirmed,
    defined,
    enrolled,
    known_people,
    listed,
    nominated,
    opened,
    people,
    planned,
    started,
    verified,
)


async def test_the_pool_is_read_in_pages_in_priority_order_and_by_area(training: Training):
    scores = [50, 70, 50, 90, 70, 10, 50]
    facts = [verified(f"p{n}", score, area_code=(VILLAGE, IN_LOMBOK_TIMUR)[n % 2]) for n, score in enumerate(scores)]
    await training.told(*known_people(*facts), nominated("q"))
    officer = training.officer()
    seen: list[str] = []
    page: dict[str, Any] = {"next": None}
    while True:
        more = {} if page["next"] is None else {"cursor": page["next"]}
        page = await officer.shown("/candidates", limit=2, **more)
        seen += [line["participant_id"] for line in page["items"]]
        if page["next"] is None:
            break
    assert seen == ["p3", "p1", "p4", "p0", "p2", "p6", "p5"]
    east = await officer.shown("/candidates", area="52.03")
    assert [line["participant_id"] for line in east["items"]] == ["p3", "p1", "p5"]
    own = await training.caller("facilitator", areas=["52.01"]).shown("/candidates")
    assert [line["participant_id"] for line in own["items"]] == ["p4", "p0", "p2", "p6"]


async def test_whose_verification_is_over_is_out_of_the_pool_even_before_the_registry_says_so(training: Training):
    await training.told(*known_people(verified("ani", expires_at=NOW + timedelta(days=1)), verified("budi", 10)))
    await training.timers_run(NOW + timedelta(days=1))
    pool = await training.officer().shown("/candidates")
    assert [line["participant_id"] for line in pool["items"]] == ["budi"]


async def test_demand_shows_where_to_plan_cohorts(training: Training):
    households = [listed("h-1"), listed("h-2", members=5), listed("h-3", area_code=OTHER_KECAMATAN)]
    await training.told(*households, listed("h-4", area_code=IN_LOMBOK_TIMUR, members=1))
    await training.told(*people(ani=90, budi=80), *known_people(verified("citra", area_code=OTHER_KECAMATAN)))
    await training.given(opened(), defined(), planned(), enrolled("ani", 1))
    officer = training.officer()
    by_kecamatan = await officer.shown("/demand", area=LOMBOK_BARAT)
    assert by_kecamatan == [
        {"area_code": "52.01.01", "name": "Gerung", "households": 2, "people": 9, "verified": 2, "free": 1},
        {"area_code": "52.01.02", "name": "Kediri", "households": 1, "people": 4, "verified": 1, "free": 1},
    ]
    by_village = await officer.shown("/demand", by="village")
    assert [line["area_code"] for line in by_village] == [VILLAGE, OTHER_KECAMATAN, IN_LOMBOK_TIMUR]
    by_kabupaten = await training.caller("district", areas=["52.03"]).shown("/demand", by="kabupaten")
    assert [(line["area_code"], line["households"]) for line in by_kabupaten] == [("52.03", 1)]


async def test_cohorts_are_found_by_area_status_and_programme_in_pages(training: Training):
    cohorts = [
        planned(f"c{n}", number=f"P3KE-2024-{n:02d}", days=tuple(day + timedelta(days=7 * n) for day in DAYS))
        for n in range(3)
    ]
    site = planned("site", number="P3KE-2024-99", delivery_mode=DeliveryMode.ON_SITE, area_code=VILLAGE)
    await training.given(opened(), defined(), *cohorts, site, enrolled("ani", 1, "c0"), confirmed("ani", "c0"))
    await training.given(started("c0"))
    officer = training.officer()

    async def found(**parameters: Any) -> list[str]:
        return [c["cohort_id"] for c in (await officer.shown("/cohorts", **parameters))["items"]]

    assert await found() == ["c0", "site", "c1", "c2"]
    assert await found(area=LOMBOK_BARAT) == ["site"]
    assert await found(status="running") == ["c0"]
    assert await found(programme="another") == []
    first = await officer.shown("/cohorts", limit=3)
    assert [c["cohort_id"] for c in first["items"]] == ["c0", "site", "c1"]
    assert await found(limit=3, cursor=first["next"]) == ["c2"]
    figures = await officer.shown("/figures/cohorts", limit=3)
    assert [(c["cohort_id"], c["attendance_rate"]) for c in figures["items"]] == [
        ("c0", None),
        ("site", None),
        ("c1", None),
    ]
    assert len((await officer.shown("/figures/cohorts", cursor=figures["next"]))["items"]) == 1


async def test_programmes_are_read_in_pages_the_latest_year_first(training: Training):
    years = {"a": 2023, "b": 2024, "c": 2024}
    await training.given(*(opened().model_copy(update={"programme_id": p, "year": y}) for p, y in years.items()))
    page = await training.officer().shown("/programmes", limit=2)
    assert [p["programme_id"] for p in page["items"]] == ["b", "c"]
    page = await training.officer().shown("/programmes", limit=2, cursor=page["next"])
    assert [p["programme_id"] for p in page["items"]] == ["a"]


async def test_rules_over_http(training: Training):
    everywhere = training.officer("*")
    offered = await everywhere.shown("/rules/completion/default")
    offered["definition"]["minimum_attendance_percent"] = 90
    adopted = await everywhere.done("/rules", offered | {"source": "SK Kepala Dinas 12/2025"})
    assert (adopted["rule_version"], [e["rule_version"] for e in adopted["earlier"]]) == (2, [1])
    shown = await training.caller("auditor").shown("/rules")
    assert [(rule["kind"], rule["rule_version"]) for rule in shown] == [("completion", 2), ("confirmation", 1)]


async def test_a_version_that_was_just_told_can_be_waited_for(training: Training):
    await training.told(*people(ani=90))
    answer = await training.client.get(
        "/candidates",
        headers={
            "Authorization": f"Bearer {training.officer().bearer}",
            "Wait-For-Version": "registry.participants/ani=2",
        },
    )
    assert [line["participant_id"] for line in answer.json()["items"]] == ["ani"]
