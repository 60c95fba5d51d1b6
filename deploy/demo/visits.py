"""What facilitators find at the doors, and what their devices send of it when they are online. Pure, but for chance."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TypeVar

from contracts.registry import Finding
from deploy.demo import programme
from deploy.demo.clients import Json
from deploy.demo.clock import at
from deploy.demo.lists import largest_remainder
from deploy.demo.play import Person

T = TypeVar("T")

SENT_AT_ONCE = 200

# --- Visits -----------------------------------------------------------------------------------------------------------

FINDINGS: Mapping[Finding, int] = {
    Finding.MATCHED: 820,
    Finding.MOVED: 40,
    Finding.DECEASED: 35,
    Finding.DUPLICATE: 25,
    Finding.ADDRESS_NOT_FOUND: 25,
    Finding.PERSON_NOT_FOUND: 20,
    Finding.NIK_NOT_REGISTERED: 15,
    Finding.CIVIL_SERVANT_MILITARY_POLICE: 20,
}
"""Of a thousand visits; near what NTB's facilitators report, of which no complete statistics are published."""

_NOTES = (
    "Atap bocor, bagian dapur belum berdinding.",
    "Kepala keluarga bekerja sebagai buruh tani musiman.",
    "Ada usaha kecil di rumah, belum ada pencatatan.",
    "Air diambil dari sumur tetangga.",
)


@dataclass(frozen=True)
class Visit:
    """What happened at a door, as a device will tell it."""

    visit_id: str
    person: Person
    captured_at: datetime
    finding: Finding
    willing: bool
    can_leave_home: bool
    reachable: bool
    situation_changed: bool
    notes: str | None
    phone: str | None = None  # as the device has it, in one of the ways that people write numbers
    fast_clock: bool = False  # The device runs ahead: the first time it tells a time that is still to come.

    def body(self, captured_at: datetime | None = None) -> Json:
        body: Json = {
            "participant_id": self.person.person_id,
            "visit_id": self.visit_id,
            "captured_at": (captured_at or self.captured_at).isoformat(),
            "finding": self.finding.value,
            "willing": self.willing,
            "can_leave_home": self.can_leave_home,
            "reachable": self.reachable,
            "situation_changed": self.situation_changed,
        }
        if self.notes is not None:
            body["notes"] = self.notes
        if self.phone is not None:
            body["phone"] = self.phone
        if self.situation_changed:
            body["conditions"] = {"latrine": "Tidak, Jamban Umum/Bersama", "drinking_water": "Sumur Tidak Terlindung"}
        return body


def plan_visits(people: Sequence[Person], rng: random.Random) -> list[Visit]:
    """One visit to each, on a working day of the weeks before the devices are online; every finding in its share."""
    shares = largest_remainder(len(people), [Fraction(weight) for weight in FINDINGS.values()])
    findings = [finding for finding, share in zip(FINDINGS, shares, strict=True) for _ in range(share)]
    rng.shuffle(findings)
    return [
        _visit(f"kunjungan-{person.row}", person, finding, _working_hour(rng), rng)
        for person, finding in zip(people, findings, strict=True)
    ]


def _visit(visit_id: str, person: Person, finding: Finding, captured_at: datetime, rng: random.Random) -> Visit:
    found = finding is Finding.MATCHED
    visit = Visit(
        visit_id,
        person,
        captured_at,
        finding,
        willing=found and rng.random() < 0.97,
        can_leave_home=found and rng.random() < 0.88,
        reachable=found and rng.random() < 0.8,
        situation_changed=found and rng.random() < 0.1,
        notes=rng.choice(_NOTES) if found and rng.random() < 0.3 else None,
        fast_clock=rng.random() < 0.01,
    )
    return replace(visit, phone=phone_of(person)) if visit.reachable else visit


def phone_of(person: Person) -> str:
    """A number that nobody has: no operator was given the prefix 0844. Written as people write them."""
    number = f"{person.row:07}"
    written = (f"0844-{number[:3]}-{number[3:]}", f"62844{number}", f"+62 844 {number[:3]} {number[3:]}")
    return written[person.row % len(written)]


def _working_hour(rng: random.Random) -> datetime:
    """Monday to Friday of one of the weeks, between 8 and 15 o'clock."""
    friday = rng.choice(programme.SYNC_DAYS)
    return at(friday - timedelta(days=rng.randrange(5)), 8) + timedelta(minutes=rng.randrange(7 * 60))


# --- Sending ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sending:
    """What one device sends in one go: visits in no order, among them copies of some that it sent before."""

    visits: Sequence[Visit]
    copies: int


def sendings(visits: Sequence[Visit], sent_before: Sequence[Visit], rng: random.Random) -> list[Sending]:
    """A device that is not sure whether a visit arrived sends it again: some of an earlier week, some of this."""
    again = rng.sample(list(sent_before), min(len(sent_before), 1 + len(visits) // 30))
    sure = [visit for visit in visits if not visit.fast_clock]
    twice = rng.sample(sure, len(sure) // 60)
    everything = [(visit, False) for visit in visits] + [(visit, True) for visit in (*again, *twice)]
    rng.shuffle(everything)
    return [
        Sending([visit for visit, _ in some], sum(copy for _, copy in some))
        for some in chunks(everything, SENT_AT_ONCE)
    ]


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
