"""Notifications as its tests meet it: API and sending on a real PostgreSQL, and a key authority over real HTTP."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.envelope import Envelope, Event, PersonalRecord, Sealing
from services.kit.auth import ServiceToken
from services.kit.clock import clock_from, steer
from services.kit.database import migrate, open_pool
from services.kit.jobs import JobContext
from services.kit.keyring import BorrowedKeys
from services.kit.keys import RemoteKeys, encode_keys, new_key, seal
from services.kit.positions import Arrival, Place, Slice, Standing
from services.kit.timers import run_once
from services.kit.transaction import Transaction, Workplace, acting_as, new_id
from services.notifications.__main__ import SERVICE
from services.notifications.deliveries.sending import Desk, seat
from services.notifications.senders.lanes import Lanes, close, lanes_from
from services.notifications.settings import SenderSettings
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.notifications.facts import NOW, defaults
from tests.support.apis import api_of
from tests.support.databases import FreshDatabase
from tests.support.lab import eventually
from tests.support.taking import record_of, take_all


class KeyAuthority:
    """The registry's POST /keys/unwrap, as far as other services see it. Whoever is named first gets a key."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.erased: set[str] = set()
        self.asked: list[tuple[str, list[str]]] = []
        self.away = False
        self.app = Starlette(routes=[Route("/keys/unwrap", self._unwrap, methods=["POST"])])

    def key_of(self, person: str) -> bytes:
        return self.keys.setdefault(person, new_key())

    async def _unwrap(self, request: Request) -> Response:
        said = await request.json()
        self.asked.append((said["purpose"], said["person_ids"]))
        if self.away:
            return Response(status_code=503)
        people = [person for person in said["person_ids"] if person not in self.erased]
        return JSONResponse({"keys": encode_keys({person: self.key_of(person) for person in people})})


