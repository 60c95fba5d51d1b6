"""The format of a P3KE-like targeting list: its columns, how a row is read, and how a file is read row by row.

P3KE comes as two files, one row per family and one row per person. The format here is the two joined: a CSV (commas,
UTF-8, a BOM is accepted) with one row per PERSON that also carries the columns of the person's family. Column names are
those of public exports in Indonesian snake_case; a heading may also be written as exports show it ("Desil Kesejahteraan").

Nothing that this module reports repeats a value of the file: in a file whose columns have slipped, a NIK can stand
anywhere.
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, BinaryIO, NamedTuple

from contracts import areas
from contracts.areas import AreaCode
from contracts.envelope import Privacy
from contracts.registry import AgeBand, Sex

# --- What can be wrong --------------------------------------------------------------------------------------------------


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


# --- What a row says ----------------------------------------------------------------------------------------------------


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


HEAD = "Kepala Keluarga"

# --- The columns --------------------------------------------------------------------------------------------------------


class Belongs(StrEnum):
    FAMILY = "family"  # the same in every row of a family
    PERSON = "person"


class Kind(StrEnum):
    """How a value is read."""

    IDENTIFIER = "identifier"
    VILLAGE_CODE = "village_code"
    NUMBER = "number"
    NAME = "name"
    TEXT = "text"  # free text
    OPEN_WORDS = "open_words"  # `allowed` gives the usual values; others are kept as they stand
    CLOSED_WORDS = "closed_words"  # another value than `allowed` is a warning, and read as None
    YES_NO = "yes_no"
    SEX = "sex"
    DATE = "date"
    NIK = "nik"
    FAMILY_CARD = "family_card"
    AGE_BAND = "age_band"  # one of seven yes/no columns that together give `age_band`


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list. `field` is its name in PersonRow; the seven age bands share one."""

    name: str
    field: str
    meaning: str
    belongs: Belongs
    privacy: Privacy
    kind: Kind
    required: bool = False
    allowed: tuple[str, ...] = ()
    lowest: int = 0  # of a NUMBER
    highest: int = 0
    band: AgeBand | None = None
    aliases: tuple[str, ...] = ()


YES_NO = ("Ya", "Tidak")

LATRINE = ("Ya, dengan Septic Tank", "Ya, tanpa Septic Tank", "Tidak, Jamban Umum/Bersama", "Lainnya")

DRINKING_WATER = (
    "Ledeng/PAM",
    "Air Kemasan/Isi Ulang",
    "Sumur Bor",
    "Sumur Terlindung",
    "Sumur Tidak Terlindung",
    "Air Permukaan",
    "Air Hujan",
    "Lainnya",
)


def _family(
    name: str, field: str, privacy: Privacy, kind: Kind, meaning: str, *, required: bool = False, **more: Any
) -> Column:
    return Column(name, field, meaning, Belongs.FAMILY, privacy, kind, required, **more)


def _person(name: str, field: str, privacy: Privacy, kind: Kind, meaning: str, **more: Any) -> Column:
    return Column(name, field, meaning, Belongs.PERSON, privacy, kind, **more)


def _received(programme: str, meaning: str) -> Column:
    return _family(
        programme,
        f"receives_{programme}",
        Privacy.PSEUDONYMOUS,
        Kind.YES_NO,
        meaning,
        allowed=YES_NO,
        aliases=(f"penerima_{programme}",),
    )


def _age_band(name: str, band: AgeBand, *aliases: str) -> Column:
    return _person(
        name,
        "age_band",
        Privacy.PSEUDONYMOUS,
        Kind.AGE_BAND,
        f"The person's age is {band} years",
        allowed=YES_NO,
        band=band,
        aliases=aliases,
    )


_OPEN, _PSEUDONYMOUS, _PERSONAL = Privacy.OPEN, Privacy.PSEUDONYMOUS, Privacy.PERSONAL

