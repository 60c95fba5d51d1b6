"""The ledger of deliveries: what was wanted for whom, and how far it has come."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from contracts.envelope import Envelope, Event
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
)
from services.kit.table import Table, present, replace

FIRST_PAUSE_SECONDS = 2
LONGEST_PAUSE_SECONDS = 300


class DeliveryStatus(StrEnum):
    REQUESTED = "requested"
    SENDING = "sending"  # out of our hands: a provider is being asked, or its answer was lost
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Delivery:
    notification_id: str
    version: int
    area_code: str
    status: DeliveryStatus
    rule_id: str
    rule_version: int
    template_id: str
    template_version: int
    recipient: Recipient
    recipient_id: str
    participant_id: str  # whom it is about
    about_id: str
    about_stream: str
    told: dict[str, str]  # for the template's places
    requested_at: datetime
    send_after: datetime
    send_before: datetime
    next_at: datetime  # when it may be tried
    attempt: int  # how many there were
    channel: Channel | None  # of the last attempt
    repeatable: bool
    sending_by: str | None  # which sender's worker asks
    in_doubt: bool  # the provider was asked on this channel, and nobody knows whether it has taken it
    refused: tuple[Channel, ...]  # what was tried, and will never take it
    because: str | None  # why it was suppressed, or failed
    provider_reference: str | None
    sent_at: datetime | None
    delivered_at: datetime | None


def evolve_delivery(delivery: Delivery | None, event: Event, envelope: Envelope) -> Delivery | None:
    match event:
        case NotificationRequested():
            return _requested(event, envelope)
    delivery = present(delivery, envelope)
    match event:
        case NotificationSuppressed():
            return replace(delivery, status=DeliveryStatus.SUPPRESSED, because=str(event.because))
        case SendingStarted():
            return replace(
                delivery,
                status=DeliveryStatus.SENDING,
                attempt=event.attempt,
                channel=event.channel,
                repeatable=event.repeatable,
                sending_by=envelope.actor,
            )
        case AttemptFailed():
            return _tried(delivery, event, envelope)
        case NotificationSent():
            return replace(
                delivery,
                status=DeliveryStatus.SENT,
                channel=event.channel,
                sending_by=None,
                because=None,
                provider_reference=event.provider_reference,
                sent_at=envelope.time,
            )
        case NotificationFailed():
            return replace(delivery, status=DeliveryStatus.FAILED, sending_by=None, because=str(event.because))
        case NotificationDelivered():
            return replace(
                delivery,
                status=DeliveryStatus.DELIVERED,
                sending_by=None,
                because=None,
                delivered_at=event.delivered_at,
            )
        case _:
            return delivery


def _requested(event: NotificationRequested, envelope: Envelope) -> Delivery:
    return Delivery(
        notification_id=event.notification_id,
        version=envelope.version,
        area_code=event.area_code,
        status=DeliveryStatus.REQUESTED,
        rule_id=event.rule_id,
        rule_version=event.rule_version,
        template_id=event.template_id,
        template_version=event.template_version,
        recipient=event.recipient,
        recipient_id=event.recipient_id,
        participant_id=event.participant_id,
        about_id=event.about_id,
        about_stream=event.about_stream,
        told=event.values,
        requested_at=envelope.time,
        send_after=event.send_after,
        send_before=event.send_before,
        next_at=event.send_after,
        attempt=0,
        channel=None,
        repeatable=False,
        sending_by=None,
        in_doubt=False,
        refused=(),
        because=None,
        provider_reference=None,
        sent_at=None,
        delivered_at=None,
    )


def _tried(delivery: Delivery, event: AttemptFailed, envelope: Envelope) -> Delivery:
    """Back to be tried: at once on the next channel, or later on the same one, by the programme's clock."""
    again = replace(delivery, status=DeliveryStatus.REQUESTED, sending_by=None)
    if event.because == FailureReason.REFUSED:
        return replace(again, refused=(*delivery.refused, event.channel), in_doubt=False, next_at=envelope.time)
    return replace(
        again,
        in_doubt=delivery.in_doubt or event.because == FailureReason.IN_DOUBT,
        next_at=envelope.time + pause_after(event.attempt),
    )


def pause_after(attempt: int) -> timedelta:
    """2 s, 4 s, 8 s … five minutes."""
    return timedelta(seconds=min(FIRST_PAUSE_SECONDS << min(attempt - 1, 20), LONGEST_PAUSE_SECONDS))


DELIVERIES = Table(
    "delivery",
    Delivery,
    topic="notifications.deliveries",
    key=("notification_id",),
    evolve=evolve_delivery,
    head=True,
)
