"""`python -m tests.faults.long`: every kind of fault, again and again, under a load of commands, and then the evidence.

In the end nothing may be lost, doubled or reordered within a stream, nothing parked, no process restarted by hand, and
every table must say what the oracle says, which was told nothing but which commands were accepted.
"""

import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer
from rich.console import Console

from deploy.demo.lists import ListSize
from tests.faults.beginning import a_programme_under_way
from tests.faults.long.bulk import BulkLane, HeavyLoad, Pace, take_in_many
from tests.faults.long.ground import Disk, NotHere, WallClock, disks_of_their_own, enter_mount_namespace
from tests.faults.long.house import MORE_WORKERS, Supervisor, add_workers
from tests.faults.long.report import Outcome, show, write
from tests.faults.long.scenes import crash_points_are_passed
from tests.faults.long.schedule import Lane, lanes
from tests.faults.long.strikes import Busy, Striker
from tests.support.world import HOUSE, World

MANY = ListSize("many", households=500, people=2_300, villages_per_kabupaten=1)
DISK_KINDS = frozenset({"PostgreSQL's disk full", "Kafka's disk full"})
CLOCK_KINDS = frozenset({"wall clock set"})
KEPT_LOGS = Path(".local/faults-logs")

console = Console()


def main(
    minutes: float = typer.Option(10.0, min=0.5, help="How long faults strike; at 10 each kind does at least 5 times."),
    seed: int | None = typer.Option(None, help="Of the dice that choose whom a fault meets. Default: a new one."),
    rate: float = typer.Option(1_250.0, help="Events a second that the commands are to make."),
    crash_points: bool = typer.Option(True, help="Begin with each named crash point of services/kit/crash.py."),
    out: Path = typer.Option(Path(".local/faults.json"), help="Where the figures go."),
) -> None:
    """Strikes a house of its own for so many minutes, and looks at what it says afterwards. Ends with 1 if anything
    was lost, doubled, reordered or parked, or ended by itself."""
    enter_mount_namespace()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # Its servers are away all the time.
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    console.print(f"Seed {seed}: `make test-faults MINUTES={minutes:g} SEED={seed}` strikes in the same order.")
    with tempfile.TemporaryDirectory(prefix="entas-faults-") as folder:
        outcome = run(Path(folder), minutes, seed, rate, crash_points=crash_points)
    show(console, outcome)
    write(outcome, out)
    console.print(f"The figures are in {out}.")
    sys.exit(1 if outcome.differences or outcome.ended_by_themselves else 0)


def run(folder: Path, minutes: float, seed: int, rate: float, *, crash_points: bool) -> Outcome:
    outcome = Outcome(seed, minutes)
    wall_clock = _wall_clock(folder, outcome)
    environment = wall_clock.environment if wall_clock else {}
    os.environ.update(environment)  # For whatever the house starts: its processes and the issuer of tokens.
    pace = Pace(rate)
    with _told("the house starts"), ExitStack() as closing:
        load = closing.enter_context(a_programme_under_way(folder, HeavyLoad))
        people = take_in_many(load, folder / "many.csv", MANY)
        for part in (people[::2], people[1::2]):
            load.add(BulkLane(load.patient, part, pace).acts())
        rest = closing.pop_all()
    with rest:
        pace.begin()
        if crash_points:
            with _told("each crash point kills its processes, under load"):
                outcome.crash_points = crash_points_are_passed(load, folder)
        try:
            strike_for(load, pace, minutes, seed, wall_clock, outcome)
        finally:
            shutil.rmtree(KEPT_LOGS, ignore_errors=True)
            shutil.copytree(load.programme.world.folder / "logs", KEPT_LOGS)
            console.print(f"What the processes said is in {KEPT_LOGS}.")
    return outcome


def strike_for(
    load: HeavyLoad, pace: Pace, minutes: float, seed: int, wall_clock: WallClock | None, outcome: Outcome
) -> None:
    world = load.programme.world
    environment = wall_clock.environment if wall_clock else {}
    with ExitStack() as closing:
        disks = _disks(closing, world, outcome)
        add_workers(world, environment)
        names = [f"{service}-{role}" for service in HOUSE for role in ("api", "worker")] + list(MORE_WORKERS)
        supervisor = Supervisor(world, names, environment)
        striker = Striker(world, supervisor, disks, wall_clock)
        with supervisor.looking_after():
            pace.begin()
            begun, before = time.time(), outcome.number_of_events(world)
            with load.flowing():
                _strike(load, pace, striker, lanes(minutes, frozenset(outcome.skipped)), minutes, seed)
            outcome.seconds = time.time() - begun
            outcome.events = outcome.number_of_events(world) - before
            with _told("everything settles"):
                load.settle()
            with _told("the evidence is examined"):
                outcome.examine(load, striker)


def _strike(load: HeavyLoad, pace: Pace, striker: Striker, plan: list[Lane], minutes: float, seed: int) -> None:
    """Returns when every lane is through. Raises what a fault could not do."""
    until = time.monotonic() + 60 * minutes
    errors: list[BaseException] = []
    threads = [threading.Thread(target=_go_through, args=(striker, lane, seed, until, errors)) for lane in plan]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        load.raise_what_a_lane_met()
        console.print(
            f"[dim]{time.monotonic() - begun:5.0f} s  {len(striker.done):3} faults  "
            f"{pace.events:9,} events in bulk  {load.counts['commands']:6,} commands  "
            f"{load.counts['repeats']:5,} repeated[/dim]"
        )
        next((thread for thread in threads if thread.is_alive()), threads[0]).join(10)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _go_through(striker: Striker, lane: Lane, seed: int, until: float, errors: list[BaseException]) -> None:
    dice, left = lane.dice(seed), lane.at_least.copy()
    try:
        while time.monotonic() < until or left.total() > 0:
            for kind, rest in lane.turns:
                if time.monotonic() >= until and left[kind] <= 0:
                    continue
                _when_it_can(striker, kind, dice)
                left[kind] -= left[kind] > 0
                time.sleep(rest if time.monotonic() < until else 1)
    except BaseException as error:  # noqa: BLE001 (raised again where the lanes end)
        errors.append(error)


def _when_it_can(striker: Striker, kind: str, dice: random.Random) -> None:
    while True:
        try:
            striker.strike(kind, dice)
        except Busy:
            time.sleep(0.5)
        else:
            return


def _wall_clock(folder: Path, outcome: Outcome) -> WallClock | None:
    try:
        return WallClock(folder)
    except NotHere as why:
        outcome.skip(CLOCK_KINDS, why)
        return None


def _disks(closing: ExitStack, world: World, outcome: Outcome) -> dict[str, Disk]:
    try:
        return closing.enter_context(disks_of_their_own(world))
    except NotHere as why:
        outcome.skip(DISK_KINDS, why)
        world.start_postgres()
        world.start_kafka()
        return {}


@contextmanager
def _told(what: str) -> Iterator[None]:
    begun = time.monotonic()
    console.print(f"{what[:1].upper()}{what[1:]} …")
    yield
    console.print(f"  [dim]{time.monotonic() - begun:.0f} s[/dim]")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
