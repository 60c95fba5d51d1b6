"""Owns what is read of participants: what a decision about them needs, pages of them, and one with their visits."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from contracts.partners import DeathRecorded, HouseholdMoved, IdentityMatched
from contracts.registry import (
    AgeBand,
    AreaCode,
    Finding,
    HouseholdId,
    LivingConditions,
    NominationRoute,
    PersonDetails,
    PersonId,
    Priority,
    RejectionReason,
    Sex,
    VisitNotes,
)
from services.kit.paging import Page, Paging
from services.kit.rows import Connection, Rows
from services.kit.transaction import SealedText, Transaction
from services.registry import search
from services.registry.households.queries import FIRST_CODE, Wanted, area_range, households_of
from services.registry.households.state import HOUSEHOLDS, MEMBERS, Household, HouseholdMember
from services.registry.participants.state import PARTICIPANTS, VISITS, Participant, ParticipantStatus

# --- What decisions need ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """A listed person with all that a decision about them may need, locked."""

    household: Household
    member: HouseholdMember
    head: HouseholdMember | None
    participant: Participant | None


async def people(tx: Transaction, person_ids: Collection[PersonId]) -> dict[PersonId, Person]:
    """These persons by id, by one query a table, locked in the order of the tables; who is not listed is missing."""
    homes = await households_of(tx.connection, person_ids)
    await tx.rows(HOUSEHOLDS, [(home,) for home in set(homes.values())])
    await tx.rows(MEMBERS, _members_and_heads(tx, homes.items()))
    await tx.rows(PARTICIPANTS, [(person_id,) for person_id in homes])
    return {person_id: _person(tx, home, person_id) for person_id, home in homes.items()}


def person_now(tx: Transaction, person: Person) -> Person:
    """The same person as this transaction has left them."""
    return _person(tx, person.household.household_id, person.member.person_id)


async def households_meant(
    connection: Connection, rows: Rows, events: Sequence[IdentityMatched | DeathRecorded | HouseholdMoved]
) -> dict[str, list[search.Listed]]:
    """Whom the civil registry's facts may mean, by NIK, found by one query; with them their households, whole."""
    found = await search.people_by_national_id(connection, {event.national_id for event in events})
    homes = sorted({person.household_id for people in found.values() for person in people})
    await rows.load(connection, HOUSEHOLDS, [(home,) for home in homes])
    await rows.load_streams(connection, MEMBERS, homes)
    everybody = [member for home in homes for member in rows.of_stream(MEMBERS, home)]
    await rows.load(connection, PARTICIPANTS, [(member.person_id,) for member in everybody])
    return found


def _members_and_heads(tx: Transaction, homes: Iterable[tuple[PersonId, HouseholdId]]) -> set[tuple[str, str]]:
    keys = set()
    for person_id, home in homes:
        keys.add((home, person_id))
        household = tx.working_set.get(HOUSEHOLDS, home)
        if household is not None and household.head_person_id is not None:
            keys.add((home, household.head_person_id))
    return keys


def _person(tx: Transaction, home: HouseholdId, person_id: PersonId) -> Person:
    household, member = tx.working_set.get(HOUSEHOLDS, home), tx.working_set.get(MEMBERS, home, person_id)
    if household is None or member is None:
        raise LookupError(f"member {home}/{person_id} stands in the table without its household")
    head_id = household.head_person_id
    head = None if head_id is None else tx.working_set.get(MEMBERS, home, head_id)
    return Person(household, member, head, tx.working_set.get(PARTICIPANTS, person_id))


async def sealed_visit_notes(tx: Transaction, participants: Collection[Participant]) -> list[SealedText]:
    """What stands sealed of each participant's last visit, in their order."""
    visits = await tx.rows(VISITS, [(who.participant_id, who.visit_id or "") for who in participants])
    return [
        (who.participant_id, visit.sealed_by if visit else None, visit.sealed if visit else None)
        for who, visit in zip(participants, visits, strict=True)
    ]


# --- What is due ------------------------------------------------------------------------------------------------------


async def next_expiry(connection: Connection) -> datetime | None:
    instant: datetime | None = await connection.fetchval(
        "SELECT min(expires_at) FROM participant WHERE status = 'verified'"
    )
    return instant


async def participants_due_to_expire(tx: Transaction, limit: int) -> list[Participant]:
    """Whose verification is over, the longest first; rows that another worker holds are left to it."""
    rows = await tx.connection.fetch(
        """
        SELECT participant_id
        FROM participant
        WHERE status = 'verified'
        AND expires_at <= $1
        ORDER BY expires_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
        """,
        tx.now,
        limit,
    )
    found = await tx.rows(PARTICIPANTS, [(row["participant_id"],) for row in rows])
    return [participant for participant in found if participant is not None]


