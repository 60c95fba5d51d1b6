"""Processes of a real service: killed anywhere they lose and double nothing, told to end they end, early they wait."""

import asyncio
import itertools
import json
import secrets
import signal
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.daemon import Daemon, free_ports
from services.kit.keyring import LocalKeys
from services.kit.process import serve_api, serve_worker
from services.kit.settings import Settings
from services.kit.topics import TopicsDiffer
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.kit.test_intake import message, send
from tests.kit.test_relay import assert_whole
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, all_records, eventually, make_topics, migrate_lab
from tests.support.lab_service.service import service_of
from tests.support.nursery import Child, nursery
from tests.support.stack import Stack

END_SECONDS = 5.0
LAB_SERVICE = "tests.support.lab_service"


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
    dsn: str
    kafka: str
    environment: dict[str, str]
    bearer: str
    api_port: int
    worker_port: int
    client: httpx.AsyncClient
    oracle: "Tally[str]" = field(default_factory=Tally)  # counter -> times
    totals: "Tally[str]" = field(default_factory=Tally)  # counter -> sum
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

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
async def house(lab: Lab, dsn: str, kafka: str, folder: Path) -> AsyncIterator[House]:
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
        yield House(lab, dsn, kafka, environment, bearer, api_port, worker_port, client)


@contextmanager
def shown_if_it_fails(*logs: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for file in logs:
            if file.exists():
                print(f"--- {file.name}:\n{file.read_text()[-6000:]}")  # noqa: T201 (shown where the test fails)
        raise


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
    lab: Lab, fresh_database: FreshDatabase, kafka: str, tmp_path: Path
):
    await make_topics(kafka, lab)
    dsn = await fresh_database("lab", migrate_lab)
    marks = tmp_path / "reached"
    marks.mkdir()
    armed = {"worker": WORKER_POINTS, "api": API_POINTS}
    logs = {role: tmp_path / f"{role}.log" for role in armed}
    async with AsyncExitStack() as opened:
        opened.enter_context(shown_if_it_fails(*logs.values()))
        lab_house = await opened.enter_async_context(house(lab, dsn, kafka, tmp_path))
        lab_nursery = opened.enter_context(nursery(LAB_SERVICE, environment=lab_house.environment))
        database = await asyncpg.connect(dsn)
        opened.push_async_callback(database.close)
        stopping = asyncio.Event()

        async def supervise() -> None:
            """Starts each role again as soon as it has died."""
            running: dict[str, Child] = {}
            while not stopping.is_set():
                for role, points in armed.items():
                    if role not in running or running[role].has_ended():
                        at = ",".join(f"{name}:{passage}" for name, passage in points.items())
                        crash = {"ENTAS_CRASH_POINTS": at, "ENTAS_CRASH_ONCE_DIR": str(marks)}
                        running[role] = lab_nursery.start(LAB_SERVICE, role, environment=crash, log_file=logs[role])
                await asyncio.sleep(0.05)
            for child in running.values():
                child.kill()

        supervised = asyncio.ensure_future(supervise())
        opened.callback(supervised.cancel)

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
        for file in logs.values():
            assert "Traceback" not in file.read_text()


# --- Starting early, ending in time -----------------------------------------------------------------------------------


async def end_in_time(*daemons: Daemon) -> None:
    """Tells the processes to end, all at once, and sees that they do, by themselves."""
    for daemon in daemons:
        assert daemon.send(signal.SIGTERM), f"{daemon.name} had ended before: {daemon.log_tail()}"
    started = time.monotonic()
    for daemon in daemons:
        left = END_SECONDS - (time.monotonic() - started)
        assert await asyncio.to_thread(daemon.has_ended, left), f"{daemon.name} runs on:\n{daemon.log_tail(40)}"


