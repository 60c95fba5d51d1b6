"""How the cells of each kind of column are read: one function per kind, made once per column."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from contracts import areas
from contracts.areas import AreaCode
from contracts.envelope import Privacy
from contracts.p3ke.columns import Column, Kind
from contracts.p3ke.problems import Problem, Severity
from contracts.registry import Sex

LONGEST_IDENTIFIER = 64
LONGEST_NAME = 120
LONGEST_WORDS = 80
LONGEST_TEXT = 400


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A value that could not be read as it stands: what is taken instead, and the problem to report."""

    problem: Problem
    instead: Any = None


Reader = Callable[[str], Any]


class _Remembered(dict[str, Any]):
    """A reader that remembers what it read, for columns whose values repeat. Bounded: a hostile file cannot fill it."""

    def __init__(self, read: Reader) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, raw: str) -> Any:
        value = self._read(raw)
        if len(self) < 5_000 and value.__class__ is not Doubtful:
            self[raw] = value
        return value


_ABSENT = frozenset(("", "-", "--", "NULL", "null", "NaN", "nan", "#N/A", "N/A"))
_FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"  # with their full-width twins, which some spreadsheets run too
_PERSONS_NUMBER = re.compile(r"[0-9]{8}")
_ROUNDED_NUMBER = re.compile(r"[0-9](?:[.,][0-9]*)?[eE][+]?[0-9]+")
_IDENTIFIER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._/-]{{0,{LONGEST_IDENTIFIER - 1}}}")
_NUMBER = re.compile(r"(?:desil|persentil)?\s*([0-9]{1,3})(?:[.,]0+)?", re.IGNORECASE)
_DATE = re.compile(r"(?:([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})|([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4}))(?:[ T].*)?")
_YES = frozenset(("ya", "y", "yes", "1", "true", "ada"))
_NO = frozenset(("tidak", "tdk", "no", "n", "0", "false", "tidakada"))
_MALE = frozenset(("lakilaki", "laki", "lk", "l", "pria", "male", "m", "1"))
_FEMALE = frozenset(("perempuan", "pr", "p", "wanita", "female", "f", "2"))


def _tidy(raw: str) -> str:
    """One line, single spaces, no invisible format characters, NFC. Anything else unprintable is left in."""
    text = " ".join(raw.split())
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = "".join(character for character in text if unicodedata.category(character) != "Cf").strip()
    return text


def _key(text: str) -> str:
    """What is left of a word when case, spaces and punctuation do not count."""
    return "".join(filter(str.isalnum, text.casefold()))


def reader_of(column: Column) -> Reader:
    match column.kind:
        case Kind.IDENTIFIER:
            return _identifier(column)
        case Kind.VILLAGE_CODE:
            return _Remembered(_village_code(column)).__getitem__
        case Kind.NUMBER:
            return _Remembered(_number(column)).__getitem__
        case Kind.NAME:
            return _name(column)
        case Kind.TEXT:
            # Names of areas repeat; an address is personal and is not kept.
            text = _text(column)
            return text if column.privacy is Privacy.PERSONAL else _Remembered(text).__getitem__
        case Kind.OPEN_WORDS | Kind.CLOSED_WORDS:
            return _Remembered(_words(column)).__getitem__
        case Kind.YES_NO | Kind.AGE_BAND:
            return _Remembered(_yes_no(column)).__getitem__
        case Kind.SEX:
            return _Remembered(_sex(column)).__getitem__
        case Kind.DATE:
            return _date(column)
        case Kind.NIK:
            return _sixteen_digits(column, Severity.REJECTION)
        case Kind.FAMILY_CARD:
            return _sixteen_digits(column, Severity.WARNING)


def _missing(column: Column) -> Doubtful | None:
    """What an empty cell means."""
    if not column.required:
        return None
    return Doubtful(Problem(column.name, "missing", "The value is missing.", f"Give it: {column.meaning}."))


def _identifier(column: Column) -> Reader:
    severity = Severity.REJECTION if column.required else Severity.WARNING
    missing = _missing(column)
    malformed = Doubtful(
        Problem(
            column.name,
            "malformed-identifier",
            "This is no identifier.",
            f"Use letters, digits and . _ / - only, at most {LONGEST_IDENTIFIER} characters.",
            severity,
        )
    )
    rounded = Doubtful(_rounded(column, severity))

    def read(raw: str) -> str | Doubtful | None:
        text = raw.strip(" '\t\r\n\xa0")
        if text in _ABSENT:
            return missing
        if _ROUNDED_NUMBER.fullmatch(text):
            return rounded
        return text if _IDENTIFIER.fullmatch(text) else malformed

    return read


