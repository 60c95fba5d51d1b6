"""What a list has to come to, found from what was planted in it, by reading the file and no service's code."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts import areas
from contracts.areas import AreaCode
from deploy.demo import lists
from deploy.demo.lists import Defect, Summary


@dataclass(frozen=True)
class Expected:
    """What can be taken of a list, found from what was planted in it."""

    households: Counter[AreaCode]  # by kabupaten
    people: int
    reported: frozenset[tuple[int, str]]  # row and the problem's code; of what was planted with one


_REJECTS_ROW = {Defect.BAD_CODE, Defect.BAD_DECILE, Defect.BAD_NIK, Defect.BROKEN_ROW}


def expect(summary: Summary) -> Expected:
    """A household is taken whole or not: not without its head's row, nor with rows that contradict each other."""
    families = _rows_of(summary.path, {planted.family_id for planted in summary.planted})
    households, lost_people = Counter(summary.households), 0
    for planted in summary.planted:
        rows = families[planted.family_id]
        match planted.defect:
            case Defect.DUPLICATE_FAMILY:
                households[_kabupaten(rows)] += 1  # Another family, until somebody finds out at the door.
            case Defect.REPEATED_FAMILY:
                lost_people += planted.rows
            case Defect.DISAGREEING_FAMILY:
                households[_kabupaten(rows)] -= 1
                lost_people += len(rows)
            case defect if defect in _REJECTS_ROW:
                is_head = planted.row == min(rows)
                households[_kabupaten(rows)] -= is_head
                lost_people += len(rows) if is_head else 1
    reported = frozenset((planted.row, planted.problem) for planted in summary.planted if planted.problem)
    return Expected(households, summary.rows - lost_people, reported)


def _rows_of(path: Path, families: set[str]) -> dict[str, dict[int, list[str]]]:
    """Family id -> row number -> cells; as a spreadsheet counts, the header is row 1."""
    found: dict[str, dict[int, list[str]]] = {family: {} for family in families}
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(file, start=1):
            family = line[: line.find(",")]
            if family in found:
                found[family][number] = next(csv.reader([line]))
    return found


def _kabupaten(rows: Mapping[int, Sequence[str]]) -> AreaCode:
    """By its name, which no mistake is planted in."""
    first = next(iter(rows.values()))
    return _KABUPATEN[first[lists.HEADER.index("kabupaten_kota")]]


_KABUPATEN = {areas.name(code): code for code in areas.children(areas.NTB)}
