"""The intake: partners' messages, read as CloudEvents; what cannot be taken in is kept and told, with its faults."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from contracts.envelope import EVENTS, UPCASTERS, Envelope, Event, Unreadable, read_event
from contracts.partners import Fault, MessageRejected
from services.kit.fetching import UNREADABLE
from services.kit.positions import Record, is_plain_id
from services.kit.problems import field_problems
from services.kit.reactions import Partner
from services.kit.refusal import FieldProblem, Refused
from services.kit.rows import Connection
from services.kit.storable import unstorable_parts

STRUCTURED = "application/cloudevents+json"
MAX_FAULTS = 20


@dataclass(slots=True)
class Message:
    """A partner's message: an event, or the faults for which it is rejected."""

    record: Record
    id: str | None = None
    type: str | None = None
    event: Event | None = None
    envelope: Envelope | None = None
    faults: list[Fault] = field(default_factory=list)


def read_message(record: Record, partner: Partner) -> Message:
    """Reads a record in CloudEvents binary or structured mode. Never raises: what is wrong stands in `faults`."""
    message = Message(record)
    try:
        attributes, value = _attributes_and_value(record)
    except ValueError as error:
        message.faults.append(Fault(field="value", reason=str(error), remedy="Publish a CloudEvents 1.0 message."))
        return message
    if attributes.get("specversion") != "1.0":
        message.faults.append(
            Fault(field="ce_specversion", reason="is not 1.0", remedy="Publish CloudEvents of specversion 1.0.")
        )
    message.id = _identity(attributes, message.faults)
    message.type = _type(attributes, partner, message.faults)
    if attributes.get("source") != partner.source:
        message.faults.append(
            Fault(
                field="ce_source",
                reason="is not the source that this topic belongs to",
                remedy=f"Publish with the source {partner.source}.",
            )
        )
    occurred = _time(attributes, record, message.faults)
    if message.faults or message.id is None or message.type is None:
        return message
    _read_value(message, value)
    if message.event is not None:
        message.envelope = Envelope(
            id=message.id,
            type=message.type,
            source=partner.source,
            topic=record.topic,
            key=message.event.key,
            version=1,
            time=occurred,
            recorded=_recorded(record),
            actor=f"partner:{partner.system}",
            correlation_id=message.id,
        )
    return message


