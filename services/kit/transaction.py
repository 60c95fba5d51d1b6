"""One transaction: load, decide, fold, and at its end write tables, answer, log and outbox, in that order."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import uuid_utils

from contracts.envelope import Envelope, Event, PersonalRecord, Sealing
from contracts.topics import TOPICS
from services.kit import log
from services.kit.auth import EVERYWHERE, Principal
from services.kit.crash import crash_point
from services.kit.keyring import BorrowedKeys, Keyring
from services.kit.keys import open_sealed, seal
from services.kit.rows import Connection, Rows
from services.kit.table import Key, Table

Row = TypeVar("Row")
Record = TypeVar("Record", bound=PersonalRecord)
SealedText = tuple[str, str | None, str | None]  # subject id, the event that sealed it, the sealed text


def acting_as(name: str) -> Principal:
    """The principal of a part of the service itself: "timer:expire_verifications", "importer", "projection"."""
    return Principal(name, frozenset({"system"}), (EVERYWHERE,))


def new_id() -> str:
    """A UUIDv7: unique anywhere, and roughly in the order of making."""
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, slots=True)
class Origin:
    """Who acts, in which log, and what a chain of causes is called."""

    service: str  # "registry": the log's source is /entas/registry
    actor: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None

    @property
    def source(self) -> str:
        return f"/entas/{self.service}"


class Transaction:
    """What a command, a timer, a job or a batch of facts works in. It never commits by itself: `begin` does."""

    def __init__(
        self,
        connection: Connection,
        tables: Sequence[Table[Any]],
        keyring: Keyring,
        now: datetime,
        origin: Origin,
        principal: Principal,
    ) -> None:
        self.connection = connection
        self.now = now
        self.principal = principal
        self.working_set = Rows(tables)
        self._keyring = keyring
        self._origin = origin
        self._entries: list[log.Entry] = []
        self._before_log: list[Callable[[Connection], Awaitable[None]]] = []

    @property
    def service(self) -> str:
        """Whose transaction this is; subjects of its own begin with this name and a colon."""
        return self._origin.service

    @property
    def facts(self) -> int:
        """How many facts of its own the transaction has so far."""
        return len(self._entries)

    @property
    def envelopes(self) -> list[Envelope]:
        """Those facts, as they will stand on the log."""
        return [entry.envelope for entry in self._entries]

    # --- loading -----------------------------------------------------------------------------------------------------

    async def row(self, table: Table[Row], *key: str) -> Row | None:
        """The row as this transaction sees it, locked; None where there is none."""
        await self.working_set.load(self.connection, table, [key])
        return self.working_set.get(table, *key)

    async def rows(self, table: Table[Row], keys: Iterable[Key]) -> list[Row | None]:
        """The rows of these keys in their order, locked, by one query."""
        wanted = list(keys)
        await self.working_set.load(self.connection, table, wanted)
        return [self.working_set.get(table, *key) for key in wanted]

    async def stream_rows(self, table: Table[Row], stream: str) -> list[Row]:
        """Every row of a stream, locked, in the order of their keys."""
        await self.working_set.load_streams(self.connection, table, [stream])
        return self.working_set.of_stream(table, stream)

    async def load_streams(self, table: Table[Any], streams: Iterable[str]) -> None:
        """Makes every row of these streams known by one query; read them with `stream_rows`."""
        await self.working_set.load_streams(self.connection, table, streams)

    # --- deciding ----------------------------------------------------------------------------------------------------

    async def decide(self, events: Iterable[Event], *, cause: Envelope | None = None) -> None:
        """Takes what a decision returned: seals it, folds it, and puts it on the log when the transaction ends.

        Raises `Refused` if a record would be too large for Kafka, or its subject was erased.
        """
        decided = list(events)
        if not decided:
            return
        await self.working_set.load_touched(self.connection, decided)
        for table in {event.topic: self.working_set.head(event.topic) for event in decided}.values():
            await self.working_set.load(
                self.connection, table, [(event.key,) for event in decided if event.topic == table.topic]
            )
        keys = await self._sealing_keys(decided)
        # All or nothing: what is refused must be refused before the first fact is folded, since a partner's message
        # that is refused leaves the transaction going on for the others.
        for event, entry in self._placed(decided, cause, keys):
            self._take(event, entry)

    def _placed(
        self, events: Sequence[Event], cause: Envelope | None, keys: dict[str, bytes]
    ) -> list[tuple[Event, log.Entry]]:
        """Each event, sealed, with what will stand on the log but for its area."""
        recorded = datetime.now(UTC)
        versions: dict[tuple[str, str], int] = {}
        placed = []
        for event in events:
            stream = (event.topic, event.key)
            if stream not in versions:
                row = self.working_set.get(self.working_set.head(event.topic), event.key)
                versions[stream] = 0 if row is None else row.version
            versions[stream] += 1
            envelope = self._envelope(event, versions[stream], cause, recorded)
            sealed = _sealed(event, envelope.id, keys)
            entry = log.Entry(envelope, "", sealed.to_bytes())
            log.refuse_oversized(entry)
            placed.append((sealed, entry))
        return placed

    def _envelope(self, event: Event, version: int, cause: Envelope | None, recorded: datetime) -> Envelope:
        if TOPICS[event.topic].owner != self._origin.service:
            raise TypeError(f"{self._origin.service} may not publish {event.ce_type}")
        return Envelope(
            id=new_id(),
            type=event.ce_type,
            source=self._origin.source,
            topic=event.topic,
            key=event.key,
            version=version,
            time=self.now,
            recorded=recorded,
            actor=self._origin.actor,
            correlation_id=self._origin.correlation_id if cause is None else cause.correlation_id,
            causation_id=self._origin.causation_id if cause is None else cause.id,
            traceparent=self._origin.traceparent if cause is None else cause.traceparent,
        )

    def _take(self, event: Event, entry: log.Entry) -> None:
        self.working_set.fold(event, entry.envelope)
        after: Any = self.working_set.get(self.working_set.head(event.topic), event.key)
        self._entries.append(replace(entry, area_code=after.area_code))

    async def _sealing_keys(self, events: Sequence[Event]) -> dict[str, bytes]:
        subjects = {
            subject
            for event in events
            if isinstance(event, Sealing)
            for subject, record in event.personal.items()
            if isinstance(record, PersonalRecord)
        }
        return await self._keyring.to_seal(self.connection, subjects) if subjects else {}

    def mark(self) -> tuple[int, int]:
        """A point that `undo` goes back to."""
        return self.working_set.mark(), len(self._entries)

    def undo(self, mark: tuple[int, int]) -> None:
        """Takes back whatever was folded and decided since the mark; the transaction can go on."""
        steps, facts = mark
        self.working_set.undo(steps)
        del self._entries[facts:]

    def before_log(self, write: Callable[[Connection], Awaitable[None]]) -> None:
        """Has `write` change what stands outside the fold (a derived index) in this transaction, before the log."""
        self._before_log.append(write)

    # --- personal data -----------------------------------------------------------------------------------------------

    async def open(self, sealed: Iterable[SealedText], record: type[Record], purpose: str) -> list[Record | None]:
        """Decrypts, in order; None for a subject that was erased or has nothing sealed. The look is in the read log."""
        return await open_records(
            self.connection, self._keyring, list(sealed), record, purpose, self.principal, self._origin.correlation_id
        )

    # --- checking ----------------------------------------------------------------------------------------------------

    def authorise(self, area_code: str) -> None:
        """Raises `Refused` (403) unless the caller's areas cover this one."""
        self.principal.must_cover(area_code)

    # --- ending ------------------------------------------------------------------------------------------------------

    async def finish(self, answer: Callable[[Connection], Awaitable[None]] | None = None) -> None:
        """Writes everything; the caller commits. The log and its outbox come last."""
        await self.working_set.write(self.connection, copied=self._is_foreign)
        for write in self._before_log:
            await write(self.connection)
        if answer is not None:
            await answer(self.connection)
        crash_point("command-before-commit")
        await log.append(self.connection, self._entries)

    def _is_foreign(self, table: Table[Any]) -> bool:
        """Whether a table folds another's facts: who holds the cursor writes it alone."""
        return TOPICS[table.topic].owner != self._origin.service

    def areas_touched(self) -> Counter[str]:
        """How many of this transaction's facts concern which area."""
        return Counter(entry.area_code for entry in self._entries)


