"""What came of a long run: a table for people, and the same figures for programs."""

import json
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.long.bulk import HeavyLoad
from tests.faults.long.evidence import events_between, sent_at
from tests.faults.long.strikes import Strike, Striker
from tests.support.world import HOUSE, World

RECOVERY_SECONDS = 10.0
"""What is sent again so soon after a fault is counted as its copy."""


@dataclass
class Line:
    fault: str
    times: int
    events: int  # written while it lasted, and in the time after it
    copies: int
    differences: int


@dataclass
class Outcome:
    seed: int
    minutes: float
    seconds: float = 0.0
    events: int = 0
    lines: list[Line] = field(default_factory=list)
    crash_points: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    all_events: int = 0
    all_copies: int = 0
    commands: dict[str, int] = field(default_factory=dict)
    server_starts: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    ended_by_themselves: list[str] = field(default_factory=list)

    def skip(self, kinds: frozenset[str], why: Exception) -> None:
        self.skipped |= dict.fromkeys(kinds, str(why))

    def number_of_events(self, world: World) -> int:
        return sum(world.value(service, "SELECT count(*) FROM log") for service in HOUSE)

    def examine(self, load: HeavyLoad, striker: Striker) -> None:
        """Compares everything, and says what each kind of fault met and left."""
        world, found = load.programme.world, load.examine()
        self.differences = [what for each in found for what in each.differences]
        self.all_events, self.all_copies = self.number_of_events(world), sum(len(each.copies) for each in found)
        self.commands, self.server_starts = dict(load.counts), dict(striker.supervisor.server_starts)
        self.ended_by_themselves = striker.supervisor.ended_by_themselves
        copied = Counter(_cause(striker.done, at) for each in found for at in sent_at(world, each.service, each.copies))
        struck = Counter(_cause(striker.done, at) for each in found for at in sent_at(world, each.service, each.struck))
        for kind in dict.fromkeys(strike.kind for strike in striker.done):
            strikes = [strike for strike in striker.done if strike.kind == kind]
            events = sum(
                events_between(world, service, strike.begun, strike.ended + RECOVERY_SECONDS)
                for strike in strikes
                for service in HOUSE
            )
            self.lines.append(Line(kind, len(strikes), events, copied[kind], struck[kind]))

    @property
    def rate(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


def _cause(strikes: list[Strike], at: float) -> str | None:
    """The last fault that had struck, if it was still felt."""
    felt = [strike for strike in strikes if strike.begun <= at <= strike.ended + RECOVERY_SECONDS]
    return max(felt, key=lambda strike: strike.begun).kind if felt else None


def show(console: Console, outcome: Outcome) -> None:
    table = Table(title=f"{outcome.minutes:g} minutes of faults, seed {outcome.seed}")
    for name in ("fault", "how often", "events", "resent copies", "differences"):
        table.add_column(name, justify="left" if name == "fault" else "right", no_wrap=name == "fault")
    for line in outcome.lines:
        table.add_row(line.fault, f"{line.times}", f"{line.events:,}", f"{line.copies:,}", f"{line.differences}")
    for point, times in sorted(outcome.crash_points.items()):
        table.add_row(f"crash point {point}", f"{times}", "", "", "")
    for kind, why in outcome.skipped.items():
        table.add_row(f"{kind}: skipped, {why}", "0", "", "", "")
    table.add_section()
    copies, differences = f"{outcome.all_copies:,}", f"{len(outcome.differences)}"
    table.add_row("all of the run", f"{_faults(outcome)}", f"{outcome.all_events:,}", copies, differences)
    console.print(table)
    done = Counter(outcome.commands)
    console.print(
        f"{outcome.rate:,.0f} events/s over {outcome.seconds:.0f} s, outages among them; "
        f"{done['commands']:,} commands, {done['repeats']:,} requests sent again, "
        f"{done['replays']:,} of them done already."
    )
    for what in outcome.differences[:20]:
        console.print(f"[red]DIFFERENCE[/red] {what}")
    for words in outcome.ended_by_themselves[:20]:
        console.print(f"[red]ENDED BY ITSELF[/red] {words}")


def _faults(outcome: Outcome) -> int:
    return sum(line.times for line in outcome.lines) + sum(outcome.crash_points.values())


def write(outcome: Outcome, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = asdict(outcome) | {"events_per_second": outcome.rate, "machine": platform.platform()}
    out.write_text(json.dumps(figures, indent=2))
