"""The script's own plain tally of what it did: what the services have to agree with at the end."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.areas import AreaCode, Level, at_level


@dataclass
class KnownParticipant:
    """What has become of a participant, as far as the script knows."""

    kabupaten: AreaCode
    status: str = "assigned"
    verified_once: bool = False
    reason: str | None = None  # of a rejection


@dataclass
class ClassTally:
    """What the script did in one class. People are named by participant id."""

    confirmed: set[str] = field(default_factory=set)
    withdrawn: Counter[str] = field(default_factory=Counter)  # by reason, of those who had a place
    completed: set[str] = field(default_factory=set)
    not_completed: set[str] = field(default_factory=set)


@dataclass
class Tally:
    households: Counter[AreaCode] = field(default_factory=Counter)  # listed now, by kabupaten
    participants: dict[str, KnownParticipant] = field(default_factory=dict)
    visits: int = 0
    visit_copies: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    message_copies: int = 0
    messages_rejected: int = 0
    classes: dict[str, ClassTally] = field(default_factory=dict)  # by number
    refusals: Counter[str] = field(default_factory=Counter)  # of the APIs, by the problem's code

    def assigned(self, people: Iterable[tuple[str, AreaCode]]) -> None:
        """New participants, each with the village they live in."""
        for person_id, area in people:
            self.participants[person_id] = KnownParticipant(at_level(area, Level.KABUPATEN))

    def verified(self, person_id: str) -> None:
        known = self.participants[person_id]
        known.status, known.verified_once = "verified", True

    def expired(self, person_id: str) -> None:
        self.participants[person_id].status = "expired"

    def rejected(self, person_id: str, reason: str) -> None:
        known = self.participants[person_id]
        known.status, known.reason = "rejected", reason

    def moved(self, person_id: str, kabupaten: AreaCode) -> None:
        self.participants[person_id].kabupaten = kabupaten

    def class_of(self, number: str) -> ClassTally:
        return self.classes.setdefault(number, ClassTally())

    # --- Sums ---------------------------------------------------------------------------------------------------------

    def participants_by(self, status: str) -> Counter[AreaCode]:
        return Counter(known.kabupaten for known in self.participants.values() if known.status == status)

    def verified_once_by_kabupaten(self) -> Counter[AreaCode]:
        return Counter(known.kabupaten for known in self.participants.values() if known.verified_once)

    def rejected_by_reason(self) -> Counter[str]:
        return Counter(known.reason for known in self.participants.values() if known.reason is not None)

    def withdrawn_by_reason(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for of_class in self.classes.values():
            total += of_class.withdrawn
        return total
