"""What becomes of a message when its time has come, and after each attempt."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from contracts.envelope import Event
from contracts.notifications import (
    AttemptFailed,
    Channel,
    ContactPreferenceChanged,
    FailureReason,
    Language,
    NotificationDelivered,
    NotificationFailed,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendingStarted,
    SuppressionReason,
)
from contracts.outcomes import CaseClosed, ClosingReason, FollowUpMissed
from contracts.registry import ParticipantRejected, PersonErased, RejectionReason
from contracts.training import CohortCancelled, CohortStarted
from services.kit.refusal import Refused
from services.notifications.cases.state import CASES
from services.notifications.classes.state import COHORTS, PLACEMENTS
from services.notifications.contacts.state import CONTACTS
from services.notifications.deliveries import decisions
from services.notifications.deliveries.decisions import Circumstances
from services.notifications.deliveries.state import DELIVERIES, Delivery, DeliveryStatus, pause_after
from services.notifications.people.state import PERSONS
from services.notifications.rules.state import RULES
from services.notifications.senders import Ending, Outcome
from tests.notifications.facts import (
    COHORT,
    DAYS,
    NOW,
    VILLAGE,
    Story,
    adopted,
    assigned,
    case_opened,
    completed,
    defaults,
    enrolled,
    follow_up_due,
    nominated,
    of,
    planned,
    replaced,
    verified,
    withdrawn,
)

PLACED = (nominated("sari"), planned(), enrolled("sari"))


def circumstances(story: Story, delivery: Delivery) -> Circumstances:
    rule, person = story.the(RULES, delivery.rule_id), story.the(PERSONS, delivery.participant_id)
    key = delivery.about_stream.partition("/")[2]
    cohort, placement = story.row(COHORTS, key), story.row(PLACEMENTS, key, delivery.participant_id)
    holds = decisions.still_holds(delivery, rule, person, cohort, placement, story.row(CASES, key))
    return Circumstances(rule, person, story.row(CONTACTS, delivery.recipient_id), holds)


def ended(story: Story, rule_id: str) -> str | None:
    """Why the message is not sent when its time has come; None: it is sent."""
    delivery = story.delivery(rule_id)
    events = decisions.end_before_sending(delivery, circumstances(story, delivery), story.now)
    return events[0].because if events else None  # type: ignore[attr-defined]


def preference(subject: str = "sari", **changes: Any) -> ContactPreferenceChanged:
    said = {"area_code": VILLAGE, "opted_out": False, "language": Language.INDONESIAN} | changes
    return ContactPreferenceChanged(subject_id=subject, **said)


def erased(person: str = "sari") -> PersonErased:
    return PersonErased(participant_id=person, household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8")


def story_of(*facts: Event, then: Iterable[Event] = ()) -> Story:
    story = Story(*defaults())
    story.told(*facts)
    story.told(*then)
    return story


# --- When the time has come -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "because"),
    [
        ([], None),
        ([withdrawn("sari")], SuppressionReason.OVERTAKEN),
        ([CohortCancelled(cohort_id=COHORT, because="budget")], SuppressionReason.OVERTAKEN),
        ([CohortStarted(cohort_id=COHORT, started_on=DAYS[0])], SuppressionReason.OVERTAKEN),
        ([erased()], SuppressionReason.ERASED),
        ([ParticipantRejected(participant_id="sari", reason=RejectionReason.MOVED)], None),  # Training decides on it.
    ],
)
def test_a_reminder_of_a_place_goes_out_unless_the_place_is_lost(then: list[Event], because: str | None):
    assert ended(story_of(*PLACED, then=then), "reminder") == because


def test_a_place_that_was_lost_and_given_anew_is_told_of_anew_alone():
    story = story_of(*PLACED, then=[withdrawn("sari"), replaced("sari", "ani")])
    assert ended(story, "enrolment") == SuppressionReason.OVERTAKEN
    assert ended(story, "replacement") is None


@pytest.mark.parametrize(
    ("then", "because"),
    [
        ([], None),
        ([verified("sari")], SuppressionReason.OVERTAKEN),
        ([ParticipantRejected(participant_id="sari", reason=RejectionReason.DECEASED)], SuppressionReason.OVERTAKEN),
        ([erased()], SuppressionReason.ERASED),
    ],
)
def test_a_facilitator_is_sent_unless_the_visit_is_done(then: list[Event], because: str | None):
    assert ended(story_of(nominated("sari"), assigned("sari"), then=then), "visit-assigned") == because


def test_a_visit_that_was_given_to_somebody_else_is_told_to_them_alone():
    story = story_of(nominated("sari"), assigned("sari"), assigned("sari", to="facilitator-2"))
    one, other = story.deliveries()
    ends = [decisions.end_before_sending(d, circumstances(story, d), NOW) for d in (one, other)]
    assert [bool(events) for events in ends] == [True, False]


@pytest.mark.parametrize(
    ("then", "because"),
    [
        ([], None),
        ([FollowUpMissed(case_id="sari", follow_up=1, due_on=DAYS[0])], SuppressionReason.OVERTAKEN),
        ([FollowUpMissed(case_id="sari", follow_up=3, due_on=DAYS[0])], None),
        ([CaseClosed(case_id="sari", because=ClosingReason.DECEASED)], SuppressionReason.OVERTAKEN),
    ],
)
def test_a_follow_up_is_told_of_while_it_is_due(then: list[Event], because: str | None):
    story = story_of(nominated("sari"), case_opened("sari"), follow_up_due("sari"), then=then)
    assert ended(story, "follow-up-due") == because


def test_completion_is_told_whatever_comes_after():
    story = story_of(*PLACED, completed("sari"), withdrawn("sari"))
    assert ended(story, "completion") is None


def test_who_has_opted_out_is_told_nothing():
    assert ended(story_of(*PLACED, then=[preference(opted_out=True)]), "enrolment") == SuppressionReason.OPTED_OUT
    assert ended(story_of(*PLACED, then=[preference("dewi", opted_out=True)]), "enrolment") is None


def test_a_rule_that_is_switched_off_sends_nothing_more():
    story = story_of(*PLACED, then=[adopted("reminder", rule_version=2, active=False)])
    assert ended(story, "reminder") == SuppressionReason.WITHDRAWN


def test_what_was_wanted_in_time_and_not_sent_for_as_long_as_it_was_news_failed():
    story = story_of(*PLACED)
    story.now = story.delivery("enrolment").send_before
    assert ended(story, "enrolment") == FailureReason.UNREACHABLE
    started_and_failed(story, AttemptFailed, because=FailureReason.IN_DOUBT)
    assert ended(story, "enrolment") == FailureReason.IN_DOUBT


def test_of_a_message_that_may_be_out_nobody_says_that_it_was_not_sent():
    story = story_of(*PLACED, then=[withdrawn("sari"), preference(opted_out=True)])
    started_and_failed(story, AttemptFailed, because=FailureReason.IN_DOUBT)
    delivery = story.delivery("enrolment")
    assert [
        type(event)(notification_id="x", because=event.because)  # type: ignore[attr-defined, call-arg]
        for event in decisions.end_before_sending(delivery, circumstances(story, delivery), NOW)
    ] == [NotificationFailed(notification_id="x", because=FailureReason.IN_DOUBT)]


# --- Channels ---------------------------------------------------------------------------------------------------------


def started_and_failed(story: Story, kind: type[Any], rule: str = "enrolment", **said: Any) -> Delivery:
    delivery = story.delivery(rule)
    channel = said.pop("channel", Channel.WHATSAPP)
    id_, attempt = delivery.notification_id, delivery.attempt + 1
    story.given(SendingStarted(notification_id=id_, attempt=attempt, channel=channel, repeatable=True))
    story.given(kind(notification_id=id_, attempt=attempt, channel=channel, **said))
    return story.the(DELIVERIES, id_)


def order(story: Story, rule: str = "enrolment") -> tuple[Channel, ...]:
    delivery = story.delivery(rule)
    known = circumstances(story, delivery)
    return decisions.channels_in_order(delivery, known.rule, known.contact)


def test_channels_are_tried_in_the_rules_order_or_in_the_persons_own():
    story = story_of(*PLACED)
    assert order(story) == (Channel.WHATSAPP, Channel.SMS, Channel.EMAIL)
    story.given(preference(channels=(Channel.EMAIL, Channel.SMS)))
    assert order(story) == (Channel.EMAIL, Channel.SMS)


def test_after_a_refusal_the_next_channel_is_tried_at_once_and_in_doubt_no_other():
    story = story_of(*PLACED)
    refused = started_and_failed(story, AttemptFailed, because=FailureReason.REFUSED)
    assert (refused.status, refused.next_at) == (DeliveryStatus.REQUESTED, NOW)
    assert order(story) == (Channel.SMS, Channel.EMAIL)
    started_and_failed(story, AttemptFailed, channel=Channel.SMS, because=FailureReason.IN_DOUBT)
    assert order(story) == (Channel.SMS,)


def test_when_every_channel_refuses_the_message_failed_and_without_an_address_it_is_suppressed():
    story = story_of(*PLACED)
    delivery = story.delivery("enrolment")
    assert decisions.end_without_channel(delivery) == [
        NotificationSuppressed(notification_id=delivery.notification_id, because=SuppressionReason.NO_ADDRESS)
    ]
    refused = started_and_failed(story, AttemptFailed, because=FailureReason.REFUSED)
    assert decisions.end_without_channel(refused) == [
        NotificationFailed(notification_id=refused.notification_id, because=FailureReason.REFUSED)
    ]


# --- After an attempt -------------------------------------------------------------------------------------------------


def under_way(*, repeatable: bool, in_doubt: bool = False) -> tuple[Story, Delivery]:
    story = story_of(*PLACED)
    if in_doubt:
        started_and_failed(story, AttemptFailed, because=FailureReason.IN_DOUBT)
    delivery = story.delivery("enrolment")
    story.given(*decisions.start(delivery, Channel.WHATSAPP, repeatable=repeatable))
    return story, story.delivery("enrolment")


def recorded(delivery: Delivery, ending: Ending, attempt: int | None = None) -> list[tuple[str, str | None]]:
    events = decisions.record(delivery, attempt or delivery.attempt, Channel.WHATSAPP, Outcome(ending, None))
    return [(type(event).__name__, getattr(event, "because", None)) for event in events]


@pytest.mark.parametrize(
    ("ending", "repeatable", "in_doubt", "decided"),
    [
        (Ending.TAKEN, True, False, ("NotificationSent", None)),
        (Ending.TAKEN, True, True, ("NotificationSent", None)),
        (Ending.REFUSED, True, False, ("AttemptFailed", "refused")),
        (Ending.REFUSED, False, False, ("AttemptFailed", "refused")),
        (Ending.REFUSED, True, True, ("NotificationFailed", "in_doubt")),
        (Ending.LATER, True, False, ("AttemptFailed", "unreachable")),
        (Ending.AWAY, False, False, ("AttemptFailed", "unreachable")),
        (Ending.UNCLEAR, True, False, ("AttemptFailed", "in_doubt")),
        (Ending.UNCLEAR, False, False, ("NotificationFailed", "in_doubt")),
    ],
)
def test_what_an_attempt_means(ending: Ending, repeatable: bool, in_doubt: bool, decided: tuple[str, str | None]):
    _, delivery = under_way(repeatable=repeatable, in_doubt=in_doubt)
    assert recorded(delivery, ending) == [decided]


def test_an_attempt_is_recorded_once_and_not_when_a_later_one_is_under_way():
    story, delivery = under_way(repeatable=True)
    story.given(*decisions.record(delivery, 1, Channel.WHATSAPP, Outcome(Ending.TAKEN, "r-1")))
    sent = story.delivery("enrolment")
    assert (sent.status, sent.provider_reference, sent.sent_at) == (DeliveryStatus.SENT, "r-1", NOW)
    for ending in Ending:
        assert recorded(sent, ending) == []
    _, later = under_way(repeatable=True, in_doubt=True)
    for ending in Ending:
        assert recorded(later, ending, attempt=1) == []


def test_what_was_left_behind_is_asked_again_where_that_is_safe_and_never_elsewhere():
    _, repeatable = under_way(repeatable=True)
    assert [(type(e).__name__, e.because) for e in decisions.orphaned(repeatable)] == [("AttemptFailed", "in_doubt")]  # type: ignore[attr-defined]
    _, once = under_way(repeatable=False)
    assert [(type(e).__name__, e.because) for e in decisions.orphaned(once)] == [("NotificationFailed", "in_doubt")]  # type: ignore[attr-defined]


def test_a_worker_that_wakes_up_says_what_it_knows_of_a_message_that_was_given_up_in_doubt():
    for repeatable in (True, False):
        story, delivery = under_way(repeatable=repeatable)
        story.given(*decisions.orphaned(delivery))
        doubted = story.delivery("enrolment")
        assert recorded(doubted, Ending.TAKEN) == [("NotificationSent", None)]
        assert recorded(doubted, Ending.UNCLEAR) == []
        assert recorded(doubted, Ending.REFUSED) == []


def test_the_pause_doubles_up_to_five_minutes_by_the_programmes_clock():
    seconds = [pause_after(attempt).total_seconds() for attempt in (1, 2, 3, 8, 9, 1000)]
    assert seconds == [2, 4, 8, 256, 300, 300]
    story = story_of(*PLACED)
    tried = started_and_failed(story, AttemptFailed, because=FailureReason.UNREACHABLE)
    assert tried.next_at == NOW + timedelta(seconds=2)


# --- Receipts ---------------------------------------------------------------------------------------------------------


def test_a_receipt_counts_once_and_may_overtake_our_own_record():
    story, delivery = under_way(repeatable=False)
    [arrived] = decisions.confirm_delivery(delivery, NOW)
    assert arrived == NotificationDelivered(notification_id=delivery.notification_id, delivered_at=NOW)
    story.given(arrived)
    delivered = story.delivery("enrolment")
    assert (delivered.status, delivered.delivered_at) == (DeliveryStatus.DELIVERED, NOW)
    assert decisions.confirm_delivery(delivered, NOW) == []
    for ending in Ending:
        assert recorded(delivered, ending) == []


def test_a_receipt_for_what_was_never_sent_is_refused():
    story = story_of(*PLACED)
    with pytest.raises(Refused) as refused:
        decisions.confirm_delivery(story.delivery("enrolment"), NOW)
    assert refused.value.code == "never-sent"
    with pytest.raises(Refused) as refused:
        decisions.confirm_delivery(None, NOW)
    assert refused.value.status == 404


def test_every_wanted_message_has_a_row_of_its_own():
    story = story_of(*PLACED, enrolled("dewi", 2))
    assert len(story.deliveries()) == 4
    assert len(of([event for event, _ in story.events], NotificationRequested)) == 4
    assert not of([event for event, _ in story.events], NotificationSent)
