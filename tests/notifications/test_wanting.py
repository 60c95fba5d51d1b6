"""Whether a fact is told, to whom, and when: given facts, when another arrives, then what is wanted."""

from datetime import UTC, date, datetime, timedelta

import pytest

from contracts.envelope import Event
from contracts.notifications import Channel, NotificationRequested, NotificationSuppressed, Recipient, SuppressionReason
from services.notifications.deliveries.decisions import notification_id
from tests.notifications.facts import (
    COHORT,
    NOW,
    REMINDED_AT,
    VILLAGE,
    Story,
    adopted,
    assigned,
    case_opened,
    completed,
    defaults,
    enrolled,
    follow_up_due,
    kinds,
    nominated,
    of,
    planned,
    replaced,
    withdrawn,
    worded,
)


def wanted(*given: Event, when: Event, rules: list[Event] | None = None) -> dict[str, NotificationRequested]:
    """By rule."""
    story = Story(*(defaults() if rules is None else rules), *given)
    return {event.rule_id: event for event in of(story.told(when), NotificationRequested)}


def test_who_gets_a_place_is_told_at_once_and_reminded_two_days_before():
    told = wanted(planned(), when=enrolled("sari"))
    assert {rule: event.send_after for rule, event in told.items()} == {"enrolment": NOW, "reminder": REMINDED_AT}
    event = told["enrolment"]
    assert (event.recipient, event.recipient_id, event.participant_id) == (Recipient.PARTICIPANT, "sari", "sari")
    assert (event.area_code, event.about_stream) == (VILLAGE, f"training.cohorts/{COHORT}")
    assert event.values == {
        "area": VILLAGE,
        "told_on": "2024-07-01",
        "told_at": "2024-07-01T01:05:00+00:00",
        "course": "Kuliner",
        "cohort": "P3KE-2024-01",
        "venue": "Balatkop NTB, Mataram",
        "starts_on": "2024-07-08",
        "ends_on": "2024-07-12",
        "days": "5",
        "confirm_by": "2024-07-05",
    }


def test_who_follows_on_a_place_is_told_in_other_words():
    told = wanted(planned(), enrolled("ani"), withdrawn("ani"), when=replaced("sari", "ani"))
    assert set(told) == {"replacement", "reminder-replacement"}
    assert told["replacement"].recipient_id == "sari"


def test_who_completed_is_congratulated_where_they_live():
    told = wanted(planned(), enrolled("sari"), when=completed("sari"))
    assert set(told) == {"completion"}
    assert (told["completion"].area_code, told["completion"].values["attendance_percent"]) == (VILLAGE, "92")


def test_a_facilitator_is_told_of_a_visit_and_of_a_follow_up():
    [visit] = wanted(nominated("sari"), when=assigned("sari")).values()
    assert (visit.recipient, visit.recipient_id) == (Recipient.FACILITATOR, "staff:facilitator-1")
    assert (visit.participant_id, visit.area_code, visit.values["due_on"]) == ("sari", VILLAGE, "2024-07-10")
    [follow_up] = wanted(case_opened("sari"), when=follow_up_due("sari", 3)).values()
    assert (follow_up.recipient_id, follow_up.values["follow_up"]) == ("staff:facilitator-1", "3")
    assert (follow_up.values["due_on"], follow_up.values["visit_by"]) == ("2024-08-12", "2024-08-26")


def test_a_follow_up_of_which_nobody_knows_the_facilitator_tells_nobody():
    assert wanted(case_opened("sari"), when=follow_up_due("sari", to=None)) == {}


def test_without_a_rule_nobody_is_told():
    assert wanted(planned(), when=enrolled("sari"), rules=[]) == {}


def test_a_rule_that_is_switched_off_wants_nothing():
    rules = [worded("enrolment"), adopted("enrolment", active=False)]
    assert wanted(planned(), when=enrolled("sari"), rules=rules) == {}


def test_the_participant_too_can_be_told_of_a_visit():
    rule = adopted("visit-assigned", rule_id="visit-announced", recipient=Recipient.PARTICIPANT)
    told = wanted(nominated("sari"), when=assigned("sari"), rules=[worded("visit-assigned"), rule])
    assert told["visit-announced"].recipient_id == "sari"


# --- Ids --------------------------------------------------------------------------------------------------------------


def test_one_fact_person_and_rule_have_one_id_and_any_other_has_another():
    one = notification_id("event-1", "sari", "enrolment")
    assert one == "15e5c268-139f-5d9d-b818-255a5ca06f80", "ids that are on logs must come out the same for ever"
    others = {
        notification_id("event-2", "sari", "enrolment"),
        notification_id("event-1", "dewi", "enrolment"),
        notification_id("event-1", "sari", "reminder"),
        notification_id("event-1\nsari", "x", "enrolment"),
    }
    assert one not in others
    assert len(others) == 4


