"""A batch of arrivals in one transaction: fold and react event by event over rows that are loaded once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.envelope import EVENTS, UPCASTERS, Envelope, Event, NewerVersion, UnknownType, read_event
from services.kit import intake, metrics
from services.kit.causes import told
from services.kit.intake import Message
from services.kit.keyring import SEAL, Keyring
from services.kit.keys import seal
from services.kit.outages import OUTAGES
from services.kit.positions import Arrival, Place, Slice
from services.kit.reactions import Partner, Reaction, Reactions, Step
from services.kit.refusal import Refused
from services.kit.rows import Connection
from services.kit.table import Key, Table
from services.kit.transaction import Transaction, new_id


class StepFailed(Exception):
    """A record cannot be taken until somebody mends the code. Its partition stops there; what is before it stands."""

    def __init__(self, place: Place, count: int, offset: int, what: str, error: Exception, *, plain: bool) -> None:
        super().__init__(f"{place} offset {offset}: {what}: {told(error, plain=plain)}")
        self.place = place
        self.count = count  # arrivals of the slice before it


@dataclass(slots=True)
class Fact:
    """An event that is to be folded or reacted to, with the arrival it came by."""

    place: Place
    count: int  # its index in its slice
    offset: int
    event: Event
    envelope: Envelope
    message: Message | None = None  # where a partner published it


class Batches:
    """Applies slices for one service: what its tables fold and its reactions answer; all else is skipped."""

    def __init__(
        self, tables: Sequence[Table[Any]], reactions: Reactions, partners: Sequence[Partner], keyring: Keyring
    ) -> None:
        self._reactions = reactions
        self._partners = {partner.topic: partner for partner in partners}
        for partner in partners:
            intake.rejection_fact(partner)
        self._keyring = keyring
        wanted = {event for table in tables for event in table.folds} | set(reactions.events)
        self._wanted_types = {event.ce_type for event in wanted}
        self._wanted = wanted

    async def apply(self, tx: Transaction, slices: Sequence[Slice]) -> None:
        """Folds and reacts to every arrival of the slices. Raises `StepFailed`; outages pass through."""
        facts, messages = await self._read(tx.connection, slices)
        await tx.working_set.load_touched(tx.connection, [fact.event for fact in facts if fact.message is None])
        found = await self._load_for_reactions(tx, facts)
        await self._load_what_begins(tx, facts, found)
        for fact in facts:
            await self._step(tx, fact, found)
        await self._reject(tx, [message for message in messages if message.faults])

    async def turn_down(self, tx: Transaction, piece: Slice, reason: str) -> None:
        """Rejects the messages of a slice, whatever they say: a value in them cannot be kept."""
        partner = self._partners[piece.place.topic]
        messages = [intake.read_message(arrival.record, partner) for arrival in piece.arrivals]
        for message in messages:
            message.faults = message.faults or intake.faults_of(Refused("unstorable-value", reason))
        await self._reject(tx, await intake.drop_copies(tx.connection, messages, partner))

    def failure_of(self, piece: Slice, count: int, error: Exception) -> StepFailed:
        """The failure of one arrival, when it is clear that it fails for its own sake."""
        plain = piece.place.topic in self._partners
        return StepFailed(
            piece.place, count, piece.arrivals[count].record.offset, "it cannot be applied", error, plain=plain
        )

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, connection: Connection, slices: Sequence[Slice]) -> tuple[list[Fact], list[Message]]:
        facts: list[Fact] = []
        messages: list[Message] = []
        for piece in slices:
            partner = self._partners.get(piece.place.topic)
            if partner is None:
                facts += self._read_own(piece)
            else:
                read = {id(a.record): intake.read_message(a.record, partner) for a in piece.arrivals}
                fresh = await intake.drop_copies(connection, list(read.values()), partner)
                messages += fresh
                facts += _facts_of(piece, {id(message.record): message for message in fresh})
        return facts, messages

    def _read_own(self, piece: Slice) -> list[Fact]:
        facts = []
        skipped = 0
        for count, arrival in enumerate(piece.arrivals):
            envelope = arrival.envelope
            assert envelope is not None, "an arrival on one of our topics has an envelope"
            if not self._is_wanted(piece.place, count, arrival, envelope):
                skipped += 1
                continue
            try:
                event = read_event(envelope.type, arrival.record.value)
            except Exception as error:
                raise StepFailed(
                    piece.place, count, arrival.record.offset, "it cannot be read", error, plain=False
                ) from error
            if type(event) in self._wanted:
                facts.append(Fact(piece.place, count, arrival.record.offset, event, envelope))
        metrics.consumer_records.labels(piece.place.topic, "skipped").inc(skipped)
        metrics.consumer_records.labels(piece.place.topic, "taken").inc(len(facts))
        return facts

    def _is_wanted(self, place: Place, count: int, arrival: Arrival, envelope: Envelope) -> bool:
        """Types that nobody here folds are skipped unread; a newer version of a declared one stops the partition."""
        if envelope.type in self._wanted_types or envelope.type in UPCASTERS:
            return True
        if envelope.type in EVENTS:
            return False
        try:
            read_event(envelope.type, b"{}")
        except NewerVersion as error:
            raise StepFailed(place, count, arrival.record.offset, "it is too new", error, plain=False) from error
        except UnknownType:
            return False
        return False

    # --- stepping ----------------------------------------------------------------------------------------------------

    async def _load_for_reactions(self, tx: Transaction, facts: Sequence[Fact]) -> dict[type[Event], Any]:
        events: dict[type[Event], list[Event]] = defaultdict(list)
        for fact in facts:
            events[type(fact.event)].append(fact.event)
        found = {}
        for event_type, of_type in events.items():
            if reaction := self._reactions.to(event_type):
                found[event_type] = await reaction.loads(tx.connection, tx.working_set, of_type)
        return found

    async def _load_what_begins(self, tx: Transaction, facts: Sequence[Fact], found: Mapping[type[Event], Any]) -> None:
        rows: dict[Table[Any], list[Key]] = defaultdict(list)
        subjects: list[str] = []
        for fact in facts:
            reaction = self._reactions.to(type(fact.event))
            if reaction is None or reaction.begins is None:
                continue
            if begun := reaction.begins(_step_of(tx, fact, found[type(fact.event)])):
                rows[begun.table].append(begun.key)
                subjects.append(begun.seals_under)
        for table, keys in rows.items():
            await tx.working_set.load(tx.connection, table, keys)
        if subjects:
            # What is sealed one by one finds its key at hand then. A subject whose key was destroyed is missing here,
            # and refused where something is to be sealed under it.
            await self._keyring.to_open(tx.connection, subjects, SEAL)

    async def _step(self, tx: Transaction, fact: Fact, found: Mapping[type[Event], Any]) -> None:
        reaction = self._reactions.to(type(fact.event))
        try:
            if fact.message is None:
                tx.working_set.fold(fact.event, fact.envelope)
            if reaction is not None:
                await _react(tx, fact, reaction, found[type(fact.event)])
        except OUTAGES:
            raise
        except Refused as refused:
            if fact.message is None:
                raise _failed(fact, reaction, refused) from refused
            fact.message.faults = intake.faults_of(refused)
        except Exception as error:
            if fact.message is None:
                raise _failed(fact, reaction, error) from error
            # The traceback would be logged, with a partner's words in it.
            raise _failed(fact, reaction, error) from None

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


async def _react(tx: Transaction, fact: Fact, reaction: Reaction, found: Any) -> None:
    await tx.decide(reaction.react(_step_of(tx, fact, found)), cause=fact.envelope)


def _step_of(tx: Transaction, fact: Fact, found: Any) -> Step[Any, Any]:
    return Step(fact.event, fact.envelope, tx.working_set, found, tx.now)


def _facts_of(piece: Slice, fresh: Mapping[int, Message]) -> list[Fact]:
    facts = []
    for count, arrival in enumerate(piece.arrivals):
        message = fresh.get(id(arrival.record))
        if message is not None and message.event is not None and message.envelope is not None:
            offset = arrival.record.offset
            facts.append(Fact(piece.place, count, offset, message.event, message.envelope, message))
    return facts


def _failed(fact: Fact, reaction: Reaction | None, error: Exception) -> StepFailed:
    plain = fact.message is not None
    return StepFailed(fact.place, fact.count, fact.offset, _named(reaction), error, plain=plain)


def _named(reaction: Reaction | None) -> str:
    return "its fold failed" if reaction is None else f"its fold or {reaction.name} failed"
