"""What lists and the civil registry make of a household."""

from datetime import date, timedelta

import pytest

from contracts.envelope import Event
from contracts.registry import (
    AgeBand,
    DelistingReason,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdDetails,
    HouseholdRankChanged,
    LeavingReason,
    MemberCorrected,
    MemberIdentityChecked,
    MemberLeft,
    Rank,
    Sex,
)
from services.kit.refusal import Refused
from services.registry.households.decisions import (
    CorrectPerson,
    correct_member,
    destination,
    head_of,
    move,
    record_death,
    record_identity,
    the_one_meant,
    today_in_wita,
)
from services.registry.households.state import HouseholdStatus
from tests.registry.facts import (
    CHILD,
    DETAILS,
    EVIDENCE,
    FATHER,
    HOME,
    MOTHER,
    NOW,
    OTHER_VILLAGE,
    RANK,
    TODAY,
    VILLAGE,
    Story,
    listed,
)

NEWER = Rank(source="P3KE", snapshot_id="s-2", dated=date(2024, 4, 1), welfare_decile=3)

# --- What the facts say -----------------------------------------------------------------------------------------------


def test_a_listed_household_has_its_rank_its_evidence_and_its_people():
    household = Story(listed()).household
    assert (household.status, household.rank, household.people) == (HouseholdStatus.LISTED, RANK, 3)
    assert (household.file_digest, household.file_row) == (EVIDENCE.file_digest, EVIDENCE.row)
    assert (household.head_person_id, household.version) == (MOTHER, 1)
    assert (household.sealed, household.sealed_by) == (f"sealed:event-1:{HOME}", "event-1")


def test_each_member_has_their_own_sealed_record():
    members = Story(listed()).members
    assert {m.person_id: m.sealed for m in members} == {p: f"sealed:event-1:{p}" for p in (MOTHER, FATHER, CHILD)}
    assert {m.area_code for m in members} == {VILLAGE}


@pytest.mark.parametrize("fact", [HouseholdRankChanged, HouseholdConfirmed])
def test_a_newer_rank_keeps_the_one_before(fact: type[HouseholdRankChanged]):
    household = Story(listed(), fact(household_id=HOME, rank=NEWER, evidence=EVIDENCE)).household
    assert (household.rank, household.previous_rank) == (NEWER, RANK)


def test_a_delisted_household_comes_back_with_a_list_that_names_it():
    gone = HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST, snapshot_id="s-2")
    story = Story(listed(), gone)
    assert (story.household.status, story.household.delisted_by) == (HouseholdStatus.DELISTED, "s-2")
    again = story.given(listed(rank=NEWER)).household
    assert (again.status, again.delisted_because, again.rank) == (HouseholdStatus.LISTED, None, NEWER)


def test_members_move_with_their_household():
    story = Story(listed(), HouseholdChanged(household_id=HOME, area_code=OTHER_VILLAGE))
    assert story.household.area_code == OTHER_VILLAGE
    assert {m.area_code for m in story.members} == {OTHER_VILLAGE}


def test_an_address_that_was_sealed_before_the_move_is_known_to_be_of_another_village():
    moved = HouseholdChanged(household_id=HOME, area_code=OTHER_VILLAGE)
    story = Story(listed(), moved)
    assert story.household.sealed_area == VILLAGE
    story.given(HouseholdChanged(household_id=HOME, personal={HOME: HouseholdDetails(address="Dusun Baru")}))
    assert story.household.sealed_area == OTHER_VILLAGE


def test_changed_conditions_leave_the_area_alone():
    story = Story(listed(), HouseholdChanged(household_id=HOME, conditions=listed().conditions))
    assert story.household.area_code == VILLAGE


# --- Identity ---------------------------------------------------------------------------------------------------------


def test_an_identity_check_is_recorded_once():
    story = Story(listed())
    (checked,) = record_identity(story.member(), True)
    assert checked == MemberIdentityChecked(household_id=HOME, person_id=MOTHER, civil_registry_match=True)
    story.given(checked)
    assert record_identity(story.member(), True) == []
    assert record_identity(story.member(), False) != []


# --- Deaths -----------------------------------------------------------------------------------------------------------


