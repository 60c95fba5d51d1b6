"""Kafka and PostgreSQL away, for seconds and for a minute, while commands flow. Nobody restarts a process by hand."""

import time

from deploy.local.daemon import End
from tests.faults.load import Load
from tests.support.world import World

FROZEN_SECONDS = 60.0
PROCESSES = ("registry-api", "registry-worker", "training-api", "training-worker")


def test_an_immediate_restart_of_postgresql_is_waited_out(load: Load) -> None:
    world = load.programme.world
    before = pids(world)
    with load.flowing():
        load.await_acts(10)
        world.restart_postgres(immediate=True)
        load.await_acts(30)
    load.assert_nothing_was_lost()
    assert load.counts["repeats"] > 0
    assert pids(world) == before, "an outage needs no restart"


def test_a_minute_without_kafka_is_waited_out_and_every_process_still_ends_when_told(load: Load) -> None:
    """In that minute commands go on; workers and APIs are told to end, and PostgreSQL crashes."""
    world = load.programme.world
    world.start_process("registry-worker-2")
    world.await_state("registry-worker-2", "ready")
    staying = pids(world, "training-api", "training-worker", "registry-worker-2")
    with load.flowing():
        load.await_acts(10)
        commands = load.counts["commands"]
        with world.kafka_frozen():
            thaw_at = time.monotonic() + FROZEN_SECONDS
            load.await_acts(20)
            # The one that leads the relay has a batch in flight; the one that is started now waits from its beginning.
            ends_when_told_and_starts_again(world, "registry-worker")
            log = world.process("registry-worker").log_file
            load.await_that("the new worker waits for Kafka", lambda: "waiting for Kafka" in log.read_text())
            ends_when_told_and_starts_again(world, "registry-worker")
            ends_when_told_and_starts_again(world, "registry-api")
            load.await_acts(20)
            world.restart_postgres(immediate=True)
            load.await_acts(20)
            assert load.counts["commands"] - commands > 50, "commands do not wait for Kafka"
            time.sleep(max(0.0, thaw_at - time.monotonic()))
        load.await_acts(20)
    load.assert_nothing_was_lost()
    assert pids(world, *staying) == staying, "an outage needs no restart"
    world.process("registry-worker-2").stop()


def ends_when_told_and_starts_again(world: World, name: str) -> None:
    assert world.process(name).stop(patience_seconds=5.0) is End.STOPPED, f"{name} did not end within 5 s"
    world.start_process(name)


def pids(world: World, *names: str) -> dict[str, int | None]:
    return {name: world.process(name).pid() for name in names or PROCESSES}
