"""What answers show of a place in a class; never who it is."""

from datetime import date, datetime
from typing import Annotated

from contracts.registry import Priority
from contracts.training import NotCompletedReason, WithdrawalReason
from services.training.api.shapes import FromJson, View
from services.training.enrolments.state import EnrolmentStatus


class EnrolmentView(View):
    participant_id: str
    area_code: str
    status: EnrolmentStatus
    place: int | None
    replaces: str | None
    priority: Annotated[Priority, FromJson]
    confirm_by: date | None
    enrolled_at: datetime | None
    confirmed_at: datetime | None
    withdrawn_because: WithdrawalReason | None
    days_present: int
    days_absent: int
    days_excused: int
    attendance_percent: int | None
    not_completed_because: NotCompletedReason | None
    certificate_number: str | None
    letter_number: str | None
