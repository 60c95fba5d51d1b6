"""`make test-faults MINUTES=10`: bad luck of every kind while commands flow, and then the oracle says whether it hurt.

Two things go wrong at a time: servers on one track (Kafka frozen or killed, PostgreSQL killed), processes on the other
(killed, asleep past their session, cut off, restarted one after the other). Whatever ends is started again by a
supervisor, as a container platform does; nothing is done by hand. The same --seed gives the same bad luck.

Not tried here: the wall clock of the machine (the programme's own clock is steered by the tests of timers), full disks.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from deploy.demo.lists import ListSize
from services.kit.crash import CRASH_POINTS
from tests.faults.arming import armed, reached
from tests.faults.beginning import a_programme_under_way
from tests.faults.load import Load
from tests.faults.supervisor import Supervisor
from tests.support.stack import ROOT
from tests.support.world import HOUSE, World, wait_for

EACH = 5  # times, in a run of ten minutes
FROZEN_SECONDS, ASLEEP_SECONDS = 62.0, 9.0
MANY = ListSize("long", households=400, people=1_800, villages_per_kabupaten=2)
CROWDS = 3
GAP_SECONDS = 2.0

EVERY_WORKER = "sealed-not-sent:{n},sent-not-marked:{n},folded-not-committed:{n},committed-not-offset:{n}"
OF_SERVICES = {"registry": "checkpoint-not-published:1", "training": "timer-before-commit:3"}
NOT_HERE = {"half-an-import", "sending-started-not-sent", "sent-not-recorded", "forgotten-not-noted"}
"""Points of an import, a mail and a forgotten number: nothing of the kind flows here; the short run passes them."""


def names_of_processes() -> list[str]:
    """Two workers of each service, three of the registry: as many relays wait to lead."""
    workers = [f"{service}-worker{suffix}" for service in HOUSE for suffix in ("", "-2")]
    return [*workers, "registry-worker-3", *(f"{service}-api" for service in HOUSE)]


@dataclass
class Story:
    """What went wrong so far, and how much was done meanwhile."""

    times: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)


@dataclass
class Luck:
    """The kinds of fault, each a method. `world` is shared by both tracks."""

    load: Load
    world: World
    dice: random.Random
    frozen_seconds: float

    def servers(self) -> dict[str, Callable[[], None]]:
        return {
            f"Kafka frozen for {self.frozen_seconds:.0f} s": self.freeze_kafka,
            "Kafka killed": self.kill_kafka,
            "PostgreSQL killed": self.kill_postgres,
        }

    def processes(self) -> dict[str, Callable[[], None]]:
        return {
            "worker killed (-9)": lambda: self._kill("worker"),
            "API killed (-9)": lambda: self._kill("api"),
            "worker asleep past its session, then awake": self.sleep_through_a_session,
            "connections of a leading relay cut": self.cut_a_leader,
            "all connections of a service cut": self.cut_a_service,
            "rolling restart of a service": self.restart_one_after_the_other,
        }

    def freeze_kafka(self) -> None:
        with self.world.kafka_frozen():
            time.sleep(self.frozen_seconds)

    def kill_kafka(self) -> None:
        self.world.kill_kafka()
        time.sleep(self.dice.uniform(1, 4))
        self.world.start_kafka()

    def kill_postgres(self) -> None:
        self.world.restart_postgres(immediate=True)

    def _kill(self, role: str) -> None:
        self.world.process(self._one_of(role)).kill()

    def sleep_through_a_session(self) -> None:
        sleeper = self.world.process(self._one_of("worker"))
        if sleeper.freeze():
            time.sleep(ASLEEP_SECONDS)
            sleeper.thaw()

    def cut_a_leader(self) -> None:
        """The relay's lock is on its own connection; the session that holds it is the leader."""
        self._cut(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = %s"
        )

    def cut_a_service(self) -> None:
        self._cut(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        )

    def _cut(self, query: str) -> None:
        database = f"entas_{self.dice.choice(HOUSE)}"
        try:
            with psycopg.connect(self.world.postgres_server.dsn, connect_timeout=5) as connection:
                connection.execute(query.encode(), [database])
        except psycopg.OperationalError:
            return  # The server is away itself, which is a cut as well.

    def restart_one_after_the_other(self) -> None:
        service = self.dice.choice(HOUSE)
        for name in [name for name in names_of_processes() if name.startswith(f"{service}-")]:
            self.world.process(name).stop()
            wait_for(f"{name} is started again", self.world.process(name).pid, seconds=30)

    def _one_of(self, role: str) -> str:
        return self.dice.choice([name for name in names_of_processes() if f"-{role}" in name])


def plan(dice: random.Random, kinds: Sequence[str], each: int) -> list[str]:
    """Every kind that often, in an order by chance."""
    planned = [kind for kind in kinds for _ in range(each)]
    dice.shuffle(planned)
    return planned


