"""A private world for journeys and fault tests: real servers, a token issuer, and every service's API and worker."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from psycopg.rows import dict_row

from contracts.topics import TOPICS, heard_by
from deploy.local import launch
from deploy.local import stack as local
from deploy.local.daemon import STACK_VARIABLE, Daemon, free_ports
from deploy.local.issuer import TOKEN_SECONDS, token_for
from deploy.local.layout import SERVICES, Layout, default_ports
from services.kit.clock import steer
from tests.support.nursery import Nursery, nursery
from tests.support.stack import Stack

T = TypeVar("T")

PATIENCE_SECONDS = 90.0
"""For what takes a second or two where nothing else is running."""

REGISTRY, TRAINING, OUTCOMES, NOTIFICATIONS = "registry", "training", "outcomes", "notifications"
HOUSE = (REGISTRY, TRAINING, OUTCOMES, NOTIFICATIONS)
"""Facts flow from the first to the last."""

_UNDER_WAY = {
    REGISTRY: "SELECT count(*) FROM snapshot_import WHERE stage LIKE '%ing'",
    OUTCOMES: "SELECT (SELECT count(*) FROM intervention WHERE status = 'reported') "
    "+ (SELECT count(*) FROM number_to_forget)",
}
"""Work of jobs, which no timer names as due."""

_TRANSACTIONS = """
    SELECT pid, state, wait_event_type, wait_event, now() - xact_start AS since, pg_blocking_pids(pid), left(query, 200)
    FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""

SOURCES = {"partners.dukcapil": "urn:dukcapil", "partners.dinkop": "urn:dinkop"}


