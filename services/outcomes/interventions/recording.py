"""Owns what follows in the transaction that decides whom an intervention was for, whoever decides it."""

from collections.abc import Sequence

from contracts.outcomes import InterventionId
from services.kit.transaction import Transaction
from services.outcomes.cases.state import CASES
from services.outcomes.interventions.decisions import record
from services.outcomes.interventions.queries import load_recorded, note_to_forget, pass_the_gate, waiting_of
from services.outcomes.interventions.state import INTERVENTIONS, Intervention, InterventionStatus


async def conclude(tx: Transaction, intervention_ids: Sequence[InterventionId]) -> None:
    """Puts those that are matched on their cases, and notes the numbers that are needed no longer.

    A constant number of queries. Call it once, after the decisions about these interventions were taken.
    """
    rows = await tx.rows(INTERVENTIONS, [(id_,) for id_ in intervention_ids])
    matched = [row for row in rows if row is not None and row.status is InterventionStatus.MATCHED]
    dismissed = [row for row in rows if row is not None and row.status is InterventionStatus.DISMISSED]
    decided = [row.intervention_id for row in (*matched, *dismissed)]
    if matched:
        await _put_on_cases(tx, matched)
    if decided:
        tx.before_log(lambda connection: note_to_forget(connection, decided))


async def _put_on_cases(tx: Transaction, matched: Sequence[Intervention]) -> None:
    await pass_the_gate(tx.connection)
    people = sorted({one.participant_id for one in matched if one.participant_id is not None})
    found = await tx.rows(CASES, [(person,) for person in people])
    await load_recorded(tx.connection, tx.working_set, matched)
    waiting = waiting_of(tx.working_set, matched, people)
    recorded = [record(case, waiting[person]) for person, case in zip(people, found, strict=True)]
    await tx.decide([event for events in recorded for event in events])
