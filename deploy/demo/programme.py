"""The programmes of 2024 that the demo plays: their days, courses, classes, sizes, and how they are spread. Pure.

From the news of Balatkop NTB (8 July 2024): 480 people in 16 cohorts of 30, half in class and half on the spot in the
village; massage, crafts, culinary, barbering; five days each, the first two from 8 to 12 July. And of 14 October 2024:
60 cooperative managers in poverty pockets learn in five days to plan business units. Where no source gives a figure
(how many visits a facilitator makes, which cohort meets when after July 12) the demo makes one up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

from contracts import areas
from contracts.areas import AreaCode
from contracts.figures import Measure, figure
from contracts.training import DeliveryMode
from deploy.demo.lists import NTB, SMALL, ListSize, largest_remainder

SEED = 2024

# --- Days -------------------------------------------------------------------------------------------------------------

LIST_DAY = date(2024, 5, 1)
VILLAGE_MEETING_DAY = date(2024, 5, 2)
"""Musdes: the few who were verified there are those whose verification ends before their class begins."""
ASSIGNING_DAY = date(2024, 5, 24)
SYNC_DAYS = (date(2024, 5, 31), date(2024, 6, 7), date(2024, 6, 14))
"""Fridays, when the facilitators' devices are online and send the visits of the week."""
NEXT_LIST_DAY = date(2024, 6, 15)
ENROLMENT_DAY = date(2024, 6, 18)
CIVIL_REGISTRY_DAY = date(2024, 6, 20)

VERIFICATION_HOLDS_DAYS = 70
"""So that the village meeting's verifications end on 11 July and those of the field work last until August."""

RENEWAL_DAY = date(2024, 9, 30)
"""When those who may become cooperative managers are to be visited again: their verifications ended in August."""
RENEWAL_SYNC_DAY = date(2024, 10, 4)
LAST_DAY = date(2025, 12, 31)
"""Twelve months and more have passed for everybody."""

ANSWER_DAYS_BEFORE = 5  # When people are asked whether they will come.
SECOND_ANSWER_DAYS_BEFORE = 2  # When those who followed on a free place are asked.

# --- Courses ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    unit_id: str
    title: str
    critical: bool = True


@dataclass(frozen=True)
class Course:
    title: str
    lesson_hours: int
    units: tuple[Unit, ...]


PROGRAMME = "Diklat P3KE 2024"
YEAR = 2024
COURSES = (
    Course(
        "Keterampilan Teknis Pijat",
        30,
        (
            Unit("PIJAT-1", "Menyiapkan ruang, alat dan klien"),
            Unit("PIJAT-2", "Melakukan pijat seluruh badan"),
            Unit("PIJAT-3", "Menjaga kebersihan dan keselamatan"),
            Unit("PIJAT-4", "Menghitung tarif dan mencatat pendapatan", critical=False),
        ),
    ),
    Course(
        "Kerajinan Tangan",
        30,
        (
            Unit("KRIYA-1", "Memilih dan menyiapkan bahan"),
            Unit("KRIYA-2", "Menganyam dan merangkai produk"),
            Unit("KRIYA-3", "Mengemas dan menentukan harga", critical=False),
        ),
    ),
    Course(
        "Kuliner",
        28,
        (
            Unit("KULINER-1", "Mengolah makanan secara higienis"),
            Unit("KULINER-2", "Membuat tiga produk siap jual"),
            Unit("KULINER-3", "Menghitung harga pokok", critical=False),
        ),
    ),
    Course(
        "Potong Rambut",
        28,
        (
            Unit("RAMBUT-1", "Merawat dan mensterilkan alat"),
            Unit("RAMBUT-2", "Memotong rambut dasar"),
            Unit("RAMBUT-3", "Melayani pelanggan", critical=False),
        ),
    ),
)

MANAGERS_PROGRAMME = "Diklat Manajer Koperasi di Kantong Kemiskinan 2024"
MANAGERS_COURSE = Course(
    "Perencanaan Unit Usaha Koperasi",
    30,
    (
        Unit("UNIT-1", "Memetakan potensi kantong kemiskinan"),
        Unit("UNIT-2", "Menyusun rencana unit usaha"),
        Unit("UNIT-3", "Menghitung modal dan titik impas"),
        Unit("UNIT-4", "Menerima warga miskin ekstrem sebagai anggota", critical=False),
    ),
)

# --- Classes ----------------------------------------------------------------------------------------------------------

CAPACITY = 30
BALATKOP: AreaCode = "52.71"  # The training centre stands in Kota Mataram.
FIRST_MONDAY = date(2024, 7, 8)
_MANAGERS_WEEK = 14  # begins on 14 October


@dataclass(frozen=True)
class Class:
    """A cohort as it is planned before anybody is on its list."""

    number: str
    course: Course
    mode: DeliveryMode
    host: AreaCode  # the kabupaten or kota where it meets
    week: int  # 0 begins on FIRST_MONDAY
    capacity: int = CAPACITY

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(FIRST_MONDAY + timedelta(weeks=self.week, days=day) for day in range(5))

    @property
    def answers_on(self) -> date:
        return self.days[0] - timedelta(days=ANSWER_DAYS_BEFORE)

    @property
    def second_answers_on(self) -> date:
        return self.days[0] - timedelta(days=SECOND_ANSWER_DAYS_BEFORE)


