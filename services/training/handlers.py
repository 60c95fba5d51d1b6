"""What training decides when the registry tells it something. Projections need no handler: see state.py."""

from collections import Counter, defaultdict
from typing import TypeVar

from contracts.areas import AreaCode
from contracts.envelope import Event
from contracts.registry import ParticipantFact, ParticipantRejected, PersonErased, VerificationExpired
from contracts.training import WithdrawalReason
from services.kit.reactions import Reactions, Step
from services.training.cohorts.state import COHORTS
from services.training.enrolments.state import ENROLMENTS
from services.training.withdrawals.decisions import lose_eligibility, places_changed
from services.training.withdrawals.queries import Lists, load_lists_of, waiting_in

REACTIONS = Reactions()

Fact = TypeVar("Fact", bound=ParticipantFact)


@REACTIONS.on(VerificationExpired, loads=load_lists_of)
def reopen_the_place_when_verification_expired(step: Step[VerificationExpired, Lists]) -> list[Event]:
    return _leave_lists(step, WithdrawalReason.VERIFICATION_EXPIRED)


@REACTIONS.on(ParticipantRejected, loads=load_lists_of)
def reopen_the_place_when_participant_was_rejected(step: Step[ParticipantRejected, Lists]) -> list[Event]:
    return _leave_lists(step, WithdrawalReason.NO_LONGER_ELIGIBLE)


@REACTIONS.on(PersonErased, loads=load_lists_of)
def reopen_the_place_when_person_was_erased(step: Step[PersonErased, Lists]) -> list[Event]:
    return _leave_lists(step, WithdrawalReason.NO_LONGER_ELIGIBLE)


def _leave_lists(step: Step[Fact, Lists], reason: WithdrawalReason) -> list[Event]:
    participant_id, lists = step.event.participant_id, step.found
    decided: list[Event] = []
    changed: dict[str, Counter[AreaCode]] = defaultdict(Counter)
    for cohort_id in lists.cohorts_of.get(participant_id, ()):
        cohort = step.rows.get(COHORTS, cohort_id)
        assert cohort is not None
        enrolments = step.rows.of_stream(ENROLMENTS, cohort_id)
        waiting = waiting_in(step.rows, lists, cohort, changed[cohort.programme_id])
        events = lose_eligibility(cohort, enrolments, participant_id, reason, waiting, step.now)
        changed[cohort.programme_id].update(places_changed(events, enrolments))
        decided += events
    return decided