def test_what_was_wanted_before_is_not_wanted_again():
    story = Story(*defaults(), planned())
    envelope = story.fold(enrolled("sari"))
    first = story.react(enrolled("sari"), envelope)
    story.read_before = {event.notification_id for event in of(first, NotificationRequested)}
    assert len(story.read_before) == 2
    assert story.react(enrolled("sari"), envelope) == []


# --- By when it happened ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "minute", "day", "send_after"),
    [
        (19, 59, 1, "2024-07-01T19:59:00+08:00"),
        (20, 0, 1, "2024-07-02T07:00:00+08:00"),
        (23, 30, 1, "2024-07-02T07:00:00+08:00"),
        (0, 0, 2, "2024-07-02T07:00:00+08:00"),
        (6, 59, 2, "2024-07-02T07:00:00+08:00"),
        (7, 0, 2, "2024-07-02T07:00:00+08:00"),
        (7, 1, 2, "2024-07-02T07:01:00+08:00"),
    ],
)
def test_in_quiet_hours_over_midnight_a_message_waits_for_the_morning(
    hour: int, minute: int, day: int, send_after: str
):
    happened = datetime(2024, 7, day, hour, minute, tzinfo=UTC) - timedelta(hours=8)
    story = Story(*defaults(), planned())
    story.now = happened
    [told, _] = of(story.told(enrolled("sari")), NotificationRequested)
    assert told.send_after == datetime.fromisoformat(send_after)
    assert told.send_before == told.send_after + timedelta(hours=48)


def test_quiet_hours_within_a_day_end_on_that_day():
    rules = [worded("enrolment"), adopted("enrolment", quiet_from="09:00", quiet_until="13:30")]
    [told] = wanted(planned(), when=enrolled("sari"), rules=rules).values()
    assert told.send_after == datetime(2024, 7, 1, 5, 30, tzinfo=UTC)


def test_a_reminder_is_wanted_for_eight_in_the_morning_and_is_none_any_more_when_the_day_has_begun():
    rules = [worded("reminder"), adopted("reminder", remind_days_before=1, tell_within_hours=72)]
    [told] = wanted(planned(), when=enrolled("sari"), rules=rules).values()
    assert told.send_after == datetime(2024, 7, 7, 0, 0, tzinfo=UTC)
    assert told.send_before == datetime(2024, 7, 7, 16, 0, tzinfo=UTC)


def test_who_gets_a_place_after_the_day_of_the_reminder_needs_none():
    story = Story(*defaults(), planned())
    story.now = REMINDED_AT
    assert [event.rule_id for event in of(story.told(enrolled("late")), NotificationRequested)] == ["enrolment"]


def test_a_facilitator_can_be_reminded_before_the_visit_is_due():
    rules = [worded("visit-assigned"), adopted("visit-assigned", remind_days_before=3, tell_within_hours=24)]
    [told] = wanted(nominated("sari"), when=assigned("sari", due_on=date(2024, 7, 10)), rules=rules).values()
    assert told.send_after == datetime(2024, 7, 7, 0, 0, tzinfo=UTC)


# --- Old news ---------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_read_anew_tells_nobody():
    story = Story(*defaults(), planned())
    envelope = story.fold(enrolled("sari"))
    story.now = NOW + timedelta(days=30)
    decided = story.react(enrolled("sari"), envelope)
    assert kinds(decided) == ["NotificationRequested", "NotificationSuppressed"] * 2
    assert {event.because for event in of(decided, NotificationSuppressed)} == {SuppressionReason.TOO_OLD}


def test_news_is_old_when_the_hours_are_over_and_not_before():
    for late, suppressed in ((timedelta(hours=48), True), (timedelta(hours=48, microseconds=-1), False)):
        story = Story(worded("enrolment"), adopted("enrolment"), planned())
        envelope = story.fold(enrolled("sari"))
        story.now = NOW + late
        assert bool(of(story.react(enrolled("sari"), envelope), NotificationSuppressed)) is suppressed


# --- By the version of its own time -----------------------------------------------------------------------------------


def test_a_fact_from_before_the_first_version_is_not_told():
    story = Story(planned())
    envelope = story.fold(enrolled("sari"))
    story.now = NOW + timedelta(minutes=1)
    story.given(*defaults())
    assert story.react(enrolled("sari"), envelope) == []


def test_a_fact_is_told_by_the_versions_that_were_in_force_when_it_happened():
    story = Story(worded("enrolment"), adopted("enrolment"), planned())
    envelope = story.fold(enrolled("sari"))
    story.now = NOW + timedelta(minutes=1)
    story.given(worded("enrolment", template_version=2, text_id="Halo {name}", text_en="Hello {name}"))
    story.given(adopted("enrolment", rule_version=2, channels=(Channel.SMS,), tell_within_hours=1))
    [told] = of(story.react(enrolled("sari"), envelope), NotificationRequested)
    assert (told.rule_version, told.template_version) == (1, 1)
    [later] = of(story.told(enrolled("dewi", 2)), NotificationRequested)
    assert (later.rule_version, later.template_version) == (2, 2)
