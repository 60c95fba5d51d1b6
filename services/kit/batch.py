"""A batch of arrivals in one transaction: fold and react event by event over rows that are loaded once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.envelope import EVENTS, UPCASTERS, Envelope, Event, NewerVersion, UnknownType, read_event
from services.kit import intake, metrics
from services.kit.intake import Message
from services.kit.keyring import Keyring
from services.kit.keys import seal
from services.kit.outages import OUTAGES
from services.kit.positions import Arrival, Place, Slice
from services.kit.reactions import Partner, Reaction, Reactions, Step
from services.kit.refusal import Refused
from services.kit.rows import Connection
from services.kit.table import Table
from services.kit.transaction import Transaction, new_id


class StepFailed(Exception):
    """A record cannot be taken until somebody mends the code. Its partition stops there; what is before it stands."""

    def __init__(self, place: Place, count: int, offset: int, what: str, error: Exception) -> None:
        super().__init__(f"{place} offset {offset}: {what}: {type(error).__name__}: {error}")
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
        self._keyring = keyring
        wanted = {event for table in tables for event in table.folds} | set(reactions.events)
        self._wanted_types = {event.ce_type for event in wanted}
        self._wanted = wanted

    async def apply(self, tx: Transaction, slices: Sequence[Slice]) -> None:
        """Folds and reacts to every arrival of the slices. Raises `StepFailed`; outages pass through."""
        facts, messages = await self._read(tx.connection, slices)
        await tx.working_set.load_touched(tx.connection, [fact.event for fact in facts if fact.message is None])
        found = await self._load_for_reactions(tx, facts)
        for fact in facts:
            await self._step(tx, fact, found)
        await self._reject(tx, [message for message in messages if message.faults])

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
                raise StepFailed(piece.place, count, arrival.record.offset, "it cannot be read", error) from error
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
            raise StepFailed(place, count, arrival.record.offset, "it is too new", error) from error
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
                raise StepFailed(fact.place, fact.count, fact.offset, _named(reaction), refused) from refused
            fact.message.faults = intake.faults_of(refused)
        except Exception as error:
            raise StepFailed(fact.place, fact.count, fact.offset, _named(reaction), error) from error

    # --- rejecting ---------------------------------------------------------------------------------------------------

    async def _reject(self, tx: Transaction, messages: Sequence[Message]) -> None:
        """Tells the partner and keeps the message, sealed, for 90 days."""
        for message in messages:
            partner = self._partners[message.record.topic]
            rejection_id = new_id()
            subject = f"rejected:{partner.system}"
            key = (await self._keyring.to_seal(tx.connection, [subject]))[subject]
            sealed = seal(key, message.record.value or b"", rejection_id, subject)
            await tx.connection.execute(
                "INSERT INTO rejected_message (rejection_id, sealed) VALUES ($1, $2)", rejection_id, sealed.encode()
            )
            await tx.decide([intake.rejection(message, partner, rejection_id)])
            metrics.rejected_messages.labels(partner.topic, _kind(message)).inc()


def _kind(message: Message) -> str:
    """One of three words for the metric: what a fault names may be the publisher's own text."""
    if message.event is not None:
        return "refused"
    return "envelope" if any(fault.field.startswith("ce_") for fault in message.faults) else "value"


async def _react(tx: Transaction, fact: Fact, reaction: Reaction, found: Any) -> None:
    step = Step(fact.event, fact.envelope, tx.working_set, found, tx.now)
    await tx.decide(reaction.react(step), cause=fact.envelope)


def _facts_of(piece: Slice, fresh: Mapping[int, Message]) -> list[Fact]:
    facts = []
    for count, arrival in enumerate(piece.arrivals):
        message = fresh.get(id(arrival.record))
        if message is not None and message.event is not None and message.envelope is not None:
            offset = arrival.record.offset
            facts.append(Fact(piece.place, count, offset, message.event, message.envelope, message))
    return facts


def _named(reaction: Reaction | None) -> str:
    return "its fold failed" if reaction is None else f"its fold or {reaction.name} failed"
