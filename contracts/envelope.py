"""The envelope: what every event carries, how it travels as a CloudEvent over Kafka, and the bytes a proof covers."""

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, cast, dataclass_transform

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import core_schema, from_json

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


VALUES: list[type["Value"]] = []
"""Every declared part of a fact."""


@dataclass_transform(frozen_default=True)
class _Slotted(type):
    """Makes each class a validated dataclass with slots: one object in memory, where a model is four. A reader makes
    and throws away more of these than of anything else."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        plain: Any = super().__new__(cls, name, bases, namespace)
        if "__slots__" in namespace:  # The base itself, or what `dataclass` makes of a class below.
            return plain
        slotted = dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))(plain)
        VALUES.append(cast(type[Value], slotted))
        return slotted


class Value(metaclass=_Slotted):
    """A part of a fact: immutable, and tolerant of fields that a newer publisher adds."""

    __slots__ = ()


class PersonalRecord(BaseModel):
    """What is sealed under one subject's own key. Every field is `Personal`; it never travels in the clear."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _sealed_or_plain(value: object) -> "PersonalRecord | str":
    if isinstance(value, str | PersonalRecord):
        return value
    raise ValueError("a personal value is a sealed text, or a PersonalRecord that is still to be sealed")


def _sealed_only(value: "PersonalRecord | str") -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a personal record has to be sealed before it is written")


class _TextOnTheWire:
    """What was written is a text: it is read without a call into Python, of which there was one a person."""

    @staticmethod
    def __get_pydantic_core_schema__(source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.str_schema(strict=True),
            python_schema=core_schema.no_info_plain_validator_function(_sealed_or_plain),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _sealed_only, return_schema=core_schema.str_schema()
            ),
        )


# A decision returns PersonalRecords; the kit seals them; folds, the log and Kafka only ever see the sealed text.
Sealable = Annotated[
    PersonalRecord | str,
    _TextOnTheWire,
    WithJsonSchema(
        {"type": "string", "contentEncoding": "base64url", "description": "AES-256-GCM: nonce, ciphertext, tag"}
    ),
]

# --- Words that may grow ---------------------------------------------------------------------------------------------

_reading: ContextVar[bool] = ContextVar("reading", default=False)


class Word(StrEnum):
    """A term of a vocabulary that may grow: the base of every enumeration in a contract.

    What is written now has to use a term that is declared; a command with another one is refused. But a fact of a newer
    publisher may hold a term that is new: `reading` keeps it, as a member without a name that is equal to its text.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not (isinstance(value, str) and _reading.get()):
            return None
        term = str.__new__(cls, value)
        term._name_ = term._value_ = value
        return term


@contextmanager
def reading() -> Iterator[None]:
    """Within it, terms that are not declared here are kept: what was written is read, and not judged again."""
    before = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(before)


# --- The event -------------------------------------------------------------------------------------------------------

EVENTS: dict[str, type["Event"]] = {}
"""Every declared event, by its CloudEvents type, such as `entas.registry.ParticipantVerified.v1`."""

UPCASTERS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""Old CloudEvents type -> (the type after it, a pure function from the old payload to the new one)."""


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class _Kind(ModelMetaclass):
    """The class of events: an instance is one by inheritance alone, which is asked for every `case` of every fold. What
    pydantic's own models ask takes ten times as long."""

    __instancecheck__ = type.__instancecheck__


class Event(BaseModel, metaclass=_Kind):
    """A fact: something that happened, named in the past tense.

    A stream's base class gives `topic` and the `key` field once; each event below it is one class:

        class HouseholdFact(Event, topic="registry.households", key="household_id"):
            household_id: Pseudonymous[HouseholdId]

        class HouseholdDelisted(HouseholdFact):
            reason: Open[DelistingReason]

    `seals` names the PersonalRecord types that an event's `personal` map may hold, subject id -> sealed record.
    """

    # Of the texts in a fact, most are ids that never come again: to look them up in pydantic's cache would be in vain.
    model_config = ConfigDict(frozen=True, extra="ignore", cache_strings="keys")

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
            cls.key = property(attrgetter(key))  # type: ignore[method-assign, assignment]
        elif cls.topic:
            cls.schema_version, cls.seals = version, seals
            cls.ce_type = f"entas.{cls.topic.partition('.')[0]}.{cls.__name__}.v{version}"
            if cls.ce_type in EVENTS:
                raise TypeError(f"the event {cls.ce_type} is declared twice")
            EVENTS[cls.ce_type] = cls

    @property
    def key(self) -> str:
        """The stream this event belongs to, within its topic."""
        raise TypeError(f"{type(self).__name__} is of no topic, so it has no stream")

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


