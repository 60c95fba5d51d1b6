"""What `make up` and `make down` promise, tried on real servers with a stand-in for a service."""

import base64
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import httpx
import jwt
import psutil
import psycopg
import pytest

from deploy.local import layout as layouts
from deploy.local import postgres
from deploy.local.daemon import Daemon, StackError, free_ports
from deploy.local.issuer import token_for
from deploy.local.kafka import Kafka
from deploy.local.layout import ROOT, Layout, Service, default_ports
from deploy.local.stack import clean, down, up
from tests.support.stack import processes_of

STANDIN = (Service("registry", 0, 0, package="tests.deploy.standin"),)


def new_layout(folder: Path) -> Layout:
    names = list(default_ports(STANDIN))
    return Layout(folder, STANDIN, dict(zip(names, free_ports(len(names)), strict=True)))


def pids(layout: Layout) -> dict[str, int | None]:
    return {name: Daemon(name, layout.folder).pid() for name in layout.ports if name != "kafka-controller"}


def told_by_up(layout: Layout, **options: float) -> str:
    said: list[str] = []
    up(layout, said.append, **options)  # type: ignore[arg-type]
    return "\n".join(said)


def told_by_down(layout: Layout) -> str:
    said: list[str] = []
    down(layout, said.append)
    return "\n".join(said)


def living() -> set[int | None]:
    return {p.pid for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE}


def stop_services(layout: Layout) -> None:
    for role in ("api", "worker"):
        Daemon(f"registry-{role}", layout.folder).kill()


