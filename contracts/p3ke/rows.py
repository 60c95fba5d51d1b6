"""A row of the list: what it says, how it is read, and whether the rows of a family agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter, itemgetter
from typing import Any

from contracts.areas import AreaCode
from contracts.p3ke.columns import COLUMNS, FAMILY_FIELDS, HEAD, Belongs
from contracts.p3ke.problems import Problem, Severity
from contracts.p3ke.values import Doubtful, reader_of
from contracts.registry import AgeBand, Sex


@dataclass(slots=True)
class PersonRow:
    """One person and, repeated in every row of the family, what the list says of the family.

    Texts of columns with a known vocabulary come in its spelling, others as they stand, with spaces tidied. None means
    that the list does not say. No text can start a formula in a spreadsheet.
    """

    # The family
    family_id: str
    province: str | None
    kabupaten: str | None
    kecamatan: str | None
    village: str | None
    village_code: AreaCode
    welfare_decile: int
    welfare_percentile: int | None
    address: str | None
    household_head: str | None
    house_ownership: str | None
    savings: str | None
    roof: str | None
    wall: str | None
    floor: str | None
    lighting: str | None
    cooking_fuel: str | None
    drinking_water: str | None
    latrine: str | None
    receives_bpnt: bool | None
    receives_bpum: bool | None
    receives_bst: bool | None
    receives_pkh: bool | None
    receives_sembako: bool | None
    stunting_risk: bool | None
    targeting_flag: str | None
    family_card_number: str | None
    # The person
    individual_id: str | None
    name: str | None
    national_id: str | None
    civil_registry_match: bool | None
    sex: Sex
    relation_to_head: str | None
    birth_date: date | None
    marital_status: str | None
    occupation: str | None
    education: str | None
    age_band: AgeBand
    # How it was read
    warnings: tuple[Problem, ...] = ()

    @property
    def is_head(self) -> bool:
        return self.relation_to_head == HEAD

    @property
    def social_assistance(self) -> tuple[str, ...]:
        """The programmes that the list says the family receives, such as ("BPNT", "PKH")."""
        received = (
            ("BPNT", self.receives_bpnt),
            ("BPUM", self.receives_bpum),
            ("BST", self.receives_bst),
            ("PKH", self.receives_pkh),
            ("Sembako", self.receives_sembako),
        )
        return tuple(programme for programme, received in received if received)


def parse_row(values: Mapping[str, str]) -> PersonRow | list[Problem]:
    """Reads one row, given by column name; unknown and missing optional columns do no harm.

    Gives every problem of a row that cannot be taken, its warnings among them. A value of an optional column that
    cannot be understood is None, with a warning: nobody drops off a list over a secondary column. The exceptions are a
    NIK that is given but has not 16 digits, and a name that is none.
    """
    try:
        return _read(_FAMILY_CELLS(values), _PERSON_CELLS(values), _AGE_BAND_CELLS(values))
    except KeyError:
        values = _NOTHING_SAID | dict(values)
        return _read(_FAMILY_CELLS(values), _PERSON_CELLS(values), _AGE_BAND_CELLS(values))


def row_parser(columns: Sequence[str]) -> Callable[[Sequence[str]], PersonRow | list[Problem]]:
    """`parse_row` for rows given as their cells in the order of these columns."""
    at = {column: position for position, column in enumerate(columns)}
    # A cell that stands for every column that the file has not.
    nowhere = len(columns)
    family, person, ticks = (
        itemgetter(*(at.get(column.name, nowhere) for column in part)) for part in (_FAMILY, _PERSON, _AGE_BAND_COLUMNS)
    )

    def parse(cells: Sequence[str]) -> PersonRow | list[Problem]:
        padded = (*cells, "")
        return _read(family(padded), person(padded), ticks(padded))

    return parse


def _read(family: tuple[str, ...], person: tuple[str, ...], ticks: tuple[str, ...]) -> PersonRow | list[Problem]:
    of_family, problems = _read_family(family)
    of_person = [read(cell) for read, cell in zip(_PERSON_READERS, person, strict=True)]
    ticked, more = _read_age_band(ticks)
    if more or Doubtful in map(type, of_person):
        problems += (*_settle(of_person), *more)
    row = PersonRow(*(*of_family, *of_person, ticked))
    problems += _contradictions(row)
    if problems:
        if any(problem.severity is Severity.REJECTION for problem in problems):
            return list(problems)
        row.warnings = problems
    return row


def family_fingerprint(row: PersonRow) -> bytes:
    """16 bytes that are equal for two rows whose family columns say the same, whatever their spelling.

    For comparing rows of one file that are not neighbours. It covers personal values: it may stand in a staging table,
    never in the log.
    """
    return blake2b(repr(_family_values(row)).encode(), digest_size=16).digest()


def conflicts(first: PersonRow, row: PersonRow) -> list[Problem]:
    """The family columns in which a row disagrees with the first row of its family; each rejects the later row."""
    if _family_values(first) == _family_values(row):
        return []
    return [problem for field, problem in _FAMILY_CONFLICTS.items() if getattr(first, field) != getattr(row, field)]


def age_band(birth_date: date, on: date) -> AgeBand:
    """The P3KE age band of somebody born on `birth_date`, by the completed years on the day `on`."""
    years = on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))
    return next((band for below, band in _BANDS_BELOW if years < below), AgeBand.FROM_60)


_BANDS_BELOW = (
    (7, AgeBand.UNDER_7),
    (13, AgeBand.FROM_7),
    (16, AgeBand.FROM_13),
    (19, AgeBand.FROM_16),
    (22, AgeBand.FROM_19),
    (60, AgeBand.FROM_22),
)


@lru_cache(maxsize=64)
def _read_family(cells: tuple[str, ...]) -> tuple[tuple[Any, ...], tuple[Problem, ...]]:
    """Remembered, because the rows of a family mostly stand together and repeat these columns word for word."""
    values = [read(cell) for read, cell in zip(_FAMILY_READERS, cells, strict=True)]
    problems = _settle(values)
    return tuple(values), problems


@lru_cache(maxsize=256)
def _read_age_band(cells: tuple[str, ...]) -> tuple[AgeBand, tuple[Problem, ...]]:
    said = [read(cell) for read, cell in zip(_AGE_BAND_READERS, cells, strict=True)]
    problems = _settle(said)
    ticked = [band for yes, band in zip(said, _AGE_BANDS, strict=True) if yes]
    if len(ticked) > 1:
        return AgeBand.UNKNOWN, (*problems, _SEVERAL_AGE_BANDS)
    return ticked[0] if ticked else AgeBand.UNKNOWN, problems


def _settle(values: list[Any]) -> tuple[Problem, ...]:
    """Puts what is to be taken in the place of each doubtful value; gives the problems."""
    problems = []
    for at, value in enumerate(values):
        if isinstance(value, Doubtful):
            values[at] = value.instead
            problems.append(value.problem)
    return tuple(problems)


def _contradictions(row: PersonRow) -> tuple[Problem, ...]:
    """What two columns say that cannot both be true. Warnings all: a NIK, once given, is never changed."""
    found: tuple[Problem, ...] = ()
    nik, born, percentile = row.national_id, row.birth_date, row.welfare_percentile
    if nik is not None:
        day = int(nik[6:8])
        if row.sex is not Sex.UNKNOWN and (day > 40) is not (row.sex is Sex.FEMALE):
            found += (_NIK_AGAINST_SEX,)
        day = day - 40 if day > 40 else day
        if born is not None and (day != born.day or int(nik[8:12]) != born.month * 100 + born.year % 100):
            found += (_NIK_AGAINST_BIRTH_DATE,)
    # A row whose decile cannot be read has no decile to compare with.
    if percentile is not None and row.welfare_decile and (percentile + 9) // 10 != row.welfare_decile:
        found += (_PERCENTILE_AGAINST_DECILE,)
    return found


def _contradiction(column: str, code: str, reason: str, remedy: str) -> Problem:
    return Problem(column, code, reason, remedy, Severity.WARNING)


_NIK_AGAINST_SEX = _contradiction(
    "nik", "nik-against-sex", "The NIK was given to somebody of the other sex.", "Check NIK and sex on the visit."
)
_NIK_AGAINST_BIRTH_DATE = _contradiction(
    "nik", "nik-against-birth-date", "The NIK was given with another birth date.", "Check both on the visit."
)
_PERCENTILE_AGAINST_DECILE = _contradiction(
    "persentil", "percentile-against-decile", "The percentile lies outside the decile.", "Check both with the source."
)
_SEVERAL_AGE_BANDS = _contradiction(
    "usia_dibawah_7",
    "several-age-bands",
    "More than one age band says yes; none is taken.",
    "Say yes to one age band only.",
)

_FAMILY = tuple(column for column in COLUMNS if column.belongs is Belongs.FAMILY)
_PERSON = tuple(column for column in COLUMNS if column.belongs is Belongs.PERSON and column.band is None)
_AGE_BAND_COLUMNS = tuple(column for column in COLUMNS if column.band is not None)
_AGE_BANDS = tuple(column.band for column in COLUMNS if column.band is not None)
_NOTHING_SAID = {column.name: "" for column in COLUMNS}

_FAMILY_READERS = tuple(reader_of(column) for column in _FAMILY)
_PERSON_READERS = tuple(reader_of(column) for column in _PERSON)
_AGE_BAND_READERS = tuple(reader_of(column) for column in _AGE_BAND_COLUMNS)

_FAMILY_CELLS = itemgetter(*(column.name for column in _FAMILY))
_PERSON_CELLS = itemgetter(*(column.name for column in _PERSON))
_AGE_BAND_CELLS = itemgetter(*(column.name for column in _AGE_BAND_COLUMNS))

_family_values = attrgetter(*FAMILY_FIELDS)
_FAMILY_CONFLICTS: dict[str, Problem] = {
    column.field: Problem(
        column.name,
        "family-conflict",
        "The row says something else of the family than the family's first row.",
        "Give all rows of a family the same family columns, or another family id if it is another family.",
    )
    for column in COLUMNS
    if column.belongs is Belongs.FAMILY
}
