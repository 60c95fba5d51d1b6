"""A cohort's list: enrolling, the waitlist, confirming, withdrawing, and the roster with names."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from contracts.registry import PersonDetails
from services.kit.http import CommandTransaction
from services.training.api.cohorts import CohortView, answer_with_cohort
from services.training.api.enrolment_view import EnrolmentView
from services.training.api.shapes import IdPath, ListWork, NameReads, OfficerWork, View
from services.training.candidates.queries import to_enrol_by_priority
from services.training.candidates.state import CANDIDATES
from services.training.cohorts import queries as cohorts
from services.training.cohorts.decisions import known, no_such_cohort, planned
from services.training.cohorts.state import COHORTS
from services.training.enrolments import decisions, queries
from services.training.enrolments.state import ENROLMENTS, EnrolmentStatus
from services.training.programmes.decisions import known_area
from services.training.withdrawals.decisions import Withdraw, withdraw
from services.training.withdrawals.queries import waiting_on

router = APIRouter(tags=["participants"])


@router.post("/cohorts/{cohort_id}/participants", status_code=201, response_model=EnrolmentView)
async def enrol_participant(cohort_id: IdPath, command: decisions.Enrol, work: OfficerWork) -> Response:
    """Gives one candidate a place. It is enough that the verification holds now; it has to hold at the start too."""
    async with work as tx:
        candidate = await tx.row(CANDIDATES, command.participant_id)
        list_ = await _locked_list(tx, cohort_id)
        commitments = await queries.commitments_of(tx.connection, [command.participant_id], besides_cohort=cohort_id)
        events = decisions.enrol(
            list_.cohort,
            list_.enrolments,
            candidate,
            commitments[command.participant_id],
            list_.quotas,
            tx.now,
        )
        await tx.decide(events)
        return await _answer_with_enrolment(tx, cohort_id, command.participant_id, status=201)


@router.post("/cohorts/{cohort_id}/waitlist", status_code=201, response_model=EnrolmentView)
async def waitlist_participant(cohort_id: IdPath, command: decisions.Waitlist, work: OfficerWork) -> Response:
    """Puts one candidate on the waitlist, where priority decides who is next."""
    async with work as tx:
        candidate = await tx.row(CANDIDATES, command.participant_id)
        list_ = await _locked_list(tx, cohort_id)
        commitments = await queries.commitments_of(tx.connection, [command.participant_id], besides_cohort=cohort_id)
        events = decisions.waitlist(
            list_.cohort, list_.enrolments, candidate, commitments[command.participant_id], tx.now
        )
        await tx.decide(events)
        return await _answer_with_enrolment(tx, cohort_id, command.participant_id, status=201)


@router.post("/cohorts/{cohort_id}/enrol-by-priority", response_model=CohortView)
async def enrol_by_priority(cohort_id: IdPath, command: decisions.EnrolByPriority, work: OfficerWork) -> Response:
    """Fills the free places from the pool, the highest priority first, and the waitlist up to a length.

    Takes who is verified until the start, an adult, free on all days, and can come: who cannot leave home is taken
    for a class on site or in their own kecamatan only. Each kabupaten stays within its quota.
    """
    async with work as tx:
        if command.area_code is not None:
            known_area(command.area_code, "body.area_code")
        # Candidates are locked before the cohort: so whom to lock is found out first, and all is looked at again.
        seen = planned(await cohorts.as_it_stands(tx.connection, cohort_id))
        area = decisions.pool_area(seen, await cohorts.area_of_programme(tx.connection, seen.programme_id), command)
        chosen = await to_enrol_by_priority(tx.connection, seen, area, seen.capacity + command.waitlist)
        chosen += await queries.waitlisted_on(tx.connection, cohort_id)
        pool = await tx.rows(CANDIDATES, [(person,) for person in chosen])
        list_ = await _locked_list(tx, cohort_id)
        events = decisions.enrol_by_priority(
            list_.cohort,
            list_.enrolments,
            [candidate for candidate in pool if candidate is not None],
            await queries.commitments_of(tx.connection, chosen, besides_cohort=cohort_id),
            list_.quotas,
            command,
            tx.now,
        )
        await tx.decide(events)
        return await answer_with_cohort(tx, cohort_id)


@router.post("/cohorts/{cohort_id}/participants/{participant_id}/confirm", response_model=EnrolmentView)
async def confirm_participant(cohort_id: IdPath, participant_id: IdPath, work: ListWork) -> Response:
    """The participant said that they will come."""
    async with work as tx:
        cohort = await tx.row(COHORTS, cohort_id)
        enrolment = await tx.row(ENROLMENTS, cohort_id, participant_id)
        if enrolment is not None:
            tx.authorise(enrolment.area_code)
        await tx.decide(decisions.confirm(cohort, enrolment, tx.now))
        return await _answer_with_enrolment(tx, cohort_id, participant_id)


@router.post("/cohorts/{cohort_id}/participants/{participant_id}/withdraw", response_model=EnrolmentView)
async def withdraw_participant(
    cohort_id: IdPath, participant_id: IdPath, command: Withdraw, work: ListWork
) -> Response:
    """The participant gives up the place; before the start the next on the waitlist gets it."""
    async with work as tx:
        list_ = await queries.lock_list(tx, cohort_id)
        enrolment = await tx.row(ENROLMENTS, cohort_id, participant_id)
        if enrolment is not None:
            tx.authorise(enrolment.area_code)
        tx.expect_version(list_.cohort)
        waiting = await waiting_on(tx, list_)
        await tx.decide(withdraw(list_.cohort, list_.enrolments, participant_id, waiting, command, tx.now))
        return await _answer_with_enrolment(tx, cohort_id, participant_id)


async def _locked_list(tx: CommandTransaction, cohort_id: str) -> queries.ClassList:
    """The cohort with its list, if the caller may act on it and has seen its latest version."""
    list_ = await queries.lock_list(tx, cohort_id)
    tx.authorise(list_.cohort.area_code)
    tx.expect_version(list_.cohort)
    return list_


async def _answer_with_enrolment(
    tx: CommandTransaction, cohort_id: str, participant_id: str, *, status: int = 200
) -> Response:
    row = await tx.row(COHORTS, cohort_id)
    cohort = known(row)
    view = EnrolmentView.of(await tx.row(ENROLMENTS, cohort_id, participant_id))
    return tx.answer(view, status=status, version=cohort.version, stream=f"{COHORTS.topic}/{cohort_id}")


class RosterLine(View):
    participant_id: str
    place: int
    status: EnrolmentStatus
    area_code: str
    name: str | None
    phone: str | None
    reachable: bool | None


@router.get("/cohorts/{cohort_id}/roster")
async def show_roster(
    cohort_id: IdPath,
    reads: NameReads,
    purpose: Annotated[str, Query(pattern=r"^[a-z][a-z_-]{2,40}$", description="A word for the read log")] = "roster",
) -> list[RosterLine]:
    """Who has a place, by name, as far as they live in the caller's areas. Each look stands in the read log."""
    async with reads as db:
        if await cohorts.cohort(db.connection, cohort_id) is None:
            raise no_such_cohort()
        rows = await queries.roster(db.connection, cohort_id)
        sealed = [(row["participant_id"], row["sealed_by"], row["sealed"]) for row in rows]
        people = await db.open(sealed, PersonDetails, purpose)
        return [
            RosterLine(**row, name=person and person.name, phone=person and person.phone)
            for row, person in zip(rows, people, strict=True)
        ]
