"""Programmes, courses and quotas: given facts, when an officer wishes, then facts or a refusal."""

import pytest
from pydantic import ValidationError

from contracts.training import CompetencyUnit, CourseDefined, ProgrammeClosed, ProgrammeOpened, QuotaSet
from services.kit.refusal import Refused
from services.training.programmes.decisions import (
    DefineCourse,
    OpenProgramme,
    QuotaRoom,
    SetQuota,
    UnitToTeach,
    close_programme,
    define_course,
    open_programme,
    set_quota,
)
from services.training.programmes.state import COURSES, PROGRAMMES, QUOTAS, Programme, ProgrammeStatus
from tests.training.facts import COURSE, LOMBOK_BARAT, PROGRAMME, VILLAGE, Story, defined, opened, quota


def programme(*events: ProgrammeClosed) -> Programme:
    return Story(opened(), *events).the(PROGRAMMES, PROGRAMME)


CLOSED = ProgrammeClosed(programme_id=PROGRAMME)
COURSE_WISH = DefineCourse(
    title="Kuliner", lesson_hours=30, units=[UnitToTeach(unit_id="K1", title="Dapur bersih", critical=True)]
)


def test_a_programme_is_opened_for_a_known_area():
    wish = OpenProgramme(name="Diklat P3KE", area_code="52", year=2024)
    assert open_programme("new", wish) == [
        ProgrammeOpened(programme_id="new", name="Diklat P3KE", area_code="52", year=2024)
    ]


def test_a_programme_is_not_opened_for_an_area_that_nobody_knows():
    with pytest.raises(Refused) as refused:
        open_programme("new", OpenProgramme(name="Diklat", area_code="52.99", year=2024))
    assert (refused.value.code, refused.value.fields[0].field) == ("unknown-area", "body.area_code")


def test_a_course_of_an_open_programme_is_defined_with_its_units():
    assert define_course(programme(), "new", COURSE_WISH) == [
        CourseDefined(
            programme_id=PROGRAMME,
            course_id="new",
            title="Kuliner",
            lesson_hours=30,
            units=(CompetencyUnit(unit_id="K1", title="Dapur bersih", critical=True),),
        )
    ]
    assert Story(opened(), defined()).the(COURSES, PROGRAMME, COURSE).lesson_hours == 30


def test_two_units_of_a_course_may_not_share_an_id():
    unit = UnitToTeach(unit_id="K1", title="Dapur bersih", critical=True)
    with pytest.raises(Refused) as refused:
        define_course(programme(), "new", COURSE_WISH.model_copy(update={"units": [unit, unit]}))
    assert [problem.field for problem in refused.value.fields] == ["body.units.1.unit_id"]


@pytest.mark.parametrize(
    "wish",
    [
        lambda: define_course(programme(CLOSED), "new", COURSE_WISH),
        lambda: set_quota(programme(CLOSED), {}, SetQuota(area_code=LOMBOK_BARAT, places=1)),
        lambda: close_programme(programme(CLOSED)),
    ],
)
def test_a_closed_programme_does_not_change(wish):
    with pytest.raises(Refused, match="programme-closed"):
        wish()


def test_what_is_not_there_cannot_be_closed():
    with pytest.raises(Refused) as refused:
        close_programme(None)
    assert refused.value.status == 404


def test_closing_leaves_a_closed_programme():
    assert close_programme(programme()) == [CLOSED]
    assert programme(CLOSED).status is ProgrammeStatus.CLOSED


def test_a_quota_is_set_and_set_again():
    assert set_quota(programme(), {}, SetQuota(area_code=LOMBOK_BARAT, places=48)) == [
        QuotaSet(programme_id=PROGRAMME, area_code=LOMBOK_BARAT, places=48)
    ]
    story = Story(opened(), quota(LOMBOK_BARAT, 48), quota(LOMBOK_BARAT, 50))
    assert story.the(QUOTAS, PROGRAMME, LOMBOK_BARAT).places == 50


@pytest.mark.parametrize("area_code", ["52", VILLAGE, "53.21"])
def test_a_quota_is_for_a_kabupaten_of_the_programme(area_code: str):
    with pytest.raises(Refused, match="quota-area"):
        set_quota(programme(), {}, SetQuota(area_code=area_code, places=1))


def test_a_quota_is_never_set_below_the_places_that_are_held():
    taken = {LOMBOK_BARAT: 3}
    with pytest.raises(Refused, match="quota-below-use"):
        set_quota(programme(), taken, SetQuota(area_code=LOMBOK_BARAT, places=2))
    assert set_quota(programme(), taken, SetQuota(area_code=LOMBOK_BARAT, places=3))


def test_a_quota_counts_all_cohorts_and_a_kabupaten_without_one_has_no_limit():
    room = QuotaRoom({LOMBOK_BARAT: 3}, taken_elsewhere={LOMBOK_BARAT: 2})
    assert room.admits(VILLAGE, {})
    assert not room.admits(VILLAGE, {LOMBOK_BARAT: 1})
    assert room.admits("52.03.01.2001", {"52.03": 99})


def test_a_text_with_a_control_character_is_no_name():
    with pytest.raises(ValidationError):
        OpenProgramme(name="Diklat\x00P3KE", area_code="52", year=2024)
