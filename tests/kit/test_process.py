"""Processes of a real service: killed anywhere they lose and double nothing, told to end they end, early they wait."""

import asyncio
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.daemon import Daemon, free_ports
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.kit.test_intake import message, send
from tests.kit.test_relay import assert_whole
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, all_records, eventually, make_topics, migrate_lab
from tests.support.stack import ROOT, Stack

COMMAND = ("python", "-m", "tests.support.lab_service")
END_SECONDS = 5.0


async def soon(check: Callable[[], Awaitable[Any]]) -> None:
    """Starting a process takes its time where many run."""
    await eventually(check, seconds=90)


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@dataclass
class House:
    """The lab's api and worker as processes, and somebody who calls, publishes and counts by hand what was said."""

    lab: Lab
    stack: Stack
    dsn: str
    kafka: str
    environment: dict[str, str]
    bearer: str
    api_port: int
    worker_port: int
    client: httpx.AsyncClient
    daemons: dict[str, Daemon] = field(default_factory=dict)
    oracle: "Tally[str]" = field(default_factory=Tally)  # counter -> times
    totals: "Tally[str]" = field(default_factory=Tally)  # counter -> sum
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    ends: int = 0

    async def launch(self, role: str, **environment: str) -> None:
        name = f"{self.lab.service}-{role}"
        self.daemons[role] = await asyncio.to_thread(
            self.stack.launch, name, [*COMMAND, role], self.environment | environment
        )

    def log(self, role: str) -> str:
        """What the role's present and former process have logged."""
        files = [self.daemons[role].log_file.with_suffix(".log.1"), self.daemons[role].log_file]
        return "".join(file.read_text() for file in files if file.exists())

    def note(self, counter: str, amount: int) -> None:
        self.oracle[counter] += 1
        self.totals[counter] += amount

    async def command(self, amount: int) -> httpx.Response:
        """One command, sent again with its key until it is answered, as a caller does who wants it done once."""
        number = next(self.numbers)
        counter = f"c{number % 5}"
        headers = {"Authorization": f"Bearer {self.bearer}", "Idempotency-Key": f"command-{number}"}
        while True:
            try:
                answer = await self.client.post(f"/counters/{counter}/counts", json={"amount": amount}, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code not in (409, 503):
                assert answer.status_code == 201, answer.text
                self.note(counter, amount)
                return answer
            await asyncio.sleep(0.05)

    async def publish(self, *amounts: int) -> None:
        """Messages of the partner, each of them twice."""
        messages = []
        for amount in amounts:
            number = next(self.numbers)
            counter = f"c{number % 5}"
            messages += [message(self.lab, f"message-{number}", counter, amount)] * 2
            self.note(counter, amount)
        await send(self.kafka, self.lab.partner_topic, messages)

    async def remind(self, database: Any, count: int) -> None:
        for _ in range(count):
            counter = f"c{next(self.numbers) % 5}"
            await database.execute("INSERT INTO reminder (counter_id, due_at) VALUES ($1, now())", counter)
            self.note(counter, 1)

    async def progress(self) -> dict[str, Any]:
        """What the worker's health says; empty while nobody answers."""
        try:
            answer = await self.client.get(f"http://127.0.0.1:{self.worker_port}/health/progress")
        except httpx.TransportError:
            return {}
        state: dict[str, Any] = answer.json()
        return state

    async def all_dealt_with(self) -> bool:
        state = await self.progress()
        return state.get("lag") == 0 and state.get("outbox") == 0 and state.get("next_due") is None

    async def api_is_ready(self) -> bool:
        try:
            return (await self.client.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def worker_is_ready(self) -> bool:
        state = await self.progress()
        return bool(state.get("ready") and state["relay_leads"] and state["lag"] is not None)

    async def assert_as_the_oracle_says(self) -> None:
        database = await asyncpg.connect(self.dsn)
        rows = await database.fetch("SELECT counter_id, version, times, total FROM counter")
        events = await database.fetchval("SELECT count(*) FROM log")
        await database.close()
        assert {row["counter_id"]: row["times"] for row in rows} == dict(self.oracle)
        assert {row["counter_id"]: row["total"] for row in rows} == dict(self.totals)
        assert [row["version"] for row in rows] == [row["times"] for row in rows]
        seen = await all_records(self.kafka, self.lab.topic)
        assert_whole(seen, events)
        # What an outside reader makes of Kafka alone, each sequence once.
        told: Tally[str] = Tally()
        for value, key in {s.position.sequence: (s.value, s.envelope.key) for s in seen}.values():
            told[key] += json.loads(value)["amount"]
        assert told == self.totals


@asynccontextmanager
async def house(lab: Lab, stack: Stack, dsn: str, kafka: str, folder: Path) -> AsyncIterator[House]:
    key_file = folder / "master.key"
    key_file.write_text(secrets.token_hex(32))
    api_port, worker_port = free_ports(2)
    issuer = Issuer()
    signing_key = issuer.publish("first")
    async with AsyncExitStack() as opened:
        issuer_url = await opened.enter_async_context(served(issuer.app))
        environment = {
            "LAB": lab.service,
            "ENTAS_ENVIRONMENT": "test",
            "ENTAS_DATABASE_URL": dsn,
            "ENTAS_KAFKA_BOOTSTRAP": kafka,
            "ENTAS_API_PORT": str(api_port),
            "ENTAS_WORKER_PORT": str(worker_port),
            "ENTAS_TOKEN_ISSUER": ISSUER,
            "ENTAS_JWKS_URL": f"{issuer_url}/jwks",
            "ENTAS_MASTER_KEY_FILE": str(key_file),
        }
        client = await opened.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{api_port}", timeout=10)
        )
        bearer = token(signing_key, areas=["*"])
        made = House(lab, stack, dsn, kafka, environment, bearer, api_port, worker_port, client)
        try:
            yield made
        except BaseException:
            for role in made.daemons:
                print(f"--- {role}:\n{made.log(role)[-6000:]}")  # noqa: T201 (shown where the test fails)
            raise
        finally:
            for daemon in made.daemons.values():
                await asyncio.to_thread(daemon.kill)


# --- Killed at every crash point --------------------------------------------------------------------------------------

WORKER_POINTS = {  # at which passage
    "sealed-not-sent": 2,
    "sent-not-marked": 2,
    "folded-not-committed": 2,
    "committed-not-offset": 2,
    "timer-before-commit": 2,
}
API_POINTS = {"command-before-commit": 3, "command-after-commit": 4}


async def test_killed_at_each_crash_point_nothing_is_lost_and_nothing_doubled(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, stack: Stack, tmp_path: Path
):
    await make_topics(kafka, lab)
    dsn = await fresh_database("lab", migrate_lab)
    async with house(lab, stack, dsn, kafka, tmp_path) as lab_house, AsyncExitStack() as opened:
        marks = tmp_path / "reached"
        marks.mkdir()
        points = {"worker": WORKER_POINTS, "api": API_POINTS}
        armed = {
            role: {
                "ENTAS_CRASH_POINTS": ",".join(f"{name}:{passage}" for name, passage in of_role.items()),
                "ENTAS_CRASH_ONCE_DIR": str(marks),
            }
            for role, of_role in points.items()
        }
        stopping = asyncio.Event()

        async def supervise(role: str) -> None:
            while not stopping.is_set():
                if role not in lab_house.daemons or lab_house.daemons[role].has_ended(0):
                    await lab_house.launch(role, **armed[role])
                await asyncio.sleep(0.05)

        supervised = asyncio.gather(*[supervise(role) for role in points])
        opened.callback(supervised.cancel)
        database = await asyncpg.connect(dsn)
        opened.push_async_callback(database.close)

        async def keep_going(step: Callable[[], Any]) -> None:
            """Until every point was reached: what happens meanwhile happens while others are dead."""
            rounds = 0
            while {file.name for file in marks.iterdir()} != {*WORKER_POINTS, *API_POINTS} or rounds < 10:
                await step()
                await asyncio.sleep(0.1)
                rounds += 1

        async with asyncio.timeout(240):
            await asyncio.gather(
                keep_going(lambda: lab_house.command(3)),
                keep_going(lambda: lab_house.publish(5, 7)),
                keep_going(lambda: lab_house.remind(database, 2)),
            )
            await soon(lab_house.all_dealt_with)
        stopping.set()
        await supervised
        await lab_house.assert_as_the_oracle_says()
        for role in points:
            assert "Traceback" not in lab_house.log(role), lab_house.log(role)


# --- Starting early, ending in time -----------------------------------------------------------------------------------


async def ends_in_time(lab_house: House, *roles: str) -> None:
    """Tells the processes to end, all at once, and sees that they do, by themselves."""
    daemons = [lab_house.daemons[role] for role in roles]
    for daemon in daemons:
        assert daemon.send(signal.SIGTERM), f"{daemon.name} had ended before: {daemon.log_tail()}"
    started = time.monotonic()
    for daemon in daemons:
        left = END_SECONDS - (time.monotonic() - started)
        assert await asyncio.to_thread(daemon.has_ended, left), f"{daemon.name} runs on:\n{daemon.log_tail(40)}"


async def logged(lab_house: House, role: str, words: str) -> bool:
    return words in lab_house.log(role)


async def test_processes_start_before_their_servers_and_end_in_time_whatever_these_do(
    lab: Lab, private_stack: Stack, tmp_path: Path
):
    server, broker = await asyncio.gather(
        asyncio.to_thread(lambda: private_stack.postgres), asyncio.to_thread(lambda: private_stack.kafka)
    )
    superuser = await asyncpg.connect(server)
    await superuser.execute("CREATE DATABASE lab")
    await superuser.close()
    dsn = urlsplit(server)._replace(path="/lab").geturl()
    migrate_lab(dsn)
    await make_topics(broker, lab)
    await asyncio.gather(asyncio.to_thread(private_stack.kill_postgres), asyncio.to_thread(private_stack.stop_kafka))
    async with house(lab, private_stack, dsn, broker, tmp_path) as lab_house:
        # Neither server is there yet.
        await asyncio.gather(lab_house.launch("api"), lab_house.launch("worker"))
        await soon(lambda: logged(lab_house, "api", "waiting for the database"))
        await soon(lambda: logged(lab_house, "worker", "waiting for the database"))
        await asyncio.to_thread(private_stack.start_postgres)
        await soon(lab_house.api_is_ready)
        await soon(lambda: logged(lab_house, "worker", "waiting for Kafka"))
        await lab_house.command(1)
        await asyncio.to_thread(private_stack.start_kafka)
        await soon(lab_house.worker_is_ready)
        await lab_house.publish(2, 3)
        await soon(lab_house.all_dealt_with)

        # Kafka freezes. Commands go on, and the worker still ends in time.
        private_stack.freeze_kafka()
        for _ in range(5):
            await lab_house.command(4)
        await asyncio.sleep(0.3)
        await ends_in_time(lab_house, "worker")

        # A request that is under way when the process is told to end gets its answer.
        database = await asyncpg.connect(dsn)
        async with database.transaction():
            await database.execute("LOCK TABLE counter IN SHARE ROW EXCLUSIVE MODE")
            under_way = asyncio.ensure_future(lab_house.command(5))
            await asyncio.sleep(0.3)
            ending = asyncio.ensure_future(ends_in_time(lab_house, "api"))
            await asyncio.sleep(0.3)
        assert (await under_way).json()["total"] > 0
        await ending
        await database.close()
        private_stack.thaw_kafka()

        # What was said meanwhile is there, once.
        await asyncio.gather(lab_house.launch("api"), lab_house.launch("worker"))
        await soon(lab_house.api_is_ready)
        await soon(lab_house.worker_is_ready)
        await lab_house.command(6)
        await soon(lab_house.all_dealt_with)
        await lab_house.assert_as_the_oracle_says()

        # PostgreSQL is gone.
        await asyncio.to_thread(private_stack.kill_postgres)
        answer = await lab_house.client.get("/health/ready")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert (await lab_house.progress())["ready"] is False
        await ends_in_time(lab_house, "api", "worker")


# --- What is refused at the start -------------------------------------------------------------------------------------


async def test_a_start_that_cannot_be_right_is_refused_in_words(lab: Lab, kafka: str, tmp_path: Path):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(lab.topic, 7, 1)])
    await admin.close()
    (tmp_path / "master.key").write_text("00" * 32)
    complete = {
        "LAB": lab.service,
        "ENTAS_ENVIRONMENT": "test",
        "ENTAS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "ENTAS_KAFKA_BOOTSTRAP": kafka,
        "ENTAS_TOKEN_ISSUER": ISSUER,
        "ENTAS_JWKS_URL": "https://issuer.entas.test/jwks",
        "ENTAS_MASTER_KEY_FILE": str(tmp_path / "master.key"),
    }
    aids = {
        "ENTAS_ENVIRONMENT": "production",
        "ENTAS_CLOCK_FILE": "/tmp/clock",
        "ENTAS_CRASH_POINTS": "sealed-not-sent",
    }
    nothing, production, partitions, no_database, no_kafka, no_command = await asyncio.to_thread(
        ends_of,
        ({"LAB": lab.service}, "api"),
        (complete | aids, "worker"),
        (complete, "topics"),
        (complete, "migrate"),
        (complete | {"ENTAS_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, "topics"),
        (complete, "--help"),
    )
    assert nothing["code"] == 1
    lines = nothing["printed"].splitlines()
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP", "TOKEN_ISSUER", "JWKS_URL"):
        assert len([line for line in lines if line.startswith(f"  ENTAS_{name}: is not set")]) == 1, lines
    assert len(lines) == 5

    assert production["code"] == 1
    for name in ("CLOCK_FILE", "CRASH_POINTS"):
        assert f"ENTAS_{name}: is for demo and test; unset it in production" in production["printed"]

    assert partitions["code"] == 1
    assert f"the topic {lab.topic} has 7 partitions, contracts/topics.py says 3" in partitions["printed"]
    assert no_database["code"] == 1
    assert "ENTAS_DATABASE_URL cannot be reached" in no_database["printed"]
    assert no_kafka["code"] == 1
    assert "Kafka at 127.0.0.1:1 (ENTAS_KAFKA_BOOTSTRAP) cannot be reached" in no_kafka["printed"]
    for refused in (nothing, production, partitions, no_database, no_kafka):
        assert "Traceback" not in refused["printed"]
    assert no_command["code"] == 0
    assert {"api", "worker", "migrate", "topics"} <= set(no_command["printed"].split())


def ends_of(*starts: tuple[dict[str, str], str]) -> list[dict[str, Any]]:
    asked = [{"command": [command], "environment": environment} for environment, command in starts]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ENTAS_")}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.lab_service.refusals"],
        input=json.dumps(asked),
        env=ours | {"TERM": "dumb", "COLUMNS": "200"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told: list[dict[str, Any]] = json.loads(ended.stdout)
    return told


async def test_a_worker_whose_topics_differ_does_not_start(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, tmp_path: Path
):
    from services.kit.process import serve_worker
    from services.kit.settings import Settings
    from services.kit.topics import TopicsDiffer
    from tests.support.lab_service.service import service_of

    (tmp_path / "master.key").write_text("00" * 32)
    settings = Settings(
        environment="test",
        database_url=await fresh_database("lab", migrate_lab),
        kafka_bootstrap=kafka,
        token_issuer=ISSUER,
        jwks_url="https://issuer.entas.test/jwks",
        master_key_file=tmp_path / "master.key",
    )
    with pytest.raises(TopicsDiffer, match="is missing"):
        await serve_worker(service_of(lab), settings, asyncio.Event())
