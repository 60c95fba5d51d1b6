"""Cases: what became of a participant who completed a training."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter

from contracts.outcomes import ClosingReason, FollowUpNotes, InterventionKind
from contracts.registry import AgeBand, PersonDetails, Sex
from contracts.training import DeliveryMode
from services.kit.paging import Page
from services.outcomes.api.follow_ups import FollowUpView
from services.outcomes.api.shapes import (
    AreaQuery,
    FromJson,
    IdPath,
    IdQuery,
    NameReads,
    OpenReads,
    Paged,
    PurposeQuery,
    View,
    range_of,
)
from services.outcomes.business_units.state import BusinessUnitStatus
from services.outcomes.cases import queries
from services.outcomes.cases.decisions import no_such_case
from services.outcomes.cases.state import Baseline, CaseStatus, Standing, Training, Turn
from services.outcomes.follow_ups.queries import follow_ups_of

router = APIRouter(tags=["cases"])


class CaseView(View):
    case_id: str
    version: int
    area_code: str
    status: CaseStatus
    closed_because: ClosingReason | None
    closed_on: date | None
    standing: Standing
    graduated_on: date | None
    relapsed_on: date | None
    cohort_id: str
    course_id: str
    delivery_mode: DeliveryMode
    completed_on: date
    household_id: str | None
    baseline_people: int | None
    baseline_decile: int | None
    baseline_percentile: int | None
    sex: Sex | None
    age_band: AgeBand | None
    follow_ups: Annotated[tuple[int, ...], FromJson]
    last_follow_up: int | None
    last_visit_at: datetime | None
    last_per_person_rupiah: int | None
    last_above_line: bool | None
    interventions: int
    business_units: int


class InterventionOnCase(View):
    intervention_id: str
    kind: InterventionKind
    system: str
    given_on: date
    amount_rupiah: int | None
    scheme: str | None
    cooperative_number: str | None
    recorded_at: datetime


class BusinessUnitView(View):
    case_id: str
    unit_id: str
    status: BusinessUnitStatus
    cooperative_number: str
    sector: str
    planned_on: date
    launch_by: date
    capital_rupiah: int
    jobs_planned: int
    launched_on: date | None
    jobs: int | None


class CaseInFull(CaseView):
    attendance_percent: int | None
    pre_test: int | None
    post_test: int | None
    trainings: Annotated[tuple[Training, ...], FromJson]
    baseline: Annotated[Baseline | None, FromJson]
    turns: Annotated[tuple[Turn, ...], FromJson]
    visits: list[FollowUpView]
    interventions_recorded: list[InterventionOnCase]
    units: list[BusinessUnitView]


@router.get("/cases")
async def list_cases(
    reads: OpenReads,
    paged: Paged,
    area: AreaQuery = None,
    status: CaseStatus | None = None,
    standing: Standing | None = None,
    cohort: IdQuery = None,
) -> Page[CaseView]:
    """Cases by the area where the participants lived when they completed, in the order in which they did."""
    async with reads as db:
        rows = await queries.cases(
            db.connection,
            range_of(area),
            status=status,
            standing=standing,
            cohort_id=cohort,
            after=paged.after(date, str),
            limit=paged.fetch,
        )
        return paged.page(rows, CaseView.of, lambda row: (row["completed_on"], row["case_id"]))


@router.get("/cases/{case_id}")
async def show_case(case_id: IdPath, reads: OpenReads) -> CaseInFull:
    """One case: its trainings, its baseline, each follow-up, each graduation or relapse with its evidence, what other
    agencies did, and business units. No name: see `/cases/{case_id}/person`."""
    async with reads as db:
        row = await queries.case(db.connection, case_id)
        if row is None:
            raise no_such_case()
        visits = await follow_ups_of(db.connection, case_id)
        interventions = await queries.interventions_of(db.connection, case_id)
        units = await queries.business_units_of(db.connection, case_id)
        return CaseInFull(
            **dict(row),
            visits=[FollowUpView.of(visit) for visit in visits],
            interventions_recorded=[InterventionOnCase.of(intervention) for intervention in interventions],
            units=[BusinessUnitView.of(unit) for unit in units],
        )


class NotesOfVisit(View):
    follow_up: int
    notes: str | None
    latitude: float | None
    longitude: float | None


class PersonOfCase(View):
    case_id: str
    name: str | None  # None: the registry has not told, or the person was erased
    phone: str | None
    visits: list[NotesOfVisit]


@router.get("/cases/{case_id}/person")
async def show_person(case_id: IdPath, reads: NameReads, purpose: PurposeQuery = "follow-up") -> PersonOfCase:
    """Who it is, and what facilitators wrote at the door. Each look stands in the read log."""
    async with reads as db:
        if await queries.case(db.connection, case_id) is None:
            raise no_such_case()
        row = await queries.person_of(db.connection, case_id)
        visits = [visit for visit in await follow_ups_of(db.connection, case_id) if visit["sealed"] is not None]
        sealed = [(case_id, None, None) if row is None else (case_id, row["sealed_by"], row["sealed"])]
        (person,) = await db.open(sealed, PersonDetails, purpose)
        written = [(case_id, visit["sealed_by"], visit["sealed"]) for visit in visits]
        notes = await db.open(written, FollowUpNotes, purpose) if written else []
        return PersonOfCase(
            case_id=case_id,
            name=person and person.name,
            phone=person and person.phone,
            visits=[
                NotesOfVisit(follow_up=visit["months"], **note.model_dump())
                for visit, note in zip(visits, notes, strict=True)
                if note is not None
            ],
        )
