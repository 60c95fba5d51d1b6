"""Synthetic people: households that look like Nusa Tenggara Barat's and cannot be anybody's.

Everything is drawn from a seeded generator: the same seed, number, village and size give the same household, on any
machine. Nobody here exists: every NIK and family card number begins with 5270, a region that cannot be issued
(kabupaten are numbered 01 to 69, kota from 71), so none of them is or can become a real person's.
"""

import random
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

from contracts.areas import AreaCode, is_kelurahan
from contracts.p3ke import HEAD
from contracts.registry import Sex

IMPOSSIBLE_REGION = 5270
LARGEST_HOUSEHOLD = 10
MOST_HOUSEHOLDS = 9_999 * 99 // LARGEST_HOUSEHOLD
"""Above this number the serials of the NIKs would repeat."""

AGES_AS_OF = date(2022, 10, 10)
"""The day of the hand-over that the demo's first list stands for; nobody was born later."""

_AGES_AS_OF_ORDINAL = AGES_AS_OF.toordinal()


@dataclass(slots=True)
class Person:
    individual_id: str
    name: str
    national_id: str  # "" for the few who have none
    sex: Sex
    relation_to_head: str
    birth_date: date
    marital_status: str
    occupation: str
    education: str
    civil_registry_match: bool


@dataclass(slots=True)
class Household:
    family_id: str
    village_code: AreaCode
    welfare_percentile: int  # 1 is the poorest
    address: str
    family_card_number: str  # "" where the list has none, as it often has
    conditions: dict[str, str]  # by column name: house, roof, water, latrine ...
    assistance: dict[str, bool]  # by column name: bpnt, pkh ..., and the risk of stunting
    members: list[Person]  # the head first

    @property
    def head(self) -> Person:
        return self.members[0]

    @property
    def welfare_decile(self) -> int:
        return (self.welfare_percentile + 9) // 10


def household(seed: int, number: int, village: AreaCode, size: int, percentile: int | None = None) -> Household:
    """The household of that number; of percentile 1 to 3, the extremely poor, unless another is given.

    Living conditions follow the percentile. `number` counts from 0 and must be below MOST_HOUSEHOLDS.
    """
    if not (0 <= number < MOST_HOUSEHOLDS and 1 <= size <= LARGEST_HOUSEHOLD):
        raise ValueError(
            f"Household {number} of {size} people cannot be made: numbers go up to {MOST_HOUSEHOLDS - 1}, "
            f"sizes from 1 to {LARGEST_HOUSEHOLD}."
        )
    rng = random.Random(seed * 1_000_003 + number)
    rank = percentile or 1 + int(rng.random() * 3)
    family_id = family_id_of(number)
    return Household(
        family_id=family_id,
        village_code=village,
        welfare_percentile=rank,
        address=_address(rng, village),
        family_card_number=_family_card(rng, number) if rng.random() < 0.4 else "",
        conditions={column: chances.draw(rng, rank) for column, chances in _CONDITIONS.items()},
        assistance={
            column: rng.random() < poorest + (richest - poorest) * rank / 100
            for column, (poorest, richest) in _ASSISTANCE.items()
        },
        members=_members(rng, number, family_id, village, size, rank),
    )


def family_id_of(number: int) -> str:
    return f"KEL-{number:07}"


# --- Members ---------------------------------------------------------------------------------------------------------

_SCHOOL_AGE = range(7, 19)


