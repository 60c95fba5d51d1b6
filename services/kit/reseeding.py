"""Re-seeding: a Kafka that was lost is filled again from the log, and readers find where they stand in it.

Partners' topics are in nobody's log: what a partner had sent and nobody has read is lost, and has to be sent again.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import asyncpg
from aiokafka import TopicPartition
from pydantic_core import from_json

from contracts.envelope import NOTHING_BEFORE, read_headers
from contracts.topics import TOPICS
from services.kit.fetching import extent, read_from, reader
from services.kit.positions import Place, Standing
from services.kit.relay import LEADER_LOCK, abandon, load_sealed, producer_for, record_batches, send_all
from services.kit.replay import Standings, standings_of
from services.kit.rows import Connection
from services.kit.tails import LOOK_BACK_RECORDS, is_behind, tails_in_kafka

LOCK_SECONDS = 30


class ReseedRefused(Exception):
    """Kafka cannot be filled from this log, or a cursor not be found in it; nothing was changed for what is named."""


# --- Sending again ----------------------------------------------------------------------------------------------------


async def reseed(
    url: str, service: str, bootstrap: str, progress: Callable[[int], None] | None = None
) -> dict[Place, int]:
    """Sends what was sent before and is not in Kafka any more, as the relay does: each sealed batch whole, in order.

    Partitions that hold all are left alone. Run again after it was broken off, it goes on where it was. Returns how
    many events each partition got back.
    """
    connection = await asyncpg.connect(url)
    try:
        await lead(connection)
        held = await _missing(connection, service, bootstrap)
        sent: dict[Place, int] = dict.fromkeys(held, 0)
        if not held:
            return sent
        producer = producer_for(bootstrap)
        try:
            await producer.start()
            number = await _first_batch(connection, min(held.values()) + 1)
            while batch := await _sent_batch(connection, number):
                sealed = await load_sealed(connection, f"/entas/{service}", batch)
                lost = [
                    event
                    for event in sealed.events
                    if held.get(Place(event.envelope.topic, event.partition), event.position.sequence)
                    < event.position.sequence
                ]
                await send_all(producer, record_batches(producer, lost))
                for event in lost:
                    sent[Place(event.envelope.topic, event.partition)] += 1
                if progress is not None:
                    progress(len(lost))
                number += 1
        finally:
            await abandon(producer)
        return sent
    finally:
        await connection.close()


async def lead(connection: Connection) -> None:
    """Takes the relay's lock, so that nothing is sealed or sent meanwhile. A relay that refuses to lead lets it go."""
    for _ in range(LOCK_SECONDS * 10):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEADER_LOCK):
            return
        await asyncio.sleep(0.1)
    raise ReseedRefused("a relay of this database leads, so it finds nothing missing; stop the workers to be sure")


async def _missing(connection: Connection, service: str, bootstrap: str) -> dict[Place, int]:
    """The partitions that lack something, with the last sequence that each holds. Raises `ReseedRefused`."""
    text = await connection.fetchval(
        "SELECT tails FROM sealed_batch WHERE sent_at IS NOT NULL ORDER BY batch_no DESC LIMIT 1"
    )
    sent: dict[str, int] = {} if text is None else from_json(text)
    tails = await tails_in_kafka(bootstrap, service, look_back=LOOK_BACK_RECORDS)
    for place, tail in tails.items():
        if tail.sequence > sent.get(str(place), NOTHING_BEFORE):
            unsent = await connection.fetchval("SELECT tails FROM sealed_batch ORDER BY batch_no DESC LIMIT 1")
            if tail.sequence > (from_json(unsent) if unsent else {}).get(str(place), NOTHING_BEFORE):
                raise ReseedRefused(
                    f"{place} holds sequence {tail.sequence}, which this database has not: recover first"
                )
    return {place: tail.sequence for place, tail in tails.items() if is_behind(place, tail, sent)}


async def _first_batch(connection: Connection, sequence: int) -> int:
    number = await connection.fetchval(
        "SELECT batch_no FROM sealed_batch WHERE first_sequence <= $1 ORDER BY batch_no DESC LIMIT 1", sequence
    )
    return 1 if number is None else int(number)