def test_who_died_belongs_to_the_household_no_longer():
    story = Story(listed())
    (left,) = record_death(story.household, story.member(MOTHER), TODAY, NOW)
    assert left == MemberLeft(household_id=HOME, person_id=MOTHER, reason=LeavingReason.DECEASED, on=TODAY)
    story.given(left)
    assert (story.household.people, story.household.head_person_id) == (2, None)
    assert story.member(MOTHER).left_because is LeavingReason.DECEASED
    assert head_of(story.household, story.members) is None


def test_a_second_death_of_the_same_person_is_nothing_new():
    story = Story(listed())
    story.given(*record_death(story.household, story.member(), TODAY, NOW))
    assert record_death(story.household, story.member(), TODAY - timedelta(days=1), NOW) == []


def test_the_last_death_delists_the_household():
    story = Story(listed())
    for person in (FATHER, CHILD):
        story.given(*record_death(story.household, story.member(person), TODAY, NOW))
    events = record_death(story.household, story.member(MOTHER), TODAY, NOW)
    assert events[1:] == [HouseholdDelisted(household_id=HOME, reason=DelistingReason.NO_MEMBERS_LEFT)]
    assert story.given(*events).household.status is HouseholdStatus.DELISTED


def test_whom_a_list_left_out_may_still_die_and_is_not_counted_out_twice():
    story = Story(listed())
    story.given(MemberLeft(household_id=HOME, person_id=MOTHER, reason=LeavingReason.NOT_ON_LIST, on=TODAY))
    (left,) = record_death(story.household, story.member(MOTHER), TODAY, NOW)
    assert (left.reason, left.counted_no_longer) == (LeavingReason.DECEASED, True)
    assert story.household.people == 2
    story.given(left)
    assert (story.household.people, story.member(MOTHER).left_because) == (2, LeavingReason.DECEASED)
    assert record_death(story.household, story.member(MOTHER), TODAY, NOW) == []


def test_who_has_moved_out_does_not_leave_again():
    story = Story(listed())
    story.given(MemberLeft(household_id=HOME, person_id=MOTHER, reason=LeavingReason.MOVED, on=TODAY))
    assert record_death(story.household, story.member(MOTHER), TODAY, NOW) == []


def test_a_household_that_is_on_no_list_is_not_delisted_twice():
    story = Story(listed(members=listed().members[:1]))
    story.given(HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST))
    assert len(record_death(story.household, story.member(), TODAY, NOW)) == 1


def test_a_death_in_the_future_is_refused_by_its_field():
    story = Story(listed())
    with pytest.raises(Refused) as refused:
        record_death(story.household, story.member(), TODAY + timedelta(days=1), NOW)
    assert [problem.field for problem in refused.value.fields] == ["died_on"]


def test_today_is_the_day_in_lombok():
    assert today_in_wita(NOW.replace(hour=17)) == TODAY + timedelta(days=1)


# --- Moves ------------------------------------------------------------------------------------------------------------


def moved(story: Story, code: str, person: str = MOTHER, on: date = TODAY) -> list[Event]:
    return move(story.household, destination(story.household, story.member(person), code, on, NOW))


@pytest.mark.parametrize("code", [OTHER_VILLAGE, OTHER_VILLAGE.replace(".", "")])
def test_a_move_to_a_served_village_changes_the_area(code: str):
    story = Story(listed())
    events = moved(story, code)
    assert events == [HouseholdChanged(household_id=HOME, area_code=OTHER_VILLAGE)]
    story.given(*events)
    assert moved(story, code) == []


def test_a_move_out_of_the_served_areas_delists():
    story = Story(listed())
    events = moved(story, "35.78.01.1001")
    assert events == [HouseholdDelisted(household_id=HOME, reason=DelistingReason.MOVED_AWAY)]
    story.given(*events)
    assert moved(story, "35.78.01.1001") == []


def test_only_the_head_registers_a_move():
    with pytest.raises(Refused, match="not-the-head") as refused:
        moved(Story(listed()), OTHER_VILLAGE, FATHER)
    assert refused.value.fields[0].field == "national_id"


@pytest.mark.parametrize("code", ["52.01.99.2999", "52.01", "somewhere", ""])
def test_a_village_that_nobody_knows_is_refused_by_its_field(code: str):
    with pytest.raises(Refused) as refused:
        moved(Story(listed()), code)
    assert [problem.field for problem in refused.value.fields] == ["to_area_code"]


