"""Providers' receipts: that a message has arrived. Signed with the secret that is shared with the provider."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, ValidationError, field_validator

from services.kit.problems import field_problems
from services.kit.refusal import Refused
from services.kit.transaction import Workplace, acting_as
from services.notifications.deliveries.decisions import confirm_delivery
from services.notifications.deliveries.state import DELIVERIES
from services.notifications.forms import Id, Wish
from services.notifications.senders.signatures import is_signed
from services.notifications.settings import SenderSettings

router = APIRouter(tags=["receipts"])


class Receipt(Wish):
    """What a provider reports. `notification_id` is what stands before the dot in the id that it was sent with."""

    notification_id: Id
    delivered_at: AwareDatetime

    @field_validator("delivered_at")
    @classmethod
    def _in_our_time(cls, instant: AwareDatetime) -> AwareDatetime:
        if not 2000 <= instant.year < 3000:
            raise ValueError("this is no time at which a message can have arrived")
        return instant


@router.post(
    "/receipts",
    status_code=204,
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": Receipt.model_json_schema()}}, "required": True},
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ],
    },
)
async def take_receipt(request: Request) -> Response:
    """Takes a receipt, once however often it comes. No token: it is signed by the Standard Webhooks scheme."""
    settings: SenderSettings = request.app.state.settings
    body = await request.body()
    if not is_signed(settings.signing_secrets(), request.headers, body, time.time()):
        raise Refused(
            "signature",
            "The signature is missing, wrong, or older than five minutes.",
            status=401,
            remedy="Sign id, time and body with the secret that is shared with this channel's provider.",
        )
    receipt = _read(body)
    workplace: Workplace = request.app.state.workplace
    async with workplace.transaction(acting_as("receipts")) as tx:
        delivery = await tx.row(DELIVERIES, receipt.notification_id)
        await tx.decide(confirm_delivery(delivery, receipt.delivered_at))
    return Response(status_code=204)


def _read(body: bytes) -> Receipt:
    try:
        return Receipt.model_validate_json(body)
    except ValidationError as error:
        raise Refused(
            "invalid-request",
            "The receipt cannot be read; nothing was changed.",
            status=422,
            fields=field_problems([fault | {"loc": ("body", *fault["loc"])} for fault in _faults(error)]),
        ) from None


def _faults(error: ValidationError) -> list[dict[str, Any]]:
    return [dict(fault) for fault in error.errors(include_url=False, include_input=False, include_context=False)]
