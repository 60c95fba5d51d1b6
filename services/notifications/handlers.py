"""Whom notifications tells when others tell it something. Projections need no handler: see state.py.

A reaction decides by its fact's own stream alone, so that it makes no difference which topic is read first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from contracts.envelope import Event
from contracts.notifications import NotificationRequested
from contracts.outcomes import FollowUpDue
from contracts.registry import VerificationAssigned
from contracts.training import CohortFact, ParticipantCompleted, ParticipantEnrolled, ParticipantReplaced
from services.kit.reactions import Reactions, Step
from services.kit.rows import Connection, Rows
from services.notifications.cases.state import CASES
from services.notifications.classes.state import COHORTS, PLACEMENTS, Cohort
from services.notifications.deliveries.decisions import Happened, request
from services.notifications.deliveries.queries import wanted_about
from services.notifications.deliveries.state import DELIVERIES
from services.notifications.facts import Place, name_of
from services.notifications.people.state import PERSONS
from services.notifications.rules.queries import rules_about
from services.notifications.rules.state import Rule
from services.notifications.templates.queries import every_template
from services.notifications.templates.state import Template
from services.notifications.wita import local

REACTIONS = Reactions()

Told = TypeVar("Told", bound=Event)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules that tell of a batch's facts, their templates, and what was ever wanted about the same streams."""

    rules: Sequence[Rule] = ()
    templates: Mapping[str, Template] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()


async def load_rulebook(connection: Connection, rows: Rows, events: Sequence[Event]) -> Rulebook:
    rules = await rules_about(connection, {name_of(type(event)) for event in events})
    if not rules:
        return Rulebook()
    templates = {template.template_id: template for template in await every_template(connection)}
    wanted = await wanted_about(connection, {f"{event.topic}/{event.key}" for event in events})
    return Rulebook(rules, templates, wanted)


async def load_class(connection: Connection, rows: Rows, events: Sequence[CohortFact]) -> Rulebook:
    await rows.load(connection, COHORTS, [(event.cohort_id,) for event in events])
    return await load_rulebook(connection, rows, events)


@REACTIONS.on(ParticipantEnrolled, loads=load_class)
def tell_of_the_place_when_participant_enrolled(step: Step[ParticipantEnrolled, Rulebook]) -> list[Event]:
    return _tell_of_the_place(step, step.event)


@REACTIONS.on(ParticipantReplaced, loads=load_class)
def tell_of_the_place_when_participant_replaced(step: Step[ParticipantReplaced, Rulebook]) -> list[Event]:
    return _tell_of_the_place(step, step.event)


@REACTIONS.on(ParticipantCompleted, loads=load_class)
def congratulate_when_participant_completed(step: Step[ParticipantCompleted, Rulebook]) -> list[Event]:
    event = step.event
    cohort = step.rows.get(COHORTS, event.cohort_id)
    placement = step.rows.get(PLACEMENTS, event.cohort_id, event.participant_id)
    if cohort is None or placement is None:
        return []
    values = _of_class(cohort) | {Place.ATTENDANCE_PERCENT: str(event.attendance_percent)}
    return _tell(step, event.participant_id, placement.area_code, values)


@REACTIONS.on(VerificationAssigned, loads=load_rulebook)
def send_the_facilitator_when_verification_assigned(step: Step[VerificationAssigned, Rulebook]) -> list[Event]:
    event = step.event
    person = step.rows.get(PERSONS, event.participant_id)
    if person is None:
        return []
    values = {Place.DUE_ON: event.due_on.isoformat()}
    return _tell(step, event.participant_id, person.area_code, values, event.facilitator_id)


@REACTIONS.on(FollowUpDue, loads=load_rulebook)
def send_the_facilitator_when_follow_up_due(step: Step[FollowUpDue, Rulebook]) -> list[Event]:
    event = step.event
    case = step.rows.get(CASES, event.case_id)
    if case is None:
        return []
    values = {
        Place.FOLLOW_UP: str(event.follow_up),
        Place.DUE_ON: event.due_on.isoformat(),
        Place.VISIT_BY: event.missed_after.isoformat(),
    }
    return _tell(step, event.participant_id, case.area_code, values, event.facilitator_id)


def _tell_of_the_place(step: Step[Told, Rulebook], event: ParticipantEnrolled | ParticipantReplaced) -> list[Event]:
    cohort = step.rows.get(COHORTS, event.cohort_id)
    if cohort is None:
        return []
    values = _of_class(cohort) | {Place.CONFIRM_BY: event.confirm_by.isoformat()}
    return _tell(step, event.participant_id, event.area_code, values)


def _of_class(cohort: Cohort) -> dict[Place, str]:
    return {
        Place.COURSE: cohort.course_title,
        Place.COHORT: cohort.number,
        Place.VENUE: cohort.venue,
        Place.STARTS_ON: cohort.days[0].isoformat(),
        Place.ENDS_ON: cohort.days[-1].isoformat(),
        Place.DAYS: str(len(cohort.days)),
    }


def _tell(
    step: Step[Told, Rulebook],
    participant_id: str,
    area_code: str,
    values: dict[Place, str],
    facilitator_id: str | None = None,
) -> list[Event]:
    envelope, book = step.envelope, step.found
    always = {
        Place.AREA: area_code,
        Place.TOLD_ON: local(envelope.time).date().isoformat(),
        Place.TOLD_AT: envelope.time.isoformat(),
    }
    happened = Happened(
        fact=name_of(type(step.event)),
        event_id=envelope.id,
        stream=f"{envelope.topic}/{envelope.key}",
        at=envelope.time,
        participant_id=participant_id,
        area_code=area_code,
        values={place.value: value for place, value in (always | values).items()},
        facilitator_id=facilitator_id,
    )
    decided: list[Event] = []
    for rule in book.rules:
        if rule.fact == happened.fact:
            decided += _not_wanted_before(step, request(rule, book.templates, happened, step.now))
    return decided


def _not_wanted_before(step: Step[Told, Rulebook], events: list[Event]) -> list[Event]:
    """Nothing, where a stream is read that was read before: its notifications are in the ledger already."""
    ids = [event.notification_id for event in events if isinstance(event, NotificationRequested)]
    if not step.found.wanted.isdisjoint(ids):
        return []
    # What was never wanted has no row; saying so saves looking for each.
    step.rows.add(DELIVERIES, (), ids)
    return events
