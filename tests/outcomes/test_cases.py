"""Cases: opened for each who completed, from how their household then stood, until they are no participant any more."""

from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.outcomes import (
    BaselineRecorded,
    BasicNeed,
    CaseClosed,
    CaseOpened,
    ClosingReason,
    FollowUpScheduled,
    TrainingAdded,
)
from contracts.p3ke.columns import DRINKING_WATER, FLOORS, LATRINES, ROOFS, WALLS
from contracts.registry import (
    AgeBand,
    Finding,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdRankChanged,
    LeavingReason,
    ListEvidence,
    LivingConditions,
    MemberLeft,
    ParticipantCorrected,
    ParticipantRejected,
    ParticipantRelocated,
    PersonErased,
    RejectionReason,
    Sex,
    VerificationExpired,
    VisitRecorded,
)
from services.outcomes.cases.decisions import needs_told_by, seen_over_listed
from services.outcomes.cases.state import CaseStatus
from services.outcomes.follow_ups.decisions import schedule
from services.outcomes.people.state import PERSONS, as_of
from services.outcomes.rules.state import RULES
from tests.outcomes.facts import (
    BEFORE,
    COHORT,
    COMPLETED_AT,
    COMPLETED_ON,
    IN_LOMBOK_TIMUR,
    NOW,
    OTHER_COHORT,
    POOR,
    SOUND,
    VILLAGE,
    Story,
    default_rules,
    held,
    home_of,
    known,
    listed,
    nominated,
    over,
    rank,
    verified,
)

EVIDENCE = ListEvidence(file_digest="cd" * 32, row=7)
EARLIER = COMPLETED_AT - timedelta(days=3)
LATER = COMPLETED_AT + timedelta(days=1)


def completed(*people: str) -> Story:
    """Known long before, and a class that they completed."""
    story = Story(now=BEFORE)
    for person in people:
        story.told(*known(person))
    story.at(COMPLETED_AT).told(*held(*people))
    return story.at(NOW)


def visited(person: str, conditions: LivingConditions | None, visit_id: str | None = None) -> VisitRecorded:
    return VisitRecorded(
        participant_id=person,
        visit_id=visit_id or f"visit-of-{person}",
        area_code=VILLAGE,
        facilitator_id="pendamping-2",
        captured_at=BEFORE,
        received_at=BEFORE,
        finding=Finding.MATCHED,
        willing=True,
        can_leave_home=True,
        situation_changed=False,
        reachable=True,
        conditions=conditions,
    )


def rejected(person: str, reason: RejectionReason = RejectionReason.NOT_ELIGIBLE) -> ParticipantRejected:
    return ParticipantRejected(participant_id=person, reason=reason)


def erased(person: str) -> PersonErased:
    return PersonErased(participant_id=person, household_id=home_of(person), area_code=VILLAGE, basis="UU 27/2022")


# --- Opening ----------------------------------------------------------------------------------------------------------


def test_each_who_completed_has_a_case_and_nobody_else():
    story = Story(now=BEFORE)
    story.told(*known("sari"), *known("dewi"))
    story.at(COMPLETED_AT).told(*held("sari", "dewi")[:-1])
    decided = story.told(over("sari"))
    assert [(type(fact), fact.key) for fact in decided] == [(CaseOpened, "sari"), (BaselineRecorded, "sari")]


def test_a_case_says_which_training_where_and_with_what_result():
    story = Story(now=BEFORE)
    story.told(*known("sari"))
    opened, baseline = story.at(COMPLETED_AT).told(*held("sari"))
    assert opened == CaseOpened(
        case_id="sari",
        participant_id="sari",
        cohort_id=COHORT,
        course_id="course-1",
        delivery_mode="classroom",
        completed_on=COMPLETED_ON,
        completed_at=COMPLETED_AT,
        area_code=VILLAGE,
        attendance_percent=100,
        pre_test=40,
        post_test=80,
    )
    assert baseline == BaselineRecorded(
        case_id="sari",
        household_id="home-of-sari",
        area_code=VILLAGE,
        people=4,
        rank=rank(),
        conditions=POOR,
        needs=(
            {"need": "clean_water", "met": False},
            {"need": "sanitation", "met": False},
            {"need": "housing", "met": False},
        ),
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        verified_at=BEFORE,
    )
    case = story.case("sari")
    assert (case.status, case.standing, case.baseline_decile, case.baseline_people) == ("open", "followed", 1, 4)


def test_a_cohort_that_is_told_of_twice_opens_nothing_twice():
    story = completed("sari")
    before = story.case("sari")
    assert story.at(COMPLETED_AT).told(over("sari")) == []
    assert story.case("sari") == before


def test_who_is_on_no_list_that_we_know_lived_where_the_class_met():
    story = Story(now=COMPLETED_AT)
    opened, *_ = story.told(held("sari")[0], over("sari"))
    assert (opened.area_code, opened.attendance_percent) == ("52.71", None)


