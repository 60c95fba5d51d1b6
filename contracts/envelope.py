"""The envelope: what every event carries, how it travels as a CloudEvent over Kafka, and the bytes a proof covers."""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import from_json

# --- What a field may say about people -------------------------------------------------------------------------------


class Privacy(StrEnum):
    """How far a field may travel. Every field of a contract is classed; an unclassed field fails a test."""

    OPEN = "open"  # says nothing about a person
    PSEUDONYMOUS = "pseudonymous"  # about a person, who is known by an id only
    PERSONAL = "personal"  # readable with that person's own key only


T = TypeVar("T")
Open = Annotated[T, Privacy.OPEN]
Pseudonymous = Annotated[T, Privacy.PSEUDONYMOUS]
Personal = Annotated[T, Privacy.PERSONAL]


class Value(BaseModel):
    """A part of a fact: immutable, and tolerant of fields that a newer publisher adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PersonalRecord(BaseModel):
    """What is sealed under one subject's own key. Every field is `Personal`; it never travels in the clear."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _sealed_or_plain(value: object) -> "PersonalRecord | str":
    if isinstance(value, PersonalRecord | str):
        return value
    raise ValueError("a personal value is a sealed text, or a PersonalRecord that is still to be sealed")


def _sealed_only(value: "PersonalRecord | str") -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a personal record has to be sealed before it is written")


# A decision returns PersonalRecords; the kit seals them; folds, the log and Kafka only ever see the sealed text.
Sealable = Annotated[
    PersonalRecord | str,
    PlainValidator(_sealed_or_plain),
    PlainSerializer(_sealed_only, return_type=str),
    WithJsonSchema(
        {"type": "string", "contentEncoding": "base64url", "description": "AES-256-GCM: nonce, ciphertext, tag"}
    ),
]

# --- The event -------------------------------------------------------------------------------------------------------

EVENTS: dict[str, type["Event"]] = {}
"""Every declared event, by its CloudEvents type, such as `entas.registry.ParticipantVerified.v1`."""

UPCASTERS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""Old CloudEvents type -> (the type after it, a pure function from the old payload to the new one)."""


class Event(BaseModel):
    """A fact: something that happened, named in the past tense.

    A stream's base class gives `topic` and the `key` field once; each event below it is one class:

        class HouseholdFact(Event, topic="registry.households", key="household_id"):
            household_id: Pseudonymous[HouseholdId]

        class HouseholdDelisted(HouseholdFact):
            reason: Open[DelistingReason]

    `seals` names the PersonalRecord types that an event's `personal` map may hold, subject id -> sealed record.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str] = ""
    key_field: ClassVar[str] = ""
    schema_version: ClassVar[int] = 1
    ce_type: ClassVar[str] = ""
    seals: ClassVar[tuple[type[PersonalRecord], ...]] = ()

    def __init_subclass__(
        cls,
        *,
        topic: str = "",
        key: str = "",
        version: int = 1,
        seals: tuple[type[PersonalRecord], ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if topic:
            cls.topic, cls.key_field = topic, key
        elif cls.topic:
            cls.schema_version, cls.seals = version, seals
            cls.ce_type = f"entas.{cls.topic.partition('.')[0]}.{cls.__name__}.v{version}"
            if cls.ce_type in EVENTS:
                raise TypeError(f"the event {cls.ce_type} is declared twice")
            EVENTS[cls.ce_type] = cls

    @property
    def key(self) -> str:
        """The stream this event belongs to, within its topic."""
        return cast(str, getattr(self, self.key_field))

    def to_bytes(self) -> bytes:
        """The message value: UTF-8 JSON without absent fields. Raises if a personal record is not sealed yet."""
        return self.model_dump_json(exclude_none=True).encode()


class Sealing(Event):
    """Mixed into an event with personal data about its subjects: a person, or the household they live in."""

    personal: Pseudonymous[dict[str, Sealable]] = {}


class Unreadable(Exception):
    """A record is not an event that can be read: it lacks an attribute, or its value does not fit its type."""


class UnknownType(Unreadable):
    """The record's type is not one that is declared here. Readers skip and count it."""


class NewerVersion(Unreadable):
    """The record's version is newer than any declared here: deploy the reader's new release first."""


def upcaster(old_type: str, new_type: str) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], Any]:
    """Registers a pure `dict -> dict` that lifts a payload of `old_type` to `new_type`."""

    def register(lift: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        UPCASTERS[old_type] = (new_type, lift)
        return lift

    return register


def read_event(type_: str, value: bytes | str) -> Event:
    """The event of this type and value, lifted to today's version.

    Raises `UnknownType`, `NewerVersion` or `Unreadable`; the messages name fields and never hold a value.
    """
    try:
        if declared := EVENTS.get(type_):
            return declared.model_validate_json(value)
        if type_ not in UPCASTERS:
            raise _undeclared(type_)
        payload = from_json(value)
        while type_ in UPCASTERS:
            type_, lift = UPCASTERS[type_]
            payload = lift(payload)
        return EVENTS[type_].model_validate(payload, strict=False)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors()[:5])
        raise Unreadable(f"{type_} does not fit its contract: {wrong}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{type_} does not fit its contract: {type(error).__name__}") from None


def _undeclared(type_: str) -> Unreadable:
    name, dot, version = type_.rpartition(".v")
    known = [event.schema_version for declared, event in EVENTS.items() if declared.rpartition(".v")[0] == name]
    if dot and known and version.isdigit() and int(version) > max(known):
        return NewerVersion(
            f"{type_} is newer than version {max(known)}, the newest known here; deploy the release that declares it"
        )
    return UnknownType(f"the event type {type_[:120]!r} is not declared")