def _rounded(column: Column, severity: Severity) -> Problem:
    return Problem(
        column.name,
        "rounded-number",
        "A spreadsheet has rounded the number; its last digits are lost.",
        "Format the column as text in the spreadsheet, fill it from the source again and export it anew.",
        severity,
    )


def _village_code(column: Column) -> Reader:
    missing = _missing(column)
    malformed = Doubtful(
        Problem(
            column.name,
            "malformed-code",
            "This is no Kemendagri code of a village.",
            "Give the 10 digits of the desa or kelurahan, with or without dots: 52.01.01.2001.",
        )
    )
    unknown = Doubtful(
        Problem(
            column.name,
            "unknown-village",
            "The reference list knows no village of this code.",
            "Use the codes of Kepmendagri 300.2.2-2138/2025 (BPS numbers villages differently); "
            "of villages, the list has those of NTB (52) and Malaka (53.21).",
        )
    )

    def read(raw: str) -> AreaCode | Doubtful | None:
        if raw.strip() in _ABSENT:
            return missing
        try:
            code = areas.normalise(raw.strip(" '"))
        except areas.InvalidAreaCode:
            return malformed
        if areas.level(code) is not areas.Level.VILLAGE:
            return malformed
        return code if areas.is_known(code) else unknown

    return read


def _number(column: Column) -> Reader:
    missing = _missing(column)
    out_of_range = Doubtful(
        Problem(
            column.name,
            "out-of-range",
            f"This is no whole number from {column.lowest} to {column.highest}.",
            f"Give a whole number from {column.lowest} to {column.highest}.",
            Severity.REJECTION if column.required else Severity.WARNING,
        )
    )

    def read(raw: str) -> int | Doubtful | None:
        text = raw.strip()
        if text in _ABSENT:
            return missing
        found = _NUMBER.fullmatch(text)
        number = int(found[1]) if found else -1
        return number if column.lowest <= number <= column.highest else out_of_range

    return read


def _name(column: Column) -> Reader:
    def doubt(code: str, reason: str) -> Doubtful:
        remedy = "Give the name as the identity card has it, and check whether the columns have slipped."
        return Doubtful(Problem(column.name, code, reason, remedy))

    too_long = doubt("too-long", f"The name has more than {LONGEST_NAME} characters.")
    unprintable = doubt("control-character", "The name holds a control character.")
    formula = doubt("formula", "The name begins with a sign that makes a spreadsheet run it as a formula.")
    number = doubt("number", "This is a number, not a name.")

    def read(raw: str) -> str | Doubtful | None:
        text = _tidy(raw)
        if text in _ABSENT:
            return None
        if len(text) > LONGEST_NAME:
            return too_long
        if text.replace(" ", "").isalpha():
            return text
        if not text.isprintable():
            return unprintable
        if text[0] in _FORMULA_STARTS:
            return formula
        return number if _PERSONS_NUMBER.search(text) else text

    return read


def _text(column: Column) -> Reader:
    doubts = _TextDoubts(column, LONGEST_TEXT)
    numbers_allowed = column.privacy is Privacy.PERSONAL

    def read(raw: str) -> str | Doubtful | None:
        text = _tidy(raw)
        if text in _ABSENT:
            return None
        return doubts.of(text, numbers_allowed) or text

    return read


def _words(column: Column) -> Reader:
    doubts = _TextDoubts(column, LONGEST_WORDS)
    vocabulary = {_key(words): words for words in column.allowed}
    closed = column.kind is Kind.CLOSED_WORDS
    unknown = Doubtful(
        Problem(
            column.name,
            "unknown-words",
            "This is none of the values of the column.",
            f"Use one of: {' | '.join(column.allowed)}.",
            Severity.WARNING,
        )
    )

    def read(raw: str) -> str | Doubtful | None:
        text = _tidy(raw)
        if text in _ABSENT:
            return None
        known = vocabulary.get(_key(text))
        if known is not None:
            return known
        return unknown if closed else doubts.of(text) or text

    return read


