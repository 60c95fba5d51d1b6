"""What an auditor asks of a log: the events that mention an id, and what is sealed in them; each look is kept."""

import json
from base64 import b64decode
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from contracts.envelope import Envelope, proof_bytes, value_digest
from services.kit.keyring import erase_key
from services.kit.merkle import leaf_hash
from services.kit.relay import Relay
from tests.registry.conftest import Registry
from tests.registry.facts import CHILD, DETAILS, FATHER, HOME, MOTHER, TO_VERIFIED


async def sealed(registry: Registry) -> None:
    """As the relay does it, without Kafka."""
    connection = await asyncpg.connect(registry.settings.database_url)
    try:
        await Relay("/entas/registry", registry.settings.database_url, "localhost:1")._seal(connection)
    finally:
        await connection.close()


@pytest.fixture
async def told(registry: Registry) -> Registry:
    await registry.given(*TO_VERIFIED)
    await sealed(registry)
    return registry


async def mentions(registry: Registry, *ids: str) -> list[dict[str, Any]]:
    answer = await registry.caller("auditor", areas=["*"]).get("/log/mentions", id=list(ids))
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def names(said: list[dict[str, Any]]) -> list[str]:
    return [one["type"].split(".")[2] for one in said]


async def test_every_event_that_mentions_an_id_is_told_with_the_bytes_that_its_leaf_covers(told: Registry):
    of_mother = await mentions(told, MOTHER)
    assert names(of_mother) == [
        "HouseholdListed", "ParticipantNominated", "VerificationAssigned", "VisitRecorded", "ParticipantVerified"
    ]  # fmt: skip
    assert names(await mentions(told, FATHER)) == ["HouseholdListed"]
    assert names(await mentions(told, of_mother[1]["id"])) == ["ParticipantNominated"]
    assert await mentions(told, "mother") == [], "a part of an id is none"
    leaves = await told.pool.fetchval("SELECT hashes FROM tile WHERE level = 0 AND number = 0")
    for said in of_mother:
        envelope = Envelope(
            **{name: said[name] for name in ("id", "type", "source", "topic", "key", "version", "actor")},
            time=datetime.fromisoformat(said["time"]),
            recorded=datetime.fromisoformat(said["recorded"]),
            correlation_id=said["correlation_id"],
            causation_id=said["causation_id"],
        )
        at = said["sequence"]
        leaf = leaf_hash(proof_bytes(envelope, at, value_digest(b64decode(said["value"]))))
        assert leaf == leaves[at * 32 : at * 32 + 32]


async def test_what_is_sealed_is_opened_for_a_purpose_and_each_look_is_in_the_read_log(told: Registry):
    auditor = told.caller("auditor", areas=["*"], subject="inspektorat-3")
    asked = {"sequences": [h["sequence"] for h in await mentions(told, HOME)], "purpose": "pemeriksaan sasaran"}
    opened = {one["sequence"]: one["personal"] for one in (await auditor.post("/log/open", asked)).json()}
    assert opened[asked["sequences"][0]][MOTHER]["name"] == DETAILS[MOTHER].name
    [look] = [
        dict(row)
        for row in await told.pool.fetch("SELECT reader, purpose, fields FROM read_log WHERE subject_id = $1", CHILD)
    ]
    assert look == {"reader": "inspektorat-3", "purpose": "pemeriksaan sasaran", "fields": ["event"]}


async def test_of_an_erased_person_nothing_is_opened_and_of_others_in_the_same_event_all_is(told: Registry):
    async with told.pool.acquire() as connection:
        await erase_key(connection, MOTHER)
    auditor = told.caller("auditor", areas=["*"])
    [listed, *_] = await mentions(told, MOTHER)
    [opened] = (await auditor.post("/log/open", {"sequences": [listed["sequence"]], "purpose": "pemeriksaan"})).json()
    assert opened["personal"][MOTHER] is None
    assert opened["personal"][FATHER]["name"] == DETAILS[FATHER].name


async def test_nobody_else_may_ask(told: Registry):
    for caller in (told.officer(), told.caller("operator", areas=["*"]), told.caller("auditor", areas=["53"])):
        assert (await caller.post("/log/open", {"sequences": [0], "purpose": "ingin tahu"})).status_code == 403
    for caller in (told.officer(), told.caller("auditor", areas=["52"])):
        assert (await caller.get("/log/mentions", id=[MOTHER])).status_code == 403


@pytest.mark.parametrize(
    "asked",
    [
        {"sequences": [0]},
        {"sequences": [], "purpose": "pemeriksaan"},
        {"sequences": [-1], "purpose": "pemeriksaan"},
        {"sequences": list(range(501)), "purpose": "pemeriksaan"},
        {"sequences": [0], "purpose": "nomor 5270010101780000"},
    ],
)
async def test_a_question_that_cannot_be_kept_is_refused(told: Registry, asked: dict[str, Any]):
    assert (await told.caller("auditor", areas=["*"]).post("/log/open", asked)).status_code == 422


async def test_a_sequence_that_is_not_there_opens_nothing(told: Registry):
    asked = {"sequences": [10**12], "purpose": "pemeriksaan"}
    assert (await told.caller("auditor", areas=["*"]).post("/log/open", asked)).json() == []
