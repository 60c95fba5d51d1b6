"""From a command's commit until another service's projection shows it: p50 and p99 under a steady load.

The load is open: commands leave on time whether or not those before them are done.
"""

import asyncio
import logging
import multiprocessing
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import structlog
import uvloop

from benchmarks.world import NOW, Site, list_households
from contracts.registry import DelistingReason, HouseholdDelisted
from deploy.demo.lists import ListSize, write_list
from deploy.local.issuer import token_for
from services.kit.consumer import Consumer
from services.kit.database import open_pool
from services.kit.garbage import look_less_often
from services.kit.keyring import LocalKeys
from services.kit.reactions import Reactions
from services.kit.relay import Nudge, Relay
from services.kit.transaction import Workplace, acting_as
from services.training.state import TABLES as TRAINING_TABLES
from tests.journeys.oracle import Oracle
from tests.journeys.oracle.lists import read_list
from tests.journeys.programme import PRIORITY, VERIFICATION, Programme
from tests.support.world import REGISTRY, World

POLL_SECONDS = 0.005
CONNECTIONS = 20  # that the calling system keeps open
AT_ONCE = 500  # persons in one assignment


@dataclass
class Latencies:
    """Seconds from commit to projection, the rate that was really reached, and what was lost on the way (nothing)."""

    seconds: list[float]
    commands_a_second: float

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass
class Watch:
    """Looks every few milliseconds which of the awaited streams have arrived."""

    pool: Any
    query: str  # of the ids in $1 those that are there
    waiting: dict[str, float] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            if self.waiting:
                rows = await self.pool.fetch(self.query, list(self.waiting))
                now = perf_counter()
                self.seen += [max(0.0, now - self.waiting.pop(row["id"])) for row in rows]
            await asyncio.sleep(POLL_SECONDS)

    async def until_all_arrived(self) -> None:
        async with asyncio.timeout(60):
            while self.waiting:  # noqa: ASYNC110 (what is awaited is in the database)
                await asyncio.sleep(0.01)


async def steadily(ids: list[str], rate: float, watch: Watch, command: Callable[[str], Awaitable[None]]) -> Latencies:
    """Sends a command for each id, `rate` a second, and waits until all have arrived."""
    watching = asyncio.ensure_future(watch.run())
    begun = perf_counter()

    async def one(number: int, id_: str) -> None:
        await asyncio.sleep(max(0.0, begun + number / rate - perf_counter()))
        await command(id_)
        watch.waiting[id_] = perf_counter()

    await asyncio.gather(*[one(number, id_) for number, id_ in enumerate(ids)])
    took = perf_counter() - begun
    await watch.until_all_arrived()
    watching.cancel()
    return Latencies(watch.seen, len(ids) / took)


async def over_http(commands: int, rate: float) -> Latencies:
    """Participants are taken out over the registry's API; training's candidates are looked at. Every process of the
    house really runs, and three services read what is measured."""
    with World(NOW) as world, tempfile.TemporaryDirectory() as folder:
        world.start()
        people = await asyncio.to_thread(_listed, world, Path(folder), commands)
        token = token_for(
            "programme", token_url=f"{world.layout.issuer_url}/token", clients_file=world.layout.clients_file
        )
        training = urlsplit(world.postgres_server.dsn)._replace(path="/entas_training").geturl()
        async with AsyncExitStack() as opened:
            pool = await opened.enter_async_context(asyncpg.create_pool(training, min_size=1, max_size=1))
            client = await opened.enter_async_context(
                aiohttp.ClientSession(
                    f"http://127.0.0.1:{world.layout.ports['registry-api']}",
                    headers={"Authorization": f"Bearer {token}"},
                    connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                )
            )

            async def call(path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
                async with client.post(path, json=body, headers={"Idempotency-Key": key}) as answer:
                    assert answer.status == 200, await answer.text()
                    return await answer.json()  # type: ignore[no-any-return]

            async def reject(person: str) -> None:
                await call(f"/participants/{person}/rejection", f"reject-{person}", {"reason": "not_willing"})

            for first in range(0, len(people), AT_ONCE):
                body = {"person_ids": people[first : first + AT_ONCE], "facilitator_id": "f", "due_on": "2024-12-31"}
                answer = await call("/assignments", f"assign-{first}", body)
                assert answer["done"] == len(body["person_ids"]), answer
            await _until(pool, "SELECT count(*) FROM candidate", len(people))
            query = "SELECT participant_id AS id FROM candidate WHERE participant_id = ANY($1::text[])"
            return await steadily(people, rate, Watch(pool, f"{query} AND status = 'rejected'"), reject)


def _listed(world: World, folder: Path, people: int) -> list[str]:
    """So many adults of a list that the house has taken in, each of another household, in any order."""
    programme = Programme(world, Oracle(NOW))
    for kind, definition in (("priority", PRIORITY), ("verification", VERIFICATION)):
        programme.adopt(REGISTRY, kind, definition)
    path = folder / "p3ke.csv"
    size = ListSize("bench", households=people, people=people * 4, villages_per_kabupaten=2)
    write_list(path, size, dated=date(2024, 6, 1))
    programme.take_in(read_list(path, "P3KE", date(2024, 6, 1), ["52"]))
    adults = {home: person for (home, person), row in programme.oracle.registry.members.items() if row["adult"]}
    listed = list(adults.values())
    random.Random(1).shuffle(listed)
    return listed


async def _until(pool: Any, query: str, count: int) -> None:
    while await pool.fetchval(query) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def of_the_kit(registry: Site, training: Site, kafka: str, transactions: int, rate: float) -> Latencies:
    """Households are delisted by the kit's own transactions; relay and consumer run beside them, each in a process."""
    await list_households(registry, transactions)
    nudge, stopping = Nudge(registry.pool), asyncio.Event()
    place = registry.workplace
    workplace = Workplace(place.service, place.pool, place.tables, place.keyring, place.now, nudge)
    nudging = asyncio.ensure_future(nudge.run(stopping))
    with _beside("registry", registry.dsn, kafka), _beside("training", training.dsn, kafka):
        await _until(training.pool, "SELECT count(*) FROM demand", transactions)
        rows = await registry.pool.fetch("SELECT household_id FROM household")

        async def delist(household: str) -> None:
            async with workplace.transaction(acting_as("bench")) as tx:
                await tx.decide([HouseholdDelisted(household_id=household, reason=DelistingReason.NOT_ON_LIST)])

        query = "SELECT household_id AS id FROM demand WHERE household_id = ANY($1::text[]) AND status = 'delisted'"
        households = [row["household_id"] for row in rows]
        measured = await steadily(households, rate, Watch(training.pool, query), delist)
    stopping.set()
    await nudging
    return measured


@contextmanager
def _beside(service: str, dsn: str, kafka: str) -> Iterator[None]:
    """What a service's worker would do here, in a process of its own until the block ends."""
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(service, dsn, kafka), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _work(service: str, dsn: str, kafka: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.WARNING)
    look_less_often()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_relay_or_consume(service, dsn, kafka))


async def _relay_or_consume(service: str, dsn: str, kafka: str) -> None:
    """The registry listens to nobody here, and training tells nobody anything."""
    forever = asyncio.Event()
    if service == "registry":
        await Relay("/entas/registry", dsn, kafka).run(forever)
    else:
        keys = LocalKeys(bytes(32))
        workplace = Workplace(service, await open_pool(dsn), TRAINING_TABLES, keys, lambda: NOW, lambda: None)
        await Consumer(workplace, kafka, Reactions(), ()).run(forever)
