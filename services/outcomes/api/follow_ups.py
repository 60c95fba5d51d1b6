"""Follow-ups: what is due, and what facilitators found."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from contracts.outcomes import Business, IncomeSource, NeedMet
from services.kit.paging import Page
from services.outcomes.api.shapes import (
    AreaQuery,
    FieldWork,
    FromJson,
    IdPath,
    IdQuery,
    OpenReads,
    Paged,
    View,
    range_of,
)
from services.outcomes.cases.decisions import known
from services.outcomes.cases.state import CASES, Standing
from services.outcomes.follow_ups import decisions, queries
from services.outcomes.follow_ups.state import FOLLOW_UPS, PENDING, FollowUpStatus
from services.outcomes.people.state import PERSONS
from services.outcomes.rules.decisions import GRADUATION
from services.outcomes.rules.queries import rule_of

router = APIRouter(tags=["follow-ups"])


class FollowUpView(View):
    case_id: str
    months: int
    area_code: str
    status: FollowUpStatus
    due_on: date
    missed_after: date
    plan_version: int
    facilitator_id: str | None
    visit_id: str | None
    captured_at: datetime | None
    received_at: datetime | None
    late: bool
    people: int | None
    income: Annotated[tuple[IncomeSource, ...], FromJson]
    income_rupiah: int | None
    per_person_rupiah: int | None
    line_rupiah: int | None
    above_line: bool | None
    livelihoods: int | None
    needs: Annotated[tuple[NeedMet, ...], FromJson]
    business: Annotated[Business | None, FromJson]
    rule_id: str | None
    rule_version: int | None


class FollowUpToMake(FollowUpView):
    cohort_id: str
    household_id: str | None


class Recorded(View):
    """What the visit was taken in as, and where the household stands now."""

    standing: Standing
    case_closed: bool
    follow_up: FollowUpView


@router.post("/cases/{case_id}/follow-ups", response_model=Recorded)
async def record_follow_up(case_id: IdPath, command: decisions.RecordFollowUp, work: FieldWork) -> Response:
    """Takes in a visit, from seven days before its day on, and late while the case is open. A copy of one that is
    known (the same `visit_id`) is answered as done. Income per person is set against the line of the graduation rule in
    force, and the household graduates or relapses by that rule in the same transaction."""
    async with work as tx:
        # Not locked, and read first: cases are locked after people.
        await tx.working_set.load(tx.connection, PERSONS, [(case_id,)], lock=False)
        person = tx.working_set.get(PERSONS, case_id)
        row = await tx.row(CASES, case_id)
        case = known(row)
        tx.authorise(case.area_code)
        follow_ups = await tx.stream_rows(FOLLOW_UPS, case_id)
        rule = await rule_of(tx, GRADUATION)
        await tx.decide(decisions.record(case, follow_ups, person, rule, command, tx.principal.subject, tx.now))
        row = await tx.row(CASES, case_id)
        after = known(row)
        visits = await tx.stream_rows(FOLLOW_UPS, case_id)
        made = next(visit for visit in visits if visit.visit_id == command.visit_id)
        answer = Recorded(standing=after.standing, case_closed=not after.is_open, follow_up=FollowUpView.of(made))
        return tx.answer(answer, version=after.version, stream=f"{CASES.topic}/{case_id}")


@router.get("/follow-ups")
async def list_follow_ups(
    reads: OpenReads,
    paged: Paged,
    due: Annotated[date | None, Query(description="Only those that fall due on this day or before")] = None,
    status: Annotated[list[FollowUpStatus] | None, Query(description="Those still to be made, unless given")] = None,
    area: AreaQuery = None,
    facilitator: Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9._:@-]+$")] = None,
    cohort: IdQuery = None,
) -> Page[FollowUpToMake]:
    """Follow-ups, the earliest first: unless said otherwise those that are still to be made."""
    async with reads as db:
        rows = await queries.follow_ups(
            db.connection,
            range_of(area),
            due=due,
            statuses=list(status or PENDING),
            facilitator_id=facilitator,
            cohort_id=cohort,
            after=paged.after(date, str, int),
            limit=paged.fetch,
        )
        return paged.page(rows, FollowUpToMake.of, lambda row: (row["due_on"], row["case_id"], row["months"]))
