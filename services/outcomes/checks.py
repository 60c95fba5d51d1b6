"""What a partner's report has to satisfy, whatever it is about. Pure; what is found wrong never repeats a value."""

import re
from datetime import date, datetime

from contracts import areas
from contracts.areas import InvalidAreaCode, Level
from services.kit.refusal import FieldProblem, Refused
from services.outcomes.calendar import day_of

DIGITS_OF_A_PERSON = 16

_NATIONAL_ID = re.compile(r"[0-9]{16}")
_COOPERATIVE_NUMBER = re.compile(r"(?=.{3,40}$)[0-9A-Za-z]+(-[0-9A-Za-z]+)*")
_SCHEME = re.compile(r"(?=.{2,40}$)[A-Z]+(_[A-Z]+)*(_[0-9]{1,4})?")
_NAME = re.compile(r"(?=.{1,200}$)[^\x00-\x1f\x7f]*[^\W\d_][^\x00-\x1f\x7f]*")

Problems = list[FieldProblem]


def refuse(problems: Problems) -> None:
    """Refuses the report with everything that is wrong with it; does nothing if nothing is."""
    if problems:
        raise Refused("wrong-report", "The report cannot be taken in.", fields=problems)


def national_id(field: str, value: str) -> Problems:
    if _NATIONAL_ID.fullmatch(value):
        return []
    return [FieldProblem(field, "is not a NIK of 16 digits", "Publish the person's NIK.")]


def past(field: str, on: date, now: datetime) -> Problems:
    """Today counts as past."""
    if on <= day_of(now):
        return []
    return [FieldProblem(field, "lies in the future", "Publish it once it has happened, with its date.")]


def above_zero(field: str, value: int) -> Problems:
    return [] if value > 0 else [FieldProblem(field, "is not above 0", "Publish the number as it was.")]


def scheme(field: str, value: str) -> Problems:
    if _SCHEME.fullmatch(value):
        return []
    remedy = "Publish the scheme's code, such as KUR_MIKRO: words in capitals, and a year at most."
    return [FieldProblem(field, "is not a code in capitals", remedy)]


def cooperative_number(field: str, value: str) -> Problems:
    """It is shown openly, and so must not be a person's."""
    if _COOPERATIVE_NUMBER.fullmatch(value) and not _could_be_a_persons(value):
        return []
    remedy = "Publish the cooperative's own number: 3 to 40 letters, digits and dashes, and fewer digits than a NIK."
    return [FieldProblem(field, "is not a cooperative's number", remedy)]


def cooperative_name(field: str, value: str) -> Problems:
    if _NAME.fullmatch(value) and not _could_be_a_persons(value):
        return []
    remedy = "Publish the name: a line of 1 to 200 characters with letters in it, and without anybody's number."
    return [FieldProblem(field, "is not a name", remedy)]


def seat(field: str, value: str) -> Problems:
    """Where a cooperative has its seat: a village or a kecamatan that there is."""
    try:
        code = areas.normalise(value)
    except InvalidAreaCode:
        code = ""
    if areas.is_known(code) and areas.level(code) >= Level.KECAMATAN:
        return []
    remedy = "Publish the code of the village or kecamatan by Kepmendagri 300.2.2-2138/2025."
    return [FieldProblem(field, "is no village or kecamatan that is known here", remedy)]


def _could_be_a_persons(value: str) -> bool:
    return sum(sign.isdigit() for sign in value) >= DIGITS_OF_A_PERSON
