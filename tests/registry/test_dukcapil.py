"""What the civil registry publishes, taken in by the kit's own way: a record, the intake, a reaction, the log."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from contracts.partners import DeathRecorded, HouseholdMoved, IdentityMatched
from services.kit.positions import Place, Record, Standing, take
from services.registry import search
from services.registry.__main__ import SERVICE
from tests.registry.conftest import Registry
from tests.registry.facts import (
    CHILD,
    DETAILS,
    FATHER,
    HOME,
    MOTHER,
    NOW,
    OTHER_VILLAGE,
    TO_VERIFIED,
    TODAY,
    listed,
    nominated,
)
from tests.support.taking import take_all

NIK, FATHERS_NIK, STRANGERS_NIK = "5270014107800000", "5270010101780000", "5270019999990000"
Fact = IdentityMatched | DeathRecorded | HouseholdMoved


def records(*facts: Fact, **headers: str) -> list[Record]:
    return [
        Record(
            topic="partners.dukcapil",
            partition=0,
            offset=offset,
            timestamp=int(NOW.timestamp() * 1000),
            key=fact.national_id.encode(),
            value=fact.model_dump_json().encode(),
            headers=tuple(
                (f"ce_{name}", value.encode())
                for name, value in (
                    {"specversion": "1.0", "id": str(uuid4()), "type": fact.ce_type, "source": "urn:dukcapil"} | headers
                ).items()
            ),
        )
        for offset, fact in enumerate(facts)
    ]


async def taken(registry: Registry, *facts: Fact, **headers: str) -> None:
    """The facts arrive in one batch."""
    piece = take(Place("partners.dukcapil", 0), Standing(), records(*facts, **headers), chained=False)
    async with registry.transaction() as tx:
        await take_all(SERVICE, registry.workplace, tx, [piece])


async def faults(registry: Registry) -> list[tuple[str, str]]:
    answer = await registry.caller("operator", areas=["*"]).get("/rejections")
    return [(fault["field"], fault["reason"]) for item in answer.json()["items"] for fault in item["faults"]]


async def test_an_identity_check_stands_on_the_member(home: Registry):
    await taken(home, IdentityMatched(national_id=NIK, matched=True), IdentityMatched(national_id=NIK, matched=True))
    shown = (await home.officer().get(f"/households/{HOME}")).json()
    assert shown["members"][0]["civil_registry_match"] is True
    assert await home.names("registry.households") == ["HouseholdListed", "MemberIdentityChecked"]


async def test_a_death_takes_the_person_out_of_household_and_programme_once(registry: Registry):
    await registry.given(*TO_VERIFIED)
    died = DeathRecorded(national_id=NIK, died_on=TODAY)
    await taken(registry, died, died)
    await taken(registry, DeathRecorded(national_id=NIK, died_on=TODAY - timedelta(days=1)))
    assert (await registry.names("registry.households"))[1:] == ["MemberLeft"]
    rejected = (await registry.facts("registry.participants"))[-1]
    assert rejected == ("ParticipantRejected", {"participant_id": MOTHER, "reason": "deceased"})
    assert await faults(registry) == []


async def test_the_last_death_delists_the_household(registry: Registry):
    await registry.given(listed(members=listed().members[:2]))
    await taken(
        registry,
        DeathRecorded(national_id=FATHERS_NIK, died_on=TODAY),
        DeathRecorded(national_id=NIK, died_on=TODAY),
    )
    assert (await registry.names("registry.households"))[1:] == ["MemberLeft", "MemberLeft", "HouseholdDelisted"]


async def test_a_household_that_moves_takes_its_participants_along(registry: Registry):
    await registry.given(*TO_VERIFIED, nominated(CHILD))
    await taken(registry, HouseholdMoved(national_id=NIK, to_area_code=OTHER_VILLAGE, moved_on=TODAY))
    page = (await registry.officer().get("/participants", area=OTHER_VILLAGE)).json()
    assert {item["participant_id"] for item in page["items"]} == {MOTHER, CHILD}
    shown = (await registry.officer().get(f"/participants/{MOTHER}")).json()
    assert (shown["status"], shown["all_visits"][0]["visit_id"]) == ("verified", "v-1")
    assert (await registry.officer(OTHER_VILLAGE).get(f"/households/{HOME}")).status_code == 200
    found = await registry.officer(OTHER_VILLAGE).post("/people/search", {"national_id": FATHERS_NIK})
    assert [person["person_id"] for person in found.json()] == [FATHER]


async def test_a_household_that_moves_away_is_off_the_list_and_its_participants_out(registry: Registry):
    await registry.given(*TO_VERIFIED)
    await taken(registry, HouseholdMoved(national_id=NIK, to_area_code="3578011001", moved_on=TODAY))
    assert (await registry.facts("registry.households"))[-1][1]["reason"] == "moved_away"
    assert (await registry.facts("registry.participants"))[-1][1]["reason"] == "moved"


async def test_a_move_after_a_death_in_one_batch_leaves_the_dead_where_they_lived(registry: Registry):
    await registry.given(listed(), nominated(FATHER))
    await taken(
        registry,
        DeathRecorded(national_id=FATHERS_NIK, died_on=TODAY),
        HouseholdMoved(national_id=NIK, to_area_code=OTHER_VILLAGE, moved_on=TODAY),
    )
    assert await registry.names("registry.participants", FATHER) == ["ParticipantNominated", "ParticipantRejected"]


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (
            DeathRecorded(national_id=STRANGERS_NIK, died_on=TODAY),
            ("national_id", "no person with this national id is listed"),
        ),
        (IdentityMatched(national_id="no-number", matched=True), ("national_id", "is not a NIK of 16 digits")),
        (DeathRecorded(national_id=NIK, died_on=TODAY + timedelta(days=1)), ("died_on", "lies in the future")),
        (
            HouseholdMoved(national_id=FATHERS_NIK, to_area_code=OTHER_VILLAGE, moved_on=TODAY),
            ("national_id", "this person is not the head of a listed household"),
        ),
        (
            HouseholdMoved(national_id=NIK, to_area_code="52.01.99.2999", moved_on=TODAY),
            ("to_area_code", "is not in the list of areas"),
        ),
    ],
)
async def test_what_cannot_be_taken_in_is_rejected_by_field_and_the_rest_of_the_batch_goes_on(
    home: Registry, fact: Fact, expected: tuple[str, str]
):
    await taken(home, fact, IdentityMatched(national_id=NIK, matched=True))
    assert await faults(home) == [expected]
    assert (await home.names("registry.households"))[-1] == "MemberIdentityChecked"
    said = json.dumps(await home.facts("partners.dukcapil.rejected"))
    assert fact.national_id not in said


async def test_where_two_persons_bear_the_nik_nothing_is_guessed(home: Registry):
    twin = listed(
        "h-2",
        members=[replace(listed().members[1], person_id="p-twin")],
        personal={"p-twin": DETAILS[MOTHER]},
    )
    await home.given(twin)
    await taken(home, DeathRecorded(national_id=NIK, died_on=TODAY))
    assert await faults(home) == [("national_id", "several listed persons bear this national id")]
    assert "MemberLeft" not in await home.names("registry.households")


async def test_a_message_of_another_source_is_rejected(home: Registry):
    await taken(home, DeathRecorded(national_id=NIK, died_on=TODAY), source="urn:somebody-else")
    assert [field for field, _ in await faults(home)] == ["ce_source"]


async def test_a_partner_sees_its_own_rejections_only(home: Registry):
    await taken(home, DeathRecorded(national_id=STRANGERS_NIK, died_on=TODAY))
    for role, count in (("partner:dukcapil", 1), ("partner:bappeda", 0), ("officer", 1), ("auditor", 1)):
        page = (await home.caller(role, areas=["*"]).get("/rejections")).json()
        assert len(page["items"]) == count
    assert (await home.caller("facilitator", areas=["*"]).get("/rejections")).status_code == 403


async def test_a_batch_is_looked_up_by_one_query(home: Registry, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    ask = search.people_by_national_id

    async def counted(connection: asyncpg.Connection, national_ids: set[str]) -> Any:
        asked.append(len(national_ids))
        return await ask(connection, national_ids)

    monkeypatch.setattr(search, "people_by_national_id", counted)
    await taken(
        home,
        *[IdentityMatched(national_id=nik, matched=True) for nik in (NIK, FATHERS_NIK, STRANGERS_NIK, NIK)],
    )
    assert asked == [3]


async def test_the_dead_are_known_though_their_data_were_erased_since(home: Registry):
    await home.officer().post(f"/people/{MOTHER}/erasure", {"basis": "UU 27/2022 art. 8"})
    await taken(home, DeathRecorded(national_id=NIK, died_on=TODAY))
    assert await faults(home) == [("national_id", "no person with this national id is listed")]
