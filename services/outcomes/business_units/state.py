"""Business units that cooperative managers plan, and whether they came to work."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.outcomes import BusinessUnitLaunched, BusinessUnitPlanned
from services.kit.table import Table, one, present, replace


class BusinessUnitStatus(StrEnum):
    PLANNED = "planned"
    LAUNCHED = "launched"


@dataclass(frozen=True, slots=True)
class BusinessUnit:
    case_id: str
    unit_id: str
    area_code: str  # the case's
    status: BusinessUnitStatus
    cooperative_number: str
    sector: str
    planned_on: date
    launch_by: date
    capital_rupiah: int
    jobs_planned: int
    launched_on: date | None
    jobs: int | None  # when it was launched


def evolve_business_unit(
    unit: BusinessUnit | None, event: Event, envelope: Envelope, unit_id: str
) -> BusinessUnit | None:
    match event:
        case BusinessUnitPlanned():
            return BusinessUnit(
                case_id=event.case_id,
                unit_id=unit_id,
                area_code=event.area_code,
                status=BusinessUnitStatus.PLANNED,
                cooperative_number=event.cooperative_number,
                sector=event.sector,
                planned_on=event.planned_on,
                launch_by=event.launch_by,
                capital_rupiah=event.capital_rupiah,
                jobs_planned=event.jobs,
                launched_on=None,
                jobs=None,
            )
        case BusinessUnitLaunched():
            return replace(
                present(unit, envelope),
                status=BusinessUnitStatus.LAUNCHED,
                launched_on=event.launched_on,
                jobs=event.jobs,
            )
        case _:
            return unit


BUSINESS_UNITS = Table(
    "business_unit",
    BusinessUnit,
    topic="outcomes.cases",
    key=("case_id", "unit_id"),
    evolve=evolve_business_unit,
    touches={BusinessUnitPlanned: one("unit_id"), BusinessUnitLaunched: one("unit_id")},
)