def read_event(type_: str, value: bytes | str | None) -> Event:
    """The event of this type and value, lifted to today's version. Terms that are not declared here are kept.

    Raises `UnknownType`, `NewerVersion` or `Unreadable`; the messages name fields and never hold a value.
    """
    try:
        if declared := EVENTS.get(type_):
            # What `model_validate_json` does, without asking first for options that nobody gave.
            validate: Callable[[bytes | str], Event] = declared.__pydantic_validator__.validate_json
            try:
                return validate(value or b"")
            except ValidationError:
                with reading():  # Perhaps it is but a new term: nearly every fact is read without asking for that.
                    return validate(value or b"")
        if type_ not in UPCASTERS:
            raise _undeclared(type_)
        payload = from_json(value or b"")
        while type_ in UPCASTERS:
            type_, lift = UPCASTERS[type_]
            payload = lift(payload)
        with reading():
            return EVENTS[type_].model_validate(payload, strict=False)
    except ValidationError as error:
        raise Unreadable(f"{type_} does not fit its contract: {_wrong_fields(error)}") from None
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"{type_} does not fit its contract: {type(error).__name__}") from None


def _wrong_fields(error: ValidationError) -> str:
    """What is wrong where. A map's keys come from the message, so they are values: an asterisk stands for them."""
    contracts: list[type[BaseModel | Value]] = [*EVENTS.values(), *VALUES]
    names = frozenset(name for contract in contracts for name in fields_of(contract))
    wrong = []
    for fault in error.errors(include_url=False, include_input=False)[:5]:
        place = ".".join(str(part) if isinstance(part, int) or part in names else "*" for part in fault["loc"])
        wrong.append(f"{place or 'value'}: {fault['msg']}")
    return "; ".join(wrong)


_TYPE = re.compile(r"[a-z]+(\.[A-Za-z]+)+\.v[0-9]{1,4}", re.ASCII)


def _undeclared(type_: str) -> Unreadable:
    if not _TYPE.fullmatch(type_) or len(type_) > 120:
        return UnknownType("the event type is not declared; ours look like entas.registry.ParticipantVerified.v1")
    name, _, version = type_.rpartition(".v")
    known = [event.schema_version for declared, event in EVENTS.items() if declared.rpartition(".v")[0] == name]
    if known and int(version) > max(known):
        return NewerVersion(
            f"{type_} is newer than version {max(known)}, the newest known here; deploy the release that declares it"
        )
    return UnknownType(f"the event type {type_} is not declared")


# --- What travels with an event --------------------------------------------------------------------------------------


class Envelope(NamedTuple):
    """What is known of an event when it is appended; folds may read it, so it never holds what sealing adds later."""

    # A tuple, since one is made for every record that is read: a frozen dataclass takes four times as long.
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


class Position(NamedTuple):
    """Where sealing put an event: its gapless number in the log, and the last number before it in its partition."""

    sequence: int
    previous_sequence: int  # NOTHING_BEFORE for the first of a partition


NOTHING_BEFORE = -1

MAX_ENVELOPE_BYTES = 8192
"""All attributes of a record together. Real ones have some 600; ids and keys are indexed, which bounds them already."""

