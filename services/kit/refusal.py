"""The two ways of saying no to a caller. Standard library only, so that decisions may raise them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a request and what to do about it. Never holds the value that was sent."""

    field: str
    message: str
    remedy: str | None = None


class Refused(Exception):
    """The caller can mend it: a rule or the request itself forbids it, and nothing was changed.

    `code` is stable and short ("cohort-full"); `detail` says what is wrong in this case and `remedy` what to do about
    it. Neither holds personal data. `status` is an HTTP status from 400 to 499.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 409,
        fields: Sequence[FieldProblem] | None = None,
        remedy: str | None = None,
    ) -> None:
        if not 400 <= status <= 499:
            raise ValueError(f"a refusal is the caller's to mend, so its status is 4xx, not {status}")
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.fields = tuple(fields or ())
        self.remedy = remedy


class Unavailable(Exception):
    """Time can mend it: something this request needs does not answer now. Nothing was changed; try again later.

    It answers 503. It is no `Refused`: a worker that meets it backs off and goes on where it was.
    """

    def __init__(self, code: str, detail: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
