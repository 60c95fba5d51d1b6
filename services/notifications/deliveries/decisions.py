"""What becomes of a message: whether it is wanted, when it may go, over which channel, and what an attempt means."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from contracts.envelope import Event
from contracts.notifications import (
    AttemptFailed,
    Channel,
    FailureReason,
    NotificationDelivered,
    NotificationFailed,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Recipient,
    SendingStarted,
    SuppressionReason,
)
from services.kit.refusal import Refused
from services.notifications.cases.state import Case
from services.notifications.classes.state import Cohort, CohortStatus, Placement, PlacementStatus
from services.notifications.contacts.state import Contact
from services.notifications.deliveries.state import Delivery, DeliveryStatus
from services.notifications.facts import FACTS
from services.notifications.people.state import Person, PersonStatus
from services.notifications.rules.state import Rule, RuleVersion
from services.notifications.senders import Ending, Outcome
from services.notifications.templates.state import Template
from services.notifications.wita import MORNING, after_quiet_hours, at

_NAMES = uuid.UUID("6f1d0f4e-6d4a-5c3b-9a53-0c1b1f2a9e77")
"""The namespace of notification ids; it never changes."""

# --- Wanting ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Happened:
    """A fact that people may be told of, as its own stream alone tells it."""

    fact: str  # "training.ParticipantEnrolled"
    event_id: str
    stream: str  # "training.cohorts/<id>"
    at: datetime
    participant_id: str
    area_code: str
    values: Mapping[str, str]
    facilitator_id: str | None = None

    def recipient_id(self, recipient: Recipient) -> str | None:
        if recipient is Recipient.PARTICIPANT:
            return self.participant_id
        return None if self.facilitator_id is None else f"staff:{self.facilitator_id}"


def notification_id(event_id: str, recipient_id: str, rule_id: str) -> str:
    """The same for one fact, person and rule, whoever asks and however often."""
    return str(uuid.uuid5(_NAMES, f"{event_id}\n{recipient_id}\n{rule_id}"))


def request(rule: Rule, templates: Mapping[str, Template], happened: Happened, now: datetime) -> list[Event]:
    """What a rule wants of a fact: one message to one person, or nothing.

    The version in force when it happened decides. Old news is wanted and suppressed at once: a stream that is read
    anew tells nobody.
    """
    version, recipient_id = rule.at(happened.at), happened.recipient_id(rule.recipient)
    if version is None or not version.active or recipient_id is None:
        return []
    send_after = _send_after(rule, version, happened)
    if send_after is None:
        return []
    template = templates[version.template_id]
    id_ = notification_id(happened.event_id, recipient_id, rule.rule_id)
    send_before = _send_before(rule, version, happened, send_after)
    requested = NotificationRequested(
        notification_id=id_,
        rule_id=rule.rule_id,
        rule_version=version.rule_version,
        template_id=template.template_id,
        template_version=template.at(happened.at).template_version,
        recipient=rule.recipient,
        recipient_id=recipient_id,
        area_code=happened.area_code,
        about_id=happened.event_id,
        about_stream=happened.stream,
        participant_id=happened.participant_id,
        values=dict(happened.values),
        send_after=send_after,
        send_before=send_before,
    )
    if now >= send_before:
        return [requested, NotificationSuppressed(notification_id=id_, because=SuppressionReason.TOO_OLD)]
    return [requested]


def _send_after(rule: Rule, version: RuleVersion, happened: Happened) -> datetime | None:
    """When the message may go; None for a reminder whose day had come when it happened: who is told then knows."""
    if version.remind_days_before is None:
        return after_quiet_hours(happened.at, version.quiet_from, version.quiet_until)
    reminded_at = at(_day_named(rule, happened) - timedelta(days=version.remind_days_before), MORNING)
    if reminded_at <= happened.at:
        return None
    return after_quiet_hours(reminded_at, version.quiet_from, version.quiet_until)


def _send_before(rule: Rule, version: RuleVersion, happened: Happened, send_after: datetime) -> datetime:
    """Until when it is news. A reminder of a day is none any more when the day has begun."""
    old = send_after + timedelta(hours=version.tell_within_hours)
    return old if version.remind_days_before is None else min(old, at(_day_named(rule, happened)))


def _day_named(rule: Rule, happened: Happened) -> date:
    place = FACTS[rule.fact].remind_before
    assert place is not None, "a rule that reminds is adopted for a fact that names a day"
    return date.fromisoformat(happened.values[place])


# --- When the time has come -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known, when the time has come, of whom a message goes to and whom it is about."""

    rule: Rule
    person: Person  # whom it is about
    contact: Contact | None  # of whom it goes to
    holds: bool  # whether what is told of still is so


def still_holds(
    delivery: Delivery,
    rule: Rule,
    person: Person,
    cohort: Cohort | None,
    placement: Placement | None,
    case: Case | None,
) -> bool:
    """Whether what a message tells of still is so: the place not lost, the cohort not cancelled, the visit open."""
    match rule.fact:
        case "training.ParticipantEnrolled" | "training.ParticipantReplaced":
            return (
                cohort is not None
                and cohort.status is CohortStatus.PLANNED
                and placement is not None
                and placement.status is PlacementStatus.HELD
                and placement.given_by == delivery.about_id
            )
        case "registry.VerificationAssigned":
            return person.assigned_by == delivery.about_id
        case "outcomes.FollowUpDue":
            return case is not None and any(due.told_by == delivery.about_id for due in case.due)
        case _:
            return True


