"""What other services ask the registry for: keys of their own, made on demand and destroyed, and who bears a number."""

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from services.kit.auth import ServiceToken
from services.kit.keyring import BorrowedKeys
from services.kit.keys import KEY_BYTES, KeysUnavailable, RemoteKeys
from services.kit.people import RemotePeople
from services.kit.refusal import Refused
from tests.kit.issuer import Issuer
from tests.kit.serving import served
from tests.registry.conftest import Registry
from tests.registry.facts import CHILD, DETAILS, FATHER, MOTHER, listed

OWN = "outcomes:intervention:0190d3c2-5e00-7000-8000-000000000001"
NIK = DETAILS[MOTHER].national_id or ""
STRANGER = "5270019999990000"


def seal_for(*subjects: str) -> dict[str, object]:
    return {"person_ids": list(subjects), "purpose": "seal"}


async def looks(registry: Registry) -> list[tuple[str, str, str, list[str]]]:
    rows = await registry.pool.fetch("SELECT subject_id, reader, purpose, fields FROM read_log ORDER BY subject_id")
    return [tuple(row) for row in rows]


# --- Keys of a service's own subjects ---------------------------------------------------------------------------------


async def test_a_key_is_made_on_demand_for_a_subject_that_bears_the_callers_name(registry: Registry):
    outcomes = registry.caller("service:outcomes", areas=["*"], subject="service:outcomes")
    first = (await outcomes.post("/keys/unwrap", seal_for(OWN))).json()["keys"]
    assert set(first) == {OWN}
    assert len(b64decode(first[OWN])) == KEY_BYTES
    again = (await outcomes.post("/keys/unwrap", {"person_ids": [OWN], "purpose": "match"})).json()["keys"]
    assert again == first
    assert await looks(registry) == [
        (OWN, "service:outcomes", "seal", ["key"]),
        (OWN, "service:outcomes", "match", ["key"]),
    ]


async def test_no_key_is_made_for_another_purpose_or_for_whom_the_caller_does_not_own(home: Registry):
    outcomes = home.caller("service:outcomes", areas=["*"])
    before = await home.pool.fetchval("SELECT count(*) FROM person_key")
    answer = await outcomes.post("/keys/unwrap", {"person_ids": [OWN], "purpose": "match"})
    assert answer.json()["keys"] == {}
    foreign = ["nobody", "notifications:staff:7", "outcomes", ":x", "outcomes-2:x", "Outcomes:x"]
    answer = await outcomes.post("/keys/unwrap", seal_for(MOTHER, *foreign))
    assert set(answer.json()["keys"]) == {MOTHER}  # A person's key there is already, as ever.
    assert await home.pool.fetchval("SELECT count(*) FROM person_key") == before


async def test_a_subject_that_bears_a_services_name_is_for_that_service_alone(registry: Registry):
    outcomes = registry.caller("service:outcomes", areas=["*"])
    assert (await outcomes.post("/keys/unwrap", seal_for(OWN))).json()["keys"]
    other = registry.caller("service:training", areas=["*"])
    for purpose in ("match", "seal"):
        answer = await other.post("/keys/unwrap", {"person_ids": [OWN], "purpose": purpose})
        assert answer.json()["keys"] == {}


async def test_a_destroyed_key_is_gone_for_good_and_destroying_again_changes_nothing(registry: Registry):
    outcomes = registry.caller("service:outcomes", areas=["*"])
    await outcomes.post("/keys/unwrap", seal_for(OWN, f"{OWN}-2"))
    wanted = {"subjects": [OWN, OWN, "outcomes:never-made"], "purpose": "matched"}
    assert (await outcomes.post("/keys/destroy", wanted)).json() == {"destroyed": 1}
    assert (await outcomes.post("/keys/destroy", wanted)).json() == {"destroyed": 0}
    assert await registry.pool.fetchval("SELECT wrapped FROM person_key WHERE subject_id = $1", OWN) is None
    # One that was destroyed does not keep the others from being given.
    answer = await outcomes.post("/keys/unwrap", seal_for(OWN, f"{OWN}-2"))
    assert set(answer.json()["keys"]) == {f"{OWN}-2"}


@pytest.mark.parametrize("subject", [MOTHER, "notifications:staff:7", "outcomes", "registry:rejected:dukcapil"])
async def test_nobody_destroys_keys_of_others_and_with_one_of_them_none_is_destroyed(home: Registry, subject: str):
    outcomes = home.caller("service:outcomes", areas=["*"])
    await outcomes.post("/keys/unwrap", seal_for(OWN))
    answer = await outcomes.post("/keys/destroy", {"subjects": [OWN, subject], "purpose": "mischief"})
    assert answer.status_code == 403
    assert await home.pool.fetchval("SELECT count(*) FROM person_key WHERE wrapped IS NULL") == 0


