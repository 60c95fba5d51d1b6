"""Tokens against a real issuer over HTTP: what is believed, what is not, and what an issuer's outage does."""

import asyncio
import base64
import json
import time
from typing import Annotated, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, FastAPI
from hypothesis import given
from hypothesis import strategies as st

from services.kit import problems
from services.kit.auth import (
    Forbidden,
    IssuerUnavailable,
    Principal,
    ServiceToken,
    Unauthenticated,
    Verifier,
    authenticated,
    covers,
    requires,
)
from tests.kit.issuer import ISSUER, Issuer, Watch, token
from tests.kit.serving import served


@pytest.fixture
async def issuer():
    issuer = Issuer()
    async with served(issuer.app) as issuer.url:
        yield issuer


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def verifier(issuer, watch):
    return Verifier(f"{issuer.url}/jwks", ISSUER, monotonic=watch)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_good_token_proves_subject_roles_and_areas(issuer, verifier, algorithm):
    key = issuer.publish("first", algorithm)
    principal = await verifier.principal_from(token(key, algorithm=algorithm))
    assert principal == Principal("officer-7", frozenset({"officer"}), ("52.01",))


async def test_a_token_without_roles_or_areas_may_nothing(issuer, verifier):
    principal = await verifier.principal_from(token(issuer.publish("first"), roles=None, areas=None))
    assert (principal.roles, principal.areas) == (frozenset(), ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": int(time.time()) - 31}, "expired"),
        ({"exp": None}, "lacks the claim exp"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "lacks the claim aud"),
        ({"iss": "https://elsewhere.test"}, "another issuer"),
        ({"sub": None}, "lacks the claim sub"),
        ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
        ({"roles": "officer"}, "roles is no list"),
        ({"roles": [{"name": "officer"}]}, "roles is no list"),
        ({"areas": {"52": True}}, "areas is no list"),
        ({"kid": None}, "does not name its key"),
    ],
)
async def test_a_token_that_proves_nothing_here_is_refused_with_the_reason(issuer, verifier, changes, reason):
    with pytest.raises(Unauthenticated, match=reason) as refusal:
        await verifier.principal_from(token(issuer.publish("first"), **changes))
    assert refusal.value.status == 401


async def test_a_clock_that_is_half_a_minute_off_is_forgiven(issuer, verifier):
    key = issuer.publish("first")
    now = int(time.time())
    await verifier.principal_from(token(key, exp=now - 20, nbf=now - 100))
    await verifier.principal_from(token(key, nbf=now + 20, iat=now + 20))


async def test_a_signature_by_another_key_is_refused(issuer, verifier):
    issuer.publish("first")
    with pytest.raises(Unauthenticated, match="signature is wrong"):
        await verifier.principal_from(token(Ed25519PrivateKey.generate()))


async def test_a_changed_claim_breaks_the_signature(issuer, verifier):
    head, body, signature = token(issuer.publish("first")).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"areas": ["*"]}).encode()).decode().rstrip("=")
    with pytest.raises(Unauthenticated, match="signature is wrong"):
        await verifier.principal_from(f"{head}.{forged}.{signature}")


async def test_a_token_without_algorithm_is_refused(issuer, verifier):
    issuer.publish("first")
    with pytest.raises(Unauthenticated, match="algorithm is not accepted"):
        await verifier.principal_from(token(None, algorithm="none"))


async def test_a_public_key_used_as_a_shared_secret_is_refused(issuer, verifier):
    public = issuer.publish("first", "RS256").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').decode().rstrip("=")
    body = token(None, algorithm="none").split(".")[1]
    signature = jwt.get_algorithm_by_name("HS256").sign(f"{head}.{body}".encode(), pem)
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    with pytest.raises(Unauthenticated, match="algorithm is not accepted"):
        await verifier.principal_from(forged)


async def test_a_key_for_one_algorithm_does_not_serve_another(issuer, verifier):
    issuer.publish("first", "RS256")
    elliptic = issuer.publish("second", "ES256")
    with pytest.raises(Unauthenticated):
        await verifier.principal_from(token(elliptic, kid="first", algorithm="ES256"))


