"""The auditors' command line: `python -m services.audit`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.audit.access import Access, NoAccess
from services.audit.story import NothingTold, Subject
from services.audit.trace import Trace, as_json, print_trace
from services.audit.trace import trace as trace_story

app = typer.Typer(
    help="Reads the services' logs and archives, and holds them against their proofs. Changes nothing.",
    no_args_is_help=True,
    add_completion=False,
)

Apis = Annotated[list[str] | None, typer.Option("--api", help="registry=https://…; once for each service.")]
StackFile = Annotated[
    Path | None, typer.Option("--stack", help="A local stack's stack.json; default .local/stack.json.")
]


@app.callback()
def _audit() -> None:
    """Keeps `trace` a sub-command while it is the only one."""


@app.command()
def trace(
    subject: Subject,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The stream's id, or the certificate's number.")],
    api: Apis = None,
    stack: StackFile = None,
    json_: Annotated[bool, typer.Option("--json", help="Everything, for other programs.")] = False,
    personal: Annotated[
        str | None, typer.Option(metavar="PURPOSE", help="Open what is sealed; each look is kept, with this purpose.")
    ] = None,
) -> None:
    """The whole story across services, causes first, back to the row of the list; every event with its proof.

    Exit status 1 if an event is not proved.
    """
    try:
        traced = asyncio.run(_trace(Access.find(api or [], stack), subject, id_, personal))
    except (NoAccess, NothingTold) as error:
        sys.exit(str(error.args[0]))
    if json_:
        typer.echo(as_json(traced))
    else:
        print_trace(traced, Console(width=None if sys.stdout.isatty() else 160))
    raise typer.Exit(0 if traced.holds else 1)


async def _trace(access: Access, subject: Subject, id_: str, purpose: str | None) -> Trace:
    async with access.open() as services:
        return await trace_story(services, subject, id_, purpose=purpose)


if __name__ == "__main__":
    app()
