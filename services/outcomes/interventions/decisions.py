"""Whom a reported intervention was for, and when it stands on that person's case. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from contracts.envelope import Event
from contracts.outcomes import (
    ClosingReason,
    CooperativeNumber,
    DismissalReason,
    InterventionDismissed,
    InterventionId,
    InterventionKind,
    InterventionMatched,
    InterventionRecorded,
    InterventionReported,
    InterventionSubject,
    InterventionUnmatched,
    MemberRecruited,
    UnmatchedReason,
)
from contracts.partners import (
    AssistanceDelivered,
    FinancingGranted,
    MarketAccessGranted,
    MemberJoinedCooperative,
    MentoringVisited,
    SupportFact,
)
from contracts.registry import PersonId
from services.kit.refusal import FieldProblem, Refused
from services.outcomes import checks
from services.outcomes.cases.state import Case
from services.outcomes.forms import Id
from services.outcomes.interventions.state import Intervention, InterventionStatus, subject_of
from services.outcomes.people.state import Person, PersonStatus

Found = TypeVar("Found")

BY_NUMBER = "national_id"
"""Who matched an intervention, where the number did it and no officer."""

_REPORTS = UUID("2684443e-2cfc-418f-8c5e-5e1c0f0eb420")

# --- What a partner reports -------------------------------------------------------------------------------------------


def id_of_report(source: str, message_id: str) -> InterventionId:
    """The intervention that a message is about: the same for each copy of it, however late one comes."""
    return str(uuid5(_REPORTS, f"{source}\n{message_id}"))


@dataclass(frozen=True, slots=True)
class _Support:
    """What the messages about support have in common; `given_in` is the field that says when it was given."""

    kind: InterventionKind
    given_in: str
    given_on: date
    amount_rupiah: int | None = None
    scheme: str | None = None
    cooperative_number: CooperativeNumber | None = None


def problems_in(fact: SupportFact, now: datetime) -> list[FieldProblem]:
    """Why a message cannot be taken in, field by field."""
    support = _support_in(fact)
    problems = checks.national_id("national_id", fact.national_id)
    problems += checks.past(support.given_in, support.given_on, now)
    if support.amount_rupiah is not None:
        problems += checks.above_zero("amount_rupiah", support.amount_rupiah)
    if support.scheme is not None:
        problems += checks.scheme("scheme", support.scheme)
    if support.cooperative_number is not None:
        problems += checks.cooperative_number("cooperative_number", support.cooperative_number)
    return problems


def report(
    known: Intervention | None, intervention_id: InterventionId, system: str, fact: SupportFact, now: datetime
) -> list[Event]:
    """What a partner says was done for somebody, whose number is sealed. Nothing if that message was taken in before;
    refuses a message with everything that is wrong with it."""
    checks.refuse(problems_in(fact, now))
    if known is not None:
        return []
    support = _support_in(fact)
    return [
        InterventionReported(
            intervention_id=intervention_id,
            kind=support.kind,
            system=system,
            given_on=support.given_on,
            amount_rupiah=support.amount_rupiah,
            scheme=support.scheme,
            cooperative_number=support.cooperative_number,
            personal={subject_of(intervention_id): InterventionSubject(national_id=fact.national_id)},
        )
    ]


def _support_in(fact: SupportFact) -> _Support:
    match fact:
        case MentoringVisited():
            return _Support(InterventionKind.MENTORING, "visited_on", fact.visited_on)
        case FinancingGranted():
            return _Support(InterventionKind.FINANCING, "granted_on", fact.granted_on, fact.amount_rupiah, fact.scheme)
        case MarketAccessGranted():
            return _Support(InterventionKind.MARKET_ACCESS, "granted_on", fact.granted_on, scheme=fact.scheme)
        case AssistanceDelivered():
            return _Support(
                InterventionKind.ASSISTANCE, "delivered_on", fact.delivered_on, fact.amount_rupiah, fact.scheme
            )
        case MemberJoinedCooperative():
            return _Support(
                InterventionKind.COOPERATIVE_MEMBERSHIP,
                "joined_on",
                fact.joined_on,
                cooperative_number=fact.cooperative_number,
            )
    raise TypeError(f"{fact.ce_type} is no report of support; say here what it tells")


# --- Whom it was for --------------------------------------------------------------------------------------------------


def match_by_number(intervention: Intervention, bearers: Sequence[PersonId]) -> list[Event]:
    """The one person who bears the number. Where nobody or several do, nothing is guessed: it waits for an officer.

    Nothing if that was looked up before.
    """
    if intervention.status is not InterventionStatus.REPORTED:
        return []
    if len(bearers) == 1:
        return [_matched(intervention, bearers[0], BY_NUMBER)]
    because = UnmatchedReason.SEVERAL_BEAR_THE_NUMBER if bearers else UnmatchedReason.NOBODY_BEARS_THE_NUMBER
    return [InterventionUnmatched(intervention_id=intervention.intervention_id, because=because)]


class MatchIntervention(BaseModel):
    """Whom it was for, as an officer found out."""

    model_config = ConfigDict(extra="forbid")

    participant_id: Id


class DismissIntervention(BaseModel):
    """Why nobody here is concerned."""

    model_config = ConfigDict(extra="forbid")

    because: DismissalReason


def known(intervention: Found | None) -> Found:
    """Refuses what does not exist, or lies outside the caller's areas: the two are not told apart."""
    if intervention is None:
        raise Refused(
            "no-such-intervention",
            "There is no such intervention, or your token does not cover the province that it was reported to.",
            status=404,
            remedy="Check the id, and the areas of your token.",
        )
    return intervention


