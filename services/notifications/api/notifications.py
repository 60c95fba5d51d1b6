"""The ledger: what was wanted for whom, and what became of it. It holds neither a text nor an address."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from contracts.notifications import Channel, Recipient
from services.kit.paging import Page
from services.kit.refusal import Refused
from services.notifications.api.shapes import (
    AreaQuery,
    FromJson,
    IdPath,
    IdQuery,
    OpenReads,
    Paged,
    SubjectQuery,
    View,
)
from services.notifications.deliveries import queries
from services.notifications.deliveries.state import DeliveryStatus

router = APIRouter(tags=["notifications"])


class NotificationView(View):
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
    participant_id: str
    about_id: str
    about_stream: str
    requested_at: datetime
    send_after: datetime
    send_before: datetime
    attempt: int
    channel: Channel | None
    in_doubt: bool
    refused: Annotated[tuple[Channel, ...], FromJson]
    because: str | None
    provider_reference: str | None
    sent_at: datetime | None
    delivered_at: datetime | None


class NotificationCount(View):
    rule_id: str
    status: DeliveryStatus
    channel: Channel | None
    because: str | None
    notifications: int


@router.get("/notifications")
async def list_notifications(
    reads: OpenReads,
    paged: Paged,
    participant: IdQuery = None,
    recipient: SubjectQuery = None,
    status: DeliveryStatus | None = None,
    rule: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = None,
    area: AreaQuery = None,
) -> Page[NotificationView]:
    """Notifications about people in the caller's areas, the latest first. `participant`: whom it is about."""
    wanted = {"participant": participant, "recipient": recipient, "status": status, "rule": rule, "area": area}
    async with reads as db:
        rows = await queries.ledger(db.connection, wanted, paged.after(datetime, str), paged.fetch)
        return paged.page(rows, NotificationView.of, lambda row: (row["requested_at"], row["notification_id"]))


@router.get("/notifications/{notification_id}")
async def show_notification(notification_id: IdPath, reads: OpenReads) -> NotificationView:
    async with reads as db:
        row = await queries.notification(db.connection, notification_id)
        if row is None:
            raise Refused("no-such-notification", "There is no such notification in your areas.", status=404)
        return NotificationView.of(row)


@router.get("/figures/notifications")
async def count_notifications(reads: OpenReads, area: AreaQuery = None) -> list[NotificationCount]:
    """How many stand where, by rule, channel and reason, as far as people live in the caller's areas."""
    async with reads as db:
        return [NotificationCount.of(row) for row in await queries.counts(db.connection, area)]