def _members(
    rng: random.Random, number: int, family_id: str, village: AreaCode, size: int, percentile: int
) -> list[Person]:
    culture = _CULTURES.get(village[:5], _SASAK)
    noble = culture is _SASAK and rng.random() < 0.06
    members = []
    for at, (relation, sex, age, married) in enumerate(_kin(rng, size)):
        days = int(age * 365.25) + int(rng.random() * 365)
        born = date.fromordinal(_AGES_AS_OF_ORDINAL - days)
        has_nik = rng.random() < (0.88 if age < 5 else 0.975)
        members.append(
            Person(
                individual_id=f"{family_id}-{at + 1:02}",
                name=_name(rng, culture, sex, age, noble),
                national_id=_national_id(number * LARGEST_HOUSEHOLD + at, born, sex) if has_nik else "",
                sex=sex,
                relation_to_head=relation,
                birth_date=born,
                marital_status=married,
                occupation=_occupation(rng, sex, age, percentile),
                education=_education(rng, age, percentile),
                civil_registry_match=has_nik and rng.random() < 0.95,
            )
        )
    return members


_Kin = tuple[str, Sex, int, str]  # relation, sex, age in years, marital status


def _kin(rng: random.Random, size: int) -> list[_Kin]:
    """Who lives together. Nine heads in ten are men; a woman heads mostly where no husband is left."""
    head_is_man = rng.random() < (0.5 if size == 1 else 0.9)
    age = 24 + int(rng.random() ** 1.3 * 52) if size > 1 else 45 + int(rng.random() * 40)
    couple = size > 1 and head_is_man and rng.random() < 0.94
    alone = "Cerai Mati" if age > 40 or not head_is_man else "Cerai Hidup"
    kin = [(HEAD, Sex.MALE if head_is_man else Sex.FEMALE, age, "Kawin" if couple else alone)]
    if couple:
        kin.append(("Istri/Suami", Sex.FEMALE, max(19, age - int(rng.random() * 8)), "Kawin"))
    # The parent who is younger bounds the children's ages.
    parent_age = kin[-1][2]
    while len(kin) < size:
        kin.append(_relative(rng, age, parent_age))
    return kin


def _relative(rng: random.Random, head_age: int, parent_age: int) -> _Kin:
    sex = Sex.MALE if rng.random() < 0.51 else Sex.FEMALE
    kind = rng.random()
    if kind < 0.05 and head_age < 60:
        return "Orang Tua/Mertua", sex, head_age + 19 + int(rng.random() * 14), "Cerai Mati"
    if kind < 0.25 and parent_age >= 48:
        return "Cucu", sex, int(rng.random() * min(16, parent_age - 38)), "Belum Kawin"
    if kind < 0.28:
        return "Famili Lain", sex, 10 + int(rng.random() * 30), "Belum Kawin"
    return "Anak", sex, int(rng.random() * min(24, parent_age - 18)), "Belum Kawin"


def _national_id(person: int, born: date, sex: Sex) -> str:
    """5270, two digits and a serial that no other person of the population shares, around the birth date."""
    district, serial = divmod(person, 9_999)
    day = born.day + 40 if sex is Sex.FEMALE else born.day
    return _sixteen_digits(district + 1, day, born.month, born.year % 100, serial + 1)


def _family_card(rng: random.Random, number: int) -> str:
    """5270, two digits, a date of issue and a serial that no other household shares."""
    district, serial = divmod(number, 9_999)
    day, month, year = 1 + int(rng.random() * 28), 1 + int(rng.random() * 12), 8 + int(rng.random() * 14)
    return _sixteen_digits(district + 1, day, month, year, serial + 1)


def _sixteen_digits(district: int, day: int, month: int, year: int, serial: int) -> str:
    """The impossible region, three times two digits and four; by arithmetic, which is faster than formatting."""
    return str(((((IMPOSSIBLE_REGION * 100 + district) * 100 + day) * 100 + month) * 100 + year) * 10_000 + serial)


def _occupation(rng: random.Random, sex: Sex, age: int, percentile: int) -> str:
    if age < _SCHOOL_AGE.start or age > 72:
        return "Belum/Tidak Bekerja"
    if age in _SCHOOL_AGE and rng.random() < 0.9:
        return "Pelajar/Mahasiswa"
    return (_WORK_OF_MEN if sex is Sex.MALE else _WORK_OF_WOMEN).draw(rng, percentile)