def match_by_officer(intervention: Intervention, person: Person | None, officer: str) -> list[Event]:
    """An officer found out whom it was for. Refuses anybody whom the registry does not take for a participant."""
    _refuse_unless_it_waits(intervention)
    if person is None or person.status is PersonStatus.ERASED:
        raise Refused(
            "no-such-participant",
            "The registry has told of no such participant, or they were erased.",
            status=404,
            remedy="Check the id; somebody who is listed but was never nominated has to be nominated first.",
        )
    return [_matched(intervention, person.participant_id, officer)]


def dismiss(intervention: Intervention, because: DismissalReason) -> list[Event]:
    """An officer found that it concerns nobody here."""
    _refuse_unless_it_waits(intervention)
    return [InterventionDismissed(intervention_id=intervention.intervention_id, because=because)]


def _refuse_unless_it_waits(intervention: Intervention) -> None:
    if intervention.status is InterventionStatus.REPORTED:
        raise Refused(
            "not-looked-up-yet",
            "Nobody has looked yet whose number it is.",
            remedy="Wait a moment; only what remains unmatched needs an officer.",
        )
    if intervention.status is not InterventionStatus.UNMATCHED:
        raise Refused(
            "already-decided",
            f"The intervention is {intervention.status} already.",
            remedy="Nothing is left to do: the number was forgotten when that was decided.",
        )


def _matched(intervention: Intervention, participant_id: PersonId, matched_by: str) -> InterventionMatched:
    return InterventionMatched(
        intervention_id=intervention.intervention_id, participant_id=participant_id, matched_by=matched_by
    )


# --- On the case ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was matched to a participant and stands on no case, and the cooperatives that took the participant in."""

    interventions: tuple[Intervention, ...] = ()
    memberships: frozenset[CooperativeNumber] = frozenset()


def record(case: Case | None, waiting: Waiting) -> list[Event]:
    """Puts what was matched on the participant's case; it waits as long as there is none.

    On a closed case too, if it was given before that was closed: reports come late, and what stands on a case must not
    depend on which came first. After an erasure nothing more is said about the person.
    """
    if case is None or case.closed_because is ClosingReason.ERASED:
        return []
    closed_on = case.closed_on or date.max
    before = tuple(one for one in waiting.interventions if one.given_on <= closed_on)
    return record_waiting(replace(waiting, interventions=before))


def record_waiting(waiting: Waiting) -> list[Event]:
    """The same, for the case that this transaction has just opened."""
    events: list[Event] = []
    joined = set(waiting.memberships)
    for intervention in sorted(waiting.interventions, key=lambda one: (one.given_on, one.intervention_id)):
        assert intervention.participant_id is not None, "it was matched to somebody"
        events.append(_recorded(intervention, intervention.participant_id))
        number = intervention.cooperative_number
        if number is not None and number not in joined:
            joined.add(number)
            events.append(
                MemberRecruited(
                    cooperative_number=number,
                    participant_id=intervention.participant_id,
                    intervention_id=intervention.intervention_id,
                    joined_on=intervention.given_on,
                )
            )
    return events


def _recorded(intervention: Intervention, participant_id: PersonId) -> InterventionRecorded:
    return InterventionRecorded(
        case_id=participant_id,
        intervention_id=intervention.intervention_id,
        kind=intervention.kind,
        system=intervention.system,
        given_on=intervention.given_on,
        amount_rupiah=intervention.amount_rupiah,
        scheme=intervention.scheme,
        cooperative_number=intervention.cooperative_number,
    )
