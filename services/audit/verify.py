"""Holds a log against what its service signed, in one pass and constant memory, and names each thing that is wrong.

`verify_log` reads a source once. Hashing every event anew must give the root of every checkpoint, the source's own and
the witnesses'. Where leaf hashes are at hand (from an endpoint or an archive; the signed roots vouch for them) a
changed event is named itself; without them, the events between two checkpoints.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from contracts.envelope import NOTHING_BEFORE, proof_bytes, value_digest
from services.audit.findings import Findings, Kind
from services.audit.seen import Seen
from services.audit.signed import Signed, SignedNote, read_signed
from services.audit.sources import Broken, Found, Noted, Source
from services.audit.streams import Streams
from services.kit.merkle import HASH_BYTES, Frontier, leaf_hash
from services.kit.notes import VerifierKey

Progress = Callable[[int, int], None]  # events read, events in all
MOST_NAMED_BY_STREAMS = 100
MOST_MISSING = 100_000  # events that are named one by one
LEAVES_AT_ONCE = 100_000


@dataclass
class Report:
    """What became of one service's log in one source."""

    service: str
    source: str
    findings: Findings
    events: int = 0  # each sequence once
    copies: int = 0
    unsigned: int = 0  # behind the newest checkpoint: not complete, so not judged
    checkpoints: int = 0
    size: int = 0
    root: bytes | None = None

    @property
    def well(self) -> bool:
        return not self.findings.of


