"""What can be wrong in a list."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    REJECTION = "rejection"  # the row cannot be taken
    WARNING = "warning"  # the row is taken; somebody should look at the value


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a row, where, and what to do about it. Never holds a value of the file."""

    column: str  # the column's name in this format; "" for the row or the file as a whole
    code: str  # stable, for counting: "unknown-village"
    reason: str
    remedy: str
    severity: Severity = Severity.REJECTION
