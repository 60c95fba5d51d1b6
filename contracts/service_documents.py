"""AsyncAPI 3.0 documents: what each service publishes and takes in over Kafka, made from topics and contracts."""

from collections.abc import Callable, Iterable
from typing import Any

from contracts.envelope import MAX_ENVELOPE_BYTES, Event
from contracts.event_schemas import schema_of
from contracts.topics import TOPICS, Topic, checkpoints_of, heard_by, published_by

Document = dict[str, Any]
Example = Callable[[type[Event]], Document]
"""An event's example message: its `headers` and its `value`."""

_DAY_MILLISECONDS = 24 * 60 * 60 * 1000
_KEPT_FOR_YEARS = -1

_HOW_TO_READ = (
    "Messages are CloudEvents 1.0 in Kafka's binary mode. Every fact comes at least once: drop a record whose "
    "ce_sequence is not above the last one of its topic and partition; one whose ce_previoussequence is above the last "
    "one follows a hole. Ignore fields that you do not know, and expect terms that are new (x-extensible-enum). "
    "x-privacy says how far a field may travel; what is sealed is readable with that person's own key only."
)


def services() -> tuple[str, ...]:
    """The services that own a topic."""
    return tuple(sorted({topic.owner for topic in TOPICS.values()}))


def document_of(service: str, release: str, example: Example) -> Document:
    """The service's channels, its messages with examples, and what it sends and receives."""
    signed = checkpoints_of(service)
    sent, heard = (*published_by(service), signed), heard_by(service)
    topics = (*sent, *heard)
    events = [event for topic in topics for event in topic.events]
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:entas:{service}",
        "info": {
            "title": f"Entas: {service}",
            "version": release,
            "description": f"The facts that the {service} service publishes and takes in. {_HOW_TO_READ}",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {
            **{f"send-{topic.name}": _operation("send", topic) for topic in sent},
            **{f"receive-{topic.name}": _operation("receive", topic) for topic in heard},
        },
        "components": {
            "messages": {
                **{event.ce_type: _message(event, example(event)) for event in events},
                _CHECKPOINT: _checkpoint(service),
            },
            "schemas": {**_headers_needed(topics), **_schemas(events)},
        },
    }


def _channel(topic: Topic) -> Document:
    retention = _KEPT_FOR_YEARS if topic.retention_days is None else topic.retention_days * _DAY_MILLISECONDS
    return {
        "address": topic.name,
        "description": f"Written by {topic.written_by or f'the {topic.owner} service'}; audience: {topic.audience}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _carried(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": retention},
                "bindingVersion": "0.5.0",
            }
        },
        "x-owner": topic.owner,
        "x-audience": topic.audience.value,
    }


def _operation(action: str, topic: Topic) -> Document:
    messages = [{"$ref": f"#/channels/{topic.name}/messages/{name}"} for name in _carried(topic)]
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}, "messages": messages}


def _carried(topic: Topic) -> tuple[str, ...]:
    """The names of the messages on a topic."""
    return (_CHECKPOINT,) if topic.carries == "checkpoints" else tuple(event.ce_type for event in topic.events)


def _message(event: type[Event], example: Document) -> Document:
    return {
        "name": event.ce_type,
        "title": event.__name__,
        "summary": (event.__doc__ or "").partition("\n")[0],
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "allOf": [{"$ref": f"#/components/schemas/{_headers_name(TOPICS[event.topic])}"}],
            "properties": {"ce_type": {"const": event.ce_type}},
        },
        "payload": {"$ref": f"#/components/schemas/{event.ce_type}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": event.key_field}, "bindingVersion": "0.5.0"}},
        "examples": [{"name": event.__name__, "headers": example["headers"], "payload": example["value"]}],
    }


_CHECKPOINT = "Checkpoint"