class World(Stack):
    """The house as `make up` builds it, on free ports and data of its own; gone when closed or when we are killed.

    `start` returns once every process answers. A process bears the name that `make status` shows, such as
    `registry-worker`; another worker of the service is `registry-worker-2`.
    """

    durable = True  # As `make up` has it: benchmarks measure here, too.

    def __init__(self, begins_at: datetime) -> None:
        super().__init__()
        names = list(default_ports(SERVICES))
        self.layout = Layout(self.folder, SERVICES, dict(zip(names, free_ports(len(names)), strict=True)))
        self.now = begins_at
        self._callers: dict[tuple[str, str], Caller] = {}
        self._ends: dict[tuple[str, int], int] = {}  # of partner topics: behind what we published
        self._closing = ExitStack()
        self._http = self._closing.enter_context(httpx.Client(timeout=5))
        self._connections: dict[str, psycopg.Connection[dict[str, Any]]] = {}  # by service

    def start(self) -> None:
        self.layout.prepare()
        steer(self.layout.clock_file, self.now)
        # Servers of its own, whatever the environment names: those belong to somebody else, whom nobody may freeze.
        with ThreadPoolExecutor() as at_once:
            postgres, kafka = at_once.map(lambda name: getattr(self, name), ("postgres", "kafka"))
        self.local = local.up(
            self.layout,
            lambda _: None,
            patience_seconds=PATIENCE_SECONDS,
            existing={"DATABASE_URL": postgres, "KAFKA_BOOTSTRAP": kafka},
        )

    def letters(self) -> list[dict[str, Any]]:
        """What was sent into the files of the channels, in the order in which each has taken it."""
        files = sorted((self.folder / "messages").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def close(self) -> None:
        self._closing.close()
        super().close()

    # --- Processes ----------------------------------------------------------------------------------------------------

    def process(self, name: str) -> Daemon:
        return self.local.daemon(name)

    def start_process(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts a process of a service and returns at once. All its former logs are kept, each with a number."""
        service, role, *_ = name.split("-")
        settings = self.local.environment(next(row for row in self.layout.services if row.name == service))
        settings |= {f"ENTAS_{role.upper()}_PORT": str(self._port_of(name)), **(environment or {})}
        daemon = self.process(name)
        if daemon.log_file.exists():
            former = len(list(daemon.log_file.parent.glob(f"{name}.*.log")))
            daemon.log_file.rename(daemon.log_file.with_name(f"{name}.{former + 1}.log"))
        self._nursery.start(
            f"services.{service}", role, environment=settings, log_file=daemon.log_file, pid_file=daemon.pid_file
        )

    @cached_property
    def _nursery(self) -> Nursery:
        """Who starts processes again: hundreds of times in a run, of which each would take two seconds of a core."""
        modules = [f"services.{service}" for service in HOUSE]
        made = self._closing.enter_context(nursery(*modules, environment={STACK_VARIABLE: str(self.folder)}))
        launch.note(Daemon("nursery", self.folder).pid_file, made.pid)
        return made

    def state_of(self, name: str, kind: str = "progress") -> dict[str, Any] | None:
        """What a process says of its health; None while it does not answer."""
        try:
            answer = self._http.get(f"http://127.0.0.1:{self._port_of(name)}/health/{kind}")
        except httpx.TransportError:
            return None
        return dict(answer.json())

    def await_state(self, name: str, what: str) -> None:
        """Returns when the process says so of itself: "ready", or a worker "relay_leads"."""
        wait_for(f"{name} says: {what}", lambda: (self.state_of(name) or {}).get(what))

    def metrics_of(self, name: str) -> str:
        return self._http.get(f"http://127.0.0.1:{self._port_of(name)}/metrics").text

    def _port_of(self, name: str) -> int:
        if name not in self.layout.ports:
            self.layout.ports[name] = free_ports(1)[0]
        return self.layout.ports[name]

    @contextmanager
    def kafka_frozen(self) -> Iterator[None]:
        self.freeze_kafka()
        try:
            yield
        finally:
            self.thaw_kafka()

    # --- Callers, databases, topics -----------------------------------------------------------------------------------

    def caller(self, service: str, client_id: str) -> "Caller":
        """Somebody who asks a service over HTTP, with real tokens."""
        if (service, client_id) not in self._callers:
            url, clients = f"{self.layout.issuer_url}/token", self.layout.clients_file
            http = httpx.Client(
                base_url=f"http://127.0.0.1:{self.layout.ports[f'{service}-api']}",
                auth=_Token(partial(token_for, client_id, token_url=url, clients_file=clients)),
                timeout=60,
            )
            self._callers[service, client_id] = Caller(client_id, self._closing.enter_context(http))
        return self._callers[service, client_id]

    def anybody(self, service: str) -> httpx.Client:
        """Somebody without a token."""
        return self._closing.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{self.layout.ports[f'{service}-api']}", timeout=60)
        )

    def rows(self, service: str, query: str, *values: Any) -> list[dict[str, Any]]:
        """Asked as the superuser, whom row-level security does not bind."""
        known = self._connections.get(service)
        try:
            return self._connection(service).execute(query.encode(), values or None).fetchall()
        except psycopg.OperationalError:
            self._connections.pop(service, None)
            if known is None:
                raise
            # The server was away since; whether it is back, a new connection tells.
            return self.rows(service, query, *values)

    def _connection(self, service: str) -> psycopg.Connection[dict[str, Any]]:
        if service not in self._connections:
            self._connections[service] = self._closing.enter_context(self.new_connection(f"entas_{service}"))
        return self._connections[service]

    def new_connection(self, database: str = "postgres") -> psycopg.Connection[dict[str, Any]]:
        """The superuser's, for whoever asks from a thread of their own or for very much; to be closed by them."""
        dsn = urlsplit(self.postgres_server.dsn)._replace(path=f"/{database}").geturl()
        return psycopg.connect(dsn, row_factory=dict_row, connect_timeout=5, options="-c timezone=UTC", autocommit=True)

    def value(self, service: str, query: str, *values: Any) -> Any:
        (row,) = self.rows(service, query, *values)
        return next(iter(row.values()))

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str]) -> tuple[int, int]:
        """A partner's message. Gives the partition and offset at which Kafka has it."""
        place = asyncio.run(self._publish(topic, key, value, headers))
        self._ends[topic, place[0]] = max(place[1] + 1, self._ends.get((topic, place[0]), 0))
        return place

    async def _publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str]) -> tuple[int, int]:
        producer = AIOKafkaProducer(bootstrap_servers=self.local.bootstrap, acks="all", request_timeout_ms=10_000)
        try:
            await producer.start()
            texts = [(name, text.encode()) for name, text in headers.items()]
            sent = await producer.send_and_wait(topic, value, key.encode(), headers=texts)
            return sent.partition, sent.offset
        finally:
            await producer.stop()

    def records(self, topics: Sequence[str]) -> list[Any]:
        """Everything that stands in these topics, by topic, partition and offset, as Kafka has it."""
        return asyncio.run(self._records(topics))

    async def _records(self, topics: Sequence[str]) -> list[Any]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.local.bootstrap, isolation_level="read_committed")
        try:
            await consumer.start()
            places = [TopicPartition(topic, n) for topic in topics for n in range(TOPICS[topic].partitions)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            found: list[Any] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
            return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))
        finally:
            await consumer.stop()

    # --- Time ---------------------------------------------------------------------------------------------------------

    def turn_clock_to(self, instant: datetime) -> None:
        """Moves the programme's clock on, stopping wherever a timer is due, and settles at each stop."""
        # What has happened by now is told now: whoever hears of it may want to do something before the next stop.
        self.settle()
        while self.now < instant:
            due = [at for service in HOUSE if (at := self._next_due(service)) is not None]
            self.set_clock(min([instant, *due]))
            self.settle()

    def set_clock(self, instant: datetime) -> None:
        self.now = instant
        steer(self.layout.clock_file, instant)

    def settle(self) -> None:
        """Waits until everything that happened is dealt with everywhere: timers, lists, outboxes, cursors."""
        # What is at rest sends nothing more to what is looked at next.
        for service in HOUSE:
            told = partial(self._what_is_left, service)
            wait_for(f"{service} has read everything", partial(self._has_read_everything, service), told=told)
            wait_for(f"{service} has nothing due", partial(self._has_nothing_due, service), told=told)
            wait_for(f"{service} has sent everything", partial(self._has_sent_everything, service), told=told)

    def _what_is_left(self, service: str) -> str:
        """For whoever finds out why a service does not come to rest: what it lacks, and what every worker says."""
        sent = self.sent_to(service)
        ends = {**sent.offsets, **sent.sequences}
        cursor = self.rows(service, "SELECT topic, partition, next_offset, last_sequence, stopped FROM cursor")
        lines = [f"{row}, of {ends[at]}" for row in cursor if (at := (row["topic"], row["partition"])) in ends]
        for other in HOUSE:
            unsent = self.value(other, "SELECT array_agg(batch_no) FROM sealed_batch WHERE sent_at IS NULL")
            lines.append(f"{other}: outbox {self.value(other, 'SELECT count(*) FROM outbox')}, unsent batches {unsent}")
            lines += [f"{other} in PostgreSQL: {row}" for row in self.rows(other, _TRANSACTIONS, f"entas_{other}")]
        for name in [name for name in self.layout.ports if "-worker" in name]:
            lines.append(f"{name}: pid {self.process(name).pid()}, {self.state_of(name)}, and its log ends:")
            lines.append(self.process(name).log_tail(12))
        return "\n".join(lines)

    def _next_due(self, service: str) -> datetime | None:
        def says() -> dict[str, Any] | None:
            workers = [name for name in self.layout.ports if name.startswith(f"{service}-worker")]
            states = (self.state_of(name) for name in workers if self.process(name).pid())
            return next((state for state in states if state is not None and "next_due" in state), None)

        due = wait_for(f"a worker of {service} says what is due", says)["next_due"]
        return None if due is None else datetime.fromisoformat(due)

    def _has_nothing_due(self, service: str) -> bool:
        if service in _UNDER_WAY and self.value(service, _UNDER_WAY[service]):
            return False
        due = self._next_due(service)
        return due is None or due > self.now

    def _has_sent_everything(self, service: str) -> bool:
        return bool(self.value(service, "SELECT count(*) FROM outbox") == 0)

    def _has_read_everything(self, service: str) -> bool:
        return self.has_read(service, self.sent_to(service))

    def sent_to(self, service: str) -> "Sent":
        """How far the partitions that a service reads go by now."""
        heard = {topic.name: topic for topic in heard_by(service)}
        sent = Sent({place: end for place, end in self._ends.items() if place[0] in heard}, {})
        for owner in {topic.owner for topic in heard.values() if topic.written_by is None}:
            for row in self.rows(owner, "SELECT tails FROM sealed_batch ORDER BY batch_no DESC LIMIT 1"):
                for place, last in row["tails"].items():
                    topic, _, partition = place.partition("/")
                    if topic in heard:
                        sent.sequences[topic, int(partition)] = last
        return sent

    def has_read(self, service: str, sent: "Sent") -> bool:
        cursor = self.rows(service, "SELECT topic, partition, next_offset, last_sequence FROM cursor")
        read = {(row["topic"], row["partition"]): row for row in cursor}
        return all(read[place]["next_offset"] >= end for place, end in sent.offsets.items()) and all(
            read[place]["last_sequence"] >= last for place, last in sent.sequences.items()
        )