COLUMNS: tuple[Column, ...] = (
    _family(
        "id_keluarga",
        "family_id",
        _PERSONAL,
        Kind.IDENTIFIER,
        "The source's id of the family",
        required=True,
        aliases=("id_keluarga_p3ke", "id_p3ke"),
    ),
    _family("provinsi", "province", _OPEN, Kind.TEXT, "Name of the province; the code decides"),
    _family(
        "kabupaten_kota",
        "kabupaten",
        _OPEN,
        Kind.TEXT,
        "Name of the kabupaten or kota; the code decides",
        aliases=("kabupaten", "kabkot"),
    ),
    _family("kecamatan", "kecamatan", _OPEN, Kind.TEXT, "Name of the kecamatan; the code decides"),
    _family(
        "desa_kelurahan",
        "village",
        _OPEN,
        Kind.TEXT,
        "Name of the desa or kelurahan; the code decides",
        aliases=("desa", "kelurahan"),
    ),
    _family(
        "kode_kemdagri",
        "village_code",
        _OPEN,
        Kind.VILLAGE_CODE,
        "Kemendagri code of the village, dotted or not",
        required=True,
        aliases=("kode_kemendagri",),
    ),
    _family(
        "desil_kesejahteraan",
        "welfare_decile",
        _PSEUDONYMOUS,
        Kind.NUMBER,
        "Welfare decile, 1 (poorest) to 10",
        required=True,
        lowest=1,
        highest=10,
        aliases=("desil",),
    ),
    _family(
        "persentil",
        "welfare_percentile",
        _PSEUDONYMOUS,
        Kind.NUMBER,
        "Welfare percentile, 1 (poorest) to 100; not in public lists, supplied beside them",
        lowest=1,
        highest=100,
        aliases=("persentil_kesejahteraan",),
    ),
    _family("alamat", "address", _PERSONAL, Kind.TEXT, "Address within the village"),
    _family(
        "kepala_keluarga",
        "household_head",
        _PERSONAL,
        Kind.NAME,
        "Name of the household head",
        aliases=("nama_kepala_keluarga",),
    ),
    _family(
        "kepemilikan_rumah",
        "house_ownership",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Who owns the house",
        allowed=("Milik Sendiri", "Kontrak/Sewa", "Bebas Sewa", "Menumpang", "Dinas", "Lainnya"),
    ),
    _family(
        "simpanan",
        "savings",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Has savings: money, jewellery, livestock or other",
        allowed=YES_NO,
        aliases=("memiliki_simpanan", "memiliki_simpanan_uang_perhiasan_ternak_lainnya"),
    ),
    _family(
        "jenis_atap",
        "roof",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Main material of the roof",
        allowed=("Beton", "Genteng", "Asbes", "Seng", "Bambu", "Kayu/Sirap", "Jerami/Ijuk/Daun-daunan", "Lainnya"),
    ),
    _family(
        "jenis_dinding",
        "wall",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Main material of the walls",
        allowed=("Tembok", "Plesteran Anyaman Bambu", "Kayu/Papan", "Anyaman Bambu", "Bambu", "Lainnya"),
    ),
    _family(
        "jenis_lantai",
        "floor",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Main material of the floor",
        allowed=("Keramik", "Ubin/Tegel", "Semen", "Kayu/Papan", "Bambu", "Tanah", "Lainnya"),
    ),
    _family(
        "sumber_penerangan",
        "lighting",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Source of light",
        allowed=("Listrik PLN", "Listrik Bersama", "Listrik Non PLN", "Bukan Listrik", "Lainnya"),
    ),
    _family(
        "bahan_bakar_memasak",
        "cooking_fuel",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "Fuel used for cooking",
        allowed=("Listrik/Gas", "Minyak Tanah", "Arang/Kayu", "Lainnya"),
    ),
    _family(
        "sumber_air_minum",
        "drinking_water",
        _PSEUDONYMOUS,
        Kind.CLOSED_WORDS,
        "Source of drinking water",
        allowed=DRINKING_WATER,
    ),
    _family(
        "fasilitas_bab",
        "latrine",
        _PSEUDONYMOUS,
        Kind.CLOSED_WORDS,
        "Has a latrine",
        allowed=LATRINE,
        aliases=("memiliki_fasilitas_buang_air_besar", "fasilitas_buang_air_besar"),
    ),
    _received("bpnt", "Receives BPNT, non-cash food assistance"),
    _received("bpum", "Receives BPUM, assistance for micro businesses"),
    _received("bst", "Receives BST, cash social assistance"),
    _received("pkh", "Receives PKH, the family hope programme"),
    _received("sembako", "Receives Sembako, staple food"),
    _family(
        "resiko_stunting",
        "stunting_risk",
        _PSEUDONYMOUS,
        Kind.YES_NO,
        "A child of the family is at risk of stunting",
        allowed=YES_NO,
        aliases=("risiko_stunting",),
    ),
    _family(
        "pensasaran",
        "targeting_flag",
        _PSEUDONYMOUS,
        Kind.OPEN_WORDS,
        "The source's targeting flag",
        allowed=("P3KE", *YES_NO),
    ),
    _family(
        "nomor_kk",
        "family_card_number",
        _PERSONAL,
        Kind.FAMILY_CARD,
        "Number of the family card, 16 digits; often absent",
        aliases=("no_kk",),
    ),
    _person("id_individu", "individual_id", _PERSONAL, Kind.IDENTIFIER, "The source's id of the person"),
    _person("nama", "name", _PERSONAL, Kind.NAME, "Name of the person"),
    _person("nik", "national_id", _PERSONAL, Kind.NIK, "NIK, 16 digits; some of the poorest have none"),
    _person(
        "padan_dukcapil",
        "civil_registry_match",
        _PSEUDONYMOUS,
        Kind.YES_NO,
        "The civil registry knows the person",
        allowed=YES_NO,
    ),
    _person("jenis_kelamin", "sex", _PSEUDONYMOUS, Kind.SEX, "Sex", allowed=("Laki-laki", "Perempuan")),
    _person(
        "hubungan_kepala_keluarga",
        "relation_to_head",
        _PERSONAL,
        Kind.OPEN_WORDS,
        "Relation to the household head",
        allowed=(HEAD, "Istri/Suami", "Anak", "Menantu", "Cucu", "Orang Tua/Mertua", "Famili Lain", "Lainnya"),
        aliases=("hubungan_dengan_kepala_keluarga", "hubungan"),
    ),
    _person("tanggal_lahir", "birth_date", _PERSONAL, Kind.DATE, "Date of birth: 1984-07-31 or 31/07/1984"),
    _person(
        "status_kawin",
        "marital_status",
        _PERSONAL,
        Kind.OPEN_WORDS,
        "Marital status",
        allowed=("Belum Kawin", "Kawin", "Cerai Hidup", "Cerai Mati"),
    ),
    _person(
        "pekerjaan",
        "occupation",
        _PERSONAL,
        Kind.OPEN_WORDS,
        "Occupation",
        allowed=(
            "Belum/Tidak Bekerja",
            "Pelajar/Mahasiswa",
            "Mengurus Rumah Tangga",
            "Petani/Pekebun",
            "Buruh Tani",
            "Peternak",
            "Nelayan",
            "Buruh Harian Lepas",
            "Tukang",
            "Pengrajin",
            "Pedagang",
            "Wiraswasta",
            "Pegawai Swasta",
            "PNS/TNI/Polri",
            "Lainnya",
        ),
    ),
    _person(
        "pendidikan",
        "education",
        _PERSONAL,
        Kind.OPEN_WORDS,
        "Highest education",
        allowed=(
            "Tidak/Belum Sekolah",
            "Tidak Tamat SD/Sederajat",
            "Tamat SD/Sederajat",
            "Tamat SMP/Sederajat",
            "Tamat SMA/Sederajat",
            "Tamat Perguruan Tinggi",
        ),
    ),
    _age_band("usia_dibawah_7", AgeBand.UNDER_7, "usia_dibawah_7_tahun"),
    _age_band("usia_7_12", AgeBand.FROM_7),
    _age_band("usia_13_15", AgeBand.FROM_13),
    _age_band("usia_16_18", AgeBand.FROM_16),
    _age_band("usia_19_21", AgeBand.FROM_19),
    _age_band("usia_22_59", AgeBand.FROM_22),
    _age_band("usia_60_keatas", AgeBand.FROM_60, "usia_60_tahun_keatas"),
)

