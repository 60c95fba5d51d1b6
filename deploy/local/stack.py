"""Owns the order of things: what is started after what, what is stopped before what, and what a start finds."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import LiteralString
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from deploy.local import kafka
from deploy.local.daemon import (
    STACK_VARIABLE,
    Daemon,
    StackError,
    daemons_of,
    end_strays,
    explained,
    pace,
    refuse_taken_port,
)
from deploy.local.kafka import Kafka
from deploy.local.layout import ROOT, Layout, Service, port_variable, write_privately
from deploy.local.postgres import Postgres

Say = Callable[[str], None]

# Where a new stack's clock stands until the demo moves it: before the programme's first cohorts of July 2024.
FIRST_DAY = "2024-05-01T08:00:00+08:00"


@dataclass(frozen=True)
class Stack:
    """The parts of one stack. Servers that exist, `DATABASE_URL` or `KAFKA_BOOTSTRAP` in the environment, are used."""

    layout: Layout
    steered_clock: bool = True
    existing: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @cached_property
    def postgres(self) -> Postgres | None:
        if self.existing.get("DATABASE_URL"):
            return None
        return Postgres(self.layout.folder, self.layout.ports["postgres"], self.layout.secret("postgres.password"))

    @cached_property
    def kafka(self) -> Kafka | None:
        if self.existing.get("KAFKA_BOOTSTRAP"):
            return None
        return Kafka(self.layout.folder, self.layout.ports["kafka"], self.layout.ports["kafka-controller"])

    @property
    def admin_dsn(self) -> str:
        return self.postgres.dsn if self.postgres else self.existing["DATABASE_URL"]

    @property
    def bootstrap(self) -> str:
        return self.kafka.bootstrap if self.kafka else self.existing["KAFKA_BOOTSTRAP"]

    def daemon(self, name: str) -> Daemon:
        return Daemon(name, self.layout.folder)

    def daemons(self) -> list[Daemon]:
        """Every daemon that a complete stack has, in the order of their start."""
        absent = {"kafka-controller", *([] if self.postgres else ["postgres"]), *([] if self.kafka else ["kafka"])}
        return [self.daemon(name) for name in self.layout.ports if name not in absent]

    def database_url(self, service: Service) -> str:
        """The service's own database, as the service's own role."""
        name = _database(service)
        secret = quote(self.layout.secret(f"{service.name}.password"), safe="")
        address = urlsplit(self.admin_dsn)
        host = address.netloc.rpartition("@")[2]
        return address._replace(netloc=f"{name}:{secret}@{host}", path=f"/{name}").geturl()

    def environment(self, service: Service) -> dict[str, str]:
        """What the service reads (services/kit/settings.py), laid over our own environment."""
        layout, client = self.layout, f"service:{service.name}"
        settings = {
            "ENVIRONMENT": "demo",
            "DATABASE_URL": self.database_url(service),
            "KAFKA_BOOTSTRAP": self.bootstrap,
            "API_HOST": "127.0.0.1",
            "API_PORT": str(layout.ports[f"{service.name}-api"]),
            "WORKER_PORT": str(layout.ports[f"{service.name}-worker"]),
            "TOKEN_ISSUER": layout.issuer_url,
            "JWKS_URL": f"{layout.issuer_url}/.well-known/jwks.json",
            "TOKEN_URL": f"{layout.issuer_url}/token",
            "CLIENT_ID": client,
            "CLIENT_SECRET": layout.client_secret(client),
            "REGISTRY_URL": f"http://127.0.0.1:{layout.ports['registry-api']}",
            "MASTER_KEY_FILE": str(layout.secrets / "master.key"),
            "CHECKPOINT_KEY_FILE": str(layout.checkpoint_key(service)),
            "CHECKPOINT_SECONDS": os.environ.get("ENTAS_CHECKPOINT_SECONDS") or "10",  # so that one can see it at work
            "SEARCH_PEPPER_FILE": str(layout.secrets / "search.pepper"),
            "CLOCK_FILE": str(layout.clock_file) if self.steered_clock else "",
            **self._senders(),
        }
        ours = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "KAFKA_BOOTSTRAP")}
        return {**ours, "PYTHONUNBUFFERED": "1", **{f"ENTAS_{name}": value for name, value in settings.items()}}

    def _senders(self) -> dict[str, str]:
        """Where each channel's messages go: a provider that the environment names; else nobody is written to, and what
        would be sent stands in a file."""
        return {f"SENDER_{channel}": _provider(channel) or self._messages for channel in _CHANNELS}

    @property
    def _messages(self) -> str:
        return (self.layout.folder / "messages").as_uri()

    def facts(self) -> dict[str, object]:
        """What programs outside may know of the running stack; no secret is in it."""
        layout = self.layout
        urls = {name: f"http://127.0.0.1:{port}" for name, port in layout.ports.items()}
        return {
            "ports": layout.ports,
            "kafka_bootstrap": self.bootstrap,
            "issuer": layout.issuer_url,
            "token_url": f"{layout.issuer_url}/token",
            "clients_file": str(layout.clients_file),
            "clock_file": str(layout.clock_file) if self.steered_clock else None,
            "channels_to_files": [channel.lower() for channel in _CHANNELS if not _provider(channel)],
            "services": {
                row.name: {"api": urls[f"{row.name}-api"], "worker": urls[f"{row.name}-worker"]}
                for row in layout.services
            },
        }


def up(
    layout: Layout,
    say: Say,
    *,
    steered_clock: bool = True,
    patience_seconds: float = 60.0,
    existing: Mapping[str, str] = os.environ,
) -> Stack:
    """Starts whatever of the stack is not running yet, and returns once every part answers.

    Each part may take `patience_seconds` until it is ready. What `existing` names as `DATABASE_URL` and
    `KAFKA_BOOTSTRAP` is used and not started.
    Safe to repeat: on a complete stack it changes nothing. Raises StackError with what is wrong and what to do.
    """
    with _full_disk_explained(), _alone(layout, say):
        layout.prepare()
        stack = Stack(layout, steered_clock, existing)
        for name in end_strays(layout.folder):
            say(f"Ended {name}, which an earlier start had left behind.")
        missing = _missing(stack, say)
        write_privately(layout.facts, json.dumps(stack.facts(), indent=2))
        if steered_clock and not layout.clock_file.exists():
            layout.clock_file.write_text(FIRST_DAY)
        _start_servers(stack, missing, say, patience_seconds)
        _start_services(stack, missing, say, patience_seconds)
        return stack


def down(layout: Layout, say: Say) -> None:
    """Stops everything: the services first, then what they need. Nothing of the stack is left running."""
    if not layout.folder.exists():
        say("Nothing was running.")
        return
    with _alone(layout, say):
        found = daemons_of(layout.folder)
        servers = [daemon for daemon in found if daemon.name in (Kafka.NAME, Postgres.NAME)]
        _stop([daemon for daemon in found if daemon not in servers], layout, say)
        _stop(servers, layout, say)
        for name in end_strays(layout.folder):
            say(f"Ended {name}, which an earlier start had left behind.")
        layout.facts.unlink(missing_ok=True)
        if not found:
            say("Nothing was running.")


def clean(layout: Layout, say: Say) -> None:
    """Stops everything and deletes data, logs and secrets; packages and jars stay."""
    down(layout, say)
    layout.remove_data()
    say(f"Deleted the data in {layout.folder}. Packages and jars are kept.")
    if external := [name for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP") if os.environ.get(name)]:
        say(f"The servers named by {', '.join(external)} are yours: databases and topics there were not touched.")


def _missing(stack: Stack, say: Say) -> set[str]:
    """The daemons that have to be started. Raises StackError when a port they need is taken."""
    running = {daemon.name for daemon in stack.daemons() if daemon.pid()}
    missing = {daemon.name for daemon in stack.daemons()} - running
    if running:
        _refuse_other_ports(stack.layout)
        _refuse_other_clock(stack)
        say(f"Found running: {', '.join(sorted(running))}." if missing else "The stack is already running.")
    for name in missing:
        refuse_taken_port(stack.layout.ports[name], name, port_variable(name))
    if Kafka.NAME in missing:
        controller = "kafka-controller"
        refuse_taken_port(stack.layout.ports[controller], controller, port_variable(controller))
    return missing


def _refuse_other_ports(layout: Layout) -> None:
    for name, port in layout.ports_in_use().items():
        if layout.ports.get(name, port) != port:
            raise StackError(
                f"The running stack has {name} on port {port}; {port_variable(name)} asks for {layout.ports[name]}. "
                "Stop it with `make down` first, or leave the variable out."
            )


def _refuse_other_clock(stack: Stack) -> None:
    runs_by = stack.layout.clock_in_use()
    wanted = "steered" if stack.steered_clock else "system"
    if runs_by and runs_by != wanted:
        raise StackError(
            f"The running stack goes by the {runs_by} clock; the {wanted} clock was asked for. "
            "Stop it with `make down` first."
        )


def _start_servers(stack: Stack, missing: set[str], say: Say, patience_seconds: float) -> None:
    """Starts PostgreSQL, Kafka and the issuer side by side; waits until each answers, those that ran before, too."""

    def postgres() -> str:
        if stack.postgres is None:
            _refuse_silent_postgres(stack)
        elif Postgres.NAME in missing:
            stack.postgres.start(within_seconds=patience_seconds)
        else:
            _await_found(stack.postgres, patience_seconds)
        return f"PostgreSQL at {urlsplit(stack.admin_dsn).hostname}:{urlsplit(stack.admin_dsn).port}"

    def broker() -> str:
        if stack.kafka is None:
            _refuse_silent_kafka(stack)
        elif Kafka.NAME in missing:
            stack.kafka.start(within_seconds=patience_seconds)
        else:
            _await_found(stack.kafka, patience_seconds)
        return f"Kafka at {stack.bootstrap}"

    def issuer() -> str:
        daemon, port = stack.daemon("issuer"), stack.layout.ports["issuer"]
        if "issuer" in missing:
            command = [sys.executable, "-m", "deploy.local.issuer", str(stack.layout.folder), str(port)]
            daemon.launch(command, dict(os.environ), cwd=ROOT)
        _await_health(daemon, port, patience_seconds)
        return f"Token issuer at {stack.layout.issuer_url}"

    _side_by_side([postgres, broker, issuer], say)


def _start_services(stack: Stack, missing: set[str], say: Say, patience_seconds: float) -> None:
    """Prepares databases and topics of all services, then starts the processes that are missing."""
    services = stack.layout.services
    roles = [(service, role) for service in services for role in ("api", "worker")]
    if missing & {f"{service.name}-{role}" for service, role in roles}:
        for service in services:
            _provide_database(stack, service)
        _side_by_side([_preparation(stack, service) for service in services], say)
    for service, role in roles:
        if f"{service.name}-{role}" in missing:
            command = [sys.executable, "-m", service.module, role]
            stack.daemon(f"{service.name}-{role}").launch(command, stack.environment(service), cwd=ROOT)
    _side_by_side([_readiness(stack, service, role, patience_seconds) for service, role in roles], say)


def _readiness(stack: Stack, service: Service, role: str, patience_seconds: float) -> Callable[[], str]:
    def wait() -> str:
        name = f"{service.name}-{role}"
        port = stack.layout.ports[name]
        _await_health(stack.daemon(name), port, patience_seconds)
        return f"{service.name} {role} at http://127.0.0.1:{port}{'/docs' if role == 'api' else ''}"

    return wait


def _preparation(stack: Stack, service: Service) -> Callable[[], str]:
    """Runs `python -m services.<name> migrate` and `topics` to their end."""

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local.commands", service.module, "migrate", "topics"],
            env={**stack.environment(service), STACK_VARIABLE: str(stack.layout.folder)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        log = stack.daemon(f"{service.name}-prepare").log_file
        log.write_text(done.stdout + done.stderr)
        if done.returncode:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise StackError(explained(f"`python -m {service.module} migrate` or `topics` failed ({log}):", said))
        return f"{service.name}: database and topics prepared"

    return run


def _provide_database(stack: Stack, service: Service) -> None:
    """Makes the service's role and database where they are missing, and sets the role's password."""
    name = sql.Identifier(_database(service))
    password = sql.Literal(stack.layout.secret(f"{service.name}.password"))
    with psycopg.connect(stack.admin_dsn, autocommit=True) as connection:
        # The role under which every service's API reads.
        if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", "entas_reader"):
            connection.execute("CREATE ROLE entas_reader NOLOGIN")
        if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", _database(service)):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, password))
        connection.execute(sql.SQL("GRANT entas_reader TO {}").format(name))
        if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", _database(service)):
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))


def _exists(connection: psycopg.Connection, query: LiteralString, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None


_CHANNELS = ("WHATSAPP", "SMS", "EMAIL")


def _provider(channel: str) -> str | None:
    return os.environ.get(f"ENTAS_SENDER_{channel}")


def _database(service: Service) -> str:
    return f"entas_{service.name}"


def _refuse_silent_postgres(stack: Stack) -> None:
    try:
        psycopg.connect(stack.admin_dsn, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        raise StackError(f"PostgreSQL does not let us in: {str(error).strip()}. {_remedy('DATABASE_URL')}") from error


def _refuse_silent_kafka(stack: Stack) -> None:
    if not kafka.answers(stack.bootstrap):
        raise StackError(f"Kafka at {stack.bootstrap} does not answer. {_remedy('KAFKA_BOOTSTRAP')}")


def _remedy(variable: str) -> str:
    return f"Check the variable {variable}, or leave it out and an embedded server is started."


def _await_found(server: Postgres | Kafka, patience_seconds: float) -> None:
    """A server that was found running may still be starting: the start that began it was broken off."""
    try:
        server.await_answer(within_seconds=patience_seconds)
    except StackError as error:
        raise StackError(f"{error}\nIt was found running: start it anew with `make down` and `make up`.") from error


def _await_health(daemon: Daemon, port: int, patience_seconds: float) -> None:
    """Returns once the daemon says that it lives and is ready. Raises StackError with its last answer and log."""
    said = "nothing"
    try:
        for _ in pace(
            daemon, within_seconds=patience_seconds, until="it answers /health/live and /health/ready with 200"
        ):
            said = " ".join(_health(port, kind) for kind in ("live", "ready"))
            if not said.strip():
                return
    except StackError as error:
        raise StackError(f"{error}\nIts last answer on port {port}: {said}") from None


def _health(port: int, kind: str) -> str:
    """What is wrong according to that health endpoint; nothing when it is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/{kind}", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"{kind}: {error.code} {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"{kind}: {error}"


def _side_by_side(tasks: Iterable[Callable[[], str]], say: Say) -> None:
    """Runs the tasks at once, tells what each did and how long it took; raises the first error after all have ended."""

    def timed(task: Callable[[], str]) -> None:
        begun = time.monotonic()
        what = task()
        say(f"{what} [dim]{time.monotonic() - begun:.1f} s[/dim]")

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(timed, task) for task in tasks]
    for task in running:
        task.result()


def _stop(daemons: list[Daemon], layout: Layout, say: Say) -> None:
    def stop(daemon: Daemon) -> str:
        if daemon.name == Kafka.NAME:
            end = daemon.stop(patience_seconds=Kafka.PATIENCE_SECONDS)
        elif daemon.name == Postgres.NAME:
            end = daemon.stop(Postgres.STOP_SIGNAL, patience_seconds=Postgres.PATIENCE_SECONDS)
        else:
            end = daemon.stop()
        return f"{daemon.name} {end}."

    with ThreadPoolExecutor() as pool:
        for line in pool.map(stop, daemons):
            say(line)


@contextmanager
def _alone(layout: Layout, say: Say) -> Iterator[None]:
    """Keeps a second `up` or `down` of the same stack waiting until the first is through."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    with (layout.folder / "guard").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another command is working on the stack; waiting for it.")
            fcntl.flock(guard, fcntl.LOCK_EX)
        yield


@contextmanager
def _full_disk_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StackError(explained(f"{error.filename or 'A file'} could not be written.", str(error))) from error
