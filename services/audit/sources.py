"""Where a log can be read from: Kafka, a service's endpoint, an archive. Each is one stream of entries, in batches.

    async for batch in source.entries("registry", 0, size):
        for entry in batch: ...

Entries come in the order in which the source has them; an honest source has them in the order of sequences (Kafka:
after merging its partitions), with whole copies now and then.
"""

import json
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from contracts.envelope import Envelope, Position

BATCH = 1_000


class Found(NamedTuple):
    """An event where it was found."""

    envelope: Envelope
    position: Position
    partition: int
    value: bytes
    offset: int | None = None  # in Kafka alone
    area_code: str | None = None  # everywhere but in Kafka

    @property
    def place(self) -> str:
        return f"{self.envelope.topic}/{self.partition}"


class Broken(NamedTuple):
    """What stands where an event should, and cannot be read as one."""

    topic: str | None
    partition: int | None
    offset: int | None
    why: str


Batch = Sequence[Found | Broken]


@dataclass(frozen=True, slots=True)
class Noted:
    """A signed note and where it stands. `own`: the source's, as against a witness's."""

    text: str
    where: str
    own: bool = True
    place: str | None = None  # in Kafka alone: the topic and partition, and the offset
    offset: int | None = None


class Source(Protocol):
    """One service's log may be asked for at a time."""

    name: str

    def notes(self, service: str) -> AsyncIterator[Noted]:
        """The service's checkpoints, in the order in which they were made known."""

    def entries(self, service: str, first: int, size: int) -> AsyncIterator[Batch]:
        """The sealed events from sequence `first` up to a log of `size` events; maybe some beyond."""

    async def leaves(self, service: str, first: int, count: int) -> bytes:
        """The leaf hashes as the source's tree has them, 32 bytes each; empty where it keeps none."""


def entry_from(line: bytes | str) -> Found | Broken:
    """An entry of the log endpoint or of an archive."""
    try:
        said = json.loads(line)
        return read_entry(said)
    except (ValueError, KeyError, TypeError, AttributeError, NotBase64, RecursionError) as error:
        return Broken(None, None, None, f"{type(error).__name__} in a line of {len(line)} bytes")


def read_entry(said: dict[str, Any]) -> Found:
    envelope = Envelope(
        said["id"],
        said["type"],
        said["source"],
        said["topic"],
        said["key"],
        said["version"],
        _instant(said["time"]),
        _instant(said["recorded"]),
        said["actor"],
        said["correlation_id"],
        said["causation_id"],
        said["traceparent"],
    )
    sequence, previous, partition = said["sequence"], said["previous_sequence"], said["partition"]
    if not (isinstance(sequence, int) and isinstance(previous, int) and isinstance(partition, int)):
        raise TypeError
    value = b64decode(said["value"], validate=True)
    return Found(envelope, Position(sequence, previous), partition, value, None, said["area_code"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class WitnessFile:
    """The notes that a file witness kept, of any number of services, in the order in which they came."""

    def __init__(self, file: Path) -> None:
        self.name = f"witness {file}"
        self._file = file

    async def notes(self, service: str) -> AsyncIterator[Noted]:
        for line, text in _blocks(self._file):
            if text.startswith(f"entas/{service}\n"):
                yield Noted(text, f"{self._file.name} line {line}", own=False)


def _blocks(file: Path) -> list[tuple[int, str]]:
    """The notes in a file, with the line that each begins at. Half a note, left by a crash, is passed over: what was
    not kept whole was told again."""
    blocks: list[tuple[int, str]] = []
    lines: list[str] = []
    begin, signed = 1, False
    for number, line in enumerate([*file.read_text().splitlines(), ""], 1):
        if line.startswith("entas/") and " " not in line:
            begin, lines, signed = number, [], False
        if signed and not line.startswith("— "):
            blocks.append((begin, "\n".join(lines) + "\n"))
            begin, lines, signed = number, [], False
        lines.append(line)
        signed = signed or line.startswith("— ")
    return blocks


__all__ = ["BATCH", "Batch", "Broken", "Found", "Noted", "Source", "WitnessFile", "entry_from", "read_entry"]
