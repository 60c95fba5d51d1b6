"""What is wrong with a log, each with its place: service, sequence, topic, partition, offset."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be wrong with a log."""

    CHANGED = "changed"  # the event's hash is not the one that was sealed
    REMOVED = "removed"  # it was sealed and is not there, others after it are
    TRUNCATED = "truncated"  # the log ends before what was signed; or a partition's end is gone
    REORDERED = "reordered"  # it stands behind events that follow it
    FORKED = "forked"  # two histories: two events of one sequence, or two roots of one size
    COPY = "copy-differs"  # a copy of an event is not the same event
    CHAIN = "chain"  # it names another event as the one before it in its partition
    VERSION = "version"  # its stream has a gap
    ROOT = "root"  # the events are not what was signed, and no leaf hashes were at hand to say which
    COUNTS = "counts"  # what was signed of counts and tails is not so
    WRONG_KEY = "wrong-key"  # a checkpoint that the service's key did not sign
    RESTORED = "restored"  # the source is older than what the service had signed and others had seen by then
    UNREADABLE = "unreadable"
    UNCHECKED = "unchecked"  # something could not be held against what was signed


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    service: str
    text: str
    sequence: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        """All in one line, the place first."""
        place = "" if self.sequence is None else f" sequence {self.sequence}"
        place += "" if self.topic is None else f" {self.topic}/{self.partition}"
        place += "" if self.offset is None else f" offset {self.offset}"
        return f"{self.kind}: {self.service}{place}: {self.text}"


class Findings:
    """The first findings of each kind, and how many more there are: a log that is all wrong does not fill memory."""

    def __init__(self, service: str, at_most: int = 100) -> None:
        self._service = service
        self._at_most = at_most
        self.shown: list[Finding] = []
        self.of: Counter[Kind] = Counter()

    def add(
        self, kind: Kind, text: str, *, sequence: int | None = None, place: str | None = None, offset: int | None = None
    ) -> None:
        self.of[kind] += 1
        if self.of[kind] <= self._at_most:
            topic, _, partition = (place or "").rpartition("/")
            number = int(partition) if topic else None
            self.shown.append(Finding(kind, self._service, text, sequence, topic or None, number, offset))

    @property
    def more(self) -> dict[Kind, int]:
        return {kind: count - self._at_most for kind, count in self.of.items() if count > self._at_most}