def _education(rng: random.Random, age: int, percentile: int) -> str:
    if age < _SCHOOL_AGE.start:
        return "Tidak/Belum Sekolah"
    if age < 13:
        return "Tidak Tamat SD/Sederajat"
    if age in _SCHOOL_AGE:
        return "Tamat SD/Sederajat" if age < 16 or rng.random() < 0.3 else "Tamat SMP/Sederajat"
    return _EDUCATION.draw(rng, percentile)


# --- How they live ---------------------------------------------------------------------------------------------------


class _Chances:
    """How often each value is drawn: its weight among the poorest and among the richest, changing evenly between."""

    def __init__(self, weights: Mapping[str, tuple[float, float]]) -> None:
        self._values = tuple(weights)
        self._bounds = [self._bounds_at(percentile / 100, tuple(weights.values())) for percentile in range(101)]

    def draw(self, rng: random.Random, percentile: int) -> str:
        return self._values[bisect(self._bounds[percentile], rng.random())]

    @staticmethod
    def _bounds_at(wealth: float, weights: tuple[tuple[float, float], ...]) -> list[float]:
        present = [poorest + (richest - poorest) * wealth for poorest, richest in weights]
        return [bound / sum(present) for bound in accumulate(present[:-1])]


_CONDITIONS: Mapping[str, _Chances] = {
    "kepemilikan_rumah": _Chances(
        {
            "Milik Sendiri": (62, 88),
            "Menumpang": (26, 3),
            "Bebas Sewa": (10, 2),
            "Kontrak/Sewa": (2, 7),
        }
    ),
    "simpanan": _Chances({"Tidak": (93, 15), "Ya": (7, 85)}),
    "jenis_atap": _Chances(
        {
            "Jerami/Ijuk/Daun-daunan": (22, 0),
            "Seng": (40, 20),
            "Asbes": (23, 12),
            "Genteng": (15, 60),
            "Beton": (0, 8),
        }
    ),
    "jenis_dinding": _Chances({"Anyaman Bambu": (46, 1), "Kayu/Papan": (24, 9), "Tembok": (30, 90)}),
    "jenis_lantai": _Chances({"Tanah": (44, 1), "Semen": (46, 24), "Kayu/Papan": (7, 3), "Keramik": (3, 72)}),
    "sumber_penerangan": _Chances({"Bukan Listrik": (13, 0), "Listrik Bersama": (41, 4), "Listrik PLN": (46, 96)}),
    "bahan_bakar_memasak": _Chances({"Arang/Kayu": (81, 8), "Minyak Tanah": (5, 2), "Listrik/Gas": (14, 90)}),
    "sumber_air_minum": _Chances(
        {
            "Air Permukaan": (16, 0),
            "Air Hujan": (4, 0),
            "Sumur Tidak Terlindung": (31, 3),
            "Sumur Terlindung": (29, 14),
            "Sumur Bor": (9, 18),
            "Ledeng/PAM": (9, 30),
            "Air Kemasan/Isi Ulang": (2, 35),
        }
    ),
    "fasilitas_bab": _Chances(
        {
            "Lainnya": (33, 1),
            "Tidak, Jamban Umum/Bersama": (27, 3),
            "Ya, tanpa Septic Tank": (24, 8),
            "Ya, dengan Septic Tank": (16, 88),
        }
    ),
}

_ASSISTANCE: Mapping[str, tuple[float, float]] = {
    "bpnt": (0.55, 0.02),
    "bpum": (0.06, 0.08),
    "bst": (0.18, 0.01),
    "pkh": (0.42, 0.01),
    "sembako": (0.57, 0.02),
    "resiko_stunting": (0.31, 0.04),
}
"""Column -> the share of the poorest and of the richest households that it is true of."""

