"""The forms of what callers send: ids, and texts and numbers that a database column and a line of a page can hold."""

from typing import Annotated

from pydantic import Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")]
VisitId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:@-]{1,64}$")]
"""What a facilitator's device calls a visit, as in the registry."""

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Notes = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]+$"),
]
"""What somebody writes in their own words, on several lines if they like."""

Rupiah = Annotated[int, Field(strict=True, ge=0, le=10_000_000_000)]
"""An amount, not below 0; the upper bound catches a slipped finger and keeps sums within a bigint."""
