"""A throw-away PostgreSQL and Kafka for tests, on free ports, and what a test may do to them."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from deploy.local.daemon import Daemon, StackError, free_ports
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres

ROOT = Path(__file__).parents[2]


class Stack:
    """A private PostgreSQL and Kafka, each started when it is first asked for; gone when closed or when we are killed.

    With `STACK=containers` in the environment they run in containers, and else as processes of ours.
    All methods block; in an async test call the slow ones by `asyncio.to_thread`. PostgreSQL keeps every commit it
    acknowledged through `kill_postgres` and `restart_postgres`, and Kafka every record through `kill_kafka`.
    """

    durable = False

    def __init__(self) -> None:
        self._postgres, self._kafka = kinds_of_servers()
        self.folder = Path(tempfile.mkdtemp(prefix="entas-test-"))
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.keeper", str(self.folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @cached_property
    def postgres(self) -> str:
        """The superuser's DSN."""
        self.postgres_server.start()
        return self.postgres_server.dsn

    @cached_property
    def kafka(self) -> str:
        """The bootstrap address."""
        self.kafka_broker.start()
        return self.kafka_broker.bootstrap

    @cached_property
    def postgres_server(self) -> Postgres:
        return self._postgres(self.folder, free_ports(1)[0], secrets.token_urlsafe(), durable=self.durable)

    @cached_property
    def kafka_broker(self) -> Kafka:
        return self._kafka(self.folder, *free_ports(2))

    def freeze_kafka(self) -> None:
        """Stops the broker in mid-air: connections stay open and nothing answers."""
        assert self.kafka_broker.freeze(), "Kafka was not running"

    def thaw_kafka(self) -> None:
        assert self.kafka_broker.thaw(), "Kafka was not running"

    def kill_kafka(self) -> None:
        """Ends the broker by SIGKILL, frozen or not."""
        self.kafka_broker.kill()

    def stop_kafka(self) -> None:
        self.kafka_broker.stop()

    def start_kafka(self) -> None:
        """Starts the broker again on the same port with the same data; it takes about 6 s after a kill."""
        self.kafka_broker.start()

    def freeze_postgres(self) -> None:
        """Stops the server in mid-air: new connections hang, and in a container open ones, too."""
        assert self.postgres_server.freeze(), "PostgreSQL was not running"

    def thaw_postgres(self) -> None:
        assert self.postgres_server.thaw(), "PostgreSQL was not running"

    def kill_postgres(self) -> None:
        """Ends the server and every connection at once, without a checkpoint."""
        self.postgres_server.kill()

    def start_postgres(self) -> None:
        """Starts the server again on the same port with the same data."""
        self.postgres_server.start()

    def restart_postgres(self, *, immediate: bool = True) -> None:
        """Ends the server, as a crash or in good order, and starts it again on the same port."""
        if immediate:
            self.kill_postgres()
        else:
            self.postgres_server.stop()
        self.start_postgres()

    def launch(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Daemon:
        """Starts a process (`python -m services.registry worker`, say) that ends with the stack; it logs to `log_file`.

        An entry `python` at the front of the command means the running interpreter. The environment is added to ours.
        """
        daemon = Daemon(name, self.folder)
        program = [sys.executable, *command[1:]] if command[0] == "python" else list(command)
        daemon.launch(program, {**os.environ, "PYTHONUNBUFFERED": "1", **environment}, cwd=ROOT)
        return daemon

    def close(self) -> None:
        """Ends everything and deletes the data."""
        self._keeper.communicate()
        assert self._keeper.returncode == 0, "The keeper could not end the stack; its message is above."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def kinds_of_servers() -> tuple[type[Postgres], type[Kafka]]:
    """What the variable STACK says: servers in containers, or by default the embedded ones, which are used alike.

    Raises StackError when it says something else, or when no engine answers that could run containers.
    """
    match os.environ.get("STACK") or "embedded":
        case "embedded":
            return Postgres, Kafka
        case "containers":
            from tests.support import containers  # Here, since it is slow to import and mostly not wanted.

            containers.engine()
            return containers.Postgres, containers.Kafka
        case other:
            raise StackError(f"There is no STACK={other}: say STACK=containers, or leave it out for embedded servers.")


def processes_of(folder: Path) -> list[str]:
    """Names of the processes that mention the folder in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(process.name())
        except psutil.Error:
            continue
    return found
