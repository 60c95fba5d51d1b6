"""What training keeps of the registry's facts, and who may be given a place."""

from datetime import timedelta

import pytest

from contracts.registry import (
    AgeBand,
    DelistingReason,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdRankChanged,
    LeavingReason,
    ListEvidence,
    MemberLeft,
    ParticipantCorrected,
    ParticipantRejected,
    ParticipantRelocated,
    PersonDetails,
    PersonErased,
    PriorityChanged,
    Rank,
    RejectionReason,
    Sex,
    VerificationExpired,
)
from contracts.training import DeliveryMode
from services.training.candidates.decisions import objection_to, same_kecamatan
from services.training.candidates.state import DEMAND, CandidateStatus, Demand, DemandStatus
from tests.training.facts import (
    DAYS,
    MATARAM,
    NOW,
    OTHER_KECAMATAN,
    SAME_KECAMATAN,
    STARTS_AT,
    VILLAGE,
    Story,
    known_people,
    listed,
    nominated,
    priority,
    verified,
)

EXPIRED = VerificationExpired(participant_id="sari", verified_at=NOW - timedelta(days=365), expired_at=NOW)
REJECTED = ParticipantRejected(participant_id="sari", reason=RejectionReason.MOVED)
ERASED = PersonErased(participant_id="sari", household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8")


def test_a_nominated_person_is_known_and_not_verified():
    sari = Story(nominated("sari")).candidate("sari")
    assert (sari.status, sari.score, sari.sealed) == (CandidateStatus.NOMINATED, 0, "sealed:event-1:sari")


def test_a_verification_brings_the_priority_and_the_person_as_now_known():
    sari = Story(nominated("sari"), verified("sari", 70, can_leave_home=False)).candidate("sari")
    assert (sari.status, sari.score, sari.can_leave_home) == (CandidateStatus.VERIFIED, 70, False)
    assert (sari.sealed, sari.sealed_by, sari.version) == ("sealed:event-2:sari", "event-2", 2)


@pytest.mark.parametrize(("fact", "status"), [(EXPIRED, CandidateStatus.EXPIRED), (REJECTED, CandidateStatus.REJECTED)])
def test_who_expired_or_was_rejected_can_be_verified_again(fact, status: CandidateStatus):
    story = Story(*known_people(verified("sari")), fact)
    assert story.candidate("sari").status is status
    story.given(verified("sari"))
    assert story.candidate("sari").status is CandidateStatus.VERIFIED


def test_priority_and_place_follow_the_registry():
    story = Story(
        *known_people(verified("sari", 50)),
        PriorityChanged(participant_id="sari", priority=priority(80)),
        ParticipantRelocated(participant_id="sari", area_code=OTHER_KECAMATAN),
    )
    sari = story.candidate("sari")
    assert (sari.score, sari.priority, sari.area_code) == (80, priority(80), OTHER_KECAMATAN)


def test_a_correction_replaces_what_was_wrong_and_the_sealed_details():
    corrected = ParticipantCorrected(
        participant_id="sari",
        sex=Sex.MALE,
        age_band=AgeBand.FROM_16,
        adult=False,
        personal={"sari": PersonDetails(name="Sari")},
    )
    sari = Story(*known_people(verified("sari")), corrected).candidate("sari")
    assert (sari.sex, sari.adult, sari.sealed) == (Sex.MALE, False, "sealed:event-3:sari")


def test_an_erased_person_stays_erased_whatever_is_said_later():
    story = Story(*known_people(verified("sari")), ERASED, EXPIRED, verified("sari"))
    sari = story.candidate("sari")
    assert (sari.status, sari.sealed, sari.version) == (CandidateStatus.ERASED, None, 5)


def test_somebody_may_be_erased_before_anything_else_is_known():
    assert Story(ERASED).candidate("sari").status is CandidateStatus.ERASED


# --- Who may be given a place -----------------------------------------------------------------------------------------


def objection(story: Story, mode: DeliveryMode = DeliveryMode.CLASSROOM, area_code: str = MATARAM) -> str | None:
    refused = objection_to(story.candidates(["sari"]).get("sari"), mode, area_code, STARTS_AT)
    return None if refused is None else refused.code


def test_a_verified_adult_who_can_leave_home_may_come():
    assert objection(Story(*known_people(verified("sari")))) is None


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ([], "no-such-candidate"),
        ([nominated("sari")], "not-verified"),
        ([*known_people(verified("sari")), REJECTED], "not-verified"),
        ([*known_people(verified("sari")), ERASED], "not-verified"),
        (known_people(verified("sari", expires_at=STARTS_AT)), "verification-too-old"),
        (known_people(verified("sari", adult=False)), "not-adult"),
        (known_people(verified("sari", can_leave_home=False)), "cannot-leave-home"),
    ],
)
def test_what_speaks_against_a_place_is_named(facts, code: str):
    assert objection(Story(*facts)) == code


