"""The registry as its tests meet it: its API over real HTTP semantics, on a real PostgreSQL and with real tokens."""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from contracts.envelope import Event, Sealing
from contracts.registry import PersonDetails
from services.kit.clock import clock_from, steer
from services.kit.database import migrate, open_pool
from services.kit.settings import Settings
from services.kit.transaction import Transaction, Workplace, acting_as
from services.registry import search
from services.registry.__main__ import SERVICE
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.registry.facts import NOW, default_rules, listed
from tests.support.apis import api_of
from tests.support.databases import FreshDatabase


@dataclass
class Caller:
    """Somebody with a token. Each command gets an Idempotency-Key of its own unless one is given."""

    client: httpx.AsyncClient
    bearer: str
    keys: "itertools.count[int]"

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {self.bearer}"})

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.bearer}", "Idempotency-Key": f"key-{next(self.keys)}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json=body, headers=sent)


@dataclass
class Registry:
    """A registry of its own: what its API answers, what its log says, and a clock that the test moves."""

    settings: Settings
    pool: "asyncpg.Pool[asyncpg.Record]"
    workplace: Workplace
    client: httpx.AsyncClient
    signing_key: Any
    clock: Path
    app: FastAPI
    keys: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def caller(self, *roles: str, areas: Sequence[str] = ("52",), subject: str = "somebody") -> Caller:
        bearer = token(self.signing_key, roles=list(roles), areas=list(areas), sub=subject)
        return Caller(self.client, bearer, self.keys)

    def officer(self, *areas: str) -> Caller:
        return self.caller("officer", areas=areas or ("*",), subject="officer-1")

    def facilitator(self, subject: str = "facilitator-7", *areas: str) -> Caller:
        return self.caller("facilitator", areas=areas or ("52",), subject=subject)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self.workplace.transaction(acting_as("test")) as tx:
            yield tx

    async def given(self, *events: Event) -> None:
        """These facts happened, in this order; whoever is listed by them can be found."""
        async with self.transaction() as tx:
            await tx.decide(events)
            entries = [
                search.entry(event.key, subject, record)
                for event in events
                if isinstance(event, Sealing) and event.topic == "registry.households"
                for subject, record in event.personal.items()
                if isinstance(record, PersonDetails)
            ]
            tx.before_log(lambda connection: search.index(connection, entries))

    async def facts(self, topic: str, stream: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """What the log says of a topic or of one of its streams: names and payloads, in order."""
        rows = await self.pool.fetch(
            "SELECT type, value FROM log WHERE topic = $1 AND stream = coalesce($2, stream) ORDER BY id", topic, stream
        )
        return [(row["type"].split(".")[2], json.loads(row["value"])) for row in rows]

    async def names(self, topic: str, stream: str | None = None) -> list[str]:
        return [name for name, _ in await self.facts(topic, stream)]

    def later(self, **by: float) -> datetime:
        """Moves the clock."""
        instant = self.workplace.now() + timedelta(**by)
        steer(self.clock, instant)
        return instant


@pytest.fixture
async def registry(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Registry]:
    """An empty registry at 8 July 2024, 09.00 in Mataram, with the project's default rules in force."""
    url = await fresh_database("registry", lambda dsn: migrate(dsn, SERVICE.migrations) and None)
    for number, name in enumerate(("master.key", "search.pepper")):
        (tmp_path / name).write_text(f"{number + 1:02x}" * 32)
    clock = tmp_path / "clock"
    steer(clock, NOW)
    issuer = Issuer()
    signing_key = issuer.publish("first")
    async with AsyncExitStack() as opened:
        issuer_url = await opened.enter_async_context(served(issuer.app))
        settings = Settings(
            environment="test",
            database_url=url,
            kafka_bootstrap="localhost:1",
            token_issuer=ISSUER,
            jwks_url=f"{issuer_url}/jwks",
            master_key_file=tmp_path / "master.key",
            search_pepper_file=tmp_path / "search.pepper",
            clock_file=clock,
        )
        pool = await open_pool(url, size=4)
        opened.push_async_callback(pool.close)
        keyring, now = SERVICE.keyring(settings), clock_from(settings).now
        workplace = Workplace(SERVICE.name, pool, SERVICE.tables, keyring, now, lambda: None)
        app = opened.enter_context(api_of(SERVICE, settings, workplace))
        client = await opened.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry.test")
        )
        world = Registry(settings, pool, workplace, client, signing_key, clock, app)
        await world.given(*default_rules())
        yield world


@pytest.fixture
async def home(registry: Registry) -> Registry:
    """The same, with the one household listed."""
    await registry.given(listed())
    return registry
