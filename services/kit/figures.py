"""What a service's log and tables hold, in numbers alone: for operators, auditors and the demo's summary."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from services.kit.auth import Principal, requires
from services.kit.transaction import Workplace

router = APIRouter(tags=["log"])


class LogFigures(BaseModel):
    """Counts as of one snapshot of the database."""

    service: str
    events: dict[str, int]  # by topic
    sealed: int  # events that have a sequence
    batches: int
    root: str | None  # the Merkle tree's root over the sealed events, hex
    tables: dict[str, int]  # rows of each folded table
    listens_to: dict[str, int]  # by foreign topic: the sum of offsets read


@router.get("/log/figures")
async def log_figures(
    request: Request, principal: Annotated[Principal, Depends(requires("operator", "auditor"))]
) -> LogFigures:
    """How many events the log holds by topic, how many are sealed, and how many rows each table has."""
    workplace: Workplace = request.app.state.workplace
    async with (
        workplace.pool.acquire(timeout=5) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        events = await connection.fetch("SELECT topic, count(*) AS events FROM log GROUP BY topic ORDER BY topic")
        last = await connection.fetchrow(
            "SELECT batch_no, first_sequence + size AS sealed, root FROM sealed_batch ORDER BY batch_no DESC LIMIT 1"
        )
        read = await connection.fetch(
            "SELECT topic, sum(next_offset)::bigint AS records FROM cursor GROUP BY topic ORDER BY topic"
        )
        return LogFigures(
            service=workplace.service,
            events={row["topic"]: row["events"] for row in events},
            sealed=last["sealed"] if last else 0,
            batches=last["batch_no"] if last else 0,
            root=last["root"].hex() if last else None,
            tables={table.name: await _rows_in(connection, table.name) for table in workplace.tables},
            listens_to={row["topic"]: row["records"] for row in read},
        )


async def _rows_in(connection: Any, table: str) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
