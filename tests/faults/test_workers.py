"""Several workers of one group: one sleeps and wakes, one dies, and the partitions change hands while commands flow."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.faults.load import Load
from tests.support.world import REGISTRY, TRAINING, World, wait_for

SERVICES = (REGISTRY, TRAINING)


@pytest.fixture(scope="module")
def world(load: Load) -> Iterator[World]:
    """Two workers of each service; in the end there is one again."""
    world = load.programme.world
    for service in SERVICES:
        world.start_process(f"{service}-worker-2")
    for service in SERVICES:
        world.await_state(f"{service}-worker-2", "ready")
    yield world
    for service in SERVICES:
        if world.process(f"{service}-worker").pid() is None:
            world.start_process(f"{service}-worker")
        world.process(f"{service}-worker-2").stop()


def test_a_worker_that_slept_while_others_took_over_changes_nothing_when_it_wakes(load: Load, world: World) -> None:
    with load.flowing():
        load.await_acts(10)
        sleepers = [world.process(leader_and_other(world, service)[1]) for service in SERVICES]
        for sleeper in sleepers:
            assert sleeper.freeze()
        load.await_acts(20)
        for service in SERVICES:
            # Some of this stands in partitions of the sleeper, until the group has given them to the other.
            has_read = partial(world.has_read, service, world.sent_to(service))
            load.await_that(f"somebody else reads for {service}", has_read)
        for sleeper in sleepers:
            assert sleeper.thaw()
        load.await_acts(20)
    load.assert_nothing_was_lost()


def test_the_other_worker_leads_and_reads_when_the_leader_is_killed(load: Load, world: World) -> None:
    with load.flowing():
        load.await_acts(10)
        leaders, others = zip(*(leader_and_other(world, service) for service in SERVICES), strict=True)
        for leader in leaders:
            world.process(leader).kill()
        for other in others:
            world.await_state(other, "relay_leads")
        load.await_acts(20)
    load.assert_nothing_was_lost()


def leader_and_other(world: World, service: str) -> tuple[str, str]:
    """Whose relay leads, and whose waits its turn."""
    names = (f"{service}-worker", f"{service}-worker-2")

    def leader() -> str | None:
        return next((name for name in names if (world.state_of(name) or {}).get("relay_leads")), None)

    leads = wait_for(f"a worker of {service} leads", leader)
    return leads, next(name for name in names if name != leads)