def _sealed(event: Event, event_id: str, keys: dict[str, bytes]) -> Event:
    if not isinstance(event, Sealing):
        return event
    personal = {
        subject: seal(keys[subject], record.model_dump_json(exclude_none=True).encode(), event_id, subject)
        if isinstance(record, PersonalRecord)
        else record
        for subject, record in event.personal.items()
    }
    return event.model_copy(update={"personal": personal})


async def open_records(
    connection: Connection,
    keyring: Keyring,
    sealed: Sequence[SealedText],
    record: type[Record],
    purpose: str,
    principal: Principal,
    correlation_id: str,
) -> list[Record | None]:
    """Decrypts records in one batch and appends who looked at whom, and why, to the read log."""
    subjects = sorted({subject for subject, _, text in sealed if text is not None})
    keys = await keyring.to_open(connection, subjects, purpose)
    if subjects:
        await log_look(connection, subjects, principal.subject, purpose, list(record.model_fields), correlation_id)
    return [
        None
        if text is None or event_id is None or subject not in keys
        else record.model_validate_json(open_sealed(keys[subject], text, event_id, subject))
        for subject, event_id, text in sealed
    ]


async def log_look(
    connection: Connection,
    subjects: Collection[str],
    reader: str,
    purpose: str,
    fields: Sequence[str],
    correlation_id: str,
) -> None:
    """Appends to the read log who looked at whom, at what and what for. A key that is handed out may open everything
    that is sealed under it: its field is "key", and of whole events "event"."""
    await connection.execute(
        """
        INSERT INTO read_log (subject_id, reader, purpose, fields, correlation_id)
        SELECT subject, $2, $3, $4::text[], $5
        FROM unnest($1::text[]) AS subject
        """,
        sorted(subjects),
        reader,
        purpose,
        list(fields),
        correlation_id,
    )


