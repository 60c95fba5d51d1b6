"""Training as its tests meet it: its API on a real PostgreSQL with real tokens, and a key authority over real HTTP."""

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.envelope import Envelope, Event, PersonalRecord, Sealing
from services.kit.app import api_app
from services.kit.auth import ServiceToken
from services.kit.batch import Batches
from services.kit.clock import clock_from, steer
from services.kit.database import migrate, open_pool
from services.kit.keyring import BorrowedKeys
from services.kit.keys import RemoteKeys, encode_keys, new_key, seal
from services.kit.positions import Arrival, Place, Slice, Standing
from services.kit.settings import Settings
from services.kit.timers import run_once
from services.kit.transaction import Transaction, Workplace, acting_as, new_id
from services.training.__main__ import SERVICE
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.support.databases import FreshDatabase
from tests.training.facts import NOW, default_rules


class KeyAuthority:
    """The registry's POST /keys/unwrap, as far as other services see it. Whoever is named first gets a key."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.erased: set[str] = set()
        self.app = Starlette(routes=[Route("/keys/unwrap", self._unwrap, methods=["POST"])])

    def key_of(self, person: str) -> bytes:
        return self.keys.setdefault(person, new_key())

    async def _unwrap(self, request: Request) -> Response:
        people = (await request.json())["person_ids"]
        return JSONResponse({"keys": encode_keys({p: self.key_of(p) for p in people if p not in self.erased})})


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
class Training:
    """A training service of its own: what its API answers, what its log says, and a clock that the test moves."""

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
        """These facts of training's own happened, in this order."""
        async with self.workplace.transaction(acting_as("test")) as tx:
            await tx.decide(events)

    def published(self, fact: Event) -> tuple[Event, Envelope]:
        """A fact as the registry publishes it: with its version in the stream, and sealed."""
        stream = (fact.topic, fact.key)
        version = self.versions[stream] = self.versions.get(stream, 0) + 1
        now = self.workplace.now()
        envelope = Envelope(
            new_id(), fact.ce_type, "/entas/registry", fact.topic, fact.key, version, now, now, "test", "correlation"
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

    async def told(self, *facts: Event) -> None:
        """One batch of the registry's facts, taken in as the worker does."""
        await self.arrive([self.published(fact) for fact in facts])

    async def arrive(self, facts: Iterable[tuple[Event, Envelope]]) -> None:
        """Takes in facts as they were published."""
        async with self.workplace.transaction(acting_as("projection")) as tx:
            await self.take_in(tx, facts)

    async def take_in(self, tx: Transaction, facts: Iterable[tuple[Event, Envelope]]) -> None:
        slices: dict[str, Slice] = {}
        for offset, (fact, envelope) in enumerate(facts):
            piece = slices.setdefault(fact.topic, Slice(Place(fact.topic, 0), Standing(), Standing()))
            record = SimpleNamespace(value=fact.to_bytes(), offset=offset, topic=fact.topic)
            piece.arrivals.append(Arrival(record, envelope, Standing()))
        batches = Batches(SERVICE.tables, SERVICE.reactions, SERVICE.partners, self.workplace.keyring)
        await batches.apply(tx, list(slices.values()))

    async def timers_run(self, at: datetime) -> None:
        """Moves the clock, and lets every timer do what is due."""
        steer(self.clock, at)
        for timer in SERVICE.timers.all:
            while await run_once(timer, self.workplace):
                pass

    async def facts(self, stream: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """What the log says of cohorts, or of one: names and payloads, in order."""
        rows = await self.pool.fetch(
            """
            SELECT type, value
            FROM log
            WHERE topic = 'training.cohorts'
              AND stream = coalesce($1, stream)
            ORDER BY id
            """,
            stream,
        )
        return [(row["type"].split(".")[2], json.loads(row["value"])) for row in rows]

    async def names(self, stream: str | None = None) -> list[str]:
        return [name for name, _ in await self.facts(stream)]

    async def table(self, name: str) -> list[dict[str, Any]]:
        """A whole table, in the order of its first columns."""
        return [dict(row) for row in await self.pool.fetch(f"SELECT * FROM {name} ORDER BY 1, 2")]


@pytest.fixture
async def training(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Training]:
    """An empty training service at 1 July 2024, 09.00 in Mataram, with the project's default rules in force."""
    url = await fresh_database("training", lambda dsn: migrate(dsn, SERVICE.migrations) and None)
    clock = tmp_path / "clock"
    steer(clock, NOW)
    issuer, authority = Issuer(), KeyAuthority()
    signing_key = issuer.publish("first")
    async with AsyncExitStack() as opened:
        issuer_url = await opened.enter_async_context(served(issuer.app))
        registry_url = await opened.enter_async_context(served(authority.app))
        settings = Settings(
            environment="test",
            database_url=url,
            kafka_bootstrap="localhost:1",
            token_issuer=ISSUER,
            jwks_url=f"{issuer_url}/jwks",
            registry_url=registry_url,
            clock_file=clock,
        )
        pool = await open_pool(url, size=6)
        opened.push_async_callback(pool.close)
        keys = RemoteKeys(registry_url, ServiceToken(f"{issuer_url}/token", "training", "a secret"))
        opened.push_async_callback(keys.aclose)
        now = clock_from(settings).now
        workplace = Workplace(SERVICE.name, pool, SERVICE.tables, BorrowedKeys(keys), now, lambda: None)

        async def health() -> dict[str, Any]:
            return {"ready": True}

        app = api_app(SERVICE, settings, workplace, health)
        client = await opened.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://training.test")
        )
        world = Training(pool, workplace, client, signing_key, clock, authority)
        await world.given(*default_rules())
        yield world