@dataclass
class Sent:
    """By topic and partition: where a partner's messages end, and the last sequence of ours."""

    offsets: dict[tuple[str, int], int]
    sequences: dict[tuple[str, int], int]


@dataclass
class Caller:
    """Somebody with a token at one service's API. Each request that changes something has a new Idempotency-Key."""

    client_id: str
    http: httpx.Client

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        answer = self.http.get(path, params=query, headers=dict(headers or {}))
        assert answer.status_code == 200, _told(answer)
        return answer.json()

    def pages(self, path: str, **query: Any) -> list[Any]:
        """The items of all pages."""
        items: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.get(path, **{"limit": 500, **query, **cursor})
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    def post(
        self, path: str, body: Any = None, *, csv: bytes | None = None, key: str | None = None, **query: Any
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        if csv is not None:
            return self.http.post(path, params=query, content=csv, headers={"Content-Type": "text/csv", **headers})
        return self.http.post(path, params=query, json={} if body is None else body, headers=headers)

    def put(self, path: str, body: Any, *, key: str | None = None) -> httpx.Response:
        return self.http.put(path, json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())})

    def tell(self, path: str, body: Any = None) -> Any:
        """What the service answers to a request that it must accept."""
        answer = self.post(path, body)
        assert answer.is_success, _told(answer)
        return answer.json()

    def refused(self, path: str, body: Any = None) -> str:
        """The code of the problem, for a request that it must refuse."""
        answer = self.post(path, body)
        assert 400 <= answer.status_code < 500, _told(answer)
        return str(answer.json()["type"]).removeprefix("urn:entas:problem:")


