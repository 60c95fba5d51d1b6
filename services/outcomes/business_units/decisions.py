"""Planning a business unit, and saying that it works. Pure."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from contracts.envelope import Event
from contracts.outcomes import BusinessUnitLaunched, BusinessUnitPlanned, ClosingReason
from services.kit.refusal import FieldProblem, Refused
from services.outcomes import checks
from services.outcomes.business_units.state import BusinessUnit, BusinessUnitStatus
from services.outcomes.calendar import day_of
from services.outcomes.cases.decisions import refuse_closed
from services.outcomes.cases.state import Case
from services.outcomes.forms import Id, Rupiah

MOST_UNITS = 20
"""More plans than anybody carries out are a device that sends again and again under new keys."""


def _cooperatives_own(number: str) -> str:
    if checks.cooperative_number("cooperative_number", number):
        raise ValueError("this is no cooperative's own number: letters, digits, dashes, and fewer digits than a NIK")
    return number


Jobs = Annotated[int, Field(strict=True, ge=0, le=10_000)]


class PlanBusinessUnit(BaseModel):
    """What a cooperative's manager plans (the task of the training of October 2024)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cooperative_number: Annotated[str, Field(max_length=40), AfterValidator(_cooperatives_own)]
    sector: Literal["trade", "farming", "fishery", "crafts", "food", "services", "savings_and_loan"]
    planned_on: date
    launch_by: date
    capital_rupiah: Rupiah
    jobs: Annotated[Jobs, Field(description="That the plan counts on")]


class LaunchBusinessUnit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    launched_on: date
    jobs: Jobs


def plan(
    case: Case, units: Iterable[BusinessUnit], unit_id: Id, command: PlanBusinessUnit, now: datetime
) -> list[Event]:
    """A plan on an open case. Refuses one of the future, one that launches before it is made, and the same twice."""
    refuse_closed(case)
    _refuse_future("planned_on", command.planned_on, now)
    if command.launch_by < command.planned_on:
        problem = FieldProblem("body.launch_by", "lies before planned_on", "Give the day by which it is to work.")
        raise Refused("launch-before-plan", "A unit cannot launch before it is planned.", status=422, fields=[problem])
    known = list(units)
    if any(_is_same(unit, command) for unit in known):
        raise Refused(
            "already-planned",
            "This very plan is on the case already.",
            remedy="Look at GET /cases/{case_id}; launch the unit that stands there.",
        )
    if len(known) >= MOST_UNITS:
        raise Refused("too-many-units", f"The case has {MOST_UNITS} business units, which is the most there can be.")
    return [
        BusinessUnitPlanned(case_id=case.case_id, unit_id=unit_id, area_code=case.area_code, **command.model_dump())
    ]


def _is_same(unit: BusinessUnit, command: PlanBusinessUnit) -> bool:
    mine = (unit.cooperative_number, unit.sector, unit.planned_on, unit.launch_by, unit.capital_rupiah)
    return mine == (
        command.cooperative_number,
        command.sector,
        command.planned_on,
        command.launch_by,
        command.capital_rupiah,
    )


def launch(case: Case, unit: BusinessUnit | None, command: LaunchBusinessUnit, now: datetime) -> list[Event]:
    """The planned unit works; nothing if just that is known. A case whose plan is completed may still say so."""
    if unit is None:
        raise Refused(
            "no-such-business-unit",
            "The case has no such business unit.",
            status=404,
            remedy="Plan it first: POST /cases/{case_id}/business-units.",
        )
    if unit.status is BusinessUnitStatus.LAUNCHED:
        if (unit.launched_on, unit.jobs) == (command.launched_on, command.jobs):
            return []
        raise Refused("already-launched", f"The unit was launched on {unit.launched_on}.")
    if case.closed_because is not ClosingReason.PLAN_COMPLETED:
        refuse_closed(case)
    _refuse_future("launched_on", command.launched_on, now)
    if command.launched_on < unit.planned_on:
        problem = FieldProblem("body.launched_on", "lies before the plan", "Give the day on which it began to work.")
        raise Refused("launch-before-plan", "A unit cannot launch before it is planned.", status=422, fields=[problem])
    return [BusinessUnitLaunched(case_id=case.case_id, unit_id=unit.unit_id, **command.model_dump())]


def _refuse_future(field: str, on: date, now: datetime) -> None:
    if on > day_of(now):
        problem = FieldProblem(f"body.{field}", "lies in the future", "Report it once it has happened.")
        raise Refused("date-in-the-future", "A fact cannot lie in the future.", status=422, fields=[problem])
