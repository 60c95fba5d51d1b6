"""Where a consumer stands in each partition, and which of the records it is handed are new, copies, or after a hole."""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from contracts.envelope import (
    NOTHING_BEFORE,
    Envelope,
    Event,
    Position,
    Unreadable,
    headers_of,
    headers_said_by,
    new_tuple,
    read_event,
    read_headers,
)
from services.kit.masking import masked


class Read(NamedTuple):
    """What a record of one of our topics says."""

    envelope: Envelope
    position: Position
    event: Event | None  # None where nobody asked for it


class Record(NamedTuple):
    """What a reader is handed: as much as our code needs of `aiokafka.ConsumerRecord`, which takes longer to make."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds since 1970
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    read: Read | None = None  # where it was read ahead of its turn

    def read_ahead(self, wanted: Container[str]) -> "Record":
        """A record of one of our topics with what it says, of these types with its event. Where that cannot be read, it
        comes as it is: what is wrong with it is told when its turn comes."""
        try:
            envelope, position = read_headers(self.topic, self.headers)
            event = read_event(envelope.type, self.value) if envelope.type in wanted else None
        except Unreadable:
            return self
        return self.saying(envelope, position, event)

    def saying(self, envelope: Envelope, position: Position, event: Event | None) -> "Record":
        """The record, read ahead of its turn. It waits without headers where the envelope says as much as they do: of
        the objects that it is made of, they are most."""
        topic, partition, offset, timestamp, key, value, headers, _ = self
        if len(headers) == headers_said_by(envelope):
            headers = ()
        read = new_tuple(Read, (envelope, position, event))
        return new_tuple(Record, (topic, partition, offset, timestamp, key, value, headers, read))

    @property
    def headers_as_sent(self) -> Sequence[tuple[str, bytes | None]]:
        """Its headers, also where it waits without them."""
        return self.headers if self.headers or self.read is None else headers_of(self.read.envelope, self.read.position)


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a partition was read, as the cursor says: the offset to read next, the last sequence and event taken."""

    next_offset: int = 0
    last_sequence: int = NOTHING_BEFORE
    last_event_id: str | None = None


class Hole(Exception):
    """A record says that others stand before it which were not seen."""


class Recreated(Exception):
    """The partition does not hold what was read from it before: the topic was made anew."""


class Arrival(NamedTuple):
    """A record that is to be taken, with its envelope where its topic is one of ours."""

    # A tuple, since one is made for every record that is read.
    record: Record
    envelope: Envelope | None
    last_sequence: int  # of its partition, once the record is taken

    @property
    def after(self) -> Standing:
        """Where the partition stands once the record is taken."""
        event_id = id_of(self.record) if self.envelope is None else self.envelope.id
        return Standing(self.record.offset + 1, self.last_sequence, event_id)


@dataclass(slots=True)
class Slice:
    """What is to be taken from one partition, up to the first record that gives trouble."""

    place: Place
    before: Standing
    after: Standing
    arrivals: list[Arrival] = field(default_factory=list)
    copies: int = 0
    trouble: Hole | Recreated | Unreadable | None = None

    def cut(self, count: int) -> None:
        """Keeps the first `count` arrivals only: the one after them is where the partition comes to stand."""
        del self.arrivals[count:]
        self.after = self.arrivals[-1].after if self.arrivals else self.before
        self.trouble = None


def take(place: Place, standing: Standing, records: Iterable[Record], *, chained: bool) -> Slice:
    """What of these records follows the standing.

    A chained topic is one of ours: each record names its sequence and the one before it in its partition. A whole copy
    of a batch is dropped by sequence; a record whose predecessor was not seen is a hole. Offsets may have gaps.
    """
    piece = Slice(place, standing, standing)
    last, passed = standing.last_sequence, None
    for record in records:
        if record.offset < standing.next_offset:
            if made_anew(standing, record):
                piece.trouble = Recreated(
                    f"{place} holds another event at offset {record.offset} than the one read there before: the "
                    "topic was made anew; restore it, or rebuild what was read from it"
                )
                break
            continue
        if not chained:
            passed = new_tuple(Arrival, (record, None, last))
            piece.arrivals.append(passed)
            continue
        try:
            if (read := record.read) is not None:
                envelope, position, _ = read
            else:
                envelope, position = read_headers(record.topic, record.headers)
        except Unreadable as error:
            piece.trouble = Unreadable(f"{place} offset {record.offset}: {error}")
            break
        if position.sequence <= last:
            piece.copies += 1
            passed = new_tuple(Arrival, (record, envelope, last))
        elif position.previous_sequence > last:
            piece.trouble = Hole(
                f"{place} offset {record.offset}: sequence {position.sequence} follows {position.previous_sequence}, "
                f"but {last} was the last one seen"
            )
            break
        else:
            last = position.sequence
            passed = new_tuple(Arrival, (record, envelope, last))
            piece.arrivals.append(passed)
    if passed is not None:
        piece.after = passed.after
    return piece


def made_anew(standing: Standing, record: Record) -> bool:
    """Whether the record just before the standing, read again after a start, is another one than was read then."""
    if record.offset != standing.next_offset - 1 or standing.last_event_id is None:
        return False
    return id_of(record) not in (None, standing.last_event_id)


def id_of(record: Record) -> str | None:
    """The CloudEvents id in a record's headers, where there is one that may be kept. A partner may send anything."""
    if record.read is not None:
        return record.read.envelope.id
    for name, value in record.headers:
        if name == "ce_id" and value is not None:
            text = bytes(value).decode("utf-8", "replace")
            return text if is_plain_id(text) else None
    return None


def is_plain_id(text: str) -> bool:
    """Short, of harmless characters, and nothing that could be a national id: it is stored and shown."""
    return _PLAIN_ID.fullmatch(text) is not None and masked(text) == text


_PLAIN_ID = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")


def by_place(records: Sequence[Record]) -> dict[Place, list[Record]]:
    """The records of each partition, in their order."""
    places: dict[Place, list[Record]] = {}
    for topic, of_topic in groupby(records, key=itemgetter(0)):
        for partition, of_place in groupby(of_topic, key=itemgetter(1)):
            places.setdefault(Place(topic, partition), []).extend(of_place)
    return places
