"""Business units that cooperative managers plan and launch."""

from fastapi import APIRouter, Response

from services.kit.http import CommandTransaction
from services.kit.transaction import new_id
from services.outcomes.api.cases import BusinessUnitView
from services.outcomes.api.shapes import FieldWork, IdPath
from services.outcomes.business_units import decisions
from services.outcomes.business_units.state import BUSINESS_UNITS
from services.outcomes.cases.decisions import known
from services.outcomes.cases.state import CASES, Case

router = APIRouter(tags=["business units"])


@router.post("/cases/{case_id}/business-units", status_code=201, response_model=BusinessUnitView)
async def plan_business_unit(case_id: IdPath, command: decisions.PlanBusinessUnit, work: FieldWork) -> Response:
    """Puts a planned business unit on a cooperative manager's case."""
    async with work as tx:
        case = await _locked(tx, case_id)
        units = await tx.stream_rows(BUSINESS_UNITS, case_id)
        unit_id = new_id()
        await tx.decide(decisions.plan(case, units, unit_id, command, tx.now))
        return await _answer(tx, case_id, unit_id, status=201)


@router.post("/cases/{case_id}/business-units/{unit_id}/launch", response_model=BusinessUnitView)
async def launch_business_unit(
    case_id: IdPath, unit_id: IdPath, command: decisions.LaunchBusinessUnit, work: FieldWork
) -> Response:
    """Says that a planned business unit works, and how many it employs."""
    async with work as tx:
        case = await _locked(tx, case_id)
        unit = await tx.row(BUSINESS_UNITS, case_id, unit_id)
        await tx.decide(decisions.launch(case, unit, command, tx.now))
        return await _answer(tx, case_id, unit_id)


async def _locked(tx: CommandTransaction, case_id: str) -> Case:
    """The case, if the caller may act on it and has seen its latest version."""
    row = await tx.row(CASES, case_id)
    case = known(row)
    tx.authorise(case.area_code)
    tx.expect_version(case)
    return case


async def _answer(tx: CommandTransaction, case_id: str, unit_id: str, *, status: int = 200) -> Response:
    row = await tx.row(CASES, case_id)
    case = known(row)
    view = BusinessUnitView.of(await tx.row(BUSINESS_UNITS, case_id, unit_id))
    return tx.answer(view, status=status, version=case.version, stream=f"{CASES.topic}/{case_id}")
