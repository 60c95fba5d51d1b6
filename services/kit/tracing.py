"""What an auditor asks of one service's log: the events that mention an id, and what is sealed in some of them."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from contracts.envelope import NOTHING_BEFORE
from services.kit.auth import Principal, requires
from services.kit.keys import open_sealed
from services.kit.log import LOG_COLUMNS
from services.kit.log_entries import entry_of
from services.kit.logs import correlation_id
from services.kit.transaction import Workplace, log_look

router = APIRouter(tags=["log"])

MOST_IDS = 500
_AT_ONCE = 500

Id = Annotated[str, Field(min_length=1, max_length=128)]


@router.get("/log/mentions", response_class=StreamingResponse)
async def list_mentions(
    request: Request,
    principal: Annotated[Principal, Depends(requires("auditor"))],
    id_: Annotated[list[Id], Query(alias="id", min_length=1, max_length=MOST_IDS)],
) -> StreamingResponse:
    """Every sealed event of this log that is of one of these streams, has one of these ids, or names one in its value;
    one JSON object a line, in the order of sequences. Reads the whole log: it is for an auditor's question, not for a
    page. What is personal stays sealed."""
    workplace: Workplace = request.app.state.workplace
    principal.must_cover("")
    return StreamingResponse(_mentions(workplace, id_), media_type="application/x-ndjson")


async def _mentions(workplace: Workplace, ids: Sequence[str]) -> AsyncIterator[bytes]:
    async with workplace.pool.acquire() as connection, connection.transaction(readonly=True):
        rows = connection.cursor(
            f"""
            SELECT s.sequence, l.area_code, {LOG_COLUMNS}
            FROM log l
            JOIN seal s ON s.id = l.id
            WHERE l.stream = ANY($1::text[])
            OR l.event_id = ANY($1::text[])
            OR EXISTS (SELECT 1 FROM unnest($2::bytea[]) AS named WHERE position(named IN l.value) > 0)
            ORDER BY s.sequence
            """,
            list(ids),
            [to_json(id_) for id_ in ids],
            prefetch=_AT_ONCE,
        )
        async for row in rows:
            yield _line(workplace.service, row)


def _line(service: str, row: Any) -> bytes:
    """An entry, without what came before it in its partition: between these lines there are others."""
    entry = entry_of(f"/entas/{service}", row, NOTHING_BEFORE)
    del entry["previous_sequence"]
    return to_json(entry) + b"\n"


class OpenEvents(BaseModel):
    """Which events to open, by their sequences, and what for: it is kept, and shown to the persons."""

    model_config = ConfigDict(extra="forbid")

    sequences: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=_AT_ONCE)]
    purpose: Annotated[str, Field(min_length=3, max_length=200, pattern=r"^([^0-9]+[0-9]{0,6})+$")]


class Opened(BaseModel):
    """What an event says of its subjects; None for one whose key was destroyed."""

    sequence: int
    personal: dict[str, dict[str, Any] | None]


@router.post("/log/open")
async def open_events(
    command: OpenEvents, request: Request, principal: Annotated[Principal, Depends(requires("auditor"))]
) -> list[Opened]:
    """Opens what is sealed in events. Each look is in the read log, by person, before the answer leaves."""
    workplace: Workplace = request.app.state.workplace
    async with workplace.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            """
            SELECT s.sequence, l.event_id, l.area_code, l.value
            FROM seal s
            JOIN log l ON l.id = s.id
            WHERE s.sequence = ANY($1::bigint[])
            ORDER BY s.sequence
            """,
            command.sequences,
        )
        for row in rows:
            principal.must_cover(row["area_code"])
        sealed = {row["sequence"]: from_json(row["value"]).get("personal", {}) for row in rows}
        subjects = sorted({subject for each in sealed.values() for subject in each})
        keys = await workplace.keyring.to_open(connection, subjects, command.purpose)
        await log_look(connection, subjects, principal.subject, command.purpose, ["event"], correlation_id() or "")
    return [
        Opened(sequence=row["sequence"], personal=_open(sealed[row["sequence"]], row["event_id"], keys)) for row in rows
    ]


def _open(sealed: dict[str, str], event_id: str, keys: dict[str, bytes]) -> dict[str, dict[str, Any] | None]:
    return {
        subject: from_json(open_sealed(keys[subject], text, event_id, subject)) if subject in keys else None
        for subject, text in sealed.items()
    }
