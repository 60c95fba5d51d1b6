"""A batch of arrivals in one transaction: fold and react event by event over rows that are loaded once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

from contracts.envelope import (
    EVENTS,
    UPCASTERS,
    Envelope,
    Event,
    NewerVersion,
    UnknownType,
    Unreadable,
    new_tuple,
    read_event,
    read_headers,
)
from services.kit import intake, metrics, parking
from services.kit.causes import told
from services.kit.intake import Message
from services.kit.keyring import SEAL, Keyring
from services.kit.keys import seal
from services.kit.outages import OUTAGES
from services.kit.parking import Parked, Parking, Stream
from services.kit.positions import Arrival, Place, Record, Slice
from services.kit.reactions import Partner, Reaction, Reactions, Step
from services.kit.refusal import Refused
from services.kit.rows import Connection, by_kind
from services.kit.table import Key, Table
from services.kit.transaction import Transaction, new_id


class StepFailed(Exception):
    """A record is for a newer release than this one. Its partition stops there; what stands before it is taken."""

    def __init__(self, place: Place, count: int, offset: int, what: str, error: Exception) -> None:
        super().__init__(f"{place} offset {offset}: {what}: {told(error)}")
        self.place = place
        self.count = count  # arrivals of the slice before it


class StillFails(Exception):
    """A record that was parked cannot be taken yet; the text says which and why. Its stream stays parked, whole."""


class Fact(NamedTuple):
    """An event that is to be folded or reacted to, with the record it came by."""

    # A tuple, since one is made for every record that is taken.
    record: Record
    event: Event | Unreadable  # or why it cannot be read
    envelope: Envelope
    sequence: int | None = None  # in its publisher's log; partners have none
    message: Message | None = None  # where a partner published it

    @property
    def stream(self) -> Stream:
        return Stream(self.envelope.topic, self.envelope.key)

    def waits(self) -> Parked:
        """The fact as it is parked behind an earlier one of its stream."""
        return Parked(self.record, self.envelope, self.sequence, None)

    def failed(self, what: str, error: BaseException) -> Parked:
        """The fact as it is parked for its own sake."""
        place = Place(self.record.topic, self.record.partition)
        # Of a partner's message nothing is told but the kind of the error: its text may hold a person's words.
        cause = told(error, plain=self.message is not None)
        reason = f"{place} offset {self.record.offset}: {what}: {cause}"
        return Parked(self.record, self.envelope, self.sequence, reason)


class Batches:
    """Applies slices for one service: what its tables fold and its reactions answer; all else is skipped."""

    def __init__(
        self,
        service: str,
        tables: Sequence[Table[Any]],
        reactions: Reactions,
        partners: Sequence[Partner],
        keyring: Keyring,
    ) -> None:
        self._reactions = reactions
        self._partners = {partner.topic: partner for partner in partners}
        for partner in partners:
            intake.rejection_fact(partner)
        self._keyring = keyring
        self._names = parking.Names(service, keyring, self._partners)
        wanted = {event for table in tables for event in table.folds} | set(reactions.events)
        self._wanted_types = {event.ce_type for event in wanted}
        self._wanted = wanted

    async def apply(self, tx: Transaction, slices: Sequence[Slice]) -> list[Parked]:
        """Folds and reacts to every arrival of the slices; parks what cannot be taken, and what comes after it on its
        stream. Returns what it parked. Raises `StepFailed`; outages pass through, and whatever the database refuses."""
        facts, messages = await self._read(tx.connection, slices)
        parks = Parking(await self._held(tx.connection, facts))
        await self._take(tx, facts, parks)
        await self._leave(tx, messages, parks)
        return parks.parked

    async def turn_down(self, tx: Transaction, piece: Slice, reason: str) -> None:
        """Rejects the messages of a slice, whatever they say: a value in them cannot be kept."""
        partner = self._partners[piece.place.topic]
        messages = [intake.read_message(arrival.record, partner) for arrival in piece.arrivals]
        for message in messages:
            message.faults = message.faults or intake.faults_of(Refused("unstorable-value", reason))
        await self._reject(tx, await intake.drop_copies(tx.connection, messages, partner))

    async def park(self, tx: Transaction, piece: Slice, error: Exception) -> None:
        """Parks the arrivals of a slice, each of which fails for its own sake."""
        facts, messages = await self._read(tx.connection, [piece])
        parks = Parking()
        for fact in facts:
            parks.park(fact.failed("it cannot be applied", error))
        await self._leave(tx, messages, parks)

    async def release(self, tx: Transaction, topic: str, stream: str) -> int:
        """Takes what is parked of a stream, in its order. Returns how many records. Raises `StillFails`."""
        records = await parking.take_out(tx.connection, self._keyring, topic, stream)
        partner = self._partners.get(topic)
        messages = [intake.read_message(record, partner) for record in records] if partner else []
        parks = Parking()
        await self._take(tx, _facts_of(messages) if partner else [_kept_fact(record) for record in records], parks)
        if failed := next((parked.reason for parked in parks.parked if parked.reason), None):
            raise StillFails(failed)
        await self._leave(tx, messages, parks)
        return len(records)

    async def _leave(self, tx: Transaction, messages: Sequence[Message], parks: Parking) -> None:
        """What a batch leaves behind besides its effects: messages that it rejected, and facts that it parked."""
        await self._reject(tx, [message for message in messages if message.faults])
        await parking.keep(tx.connection, self._names, parks.parked)

    async def _held(self, connection: Connection, facts: Sequence[Fact]) -> set[Stream]:
        """The streams of these facts that are parked: one small query where there are none, as nearly always."""
        topics = await parking.topics_held(connection, {fact.envelope.topic for fact in facts})
        if not topics:
            return set()
        streams = {fact.stream for fact in facts if fact.envelope.topic in topics}
        return await parking.streams_held(connection, self._names, streams)

    # --- reading -----------------------------------------------------------------------------------------------------

    def read_ahead(self, record: Record) -> Record:
        """The record with what it says, as far as it can be read; what is wrong with it is told when its turn comes."""
        return record if record.topic in self._partners else record.read_ahead(self._wanted_types)

    async def _read(self, connection: Connection, slices: Sequence[Slice]) -> tuple[list[Fact], list[Message]]:
        facts: list[Fact] = []
        messages: list[Message] = []
        for piece in slices:
            partner = self._partners.get(piece.place.topic)
            if partner is None:
                facts += self._read_own(piece)
            else:
                read = [intake.read_message(arrival.record, partner) for arrival in piece.arrivals]
                fresh = await intake.drop_copies(connection, read, partner)
                messages += fresh
                facts += _facts_of(fresh)
        return facts, messages

    def _read_own(self, piece: Slice) -> list[Fact]:
        facts = []
        skipped = 0
        for count, arrival in enumerate(piece.arrivals):
            envelope = arrival.envelope
            assert envelope is not None, "an arrival on one of our topics has an envelope"
            if envelope.type not in self._wanted_types and not self._is_lifted(piece.place, count, arrival, envelope):
                skipped += 1
                continue
            fact = _own_fact(arrival.record, envelope, arrival.last_sequence)
            if type(fact.event) in self._wanted or isinstance(fact.event, Unreadable):
                facts.append(fact)
        metrics.consumer_records.labels(piece.place.topic, "skipped").inc(skipped)
        metrics.consumer_records.labels(piece.place.topic, "taken").inc(len(facts))
        return facts

    def _is_lifted(self, place: Place, count: int, arrival: Arrival, envelope: Envelope) -> bool:
        """Whether an old type may become a wanted one. Types that nobody here folds are skipped unread; a newer version
        of a declared one stops the partition."""
        if envelope.type in UPCASTERS:
            return True
        if envelope.type in EVENTS:
            return False
        try:
            read_event(envelope.type, b"{}")
        except NewerVersion as error:
            raise StepFailed(place, count, arrival.record.offset, "it is too new", error) from error
        except UnknownType:
            return False
        return False

    # --- stepping ----------------------------------------------------------------------------------------------------

    async def _take(self, tx: Transaction, facts: Sequence[Fact], parks: Parking) -> None:
        """Folds and reacts, fact by fact. What fails, or comes after that on its stream, is parked."""
        free = [fact for fact in facts if not parks.holds(fact.envelope)] if parks.held else facts
        # Rows of others' topics are folded by who holds the cursor alone, so that nothing has to be locked for a fold.
        # A reaction and whoever works on the same rows meanwhile find what the other did because they lock them.
        reacted_to = self._reacted_to(free)
        ours = [fact for fact in free if fact.message is None]
        for topic, streams in _begun(ours).items():
            tx.working_set.begin(topic, streams)
        going_on = _events(fact for fact in ours if fact.envelope.version > 1)
        await tx.working_set.load_touched(tx.connection, going_on, lock=bool(reacted_to))
        found = {
            reaction.event: await reaction.loads(tx.connection, tx.working_set, events)
            for reaction, events in reacted_to
        }
        if any(reaction.begins for reaction, _ in reacted_to):
            await self._load_what_begins(tx, free, found)
        fold = tx.working_set.fold
        for fact in facts:
            _, event, envelope, _, message = fact
            if parks.held and parks.holds(envelope):
                parks.park(fact.waits())
            elif isinstance(event, Unreadable):
                parks.park(fact.failed("it cannot be read", event))
            elif type(event) in found:
                await self._react(tx, fact, event, found, parks)
            elif message is None:
                try:
                    fold(event, envelope)
                except Exception as error:  # noqa: BLE001 (whatever it is, this stream waits for mended code, and no other)
                    parks.park(fact.failed("its fold failed", error))

    def _reacted_to(self, facts: Iterable[Fact]) -> list[tuple[Reaction, list[Event]]]:
        """Each reaction that these facts have, with the events that it answers."""
        reactions = ((self._reactions.to(kind), of_kind) for kind, of_kind in by_kind(_events(facts)).items())
        return [(reaction, of_kind) for reaction, of_kind in reactions if reaction is not None]

    async def _load_what_begins(self, tx: Transaction, facts: Iterable[Fact], found: Mapping[type[Event], Any]) -> None:
        rows: dict[Table[Any], list[Key]] = defaultdict(list)
        subjects: list[str] = []
        for fact in facts:
            event = fact.event
            if isinstance(event, Unreadable) or (reaction := self._reactions.to(type(event))) is None:
                continue
            if reaction.begins and (begun := reaction.begins(_step_of(tx, fact, event, found[type(event)]))):
                rows[begun.table].append(begun.key)
                subjects.append(begun.seals_under)
        for table, keys in rows.items():
            await tx.working_set.load(tx.connection, table, keys)
        if subjects:
            # What is sealed one by one finds its key at hand then. A subject whose key was destroyed is missing here,
            # and refused where something is to be sealed under it.
            await self._keyring.to_open(tx.connection, subjects, SEAL)

    async def _react(
        self, tx: Transaction, fact: Fact, event: Event, found: Mapping[type[Event], Any], parks: Parking
    ) -> None:
        """One fact that has a reaction, wholly or not at all: it has its effect, is rejected, or parked."""
        reaction = self._reactions.to(type(event))
        assert reaction is not None, "what was found was found for a reaction"
        mark = tx.mark()
        try:
            if fact.message is None:
                tx.working_set.fold(event, fact.envelope)
            step = _step_of(tx, fact, event, found[type(event)])
            await tx.decide(reaction.react(step), cause=fact.envelope)
        except OUTAGES:
            raise
        except asyncpg.PostgresError:
            raise  # The transaction is lost: the whole batch is tried again.
        except Exception as error:  # noqa: BLE001 (whatever it is, this stream waits for mended code, and no other)
            tx.undo(mark)
            if isinstance(error, Refused) and fact.message is not None:
                fact.message.faults = intake.faults_of(error)
            else:
                parks.park(fact.failed(f"its fold or {reaction.name} failed", error))

    # --- rejecting ---------------------------------------------------------------------------------------------------

    async def _reject(self, tx: Transaction, messages: Sequence[Message]) -> None:
        """Tells the partners and keeps the messages, sealed, for 90 days."""
        if not messages:
            return
        partners = [self._partners[message.record.topic] for message in messages]
        subjects = [f"{tx.service}:rejected:{partner.system}" for partner in partners]
        keys = await self._keyring.to_seal(tx.connection, set(subjects))
        ids = [new_id() for _ in messages]
        await tx.connection.execute(
            "INSERT INTO rejected_message (rejection_id, sealed) SELECT * FROM unnest($1::text[], $2::bytea[])",
            ids,
            [
                seal(keys[subject], message.record.value or b"", rejection_id, subject).encode()
                for message, rejection_id, subject in zip(messages, ids, subjects, strict=True)
            ],
        )
        each = zip(messages, partners, ids, strict=True)
        await tx.decide([intake.rejection(message, partner, rejection_id) for message, partner, rejection_id in each])
        for message, partner in zip(messages, partners, strict=True):
            metrics.rejected_messages.labels(partner.topic, _kind(message)).inc()


def _kind(message: Message) -> str:
    """One of three words for the metric: what a fault names may be the publisher's own text."""
    if message.event is not None:
        return "refused"
    return "envelope" if any(fault.field.startswith("ce_") for fault in message.faults) else "value"


