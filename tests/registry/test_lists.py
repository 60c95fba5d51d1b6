"""Households over HTTP: pages, areas, deciles, and that a look at names is for some and is kept."""

from dataclasses import replace
from typing import Any

import pytest

from contracts.registry import DelistingReason, HouseholdChanged, HouseholdDelisted
from tests.registry.conftest import Registry
from tests.registry.facts import FATHER, HOME, MOTHER, OTHER_VILLAGE, RANK, VILLAGE, listed


def village(number: int) -> str:
    return ("52.01.01.2002", "52.01.01.2003", "52.01.02.2001", "52.02.01.2001", "52.10.01.1001")[number % 5]


async def many(registry: Registry, count: int) -> dict[str, tuple[str, int]]:
    """Lists households round about; id -> area and decile."""
    made = {f"h-{number:02}": (village(number), 1 + number % 4) for number in range(count)}
    await registry.given(
        *[
            listed(
                household_id,
                area_code=area,
                rank=replace(RANK, welfare_decile=decile),
                members=[],
                personal={},
            )
            for household_id, (area, decile) in made.items()
        ]
    )
    return made


async def all_pages(caller: Any, **parameters: Any) -> list[str]:
    ids, cursor = [], {}
    while True:
        page = (await caller.get("/households", **parameters, **cursor)).json()
        ids += [item["household_id"] for item in page["items"]]
        if not page.get("next"):
            return ids
        cursor = {"cursor": page["next"]}


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_pages_hold_everything_once_in_order_of_area(registry: Registry, limit: int):
    made = await many(registry, 20)
    expected = sorted(made, key=lambda household_id: (made[household_id][0], household_id))
    assert await all_pages(registry.officer(), limit=limit) == expected


async def test_an_area_is_what_lies_in_it_and_nothing_that_only_begins_alike(registry: Registry):
    made = await many(registry, 20)
    for area in ("52", "52.01", "52.1", "5201", "52.01.01", "52.01.01.2003", "53"):
        prefix = {"5201": "52.01", "52.1": None}.get(area, area)
        answer = await registry.officer().get("/households", area=area, limit=100)
        if prefix is None:
            assert answer.status_code == 422
            continue
        expected = {h for h, (code, _) in made.items() if f"{code}.".startswith(f"{prefix}.")}
        assert {item["household_id"] for item in answer.json()["items"]} == expected


async def test_callers_see_their_own_areas_whatever_they_ask_for(registry: Registry):
    made = await many(registry, 20)
    caller = registry.caller("district", areas=["52.02", "52.01.01.2003"])
    expected = {h for h, (code, _) in made.items() if code.startswith("52.02") or code == "52.01.01.2003"}
    assert set(await all_pages(caller)) == expected
    assert set(await all_pages(caller, area="52.10")) == set()
    hidden = next(h for h, (code, _) in made.items() if code == "52.10.01.1001")
    assert (await caller.get(f"/households/{hidden}")).status_code == 404


async def test_households_are_found_by_decile_and_status(registry: Registry):
    made = await many(registry, 20)
    await registry.given(HouseholdDelisted(household_id="h-00", reason=DelistingReason.NOT_ON_LIST))
    found = await all_pages(registry.officer(), decile_from=1, decile_to=2, status="listed")
    assert set(found) == {h for h, (_, decile) in made.items() if decile <= 2} - {"h-00"}
    assert await all_pages(registry.officer(), status="delisted") == ["h-00"]


async def test_a_cursor_that_was_not_ours_is_refused(registry: Registry):
    assert (await registry.officer().get("/households", cursor="WyJhIl0")).status_code == 422


# --- One household ----------------------------------------------------------------------------------------------------


async def test_an_officer_sees_who_lives_where_and_the_look_is_kept(home: Registry):
    shown = (await home.officer("52.01").get(f"/households/{HOME}")).json()
    head = shown["members"][0]
    assert (head["person_id"], head["details"]["name"]) == (MOTHER, "Inaq Sari")
    assert (shown["address"], shown["rank"]["welfare_percentile"]) == ("Dusun Karang Anyar", 2)
    looks = await home.pool.fetch("SELECT subject_id, reader, purpose FROM read_log")
    assert {(row["subject_id"], row["reader"]) for row in looks} >= {(HOME, "officer-1"), (FATHER, "officer-1")}
    assert {row["purpose"] for row in looks} == {"household shown"}


async def test_an_auditor_sees_the_figures_and_no_names(home: Registry):
    answer = await home.caller("auditor", areas=["*"]).get(f"/households/{HOME}")
    shown = answer.json()
    assert (shown["people"], shown["members"][0]["details"], shown["address"]) == (3, None, None)
    assert "Inaq" not in answer.text
    assert await home.pool.fetchval("SELECT count(*) FROM read_log") == 0


async def test_an_address_is_not_shown_once_the_household_moved(home: Registry):
    await home.given(HouseholdChanged(household_id=HOME, area_code=OTHER_VILLAGE))
    shown = (await home.officer().get(f"/households/{HOME}")).json()
    assert (shown["area_code"], shown["address"]) == (OTHER_VILLAGE, None)
    assert shown["members"][0]["details"]["name"] == "Inaq Sari"


async def test_lists_hold_no_names(home: Registry):
    answer = await home.officer().get("/households", area=VILLAGE)
    assert len(answer.json()["items"]) == 1
    assert "Sari" not in answer.text


async def test_others_see_no_households_at_all(home: Registry):
    for role in ("operator", "partner:dukcapil", "service:training"):
        caller = home.caller(role, areas=["*"])
        for path in ("/households", f"/households/{HOME}", "/participants", "/funnel", f"/people/{MOTHER}/reads"):
            assert (await caller.get(path)).status_code == 403, (role, path)