# --- What travels with an event --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is known of an event when it is appended; folds may read it, so it never holds what sealing adds later."""

    id: str  # UUIDv7
    type: str
    source: str  # the log it is in: "/entas/registry"
    topic: str
    key: str
    version: int  # in its stream: 1, 2, 3 …
    time: datetime  # when it occurred, by the programme's clock
    recorded: datetime  # when it was written, by the system's clock
    actor: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where sealing put an event: its gapless number in the log, and the last number before it in its partition."""

    sequence: int
    previous_sequence: int  # NOTHING_BEFORE for the first of a partition


NOTHING_BEFORE = -1

Headers = list[tuple[str, bytes]]


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `2024-07-08T01:05:00.000000Z`. The one form that is hashed."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def sequence_text(sequence: int) -> str:
    """Twenty digits, so that text order is number order as the CloudEvents `sequence` extension asks; -1 is "none"."""
    return "none" if sequence < 0 else f"{sequence:020d}"


def _sequence(text: bytes) -> int:
    return NOTHING_BEFORE if text == b"none" else int(text)


def headers_of(envelope: Envelope, position: Position) -> Headers:
    """CloudEvents 1.0, Kafka binary mode. Byte-identical whenever the same event is sent again."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", envelope.id.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_time", instant_text(envelope.time).encode()),
        ("ce_subject", envelope.key.encode()),
        ("content-type", b"application/json"),
        ("ce_partitionkey", envelope.key.encode()),
        ("ce_sequence", sequence_text(position.sequence).encode()),
        ("ce_previoussequence", sequence_text(position.previous_sequence).encode()),
        ("ce_streamversion", str(envelope.version).encode()),
        ("ce_recordedtime", instant_text(envelope.recorded).encode()),
        ("ce_correlationid", envelope.correlation_id.encode()),
        ("ce_actor", envelope.actor.encode()),
    ]
    if envelope.causation_id is not None:
        headers.append(("ce_causationid", envelope.causation_id.encode()))
    if envelope.traceparent is not None:
        headers.append(("ce_traceparent", envelope.traceparent.encode()))
    return headers


def read_headers(topic: str, headers: Iterable[tuple[str, bytes]]) -> tuple[Envelope, Position]:
    """The envelope and position in a record's headers. Raises `Unreadable` and names the attribute that is missing."""
    found = dict(headers)
    try:
        causation, trace = found.get("ce_causationid"), found.get("ce_traceparent")
        envelope = Envelope(
            id=found["ce_id"].decode(),
            type=found["ce_type"].decode(),
            source=found["ce_source"].decode(),
            topic=topic,
            key=found["ce_partitionkey"].decode(),
            version=int(found["ce_streamversion"]),
            time=datetime.fromisoformat(found["ce_time"].decode()),
            recorded=datetime.fromisoformat(found["ce_recordedtime"].decode()),
            actor=found["ce_actor"].decode(),
            correlation_id=found["ce_correlationid"].decode(),
            causation_id=None if causation is None else causation.decode(),
            traceparent=None if trace is None else trace.decode(),
        )
        return envelope, Position(_sequence(found["ce_sequence"]), _sequence(found["ce_previoussequence"]))
    except KeyError as missing:
        raise Unreadable(f"the CloudEvents attribute {missing.args[0]} is missing") from None
    except ValueError as error:
        raise Unreadable(f"a CloudEvents attribute cannot be read: {type(error).__name__}") from None


# --- What a proof covers ---------------------------------------------------------------------------------------------

_PROOF_DOMAIN = b"entas-event-v1"
_ABSENT = b"\xff\xff\xff\xff"
_length = struct.Struct(">I").pack


def value_digest(value: bytes) -> bytes:
    """SHA-256 of the message value, 32 bytes."""
    return hashlib.sha256(value).digest()


def proof_bytes(envelope: Envelope, sequence: int, digest: bytes) -> bytes:
    """The entry that the Merkle tree's leaf hashes: each part behind its length in four bytes, big end first.

    Parts, in order: the domain `entas-event-v1`, origin, sequence (decimal), topic, key, stream version (decimal),
    type, id, occurred and recorded time (`instant_text`), actor, correlation id, causation id (absent: length
    0xFFFFFFFF and no bytes), SHA-256 of the value. Traces are not covered: they help to debug, they prove nothing.
    """
    cause = envelope.causation_id
    parts = (
        _PROOF_DOMAIN,
        envelope.source.encode(),
        str(sequence).encode(),
        envelope.topic.encode(),
        envelope.key.encode(),
        str(envelope.version).encode(),
        envelope.type.encode(),
        envelope.id.encode(),
        instant_text(envelope.time).encode(),
        instant_text(envelope.recorded).encode(),
        envelope.actor.encode(),
        envelope.correlation_id.encode(),
        None if cause is None else cause.encode(),
        digest,
    )
    return b"".join(_ABSENT if part is None else _length(len(part)) + part for part in parts)


def privacy_of(model: type[BaseModel]) -> Mapping[str, Privacy | None]:
    """Each field of a contract with its class; None where somebody forgot to class it."""
    return {
        name: next((mark for mark in field.metadata if isinstance(mark, Privacy)), None)
        for name, field in model.model_fields.items()
    }
