"""The faults, one function a kind. Each strikes, lasts as long as it has to, and returns when its part is over."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.kafka import answers
from services.kit.relay import LEADER_LOCK
from tests.faults.long.ground import Disk, WallClock
from tests.faults.long.house import Supervisor
from tests.support.world import HOUSE, World, wait_for

SESSION_SECONDS = 6.0  # services/kit/consumer.py: after which a silent member's partitions go to others
FROZEN_SECONDS = 62.0
FULL_SECONDS = 6.0
CLOCK_JUMPS = (3_600, -3_600, 86_400, -86_400, 300)


@dataclass
class Strike:
    """One fault that was done: when, by the wall clock, and to whom."""

    kind: str
    begun: float
    ended: float
    whom: str


@dataclass
class Striker:
    """What a fault needs, and where it notes what it did."""

    world: World
    supervisor: Supervisor
    disks: dict[str, Disk]
    wall_clock: WallClock | None
    done: list[Strike] = field(default_factory=list)

    def strike(self, kind: str, dice: random.Random) -> None:
        begun = time.time()
        whom = STRIKES[kind](self, dice)
        self.done.append(Strike(kind, begun, time.time(), whom))


# --- Processes --------------------------------------------------------------------------------------------------------


def kill_a_process(striker: Striker, dice: random.Random) -> str:
    with striker.supervisor.taking(
        lambda taken: dice.choice([n for n in striker.supervisor.names if n not in taken])
    ) as name:
        process = striker.world.process(name)
        pid = wait_for(f"{name} runs", process.pid)
        striker.supervisor.expect_end(name)
        assert process.send(signal.SIGKILL), f"{name} ended by itself in that moment"
        striker.supervisor.await_successor(name, pid)
    return name


def wake_a_zombie(striker: Striker, dice: random.Random) -> str:
    """A worker sleeps until its session is over and others have its partitions, and wakes with what it held."""

    def choose(taken: set[str]) -> str:
        return dice.choice([name for name in striker.supervisor.names if "worker" in name and name not in taken])

    with striker.supervisor.taking(choose) as name:
        process = striker.world.process(name)
        wait_for(f"{name} runs", process.pid)
        assert process.freeze(), f"{name} ended by itself in that moment"
        time.sleep(SESSION_SECONDS + dice.uniform(2, 6))
        assert process.thaw(), f"{name} ended while it was asleep"
    return name


def restart_in_turn(striker: Striker, dice: random.Random) -> str:
    """A rolling restart: every process of a service is told to end and comes again, one after the other."""
    service = dice.choice(HOUSE)
    for name in [name for name in striker.supervisor.names if name.startswith(f"{service}-")]:
        with striker.supervisor.taking(lambda taken, name=name: _when_free(taken, name)):
            process = striker.world.process(name)
            pid = wait_for(f"{name} runs", process.pid)
            striker.supervisor.expect_end(name)
            process.send(signal.SIGTERM)
            striker.supervisor.await_successor(name, pid)
    return service


def _when_free(taken: set[str], name: str) -> str:
    if name in taken:
        raise Busy(name)
    return name


class Busy(Exception):
    """Another fault has that process in its hands: try again."""


def set_the_clock(striker: Striker, dice: random.Random) -> str:
    """Of all processes at once, as when a machine's time service wakes up, and back again."""
    assert striker.wall_clock is not None
    jump = CLOCK_JUMPS[sum(strike.kind == "wall clock set" for strike in striker.done) % len(CLOCK_JUMPS)]
    striker.wall_clock.set_by(jump)
    time.sleep(8)
    striker.wall_clock.set_by(0)
    return f"{jump:+} s"


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def cut_the_leader(striker: Striker, dice: random.Random) -> str:
    """Terminates the connection on which a relay seals, which also holds the lock that makes it the leader."""
    service = dice.choice(HOUSE)
    wait_for(f"{service}'s leader is cut", lambda: _terminate_leader(striker.world, service), seconds=180)
    return service


def _terminate_leader(world: World, service: str) -> bool:
    high, low = LEADER_LOCK >> 32, LEADER_LOCK & 0xFFFFFFFF
    query = """
        SELECT pg_terminate_backend(pid) AS cut
        FROM pg_locks
        WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = %s)
    """
    with world.new_connection() as connection:
        return any(row["cut"] for row in connection.execute(query, (high, low, f"entas_{service}")).fetchall())


def cut_a_service(striker: Striker, dice: random.Random) -> str:
    """Terminates every connection of a service at once."""
    service = dice.choice(HOUSE)
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
    with striker.world.new_connection() as connection:
        connection.execute(query, [f"entas_{service}"])
    return service


def kill_postgres(striker: Striker, dice: random.Random) -> str:
    """The whole server at once (SIGQUIT), or one of its processes by SIGKILL, after which it starts all anew."""
    if dice.random() < 0.5:
        striker.world.kill_postgres()
        how = "the server"
    else:
        with striker.world.new_connection() as connection:
            query = "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'entas%' AND backend_type = 'client backend'"
            os.kill(dice.choice(connection.execute(query).fetchall())["pid"], signal.SIGKILL)
        how = "a backend"
    await_postgres(striker.world)
    return how


def fill_postgres(striker: Striker, dice: random.Random) -> str:
    with striker.disks["postgres"].full():
        time.sleep(FULL_SECONDS)
    await_postgres(striker.world)
    return "its data"


def await_postgres(world: World) -> None:
    def is_back() -> bool:
        with world.new_connection() as connection:
            return connection.execute("SELECT 1").fetchone() is not None

    wait_for("PostgreSQL answers again", is_back, seconds=240)


# --- Kafka ------------------------------------------------------------------------------------------------------------


def freeze_kafka(striker: Striker, dice: random.Random) -> str:
    striker.world.freeze_kafka()
    time.sleep(FROZEN_SECONDS)
    striker.world.thaw_kafka()
    await_kafka(striker.world)
    return f"{FROZEN_SECONDS:.0f} s"


def kill_kafka(striker: Striker, dice: random.Random) -> str:
    striker.world.kafka_broker.daemon.send(signal.SIGKILL)
    time.sleep(1)
    await_kafka(striker.world)
    return "the broker"


def fill_kafka(striker: Striker, dice: random.Random) -> str:
    """A broker whose only disk is full ends. It is started again when there is room: one that is started on a full disk
    cuts logs off when it recovers them (4.3.1), and there is no other replica here."""
    with striker.supervisor.leaving_alone("kafka"), striker.disks["kafka"].full():
        time.sleep(FULL_SECONDS)
    await_kafka(striker.world)
    return "its data"


def await_kafka(world: World) -> None:
    wait_for("Kafka answers again", lambda: answers(world.local.bootstrap), seconds=240)


STRIKES: dict[str, Callable[[Striker, random.Random], str]] = {
    "process killed (-9)": kill_a_process,
    "worker stopped and woken": wake_a_zombie,
    "relay's connection cut": cut_the_leader,
    "all connections of a service cut": cut_a_service,
    "rolling restart": restart_in_turn,
    "wall clock set": set_the_clock,
    "PostgreSQL killed": kill_postgres,
    "PostgreSQL's disk full": fill_postgres,
    "Kafka frozen > 60 s": freeze_kafka,
    "Kafka killed": kill_kafka,
    "Kafka's disk full": fill_kafka,
}

__all__ = ["STRIKES", "Busy", "Strike", "Striker"]
