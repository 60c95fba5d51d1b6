"""What the demo says while it plays: a line for each thing that happened, bars on long steps; fit for a file too."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_WIDTH = 120
_PLAIN_LINE_SECONDS = 5.0

Advance = Callable[[int], None]
"""Says how many are done by now."""


def console() -> Console:
    """As wide as the terminal; where there is none, wide enough that no table breaks."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


@dataclass
class StageTime:
    name: str
    seconds: float
    events: int = 0  # that were appended meanwhile, in all logs


@dataclass
class Telling:
    console: Console
    stages: list[StageTime] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[StageTime]:
        """Times what happens within it."""
        self.console.print(f"\n[bold]{escape(name)}[/]")
        begun, stage = time.perf_counter(), StageTime(name, 0.0)
        yield stage
        stage.seconds = time.perf_counter() - begun
        self.stages.append(stage)

    def say(self, text: str) -> None:
        self._print("[green]✓[/]", text)

    def mind(self, text: str) -> None:
        """Something that was refused or rejected, as it should be."""
        self._print("[yellow]•[/]", text)

    def _print(self, mark: str, text: str) -> None:
        """Beside the mark, also where the text goes on in a second line."""
        line = Table.grid(padding=(0, 1))
        line.add_row(" ", mark, escape(text))
        self.console.print(line)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """A bar that disappears when it is full; without a terminal, a line every few seconds."""
        if not self.console.is_terminal:
            yield _plain(self.console, what, total)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)


def _plain(console: Console, what: str, total: int) -> Advance:
    begun = said = time.monotonic()

    def advance(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > _PLAIN_LINE_SECONDS:
            said = time.monotonic()
            console.print(f"    {what}: {done:,} of {total:,} after {said - begun:.0f} s")

    return advance