def end_before_sending(delivery: Delivery, known: Circumstances, now: datetime) -> list[Event]:
    """What ends a message whose time has come without asking anybody; nothing if it goes on."""
    if not known.rule.in_force.active:
        return end(delivery, SuppressionReason.WITHDRAWN)
    if known.person.status is PersonStatus.ERASED:
        return end(delivery, SuppressionReason.ERASED)
    if not known.holds:
        return end(delivery, SuppressionReason.OVERTAKEN)
    if known.contact is not None and known.contact.opted_out:
        return end(delivery, SuppressionReason.OPTED_OUT)
    if now >= delivery.send_before:
        return give_up(delivery)
    return []


def end(delivery: Delivery, because: SuppressionReason) -> list[Event]:
    """Suppresses a message; but of one that may be out already nobody can say that nothing was sent."""
    if delivery.in_doubt:
        return [fail(delivery, FailureReason.IN_DOUBT)]
    return [NotificationSuppressed(notification_id=delivery.notification_id, because=because)]


def give_up(delivery: Delivery) -> list[Event]:
    """Ends a message that was wanted in time and could not be sent for as long as it was news: that is no good end."""
    return [fail(delivery, FailureReason.IN_DOUBT if delivery.in_doubt else FailureReason.UNREACHABLE)]


def fail(delivery: Delivery, because: FailureReason) -> Event:
    return NotificationFailed(notification_id=delivery.notification_id, because=because)


def channels_in_order(delivery: Delivery, rule: Rule, contact: Contact | None) -> tuple[Channel, ...]:
    """The channels that are still to be tried. While one is in doubt no other is: the message could arrive twice."""
    if delivery.in_doubt and delivery.channel is not None:
        return (delivery.channel,)
    own = contact.channels if contact is not None else ()
    return tuple(channel for channel in own or rule.in_force.channels if channel not in delivery.refused)


def end_without_channel(delivery: Delivery) -> list[Event]:
    """Nobody can be reached: every channel with an address has refused, or there never was an address."""
    if delivery.refused:
        return [fail(delivery, FailureReason.REFUSED)]
    return end(delivery, SuppressionReason.NO_ADDRESS)


def start(delivery: Delivery, channel: Channel, *, repeatable: bool) -> list[Event]:
    """What is committed before the provider is asked."""
    return [
        SendingStarted(
            notification_id=delivery.notification_id,
            attempt=delivery.attempt + 1,
            channel=channel,
            repeatable=repeatable,
        )
    ]


# --- After the attempt ------------------------------------------------------------------------------------------------


def record(delivery: Delivery, attempt: int, channel: Channel, outcome: Outcome) -> list[Event]:
    """What an attempt's end means. Nothing if it was recorded already, or somebody has found the message orphaned."""
    id_ = delivery.notification_id
    if outcome.ending is Ending.TAKEN:
        return _taken(delivery, attempt, channel, outcome)
    if delivery.status is not DeliveryStatus.SENDING or delivery.attempt != attempt:
        return []
    match outcome.ending:
        case Ending.REFUSED if delivery.in_doubt:
            # It refuses the copy; whether it took the first one, it does not say.
            return [fail(delivery, FailureReason.IN_DOUBT)]
        case Ending.REFUSED:
            because = FailureReason.REFUSED
        case Ending.UNCLEAR:
            return orphaned(delivery)
        case _:
            because = FailureReason.UNREACHABLE
    return [AttemptFailed(notification_id=id_, attempt=attempt, channel=channel, because=because)]


def _taken(delivery: Delivery, attempt: int, channel: Channel, outcome: Outcome) -> list[Event]:
    """Also when somebody had given it up in doubt meanwhile: it is clear now."""
    doubted = delivery.status is DeliveryStatus.FAILED and delivery.because == FailureReason.IN_DOUBT
    waiting = delivery.status is DeliveryStatus.REQUESTED and delivery.in_doubt
    if delivery.attempt != attempt or not (delivery.status is DeliveryStatus.SENDING or doubted or waiting):
        return []
    return [
        NotificationSent(
            notification_id=delivery.notification_id,
            attempt=attempt,
            channel=channel,
            provider_reference=outcome.reference,
        )
    ]


def orphaned(delivery: Delivery) -> list[Event]:
    """A provider was asked, and its answer is lost: one that tells copies is asked again, with the same id."""
    assert delivery.channel is not None
    if not delivery.repeatable:
        return [fail(delivery, FailureReason.IN_DOUBT)]
    return [
        AttemptFailed(
            notification_id=delivery.notification_id,
            attempt=delivery.attempt,
            channel=delivery.channel,
            because=FailureReason.IN_DOUBT,
        )
    ]


def confirm_delivery(delivery: Delivery | None, delivered_at: datetime) -> list[Event]:
    """A provider's receipt; nothing if it came before. It may overtake our own record that the message was sent."""
    if delivery is None:
        raise Refused("no-such-notification", "There is no such notification.", status=404)
    if delivery.status is DeliveryStatus.DELIVERED:
        return []
    if delivery.attempt == 0 or delivery.status is DeliveryStatus.SUPPRESSED:
        raise Refused("never-sent", "This notification was never sent, so it cannot have arrived.")
    return [NotificationDelivered(notification_id=delivery.notification_id, delivered_at=delivered_at)]