async def test_a_shared_secret_and_an_encryption_key_among_the_published_keys_are_not_used(issuer, verifier):
    issuer.publish("first")
    secret = b"a shared secret of thirty-two bytes"
    issuer.published.append({"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(secret).decode()})
    encryption = issuer.publish("encryption")
    issuer.published[-1]["use"] = "enc"
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.principal_from(token(secret, kid="shared", algorithm="HS256"))
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.principal_from(token(encryption, kid="encryption"))


@pytest.mark.parametrize("text", ["", "garbage", "a.b.c", "e30.e30.", "ÿ.ÿ.ÿ", "." * 1000])
async def test_what_is_no_token_is_refused(verifier, text):
    with pytest.raises(Unauthenticated):
        await verifier.principal_from(text)


async def test_a_rotated_key_is_fetched_once_and_the_withdrawn_one_stops_working(issuer, verifier, watch):
    old = token(issuer.publish("first"))
    await asyncio.gather(*(verifier.principal_from(old) for _ in range(20)))
    assert issuer.fetches == 1

    issuer.published.clear()
    new = token(issuer.publish("second"), kid="second")
    watch.seconds += 11
    await asyncio.gather(*(verifier.principal_from(new) for _ in range(20)))
    assert issuer.fetches == 2
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.principal_from(old)


@pytest.mark.parametrize(("lives", "seconds"), [(600, 30), (-20, 10)])
async def test_what_a_token_proved_is_good_for_half_a_minute_and_never_longer_than_the_token(
    issuer, verifier, watch, monkeypatch, lives, seconds
):
    proofs: list[str] = []
    decode = jwt.decode

    def counted(text: str, *args: object, **options: object) -> dict[str, Any]:
        proofs.append(text)
        return decode(text, *args, **options)

    monkeypatch.setattr("services.kit.auth.jwt.decode", counted)
    # Of a token that has run out, the leeway is left.
    presented = token(issuer.publish("first"), exp=int(time.time()) + lives)
    for _ in range(3):
        await verifier.principal_from(presented)
    assert len(proofs) == 1
    watch.seconds += seconds + 0.1
    await verifier.principal_from(presented)
    assert len(proofs) == 2


async def test_invented_key_ids_cause_one_fetch_in_ten_seconds(issuer, verifier, watch):
    key = issuer.publish("first")
    for number in range(30):
        with pytest.raises(Unauthenticated, match="does not publish"):
            await verifier.principal_from(token(key, kid=f"invented-{number}"))
    assert issuer.fetches == 1
    watch.seconds += 10.1
    with pytest.raises(Unauthenticated):
        await verifier.principal_from(token(key, kid="invented"))
    assert issuer.fetches == 2


async def test_a_key_withdrawn_without_a_successor_stops_working_within_five_minutes(issuer, verifier, watch):
    key = issuer.publish("first")
    await verifier.principal_from(token(key))
    issuer.published.clear()
    issuer.publish("second")
    watch.seconds += 301
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier.principal_from(token(key))


async def test_known_keys_stay_good_while_the_issuer_is_down(issuer, verifier, watch):
    key = issuer.publish("first")
    await verifier.principal_from(token(key))
    issuer.broken = True
    watch.seconds += 3600
    assert await verifier.principal_from(token(key))
    # Nobody can tell whether an unknown key is new or invented, so this is not the caller's fault.
    with pytest.raises(IssuerUnavailable):
        await verifier.principal_from(token(key, kid="second"))


async def test_without_any_keys_the_answer_is_unavailable_until_the_issuer_is_back(issuer, verifier, watch):
    key = issuer.publish("first")
    issuer.broken = True
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await verifier.principal_from(token(key))
    assert issuer.fetches == 1
    issuer.broken = False
    watch.seconds += 1.1
    assert await verifier.principal_from(token(key))


@pytest.mark.parametrize(
    ("areas", "code", "expected"),
    [
        (["52"], "52.01", True),
        (["52.01"], "52.01", True),
        (["52.01"], "52.01.01.2001", True),
        (["52.0"], "52.01", False),
        (["52.01"], "52", False),
        (["52.01"], "52.010", False),
        (["52.01"], "152.01", False),
        (["53", "52.01"], "52.01.02", True),
        (["*"], "94.71", True),
        ([], "52", False),
        ([""], "52", False),
        ([""], "", False),
        (["52."], "52.01", False),
        (["5*"], "52", False),
    ],
)
def test_areas_cover_on_segment_borders(areas, code, expected):
    assert covers(areas, code) is expected


SEGMENTS = st.lists(st.sampled_from(["52", "01", "0", "1", "2001"]), min_size=1, max_size=4)


@given(SEGMENTS, SEGMENTS)
def test_an_area_covers_exactly_what_begins_with_all_its_segments(area, code):
    assert covers([".".join(area)], ".".join(code)) is (code[: len(area)] == area)


def test_a_wildcard_role_asks_for_any_of_a_kind_and_no_holder_can_carry_one():
    partner = Principal("bank", frozenset({"partner:bank"}), ())
    assert partner.has_any(["officer", "partner:*"])
    assert partner.has_any(["partner:bank"])
    assert not partner.has_any(["partner:dukcapil", "partner", "service:*"])
    assert not Principal("x", frozenset({"partner:"}), ()).has_any(["partner:*"])
    assert not Principal("x", frozenset({"partner:*"}), ()).has_any(["partner:bank", "officer"])


def test_an_area_outside_is_forbidden_by_name():
    with pytest.raises(Forbidden, match=r"52\.02"):
        Principal("x", frozenset(), ("52.01",)).must_cover("52.02")


def test_the_whole_country_is_forbidden_in_words():
    with pytest.raises(Forbidden, match="whole country"):
        Principal("x", frozenset(), ("52",)).must_cover("")
    Principal("x", frozenset(), ("*",)).must_cover("")


@pytest.mark.parametrize("subject", ["", "x" * 129, "5270014107800000", "a b", "a\0b", "ümit", "5270.0141.0780.0000"])
async def test_a_subject_that_cannot_stand_on_an_event_is_not_taken(issuer, verifier, subject):
    key = issuer.publish("first")
    with pytest.raises(Unauthenticated, match="claim sub") as refused:
        await verifier.principal_from(token(key, sub=subject))
    assert "5270" not in str(refused.value)
    assert (await verifier.principal_from(token(key, sub="auth0|" + "x" * 122))).subject == "auth0|" + "x" * 122


@pytest.fixture
async def api(verifier):
    app = FastAPI()
    app.state.verifier = verifier
    problems.install(app)

    @app.get("/me")
    async def me(principal: Annotated[Principal, Depends(authenticated)]) -> str:
        return principal.subject

    @app.post("/cohorts")
    async def plan(principal: Annotated[Principal, Depends(requires("officer", "service:*"))]) -> str:
        return principal.subject

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


async def test_an_endpoint_knows_its_caller(issuer, api):
    answer = await api.get("/me", headers=bearer(token(issuer.publish("first"))))
    assert (answer.status_code, answer.json()) == (200, "officer-7")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eDp5"}, bearer(""), bearer("garbage")])
async def test_an_endpoint_without_a_token_asks_for_one(api, headers):
    answer = await api.get("/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"
    assert answer.json()["remedy"]


async def test_an_endpoint_lets_only_its_roles_pass(issuer, api):
    key = issuer.publish("first")
    assert (await api.post("/cohorts", headers=bearer(token(key)))).status_code == 200
    assert (await api.post("/cohorts", headers=bearer(token(key, roles=["service:training"])))).status_code == 200
    answer = await api.post("/cohorts", headers=bearer(token(key, roles=["facilitator"])))
    assert answer.status_code == 403
    assert "officer" in answer.json()["detail"]


async def test_an_endpoint_says_when_the_issuer_is_down(issuer, api):
    issuer.broken = True
    answer = await api.get("/me", headers=bearer(token(Ed25519PrivateKey.generate())))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"


async def test_a_service_fetches_its_token_once_while_it_is_good(issuer, watch):
    own = ServiceToken(f"{issuer.url}/token", "training", "a secret", monotonic=watch)
    tokens = await asyncio.gather(*(own.token() for _ in range(10)))
    assert set(tokens) == {"token-1"}
    assert issuer.grants == [("Basic " + base64.b64encode(b"training:a secret").decode(), "client_credentials")]
    watch.seconds += 269
    assert await own.token() == "token-1"
    watch.seconds += 2
    assert await own.token() == "token-2"
    own.forget()
    assert await own.token() == "token-3"


async def test_a_short_lived_service_token_is_still_used_for_half_its_life(issuer, watch):
    issuer.expires_in = 10
    own = ServiceToken(f"{issuer.url}/token", "training", "a secret", monotonic=watch)
    await own.token()
    watch.seconds += 4
    assert await own.token() == "token-1"
    watch.seconds += 2
    assert await own.token() == "token-2"


async def test_an_issuer_that_is_down_is_asked_again_after_a_second(issuer, watch):
    own = ServiceToken(f"{issuer.url}/token", "training", "a secret", monotonic=watch)
    issuer.broken = True
    failures = await asyncio.gather(*(own.token() for _ in range(10)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {IssuerUnavailable}
    assert len(issuer.grants) == 1
    issuer.broken = False
    watch.seconds += 1.1
    assert await own.token() == "token-2"
