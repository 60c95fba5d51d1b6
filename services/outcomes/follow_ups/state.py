"""Follow-ups: the visits that a case's plan asks for, and what was found at each."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.outcomes import (
    BasicNeed,
    Business,
    CaseClosed,
    FollowUpDue,
    FollowUpMissed,
    FollowUpRecorded,
    FollowUpScheduled,
    IncomeSource,
    NeedMet,
)
from services.kit.table import Table, one, present, replace, whole_stream
from services.outcomes.calendar import day_of


class FollowUpStatus(StrEnum):
    SCHEDULED = "scheduled"
    DUE = "due"
    RECORDED = "recorded"
    MISSED = "missed"
    DROPPED = "dropped"  # the case was closed before


PENDING = frozenset({FollowUpStatus.SCHEDULED, FollowUpStatus.DUE})
SETTLED = frozenset({FollowUpStatus.RECORDED, FollowUpStatus.MISSED})


@dataclass(frozen=True, slots=True)
class FollowUp:
    case_id: str
    months: int  # after completion: 1, 3, 6, 12
    area_code: str  # the case's
    status: FollowUpStatus
    due_on: date
    missed_after: date  # the last day on which it still counts as in time
    plan_id: str
    plan_version: int
    facilitator_id: str | None  # who is to make the visit; once recorded, who made it
    visit_id: str | None
    captured_at: datetime | None
    received_at: datetime | None
    recorded_on: date | None  # the day of the visit, in WITA
    late: bool
    people: int | None
    income: tuple[IncomeSource, ...]
    income_rupiah: int | None  # of the whole household, in a month
    per_person_rupiah: int | None
    line_rupiah: int | None
    above_line: bool | None
    livelihoods: int | None  # how many kinds bring something in
    needs: tuple[NeedMet, ...]
    needs_met: tuple[BasicNeed, ...]
    business: Business | None
    turnover_rupiah: int | None
    workers: int | None
    rule_id: str | None  # of graduation: which said where the line is
    rule_version: int | None
    sealed: str | None  # FollowUpNotes
    sealed_by: str | None

    @property
    def is_settled(self) -> bool:
        return self.status in SETTLED


def evolve_follow_up(follow_up: FollowUp | None, event: Event, envelope: Envelope, months: int) -> FollowUp | None:
    match event:
        case FollowUpScheduled():
            return _scheduled(event)
    follow_up = present(follow_up, envelope)
    match event:
        case FollowUpDue():
            return replace(follow_up, status=FollowUpStatus.DUE, facilitator_id=event.facilitator_id)
        case FollowUpRecorded():
            return _recorded(follow_up, event, envelope)
        case FollowUpMissed():
            return replace(follow_up, status=FollowUpStatus.MISSED)
        case CaseClosed() if follow_up.status in PENDING:
            return replace(follow_up, status=FollowUpStatus.DROPPED)
        case _:
            return follow_up


def _scheduled(event: FollowUpScheduled) -> FollowUp:
    return FollowUp(
        case_id=event.case_id,
        months=event.follow_up,
        area_code=event.area_code,
        status=FollowUpStatus.SCHEDULED,
        due_on=event.due_on,
        missed_after=event.missed_after,
        plan_id=event.plan.rule_id,
        plan_version=event.plan.rule_version,
        facilitator_id=None,
        visit_id=None,
        captured_at=None,
        received_at=None,
        recorded_on=None,
        late=False,
        people=None,
        income=(),
        income_rupiah=None,
        per_person_rupiah=None,
        line_rupiah=None,
        above_line=None,
        livelihoods=None,
        needs=(),
        needs_met=(),
        business=None,
        turnover_rupiah=None,
        workers=None,
        rule_id=None,
        rule_version=None,
        sealed=None,
        sealed_by=None,
    )


def _recorded(follow_up: FollowUp, event: FollowUpRecorded, envelope: Envelope) -> FollowUp:
    notes = event.personal.get(event.case_id)
    return replace(
        follow_up,
        status=FollowUpStatus.RECORDED,
        facilitator_id=event.facilitator_id,
        visit_id=event.visit_id,
        captured_at=event.captured_at,
        received_at=event.received_at,
        recorded_on=day_of(event.captured_at),
        late=event.late,
        people=event.people,
        income=event.income,
        income_rupiah=sum(source.monthly_rupiah for source in event.income),
        per_person_rupiah=event.against_line.per_person_rupiah,
        line_rupiah=event.against_line.line_rupiah,
        above_line=event.against_line.above,
        livelihoods=len({source.livelihood for source in event.income if source.monthly_rupiah > 0}),
        needs=event.needs,
        needs_met=tuple(need.need for need in event.needs if need.met),
        business=event.business,
        turnover_rupiah=None if event.business is None else event.business.monthly_turnover_rupiah,
        workers=None if event.business is None else event.business.workers,
        rule_id=event.rule.rule_id,
        rule_version=event.rule.rule_version,
        sealed=notes if isinstance(notes, str) else None,
        sealed_by=envelope.id if isinstance(notes, str) else None,
    )


FOLLOW_UPS = Table(
    "follow_up",
    FollowUp,
    topic="outcomes.cases",
    key=("case_id", "months"),
    evolve=evolve_follow_up,
    touches={
        FollowUpScheduled: one("follow_up"),
        FollowUpDue: one("follow_up"),
        FollowUpRecorded: one("follow_up"),
        FollowUpMissed: one("follow_up"),
        CaseClosed: whole_stream,
    },
)
