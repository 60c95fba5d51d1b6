"""What is asked of rules."""

import asyncpg

from services.kit.rows import Connection
from services.kit.transaction import Transaction
from services.outcomes.rules.state import RULES, Rule


async def rules(connection: Connection) -> list[asyncpg.Record]:
    return await connection.fetch(
        """
        SELECT rule_id, version, rule_version, kind, definition, source, adopted_at, earlier
        FROM rule
        ORDER BY rule_id
        """
    )


async def rule_of(tx: Transaction, kind: str) -> Rule | None:
    """The rule in force, not locked: what is decided at this moment is decided by what is in force at this moment."""
    await tx.working_set.load(tx.connection, RULES, [(kind,)], lock=False)
    return tx.working_set.get(RULES, kind)