async def verify_log(
    service: str,
    source: Source,
    key: VerifierKey,
    *,
    witnessed: Sequence[Noted] = (),
    leaves_from: Source | None = None,
    made_before: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Verifies one service's log in `source`. `witnessed`, notes of others, have to be read before the source is.

    `leaves_from` is another source whose tree helps to name changed events. `made_before` is when an archive was made:
    what was signed later it need not hold.
    """
    findings = Findings(service)
    own = [noted async for noted in source.notes(service)]
    signed = read_signed(service, key, [*own, *witnessed], findings, made_before)
    report = Report(service, source.name, findings, checkpoints=len(own), size=signed.size)
    with _Log(report, signed) as log:
        async for batch in source.entries(service, 0, signed.size):
            span = log.span_of(batch)
            known = await _leaves(service, (leaves_from, source), *span)
            log.take(batch, span[0], known)
            progress(report.events, signed.size)
        await _finish(log, service, (leaves_from, source))
    return report


async def _leaves(service: str, sources: Sequence[Source | None], first: int, end: int) -> bytes:
    """The leaf hashes of these sequences from the first source that has them all; empty where none has."""
    for source in sources:
        if source is not None and end > first:
            leaves = await source.leaves(service, first, end - first)
            if len(leaves) == (end - first) * HASH_BYTES:
                return leaves
    return b""


async def _finish(log: "_Log", service: str, sources: Sequence[Source | None]) -> None:
    """Takes what is missing at the end as known, a piece at a time, so that its checkpoints are held together too."""
    while log.next < log.signed.size:
        end = min(log.next + LEAVES_AT_ONCE, log.signed.size)
        log.miss(end, await _leaves(service, sources, log.next, end))
    log.end()


@dataclass
class _Tail:
    """The last event of a partition."""

    sequence: int = NOTHING_BEFORE
    offset: int | None = None


@dataclass
class _Log:
    """A log as far as it was read."""

    report: Report
    signed: Signed
    next: int = 0  # the sequence that comes next
    tails: dict[str, _Tail] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    missing: dict[int, tuple[str | None, int | None]] = field(default_factory=dict)  # sequence -> place, offset
    lost: int = 0  # events that were missing at some time, those beyond MOST_MISSING included
    frontier: Frontier | None = field(default_factory=Frontier)  # None where a leaf is not known
    fresh: list[bytes] = field(default_factory=list)  # leaves that the frontier does not hold yet
    proven: int = 0  # up to here the events are what was signed

    def __enter__(self) -> "_Log":
        self.seen = Seen()
        self.streams = Streams()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seen.close()
        self.streams.close()

    @property
    def findings(self) -> Findings:
        return self.report.findings

    # --- taking what comes -------------------------------------------------------------------------------------------

    def span_of(self, batch: Sequence[Found | Broken]) -> tuple[int, int]:
        """The sequences whose leaves are needed for this batch."""
        numbers = [entry.position.sequence for entry in batch if isinstance(entry, Found)]
        last = max((number for number in numbers if number < self.signed.size), default=-1)
        return self.next, min(max(self.next, last + 1), self.next + LEAVES_AT_ONCE)

    def take(self, batch: Sequence[Found | Broken], first: int, known: bytes) -> None:
        """The next entries as the source has them. `known` are leaf hashes from the sequence `first`, or nothing."""
        for entry in batch:
            if isinstance(entry, Broken):
                place = None if entry.topic is None else f"{entry.topic}/{entry.partition}"
                self.findings.add(Kind.UNREADABLE, entry.why, place=place, offset=entry.offset)
                continue
            sequence = entry.position.sequence
            if sequence >= self.signed.size:
                self.report.unsigned += 1
                continue
            leaf = leaf_hash(proof_bytes(entry.envelope, sequence, value_digest(entry.value)))
            at = (sequence - first) * HASH_BYTES
            sealed = known[at : at + HASH_BYTES] if at >= 0 else b""
            if sequence < self.next:
                self._again(entry, leaf, sealed)
                continue
            if sequence > self.next:
                begin = (self.next - first) * HASH_BYTES
                self.miss(sequence, known[begin:at] if len(known) >= at else b"")
            self._accept(entry, leaf, sealed)
        self._grow()

    def _accept(self, entry: Found, leaf: bytes, sealed: bytes) -> None:
        sequence, previous = entry.position
        place = entry.place
        tail = self.tails.setdefault(place, _Tail())
        if previous != tail.sequence:
            self._broken_chain(entry, tail)
        if sealed and sealed != leaf:
            self._say(Kind.CHANGED, entry, f"{entry.envelope.type} is not what was sealed: its hash differs")
        tail.sequence, tail.offset = sequence, entry.offset
        self.counts[entry.envelope.topic] += 1
        self.streams.take(place, entry.envelope.key, entry.envelope.version, sequence)
        self.seen.add(sequence, leaf, entry.envelope.id, _beside(entry))
        self.fresh.append(sealed or leaf)
        self.report.events += 1
        self.next = sequence + 1
        self._hold_against_notes()

    def _broken_chain(self, entry: Found, tail: _Tail) -> None:
        """The event names another one as the one before it: that one is missing here, or the name is wrong."""
        previous = entry.position.previous_sequence
        if previous in self.missing:
            self.missing[previous] = (entry.place, None if tail.offset is None else tail.offset + 1)
        elif not self.lost or previous < tail.sequence:
            self._say(Kind.CHAIN, entry, f"says that it follows {previous}, but {tail.sequence} is before it")

    def _again(self, entry: Found, leaf: bytes, sealed: bytes) -> None:
        """A sequence that was passed already: a copy of a batch that was sent again, or what somebody moved or made."""
        sequence = entry.position.sequence
        seen = self.seen.compare(sequence, leaf, entry.envelope.id, _beside(entry))
        if seen == "nothing":
            self.missing.pop(sequence, None)
            self._say(Kind.REORDERED, entry, f"comes only after sequence {self.next - 1}")
            self.seen.add(sequence, leaf, entry.envelope.id, _beside(entry))
            self.counts[entry.envelope.topic] += 1
            self.report.events += 1
            if sealed and sealed != leaf:
                self._say(Kind.CHANGED, entry, f"{entry.envelope.type} is not what was sealed: its hash differs")
            return
        match seen:
            case "same":
                self.report.copies += 1
            case "other event":
                self._say(Kind.FORKED, entry, f"is the sequence of two events; this one is {entry.envelope.id}")
            case _:
                self._say(Kind.COPY, entry, "stands here as well, and not as the same event")

    def miss(self, end: int, known: bytes) -> None:
        """Sequences from the next one up to `end` are not where they should be; they may still come."""
        count = end - self.next
        self.lost += count
        room = max(0, MOST_MISSING - len(self.missing))
        self.missing.update(dict.fromkeys(range(self.next, min(end, self.next + room)), (None, None)))
        self.seen.skip(count)
        for number in range(count):
            self.fresh.append(known[number * HASH_BYTES : (number + 1) * HASH_BYTES])
            self.next += 1
            self._hold_against_notes()
        self._grow()

    # --- holding it against what was signed --------------------------------------------------------------------------

    def _grow(self) -> None:
        if self.frontier is not None:
            self.frontier = self.frontier.extend(self.fresh)[0] if all(self.fresh) else None
        self.fresh.clear()

    def _hold_against_notes(self) -> None:
        if self.next not in self.signed.notes:
            return
        self._grow()
        root = None if self.frontier is None else self.frontier.root()
        notes = self.signed.notes[self.next]
        told_already = any(note.checkpoint.root == root for note in notes if note.own)  # that others say otherwise
        for note in notes:
            if root is not None and note.checkpoint.root != root:
                if not (told_already and note.own):
                    self._another_root(note)
                continue
            self._name_missing_tails(note.checkpoint.tails)
            if root is not None and not self.lost:
                self._compare_counts(note.checkpoint.counts, note.checkpoint.tails, note.where)
            if root is not None and note.own:
                self.proven, self.report.root = self.next, root

    def _another_root(self, note: SignedNote) -> None:
        """Said once for each history: whatever follows differs too."""
        kind, other = (Kind.ROOT, "") if note.own else (Kind.FORKED, "another history was told elsewhere: ")
        if not self.findings.of[kind]:
            text = f"{other}the events {self.proven} to {self.next - 1} do not give the root in {note.where}"
            self.findings.add(kind, text, sequence=self.proven)

    def _name_missing_tails(self, tails: Mapping[str, int]) -> None:
        """A partition's last event, which no other follows, is named by the checkpoint."""
        for place, last in tails.items():
            if last in self.missing and self.missing[last][0] is None:
                self.missing[last] = (place, self._offset_after(place))

    def _offset_after(self, place: str) -> int | None:
        """Where in the partition that one would stand that follows its last event."""
        tail = self.tails.get(
            place, _Tail(offset=-1 if any(t.offset is not None for t in self.tails.values()) else None)
        )
        return None if tail.offset is None else tail.offset + 1

    def _compare_counts(self, counts: Mapping[str, int], tails: Mapping[str, int], where: str) -> None:
        ours = {place: tail.sequence for place, tail in self.tails.items()}
        for what, signed, found in (("events", counts, dict(self.counts)), ("last sequence", tails, ours)):
            for name in sorted(signed.keys() | found.keys()):
                if signed.get(name) != found.get(name):
                    text = f"{what} of {name}: {where} says {signed.get(name)}, found are {found.get(name)}"
                    self.findings.add(Kind.COUNTS, text, sequence=self.next)

    def end(self) -> None:
        """After the last entry: what did not come any more is missing for good."""
        begin = self.next
        while begin - 1 in self.missing:
            begin -= 1
        self._name_by_streams()
        candidates = self._shortened()
        for sequence, (place, offset) in sorted(self.missing.items()):
            if place is None and len(candidates) == 1:
                place = candidates[0]
                offset = self._offset_after(place)
            cut_off = sequence >= begin or place in candidates
            text = "was signed and is not there: the end is cut off" if cut_off else "was sealed and is not there"
            kind = Kind.TRUNCATED if cut_off else Kind.REMOVED
            self.findings.add(kind, text, sequence=sequence, place=place, offset=offset)
        if self.frontier is None and self.proven < self.signed.size:
            text = (
                f"what follows {self.proven} could not be held against signed roots: an event is missing, and its hash"
            )
            self.findings.add(Kind.UNCHECKED, f"{text} too; give a source that has leaf hashes", sequence=self.proven)
        # Where events are missing their streams have gaps as well, which says nothing new.
        for gap in () if self.lost else self.streams.gaps():
            text = f"is version {gap.version} of its stream, after {gap.before}"
            self.findings.add(Kind.VERSION, text, sequence=gap.sequence, place=gap.place)

    def _name_by_streams(self) -> None:
        """An endpoint whose table lost an event links the chain over it; the event's stream still shows where."""
        unknown = [sequence for sequence, (place, _) in self.missing.items() if place is None]
        if not 0 < len(unknown) <= MOST_NAMED_BY_STREAMS:
            return
        places: dict[int, set[str]] = {sequence: set() for sequence in unknown}
        for gap in self.streams.gaps():
            for sequence in unknown:
                if gap.after < sequence < gap.sequence:
                    places[sequence].add(gap.place)
        for sequence, candidates in places.items():
            if len(candidates) == 1:
                self.missing[sequence] = (candidates.pop(), None)

    def _shortened(self) -> list[str]:
        """The partitions that end before what the newest checkpoint says."""
        newest = self.signed.newest
        if newest is None or not self.missing:
            return []
        ours = {place: tail.sequence for place, tail in self.tails.items()}
        return [place for place, last in newest.tails.items() if ours.get(place, NOTHING_BEFORE) < last]

    def _say(self, kind: Kind, entry: Found, text: str) -> None:
        self.findings.add(kind, text, sequence=entry.position.sequence, place=entry.place, offset=entry.offset)


def _beside(entry: Found) -> str:
    """What of a record no leaf covers. A copy has the same, byte for byte."""
    return f"{entry.position.previous_sequence} {entry.place} {entry.envelope.traceparent}"
