"""People: found by name and NIK, corrected, forgotten, and told who looked at their data. Keys for other services."""

import re
from base64 import b64decode
from dataclasses import replace

import pytest

from contracts.registry import PersonDetails, PersonErased
from services.kit.keys import open_sealed
from services.registry import search
from services.registry.__main__ import SERVICE, reindex
from tests.registry.conftest import Registry
from tests.registry.facts import CHILD, DETAILS, FATHER, HOME, MOTHER, TO_VERIFIED, VILLAGE, listed

NIK = "5270014107800000"
BASIS = {"basis": "UU 27/2022 art. 8"}

# --- Finding ----------------------------------------------------------------------------------------------------------


async def test_a_person_is_found_by_a_name_that_is_like_theirs(home: Registry):
    for name in ("Inaq Sari", "INAQ  SARI", "ínaq sari", "inaq", "Inak Sari"):
        found = (await home.officer("52.01").post("/people/search", {"name": name})).json()
        assert (found[0]["person_id"], found[0]["name"], found[0]["area_code"]) == (MOTHER, "Inaq Sari", VILLAGE)


async def test_a_person_is_found_by_nik(home: Registry):
    found = (await home.officer().post("/people/search", {"national_id": NIK})).json()
    assert [(person["person_id"], person["household_id"]) for person in found] == [(MOTHER, HOME)]
    assert (await home.officer().post("/people/search", {"national_id": "5270019999990000"})).json() == []


async def test_nobody_is_found_outside_the_callers_areas(home: Registry):
    for wanted in ({"name": "Inaq Sari"}, {"national_id": NIK}):
        assert (await home.officer("52.02").post("/people/search", wanted)).json() == []


async def test_whoever_is_shown_is_in_the_read_log_and_nobody_else(home: Registry):
    await home.officer().post("/people/search", {"national_id": NIK})
    looks = await home.pool.fetch("SELECT subject_id, reader, purpose FROM read_log")
    assert [tuple(row) for row in looks] == [(MOTHER, "officer-1", "search")]


async def test_a_search_that_asks_for_nothing_is_refused_without_repeating_it(home: Registry):
    for wanted in ({}, {"name": "Sa"}, {"name": "Sari", "national_id": NIK}, {"national_id": "52"}):
        answer = await home.officer().post("/people/search", wanted)
        assert answer.status_code == 422, wanted
        assert NIK not in answer.text


async def test_the_index_holds_no_nik(home: Registry):
    rows = await home.pool.fetch("SELECT * FROM person_search")
    assert len(rows) == 3
    assert not any(re.search("[0-9]{6}", str(row["name"])) for row in rows)
    assert {len(row["national_id"]) for row in rows if row["national_id"]} == {32}


async def test_the_index_is_made_anew_from_what_is_sealed(home: Registry):
    before = await home.pool.fetch("SELECT * FROM person_search ORDER BY person_id")
    await home.pool.execute("UPDATE person_search SET name = 'somebody else', national_id = NULL")
    await home.pool.execute("INSERT INTO person_search VALUES ('stranger', 'h-9', NULL, 'nobody')")
    await home.pool.execute("DELETE FROM person_search WHERE person_id = $1", CHILD)
    assert await search.reindex(home.workplace) == 3
    assert await home.pool.fetch("SELECT * FROM person_search ORDER BY person_id") == before


async def test_an_operator_makes_the_index_anew_by_a_command(home: Registry):
    await home.pool.execute("DELETE FROM person_search")
    assert await reindex(home.settings) == (3, 1)
    assert await home.pool.fetchval("SELECT count(*) FROM person_search") == 3


async def test_making_the_index_anew_takes_more_than_one_batch(home: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "REINDEX_BATCH", 2)
    await home.pool.execute("DELETE FROM person_search")
    assert await search.reindex(home.workplace) == 3
    assert await home.pool.fetchval("SELECT count(*) FROM person_search") == 3


