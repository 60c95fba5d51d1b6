"""Owns what is read of the rules."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from services.kit.rows import Connection
from services.kit.transaction import Transaction
from services.registry.rules.state import RULES, Rule


class RuleVersionView(BaseModel):
    rule_version: int
    definition: dict[str, Any]
    source: str
    adopted_at: datetime


class RuleView(RuleVersionView):
    """The rule of its kind that is in force, and the versions before it, oldest first."""

    rule_id: str
    kind: str
    version: int
    earlier: list[RuleVersionView]


async def rule_in_force(tx: Transaction, kind: str) -> Rule | None:
    """The kind's rule as a decision reads it. Not locked: who verifies does not wait for who else verifies.

    A version that is adopted meanwhile reaches the participant too: a timer prioritises anew whoever has an older one.
    """
    await tx.working_set.load(tx.connection, RULES, [(kind,)], lock=False)
    return tx.working_set.get(RULES, kind)


async def rules(connection: Connection) -> list[RuleView]:
    rows = await connection.fetch(
        """
        SELECT rule_id, kind, version, rule_version, definition, source, adopted_at, earlier
        FROM rule
        ORDER BY rule_id
        """
    )
    return [
        RuleView(**{**dict(row), "definition": from_json(row["definition"]), "earlier": from_json(row["earlier"])})
        for row in rows
    ]