@dataclass(frozen=True)
class Workplace:
    """What every transaction of a process shares."""

    service: str
    pool: Any  # asyncpg.Pool
    tables: tuple[Table[Any], ...]
    keyring: Keyring
    now: Callable[[], datetime]
    committed: Callable[[], None]  # tells the relay, after the commit and coalesced

    async def destroy_keys(self, subjects: Collection[str]) -> None:
        """Destroys keys that were made for subjects of this service's own, for good; again, it changes nothing.

        It is done at the registry, so no transaction takes it back: call it after the commit that makes the key
        needless, and remember until it has succeeded that it is to be done. Raises KeysUnavailable.
        """
        if not isinstance(self.keyring, BorrowedKeys):
            raise TypeError("the key authority destroys keys in its own transactions: keyring.erase_keys")
        await self.keyring.destroy(subjects)

    @asynccontextmanager
    async def transaction(
        self, principal: Principal, *, correlation_id: str | None = None, causation_id: str | None = None
    ) -> AsyncIterator[Transaction]:
        """A transaction for a timer or a job: commits at the end of the block, rolls back if it raises."""
        origin = Origin(self.service, principal.subject, correlation_id or str(uuid.uuid4()), causation_id)
        async with self.pool.acquire() as connection:
            async with connection.transaction():
                tx = Transaction(connection, self.tables, self.keyring, self.now(), origin, principal)
                yield tx
                await tx.finish()
            crash_point("command-after-commit")
        if tx.facts:
            self.committed()


def caused_by(origin: Origin, envelope: Envelope) -> Origin:
    """The origin of what a fact of another log causes here."""
    return replace(origin, correlation_id=envelope.correlation_id, causation_id=envelope.id)
