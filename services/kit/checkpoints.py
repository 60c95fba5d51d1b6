"""Checkpoints: signs what the log is, at most a minute after it grew, and hands that on to Kafka and a witness.

A checkpoint is a row first; rows that were not handed on are handed on again, oldest first. So nothing is lost by a
crash, and a copy of a note is harmless.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from pydantic_core import from_json, to_json

from contracts.topics import checkpoints_of
from services.kit import metrics
from services.kit.causes import told
from services.kit.crash import crash_point
from services.kit.notes import Checkpoint, Signer, log_name
from services.kit.parts import Failing, keep_trying
from services.kit.relay import Relay, abandon
from services.kit.rows import Connection
from services.kit.settings import Settings
from services.kit.tasks import first_of
from services.kit.witness import Witness, WitnessAway, witness_of

_log = structlog.get_logger(__name__)

COUNTED_AT_ONCE = 100_000
HANDED_ON_AT_ONCE = 100
AGAIN_SECONDS = 1.0


def signer_of(settings: Settings, service: str) -> Signer | None:
    """The signer of a service's checkpoints; None where no key is set. Raises SettingsInvalid in production then."""
    if settings.checkpoint_key_file is None and settings.environment != "production":
        return None
    return Signer(log_name(service), settings.checkpoint_key())


async def make_checkpoint(pool: Any, service: str, signer: Signer) -> Checkpoint | None:
    """Signs the newest head that Kafka has in full, and keeps it. None when there is nothing new.

    Head, tails and cursors are those of one snapshot. What was counted before is not counted again.
    """
    async with (
        pool.acquire(timeout=5) as connection,
        connection.transaction(isolation="repeatable_read"),
    ):
        head = await connection.fetchrow(
            """
            SELECT first_sequence + size AS size, root, tails
            FROM sealed_batch
            WHERE sent_at IS NOT NULL
            ORDER BY batch_no DESC
            LIMIT 1
            """
        )
        last = await connection.fetchrow("SELECT tree_size, counts FROM checkpoint ORDER BY tree_size DESC LIMIT 1")
        if head is None or (last is not None and head["size"] <= last["tree_size"]):
            return None
        counts = await _counted(connection, last, head["size"])
        cursors = await _cursors(connection)
        made = Checkpoint(
            service, head["size"], head["root"], datetime.now(UTC), counts, from_json(head["tails"]), cursors
        )
        await _keep(connection, made, signer.sign(made.text()))
        return made


async def _counted(connection: Connection, last: Any, size: int) -> dict[str, int]:
    """Events by topic up to `size`: those of the checkpoint before, and what was sealed since."""
    counts: Counter[str] = Counter({} if last is None else from_json(last["counts"]))
    # In pieces: the first checkpoint of an old log counts all of it, and no statement may take a minute.
    for first in range(0 if last is None else last["tree_size"], size, COUNTED_AT_ONCE):
        rows = await connection.fetch(
            """
            SELECT l.topic, count(*) AS events
            FROM seal s
            JOIN log l ON l.id = s.id
            WHERE s.sequence >= $1 AND s.sequence < $2
            GROUP BY l.topic
            """,
            first,
            min(first + COUNTED_AT_ONCE, size),
        )
        counts.update({row["topic"]: row["events"] for row in rows})
    return dict(counts)


async def _cursors(connection: Connection) -> dict[str, dict[str, int]]:
    rows = await connection.fetch("SELECT topic, partition, next_offset, last_sequence FROM cursor")
    return {
        f"{row['topic']}/{row['partition']}": {
            "next_offset": row["next_offset"],
            "last_sequence": row["last_sequence"],
        }
        for row in rows
    }


