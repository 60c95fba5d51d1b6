"""What may be done to a log, at the level of its entries: each with the place that has to be named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.envelope import Position
from services.audit.findings import Finding, Kind
from services.audit.made import MadeLog, made_log, notes_over
from services.audit.sources import Found, Noted
from services.kit.notes import Signer, log_name

EVENTS, EVERY, VICTIM = 400, 80, 157


@dataclass(frozen=True)
class Named:
    """What a finding has to name. The offset is the one in the entry's partition, where the source is Kafka."""

    kind: Kind
    sequence: int
    place: str | None = None
    offset: int | None = None

    def is_told_by(self, finding: Finding, *, with_offset: bool) -> bool:
        place = None if finding.topic is None else f"{finding.topic}/{finding.partition}"
        same = (finding.kind, finding.sequence) == (self.kind, self.sequence)
        in_kafka_alone = self.place is not None and self.place.endswith(".checkpoints/0")
        same = same and (self.place in (None, place) or (in_kafka_alone and not with_offset))
        return same and (not with_offset or self.offset is None or finding.offset == self.offset)


@dataclass(frozen=True)
class Touched:
    """A log as somebody left it, and what must be said of it."""

    log: MadeLog
    named: Sequence[Named]
    witnessed: Sequence[Noted] = ()


def whole(service: str, examples: Any = ()) -> MadeLog:
    return made_log(service, EVENTS, EVERY, examples=examples)


def witness_of(log: MadeLog) -> list[Noted]:
    return [Noted(text, f"witness {n}", own=False) for n, text in enumerate(log.told)]


def offset_of(found: Sequence[Found], entry: Found) -> int:
    """Where an entry stands in its partition."""
    return [f for f in found if f.place == entry.place].index(entry)


def without(log: MadeLog, found: Sequence[Found]) -> MadeLog:
    """The log with other entries, its tree and notes as they were."""
    return replace(log, found=found)


def untouched(log: MadeLog) -> Touched:
    return Touched(log, [], witness_of(log))


def changed_byte(log: MadeLog) -> Touched:
    entry = log.found[VICTIM]
    value = entry.value[:-3] + bytes([entry.value[-3] ^ 1]) + entry.value[-2:]
    found = [*log.found[:VICTIM], entry._replace(value=value), *log.found[VICTIM + 1 :]]
    return Touched(without(log, found), [Named(Kind.CHANGED, VICTIM, entry.place, offset_of(log.found, entry))])


def changed_actor(log: MadeLog) -> Touched:
    entry = log.found[VICTIM]
    changed = entry._replace(envelope=entry.envelope._replace(actor="mallory"))
    found = [*log.found[:VICTIM], changed, *log.found[VICTIM + 1 :]]
    return Touched(without(log, found), [Named(Kind.CHANGED, VICTIM, entry.place, offset_of(log.found, entry))])


def changed_chain(log: MadeLog) -> Touched:
    """What no proof covers is held together by itself."""
    entry = log.found[VICTIM]
    changed = entry._replace(position=Position(VICTIM, entry.position.previous_sequence - 1))
    found = [*log.found[:VICTIM], changed, *log.found[VICTIM + 1 :]]
    return Touched(without(log, found), [Named(Kind.CHAIN, VICTIM, entry.place, offset_of(log.found, entry))])


def removed(log: MadeLog) -> Touched:
    entry = log.found[VICTIM]
    found = [*log.found[:VICTIM], *log.found[VICTIM + 1 :]]
    return Touched(without(log, found), [Named(Kind.REMOVED, VICTIM, entry.place, offset_of(log.found, entry))])


def reordered(log: MadeLog) -> Touched:
    """An event stands behind the next one of its partition."""
    entry = log.found[VICTIM]
    after = next(f for f in log.found[VICTIM + 1 :] if f.place == entry.place)
    rest = [f for f in log.found if f is not entry]
    at = rest.index(after) + 1
    found = [*rest[:at], entry, *rest[at:]]
    return Touched(without(log, found), [Named(Kind.REORDERED, VICTIM, entry.place, offset_of(found, entry))])


