"""The commands over a service's log: replay, diff, rebuild, recover, reseed, cursors. They run beside the service."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Printed

from services.kit.causes import told
from services.kit.comparing import Compared, Report, diff
from services.kit.outages import OUTAGES
from services.kit.rebuild import RebuildRefused, Rebuilt, discard, rebuild, topics_to_rebuild
from services.kit.rebuild_parts import own_tables, processes_here
from services.kit.recovery import RecoveryRefused, recover
from services.kit.relay import RelayDefect
from services.kit.replay import ReplayDefect, live_reach, own_and_foreign, replay_into
from services.kit.reseeding import Remapped, ReseedRefused, read_cursors, remap_cursors, reseed
from services.kit.service import Service
from services.kit.settings import Settings
from services.kit.table import Table
from services.kit.tails import TailsDiffer

DEFECTS = (ReplayDefect, RebuildRefused, RecoveryRefused, ReseedRefused, TailsDiffer, RelayDefect)
_DATABASE = typer.Option(..., "--into", metavar="URL", help="An empty database that `migrate` has prepared.")
_AS_OF = typer.Option(None, metavar="WHEN", help="A sequence, or a time: 1041 or 2024-07-08T12:00:00Z.")


def add_log_commands(app: typer.Typer, service: Service, settings_of: Callable[[], Settings]) -> None:
    """Adds them to a service's command line."""

    @app.command()
    def replay(into: str = _DATABASE, as_of: str | None = _AS_OF) -> None:
        """Folds the log, and what was heard from others, once more into an empty database.

        With --as-of it holds what the service knew then: own tables up to that sequence, projections of others' facts
        up to where the newest checkpoint before it says that they had been folded. No reaction, timer or message runs;
        nothing is appended or sealed; the live database is only read.
        """
        settings, wanted = settings_of(), _instant_or_sequence(as_of)
        with _failing_with(1), _counting("facts folded") as count:
            work = replay_into(
                settings.database_url, into, service.name, settings.kafka_bootstrap, service.tables, wanted, count
            )
            reach, events = asyncio.run(work)
        typer.echo(f"{service.name}: {events:,} facts folded into {_name(into)}: {reach.says}")

    @app.command(name="diff")
    def diff_command(tables: list[str] = typer.Argument(None, metavar="[TABLE]…", help="Default: all.")) -> None:
        """Replays beside the live tables and compares, in one snapshot; changes nothing. Ends with 1 if they differ.

        Shows a hash per table, the rows and columns that differ, and the events of their streams. Sealed values are
        shown as digests. The rows of parked streams are listed and do not count.
        """
        _compare(service, settings_of(), _named(service, tables or [], service.tables))

    @app.command(name="rebuild")
    def rebuild_command(
        tables: list[str] = typer.Argument(None, metavar="[TABLE]…", help="Default: all projections."),
        check: bool = typer.Option(False, "--check", help="Compare only, own tables too; change nothing."),
        anew: bool = typer.Option(False, "--anew", help="Do not resume what was broken off; begin again."),
        put_away: bool = typer.Option(False, "--discard", help="Put away what was broken off, and end."),
        processes: int = typer.Option(processes_here(), min=1, help="How many fold side by side where there is much."),
    ) -> None:
        """Makes projections of others' facts anew while the service runs; writes only the rows that differ.

        All tables of a topic are rebuilt together. Ctrl-C leaves the live tables as they are; run it again to resume.
        After a release with a new fold (Table.fold_version) this lets the worker go on, by itself.
        """
        settings = settings_of()
        if check:
            own_too = service.tables if not tables else _named(service, tables, service.tables)
            _compare(service, settings, own_too)
            return
        with _failing_with(2):
            topics = topics_to_rebuild(service.name, service.tables, tables or [])
            for topic in topics:
                if put_away:
                    asyncio.run(discard(settings.database_url, service.tables, topic))
                    typer.echo(f"{topic}: what a rebuild had left is put away")
                else:
                    _show_rebuilt(_rebuild(service, settings, topic, anew, processes))
        if not topics:
            typer.echo(f"{service.name} folds no facts of others: there is nothing to rebuild")

    @app.command(name="recover")
    def recover_command() -> None:
        """Takes back from Kafka what a database restored from an older backup lacks. Stop API and workers first.

        Appends the missing tail with its own ids, versions, times and sequences, seals it, and folds it into the
        tables; checks all of it before anything is changed. Run again, it goes on; with nothing missing it changes
        nothing.
        """
        settings = settings_of()
        with _failing_with(2), _counting("events taken back") as count:
            url, kafka = settings.database_url, settings.kafka_bootstrap
            work = recover(url, service.name, kafka, service.tables, service.partners, count, service.redo)
            done = asyncio.run(work)
        if not done.events:
            typer.echo(f"{service.name}: nothing is missing; {done.first_sequence:,} events are sealed here")
            return
        last = done.first_sequence + done.events - 1
        typer.echo(
            f"{service.name}: sequences {done.first_sequence} to {last} are back, {done.appended} of them appended"
        )
        for place, records in done.moved.items():
            typer.echo(f"  {place}: {records} records had been answered already; folded, and not answered again")
        typer.echo(f"Look next: python -m services.{service.name} diff, and docs/runbooks/restore-older-backup.md")

    @app.command(name="reseed")
    def reseed_command() -> None:
        """Sends again from the log what Kafka has lost, as the relay had sent it. Run `topics` first where it is empty.

        Partitions that hold all are left alone. Partners' topics are in nobody's log: partners have to send again.
        """
        settings = settings_of()
        with _failing_with(2), _counting("events sent again") as count:
            sent = asyncio.run(reseed(settings.database_url, service.name, settings.kafka_bootstrap, count))
        for place, events in sent.items():
            typer.echo(f"  {place}: {events:,} events sent again")
        typer.echo(
            f"{service.name}: Kafka holds all that was sent"
            + ("; now, in every service that reads it: `cursors --reseeded`" if sent else "; nothing was missing")
        )

    @app.command(name="cursors")
    def cursors_command(
        reseeded: bool = typer.Option(False, "--reseeded", help="Find each cursor's last event in the topics of now."),
    ) -> None:
        """Shows where this service stands in what it reads; with --reseeded, finds its place in topics made anew.

        Stop the workers first, and have each topic's owner `reseed`. All cursors move together, or none.
        """
        settings = settings_of()
        if reseeded:
            with _failing_with(2):
                _show_remapped(service, asyncio.run(remap_cursors(settings.database_url, settings.kafka_bootstrap)))
        with _failing_with(2):
            _show_cursors(asyncio.run(read_cursors(settings.database_url)))


