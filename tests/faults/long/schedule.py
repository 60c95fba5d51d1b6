"""When which fault strikes: lanes side by side, each in turn, laid out so that what takes a minute fits."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

CYCLE_SECONDS = 120.0
"""In one cycle every kind strikes at least once. Five of them are the run of ten minutes."""

# Kind, and the seconds of rest after it. Kafka's lane is the longest: 62 s frozen, and what catching up takes.
KAFKA_LANE = (("Kafka frozen > 60 s", 10.0), ("Kafka killed", 8.0), ("Kafka's disk full", 8.0))
POSTGRES_LANE = (("PostgreSQL killed", 32.0), ("PostgreSQL's disk full", 45.0))
PROCESS_LANE = (("process killed (-9)", 2.0), ("process killed (-9)", 4.0))
SLEEPER_LANE = (("worker stopped and woken", 6.0),)
CONNECTION_LANE = (("relay's connection cut", 7.0), ("all connections of a service cut", 15.0))
HOUSE_LANE = (("rolling restart", 25.0), ("wall clock set", 25.0))
LANES = (KAFKA_LANE, POSTGRES_LANE, PROCESS_LANE, SLEEPER_LANE, CONNECTION_LANE, HOUSE_LANE)


@dataclass(frozen=True, slots=True)
class Lane:
    """Kinds in their order, again and again. Each lane has dice of its own, so that a seed gives the same run."""

    number: int
    turns: Sequence[tuple[str, float]]
    at_least: Counter[str]

    def dice(self, seed: int) -> random.Random:
        return random.Random(f"{seed}/{self.number}")


def lanes(minutes: float, without: frozenset[str]) -> list[Lane]:
    """`without`: kinds that cannot be made here. A lane goes on until its time is over and its least is done."""
    cycles = max(1, round(minutes * 60 / CYCLE_SECONDS))
    made = []
    for number, turns in enumerate(LANES):
        kept = [turn for turn in turns if turn[0] not in without]
        if kept:
            made.append(Lane(number, kept, Counter({kind: cycles for kind, _ in kept})))
    return made