@pytest.mark.parametrize(
    ("name", "normalised"),
    [
        ("  SITI   Amínah ", "siti aminah"),
        ("H. Lalu Muh. Zaini, S.Pd", "h lalu muh zaini s pd"),
        ("Ni Wayan—Ayu", "ni wayan ayu"),
    ],
)
def test_names_are_compared_without_case_accents_and_signs(name: str, normalised: str):
    assert search.normalised_name(name) == normalised


# --- Correcting -------------------------------------------------------------------------------------------------------


async def test_a_correction_is_found_shown_and_told_on_both_streams(registry: Registry):
    await registry.given(*TO_VERIFIED)
    officer = registry.officer()
    answer = await officer.post(f"/people/{MOTHER}/corrections", {"name": "Baiq Dewi", "birth_date": "1960-01-01"})
    assert answer.json() == {"person_id": MOTHER, "corrected": True}
    shown = (await officer.get(f"/participants/{MOTHER}")).json()
    assert (shown["details"]["name"], shown["age_band"]) == ("Baiq Dewi", "60+")
    assert [p["person_id"] for p in (await officer.post("/people/search", {"name": "Baiq Dewi"})).json()] == [MOTHER]
    formerly = (await officer.post("/people/search", {"name": "Inaq Sari"})).json()
    assert MOTHER not in [person["person_id"] for person in formerly]
    assert (await registry.names("registry.households"))[-1] == "MemberCorrected"
    assert (await registry.names("registry.participants"))[-1] == "ParticipantCorrected"


async def test_a_correction_keeps_the_telephone_number_that_a_visit_brought(registry: Registry):
    verified = TO_VERIFIED[-1].model_copy(
        update={"personal": {MOTHER: DETAILS[MOTHER].model_copy(update={"phone": "+6281234567890"})}}
    )
    await registry.given(*TO_VERIFIED[:-1], verified)
    await registry.officer().post(f"/people/{MOTHER}/corrections", {"occupation": "Pedagang"})
    shown = (await registry.officer().get(f"/participants/{MOTHER}")).json()
    assert (shown["details"]["phone"], shown["details"]["occupation"]) == ("+6281234567890", "Pedagang")


async def test_a_correction_of_nothing_is_no_fact(home: Registry):
    answer = await home.officer().post(f"/people/{FATHER}/corrections", {"name": "Amaq Sari"})
    assert answer.json()["corrected"] is False
    assert await home.names("registry.households") == ["HouseholdListed"]


async def test_a_correction_outside_the_officers_areas_is_refused(home: Registry):
    answer = await home.officer("52.02").post(f"/people/{MOTHER}/corrections", {"name": "Baiq Dewi"})
    assert answer.status_code == 403
    assert await home.names("registry.households") == ["HouseholdListed"]


# --- Forgetting -------------------------------------------------------------------------------------------------------


async def test_an_erased_person_can_be_read_and_found_by_nobody(registry: Registry):
    await registry.given(*TO_VERIFIED)
    officer = registry.officer()
    answer = await officer.post(f"/people/{MOTHER}/erasure", BASIS)
    assert "backups" in answer.json()["promise"]
    participant = (await officer.get(f"/participants/{MOTHER}")).json()
    assert (participant["status"], participant["details"]) == ("erased", None)
    household = (await officer.get(f"/households/{HOME}")).json()
    assert [member["details"] and member["details"]["name"] for member in household["members"]] == [
        None,
        "Sari",
        "Amaq Sari",
    ]
    for wanted in ({"name": "Inaq Sari"}, {"national_id": NIK}):
        found = (await officer.post("/people/search", wanted)).json()
        assert MOTHER not in [person["person_id"] for person in found]
    assert await registry.pool.fetchval("SELECT count(*) FROM person_search WHERE person_id = $1", MOTHER) == 0
    assert await registry.pool.fetchval("SELECT wrapped FROM person_key WHERE subject_id = $1", MOTHER) is None
    assert await registry.names("registry.participants", MOTHER) == [
        "ParticipantNominated",
        "VerificationAssigned",
        "VisitRecorded",
        "ParticipantVerified",
        "PersonErased",
    ]
    assert (await officer.post(f"/people/{MOTHER}/corrections", {"name": "Inaq Sari"})).status_code == 410