def _show_remapped(service: Service, done: Remapped) -> None:
    for place, (before, after) in done.moved.items():
        typer.echo(f"  {place}: offset {before.next_offset} -> {after.next_offset} (sequence {after.last_sequence})")
    for place in done.begun_anew:
        typer.echo(f"  {place}: read from its beginning; what the partner had sent and nobody read is lost there")
    typer.echo(f"{service.name}: {len(done.moved)} cursors moved, {len(done.unchanged)} stood right; start the workers")


def _show_cursors(cursors: list[tuple[Any, ...]]) -> None:
    shown = Printed("partition", "next offset", "last sequence", "stopped")
    for place, next_offset, last_sequence, stopped in cursors:
        shown.add_row(str(place), f"{next_offset:,}", f"{last_sequence:,}", stopped or "")
    Console(width=None if sys.stdout.isatty() else 150).print(shown)


def _rebuild(service: Service, settings: Settings, topic: str, anew: bool, processes: int) -> Rebuilt:
    with _counting(f"{topic}: records read") as count:
        work = rebuild(
            settings.database_url,
            settings.kafka_bootstrap,
            service.tables,
            topic,
            anew=anew,
            progress=lambda _, records: count(records),
            tables_in=own_tables(),
            processes=processes,
        )
        try:
            return asyncio.run(work)
        except KeyboardInterrupt:
            sys.exit(f"{topic}: broken off. The live tables are as they were; run it again to resume, or --discard.")


