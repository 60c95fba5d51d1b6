"""A small world for tests of the kit: facts, tables and topics of its own, on a real PostgreSQL and a real Kafka."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.envelope import (
    EVENTS,
    Envelope,
    Event,
    Open,
    Personal,
    PersonalRecord,
    Position,
    Pseudonymous,
    Sealing,
    read_headers,
)
from contracts.partners import Fault
from contracts.topics import TOPICS, Audience, Topic, checkpoints_topic
from services.kit.keyring import Keyring, LocalKeys
from services.kit.reactions import Partner, Reactions
from services.kit.relay import Nudge, Relay
from services.kit.table import Table, each, one, whole_stream
from services.kit.transaction import Workplace, acting_as
from tests.support.databases import FreshDatabase

MASTER_KEY = bytes(range(32))
NOW = datetime(2024, 7, 8, 1, 0, tzinfo=UTC)
PARTITIONS = 3
MIGRATIONS = Path(__file__).with_name("lab_migrations")
_LETTERS = str.maketrans("0123456789", "abcdefghij")  # a service's name has letters only


@dataclass(frozen=True, slots=True)
class Counter:
    """The head row of the lab's stream: how often it was counted, and the sum."""

    counter_id: str
    version: int
    area_code: str
    times: int
    total: int
    sealed: str | None
    sealed_by: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A second table of the same stream, with several rows a counter."""

    counter_id: str
    part: str
    total: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """What was told to the partner of the lab about a message of theirs."""

    rejection_id: str
    version: int
    area_code: str
    message_id: str | None
    record_partition: int
    record_offset: int
    faults: tuple[Fault, ...]


class Name(PersonalRecord):
    name: Personal[str]


class Lab:
    """One publishing service ("lab<n>") with a topic of its own; any number of readers may project it.

    A lab that has to be the same in several processes is given its service's name.
    """

    numbers = itertools.count(1)

    def __init__(self, service: str | None = None) -> None:
        service = service or new_name()
        self.service = service
        self.topic = f"{self.service}.counters"
        self.partner_topic = f"{self.service}.partner"
        self.rejected_topic = f"{self.partner_topic}.rejected"
        self.checkpoints_topic = f"{self.service}.checkpoints"

        class CounterFact(Event, topic=self.topic, key="counter_id"):
            counter_id: Pseudonymous[str]

        class Counted(CounterFact):
            """Something was counted."""

            amount: Open[int]
            part: Open[str] = "a"
            note: Open[str | None] = None
            area_code: Open[str | None] = None

        class Named(CounterFact, Sealing, seals=(Name,)):
            """The counter got a name, which is personal."""

        class Spread(CounterFact):
            """The same amount was counted for several parts."""

            parts: Open[tuple[str, ...]]
            amount: Open[int]

        class Cleared(CounterFact):
            """Every part was put away."""

        class Ignored(CounterFact):
            """Nobody folds this."""

        class PartnerFact(Event, topic=self.partner_topic, key="counter_id"):
            counter_id: Personal[str]

        class Reported(PartnerFact):
            """A partner reports an amount."""

            amount: Personal[int]
            seen_on: Personal[date | None] = None

        class PartnerRejectionFact(Event, topic=self.rejected_topic, key="rejection_id"):
            rejection_id: Open[str]

        class LabMessageRejected(PartnerRejectionFact):
            """What contracts.partners.MessageRejected is for Dukcapil."""

            system: Open[str]
            message_id: Pseudonymous[str | None] = None
            message_type: Open[str | None] = None
            partition: Open[int]
            offset: Open[int]
            faults: Open[tuple[Fault, ...]]

        self.Counted, self.Named, self.Ignored, self.Reported = Counted, Named, Ignored, Reported
        self.Spread, self.Cleared, self.MessageRejected = Spread, Cleared, LabMessageRejected
        TOPICS[self.topic] = Topic(self.topic, service, PARTITIONS, Audience.SERVICES)
        TOPICS[self.partner_topic] = Topic(
            self.partner_topic, service, 1, Audience.PARTNERS, retention_days=7, written_by="lab"
        )
        TOPICS[self.rejected_topic] = Topic(self.rejected_topic, service, 1, Audience.PARTNERS)
        TOPICS[self.checkpoints_topic] = checkpoints_topic(service)
        self.counters = Table(
            "counter", Counter, topic=self.topic, key=("counter_id",), evolve=self._evolve_counter, head=True
        )
        self.parts = Table(
            "part",
            Part,
            topic=self.topic,
            key=("counter_id", "part"),
            evolve=self._evolve_part,
            touches={Counted: one("part"), Spread: each("parts"), Cleared: whole_stream},
        )
        self.rejections = Table(
            "rejection",
            Rejection,
            topic=self.rejected_topic,
            key=("rejection_id",),
            evolve=_evolve_rejection,
            head=True,
        )
        self.tables: tuple[Table[Any], ...] = (self.counters, self.parts)
        self.own_tables = (*self.tables, self.rejections)
        self.partner = Partner(self.partner_topic, "lab", "urn:lab")

    def _evolve_counter(self, counter: Counter | None, event: Event, envelope: Envelope) -> Counter | None:
        counter = counter or Counter(event.key, 0, "52.01", 0, 0, None, None)
        if isinstance(event, self.Counted):
            amount: int = event.amount  # type: ignore[attr-defined]
            area_code = event.area_code or counter.area_code  # type: ignore[attr-defined]
            return replace(counter, area_code=area_code, times=counter.times + 1, total=counter.total + amount)
        if isinstance(event, self.Spread):
            amount = event.amount * len(set(event.parts))  # type: ignore[attr-defined]
            return replace(counter, times=counter.times + 1, total=counter.total + amount)
        if isinstance(event, self.Cleared):
            return replace(counter, total=0)
        if isinstance(event, self.Named):
            sealed = event.personal[event.key]  # type: ignore[attr-defined]
            return replace(counter, sealed=sealed, sealed_by=envelope.id)
        return counter

    def _evolve_part(self, row: Part | None, event: Event, envelope: Envelope, part: str) -> Part | None:
        if isinstance(event, self.Cleared):
            return None
        total = (row.total if row else 0) + event.amount  # type: ignore[attr-defined]
        return None if total == 0 else Part(event.key, part, total)

    def forget(self) -> None:
        """Takes the lab's facts out of the contracts again."""
        topics = (self.topic, self.partner_topic, self.rejected_topic)
        for name in [name for name, event in EVENTS.items() if event.topic in topics]:
            del EVENTS[name]
        for topic in (*topics, self.checkpoints_topic):
            del TOPICS[topic]


