"""The script's own plain tally of what it did: what the services have to agree with at the end."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from contracts.areas import AreaCode, Level, at_level
from deploy.demo.clock import WITA
from deploy.demo.known_cases import KnownCase


@dataclass
class KnownParticipant:
    """What has become of a participant, as far as the script knows."""

    kabupaten: AreaCode
    status: str = "assigned"
    verified_once: bool = False
    holds_until: datetime | None = None
    finding: str | None = None  # of the last visit
    reason: str | None = None  # of a rejection


@dataclass
class ClassTally:
    """What the script did in one class. People are named by participant id."""

    confirmed: set[str] = field(default_factory=set)
    withdrawn: Counter[str] = field(default_factory=Counter)  # by reason, of those who had a place
    completed: set[str] = field(default_factory=set)
    not_completed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Report:
    """What the agency for cooperatives reported of somebody who is known here."""

    person_id: str
    kind: str
    given_on: date
    cooperative: str | None = None
    by_hand: bool = False  # An officer found out whom it was for.


@dataclass
class SupportTally:
    """What the agency for cooperatives reported, and what has to become of it."""

    reported: Counter[str] = field(default_factory=Counter)  # by kind
    reports: list[Report] = field(default_factory=list)
    unmatched: Counter[str] = field(default_factory=Counter)  # by reason, of those that still wait for an officer
    dismissed: int = 0
    copies: int = 0
    rejected: int = 0
    meetings: dict[str, int] = field(default_factory=dict)  # cooperative -> the last business year it met about


@dataclass
class Tally:
    households: Counter[AreaCode] = field(default_factory=Counter)  # listed now, by kabupaten
    participants: dict[str, KnownParticipant] = field(default_factory=dict)
    assignments: int = 0
    visits: int = 0
    visit_copies: int = 0
    messages: int = 0
    message_copies: int = 0
    messages_rejected: int = 0
    classes: dict[str, ClassTally] = field(default_factory=dict)  # by number
    cases: dict[str, KnownCase] = field(default_factory=dict)  # by participant
    follow_up_copies: int = 0
    support: SupportTally = field(default_factory=SupportTally)
    units_planned: int = 0
    units_launched: int = 0
    refusals: Counter[str] = field(default_factory=Counter)  # of the APIs, by the problem's code

    def pass_time(self, now: datetime) -> None:
        """What the clock alone brings about: verifications end, follow-ups fall due and are missed."""
        for known in self.participants.values():
            if known.status == "verified" and known.holds_until is not None and known.holds_until <= now:
                known.status = "expired"
        for case in self.cases.values():
            case.pass_time(now.astimezone(WITA).date())

    def assigned(self, people: Iterable[tuple[str, AreaCode]]) -> None:
        """Participants who are to be visited, each with the village they live in."""
        for person_id, area in people:
            self.assignments += 1
            known = self.participants.setdefault(person_id, KnownParticipant(at_level(area, Level.KABUPATEN)))
            known.status = "assigned"

    def found(self, person_id: str, finding: str) -> None:
        self.visits += 1
        self.participants[person_id].finding = finding

    def verified(self, person_id: str, until: datetime) -> None:
        known = self.participants[person_id]
        known.status, known.verified_once, known.holds_until = "verified", True, until

    def rejected(self, person_id: str, reason: str, today: date) -> None:
        """They take part no longer; a case of theirs closes."""
        known = self.participants[person_id]
        known.status, known.reason = "rejected", reason
        if person_id in self.cases:
            self.cases[person_id].close("deceased" if reason == "deceased" else "no_longer_participant", today)

    def erased(self, person_id: str, today: date) -> None:
        self.participants[person_id].status = "erased"
        if person_id in self.cases:
            self.cases[person_id].close("erased", today)

    def opened(self, person_id: str, completed_on: date, plan: Mapping[str, Any], terms: Mapping[str, Any]) -> None:
        """Somebody completed a class: a case begins, unless an earlier class began one."""
        kabupaten = self.participants[person_id].kabupaten
        self.cases.setdefault(person_id, KnownCase(kabupaten, completed_on, plan, terms))

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

    def on_cases(self) -> list[Report]:
        """Those that stand on a case: of who has one, as far as it was not closed before."""
        return [
            report
            for report in self.support.reports
            if (case := self.cases.get(report.person_id)) is not None
            and (case.closed_on is None or report.given_on <= case.closed_on)
        ]

    def findings(self) -> Counter[str]:
        return Counter(known.finding for known in self.participants.values() if known.finding is not None)

    def withdrawn_by_reason(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for of_class in self.classes.values():
            total += of_class.withdrawn
        return total
