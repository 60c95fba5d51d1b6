"""What notifications keeps of outcomes' facts: which follow-ups of a case are due."""

from dataclasses import dataclass

from contracts.envelope import Envelope, Event, Open, Pseudonymous, Value
from contracts.outcomes import CaseClosed, CaseOpened, FollowUpDue, FollowUpMissed, FollowUpRecorded
from services.kit.table import Table, present, replace


class DueFollowUp(Value):
    follow_up: Open[int]  # months after completion
    told_by: Pseudonymous[str]  # the event that said so


@dataclass(frozen=True, slots=True)
class Case:
    """A participant who completed a training; the case's id is theirs."""

    case_id: str
    version: int
    area_code: str  # where they then lived
    due: tuple[DueFollowUp, ...]


def evolve_case(case: Case | None, event: Event, envelope: Envelope) -> Case | None:
    match event:
        case CaseOpened():
            return Case(event.case_id, envelope.version, event.area_code, ())
    case = present(case, envelope)
    match event:
        case FollowUpDue():
            return replace(case, due=(*case.due, DueFollowUp(follow_up=event.follow_up, told_by=envelope.id)))
        case FollowUpRecorded() | FollowUpMissed():
            return replace(case, due=tuple(due for due in case.due if due.follow_up != event.follow_up))
        case CaseClosed():
            return replace(case, due=())
        case _:
            return case


CASES = Table("case_file", Case, topic="outcomes.cases", key=("case_id",), evolve=evolve_case, head=True)
