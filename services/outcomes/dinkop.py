"""What the province's agency for cooperatives (Dinas Koperasi) publishes, and what becomes of it here."""

from collections.abc import Sequence
from typing import Any

from contracts.envelope import Event
from contracts.partners import (
    AnnualMeetingHeld,
    AssistanceDelivered,
    FinancingGranted,
    MarketAccessGranted,
    MemberJoinedCooperative,
    MentoringVisited,
    SupportFact,
)
from services.kit.reactions import Begun, Partner, Reactions, Step
from services.kit.rows import Connection, Rows
from services.outcomes.cooperatives.decisions import record_meeting
from services.outcomes.cooperatives.queries import load_cooperatives_that_met
from services.outcomes.cooperatives.state import COOPERATIVES
from services.outcomes.interventions.decisions import id_of_report, problems_in, report
from services.outcomes.interventions.state import INTERVENTIONS, subject_of

DINKOP = Partner(topic="partners.dinkop", system="dinkop", source="urn:dinkop")

SUPPORT: tuple[type[SupportFact], ...] = (
    MentoringVisited,
    FinancingGranted,
    MarketAccessGranted,
    AssistanceDelivered,
    MemberJoinedCooperative,
)


def listen_to_dinkop(reactions: Reactions) -> None:
    """Adds the reactions to the agency's messages."""
    for fact in SUPPORT:
        reactions.on(fact, loads=_nothing, begins=_begun_by)(report_the_intervention_when_dinkop_supported_somebody)
    reactions.on(AnnualMeetingHeld, loads=load_cooperatives_that_met)(record_the_annual_meeting_when_dinkop_reported_it)


def report_the_intervention_when_dinkop_supported_somebody(step: Step[SupportFact, None]) -> list[Event]:
    id_ = _intervention_of(step)
    # A message that is refused has begun nothing, so nobody loaded its row.
    known = None if problems_in(step.event, step.now) else step.rows.get(INTERVENTIONS, id_)
    return report(known, id_, DINKOP.system, step.event, step.now)


def record_the_annual_meeting_when_dinkop_reported_it(step: Step[AnnualMeetingHeld, None]) -> list[Event]:
    known = step.rows.get(COOPERATIVES, step.event.cooperative_number)
    return record_meeting(known, step.event, step.now)


def _begun_by(step: Step[SupportFact, None]) -> Begun | None:
    """The intervention of a message that can be taken in."""
    if problems_in(step.event, step.now):
        return None
    id_ = _intervention_of(step)
    return Begun(INTERVENTIONS, (id_,), subject_of(id_))


def _intervention_of(step: Step[SupportFact, None]) -> str:
    return id_of_report(step.envelope.source, step.envelope.id)


async def _nothing(_connection: Connection, _rows: Rows, _facts: Sequence[Any]) -> None:
    """All that these reactions need is what they begin."""
