"""What a second list does to what a first one listed, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from pydantic_core import from_json

from services.kit.database import session
from services.kit.transaction import acting_as
from services.registry.__main__ import reindex
from services.registry.snapshots import queries
from services.registry.snapshots.applying import apply_next
from services.registry.snapshots.families import ListsWaiting, reindex_families
from tests.registry.facts import default_rules, nominated, verified
from tests.registry.importing import ELSEWHERE, OTHER_VILLAGE, PEPPER, Registry, csv_of, family, nik, running_registry
from tests.support.databases import FreshDatabase


@pytest.fixture
async def registry(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Registry]:
    async with running_registry(fresh_database, tmp_path) as running:
        yield running


async def test_a_second_list_changes_ranks_confirms_and_delists(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2), family(3)), dated="2024-01-31")
    changed = family(2, desil_kesejahteraan=2, persentil=11)
    snapshot = await registry.take_in(csv_of(family(1), changed, family(4)), dated="2024-06-30")
    counts = ("households_on_list", "people_on_list", "listed", "rank_changed", "unchanged", "delisted", "unresolved")
    assert [snapshot[name] for name in counts] == [3, 6, 1, 1, 1, 1, 0]
    homes = await registry.households()
    assert {family_id: (home["status"], home["welfare_decile"]) for family_id, home in homes.items()} == {
        "K-1": ("listed", 1),
        "K-2": ("listed", 2),
        "K-3": ("delisted", 1),
        "K-4": ("listed", 1),
    }
    on_list = [home for home in homes.values() if home["snapshot_id"] == snapshot["snapshot_id"]]
    assert len(on_list) == snapshot["households_on_list"]
    assert homes["K-3"]["delisted_by"] == snapshot["snapshot_id"]
    assert homes["K-2"]["version"] == 2


async def test_the_planner_knows_how_many_are_listed_before_each_is_held_against_the_list(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2), family(3)), dated="2024-01-31")
    known = await registry.pool.fetch(
        "SELECT relname, reltuples::int FROM pg_class WHERE relname IN ('household', 'household_family')"
    )
    assert dict(known) == {"household": 3, "household_family": 3}


async def test_a_household_is_matched_by_its_heads_nik_after_its_id_changed_and_then_by_the_new_id(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2)), dated="2024-01-31")
    before = await registry.households()
    snapshot = await registry.take_in(csv_of(family(1, id_keluarga="N-1"), family(2)), dated="2024-03-31")
    assert (snapshot["unchanged"], snapshot["listed"], snapshot["delisted"]) == (2, 0, 0)
    homes = await registry.households()
    assert homes["N-1"]["household_id"] == before["K-1"]["household_id"]
    assert (await registry.details_of(homes["N-1"]))["address"] == "Dusun B"
    without_nik = family(1, id_keluarga="N-1")
    without_nik[0]["nik"] = ""
    snapshot = await registry.take_in(csv_of(without_nik, family(2)), dated="2024-06-30")
    assert (snapshot["unchanged"], snapshot["listed"], snapshot["delisted"]) == (2, 0, 0)


async def test_several_candidates_are_reported_and_none_of_them_is_touched_or_delisted(registry: Registry):
    twins = [family(1), family(2, nik=nik(1))[:1]]
    await registry.take_in(csv_of(*twins), dated="2024-01-31")
    before = await registry.households()
    snapshot = await registry.take_in(csv_of(family(1, id_keluarga="N-1"), family(3)), dated="2024-06-30")
    assert (snapshot["unresolved"], snapshot["delisted"], snapshot["listed"]) == (1, 0, 1)
    problems = (await registry.get(f"/snapshots/{snapshot['snapshot_id']}/problems")).json()["items"]
    assert [(problem["row"], problem["code"]) for problem in problems] == [(2, "several-candidates")]
    after = await registry.households()
    assert {family_id: after[family_id] for family_id in before} == before


async def test_only_declared_areas_and_only_the_same_source_are_delisted(registry: Registry):
    elsewhere = family(2, kode_kemdagri=ELSEWHERE)
    await registry.take_in(csv_of(family(1), elsewhere, family(3)), dated="2024-01-31")
    await registry.take_in(csv_of(family(4)), source="DTSEN", dated="2024-02-29")
    snapshot = await registry.take_in(csv_of(family(3)), areas=["52.01"], dated="2024-06-30")
    assert (snapshot["delisted"], snapshot["unchanged"]) == (1, 1)
    homes = await registry.households()
    assert {family_id: home["status"] for family_id, home in homes.items()} == {
        "K-1": "delisted",
        "K-2": "listed",
        "K-3": "listed",
        "K-4": "listed",
    }


async def test_nobody_is_delisted_whose_rows_were_merely_faulty(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2), family(3), family(4)), dated="2024-01-31")
    headless, unreadable = family(1), family(4, desil_kesejahteraan="satu")
    headless[0]["hubungan_kepala_keluarga"] = "Anak"
    snapshot = await registry.take_in(csv_of(headless, family(2), unreadable), dated="2024-06-30")
    assert (snapshot["delisted"], snapshot["unchanged"], snapshot["rows_rejected"]) == (1, 1, 4)
    homes = await registry.households()
    assert {family_id: home["status"] for family_id, home in homes.items()} == {
        "K-1": "listed",
        "K-2": "listed",
        "K-3": "delisted",
        "K-4": "listed",
    }


async def test_a_delisted_household_is_listed_again_as_itself_with_the_same_people(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2)), dated="2024-01-31")
    people = await registry.fetch("SELECT household_id, person_id FROM member ORDER BY 1, 2")
    await registry.take_in(csv_of(family(2)), dated="2024-03-31")
    snapshot = await registry.take_in(csv_of(family(2), family(1)), dated="2024-06-30")
    assert (snapshot["listed"], snapshot["unchanged"]) == (1, 1)
    home = (await registry.households())["K-1"]
    assert (home["status"], home["version"], home["delisted_by"]) == ("listed", 3, None)
    assert await registry.fetch("SELECT household_id, person_id FROM member ORDER BY 1, 2") == people
    assert await registry.value("SELECT count(*) FROM person_search") == 4


async def test_lists_of_one_source_are_applied_in_the_order_in_which_they_came_in(registry: Registry):
    for decile, dated in ((1, "2024-01-31"), (2, "2024-02-29"), (3, "2024-03-31")):
        received = await registry.upload(csv_of(family(1, desil_kesejahteraan=decile, persentil="")), dated=dated)
        assert received.status_code == 201
    await registry.apply()
    home = (await registry.households())["K-1"]
    assert (home["welfare_decile"], str(home["dated"]), home["version"]) == (3, "2024-03-31", 3)
    assert [fact for fact in await registry.facts() if fact.startswith("Snapshot")] == (
        ["SnapshotReceived"] * 3 + ["SnapshotApplied"] * 3
    )


async def test_a_household_that_is_seen_in_another_village_is_reported(registry: Registry):
    await registry.take_in(csv_of(family(1)), dated="2024-01-31")
    snapshot = await registry.take_in(csv_of(family(1, kode_kemdagri=OTHER_VILLAGE)), dated="2024-06-30")
    (problem,) = (await registry.get(f"/snapshots/{snapshot['snapshot_id']}/problems")).json()["items"]
    assert (problem["row"], problem["code"]) == (2, "lives-elsewhere")


async def test_a_newer_rank_gives_verified_participants_another_priority(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2)), dated="2024-01-31")
    home = (await registry.households())["K-1"]
    mother = home["head_person_id"]
    async with registry.context.workplace.transaction(acting_as("test")) as tx:
        participation = [
            fact.model_copy(update={"household_id": home["household_id"], "personal": {}})
            for fact in (nominated(mother), verified(mother))
        ]
        await tx.decide([*default_rules(), *participation])
    changed = family(1, desil_kesejahteraan=3, persentil="")
    snapshot = await registry.take_in(csv_of(changed, family(2)), dated="2024-06-30")
    assert (snapshot["rank_changed"], snapshot["unchanged"]) == (1, 1)
    assert await registry.facts("PriorityChanged") == ["PriorityChanged"]
    parts = from_json(await registry.value("SELECT priority -> 'parts' FROM participant"))
    # Of the poorest decile no longer; a woman who heads the household still.
    assert [part["name"] for part in parts] == ["woman as head", "no assistance yet", "can leave home"]


async def test_the_family_index_can_be_made_anew_under_another_pepper(registry: Registry, tmp_path: Path):
    families = [family(n, nik="") for n in range(1, 4)]
    await registry.take_in(csv_of(*families), dated="2024-01-31")
    before = await registry.fetch("SELECT source, family, household_id FROM household_family ORDER BY household_id")
    assert await reindex_families(registry.context.workplace, PEPPER) == 3
    same = await registry.fetch("SELECT source, family, household_id FROM household_family ORDER BY household_id")
    assert same == before
    (tmp_path / "pepper").write_text("77" * 32)
    assert await reindex_families(registry.context.workplace, bytes.fromhex("77" * 32)) == 3
    snapshot = await registry.take_in(csv_of(*reversed(families)), dated="2024-06-30")
    assert (snapshot["unchanged"], snapshot["listed"], snapshot["delisted"]) == (3, 0, 0)


async def test_an_operator_makes_both_indexes_anew_under_another_pepper(registry: Registry, tmp_path: Path):
    families = [family(1, nik=""), family(2), family(3)]
    await registry.take_in(csv_of(*families), dated="2024-01-31")
    (tmp_path / "pepper").write_text("77" * 32)
    assert await reindex(registry.context.settings) == (6, 3)
    found = await registry.http.post("/people/search", json={"national_id": nik(2)}, headers=registry.headers())
    assert len(found.json()) == 1
    snapshot = await registry.take_in(csv_of(*reversed(families)), dated="2024-06-30")
    assert (snapshot["unchanged"], snapshot["listed"], snapshot["delisted"]) == (3, 0, 0)


async def test_no_index_is_made_anew_while_a_list_waits(registry: Registry):
    await registry.take_in(csv_of(family(1)), dated="2024-01-31")
    before = await registry.fetch("SELECT * FROM household_family")
    assert (await registry.upload(csv_of(family(1), family(2)), dated="2024-06-30")).status_code == 201
    with pytest.raises(ListsWaiting, match="1 lists"):
        await reindex(registry.context.settings)
    assert await registry.fetch("SELECT * FROM household_family") == before
    assert await registry.apply() > 0  # Nobody holds it up afterwards.
    assert await reindex(registry.context.settings) == (4, 2)


async def test_no_list_is_applied_while_the_family_index_is_made_anew(registry: Registry):
    assert (await registry.upload(csv_of(family(1)))).status_code == 201
    async with session(registry.pool) as connection:
        await queries.lead(connection)
        assert await apply_next(registry.context) is False
    assert await registry.apply() > 0, "the lock went with the session, though the pool lives"


async def test_a_list_that_changes_ranks_does_not_wait_for_who_adopts_a_rule(registry: Registry):
    await registry.take_in(csv_of(family(1)), dated="2024-01-31")
    home = (await registry.households())["K-1"]
    mother = home["head_person_id"]
    async with registry.context.workplace.transaction(acting_as("test")) as tx:
        participation = [
            fact.model_copy(update={"household_id": home["household_id"], "personal": {}})
            for fact in (nominated(mother), verified(mother))
        ]
        await tx.decide([*default_rules(), *participation])
    changed = family(1, desil_kesejahteraan=3, persentil="")
    async with registry.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM rule WHERE rule_id = 'priority' FOR UPDATE")
        async with asyncio.timeout(20):
            snapshot = await registry.take_in(csv_of(changed), dated="2024-06-30")
    assert snapshot["rank_changed"] == 1
    assert await registry.facts("PriorityChanged") == ["PriorityChanged"]


async def test_whom_a_list_names_no_longer_leaves_when_the_household_is_listed_again(registry: Registry):
    await registry.take_in(csv_of(family(1, people=3), family(2)), dated="2024-01-31")
    await registry.take_in(csv_of(family(2)), dated="2024-03-31")
    await registry.take_in(csv_of(family(1, people=2), family(2)), dated="2024-06-30")
    rows = await registry.fetch("SELECT left_because, left_on FROM member ORDER BY left_because NULLS FIRST")
    assert [row["left_because"] for row in rows] == [None] * 4 + ["not_on_list"]
    assert rows[-1]["left_on"] == date(2024, 6, 30)
    assert (await registry.households())["K-1"]["people"] == 2
    assert (await registry.facts())[-4:] == ["MemberLeft", "HouseholdListed", "HouseholdConfirmed", "SnapshotApplied"]

    # A later list names them again.
    await registry.take_in(csv_of(family(2, persentil=3)), dated="2024-07-01")
    await registry.take_in(csv_of(family(1, people=3), family(2, persentil=4)), dated="2024-07-02")
    assert await registry.value("SELECT count(*) FROM member WHERE left_because IS NOT NULL") == 0
    assert await registry.value("SELECT count(*) FROM member") == 5
    assert (await registry.households())["K-1"]["people"] == 3
