"""What the long run must leave behind, checked in one pass and little memory: log, seals, Kafka, tables.

Nothing lost, doubled or reordered within a stream. The tables are compared with the oracle, row by row, by
`tests.journeys.evidence`; here stands what has to be looked at event by event.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import TOPICS, published_by
from tests.journeys.evidence import Names, leaf_of, without_vain_attempts
from tests.journeys.oracle import Oracle
from tests.support.world import World

DIGEST_BYTES = 16


@dataclass
class Found:
    """What was looked at, and each difference in words: there must be none."""

    service: str
    events: int = 0
    copies: list[int] = field(default_factory=list)  # sequences of which there is a copy, one entry a copy
    differences: list[str] = field(default_factory=list)
    struck: list[int] = field(default_factory=list)  # sequences of which something differs, where it is known of which

    def differs(self, what: str, *sequences: int) -> None:
        self.differences.append(f"{self.service}: {what}")
        self.struck += sequences


def examine(world: World, oracle: Oracle, service: str) -> Found:
    """A service's log against the script, Kafka against the log, the tree against both."""
    found = Found(service)
    _examine_log(world, found)
    _examine_story(world, oracle, found)
    asyncio.run(_examine_kafka(world, found))
    return found


def _examine_log(world: World, found: Found) -> None:
    """Every event sealed once and without a gap; every stream's versions without one, in the order of sequences."""
    checks = {
        "events that were never sealed": "SELECT count(*) FROM log l LEFT JOIN seal s USING (id) WHERE s.id IS NULL",
        "events that were sealed twice": "SELECT count(*) - count(DISTINCT id) FROM seal",
        "gaps among the sequences": "SELECT coalesce(max(sequence) + 1, 0) - count(*) FROM seal",
        "streams with a gap or a double version": """
            SELECT count(*)
            FROM (SELECT 1 FROM log GROUP BY topic, stream HAVING count(*) <> max(version) OR min(version) <> 1) AS s
            """,
        "events before an earlier one of their stream": """
            SELECT count(*)
            FROM (SELECT version, lag(version) OVER (PARTITION BY topic, stream ORDER BY sequence) AS before
                  FROM seal JOIN log USING (id)) AS s
            WHERE version <> coalesce(before, 0) + 1
            """,
        "events that wait in the outbox": "SELECT count(*) FROM outbox",
        "batches that are not marked sent": "SELECT count(*) FROM sealed_batch WHERE sent_at IS NULL",
        "partitions that stand still": "SELECT count(*) FROM cursor WHERE stopped IS NOT NULL",
        "events that were parked": "SELECT count(*) FROM parked",
    }
    for what, query in checks.items():
        if number := world.value(found.service, query):
            found.differs(f"{number} {what}")
    found.events = world.value(found.service, "SELECT count(*) FROM log")


def _examine_story(world: World, oracle: Oracle, found: Found) -> None:
    """Each stream holds the facts that the script made happen, in their order, and nothing else."""
    named = Names.known_to(world, found.service)
    rows = world.rows(
        found.service,
        "SELECT topic, stream, string_agg(split_part(type, '.', 3), ' ' ORDER BY version) AS facts "
        "FROM log GROUP BY topic, stream",
    )
    told = {(row["topic"], named.in_text(row["stream"])): without_vain_attempts(row["facts"].split()) for row in rows}
    wanted = oracle.story.of(found.service)
    for stream in wanted.keys() | told:
        if wanted.get(stream) != told.get(stream):
            wants, has = wanted.get(stream, []), told.get(stream, [])
            found.differs(f"{stream} should hold {len(wants)} facts, holds {len(has)}, or in another order")


# --- Kafka ------------------------------------------------------------------------------------------------------------


async def _examine_kafka(world: World, found: Found) -> None:
    """Each record is the event that was logged, or a whole copy of it; chains are whole; the tree is the sealed one."""
    digests, leaves = bytearray(DIGEST_BYTES * found.events), bytearray(32 * found.events)
    seen = bytearray(found.events)
    last: dict[tuple[str, int], int] = {}
    versions: dict[tuple[str, bytes], int] = defaultdict(int)
    async for record in _records(world, found.service):
        headers = {name: value.decode() for name, value in record.headers}
        sequence, place = int(headers["ce_sequence"]), (record.topic, record.partition)
        if sequence >= found.events:
            found.differs(f"{place} offset {record.offset}: sequence {sequence} is not in the log")
            continue
        at = slice(DIGEST_BYTES * sequence, DIGEST_BYTES * (sequence + 1))
        digest = _digest(_of_record(record, headers))
        if seen[sequence]:
            found.copies.append(sequence)
            if digests[at] != digest:
                found.differs(f"{place} offset {record.offset}: a copy of sequence {sequence} that is none", sequence)
            continue
        seen[sequence], digests[at] = 1, digest
        before = str(last[place]).zfill(20) if place in last else "none"
        if headers["ce_previoussequence"] != before or sequence <= last.get(place, -1):
            found.differs(f"{place} offset {record.offset}: the chain is broken, or the order", sequence)
        last[place] = sequence
        versions[record.topic, record.key] += 1
        if int(headers["ce_streamversion"]) != versions[record.topic, record.key]:
            found.differs(f"{place} offset {record.offset}: {record.key.decode()} is out of order", sequence)
        leaves[32 * sequence : 32 * (sequence + 1)] = leaf_of(record, sequence)
    if missing := [sequence for sequence, there in enumerate(seen) if not there]:
        found.differs(f"{len(missing)} events are missing in Kafka", *missing)
    _compare_with_log(world, found, digests)
    _compare_roots(world, found, leaves)


