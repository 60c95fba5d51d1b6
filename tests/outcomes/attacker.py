"""Somebody who wants to know: what can be worked out from public counts. Knows nothing of how they were protected.

The attacker's knowledge is a system over whole numbers: a variable for each count that may exist, the sums that parts
add up to, which count holds which, what is shown, and that what is hidden is no zero where zeros are shown. A number
is worked out if it is the same in every solution: so for each the attacker looks for one in which it is another.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Bounds = dict[str, tuple[int, int]]


@dataclass
class Knowledge:
    """Counts by name: each at least 0, and at most `most`."""

    most: int
    bounds: Bounds = field(default_factory=dict)
    sums: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # the whole, and its parts
    within: list[tuple[str, str]] = field(default_factory=list)  # the smaller, and what holds it

    def knows(self, name: str, low: int, high: int | None = None) -> None:
        self.bounds[name] = (low, self.most if high is None else high)

    def adds_up(self, whole: str, parts: Iterable[str]) -> None:
        self.sums.append((whole, tuple(parts)))

    def can_be(self, changes: Mapping[str, tuple[int, int]], rest: tuple[str, str, int, int] | None = None) -> bool:
        """Whether there is a solution with other bounds for some counts, or for the difference of two."""
        bounds = dict(self.bounds)
        for name, (low, high) in changes.items():
            bounds[name] = (max(low, bounds[name][0]), min(high, bounds[name][1]))
        return _solution(self, bounds, rest) is not None

    def works_out(self, name: str, count: int) -> bool:
        """Whether `name` can be nothing else than `count`."""
        return not self.can_be({name: (0, count - 1)}) and not self.can_be({name: (count + 1, self.most)})

    def works_out_rest(self, larger: str, smaller: str, rest: int) -> bool:
        below = self.can_be({}, (larger, smaller, -self.most, rest - 1))
        return not below and not self.can_be({}, (larger, smaller, rest + 1, self.most))


def _solution(known: Knowledge, bounds: Bounds, rest: tuple[str, str, int, int] | None) -> Bounds | None:
    """Narrows the bounds as far as they go, then tries the values of the count with the fewest."""
    narrowed = _narrowed(known, bounds, rest)
    if narrowed is None:
        return None
    open_ = [(high - low, name) for name, (low, high) in narrowed.items() if low < high]
    if not open_:
        return narrowed
    _, name = min(open_)
    low, high = narrowed[name]
    middle = (low + high) // 2
    for part in ((low, middle), (middle + 1, high)):
        found = _solution(known, narrowed | {name: part}, rest)
        if found is not None:
            return found
    return None


def _narrowed(known: Knowledge, bounds: Bounds, rest: tuple[str, str, int, int] | None) -> Bounds | None:
    bounds = dict(bounds)
    before: Bounds = {}
    while before != bounds:
        before = dict(bounds)
        for whole, parts in known.sums:
            _narrow_sum(bounds, whole, parts)
        for smaller, larger in known.within:
            (low, high), (least, most) = bounds[smaller], bounds[larger]
            bounds[smaller], bounds[larger] = (low, min(high, most)), (max(low, least), most)
        if rest is not None:
            _narrow_rest(bounds, *rest)
        if any(low > high for low, high in bounds.values()):
            return None
    return bounds


def _narrow_sum(bounds: Bounds, whole: str, parts: Sequence[str]) -> None:
    least, most = sum(bounds[part][0] for part in parts), sum(bounds[part][1] for part in parts)
    low, high = bounds[whole]
    bounds[whole] = low, high = max(low, least), min(high, most)
    for part in parts:
        part_low, part_high = bounds[part]
        others_least, others_most = least - part_low, most - part_high
        bounds[part] = max(part_low, low - others_most), min(part_high, high - others_least)
        # The sums above were taken before; they only get tighter with the next round.


def _narrow_rest(bounds: Bounds, larger: str, smaller: str, least: int, most: int) -> None:
    (low, high), (other_low, other_high) = bounds[larger], bounds[smaller]
    bounds[larger] = max(low, other_low + least), min(high, other_high + most)
    bounds[smaller] = max(other_low, low - most), min(other_high, high - least)
