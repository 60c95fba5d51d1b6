"""Sealing: a blob opens for its event, person and key alone; keys come from a real HTTP registry, in batches."""

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.kit.auth import ServiceToken
from services.kit.keys import (
    KeysUnavailable,
    RemoteKeys,
    Tampered,
    Unreadable,
    encode_keys,
    new_key,
    new_wrapped_keys,
    open_sealed,
    seal,
    seal_many,
    unwrap,
    wrap,
)
from tests.kit.issuer import Issuer, Watch
from tests.kit.serving import served

MASTER = bytes(range(32))
KEY = bytes(range(1, 33))
IDS = st.text(max_size=40)


@given(st.binary(max_size=500), IDS, IDS)
def test_what_was_sealed_opens(plaintext, event, person):
    assert open_sealed(KEY, seal(KEY, plaintext, event, person), event, person) == plaintext


@given(IDS, IDS, IDS, IDS)
def test_a_blob_opens_for_its_own_event_and_person_alone(event, person, other_event, other_person):
    blob = seal(KEY, b"Siti", event, person)
    if (other_event, other_person) != (event, person):
        with pytest.raises(Tampered):
            open_sealed(KEY, blob, other_event, other_person)


@pytest.mark.parametrize("other", [("event", "1person"), ("event1p", "erson"), ("event1\0\6person", "")])
def test_moving_letters_from_one_id_to_the_other_does_not_open(other):
    with pytest.raises(Tampered):
        open_sealed(KEY, seal(KEY, b"Siti", "event1", "person"), *other)


def test_an_id_that_imitates_a_length_does_not_open():
    with pytest.raises(Tampered):
        open_sealed(KEY, seal(KEY, b"Siti", "e", "\0\1x"), "e\0\3", "x")


