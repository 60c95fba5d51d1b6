"""Programmes (diklat), their courses, and how many places each kabupaten/kota may fill."""

from dataclasses import dataclass
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.training import CompetencyUnit, CourseDefined, ProgrammeClosed, ProgrammeOpened, QuotaSet
from services.kit.table import Table, one, present, replace


class ProgrammeStatus(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Programme:
    programme_id: str
    version: int
    area_code: str
    name: str
    year: int
    status: ProgrammeStatus


@dataclass(frozen=True, slots=True)
class Course:
    programme_id: str
    course_id: str
    title: str
    lesson_hours: int  # JP
    units: tuple[CompetencyUnit, ...]


@dataclass(frozen=True, slots=True)
class Quota:
    programme_id: str
    area_code: str  # a kabupaten/kota
    places: int


def evolve_programme(programme: Programme | None, event: Event, envelope: Envelope) -> Programme | None:
    match event:
        case ProgrammeOpened():
            return Programme(
                programme_id=event.programme_id,
                version=envelope.version,
                area_code=event.area_code,
                name=event.name,
                year=event.year,
                status=ProgrammeStatus.OPEN,
            )
        case ProgrammeClosed():
            return replace(present(programme, envelope), status=ProgrammeStatus.CLOSED)
        case _:
            return present(programme, envelope)


def evolve_course(course: Course | None, event: Event, _envelope: Envelope, course_id: str) -> Course | None:
    match event:
        case CourseDefined():
            return Course(event.programme_id, course_id, event.title, event.lesson_hours, event.units)
        case _:
            return course


def evolve_quota(quota: Quota | None, event: Event, _envelope: Envelope, area_code: str) -> Quota | None:
    match event:
        case QuotaSet():
            return Quota(event.programme_id, area_code, event.places)
        case _:
            return quota


PROGRAMMES = Table(
    "programme", Programme, topic="training.programmes", key=("programme_id",), evolve=evolve_programme, head=True
)
COURSES = Table(
    "course",
    Course,
    topic="training.programmes",
    key=("programme_id", "course_id"),
    evolve=evolve_course,
    touches={CourseDefined: one("course_id")},
)
QUOTAS = Table(
    "quota",
    Quota,
    topic="training.programmes",
    key=("programme_id", "area_code"),
    evolve=evolve_quota,
    touches={QuotaSet: one("area_code")},
)
