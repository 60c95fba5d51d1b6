"""What outcomes decides when the registry or training tells it something. Projections need no handler: see state.py.

Facts of the three topics arrive in any order. Each reaction decides on what the rows say by now, and whatever comes
later makes its own reaction decide again: so every order ends with the same case.
"""

from typing import TypeVar

from contracts.envelope import Event
from contracts.registry import (
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdFact,
    HouseholdListed,
    HouseholdRankChanged,
    MemberLeft,
    ParticipantCorrected,
    ParticipantFact,
    ParticipantRejected,
    ParticipantVerified,
    PersonErased,
)
from contracts.training import CohortCompleted
from services.kit.reactions import Reactions, Step
from services.kit.rows import Rows
from services.outcomes.cases import decisions
from services.outcomes.cases.queries import load_cases_of_households, load_cases_of_people, load_completed
from services.outcomes.cases.state import CASES
from services.outcomes.classes.state import COHORTS, PLACEMENTS
from services.outcomes.dinkop import listen_to_dinkop
from services.outcomes.follow_ups.state import FOLLOW_UPS
from services.outcomes.interventions.decisions import Waiting, record_waiting
from services.outcomes.people.state import HOMES, PERSONS, Home, Person

OfPerson = TypeVar("OfPerson", bound=ParticipantFact)
OfHousehold = TypeVar("OfHousehold", bound=HouseholdFact)

REACTIONS = Reactions()
listen_to_dinkop(REACTIONS)

# --- Training ---------------------------------------------------------------------------------------------------------


@REACTIONS.on(CohortCompleted, loads=load_completed)
def open_cases_when_cohort_completed(step: Step[CohortCompleted, dict[str, Waiting]]) -> list[Event]:
    cohort = step.rows.get(COHORTS, step.event.cohort_id)
    decided: list[Event] = []
    for participant_id in step.event.completed:
        placement = step.rows.get(PLACEMENTS, step.event.cohort_id, participant_id)
        training = decisions.training_completed(step.event, step.envelope.time, cohort, placement)
        person = step.rows.get(PERSONS, participant_id)
        home = _home_of(step.rows, person)
        case = step.rows.get(CASES, participant_id)
        if case is None:
            waiting = record_waiting(step.found[participant_id])
            decided += decisions.open_case(participant_id, training, person, home, waiting)
        else:
            follow_ups = step.rows.of_stream(FOLLOW_UPS, participant_id)
            decided += decisions.add_training(case, training, person, home, follow_ups)
    return decided


# --- The registry: people ---------------------------------------------------------------------------------------------


@REACTIONS.on(ParticipantVerified, loads=load_cases_of_people)
def record_the_baseline_when_participant_was_verified(step: Step[ParticipantVerified, None]) -> list[Event]:
    return _record_baseline(step)


@REACTIONS.on(ParticipantCorrected, loads=load_cases_of_people)
def record_the_baseline_when_participant_was_corrected(step: Step[ParticipantCorrected, None]) -> list[Event]:
    return _record_baseline(step)


@REACTIONS.on(ParticipantRejected, loads=load_cases_of_people)
def close_the_case_when_participant_was_rejected(step: Step[ParticipantRejected, None]) -> list[Event]:
    return _close(step)


@REACTIONS.on(PersonErased, loads=load_cases_of_people)
def close_the_case_when_person_was_erased(step: Step[PersonErased, None]) -> list[Event]:
    return _close(step)


def _record_baseline(step: Step[OfPerson, None]) -> list[Event]:
    person = step.rows.get(PERSONS, step.event.participant_id)
    case = step.rows.get(CASES, step.event.participant_id)
    return [] if case is None else decisions.record_baseline(case, person, _home_of(step.rows, person))


def _close(step: Step[OfPerson, None]) -> list[Event]:
    participant_id = step.event.participant_id
    return decisions.close_if_ended(step.rows.get(CASES, participant_id), step.rows.get(PERSONS, participant_id))


def _home_of(rows: Rows, person: Person | None) -> Home | None:
    """The household of a person who was ever verified; of nobody else it is asked, or loaded."""
    return None if person is None or person.verified_since is None else rows.get(HOMES, person.household_id)


# --- The registry: households -----------------------------------------------------------------------------------------


@REACTIONS.on(HouseholdListed, loads=load_cases_of_households)
def record_baselines_when_household_was_listed(step: Step[HouseholdListed, None]) -> list[Event]:
    return _record_baselines(step)


@REACTIONS.on(HouseholdRankChanged, loads=load_cases_of_households)
def record_baselines_when_rank_changed(step: Step[HouseholdRankChanged, None]) -> list[Event]:
    return _record_baselines(step)


@REACTIONS.on(HouseholdConfirmed, loads=load_cases_of_households)
def record_baselines_when_household_was_confirmed(step: Step[HouseholdConfirmed, None]) -> list[Event]:
    return _record_baselines(step)


@REACTIONS.on(HouseholdChanged, loads=load_cases_of_households)
def record_baselines_when_household_changed(step: Step[HouseholdChanged, None]) -> list[Event]:
    return _record_baselines(step)


@REACTIONS.on(MemberLeft, loads=load_cases_of_households)
def record_baselines_when_member_left(step: Step[MemberLeft, None]) -> list[Event]:
    return _record_baselines(step)


def _record_baselines(step: Step[OfHousehold, None]) -> list[Event]:
    home = step.rows.get(HOMES, step.event.household_id)
    if home is None:
        return []
    decided: list[Event] = []
    for member in home.members:
        case = step.rows.get(CASES, member)
        if case is None:
            continue
        person = step.rows.get(PERSONS, member)
        if person is not None and person.household_id == home.household_id:
            decided += decisions.record_baseline(case, person, home)
    return decided