FAMILY_FIELDS: tuple[str, ...] = tuple(column.field for column in COLUMNS if column.belongs is Belongs.FAMILY)

# --- Reading a row ------------------------------------------------------------------------------------------------------

LONGEST_IDENTIFIER = 64
LONGEST_NAME = 120
LONGEST_WORDS = 80
LONGEST_TEXT = 400


def parse_row(values: Mapping[str, str]) -> PersonRow | list[Problem]:
    """Reads one row, given by column name (`Header.columns`); unknown and missing optional columns do no harm.

    Gives every problem of a row that cannot be taken, its warnings among them. A value of an optional column that
    cannot be understood is None, with a warning: nobody drops off a list over a secondary column. The exceptions are a
    NIK or family card that is given but has not 16 digits, and a name that is no name.
    """
    row: list[Any] = []
    problems: list[Problem] = []
    for column, read in _READERS:
        value = read[values.get(column, "")]
        if value.__class__ is _Doubtful:
            problems.append(value.problem)
            value = value.value
        row.append(value)
    age_band = AgeBand.UNKNOWN
    for column, band in _AGE_BANDS:
        if _SAYS_YES[values.get(column, "")]:
            if age_band is not AgeBand.UNKNOWN:
                problems.append(_SEVERAL_AGE_BANDS)
                age_band = AgeBand.UNKNOWN
                break
            age_band = band
    person = PersonRow(*row, age_band)
    problems.extend(_contradictions(person))
    if problems:
        if any(problem.severity is Severity.REJECTION for problem in problems):
            return problems
        person.warnings = tuple(problems)
    return person


