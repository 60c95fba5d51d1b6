"""Owns what is read of the partner messages that could not be taken in."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from contracts.partners import Fault
from services.kit.paging import Page, Paging
from services.kit.rows import Connection

AFTER_ALL = "~"  # Ids are of letters, digits and dashes, which come before it.


class RejectionView(BaseModel):
    """What was wrong with a message, and where it stands on its topic; never what it said."""

    rejection_id: str
    system: str
    message_id: str | None
    message_type: str | None
    record_partition: int
    record_offset: int
    faults: list[Fault]
    rejected_at: datetime


async def rejections(connection: Connection, paging: Paging, systems: list[str] | None) -> Page[RejectionView]:
    """Latest first; of these systems, or of all."""
    (before,) = paging.after(str) or (AFTER_ALL,)
    rows = await connection.fetch(
        """
        SELECT *
        FROM rejection
        WHERE rejection_id < $1
        AND ($2::text[] IS NULL OR system = ANY($2))
        ORDER BY rejection_id DESC
        LIMIT $3
        """,
        before,
        systems,
        paging.fetch,
    )
    return paging.page(rows, _rejection, lambda row: (row["rejection_id"],))


def _rejection(row: Any) -> RejectionView:
    return RejectionView(**{**dict(row), "faults": from_json(row["faults"])})
