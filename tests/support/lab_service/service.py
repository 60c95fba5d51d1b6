"""The only wiring: the lab's tables, routes, reactions to its partner, and a timer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from contracts.envelope import Event
from services.kit.reactions import Reactions, Step
from services.kit.refusal import FieldProblem, Refused
from services.kit.rows import Connection, Rows
from services.kit.service import Service, local_keys
from services.kit.timers import Timers
from services.kit.transaction import Transaction
from tests.support.lab import MIGRATIONS, Lab
from tests.support.lab_service.api import router_of

TOO_MUCH = 1_000_000
DUE_AT_ONCE = 3


def service_of(lab: Lab) -> Service:
    return Service(
        name=lab.service,
        summary="Counts, for tests of the kit.",
        tables=lab.own_tables,
        router=router_of(lab),
        migrations=MIGRATIONS,
        reactions=reactions_of(lab),
        partners=(lab.partner,),
        timers=timers_of(lab),
        keyring=local_keys,
    )


def reactions_of(lab: Lab) -> Reactions:
    """A partner's report is counted, unless it is too much to be true."""
    reactions = Reactions()

    async def load_counters(connection: Connection, rows: Rows, events: Sequence[Any]) -> None:
        await rows.load(connection, lab.counters, [(event.counter_id,) for event in events])

    @reactions.on(lab.Reported, loads=load_counters)
    def count_what_a_partner_reported(step: Step[Any, None]) -> list[Event]:
        if step.event.amount > TOO_MUCH:
            problem = FieldProblem("amount", "is more than there can be", "Report what was counted.")
            raise Refused("too-much", "That is too much.", fields=[problem])
        return [lab.Counted(counter_id=step.event.counter_id, amount=step.event.amount, part="partner")]  # type: ignore[call-arg]

    return reactions


def timers_of(lab: Lab) -> Timers:
    """Each reminder that is due counts one, once."""
    timers = Timers()

    async def next_reminder(connection: Connection) -> datetime | None:
        due: datetime | None = await connection.fetchval("SELECT min(due_at) FROM reminder WHERE done_by IS NULL")
        return due

    @timers.every(seconds=0.05, next_due=next_reminder)
    async def count_reminders(tx: Transaction) -> int:
        due = await tx.connection.fetch(
            """
            UPDATE reminder
            SET done_by = $3
            WHERE reminder_id IN (
                SELECT reminder_id
                FROM reminder
                WHERE done_by IS NULL AND due_at <= $1
                ORDER BY reminder_id
                LIMIT $2
                FOR UPDATE SKIP LOCKED
            )
            RETURNING counter_id
            """,
            tx.now,
            DUE_AT_ONCE,
            tx.principal.subject,
        )
        await tx.decide([lab.Counted(counter_id=row["counter_id"], amount=1, part="due") for row in due])  # type: ignore[call-arg]
        return len(due)

    return timers
