"""What is asked of contacts."""

import asyncpg

from services.kit.rows import Connection


async def contact(connection: Connection, subject_id: str) -> asyncpg.Record | None:
    return await connection.fetchrow(
        """
        SELECT subject_id, version, area_code, opted_out, language, channels, changed_at, sealed, sealed_by
        FROM contact
        WHERE subject_id = $1
        """,
        subject_id,
    )