async def rule_adopted_and_not_applied(connection: Connection) -> datetime | None:
    """When the priority rule in force was adopted, while somebody who is verified has a priority of another version."""
    instant: datetime | None = await connection.fetchval(
        """
        SELECT r.adopted_at
        FROM rule r
        WHERE r.rule_id = 'priority'
        AND EXISTS (
            SELECT 1
            FROM participant p
            WHERE p.status = 'verified'
            AND p.priority_rule_version < r.rule_version
        )
        """
    )
    return instant


async def people_of_an_older_rule(tx: Transaction, rule_version: int, limit: int) -> list[Person]:
    """Who is verified under an older version of the priority rule, with what a new priority takes."""
    rows = await tx.connection.fetch(
        """
        SELECT participant_id
        FROM participant
        WHERE status = 'verified'
        AND priority_rule_version < $1
        ORDER BY priority_rule_version
        LIMIT $2
        """,
        rule_version,
        limit,
    )
    return list((await people(tx, [row["participant_id"] for row in rows])).values())


# --- What the API answers ---------------------------------------------------------------------------------------------


class ParticipantView(BaseModel):
    """A participant without anything personal."""

    participant_id: PersonId
    version: int
    household_id: HouseholdId
    area_code: AreaCode
    status: ParticipantStatus
    route: NominationRoute | None
    sex: Sex
    age_band: AgeBand
    adult: bool
    facilitator_id: str | None
    due_on: date | None
    visits: int
    visit_id: str | None
    visited_at: datetime | None
    finding: Finding | None
    willing: bool | None
    can_leave_home: bool | None
    situation_changed: bool | None
    reachable: bool | None
    verified_at: datetime | None
    expires_at: datetime | None
    priority: Priority | None
    rejection: RejectionReason | None


class VisitView(BaseModel):
    """A visit without anything personal, as it was first recorded."""

    participant_id: PersonId
    visit_id: str
    facilitator_id: str
    captured_at: datetime
    received_at: datetime
    finding: Finding
    willing: bool
    can_leave_home: bool
    situation_changed: bool
    reachable: bool
    conditions: LivingConditions | None


class VisitWithNotes(VisitView):
    notes: VisitNotes | None = None


class ParticipantWithVisits(ParticipantView):
    details: PersonDetails | None = None  # of who may see them; nobody's once the person was erased
    all_visits: list[VisitWithNotes]


async def participants(
    connection: Connection,
    paging: Paging,
    wanted: Wanted,
    statuses: Collection[ParticipantStatus],
    facilitator_id: str | None,
) -> Page[ParticipantView]:
    """Ordered by area and id, of the caller's areas. The decile is what the applied snapshots say of the household."""
    low, high = area_range(wanted.area)
    after_area, after_id = paging.after(str, str) or (FIRST_CODE, "")
    rows = await connection.fetch(
        """
        SELECT p.*
        FROM participant p
        LEFT JOIN household_shown h ON h.household_id = p.household_id
        WHERE p.area_code >= $1 AND p.area_code < $2
        AND (p.area_code, p.participant_id) > ($3, $4)
        AND coalesce(h.welfare_decile BETWEEN $5 AND $6, $5 = 1 AND $6 = 10)
        AND p.status = ANY($7::text[])
        AND ($8::text IS NULL OR p.facilitator_id = $8)
        ORDER BY p.area_code, p.participant_id
        LIMIT $9
        """,
        low,
        high,
        after_area,
        after_id,
        wanted.decile_from,
        wanted.decile_to,
        [str(status) for status in statuses],
        facilitator_id,
        paging.fetch,
    )
    return paging.page(rows, _participant, lambda row: (row["area_code"], row["participant_id"]))


def _participant(row: Any) -> ParticipantView:
    return ParticipantView(**_shown(row))


def _shown(row: Any) -> dict[str, Any]:
    return {**dict(row), "priority": None if row["priority"] is None else from_json(row["priority"])}


@dataclass(frozen=True, slots=True)
class SealedParticipant:
    """A participant with their visits, and what stands sealed of each."""

    view: ParticipantWithVisits
    details: SealedText
    visits: list[SealedText]


async def participant(connection: Connection, participant_id: PersonId) -> SealedParticipant | None:
    row = await connection.fetchrow("SELECT * FROM participant WHERE participant_id = $1", participant_id)
    if row is None:
        return None
    visits = await connection.fetch(
        """
        SELECT *
        FROM visit
        WHERE participant_id = $1
        ORDER BY captured_at, visit_id
        """,
        participant_id,
    )
    return SealedParticipant(
        view=ParticipantWithVisits(**_shown(row), all_visits=[_visit(visit) for visit in visits]),
        details=(participant_id, row["sealed_by"], row["sealed"]),
        visits=[(participant_id, visit["sealed_by"], visit["sealed"]) for visit in visits],
    )


def _visit(row: Any) -> VisitWithNotes:
    conditions = None if row["conditions"] is None else from_json(row["conditions"])
    return VisitWithNotes(**{**dict(row), "conditions": conditions})