def test_a_verification_that_holds_one_moment_into_the_first_day_is_enough():
    story = Story(*known_people(verified("sari", expires_at=STARTS_AT + timedelta(microseconds=1))))
    assert objection(story) is None
    assert DAYS[0].day == 8


@pytest.mark.parametrize(
    ("mode", "area_code", "code"),
    [
        (DeliveryMode.ON_SITE, OTHER_KECAMATAN, None),
        (DeliveryMode.CLASSROOM, SAME_KECAMATAN, None),
        (DeliveryMode.CLASSROOM, OTHER_KECAMATAN, "cannot-leave-home"),
        (DeliveryMode.CLASSROOM, "52.01", "cannot-leave-home"),
    ],
)
def test_who_cannot_leave_home_comes_to_a_class_on_site_or_in_the_own_kecamatan(
    mode: DeliveryMode, area_code: str, code: str | None
):
    story = Story(*known_people(verified("sari", can_leave_home=False)))
    assert objection(story, mode, area_code) == code


def test_a_kecamatan_is_compared_on_the_borders_of_its_code():
    assert same_kecamatan("52.01.01.2002", "52.01.01")
    assert not same_kecamatan("52.01.01.2002", "52.01.10.2002")
    assert not same_kecamatan("52.01", "52.01")


# --- Demand -----------------------------------------------------------------------------------------------------------


def demand(*facts) -> Demand:
    return Story(listed("h-1", members=4), *facts).the(DEMAND, "h-1")


def test_a_listed_household_counts_with_its_people():
    assert demand() == Demand("h-1", 1, VILLAGE, DemandStatus.LISTED, decile=1, percentile=None, people=4)


def test_a_newer_list_changes_the_rank():
    rank = Rank(source="P3KE", snapshot_id="s-2", dated=NOW.date(), welfare_decile=3, welfare_percentile=25)
    evidence = ListEvidence(file_digest="cd" * 32, row=9)
    for fact in (HouseholdRankChanged, HouseholdConfirmed):
        row = demand(fact(household_id="h-1", rank=rank, evidence=evidence))
        assert (row.decile, row.percentile, row.version) == (3, 25, 2)


def test_a_household_moves_shrinks_leaves_the_list_and_comes_back():
    left = MemberLeft(household_id="h-1", person_id="h-1-3", reason=LeavingReason.DECEASED, on=NOW.date())
    moved = HouseholdChanged(household_id="h-1", area_code=OTHER_KECAMATAN)
    gone = HouseholdDelisted(household_id="h-1", reason=DelistingReason.NOT_ON_LIST)
    row = demand(left, moved, HouseholdChanged(household_id="h-1"), gone)
    assert (row.people, row.area_code, row.status) == (3, OTHER_KECAMATAN, DemandStatus.DELISTED)
    assert demand(gone, listed("h-1", members=5)).people == 5


def test_who_was_counted_no_longer_and_dies_is_not_counted_out_twice():
    left = MemberLeft(household_id="h-1", person_id="h-1-3", reason=LeavingReason.NOT_ON_LIST, on=NOW.date())
    died = left.model_copy(update={"reason": LeavingReason.DECEASED, "counted_no_longer": True})
    assert demand(left, died).people == 3
