"""The plan of the long run: every kind often enough, and the same for the same seed."""

from collections import Counter

from tests.faults.long.house import MORE_WORKERS
from tests.faults.long.schedule import LANES, lanes
from tests.faults.long.strikes import STRIKES


def test_every_kind_strikes_at_least_five_times_in_ten_minutes():
    assert {kind for turns in LANES for kind, _ in turns} == STRIKES.keys()
    least = sum((lane.at_least for lane in lanes(10, frozenset())), Counter())
    assert least == dict.fromkeys(STRIKES, 5)


def test_what_cannot_be_done_here_is_left_out_and_nothing_else():
    without = frozenset({"wall clock set", "Kafka's disk full"})
    left = {kind for lane in lanes(10, without) for kind, _ in lane.turns}
    assert left == STRIKES.keys() - without


def test_a_seed_gives_the_same_dice_again():
    first, again, other = ([lane.dice(seed).random() for lane in lanes(10, frozenset())] for seed in (7, 7, 8))
    assert first == again != other
    assert len(set(first)) == len(first), "each lane has dice of its own"


def test_there_are_two_relays_and_three_workers_throughout():
    assert sum(name.startswith("training-worker") for name in MORE_WORKERS) + 1 == 3
    assert "registry-worker-2" in MORE_WORKERS
