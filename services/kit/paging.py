"""Keyset pagination: a page is what follows the last key that was seen, however much is inserted meanwhile.

The cursor travels in URLs and their logs: keys are ids, codes, numbers and instants, never personal data.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from services.kit.refusal import FieldProblem, Refused

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_MAX_CURSOR = 2000
_INT8 = 1 << 63

Key = tuple[str | int | date | datetime, ...]
T = TypeVar("T")
Row = TypeVar("Row")


class Page(BaseModel, Generic[T]):
    """One page of a list. `next` is the cursor of the following page; without it this page is the last."""

    items: list[T]
    next: str | None = Field(None, description="Send it as `cursor` for the next page.")


class BadCursor(Refused):
    """The cursor is none of this list's."""

    def __init__(self) -> None:
        remedy = "Send `next` of the last page unchanged, or start again without a cursor."
        problem = FieldProblem("query.cursor", "The cursor is not one that this list gave.", remedy)
        super().__init__("bad-cursor", "The cursor cannot be read.", status=422, fields=[problem], remedy=remedy)


@dataclass(frozen=True, slots=True)
class Paging:
    """What the caller asked for. Fetch `fetch` rows after `after(…)` and hand them to `page`."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    @property
    def fetch(self) -> int:
        """One row more than the page holds shows whether another page follows."""
        return self.limit + 1

    def after(self, *shape: type) -> Any:
        """The last key seen, a tuple of the types of `shape` (str, int, date, datetime); None at the start.

        Raises BadCursor for whatever a database parameter of those types would not take.
        """
        return None if self.cursor is None else decode_cursor(self.cursor, shape)

    def page(self, rows: Sequence[Row], item: Callable[[Row], T], key: Callable[[Row], Key]) -> Page[T]:
        shown = rows[: self.limit]
        following = encode_cursor(key(shown[-1])) if len(rows) > self.limit else None
        return Page(items=[item(row) for row in shown], next=following)


async def paging(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on a page")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=_MAX_CURSOR, description="`next` of the last page")] = None,
) -> Paging:
    """For `Annotated[Paging, Depends(paging)]`."""
    return Paging(limit, cursor)


def encode_cursor(key: Key) -> str:
    if any(isinstance(part, datetime) and part.tzinfo is None for part in key):
        raise ValueError("an instant in a cursor needs a time zone")
    parts = [part.isoformat() if isinstance(part, date) else part for part in key]
    return urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, shape: Sequence[type]) -> tuple[Any, ...]:
    """The key in a cursor, checked part by part against `shape`. Raises BadCursor."""
    try:
        parts = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(parts, list):
            raise BadCursor
        key = tuple(_part(part, kind) for part, kind in zip(parts, shape, strict=True))
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadCursor from error
    if encode_cursor(key) != cursor:
        raise BadCursor
    return key


def _part(part: object, kind: type) -> str | int | date:
    if kind is int and type(part) is int and -_INT8 <= part < _INT8:
        return part
    if kind is str and isinstance(part, str) and "\0" not in part:
        part.encode()  # Half a surrogate pair raises here; PostgreSQL takes neither it nor a zero byte.
        return part
    if kind is datetime and isinstance(part, str) and (instant := datetime.fromisoformat(part)).tzinfo:
        instant.astimezone(UTC)  # An instant beyond the calendar's ends raises here instead of in the driver.
        return instant
    if kind is date and isinstance(part, str):
        return date.fromisoformat(part)
    raise ValueError(f"no {kind.__name__}")
