"""The first acts: Bappeda tries a draft of its list, hands the list over, and a quarter later the next one."""

import asyncio
import csv
from collections.abc import AsyncIterator, Set
from datetime import date
from pathlib import Path

from contracts import areas
from contracts.areas import AreaCode
from deploy.demo import lists
from deploy.demo.clients import Json
from deploy.demo.clock import at
from deploy.demo.expected import Expected, expect
from deploy.demo.failures import DemoFailed
from deploy.demo.lists import SMALL, Defect, Defects, SecondSummary, Summary
from deploy.demo.play import BAPPEDA, OFFICER, Play
from deploy.demo.programme import NEXT_LIST_DAY, SEED
from deploy.demo.telling import Advance

SOURCE = "P3KE"
DRAFT_DEFECTS = Defects(
    bad_code=6,
    bad_decile=4,
    bad_nik=6,
    broken_row=3,
    nik_disagrees=8,
    disagreeing_family=3,
    duplicate_family=4,
    repeated_family=2,
)
LEFT_DEFECTS = Defects(
    bad_code=1,
    bad_decile=1,
    bad_nik=2,
    broken_row=1,
    nik_disagrees=3,
    disagreeing_family=1,
    duplicate_family=2,
    repeated_family=1,
)
"""What Bappeda overlooks when it corrects its draft."""

_POLL_SECONDS = 0.05
_APPLIED_POLL_SECONDS = 0.5
_CHUNK_BYTES = 1 << 18
_ROW_BYTES = 447  # on average

# --- The first list ---------------------------------------------------------------------------------------------------


async def try_the_draft(play: Play) -> None:
    """Bappeda checks a draft of 1,000 households by a dry run: everything that is wrong is told, and nothing kept."""
    folder = _folder(play)
    draft = lists.write_list(folder / "draft.csv", SMALL, seed=SEED + 1, defects=DRAFT_DEFECTS)
    report = await _upload(play, draft.path, "draft", dated=lists.FIRST_DATE, area=areas.NTB, dry_run=True)
    expected = expect(draft)
    _compare("the draft", report, expected)
    play.telling.say(
        f"dry run of a draft: {report['rows']:,} rows read, {report['rows_rejected']} cannot be taken, nothing was kept"
    )
    rejections = {problem["code"]: problem for problem in report["problems"] if problem["severity"] == "rejection"}
    for problem in list(rejections.values())[:3]:
        column = f", column {problem['column']}" if problem["column"] else ""
        play.telling.mind(f"row {problem['row']}{column}: {problem['reason']} {problem['remedy']}")


async def hand_over_the_list(play: Play) -> None:
    """The list as Bappeda corrected it, with the mistakes that were overlooked."""
    path = list_file(play)
    _make_empty(path)
    # Bappeda's system sends while it writes: a list of all NTB takes it some seconds.
    writing = asyncio.create_task(
        asyncio.to_thread(lists.write_list, path, play.size.list_size, seed=SEED, defects=LEFT_DEFECTS)
    )
    report = await _upload(play, path, "list", dated=lists.FIRST_DATE, area=areas.NTB, writing=writing)
    written = await writing
    play.telling.say(f"{path.name} was written and sent: {written.rows:,} rows, {megabytes(path):,} MB")
    play.doubtful_families = {
        family for planted in written.planted for family in (planted.family_id, planted.original_family_id)
    }
    twice = {planted.row for planted in written.planted if planted.defect is Defect.DUPLICATE_FAMILY}
    play.shared_national_ids = _national_ids(path, twice)
    expected = expect(written)
    _compare("the list", report, expected)
    snapshot = await _applied(play, report["snapshot"]["snapshot_id"])
    if snapshot["listed"] != sum(expected.households.values()) or snapshot["people_on_list"] != expected.people:
        raise DemoFailed(
            f"The list holds {sum(expected.households.values())} households and {expected.people} people that can be "
            f"taken; SnapshotApplied says {snapshot['listed']} and {snapshot['people_on_list']}."
        )
    play.tally.households = expected.households.copy()
    play.telling.say(
        f"applied: {snapshot['listed']:,} households with {snapshot['people_on_list']:,} people are listed; "
        f"{report['rows_rejected']} rows were rejected, each with row, column and reason"
    )


def _national_ids(path: Path, rows: Set[int]) -> list[str]:
    """The NIKs in these rows, where they hold one."""
    at_nik = lists.HEADER.index("nik")
    with path.open(encoding="utf-8", newline="") as file:
        found = [next(csv.reader([line]))[at_nik] for number, line in enumerate(file, start=1) if number in rows]
    return [number for number in found if number]


def _make_empty(file: Path) -> None:
    file.write_bytes(b"")


def megabytes(file: Path) -> int:
    return file.stat().st_size // 1_000_000


def list_file(play: Play) -> Path:
    return _folder(play) / f"p3ke-{play.size.name}.csv"


