"""The auditors' command line: verify, trace, export, import, witness, sample."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.audit import sample as sample_module
from services.audit.api_source import NotShown
from services.audit.archive import SIGNED_AS, ArchiveSource, ArchiveWriter, NoArchive
from services.audit.asking import Apis
from services.audit.importing import NotImported, import_log
from services.audit.places import Places, PlacesUnknown, places_of
from services.audit.sources import Noted, Source, WitnessFile
from services.audit.story import NothingTold, Subject
from services.audit.trace import Trace, as_json_text, print_trace
from services.audit.trace import trace as trace_story
from services.audit.verify import Report, verify_log
from services.audit.witness import check_witness
from services.kit.auth import ServiceToken
from services.kit.causes import told
from services.kit.logs import configure_logging
from services.kit.notes import Signer, VerifierKey
from services.kit.refusal import Unavailable

app = typer.Typer(
    help="Reads the services' logs and says whether they are what was signed; makes and reads archives of them.",
    no_args_is_help=True,
    add_completion=False,
)
T = TypeVar("T")

Services = Annotated[list[str] | None, typer.Argument(help="Default: every service whose log can be read there.")]
Stack = Annotated[
    Path | None, typer.Option(help="A local stack's folder (.local): where its services, Kafka, keys and auditor are.")
]
Kafka = Annotated[str | None, typer.Option(help="Read the log from Kafka: host:port, several by commas.")]
Api = Annotated[
    list[str] | None,
    typer.Option(help="Read the log over HTTP: registry=https://…; repeat it for others. The token comes from "
                 "ENTAS_TOKEN_URL with ENTAS_CLIENT_ID and ENTAS_CLIENT_SECRET (role auditor, area *)."),
]  # fmt: skip
Archive = Annotated[Path | None, typer.Option(help="Read the log from an archive: a folder or a .tar.")]
Witness = Annotated[
    list[Path] | None,
    typer.Option(help="A file of notes that a witness kept (ENTAS_WITNESS=file:///…); may be repeated."),
]
Keys = Annotated[
    Path | None, typer.Option(help="A folder with <service>.vkey, the services' public keys, got by a way you trust.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON lines, and nothing else.")]


@app.command()
def verify(
    services: Services = None,
    stack: Stack = None,
    kafka: Kafka = None,
    api: Api = None,
    archive: Archive = None,
    witness: Witness = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Hashes every event anew and holds the log against each checkpoint that was signed or witnessed.

    Each place that is given is verified by itself, with the notes of all. Every finding is named by service, sequence,
    topic, partition and offset. With an endpoint or an archive beside it, a changed event in Kafka is named itself.
    Ends with 1 when anything is wrong.

    `verify --stack .local` verifies the local stack, in Kafka and over the endpoints.
    """
    places = _told(lambda: places_of(stack, kafka, api, archive, keys))
    reports = _run(_verify(places, services, witness or [], as_json))
    if as_json:
        for report in reports:
            for finding in report.findings.shown:
                typer.echo(json.dumps({"source": report.source, **asdict(finding)}))
    else:
        _show(reports)
    if not all(report.well for report in reports):
        raise typer.Exit(1)


async def _verify(places: Places, services: Sequence[str] | None, witness: Sequence[Path], quiet: bool) -> list[Report]:
    reports = []
    for service in services or places.services():
        key = places.key(service)
        witnessed = await _notes_of(service, [WitnessFile(file) for file in witness])
        for source in places.sources(service):
            made = source.made if isinstance(source, ArchiveSource) else None
            with _progress(f"{service}: {source.name}", quiet) as progress:
                report = await verify_log(
                    service,
                    source,
                    key,
                    witnessed=witnessed,
                    leaves_from=places.leaves_beside(service, source),
                    made_before=made,
                    progress=progress,
                )
            reports.append(report)
    return reports


async def _notes_of(service: str, witnesses: Sequence[WitnessFile]) -> list[Noted]:
    return [noted for witness in witnesses async for noted in witness.notes(service)]


def _show(reports: Sequence[Report]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    for report in reports:
        for finding in report.findings.shown:
            console.print(f"[red]WRONG[/]  {report.source}", highlight=False)
            console.print(f"       {finding}", highlight=False, soft_wrap=True, markup=False)
        for kind, count in report.findings.more.items():
            console.print(f"[red]WRONG[/]  {kind}: {count:,} more", highlight=False)
    table = Table("service", "source", "checkpoints", "events", "copies", "not signed yet", "root", "verdict")
    for report in reports:
        verdict = "[green]as signed[/]" if report.well else f"[red]{sum(report.findings.of.values()):,} findings[/]"
        root = "" if report.root is None else f"{report.root.hex()[:16]}…"
        counted = (report.checkpoints, report.events, report.copies, report.unsigned)
        numbers = [f"{number:,}" for number in counted]
        table.add_row(report.service, report.source, *numbers, root, verdict)
    console.print(table)


@app.command()
def trace(
    subject: Subject,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The stream's id, or the certificate's number.")],
    stack: Stack = None,
    api: Api = None,
    keys: Keys = None,
    as_json: AsJson = False,
    personal: Annotated[
        str | None, typer.Option(metavar="PURPOSE", help="Open what is sealed; each look is kept, with this purpose.")
    ] = None,
) -> None:
    """The whole story across services, causes first, back to the row of the list; every event with its proof.

    What an event says is hashed anew, and held against the newest checkpoint that its service has signed. Nothing
    personal is shown unless --personal says what for. Ends with 1 when an event is not proved.
    """
    places = _told(lambda: places_of(stack, None, api, None, keys))
    if places.token is None:
        sys.exit("A story is asked for at the services' APIs: give --stack, or --api for each of them (see --help).")
    traced: Trace = _run(_trace(places, places.token, subject, id_, personal))
    if as_json:
        typer.echo(as_json_text(traced))
    else:
        print_trace(traced, Console(width=None if sys.stdout.isatty() else 160))
    if not traced.holds:
        raise typer.Exit(1)


async def _trace(places: Places, token: ServiceToken, subject: Subject, id_: str, purpose: str | None) -> Trace:
    async with Apis(places.addresses, token) as apis:
        return await trace_story(apis, subject, id_, keys=places.key, purpose=purpose)


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="What to make: a folder, or a .tar if it ends so.")],
    key: Annotated[Path, typer.Option(help="Your signing key: a file with 64 hex digits (openssl rand -hex 32).")],
    services: Annotated[list[str] | None, typer.Option("--service", help="Default: all.")] = None,
    stack: Stack = None,
    kafka: Kafka = None,
    api: Api = None,
    keys: Keys = None,
) -> None:
    """Writes logs into an archive: gzip and JSON lines, signed, with a verifier of standard-library Python in it.

    What is exported is not judged: an archive of a log that somebody touched is evidence. Run its verify.py.
    """
    places = _told(lambda: places_of(stack, kafka, api, None, keys))
    signer = _told(lambda: _signer(key))
    events = _run(_export(target, signer, places, services))
    typer.echo(f"{target}: {events:,} events, signed as {signer.verifier}")
    shown = f"services/audit/standalone.py {target}" if target.suffix == ".tar" else str(target / "verify.py")
    typer.echo(f"Look next: python3 {shown}")


