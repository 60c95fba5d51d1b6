"""The throw-away stack of the tests keeps its promises."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import launch
from deploy.local.daemon import Daemon, End
from tests.support.databases import FreshDatabase
from tests.support.stack import ROOT, Stack, processes_of


async def migrate(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE visit (id int PRIMARY KEY)")
    await connection.close()


async def count_of_visits(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM visit"))
    finally:
        await connection.close()


async def record_visit(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("INSERT INTO visit SELECT count(*) + 1 FROM visit")
    finally:
        await connection.close()


async def test_each_database_is_fresh_though_the_template_is_migrated_once(fresh_database: FreshDatabase) -> None:
    migrations: list[str] = []

    async def counted(dsn: str) -> None:
        migrations.append(dsn)
        await migrate(dsn)

    first = await fresh_database("counted", counted)
    await record_visit(first)
    second = await fresh_database("counted", counted)
    assert (await count_of_visits(first), await count_of_visits(second), len(migrations)) == (1, 0, 1)


async def test_a_killed_postgres_keeps_what_it_acknowledged(private_stack: Stack) -> None:
    dsn = private_stack.postgres
    await migrate(dsn)
    for _ in range(20):
        await record_visit(dsn)
    await asyncio.to_thread(private_stack.restart_postgres, immediate=True)
    assert await count_of_visits(dsn) == 20


async def test_a_frozen_and_killed_kafka_keeps_what_it_acknowledged(private_stack: Stack) -> None:
    bootstrap = private_stack.kafka
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    created = await admin.create_topics([NewTopic("visits", 1, 1)])
    await admin.close()
    assert [code for _, code, *_ in created.topic_errors] == [0], created
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait("visits", b"before")
        private_stack.freeze_kafka()
        late = asyncio.ensure_future(producer.send_and_wait("visits", b"while frozen"))
        done, _ = await asyncio.wait([late], timeout=0.5)
        assert not done
        private_stack.thaw_kafka()
        await late
    private_stack.freeze_kafka()
    private_stack.kill_kafka()
    await asyncio.to_thread(private_stack.start_kafka)
    async with AIOKafkaConsumer("visits", bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        assert [(await consumer.getone()).value for _ in range(2)] == [b"before", b"while frozen"]


def test_nothing_of_a_stack_survives_a_killed_test_run() -> None:
    script = "from tests.support.stack import Stack; s = Stack(); s.postgres; print(s.folder, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        folder = Path(run.stdout.readline().strip())
        assert processes_of(folder)
        os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60  # An engine that starts and ends other containers meanwhile takes its time.
    while processes_of(folder) or folder.exists():
        assert time.monotonic() < deadline, f"{processes_of(folder)} in {folder} survived"
        time.sleep(0.05)


def test_servers_that_exist_are_used(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(
        "def test_it(postgres, kafka): assert (postgres, kafka) == ('postgresql://there/postgres', 'there:9092')"
    )
    inner = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", f"--rootdir={ROOT}", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": "postgresql://there/postgres", "KAFKA_BOOTSTRAP": "there:9092"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in inner.stdout, inner.stdout


def test_a_process_that_is_reaped_between_two_signals_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon("sleeper", tmp_path)
    daemon.pid_file.parent.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"])
    launch.note(daemon.pid_file, sleeper.pid)
    send = signal.pidfd_send_signal

    def send_and_reap(handle: int, number: signal.Signals) -> None:
        send(handle, number)
        sleeper.wait()

    monkeypatch.setattr("deploy.local.daemon.signal.pidfd_send_signal", send_and_reap)
    assert daemon.kill() is End.STOPPED
    assert daemon.pid() is None
