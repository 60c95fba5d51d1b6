"""What the endpoints share: who may do what, the forms of parameters, and views made from rows."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import Depends, Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json

from services.kit.http import Reads, Work, reads_as, works_as
from services.kit.paging import Paging, paging
from services.notifications.forms import SUBJECT

OfficerWork = Annotated[Work, Depends(works_as("officer"))]
"""Adopts rules and templates."""

ContactWork = Annotated[Work, Depends(works_as("officer", "district", "facilitator"))]
"""Speaks with people about how they want to be told."""

OpenReads = Annotated[Reads, Depends(reads_as("officer", "district", "facilitator", "auditor", "operator"))]
"""Sees what says nothing of a person beyond their id."""

ContactReads = Annotated[Reads, Depends(reads_as("officer", "district"))]
"""Sees where somebody can be reached; each look is in the read log."""

Paged = Annotated[Paging, Depends(paging)]

AreaQuery = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?$",
        description="An area and all below it, such as 52.01",
    ),
]
_ID = r"^[0-9A-Za-z-]{1,64}$"
IdQuery = Annotated[str | None, Query(pattern=_ID)]
IdPath = Annotated[str, Path(pattern=_ID)]
SubjectQuery = Annotated[str | None, Query(pattern=SUBJECT)]
SubjectPath = Annotated[
    str, Path(pattern=SUBJECT, description="A participant's id, or `staff:` and the id by which a facilitator signs in")
]


def _from_json(value: object) -> object:
    return from_json(value) if isinstance(value, str) else value


FromJson = BeforeValidator(_from_json)
"""For a jsonb column, which a query gives as text."""


class View(BaseModel):
    """What an answer shows of a row: the fields that it names, and nothing else of it."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a query's record or a folded row."""
        return cls.model_validate(dict(row) if isinstance(row, Mapping) or hasattr(row, "keys") else row)
