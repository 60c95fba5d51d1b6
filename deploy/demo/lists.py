"""Synthetic targeting lists: P3KE-like CSV files of any size, with defects planted and named where a test wants them.

`write_list` writes the hand-over, `second_list` the same population a quarter later. Both write household by household,
keep none, and return exactly what stands in the file, so that a test can compare without reading it by our own code.
"""

import csv
import io
import random
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TextIO

from contracts import areas
from contracts.areas import AreaCode
from contracts.figures import Measure, figure
from contracts.registry import Sex
from deploy.demo.people import LARGEST_HOUSEHOLD, Household, Person, family_id_of, household


@dataclass(frozen=True, slots=True)
class ListSize:
    """How many households and people, over how many villages of each kabupaten/kota (over all of them if None)."""

    name: str
    households: int
    people: int
    villages_per_kabupaten: int | None = None


NTB = ListSize("ntb", households=60_642, people=282_486)
"""The extremely poor of the hand-over of 2022: decile 1, percentile 1 to 3."""

SMALL = ListSize("small", households=1_000, people=4_658, villages_per_kabupaten=3)
"""NTB in small: the same mean size of a household, the same shares of the kabupaten."""

SIZES: Mapping[str, ListSize] = {size.name: size for size in (SMALL, NTB)}

FIRST_DATE = date(2022, 10, 10)
SECOND_DATE = date(2023, 1, 10)

# --- What is asked for, and what is in the file ----------------------------------------------------------------------


class Defect(StrEnum):
    BAD_CODE = "bad_code"  # a row's village code is missing, malformed or unknown
    BAD_DECILE = "bad_decile"
    BAD_NIK = "bad_nik"  # given, but not 16 digits
    BROKEN_ROW = "broken_row"  # a comma outside quotation marks: one cell too many
    NIK_DISAGREES = "nik_disagrees"  # with the birth date: a warning, the row is good
    DISAGREEING_FAMILY = "disagreeing_family"  # the last row of a family says something else of the family
    DUPLICATE_FAMILY = "duplicate_family"  # the same people again at the end of the file, as another family
    REPEATED_FAMILY = "repeated_family"  # the same rows again at the end of the file


@dataclass(frozen=True, slots=True)
class Defects:
    """How many of each to plant; no family gets more than one."""

    bad_code: int = 0
    bad_decile: int = 0
    bad_nik: int = 0
    broken_row: int = 0
    nik_disagrees: int = 0
    disagreeing_family: int = 0
    duplicate_family: int = 0
    repeated_family: int = 0


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted defect: where it stands, and what a reader has to say of it."""

    defect: Defect
    row: int  # as a spreadsheet counts: the header is row 1
    family_id: str
    column: str = ""
    problem: str = ""  # the Problem's code
    rows: int = 1  # from `row` on; more than one for a family at the end of the file
    original_family_id: str = ""  # the family whose people stand at the end of the file again


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list holds. Families that were planted at the end count as rows only."""

    path: Path
    rows: int  # without the header
    households: dict[AreaCode, int]  # by kabupaten/kota
    people: dict[AreaCode, int]
    planted: tuple[Planted, ...] = ()


Rank = tuple[int, int]
"""Welfare decile and percentile."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How many households of the second list differ from the first; each in one way only."""

    rank_changed: int
    delisted: int
    added: int
    renumbered: int  # another source id; the same people, and a head with the same NIK


@dataclass(frozen=True, slots=True)
class SecondSummary:
    """What the second list holds, and how it differs from the first. Households are named by family id."""

    summary: Summary
    rank_changed: dict[str, tuple[Rank, Rank]]  # before, now
    delisted: frozenset[str]
    added: frozenset[str]
    renumbered: dict[str, str]  # id before -> id now


