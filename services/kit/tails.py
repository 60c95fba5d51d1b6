"""Kafka's tails against the database's head: whether what was sent and what was sealed are of one history.

A leader asks before it seals anything. A database that was restored from an older backup would otherwise give numbers
that others have read to other events; a Kafka that was lost would be filled from its middle.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic_core import from_json

from contracts.envelope import NOTHING_BEFORE, Unreadable, read_headers
from contracts.topics import published_by
from services.kit.backoff import Backoff
from services.kit.fetching import extent, read_from, reader
from services.kit.outages import OUTAGES
from services.kit.positions import Place
from services.kit.rows import Connection
from services.kit.tasks import first_of, sleep_unless

_log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 30
LOOK_AGAIN_SECONDS = 5
LOOK_BACK_RECORDS = 10_000
"""How far before the end the highest sequence may stand: a copy that came late stands behind it."""


class TailsDiffer(Exception):
    """The topics and the log are not of one history; sealing on would make two of them."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a partition: the highest sequence near it, and that event."""

    sequence: int = NOTHING_BEFORE
    event_id: str | None = None


async def wait_until_sound(
    url: str, service: str, bootstrap: str, stopping: asyncio.Event, failing: dict[str, str]
) -> None:
    """Returns once log and Kafka are of one history, or the process stops. What is wrong stands in `failing`."""
    backoff = Backoff()
    while not stopping.is_set():
        try:
            await first_of(_look(url, service, bootstrap), stopping)
        except TailsDiffer as differ:
            failing["log"] = str(differ)
            _log.error("nothing is taken in", error=str(differ))
            await sleep_unless(stopping, LOOK_AGAIN_SECONDS)
        except OUTAGES as outage:
            _log.warning("waits for an outage to end", error=f"{type(outage).__name__}: {outage}")
            await backoff.wait(stopping)
        else:
            failing.pop("log", None)
            return


async def _look(url: str, service: str, bootstrap: str) -> None:
    connection = await asyncpg.connect(url, command_timeout=60, timeout=10)
    try:
        await refuse_to_fork(connection, service, bootstrap)
    finally:
        connection.terminate()


async def refuse_to_fork(connection: Connection, service: str, bootstrap: str) -> None:
    """Raises `TailsDiffer` and says which topic is ahead or behind, and which command mends it.

    What was sent is read before Kafka's tails and what was sealed after them, so another worker that leads meanwhile
    does not look like a fault.
    """
    sent = await _tails(connection, "WHERE sent_at IS NOT NULL")
    tails = await tails_in_kafka(bootstrap, service)
    sealed = await _tails(connection, "")
    await _refuse_ahead(service, tails, sealed)
    await _refuse_another_history(connection, tails)
    await _refuse_behind(service, bootstrap, tails, sent)


async def _tails(connection: Connection, where: str) -> dict[str, int]:
    text = await connection.fetchval(f"SELECT tails FROM sealed_batch {where} ORDER BY batch_no DESC LIMIT 1")
    return {} if text is None else from_json(text)


async def _refuse_ahead(service: str, tails: Mapping[Place, Tail], sealed: Mapping[str, int]) -> None:
    ahead = [
        f"{place} (sequence {tail.sequence}; here {sealed.get(str(place), NOTHING_BEFORE)})"
        for place, tail in tails.items()
        if tail.sequence > sealed.get(str(place), NOTHING_BEFORE)
    ]
    if ahead:
        raise TailsDiffer(
            f"Kafka holds more of this log than the database: {', '.join(ahead[:5])}. The database was restored from "
            f"an older backup; sealing on would fork the log. Stop the API and the workers and run `python -m "
            f"services.{service} recover`; see docs/runbooks/restore-older-backup.md"
        )


async def _refuse_another_history(connection: Connection, tails: Mapping[Place, Tail]) -> None:
    rows = await connection.fetch(
        """
        SELECT s.sequence, l.event_id, l.topic, l.partition
        FROM seal s
        JOIN log l ON l.id = s.id
        WHERE s.sequence = ANY($1::bigint[])
        """,
        [tail.sequence for tail in tails.values()],
    )
    logged = {row["sequence"]: (row["event_id"], Place(row["topic"], row["partition"])) for row in rows}
    for place, tail in tails.items():
        if tail.sequence >= 0 and logged.get(tail.sequence) != (tail.event_id, place):
            raise TailsDiffer(
                f"{place} ends with {tail.event_id} as sequence {tail.sequence}, but the log has "
                f"{logged.get(tail.sequence, ('nothing',))[0]} there: this Kafka and this database are of two "
                "histories; connect those that belong together"
            )


async def _refuse_behind(service: str, bootstrap: str, tails: Mapping[Place, Tail], sent: Mapping[str, int]) -> None:
    behind = {place: tail for place, tail in tails.items() if is_behind(place, tail, sent)}
    if behind:
        looked_back = await tails_in_kafka(bootstrap, service, behind, LOOK_BACK_RECORDS)
        behind = {place: tail for place, tail in looked_back.items() if is_behind(place, tail, sent)}
    if behind:
        named = [f"{place} (sequence {tail.sequence} of {sent[str(place)]})" for place, tail in behind.items()]
        raise TailsDiffer(
            f"Kafka has lost what was sent to it: {', '.join(named[:5])}. Run `python -m services.{service} reseed`, "
            f"which sends it again from the log; see docs/runbooks/kafka-lost.md"
        )


def is_behind(place: Place, tail: Tail, sent: Mapping[str, int]) -> bool:
    """Whether a partition lacks what was sent to it."""
    return tail.sequence < sent.get(str(place), NOTHING_BEFORE)


async def tails_in_kafka(
    bootstrap: str, service: str, places: Iterable[Place] | None = None, look_back: int = 1
) -> dict[Place, Tail]:
    """The tail of every partition that the service publishes to, or of these. A topic that is not there has none."""
    wanted = places or [Place(topic.name, n) for topic in published_by(service) for n in range(topic.partitions)]
    async with reader(bootstrap) as consumer, asyncio.timeout(PATIENCE_SECONDS):
        tails = {place: Tail() for place in wanted}
        await _read_tails(consumer, list(tails), look_back, tails)
        return tails


async def _read_tails(
    consumer: AIOKafkaConsumer, places: list[Place], look_back: int, tails: dict[Place, Tail]
) -> None:
    partitions = [TopicPartition(*place) for place in places]
    begins, ends = await extent(consumer, partitions)
    read_from(consumer, {p: max(begins[p], ends[p] - look_back) for p in partitions if ends[p] > begins[p]})
    waiting = {partition for partition in partitions if ends[partition] > begins[partition]}
    while waiting:
        for partition, records in (await consumer.getmany(timeout_ms=100)).items():
            place = Place(partition.topic, partition.partition)
            for record in records:
                tails[place] = _further(place, tails[place], record)
        for partition in list(waiting):
            if await consumer.position(partition) >= ends[partition]:
                waiting.discard(partition)


def _further(place: Place, tail: Tail, record: object) -> Tail:
    try:
        envelope, position = read_headers(place.topic, record.headers)  # type: ignore[attr-defined]
    except Unreadable as error:
        raise TailsDiffer(f"{place} holds what this service did not send, near its end: {error}") from None
    if position.sequence < tail.sequence:
        return tail
    return Tail(position.sequence, envelope.id)