_WORK_OF_MEN = _Chances(
    {
        "Buruh Tani": (34, 34),
        "Petani/Pekebun": (22, 22),
        "Buruh Harian Lepas": (18, 18),
        "Nelayan": (8, 8),
        "Peternak": (6, 6),
        "Tukang": (5, 5),
        "Pedagang": (4, 4),
        "Belum/Tidak Bekerja": (3, 3),
    }
)
_WORK_OF_WOMEN = _Chances(
    {
        "Mengurus Rumah Tangga": (52, 52),
        "Buruh Tani": (19, 19),
        "Petani/Pekebun": (9, 9),
        "Pedagang": (8, 8),
        "Pengrajin": (7, 7),
        "Belum/Tidak Bekerja": (5, 5),
    }
)
_EDUCATION = _Chances(
    {
        "Tidak/Belum Sekolah": (23, 2),
        "Tidak Tamat SD/Sederajat": (29, 5),
        "Tamat SD/Sederajat": (31, 15),
        "Tamat SMP/Sederajat": (11, 18),
        "Tamat SMA/Sederajat": (6, 38),
        "Tamat Perguruan Tinggi": (0, 22),
    }
)

# --- What they are called --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Culture:
    men: tuple[str, ...]
    women: tuple[str, ...]
    hamlets: tuple[str, ...]


