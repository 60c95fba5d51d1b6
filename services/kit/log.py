"""The log: one append of typed events, the last statement of the transaction that they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from operator import itemgetter
from typing import Any

import asyncpg
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from contracts.envelope import MAX_ENVELOPE_BYTES, NOTHING_BEFORE, Envelope, Position, headers_of
from contracts.topics import TOPICS
from services.kit.partition import partition_for
from services.kit.refusal import Refused, Unavailable
from services.kit.rows import Connection

MAX_RECORD_BYTES = 900_000
"""A record's encoded size, headers included. Kafka's default limit for a record batch is 1,048,588 bytes; an oversized
record would hold up the relay for ever, since a batch builder always takes its first record."""

# Below this a value cannot pass the limit: keys and envelope are bounded to a few kilobytes.
_SURELY_SMALL_BYTES = MAX_RECORD_BYTES // 2
_MAX_ENVELOPE_TEXT = 512

_A_VERSION_ONCE = "log_topic_stream_version_key"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it goes on the log: its envelope, the area it concerns, and the exact bytes of its value."""

    envelope: Envelope
    area_code: str
    value: bytes


class BegunElsewhere(Unavailable):
    """Another transaction began the same stream at the same moment: what has no row yet cannot be locked. It passes:
    who tries again finds the stream."""


async def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Appends to log and outbox in one statement, which must be the transaction's last.

    Ids are drawn after every row that the transaction changes is locked and written, so their order is the order of
    conflicts. Raises `Refused` for a record that no broker would take; `BegunElsewhere`; `UniqueViolationError` where a
    stream's row and the log differ, which is a defect.
    """
    if not entries:
        return
    for entry in entries:
        refuse_oversized(entry)
    try:
        await _insert(connection, entries)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == _A_VERSION_ONCE and any(entry.envelope.version == 1 for entry in entries):
            raise BegunElsewhere("begun-elsewhere", "Another request began the same at the same moment.") from error
        raise


async def _insert(connection: Connection, entries: Sequence[Entry]) -> None:
    envelopes = [entry.envelope for entry in entries]
    await connection.execute(
        """
        WITH appended AS (
            INSERT INTO log (topic, stream, version, partition, type, event_id, occurred_at, recorded_at, actor,
                             correlation_id, causation_id, traceparent, area_code, value)
            SELECT topic, stream, version, partition, type, event_id, occurred_at, recorded_at, actor,
                   correlation_id, causation_id, traceparent, area_code, value
            FROM unnest($1::text[], $2::text[], $3::int[], $4::smallint[], $5::text[], $6::text[], $7::timestamptz[],
                        $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[])
                 WITH ORDINALITY AS entry (topic, stream, version, partition, type, event_id, occurred_at, recorded_at,
                        actor, correlation_id, causation_id, traceparent, area_code, value, place)
            ORDER BY place
            RETURNING id
        )
        INSERT INTO outbox (id) SELECT id FROM appended
        """,
        [e.topic for e in envelopes],
        [e.key for e in envelopes],
        [e.version for e in envelopes],
        [partition_for(e.key, TOPICS[e.topic].partitions) for e in envelopes],
        [e.type for e in envelopes],
        [e.id for e in envelopes],
        [e.time for e in envelopes],
        [e.recorded for e in envelopes],
        [e.actor for e in envelopes],
        [e.correlation_id for e in envelopes],
        [e.causation_id for e in envelopes],
        [e.traceparent for e in envelopes],
        [entry.area_code for entry in entries],
        [entry.value for entry in entries],
    )


def refuse_oversized(entry: Entry) -> None:
    """Raises `Refused` unless the record, by its exact encoded size, fits under `MAX_RECORD_BYTES`, and its attributes
    under what readers take: one that they do not would stop their partitions."""
    envelope = entry.envelope
    longest = max(len(envelope.key), len(envelope.actor), len(envelope.correlation_id))
    if len(entry.value) <= _SURELY_SMALL_BYTES and longest <= _MAX_ENVELOPE_TEXT:
        return
    # Sequences are written with a fixed width, so the size is known before sealing gives one.
    headers = headers_of(envelope, Position(0, 0))
    attributes = sum(len(value) for _, value in headers)
    if attributes > MAX_ENVELOPE_BYTES:
        raise Refused(
            "event-too-large",
            f"The attributes of {envelope.type} would be {attributes:,} bytes long; they hold at most "
            f"{MAX_ENVELOPE_BYTES:,}.",
            status=413,
            remedy="Send shorter ids.",
        )
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(envelope.key.encode(), entry.value, headers)
    if size > MAX_RECORD_BYTES:
        raise Refused(
            "event-too-large",
            f"{envelope.type} would be {size:,} bytes long; a message holds at most {MAX_RECORD_BYTES:,}.",
            status=413,
            remedy="Send fewer items in one request.",
        )


LOG_COLUMNS = (
    "l.id, l.topic, l.stream, l.version, l.partition, l.type, l.event_id, l.occurred_at, l.recorded_at, l.actor, "
    "l.correlation_id, l.causation_id, l.traceparent, l.value"
)


def envelope_of(source: str, row: asyncpg.Record | dict[str, Any]) -> Envelope:
    """The envelope of a row of the log, just as it was when the event was appended."""
    id_, type_, topic, key, version, occurred, recorded, actor, correlation_id, causation_id, traceparent = _told(row)
    times = occurred.astimezone(UTC), recorded.astimezone(UTC)
    return Envelope(id_, type_, source, topic, key, version, *times, actor, correlation_id, causation_id, traceparent)


_told = itemgetter(
    *("event_id", "type", "topic", "stream", "version", "occurred_at", "recorded_at", "actor", "correlation_id"),
    *("causation_id", "traceparent"),
)


__all__ = ["LOG_COLUMNS", "MAX_RECORD_BYTES", "NOTHING_BEFORE", "Entry", "append", "envelope_of", "refuse_oversized"]