class _TextDoubts:
    """What can be wrong with a text. None of it costs the row: the text is left out, or its first signs are."""

    def __init__(self, column: Column, longest: int) -> None:
        def doubt(code: str, reason: str, remedy: str) -> Problem:
            return Problem(column.name, code, reason, remedy, Severity.WARNING)

        self._longest = longest
        self._too_long = Doubtful(
            doubt("too-long", f"The text has more than {longest} characters and is left out.", "Shorten it.")
        )
        self._unprintable = Doubtful(
            doubt("control-character", "The text holds a control character and is left out.", "Remove it.")
        )
        self._number = Doubtful(
            doubt("number", "The text holds somebody's number and is left out.", "Check whether the columns slipped.")
        )
        self._formula = doubt(
            "formula",
            "The text begins with a sign that makes a spreadsheet run it as a formula; the sign is left out.",
            "Begin it with a letter or a digit.",
        )

    def of(self, text: str, numbers_allowed: bool = False) -> Doubtful | None:
        if len(text) > self._longest:
            return self._too_long
        if not text.isprintable():
            return self._unprintable
        if not numbers_allowed and _PERSONS_NUMBER.search(text):
            return self._number
        if text[0] in _FORMULA_STARTS:
            return Doubtful(self._formula, text.lstrip(_FORMULA_STARTS + " ") or None)
        return None


def _yes_no(column: Column) -> Reader:
    unknown = Doubtful(
        Problem(column.name, "not-yes-or-no", "This is neither yes nor no.", "Use Ya or Tidak.", Severity.WARNING)
    )

    def read(raw: str) -> bool | Doubtful | None:
        if raw.strip() in _ABSENT:
            return None
        key = _key(raw)
        return True if key in _YES else False if key in _NO else unknown

    return read


def _sex(column: Column) -> Reader:
    unknown = Doubtful(
        Problem(
            column.name,
            "unknown-words",
            "This is neither of the values of the column.",
            "Use Laki-laki or Perempuan.",
            Severity.WARNING,
        ),
        Sex.UNKNOWN,
    )

    def read(raw: str) -> Sex | Doubtful:
        if raw.strip() in _ABSENT:
            return Sex.UNKNOWN
        key = _key(raw)
        return Sex.MALE if key in _MALE else Sex.FEMALE if key in _FEMALE else unknown

    return read


def _date(column: Column) -> Reader:
    invalid = Doubtful(
        Problem(
            column.name,
            "no-date",
            "This is no date since 1900.",
            "Write dates as 1984-07-31 or 31/07/1984.",
            Severity.WARNING,
        )
    )

    def read(raw: str) -> date | Doubtful | None:
        text = raw.strip()
        if text in _ABSENT:
            return None
        if len(text) == 10 and text[4] == "-" and text[:4] >= "1900":
            try:
                return date.fromisoformat(text)
            except ValueError:
                return invalid
        found = _DATE.fullmatch(text)
        if found is None:
            return invalid
        year, month, day = found.group(1, 2, 3) if found[1] else found.group(6, 5, 4)
        try:
            return date(int(year), int(month), int(day)) if int(year) >= 1900 else invalid
        except ValueError:
            return invalid

    return read


def _sixteen_digits(column: Column, severity: Severity) -> Reader:
    malformed = Doubtful(
        Problem(
            column.name,
            "not-16-digits",
            "The number has not exactly 16 digits.",
            "Give all 16 digits, or leave the cell empty where there is no number.",
            severity,
        )
    )
    rounded = Doubtful(_rounded(column, severity))
    placeholder = Doubtful(
        Problem(
            column.name,
            "placeholder",
            "The number is a placeholder: all its digits are the same.",
            "Leave the cell empty where there is no number.",
            Severity.WARNING,
        )
    )

    def read(raw: str) -> str | Doubtful | None:
        number = raw.strip(" '\t\r\n\xa0")
        if number in _ABSENT:
            return None
        if len(number) != 16:
            if _ROUNDED_NUMBER.fullmatch(number):
                return rounded
            number = number.replace(" ", "").replace(".", "").replace("-", "")
        if len(number) != 16 or not number.isascii() or not number.isdigit():
            return malformed
        return number if number.strip(number[0]) else placeholder

    return read
