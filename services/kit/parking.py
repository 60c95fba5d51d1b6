"""Parking: a fact that a fold or a reaction of ours cannot take waits, with those of its stream that come after it.

All other streams go on. Nothing is ever discarded: what is parked is released once mended code takes it, in its order.
A partner's message names people in the clear, so its record is kept sealed, and its stream as a digest that only this
service's own key can compute.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from contracts.envelope import Envelope
from services.kit import metrics
from services.kit.keyring import Keyring
from services.kit.keys import open_sealed, seal
from services.kit.positions import Record
from services.kit.rows import Connection


class Stream(NamedTuple):
    """A stream as its records name it. A partner's key may be a national id: it stays in memory."""

    topic: str
    key: str


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits. `reason` is None where it only waits for an earlier one of its stream."""

    record: Record
    envelope: Envelope
    sequence: int | None
    reason: str | None

    @property
    def stream(self) -> Stream:
        return Stream(self.envelope.topic, self.envelope.key)


@dataclass(slots=True)
class Parking:
    """What a batch meets and leaves behind: `held` are the streams of which nothing may be taken now."""

    held: set[Stream] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)

    def holds(self, envelope: Envelope) -> bool:
        return Stream(envelope.topic, envelope.key) in self.held

    def park(self, parked: Parked) -> None:
        self.held.add(parked.stream)
        self.parked.append(parked)


class Names:
    """What streams are called in the table: by their key, or for a partner's topic by a digest of it."""

    def __init__(self, service: str, keyring: Keyring, partner_topics: Collection[str]) -> None:
        self._service = service
        self._keyring = keyring
        self._partner_topics = partner_topics

    def seals(self, topic: str) -> bool:
        return topic in self._partner_topics

    def subject(self, topic: str) -> str:
        """The subject under whose key a topic's records are sealed."""
        return f"{self._service}:parked:{topic}"

    async def key(self, connection: Connection, topic: str) -> bytes:
        return (await self._keyring.to_seal(connection, [self.subject(topic)]))[self.subject(topic)]

    async def of(self, connection: Connection, streams: Collection[Stream]) -> dict[tuple[str, str], Stream]:
        """(topic, name) -> stream."""
        keys = {topic: await self.key(connection, topic) for topic in {s.topic for s in streams} if self.seals(topic)}
        return {
            (stream.topic, _digest(keys[stream.topic], stream.key) if stream.topic in keys else stream.key): stream
            for stream in streams
        }


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()


async def topics_held(connection: Connection, topics: Collection[str]) -> set[str]:
    """The topics of which something is parked."""
    if not topics:
        return set()
    rows = await connection.fetch(
        """
        SELECT topic
        FROM unnest($1::text[]) AS topic
        WHERE EXISTS (SELECT 1 FROM parked p WHERE p.topic = topic.topic)
        """,
        sorted(topics),
    )
    return {row["topic"] for row in rows}


async def streams_held(connection: Connection, names: Names, streams: Collection[Stream]) -> set[Stream]:
    """Which of these streams are parked."""
    named = await names.of(connection, streams)
    rows = await connection.fetch(
        """
        SELECT DISTINCT p.topic, p.stream
        FROM parked p
        JOIN unnest($1::text[], $2::text[]) AS met (topic, stream) USING (topic, stream)
        """,
        [topic for topic, _ in named],
        [name for _, name in named],
    )
    return {named[row["topic"], row["stream"]] for row in rows}


async def keep(connection: Connection, names: Names, parked: Sequence[Parked]) -> None:
    """Writes what a batch parked, in the batch's own transaction."""
    if not parked:
        return
    named = {stream: name for (_, name), stream in (await names.of(connection, {p.stream for p in parked})).items()}
    keys = {t: await names.key(connection, t) for t in {p.record.topic for p in parked} if names.seals(t)}
    sealed_under = {topic: names.subject(topic) for topic in keys}
    await connection.execute(
        """
        INSERT INTO parked (topic, partition, record_offset, stream, event_id, type, version, sequence, record,
                            sealed_under, reason)
        SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::int[],
                             $8::bigint[], $9::bytea[], $10::text[], $11::text[])
        """,
        [p.record.topic for p in parked],
        [p.record.partition for p in parked],
        [p.record.offset for p in parked],
        [named[p.stream] for p in parked],
        [p.envelope.id for p in parked],
        [p.envelope.type for p in parked],
        [p.envelope.version for p in parked],
        [p.sequence for p in parked],
        [_written(p, keys.get(p.record.topic), sealed_under.get(p.record.topic)) for p in parked],
        [sealed_under.get(p.record.topic) for p in parked],
        [p.reason for p in parked],
    )
    for each in parked:
        metrics.parked_records.labels(each.record.topic).inc()


