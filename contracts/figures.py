"""Published poverty figures of NTB and its kabupaten/kota, as reference data: `reference/poverty_figures.csv`."""

import csv
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path

from contracts.areas import AreaCode


class Measure(StrEnum):
    POOR_THOUSANDS = "poor_thousands"  # people below the poverty line, in thousands
    POOR_PERCENT = "poor_percent"  # of the population
    EXTREME_POOR_PERCENT = "extreme_poor_percent"  # of the population, below the extreme-poverty line


@dataclass(frozen=True, slots=True)
class PovertyFigure:
    area_code: AreaCode
    year: int | None  # March of the year; None where the report names no year
    measure: Measure
    value: Decimal
    source: str


class NoSingleFigure(LookupError):
    """No source gives the figure, or sources disagree: read `figures()` and decide."""


def figures(
    area_code: AreaCode | None = None, measure: Measure | None = None, year: int | None = None
) -> tuple[PovertyFigure, ...]:
    """Every published value that fits, by area, measure and year; several for one year where sources disagree."""
    return tuple(
        figure
        for figure in _figures()
        if area_code in (None, figure.area_code) and measure in (None, figure.measure) and year in (None, figure.year)
    )


def figure(area_code: AreaCode, measure: Measure, year: int) -> Decimal:
    """The one published value. Raises NoSingleFigure where there is none or more than one."""
    found = figures(area_code, measure, year)
    if len(found) != 1:
        raise NoSingleFigure(
            f"{len(found)} published values of {measure} for {area_code} in {year}: read figures() and decide."
        )
    return found[0].value


@cache
def _figures() -> tuple[PovertyFigure, ...]:
    with (Path(__file__).parent / "reference" / "poverty_figures.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(
            PovertyFigure(
                area_code=row["area_code"],
                year=int(row["year"]) if row["year"] else None,
                measure=Measure(row["measure"]),
                value=Decimal(row["value"]),
                source=row["source"],
            )
            for row in csv.DictReader(lines)
        )
