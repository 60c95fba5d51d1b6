"""What the endpoints share: who may do what, the forms of parameters, and views made from rows."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import Depends, Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json

from contracts import areas
from services.kit.http import Reads, Work, reads_as, works_as
from services.kit.paging import Paging, paging

OfficerWork = Annotated[Work, Depends(works_as("officer"))]
"""Adopts rules, and decides what nobody else can."""

FieldWork = Annotated[Work, Depends(works_as("officer", "facilitator"))]
"""Visits households."""

OpenReads = Annotated[Reads, Depends(reads_as("officer", "district", "facilitator", "auditor", "operator"))]
"""Sees what says nothing of a person beyond their id."""

NameReads = Annotated[Reads, Depends(reads_as("officer", "district"))]
"""Sees names; each look is in the read log."""

Paged = Annotated[Paging, Depends(paging)]

_AREA = r"^[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?$"
AreaQuery = Annotated[str | None, Query(pattern=_AREA, description="An area and all below it, such as 52.01")]

_ID = r"^[0-9A-Za-z-]{1,64}$"
IdQuery = Annotated[str | None, Query(pattern=_ID)]
IdPath = Annotated[str, Path(pattern=_ID)]

PurposeQuery = Annotated[str, Query(pattern=r"^[a-z][a-z_-]{2,40}$", description="A word for the read log")]


def _from_json(value: object) -> object:
    return from_json(value) if isinstance(value, str) else value


FromJson = BeforeValidator(_from_json)
"""For a jsonb column, which a query gives as text."""


def range_of(area: str | None) -> tuple[str, str]:
    """The area and all below it as one range of codes, in byte order: "/" is the character after "."."""
    return ("", "~") if area is None else (area, area + "/")


def area_name(code: str) -> str | None:
    """The official name, where the reference list holds the code."""
    return areas.name(code) if areas.is_known(code) else None


class View(BaseModel):
    """What an answer shows of a row: the fields that it names, and nothing else of it."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a query's record or a folded row."""
        return cls.model_validate(dict(row) if isinstance(row, Mapping) or hasattr(row, "keys") else row)
