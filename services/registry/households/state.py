"""Owns the rows of households and their members, and how facts change them."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from contracts.envelope import Envelope, Event, Sealing
from contracts.registry import (
    AgeBand,
    AreaCode,
    DelistingReason,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdId,
    HouseholdListed,
    HouseholdRankChanged,
    LeavingReason,
    ListEvidence,
    LivingConditions,
    Member,
    MemberCorrected,
    MemberIdentityChecked,
    MemberLeft,
    PersonId,
    Rank,
    Sex,
    SnapshotId,
)
from services.kit.table import WHOLE_STREAM, Key, Table, WholeStream, each, one, present, replace


class HouseholdStatus(StrEnum):
    LISTED = "listed"
    DELISTED = "delisted"


@dataclass(frozen=True, slots=True)
class Household:
    """A household as the lists say it is.

    `previous_rank` is what the snapshot before said: readers are shown it until the newest snapshot is applied whole.
    `sealed_area` is where the household lived when its address was sealed: after a move that address is true no longer.
    """

    household_id: HouseholdId
    version: int
    area_code: AreaCode
    status: HouseholdStatus
    source: str
    snapshot_id: SnapshotId
    dated: date
    welfare_decile: int
    welfare_percentile: int | None
    previous_rank: Rank | None
    file_digest: str
    file_row: int
    people: int  # who still belong to it
    head_person_id: PersonId | None  # None once the head died: no source names a new one yet
    conditions: LivingConditions
    delisted_because: DelistingReason | None
    delisted_by: SnapshotId | None
    sealed: str | None
    sealed_by: str | None
    sealed_area: AreaCode

    @property
    def rank(self) -> Rank:
        return Rank(
            source=self.source,
            snapshot_id=self.snapshot_id,
            dated=self.dated,
            welfare_decile=self.welfare_decile,
            welfare_percentile=self.welfare_percentile,
        )

    @property
    def is_listed(self) -> bool:
        return self.status is HouseholdStatus.LISTED


@dataclass(frozen=True, slots=True)
class HouseholdMember:
    """A person of a household; those who died or left stay, so that a fact about them still finds them."""

    household_id: HouseholdId
    person_id: PersonId
    area_code: AreaCode  # the household's, so that row-level security needs no join
    head: bool
    sex: Sex
    age_band: AgeBand
    adult: bool
    civil_registry_match: bool | None
    left_because: LeavingReason | None
    left_on: date | None
    sealed: str | None
    sealed_by: str | None

    @property
    def has_left(self) -> bool:
        return self.left_because is not None


def evolve_household(household: Household | None, event: Event, envelope: Envelope) -> Household | None:
    match event:
        case HouseholdListed():
            return _listed(event, envelope)
        case HouseholdRankChanged() | HouseholdConfirmed():
            return _ranked(present(household, envelope), event.rank, event.evidence)
        case HouseholdDelisted():
            return replace(
                present(household, envelope),
                status=HouseholdStatus.DELISTED,
                delisted_because=event.reason,
                delisted_by=event.snapshot_id,
            )
        case HouseholdChanged():
            return _changed(present(household, envelope), event, envelope)
        case MemberLeft():
            before = present(household, envelope)
            if event.counted_no_longer:
                return before
            head = None if before.head_person_id == event.person_id else before.head_person_id
            return replace(before, people=before.people - 1, head_person_id=head)
        case _:
            return household


def _listed(event: HouseholdListed, envelope: Envelope) -> Household:
    sealed = sealed_under(event, event.household_id)
    return Household(
        household_id=event.household_id,
        version=envelope.version,
        area_code=event.area_code,
        status=HouseholdStatus.LISTED,
        source=event.rank.source,
        snapshot_id=event.rank.snapshot_id,
        dated=event.rank.dated,
        welfare_decile=event.rank.welfare_decile,
        welfare_percentile=event.rank.welfare_percentile,
        previous_rank=None,
        file_digest=event.evidence.file_digest,
        file_row=event.evidence.row,
        people=len(event.members),
        head_person_id=next((member.person_id for member in event.members if member.head), None),
        conditions=event.conditions,
        delisted_because=None,
        delisted_by=None,
        sealed=sealed,
        sealed_by=envelope.id if sealed is not None else None,
        sealed_area=event.area_code,
    )


def _ranked(household: Household, rank: Rank, evidence: ListEvidence) -> Household:
    return replace(
        household,
        source=rank.source,
        snapshot_id=rank.snapshot_id,
        dated=rank.dated,
        welfare_decile=rank.welfare_decile,
        welfare_percentile=rank.welfare_percentile,
        previous_rank=household.rank,
        file_digest=evidence.file_digest,
        file_row=evidence.row,
    )


def _changed(household: Household, event: HouseholdChanged, envelope: Envelope) -> Household:
    changed = replace(
        household,
        area_code=event.area_code or household.area_code,
        conditions=event.conditions or household.conditions,
    )
    sealed = sealed_under(event, event.household_id)
    if sealed is None:
        return changed
    return replace(changed, sealed=sealed, sealed_by=envelope.id, sealed_area=changed.area_code)


def evolve_member(
    member: HouseholdMember | None, event: Event, envelope: Envelope, person_id: PersonId
) -> HouseholdMember | None:
    match event:
        case HouseholdListed():
            listed = next(person for person in event.members if person.person_id == person_id)
            return _member_listed(event, listed, envelope)
        case HouseholdChanged():
            moved = present(member, envelope)
            return replace(moved, area_code=event.area_code or moved.area_code)
        case MemberLeft():
            return replace(present(member, envelope), left_because=event.reason, left_on=event.on)
        case MemberIdentityChecked():
            return replace(present(member, envelope), civil_registry_match=event.civil_registry_match)
        case MemberCorrected():
            return replace(
                present(member, envelope),
                sex=event.sex,
                age_band=event.age_band,
                adult=event.adult,
                sealed=sealed_under(event, person_id),
                sealed_by=envelope.id,
            )
        case _:
            return member


def _member_listed(event: HouseholdListed, listed: Member, envelope: Envelope) -> HouseholdMember:
    sealed = sealed_under(event, listed.person_id)
    return HouseholdMember(
        household_id=event.household_id,
        person_id=listed.person_id,
        area_code=event.area_code,
        head=listed.head,
        sex=listed.sex,
        age_band=listed.age_band,
        adult=listed.adult,
        civil_registry_match=listed.civil_registry_match,
        left_because=None,
        left_on=None,
        sealed=sealed,
        sealed_by=envelope.id if sealed is not None else None,
    )


def sealed_under(event: Sealing, subject: str) -> str | None:
    """The sealed text of a subject in an event that was appended; None where it says nothing personal about them."""
    sealed = event.personal.get(subject)
    return sealed if isinstance(sealed, str) else None


def _all_when_moved(event: HouseholdChanged) -> list[Key] | WholeStream:
    return [] if event.area_code is None else WHOLE_STREAM


HOUSEHOLDS = Table(
    "household", Household, topic="registry.households", key=("household_id",), evolve=evolve_household, head=True
)
MEMBERS = Table(
    "member",
    HouseholdMember,
    topic="registry.households",
    key=("household_id", "person_id"),
    evolve=evolve_member,
    touches={
        HouseholdListed: each("members", "person_id"),
        HouseholdChanged: _all_when_moved,
        MemberLeft: one("person_id"),
        MemberIdentityChecked: one("person_id"),
        MemberCorrected: one("person_id"),
    },
)
