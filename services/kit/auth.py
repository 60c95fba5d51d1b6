"""Who is calling and what they may do: tokens verified against the issuer's published keys, roles, areas.

There is no bypass: the local stack has a real issuer too. Token expiry goes by real time, never by the steered clock.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import jwt
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.kit.masking import masked
from services.kit.refusal import Refused, Unavailable
from services.kit.trust import trusted

ALGORITHMS = ("EdDSA", "ES256", "RS256")
LEEWAY_SECONDS = 30
EVERYWHERE = "*"
MAX_SUBJECT = 128  # with keys and ids, well below contracts.envelope.MAX_ENVELOPE_BYTES

_SUBJECT = re.compile(rf"[\x21-\x7e]{{1,{MAX_SUBJECT}}}")
_REFETCH_SECONDS = 10.0
_RETRY_SECONDS = 1.0
_KEYS_MAX_AGE_SECONDS = 300.0
_HTTP_TIMEOUT_SECONDS = 5.0
_PROVEN_SECONDS = 30.0
_PROVEN_TOKENS = 1_000

_log = structlog.get_logger(__name__)


class Unauthenticated(Refused):
    """Nobody knows who is calling: there is no token, or it does not prove anything here."""

    def __init__(self, detail: str) -> None:
        super().__init__("unauthenticated", detail, status=401, remedy="Fetch a new token from the issuer and send it.")


class Forbidden(Refused):
    """It is known who is calling, and they may not do this."""

    def __init__(self, detail: str, remedy: str = "Ask for the role or area, or use an account that has it.") -> None:
        super().__init__("forbidden", detail, status=403, remedy=remedy)


class IssuerUnavailable(Unavailable):
    """The token issuer gives no usable answer; the log names its address and what it said."""

    def __init__(self, detail: str) -> None:
        super().__init__("issuer-unavailable", detail)


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller: `areas` are region-code prefixes, "*" the whole country."""

    subject: str
    roles: frozenset[str]
    areas: tuple[str, ...]

    def has_any(self, wanted: Iterable[str]) -> bool:
        """Whether one of the wanted roles is held. "partner:*" asks for any partner."""
        return any(
            role == want or (want.endswith(":*") and role.startswith(want[:-1]) and role != want[:-1])
            for want in wanted
            for role in self.roles
        )

    def covers(self, area_code: str) -> bool:
        return covers(self.areas, area_code)

    def must_cover(self, area_code: str) -> None:
        """Raises Forbidden unless the area lies in one of the caller's; "" stands for the whole country."""
        if self.covers(area_code):
            return
        if not area_code:
            raise Forbidden("This concerns the whole country, and the areas of this account are parts of it.")
        raise Forbidden(f"Area {area_code} is outside the areas of this account.")


def covers(areas: Iterable[str], area_code: str) -> bool:
    """Whether one of the areas is `area_code` or lies above it. Codes match on segment borders: 52.0 is not 52.01."""
    return any(area == EVERYWHERE or area_code == area or area_code.startswith(area + ".") for area in areas if area)


@dataclass(frozen=True, slots=True)
class _Proven:
    """What a token proved a moment ago, and proves until then for as long as the issuer publishes its key."""

    principal: Principal
    key: jwt.PyJWK
    good_until: float  # by the monotonic clock


