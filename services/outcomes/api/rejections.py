"""Partners' messages that could not be taken in, over HTTP: to operators all of them, to a partner its own."""

from typing import Annotated

from fastapi import APIRouter, Depends

from services.kit.http import Reads, reads_as
from services.kit.paging import Page
from services.outcomes.api.shapes import Paged
from services.outcomes.rejections import queries
from services.outcomes.rejections.queries import RejectionView

router = APIRouter(tags=["partners"])

_WHO_SEE_ALL = ("officer", "operator", "auditor")


@router.get("/rejections")
async def list_rejections(
    reads: Annotated[Reads, Depends(reads_as(*_WHO_SEE_ALL, "partner:*"))], pages: Paged
) -> Page[RejectionView]:
    """What was wrong with which message, latest first. The messages themselves are kept sealed for 90 days."""
    async with reads as db:
        systems = None
        if not db.principal.has_any(_WHO_SEE_ALL):
            systems = [role.removeprefix("partner:") for role in sorted(db.principal.roles)]
        return await queries.rejections(db.connection, pages, systems)