def test_a_move_that_is_still_to_come_is_refused():
    with pytest.raises(Refused, match="future"):
        moved(Story(listed()), OTHER_VILLAGE, on=TODAY + timedelta(days=2))


# --- Who is meant -----------------------------------------------------------------------------------------------------

NIK = "5270014107800000"
GONE = HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST)


def test_the_one_person_who_bears_the_nik_is_meant_whatever_became_of_them():
    for since in ((), (GONE,)):
        story = Story(listed(), *since)
        assert the_one_meant(NIK, [(story.household, story.member())]) == (story.household, story.member())


def test_of_two_records_the_one_in_use_is_meant():
    old, new = Story(listed(), GONE), Story(listed())
    in_use = (new.household, new.member())
    assert the_one_meant(NIK, [(old.household, old.member()), in_use]) == in_use
    new.given(*record_death(new.household, new.member(), TODAY, NOW))
    left = (new.household, new.member())
    with pytest.raises(Refused, match="unknown-person"):
        the_one_meant(NIK, [(old.household, old.member()), left])


@pytest.mark.parametrize(
    ("national_id", "count", "said"),
    [
        (NIK, 0, "no person with this national id is listed"),
        (NIK, 2, "several listed persons bear this national id"),
        ("52700141078", 1, "is not a NIK of 16 digits"),
        ("527001410780000x", 1, "is not a NIK of 16 digits"),
    ],
)
def test_where_it_is_not_sure_who_is_meant_nothing_is_guessed(national_id: str, count: int, said: str):
    story = Story(listed())
    with pytest.raises(Refused) as refused:
        the_one_meant(national_id, [(story.household, story.member())] * count)
    (problem,) = refused.value.fields
    assert (problem.field, problem.message) == ("national_id", said)
    assert national_id not in str(refused.value)


# --- Corrections ------------------------------------------------------------------------------------------------------


def test_a_correction_seals_the_whole_record_anew():
    member = Story(listed()).member()
    (corrected,) = correct_member(member, DETAILS[MOTHER], CorrectPerson(name="Inaq Sari Dewi"), NOW)
    assert corrected.personal == {MOTHER: DETAILS[MOTHER].model_copy(update={"name": "Inaq Sari Dewi"})}
    assert (corrected.sex, corrected.age_band, corrected.adult) == (Sex.FEMALE, AgeBand.FROM_22, True)


def test_a_birth_date_gives_the_age_band():
    member = Story(listed()).member(CHILD)
    (corrected,) = correct_member(member, DETAILS[CHILD], CorrectPerson(birth_date=date(2006, 7, 8)), NOW)
    assert (corrected.age_band, corrected.adult) == (AgeBand.FROM_16, True)
    (younger,) = correct_member(member, DETAILS[CHILD], CorrectPerson(birth_date=date(2006, 7, 9)), NOW)
    assert (younger.age_band, younger.adult) == (AgeBand.FROM_16, False)


def test_a_correction_that_corrects_nothing_is_no_fact():
    member = Story(listed()).member()
    assert correct_member(member, DETAILS[MOTHER], CorrectPerson(name="Inaq Sari", sex=Sex.FEMALE), NOW) == []
    assert correct_member(member, DETAILS[MOTHER], CorrectPerson(), NOW) == []


def test_null_says_that_nobody_knows():
    member = Story(listed()).member()
    (corrected,) = correct_member(member, DETAILS[MOTHER], CorrectPerson(national_id=None), NOW)
    assert corrected.personal == {MOTHER: DETAILS[MOTHER].model_copy(update={"national_id": None})}


def test_who_was_erased_cannot_be_corrected():
    with pytest.raises(Refused, match="person-erased"):
        correct_member(Story(listed()).member(), None, CorrectPerson(name="Inaq Sari"), NOW)


def test_a_correction_reaches_the_members_row():
    story = Story(listed())
    story.given(
        MemberCorrected(
            household_id=HOME,
            person_id=FATHER,
            sex=Sex.MALE,
            age_band=AgeBand.FROM_60,
            adult=True,
            personal={FATHER: DETAILS[FATHER]},
        )
    )
    father = story.member(FATHER)
    assert (father.age_band, father.sealed_by) == (AgeBand.FROM_60, "event-2")
    assert story.member(MOTHER).sealed_by == "event-1"