def _written(parked: Parked, key: bytes | None, subject: str | None) -> bytes:
    record = parked.record
    plain = to_json(
        {
            "key": None if record.key is None else b64encode(record.key).decode(),
            "value": b64encode(record.value or b"").decode(),
            "headers": [
                [name, None if value is None else b64encode(value).decode()] for name, value in record.headers_as_sent
            ],
            "timestamp": record.timestamp,
        }
    )
    if key is None or subject is None:
        return plain
    return seal(key, plain, _bound_to(record.topic, record.partition, record.offset), subject).encode()


def _bound_to(topic: str, partition: int, offset: int) -> str:
    """What a sealed record belongs to: moved to another place, it does not open."""
    return f"{topic}/{partition}@{offset}"


# --- What stands in the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParkedStream:
    """A stream that waits: where, since when, for how many records, and what failed first."""

    topic: str
    stream: str
    partition: int
    records: int
    first_offset: int
    first_type: str
    since: datetime
    reason: str


async def parked_streams(connection: Connection) -> list[ParkedStream]:
    """Every stream that waits, the one that waits longest first."""
    rows = await connection.fetch(
        """
        SELECT p.topic, p.stream, min(p.partition) AS partition, count(*) AS records,
               min(p.record_offset) AS first_offset,
               (array_agg(p.type ORDER BY p.record_offset))[1] AS first_type,
               min(p.parked_at) AS since,
               coalesce((array_agg(p.reason ORDER BY p.record_offset) FILTER (WHERE p.reason IS NOT NULL))[1], '')
                   AS reason
        FROM parked p
        GROUP BY p.topic, p.stream
        ORDER BY since, p.topic, first_offset
        """
    )
    return [ParkedStream(**dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """One record that waits."""

    topic: str
    partition: int
    record_offset: int
    event_id: str
    type: str
    version: int
    sequence: int | None
    sealed: bool
    reason: str | None
    parked_at: datetime


async def parked_records(connection: Connection, topic: str, stream: str) -> list[ParkedRecord]:
    """The records of one stream that wait, in their order."""
    rows = await connection.fetch(
        """
        SELECT p.topic, p.partition, p.record_offset, p.event_id, p.type, p.version, p.sequence,
               p.sealed_under IS NOT NULL AS sealed, p.reason, p.parked_at
        FROM parked p
        WHERE p.topic = $1
        AND p.stream = $2
        ORDER BY p.record_offset
        """,
        topic,
        stream,
    )
    return [ParkedRecord(**dict(row)) for row in rows]


async def take_out(connection: Connection, keyring: Keyring, topic: str, stream: str) -> list[Record]:
    """Takes a stream's records out of the table, in their order, and gives them as Kafka gave them.

    The partition's cursor is locked first, so that no batch of the partition is under way meanwhile.
    """
    await connection.execute(
        """
        SELECT 1
        FROM cursor c
        WHERE c.topic = $1
        AND c.partition IN (SELECT p.partition FROM parked p WHERE p.topic = $1 AND p.stream = $2)
        FOR UPDATE OF c
        """,
        topic,
        stream,
    )
    rows = await connection.fetch(
        """
        DELETE FROM parked
        WHERE topic = $1
        AND stream = $2
        RETURNING topic, partition, record_offset, record, sealed_under
        """,
        topic,
        stream,
    )
    subjects = {row["sealed_under"] for row in rows if row["sealed_under"] is not None}
    keys = await keyring.to_open(connection, subjects, "parked") if subjects else {}
    return [_read(row, keys) for row in sorted(rows, key=lambda row: row["record_offset"])]


def _read(row: Any, keys: dict[str, bytes]) -> Record:
    plain, subject = row["record"], row["sealed_under"]
    if subject is not None:
        place = _bound_to(row["topic"], row["partition"], row["record_offset"])
        plain = open_sealed(keys[subject], plain.decode(), place, subject)
    said = from_json(plain)
    return Record(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["record_offset"],
        key=None if said["key"] is None else b64decode(said["key"]),
        value=b64decode(said["value"]),
        headers=tuple((name, None if value is None else b64decode(value)) for name, value in said["headers"]),
        timestamp=said["timestamp"],
    )


async def count_parked(connection: Any) -> dict[str, tuple[int, int]]:
    """Topic -> (streams, records) that wait."""
    rows = await connection.fetch(
        "SELECT topic, count(DISTINCT stream) AS streams, count(*) AS records FROM parked GROUP BY topic"
    )
    return {row["topic"]: (row["streams"], row["records"]) for row in rows}
