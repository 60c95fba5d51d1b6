"""Several workers of one group: one sleeps and wakes, one dies, and the partitions change hands while commands flow."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.faults.load import Load
from tests.support.world import REGISTRY, TRAINING, wait_for


@pytest.fixture
def two_workers_each(load: Load) -> Iterator[dict[str, tuple[str, str]]]:
    """By service: the worker whose relay leads, and the other. One of each is left in the end."""
    world = load.programme.world
    names = {service: (f"{service}-worker", f"{service}-worker-2") for service in (REGISTRY, TRAINING)}
    for first, second in names.values():
        world.start_process(second)
        world.await_state(first, "relay_leads")
        world.await_state(second, "ready")
    yield names
    for first, second in names.values():
        world.process(second).stop()
        if world.process(first).pid() is None:
            world.start_process(first)


def test_a_worker_that_slept_while_others_took_over_changes_nothing_when_it_wakes(
    load: Load, two_workers_each: dict[str, tuple[str, str]]
) -> None:
    world = load.programme.world
    with load.flowing():
        load.await_acts(10)
        sleepers = [world.process(follower) for _, follower in two_workers_each.values()]
        for sleeper in sleepers:
            assert sleeper.freeze()
        load.await_acts(20)
        for service in two_workers_each:
            # Some of this stands in partitions of the sleeper, until the group has given them to the other.
            has_read = partial(world.has_read, service, world.sent_to(service))
            wait_for(f"somebody else reads for {service}", has_read)
        for sleeper in sleepers:
            assert sleeper.thaw()
        load.await_acts(20)
    load.assert_nothing_was_lost()


def test_the_other_worker_leads_and_reads_when_the_leader_is_killed(
    load: Load, two_workers_each: dict[str, tuple[str, str]]
) -> None:
    world = load.programme.world
    with load.flowing():
        load.await_acts(10)
        for leader, _ in two_workers_each.values():
            world.process(leader).kill()
        for _, follower in two_workers_each.values():
            world.await_state(follower, "relay_leads")
        load.await_acts(20)
    load.assert_nothing_was_lost()
