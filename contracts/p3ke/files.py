"""A list's file: its header, and its rows one by one in constant memory, whatever it holds."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from contracts.p3ke.columns import ALIASES, COLUMNS, Column
from contracts.p3ke.problems import Problem, Severity
from contracts.p3ke.rows import PersonRow, row_parser
from contracts.p3ke.values import reader_of

LONGEST_ROW_BYTES = 65_536
LONGEST_ROW_LINES = 20  # a quoted address may hold line breaks


class UnreadableList(ValueError):
    """The file as a whole cannot be read as a list; `problems` say why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(" ".join(f"{problem.reason} {problem.remedy}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Header:
    """The column names of a file in this format's spelling, in the file's order; "" for a column that is ignored."""

    columns: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()  # one per ignored column


def read_header(cells: Sequence[str]) -> Header:
    """Raises UnreadableList when a required column is missing or a column stands twice."""
    columns = tuple(_COLUMN_NAMES.get(_heading(cell), "") for cell in cells)
    if len(cells) == 1 and (";" in cells[0] or "\t" in cells[0]):
        raise UnreadableList(_WRONG_SEPARATOR)
    problems = [_missing_column(column) for column in COLUMNS if column.required and column.name not in columns]
    problems += [_column_twice(name) for name in dict.fromkeys(columns) if name and columns.count(name) > 1]
    if problems:
        raise UnreadableList(*problems)
    ignored = (_ignored_column(cells[at], at + 1) for at, name in enumerate(columns) if not name and cells[at].strip())
    return Header(columns, tuple(ignored))


def _heading(cell: str) -> str:
    return "_".join(_HEADING_WORDS.findall(cell.lower()))


_HEADING_WORDS = re.compile(r"[a-z0-9]+")
_COLUMN_NAMES = {column.name: column.name for column in COLUMNS} | ALIASES
_PLAUSIBLE_HEADING = re.compile(r"(?!.*[0-9]{4})[a-z][a-z0-9_]{1,39}")


def _missing_column(column: Column) -> Problem:
    return Problem(
        column.name,
        "missing-column",
        f"The required column {column.name} is missing.",
        f"Add it ({column.meaning}); the first row must hold the column names.",
    )


def _column_twice(name: str) -> Problem:
    return Problem(name, "column-twice", f"The column {name} stands more than once.", "Keep one of them.")


def _ignored_column(cell: str, position: int) -> Problem:
    heading = _heading(cell)
    # What is no plausible heading may be a value, and stays unsaid.
    name = heading if _PLAUSIBLE_HEADING.fullmatch(heading) else f"number {position}"
    return Problem(
        "",
        "ignored-column",
        f"The column {name} is not part of the format and is ignored.",
        "Remove it, or rename it if it is one of the format's columns.",
        Severity.WARNING,
    )


class ListReader:
    """Reads a list row by row, in constant memory, whatever the file holds.

    Gives (row, PersonRow | problems) for every row that is not empty; `row` counts as a spreadsheet does: the header is
    row 1. A row that cannot be read costs that row and no other. Raises UnreadableList if the header cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._lines = _Lines(file)
        self._csv = csv.reader(self._lines, strict=True)
        self.row = 0
        self._cells: list[str] = []
        cells = self._next_cells()
        if isinstance(cells, Problem):
            raise UnreadableList(cells)
        self.header = read_header(cells or ())
        self._parse_cells = row_parser(self.header.columns)

    @property
    def offset(self) -> int:
        """How many bytes of the file the header and the rows given so far took."""
        return self._lines.offset

    @property
    def family_id(self) -> str | None:
        """The family that the row given last names, where that can be read: of a row that cannot be taken too."""
        at = self.header.columns.index(_FAMILY_ID.name)
        named = _read_family_id(self._cells[at]) if at < len(self._cells) else None
        return named if isinstance(named, str) else None

    def resume(self, row: int, offset: int) -> None:
        """Goes on after `row`, where an earlier reader of the same, seekable file stood at `offset`."""
        self._lines.seek(offset)
        self._csv = csv.reader(self._lines, strict=True)
        self.row = row

    def __iter__(self) -> Iterator[tuple[int, PersonRow | list[Problem]]]:
        while (cells := self._next_cells()) is not None:
            self._cells = [] if isinstance(cells, Problem) else cells
            if isinstance(cells, Problem):
                yield self.row, [cells]
            elif any(cells):
                yield self.row, self._parse(cells)

    def _parse(self, cells: list[str]) -> PersonRow | list[Problem]:
        width = len(self.header.columns)
        if len(cells) > width and not any(cells[width:]):
            del cells[width:]
        return self._parse_cells(cells) if len(cells) == width else [_WRONG_WIDTH]

    def _next_cells(self) -> list[str] | Problem | None:
        """The cells of the next row, or why it has none; None at the end of the file."""
        self._lines.begin_row()
        try:
            cells = next(self._csv, None)
        except _BrokenRow as broken:
            return self._skip_broken_row(broken.problem)
        except csv.Error:
            return self._skip_broken_row(_BAD_QUOTES)
        self.row += cells is not None
        return cells

    def _skip_broken_row(self, problem: Problem) -> Problem:
        """Goes on with the line after the broken row's first, whatever the row had swallowed."""
        swallowed = self._lines.give_back_all_but_first()
        self._csv = csv.reader(self._lines, strict=True)
        self.row += 1
        return _OPEN_QUOTE if swallowed else problem


_FAMILY_ID = next(column for column in COLUMNS if column.field == "family_id")
_read_family_id = reader_of(_FAMILY_ID)


class _BrokenRow(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _Line(NamedTuple):
    content: bytes  # cut after LONGEST_ROW_BYTES + 1
    size: int


class _Lines:
    """The physical lines of a file, for a CSV reader. Knows those of the present row and can take them back.

    An open quotation mark would swallow the rest of the file; here it costs the row it stands in.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._given_back: list[_Line] = []  # the next one last
        self._row: list[_Line] = []
        self._row_bytes = 0
        self.offset = 0

    def begin_row(self) -> None:
        self._row.clear()
        self._row_bytes = 0

    def give_back_all_but_first(self) -> bool:
        """Whether there was any other."""
        for line in reversed(self._row[1:]):
            self._given_back.append(line)
            self.offset -= line.size
        return len(self._row) > 1

    def seek(self, offset: int) -> None:
        self._file.seek(offset)
        self._given_back.clear()
        self.offset = offset

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self._row) == LONGEST_ROW_LINES:
            raise _BrokenRow(_OPEN_QUOTE)
        line = self._given_back.pop() if self._given_back else self._read()
        if not line.size:
            raise StopIteration
        content = line.content.removeprefix(_BOM) if self.offset == 0 else line.content
        self._row.append(line)
        self._row_bytes += line.size
        self.offset += line.size
        if self._row_bytes > LONGEST_ROW_BYTES:
            raise _BrokenRow(_TOO_LONG)
        if b"\0" in content:
            raise _BrokenRow(_NUL)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise _BrokenRow(_NOT_UTF8) from None

    def _read(self) -> _Line:
        content = self._file.readline(LONGEST_ROW_BYTES + 1)
        size = len(content)
        end = content
        while len(end) > LONGEST_ROW_BYTES and not end.endswith(b"\n"):
            end = self._file.readline(LONGEST_ROW_BYTES + 1)
            size += len(end)
        return _Line(content, size)


_BOM = b"\xef\xbb\xbf"

_NOT_UTF8 = Problem(
    "", "not-utf-8", "The row is not UTF-8 text.", "Export the file as “CSV UTF-8”, not as Unicode text or ANSI."
)
_NUL = Problem(
    "",
    "control-character",
    "The row holds a NUL character: the file is damaged, or UTF-16.",
    "Export the file again as “CSV UTF-8”.",
)
_TOO_LONG = Problem(
    "",
    "row-too-long",
    f"The row has more than {LONGEST_ROW_BYTES} bytes.",
    "Check the line breaks and the cells of the row; one line per person.",
)
_OPEN_QUOTE = Problem(
    "",
    "open-quotation-mark",
    "A quotation mark that the row opens is not closed.",
    'Close it, or double it ("") where it is part of the text.',
)
_BAD_QUOTES = Problem(
    "",
    "misplaced-quotation-mark",
    "The row's quotation marks or line breaks are not those of a CSV file.",
    'Put a cell with commas, quotation marks or line breaks into quotation marks, and double ("") those inside it.',
)
_WRONG_WIDTH = Problem(
    "",
    "wrong-number-of-cells",
    "The row has not as many cells as the header.",
    "Look for a comma outside quotation marks, or a cell that is missing.",
)
_WRONG_SEPARATOR = Problem(
    "",
    "wrong-separator",
    "The columns are not separated by commas.",
    "Export the file with commas as separators; spreadsheets set to Indonesian write semicolons.",
)