async def test_keys_are_destroyed_by_services_alone(registry: Registry):
    for role in ("officer", "operator", "partner:dinkop", "service:"):
        answer = await registry.caller(role, areas=["*"]).post(
            "/keys/destroy", {"subjects": [OWN], "purpose": "mischief"}
        )
        assert answer.status_code == 403, role


# --- Who bears a number -----------------------------------------------------------------------------------------------


async def test_everybody_who_bears_a_number_is_named_and_in_the_read_log(home: Registry):
    twin = listed(
        "h-2",
        members=[replace(listed().members[1], person_id="p-twin", head=True)],
        personal={"p-twin": DETAILS[MOTHER]},
    )
    await home.given(twin)
    outcomes = home.caller("service:outcomes", areas=["*"], subject="service:outcomes")
    father = DETAILS[FATHER].national_id
    assert father
    answer = await outcomes.post("/people/match", {"national_ids": [NIK, father, STRANGER, NIK]})
    assert answer.json() == {"matches": {NIK: [MOTHER, "p-twin"], father: [FATHER]}}
    assert await looks(home) == [
        (person, "service:outcomes", "match", ["national_id"]) for person in (FATHER, MOTHER, "p-twin")
    ]


async def test_somebody_who_was_erased_is_matched_no_longer(home: Registry):
    await home.officer().post(f"/people/{MOTHER}/erasure", {"basis": "UU 27/2022 art. 8"})
    outcomes = home.caller("service:outcomes", areas=["*"])
    assert (await outcomes.post("/people/match", {"national_ids": [NIK]})).json() == {"matches": {}}


async def test_matching_is_for_services_alone(home: Registry):
    for role in ("officer", "facilitator", "operator", "partner:dinkop"):
        answer = await home.caller(role, areas=["*"]).post("/people/match", {"national_ids": [NIK]})
        assert answer.status_code == 403, role
    assert await looks(home) == []


async def test_what_is_no_list_of_numbers_is_refused_and_no_number_is_repeated_or_logged(
    home: Registry, capfd: pytest.CaptureFixture[str]
):
    outcomes = home.caller("service:outcomes", areas=["*"])
    wrong = [{}, {"national_ids": [NIK, f"{NIK[:-1]}x"]}, {"national_ids": [NIK] * 501}, {"national_ids": NIK}]
    for body in wrong:
        answer = await outcomes.post("/people/match", body)
        assert answer.status_code == 422
        assert NIK[:-1] not in answer.text
    assert (await outcomes.post("/people/match", {"national_ids": [NIK]})).status_code == 200
    printed = "".join(capfd.readouterr())
    assert "/people/match" in printed
    assert NIK[:-1] not in printed


# --- As other services ask --------------------------------------------------------------------------------------------


@dataclass
class Peer:
    """Another service, with its own token, over real HTTP."""

    keys: BorrowedKeys
    people: RemotePeople


@pytest.fixture
async def peer(home: Registry) -> AsyncIterator[Peer]:
    issuer = Issuer()
    issuer.gives = home.caller("service:outcomes", areas=["*"], subject="service:outcomes").bearer
    async with AsyncExitStack() as opened:
        issuer_url = await opened.enter_async_context(served(issuer.app))
        url = await opened.enter_async_context(served(home.app))
        own = ServiceToken(f"{issuer_url}/token", "service:outcomes", "a secret")
        peer = Peer(BorrowedKeys(RemoteKeys(url, own)), RemotePeople(url, own))
        opened.push_async_callback(peer.keys.aclose)
        opened.push_async_callback(peer.people.aclose)
        yield peer


async def test_another_service_seals_under_its_own_subject_and_destroys_the_key(home: Registry, peer: Peer):
    async with home.pool.acquire() as connection:  # Which it does not use: the keys are elsewhere.
        keys = await peer.keys.to_seal(connection, [OWN, CHILD])
        assert await peer.keys.to_open(connection, [OWN, CHILD], "match") == keys
        await peer.keys.destroy([OWN])
        await peer.keys.destroy([OWN])
        assert set(await peer.keys.to_open(connection, [OWN, CHILD], "match")) == {CHILD}
        with pytest.raises(Refused, match="no key for"):
            await peer.keys.to_seal(connection, [OWN])
        with pytest.raises(KeysUnavailable, match="403"):
            await peer.keys.destroy([CHILD])


async def test_another_service_asks_who_bears_a_number(peer: Peer):
    assert await peer.people.match([NIK, STRANGER]) == {NIK: [MOTHER]}