def family_fingerprint(row: PersonRow) -> bytes:
    """16 bytes that are equal for two rows whose family columns say the same, whatever their spelling.

    For comparing rows of one file that are not neighbours. It covers personal values: it may stand in a staging table,
    never in the log.
    """
    return blake2b(repr(_family_values(row)).encode(), digest_size=16).digest()


def conflicts(first: PersonRow, row: PersonRow) -> list[Problem]:
    """The family columns in which a row disagrees with the first row of the same family. Each rejects the later row."""
    if _family_values(first) == _family_values(row):
        return []
    return [
        problem
        for column, field, problem in _FAMILY_CONFLICTS
        if getattr(first, field) != getattr(row, field)
    ]


def age_band(birth_date: date, on: date) -> AgeBand:
    """The P3KE age band of somebody born on `birth_date`, by the completed years on the day `on`."""
    years = on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))
    return next(band for below, band in _BANDS_BELOW if years < below)


def _contradictions(person: PersonRow) -> Iterator[Problem]:
    """What two columns say that cannot both be true. Warnings all: a NIK, once given, is never changed."""
    nik = person.national_id
    if nik is not None:
        day = int(nik[6:8])
        if person.sex is not Sex.UNKNOWN and (day > 40) != (person.sex is Sex.FEMALE):
            yield _NIK_AGAINST_SEX
        born = person.birth_date
        if born is not None and nik[6:12] != f"{born.day + 40 if day > 40 else born.day:02}{born:%m%y}":
            yield _NIK_AGAINST_BIRTH_DATE
    percentile = person.welfare_percentile
    if percentile is not None and (percentile + 9) // 10 != person.welfare_decile:
        yield _PERCENTILE_AGAINST_DECILE
