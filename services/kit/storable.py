"""What can be kept. PostgreSQL's texts hold no NUL character, its whole numbers 64 bits, and JSON no infinite number.

Whoever is outside may send such values in well-formed JSON. They are refused at the edge, field by field.
"""

import math
from collections.abc import Iterator
from typing import Any

import asyncpg

from services.kit.problems import field_problems
from services.kit.refusal import FieldProblem

SMALLEST, LARGEST = -(2**63), 2**63 - 1

_REFUSED_VALUES: tuple[type[Exception], ...] = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.DatetimeFieldOverflowError,
    asyncpg.StringDataRightTruncationError,
    asyncpg.ProgramLimitExceededError,  # Such as a text that is too long for an index.
)


def is_unstorable(error: BaseException) -> bool:
    """Whether a database operation failed because a value cannot be kept. The same values will fail again."""
    if isinstance(error, _REFUSED_VALUES):
        return True
    # asyncpg could not encode an argument: a number or a time out of range. A wrong type would be our own defect.
    return isinstance(error, asyncpg.DataError) and isinstance(error.__cause__, OverflowError | UnicodeEncodeError)


def unstorable_parts(value: Any, *place: str | int) -> list[FieldProblem]:
    """What in this JSON value, as Python holds it, cannot be kept, and where. Says nothing of the values themselves."""
    return field_problems([{"type": kind, "loc": where, "msg": says} for where, kind, says in _faults(value, place)])


def _faults(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    # No recursion: how deep JSON is nested is the sender's choice.
    waiting = [(place, value)]
    while waiting:
        where, part = waiting.pop()
        if isinstance(part, str):
            if fault := _fault_of_text(part):
                yield where, "unstorable_text", fault
        elif isinstance(part, dict):
            for name, item in part.items():
                if fault := _fault_of_text(name):
                    yield (*where, name), "unstorable_text", fault
                waiting.append(((*where, name), item))
        elif isinstance(part, list):
            waiting += [((*where, index), item) for index, item in enumerate(part)]
        elif isinstance(part, int) and not SMALLEST <= part <= LARGEST:
            yield where, "unstorable_number", "A whole number must fit into 64 bits"
        elif isinstance(part, float) and not math.isfinite(part):
            yield where, "unstorable_number", "A number must be finite"


def _fault_of_text(text: str) -> str | None:
    if "\0" in text:
        return "A text must not hold the NUL character (U+0000)"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "A text must not hold half of a surrogate pair"
    return None
