"""Participants over HTTP: assigning, visiting, verifying, rejecting, and what became of them."""

from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query
from pydantic import Field
from starlette.responses import Response

from contracts.envelope import Event
from contracts.registry import PersonDetails, VisitNotes
from services.kit.http import CommandTransaction, Reads, Work, reads_as, works_as
from services.kit.paging import Page
from services.kit.refusal import Refused
from services.registry.api.outcomes import Gathered, Outcome, Outcomes, outcomes, refused
from services.registry.api.parameters import WHO_SEE_FIGURES, WHO_SEE_NAMES, Id, Pages, Within, unknown
from services.registry.participants import commands, decisions, queries
from services.registry.participants.commands import Assign, RecordVisit, RecordVisitTo, Reject, Wish
from services.registry.participants.queries import (
    ParticipantView,
    ParticipantWithVisits,
    Person,
    SealedParticipant,
    VisitView,
)
from services.registry.participants.state import PARTICIPANTS, VISITS, Participant, ParticipantStatus
from services.registry.rules.decisions import PRIORITY, VERIFICATION
from services.registry.rules.queries import rule_in_force

router = APIRouter(tags=["participants"])

Officer = Annotated[Work, Depends(works_as("officer"))]
Facilitator = Annotated[Work, Depends(works_as("facilitator"))]

# --- Assigning --------------------------------------------------------------------------------------------------------


@router.post("/assignments", response_model=Outcomes)
async def assign_visits(command: Assign, work: Officer) -> Response:
    """Asks a facilitator to visit up to 500 persons of listed households; whoever is new is nominated by this."""
    async with work as tx:
        decisions.refuse_past_due_date(command.due_on, tx.now)
        people = await queries.people(tx, command.person_ids)
        # Only who is new, and lives where this caller may nominate, is looked at.
        mine = [person for person in people.values() if tx.principal.covers(person.member.area_code)]
        new = [person.member for person in mine if person.participant is None]
        opened = await tx.open([(m.person_id, m.sealed_by, m.sealed) for m in new], PersonDetails, "nomination")
        details = {member.person_id: record for member, record in zip(new, opened, strict=True)}

        def assign(person: Person) -> list[Event]:
            known = details.get(person.member.person_id)
            return decisions.assign(person.household, person.member, person.participant, known, command)

        return tx.answer(await _each(tx, command.person_ids, people, assign))


# --- Visiting ---------------------------------------------------------------------------------------------------------


class RecordVisits(Wish):
    """What a device recorded while it was offline, in any order."""

    visits: Annotated[list[RecordVisitTo], Field(min_length=1, max_length=200)]


@router.post("/participants/{participant_id}/visits", status_code=201, response_model=VisitView)
async def record_visit(participant_id: Id, command: RecordVisit, work: Facilitator) -> Response:
    """Records what the assigned facilitator found. A copy of a visit is given the answer of the first, and no more."""
    async with work as tx:
        participant = await tx.row(PARTICIPANTS, participant_id)
        if participant is None:
            raise unknown("participant")
        events = await _visit(tx, participant, command)
        if events:
            # The version that a copy was decided on is the one before its own first arrival.
            tx.expect_version(participant)
        await tx.decide(events)
        recorded = await tx.row(VISITS, participant_id, command.visit_id)
        now = await tx.row(PARTICIPANTS, participant_id)
        assert recorded is not None
        assert now is not None
        answer = VisitView.model_validate(recorded, from_attributes=True)
        return tx.answer(answer, status=201, version=now.version, stream=_stream(participant_id))


@router.post("/visits", response_model=Outcomes)
async def record_visits(command: RecordVisits, work: Facilitator) -> Response:
    """Records up to 200 visits, each for itself: one that is refused does not lose the others."""
    async with work as tx:
        visits = command.visits
        await tx.rows(PARTICIPANTS, [(visit.participant_id,) for visit in visits])
        await tx.rows(VISITS, [(visit.participant_id, visit.visit_id) for visit in visits])
        gathered = Gathered(tx)
        made: dict[int, Outcome | None] = {}
        # Devices send in any order; of two visits to one participant the later one is to count.
        for number in sorted(range(len(visits)), key=lambda number: visits[number].captured_at):
            visit = visits[number]
            await gathered.settle(visit.participant_id)
            try:
                gathered.add(visit.participant_id, await _visit_of_batch(tx, visit))
                made[number] = None
            except Refused as why:
                made[number] = refused(visit.participant_id, why, visit_id=visit.visit_id, within=f"visits.{number}")
        await gathered.settle()
        return tx.answer(
            outcomes(
                [
                    made[number] or await _done(tx, visit.participant_id, visit_id=visit.visit_id)
                    for number, visit in enumerate(visits)
                ]
            )
        )


async def _visit_of_batch(tx: CommandTransaction, visit: RecordVisitTo) -> list[Event]:
    participant = await tx.row(PARTICIPANTS, visit.participant_id)
    if participant is None:
        raise unknown("participant")
    return await _visit(tx, participant, visit)


async def _visit(tx: CommandTransaction, participant: Participant, command: RecordVisit) -> list[Event]:
    tx.authorise(participant.area_code)
    known = await tx.row(VISITS, participant.participant_id, command.visit_id)
    return decisions.record_visit(participant, known, command, tx.principal.subject, tx.now)


