"""What is asked of rules. They are few: whoever decides by them loads them all."""

from collections.abc import Collection

from services.kit.rows import Connection, statements
from services.notifications.rules.state import RULES, Rule

_ALL = f"SELECT {', '.join(RULES.columns)} FROM rule ORDER BY rule_id"


async def every_rule(connection: Connection) -> list[Rule]:
    return statements(RULES).rows(await connection.fetch(_ALL))


async def rules_about(connection: Connection, facts: Collection[str]) -> list[Rule]:
    """The rules that tell of these facts, switched off or not."""
    return [rule for rule in await every_rule(connection) if rule.fact in facts]


async def rules_using(connection: Connection, template_id: str) -> list[Rule]:
    """The rules whose version in force uses this template and is active."""
    return [
        rule
        for rule in await every_rule(connection)
        if rule.in_force.active and rule.in_force.template_id == template_id
    ]


async def hold_templates(connection: Connection) -> None:
    """Until the transaction ends nobody else adopts a rule or a template: the two have to fit each other."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('notifications.rules-and-templates', 0))")