async def _records(world: World, service: str) -> Any:
    """Everything that stands in the topics of a service, partition by partition in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.local.bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(t.name, n) for t in published_by(service) for n in range(TOPICS[t.name].partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        waiting = {place for place in places if ends[place] > 0}
        while waiting:
            for place, records in (await consumer.getmany(timeout_ms=500, max_records=5000)).items():
                for record in records:
                    yield record
                if await consumer.position(place) >= ends[place]:
                    waiting.discard(place)
    finally:
        await consumer.stop()


def _compare_with_log(world: World, found: Found, digests: bytearray) -> None:
    differing = []
    for row in _log(world, found.service):
        at = slice(DIGEST_BYTES * row["sequence"], DIGEST_BYTES * (row["sequence"] + 1))
        if digests[at] != _digest(_of_row(row, found.service)):
            differing.append(row["sequence"])
    if differing:
        found.differs(f"{len(differing)} events stand in Kafka otherwise than in the log", *differing)


def _log(world: World, service: str) -> Iterator[dict[str, Any]]:
    """Streamed by a cursor of the server."""
    with (
        world.new_connection(f"entas_{service}") as connection,
        connection.transaction(),
        connection.cursor(name="examined") as cursor,
    ):
        cursor.itersize = 5_000
        yield from cursor.execute(
            "SELECT s.sequence, l.topic, l.partition, l.stream, l.version, l.type, l.event_id, l.value, l.occurred_at, "
            "l.recorded_at, l.actor, l.correlation_id, l.causation_id FROM seal s JOIN log l USING (id)"
        )


def _of_row(row: dict[str, Any], service: str) -> tuple[Any, ...]:
    place = (row["topic"], str(row["partition"]), row["stream"], str(row["version"]), row["type"], row["event_id"])
    times = (_text(row["occurred_at"]), _text(row["recorded_at"]))
    causes = (row["actor"], row["correlation_id"], row["causation_id"] or "")
    return (*place, f"/entas/{service}", *times, *causes, bytes(row["value"]))


def _of_record(record: Any, headers: dict[str, str]) -> tuple[Any, ...]:
    place = (record.topic, str(record.partition), record.key.decode(), headers["ce_streamversion"])
    rest = ("ce_type", "ce_id", "ce_source", "ce_time", "ce_recordedtime", "ce_actor", "ce_correlationid")
    return (*place, *(headers[name] for name in rest), headers.get("ce_causationid", ""), record.value)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _digest(parts: tuple[Any, ...]) -> bytes:
    """Each part behind its length, so that nothing can move from one into the next."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode()
        hashed.update(struct.pack(">I", len(encoded)) + encoded)
    return hashed.digest()


# --- The tree ---------------------------------------------------------------------------------------------------------


def _compare_roots(world: World, found: Found, leaves: bytearray) -> None:
    """The tree of what stands in Kafka alone has, at the end of each batch, the root that sealing gave to it."""
    peaks: list[tuple[int, bytes]] = []
    done = wrong = 0
    query = "SELECT first_sequence, size, root FROM sealed_batch ORDER BY batch_no"
    for batch in world.rows(found.service, query):
        if batch["first_sequence"] != done:
            found.differs(f"a sealed batch begins at {batch['first_sequence']}, the one before ends at {done}")
        for sequence in range(done, batch["first_sequence"] + batch["size"]):
            peaks.append((1, bytes(leaves[32 * sequence : 32 * (sequence + 1)])))
            while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
                (size, left), (_, right) = peaks[-2:]
                peaks[-2:] = [(2 * size, sha256(b"\x01" + left + right).digest())]
        done = batch["first_sequence"] + batch["size"]
        root = peaks[-1][1]
        for _, peak in reversed(peaks[:-1]):
            root = sha256(b"\x01" + peak + root).digest()
        wrong += root != bytes(batch["root"])
    if wrong or done != found.events:
        found.differs(f"{wrong} batches have another root than Kafka's records; {done} of {found.events} are sealed")


# --- When -------------------------------------------------------------------------------------------------------------


def sent_at(world: World, service: str, sequences: list[int]) -> list[float]:
    """When the batch of each of these was sent for the last time, in seconds since 1970 by the database's clock."""
    if not sequences:
        return []
    rows = world.rows(
        service,
        "SELECT extract(epoch FROM b.sent_at)::float8 AS at FROM unnest(%s::bigint[]) AS copied (sequence) "
        "JOIN sealed_batch b ON copied.sequence BETWEEN b.first_sequence AND b.first_sequence + b.size - 1",
        sequences,
    )
    return [row["at"] for row in rows]


def events_between(world: World, service: str, begin: float, end: float) -> int:
    """How many events were written in that time, by the clock of the processes."""
    query = "SELECT count(*) FROM log WHERE recorded_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)"
    return int(world.value(service, query, begin, end))


__all__ = ["Found", "events_between", "examine", "sent_at"]
