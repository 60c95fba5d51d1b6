"""The intake: partners' messages, read as CloudEvents; what cannot be taken in is kept and told, with its faults."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from contracts.envelope import EVENTS, UPCASTERS, Envelope, Event, Unreadable, read_event
from contracts.partners import Fault, MessageRejected
from services.kit.logs import masked
from services.kit.positions import Record
from services.kit.problems import field_problems
from services.kit.reactions import Partner
from services.kit.refusal import Refused
from services.kit.rows import Connection

STRUCTURED = "application/cloudevents+json"
MAX_TEXT = 128
_PLAIN_ID = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")


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
            recorded=datetime.fromtimestamp(record.timestamp / 1000, UTC),
            actor=f"partner:{partner.system}",
            correlation_id=message.id,
        )
    return message


def _attributes_and_value(record: Record) -> tuple[dict[str, str], bytes]:
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
    if _PLAIN_ID.fullmatch(identity) and masked(identity) == identity:
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
    type_ = attributes.get("type", "")
    known = [event.ce_type for event in EVENTS.values() if event.topic == partner.topic]
    if type_ in known or type_ in UPCASTERS:
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
        except ValueError:
            instant = None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
        faults.append(
            Fault(
                field="ce_time", reason="is not an RFC 3339 instant", remedy="Publish 2024-07-08T01:05:00Z or leave it."
            )
        )
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


def _read_value(message: Message, value: bytes) -> None:
    assert message.type is not None
    try:
        declared = EVENTS.get(message.type)
        message.event = declared.model_validate_json(value) if declared else read_event(message.type, value)
    except ValidationError as error:
        message.faults = [
            Fault(field=problem.field, reason=problem.message, remedy=problem.remedy or "Correct it.")
            for problem in field_problems(error.errors(include_url=False))
        ][:20]
    except Unreadable as error:
        message.faults = [Fault(field="value", reason=str(error), remedy="Publish it by its schema.")]


def faults_of(refused: Refused) -> list[Fault]:
    """What a reaction's refusal says, as faults of the message."""
    remedy = refused.remedy or "Correct the message and publish it again with a new id."
    if refused.fields:
        return [Fault(field=f.field, reason=f.message, remedy=f.remedy or remedy) for f in refused.fields]
    return [Fault(field="value", reason=refused.detail, remedy=remedy)]


def rejection(message: Message, partner: Partner, rejection_id: str) -> MessageRejected:
    """The fact that tells the partner, without any value of the message."""
    type_ = message.type if message.type is None or len(message.type) <= MAX_TEXT else None
    return MessageRejected(
        rejection_id=rejection_id,
        system=partner.system,
        message_id=message.id,
        message_type=type_,
        partition=message.record.partition,
        offset=message.record.offset,
        faults=tuple(message.faults),
    )


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
