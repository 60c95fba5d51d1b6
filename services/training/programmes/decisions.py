"""Opening and closing programmes, defining courses, setting quotas; and whether a quota has room."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from contracts import areas
from contracts.areas import AreaCode, Level
from contracts.envelope import Event
from contracts.training import CompetencyUnit, CourseDefined, ProgrammeClosed, ProgrammeOpened, QuotaSet
from services.kit.refusal import FieldProblem, Refused
from services.training.forms import Area, ShortText, Text
from services.training.programmes.state import Programme, ProgrammeStatus


class OpenProgramme(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text
    area_code: Area
    year: int = Field(ge=2000, le=2100)


class UnitToTeach(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unit_id: ShortText
    title: Text
    critical: bool = Field(description="All critical units must be competent to pass")


class DefineCourse(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Text
    lesson_hours: int = Field(ge=1, le=1000, description="JP")
    units: list[UnitToTeach] = Field(max_length=50)


class SetQuota(BaseModel):
    model_config = ConfigDict(extra="forbid")

    area_code: Area = Field(description="A kabupaten or kota")
    places: int = Field(ge=0, le=1_000_000)


def open_programme(programme_id: str, command: OpenProgramme) -> list[Event]:
    """Opens a programme for a known area."""
    known_area(command.area_code, "body.area_code")
    return [
        ProgrammeOpened(programme_id=programme_id, name=command.name, area_code=command.area_code, year=command.year)
    ]


def define_course(programme: Programme | None, course_id: str, command: DefineCourse) -> list[Event]:
    """Adds a course to an open programme. Refuses two units of one id."""
    programme = open_for_changes(programme)
    ids = [unit.unit_id for unit in command.units]
    twice = [
        FieldProblem(f"body.units.{n}.unit_id", "The id is that of an earlier unit.", "Give each unit its own id.")
        for n, unit_id in enumerate(ids)
        if unit_id in ids[:n]
    ]
    if twice:
        raise Refused("unit-twice", "Two units of the course have the same id.", status=422, fields=twice)
    return [
        CourseDefined(
            programme_id=programme.programme_id,
            course_id=course_id,
            title=command.title,
            lesson_hours=command.lesson_hours,
            units=tuple(CompetencyUnit(**unit.model_dump()) for unit in command.units),
        )
    ]


def set_quota(programme: Programme | None, taken: Mapping[AreaCode, int], command: SetQuota) -> list[Event]:
    """Limits a kabupaten's places in the programme; never to fewer than its people hold already."""
    programme = open_for_changes(programme)
    known_area(command.area_code, "body.area_code")
    if areas.level(command.area_code) is not Level.KABUPATEN or not areas.covers(
        programme.area_code, command.area_code
    ):
        raise Refused(
            "quota-area",
            f"A quota is for a kabupaten or kota within {programme.area_code}, the programme's area.",
            status=422,
            fields=[FieldProblem("body.area_code", "The area is no kabupaten or kota of the programme.")],
        )
    held = taken.get(command.area_code, 0)
    if command.places < held:
        raise Refused(
            "quota-below-use",
            f"People from {command.area_code} hold {held} places of this programme already.",
            remedy=f"Set at least {held}, or withdraw participants first.",
        )
    return [QuotaSet(programme_id=programme.programme_id, area_code=command.area_code, places=command.places)]


def close_programme(programme: Programme | None) -> list[Event]:
    """Closes it for new cohorts; those that are planned go on."""
    return [ProgrammeClosed(programme_id=open_for_changes(programme).programme_id)]


def open_for_changes(programme: Programme | None) -> Programme:
    """The programme, if there is one and it is open."""
    if programme is None:
        raise no_such_programme()
    if programme.status is not ProgrammeStatus.OPEN:
        raise Refused("programme-closed", f"The programme {programme.name} is closed.", remedy="Open a new programme.")
    return programme


def no_such_programme() -> Refused:
    return Refused("no-such-programme", "There is no such programme.", status=404, remedy="See GET /programmes.")


def known_area(code: AreaCode, field: str) -> None:
    """Raises `Refused` unless the code is in the reference list."""
    if not areas.is_known(code):
        problem = FieldProblem(
            field, "The reference list of areas does not hold this code.", "Send a dotted Kemendagri code."
        )
        raise Refused("unknown-area", "The area is not known.", status=422, fields=[problem])


@dataclass(frozen=True, slots=True)
class QuotaRoom:
    """The quotas of a programme and how much of them other cohorts use. A kabupaten without a quota has no limit."""

    places: Mapping[AreaCode, int]
    taken_elsewhere: Mapping[AreaCode, int]

    def admits(self, area_code: AreaCode, taken_here: Mapping[AreaCode, int]) -> bool:
        """Whether one more person of this area stays within the quota of their kabupaten."""
        kabupaten = kabupaten_of(area_code)
        if kabupaten not in self.places:
            return True
        taken = self.taken_elsewhere.get(kabupaten, 0) + taken_here.get(kabupaten, 0)
        return taken < self.places[kabupaten]


def kabupaten_of(area_code: AreaCode) -> AreaCode:
    """The kabupaten or kota that an area lies in; the code itself for what lies above."""
    return area_code[:5]
