"""Owns the query parameters that several lists share."""

from typing import Annotated

from fastapi import Depends, Path, Query

from contracts import areas
from services.kit.paging import Paging, paging
from services.kit.refusal import FieldProblem, Refused
from services.registry.households.queries import Wanted

Pages = Annotated[Paging, Depends(paging)]
Id = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]+$")]
Decile = Annotated[int, Query(ge=1, le=10)]

WHO_SEE_NAMES = ("officer", "facilitator", "district")
WHO_SEE_FIGURES = (*WHO_SEE_NAMES, "auditor")


def area_code(
    area: Annotated[str | None, Query(max_length=20, description="Everything in this area: 52, 52.01, …")] = None,
) -> str | None:
    """The dotted code of the parameter `area`. Refuses what is no code."""
    if area is None:
        return None
    try:
        return areas.normalise(area)
    except areas.InvalidAreaCode:
        problem = FieldProblem("query.area", "is no Kemendagri code", "Send a code such as 52.01 or 52.01.01.2002.")
        raise Refused("wrong-area", "The area is no code.", status=422, fields=[problem]) from None


Area = Annotated[str | None, Depends(area_code)]


def wanted(area: Area, decile_from: Decile = 1, decile_to: Decile = 10) -> Wanted:
    return Wanted(area, decile_from, decile_to)


Within = Annotated[Wanted, Depends(wanted)]


def unknown(what: str) -> Refused:
    """The answer for what does not exist and for what lies outside the caller's areas: the two are not told apart."""
    return Refused(
        f"unknown-{what}",
        f"There is no such {what}, or your token does not cover its area.",
        status=404,
        remedy="Check the id, and the areas of your token.",
    )
