"""What is asked of rules."""

import asyncpg

from services.kit.rows import Connection


async def rules(connection: Connection) -> list[asyncpg.Record]:
    return await connection.fetch(
        """
        SELECT rule_id, version, rule_version, kind, definition, source, adopted_at, earlier
        FROM rule
        ORDER BY rule_id
        """
    )