def main() -> None:
    options = _options()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"seed {seed}: `make test-faults MINUTES={options.minutes:g} SEED={seed}` repeats it")
    whole = options.minutes >= 10
    with tempfile.TemporaryDirectory() as folder, a_programme_under_way(Path(folder), MANY, CROWDS) as load:
        luck = Luck(load, load.programme.world, random.Random(seed), FROZEN_SECONDS if whole else 20.0)
        began, before = time.monotonic(), _logged(luck.world)
        story = _go_through(luck, EACH if whole else 1, options.minutes * 60, Path(folder), console)
        flowed = time.monotonic() - began
        console.print("settling; then every table, log and topic is held against the oracle")
        copies = load.assert_nothing_was_lost()
        _assert_nothing_stands(luck.world)
        total = _logged(luck.world) - before
    _show(console, story, total, copies, flowed, load)
    _keep(story, seed, total, copies, flowed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="at least so long; 10 and more: each kind 5 times")
    parser.add_argument("--seed", type=int, help="repeats the bad luck of an earlier run")
    return parser.parse_args()


def _go_through(luck: Luck, each: int, seconds: float, folder: Path, console: Console) -> Story:
    """Both tracks side by side while commands flow, until each kind was there often enough and the time is over."""
    story, lock = Story(), threading.Lock()
    failures: list[BaseException] = []
    until = time.monotonic() + seconds

    def track(name: str, kinds: dict[str, Callable[[], None]]) -> None:
        try:
            dice = random.Random(f"{luck.dice.random()} {name}")
            for kind in _at_least(dice, list(kinds), each, until):
                began = _logged(luck.world)
                kinds[kind]()
                time.sleep(GAP_SECONDS)
                with lock:
                    story.times[kind] += 1
                    story.events[kind] += _logged(luck.world) - began
                console.print(f"{max(0, until - time.monotonic()):5.0f} s left  {kind}", highlight=False)
        except BaseException as failure:  # noqa: BLE001 (raised again below)
            failures.append(failure)

    environments = {name: _armed(folder, name, number) for number, name in enumerate(names_of_processes())}
    supervisor = Supervisor(luck.world, environments)
    with supervisor.looking_after():
        with luck.load.flowing():
            tracks = [
                threading.Thread(target=track, args=("servers", luck.servers()), daemon=True),
                threading.Thread(target=track, args=("processes", luck.processes()), daemon=True),
            ]
            for thread in tracks:
                thread.start()
            for thread in tracks:
                thread.join()
            luck.load.await_acts(20)
        luck.world.settle()
    if failures:
        raise failures[0]
    for _, point in reached(folder / "marks"):
        story.times[f"killed at {point}"] += 1
    missing = CRASH_POINTS - NOT_HERE - {point for _, point in reached(folder / "marks")}
    assert not missing, f"these crash points were not passed: {', '.join(sorted(missing))}"
    return story


def _at_least(dice: random.Random, kinds: list[str], each: int, until: float) -> Iterator[str]:
    """Each kind that often, and then whichever, while there is time."""
    yield from plan(dice, kinds, each)
    while time.monotonic() < until:
        yield dice.choice(kinds)


def _armed(folder: Path, name: str, number: int) -> dict[str, str]:
    (folder / "marks").mkdir(exist_ok=True)
    service = name.partition("-")[0]
    if "-api" in name:
        points = f"command-before-commit:{30 + number},command-after-commit:{40 + number}"
    else:
        points = ",".join(filter(None, [EVERY_WORKER.format(n=5 + number), OF_SERVICES.get(service, "")]))
    return dict(armed(folder / "marks", name, points))


def _logged(world: World) -> int:
    """Events on all logs; asked again while the database is away."""

    def count() -> int | None:
        return sum(world.value(service, "SELECT coalesce(max(id), 0) FROM log") for service in HOUSE) + 1

    return wait_for("the logs can be counted", count) - 1


def _assert_nothing_stands(world: World) -> None:
    """No partition stopped, nothing parked: an outage is neither a defect nor somebody's fault."""
    for service in HOUSE:
        assert world.rows(service, "SELECT topic, partition, stopped FROM cursor WHERE stopped IS NOT NULL") == []
        assert world.rows(service, "SELECT topic, stream, reason FROM parked") == []
        assert world.value(service, "SELECT count(*) FROM outbox") == 0


def _show(console: Console, story: Story, total: int, copies: int, flowed: float, load: Load) -> None:
    table = Table("fault", "times", "events meanwhile", title=f"{flowed / 60:.1f} minutes")
    for kind, times in sorted(story.times.items()):
        table.add_row(kind, str(times), f"{story.events[kind]:,}" if kind in story.events else "")
    console.print(table)
    console.print(
        f"{total:,} events, {total / flowed:,.0f} a second; {copies:,} resent copies; {load.counts['commands']:,} "
        f"commands, {load.counts['repeats']:,} of them sent again; 0 differences from the oracle; nothing parked, "
        "nothing stopped, nothing restarted by hand."
    )


def _keep(story: Story, seed: int, total: int, copies: int, flowed: float) -> None:
    file = ROOT / ".local/faults.json"
    file.parent.mkdir(exist_ok=True)
    said = {"seed": seed, "seconds": flowed, "events": total, "copies": copies, "differences": 0, "faults": story.times}
    file.write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
