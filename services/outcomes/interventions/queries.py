"""Owns what is read of interventions, and which numbers are still to be forgotten."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import asyncpg

from contracts.outcomes import InterventionId, InterventionKind
from contracts.registry import PersonId
from services.kit.rows import Connection, Rows
from services.outcomes.cooperatives.state import COOPERATIVE_MEMBERS, COOPERATIVES
from services.outcomes.interventions.decisions import Waiting
from services.outcomes.interventions.state import (
    CASE_INTERVENTIONS,
    INTERVENTIONS,
    Intervention,
    InterventionStatus,
)

# --- Matching ---------------------------------------------------------------------------------------------------------


async def reported(connection: Connection, most: int) -> list[InterventionId]:
    """Interventions whose numbers nobody has looked up, the oldest first, locked; another worker takes others."""
    rows = await connection.fetch(
        """
        SELECT intervention_id
        FROM intervention
        WHERE status = 'reported'
        ORDER BY reported_at, intervention_id
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        """,
        most,
    )
    return [row["intervention_id"] for row in rows]


async def pass_the_gate(connection: Connection) -> None:
    """Lets matching and opening cases pass one after the other, until the transaction ends.

    Neither has a row yet that the other could lock: without this, an intervention that is matched while its case is
    opened would see no case, and the case would see no intervention. Read cases and interventions after it.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('outcomes: interventions and cases', 0))")


# --- Waiting for a case -----------------------------------------------------------------------------------------------


async def load_waiting_for(
    connection: Connection, rows: Rows, participant_ids: Collection[PersonId]
) -> dict[PersonId, Waiting]:
    """What waits for the cases of these participants, with all rows that recording it touches. One query and a gate;
    up to four more where something waits.

    For whoever opens cases: give each one's to `record_waiting` in the transaction that opens the case.
    """
    await pass_the_gate(connection)
    ids = await _waiting(connection, participant_ids)
    # Nobody changes what is matched, so there is nothing to lock.
    await rows.load(connection, INTERVENTIONS, [(id_,) for id_ in ids], lock=False)
    matched = [row for id_ in ids if (row := rows.get(INTERVENTIONS, id_)) is not None]
    await load_recorded(connection, rows, matched)
    return waiting_of(rows, matched, participant_ids)


async def load_recorded(connection: Connection, rows: Rows, matched: Sequence[Intervention]) -> None:
    """Loads what recording these matched interventions touches, but for the cases; one query a table."""
    await rows.load(
        connection,
        CASE_INTERVENTIONS,
        [(one.participant_id, one.intervention_id) for one in matched if one.participant_id is not None],
    )
    members = [
        (one.cooperative_number, one.participant_id)
        for one in matched
        if one.cooperative_number is not None and one.participant_id is not None
    ]
    await rows.load(connection, COOPERATIVES, [(number,) for number, _ in members])
    await rows.load(connection, COOPERATIVE_MEMBERS, members)


def waiting_of(
    rows: Rows, matched: Iterable[Intervention], participant_ids: Iterable[PersonId]
) -> dict[PersonId, Waiting]:
    """By participant, what of these matched interventions stands on no case yet, after `load_recorded` loaded it."""
    interventions: dict[PersonId, list[Intervention]] = {person: [] for person in participant_ids}
    memberships: dict[PersonId, set[str]] = {person: set() for person in interventions}
    for one in matched:
        person, number = one.participant_id, one.cooperative_number
        assert person is not None, "it was matched to somebody"
        if rows.get(CASE_INTERVENTIONS, person, one.intervention_id) is None:
            interventions[person].append(one)
        if number is not None and rows.get(COOPERATIVE_MEMBERS, number, person) is not None:
            memberships[person].add(number)
    return {
        person: Waiting(tuple(waiting), frozenset(memberships[person])) for person, waiting in interventions.items()
    }


async def _waiting(connection: Connection, participant_ids: Collection[PersonId]) -> list[InterventionId]:
    rows = await connection.fetch(
        """
        SELECT i.intervention_id
        FROM intervention i
        WHERE i.participant_id = ANY($1::text[])
          AND i.status = 'matched'
          AND NOT EXISTS (
              SELECT
              FROM case_intervention c
              WHERE c.case_id = i.participant_id
                AND c.intervention_id = i.intervention_id
          )
        """,
        sorted(participant_ids),
    )
    return [row["intervention_id"] for row in rows]


# --- Forgetting -------------------------------------------------------------------------------------------------------


async def note_to_forget(connection: Connection, intervention_ids: Collection[InterventionId]) -> None:
    """Notes, in the transaction that decides about interventions, that their numbers are needed no longer."""
    await connection.execute(
        """
        INSERT INTO number_to_forget (intervention_id)
        SELECT unnest($1::text[])
        ON CONFLICT DO NOTHING
        """,
        sorted(intervention_ids),
    )


async def numbers_to_forget(connection: Connection, most: int) -> list[InterventionId]:
    """Decided interventions whose key may still exist, locked; another worker takes others."""
    rows = await connection.fetch(
        """
        SELECT intervention_id
        FROM number_to_forget
        ORDER BY intervention_id
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        """,
        most,
    )
    return [row["intervention_id"] for row in rows]


async def note_forgotten(connection: Connection, intervention_ids: Collection[InterventionId]) -> None:
    """Their keys are destroyed."""
    await connection.execute(
        "DELETE FROM number_to_forget WHERE intervention_id = ANY($1::text[])", list(intervention_ids)
    )


# --- Reading ----------------------------------------------------------------------------------------------------------


async def interventions(
    connection: Connection,
    after: tuple[datetime, str] | None,
    fetch: int,
    *,
    status: InterventionStatus | None,
    kind: InterventionKind | None,
    participant_id: PersonId | None,
) -> list[asyncpg.Record]:
    """What was reported, the oldest first."""
    at, id_ = after or (None, "")
    return await connection.fetch(
        """
        SELECT *
        FROM intervention
        WHERE ($1::timestamptz IS NULL OR (reported_at, intervention_id) > ($1, $2))
          AND ($3::text IS NULL OR status = $3)
          AND ($4::text IS NULL OR kind = $4)
          AND ($5::text IS NULL OR participant_id = $5)
        ORDER BY reported_at, intervention_id
        LIMIT $6
        """,
        at,
        id_,
        status,
        kind,
        participant_id,
        fetch,
    )


async def intervention(connection: Connection, intervention_id: InterventionId) -> asyncpg.Record | None:
    return await connection.fetchrow("SELECT * FROM intervention WHERE intervention_id = $1", intervention_id)