def test_a_case_opens_before_anything_is_known_of_the_person():
    story = Story(now=COMPLETED_AT)
    assert [type(fact) for fact in story.told(*held("sari"))] == [CaseOpened]
    assert story.case("sari").baseline is None
    assert story.at(BEFORE).told(nominated("sari"), listed("sari")) == []
    assert [type(fact) for fact in story.told(verified("sari"))] == [BaselineRecorded]


# --- Another training -------------------------------------------------------------------------------------------------


def test_another_training_is_added_to_the_case():
    story = completed("sari")
    decided = story.at(LATER).told(*held("sari", cohort_id=OTHER_COHORT, completed_on=LATER.date()))
    assert [type(fact) for fact in decided] == [TrainingAdded]
    case = story.case("sari")
    assert ([training.cohort_id for training in case.trainings], case.cohort_id) == ([COHORT, OTHER_COHORT], COHORT)
    assert case.completed_on == COMPLETED_ON


def test_of_two_trainings_the_case_follows_the_earlier_one_though_it_is_heard_of_later():
    story = completed("sari")
    story.given(*default_rules())
    story.given(*schedule(story.case("sari"), story.the(RULES, "follow_up_plan")))
    first = EARLIER.date()
    decided = story.at(EARLIER).told(
        *held("sari", cohort_id=OTHER_COHORT, completed_on=first, area_code=IN_LOMBOK_TIMUR)
    )
    assert [type(fact) for fact in decided] == [TrainingAdded, BaselineRecorded, *[FollowUpScheduled] * 4]
    case = story.case("sari")
    assert (case.cohort_id, case.completed_on, case.area_code) == (OTHER_COHORT, first, IN_LOMBOK_TIMUR)
    assert [visit.due_on.isoformat() for visit in story.visits("sari")] == [
        "2024-08-09",
        "2024-10-09",
        "2025-01-09",
        "2025-07-09",
    ]


def test_a_baseline_of_a_later_training_does_not_stand_for_an_earlier_one():
    story = Story(now=EARLIER)
    story.told(*known("sari"))
    story.at(COMPLETED_AT).told(*held("sari"))
    assert story.case("sari").baseline is not None
    story.at(BEFORE).told(*held("sari", cohort_id=OTHER_COHORT, completed_on=BEFORE.date()))
    assert (story.case("sari").baseline, story.case("sari").household_id) == (None, None)


# --- Baseline ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "field", "value"),
    [
        (HouseholdRankChanged(household_id="home-of-sari", rank=rank(3), evidence=EVIDENCE), "baseline_decile", 3),
        (
            HouseholdConfirmed(household_id="home-of-sari", rank=rank(2), evidence=EVIDENCE),
            "baseline_decile",
            2,
        ),
        (
            MemberLeft(
                household_id="home-of-sari",
                person_id="sari-kin-1",
                reason=LeavingReason.DECEASED,
                on=BEFORE.date(),
            ),
            "baseline_people",
            3,
        ),
        (
            ParticipantCorrected(participant_id="sari", sex=Sex.MALE, age_band=AgeBand.FROM_60, adult=True),
            "age_band",
            AgeBand.FROM_60,
        ),
    ],
)
def test_facts_of_before_the_completion_that_come_late_mend_the_baseline_and_later_ones_do_not(fact, field, value):
    story = completed("sari")
    before = story.case("sari")
    assert story.at(LATER).told(fact) == []
    assert story.case("sari") == before

    story = completed("sari")
    assert [type(decided) for decided in story.at(EARLIER).told(fact)] == [BaselineRecorded]
    assert getattr(story.case("sari"), field) == value


def test_a_change_at_the_very_instant_of_the_completion_counts():
    story = completed("sari")
    moved = HouseholdChanged(household_id="home-of-sari", area_code=IN_LOMBOK_TIMUR, conditions=SOUND)
    (again,) = story.at(COMPLETED_AT).told(moved)
    assert (again.area_code, again.conditions) == (IN_LOMBOK_TIMUR, SOUND)
    assert story.case("sari").area_code == VILLAGE, "a case stays where its participant completed"


def test_what_the_verified_visit_saw_goes_before_the_list():
    story = Story(now=BEFORE)
    seen = LivingConditions(latrine="Ya, dengan Septic Tank")
    story.told(listed("sari"), nominated("sari"), visited("sari", LivingConditions(floor="Keramik"), "another"))
    story.told(visited("sari", seen), verified("sari"))
    story.at(COMPLETED_AT).told(*held("sari"))
    baseline = story.case("sari").baseline
    assert baseline is not None
    assert (baseline.conditions.latrine, baseline.conditions.floor) == ("Ya, dengan Septic Tank", "Tanah")
    assert story.the(PERSONS, "sari").visits == ()


def test_a_person_who_is_not_verified_by_then_has_no_baseline():
    story = Story(now=BEFORE)
    story.told(listed("sari"), nominated("sari"))
    story.at(COMPLETED_AT).told(*held("sari"))
    story.at(LATER).told(verified("sari"))
    assert story.case("sari").baseline is None


def test_a_history_is_asked_as_of_an_instant():
    story = completed("sari")
    story.at(LATER).told(verified("sari", age_band=AgeBand.FROM_60))
    history = story.the(PERSONS, "sari").history
    assert as_of(history, BEFORE - timedelta(seconds=1)) is None
    assert as_of(history, COMPLETED_AT).age_band == AgeBand.FROM_22
    assert as_of(history, LATER).age_band == AgeBand.FROM_60