@dataclass
class Caller:
    """Somebody with a token. Each command gets an Idempotency-Key of its own unless one is given."""

    client: httpx.AsyncClient
    bearer: str
    keys: "itertools.count[int]"

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {self.bearer}"})

    async def shown(self, path: str, **parameters: Any) -> Any:
        answer = await self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.bearer}", "Idempotency-Key": f"key-{next(self.keys)}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, json=body, headers=sent)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.send("POST", path, body, **headers)

    async def put(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.send("PUT", path, body, **headers)

    async def done(self, path: str, body: Any = None) -> Any:
        answer = await self.post(path, body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def kept(self, path: str, body: Any = None) -> Any:
        answer = await self.put(path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class Notifications:
    """A notifications service of its own, what others tell it, and a clock that the test moves."""

    pool: "asyncpg.Pool[asyncpg.Record]"
    workplace: Workplace
    settings: SenderSettings
    client: httpx.AsyncClient
    signing_key: Any
    clock: Path
    folder: Path
    authority: KeyAuthority
    environment: dict[str, str]  # of a process of this service
    keys: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    versions: dict[tuple[str, str], int] = field(default_factory=dict)

    def caller(self, *roles: str, areas: Sequence[str] = ("52",), subject: str = "somebody") -> Caller:
        bearer = token(self.signing_key, roles=list(roles), areas=list(areas), sub=subject)
        return Caller(self.client, bearer, self.keys)

    def officer(self, *areas: str) -> Caller:
        return self.caller("officer", areas=areas or ("*",), subject="officer-1")

    # --- facts --------------------------------------------------------------------------------------------------------

    async def given(self, *events: Event) -> None:
        """These facts of its own happened, in this order."""
        async with self.workplace.transaction(acting_as("test")) as tx:
            await tx.decide(events)

    def published(self, fact: Event, at: datetime | None = None) -> tuple[Event, Envelope]:
        """A fact as another service publishes it: with its version in the stream, and sealed."""
        stream, owner = (fact.topic, fact.key), fact.topic.partition(".")[0]
        version = self.versions[stream] = self.versions.get(stream, 0) + 1
        now = at or self.workplace.now()
        envelope = Envelope(
            new_id(), fact.ce_type, f"/entas/{owner}", fact.topic, fact.key, version, now, now, "test", "correlation"
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

    async def told(self, *facts: Event) -> list[tuple[Event, Envelope]]:
        """One batch of others' facts, taken in as the worker does."""
        published = [self.published(fact) for fact in facts]
        await self.arrive(published)
        return published

    async def arrive(self, facts: Iterable[tuple[Event, Envelope]]) -> None:
        async with self.workplace.transaction(acting_as("projection")) as tx:
            await self.take_in(tx, facts)

    async def take_in(self, tx: Transaction, facts: Iterable[tuple[Event, Envelope]]) -> None:
        slices: dict[str, Slice] = {}
        for offset, (fact, envelope) in enumerate(facts):
            piece = slices.setdefault(fact.topic, Slice(Place(fact.topic, 0), Standing(), Standing()))
            piece.arrivals.append(Arrival(record_of(fact, envelope, piece.place, offset), envelope, Standing()))
        await take_all(SERVICE, self.workplace, tx, list(slices.values()))

    # --- time and sending ---------------------------------------------------------------------------------------------

    def turn_to(self, at: datetime) -> None:
        steer(self.clock, at)

    async def timers_run(self) -> None:
        for timer in SERVICE.timers.all:
            while await run_once(timer, self.workplace):
                pass

    async def next_due(self) -> datetime | None:
        async with self.pool.acquire() as connection:
            return await SERVICE.timers.all[0].next_due(connection)

    def context(self, stopping: asyncio.Event | None = None, **changes: Any) -> JobContext:
        settings = self.settings.model_copy(update=changes)
        return JobContext(self.workplace, settings, stopping or asyncio.Event())

    @asynccontextmanager
    async def sending(self, lanes: Lanes | None = None) -> AsyncIterator[Lanes]:
        """The job that sends, for as long as the block runs."""
        stopping = asyncio.Event()
        context = self.context(stopping)
        own = lanes_from(self.settings) if lanes is None else lanes
        async with seat(self.workplace) as mine:
            working = asyncio.create_task(Desk(context, own, mine).work())
            try:
                yield own
            finally:
                stopping.set()
                await working
                await close(own)

    async def send_all(self, lanes: Lanes | None = None) -> None:
        """Lets the job run until nothing is due now."""
        async with self.sending(lanes):
            await eventually(self.nothing_is_due, seconds=20)

    async def nothing_is_due(self) -> bool:
        due = await self.next_due()
        return due is None or due > self.workplace.now()

    def taken(self, channel: str = "whatsapp") -> list[dict[str, Any]]:
        """What the file sink has of a channel."""
        file = self.folder / f"{channel}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    # --- looking ------------------------------------------------------------------------------------------------------

    async def ledger(self, **where: str) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("SELECT * FROM delivery ORDER BY requested_at, notification_id")
        found = [dict(row) for row in rows]
        return [row for row in found if all(row[name] == value for name, value in where.items())]

    async def statuses(self) -> dict[tuple[str, str], tuple[str, str | None]]:
        """(rule, recipient) -> (status, because)."""
        return {(r["rule_id"], r["recipient_id"]): (r["status"], r["because"]) for r in await self.ledger()}

    async def facts(self, notification_id: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """What the log says of deliveries, or of one: names and payloads, in order."""
        rows = await self.pool.fetch(
            """
            SELECT type, value
            FROM log
            WHERE topic = 'notifications.deliveries'
              AND stream = coalesce($1, stream)
            ORDER BY id
            """,
            notification_id,
        )
        return [(row["type"].split(".")[2], json.loads(row["value"])) for row in rows]

    async def names(self, notification_id: str | None = None) -> list[str]:
        return [name for name, _ in await self.facts(notification_id)]


@asynccontextmanager
async def notifications_at(url: str, folder: Path, **senders: str | None) -> AsyncIterator[Notifications]:
    """A service on this database. Each channel goes to a file unless something else is said."""
    clock, sink = folder / "clock", folder / "sink"
    steer(clock, NOW)
    channels = {f"sender_{channel}": f"file://{sink}" for channel in ("whatsapp", "sms", "email")}
    issuer, authority = Issuer(), KeyAuthority()
    signing_key = issuer.publish("first")
    async with AsyncExitStack() as opened:
        issuer_url = await opened.enter_async_context(served(issuer.app))
        registry_url = await opened.enter_async_context(served(authority.app))
        given: dict[str, Any] = {
            "environment": "test",
            "database_url": url,
            "kafka_bootstrap": "localhost:1",
            "token_issuer": ISSUER,
            "jwks_url": f"{issuer_url}/jwks",
            "registry_url": registry_url,
            "clock_file": clock,
        }
        settings = SenderSettings(**(given | channels | senders))
        pool = await open_pool(url, size=10)
        opened.push_async_callback(pool.close)
        keys = RemoteKeys(registry_url, ServiceToken(f"{issuer_url}/token", "notifications", "a secret"))
        opened.push_async_callback(keys.aclose)
        workplace = Workplace(
            SERVICE.name, pool, SERVICE.tables, BorrowedKeys(keys), clock_from(settings).now, lambda: None
        )
        app = opened.enter_context(api_of(SERVICE, settings, workplace))
        client = await opened.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notifications.test")
        )
        environment = {
            "ENTAS_ENVIRONMENT": "test",
            "ENTAS_DATABASE_URL": url,
            "ENTAS_TOKEN_ISSUER": ISSUER,
            "ENTAS_JWKS_URL": f"{issuer_url}/jwks",
            "ENTAS_TOKEN_URL": f"{issuer_url}/token",
            "ENTAS_CLIENT_ID": "notifications",
            "ENTAS_CLIENT_SECRET": "a secret",
            "ENTAS_REGISTRY_URL": registry_url,
            "ENTAS_CLOCK_FILE": str(clock),
            **{f"ENTAS_{name.upper()}": value for name, value in (channels | senders).items() if value is not None},
        }
        yield Notifications(pool, workplace, settings, client, signing_key, clock, sink, authority, environment)


@pytest.fixture
async def bare(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Notifications]:
    """An empty service at 1 July 2024, 09.05 in Mataram."""
    url = await fresh_database("notifications", lambda dsn: migrate(dsn, SERVICE.migrations) and None)
    async with notifications_at(url, tmp_path) as made:
        yield made


@pytest.fixture
async def notifications(bare: Notifications) -> Notifications:
    """The same, with the project's default templates and rules in force."""
    await bare.given(*defaults())
    return bare
