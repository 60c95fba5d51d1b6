"""What other agencies did for people: what was reported, and what an officer decides where the number told nothing."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from contracts.outcomes import InterventionKind, InterventionSubject
from services.kit.http import CommandTransaction, Reads, reads_as
from services.kit.paging import Page
from services.kit.refusal import Refused
from services.outcomes.api.shapes import IdPath, IdQuery, OfficerWork, OpenReads, Paged, View
from services.outcomes.interventions import queries
from services.outcomes.interventions.decisions import (
    DismissIntervention,
    MatchIntervention,
    dismiss,
    known,
    match_by_officer,
)
from services.outcomes.interventions.recording import conclude
from services.outcomes.interventions.state import INTERVENTIONS, Intervention, InterventionStatus, subject_of
from services.outcomes.people.state import PERSONS

router = APIRouter(tags=["interventions"])


class InterventionView(View):
    intervention_id: str
    version: int
    status: InterventionStatus
    kind: InterventionKind
    system: str
    given_on: date
    amount_rupiah: int | None
    scheme: str | None
    cooperative_number: str | None
    reported_at: datetime
    participant_id: str | None
    matched_by: str | None
    because: str | None


class NumberView(View):
    intervention_id: str
    national_id: str


@router.get("/interventions")
async def list_interventions(
    reads: OpenReads,
    paged: Paged,
    status: InterventionStatus | None = None,
    kind: InterventionKind | None = None,
    participant: IdQuery = None,
) -> Page[InterventionView]:
    """What was reported, the oldest first, to whoever's areas cover the province: whom it concerns may not be known."""
    async with reads as db:
        rows = await queries.interventions(
            db.connection,
            paged.after(datetime, str),
            paged.fetch,
            status=status,
            kind=kind,
            participant_id=participant,
        )
        return paged.page(rows, InterventionView.of, lambda row: (row["reported_at"], row["intervention_id"]))


@router.get("/interventions/{intervention_id}")
async def show_intervention(intervention_id: IdPath, reads: OpenReads) -> InterventionView:
    async with reads as db:
        return InterventionView.of(known(await queries.intervention(db.connection, intervention_id)))


@router.get("/interventions/{intervention_id}/national-id")
async def show_number(intervention_id: IdPath, reads: Annotated[Reads, Depends(reads_as("officer"))]) -> NumberView:
    """The number that the partner gave, for the officer who has to find out whose it is. Each look is in the read log;
    once somebody has decided, nobody can read it any more."""
    async with reads as db:
        row = known(await queries.intervention(db.connection, intervention_id))
        sealed = [(subject_of(intervention_id), row["sealed_by"], row["sealed"])]
        (subject,) = await db.open(sealed, InterventionSubject, "review-intervention")
    if subject is None:
        raise Refused(
            "number-forgotten",
            "The number was forgotten when it was decided whom the intervention concerns.",
            status=410,
            remedy="Read the intervention: it says what was decided.",
        )
    return NumberView(intervention_id=intervention_id, national_id=subject.national_id)


@router.post("/interventions/{intervention_id}/match", response_model=InterventionView)
async def match_intervention(intervention_id: IdPath, command: MatchIntervention, work: OfficerWork) -> Response:
    """Says whom it was for. It stands on their case at once, or as soon as a case opens; the number is forgotten."""
    async with work as tx:
        intervention = await _locked(tx, intervention_id)
        # Not locked: that somebody is a participant once is enough, and what becomes of their case is the case's row.
        await tx.working_set.load(tx.connection, PERSONS, [(command.participant_id,)], lock=False)
        person = await tx.row(PERSONS, command.participant_id)
        if person is not None:
            tx.authorise(person.area_code)
        await tx.decide(match_by_officer(intervention, person, tx.principal.subject))
        return await _concluded(tx, intervention_id)


@router.post("/interventions/{intervention_id}/dismissal", response_model=InterventionView)
async def dismiss_intervention(intervention_id: IdPath, command: DismissIntervention, work: OfficerWork) -> Response:
    """Says that it concerns nobody here, and why; the number is forgotten."""
    async with work as tx:
        intervention = await _locked(tx, intervention_id)
        await tx.decide(dismiss(intervention, command.because))
        return await _concluded(tx, intervention_id)


async def _locked(tx: CommandTransaction, intervention_id: str) -> Intervention:
    """The intervention, if the caller may act on it and has seen its latest version."""
    row = await tx.row(INTERVENTIONS, intervention_id)
    intervention = known(row)
    tx.authorise(intervention.area_code)
    tx.expect_version(intervention)
    return intervention


async def _concluded(tx: CommandTransaction, intervention_id: str) -> Response:
    await conclude(tx, [intervention_id])
    row = await tx.row(INTERVENTIONS, intervention_id)
    intervention = known(row)
    return tx.answer(
        InterventionView.of(intervention),
        version=intervention.version,
        stream=f"{INTERVENTIONS.topic}/{intervention_id}",
    )
