"""A targeting list, read by the oracle's own eyes: the columns as the field writes them."""

import csv
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

_CONDITIONS = {
    "house_ownership": "kepemilikan_rumah",
    "savings": "simpanan",
    "roof": "jenis_atap",
    "wall": "jenis_dinding",
    "floor": "jenis_lantai",
    "lighting": "sumber_penerangan",
    "cooking_fuel": "bahan_bakar_memasak",
    "drinking_water": "sumber_air_minum",
    "latrine": "fasilitas_bab",
}
_ASSISTANCE = {"BPNT": "bpnt", "BPUM": "bpum", "BST": "bst", "PKH": "pkh", "Sembako": "sembako"}
_BANDS = ((7, "0-6"), (13, "7-12"), (16, "13-15"), (19, "16-18"), (22, "19-21"), (60, "22-59"))


@dataclass
class Person:
    """A row of the list."""

    row: int
    individual_id: str
    name: str
    national_id: str
    head: bool
    sex: str
    age_band: str
    adult: bool
    civil_registry_match: bool


@dataclass
class Family:
    """The rows of a family that can be taken, as the first of them describes it."""

    family_id: str
    row: int
    village: str
    decile: int
    percentile: int
    address: str
    family_card_number: str
    conditions: dict[str, Any]
    people: list[Person] = field(default_factory=list)

    @property
    def head(self) -> Person:
        (head,) = [person for person in self.people if person.head]
        return head


@dataclass
class TargetingList:
    """What a list file holds: `families` that can be taken, in their order, and the ids of all that it `names`."""

    path: Path
    source: str
    dated: date
    areas: list[str]
    digest: str
    rows: int
    families: list[Family] = field(repr=False)
    names: set[str] = field(repr=False)

    @property
    def people(self) -> int:
        return sum(len(family.people) for family in self.families)


def read_list(
    path: Path,
    source: str,
    dated: date,
    areas: list[str],
    *,
    bad_rows: Collection[int] = (),
    bad_families: Collection[str] = (),
) -> TargetingList:
    """Reads the file. The script that planted them says which rows are rejected, and which families as a whole.

    A family without the row of its head is not taken either.
    """
    families: dict[str, Family] = {}
    names: set[str] = set()
    rows = 0
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.DictReader(file), start=2):
            rows += 1
            family_id = cells["id_keluarga"]
            names.add(family_id)
            if number in bad_rows or family_id in bad_families:
                continue
            family = families.get(family_id) or families.setdefault(family_id, _family(number, cells))
            family.people.append(_person(number, cells, dated))
    taken = [family for family in families.values() if any(person.head for person in family.people)]
    return TargetingList(path, source, dated, areas, sha256(path.read_bytes()).hexdigest(), rows, taken, names)


def _family(row: int, cells: dict[str, str]) -> Family:
    conditions: dict[str, Any] = {name: cells[column] for name, column in _CONDITIONS.items()}
    conditions["social_assistance"] = [name for name, column in _ASSISTANCE.items() if cells[column] == "Ya"]
    conditions["stunting_risk"] = cells["resiko_stunting"] == "Ya"
    return Family(
        family_id=cells["id_keluarga"],
        row=row,
        village=cells["kode_kemdagri"],
        decile=int(cells["desil_kesejahteraan"]),
        percentile=int(cells["persentil"]),
        address=cells["alamat"],
        family_card_number=cells["nomor_kk"],
        conditions=conditions,
    )


def _person(row: int, cells: dict[str, str], dated: date) -> Person:
    years = completed_years(date.fromisoformat(cells["tanggal_lahir"]), dated)
    return Person(
        row=row,
        individual_id=cells["id_individu"],
        name=cells["nama"],
        national_id=cells["nik"],
        head=cells["hubungan_kepala_keluarga"] == "Kepala Keluarga",
        sex="female" if cells["jenis_kelamin"] == "Perempuan" else "male",
        age_band=next((band for below, band in _BANDS if years < below), "60+"),
        adult=years >= 18,
        civil_registry_match=cells["padan_dukcapil"] == "Ya",
    )


def completed_years(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))
