"""Planning, starting and cancelling cohorts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.registry import ParticipantRejected, RejectionReason
from contracts.training import (
    CohortCancelled,
    CohortPlanned,
    CohortStarted,
    DeliveryMode,
    ParticipantWithdrawn,
    ProgrammeClosed,
    WithdrawalReason,
)
from services.kit.refusal import Refused
from services.training.cohorts.decisions import CancelCohort, PlanCohort, cancel_cohort, plan_cohort, start_cohort
from services.training.cohorts.state import CohortStatus, beginning_of, day_of
from services.training.programmes.state import COURSES, PROGRAMMES
from services.training.rules.state import RULES
from tests.training.facts import (
    BASE,
    COHORT,
    CONFIRM_BY,
    COURSE,
    DAYS,
    MATARAM,
    NOW,
    PROGRAMME,
    STARTS_AT,
    VILLAGE,
    Story,
    confirmed,
    default_rules,
    defined,
    enrolled,
    known_people,
    opened,
    planned,
    started,
    verified,
    waitlisted,
)


def wish(**more: Any) -> PlanCohort:
    fields: dict[str, Any] = {
        "programme_id": PROGRAMME,
        "course_id": COURSE,
        "number": "P3KE-2024-01",
        "capacity": 3,
        "delivery_mode": "classroom",
        "area_code": MATARAM,
        "venue": "UPTD Balatkop UKM NTB",
        "days": list(DAYS),
        "confirm_by": CONFIRM_BY,
    }
    return PlanCohort(**(fields | more))


def plan(story: Story, number_taken: bool = False, **more: Any) -> list[Any]:
    return plan_cohort(
        story.row(PROGRAMMES, PROGRAMME),
        story.row(COURSES, PROGRAMME, COURSE),
        story.row(RULES, "confirmation"),
        number_taken,
        COHORT,
        wish(**more),
        NOW,
    )


READY = (opened(), defined(), *default_rules())

# --- Planning ---------------------------------------------------------------------------------------------------------


def test_a_cohort_is_planned():
    assert plan(Story(*READY)) == [planned()]
    cohort = Story(*READY, planned()).cohort()
    assert (cohort.starts_on, cohort.ends_on, cohort.status) == (DAYS[0], DAYS[-1], CohortStatus.PLANNED)


def test_days_begin_and_are_told_in_wita():
    assert beginning_of(date(2024, 7, 8)) == STARTS_AT
    assert day_of(datetime(2024, 7, 7, 15, 59, tzinfo=UTC)) == date(2024, 7, 7)
    assert day_of(datetime(2024, 7, 7, 16, 0, tzinfo=UTC)) == date(2024, 7, 8)


def test_without_a_day_of_its_own_the_rule_in_force_says_until_when_to_confirm():
    (fact,) = plan(Story(*READY), confirm_by=None)
    assert isinstance(fact, CohortPlanned)
    assert fact.confirm_by == date(2024, 7, 5)


def test_at_short_notice_there_is_today_to_confirm():
    (fact,) = plan(Story(*READY), confirm_by=None, days=[date(2024, 7, 2)])
    assert fact.confirm_by == date(2024, 7, 1)


def test_on_site_a_class_meets_in_a_village_of_the_programme():
    (fact,) = plan(Story(*READY), delivery_mode="on_site", area_code=VILLAGE)
    assert (fact.delivery_mode, fact.area_code) == (DeliveryMode.ON_SITE, VILLAGE)


@pytest.mark.parametrize(
    ("story", "more", "code"),
    [
        (Story(), {}, "no-such-programme"),
        (Story(*READY, ProgrammeClosed(programme_id=PROGRAMME)), {}, "programme-closed"),
        (Story(opened(), *default_rules()), {}, "no-such-course"),
        (Story(*READY), {"number_taken": True}, "number-taken"),
        (Story(*READY), {"area_code": "52.99"}, "unknown-area"),
        (Story(*READY), {"area_code": "53.21"}, "outside-programme"),
        (Story(*READY), {"delivery_mode": "on_site"}, "place-too-large"),
        (Story(*READY), {"days": [DAYS[0], DAYS[0]]}, "days"),
        (Story(*READY), {"days": [DAYS[1], DAYS[0]]}, "days"),
        (Story(*READY), {"days": [date(2024, 7, 1), DAYS[0]]}, "days"),
        (Story(*READY), {"confirm_by": DAYS[0]}, "confirm-by"),
        (Story(*READY), {"confirm_by": date(2024, 6, 30)}, "confirm-by"),
        (Story(opened(), defined()), {"confirm_by": None}, "no-confirmation-rule"),
    ],
)
def test_a_cohort_that_cannot_be_is_not_planned(story: Story, more: dict[str, Any], code: str):
    with pytest.raises(Refused) as refused:
        plan(story, **more)
    assert refused.value.code == code


def test_each_wrong_day_is_named():
    with pytest.raises(Refused) as refused:
        plan(Story(*READY), days=[date(2024, 7, 1), DAYS[2], DAYS[1], DAYS[3]])
    assert [problem.field for problem in refused.value.fields] == ["body.days.2", "body.days.0"]


@pytest.mark.parametrize("more", [{"capacity": 0}, {"days": []}, {"number": "P3KE/2024"}, {"number": "P3KE-2024-01-"}])
def test_a_wish_without_sense_is_none(more: dict[str, Any]):
    with pytest.raises(ValidationError):
        wish(**more)


# --- Starting ---------------------------------------------------------------------------------------------------------

PEOPLE = known_people(verified("ani"), verified("budi"), verified("citra"))


def start(story: Story, now: datetime = STARTS_AT) -> list[Any]:
    return start_cohort(story.cohort(), story.enrolments(), story.placed(), now)


def lost(person: str, reason: WithdrawalReason, place: int) -> ParticipantWithdrawn:
    return ParticipantWithdrawn(cohort_id=COHORT, participant_id=person, reason=reason, place=place)


def test_a_cohort_starts_when_its_first_day_comes_and_the_waitlist_is_free_again():
    story = Story(*PEOPLE, *BASE, enrolled("ani", 1), confirmed("ani"), waitlisted("budi"))
    assert start(story) == [CohortStarted(cohort_id=COHORT, started_on=DAYS[0])]
    story.given(*start(story))
    assert story.statuses() == {"ani": "confirmed", "budi": "released"}
    assert (story.cohort().status, story.cohort().enrolled, story.cohort().waitlisted) == (CohortStatus.RUNNING, 1, 0)


def test_a_cohort_does_not_start_a_moment_early():
    story = Story(*PEOPLE, *BASE, enrolled("ani", 1), confirmed("ani"))
    with pytest.raises(Refused, match="before-first-day"):
        start(story, STARTS_AT - timedelta(microseconds=1))


def test_who_has_not_confirmed_at_the_start_loses_the_place():
    story = Story(*PEOPLE, *BASE, enrolled("ani", 1), confirmed("ani"), enrolled("budi", 2), waitlisted("citra"))
    assert start(story) == [lost("budi", WithdrawalReason.NOT_CONFIRMED, 2), started()]


def test_whose_verification_does_not_hold_at_the_start_loses_the_place_even_if_nobody_has_said_so_yet():
    people = known_people(verified("ani"), verified("budi", expires_at=STARTS_AT))
    story = Story(*people, *BASE, enrolled("ani", 1), confirmed("ani"), enrolled("budi", 2), confirmed("budi"))
    assert start(story) == [lost("budi", WithdrawalReason.VERIFICATION_EXPIRED, 2), started()]


def test_who_was_rejected_at_the_last_moment_loses_the_place():
    gone = ParticipantRejected(participant_id="budi", reason=RejectionReason.DECEASED)
    story = Story(*PEOPLE, *BASE, *(enrolled(p, n) for n, p in enumerate(("ani", "budi"), 1)))
    story.given(confirmed("ani"), confirmed("budi"), gone)
    assert start(story) == [lost("budi", WithdrawalReason.NO_LONGER_ELIGIBLE, 2), started()]


def test_a_cohort_that_nobody_is_left_in_is_cancelled():
    story = Story(*PEOPLE, *BASE, enrolled("ani", 1), waitlisted("budi"))
    assert start(story) == [
        lost("ani", WithdrawalReason.NOT_CONFIRMED, 1),
        CohortCancelled(cohort_id=COHORT, because="too_few_participants"),
    ]
    assert start(Story(*BASE)) == [CohortCancelled(cohort_id=COHORT, because="too_few_participants")]


def test_what_runs_does_not_start_again():
    with pytest.raises(Refused, match="cohort-closed"):
        start(Story(*PEOPLE, *BASE, enrolled("ani", 1), confirmed("ani"), started()))


# --- Cancelling -------------------------------------------------------------------------------------------------------

BUDGET = CancelCohort(because="budget")


@pytest.mark.parametrize("facts", [(), (started(),)])
def test_a_cancelled_cohort_sets_everybody_free(facts):
    story = Story(*PEOPLE, *BASE, enrolled("ani", 1), confirmed("ani"), *facts)
    events = cancel_cohort(story.cohort(), BUDGET)
    assert events == [CohortCancelled(cohort_id=COHORT, because="budget")]
    story.given(*events)
    assert story.statuses() == {"ani": "released"}
    assert (story.cohort().status, story.cohort().enrolled) == (CohortStatus.CANCELLED, 0)


def test_what_is_cancelled_is_not_cancelled_again():
    story = Story(*BASE, CohortCancelled(cohort_id=COHORT, because="budget"))
    with pytest.raises(Refused, match="cohort-closed"):
        cancel_cohort(story.cohort(), BUDGET)


def test_what_is_not_there_is_not_cancelled():
    with pytest.raises(Refused) as refused:
        cancel_cohort(None, BUDGET)
    assert refused.value.status == 404