async def logged(daemon: Daemon, words: str) -> bool:
    return words in daemon.log_file.read_text()


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
    async with AsyncExitStack() as opened:
        lab_house = await opened.enter_async_context(house(lab, dsn, broker, tmp_path))

        async def launched(role: str) -> Daemon:
            command = ["python", "-m", "tests.support.lab_service", role]
            return await asyncio.to_thread(private_stack.launch, role, command, lab_house.environment)

        # Neither server is there yet.
        api, worker = await asyncio.gather(launched("api"), launched("worker"))
        opened.enter_context(shown_if_it_fails(api.log_file, worker.log_file))
        await soon(lambda: logged(api, "waiting for the database"))
        await soon(lambda: logged(worker, "waiting for the database"))
        await asyncio.to_thread(private_stack.start_postgres)
        await soon(lab_house.api_is_ready)
        await soon(lambda: logged(worker, "waiting for Kafka"))
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
        await end_in_time(worker)

        # A request that is under way when the process is told to end gets its answer.
        database = await asyncpg.connect(dsn)
        async with database.transaction():
            await database.execute("LOCK TABLE counter IN SHARE ROW EXCLUSIVE MODE")
            under_way = asyncio.ensure_future(lab_house.command(5))
            await asyncio.sleep(0.3)
            ending = asyncio.ensure_future(end_in_time(api))
            await asyncio.sleep(0.3)
        assert (await under_way).json()["total"] > 0
        await ending
        await database.close()
        private_stack.thaw_kafka()

        # What was said meanwhile is there, once.
        api, worker = await asyncio.gather(launched("api"), launched("worker"))
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
        await end_in_time(api, worker)


# --- What is refused at the start -------------------------------------------------------------------------------------


async def test_a_start_that_cannot_be_right_is_refused_in_words(lab: Lab, kafka: str, tmp_path: Path):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(lab.topic, 7, 1)])
    await admin.close()
    (tmp_path / "master.key").write_text("00" * 32)
    complete = {
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
    starts = {
        "nothing": ({}, "api"),
        "production": (complete | aids, "worker"),
        "partitions": (complete, "topics"),
        "no_database": (complete, "migrate"),
        "no_kafka": (complete | {"ENTAS_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, "topics"),
        "help": (complete, "--help"),
    }
    codes, told = {}, {}
    with nursery(LAB_SERVICE, environment={"LAB": lab.service}) as starting:
        for name, (environment, command) in starts.items():
            child = starting.start(LAB_SERVICE, command, environment=environment, log_file=tmp_path / f"{name}.log")
            codes[name] = await asyncio.wait_for(asyncio.wrap_future(child.ended), 60)
            told[name] = child.log_file.read_text()
    assert codes == {**dict.fromkeys(starts, 1), "help": 0}, told
    for text in told.values():
        assert "Traceback" not in text

    lines = told["nothing"].splitlines()
    for variable in ("DATABASE_URL", "KAFKA_BOOTSTRAP", "TOKEN_ISSUER", "JWKS_URL"):
        assert len([line for line in lines if line.startswith(f"  ENTAS_{variable}: is not set")]) == 1, lines
    assert len(lines) == 5
    for variable in ("CLOCK_FILE", "CRASH_POINTS"):
        assert f"ENTAS_{variable}: is for demo and test; unset it in production" in told["production"]
    assert f"the topic {lab.topic} has 7 partitions, contracts/topics.py says 3" in told["partitions"]
    assert "ENTAS_DATABASE_URL cannot be reached" in told["no_database"]
    assert "Kafka at 127.0.0.1:1 (ENTAS_KAFKA_BOOTSTRAP) cannot be reached" in told["no_kafka"]
    assert {"api", "worker", "migrate", "topics"} <= set(told["help"].split())


async def test_a_worker_whose_topics_differ_does_not_start(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, tmp_path: Path
):
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


class ClosingKeys(LocalKeys):
    """Keys that remember whether they were let go of."""

    closed = False

    async def aclose(self) -> None:
        self.closed = True


async def test_a_process_that_ends_lets_go_of_its_keys(lab: Lab, fresh_database: FreshDatabase):
    (port,) = free_ports(1)
    settings = Settings(
        environment="test",
        database_url=await fresh_database("lab", migrate_lab),
        kafka_bootstrap="localhost:1",
        api_port=port,
        token_issuer=ISSUER,
        jwks_url="https://issuer.entas.test/jwks",
    )
    keys, stopping = ClosingKeys(bytes(32)), asyncio.Event()
    running = asyncio.ensure_future(serve_api(replace(service_of(lab), keyring=lambda _: keys), settings, stopping))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def is_live() -> bool:
            with suppress(httpx.TransportError):
                return (await client.get("/health/live")).status_code == 200
            return False

        await soon(is_live)
    assert not keys.closed
    stopping.set()
    await asyncio.wait_for(running, 2 * END_SECONDS)
    assert keys.closed