@contextmanager
def temporary_layout() -> Iterator[Layout]:
    """A stack's layout in a folder of its own; afterwards nothing of it runs and nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="entas-up-") as folder:
        made = new_layout(Path(folder))
        try:
            yield made
        finally:
            clean(made, lambda line: None)
        assert processes_of(made.folder) == []
        assert list(made.folder.iterdir()) == []


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """One stack for the tests of this file; each begins with `up`, which makes it whole again."""
    with temporary_layout() as made:
        yield made


def test_a_port_is_given_once_though_nobody_listens_there_yet():
    ports = [port for _ in range(8) for port in free_ports(10)]
    assert len(set(ports)) == 80


def test_a_second_up_says_that_all_is_running_and_changes_nothing(layout: Layout) -> None:
    up(layout, lambda line: None)
    before = pids(layout)
    assert None not in before.values()
    assert "already running" in told_by_up(layout)
    assert pids(layout) == before


def test_up_starts_again_only_what_was_killed(layout: Layout) -> None:
    up(layout, lambda line: None)
    before = pids(layout)
    os.kill(before["registry-worker"] or 0, signal.SIGKILL)
    told = told_by_up(layout)
    after = pids(layout)
    assert "Found running" in told
    assert {name for name in before if before[name] != after[name]} == {"registry-worker"}


def test_up_waits_for_a_server_that_runs_and_does_not_answer_yet(layout: Layout) -> None:
    up(layout, lambda line: None)
    broker = Daemon("kafka", layout.folder)
    broker.freeze()
    try:
        with pytest.raises(StackError, match=r"(?s)did not get as far.*found running.*`make down`"):
            up(layout, lambda line: None, patience_seconds=0.5)
        waking = Timer(1.0, broker.thaw)
        waking.start()
        assert "already running" in told_by_up(layout)
        assert not waking.is_alive(), "up said so before the broker could answer"
    finally:
        broker.thaw()


def test_each_service_has_a_database_that_others_cannot_enter(layout: Layout) -> None:
    stack = up(layout, lambda line: None)
    own = stack.database_url(STANDIN[0])
    with psycopg.connect(own) as connection:
        assert connection.execute("SELECT count(*) FROM visit").fetchone() == (0,)
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    stranger = own.replace(layout.secret("registry.password"), "stranger").replace("//entas_registry", "//stranger")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(stranger)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(own.replace(layout.secret("registry.password"), "guessed"))


def test_secrets_are_readable_by_their_owner_alone(layout: Layout) -> None:
    up(layout, lambda line: None)
    assert {path.stat().st_mode & 0o077 for path in (layout.secrets, *layout.secrets.iterdir())} == {0}
    assert not any(layout.secret(file.name) in layout.facts.read_text() for file in layout.secrets.iterdir())


def test_the_issuer_gives_a_token_only_for_the_right_secret(layout: Layout) -> None:
    up(layout, lambda line: None)
    url, secret = f"{layout.issuer_url}/token", layout.client_secret("service:registry")
    fields = {"grant_type": "client_credentials", "client_id": "service:registry", "client_secret": secret}
    basic = {"Authorization": "Basic " + base64.b64encode(f"service:registry:{secret}".encode()).decode()}
    answers = [
        httpx.post(url, data=fields),
        httpx.post(url, json=fields),
        httpx.post(url, data={"grant_type": "client_credentials"}, headers=basic),
    ]
    keys = jwt.PyJWKClient(f"{layout.issuer_url}/.well-known/jwks.json")
    for answer in answers:
        token = answer.json()["access_token"]
        key = keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="entas", issuer=layout.issuer_url)
        assert (claims["sub"], claims["roles"], claims["areas"]) == ("service:registry", ["service:registry"], ["*"])
        assert claims["exp"] - claims["iat"] == 15 * 60
    refused = [
        httpx.post(url, data={**fields, "client_secret": "guessed"}).status_code,
        httpx.post(url, data={**fields, "client_secret": ""}).status_code,
        httpx.post(url, data={**fields, "client_id": "nobody", "client_secret": ""}).status_code,
        httpx.post(url, data={**fields, "grant_type": "password"}).status_code,
        httpx.post(url, content="{", headers={"content-type": "application/json"}).status_code,
        httpx.post(url, data=fields, headers={"Authorization": "Basic x"}).status_code,
    ]
    assert refused == [401, 401, 401, 400, 400, 400]
    officer = token_for("officer", token_url=url, clients_file=layout.clients_file)
    assert jwt.decode(officer, options={"verify_signature": False})["areas"] == ["52"]


def test_a_pid_file_that_outlived_its_process_never_ends_a_stranger(layout: Layout) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            for name, birth in (("registry-api", "another boot/1"), ("issuer", "")):
                daemon = Daemon(name, layout.folder)
                daemon.kill()
                daemon.pid_file.write_text(json.dumps({"pid": stranger.pid, "birth": birth}))
                assert daemon.stop() == "was not running"
                daemon.pid_file.write_text(json.dumps({"pid": stranger.pid, "birth": birth}))
            up(layout, lambda line: None)
            assert stranger.poll() is None
            assert stranger.pid not in pids(layout).values()
        finally:
            stranger.kill()


def test_processes_whose_pid_files_are_gone_are_found_and_ended(layout: Layout) -> None:
    up(layout, lambda line: None)
    before = pids(layout)
    for name in ("issuer", "registry-api"):
        Daemon(name, layout.folder).pid_file.unlink()
    assert "left behind" in told_by_up(layout)
    assert None not in pids(layout).values()
    assert not {before["issuer"], before["registry-api"]} & living()


def test_data_without_its_key_is_refused(layout: Layout) -> None:
    up(layout, lambda line: None)
    hidden = (layout.secrets / "master.key").rename(layout.folder / "hidden")
    with pytest.raises(StackError, match=r"master\.key.*is gone"):
        up(layout, lambda line: None)
    hidden.rename(layout.secrets / "master.key")


def test_a_taken_port_is_named_with_its_holder_and_the_variable_that_moves_it(tmp_path: Path) -> None:
    layout = new_layout(tmp_path)
    with socket.create_server(("127.0.0.1", layout.ports["issuer"])), pytest.raises(StackError) as refused:
        up(layout, lambda line: None)
    for part in (str(layout.ports["issuer"]), f"pid {os.getpid()}", "ENTAS_ISSUER_PORT="):
        assert part in str(refused.value)
    assert not any(pids(layout).values()), "nothing is started when a port is missing"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "birth": "y"}'])
def test_a_broken_pid_file_is_no_process(content: str, tmp_path: Path) -> None:
    daemon = Daemon("broken", tmp_path)
    daemon.pid_file.parent.mkdir()
    daemon.pid_file.write_text(content)
    assert daemon.pid() is None
    assert daemon.stop() == "was not running"


def test_a_running_stack_is_not_moved_to_another_port_or_clock(layout: Layout) -> None:
    up(layout, lambda line: None)
    elsewhere = Layout(layout.folder, STANDIN, layout.ports | {"registry-api": free_ports(1)[0]})
    with pytest.raises(StackError, match="ENTAS_REGISTRY_API_PORT"):
        up(elsewhere, lambda line: None)
    with pytest.raises(StackError, match="goes by the steered clock"):
        up(layout, lambda line: None, steered_clock=False)


def test_a_service_that_fails_is_quoted(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    up(layout, lambda line: None)
    for behaviour, words, patience_seconds in (
        ("fail-migrate", "migration 0007 is broken", 60.0),
        ("fail-start", "a setting is missing", 60.0),
        ("never-ready", "still waiting for Godot", 4.0),
    ):
        stop_services(layout)
        monkeypatch.setenv("ENTAS_STANDIN", behaviour)
        with pytest.raises(StackError, match=words):
            up(layout, lambda line: None, patience_seconds=patience_seconds)
    stop_services(layout)


def test_down_ends_the_deaf_and_the_frozen_with_their_children(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    up(layout, lambda line: None)
    stop_services(layout)
    monkeypatch.setenv("ENTAS_STANDIN", "deaf")
    up(layout, lambda line: None)
    Daemon("kafka", layout.folder).freeze()
    begun = time.monotonic()
    told = told_by_down(layout)
    assert time.monotonic() - begun < 10
    assert "registry-worker killed, since it did not stop when asked" in told
    assert "kafka stopped" in told
    assert processes_of(layout.folder) == []


def test_a_start_killed_at_any_moment_is_mended_by_the_next() -> None:
    script = (
        "import json, sys; from tests.deploy.test_local_up import *; "
        "up(Layout(Path(sys.argv[1]), STANDIN, json.loads(sys.argv[2])), print)"
    )
    with temporary_layout() as layout:
        killed = 0
        for seconds in (0.8, 1.2, 1.9):
            start = subprocess.Popen(
                [sys.executable, "-c", script, str(layout.folder), json.dumps(layout.ports)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
            )
            try:
                start.wait(seconds)
            except subprocess.TimeoutExpired:
                killed += 1
            start.kill()
            start.wait()
        assert killed >= 2
        up(layout, lambda line: None)
        assert None not in pids(layout).values()


def test_a_data_folder_that_lost_files_is_named_and_left_as_it_is() -> None:
    with tempfile.TemporaryDirectory(prefix="entas-up-") as folder:
        server = postgres.Postgres(Path(folder), free_ports(1)[0], "secret", durable=False)
        broker = Kafka(Path(folder), *free_ports(2))
        for damaged, data, missing in (
            (server, server.data, "PG_VERSION"),
            (broker, broker.home / "data", "meta.properties"),
        ):
            kept = data / "kept"
            kept.mkdir(parents=True)
            with pytest.raises(StackError, match=rf"{data} is damaged: {missing} is missing.* `make clean`"):
                damaged.start()
            assert kept.exists()


def test_half_a_data_folder_is_made_anew() -> None:
    """As an initdb leaves it that is killed: the draft is there, with some files, and not the real folder."""
    with tempfile.TemporaryDirectory(prefix="entas-up-") as folder:
        server = postgres.Postgres(Path(folder), free_ports(1)[0], "secret", durable=False)
        draft = postgres.home(server.folder) / "postgres.new" / "data" / "base"
        draft.mkdir(parents=True)
        (draft / "half").write_text("half")
        server.start()
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        # The machine crashes, and the server's old pid now belongs to somebody else: to this test, for one.
        server.kill()
        (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
        server.start()
        server.stop()
        with pytest.raises(StackError, match="another password"):
            dataclasses.replace(server, password="forgotten").start()
        server.stop()
        postgres.remove(server.folder)


def test_a_nearly_full_disk_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layouts, "NEEDED_MEGABYTES", 10**9)
    with pytest.raises(StackError, match=r"MB left on its disk.*free some space"):
        up(new_layout(tmp_path), lambda line: None)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A disk of 12 MB."""
    with tempfile.TemporaryDirectory(prefix="entas-tiny-") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            pytest.skip("needs the right to mount a small file system")
        yield Path(folder)
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_is_named_and_mended_once_there_is_space(tiny_disk: Path) -> None:
    server = postgres.Postgres(tiny_disk, free_ports(1)[0], "secret", durable=False)
    with pytest.raises(StackError, match="The disk is full"):
        server.start()
    subprocess.run(["mount", "-o", "remount,size=200m", str(tiny_disk)], check=True)
    server.start()
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others run PostgreSQL as themselves")
def test_root_runs_postgres_as_nobody_though_nobody_can_enter_the_folder() -> None:
    with tempfile.TemporaryDirectory(prefix="entas-closed-") as closed:
        folder = Path(closed) / "clone"
        server = postgres.Postgres(folder, free_ports(1)[0], "secret", durable=False)
        server.start()
        place = postgres.home(folder)
        assert place.parent == Path("/var/tmp")
        assert psutil.Process(server.daemon.pid() or 0).username() == "nobody"
        server.stop()
        postgres.remove(folder)
        assert not place.exists()


def test_existing_servers_are_used_and_left_alone(postgres: str, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka)
    with temporary_layout() as layout:
        up(layout, lambda line: None)
        assert {name for name, pid in pids(layout).items() if pid} == {"issuer", "registry-api", "registry-worker"}
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("DROP DATABASE entas_registry")
        admin.execute("DROP OWNED BY entas_registry; DROP ROLE entas_registry")
