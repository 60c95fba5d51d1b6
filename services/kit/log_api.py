"""The log over HTTP, for auditors and operators of the whole country: checkpoints, proofs, and the entries."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel
from pydantic_core import to_json

from contracts.envelope import proof_bytes, value_digest
from services.kit import merkle
from services.kit.auth import Principal, requires
from services.kit.log import LOG_COLUMNS, envelope_of
from services.kit.log_entries import entry_lines, leaf_pieces, sealed_size
from services.kit.refusal import FieldProblem, Refused
from services.kit.rows import Connection
from services.kit.transaction import Workplace

MAX_ENTRIES = 100_000
MAX_NOTES = 10_000
_INT8 = (1 << 63) - 1


async def _reader(
    request: Request, principal: Annotated[Principal, Depends(requires("auditor", "operator"))]
) -> Workplace:
    """The log cannot be cut by area without losing its proof: whoever reads it may see the whole country."""
    principal.must_cover("")
    workplace: Workplace = request.app.state.workplace
    return workplace


router = APIRouter(prefix="/log", tags=["log"])
Log = Annotated[Workplace, Depends(_reader)]
Number = Annotated[int, Query(ge=0, le=_INT8)]


class InclusionProof(BaseModel):
    """That an event stands in the log: `merkle.verify_inclusion` or any RFC 6962 client checks it."""

    sequence: int
    size: int
    leaf: str  # base64: the hash of the event as it stands in the log now
    path: list[str]
    root: str


class ConsistencyProof(BaseModel):
    """That the log of `second` events begins with the log of `first` events."""

    first: int
    second: int
    first_root: str
    second_root: str
    path: list[str]


@router.get("/checkpoint", response_class=PlainTextResponse)
async def newest_checkpoint(log: Log) -> str:
    """The newest signed checkpoint (C2SP tlog-checkpoint)."""
    note = await log.pool.fetchval("SELECT note FROM checkpoint ORDER BY tree_size DESC LIMIT 1")
    if note is None:
        raise Refused(
            "no-checkpoint",
            "This service has signed no checkpoint yet.",
            status=404,
            remedy="Wait a minute after the first events; the worker needs ENTAS_CHECKPOINT_KEY_FILE.",
        )
    return str(note)


@router.get("/checkpoints", response_class=Response)
async def checkpoints(
    log: Log, after: Number = 0, limit: Annotated[int, Query(ge=1, le=MAX_NOTES)] = 1000
) -> StreamingResponse:
    """The checkpoints of more than `after` events, one JSON string a line, the smallest first."""
    return _lines(_notes(log.pool, after, limit))


@router.get("/consistency")
async def consistency(log: Log, first: Number, second: Number) -> ConsistencyProof:
    """That the log only grew from `first` to `second` events."""
    async with log.pool.acquire(timeout=5) as connection:
        await _refuse_beyond(connection, "second", second)
        if first > second:
            raise _wrong("first", f"{first:,} is above `second`, {second:,}", "Swap them.")
        needed = merkle.tiles_for_consistency(first, second)
        tiles = await _tiles(connection, needed | merkle.tiles_for_root(first) | merkle.tiles_for_root(second))
    return ConsistencyProof(
        first=first,
        second=second,
        first_root=_text(merkle.root_at(first, tiles)),
        second_root=_text(merkle.root_at(second, tiles)),
        path=[_text(node) for node in merkle.consistency_proof(first, second, tiles)],
    )


@router.get("/entries", response_class=Response)
async def entries(
    log: Log, first: Number = 0, limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 1000
) -> StreamingResponse:
    """Sealed events as JSON lines, from the sequence `first`; `value` is the message's bytes in base64."""
    last = min(await sealed_size(log.pool), first + limit)
    return _lines(entry_lines(log.pool, f"/entas/{log.service}", first, last))


