"""What decides about cases, and what is asked of them."""

from collections.abc import Sequence
from datetime import date, datetime

import asyncpg

from contracts.registry import HouseholdFact, HouseholdListed, ParticipantFact, ParticipantVerified
from contracts.training import CohortCompleted
from services.kit.rows import Connection, Rows
from services.kit.transaction import Transaction
from services.outcomes.cases.state import CASES, CaseStatus, Standing
from services.outcomes.classes.state import PLACEMENTS
from services.outcomes.follow_ups.state import FOLLOW_UPS
from services.outcomes.interventions.decisions import Waiting
from services.outcomes.interventions.queries import load_waiting_for
from services.outcomes.people.state import HOMES, PERSONS

# --- For reactions ----------------------------------------------------------------------------------------------------
# Each loads for all its facts of a batch what any of them may ask for at its step, when earlier facts of the same batch
# are folded, of other topics too: who was verified, which household was listed, which case was opened just before.


async def load_completed(connection: Connection, rows: Rows, facts: Sequence[CohortCompleted]) -> dict[str, Waiting]:
    """Who completed, their households, lists and cases, and what waits for a case; a constant number of queries."""
    people = sorted({person for fact in facts for person in fact.completed})
    await rows.load(connection, PERSONS, [(person,) for person in people])
    await rows.load(connection, HOMES, _homes_of(rows, people))
    await rows.load(connection, PLACEMENTS, [(fact.cohort_id, person) for fact in facts for person in fact.completed])
    waiting = await load_waiting_for(connection, rows, people)
    await rows.load(connection, CASES, [(person,) for person in people])
    await rows.load_streams(connection, FOLLOW_UPS, people)
    return waiting


async def load_cases_of_people(connection: Connection, rows: Rows, facts: Sequence[ParticipantFact]) -> None:
    """The cases of these people, and the households that a baseline would tell of."""
    people = sorted({fact.participant_id for fact in facts})
    verified = {(fact.household_id,) for fact in facts if isinstance(fact, ParticipantVerified)}
    await rows.load(connection, HOMES, [*verified, *_homes_of(rows, people)])
    await _load_cases(connection, rows, people)


async def load_cases_of_households(connection: Connection, rows: Rows, facts: Sequence[HouseholdFact]) -> None:
    """The cases that a batch of household facts concerns: one query, and one more for each table if there are any."""
    members: set[str] = set()
    for fact in facts:
        if isinstance(fact, HouseholdListed):
            members.update(member.person_id for member in fact.members)
        home = rows.get(HOMES, fact.household_id)
        if home is not None:
            members.update(home.members)
    await _load_cases(connection, rows, sorted(members))
    concerned = [person for person in members if rows.get(CASES, person) is not None]
    # Not locked: whoever changes one of these people waits for the household's row, and finds this decision.
    await rows.load(connection, PERSONS, [(person,) for person in sorted(concerned)], lock=False)


async def _load_cases(connection: Connection, rows: Rows, people: Sequence[str]) -> None:
    await rows.load(connection, CASES, [(person,) for person in people])
    # Closing a case touches all its follow-ups.
    concerned = [person for person in people if rows.get(CASES, person) is not None]
    await rows.load_streams(connection, FOLLOW_UPS, concerned)


def _homes_of(rows: Rows, people: Sequence[str]) -> list[tuple[str]]:
    found = [rows.get(PERSONS, person) for person in people]
    return [(person.household_id,) for person in found if person is not None]


# --- What two workers could overlook of one another -------------------------------------------------------------------
# Where a row exists, whoever changes it and whoever decides on it wait for one another. A person or a household whose
# first fact is being taken in while the case is being opened has no row yet that could be waited for.

OVERLOOKED = """
    SELECT c.case_id, c.completed_at
    FROM case_file c
    JOIN person p ON p.participant_id = c.case_id
    WHERE c.status = 'open'
      AND p.status IN ('rejected', 'erased')
    UNION
    SELECT c.case_id, c.completed_at
    FROM case_file c
    JOIN person p ON p.participant_id = c.case_id
    JOIN home h ON h.household_id = p.household_id
    WHERE c.baseline IS NULL
      AND p.verified_since <= c.completed_at
      AND h.listed_since <= c.completed_at
"""


async def overlooked(connection: Connection, limit: int) -> list[str]:
    """Cases that what is known by now would have closed, or given a baseline; locked, if nobody else has them."""
    records = await connection.fetch(
        f"""
        SELECT case_id
        FROM case_file
        WHERE case_id IN (SELECT case_id FROM ({OVERLOOKED}) AS overlooked)
        ORDER BY case_id
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        """,
        limit,
    )
    return [record["case_id"] for record in records]


async def first_overlooked(connection: Connection) -> datetime | None:
    """Since when there are such cases; None if there are none."""
    since: datetime | None = await connection.fetchval(f"SELECT min(completed_at) FROM ({OVERLOOKED}) AS overlooked")
    return since


async def load_people_of(tx: Transaction, case_ids: Sequence[str]) -> None:
    """The people of these cases and their households, as they stand: not locked, since cases are locked after them."""
    await tx.working_set.load(tx.connection, PERSONS, [(id_,) for id_ in case_ids], lock=False)
    await tx.working_set.load(tx.connection, HOMES, _homes_of(tx.working_set, case_ids), lock=False)


# --- Reads ------------------------------------------------------------------------------------------------------------


async def cases(
    connection: Connection,
    codes: tuple[str, str],
    *,
    status: CaseStatus | None,
    standing: Standing | None,
    cohort_id: str | None,
    after: tuple[date, str] | None,
    limit: int,
) -> list[asyncpg.Record]:
    """A page of cases by the area where the participants lived, in the order in which they completed."""
    low, high = codes
    completed_on, case_id = after or (date.min, "")
    return await connection.fetch(
        """
        SELECT *
        FROM case_file
        WHERE area_code >= $1
          AND area_code < $2
          AND ($3::text IS NULL OR status = $3)
          AND ($4::text IS NULL OR standing = $4)
          AND ($5::text IS NULL OR cohort_id = $5)
          AND (completed_on, case_id) > ($6, $7)
        ORDER BY completed_on, case_id
        LIMIT $8
        """,
        low,
        high,
        status,
        standing,
        cohort_id,
        completed_on,
        case_id,
        limit,
    )


async def case(connection: Connection, case_id: str) -> asyncpg.Record | None:
    return await connection.fetchrow("SELECT * FROM case_file WHERE case_id = $1", case_id)


async def interventions_of(connection: Connection, case_id: str) -> list[asyncpg.Record]:
    return await connection.fetch(
        """
        SELECT intervention_id, kind, system, given_on, amount_rupiah, scheme, cooperative_number, recorded_at
        FROM case_intervention
        WHERE case_id = $1
        ORDER BY given_on, intervention_id
        """,
        case_id,
    )


async def business_units_of(connection: Connection, case_id: str) -> list[asyncpg.Record]:
    return await connection.fetch(
        "SELECT * FROM business_unit WHERE case_id = $1 ORDER BY planned_on, unit_id", case_id
    )


async def person_of(connection: Connection, case_id: str) -> asyncpg.Record | None:
    """What is sealed of a case's participant."""
    return await connection.fetchrow("SELECT sealed, sealed_by FROM person WHERE participant_id = $1", case_id)