async def _sent_batch(connection: Connection, number: int) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT b.batch_no, b.first_sequence, b.size, before.tails
        FROM sealed_batch b
        LEFT JOIN sealed_batch before ON before.batch_no = b.batch_no - 1
        WHERE b.batch_no = $1 AND b.sent_at IS NOT NULL
        """,
        number,
    )


# --- Finding one's place ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Remapped:
    moved: dict[Place, tuple[Standing, Standing]] = field(default_factory=dict)
    unchanged: list[Place] = field(default_factory=list)
    begun_anew: list[Place] = field(default_factory=list)  # partners' topics: what stands there now is all new


async def remap_cursors(url: str, bootstrap: str) -> Remapped:
    """Finds in the topics as they are now the event that each cursor has taken last, and moves the cursor behind it.

    All cursors move in one transaction, or none. Nothing is folded, so nothing is folded twice or left out. Raises
    `ReseedRefused` where that event is not there (yet), or is another one.
    """
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            topics = [row["topic"] for row in await connection.fetch("SELECT DISTINCT topic FROM cursor")]
            before = await standings_of(connection, topics, lock=True)
            ours = {place: s for place, s in before.items() if TOPICS[place.topic].written_by is None}
            after = await _found(bootstrap, {place: s for place, s in ours.items() if s.last_sequence >= 0})
            done = Remapped()
            for place, standing in ours.items():
                _note(done, place, standing, after.get(place, Standing()))
            for place in before.keys() - ours.keys():
                if await _fewer_than_read(bootstrap, place, before[place]):
                    done.moved[place] = (before[place], Standing())
                    done.begun_anew.append(place)
            await _move(connection, {place: pair[1] for place, pair in done.moved.items()})
        return done
    finally:
        await connection.close()


def _note(done: Remapped, place: Place, before: Standing, after: Standing) -> None:
    if before.next_offset == after.next_offset:
        done.unchanged.append(place)
    else:
        done.moved[place] = (before, after)


async def _found(bootstrap: str, standings: Mapping[Place, Standing]) -> Standings:
    """Where the last sequence taken stands now, for each partition: behind its first occurrence."""
    if not standings:
        return {}
    async with reader(bootstrap) as consumer:
        partitions = {TopicPartition(*place): place for place in standings}
        begins, ends = await extent(consumer, partitions)
        read_from(consumer, begins)
        found: Standings = {}
        known: set[Place] = set()  # where the event that the cursor names was seen
        waiting = {partition for partition in partitions if ends[partition] > begins[partition]}
        while waiting:
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                place = partitions[partition]
                wanted = standings[place]
                for record in records:
                    envelope, position = read_headers(place.topic, record.headers)
                    if envelope.id == wanted.last_event_id and position.sequence <= wanted.last_sequence:
                        known.add(place)
                    if position.sequence == wanted.last_sequence and place not in found:
                        found[place] = Standing(record.offset + 1, position.sequence, envelope.id)
            for partition in list(waiting):
                place = partitions[partition]
                if (place in found and place in known) or await consumer.position(partition) >= ends[partition]:
                    consumer.pause(partition)
                    waiting.discard(partition)
    for place, standing in standings.items():
        if place not in found:
            raise ReseedRefused(
                f"{place} does not hold sequence {standing.last_sequence}, the last one taken from it: its owner "
                f"has to `reseed` first (`python -m services.{TOPICS[place.topic].owner} reseed`)"
            )
        if standing.last_event_id is not None and place not in known:
            raise ReseedRefused(
                f"{place} holds another event as sequence {standing.last_sequence} than {standing.last_event_id}, the "
                "one taken: it is another history; connect the Kafka that belongs to this database"
            )
    return found


async def _fewer_than_read(bootstrap: str, place: Place, standing: Standing) -> bool:
    partition = TopicPartition(*place)
    async with reader(bootstrap) as consumer:
        return bool((await consumer.end_offsets([partition]))[partition] < standing.next_offset)


async def _move(connection: Connection, standings: Mapping[Place, Standing]) -> None:
    await connection.executemany(
        """
        UPDATE cursor
        SET next_offset = $3, last_sequence = $4, last_event_id = $5, stopped = NULL
        WHERE topic = $1 AND partition = $2
        """,
        [(*place, s.next_offset, s.last_sequence, s.last_event_id) for place, s in standings.items()],
    )


async def read_cursors(url: str) -> list[tuple[Place, int, int, str | None]]:
    """Each partition that the service reads: next offset, last sequence, and why it stands still where it does."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT topic, partition, next_offset, last_sequence, stopped FROM cursor ORDER BY topic, partition"
        )
    finally:
        await connection.close()
    return [
        (Place(row["topic"], row["partition"]), row["next_offset"], row["last_sequence"], row["stopped"])
        for row in rows
    ]
