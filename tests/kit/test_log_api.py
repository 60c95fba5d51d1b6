"""The log over HTTP: proofs that any RFC 6962 client accepts, entries that carry what was hashed, and for whom."""

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from contracts.envelope import proof_bytes, value_digest
from services.kit.app import api_app
from services.kit.checkpoints import make_checkpoint
from services.kit.log_api import MAX_ENTRIES
from services.kit.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from services.kit.notes import Signer, log_name, read_checkpoint
from services.kit.settings import Settings
from tests.audit.reading import envelope_in
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.kit.test_relay import fill, outbox_is_empty
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, relay_of, running, site
from tests.support.lab_service.service import service_of

BATCHES = 4
SIZE = BATCHES * 150


@pytest.fixture
def lab():
    made = Lab()
    yield made
    made.forget()


@dataclass
class Reader:
    """The API of a service whose log has four sealed batches, and an auditor."""

    place: Site
    client: httpx.AsyncClient
    key: Any
    signer: Signer

    async def get(self, path: str, *, roles: tuple[str, ...] = ("auditor",), area: str = "*", **query: Any) -> Any:
        bearer = token(self.key, roles=list(roles), areas=[area])
        return await self.client.get(path, params=query, headers={"Authorization": f"Bearer {bearer}"})

    async def shown(self, path: str, **query: Any) -> Any:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def lines(self, path: str, **query: Any) -> list[Any]:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
async def reader(lab: Lab, fresh_database: FreshDatabase, kafka: str) -> AsyncIterator[Reader]:
    issuer = Issuer()
    key = issuer.publish("first")
    signer = Signer(log_name(lab.service), bytes(32))
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place, served(issuer.app) as url:
        async with running(relay_of(place, kafka).run):
            for _ in range(BATCHES):
                await fill(place, 50)
                await eventually(lambda: outbox_is_empty(place))
                await make_checkpoint(place.pool, lab.service, signer)
        settings = Settings(
            environment="test",
            database_url=place.dsn,
            kafka_bootstrap=kafka,
            token_issuer=ISSUER,
            jwks_url=f"{url}/jwks",
        )

        async def health() -> dict[str, Any]:
            return {"ready": True}

        app = api_app(service_of(lab), settings, place.workplace, health)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lab.test") as client:
            yield Reader(place, client, key, signer)


async def test_every_event_is_proven_to_stand_in_the_log(reader: Reader):
    root = read_checkpoint((await reader.get("/log/checkpoint")).text).root
    for sequence in (0, 1, 255, 256, 300, SIZE - 1):
        proof = await reader.shown(f"/log/{sequence}/proof")
        path = [b64decode(node) for node in proof["path"]]
        assert b64decode(proof["root"]) == root
        assert verify_inclusion(sequence, SIZE, b64decode(proof["leaf"]), path, root)


async def test_a_proof_can_be_had_for_an_older_size(reader: Reader):
    for size in (1, 7, 256, 311):
        proof = await reader.shown(f"/log/{size - 1}/proof", size=size)
        path = [b64decode(node) for node in proof["path"]]
        assert verify_inclusion(size - 1, size, b64decode(proof["leaf"]), path, b64decode(proof["root"]))


async def test_a_row_that_was_changed_has_no_proof_that_fits(reader: Reader):
    pool = reader.place.pool
    await pool.execute("ALTER TABLE log DISABLE TRIGGER USER")
    await pool.execute("UPDATE log SET actor = 'mallory' WHERE id = (SELECT id FROM seal WHERE sequence = 300)")
    proof = await reader.shown("/log/300/proof")
    path = [b64decode(node) for node in proof["path"]]
    assert not verify_inclusion(300, SIZE, b64decode(proof["leaf"]), path, b64decode(proof["root"]))
    await pool.execute("ALTER TABLE seal DISABLE TRIGGER USER")
    await pool.execute("DELETE FROM seal WHERE sequence = 300")
    gone = await reader.get("/log/300/proof")
    assert (gone.status_code, gone.json()["detail"][:34]) == (409, "The event of sequence 300 was seal")


async def test_the_log_is_proven_to_have_only_grown(reader: Reader):
    notes = [read_checkpoint(note) for note in await reader.lines("/log/checkpoints")]
    assert [note.size for note in notes] == sorted(note.size for note in notes)
    assert notes[-1].size == SIZE
    for older in notes:
        proof = await reader.shown("/log/consistency", first=older.size, second=SIZE)
        assert b64decode(proof["first_root"]) == older.root
        path = [b64decode(node) for node in proof["path"]]
        assert verify_consistency(older.size, SIZE, older.root, notes[-1].root, path)
    assert await reader.lines("/log/checkpoints", after=notes[0].size, limit=1) == [
        (await reader.lines("/log/checkpoints"))[1]
    ]