async def _keep(connection: Connection, made: Checkpoint, note: str) -> None:
    # Another worker that led a moment ago may have made the same one: the first stays.
    await connection.execute(
        """
        INSERT INTO checkpoint (tree_size, root, made_at, counts, tails, cursors, note)
        VALUES ($1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6::text::jsonb, $7)
        ON CONFLICT (tree_size) DO NOTHING
        """,
        made.size,
        made.root,
        made.made,
        to_json(made.counts).decode(),
        to_json(made.tails).decode(),
        to_json(made.cursors).decode(),
        note,
    )


class Checkpoints:
    """The part of a worker that makes checkpoints while its relay leads, and hands them on."""

    def __init__(self, service: str, pool: Any, kafka_bootstrap: str, signer: Signer, witness: Witness | None) -> None:
        self._service = service
        self._pool = pool
        self._kafka = kafka_bootstrap
        self._signer = signer
        self._witness = witness
        self.witness_fails: str | None = None

    async def run(self, relay: Relay, seconds: float, stopping: asyncio.Event, failing: Failing) -> None:
        async def step() -> float:
            if not relay.leading:
                return AGAIN_SECONDS
            # Where Kafka or the database is frozen, whoever tells the process to stop does not wait for them.
            await first_of(self.make_and_hand_on(), stopping)
            return seconds

        await keep_trying("checkpoints", step, stopping, failing)

    async def make_and_hand_on(self) -> None:
        """One passage. The witness's failure is an alarm, and holds up nothing."""
        made = await make_checkpoint(self._pool, self._service, self._signer)
        if made is not None:
            _log.info("checkpoint made", size=made.size, root=made.root.hex())
            crash_point("checkpoint-not-published")
        await self._publish()
        if self._witness is not None:
            await self._tell(self._witness)

    async def _publish(self) -> None:
        while waiting := await self._pool.fetch(
            "SELECT tree_size, note FROM checkpoint WHERE published_at IS NULL ORDER BY tree_size LIMIT $1",
            HANDED_ON_AT_ONCE,
        ):
            await publish_notes(self._kafka, self._service, [row["note"] for row in waiting])
            await self._pool.execute(
                "UPDATE checkpoint SET published_at = now() WHERE tree_size = ANY($1::bigint[])",
                [row["tree_size"] for row in waiting],
            )

    async def _tell(self, witness: Witness) -> None:
        try:
            while waiting := await self._pool.fetchrow(
                "SELECT tree_size, note FROM checkpoint WHERE witnessed_at IS NULL ORDER BY tree_size LIMIT 1"
            ):
                await witness.tell(waiting["note"])
                await self._pool.execute(
                    "UPDATE checkpoint SET witnessed_at = now() WHERE tree_size = $1", waiting["tree_size"]
                )
            self._note_witness(None)
        except WitnessAway as away:
            self._note_witness(told(away))

    def _note_witness(self, trouble: str | None) -> None:
        self.witness_fails = trouble
        metrics.witness_failing.set(0 if trouble is None else 1)
        if trouble is not None:
            _log.error("the witness did not take a checkpoint; it is sent again", error=trouble)


async def publish_notes(kafka: str, service: str, notes: list[str]) -> None:
    """Sends signed notes to the service's topic of checkpoints, in this order; all are acknowledged when it returns."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.split(","), acks="all", enable_idempotence=True, request_timeout_ms=15_000
    )
    try:
        await producer.start()
        for note in notes:
            await producer.send_and_wait(
                checkpoints_of(service).name,
                note.encode(),
                key=service.encode(),
                headers=[("content-type", b"text/plain")],
            )
    finally:
        await abandon(producer)


def checkpoints_from(settings: Settings, service: str, pool: Any, signer: Signer | None) -> Checkpoints | None:
    """What a worker runs; None where no key is set, which is said in the log."""
    if signer is None:
        _log.warning("no checkpoints are made: ENTAS_CHECKPOINT_KEY_FILE is not set")
        return None
    witness = witness_of(settings.witness) if settings.witness else None
    _log.info("checkpoints are signed", key=str(signer.verifier), witness=bool(witness))
    return Checkpoints(service, pool, settings.kafka_bootstrap, signer, witness)
