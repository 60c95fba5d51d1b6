"""`python -m services.<name> parked list | show | rehearse | release`: what waits for mended code, and its release."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, is_dataclass
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table as Sheet

from services.kit import parking
from services.kit.batch import Batches, StillFails
from services.kit.causes import told
from services.kit.clock import clock_from
from services.kit.consumer import projecting
from services.kit.outages import OUTAGES
from services.kit.parking import ParkedStream
from services.kit.service import Service
from services.kit.settings import Settings
from services.kit.table import Key, Table
from services.kit.transaction import Transaction, Workplace

T = TypeVar("T")

_TOPIC = typer.Option(None, "--topic", help="Only this topic.")
_STREAM = typer.Option(None, "--stream", help="Only this stream, as `list` names it.")


@dataclass(frozen=True, slots=True)
class Release:
    """What taking a parked stream did, or would do."""

    parked: ParkedStream
    records: int
    changes: list[tuple[Table[Any], Key, Any, Any]]
    facts: list[tuple[str, str, int]]  # type, stream, version
    failure: str | None = None  # why it cannot be taken yet


async def release(workplace: Workplace, batches: Batches, parked: ParkedStream, *, rehearse: bool = False) -> Release:
    """Takes a parked stream, whole and in order, in one transaction; a rehearsal rolls it back."""
    try:
        async with workplace.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                tx = projecting(workplace, connection)
                records = await batches.release(tx, parked.topic, parked.stream)
                await tx.finish()
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.rollback() if rehearse else transaction.commit())
    except StillFails as failure:
        return Release(parked, 0, [], [], str(failure))
    except asyncpg.PostgresError as error:
        if isinstance(error, OUTAGES):
            raise
        return Release(parked, 0, [], [], told(error))
    return _released(parked, records, tx)


def _released(parked: ParkedStream, records: int, tx: Transaction) -> Release:
    facts = [(envelope.type, f"{envelope.topic}/{envelope.key}", envelope.version) for envelope in tx.envelopes]
    return Release(parked, records, tx.working_set.changes(), facts)


# --- The command line -------------------------------------------------------------------------------------------------


def parked_commands(service: Service, settings: Callable[[], Settings]) -> typer.Typer:
    """The sub-commands; `settings` reads the environment."""
    app = typer.Typer(
        help="Facts that wait for mended code: see what failed, rehearse mended code, release. Nothing is discarded.",
        no_args_is_help=True,
    )

    def run(work: Callable[[Workplace, Batches], Awaitable[T]]) -> T:
        return asyncio.run(_with_workplace(service, settings(), work))

    @app.command(name="list")
    def list_() -> None:
        """Every stream that waits, the longest first: how many records, since when, and what failed."""
        streams = run(lambda workplace, _: _all_streams(workplace))
        _print_streams(service.name, streams)

    @app.command()
    def show(topic: str, stream: str) -> None:
        """The records of one stream that wait, in their order. Their values are not shown."""
        records = run(lambda workplace, _: _records(workplace, topic, stream))
        if not records:
            raise typer.BadParameter(f"nothing of {topic}/{stream} is parked; `parked list` names what is")
        _print_records(records)

    @app.command()
    def rehearse(topic: str | None = _TOPIC, stream: str | None = _STREAM) -> None:
        """Takes parked streams with this code and rolls back: prints which rows would change and what would be told."""
        releases = run(lambda workplace, batches: _each(workplace, batches, topic, stream, rehearse=True))
        for each in releases:
            _print_release(each)
        _conclude(releases, "would be taken; nothing was changed. `parked release` takes them.")

    @app.command(name="release")
    def release_(
        topic: str | None = _TOPIC,
        stream: str | None = _STREAM,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    ) -> None:
        """Takes parked streams with this code, each whole and in order; one that still fails stays parked."""
        if not yes:
            for each in run(lambda workplace, batches: _each(workplace, batches, topic, stream, rehearse=True)):
                _print_release(each)
            typer.confirm("Take them for good? What is taken cannot be parked again", abort=True)
        releases = run(lambda workplace, batches: _each(workplace, batches, topic, stream))
        for each in releases:
            if each.failure:
                _print_release(each)
        _conclude(releases, "are taken; their partitions go on by themselves.")

    return app


async def _with_workplace(
    service: Service, settings: Settings, work: Callable[[Workplace, Batches], Awaitable[T]]
) -> T:
    async with asyncpg.create_pool(settings.database_url, min_size=1, max_size=2, command_timeout=60) as pool:
        keyring = service.keyring(settings)
        now = clock_from(settings).now
        workplace = Workplace(service.name, pool, service.tables, keyring, now, lambda: None)
        try:
            return await work(
                workplace, Batches(service.name, service.tables, service.reactions, service.partners, keyring)
            )
        finally:
            await keyring.aclose()


async def _all_streams(workplace: Workplace) -> list[ParkedStream]:
    async with workplace.pool.acquire() as connection:
        return await parking.parked_streams(connection)


async def _records(workplace: Workplace, topic: str, stream: str) -> list[parking.ParkedRecord]:
    async with workplace.pool.acquire() as connection:
        return await parking.parked_records(connection, topic, stream)


async def _each(
    workplace: Workplace, batches: Batches, topic: str | None, stream: str | None, *, rehearse: bool = False
) -> list[Release]:
    chosen = [
        parked
        for parked in await _all_streams(workplace)
        if topic in (None, parked.topic) and stream in (None, parked.stream)
    ]
    return [await release(workplace, batches, parked, rehearse=rehearse) for parked in chosen]


# --- What is printed --------------------------------------------------------------------------------------------------

_console = Console(width=None if sys.stdout.isatty() else 160)


def _print_streams(service: str, streams: list[ParkedStream]) -> None:
    if not streams:
        _console.print(f"{service}: nothing is parked.")
        return
    sheet = Sheet(
        "stream", "place", "records", "since", "first type", "what failed", title=f"{service}: parked streams"
    )
    for s in streams:
        place = f"{s.partition}@{s.first_offset}"
        since = f"{s.since:%Y-%m-%d %H:%M:%S}Z"
        sheet.add_row(f"{s.topic}/{s.stream}", place, str(s.records), since, s.first_type, s.reason)
    _console.print(sheet)
    _console.print("Next: deploy mended code, then `parked rehearse`, then `parked release`.")


def _print_records(records: list[parking.ParkedRecord]) -> None:
    sheet = Sheet()
    for heading in ("partition@offset", "sequence", "version", "type", "event", "parked at", "why"):
        sheet.add_column(heading, overflow="fold")
    for r in records:
        sheet.add_row(
            f"{r.partition}@{r.record_offset}",
            "-" if r.sequence is None else str(r.sequence),
            str(r.version),
            r.type,
            r.event_id,
            f"{r.parked_at:%Y-%m-%d %H:%M:%S}Z",
            r.reason or "waits for the one before it",
        )
    _console.print(sheet)


def _print_release(release: Release) -> None:
    _console.print(f"[bold]{release.parked.topic}/{release.parked.stream}[/]", highlight=False)
    if release.failure:
        _console.print(f"  [red]still fails:[/] {release.failure}", highlight=False)
        return
    for table, key, before, after in release.changes:
        _console.print(f"  {table.name} {', '.join(key)}", highlight=False)
        for name, old, new in _differences(before, after):
            _console.print(f"    {name}: {_short(old)} -> {_short(new)}", markup=False, highlight=False)
    for type_, stream, version in release.facts:
        _console.print(f"  tells {type_} of {stream}, version {version}", markup=False, highlight=False)


def _differences(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    old = asdict(before) if is_dataclass(before) and not isinstance(before, type) else {}
    new = asdict(after) if is_dataclass(after) and not isinstance(after, type) else {}
    return [(name, old.get(name), new.get(name)) for name in (old | new) if old.get(name) != new.get(name)]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def _conclude(releases: list[Release], what: str) -> None:
    taken = [each for each in releases if not each.failure]
    _console.print(f"{len(taken)} of {len(releases)} streams, {sum(each.records for each in taken)} records, {what}")
    if len(taken) < len(releases):
        raise typer.Exit(1)
