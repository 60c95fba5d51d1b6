"""What the agency for cooperatives (Dinas Koperasi) reports in the year after: support to people, meetings of
cooperatives, and the mistakes in between. Pure, but for chance."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from pydantic_core import to_json

from contracts.areas import AreaCode
from contracts.outcomes import InterventionKind
from contracts.partners import (
    AnnualMeetingHeld,
    AssistanceDelivered,
    FinancingGranted,
    MarketAccessGranted,
    MemberJoinedCooperative,
    MentoringVisited,
    SupportFact,
)
from deploy.demo.clients import Message
from deploy.demo.partner_messages import Partner, with_header
from deploy.demo.play import Person

DINKOP = Partner("dinkop", "urn:dinkop")

# --- Support to people ------------------------------------------------------------------------------------------------

KINDS: dict[type[SupportFact], InterventionKind] = {
    MentoringVisited: InterventionKind.MENTORING,
    FinancingGranted: InterventionKind.FINANCING,
    MarketAccessGranted: InterventionKind.MARKET_ACCESS,
    AssistanceDelivered: InterventionKind.ASSISTANCE,
    MemberJoinedCooperative: InterventionKind.COOPERATIVE_MEMBERSHIP,
}

_SUPER_MICRO = 10_000_000
"""The most that KUR lends to a super micro business."""

_ASSISTANCE: tuple[tuple[str, int | None], ...] = (("PKH", 750_000), ("BPNT", 200_000), ("SEMBAKO", None))

_CHANCES: dict[type[SupportFact], float] = {
    MentoringVisited: 0.16,
    AssistanceDelivered: 0.10,
    FinancingGranted: 0.05,
    MarketAccessGranted: 0.05,
    MemberJoinedCooperative: 0.05,
}
"""For each person and batch of reports. Made up: nobody has published how many participants other agencies reach."""


def support_for(
    people: Sequence[Person], cooperatives: Sequence["Cooperative"], day: date, rng: random.Random
) -> list[SupportFact]:
    """What was done for these people in the two weeks before a day."""
    return [
        _support(kind, person, cooperatives, day - timedelta(days=rng.randrange(1, 14)), rng)
        for person in people
        for kind, chance in _CHANCES.items()
        if rng.random() < chance
    ]


def _support(
    kind: type[SupportFact], person: Person, cooperatives: Sequence["Cooperative"], on: date, rng: random.Random
) -> SupportFact:
    number = person.national_id
    if kind is FinancingGranted:
        amount = rng.randrange(2, _SUPER_MICRO // 1_000_000 + 1) * 1_000_000
        return FinancingGranted(national_id=number, granted_on=on, amount_rupiah=amount, scheme="KUR_SUPER_MIKRO")
    if kind is MarketAccessGranted:
        scheme = rng.choice(("PASAR_DESA", "PAMERAN", "E_KATALOG"))
        return MarketAccessGranted(national_id=number, granted_on=on, scheme=scheme)
    if kind is AssistanceDelivered:
        scheme, worth = rng.choice(_ASSISTANCE)
        return AssistanceDelivered(national_id=number, delivered_on=on, scheme=scheme, amount_rupiah=worth)
    if kind is MemberJoinedCooperative:
        nearest = min(cooperatives, key=lambda one: (one.area_code[:5] != person.area_code[:5], one.number))
        return MemberJoinedCooperative(national_id=number, joined_on=on, cooperative_number=nearest.number)
    return MentoringVisited(national_id=number, visited_on=on)


# --- Cooperatives -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cooperative:
    number: str
    name: str
    area_code: AreaCode
    members: int

    def meeting(self, year: int, held_on: date, rng: random.Random) -> AnnualMeetingHeld:
        """Its annual members' meeting (RAT) about a business year. One in five made a loss."""
        surplus = rng.randrange(8, 90) * 500_000
        return AnnualMeetingHeld(
            cooperative_number=self.number,
            name=self.name,
            area_code=self.area_code,
            year=year,
            held_on=held_on,
            members=self.members + (year - 2023) * rng.randrange(2, 9),
            net_surplus_rupiah=surplus if rng.random() < 0.8 else -surplus // 4,
        )


_NAMES = (
    "Koperasi Konsumen Maju Bersama",
    "Koperasi Wanita Mekar Sari",
    "Koperasi Produsen Tenun Lestari",
    "Koperasi Nelayan Bahari Jaya",
    "Koperasi Tani Sumber Rezeki",
    "Koperasi Serba Usaha Harapan",
)


def cooperatives_of(kecamatan: Sequence[AreaCode]) -> list[Cooperative]:
    """One in each of these pockets of poverty. Their numbers hold letters, so they are nobody's."""
    return [
        Cooperative(f"DEMO-KOP-{number:03}", f"{_NAMES[number % len(_NAMES)]} {number}", code, 20 + 7 * (number % 5))
        for number, code in enumerate(kecamatan, start=1)
    ]


# --- What cannot be taken in ------------------------------------------------------------------------------------------


def spoilt(known: Person, cooperative: Cooperative, time: datetime) -> Iterator[tuple[str, Message]]:
    """Messages that have to be rejected, each with the field that is wrong in it."""
    number, today = known.national_id, time.date()
    visit = MentoringVisited(national_id=number, visited_on=today - timedelta(days=3))
    credit = FinancingGranted(
        national_id=number, granted_on=visit.visited_on, amount_rupiah=5_000_000, scheme="KUR_SUPER_MIKRO"
    )
    joined = MemberJoinedCooperative(
        national_id=number, joined_on=visit.visited_on, cooperative_number=cooperative.number
    )
    meeting = cooperative.meeting(today.year - 1, visit.visited_on, random.Random(0))

    def message(nth: int, fact: SupportFact | AnnualMeetingHeld = visit, /, **changes: object) -> Message:
        return DINKOP.binary(fact.model_copy(update=changes), f"dinkop-{time:%Y%m%d}-spoilt-{nth}", time)

    yield "value", replace(message(1), value=b'{"national_id": ')
    yield "value", replace(message(2), value=None)
    yield "visited_on", replace(message(3), value=to_json({"national_id": number}))
    yield "visited_on", message(4, visited_on=today + timedelta(days=30))
    yield "national_id", message(5, national_id=number[:15])
    yield "amount_rupiah", message(6, credit, amount_rupiah=0)
    yield "scheme", message(7, credit, scheme="kur mikro")
    yield "cooperative_number", message(8, joined, cooperative_number=number)
    yield "area_code", message(9, meeting, area_code="52.99.99.2999")
    yield "year", message(10, meeting, year=today.year + 1)
    yield "members", message(11, meeting, members=0)
    yield "name", message(12, meeting, name="-")
    yield "ce_source", with_header(message(13), "ce_source", "urn:someone-else")
    yield "ce_type", with_header(message(14), "ce_type", "entas.partners.LoanRepaid.v1")
    yield "ce_id", with_header(message(15), "ce_id", number)
    yield "ce_time", with_header(message(16), "ce_time", "kemarin")


def mistyped(national_id: str) -> str:
    """A number with its last digit wrong, as somebody types it from a form. It begins as all of the demo's numbers do,
    so it cannot be anybody's; and nobody else on the list has the same birth date and nearly the same serial."""
    return national_id[:-1] + str((int(national_id[-1]) + 7) % 10)
