"""Owns the way of a list file in: streamed, read in a thread, staged, checked as a whole, and kept or forgotten."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio.from_thread
import anyio.to_thread
from starlette.requests import ClientDisconnect

from contracts.p3ke import Severity, UnreadableList
from contracts.registry import SnapshotId
from services.kit.database import session
from services.kit.keys import new_key, wrap
from services.kit.outages import OUTAGES
from services.kit.paging import Paging
from services.kit.refusal import FieldProblem, Refused, Unavailable
from services.kit.rows import Connection
from services.kit.settings import Settings
from services.kit.transaction import Workplace, new_id
from services.registry.snapshots import gathering, queries
from services.registry.snapshots.decisions import ListOffered, ListRead
from services.registry.snapshots.queries import ProblemView
from services.registry.snapshots.reading import Reading, ReceivedFile, RowProblem, row_problem
from services.registry.snapshots.staging import Digests, RowSeal
from services.registry.snapshots.state import common_area

FIRST_PROBLEMS = 100
UPLOADS_AT_ONCE = 2
"""In one process: each holds a database connection and a thread for as long as its sender takes."""

STALLED_SECONDS = 60.0
"""Without a byte. A sender who has gone silent must not keep others from sending."""

_uploads = 0


@dataclass(slots=True)
class Incoming:
    """A list that was read to its end and is staged. What is not kept is forgotten."""

    number: int
    snapshot_id: SnapshotId
    read: ListRead
    problem_counts: list[tuple[str, Severity, int]]
    first_problems: list[ProblemView]
    kept: bool = False

    async def keep(self, connection: Connection) -> None:
        """To be called in the transaction that receives the snapshot: it waits to be applied from then on."""
        await queries.enqueue(connection, self.number)
        self.kept = True


@asynccontextmanager
async def incoming(
    workplace: Workplace, settings: Settings, offered: ListOffered, body: AsyncIterator[bytes]
) -> AsyncGenerator[Incoming]:
    """Stages a list while it streams in. Raises `Refused` for a file that is no list.

    Whatever ends the block before `keep` was called leaves nothing behind; if the process dies, `sweep` clears up.
    """
    async with _one_of_few(), session(workplace.pool) as connection:
        snapshot_id, key = new_id(), new_key()
        wrapped = wrap(settings.master_key(), snapshot_id, key)
        area_code = common_area(offered.areas)
        number = await gathering.begin_import(connection, snapshot_id, area_code, wrapped)
        digests = Digests(settings.search_pepper(), offered.source)
        kept = False
        try:
            digest, rows = await _stage(connection, number, offered, digests, RowSeal(key, snapshot_id), body)
            async with connection.transaction():
                households, people = await gathering.gather(connection, number, area_code)
            first = (await queries.problem_page(connection, number, Paging(FIRST_PROBLEMS))).items
            counts = await queries.problem_counts(connection, number)
            read = ListRead(digest, rows, rows - people, households, people, tuple(map(_as_field, first)))
            arrived = Incoming(number, snapshot_id, read, counts, first)
            yield arrived
            kept = arrived.kept
        finally:
            if not kept:
                with suppress(*OUTAGES):  # The database is away: `sweep` will find an upload that nobody holds.
                    await gathering.forget_import(connection, number)


async def sweep(workplace: Workplace) -> None:
    """Forgets uploads that broke off, such as those of a process that was killed."""
    async with workplace.pool.acquire() as connection, connection.transaction():
        for number in await gathering.abandoned_imports(connection):
            await gathering.forget_import(connection, number)


@asynccontextmanager
async def _one_of_few() -> AsyncGenerator[None]:
    global _uploads
    if _uploads >= UPLOADS_AT_ONCE:
        raise Unavailable("uploads-busy", f"{_uploads} lists are coming in already.", retry_after_seconds=10)
    _uploads += 1
    try:
        yield
    finally:
        _uploads -= 1


async def _stage(
    connection: Connection,
    number: int,
    offered: ListOffered,
    digests: Digests,
    seal: RowSeal,
    body: AsyncIterator[bytes],
) -> tuple[str, int]:
    """The file's digest and how many rows it has. A batch is read in a thread while the one before it is staged."""

    async def more() -> bytes:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                return await anext(body, b"")
        except TimeoutError:
            raise Refused("stalled", "Nothing came for a minute; nothing was changed.", status=408) from None
        except ClientDisconnect:
            raise Refused("broken-off", "The sender went away before the file's end; nothing was changed.") from None

    file = ReceivedFile(lambda: anyio.from_thread.run(more))
    try:
        reading = await anyio.to_thread.run_sync(Reading, file, offered, digests, seal)
    except UnreadableList as unreadable:
        raise _no_list(unreadable) from None
    area_code = common_area(offered.areas)
    batch = await anyio.to_thread.run_sync(reading.next_batch)
    while batch is not None:
        staging = asyncio.ensure_future(gathering.stage(connection, number, area_code, batch))
        try:
            batch = await anyio.to_thread.run_sync(reading.next_batch)
        finally:
            await staging  # Whatever comes next needs the connection for itself.
    return file.digest, reading.rows


def _no_list(unreadable: UnreadableList) -> Refused:
    fields = [_as_field(row_problem(1, problem)) for problem in unreadable.problems]
    return Refused(
        "unreadable-list",
        "The file cannot be read as a list; nothing was changed.",
        status=422,
        fields=fields,
        remedy="Send a CSV file in UTF-8, with commas, whose first row holds the column names.",
    )


def _as_field(problem: RowProblem | ProblemView) -> FieldProblem:
    place = f"body.{problem.row}.{problem.column}" if problem.column else f"body.{problem.row}"
    return FieldProblem(place, problem.reason, problem.remedy)