async def test_erasing_again_is_no_new_fact_and_no_error(home: Registry):
    for _ in range(2):
        assert (await home.officer().post(f"/people/{MOTHER}/erasure", BASIS)).status_code == 200
    assert await home.names("registry.participants") == ["PersonErased"]


async def test_the_index_that_is_made_anew_does_not_know_the_erased(home: Registry):
    await home.officer().post(f"/people/{MOTHER}/erasure", BASIS)
    await search.reindex(home.workplace)
    assert {r["person_id"] for r in await home.pool.fetch("SELECT person_id FROM person_search")} == {FATHER, CHILD}


async def test_the_address_goes_with_the_last_person_of_a_household(home: Registry):
    officer = home.officer()
    for person in (MOTHER, FATHER):
        await officer.post(f"/people/{person}/erasure", BASIS)
    assert (await officer.get(f"/households/{HOME}")).json()["address"] == "Dusun Karang Anyar"
    await home.pool.execute("INSERT INTO household_family VALUES ('P3KE', '\\x01', $1, NULL)", HOME)
    await officer.post(f"/people/{CHILD}/erasure", BASIS)
    assert (await officer.get(f"/households/{HOME}")).json()["address"] is None
    assert await home.pool.fetchval("SELECT count(*) FROM household_family") == 0


async def test_who_was_erased_after_a_backup_stays_erased_where_it_is_restored(home: Registry):
    """The key is back with the backup; the fact comes back with the tail."""
    officer = home.officer()
    kept = {table: await home.pool.fetch(f"SELECT * FROM {table}") for table in ("person_key", "person_search")}
    await officer.post(f"/people/{MOTHER}/erasure", BASIS)
    await home.pool.execute("DELETE FROM person_key WHERE subject_id = ANY($1)", [MOTHER, CHILD])
    for table, rows in kept.items():
        columns = list(rows[0].keys())
        missing = [tuple(row) for row in rows if row[columns[0]] == MOTHER]
        await home.pool.copy_records_to_table(table, records=missing, columns=columns)
    tail = [
        PersonErased(participant_id=person, household_id=HOME, area_code="52.01.01", basis="UU 27/2022 art. 8")
        for person in (MOTHER, CHILD)  # The child, too, was listed after the backup: its key is not there at all.
    ]
    async with home.pool.acquire() as connection, connection.transaction():
        assert SERVICE.redo is not None
        await SERVICE.redo(connection, tail)
    assert await home.pool.fetch("SELECT 1 FROM person_search WHERE person_id = ANY($1)", [MOTHER, CHILD]) == []
    keys = await home.pool.fetch("SELECT subject_id, wrapped FROM person_key WHERE wrapped IS NULL")
    assert {row["subject_id"] for row in keys} == {MOTHER, CHILD}


async def test_the_basis_of_an_erasure_holds_no_number_of_a_person(home: Registry):
    for basis in ("", "at the wish of 5270014107800000", "telephone 081234567890", "12345678"):
        assert (await home.officer().post(f"/people/{MOTHER}/erasure", {"basis": basis})).status_code == 422
    assert await home.names("registry.participants") == []


async def test_who_may_erase_and_whom(home: Registry):
    assert (await home.officer("52.02").post(f"/people/{MOTHER}/erasure", BASIS)).status_code == 403
    assert (await home.caller("district", areas=["52"]).post(f"/people/{MOTHER}/erasure", BASIS)).status_code == 403
    assert (await home.officer().post("/people/nobody/erasure", BASIS)).status_code == 404


# --- Who looked -------------------------------------------------------------------------------------------------------