def _attributes_and_value(record: Record) -> tuple[dict[str, str], bytes]:
    if record.headers == UNREADABLE:
        raise ValueError("the name of a header, here or before in the same record batch, is not UTF-8")
    if record.value is None:
        raise ValueError("the message has no value, which would mean a deletion")
    headers = {name: value for name, value in record.headers if value is not None}
    content_type = headers.get("content-type", b"").decode("utf-8", "replace").partition(";")[0].strip().lower()
    if content_type != STRUCTURED:
        texts = {name[3:]: _text(name, value) for name, value in headers.items() if name.startswith("ce_")}
        return texts, record.value
    try:
        body = from_json(record.value)
    except ValueError:
        raise ValueError("the structured message is not valid JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        raise ValueError("the structured message has no JSON object in `data`")
    attributes = {name: text for name, text in body.items() if isinstance(text, str) and name != "data"}
    return attributes, to_json(body["data"])


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the header {name} is not UTF-8") from None


def _identity(attributes: dict[str, str], faults: list[Fault]) -> str | None:
    identity = attributes.get("id", "")
    if is_plain_id(identity):
        return identity
    faults.append(
        Fault(
            field="ce_id",
            reason="is missing, too long, or could be a national id",
            remedy="Give each message an id of its own, such as a UUID; never a person's number.",
        )
    )
    return None


def _type(attributes: dict[str, str], partner: Partner, faults: list[Fault]) -> str | None:
    type_ = lifted = attributes.get("type", "")
    while lifted in UPCASTERS:
        lifted, _ = UPCASTERS[lifted]
    known = [event.ce_type for event in EVENTS.values() if event.topic == partner.topic]
    if lifted in known:
        return type_
    faults.append(
        Fault(
            field="ce_type",
            reason="is not a type that this topic carries",
            remedy=f"Publish one of {', '.join(sorted(known))}.",
        )
    )
    return None


def _time(attributes: dict[str, str], record: Record, faults: list[Fault]) -> datetime:
    if text := attributes.get("time"):
        try:
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
        except (ValueError, OverflowError):
            # The year may be one that no calendar holds once the zone is taken off.
            pass
        faults.append(
            Fault(
                field="ce_time", reason="is not an RFC 3339 instant", remedy="Publish 2024-07-08T01:05:00Z or leave it."
            )
        )
    return _recorded(record)


def _recorded(record: Record) -> datetime:
    """When Kafka got the record, as the partner's client says; now, where it says what cannot be."""
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def _read_value(message: Message, value: bytes) -> None:
    assert message.type is not None
    try:
        declared = EVENTS.get(message.type)
        event = declared.model_validate_json(value) if declared else read_event(message.type, value)
        message.faults = _faults(unstorable_parts(from_json(value)))
        message.event = None if message.faults else event
    except ValidationError as error:
        message.faults = _faults(field_problems(error.errors(include_url=False)))
    except Unreadable as error:
        message.faults = [Fault(field="value", reason=str(error), remedy="Publish it by its schema.")]


def _faults(problems: Sequence[FieldProblem]) -> list[Fault]:
    return [
        Fault(field=problem.field or "value", reason=problem.message, remedy=problem.remedy or "Correct it.")
        for problem in problems[:MAX_FAULTS]
    ]


def faults_of(refused: Refused) -> list[Fault]:
    """What a reaction's refusal says, as faults of the message."""
    remedy = refused.remedy or "Correct the message and publish it again with a new id."
    if refused.fields:
        return [Fault(field=f.field or "value", reason=f.message, remedy=f.remedy or remedy) for f in refused.fields]
    return [Fault(field="value", reason=refused.detail, remedy=remedy)]


def rejection_fact(partner: Partner) -> type[Event]:
    """The fact by which a partner is told of a rejection: the newest event of `<the partner's topic>.rejected`.

    Each system has a topic, and so a fact, of its own, because none may read what was wrong in the others' messages.
    Raises TypeError unless there is one with the fields of `MessageRejected`.
    """
    topic = f"{partner.topic}.rejected"
    declared = sorted((e for e in EVENTS.values() if e.topic == topic), key=lambda event: event.schema_version)
    if not declared or declared[-1].model_fields.keys() != MessageRejected.model_fields.keys():
        raise TypeError(f"the topic {topic} has to carry one event with the fields of MessageRejected")
    return declared[-1]


def rejection(message: Message, partner: Partner, rejection_id: str) -> Event:
    """The fact that tells the partner, without any value of the message."""
    said = {
        "rejection_id": rejection_id,
        "system": partner.system,
        "message_id": message.id,
        "message_type": message.type,
        "partition": message.record.partition,
        "offset": message.record.offset,
        "faults": tuple(message.faults),
    }
    return rejection_fact(partner)(**said)


async def drop_copies(connection: Connection, messages: Sequence[Message], partner: Partner) -> list[Message]:
    """The messages whose id was not seen in the last 90 days; remembers theirs. One without an id is never a copy."""
    first: dict[str, Message] = {}
    for message in messages:
        if message.id is not None:
            first.setdefault(message.id, message)
    new = await connection.fetch(
        """
        INSERT INTO partner_message (source, message_id)
        SELECT $1, id FROM unnest($2::text[]) AS id
        ON CONFLICT DO NOTHING
        RETURNING message_id
        """,
        partner.source,
        sorted(first),
    )
    fresh = {row["message_id"] for row in new}
    return [m for m in messages if m.id is None or (m.id in fresh and first[m.id] is m)]
