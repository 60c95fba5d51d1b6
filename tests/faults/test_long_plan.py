"""The plan of the long run: every kind often enough, and the same for the same seed."""

import random
from collections import Counter

from services.kit.crash import CRASH_POINTS
from tests.faults.long import EACH, NOT_HERE, Luck, names_of_processes, plan


def kinds() -> list[str]:
    luck = Luck(None, None, random.Random(1), 62.0)  # type: ignore[arg-type]
    return [*luck.servers(), *luck.processes()]


def test_every_kind_is_planned_as_often_as_it_has_to_be():
    assert Counter(plan(random.Random(1), kinds(), EACH)) == dict.fromkeys(kinds(), EACH)


def test_a_seed_gives_the_same_plan_again():
    first, again, other = (plan(random.Random(seed), kinds(), EACH) for seed in (7, 7, 8))
    assert first == again != other


def test_there_are_two_relays_and_three_workers_throughout():
    names = names_of_processes()
    assert sum(name.startswith("registry-worker") for name in names) == 3
    assert all(f"{service}-worker-2" in names for service in ("training", "outcomes", "notifications"))
    assert NOT_HERE < CRASH_POINTS
