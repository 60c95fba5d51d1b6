"""The command line of the local stack: `python -m deploy.local up | down | status | logs | clean | topics | env`."""

import asyncio
import json
import os
import shlex
import sys
import time
from datetime import timedelta
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import kafka
from deploy.local.daemon import Daemon, StackError
from deploy.local.layout import Layout
from deploy.local.stack import Stack, clean, down, up

console = Console(highlight=False, soft_wrap=True)
app = typer.Typer(
    help="A real PostgreSQL, a real Kafka, a token issuer and the services, without Docker.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("up")
def start(
    clock: Annotated[str, typer.Option(help="steered (stands still until the demo moves it) or system")] = "steered",
) -> None:
    """Start everything that is not running yet; change nothing where all is well."""
    if clock not in ("steered", "system"):
        raise StackError(f"--clock {clock}: choose steered or system.")
    begun = time.monotonic()
    stack = up(Layout.from_environment(), console.print, steered_clock=clock == "steered")
    console.print(f"[bold green]Up[/] after {time.monotonic() - begun:.1f} s. Logs: {stack.layout.folder}/logs")
    console.print(f"Clients and their secrets for {stack.layout.issuer_url}/token: {stack.layout.clients_file}")


@app.command("down")
def stop() -> None:
    """Stop everything; the data stays."""
    down(Layout.from_environment(), console.print)


@app.command("clean")
def remove() -> None:
    """Stop everything and delete data, logs and secrets; packages and jars stay."""
    clean(Layout.from_environment(), console.print)


@app.command()
def prepare() -> None:
    """Fetch Kafka's jars, check their digests, and rehearse one start so that later ones are quicker."""
    kafka.prepare()


@app.command()
def status() -> None:
    """Show every process: its state, port, memory and age."""
    layout = Layout.of_running_stack()
    table = Table("what", "state", "port", "pid", "memory", "since", box=None, header_style="bold")
    for name, port in layout.ports.items():
        if name == "kafka-controller":
            continue
        table.add_row(name, *_look(Daemon(name, layout.folder), port))
    console.print(table)
    console.print(f"Logs: {layout.folder}/logs")
    if layout.clock_file.exists():
        console.print(f"The steered clock stands at {layout.clock_file.read_text().strip()}.")


def _look(daemon: Daemon, port: int) -> tuple[str, str, str, str, str]:
    try:
        process = psutil.Process(daemon.pid() or 0) if daemon.pid() else None
        if process:
            state = "[yellow]frozen[/]" if process.status() == psutil.STATUS_STOPPED else "[green]running[/]"
            memory = f"{process.memory_info().rss // 1_000_000} MB"
            age = timedelta(seconds=int(time.time() - process.create_time()))
            return state, str(port), str(process.pid), memory, str(age)
    except psutil.NoSuchProcess:
        pass  # It ended while we looked.
    return ("[red]ended[/]" if daemon.pid_file.exists() else "[dim]not running[/]"), str(port), "", "", ""


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="a process as `status` names it; all when left out")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until Ctrl-C")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n")] = 30,
) -> None:
    """Show the last lines of the logs."""
    folder = Layout.of_running_stack().folder / "logs"
    files = sorted(map(str, folder.glob(f"{name or '*'}.log")))
    if not files:
        raise StackError(f"There is no log {name or 'yet'} in {folder}.")
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *files])


@app.command()
def topics() -> None:
    """List the topics with their partitions and records."""
    stack = Stack(Layout.of_running_stack())
    if not kafka.answers(stack.bootstrap):
        raise StackError(f"Kafka at {stack.bootstrap} does not answer. Start it with `make up`.")
    table = Table("topic", "partitions", "records", box=None, header_style="bold")
    for topic, ends in sorted(asyncio.run(_end_offsets(stack.bootstrap)).items()):
        table.add_row(topic, str(len(ends)), f"{sum(ends):,}")
    console.print(table)


async def _end_offsets(bootstrap: str) -> dict[str, list[int]]:
    """The number of records ever written to each partition of each topic."""
    from aiokafka import AIOKafkaConsumer, TopicPartition  # Here, since no other command needs this slow import.
    from aiokafka.admin import AIOKafkaAdminClient

    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            described = await admin.describe_topics()
        finally:
            await admin.close()
        found = {}
        for topic in described:
            partitions = [TopicPartition(topic["topic"], each["partition"]) for each in topic["partitions"]]
            found[topic["topic"]] = list((await consumer.end_offsets(partitions)).values())
        return found


@app.command()
def env(
    service: Annotated[str, typer.Argument(help="registry, say: its settings, to run its commands by hand")] = "",
) -> None:
    """Print addresses, or a service's settings, as variables: `eval "$(python -m deploy.local env registry)"`."""
    layout = Layout.of_running_stack()
    if not layout.facts.exists():
        raise StackError("The stack is not running. Start it with `make up`.")
    facts = json.loads(layout.facts.read_text())
    if service:
        rows = {row.name: row for row in layout.services}
        if service not in rows:
            raise StackError(f"There is no service {service}; choose one of {', '.join(rows)}.")
        stack = Stack(layout, steered_clock=bool(facts["clock_file"]))
        variables = {
            name: value for name, value in stack.environment(rows[service]).items() if name.startswith("ENTAS_")
        }
    else:
        variables = {f"ENTAS_{name.upper()}_URL": row["api"] for name, row in facts["services"].items()}
        for name in ("token_url", "kafka_bootstrap", "clients_file", "clock_file"):
            variables[f"ENTAS_{name.upper()}"] = facts[name] or ""
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def main() -> None:
    try:
        app()
    except StackError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]{error}[/]", markup=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