Headers = list[tuple[str, bytes]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES = tuple(f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60))
_SECONDS = tuple(f"{second:02d}." for second in range(60))


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `2024-07-08T01:05:00.000000Z`. The one form that is hashed.

    Raises TypeError for a time without a zone, and OverflowError outside of the years 1 to 9999 in UTC.
    """
    # Put together from tables: `isoformat` takes three times as long.
    since = instant - _EPOCH
    minute, second = divmod(since.seconds, 60)
    return _day_text(since.days) + _MINUTES[minute] + _SECONDS[second] + str(1_000_000 + since.microseconds)[1:] + "Z"


@lru_cache(maxsize=1024)
def _day_text(days: int) -> str:
    return (_EPOCH + timedelta(days)).date().isoformat()


def sequence_text(sequence: int) -> str:
    """Twenty digits, so that text order is number order as the CloudEvents `sequence` extension asks; -1 is "none"."""
    return "none" if sequence < 0 else str(sequence).zfill(20)


@lru_cache(maxsize=4096)
def _instant_bytes(instant: datetime) -> bytes:
    """The facts of one transaction share their times, and each time is written four times: in headers and in proofs."""
    return instant_text(instant).encode()


_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")


def headers_of(envelope: Envelope, position: Position) -> Headers:
    """CloudEvents 1.0, Kafka binary mode. Byte-identical whenever the same event is sent again."""
    id_, type_, source, _, key, version, time, recorded, actor, correlation_id, causation_id, traceparent = envelope
    sequence, previous_sequence = position
    stream = key.encode()
    headers = [
        _SPECVERSION,
        ("ce_id", id_.encode()),
        ("ce_type", type_.encode()),
        ("ce_source", source.encode()),
        ("ce_time", _instant_bytes(time)),
        ("ce_subject", stream),
        _CONTENT_TYPE,
        ("ce_partitionkey", stream),
        ("ce_sequence", sequence_text(sequence).encode()),
        ("ce_previoussequence", sequence_text(previous_sequence).encode()),
        ("ce_streamversion", str(version).encode()),
        ("ce_recordedtime", _instant_bytes(recorded)),
        ("ce_correlationid", correlation_id.encode()),
        ("ce_actor", actor.encode()),
    ]
    if causation_id is not None:
        headers.append(("ce_causationid", causation_id.encode()))
    if traceparent is not None:
        headers.append(("ce_traceparent", traceparent.encode()))
    return headers


def headers_said_by(envelope: Envelope) -> int:
    """How many headers `headers_of` gives."""
    return 14 + (envelope.causation_id is not None) + (envelope.traceparent is not None)


def read_headers(topic: str, headers: Iterable[tuple[str, bytes | None]]) -> tuple[Envelope, Position]:
    """The envelope and position in a record's headers; times come in UTC.

    Raises `Unreadable`, which names the attribute that is missing or wrong and holds no value; and nothing else.
    """
    found: dict[str, Any] = _NOT_CAUSED.copy()
    try:
        found.update(headers)
        # Decoded in one piece. NUL parts the texts: PostgreSQL keeps none, so a text that holds one is refused here.
        joined = b"\0".join(_texts(found))
        texts = joined.decode().split("\0")
        specversion, id_, type_, source, key, actor, correlation, cause, trace, occurred, recorded = texts
        counted, before, of_stream = _numbers(found)
        if not (counted + of_stream).isdigit():
            raise ValueError
        sequence, previous, version = int(counted), _count_or_none(before), int(of_stream)
        if not (previous < sequence < _TOO_MANY and 0 < version < _TOO_MANY):
            raise ValueError
        if specversion != "1.0" or "" in texts or len(joined) > MAX_ENVELOPE_BYTES:
            raise ValueError
        envelope = (
            id_,
            type_,
            source,
            topic,
            key,
            version,
            _instant(occurred),
            _instant(recorded),
            actor,
            correlation,
            None if cause == _NOTHING else cause,
            None if trace == _NOTHING else trace,
        )
        return new_tuple(Envelope, envelope), new_tuple(Position, (sequence, previous))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise Unreadable(_fault(found)) from None


new_tuple = tuple.__new__
"""Makes a named tuple without the detour through Python that calling its class takes."""

_NOTHING = "\x1a"  # A control character, which CloudEvents allows in no attribute.
_NOT_CAUSED = {"ce_causationid": _NOTHING.encode(), "ce_traceparent": _NOTHING.encode()}


_TOO_MANY = 1 << 63


def _count(digits: bytes) -> int:
    """Plain digits, below 2^63: `int` alone would take signs, spaces and underscores."""
    if not digits.isdigit() or (count := int(digits)) >= _TOO_MANY:
        raise ValueError
    return count


def _count_or_none(digits: bytes) -> int:
    return NOTHING_BEFORE if digits == b"none" else _count(digits)


@lru_cache(maxsize=4096)
def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is UTC:
        return instant
    if instant.tzinfo is None:
        raise ValueError
    return instant.astimezone(UTC)


def _text(value: bytes) -> str:
    if not value or b"\0" in value:
        raise ValueError
    return value.decode()


_READERS: dict[str, Callable[[bytes], object]] = {
    "ce_specversion": _text,
    "ce_id": _text,
    "ce_type": _text,
    "ce_source": _text,
    "ce_partitionkey": _text,
    "ce_actor": _text,
    "ce_correlationid": _text,
    "ce_causationid": _text,
    "ce_traceparent": _text,
    "ce_time": lambda value: _instant(_text(value)),
    "ce_recordedtime": lambda value: _instant(_text(value)),
    "ce_streamversion": _count,
    "ce_sequence": _count,
    "ce_previoussequence": _count_or_none,
}
_texts = itemgetter(*list(_READERS)[:11])
_numbers = itemgetter("ce_sequence", "ce_previoussequence", "ce_streamversion")


def _fault(found: Mapping[str, bytes]) -> str:
    """What is wrong with attributes that could not be read."""
    for name, read in _READERS.items():
        if name not in found:
            return f"the CloudEvents attribute {name} is missing"
        try:
            read(found[name])
        except (TypeError, AttributeError, ValueError, OverflowError):
            return f"the CloudEvents attribute {name} cannot be read"
    return (
        "the CloudEvents attributes do not fit together: specversion is not 1.0, streamversion is 0, previoussequence "
        f"is not below sequence, or they are longer than {MAX_ENVELOPE_BYTES} bytes"
    )


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
    id_, type_, source, topic, key, version, time, recorded, actor, correlation_id, causation_id, _ = envelope
    # Of texts that are new each time the lengths are written here: a call for each would be a third of it all.
    number, stream, own_id, correlation = str(sequence).encode(), key.encode(), id_.encode(), correlation_id.encode()
    return b"".join(
        (
            _DOMAIN_PART,
            _known_part(source),
            _length(len(number)),
            number,
            _known_part(topic),
            _length(len(stream)),
            stream,
            _known_part(str(version)),
            _known_part(type_),
            _length(len(own_id)),
            own_id,
            _instant_part(time),
            _instant_part(recorded),
            _known_part(actor),
            _length(len(correlation)),
            correlation,
            _ABSENT if causation_id is None else _part(causation_id),
            _length(len(digest)),
            digest,
        )
    )


def _part(text: str) -> bytes:
    return _part_of_bytes(text.encode())


def _part_of_bytes(encoded: bytes) -> bytes:
    return _length(len(encoded)) + encoded


@lru_cache(maxsize=4096)
def _instant_part(instant: datetime) -> bytes:
    return _part_of_bytes(_instant_bytes(instant))


_DOMAIN_PART = _length(len(_PROOF_DOMAIN)) + _PROOF_DOMAIN
_known_part = lru_cache(maxsize=4096)(_part)
"""For texts that come again and again."""


def fields_of(contract: type[BaseModel | Value]) -> Mapping[str, FieldInfo]:
    """The fields of an event, of a part of one, or of a personal record."""
    fields: dict[str, FieldInfo] = contract.__pydantic_fields__  # type: ignore[union-attr]
    return fields


def privacy_of(contract: type[BaseModel | Value]) -> Mapping[str, Privacy | None]:
    """Each field of a contract with its class; None where somebody forgot to class it."""
    return {
        name: next((mark for mark in field.metadata if isinstance(mark, Privacy)), None)
        for name, field in fields_of(contract).items()
    }
