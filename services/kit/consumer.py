"""The consumer: takes foreign facts with exactly one effect each, though Kafka delivers them at least once.

The database's cursor is the only truth about what was read. Each batch moves it from exactly the position held, in the
transaction that folds the batch: who holds an outdated position changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from contracts.topics import TOPICS
from services.kit import metrics
from services.kit.ahead import wait_for_records
from services.kit.backoff import Backoff
from services.kit.batch import Batches, StepFailed
from services.kit.causes import told
from services.kit.crash import crash_point
from services.kit.cursor import Outrun, hold_cursor, move_cursor, read_cursor
from services.kit.fetching import read_what_cannot_be_decoded
from services.kit.folds import OtherFold, adopt, folds_by_topic, other_folds
from services.kit.garbage import without_looking
from services.kit.outages import OUTAGES
from services.kit.positions import Hole, Place, Record, Slice, Standing, by_place, take
from services.kit.reactions import Partner, Reactions
from services.kit.rows import Connection
from services.kit.standstill import Standstill
from services.kit.storable import is_unstorable
from services.kit.tasks import first_of, sleep_unless
from services.kit.transaction import Origin, Transaction, Workplace, acting_as

_log = structlog.get_logger(__name__)

MAX_RECORDS = 2_000
BATCH_TIMEOUT_MS = 250  # at most; records are taken as they come
SESSION_MS = 6_000  # after which a member that died is missed: the least that brokers allow by default
HEARTBEAT_MS = 1_500  # also how soon a member hears that others came or went
METADATA_MS = 30_000  # how soon a member hears of a topic that was not there when it came
SETTLE_SECONDS = 0.5
COMMIT_SECONDS = 2.0
FAREWELL_SECONDS = 10.0
TRIES = 3  # of a batch that fails for a reason that we do not know, before its records are tried one by one


_WorkOnSlices = Callable[[Transaction, Sequence[Slice]], Awaitable[object]]


class Consumer:
    """One member of the service's group. Many may run; each partition is moved on by one of them at a time."""

    def __init__(
        self, workplace: Workplace, kafka_bootstrap: str, reactions: Reactions, partners: Sequence[Partner]
    ) -> None:
        read_what_cannot_be_decoded()
        self._workplace = workplace
        self._group = f"entas.{workplace.service}"
        self._partner_topics = {partner.topic for partner in partners}
        self._topics = foreign_topics(workplace, reactions, partners)
        self._folds = folds_by_topic(workplace.tables, self._topics - self._partner_topics)
        self._unfolded: set[Place] = set()  # stopped until their projections are made anew
        self._batches = Batches(workplace.service, workplace.tables, reactions, partners, workplace.keyring)
        self._held: dict[Place, Standing] = {}
        self._in_doubt: set[Place] = set()
        self._suspects: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._uncommitted: dict[Place, int] = {}  # offsets that Kafka was not told yet
        self._lock = asyncio.Lock()
        self._backoff = Backoff()
        self._failures = 0  # in a row, for reasons that we do not know
        self._standstill = Standstill()
        self._has_left = False  # the group, to come back with a new client
        self._stopping = asyncio.Event()
        self.stopped: dict[Place, str] = {}
        self._bootstrap = kafka_bootstrap.split(",")
        self._meter: AIOKafkaConsumer | None = None
        self._broker = KafkaBroker(
            self._bootstrap,
            apply_types=False,
            allow_auto_create_topics=False,
            metadata_max_age_ms=METADATA_MS,
            graceful_timeout=FAREWELL_SECONDS,
            logger=logging.getLogger("services.kit.consumer.broker"),
            log_level=logging.DEBUG,
        )
        self._subscriber = self._broker.subscriber(
            *sorted(self._topics),
            group_id=self._group,
            batch=True,
            max_records=MAX_RECORDS,
            batch_timeout_ms=BATCH_TIMEOUT_MS,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            no_reply=True,
            parser=_unparsed,
            decoder=_undecoded,
            listener=_Forgetful(self),
        )
        self._ahead = wait_for_records(self._subscriber)
        self._subscriber(self._take)

    async def run(self, stopping: asyncio.Event) -> None:
        """Consumes until the process stops; waits out outages of Kafka and of the database."""
        if not self._topics:
            await stopping.wait()
            return
        self._stopping = stopping
        while not stopping.is_set():
            try:
                await self._workplace_ready()
                await first_of(self._broker.start(), stopping)
                # On the subscriber's connection, to ask where a partition ends would wait behind a fetch, for half a
                # second.
                meter = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
                await first_of(meter.start(), stopping)
                self._meter = meter
                break
            except OUTAGES as outage:
                _log.warning("consumer waits for an outage to end", error=f"{type(outage).__name__}: {outage}")
                await self._backoff.wait(stopping)
        try:
            await self._keep_settled(stopping)
        finally:
            # Leaving the group politely is for the others' sake. A process that has to end does not wait that long.
            await _within(self._broker.stop(), FAREWELL_SECONDS)
            if self._meter is not None:
                await _within(self._meter.stop(), FAREWELL_SECONDS)

    # --- taking a batch ----------------------------------------------------------------------------------------------

    async def _take(self, records: list[Record]) -> None:
        """FastStream's handler: must not raise, since FastStream would go on with the next fetch."""
        pieces = by_place(records)
        records.clear()
        self._standstill.brought(pieces)
        async with self._lock:
            try:
                with without_looking():
                    await self._take_known(pieces)
            except Outrun as outrun:
                _log.info("outrun by another member", error=str(outrun))
                metrics.consumer_batches.labels(self._group, "outrun").inc()
                self._forget(pieces)
            except OtherFold as other:
                metrics.consumer_batches.labels(self._group, "outrun").inc()
                await self._leave_to_a_rebuild(other.reasons)
                self._forget(pieces)
            except Exception as error:  # noqa: BLE001 (raising would make FastStream go on with the next fetch)
                # An outage is waited out. So is what we do not know: nothing may be skipped, and stopping a partition
                # takes a `StepFailed`, which names the record that cannot be taken.
                metrics.consumer_batches.labels(self._group, "failed").inc()
                known = isinstance(error, OUTAGES)
                self._failures += not known
                of_partner = any(place.topic in self._partner_topics for place in pieces)
                _log.log(
                    logging.WARNING if known else logging.ERROR,
                    "batch failed; it is read again",
                    error=told(error, plain=of_partner),
                    exc_info=None if known or of_partner else error,
                )
                await self._backoff.wait(self._stopping)
                self._rewind(pieces)

    async def _take_known(self, records: Mapping[Place, Sequence[Any]]) -> None:
        unknown = [place for place in records if place not in self._held or place in self._in_doubt]
        await self._settle(unknown)
        # What was fetched before the seek may start anywhere: it is fetched again from the right place.
        ready = {
            place: of_place
            for place, of_place in records.items()
            if place not in unknown and place in self._held and place not in self._stopped_places()
        }
        self._in_doubt.update(ready)
        slices = [
            take(place, self._held[place], of_place, chained=place.topic not in self._partner_topics)
            for place, of_place in sorted(ready.items())
        ]
        self._look_twice_at_gaps(slices)
        if slices:
            await self._apply_reading_ahead(slices)
            # A pass that only settled what was in doubt says nothing of whether the trouble is over.
            self._backoff.reset()
            self._failures = 0
        for piece in slices:
            self._held[piece.place] = piece.after
            self._in_doubt.discard(piece.place)
            await self._mind_trouble(piece)
            self._uncommitted[piece.place] = piece.after.next_offset

    async def _apply_reading_ahead(self, slices: Sequence[Slice]) -> None:
        """Applies the slices. While the database works, what comes next is fetched and read."""
        ahead = self._ahead.fetch(self._subscriber.consumer, MAX_RECORDS, self._batches.read_ahead)
        reading = asyncio.ensure_future(ahead)
        try:
            await self._apply(slices)
        finally:
            await reading

    async def _apply(self, slices: Sequence[Slice]) -> None:
        """Applies the slices in one transaction; a record that cannot be taken cuts its slice, and stops it after."""
        failed: dict[Place, StepFailed] = {}
        while moved := [piece for piece in slices if piece.after != piece.before]:
            try:
                if self._failures >= TRIES:
                    await self._one_by_one(moved, failed)
                    break
                with metrics.consumer_batch_seconds.labels(self._group).time():
                    await self._in_one_transaction(moved, self._batches.apply)
                metrics.consumer_batches.labels(self._group, "done").inc()
                break
            except StepFailed as raised:
                failed[raised.place] = raised
                next(piece for piece in slices if piece.place == raised.place).cut(raised.count)
            except Exception as error:
                if not is_unstorable(error):
                    raise
                await self._one_by_one(moved, failed)
                break
        for place, failure in failed.items():
            await self._stop(place, str(failure), failure)

    async def _one_by_one(self, slices: Sequence[Slice], failed: dict[Place, StepFailed]) -> None:
        """Applies each arrival in a transaction of its own: slow, but it shows which one the others wait for."""
        for piece in slices:
            before = piece.before
            for count, arrival in enumerate(piece.arrivals):
                try:
                    await self._single(Slice(piece.place, before, arrival.after, [arrival]))
                except StepFailed as failure:
                    failed[piece.place] = failure
                    piece.cut(count)
                    break
                # What is committed stays committed, also if an outage ends this before the last arrival.
                self._held[piece.place] = before = arrival.after
            piece.after = before

    async def _single(self, piece: Slice) -> None:
        """A partner's message with a value that cannot be kept is rejected; anything else that fails is parked."""
        try:
            await self._in_one_transaction([piece], self._batches.apply)
        except OUTAGES:
            raise
        except (Outrun, OtherFold, StepFailed):
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it is this record's)
            if piece.place.topic in self._partner_topics and is_unstorable(error):
                reason = "A value is too long, too large or cannot be kept."
                await self._in_one_transaction([piece], lambda tx, _: self._batches.turn_down(tx, piece, reason))
            else:
                cause = error
                await self._in_one_transaction([piece], lambda tx, _: self._batches.park(tx, piece, cause))

    async def _in_one_transaction(self, slices: Sequence[Slice], work: _WorkOnSlices) -> None:
        async with self._workplace.pool.acquire() as connection:
            async with connection.transaction():
                await hold_cursor(connection, slices, self._workplace.service, self._folds)
                tx = projecting(self._workplace, connection)
                await work(tx, slices)
                tx.before_log(lambda connection: move_cursor(connection, slices))
                await tx.finish()
                crash_point("folded-not-committed")
            crash_point("committed-not-offset")
        if tx.facts:
            self._workplace.committed()

    # --- knowing where we stand --------------------------------------------------------------------------------------

    async def _settle(self, places: Collection[Place]) -> None:
        """Reads the cursor for these places and seeks. The record just before is read again: it must be the same."""
        if not places:
            return
        async with self._workplace.pool.acquire() as connection:
            standings = await read_cursor(connection, places)
        for place, standing in standings.items():
            self._held[place] = standing
            self._in_doubt.discard(place)
            self._seek(place, standing)

    def _seek(self, place: Place, standing: Standing) -> None:
        consumer = self._subscriber.consumer
        partition = TopicPartition(*place)
        self._ahead.drop(*place)
        if consumer is not None and partition in consumer.assignment():
            consumer.seek(partition, max(standing.next_offset - 1, 0))

    def _rewind(self, places: Collection[Place]) -> None:
        """Seeks back without asking the database, which may be the one that is away; the cursor is read at the next
        batch, since these places stay in doubt."""
        for place in places:
            if standing := self._held.get(place):
                self._in_doubt.add(place)
                self._seek(place, standing)

    def _forget(self, places: Collection[Place]) -> None:
        for place in places:
            self._held.pop(place, None)
            self._in_doubt.discard(place)

    async def _keep_settled(self, stopping: asyncio.Event) -> None:
        """Settles what was assigned anew, also where no record comes; pauses what is stopped; measures the lag; and
        begins with a new client when this one brings nothing of what is there."""
        while not stopping.is_set():
            try:
                await self._settle_assigned()
                await self._mind_standstill(stopping)
            except OUTAGES as outage:
                _log.info("positions not settled", error=f"{type(outage).__name__}: {outage}")
            await self._commit_offsets()
            await sleep_unless(stopping, SETTLE_SECONDS)
        await self._commit_offsets()

    async def _settle_assigned(self) -> None:
        consumer = self._subscriber.consumer
        if consumer is None:
            return
        assigned = {Place(p.topic, p.partition) for p in consumer.assignment()}
        async with self._lock:
            await self._mind_folds(assigned)
            await self._settle([place for place in assigned if place not in self._held])
            for place in assigned & self._stopped_places():
                # A pause does not outlive a rebalance, so it is laid again.
                consumer.pause(TopicPartition(*place))
        # As it was before Kafka is asked for the ends: while the answer is under way, more is read than it knows of.
        held = dict(self._held)
        await self.measure()
        for place, end in self._ends.items():
            labels = (self._group, place.topic, str(place.partition))
            metrics.consumer_lag.labels(*labels).set(max(0, end - self._standing(place)))
            metrics.consumer_position.labels(*labels).set(self._standing(place))
            if place in held and held[place].next_offset > end and place not in self.stopped:
                await self._stop(
                    place,
                    f"{place} ends at offset {end}, but was read up to {held[place].next_offset}: the "
                    "topic was made anew or truncated; restore it, or rebuild what was read from it",
                )

    async def _mind_standstill(self, stopping: asyncio.Event) -> None:
        """aiokafka (0.14) has tasks that end, and futures that nobody sets, after which it brings nothing and says
        nothing. Not while a batch is under way: it may take its time."""
        if self._lock.locked():
            return
        waiting = [
            place
            for place, end in self._ends.items()
            if place in self._held and place not in self.stopped and self._standing(place) < end
        ]
        if stuck := self._standstill.lasts(waiting, time.monotonic()):
            _log.error("records wait that do not come: the group is joined anew", places=sorted(map(str, stuck)))
            metrics.consumer_standstills.labels(self._group).inc()
            self._has_left = True
        if self._has_left:
            await _within(self._subscriber.stop(), FAREWELL_SECONDS)
            if await first_of(self._subscriber.start(), stopping):
                self._has_left = False

    async def measure(self) -> None:
        """Asks Kafka where the assigned partitions end, so that `lag` is of this moment and not of a while ago."""
        consumer = self._subscriber.consumer
        if consumer is None or self._meter is None:
            return
        assigned = [TopicPartition(place.topic, place.partition) for place in consumer.assignment()]
        ends = await asyncio.wait_for(self._meter.end_offsets(assigned), 5)
        self._ends = {Place(p.topic, p.partition): end for p, end in ends.items()}

    def _standing(self, place: Place) -> int:
        return self._held[place].next_offset if place in self._held else 0

    @property
    def lag(self) -> int | None:
        """Records between the cursor and the ends of the assigned partitions; None until that is known."""
        if not self._ends:
            return None
        return sum(max(0, end - self._standing(place)) for place, end in self._ends.items())

    def _stopped_places(self) -> set[Place]:
        return set(self.stopped)

    # --- trouble -----------------------------------------------------------------------------------------------------

    def _look_twice_at_gaps(self, slices: Sequence[Slice]) -> None:
        """A partner's records carry no chain: where offsets jump, the place is fetched once more to be sure."""
        for piece in slices:
            if piece.place.topic not in self._partner_topics or not piece.arrivals:
                continue
            first = piece.arrivals[0].record.offset
            if first > piece.before.next_offset and self._suspects.get(piece.place) != first:
                self._suspects[piece.place] = first
                piece.cut(0)
                self._seek(piece.place, piece.before)
            else:
                self._suspects.pop(piece.place, None)

    async def _mind_trouble(self, piece: Slice) -> None:
        """A hole is looked at twice, since a seek may mend it; a hole that is still there stops the partition."""
        trouble, place = piece.trouble, piece.place
        if trouble is None:
            if piece.arrivals:
                self._suspects.pop(place, None)
            return
        at = piece.after.next_offset
        if isinstance(trouble, Hole) and self._suspects.get(place) != at:
            self._suspects[place] = at
            await self._settle([place])
            return
        await self._stop(place, str(trouble), trouble)

    async def _stop(self, place: Place, reason: str, error: Exception | None = None) -> None:
        """Stops a partition with an alarm. It is tried again when the process starts again, with mended code."""
        self.stopped[place] = reason
        metrics.stopped_partitions.labels(place.topic, str(place.partition)).set(1)
        _log.error("partition stopped", place=str(place), reason=reason, exc_info=error)
        consumer = self._subscriber.consumer
        if consumer is not None and TopicPartition(*place) in consumer.assignment():
            consumer.pause(TopicPartition(*place))
        await self._workplace.pool.execute(
            "UPDATE cursor SET stopped = $3 WHERE topic = $1 AND partition = $2", place.topic, place.partition, reason
        )

    async def _mind_folds(self, assigned: Collection[Place]) -> None:
        """Stops what is folded in another way than ours, and goes on where a rebuild has ended that."""
        async with self._workplace.pool.acquire() as connection:
            others = await other_folds(connection, self._workplace.service, self._folds)
        await self._leave_to_a_rebuild({place: reason for place, reason in others.items() if place in assigned})
        consumer = self._subscriber.consumer
        for place in self._unfolded - others.keys():
            self._unfolded.discard(place)
            self.stopped.pop(place, None)
            metrics.stopped_partitions.labels(place.topic, str(place.partition)).set(0)
            self._forget([place])
            if consumer is not None and place in assigned:
                consumer.resume(TopicPartition(*place))

    async def _leave_to_a_rebuild(self, reasons: Mapping[Place, str]) -> None:
        for place, reason in reasons.items():
            if place not in self.stopped:
                self._unfolded.add(place)
                await self._stop(place, reason)

    # --- Kafka -------------------------------------------------------------------------------------------------------

    async def _commit_offsets(self) -> None:
        """Tells Kafka where we are, for lag tools alone: nothing is ever read back from there."""
        consumer = self._subscriber.consumer
        if consumer is None:
            return
        known = [(TopicPartition(*place), offset) for place, offset in self._uncommitted.items()]
        self._uncommitted = {}
        # What others hold by now is theirs to tell.
        assigned = consumer.assignment()
        offsets = {partition: offset for partition, offset in known if partition in assigned}
        if not offsets:
            return
        try:
            await asyncio.wait_for(consumer.commit(offsets), COMMIT_SECONDS)
        except OUTAGES as error:
            _log.info("offsets not committed", error=type(error).__name__)

    async def _workplace_ready(self) -> None:
        """Makes a cursor row for each partition that is listened to."""
        places = [Place(topic, n) for topic in sorted(self._topics) for n in range(TOPICS[topic].partitions)]
        await self._workplace.pool.execute(
            """
            INSERT INTO cursor (topic, partition, next_offset, last_sequence)
            SELECT topic, partition, 0, -1 FROM unnest($1::text[], $2::smallint[]) AS place (topic, partition)
            ON CONFLICT DO NOTHING
            """,
            [place.topic for place in places],
            [place.partition for place in places],
        )
        async with self._workplace.pool.acquire() as connection:
            await adopt(connection, self._folds)