@dataclass(frozen=True)
class Size:
    name: str
    list_size: ListSize
    visits: int
    waitlist: int  # people in line for each class
    classroom_by_week: tuple[int, ...]
    hosts_by_week: tuple[tuple[AreaCode, ...], ...]  # of the classes on site
    next_list_area: AreaCode  # what the list of the next quarter is about
    manager_cohorts: int
    manager_capacity: int

    @property
    def classes(self) -> tuple[Class, ...]:
        """Numbered in the order in which they begin; the courses take turns."""
        planned = [
            (mode, host, week)
            for week, (classrooms, hosts) in enumerate(zip(self.classroom_by_week, self.hosts_by_week, strict=True))
            for mode, host in (
                *([(DeliveryMode.CLASSROOM, BALATKOP)] * classrooms),
                *((DeliveryMode.ON_SITE, host) for host in hosts),
            )
        ]
        return tuple(
            Class(f"P3KE-2024-{number + 1:02}", COURSES[number % len(COURSES)], mode, host, week)
            for number, (mode, host, week) in enumerate(planned)
        )

    @property
    def manager_classes(self) -> tuple[Class, ...]:
        """All from 14 to 18 October, at the training centre."""
        return tuple(
            Class(
                f"KOP-2024-{number:02}",
                MANAGERS_COURSE,
                DeliveryMode.CLASSROOM,
                BALATKOP,
                _MANAGERS_WEEK,
                self.manager_capacity,
            )
            for number in range(1, self.manager_cohorts + 1)
        )


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        Size(
            "small",
            SMALL,
            visits=200,
            waitlist=6,
            classroom_by_week=(2, 0),
            hosts_by_week=((), ("52.03", "52.02")),
            next_list_area=areas.NTB,
            manager_cohorts=1,
            manager_capacity=12,
        ),
        Size(
            "ntb",
            NTB,
            visits=2_000,
            waitlist=8,
            classroom_by_week=(2, 2, 2, 2),
            hosts_by_week=((), ("52.03", "52.02", "52.01"), ("52.03", "52.06", "52.08"), ("52.02", "52.04")),
            next_list_area="52.71",
            manager_cohorts=2,
            manager_capacity=30,
        ),
    )
}

# --- How it is spread -------------------------------------------------------------------------------------------------

_VISITS_FOR_A_CLASS = 50
"""At least so many where a class of 30 meets on site: not everybody who is visited can be verified."""


def visits_by_kabupaten(size: Size) -> dict[AreaCode, int]:
    """Spreads the visits by the poor of March 2022; where classes meet on site there are enough for them."""
    kabupaten = areas.children(areas.NTB)
    hosts = [planned.host for planned in size.classes if planned.mode is DeliveryMode.ON_SITE]
    shares = dict(zip(kabupaten, largest_remainder(size.visits, [_poor(code) for code in kabupaten]), strict=True))
    hosting = {code: max(shares[code], _VISITS_FOR_A_CLASS * hosts.count(code)) for code in kabupaten if code in hosts}
    others = [code for code in kabupaten if code not in hosting]
    rest = largest_remainder(size.visits - sum(hosting.values()), [_poor(code) for code in others])
    return {**hosting, **dict(zip(others, rest, strict=True))}


def quotas(size: Size) -> dict[AreaCode, int]:
    """How many places each kabupaten may fill: its own classes on site, and twice its share of the classrooms."""
    classes = size.classes
    hosts = [planned.host for planned in classes if planned.mode is DeliveryMode.ON_SITE]
    classrooms = CAPACITY * (len(classes) - len(hosts))
    kabupaten = areas.children(areas.NTB)
    shares = largest_remainder(2 * classrooms, [_poor(code) for code in kabupaten])
    return {code: CAPACITY * hosts.count(code) + share for code, share in zip(kabupaten, shares, strict=True)}


def _poor(kabupaten: AreaCode) -> Fraction:
    return Fraction(figure(kabupaten, Measure.POOR_THOUSANDS, 2022))


@dataclass(frozen=True)
class Pocket:
    """A kecamatan where many of the extreme poor live (kantong kemiskinan), and how many visits it gets."""

    kecamatan: AreaCode
    visits: int


_MOST_OF_A_POCKET = Fraction(7, 10)


def pockets(households: Mapping[AreaCode, int], visits: int, at_once: int = 1) -> list[Pocket]:
    """Spreads a kabupaten's visits: the kecamatan with the most listed households first, most of each visited.

    The first `at_once` share the visits evenly as far as they can, so that as many classes can meet on site.
    Gives fewer visits than wanted where there are not households enough.
    """
    order = sorted(households, key=lambda code: (-households[code], code))
    most = {code: int(households[code] * _MOST_OF_A_POCKET) for code in order}
    chosen = {code: min(most[code], visits // at_once) for code in order[:at_once]}
    for code in order:
        left = visits - sum(chosen.values())
        chosen[code] = min(most[code], chosen.get(code, 0) + left)
    return [Pocket(code, chosen[code]) for code in order if chosen[code]]


def by_need(households: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Households as the registry shows them, those first that the list says are poorest, then the larger ones."""
    return sorted(households, key=_need)


def _need(household: Mapping[str, object]) -> tuple[int, int, int]:
    rank, evidence = household["rank"], household["evidence"]
    assert isinstance(rank, Mapping)
    assert isinstance(evidence, Mapping)
    # The row in the list parts those who are alike: ids differ from run to run, and the demo is to choose the same.
    return rank["welfare_percentile"] or 100, -int(str(household["people"])), evidence["row"]