@given(st.data())
def test_any_changed_byte_is_noticed(data):
    sealed = base64.urlsafe_b64decode(seal(KEY, b"Siti Aminah", "e", "p"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Tampered):
        open_sealed(KEY, base64.urlsafe_b64encode(changed).decode(), "e", "p")


@pytest.mark.parametrize(
    "blob", ["", "AAAA", "no base64!", "ÿÿÿÿ", "A" * 17, base64.urlsafe_b64encode(bytes(27)).decode()]
)
def test_what_is_no_blob_is_tampered(blob):
    with pytest.raises(Tampered, match="person p in event e"):
        open_sealed(KEY, blob, "e", "p")


def test_a_blob_with_signs_put_in_is_tampered():
    blob = seal(KEY, b"Siti", "e", "p")
    with pytest.raises(Tampered):
        open_sealed(KEY, blob[:5] + "\n" + blob[5:], "e", "p")


def test_an_erased_key_is_told_apart_from_tampering():
    blob = seal(KEY, b"Siti", "e", "p")
    with pytest.raises(Unreadable, match="erased"):
        open_sealed({}.get("p"), blob, "e", "p")
    with pytest.raises(Tampered):
        open_sealed(new_key(), blob, "e", "p")


def test_the_same_text_never_gives_the_same_blob():
    assert (
        len({seal(KEY, b"Siti", "e", "p") for _ in range(100)} | set(seal_many([(KEY, b"Siti", "e", "p")] * 100)))
        == 200
    )


def test_a_blob_is_url_safe_and_shows_only_the_length():
    blob = seal(KEY, b"x" * 100, "e", "p")
    assert len(base64.urlsafe_b64decode(blob)) == 12 + 100 + 16
    assert not set(blob) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_a_batch_is_sealed_in_order():
    items = [(new_key(), f"person {number}".encode(), f"e{number}", f"p{number}") for number in range(300)]
    for (key, plaintext, event, person), blob in zip(items, seal_many(items), strict=True):
        assert open_sealed(key, blob, event, person) == plaintext
    assert seal_many([]) == []


def test_a_wrapped_key_opens_for_its_person_and_master_alone():
    wrapped = wrap(MASTER, "p", KEY)
    assert unwrap(MASTER, "p", wrapped) == KEY
    for master, person, data in [
        (KEY, "p", wrapped),
        (MASTER, "q", wrapped),
        (MASTER, "p", wrapped[:-1]),
        (MASTER, "p", b""),
    ]:
        with pytest.raises(Tampered, match=f"person {person}"):
            unwrap(master, person, data)


def test_new_keys_are_wrapped_for_each_person_and_all_differ():
    persons = [f"p{number}" for number in range(300)]
    made = new_wrapped_keys(MASTER, persons)
    assert [unwrap(MASTER, person, wrapped) for person, (_, wrapped) in zip(persons, made, strict=True)] == [
        key for key, _ in made
    ]
    assert len({key for key, _ in made}) == len({wrapped[:12] for _, wrapped in made}) == 300
    assert new_wrapped_keys(MASTER, []) == []


class Registry:
    """The registry's side of POST /keys/unwrap, as its API will answer it."""

    def __init__(self) -> None:
        self.persons = {f"p{number}": new_key() for number in range(1300)}
        self.asked: list[tuple[int, str]] = []
        self.tokens: list[str | None] = []
        self.refuse: list[int] = []
        self.answer: object = None
        self.destroyed: list[list[str]] = []
        self.app = Starlette(
            routes=[
                Route("/keys/unwrap", self._unwrap, methods=["POST"]),
                Route("/keys/destroy", self._destroy, methods=["POST"]),
            ]
        )

    async def _unwrap(self, request: Request) -> Response:
        body = await request.json()
        self.tokens.append(request.headers.get("authorization"))
        if self.refuse:
            return Response(status_code=self.refuse.pop(0))
        self.asked.append((len(body["person_ids"]), body["purpose"]))
        found = {person: self.persons[person] for person in body["person_ids"] if person in self.persons}
        return JSONResponse({"keys": encode_keys(found)} if self.answer is None else self.answer)

    async def _destroy(self, request: Request) -> Response:
        if self.refuse:
            return Response(status_code=self.refuse.pop(0))
        subjects = (await request.json())["subjects"]
        self.destroyed.append(subjects)
        gone = [self.persons.pop(subject, None) for subject in subjects]
        return JSONResponse({"destroyed": len([key for key in gone if key])})


@pytest.fixture
async def registry():
    issuer, registry = Issuer(), Registry()
    async with served(issuer.app) as issuer_url, served(registry.app) as url:
        registry.issuer, registry.watch = issuer, Watch()
        registry.token = ServiceToken(f"{issuer_url}/token", "training", "a secret", monotonic=registry.watch)
        registry.remote = RemoteKeys(url + "/", registry.token, monotonic=registry.watch)
        yield registry
        await registry.remote.aclose()


async def test_keys_are_asked_for_in_batches_of_500_with_the_services_token(registry):
    keys = await registry.remote.keys(list(registry.persons), "certificate")
    assert keys == registry.persons
    assert registry.asked == [(500, "certificate"), (500, "certificate"), (300, "certificate")]
    assert registry.tokens == ["Bearer token-1"] * 3


async def test_a_person_named_twice_is_asked_for_once_and_nobody_is_no_question(registry):
    assert set(await registry.remote.keys(["p1", "p1", "p2"], "roster")) == {"p1", "p2"}
    assert await registry.remote.keys([], "roster") == {}
    assert registry.asked == [(2, "roster")]


async def test_keys_are_kept_for_a_minute_and_apart_for_each_purpose(registry):
    await registry.remote.keys(["p1", "p2"], "roster")
    registry.watch.seconds += 30
    await registry.remote.keys(["p2", "p3"], "roster")
    await registry.remote.keys(["p1"], "certificate")
    assert registry.asked == [(2, "roster"), (1, "roster"), (1, "certificate")]
    registry.watch.seconds += 31
    assert set(await registry.remote.keys(["p1", "p2", "p3"], "roster")) == {"p1", "p2", "p3"}
    assert registry.asked[3:] == [(2, "roster")]


async def test_an_erased_person_is_missing_after_a_minute_at_most(registry):
    assert "p1" in await registry.remote.keys(["p1"], "roster")
    del registry.persons["p1"]
    registry.watch.seconds += 61
    assert await registry.remote.keys(["p1", "p2"], "roster") == {"p2": registry.persons["p2"]}


async def test_a_person_who_was_missing_is_asked_for_again(registry):
    assert await registry.remote.keys(["new"], "roster") == {}
    registry.persons["new"] = KEY
    assert await registry.remote.keys(["new"], "roster") == {"new": KEY}


async def test_the_cache_is_bounded_and_drops_the_oldest(registry, monkeypatch):
    monkeypatch.setattr("services.kit.keys._CACHE_PERSONS", 600)
    everyone = list(registry.persons)
    assert await registry.remote.keys(everyone, "roster") == registry.persons
    assert len(registry.remote._cache) == 600
    registry.asked.clear()
    await registry.remote.keys(everyone[-600:], "roster")
    assert registry.asked == []


async def test_a_token_that_the_registry_no_longer_takes_is_replaced_once(registry):
    registry.refuse = [401]
    assert set(await registry.remote.keys(["p1"], "roster")) == {"p1"}
    assert registry.tokens == ["Bearer token-1", "Bearer token-2"]
    registry.refuse = [401, 401]
    with pytest.raises(KeysUnavailable, match="401"):
        await registry.remote.keys(["p2"], "roster")


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_a_registry_that_refuses_makes_keys_unavailable(registry, status):
    registry.refuse = [status]
    with pytest.raises(KeysUnavailable, match=str(status)):
        await registry.remote.keys(["p1"], "roster")
    assert set(await registry.remote.keys(["p1"], "roster")) == {"p1"}


@pytest.mark.parametrize(
    "answer", [{}, [], "x", {"keys": []}, {"keys": {"p1": 5}}, {"keys": {"p1": "AAAA"}}, {"keys": {"p1": "no base64"}}]
)
async def test_an_answer_that_holds_no_keys_makes_them_unavailable(registry, answer):
    registry.answer = answer
    with pytest.raises(KeysUnavailable, match="no readable answer"):
        await registry.remote.keys(["p1"], "roster")


async def test_keys_that_nobody_asked_for_are_not_taken(registry):
    registry.answer = {"keys": encode_keys({"p1": KEY, "p2": KEY})}
    assert await registry.remote.keys(["p1"], "roster") == {"p1": KEY}


async def test_a_registry_or_an_issuer_that_is_down_makes_keys_unavailable(registry):
    registry.issuer.broken = True
    with pytest.raises(KeysUnavailable, match="own token"):
        await registry.remote.keys(["p1"], "roster")

    nobody = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = nobody.sockets[0].getsockname()[1]
    nobody.close()
    await nobody.wait_closed()
    registry.issuer.broken = False
    registry.watch.seconds += 2
    remote = RemoteKeys(f"http://127.0.0.1:{port}", registry.token)
    with pytest.raises(KeysUnavailable, match="does not answer"):
        await remote.keys(["p1"], "roster")
    await remote.aclose()


async def test_keys_that_are_destroyed_are_gone_from_the_cache_at_once_for_every_purpose(registry):
    for purpose in ("seal", "match"):
        await registry.remote.keys(["p1", "p2"], purpose)
    await registry.remote.destroy(["p1", "p1", "never made"])
    assert registry.destroyed == [["p1", "never made"]]
    for purpose in ("seal", "match"):
        assert await registry.remote.keys(["p1", "p2"], purpose) == {"p2": registry.persons["p2"]}


async def test_keys_are_destroyed_in_batches_of_500_and_none_is_no_request(registry):
    await registry.remote.destroy([f"p{number}" for number in range(1200)])
    await registry.remote.destroy([])
    assert [len(batch) for batch in registry.destroyed] == [500, 500, 200]


async def test_a_registry_that_does_not_destroy_says_so(registry):
    registry.refuse = [503]
    with pytest.raises(KeysUnavailable, match="503"):
        await registry.remote.destroy(["p1"])
    assert "p1" in await registry.remote.keys(["p1"], "match")