def projecting(workplace: Workplace, connection: Connection) -> Transaction:
    """A transaction in which foreign facts are taken."""
    origin = Origin(workplace.service, "projection", "projection")
    return Transaction(
        connection, workplace.tables, workplace.keyring, workplace.now(), origin, acting_as("projection")
    )


def foreign_topics(workplace: Workplace, reactions: Reactions, partners: Sequence[Partner]) -> set[str]:
    """The topics that a service listens to: those its tables fold and its reactions answer, but its own."""
    folded = {table.topic for table in workplace.tables}
    answered = {event.topic for event in reactions.events}
    taken_in = {partner.topic for partner in partners}
    own = {topic.name for topic in TOPICS.values() if topic.owner == workplace.service and topic.written_by is None}
    return (folded | answered | taken_in) - own


class _Forgetful(ConsumerRebalanceListener):  # type: ignore[misc]
    """At a rebalance positions are only forgotten: an exception here would be swallowed."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._consumer._forget([Place(p.topic, p.partition) for p in revoked])
        self._consumer._ends = {}

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._consumer._forget([Place(p.topic, p.partition) for p in assigned])


async def _unparsed(message: Any) -> KafkaMessage:
    """Our parser never raises: FastStream's own fails a whole batch for one header that is not UTF-8."""
    records = message if isinstance(message, tuple) else message.raw_message
    return KafkaMessage(body=b"", raw_message=records, consumer=_NO_CONSUMER)


class _NoConsumer:
    async def commit(self) -> None:
        raise AssertionError("offsets are committed by the consumer itself")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        raise AssertionError("positions are sought by the consumer itself")


_NO_CONSUMER = _NoConsumer()


async def _undecoded(message: KafkaMessage) -> Any:
    """The records, in a list that the handler empties, and taken from the message: it stands in a context variable, so
    whoever sets a timer meanwhile (a pool of connections does, for minutes) holds it for as long. And what the message
    was decoded to is kept in it: decoded to itself, it would hold itself."""
    records = list(message.raw_message)
    message.raw_message = ()
    return records


async def _within(work: Any, seconds: float) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except OUTAGES as error:
        _log.info("consumer left without farewell", error=type(error).__name__)
