"""Logs made up for samples, tests and measurements: the contracts' own example messages on invented streams, sealed and
signed as a service would. Nobody in them exists; the same arguments give the same log."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import contracts
from contracts.envelope import NOTHING_BEFORE, Envelope, Position, proof_bytes, value_digest
from contracts.topics import TOPICS, published_by
from services.audit.sources import BATCH, Batch, Found, Noted
from services.kit.merkle import HASH_BYTES, Frontier, leaf_hash
from services.kit.notes import Checkpoint, Signer, log_name
from services.kit.partition import partition_for

EXAMPLES = Path(contracts.__file__).with_name("examples")
STREAM_EVENTS = 8  # of a stream, one after the other
Examples = Sequence[dict[str, Any]]
_BEGIN = datetime(2024, 7, 8, 1, 0, tzinfo=UTC)


@dataclass
class MadeLog:
    """A log in memory. As a source it is what an honest endpoint would be."""

    service: str
    found: Sequence[Found]
    told: Sequence[str]
    signer: Signer
    name: str = "made"
    kept: bytes = field(default=b"")

    def __post_init__(self) -> None:
        self.kept = self.kept or b"".join(leaves_of(self.found))

    async def notes(self, service: str) -> AsyncIterator[Noted]:
        for number, text in enumerate(self.told):
            yield Noted(text, f"{service}.checkpoints/0 offset {number}")

    async def entries(self, service: str, first: int, size: int) -> AsyncIterator[Batch]:
        for begin in range(0, len(self.found), BATCH):
            yield self.found[begin : begin + BATCH]

    async def leaves(self, service: str, first: int, count: int) -> bytes:
        return self.kept[first * HASH_BYTES : (first + count) * HASH_BYTES]


def made_log(service: str, events: int, every: int, *, seed: str = "sample", examples: Examples = ()) -> MadeLog:
    """A log of so many events, with a checkpoint after every so many of them and at its end."""
    signer = Signer(log_name(service), sha256(f"{seed} {service}".encode()).digest())
    found = list(made_events(service, events, seed, examples))
    sizes = [*range(every, events, every), events]
    return MadeLog(service, found, list(notes_over(service, found, sizes, signer)), signer)


def made_events(service: str, events: int, seed: str, examples: Examples = ()) -> Iterator[Found]:
    """Streams of eight events, some of them under way at once."""
    examples = examples or examples_of(service)
    tails: dict[str, int] = {}
    caused: dict[int, str] = {}
    for sequence in range(events):
        round_, at = divmod(sequence, 5 * STREAM_EVENTS)
        example = examples[(round_ * 5 + at % 5) % len(examples)]
        stream, version = round_ * 5 + at % 5, at // 5 + 1
        key = _id(seed, "stream", stream)
        topic = example["topic"]
        partition = partition_for(key, TOPICS[topic].partitions)
        place = f"{topic}/{partition}"
        occurred = _BEGIN + timedelta(seconds=sequence, microseconds=sequence)
        envelope = Envelope(
            _id(seed, "event", sequence),
            example["headers"]["ce_type"],
            f"/entas/{service}",
            topic,
            key,
            version,
            occurred,
            occurred + timedelta(milliseconds=3),
            example["headers"]["ce_actor"],
            _id(seed, "request", sequence // 3),
            caused.get(at % 5) if version > 1 else None,
            None,
        )
        caused[at % 5] = envelope.id
        position = Position(sequence, tails.get(place, NOTHING_BEFORE))
        tails[place] = sequence
        yield Found(envelope, position, partition, example["bytes"], None, example["value"].get("area_code", ""))


def leaves_of(found: Sequence[Found]) -> list[bytes]:
    return [leaf_hash(proof_bytes(f.envelope, f.position.sequence, value_digest(f.value))) for f in found]


def notes_over(service: str, found: Sequence[Found], sizes: Sequence[int], signer: Signer) -> Iterator[str]:
    """The checkpoints that a service would have signed at these sizes, in this order."""
    frontier, begin = Frontier(), 0
    counts: Counter[str] = Counter()
    tails: dict[str, int] = {}
    for size in sizes:
        frontier, _ = frontier.extend(leaves_of(found[begin:size]))
        counts.update(entry.envelope.topic for entry in found[begin:size])
        tails.update({entry.place: entry.position.sequence for entry in found[begin:size]})
        made = found[size - 1].envelope.recorded + timedelta(seconds=1)
        yield signer.sign(Checkpoint(service, size, frontier.root(), made, dict(counts), dict(tails), {}).text())
        begin = size


@cache
def examples_of(service: str) -> Examples:
    """The example messages of the facts that a service publishes, each with its exact `bytes`."""
    topics = {topic.name for topic in published_by(service)}
    read = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(EXAMPLES.glob("*/*.json"))]
    kept = [example for example in read if example["topic"] in topics]
    return [e | {"bytes": json.dumps(e["value"], separators=(",", ":"), ensure_ascii=False).encode()} for e in kept]


def _id(seed: str, kind: str, number: int) -> str:
    """Looks like a UUID, and is always the same."""
    digits = sha256(f"{seed} {kind} {number}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