# --- Verifying and rejecting ------------------------------------------------------------------------------------------


class VerifyPeople(Wish):
    participant_ids: Annotated[list[commands.Id], Field(min_length=1, max_length=500)]


@router.post("/verifications", response_model=Outcomes)
async def verify_participants(command: VerifyPeople, work: Officer) -> Response:
    """Verifies up to 500 participants whose last visit found them, each for itself."""
    async with work as tx:
        in_force = decisions.rules_in_force(await rule_in_force(tx, PRIORITY), await rule_in_force(tx, VERIFICATION))
        people = await queries.people(tx, command.participant_ids)
        # Only who waits to be verified, and lives where this caller may verify, is looked at.
        mine = [person.participant for person in people.values() if tx.principal.covers(person.member.area_code)]
        visited = [participant for participant in mine if participant is not None and participant.is_visited]
        ids = [participant.participant_id for participant in visited]
        sealed = [(participant.participant_id, participant.sealed_by, participant.sealed) for participant in visited]
        details = dict(zip(ids, await tx.open(sealed, PersonDetails, "verification"), strict=True))
        sealed_notes = await queries.sealed_visit_notes(tx, visited)
        notes = dict(zip(ids, await tx.open(sealed_notes, VisitNotes, "verification"), strict=True))

        def verify(person: Person) -> list[Event]:
            if person.participant is None:
                raise unknown("participant")
            known = person.participant.participant_id
            return decisions.verify(
                person.participant,
                person.household,
                person.head,
                details.get(known),
                notes.get(known),
                in_force,
                tx.now,
            )

        return tx.answer(await _each(tx, command.participant_ids, people, verify))


@router.post("/participants/{participant_id}/rejection", response_model=ParticipantView)
async def reject_participant(participant_id: Id, command: Annotated[Reject, Body()], work: Officer) -> Response:
    """Takes a participant out, verified or not, for one of the reasons that the field knows."""
    async with work as tx:
        participant = await tx.row(PARTICIPANTS, participant_id)
        if participant is None:
            raise unknown("participant")
        tx.authorise(participant.area_code)
        tx.expect_version(participant)
        await tx.decide(decisions.reject(participant, command.reason))
        now = await tx.row(PARTICIPANTS, participant_id)
        assert now is not None
        answer = ParticipantView.model_validate(now, from_attributes=True)
        return tx.answer(answer, version=now.version, stream=_stream(participant_id))


async def _each(
    tx: CommandTransaction,
    wanted: Iterable[str],
    people: dict[str, Person],
    decide: Callable[[Person], list[Event]],
) -> Outcomes:
    """Decides on each person for itself, in order; a refusal is that person's outcome and nobody else's."""
    gathered = Gathered(tx)
    made: list[tuple[str, Outcome | None]] = []
    for person_id in wanted:
        await gathered.settle(person_id)
        try:
            if person_id not in people:
                raise unknown("person")
            person = queries.person_now(tx, people[person_id])
            tx.authorise(person.member.area_code)
            gathered.add(person_id, decide(person))
            made.append((person_id, None))
        except Refused as why:
            made.append((person_id, refused(person_id, why)))
    await gathered.settle()
    return outcomes([outcome or await _done(tx, person_id) for person_id, outcome in made])


async def _done(tx: CommandTransaction, participant_id: str, *, visit_id: str | None = None) -> Outcome:
    participant = await tx.row(PARTICIPANTS, participant_id)
    assert participant is not None
    return Outcome(
        participant_id=participant_id,
        outcome="done",
        visit_id=visit_id,
        status=participant.status,
        version=participant.version,
    )


def _stream(participant_id: str) -> str:
    return f"registry.participants/{participant_id}"


# --- Reading ----------------------------------------------------------------------------------------------------------


@router.get("/participants")
async def list_participants(
    reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_FIGURES))],
    wanted: Within,
    pages: Pages,
    status: Annotated[list[ParticipantStatus] | None, Query()] = None,
    facilitator_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[ParticipantView]:
    """Participants of your areas, by area; nothing personal."""
    async with reads as db:
        statuses = status or list(ParticipantStatus)
        return await queries.participants(db.connection, pages, wanted, statuses, facilitator_id)


@router.get("/participants/{participant_id}")
async def show_participant(
    participant_id: Id, reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_FIGURES))]
) -> ParticipantWithVisits:
    """One participant with their visits; names and notes for officers, facilitators and districts. Looks are kept."""
    async with reads as db:
        found = await queries.participant(db.connection, participant_id)
        if found is None:
            raise unknown("participant")
        if db.principal.has_any(WHO_SEE_NAMES):
            return await _with_names(db, found)
        return found.view


async def _with_names(db: Reads, found: SealedParticipant) -> ParticipantWithVisits:
    (details,) = await db.open([found.details], PersonDetails, "participant shown")
    notes = await db.open(found.visits, VisitNotes, "participant shown")
    visits = [
        visit.model_copy(update={"notes": note}) for visit, note in zip(found.view.all_visits, notes, strict=True)
    ]
    return found.view.model_copy(update={"details": details, "all_visits": visits})
