"""The synthetic lists: exact in number, impossible in person, and defective only where something was planted.

The files are read here by `csv` alone, and compared with what the writer returned; then by the format's own reader.
"""

import csv
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import areas
from contracts.p3ke import COLUMNS, ListReader, PersonRow, age_band, conflicts
from contracts.registry import Sex
from deploy.demo import lists, people
from deploy.demo.lists import NTB, SMALL, Changes, Defect, Defects, ListSize, Planted, Summary

POOR_OF_MARCH_2022 = {  # thousands; BPS
    "52.01": "99.01",
    "52.02": "128.00",
    "52.03": "189.64",
    "52.04": "64.73",
    "52.05": "33.27",
    "52.06": "74.46",
    "52.07": "21.28",
    "52.08": "59.82",
    "52.71": "45.30",
    "52.72": "16.44",
}


def expected_households(total: int) -> dict[str, int]:
    """Hamilton's method once more, in decimals."""
    poor = {code: Decimal(number) for code, number in POOR_OF_MARCH_2022.items()}
    exact = {code: total * number / sum(poor.values()) for code, number in poor.items()}
    shares = {code: int(share.to_integral_value(ROUND_FLOOR)) for code, share in exact.items()}
    left = total - sum(shares.values())
    for code in sorted(exact, key=lambda code: exact[code] % 1, reverse=True)[:left]:
        shares[code] += 1
    return shares


Rows = list[dict[str, str]]


def rows_in(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, strict=True)


