"""A service as its tests meet it: its API on a real PostgreSQL with real tokens, and a key authority over real HTTP."""

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.envelope import Envelope, Event, PersonalRecord, Sealing
from services.kit.auth import ServiceToken
from services.kit.clock import clock_from, steer
from services.kit.database import migrate, open_pool
from services.kit.keyring import BorrowedKeys
from services.kit.keys import RemoteKeys, encode_keys, new_key, seal
from services.kit.positions import Arrival, Place, Slice, Standing
from services.kit.service import Service
from services.kit.settings import Settings
from services.kit.timers import run_once
from services.kit.transaction import Transaction, Workplace, acting_as, new_id
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.support.apis import api_of
from tests.support.databases import FreshDatabase
from tests.support.taking import record_of, take_all

MOST_AT_ONCE = 500  # that the registry takes in one request


class KeyAuthority:
    """The registry, as far as other services ask it: keys, and who bears a number. Who is named first gets a key."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.erased: set[str] = set()
        self.bearers: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()  # requests, by path
        self.away: str | None = None  # the beginning of the paths that do not answer now
        self.app = Starlette(
            routes=[
                Route("/keys/unwrap", self._unwrap, methods=["POST"]),
                Route("/keys/destroy", self._destroy, methods=["POST"]),
                Route("/people/match", self._match, methods=["POST"]),
            ]
        )

    def key_of(self, person: str) -> bytes:
        return self.keys.setdefault(person, new_key())

    async def _unwrap(self, request: Request) -> Response:
        people = (await self._said(request))["person_ids"]
        return JSONResponse({"keys": encode_keys({p: self.key_of(p) for p in people if p not in self.erased})})

    async def _destroy(self, request: Request) -> Response:
        self.erased.update((await self._said(request))["subjects"])
        return JSONResponse({})

    async def _match(self, request: Request) -> Response:
        numbers = (await self._said(request))["national_ids"]
        return JSONResponse({"matches": {n: self.bearers[n] for n in numbers if n in self.bearers}})

    async def _said(self, request: Request) -> dict[str, Any]:
        path, said = request.url.path, await request.json()
        self.asked[path] += 1
        if self.away is not None and path.startswith(self.away):
            raise HTTPException(503)
        if any(len(part) > MOST_AT_ONCE for part in said.values() if isinstance(part, list)):
            raise HTTPException(422)
        return dict(said)


@dataclass
class Caller:
    """Somebody with a token. Each command gets an Idempotency-Key of its own unless one is given."""

    client: httpx.AsyncClient
    bearer: str
    keys: "itertools.count[int]"

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {self.bearer}"})

    async def shown(self, path: str, **parameters: Any) -> Any:
        """The body of an answer, which is a good one."""
        answer = await self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.bearer}", "Idempotency-Key": f"key-{next(self.keys)}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json=body, headers=sent)

    async def done(self, path: str, body: Any = None) -> Any:
        """The body of a command's answer, which is a good one."""
        answer = await self.post(path, body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


@dataclass
class ServiceWorld:
    """A service of its own: what its API answers, what its log says, and a clock that the test moves."""

    service: Service
    settings: Settings
    pool: "asyncpg.Pool[asyncpg.Record]"
    workplace: Workplace
    client: httpx.AsyncClient
    signing_key: Any
    clock: Path
    authority: KeyAuthority
    keys: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    versions: dict[tuple[str, str], int] = field(default_factory=dict)

    def caller(self, *roles: str, areas: Sequence[str] = ("52",), subject: str = "somebody") -> Caller:
        bearer = token(self.signing_key, roles=list(roles), areas=list(areas), sub=subject)
        return Caller(self.client, bearer, self.keys)

    def officer(self, *areas: str) -> Caller:
        return self.caller("officer", areas=areas or ("52",), subject="officer-1")

    async def given(self, *events: Event) -> None:
        """These facts of the service's own happened, in this order."""
        async with self.workplace.transaction(acting_as("test")) as tx:
            await tx.decide(events)

    def published(self, fact: Event, at: datetime | None = None) -> tuple[Event, Envelope]:
        """A fact as another service publishes it, now or at an instant: with its version in the stream, and sealed."""
        stream = (fact.topic, fact.key)
        version = self.versions[stream] = self.versions.get(stream, 0) + 1
        at = at or self.workplace.now()
        source = f"/entas/{fact.topic.partition('.')[0]}"
        envelope = Envelope(
            new_id(), fact.ce_type, source, fact.topic, fact.key, version, at, at, "test", "correlation"
        )
        if not isinstance(fact, Sealing):
            return fact, envelope
        sealed = {
            subject: seal(self.authority.key_of(subject), record.model_dump_json().encode(), envelope.id, subject)
            if isinstance(record, PersonalRecord)
            else record
            for subject, record in fact.personal.items()
        }
        return fact.model_copy(update={"personal": sealed}), envelope

    async def told(self, *facts: Event, at: datetime | None = None) -> None:
        """One batch of other services' facts, taken in as the worker does."""
        await self.arrive([self.published(fact, at) for fact in facts])

    async def arrive(self, facts: Iterable[tuple[Event, Envelope]]) -> None:
        """Takes in facts as they were published."""
        async with self.workplace.transaction(acting_as("projection")) as tx:
            await self.take_in(tx, facts)

    async def take_in(self, tx: Transaction, facts: Iterable[tuple[Event, Envelope]]) -> None:
        slices: dict[str, Slice] = {}
        for offset, (fact, envelope) in enumerate(facts):
            piece = slices.setdefault(fact.topic, Slice(Place(fact.topic, 0), Standing(), Standing()))
            piece.arrivals.append(Arrival(record_of(fact, envelope, piece.place, offset), envelope, Standing()))
        await take_all(self.service, self.workplace, tx, list(slices.values()))

    async def timers_run(self, at: datetime) -> None:
        """Moves the clock, and lets every timer do what is due."""
        steer(self.clock, at)
        for timer in self.service.timers.all:
            while await run_once(timer, self.workplace):
                pass

    async def logged(self, topic: str, stream: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """What the log says on a topic, or of one stream of it: names and payloads, in order."""
        rows = await self.pool.fetch(
            """
            SELECT type, value
            FROM log
            WHERE topic = $1
              AND stream = coalesce($2, stream)
            ORDER BY id
            """,
            topic,
            stream,
        )
        return [(row["type"].split(".")[2], json.loads(row["value"])) for row in rows]

    async def table(self, name: str) -> list[dict[str, Any]]:
        """A whole table, in the order of its first columns."""
        return [dict(row) for row in await self.pool.fetch(f"SELECT * FROM {name} ORDER BY 1, 2")]


World = TypeVar("World", bound=ServiceWorld)


@asynccontextmanager
async def opened(
    world: type[World], service: Service, fresh_database: FreshDatabase, folder: Path, now: datetime
) -> AsyncIterator[World]:
    """An empty service at an instant. Its keys come from a `KeyAuthority`, its callers' tokens from an issuer."""
    url = await fresh_database(service.name, lambda dsn: migrate(dsn, service.migrations) and None)
    clock = folder / "clock"
    steer(clock, now)
    issuer, authority = Issuer(), KeyAuthority()
    signing_key = issuer.publish("first")
    async with AsyncExitStack() as stack:
        issuer_url = await stack.enter_async_context(served(issuer.app))
        registry_url = await stack.enter_async_context(served(authority.app))
        settings = Settings(
            environment="test",
            database_url=url,
            kafka_bootstrap="localhost:1",
            token_issuer=ISSUER,
            jwks_url=f"{issuer_url}/jwks",
            token_url=f"{issuer_url}/token",
            client_id=service.name,
            client_secret="a secret",
            registry_url=registry_url,
            clock_file=clock,
        )
        pool = await open_pool(url, size=6)
        stack.push_async_callback(pool.close)
        keys = RemoteKeys(registry_url, ServiceToken(f"{issuer_url}/token", service.name, "a secret"))
        stack.push_async_callback(keys.aclose)
        workplace = Workplace(
            service.name, pool, service.tables, BorrowedKeys(keys), clock_from(settings).now, lambda: None
        )
        app = stack.enter_context(api_of(service, settings, workplace))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service.name}.test")
        )
        yield world(service, settings, pool, workplace, client, signing_key, clock, authority)
