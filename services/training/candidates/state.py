"""What training keeps of the registry's facts: who may be given a place, and where the listed households live."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.registry import (
    AgeBand,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdListed,
    HouseholdRankChanged,
    MemberLeft,
    ParticipantCorrected,
    ParticipantNominated,
    ParticipantRejected,
    ParticipantRelocated,
    ParticipantVerified,
    PersonErased,
    Priority,
    PriorityChanged,
    Sex,
    VerificationExpired,
)
from services.kit.table import Table, present, replace


class CandidateStatus(StrEnum):
    NOMINATED = "nominated"
    VERIFIED = "verified"
    EXPIRED = "expired"
    REJECTED = "rejected"
    ERASED = "erased"


class DemandStatus(StrEnum):
    LISTED = "listed"
    DELISTED = "delisted"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person whom the registry knows as a participant (calon peserta), as far as a place in a class needs it."""

    participant_id: str
    version: int
    area_code: str
    household_id: str
    status: CandidateStatus
    sex: Sex
    age_band: AgeBand
    adult: bool
    can_leave_home: bool
    reachable: bool
    verified_at: datetime | None
    expires_at: datetime | None
    score: int  # of the priority; 0 as long as there is none
    priority: Priority | None
    sealed: str | None  # PersonDetails
    sealed_by: str | None

    def holds_at(self, instant: datetime) -> bool:
        """Whether the verification still holds at an instant."""
        return self.status is CandidateStatus.VERIFIED and self.expires_at is not None and self.expires_at > instant


@dataclass(frozen=True, slots=True)
class Demand:
    """A household of the targeting list: where training is needed."""

    household_id: str
    version: int
    area_code: str
    status: DemandStatus
    decile: int
    percentile: int | None
    people: int


def evolve_candidate(candidate: Candidate | None, event: Event, envelope: Envelope) -> Candidate | None:
    match event:
        case PersonErased():
            return _erased(candidate, event, envelope)
        case ParticipantNominated():
            return _nominated(event, envelope)
    candidate = present(candidate, envelope)
    if candidate.status is CandidateStatus.ERASED:
        return candidate
    match event:
        case ParticipantVerified():
            return _verified(candidate, event, envelope)
        case ParticipantRejected():
            return replace(candidate, status=CandidateStatus.REJECTED)
        case VerificationExpired():
            return replace(candidate, status=CandidateStatus.EXPIRED)
        case PriorityChanged():
            return replace(candidate, score=event.priority.score, priority=event.priority)
        case ParticipantRelocated():
            return replace(candidate, area_code=event.area_code)
        case ParticipantCorrected():
            corrected = replace(candidate, sex=event.sex, age_band=event.age_band, adult=event.adult)
            return _with_details(corrected, event.personal, envelope)
        case _:
            return candidate


def _nominated(event: ParticipantNominated, envelope: Envelope) -> Candidate:
    candidate = Candidate(
        participant_id=event.participant_id,
        version=envelope.version,
        area_code=event.area_code,
        household_id=event.household_id,
        status=CandidateStatus.NOMINATED,
        sex=event.sex,
        age_band=event.age_band,
        adult=event.adult,
        can_leave_home=False,
        reachable=False,
        verified_at=None,
        expires_at=None,
        score=0,
        priority=None,
        sealed=None,
        sealed_by=None,
    )
    return _with_details(candidate, event.personal, envelope)


def _verified(candidate: Candidate, event: ParticipantVerified, envelope: Envelope) -> Candidate:
    verified = replace(
        candidate,
        area_code=event.area_code,
        household_id=event.household_id,
        status=CandidateStatus.VERIFIED,
        sex=event.sex,
        age_band=event.age_band,
        adult=event.adult,
        can_leave_home=event.can_leave_home,
        reachable=event.reachable,
        verified_at=event.verified_at,
        expires_at=event.expires_at,
        score=event.priority.score,
        priority=event.priority,
    )
    return _with_details(verified, event.personal, envelope)


def _with_details(candidate: Candidate, personal: Mapping[str, object], envelope: Envelope) -> Candidate:
    sealed = personal.get(candidate.participant_id)
    if not isinstance(sealed, str):
        return candidate
    return replace(candidate, sealed=sealed, sealed_by=envelope.id)


def _erased(candidate: Candidate | None, event: PersonErased, envelope: Envelope) -> Candidate:
    if candidate is not None:
        return replace(candidate, status=CandidateStatus.ERASED, sealed=None, sealed_by=None)
    return Candidate(
        participant_id=event.participant_id,
        version=envelope.version,
        area_code=event.area_code,
        household_id=event.household_id,
        status=CandidateStatus.ERASED,
        sex=Sex.UNKNOWN,
        age_band=AgeBand.UNKNOWN,
        adult=False,
        can_leave_home=False,
        reachable=False,
        verified_at=None,
        expires_at=None,
        score=0,
        priority=None,
        sealed=None,
        sealed_by=None,
    )


def evolve_demand(demand: Demand | None, event: Event, envelope: Envelope) -> Demand | None:
    match event:
        case HouseholdListed():
            return Demand(
                household_id=event.household_id,
                version=envelope.version,
                area_code=event.area_code,
                status=DemandStatus.LISTED,
                decile=event.rank.welfare_decile,
                percentile=event.rank.welfare_percentile,
                people=len(event.members),
            )
    demand = present(demand, envelope)
    match event:
        case HouseholdRankChanged() | HouseholdConfirmed():
            rank = event.rank
            return replace(demand, decile=rank.welfare_decile, percentile=rank.welfare_percentile)
        case HouseholdDelisted():
            return replace(demand, status=DemandStatus.DELISTED)
        case HouseholdChanged():
            return demand if event.area_code is None else replace(demand, area_code=event.area_code)
        case MemberLeft(counted_no_longer=True):
            return demand
        case MemberLeft():
            return replace(demand, people=demand.people - 1)
        case _:
            return demand


CANDIDATES = Table(
    "candidate",
    Candidate,
    topic="registry.participants",
    key=("participant_id",),
    evolve=evolve_candidate,
    head=True,
)
DEMAND = Table("demand", Demand, topic="registry.households", key=("household_id",), evolve=evolve_demand, head=True)
