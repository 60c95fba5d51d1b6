"""How the people of a class fare: what they answer, on which days they come, what they learn. Pure, but for chance."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.training import DeliveryMode
from deploy.demo.programme import SEED, Class, Course

# --- Before it begins -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What the people with a place say when they are asked. The numbers are those of their places."""

    confirm: Sequence[int]
    withdraw: Mapping[int, str]  # with the reason
    silent: Sequence[int]


def plan_answers(planned: Class, places: Sequence[int]) -> Answers:
    """Two or three of thirty withdraw, most because they cannot leave their children; one says nothing.

    Of a small class one or two.
    """
    rng = random.Random(f"{SEED} answers {planned.number}")
    of_thirty = 4 if planned.mode is DeliveryMode.CLASSROOM else 3
    leaving = rng.sample(sorted(places), min(len(places), max(1, of_thirty * planned.capacity // 30)))
    silent, *others = leaving or [0]
    reasons = ["cannot_leave_children", rng.choice(("illness", "work")), "cannot_leave_children"]
    return Answers(
        confirm=[place for place in sorted(places) if place not in leaving],
        withdraw=dict(zip(others, reasons, strict=False)),
        silent=[silent] if leaving else [],
    )


# --- In class ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learner:
    """How one participant fares, known by the place: what comes is drawn once, and what is decided follows."""

    marks: Sequence[str]  # a day each
    pre_test: int
    post_test: int
    attempts: Mapping[str, Sequence[bool]]  # unit -> the results, one or two

    def completes(self, course: Course, minimum_percent: int) -> bool:
        """The rule in plain words: enough days, and competent in all that is critical."""
        present = self.marks.count("present")
        competent = all(self.attempts[unit.unit_id][-1] for unit in course.units if unit.critical)
        return present * 100 >= minimum_percent * len(self.marks) and competent


def plan_learners(planned: Class, places: Sequence[int]) -> dict[int, Learner]:
    """Nineteen of twenty come on a day; one of the class falls ill and misses two; nine of ten pass a unit at once."""
    rng = random.Random(f"{SEED} class {planned.number}")
    ill = rng.choice(sorted(places))
    return {place: _learner(planned, rng, ill=place == ill) for place in sorted(places)}


def _learner(planned: Class, rng: random.Random, *, ill: bool) -> Learner:
    marks = [rng.choices(("present", "excused", "absent"), (96, 2, 2))[0] for _ in planned.days]
    if ill:
        marks[2:4] = ["excused", "excused"]
    pre_test = rng.randint(20, 65)
    attempts = {}
    for unit in planned.course.units:
        first = rng.random() < 0.9
        attempts[unit.unit_id] = (True,) if first else (False, rng.random() < 0.7)
    return Learner(marks, pre_test, min(100, pre_test + rng.randint(10, 40)), attempts)
