"""HTTP for targeting lists: sending one in, seeing how far it is applied, and what was wrong in which row."""

import csv
import hashlib
import io
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, Field

from contracts.p3ke import Severity
from services.kit.http import CommandTransaction, Reads, Work, reads_as, works_as
from services.kit.paging import MAX_LIMIT, Page, Paging
from services.kit.refusal import FieldProblem, Refused
from services.registry.api.parameters import Id, Pages, unknown
from services.registry.snapshots import decisions, imports, queries
from services.registry.snapshots.decisions import ListOffered
from services.registry.snapshots.imports import Incoming
from services.registry.snapshots.queries import ProblemView, SnapshotView
from services.registry.snapshots.state import SNAPSHOTS, Snapshot

router = APIRouter(tags=["snapshots"])

_WHO_SEE_LISTS = ("officer", "district", "auditor", "operator", "partner:bappeda")

Source = Annotated[str, Query(pattern=r"^[A-Z][A-Z0-9_-]{1,19}$", description="Who keeps the list: P3KE, DTSEN")]
Dated = Annotated[date, Query(description="The date that the list itself bears")]
Areas = Annotated[list[str], Query(description="The areas that the list is complete for, such as 52 or 52.01")]
DryRun = Annotated[bool, Query(description="Reads and checks the whole file, and keeps nothing")]


def _names_nobody(file_name: str) -> str:
    """A file name stands on the log in the clear for ever."""
    if _PERSONS_NUMBER.search(file_name):
        raise ValueError("a file name must not hold the number of a person")
    return file_name


_PERSONS_NUMBER = re.compile("[0-9]{12}")
FileName = Annotated[str, Query(pattern=r"^[\w .()+-]{1,120}$"), AfterValidator(_names_nobody)]


class ProblemCount(BaseModel):
    code: str
    severity: Severity
    times: int


class ReceivedList(BaseModel):
    """What was found in a list."""

    snapshot: SnapshotView | None = Field(description="None after a dry run")
    dry_run: bool
    received_before: bool = Field(description="This very file came in already: nothing was done")
    file_digest: str
    rows: int
    rows_rejected: int
    households: int
    people: int
    problem_counts: list[ProblemCount]
    problems: list[ProblemView] = Field(description=f"The first {imports.FIRST_PROBLEMS}")
    all_problems: str | None = Field(description="Where to fetch all of them; none are kept after a dry run")