async def test_a_person_can_be_shown_who_looked_when_and_what_for(home: Registry):
    await home.officer().get(f"/households/{HOME}")
    await home.facilitator().post("/people/search", {"national_id": NIK})
    reads = (await home.officer("52.01").get(f"/people/{MOTHER}/reads")).json()["items"]
    assert [(read["reader"], read["purpose"]) for read in reads] == [
        ("facilitator-7", "search"),
        ("officer-1", "household shown"),
    ]
    assert "national_id" in reads[0]["fields"]
    assert (await home.officer("52.02").get(f"/people/{MOTHER}/reads")).json()["items"] == []
    page = (await home.officer().get(f"/people/{MOTHER}/reads", limit=1)).json()
    rest = (await home.officer().get(f"/people/{MOTHER}/reads", limit=1, cursor=page["next"])).json()
    assert [read["reader"] for read in page["items"] + rest["items"]] == ["facilitator-7", "officer-1"]


# --- Keys -------------------------------------------------------------------------------------------------------------


async def test_a_service_gets_keys_that_open_what_the_log_holds_and_the_look_is_kept(registry: Registry):
    await registry.given(*TO_VERIFIED)
    service = registry.caller("service:training", areas=["*"], subject="service:training")
    answer = await service.post("/keys/unwrap", {"person_ids": [MOTHER, "nobody"], "purpose": "enrolment decree"})
    keys = answer.json()["keys"]
    assert set(keys) == {MOTHER}
    row = await registry.pool.fetchrow(
        "SELECT event_id, value FROM log WHERE stream = $1 ORDER BY id DESC LIMIT 1", MOTHER
    )
    assert row is not None
    sealed = re.search(rb'"personal":\{"p-mother":"([^"]+)"', row["value"])
    assert sealed is not None
    opened = open_sealed(b64decode(keys[MOTHER]), sealed[1].decode(), row["event_id"], MOTHER)
    assert PersonDetails.model_validate_json(opened) == DETAILS[MOTHER]
    reads = (await registry.officer().get(f"/people/{MOTHER}/reads")).json()["items"]
    assert (reads[0]["reader"], reads[0]["purpose"], reads[0]["fields"]) == (
        "service:training",
        "enrolment decree",
        ["key"],
    )


async def test_the_key_of_an_erased_person_is_not_to_be_had(home: Registry):
    await home.officer().post(f"/people/{MOTHER}/erasure", BASIS)
    service = home.caller("service:training", areas=["*"])
    answer = await service.post("/keys/unwrap", {"person_ids": [MOTHER, FATHER], "purpose": "enrolment decree"})
    assert set(answer.json()["keys"]) == {FATHER}


async def test_keys_are_for_services_alone(home: Registry):
    for role in ("officer", "auditor", "operator", "partner:dukcapil", "service:"):
        caller = home.caller(role, areas=["*"])
        answer = await caller.post("/keys/unwrap", {"person_ids": [MOTHER], "purpose": "curiosity"})
        assert answer.status_code == 403, role


async def test_keys_are_given_for_a_purpose_and_at_most_500_at_once(home: Registry):
    for body in (
        {"person_ids": ["p"] * 501, "purpose": "too much"},
        {"person_ids": [MOTHER]},
        {"person_ids": [MOTHER], "purpose": ""},
    ):
        assert (await home.caller("service:training", areas=["*"]).post("/keys/unwrap", body)).status_code == 422
    assert await home.pool.fetchval("SELECT count(*) FROM read_log") == 0


async def test_two_processes_with_the_same_pepper_find_the_same(home: Registry):
    mine = search.national_id_digest(NIK)
    search.use_pepper(b"\x02" * 32)  # the fixture's pepper, given again
    assert search.national_id_digest(NIK) == mine
    search.use_pepper(b"\x03" * 32)
    assert search.national_id_digest(NIK) != mine


async def test_two_households_may_be_listed_with_one_nik_and_both_are_found(home: Registry):
    twin = listed(
        "h-2",
        members=[replace(listed().members[1], person_id="p-twin", head=True)],
        personal={"p-twin": DETAILS[MOTHER]},
    )
    await home.given(twin)
    found = (await home.officer().post("/people/search", {"national_id": NIK})).json()
    assert [person["person_id"] for person in found] == [MOTHER, "p-twin"]