_SECOND_NAMES_OF_MEN = (
    *("Hadi", "Rahman", "Hakim", "Wahyudi", "Efendi", "Saputra", "Hidayat", "Ramdani", "Maulana", "Gunawan"),
    *("Hamdani", "Iskandar", "Firdaus", "Akbar", "Alamsyah", "Rizki", "Fauzan", "Syahputra", "Azmi", "Wijaya"),
)
_SECOND_NAMES_OF_WOMEN = (
    *("Wati", "Ningsih", "Lestari", "Rahmawati", "Handayani", "Astuti", "Safitri", "Hidayati", "Yuliana", "Anjani"),
    *("Kartini", "Puspita", "Amelia", "Mulyani", "Utami", "Pratiwi", "Hasanah", "Azizah", "Maulida", "Fitriani"),
)
_SASAK = _Culture(
    men=(
        *("Sahrun", "Mahsun", "Saparudin", "Marzuki", "Junaidi", "Nursim", "Amrullah", "Sukardi", "Mustiadi", "Sahnan"),
        *("Muhsin", "Zaenudin", "Rumasih", "Murdip", "Sahdan", "Kamarudin", "Awaludin", "Jumahir", "Sapoan", "Kertadi"),
        *(
            "Mahnan",
            "Sukarman",
            "Nasrudin",
            "Haerudin",
            "Suhaili",
            "Lukman",
            "Sarjan",
            "Muhammad Tohri",
            "Amsir",
            "Senun",
        ),
    ),
    women=(
        *("Saknah", "Sumiati", "Hurniati", "Sakmah", "Rohani", "Mahini", "Nurhayati", "Rukiah", "Zaenab", "Sahnim"),
        *("Murniati", "Senah", "Husnul", "Mariani", "Jumenah", "Salmiah", "Rehanun", "Nursiah", "Hikmah", "Sairah"),
        *(
            "Mahyun",
            "Kalsum",
            "Sunardi Ayu",
            "Ratnasih",
            "Inayah",
            "Misnah",
            "Raehanun",
            "Patmah",
            "Suhartini",
            "Laeli",
        ),
    ),
    hamlets=(
        *("Gubuk Baru", "Gubuk Daya", "Gubuk Lauk", "Dasan Baru", "Dasan Tinggi", "Montong Sari", "Kebon Daya"),
        *("Kebon Lauk", "Repok Indah", "Repok Timur", "Aik Nyet", "Bagek Polak", "Karang Anyar", "Orong Daye"),
    ),
)
_SAMAWA = _Culture(
    men=(
        *("Syamsuddin", "Burhanuddin", "Jamaluddin", "Hasanuddin", "Abdul Hakim", "Mustamin", "Zulkifli", "Makkasau"),
        *("Muhammad Saleh", "Syarafuddin", "Ruslan", "Kaharuddin", "Sahabuddin", "Andi Mapata", "Nurdin", "Lahmuddin"),
        *("Amiruddin", "Masruddin", "Suhardi", "Abdul Rauf", "Ridwan", "Mahmud", "Fathul", "Iwan"),
    ),
    women=(
        *("Siti Hajar", "Ramlah", "Saidah", "Nuraini", "Hadijah", "Siti Aminah", "Maryam", "Rosmini", "Sahriani"),
        *(
            "Jumiati",
            "Masyitah",
            "Hasnah",
            "Nurjannah",
            "Syamsiah",
            "Rabiah",
            "Halimah",
            "Erni",
            "Dahlia",
            "Sri Hartati",
        ),
        *("Fatimah", "Suryani", "Asiah", "Yuliati", "Marlina"),
    ),
    hamlets=(
        *("Orong Atas", "Orong Bawa", "Brang Atas", "Brang Bawa", "Karang Jati", "Untir Baru", "Olat Sari"),
        *("Tiu Baru", "Kebayan Atas", "Kebayan Bawa", "Pungka Indah", "Lenang Sari"),
    ),
)
_MBOJO = _Culture(
    men=(
        *("Abubakar", "Arifin", "Yasin", "Ibrahim", "Ismail", "Jafar", "Mansyur", "Muhtar", "Sirajuddin", "Usman"),
        *("Landa", "Ahmad", "Umar", "Sudirman", "Muhdar", "Tajudin", "Anwar", "Jamal", "Hamzah", "Adnan"),
        *("Fahrudin", "Syafrudin", "Imran", "Julkifli", "Muhammad Sidik"),
    ),
    women=(
        *("Siti Mariam", "Nurlaila", "Hafsah", "Siti Hawa", "Maemunah", "Ratnah", "Faridah", "Rosdiana", "Nuraida"),
        *("Sarafiah", "Hadnah", "Salmah", "Sri Nurhayati", "Rohana", "Suhada", "Ainun", "Jaenab", "Mastuti", "Arni"),
        *("Nurfajrin", "Siti Sarah", "Rugaya", "Marni", "Kalisom"),
    ),
    hamlets=(
        *("Rasa Bou", "Rasa Na'e", "Doro Na'e", "Doro To'i", "Sori Na'e", "Sori Jara", "Nanga Bou", "Wadu Kopa"),
        *("Oi Bou", "Ncera To'i", "Tolo Bou", "Kala Na'e"),
    ),
)
_CULTURES = {
    **dict.fromkeys(("52.01", "52.02", "52.03", "52.08", "52.71"), _SASAK),
    **dict.fromkeys(("52.04", "52.07"), _SAMAWA),
    **dict.fromkeys(("52.05", "52.06", "52.72"), _MBOJO),
}


def _one_of(rng: random.Random, values: tuple[str, ...]) -> str:
    return values[int(rng.random() * len(values))]


def _name(rng: random.Random, culture: _Culture, sex: Sex, age: int, noble: bool) -> str:
    man = sex is Sex.MALE
    name = _one_of(rng, culture.men if man else culture.women)
    if noble:
        return f"{'Lalu' if man else 'Baiq'} {name}"
    # Sasak parents are called after having children: Amaq, father; Inaq, mother.
    if culture is _SASAK and age > 50 and rng.random() < 0.2:
        return f"{'Amaq' if man else 'Inaq'} {name}"
    if rng.random() < 0.35:
        return name
    return f"{name} {_one_of(rng, _SECOND_NAMES_OF_MEN if man else _SECOND_NAMES_OF_WOMEN)}"


def _address(rng: random.Random, village: AreaCode) -> str:
    hamlet = _one_of(rng, _CULTURES.get(village[:5], _SASAK).hamlets)
    neighbourhood = 1 + int(rng.random() * 12)
    if is_kelurahan(village):
        return f"Lingkungan {hamlet}, RT {neighbourhood:03}/RW {1 + int(rng.random() * 6):03}"
    return f"Dusun {hamlet}, RT {neighbourhood:03}"