def test_seen_conditions_replace_only_what_they_say():
    listed_ = replace(POOR, social_assistance=("PKH",), stunting_risk=True)
    assert seen_over_listed(None, listed_) == listed_
    assert seen_over_listed(LivingConditions(), listed_) == listed_
    seen = LivingConditions(stunting_risk=False, roof="Genteng")
    assert seen_over_listed(seen, listed_) == replace(listed_, stunting_risk=False, roof="Genteng")


# --- Needs ------------------------------------------------------------------------------------------------------------


def told_of(need: BasicNeed, conditions: LivingConditions) -> bool | None:
    return next((found.met for found in needs_told_by(conditions) if found.need is need), None)


@pytest.mark.parametrize(
    ("words", "met"),
    [
        *((water, True) for water in ("Ledeng/PAM", "Air Kemasan/Isi Ulang", "Sumur Bor", "Sumur Terlindung")),
        *((water, False) for water in ("Sumur Tidak Terlindung", "Air Permukaan", "Air Hujan")),
        *((unclear, None) for unclear in ("Lainnya", None)),
    ],
)
def test_water_is_clean_from_a_protected_source(words, met):
    assert words is None or words in DRINKING_WATER
    assert told_of(BasicNeed.CLEAN_WATER, LivingConditions(drinking_water=words)) is met


def test_sanitation_is_a_latrine_with_a_septic_tank():
    told = {words: told_of(BasicNeed.SANITATION, LivingConditions(latrine=words)) for words in LATRINES}
    assert [words for words, met in told.items() if met] == ["Ya, dengan Septic Tank"]
    assert None not in told.values()
    assert told_of(BasicNeed.SANITATION, LivingConditions()) is None


@pytest.mark.parametrize(
    ("roof", "wall", "floor", "met"),
    [
        ("Genteng", "Tembok", "Semen", True),
        ("Seng", "Kayu/Papan", "Kayu/Papan", True),
        ("Genteng", "Tembok", "Tanah", False),
        ("Jerami/Ijuk/Daun-daunan", None, None, False),
        ("Genteng", "Anyaman Bambu", "Semen", False),
        ("Genteng", "Tembok", None, None),
        ("Genteng", "Tembok", "Lainnya", None),
    ],
)
def test_a_house_is_solid_if_every_part_is_known_to_be(roof, wall, floor, met):
    assert roof in ROOFS
    assert wall is None or wall in WALLS
    assert floor is None or floor in FLOORS
    assert told_of(BasicNeed.HOUSING, LivingConditions(roof=roof, wall=wall, floor=floor)) is met


def test_of_needs_that_the_list_has_no_words_for_nothing_is_said():
    assert {found.need for found in needs_told_by(SOUND)} == {
        BasicNeed.CLEAN_WATER,
        BasicNeed.SANITATION,
        BasicNeed.HOUSING,
    }


# --- Ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "because"),
    [
        (rejected("sari", RejectionReason.DECEASED), ClosingReason.DECEASED),
        (rejected("sari", RejectionReason.MOVED), ClosingReason.NO_LONGER_PARTICIPANT),
        (erased("sari"), ClosingReason.ERASED),
    ],
)
def test_a_case_is_closed_when_its_participant_is_none_any_more(fact, because):
    story = completed("sari")
    assert story.told(fact) == [CaseClosed(case_id="sari", because=because)]
    assert (story.case("sari").status, story.case("sari").closed_because) == (CaseStatus.CLOSED, because)
    assert story.case("sari").closed_on == NOW.date()


def test_a_case_of_somebody_who_is_none_already_is_opened_and_closed_at_once():
    story = Story(now=BEFORE)
    story.told(*known("sari"), rejected("sari"), erased("sari"))
    decided = story.at(COMPLETED_AT).told(*held("sari"))
    assert [type(fact) for fact in decided] == [CaseOpened, BaselineRecorded, CaseClosed]
    assert story.case("sari").closed_because is ClosingReason.NO_LONGER_PARTICIPANT, "what came first"


def test_a_case_is_closed_once():
    story = completed("sari")
    story.told(rejected("sari"))
    assert story.told(erased("sari")) == []
    assert story.case("sari").closed_because is ClosingReason.NO_LONGER_PARTICIPANT


def test_a_verification_that_ages_and_a_move_close_nothing():
    story = completed("sari")
    expired = VerificationExpired(participant_id="sari", verified_at=BEFORE, expired_at=NOW)
    assert story.told(expired, ParticipantRelocated(participant_id="sari", area_code=IN_LOMBOK_TIMUR)) == []
    assert story.case("sari").is_open


def test_visits_that_are_still_to_come_are_dropped_with_the_case():
    story = completed("sari").given(*default_rules())
    story.given(*schedule(story.case("sari"), story.the(RULES, "follow_up_plan")))
    story.told(rejected("sari"))
    assert {visit.status for visit in story.visits("sari")} == {"dropped"}
