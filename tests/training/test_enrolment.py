"""Who gets a place: one by one, by priority, or a place in the line."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from contracts.registry import ParticipantVerified
from contracts.training import (
    CohortCancelled,
    DeliveryMode,
    ParticipantConfirmed,
    ParticipantEnrolled,
    ParticipantWaitlisted,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.refusal import Refused
from services.training.candidates.state import Candidate
from services.training.enrolments.decisions import (
    Commitments,
    EnrolByPriority,
    confirm,
    enrol,
    enrol_by_priority,
    pool_area,
    waitlist,
)
from services.training.enrolments.state import EnrolmentStatus
from services.training.programmes.decisions import QuotaRoom
from tests.training.facts import (
    BASE,
    COHORT,
    CONFIRM_BY,
    COURSE,
    DAYS,
    FREE,
    IN_LOMBOK_TIMUR,
    LOMBOK_BARAT,
    LOMBOK_TIMUR,
    MATARAM,
    NO_QUOTAS,
    NOW,
    STARTS_AT,
    VILLAGE,
    Story,
    confirmed,
    enrolled,
    known_people,
    people,
    planned,
    priority,
    started,
    verified,
    waitlisted,
)

LAST_DAY = DAYS[0] - timedelta(days=1)


def enrol_one(
    story: Story,
    person: str = "sari",
    commitments: Commitments = FREE,
    quotas: QuotaRoom = NO_QUOTAS,
    now: datetime = NOW,
) -> list[Any]:
    candidate = story.candidates([person]).get(person)
    return enrol(story.cohort(), story.enrolments(), candidate, commitments, quotas, now)


def refusal_of(story: Story, **more: Any) -> str:
    with pytest.raises(Refused) as refused:
        enrol_one(story, **more)
    return refused.value.code


SARI = known_people(verified("sari", 70))
FULL = [enrolled(f"p{n}", n) for n in (1, 2, 3)]

# --- One by one -------------------------------------------------------------------------------------------------------


def test_a_verified_candidate_gets_the_lowest_free_place_with_the_priority_as_it_stands():
    story = Story(*SARI, *BASE, enrolled("ani", 1), enrolled("budi", 3))
    assert enrol_one(story) == [
        ParticipantEnrolled(
            cohort_id=COHORT,
            participant_id="sari",
            area_code=VILLAGE,
            place=2,
            priority=priority(70),
            confirm_by=CONFIRM_BY,
        )
    ]


def test_a_place_is_counted_on_the_cohort_and_dated_on_the_list():
    story = Story(*SARI, *BASE)
    story.given(*enrol_one(story))
    assert story.cohort().enrolled == 1
    sari = story.enrolment("sari")
    assert (sari.status, sari.place, sari.enrolled_at, sari.score) == (EnrolmentStatus.ENROLLED, 1, NOW, 70)


def test_a_full_cohort_refuses_a_new_participant():
    assert refusal_of(Story(*SARI, *BASE, *FULL)) == "cohort-full"


def test_who_has_a_place_does_not_get_another():
    assert refusal_of(Story(*SARI, *BASE, enrolled("sari", 1))) == "enrolled-already"


@pytest.mark.parametrize("end", [started(), CohortCancelled(cohort_id=COHORT, because="budget")])
def test_enrolment_is_over_when_a_cohort_began_or_was_cancelled(end):
    assert refusal_of(Story(*SARI, *BASE, enrolled("ani", 1), end)) == "cohort-closed"


def test_enrolment_is_over_on_the_first_day_even_before_the_cohort_is_marked_as_started():
    assert refusal_of(Story(*SARI, *BASE), now=STARTS_AT) == "cohort-closed"


def test_nobody_is_on_the_lists_of_two_cohorts_that_meet_on_one_day():
    assert refusal_of(Story(*SARI, *BASE), commitments=Commitments(frozenset({DAYS[4]}))) == "overlapping-cohort"
    other_days = frozenset({DAYS[4] + timedelta(days=3)})
    assert enrol_one(Story(*SARI, *BASE), commitments=Commitments(other_days))


def test_nobody_takes_a_course_twice():
    assert refusal_of(Story(*SARI, *BASE), commitments=Commitments(courses=frozenset({COURSE}))) == "course-completed"


def test_a_kabupaten_does_not_exceed_its_quota():
    story = Story(*SARI, *BASE, enrolled("ani", 1))
    assert refusal_of(story, quotas=QuotaRoom({LOMBOK_BARAT: 3}, {LOMBOK_BARAT: 2})) == "quota-full"
    assert enrol_one(story, quotas=QuotaRoom({LOMBOK_BARAT: 4}, {LOMBOK_BARAT: 2}))


def test_who_cannot_come_is_not_enrolled():
    assert refusal_of(Story(*known_people(verified("sari", can_leave_home=False)), *BASE)) == "cannot-leave-home"


def test_an_officer_may_enrol_whose_verification_still_has_to_be_renewed_before_the_start():
    soon = NOW + timedelta(days=2)
    assert enrol_one(Story(*known_people(verified("sari", expires_at=soon)), *BASE))
    assert refusal_of(Story(*known_people(verified("sari", expires_at=NOW)), *BASE)) == "verification-too-old"


def test_who_is_enrolled_after_the_deadline_has_until_the_day_before_the_start():
    (fact,) = enrol_one(Story(*SARI, *BASE), now=NOW + timedelta(days=5))
    assert fact.confirm_by == LAST_DAY == date(2024, 7, 7)


def test_who_waits_in_line_can_be_given_a_place():
    story = Story(*SARI, *BASE, waitlisted("sari"))
    (fact,) = enrol_one(story)
    assert fact.from_waitlist
    story.given(fact)
    assert (story.cohort().enrolled, story.cohort().waitlisted) == (1, 0)


def test_who_withdrew_can_come_back():
    gone = ParticipantWithdrawn(cohort_id=COHORT, participant_id="sari", reason=WithdrawalReason.ILLNESS, place=1)
    story = Story(*SARI, *BASE, enrolled("sari", 1), gone)
    story.given(*enrol_one(story))
    assert story.holders() == {1: "sari"}
    assert story.enrolment("sari").withdrawn_because is None


# --- The waitlist -----------------------------------------------------------------------------------------------------


def wait(story: Story, commitments: Commitments = FREE) -> list[Any]:
    return waitlist(story.cohort(), story.enrolments(), story.candidate("sari"), commitments, NOW)


def test_a_candidate_gets_a_place_in_the_line():
    story = Story(*SARI, *BASE, *FULL)
    events = wait(story)
    assert events == [waitlisted("sari", 70)]
    story.given(*events)
    assert (story.cohort().enrolled, story.cohort().waitlisted) == (3, 1)


def test_nobody_waits_twice_or_beside_a_place():
    for fact in (waitlisted("sari"), enrolled("sari", 1)):
        with pytest.raises(Refused, match="on-the-list-already"):
            wait(Story(*SARI, *BASE, fact))


def test_nobody_waits_for_days_that_are_taken():
    with pytest.raises(Refused, match="overlapping-cohort"):
        wait(Story(*SARI, *BASE), Commitments(frozenset({DAYS[0]})))


# --- By priority ------------------------------------------------------------------------------------------------------


def by_priority(
    story: Story,
    pool: Sequence[str],
    *,
    length: int = 0,
    commitments: dict[str, Commitments] | None = None,
    quotas: QuotaRoom = NO_QUOTAS,
) -> list[Any]:
    people: list[Candidate] = [story.candidate(person) for person in pool]
    wish = EnrolByPriority(waitlist=length)
    return enrol_by_priority(story.cohort(), story.enrolments(), people, commitments or {}, quotas, wish, NOW)


def outcome(events: Sequence[Any]) -> list[tuple[str, int | None]]:
    """Who got which place; None: a place in the line."""
    return [(e.participant_id, e.place if isinstance(e, ParticipantEnrolled) else None) for e in events]


def test_free_places_go_to_the_highest_priority_and_the_next_wait_in_line():
    story = Story(*people(ani=10, budi=90, citra=50, dewi=70, eka=20, fajar=5), *BASE)
    events = by_priority(story, ["ani", "budi", "citra", "dewi", "eka", "fajar"], length=2)
    assert outcome(events) == [("budi", 1), ("dewi", 2), ("citra", 3), ("eka", None), ("ani", None)]


def test_of_equals_the_id_decides_whatever_the_order_of_the_pool():
    story = Story(*people(ani=50, budi=50, citra=50, dewi=50), *BASE)
    for pool in (["dewi", "ani", "citra", "budi"], ["budi", "citra", "ani", "dewi"]):
        assert outcome(by_priority(story, pool)) == [("ani", 1), ("budi", 2), ("citra", 3)]


def test_only_who_is_verified_until_the_start_and_may_come_is_chosen():
    facts: list[ParticipantVerified] = [
        verified("ani", 99, adult=False),
        verified("budi", 98, expires_at=STARTS_AT),
        verified("citra", 97, can_leave_home=False),
        verified("dewi", 1),
    ]
    story = Story(*known_people(*facts), *BASE)
    assert outcome(by_priority(story, ["ani", "budi", "citra", "dewi"], length=5)) == [("dewi", 1)]


def test_on_site_takes_who_cannot_leave_home():
    on_site = planned(delivery_mode=DeliveryMode.ON_SITE, area_code=VILLAGE)
    story = Story(*known_people(verified("citra", can_leave_home=False)), *BASE[:-1], on_site)
    assert outcome(by_priority(story, ["citra"])) == [("citra", 1)]


def test_who_is_busy_on_one_of_the_days_or_completed_the_course_is_not_chosen():
    story = Story(*people(ani=90, budi=80, citra=70), *BASE)
    commitments = {"ani": Commitments(frozenset({DAYS[2]})), "budi": Commitments(courses=frozenset({COURSE}))}
    assert outcome(by_priority(story, ["ani", "budi", "citra"], commitments=commitments)) == [("citra", 1)]


def test_who_left_this_list_is_not_chosen_for_it_again():
    gone = ParticipantWithdrawn(cohort_id=COHORT, participant_id="ani", reason=WithdrawalReason.WORK, place=1)
    story = Story(*people(ani=90, budi=80), *BASE, enrolled("ani", 1), gone)
    assert outcome(by_priority(story, ["ani", "budi"])) == [("budi", 1)]


def test_each_kabupaten_stays_within_its_quota_and_who_is_above_it_may_wait():
    facts = [verified("ani", 90), verified("budi", 80), verified("citra", 70, area_code=IN_LOMBOK_TIMUR)]
    story = Story(*known_people(*facts), *BASE)
    quotas = QuotaRoom({LOMBOK_BARAT: 5, LOMBOK_TIMUR: 5}, {LOMBOK_BARAT: 4})
    assert outcome(by_priority(story, ["ani", "budi", "citra"], length=1, quotas=quotas)) == [
        ("ani", 1),
        ("budi", None),
        ("citra", 2),
    ]


def test_who_waits_in_line_is_chosen_with_the_pool_by_priority():
    story = Story(*people(ani=60, budi=80, citra=70), *BASE, enrolled("x", 1), enrolled("y", 2), waitlisted("ani", 60))
    assert outcome(by_priority(story, ["ani", "budi", "citra"], length=2)) == [("budi", 3), ("citra", None)]
    events = by_priority(story, ["ani"], length=0)
    assert [(e.participant_id, e.place, e.from_waitlist) for e in events] == [("ani", 3, True)]


def test_when_somebody_in_line_is_given_a_place_the_next_may_join_the_line():
    story = Story(*people(ani=60, budi=50), *BASE, enrolled("x", 1), enrolled("y", 2), waitlisted("ani", 60))
    assert outcome(by_priority(story, ["ani", "budi"], length=1)) == [("ani", 3), ("budi", None)]


def test_who_waits_and_is_no_longer_verified_is_passed_over():
    story = Story(*known_people(verified("ani", expires_at=STARTS_AT)), *BASE, waitlisted("ani"))
    assert by_priority(story, ["ani"]) == []


def test_asking_twice_chooses_nobody_else():
    story = Story(*people(ani=10, budi=90, citra=50, dewi=70), *BASE)
    pool = ["ani", "budi", "citra", "dewi"]
    story.given(*by_priority(story, pool, length=1))
    assert by_priority(story, pool, length=1) == []


def test_the_line_grows_to_the_length_that_is_asked_for():
    story = Story(*people(ani=90, budi=80), *BASE, *FULL, waitlisted("w", 10))
    (fact,) = by_priority(story, ["ani", "budi"], length=2)
    assert isinstance(fact, ParticipantWaitlisted)
    assert fact.participant_id == "ani"


def test_a_class_on_site_looks_for_people_in_its_own_kecamatan_unless_told_otherwise():
    classroom = Story(*BASE).cohort()
    on_site = Story(*BASE[:-1], planned(delivery_mode=DeliveryMode.ON_SITE, area_code=VILLAGE)).cohort()
    assert pool_area(classroom, "52", EnrolByPriority()) == "52"
    assert pool_area(on_site, "52", EnrolByPriority()) == "52.01.01"
    assert pool_area(on_site, "52", EnrolByPriority(area_code=LOMBOK_BARAT)) == LOMBOK_BARAT
    assert pool_area(classroom, "52", EnrolByPriority(area_code=MATARAM)) == MATARAM


# --- Confirming -------------------------------------------------------------------------------------------------------

IN_TIME = datetime.combine(CONFIRM_BY, datetime.min.time(), tzinfo=NOW.tzinfo) + timedelta(hours=15, minutes=59)


def say_yes(story: Story, now: datetime = NOW) -> list[Any]:
    enrolment = next((e for e in story.enrolments() if e.participant_id == "sari"), None)
    return confirm(story.cohort(), enrolment, now)


@pytest.mark.parametrize("now", [NOW, IN_TIME])
def test_a_participant_confirms_until_the_end_of_the_last_day(now: datetime):
    story = Story(*SARI, *BASE, enrolled("sari", 1))
    events = say_yes(story, now)
    assert events == [ParticipantConfirmed(cohort_id=COHORT, participant_id="sari")]
    story.given(*events)
    assert (story.enrolment("sari").status, story.enrolment("sari").confirmed_at) == (EnrolmentStatus.CONFIRMED, NOW)
    assert story.cohort().enrolled == 1


@pytest.mark.parametrize(
    ("facts", "now", "code"),
    [
        ([], NOW, "not-on-the-list"),
        ([waitlisted("sari")], NOW, "not-on-the-list"),
        ([enrolled("sari", 1)], IN_TIME + timedelta(minutes=1), "confirmed-too-late"),
        ([enrolled("sari", 1)], STARTS_AT, "cohort-closed"),
        ([enrolled("sari", 1), confirmed("sari")], NOW, "confirmed-already"),
    ],
)
def test_who_cannot_confirm_is_told_why(facts, now: datetime, code: str):
    with pytest.raises(Refused) as refused:
        say_yes(Story(*SARI, *BASE, *facts), now)
    assert refused.value.code == code