def is_impossible(nik: str) -> bool:
    """Kabupaten are numbered 01-69 and kota 71-99, so that no region begins with 5270; serials begin with 0001."""
    return len(nik) == 16 and nik.isdigit() and (nik.startswith("5270") or nik.endswith("0000"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return lists.write_list(tmp_path_factory.mktemp("lists") / "small.csv")


@pytest.fixture(scope="module")
def rows(small: Summary) -> Rows:
    return list(rows_in(small.path))


# --- NTB as a whole --------------------------------------------------------------------------------------------------


def test_the_list_of_ntb_has_exactly_the_households_and_people_of_2022(tmp_path):
    started = time.perf_counter()
    summary = lists.write_list(tmp_path / "ntb.csv", NTB)
    seconds = time.perf_counter() - started
    families, niks, villages, bad = Counter(), set(), Counter(), Counter()
    people_of: Counter[str] = Counter()
    nik_count = 0
    with summary.path.open("rb") as file:
        for row, read in ListReader(file):
            if not isinstance(read, PersonRow) or read.warnings:
                bad[row] += 1
                continue
            if read.family_id not in families:
                villages[read.village_code] += 1
            families[read.family_id] += 1
            people_of[read.village_code[:5]] += 1
            if read.national_id:
                nik_count += 1
                assert is_impossible(read.national_id)
                niks.add(read.national_id)
            assert (read.welfare_decile, read.welfare_percentile in (1, 2, 3)) == (1, True)
    assert not bad
    assert (len(families), sum(families.values())) == (60_642, 282_486)
    assert len(niks) == nik_count > 250_000
    assert set(villages) == set(areas.villages("52"))
    by_kabupaten: Counter[str] = Counter()
    for village, households in villages.items():
        by_kabupaten[village[:5]] += households
    assert by_kabupaten == expected_households(60_642) == summary.households
    assert people_of == summary.people
    assert summary.rows == 282_486
    # A floor that holds on a loaded machine; alone it takes 5 to 6 seconds on two slow cores.
    assert seconds < 30


# --- A list ----------------------------------------------------------------------------------------------------------


def test_the_small_list_has_its_size_and_the_shares_of_ntb(small, rows):
    families = {row["id_keluarga"]: row["kode_kemdagri"] for row in rows}
    assert (len(families), len(rows), small.rows) == (1_000, 4_658, 4_658)
    assert Counter(code[:5] for code in families.values()) == expected_households(1_000) == small.households
    assert Counter(row["kode_kemdagri"][:5] for row in rows) == small.people
    villages = Counter(code[:5] for code in set(families.values()))
    assert villages == dict.fromkeys(areas.children("52"), 3)


def test_the_file_has_every_column_of_the_format(rows):
    assert set(rows[0]) == {column.name for column in COLUMNS}
    assert all(None not in row and None not in row.values() for row in rows)


def test_values_are_those_of_the_format(rows):
    for column in COLUMNS:
        if column.allowed:
            assert {row[column.name] for row in rows} <= set(column.allowed), column.name


def test_the_reader_takes_every_row_and_gives_back_what_the_file_says(small, rows):
    with small.path.open("rb") as file:
        read = dict(ListReader(file))
    assert list(read) == list(range(2, 4_660))
    for number, row in zip(read, rows, strict=True):
        person = read[number]
        assert isinstance(person, PersonRow)
        assert person.warnings == ()
        for column in COLUMNS:
            value = getattr(person, column.field)
            if column.band is not None:
                assert (row[column.name] == "Ya") == (value == column.band)
            elif isinstance(value, bool):
                assert row[column.name] == ("Ya" if value else "Tidak")
            elif isinstance(value, Sex):
                assert row[column.name] == ("Laki-laki" if value is Sex.MALE else "Perempuan")
            else:
                assert row[column.name] == ("" if value is None else str(value))


def test_the_rows_of_a_family_stand_together_and_agree(small):
    with small.path.open("rb") as file:
        families = defaultdict(list)
        order = []
        for _, person in ListReader(file):
            families[person.family_id].append(person)
            order.append(person.family_id)
    assert [family for family, _ in groupby(order)] == list(families)
    for members in families.values():
        assert all(conflicts(members[0], member) == [] for member in members)
        assert [member.is_head for member in members] == [True, *[False] * (len(members) - 1)]
        assert members[0].household_head == members[0].name


def test_nobody_in_the_list_can_be_anybody(rows):
    niks = [row["nik"] for row in rows if row["nik"]]
    assert all(map(is_impossible, niks))
    assert len(set(niks)) == len(niks)
    assert 0.9 < len(niks) / len(rows) < 0.99  # some of the poorest have none
    cards = {row["nomor_kk"]: row["id_keluarga"] for row in rows if row["nomor_kk"]}
    assert len(set(cards.values())) == len(cards)
    assert all(map(is_impossible, cards))


def test_a_nik_agrees_with_its_person(rows):
    for row in rows:
        if row["nik"]:
            year, month, day = row["tanggal_lahir"].split("-")
            woman = row["jenis_kelamin"] == "Perempuan"
            assert row["nik"][6:12] == f"{int(day) + 40 * woman:02}{month}{year[2:]}"


def test_people_look_like_people(rows):
    heads = [row for row in rows if row["hubungan_kepala_keluarga"] == "Kepala Keluarga"]
    assert len(heads) == 1_000
    assert 0.82 < sum(row["jenis_kelamin"] == "Laki-laki" for row in heads) / 1_000 < 0.95
    born = {row["id_individu"]: date.fromisoformat(row["tanggal_lahir"]) for row in rows}
    assert len(born) == len(rows)
    assert max(born.values()) <= people.AGES_AS_OF
    head_of = {row["id_keluarga"]: born[row["id_individu"]] for row in heads}
    for row in rows:
        if row["hubungan_kepala_keluarga"] in ("Anak", "Cucu"):
            assert born[row["id_individu"]] > head_of[row["id_keluarga"]] + timedelta(days=17 * 365)
        if row["pekerjaan"] == "Pelajar/Mahasiswa":
            assert born[row["id_individu"]].year > 2000
    assert all(row["tanggal_lahir"] < "2006" for row in heads)
    sizes = Counter(Counter(row["id_keluarga"] for row in rows).values())
    assert set(sizes) == set(range(1, 11))


def test_poverty_shows_in_how_households_live():
    def share(percentile: int, column: str, value: str) -> float:
        homes = [people.household(7, number, "52.01.01.2002", 4, percentile) for number in range(400)]
        return sum(home.conditions[column] == value for home in homes) / 400

    for column, value in (("jenis_lantai", "Tanah"), ("simpanan", "Tidak"), ("bahan_bakar_memasak", "Arang/Kayu")):
        assert share(1, column, value) > share(50, column, value) + 0.1 > share(100, column, value) + 0.2
    assert (
        share(1, "fasilitas_bab", "Ya, dengan Septic Tank") < 0.3 < share(90, "fasilitas_bab", "Ya, dengan Septic Tank")
    )


def test_names_and_hamlets_are_those_of_the_place(rows):
    in_bima = [row["alamat"] for row in rows if row["kode_kemdagri"].startswith("52.06")]
    assert any("Doro" in address or "Sori" in address or "Oi" in address for address in in_bima)
    assert any(row["nama"].startswith("Baiq ") for row in rows if row["kode_kemdagri"].startswith("52.02"))
    assert not any(row["nama"].startswith("Baiq ") for row in rows if row["kode_kemdagri"].startswith("52.04"))
    assert len({row["nama"] for row in rows}) > 1_000


@pytest.mark.parametrize("dated", [lists.FIRST_DATE, date(2024, 2, 29), date(2023, 2, 28)])
def test_age_bands_are_those_of_the_lists_day(tmp_path, dated):
    summary = lists.write_list(tmp_path / "list.csv", dated=dated)
    with summary.path.open("rb") as file:
        for _, person in ListReader(file):
            assert person.age_band is age_band(person.birth_date, dated)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, small):
    digest = {
        seed: hashlib.sha256(lists.write_list(tmp_path / f"{seed}.csv", seed=seed).path.read_bytes()).hexdigest()
        for seed in (1, 2)
    }
    assert digest[1] == hashlib.sha256(small.path.read_bytes()).hexdigest() != digest[2]


def test_a_household_is_the_same_whenever_it_is_made():
    made = people.household(3, 77, "52.06.01.2001", 6)
    people.household(3, 78, "52.06.01.2001", 6)
    assert people.household(3, 77, "52.06.01.2001", 6) == made
    assert len(made.members) == 6


@pytest.mark.parametrize(("number", "size"), [(-1, 4), (people.MOST_HOUSEHOLDS, 4), (0, 0), (0, 11)])
def test_a_household_that_could_repeat_a_nik_is_refused(number, size):
    with pytest.raises(ValueError, match="cannot be made"):
        people.household(1, number, "52.01.01.2002", size)
    last = people.household(1, people.MOST_HOUSEHOLDS - 1, "52.01.01.2002", 10)
    assert all(is_impossible(person.national_id) for person in last.members if person.national_id)


# --- Distribution ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.lists(st.integers(1, 1_000), min_size=1, max_size=30))
def test_largest_remainders_add_up_and_stay_within_one_of_the_exact_share(total, weights):
    shares = lists.largest_remainder(total, [Fraction(weight) for weight in weights])
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


@pytest.mark.parametrize(("households", "people_wanted"), [(10, 10), (10, 100), (1, 7), (1_000, 4_658)])
def test_sizes_add_up_exactly(households, people_wanted):
    size = ListSize("any", households, people_wanted, 1)
    population = lists.Population(size, seed=5)
    counts = [len(population.household(number).members) for number in range(households)]
    assert sum(counts) == people_wanted
    assert 1 <= min(counts) <= max(counts) <= 10


def test_more_people_than_households_can_hold_are_refused():
    with pytest.raises(ValueError, match="11 people do not make 1 households"):
        lists.Population(ListSize("any", 1, 11, 1), seed=1)


# --- Defects ---------------------------------------------------------------------------------------------------------

EVERY_DEFECT = Defects(
    bad_code=9,
    bad_decile=8,
    bad_nik=10,
    broken_row=7,
    nik_disagrees=6,
    disagreeing_family=11,
    duplicate_family=5,
    repeated_family=4,
)


@pytest.fixture(scope="module")
def defective(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return lists.write_list(tmp_path_factory.mktemp("lists") / "defective.csv", defects=EVERY_DEFECT)


def of(summary: Summary, *defects: Defect) -> list[Planted]:
    return [planted for planted in summary.planted if planted.defect in defects]


def test_as_many_defects_are_planted_as_were_asked_for(defective):
    assert Counter(planted.defect.value for planted in defective.planted) == {
        "bad_code": 9,
        "bad_decile": 8,
        "bad_nik": 10,
        "broken_row": 7,
        "nik_disagrees": 6,
        "disagreeing_family": 11,
        "duplicate_family": 5,
        "repeated_family": 4,
    }
    originals = [planted.original_family_id or planted.family_id for planted in defective.planted]
    assert len(set(originals)) == len(originals)


def test_the_reader_finds_exactly_what_was_planted(defective):
    rejected, warned, families = {}, {}, {}
    with defective.path.open("rb") as file:
        for row, read in ListReader(file):
            if not isinstance(read, PersonRow):
                rejected[row] = [(problem.column, problem.code) for problem in read]
                continue
            found = conflicts(families.setdefault(read.family_id, read), read)
            if found:
                rejected[row] = [(problem.column, problem.code) for problem in found]
            elif read.warnings:
                warned[row] = [(problem.column, problem.code) for problem in read.warnings]

    def manifest(*defects: Defect) -> dict[int, list[tuple[str, str]]]:
        return {planted.row: [(planted.column, planted.problem)] for planted in of(defective, *defects)}

    assert rejected == manifest(
        Defect.BAD_CODE, Defect.BAD_DECILE, Defect.BAD_NIK, Defect.BROKEN_ROW, Defect.DISAGREEING_FAMILY
    )
    assert warned == manifest(Defect.NIK_DISAGREES)


def test_a_family_planted_twice_stands_at_the_end_with_the_same_people(defective):
    with defective.path.open(encoding="utf-8", newline="") as file:
        every = list(csv.reader(file))
    at = {name: position for position, name in enumerate(every[0])}
    planted = of(defective, Defect.DUPLICATE_FAMILY, Defect.REPEATED_FAMILY)
    assert sum(again.rows for again in planted) == defective.rows - 4_658
    assert [again.row for again in planted] == sorted(again.row for again in planted)
    for again in planted:
        copy = every[again.row - 1 : again.row - 1 + again.rows]
        first = [row for row in every[1:4_659] if row[at["id_keluarga"]] == again.original_family_id]
        assert [row[at["nik"]] for row in copy] == [row[at["nik"]] for row in first]
        assert copy[0][at["nik"]]
        assert {row[at["id_keluarga"]] for row in copy} == {again.family_id}
        if again.defect is Defect.REPEATED_FAMILY:
            assert copy == first
        else:
            assert again.family_id != again.original_family_id
            assert not {row[at["id_individu"]] for row in copy} & {row[at["id_individu"]] for row in first}


def test_what_is_not_planted_is_as_in_the_list_without_defects(defective, small):
    sound = small.path.read_text(encoding="utf-8").splitlines()
    spoilt = defective.path.read_text(encoding="utf-8").splitlines()
    differing = {row for row, (a, b) in enumerate(zip(sound, spoilt, strict=False), start=1) if a != b}
    assert differing == {planted.row for planted in defective.planted if not planted.original_family_id}
    assert (defective.households, defective.people) == (small.households, small.people)
    assert defective.rows == len(spoilt) - 1


def test_more_defects_than_families_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ask for less"):
        lists.write_list(tmp_path / "list.csv", defects=Defects(bad_nik=1_001))


# --- A quarter later -------------------------------------------------------------------------------------------------


def families_of(path: Path) -> dict[str, Rows]:
    families: dict[str, Rows] = defaultdict(list)
    for row in rows_in(path):
        families[row["id_keluarga"]].append(row)
    return dict(families)


def rank_of(members: Rows) -> tuple[int, int]:
    return int(members[0]["desil_kesejahteraan"]), int(members[0]["persentil"])


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> lists.SecondSummary:
    path = tmp_path_factory.mktemp("lists") / "second.csv"
    return lists.second_list(path, changes=Changes(rank_changed=60, delisted=40, added=25, renumbered=15))


def test_the_second_list_differs_exactly_as_it_says(small, second):
    before, now = families_of(small.path), families_of(second.summary.path)
    assert len(second.delisted) == 40
    assert len(second.added) == 25
    assert len(second.rank_changed) == 60
    assert len(second.renumbered) == 15
    assert set(before) - set(now) == second.delisted | set(second.renumbered)
    assert set(now) - set(before) == second.added | set(second.renumbered.values())
    assert not second.delisted & set(second.renumbered)
    kept = set(before) & set(now)
    changed = {family: (rank_of(before[family]), rank_of(now[family])) for family in kept}
    assert {family: ranks for family, ranks in changed.items() if ranks[0] != ranks[1]} == second.rank_changed


def test_households_of_the_second_list_are_the_same_people(small, second):
    before, now = families_of(small.path), families_of(second.summary.path)
    aging = {name for name in before["KEL-0000000"][0] if name.startswith("usia")}
    rank = {"desil_kesejahteraan", "persentil"}

    def without(members: Rows, ignored: set[str]) -> Rows:
        return [{name: value for name, value in row.items() if name not in ignored} for row in members]

    for family in set(before) & set(now):
        assert without(before[family], aging | rank) == without(now[family], aging | rank)
    source_ids = {"id_keluarga", "id_individu"}
    for old, new in second.renumbered.items():
        assert without(before[old], aging | source_ids) == without(now[new], aging | source_ids)
        assert before[old][0]["nik"] == now[new][0]["nik"] != ""
        assert {row["id_individu"] for row in before[old]}.isdisjoint(row["id_individu"] for row in now[new])


def test_the_second_list_is_sound_and_counted(second):
    niks: list[str] = []
    households: dict[str, str] = {}
    with second.summary.path.open("rb") as file:
        for _, person in ListReader(file):
            assert isinstance(person, PersonRow)
            assert person.warnings == ()
            niks += [person.national_id] if person.national_id else []
            households[person.family_id] = person.village_code
    assert len(set(niks)) == len(niks)
    assert all(map(is_impossible, niks))
    assert Counter(code[:5] for code in households.values()) == second.summary.households
    assert len(households) == 1_000 - 40 + 25
    assert sum(second.summary.people.values()) == second.summary.rows


def test_the_usual_quarter_changes_a_few_in_a_hundred():
    assert lists.usual_changes(SMALL) == Changes(50, 30, 20, 10)
    assert lists.usual_changes(NTB) == Changes(3_032, 1_819, 1_212, 606)
