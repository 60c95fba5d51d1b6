"""Owns the rows of what other agencies did for people: as they reported it, and as it stands on a person's case."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts import areas
from contracts.areas import AreaCode
from contracts.envelope import Envelope, Event
from contracts.outcomes import (
    CaseId,
    CooperativeNumber,
    InterventionDismissed,
    InterventionId,
    InterventionKind,
    InterventionMatched,
    InterventionRecorded,
    InterventionReported,
    InterventionUnmatched,
)
from contracts.registry import PersonId
from services.kit.table import Table, one, present, replace

REPORTED_TO: AreaCode = areas.NTB
"""Whom it concerns is not known when it is reported, by an agency of the province: so it is a matter of the province,
and nobody whose areas are smaller sees it. On the case it is seen by whoever sees the case."""


class InterventionStatus(StrEnum):
    REPORTED = "reported"  # nobody has looked yet whose number it is
    UNMATCHED = "unmatched"  # it waits for an officer
    MATCHED = "matched"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Intervention:
    """What a partner reported. The number stands sealed under the intervention's own key until somebody has decided."""

    intervention_id: InterventionId
    version: int
    area_code: AreaCode
    status: InterventionStatus
    kind: InterventionKind
    system: str
    given_on: date
    amount_rupiah: int | None
    scheme: str | None
    cooperative_number: CooperativeNumber | None
    reported_at: datetime
    participant_id: PersonId | None
    matched_by: str | None  # "national_id", or the officer
    because: str | None  # why it is unmatched, or was dismissed
    sealed: str | None  # InterventionSubject
    sealed_by: str | None


@dataclass(frozen=True, slots=True)
class CaseIntervention:
    """An intervention on the case of whom it was for."""

    case_id: CaseId
    intervention_id: InterventionId
    kind: InterventionKind
    system: str
    given_on: date
    amount_rupiah: int | None
    scheme: str | None
    cooperative_number: CooperativeNumber | None
    recorded_at: datetime


def subject_of(intervention_id: InterventionId) -> str:
    """Under whose key the number of an intervention is sealed."""
    return f"outcomes:intervention:{intervention_id}"


def evolve_intervention(intervention: Intervention | None, event: Event, envelope: Envelope) -> Intervention | None:
    if isinstance(event, InterventionReported):
        return _reported(event, envelope)
    intervention = present(intervention, envelope)
    match event:
        case InterventionMatched():
            return replace(
                intervention,
                status=InterventionStatus.MATCHED,
                participant_id=event.participant_id,
                matched_by=event.matched_by,
                because=None,
                sealed=None,
                sealed_by=None,
            )
        case InterventionUnmatched():
            return replace(intervention, status=InterventionStatus.UNMATCHED, because=str(event.because))
        case InterventionDismissed():
            return replace(
                intervention,
                status=InterventionStatus.DISMISSED,
                because=str(event.because),
                sealed=None,
                sealed_by=None,
            )
        case _:
            return intervention


def _reported(event: InterventionReported, envelope: Envelope) -> Intervention:
    sealed = event.personal.get(subject_of(event.intervention_id))
    return Intervention(
        intervention_id=event.intervention_id,
        version=envelope.version,
        area_code=REPORTED_TO,
        status=InterventionStatus.REPORTED,
        kind=event.kind,
        system=event.system,
        given_on=event.given_on,
        amount_rupiah=event.amount_rupiah,
        scheme=event.scheme,
        cooperative_number=event.cooperative_number,
        reported_at=envelope.time,
        participant_id=None,
        matched_by=None,
        because=None,
        sealed=sealed if isinstance(sealed, str) else None,
        sealed_by=envelope.id if isinstance(sealed, str) else None,
    )


def evolve_case_intervention(
    _row: CaseIntervention | None, event: Event, envelope: Envelope, intervention_id: InterventionId
) -> CaseIntervention | None:
    assert isinstance(event, InterventionRecorded)
    return CaseIntervention(
        case_id=event.case_id,
        intervention_id=intervention_id,
        kind=event.kind,
        system=event.system,
        given_on=event.given_on,
        amount_rupiah=event.amount_rupiah,
        scheme=event.scheme,
        cooperative_number=event.cooperative_number,
        recorded_at=envelope.time,
    )


INTERVENTIONS = Table(
    "intervention",
    Intervention,
    topic="outcomes.interventions",
    key=("intervention_id",),
    evolve=evolve_intervention,
    head=True,
)
CASE_INTERVENTIONS = Table(
    "case_intervention",
    CaseIntervention,
    topic="outcomes.cases",
    key=("case_id", "intervention_id"),
    evolve=evolve_case_intervention,
    touches={InterventionRecorded: one("intervention_id")},
)