async def _export(target: Path, signer: Signer, places: Places, services: Sequence[str] | None) -> int:
    events = 0
    with ArchiveWriter(target, signer) as writer:
        for service in services or places.services():
            source = places.sources(service)[-1]
            with _progress(f"{service}: {source.name}") as progress:
                events += await writer.add_log(service, source, places.key(service), progress)
    return events


@app.command(name="import")
def import_command(
    archive: Annotated[Path, typer.Argument(help="A folder or a .tar that `export` made.")],
    service: Annotated[str, typer.Argument(help="Whose log to take from it.")],
    database: Annotated[str, typer.Option(help="That service's database: migrated, and with nothing on its log yet.")],
) -> None:
    """Writes an archive's log into an empty database of its service: log, sequences, tree and checkpoints.

    For what reads a log from tables: `replay` and `rebuild --check` of an archive years later, the log endpoints, SQL.
    Verify the archive first. It refuses a database whose log is not empty, and events that do not give the signed root;
    then nothing is written. Do not start the service on it to go on with its work: it holds the past alone.
    """
    source = _told(lambda: ArchiveSource.open(archive))
    with _progress(f"{service}: {source.name}") as progress:
        events = _run(import_log(source, service, database, progress))
    typer.echo(f"{service}: {events:,} events written; their root is the one that the newest checkpoint signed")


@app.command()
def witness(
    file: Annotated[Path, typer.Argument(help="The notes that a witness kept.")],
    services: Services = None,
    stack: Stack = None,
    api: Api = None,
    keys: Keys = None,
) -> None:
    """Asks the services to prove that their logs still begin with what the witness saw. Reads no events: seconds.

    Ends with 1 when a service cannot prove it.
    """
    places = _told(lambda: places_of(stack, None, api, None, keys))
    wrong = 0
    for service in services or places.services():
        notes = _run(_notes_of(service, [WitnessFile(file)]))
        checked, findings = _run(check_witness(service, places.api(service), places.key(service), notes))
        for finding in findings:
            typer.echo(f"WRONG  {finding}")
        wrong += len(findings)
        typer.echo(f"{service}: {checked:,} of the witness's {len(notes):,} notes are where the log began")
    if wrong:
        raise typer.Exit(1)


@app.command()
def sample() -> None:
    """Verifies the sample archive, changes one event in a copy of it, and shows that the event is named."""
    for step in sample_module.steps():
        typer.echo(f"\n{step.told}\n  $ {step.shown}")
        done = subprocess.run(step.command, capture_output=True, text=True, check=False)
        typer.echo("".join(f"  {line}\n" for line in done.stdout.splitlines()), nl=False)
        if not step.expected(done.returncode, done.stdout):
            typer.echo(done.stderr)
            raise typer.Exit(1)
    typer.echo("\nLook next: docs/sample-archive/README, and services/audit/standalone.py, the verifier that is in it.")


# --- Around it --------------------------------------------------------------------------------------------------------


def _signer(file: Path) -> Signer:
    try:
        return Signer(SIGNED_AS, bytes.fromhex(file.read_text(encoding="ascii").strip()))
    except (OSError, ValueError) as error:
        raise PlacesUnknown(f"--key {file}: it should be a file with 64 hex digits (openssl rand -hex 32)") from error


@contextmanager
def _progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,} events"))
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=0)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _told(make: Callable[[], T]) -> T:
    try:
        return make()
    except (PlacesUnknown, NoArchive) as error:
        sys.exit(str(error))


def _run(work: Any) -> Any:
    """What is wrong with the way there is said in a line; what is wrong with a log is a finding."""
    try:
        return asyncio.run(work)
    except (NotShown, NoArchive, PlacesUnknown, NotImported, NothingTold) as error:
        sys.exit(str(error))
    except (OSError, KafkaError, httpx.HTTPError, Unavailable) as error:
        sys.exit(f"the log cannot be read: {told(error)}")


def main() -> None:
    configure_logging("WARNING", service="audit")
    app()


if __name__ == "__main__":
    main()


__all__ = ["Source", "VerifierKey", "main"]