# --- The second list --------------------------------------------------------------------------------------------------


async def hand_over_the_next_list(play: Play) -> None:
    """A quarter later: other ranks, households gone or new, or under another number; then the same file once more."""
    await play.clock.move_to(at(NEXT_LIST_DAY, 9))
    area, path = play.size.next_list_area, _folder(play) / f"p3ke-{play.size.name}-next.csv"
    written = await asyncio.to_thread(lists.second_list, path, play.size.list_size, seed=SEED, only=area)
    report = await _upload(play, path, "next-list", dated=lists.SECOND_DATE, area=area)
    snapshot = await _applied(play, report["snapshot"]["snapshot_id"])
    _compare_next(snapshot, written)
    for kabupaten, households in written.summary.households.items():
        play.tally.households[kabupaten] = households
    play.delisted_families = written.delisted
    play.telling.say(
        f"the list of {lists.SECOND_DATE:%B %Y} for {areas.name(area)}: {snapshot['rank_changed']:,} households have "
        f"another rank, {snapshot['delisted']:,} are delisted, {snapshot['listed']:,} are new; of the "
        f"{snapshot['unchanged']:,} that are as they were, {len(written.renumbered)} were recognised by a new number"
    )
    again = await _upload(play, path, "next-list-again", dated=lists.SECOND_DATE, area=area)
    if not again["received_before"]:
        raise DemoFailed("The same list was taken in a second time.")
    play.telling.say("the same file again: known by its SHA-256, nothing was done")


def _compare_next(snapshot: Json, written: SecondSummary) -> None:
    households = sum(written.summary.households.values())
    if snapshot["households_on_list"] + snapshot["unresolved"] != households:
        raise DemoFailed(
            f"The next list holds {households} households; SnapshotApplied says {snapshot['households_on_list']} and "
            f"{snapshot['unresolved']} unresolved."
        )
    if snapshot["rank_changed"] != len(written.rank_changed):
        raise DemoFailed(
            f"The next list gives {len(written.rank_changed)} households another rank; SnapshotApplied says "
            f"{snapshot['rank_changed']}."
        )


# --- Sending and waiting ----------------------------------------------------------------------------------------------


def _folder(play: Play) -> Path:
    folder = play.stack.folder / "demo"
    folder.mkdir(exist_ok=True)
    return folder


async def _upload(
    play: Play,
    path: Path,
    step: str,
    *,
    dated: date,
    area: AreaCode,
    dry_run: bool = False,
    writing: asyncio.Task[Summary] | None = None,
) -> Json:
    """Streams the file; while it is still being written, as fast as it is written."""
    with play.telling.progress(f"sending {path.name}, MB", _expected_megabytes(path, play, writing)) as advance:
        report: Json = await play.house.registry.upload(
            "/snapshots",
            _chunks(path, writing, advance),
            who=BAPPEDA,
            step=step,
            source=SOURCE,
            dated=dated.isoformat(),
            areas=area,
            dry_run=dry_run,
            file_name=path.name,
        )
    return report


async def _chunks(path: Path, writing: asyncio.Task[Summary] | None, advance: Advance) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while True:
            # Whether it is whole has to be known before it is read: else what is written in between would be missing.
            whole = writing is None or writing.done()
            if chunk := file.read(_CHUNK_BYTES):
                yield chunk
                advance(file.tell() // 1_000_000)
            elif whole:
                return
            else:
                await asyncio.sleep(_POLL_SECONDS)


def _expected_megabytes(path: Path, play: Play, writing: asyncio.Task[Summary] | None) -> int:
    return megabytes(path) if writing is None else play.size.list_size.people * _ROW_BYTES // 1_000_000


async def _applied(play: Play, snapshot_id: str) -> Json:
    """The snapshot, once it is applied whole and everybody who listens has heard of it."""
    snapshot: Json = await play.house.registry.get(f"/snapshots/{snapshot_id}", who=OFFICER)
    with play.telling.progress("applying, households", snapshot["households"]) as advance:
        while snapshot["state"] != "applied":
            await asyncio.sleep(_APPLIED_POLL_SECONDS)
            snapshot = await play.house.registry.get(f"/snapshots/{snapshot_id}", who=OFFICER)
            advance(snapshot["households_settled"])
    await play.clock.settle()
    return snapshot


def _compare(what: str, report: Json, expected: Expected) -> None:
    """Raises DemoFailed unless the report names every planted mistake and takes exactly what can be taken."""
    households = sum(expected.households.values())
    if (report["households"], report["people"]) != (households, expected.people):
        raise DemoFailed(
            f"Of {what}, {households} households and {expected.people} people can be taken; "
            f"the registry took {report['households']} and {report['people']}."
        )
    reported = {(problem["row"], problem["code"]) for problem in report["problems"]}
    if missing := sorted(expected.reported - reported):
        raise DemoFailed(f"The registry did not report what is wrong in {what} at (row, problem) {missing}.")
