"""PostgreSQL and Kafka in containers: what `STACK=containers` puts in the place of the embedded servers.

They are made, set and asked like `deploy.local.postgres.Postgres` and `deploy.local.kafka.Kafka`. Here freezing is the
engine's pause, and the data lives as long as the container: until the keeper of the stack removes it.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg
from docker import DockerClient
from docker.errors import DockerException
from docker.models.containers import Container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient as Client

from deploy.local import kafka, postgres
from deploy.local.daemon import StackError
from tests.support.images import KAFKA, POSTGRES, Image

LABEL = "entas.stack"
"""Each container bears it, with the folder of the stack that it belongs to."""

# The keeper removes what a killed test run leaves; it needs no privileged container for that, as Ryuk is.
testcontainers_config.ryuk_disabled = True


@dataclass
class Server(ABC):
    """One container that may be stopped, killed and started again; it listens on `port` of the engine's host."""

    IMAGE: ClassVar[Image]

    folder: Path
    port: int
    _container: DockerContainer | None = field(default=None, init=False)

    def start(self, *, within_seconds: float = 60.0) -> None:
        """Makes the container when there is none, starts it, and returns once the server answers."""
        try:
            if self._container:
                self._running().start()
            else:
                self._container = self._configured().with_kwargs(labels={LABEL: str(self.folder)}, shm_size="256m")
                self._container.start()
        except DockerException as error:
            raise StackError(
                f"{self.IMAGE.chosen} could not be started in a container: {error}\n"
                "`make test-containers` builds a stand-in for an image that cannot be pulled."
            ) from error
        self._await_answer(within_seconds)

    def stop(self) -> None:
        """Lets the server write everything down and end."""
        self._running().stop(timeout=30)

    def kill(self) -> None:
        """Ends every process in the container at once (SIGKILL), paused or not."""
        self._running().kill()
        with suppress(DockerException):  # Docker wakes what it kills; Podman lets it sleep on, killed or not.
            self._running().unpause()
        self._running().wait()

    def freeze(self) -> bool:
        """Pauses every process in the container: connections stay open and nothing answers."""
        self._running().pause()
        return True

    def thaw(self) -> bool:
        self._running().unpause()
        return True

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served by now."""

    @abstractmethod
    def _configured(self) -> DockerContainer:
        """The container as it is to be made."""

    def _running(self) -> Container:
        assert self._container, "It was never started"
        return self._container.get_wrapped_container()

    def _await_answer(self, within_seconds: float) -> None:
        deadline = time.monotonic() + within_seconds
        while not self.answers():
            container = self._running()
            container.reload()
            if container.status == "exited" or time.monotonic() > deadline:
                said = container.logs(tail=15).decode(errors="replace")
                raise StackError(
                    f"{self.IMAGE.chosen} does not answer on port {self.port}; it is {container.status}.\n{said}"
                )
            time.sleep(0.05)


@dataclass
class Postgres(Server):
    """Takes what the official image takes, from the same variables and arguments."""

    password: str
    durable: bool = True

    IMAGE = POSTGRES

    @property
    def dsn(self) -> str:
        """Connects as the superuser to the database `postgres`."""
        return f"postgresql://postgres:{quote(self.password, safe='')}@{host()}:{self.port}/postgres"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _configured(self) -> DockerContainer:
        settings = [f"{name}={value}" for name, value in postgres.settings(self.durable).items()]
        command = ["postgres", *(part for setting in settings for part in ("-c", setting))]
        options = [*postgres.INITDB_OPTIONS, *([] if self.durable else ["--no-sync"])]
        container = DockerContainer(self.IMAGE.chosen).with_bind_ports(5432, self.port).with_command(command)
        return container.with_envs(POSTGRES_PASSWORD=self.password, POSTGRES_INITDB_ARGS=" ".join(options))


@dataclass
class Kafka(Server):
    """Takes what the project's own image takes: `KAFKA_LOG_DIRS` for `log.dirs`.

    Others reach it through the engine's port, which it may not reach itself: it talks to itself on ports of its own.
    """

    controller_port: int

    IMAGE = KAFKA

    @property
    def bootstrap(self) -> str:
        return f"{host()}:{self.port}"

    def answers(self) -> bool:
        return kafka.answers(self.bootstrap)

    def _configured(self) -> DockerContainer:
        itself, controller = "INTERNAL://127.0.0.1:9094", f"127.0.0.1:{self.controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://0.0.0.0:9092,{itself},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap},{itself}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": "/var/lib/kafka/data",
            **kafka.SETTINGS,
        }
        container = (
            DockerContainer(self.IMAGE.chosen).with_bind_ports(9092, self.port).with_envs(**_as_variables(settings))
        )
        return container.with_envs(CLUSTER_ID=kafka.cluster_id(), KAFKA_HEAP_OPTS="-Xms64m -Xmx384m")


def _as_variables(settings: Mapping[str, object]) -> dict[str, str]:
    return {f"KAFKA_{name.upper().replace('.', '_')}": str(value) for name, value in settings.items()}


def engine() -> DockerClient:
    """The Docker-compatible engine. Raises StackError with what to do when none answers."""
    return _client().client


def host() -> str:
    """Where the ports of containers are reached."""
    return _client().host()


@cache
def _client() -> Client:
    try:
        return Client()
    except DockerException as error:
        where = os.environ.get("DOCKER_HOST") or "the usual place (DOCKER_HOST is not set)"
        raise StackError(
            f"No Docker-compatible engine answers at {where}: {error}\nStart Docker's or Podman's, or name one in "
            "DOCKER_HOST; `make test-containers` starts Podman's by itself where it is installed. Without "
            "STACK=containers the servers are processes of ours, and need no engine."
        ) from error


def remove(folder: Path) -> None:
    """Removes the containers of that stack, with their data."""
    for container in engine().containers.list(all=True, filters={"label": f"{LABEL}={folder}"}):
        container.remove(force=True, v=True)


def stacks() -> set[Path]:
    """The folders of all stacks that have containers."""
    return {Path(each.labels[LABEL]) for each in engine().containers.list(all=True, filters={"label": LABEL})}