def _own_fact(record: Record, envelope: Envelope, sequence: int) -> Fact:
    event: Event | Unreadable | None = record.read.event if record.read is not None else None
    if event is None:
        try:
            event = read_event(envelope.type, record.value)
        except Unreadable as error:
            event = error
    return new_tuple(Fact, (record, event, envelope, sequence, None))


def _events(facts: Iterable[Fact]) -> list[Event]:
    """What these facts say, of those that can be read."""
    return [fact.event for fact in facts if not isinstance(fact.event, Unreadable)]


def _step_of(tx: Transaction, fact: Fact, event: Event, found: Any) -> Step[Any, Any]:
    return Step(event, fact.envelope, tx.working_set, found, tx.now)


def _begun(facts: Iterable[Fact]) -> dict[str, list[str]]:
    """Topic -> the streams of which the first fact is among these: there cannot be a row of theirs yet."""
    begun: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        if fact.envelope.version == 1:
            begun[fact.envelope.topic].append(fact.envelope.key)
    return begun


def _kept_fact(record: Record) -> Fact:
    """A fact of ours that was parked."""
    envelope, position = read_headers(record.topic, record.headers)
    return _own_fact(record, envelope, position.sequence)


def _facts_of(messages: Iterable[Message]) -> list[Fact]:
    """The facts that are to be taken of a partner's messages, in their order; the others are rejected."""
    return [
        Fact(message.record, message.event, message.envelope, message=message)
        for message in messages
        if message.event is not None and message.envelope is not None
    ]