class _Token(httpx.Auth):
    """Sends a token with each request; fetches a new one before it expires, and when one is refused."""

    def __init__(self, fetch: Callable[[], str]) -> None:
        self._fetch = fetch
        self._text, self._good_until = "", 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if time.monotonic() > self._good_until:
            self._text, self._good_until = self._fetch(), time.monotonic() + 0.8 * TOKEN_SECONDS
        request.headers["Authorization"] = f"Bearer {self._text}"
        answer = yield request
        if answer.status_code == 401:
            # The issuer's clock or the service's was set since.
            self._text, self._good_until = self._fetch(), time.monotonic() + 0.8 * TOKEN_SECONDS
            request.headers["Authorization"] = f"Bearer {self._text}"
            yield request


def _told(answer: httpx.Response) -> str:
    return f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:2000]}"


def wait_for(
    what: str, check: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS, told: Callable[[], str] = str
) -> T:
    """Asks again and again until the answer is true, and gives it. A database that is away has no answer yet.

    When patience ends, `told` says what there is instead.
    """
    deadline = time.monotonic() + seconds
    answer: T | None = None
    while True:
        try:
            answer = check()
        except psycopg.OperationalError as error:
            answer = None
            away = str(error)
        else:
            away = ""
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not come true within {seconds:.0f} s that {what}. {away}\n{told()}")
        time.sleep(0.05)