async def test_the_tree_can_be_rebuilt_from_the_entries(reader: Reader):
    entries = await reader.lines("/log/entries", limit=MAX_ENTRIES)
    assert [entry["sequence"] for entry in entries] == list(range(SIZE))
    leaves = [
        leaf_hash(proof_bytes(envelope_in(e), e["sequence"], value_digest(b64decode(e["value"])))) for e in entries
    ]
    grown, _ = Frontier().extend(leaves)
    assert grown.root() == read_checkpoint((await reader.get("/log/checkpoint")).text).root
    kept = await reader.get("/log/leaves", limit=MAX_ENTRIES)
    assert kept.content == b"".join(leaves)
    assert {entry["area_code"] for entry in entries} == {"52.01"}
    tails: dict[str, int] = {}
    for entry in entries:
        place = f"{entry['topic']}/{entry['partition']}"
        assert entry["previous_sequence"] == tails.get(place, -1)
        tails[place] = entry["sequence"]


async def test_any_part_of_the_log_is_the_part_of_the_whole(reader: Reader):
    whole = await reader.lines("/log/entries", limit=MAX_ENTRIES)
    leaves = (await reader.get("/log/leaves", limit=MAX_ENTRIES)).content
    for first, limit in ((0, 1), (149, 2), (150, 151), (155, 200), (599, 5), (600, 5), (9999, 1)):
        assert await reader.lines("/log/entries", first=first, limit=limit) == whole[first : first + limit]
        part = await reader.get("/log/leaves", first=first, limit=limit)
        assert part.content == leaves[32 * first : 32 * (first + limit)], (first, limit)


REFUSED = {
    "/log/600/proof": "a log of 600 events ends before 600",
    "/log/3/proof?size=3": "a log of 3 events ends before 3",
    "/log/3/proof?size=601": "the log has 600 sealed events, not 601",
    "/log/consistency?first=0&second=601": "the log has 600 sealed events, not 601",
    "/log/consistency?first=7&second=6": "7 is above `second`, 6",
    "/log/-1/proof": "",
    "/log/3/proof?size=0": "",
    "/log/entries?limit=0": "",
    f"/log/entries?limit={MAX_ENTRIES + 1}": "",
    "/log/entries?first=-1": "",
    f"/log/entries?first={1 << 63}": "",
    "/log/checkpoints?after=x": "",
}


async def test_what_cannot_be_shown_is_refused_in_words(reader: Reader):
    for path, told in REFUSED.items():
        answer = await reader.client.get(path, headers={"Authorization": f"Bearer {token(reader.key, **AUDITOR)}"})
        assert answer.status_code == 422, (path, answer.text)
        problem = answer.json()
        assert told in problem["detail"], path
        assert problem["errors"] if "errors" in problem else problem["fields"]


AUDITOR: dict[str, Any] = {"roles": ["auditor"], "areas": ["*"]}
PATHS = ("/log/checkpoint", "/log/checkpoints", "/log/0/proof", "/log/consistency?first=1&second=2", "/log/entries")


async def test_only_auditors_and_operators_of_the_whole_country_read_the_log(reader: Reader):
    for path in (*PATHS, "/log/leaves"):
        assert (await reader.client.get(path)).status_code == 401
        for roles, areas, status in (
            (["operator"], ["*"], 200),
            (["auditor"], ["*"], 200),
            (["auditor"], ["52"], 403),
            (["officer", "facilitator", "district", "partner:dinkop", "service:training"], ["*"], 403),
        ):
            bearer = token(reader.key, roles=roles, areas=areas)
            answer = await reader.client.get(path, headers={"Authorization": f"Bearer {bearer}"})
            assert answer.status_code == status, (path, roles, areas, answer.text)


async def test_a_service_that_signed_nothing_yet_says_so(reader: Reader):
    await reader.place.pool.execute("ALTER TABLE checkpoint DISABLE TRIGGER USER")
    await reader.place.pool.execute("DELETE FROM checkpoint")
    answer = await reader.get("/log/checkpoint")
    assert (answer.status_code, "ENTAS_CHECKPOINT_KEY_FILE" in answer.text) == (404, True)
    assert await reader.lines("/log/checkpoints") == []