def usual_changes(size: ListSize) -> Changes:
    """Of a hundred households five have another rank, three are gone, two are new and one is renumbered."""
    return Changes(*(size.households * percent // 100 for percent in (5, 3, 2, 1)))


# --- Writing ---------------------------------------------------------------------------------------------------------


def write_list(
    path: Path,
    size: ListSize = SMALL,
    *,
    seed: int = 1,
    dated: date = FIRST_DATE,
    defects: Defects | None = None,
) -> Summary:
    """Writes the list as CSV: UTF-8, one row per person, families together, village by village.

    The same arguments give the same bytes. Raises ValueError when there are not families enough for the defects.
    """
    population = Population(size, seed)
    sown = _sow(population, defects or Defects(), seed)
    planted: list[Planted] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = _Sheet(file, dated)
        for number in range(size.households):
            home = population.household(number)
            defect = sown.get(number)
            if defect is None or defect not in _SPOILING:
                sheet.write(home)
            else:
                planted.append(_write_spoilt(sheet, home, defect, len(planted)))
        for number, defect in sown.items():
            if defect not in _SPOILING:
                planted.append(_write_again(sheet, population.household(number), number, defect))
    return Summary(path, sheet.next_row - 2, dict(sheet.households), dict(sheet.people), tuple(planted))


def second_list(
    path: Path,
    size: ListSize = SMALL,
    *,
    seed: int = 1,
    dated: date = SECOND_DATE,
    changes: Changes | None = None,
    only: AreaCode = areas.NTB,
) -> SecondSummary:
    """Writes the list of a quarter later: the population that `write_list` draws for this size and seed, changed.

    Defects planted in the first list are unknown here: a duplicate family that stood there is in this one no more.
    With `only` the list is about this area alone, and so is what is returned.
    """
    changes = changes or usual_changes(size)
    population = Population(size, seed)
    rng = random.Random(f"changes of {seed}")
    order = rng.sample(range(size.households), size.households)
    delisted = set(_take(order, changes.delisted))
    ranked = set(_take(order, changes.rank_changed))
    renumbered = set(_take(order, changes.renumbered, population.head_has_nik))
    everybody = range(size.households + changes.added)
    here = [number for number in everybody if areas.covers(only, population.village(number))]
    ranks: dict[str, tuple[Rank, Rank]] = {}
    ids: dict[str, str] = {}
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = _Sheet(file, dated)
        for number in here:
            if number in delisted:
                continue
            home = population.household(number)
            if number in ranked:
                ranks[family_id_of(number)] = _give_another_rank(home, rng)
            if number in renumbered:
                ids[family_id_of(number)] = _number_anew(home, _RENUMBERED + number)
            sheet.write(home)
    return SecondSummary(
        Summary(path, sheet.next_row - 2, dict(sheet.households), dict(sheet.people)),
        rank_changed=ranks,
        delisted=frozenset(family_id_of(number) for number in here if number in delisted),
        added=frozenset(family_id_of(number) for number in here if number >= size.households),
        renumbered=ids,
    )


_RENUMBERED = 8_000_000
_DUPLICATE = 9_000_000
"""Added to a household's number for its other family ids; far above any household's own."""


def _give_another_rank(home: Household, rng: random.Random) -> tuple[Rank, Rank]:
    """One of percentile 1 to 12 that it does not have: most stay among the poorest tenth."""
    before = home.welfare_decile, home.welfare_percentile
    drawn = 1 + int(rng.random() * 11)
    home.welfare_percentile = drawn + (drawn >= home.welfare_percentile)
    return before, (home.welfare_decile, home.welfare_percentile)


def _number_anew(home: Household, number: int) -> str:
    home.family_id = family_id_of(number)
    for at, person in enumerate(home.members):
        person.individual_id = f"{home.family_id}-{at + 1:02}"
    return home.family_id


_FAMILY_COLUMNS = (
    *("id_keluarga", "provinsi", "kabupaten_kota", "kecamatan", "desa_kelurahan", "kode_kemdagri"),
    *("desil_kesejahteraan", "persentil", "alamat", "kepala_keluarga"),
    *("kepemilikan_rumah", "simpanan", "jenis_atap", "jenis_dinding", "jenis_lantai", "sumber_penerangan"),
    *("bahan_bakar_memasak", "sumber_air_minum", "fasilitas_bab"),
    *("bpnt", "bpum", "bst", "pkh", "sembako", "resiko_stunting", "pensasaran", "nomor_kk"),
)
_PERSON_COLUMNS = (
    *("id_individu", "nama", "nik", "padan_dukcapil", "jenis_kelamin", "hubungan_kepala_keluarga", "tanggal_lahir"),
    *("status_kawin", "pekerjaan", "pendidikan"),
)
_AGE_BAND_COLUMNS = (
    *("usia_60_keatas", "usia_22_59", "usia_19_21", "usia_16_18", "usia_13_15", "usia_7_12", "usia_dibawah_7"),
)
HEADER = (*_FAMILY_COLUMNS, *_PERSON_COLUMNS, *_AGE_BAND_COLUMNS)
_AT = {column: at for at, column in enumerate(HEADER)}


class _Sheet:
    """Writes rows and counts them."""

    def __init__(self, file: TextIO, dated: date) -> None:
        self._file = file
        self._cells = io.StringIO()
        self._csv = csv.writer(self._cells, lineterminator="")
        # Who was born on or before the day of a band's lowest age is in that band, the oldest band first.
        self._births = [_years_before(dated, years) for years in (60, 22, 19, 16, 13, 7)]
        self._band_cells = [tuple("Ya" if at == band else "Tidak" for at in range(7)) for band in range(7)]
        self._bands = [self._joined(cells) for cells in self._band_cells]
        self.next_row = 1
        self.households: Counter[AreaCode] = Counter()
        self.people: Counter[AreaCode] = Counter()
        self.write_rows([HEADER])

    def write(self, home: Household) -> None:
        """Writes a household that is to be counted."""
        # The family's cells, more than half of the file, are put into CSV once for all its rows. The person's hold no
        # comma and no quotation mark, so that joining them is CSV already; the tests read them back.
        family = self._joined(_family_cells(home))
        self._file.writelines(
            f"{family},{','.join(_person_cells(person))},{self._bands[self._band_of(person)]}\n"
            for person in home.members
        )
        self.next_row += len(home.members)
        self.count(home)

    def count(self, home: Household) -> None:
        kabupaten = home.village_code[:5]
        self.households[kabupaten] += 1
        self.people[kabupaten] += len(home.members)

    def rows_of(self, home: Household) -> list[list[str]]:
        family = _family_cells(home)
        return [[*family, *_person_cells(person), *self._band_cells[self._band_of(person)]] for person in home.members]

    def write_rows(self, rows: Sequence[Sequence[str]]) -> None:
        self._file.writelines(self._joined(row) + "\n" for row in rows)
        self.next_row += len(rows)

    def _band_of(self, person: Person) -> int:
        return bisect_left(self._births, person.birth_date)

    def _joined(self, cells: Sequence[str]) -> str:
        self._csv.writerow(cells)
        text = self._cells.getvalue()
        self._cells.seek(0)
        self._cells.truncate()
        return text


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February of a year that has none.
        return day.replace(year=day.year - years, day=28)


def _family_cells(home: Household) -> tuple[str, ...]:
    return (
        home.family_id,
        *_place(home.village_code),
        str(home.welfare_decile),
        str(home.welfare_percentile),
        home.address,
        home.head.name,
        *home.conditions.values(),
        *("Ya" if received else "Tidak" for received in home.assistance.values()),
        "P3KE",
        home.family_card_number,
    )


def _person_cells(person: Person) -> tuple[str, ...]:
    return (
        person.individual_id,
        person.name,
        person.national_id,
        "Ya" if person.civil_registry_match else "Tidak",
        "Perempuan" if person.sex is Sex.FEMALE else "Laki-laki",
        person.relation_to_head,
        person.birth_date.isoformat(),
        person.marital_status,
        person.occupation,
        person.education,
    )


@cache
def _place(village: AreaCode) -> tuple[str, ...]:
    return (*(areas.name(code) for code in (*areas.ancestors(village), village)), village)


# --- The population --------------------------------------------------------------------------------------------------


class Population:
    """Which household lives where, and of how many people it is; the households themselves are made when asked for."""

    def __init__(self, size: ListSize, seed: int) -> None:
        rng = random.Random(f"population of {seed}")
        self.households = size.households
        self._seed = seed
        self._villages: list[AreaCode] = []
        self._village_of = array("H")
        for kabupaten, households in households_by_kabupaten(size.households).items():
            villages = areas.villages(kabupaten)
            if size.villages_per_kabupaten is not None:
                villages = tuple(sorted(rng.sample(villages, size.villages_per_kabupaten)))
            # Poverty is not spread evenly: some villages are pockets of it.
            weights = [Fraction(rng.lognormvariate(0, 0.5)) for _ in villages]
            for village, share in zip(villages, largest_remainder(households, weights), strict=True):
                self._village_of.extend([len(self._villages)] * share)
                self._villages.append(village)
        self._size_of = household_sizes(rng, size.households, size.people)

    def household(self, number: int) -> Household:
        """The household of that number; from the population's size on, one that is new in a second list."""
        village, people = self._home(number)
        return household(self._seed, number, village, people)

    def village(self, number: int) -> AreaCode:
        return self._home(number)[0]

    def _home(self, number: int) -> tuple[AreaCode, int]:
        if number < self.households:
            return self._villages[self._village_of[number]], self._size_of[number]
        rng = random.Random(f"newcomer {number} of {self._seed}")
        return rng.choice(self._villages), rng.randint(2, 7)

    def has_several_people(self, number: int) -> bool:
        return self._size_of[number] > 1

    def head_has_nik(self, number: int) -> bool:
        return self.household(number).head.national_id != ""


def households_by_kabupaten(households: int) -> dict[AreaCode, int]:
    """Spreads households over NTB's kabupaten/kota by their poor in March 2022, by largest remainders.

    How the 60,642 really lie is not published.
    """
    kabupaten = areas.children(areas.NTB)
    poor = [Fraction(figure(code, Measure.POOR_THOUSANDS, 2022)) for code in kabupaten]
    return dict(zip(kabupaten, largest_remainder(households, poor), strict=True))


def largest_remainder(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Whole shares that add up to `total`, none more than one away from its exact share (Hamilton's method)."""
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda at: exact[at] - shares[at], reverse=True)
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return shares


def household_sizes(rng: random.Random, households: int, people: int) -> bytearray:
    """One size per household, 1 to 10, adding up to `people` exactly; for the list's mean, few need to be nudged."""
    if not households <= people <= households * LARGEST_HOUSEHOLD:
        raise ValueError(f"{people} people do not make {households} households of 1 to {LARGEST_HOUSEHOLD}.")
    # The usual sizes of households in hundredths; their mean is 4.658, the list's is 4.658.
    shares = (3, 9, 16, 22, 20, 14, 8, 4.5, 2.2, 1.3)
    sizes = bytearray(rng.choices(range(1, LARGEST_HOUSEHOLD + 1), shares, k=households))
    missing = people - sum(sizes)
    step = 1 if missing > 0 else -1
    while missing:
        at = rng.randrange(households)
        if 1 <= sizes[at] + step <= LARGEST_HOUSEHOLD:
            sizes[at] += step
            missing -= step
    return sizes


# --- Planting --------------------------------------------------------------------------------------------------------

_Spoil = Callable[[list[list[str]], Household, int, int], Planted]
"""Spoils the rows of a household, of which the first stands at a row number, in the n-th of its ways."""


def _sow(population: Population, defects: Defects, seed: int) -> dict[int, Defect]:
    """Household number -> the defect that it gets."""
    wanted: dict[str, int] = asdict(defects)
    if not any(wanted.values()):
        return {}
    order = random.Random(f"defects of {seed}").sample(range(population.households), population.households)
    needs = {
        Defect.NIK_DISAGREES: population.head_has_nik,
        Defect.DISAGREEING_FAMILY: population.has_several_people,
        Defect.DUPLICATE_FAMILY: population.head_has_nik,
    }
    return {number: defect for defect in Defect for number in _take(order, wanted[defect], needs.get(defect))}


def _take(order: list[int], count: int, fits: Callable[[int], bool] | None = None) -> Iterator[int]:
    """Takes the next `count` households that fit off the order."""
    while count:
        if not order:
            raise ValueError("The list has not households enough for what is to be planted or changed: ask for less.")
        number = order.pop()
        if fits is None or fits(number):
            yield number
            count -= 1


def _wrong_cell(defect: Defect, column: str, *ways: tuple[str, str]) -> _Spoil:
    """Puts a wrong text into one row; `ways` are the texts, each with the problem that it makes."""

    def spoil(rows: list[list[str]], home: Household, first_row: int, nth: int) -> Planted:
        at = nth % len(rows)
        text, problem = ways[nth % len(ways)]
        rows[at][_AT[column]] = text
        return Planted(defect, first_row + at, home.family_id, column, problem)

    return spoil


def _one_cell_too_many(rows: list[list[str]], home: Household, first_row: int, nth: int) -> Planted:
    at = nth % len(rows)
    rows[at].insert(_AT["alamat"], "Blok A")
    return Planted(Defect.BROKEN_ROW, first_row + at, home.family_id, problem="wrong-number-of-cells")


def _another_birth_month(rows: list[list[str]], home: Household, first_row: int, nth: int) -> Planted:
    nik = rows[0][_AT["nik"]]
    rows[0][_AT["nik"]] = f"{nik[:8]}{int(nik[8:10]) % 12 + 1:02}{nik[10:]}"
    return Planted(Defect.NIK_DISAGREES, first_row, home.family_id, "nik", "nik-against-birth-date")


def _another_family_column(rows: list[list[str]], home: Household, first_row: int, nth: int) -> Planted:
    column, texts = (
        ("desil_kesejahteraan", ("2",)),
        ("alamat", ("Dusun Pindahan, RT 099",)),
        ("sumber_air_minum", ("Air Hujan", "Sumur Bor")),
    )[nth % 3]
    cells = rows[-1]
    cells[_AT[column]] = next(text for text in texts if text != cells[_AT[column]])
    row = first_row + len(rows) - 1
    return Planted(Defect.DISAGREEING_FAMILY, row, home.family_id, column, "family-conflict")


_SPOILING: Mapping[Defect, _Spoil] = {
    Defect.BAD_CODE: _wrong_cell(
        Defect.BAD_CODE,
        "kode_kemdagri",
        ("52.99.99.2999", "unknown-village"),
        ("52.01", "malformed-code"),
        ("", "missing"),
        ("5201-01-2001", "malformed-code"),
    ),
    Defect.BAD_DECILE: _wrong_cell(
        Defect.BAD_DECILE,
        "desil_kesejahteraan",
        ("0", "out-of-range"),
        ("11", "out-of-range"),
        ("", "missing"),
        ("satu", "out-of-range"),
    ),
    Defect.BAD_NIK: _wrong_cell(
        Defect.BAD_NIK,
        "nik",
        ("527001", "not-16-digits"),
        ("5,27001E+15", "rounded-number"),
        ("527001311284000X", "not-16-digits"),
        ("52700131128400011", "not-16-digits"),
    ),
    Defect.BROKEN_ROW: _one_cell_too_many,
    Defect.NIK_DISAGREES: _another_birth_month,
    Defect.DISAGREEING_FAMILY: _another_family_column,
}


def _write_spoilt(sheet: _Sheet, home: Household, defect: Defect, nth: int) -> Planted:
    rows = sheet.rows_of(home)
    planted = _SPOILING[defect](rows, home, sheet.next_row, nth)
    sheet.write_rows(rows)
    sheet.count(home)
    return planted


def _write_again(sheet: _Sheet, home: Household, number: int, defect: Defect) -> Planted:
    """Writes a family that stands in the list already, under its own id or as if it were another family."""
    original = home.family_id
    if defect is Defect.DUPLICATE_FAMILY:
        _number_anew(home, _DUPLICATE + number)
    row = sheet.next_row
    sheet.write_rows(sheet.rows_of(home))
    return Planted(defect, row, home.family_id, rows=len(home.members), original_family_id=original)