def wrong_key(log: MadeLog) -> Touched:
    """From 240 events on somebody else signs."""
    mallory = Signer(log_name(log.service), bytes(32))
    sizes = range(EVERY, EVENTS + 1, EVERY)
    forged = list(notes_over(log.service, log.found, sizes, mallory))
    told = [*log.told[:2], forged[2], *log.told[3:]]
    place = f"{log.service}.checkpoints/0"
    return Touched(replace(log, told=told), [Named(Kind.WRONG_KEY, 240, place, 2)])


def truncated(log: MadeLog) -> Touched:
    entry = log.found[-1]
    named = [Named(Kind.TRUNCATED, EVENTS - 1, entry.place, offset_of(log.found, entry))]
    named += [Named(Kind.TRUNCATED, EVENTS - 3), Named(Kind.TRUNCATED, EVENTS - 2)]
    return Touched(without(log, log.found[:-3]), named)


def forked(log: MadeLog) -> Touched:
    """The service signed two histories of 240 events, which part at 200."""
    other = parted(log, 200)
    place = f"{log.service}.checkpoints/0"
    named = Named(Kind.FORKED, 160, place, len(log.told))
    return Touched(replace(log, told=[*log.told, other.told[2]]), [named])


def forked_from_the_witness(log: MadeLog) -> Touched:
    """What is shown here is whole and signed, and not what the witness was told."""
    return Touched(log, [Named(Kind.FORKED, 160)], witness_of(parted(log, 200)))


def two_events_of_one_sequence(log: MadeLog) -> Touched:
    """An older database went on: behind the log stands another event with a sequence that was given already."""
    other = parted(log, VICTIM).found[VICTIM]
    other = other._replace(position=log.found[VICTIM].position, partition=log.found[VICTIM].partition)
    other = other._replace(envelope=other.envelope._replace(topic=log.found[VICTIM].envelope.topic))
    found = [*log.found, other]
    return Touched(without(log, found), [Named(Kind.FORKED, VICTIM, other.place, offset_of(found, other))])


def copy_that_differs(log: MadeLog) -> Touched:
    entry = log.found[VICTIM]
    copy = entry._replace(value=entry.value + b" ")
    found = [*log.found[: VICTIM + 30], copy, *log.found[VICTIM + 30 :]]
    return Touched(without(log, found), [Named(Kind.COPY, VICTIM, entry.place, offset_of(found, copy))])


def copy_with_another_chain(log: MadeLog) -> Touched:
    """What no leaf covers of a copy is compared too."""
    entry = log.found[VICTIM]
    copy = entry._replace(position=Position(VICTIM, entry.position.previous_sequence - 1))
    found = [*log.found[: VICTIM + 30], copy, *log.found[VICTIM + 30 :]]
    return Touched(without(log, found), [Named(Kind.COPY, VICTIM, entry.place, offset_of(found, copy))])


def older_database_restored(log: MadeLog) -> Touched:
    """The log ends where the backup did, and so do its checkpoints; the witness knows of more."""
    size = EVERY * 4
    older = replace(log, found=log.found[:size], told=log.told[:4], kept=log.kept[: size * 32])
    return Touched(older, [Named(Kind.RESTORED, size)], witness_of(log))


def parted(log: MadeLog, at: int) -> MadeLog:
    """Another log of the same service and key, equal up to `at`."""
    examples = [e | {"bytes": e["bytes"] + b" "} for e in _examples_in(log)]
    other = made_log(log.service, EVENTS, EVERY, examples=examples, seed="parted")
    found = [*log.found[:at], *other.found[at:]]
    told = list(notes_over(log.service, found, range(EVERY, EVENTS + 1, EVERY), log.signer))
    return MadeLog(log.service, found, told, log.signer)


def _examples_in(log: MadeLog) -> list[dict[str, Any]]:
    types = {f.envelope.type: f for f in log.found}
    return [
        {
            "topic": f.envelope.topic,
            "headers": {"ce_type": f.envelope.type, "ce_actor": f.envelope.actor},
            "value": {},
            "bytes": f.value,
        }
        for f in types.values()
    ]


Tampering = Callable[[MadeLog], Touched]

EVERYWHERE: tuple[Tampering, ...] = (
    changed_byte,
    changed_actor,
    changed_chain,
    removed,
    reordered,
    wrong_key,
    truncated,
    forked,
    forked_from_the_witness,
    two_events_of_one_sequence,
    copy_that_differs,
    copy_with_another_chain,
    older_database_restored,
)