def new_name() -> str:
    """The name of a service that no other lab has."""
    return "lab" + f"{os.getpid()}{next(Lab.numbers):04}".translate(_LETTERS)


def _evolve_rejection(_: Rejection | None, event: Any, envelope: Envelope) -> Rejection:
    return Rejection(event.key, envelope.version, "", event.message_id, event.partition, event.offset, event.faults)


def migrate_lab(dsn: str) -> None:
    """The kit's own migrations and the lab's tables."""
    from services.kit.database import migrate

    migrate(dsn, MIGRATIONS)


async def make_topics(kafka: str, lab: Lab) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        names = (lab.topic, lab.partner_topic, lab.rejected_topic, lab.checkpoints_topic)
        await admin.create_topics([NewTopic(name, TOPICS[name].partitions, 1) for name in names])
    finally:
        await admin.close()


@dataclass
class Site:
    """A database of a service and the means to act in it."""

    lab: Lab
    dsn: str
    pool: Any
    workplace: Workplace
    nudges: int = 0

    async def decide(self, *events: Event) -> None:
        """One transaction with these facts."""
        async with self.workplace.transaction(acting_as("tester"), correlation_id="test") as tx:
            await tx.decide(events)

    async def rows(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.pool.fetch(sql, *arguments)]

    async def totals(self) -> dict[str, tuple[int, int]]:
        """counter -> (times, total), as the table says."""
        return {r["counter_id"]: (r["times"], r["total"]) for r in await self.rows("SELECT * FROM counter")}


@asynccontextmanager
async def site(
    lab: Lab, fresh_database: FreshDatabase, *, service: str | None = None, keyring: Keyring | None = None
) -> AsyncIterator[Site]:
    """A fresh database for the lab's publisher, or for a reader under another service name."""
    dsn = await fresh_database("lab", migrate_lab)
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=5)
    try:
        nudge = Nudge(pool)
        tables = lab.own_tables if service is None else lab.tables
        workplace = Workplace(
            service or lab.service, pool, tables, keyring or LocalKeys(MASTER_KEY), lambda: NOW, nudge
        )
        async with running(nudge.run):
            yield Site(lab, dsn, pool, workplace)
    finally:
        pool.terminate()


@asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[asyncio.Event]:
    """Runs coroutine functions `part(stopping)` until the block ends; a part that fails fails the test."""
    stopping = asyncio.Event()
    tasks = [asyncio.ensure_future(part(stopping)) for part in parts]
    try:
        yield stopping
    finally:
        stopping.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 15)


def relay_of(place: Site, kafka: str) -> Relay:
    return Relay(f"/entas/{place.lab.service}", place.dsn, kafka)


async def eventually(check: Any, *, seconds: float = 20) -> Any:
    """Awaits `check()` again and again until it gives something true; the last answer stands in the failure."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = await check()
        if answer:
            return answer
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{getattr(check, '__name__', 'the condition')} did not come true in {seconds} s")
        await asyncio.sleep(0.02)


@dataclass
class Seen:
    """A record as it stands in Kafka."""

    topic: str
    partition: int
    offset: int
    envelope: Envelope
    position: Position
    value: bytes
    headers: Sequence[tuple[str, bytes]] = field(default_factory=list)


async def all_records(kafka: str, *topics: str) -> list[Seen]:
    """Everything that stands in these topics, by partition and offset."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(topic, n) for topic in topics for n in range(TOPICS[topic].partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        seen: list[Seen] = []
        waiting = {place for place in places if ends[place] > 0}
        while waiting:
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                for r in records:
                    envelope, position = read_headers(r.topic, r.headers)
                    seen.append(Seen(r.topic, r.partition, r.offset, envelope, position, r.value, r.headers))
                if await consumer.position(place) >= ends[place]:
                    waiting.discard(place)
        return sorted(seen, key=lambda s: (s.topic, s.partition, s.offset))
    finally:
        await consumer.stop()


@asynccontextmanager
async def labs() -> AsyncIterator[Lab]:
    lab = Lab()
    try:
        yield lab
    finally:
        lab.forget()


__all__ = ["Counter", "Lab", "Name", "Part", "Reactions", "Site", "all_records", "eventually", "running", "site"]