@router.get("/leaves", response_class=Response)
async def leaves(
    log: Log, first: Number = 0, limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 1000
) -> StreamingResponse:
    """The tree's leaf hashes from the sequence `first`, 32 bytes each: what names a changed event to the very one."""
    last = min(await sealed_size(log.pool), first + limit)
    return StreamingResponse(leaf_pieces(log.pool, first, last), media_type="application/octet-stream")


@router.get("/{sequence}/proof")
async def inclusion(
    log: Log,
    sequence: Annotated[int, Path(ge=0, le=_INT8)],
    size: Annotated[int | None, Query(ge=1, le=_INT8, description="Default: the newest checkpoint's")] = None,
) -> InclusionProof:
    """That the event of this sequence stands in the log of `size` events."""
    async with log.pool.acquire(timeout=5) as connection:
        if size is None:
            size = int(await connection.fetchval("SELECT max(tree_size) FROM checkpoint") or 0)
        await _refuse_beyond(connection, "size", size)
        if sequence >= size:
            raise _wrong("sequence", f"a log of {size:,} events ends before {sequence:,}", "Ask for a smaller one.")
        needed = merkle.tiles_for_inclusion(sequence, size) | merkle.tiles_for_root(size)
        tiles = await _tiles(connection, needed)
        leaf = await _leaf(connection, f"/entas/{log.service}", sequence)
    return InclusionProof(
        sequence=sequence,
        size=size,
        leaf=_text(leaf),
        path=[_text(node) for node in merkle.inclusion_proof(sequence, size, tiles)],
        root=_text(merkle.root_at(size, tiles)),
    )


async def _refuse_beyond(connection: Connection, name: str, size: int) -> None:
    sealed = await sealed_size(connection)
    if size > sealed:
        raise _wrong(name, f"the log has {sealed:,} sealed events, not {size:,}", "Ask for a smaller size.")


async def _leaf(connection: Connection, source: str, sequence: int) -> bytes:
    """Hashed anew from the row, so that a row that was changed does not hide behind the hash that was kept."""
    row = await connection.fetchrow(
        f"SELECT {LOG_COLUMNS} FROM seal s JOIN log l ON l.id = s.id WHERE s.sequence = $1", sequence
    )
    if row is None:
        raise Refused(
            "event-missing",
            f"The event of sequence {sequence:,} was sealed and is not in the log any more.",
            status=409,
            remedy="Tell the operator: this is never so unless somebody deleted it.",
        )
    return merkle.leaf_hash(proof_bytes(envelope_of(source, row), sequence, value_digest(row["value"])))


async def _tiles(connection: Connection, tiles: Iterable[merkle.Tile]) -> dict[merkle.Tile, bytes]:
    wanted = sorted(tiles)
    rows = await connection.fetch(
        """
        SELECT t.level, t.number, t.hashes
        FROM tile t
        JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, number) USING (level, number)
        """,
        [level for level, _ in wanted],
        [number for _, number in wanted],
    )
    return {(row["level"], row["number"]): row["hashes"] for row in rows}


async def _notes(pool: Any, after: int, limit: int) -> AsyncIterator[bytes]:
    while limit > 0:
        rows = await pool.fetch(
            "SELECT tree_size, note FROM checkpoint WHERE tree_size > $1 ORDER BY tree_size LIMIT $2",
            after,
            min(limit, 500),
        )
        if not rows:
            return
        yield b"".join(to_json(row["note"]) + b"\n" for row in rows)
        after, limit = rows[-1]["tree_size"], limit - len(rows)


def _lines(pieces: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(pieces, media_type="application/x-ndjson")


def _wrong(name: str, what: str, remedy: str) -> Refused:
    place = f"{'path' if name == 'sequence' else 'query'}.{name}"
    fields = [FieldProblem(place, what, remedy)]
    return Refused("invalid-request", f"`{name}` does not fit: {what}.", status=422, fields=fields)


def _text(node: bytes) -> str:
    return b64encode(node).decode()