@router.post(
    "/snapshots",
    status_code=201,
    response_model=ReceivedList,
    responses={200: {"model": ReceivedList, "description": "A dry run, or the very same file again"}},
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def receive_list(
    request: Request,
    work: Annotated[Work, Depends(works_as("officer", "partner:bappeda", streamed=True))],
    source: Source,
    dated: Dated,
    areas: Areas,
    dry_run: DryRun = False,
    file_name: FileName = "list.csv",
) -> Response:
    """Takes in a P3KE-like CSV of any size: one row per person, UTF-8, commas. A worker applies it afterwards.

    Rows that cannot be taken are reported with row, column, reason and remedy, and the others are taken.
    """
    _refuse_other_than_csv(request)
    offered = ListOffered(source, dated, decisions.declared_areas(areas), file_name)
    for area in offered.areas:
        work.principal.must_cover(area)
    await _refuse_early(work, offered)
    await imports.sweep(work.workplace)
    async with imports.incoming(work.workplace, request.app.state.settings, offered, request.stream()) as arrived:
        # The body is part of what an Idempotency-Key stands for; only now is it known.
        work.fingerprint = hashlib.sha256(work.fingerprint + arrived.read.file_digest.encode()).digest()
        async with work as tx:
            return await _receive(tx, offered, arrived, dry_run)


async def _receive(tx: CommandTransaction, offered: ListOffered, arrived: Incoming, dry_run: bool) -> Response:
    await queries.lock_source(tx.connection, offered.source)
    others = await queries.snapshots_of(tx.connection, offered.source)
    before = decisions.received_before(arrived.read.file_digest, offered.source, others)
    if before is not None:
        view = await queries.snapshot_view(tx.connection, before.snapshot_id)
        body = _report(arrived, view, dry_run=dry_run, received_before=True)
        return tx.answer(body, version=before.version, stream=_stream(before))
    events = decisions.receive(arrived.snapshot_id, offered, arrived.read, others, tx.now)
    if dry_run:
        return tx.answer(_report(arrived, None, dry_run=True))
    await tx.decide(events)
    await arrived.keep(tx.connection)
    snapshot = await tx.row(SNAPSHOTS, arrived.snapshot_id)
    assert snapshot is not None
    answer = tx.answer(
        _report(arrived, _just_received(snapshot)), status=201, version=snapshot.version, stream=_stream(snapshot)
    )
    answer.headers["Location"] = f"/snapshots/{snapshot.snapshot_id}"
    return answer


def _refuse_other_than_csv(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/csv" or "content-encoding" in request.headers:
        raise Refused(
            "no-csv",
            "The body is not sent as plain text/csv.",
            status=415,
            fields=[FieldProblem("header.Content-Type", "is not text/csv", "Send text/csv, not compressed.")],
        )


async def _refuse_early(work: Work, offered: ListOffered) -> None:
    """Before gigabytes are sent for nothing. A list of the same date may be one that came in already: it may pass."""
    async with work.workplace.pool.acquire() as connection:
        others = await queries.snapshots_of(connection, offered.source)
    if not any(other.dated == offered.dated for other in others):
        decisions.refuse_out_of_turn(offered, others, work.workplace.now())


def _just_received(snapshot: Snapshot) -> SnapshotView:
    return SnapshotView(**asdict(snapshot), state="received", households_settled=0)


def _stream(snapshot: Snapshot) -> str:
    return f"{SNAPSHOTS.topic}/{snapshot.snapshot_id}"


def _report(
    arrived: Incoming, snapshot: SnapshotView | None, *, dry_run: bool = False, received_before: bool = False
) -> ReceivedList:
    return ReceivedList(
        snapshot=snapshot,
        dry_run=dry_run,
        received_before=received_before,
        file_digest=arrived.read.file_digest,
        rows=arrived.read.rows,
        rows_rejected=arrived.read.rows_rejected,
        households=arrived.read.households,
        people=arrived.read.people,
        problem_counts=[
            ProblemCount(code=code, severity=severity, times=times) for code, severity, times in arrived.problem_counts
        ],
        problems=arrived.first_problems,
        all_problems=None if snapshot is None else f"/snapshots/{snapshot.snapshot_id}/problems",
    )


# --- Reading ----------------------------------------------------------------------------------------------------------


@router.get("/snapshots")
async def list_snapshots(
    reads: Annotated[Reads, Depends(reads_as(*_WHO_SEE_LISTS))], page: Pages
) -> Page[SnapshotView]:
    """The lists that came in for the caller's areas, the newest first."""
    async with reads as db:
        return await queries.snapshot_page(db.connection, page)


@router.get("/snapshots/{snapshot_id}")
async def show_snapshot(
    snapshot_id: Id, response: Response, reads: Annotated[Reads, Depends(reads_as(*_WHO_SEE_LISTS))]
) -> SnapshotView:
    """A list: received, applying with how many households are settled, or applied with what it did."""
    async with reads as db:
        view = await queries.snapshot_view(db.connection, snapshot_id)
    if view is None:
        raise unknown("snapshot")
    response.headers["ETag"] = f'"{view.version}"'
    return view


@router.get("/snapshots/{snapshot_id}/problems")
async def list_problems(
    snapshot_id: Id,
    reads: Annotated[Reads, Depends(reads_as(*_WHO_SEE_LISTS))],
    page: Pages,
) -> Page[ProblemView]:
    """Everything that was wrong in a list, by row: while it was read, and while it was applied."""
    async with reads as db:
        return await queries.problem_page(db.connection, await _import_of(db, snapshot_id), page)


@router.get(
    "/snapshots/{snapshot_id}/problems.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}}},
)
async def download_problems(
    snapshot_id: Id, reads: Annotated[Reads, Depends(reads_as(*_WHO_SEE_LISTS))]
) -> StreamingResponse:
    """The same as a CSV file, for whoever corrects the list in a spreadsheet."""
    async with reads as db:
        number = await _import_of(db, snapshot_id)
    headers = {"Content-Disposition": f'attachment; filename="problems-{snapshot_id}.csv"'}
    return StreamingResponse(_csv_of_problems(reads, number), headers=headers, media_type="text/csv")


async def _csv_of_problems(reads: Reads, number: int) -> AsyncIterator[str]:
    """Page by page, so that a file of any length needs little memory, and a slow reader holds no connection."""
    yield _csv_lines([list(ProblemView.model_fields)])
    page = Paging(MAX_LIMIT)
    while True:
        async with reads as db:
            problems = await queries.problem_page(db.connection, number, page)
        yield _csv_lines([list(problem.model_dump().values()) for problem in problems.items])
        if problems.next is None:
            return
        page = Paging(MAX_LIMIT, problems.next)


def _csv_lines(rows: list[list[Any]]) -> str:
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue()


async def _import_of(db: Reads, snapshot_id: str) -> int:
    number = await queries.import_number(db.connection, snapshot_id)
    if number is None:
        raise unknown("snapshot")
    return number