def _checkpoint(service: str) -> Document:
    """The one message that is no event: what the service signs of its log, at most a minute after it grew."""
    return {
        "name": _CHECKPOINT,
        "title": _CHECKPOINT,
        "summary": "The size and root of the service's log, signed (C2SP tlog-checkpoint), with counts and cursors.",
        "contentType": "text/plain",
        "payload": {"type": "string", "pattern": f"^entas/{service}\\n[0-9]+\\n"},
        "bindings": {"kafka": {"key": {"type": "string", "const": service}, "bindingVersion": "0.5.0"}},
    }


# --- Schemas ---------------------------------------------------------------------------------------------------------


def _schemas(events: Iterable[type[Event]]) -> Document:
    """The events' schemas and their parts, once each. Raises TypeError when two different parts bear one name."""
    schemas: Document = {}
    for event in events:
        body = schema_of(event)
        parts = {**body.pop("$defs", {}), event.ce_type: body}
        del body["$schema"], body["$id"]
        for name, part in parts.items():
            described = _within_document(part)
            if schemas.setdefault(name, described) != described:
                raise TypeError(f"two parts of contracts are called {name}, and one document has to hold both")
    return dict(sorted(schemas.items()))


def _within_document(schema: Any) -> Any:
    """AsyncAPI's own dialect is draft 7: definitions stand in the components, and nothing may stand beside a `$ref`."""
    if isinstance(schema, list):
        return [_within_document(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {keyword: _within_document(part) for keyword, part in schema.items() if keyword != "$ref"}
    if "$ref" not in schema:
        return rest
    reference = {"$ref": schema["$ref"].replace("#/$defs/", "#/components/schemas/")}
    return {"allOf": [reference], **rest} if rest else reference


def _text(description: str) -> Document:
    return {"type": "string", "minLength": 1, "maxLength": MAX_ENVELOPE_BYTES, "description": description}


_ANY_PUBLISHER = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": _text("the event's id; with ce_source it tells copies"),
    "ce_type": _text("what happened, and in which version it is said"),
    "ce_source": _text("who says so"),
    "ce_time": {"type": "string", "format": "date-time", "description": "when it occurred"},
    "content-type": {"const": "application/json"},
}
_BY_A_PARTNER = {
    "ce_subject": _text("whom or what it is about; never a NIK"),
    "ce_partitionkey": _text("the record's key"),
    "ce_traceparent": _text("W3C trace context"),
}
_BY_US = {
    "ce_subject": _text("the stream: the record's key"),
    "ce_partitionkey": _text("the stream: the record's key"),
    "ce_sequence": {"type": "string", "pattern": "^[0-9]{20}$", "description": "the event's number in its source"},
    "ce_previoussequence": {
        "type": "string",
        "pattern": "^([0-9]{20}|none)$",
        "description": "the number before it in this topic and partition",
    },
    "ce_streamversion": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "its place in its stream"},
    "ce_recordedtime": {"type": "string", "format": "date-time", "description": "when it was written to the log"},
    "ce_correlationid": _text("what it belongs to: one request and all that followed"),
    "ce_actor": _text("who did it: a token's subject"),
}
_BY_US_SOMETIMES = {
    "ce_causationid": _text("the id of the event that caused it"),
    "ce_traceparent": _text("W3C trace context"),
}

_HEADERS: dict[str, Document] = {
    "EntasHeaders": {
        "type": "object",
        "required": [*_ANY_PUBLISHER, *_BY_US],
        "properties": {**_ANY_PUBLISHER, **_BY_US, **_BY_US_SOMETIMES},
    },
    "PartnerHeaders": {
        "type": "object",
        "required": list(_ANY_PUBLISHER),
        "properties": {**_ANY_PUBLISHER, **_BY_A_PARTNER},
    },
}


def _headers_name(topic: Topic) -> str:
    return "EntasHeaders" if topic.written_by is None else "PartnerHeaders"


def _headers_needed(topics: Iterable[Topic]) -> Document:
    return {name: _HEADERS[name] for name in sorted({_headers_name(topic) for topic in topics})}