class Verifier:
    """Checks tokens against the issuer's keys, which it caches, and fetches again when a token names a new one."""

    def __init__(
        self, jwks_url: str, issuer: str, audience: str = "entas", *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._jwks_url = jwks_url
        self._issuer = issuer
        self._audience = audience
        self._monotonic = monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._next_fetch_at = float("-inf")
        self._issuer_silent = True
        self._lock = asyncio.Lock()
        self._proven: dict[str, _Proven] = {}

    async def principal_from(self, token: str) -> Principal:
        """The caller that the token proves. Raises Unauthenticated; IssuerUnavailable if its key cannot be fetched."""
        proven = self._proven.get(token)
        if proven is None or proven.good_until < self._monotonic() or proven.key not in self._keys.values():
            proven = await self._prove(token)
            if len(self._proven) >= _PROVEN_TOKENS:
                self._proven.clear()
            self._proven[token] = proven
        return proven.principal

    async def _prove(self, token: str) -> _Proven:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("The token is no JWT.") from error
        if not isinstance(key_id, str):
            raise Unauthenticated("The token does not name its key (kid).")
        key = await self._key(key_id)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The token is not valid here: {_reason(error)}.") from error
        roles, areas = frozenset(_words(claims, "roles")), tuple(_words(claims, "areas"))
        seconds = min(_PROVEN_SECONDS, claims["exp"] + LEEWAY_SECONDS - time.time())
        return _Proven(Principal(_subject(claims["sub"]), roles, areas), key, self._monotonic() + seconds)

    async def _key(self, key_id: str) -> jwt.PyJWK:
        aged = self._monotonic() - self._fetched_at > _KEYS_MAX_AGE_SECONDS
        # A known key does not wait for a refresh that is under way: a hanging issuer must not hang us.
        if key_id not in self._keys or (aged and not self._lock.locked()):
            await self._refresh()
        if key := self._keys.get(key_id):
            return key
        if self._issuer_silent:
            raise IssuerUnavailable("The keys that tokens are checked with cannot be fetched.")
        raise Unauthenticated("The token is signed with a key that the issuer does not publish.")

    async def _refresh(self) -> None:
        """Fetches the keys unless that was tried a moment ago, so that invented key ids cannot flood the issuer."""
        async with self._lock:
            if self._monotonic() < self._next_fetch_at:
                return
            try:
                self._keys = _usable_keys(await _get_json(self._jwks_url))
            except (httpx.HTTPError, ValueError) as error:
                # Known keys stay good for as long as the issuer is silent: an outage there must not stop us here.
                self._issuer_silent = True
                self._next_fetch_at = self._monotonic() + (_REFETCH_SECONDS if self._keys else _RETRY_SECONDS)
                _log.warning("keys not fetched", url=self._jwks_url, error=repr(error), known_keys=len(self._keys))
                return
            self._issuer_silent = False
            self._fetched_at = self._monotonic()
            self._next_fetch_at = self._fetched_at + _REFETCH_SECONDS


class ServiceToken:
    """This service's own token by client credentials (RFC 6749, 4.4), fetched when needed and kept while it is good."""

    def __init__(
        self, token_url: str, client_id: str, secret: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._token_url = token_url
        self._credentials = httpx.BasicAuth(client_id, secret)
        self._monotonic = monotonic
        self._token = ""
        self._good_until = self._next_fetch_at = float("-inf")
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """A token with at least half a minute to live, or half its life. Raises IssuerUnavailable."""
        async with self._lock:
            if self._monotonic() >= self._good_until:
                if self._monotonic() < self._next_fetch_at:
                    # Whoever queued behind a fetch that failed does not try, and wait, one after the other.
                    raise IssuerUnavailable("This service could not fetch its own token.")
                await self._fetch()
            return self._token

    def forget(self) -> None:
        """Makes the next `token` fetch anew, after a service refused the present one."""
        self._good_until = float("-inf")

    async def _fetch(self) -> None:
        asked_at = self._monotonic()
        try:
            async with httpx.AsyncClient(timeout=_HTTP_TIMEOUT_SECONDS, verify=trusted()) as client:
                grant = {"grant_type": "client_credentials"}
                answer = await client.post(self._token_url, data=grant, auth=self._credentials)
            answer.raise_for_status()
            body = answer.json()
            self._token, life = str(body["access_token"]), float(body.get("expires_in", 60))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            self._next_fetch_at = self._monotonic() + _RETRY_SECONDS
            _log.warning("service token not fetched", url=self._token_url, error=repr(error))
            raise IssuerUnavailable("This service could not fetch its own token.") from error
        self._good_until = asked_at + life - min(30.0, life / 2)


_bearer = HTTPBearer(auto_error=False, description="A JWT of the issuer, audience `entas`")


async def authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """The caller, for `Depends`. The application keeps its Verifier at `app.state.verifier`."""
    if credentials is None:
        raise Unauthenticated("The request carries no bearer token.")
    verifier: Verifier = request.app.state.verifier
    return await verifier.principal_from(credentials.credentials)


def requires(*roles: str) -> Callable[..., Awaitable[Principal]]:
    """A dependency that lets callers with any of the roles pass: `Depends(requires("officer", "partner:*"))`."""

    async def with_role(principal: Annotated[Principal, Depends(authenticated)]) -> Principal:
        if not principal.has_any(roles):
            raise Forbidden(f"This needs one of the roles {', '.join(roles)}.")
        return principal

    return with_role


async def _get_json(url: str) -> Any:
    async with httpx.AsyncClient(timeout=_HTTP_TIMEOUT_SECONDS, verify=trusted()) as client:
        answer = await client.get(url)
    return answer.raise_for_status().json()


def _usable_keys(body: Any) -> dict[str, jwt.PyJWK]:
    """The keys that may sign tokens here. A shared secret among them would let its readers forge: it is left out."""
    try:
        keys = jwt.PyJWKSet.from_dict(body).keys
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise ValueError(f"no JWKS: {error}") from error
    usable = {
        key.key_id: key
        for key in keys
        if key.key_id and key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig")
    }
    if not usable:
        raise ValueError(f"no key with a kid for {', '.join(ALGORITHMS)}")
    return usable


def _reason(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.InvalidAudienceError():
            return "it is meant for another audience"
        case jwt.InvalidIssuerError():
            return "it comes from another issuer"
        case jwt.InvalidSignatureError():
            return "its signature is wrong"
        case jwt.InvalidAlgorithmError():
            return "its algorithm is not accepted"
        case jwt.MissingRequiredClaimError():
            return f"it lacks the claim {error.claim}"
        case _:
            return "it is malformed or not valid yet"


def _subject(claim: str) -> str:
    """The caller's name, which stands on every event and log line: short, printable, and no national id."""
    if _SUBJECT.fullmatch(claim) and masked(claim) == claim:
        return claim
    raise Unauthenticated(
        f"The token's claim sub is no name of 1 to {MAX_SUBJECT} printable ASCII characters, or could be a national id."
    )


def _words(claims: dict[str, Any], name: str) -> list[str]:
    words = claims.get(name, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Unauthenticated(f"The token's claim {name} is no list of words.")
    return words
