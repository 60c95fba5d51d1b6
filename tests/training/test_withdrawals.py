"""Leaving a list, and who follows on the place."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts.training import (
    ParticipantEnrolled,
    ParticipantReplaced,
    ParticipantWithdrawn,
    WithdrawalNote,
    WithdrawalReason,
)
from services.kit.refusal import Refused
from services.training.enrolments.state import EnrolmentStatus
from services.training.programmes.decisions import QuotaRoom
from services.training.withdrawals.decisions import (
    Withdraw,
    lose_eligibility,
    places_changed,
    withdraw,
    withdraw_unconfirmed,
)
from tests.training.facts import (
    BASE,
    COHORT,
    DAYS,
    IN_LOMBOK_TIMUR,
    LOMBOK_BARAT,
    LOMBOK_TIMUR,
    NOW,
    STARTS_AT,
    VILLAGE,
    Story,
    confirmed,
    enrolled,
    known_people,
    priority,
    started,
    verified,
    waitlisted,
)

LAST_DAY = DAYS[0] - timedelta(days=1)
FULL = [enrolled("ani", 1), enrolled("budi", 2), enrolled("citra", 3)]
LINE = [waitlisted("low", 10), waitlisted("high", 90)]
WAITING = known_people(verified("low", 10), verified("high", 90))
CHILDREN = Withdraw(reason="cannot_leave_children")


def leave(
    story: Story, person: str = "budi", wish: Withdraw = CHILDREN, quotas: QuotaRoom | None = None, now: datetime = NOW
) -> list[Any]:
    return withdraw(story.cohort(), story.enrolments(), person, story.waiting(quotas), wish, now)


def gone(person: str, place: int | None, reason: WithdrawalReason) -> ParticipantWithdrawn:
    return ParticipantWithdrawn(cohort_id=COHORT, participant_id=person, reason=reason, place=place)


def test_the_place_of_who_withdraws_goes_to_the_next_in_line_who_has_until_the_day_before_the_start():
    story = Story(*WAITING, *BASE, *FULL, *LINE)
    events = leave(story)
    assert events == [
        gone("budi", 2, WithdrawalReason.CANNOT_LEAVE_CHILDREN),
        ParticipantReplaced(
            cohort_id=COHORT,
            participant_id="high",
            area_code=VILLAGE,
            place=2,
            replaces="budi",
            priority=priority(90),
            confirm_by=LAST_DAY,
        ),
    ]
    story.given(*events)
    assert story.holders() == {1: "ani", 2: "high", 3: "citra"}
    assert (story.cohort().enrolled, story.cohort().waitlisted) == (3, 1)
    budi = story.enrolment("budi")
    assert (budi.status, budi.withdrawn_because) == (
        EnrolmentStatus.WITHDRAWN,
        WithdrawalReason.CANNOT_LEAVE_CHILDREN,
    )


def test_what_somebody_says_about_leaving_is_sealed_under_their_own_key():
    story = Story(*BASE, *FULL)
    (fact,) = leave(story, wish=Withdraw(reason="illness", note="Demam sejak kemarin"))
    assert fact.personal == {"budi": WithdrawalNote(note="Demam sejak kemarin")}
    envelope = story.fold(fact)
    assert (story.enrolment("budi").sealed, story.enrolment("budi").sealed_by) == (
        f"sealed:{envelope.id}:budi",
        envelope.id,
    )


def test_without_a_line_the_place_stays_free():
    story = Story(*BASE, *FULL)
    story.given(*leave(story))
    assert story.holders() == {1: "ani", 3: "citra"}
    assert story.cohort().enrolled == 2


def test_who_waits_can_leave_the_line():
    story = Story(*WAITING, *BASE, *FULL, *LINE)
    events = leave(story, "high")
    assert events == [gone("high", None, WithdrawalReason.CANNOT_LEAVE_CHILDREN)]
    story.given(*events)
    assert (story.cohort().enrolled, story.cohort().waitlisted) == (3, 1)


def test_whose_verification_does_not_hold_at_the_start_does_not_follow():
    people = known_people(verified("low", 10), verified("high", 90, expires_at=STARTS_AT))
    _, follower = leave(Story(*people, *BASE, *FULL, *LINE))
    assert follower.participant_id == "low"


def test_who_follows_keeps_within_the_quota_of_the_kabupaten():
    people = known_people(verified("low", 10, area_code=IN_LOMBOK_TIMUR), verified("high", 90))
    line = [waitlisted("low", 10, area_code=IN_LOMBOK_TIMUR), waitlisted("high", 90)]
    story = Story(*people, *BASE, enrolled("ani", 1), enrolled("dewi", 2, area_code=IN_LOMBOK_TIMUR), *line)
    _, follower = leave(story, "dewi", quotas=QuotaRoom({LOMBOK_BARAT: 3}, {LOMBOK_BARAT: 2}))
    assert follower.participant_id == "low"
    _, *followers = leave(story, "ani", quotas=QuotaRoom({LOMBOK_BARAT: 3}, {LOMBOK_BARAT: 2}))
    assert [(f.participant_id, f.place) for f in followers] == [("high", 1), ("low", 3)]


def test_a_place_that_was_nobodys_before_is_an_enrolment_from_the_line():
    story = Story(*WAITING, *BASE, enrolled("ani", 1), *LINE)
    _, replaced, placed = leave(story, "ani")
    assert isinstance(replaced, ParticipantReplaced)
    assert isinstance(placed, ParticipantEnrolled)
    assert (placed.participant_id, placed.place, placed.from_waitlist) == ("low", 2, True)


def test_from_the_first_day_on_nobody_follows():
    story = Story(*WAITING, *BASE, *FULL, *LINE)
    assert leave(story, now=STARTS_AT) == [gone("budi", 2, WithdrawalReason.CANNOT_LEAVE_CHILDREN)]


def test_a_participant_can_leave_a_class_that_runs():
    story = Story(*BASE, *FULL, *(confirmed(p) for p in ("ani", "budi", "citra")), started())
    story.given(*leave(story, now=STARTS_AT + timedelta(days=2)))
    assert story.statuses() == {"ani": "confirmed", "budi": "withdrawn", "citra": "confirmed"}
    assert story.cohort().enrolled == 2


def test_who_is_not_on_the_list_cannot_leave_it():
    story = Story(*BASE, *FULL)
    with pytest.raises(Refused, match="not-on-the-list"):
        leave(story, "nobody")
    story.given(*leave(story))
    with pytest.raises(Refused, match="not-on-the-list"):
        leave(story)


# --- Not confirmed in time --------------------------------------------------------------------------------------------

DEADLINE = datetime(2024, 7, 5, 16, 0, tzinfo=NOW.tzinfo)  # the end of 5 July in Mataram


def after_deadline(story: Story, now: datetime = DEADLINE) -> list[Any]:
    return withdraw_unconfirmed(story.cohort(), story.enrolments(), story.waiting(), now)


def test_who_did_not_confirm_in_time_makes_room_for_the_next_in_line():
    story = Story(*WAITING, *BASE, *FULL, confirmed("ani"), *LINE)
    events = after_deadline(story)
    assert [type(e).__name__ for e in events] == ["ParticipantWithdrawn"] * 2 + ["ParticipantReplaced"] * 2
    story.given(*events)
    assert story.holders() == {1: "ani", 2: "high", 3: "low"}
    assert {e.reason for e in events[:2]} == {WithdrawalReason.NOT_CONFIRMED}


def test_nobody_loses_a_place_before_the_last_day_is_over():
    story = Story(*WAITING, *BASE, *FULL, *LINE)
    assert after_deadline(story, DEADLINE - timedelta(microseconds=1)) == []


def test_who_followed_on_a_place_has_time_until_the_start():
    story = Story(*WAITING, *BASE, *FULL, confirmed("ani"), confirmed("budi"), *LINE)
    story.given(*after_deadline(story))
    assert after_deadline(story, STARTS_AT - timedelta(seconds=1)) == []
    assert after_deadline(story, STARTS_AT) == [gone("high", 3, WithdrawalReason.NOT_CONFIRMED)]


def test_the_deadline_of_a_cohort_that_runs_is_over():
    story = Story(*BASE, *FULL, started())
    assert after_deadline(story) == []


# --- No longer eligible -----------------------------------------------------------------------------------------------


def lose(story: Story, person: str, reason: WithdrawalReason = WithdrawalReason.VERIFICATION_EXPIRED) -> list[Any]:
    return lose_eligibility(story.cohort(), story.enrolments(), person, reason, story.waiting(), NOW)


def test_a_verification_that_expires_before_the_start_reopens_the_place():
    story = Story(*WAITING, *BASE, *FULL, confirmed("budi"), *LINE)
    withdrawn, replaced = lose(story, "budi")
    assert withdrawn == gone("budi", 2, WithdrawalReason.VERIFICATION_EXPIRED)
    assert (replaced.participant_id, replaced.replaces, replaced.place) == ("high", "budi", 2)


def test_who_waits_and_is_no_longer_eligible_leaves_the_line():
    story = Story(*WAITING, *BASE, *FULL, *LINE)
    assert lose(story, "high", WithdrawalReason.NO_LONGER_ELIGIBLE) == [
        gone("high", None, WithdrawalReason.NO_LONGER_ELIGIBLE)
    ]


def test_after_the_start_the_registrys_facts_change_no_list():
    story = Story(*BASE, *FULL, *(confirmed(p) for p in ("ani", "budi", "citra")), started())
    assert lose(story, "budi") == []


def test_who_left_before_does_not_leave_again():
    story = Story(*WAITING, *BASE, *FULL, *LINE)
    story.given(*lose(story, "budi"))
    assert lose(story, "budi") == []
    assert lose(story, "nobody") == []


def test_what_changes_in_a_kabupatens_share_is_counted():
    people = known_people(verified("low", 10, area_code=IN_LOMBOK_TIMUR))
    story = Story(*people, *BASE, *FULL, waitlisted("low", 10, area_code=IN_LOMBOK_TIMUR), waitlisted("gone", 5))
    events = lose(story, "budi") + lose(story, "gone")
    assert places_changed(events, story.enrolments()) == {LOMBOK_BARAT: -1, LOMBOK_TIMUR: 1}
