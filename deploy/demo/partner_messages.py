"""How partners put their facts on a topic: as CloudEvents in Kafka's binary or structured mode, sound or spoilt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic_core import from_json, to_json

from contracts.envelope import Event
from deploy.demo.clients import Message


@dataclass(frozen=True)
class Partner:
    """Somebody who publishes to us."""

    name: str  # begins the ids of their messages
    source: str

    def binary(self, fact: Event, message_id: str, time: datetime) -> Message:
        """CloudEvents 1.0, Kafka binary mode: attributes in headers, the fact as the value."""
        headers = {
            "ce_specversion": "1.0",
            "ce_id": message_id,
            "ce_type": fact.ce_type,
            "ce_source": self.source,
            "ce_time": time.isoformat(),
            "content-type": "application/json",
        }
        return Message(fact.key, fact.to_bytes(), [(name, text.encode()) for name, text in headers.items()])

    def structured(self, fact: Event, message_id: str, time: datetime) -> Message:
        """The same in structured mode: everything in the value."""
        body = {
            "specversion": "1.0",
            "id": message_id,
            "type": fact.ce_type,
            "source": self.source,
            "time": time.isoformat(),
            "datacontenttype": "application/json",
            "data": from_json(fact.to_bytes()),
        }
        return Message(fact.key, to_json(body), [("content-type", b"application/cloudevents+json")])

    def messages_of(self, said: Sequence[Event], time: datetime) -> list[Message]:
        """Each under an id of its own; every tenth in structured mode, as one of the partner's offices sends them."""
        return [
            (self.structured if number % 10 == 9 else self.binary)(fact, f"{self.name}-{time:%Y%m%d}-{number:05}", time)
            for number, fact in enumerate(said)
        ]


def with_header(message: Message, name: str, text: str) -> Message:
    return replace(message, headers=[(each, text.encode() if each == name else old) for each, old in message.headers])