def _compare(service: Service, settings: Settings, tables: tuple[Table[Any], ...]) -> None:
    with _failing_with(2), _counting("facts folded") as count:
        work = diff(settings.database_url, service.name, settings.kafka_bootstrap, tables, live_reach, count)
        report = asyncio.run(work)
    _show_report(service, report)
    if not report.same:
        sys.exit(1)


def _named(service: Service, names: list[str], tables: tuple[Table[Any], ...]) -> tuple[Table[Any], ...]:
    unknown = [name for name in names if name not in {table.name for table in tables}]
    if unknown:
        sys.exit(f"{service.name} has no table {unknown[0]}; it has: {', '.join(table.name for table in tables)}")
    return tuple(table for table in tables if not names or table.name in names)


# --- What is shown ----------------------------------------------------------------------------------------------------


def _show_report(service: Service, report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    shown = Printed("table", "live rows", "live hash", "folded rows", "folded hash", "differ")
    for compared in report.tables:
        shown.add_row(*_line(compared))
    console.print(shown)
    for compared in report.tables:
        for row in compared.rows:
            console.print(f"{compared.table.name} {row.key}", markup=False)
            for column, live, folded in row.columns():
                console.print(f"  {column}: live {live}, by the facts {folded}", markup=False)
        if compared.differing > len(compared.rows):
            console.print(f"… and {compared.differing - len(compared.rows):,} more rows of {compared.table.name}")
    for (topic, stream), events in report.explained.items():
        console.print(f"{topic}/{stream}: {len(events)} events, the latest last", markup=False)
        for event in events or ["none: no fact speaks of this stream"]:
            console.print(f"  {event}", markup=False)
    for place, stream in report.reach.parked:
        console.print(f"parked, does not count: {place} {stream}", markup=False)
    says = "the same" if report.same else "DIFFERENT"
    console.print(f"{service.name}: {report.events:,} facts folded, {report.reach.says}: {says}", markup=False)
    if not report.same:
        _, foreign = own_and_foreign(service.name, [c.table for c in report.tables if not c.same])
        if foreign:
            console.print(f"Mend projections: python -m services.{service.name} rebuild {foreign[0].name}")


def _line(compared: Compared) -> tuple[str, ...]:
    return (
        compared.table.name,
        f"{compared.live_rows:,}",
        compared.live_hash,
        f"{compared.folded_rows:,}",
        compared.folded_hash,
        f"{compared.differing:,}" if compared.differing else "-",
    )


def _show_rebuilt(done: Rebuilt) -> None:
    resumed = f", {done.resumed_at:,} records were read before" if done.resumed_at else ""
    typer.echo(f"{done.topic}: {done.events:,} facts folded{resumed}")
    for mended in done.tables:
        typer.echo(f"  {mended.table.name}: {mended.rows:,} rows, {mended.written:,} written")
    for stream in done.left_out:
        typer.echo(f"  left as it was, since it is parked: {stream}; release it, then rebuild again")


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """Shows how many there are and how many a second, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(pulse_style="cyan"), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _failing_with(status: int) -> Iterator[None]:
    """Ends with one line where something is wrong that the operator can mend."""
    try:
        yield
    except DEFECTS as defect:
        sys.stderr.write(f"{defect}\n")
        sys.exit(status)
    except OUTAGES as outage:
        sys.stderr.write(f"the database or Kafka cannot be reached; nothing was changed: {told(outage)}\n")
        sys.exit(status)


def _instant_or_sequence(text: str | None) -> datetime | int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        sys.exit(f"--as-of {text}: give a sequence (1041) or a time with its zone (2024-07-08T12:00:00Z)")
    return instant.astimezone(UTC)


def _name(url: str) -> str:
    """A database's name without who may open it."""
    parts = urlsplit(url)
    return f"{parts.path.lstrip('/')} at {parts.hostname}"
