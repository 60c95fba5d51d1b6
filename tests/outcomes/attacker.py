"""Somebody who wants to know: what can be worked out from public counts. Knows nothing of how they were protected.

The attacker's knowledge is a system over whole numbers: a variable for each count that may exist, the sums that parts
add up to, which count holds which, what is shown, and that what is hidden is no zero where zeros are shown. A number
is worked out if it is the same in every solution: so for each the attacker looks for one in which it is another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from highspy import Highs, HighsModelStatus, HighsVarType, ObjSense

Solution = Mapping[str, int]


@dataclass
class Knowledge:
    """Counts by name: each at least 0, and at most `most`. Learn everything first, and then ask."""

    most: int
    bounds: dict[str, tuple[int, int]] = field(default_factory=dict)
    sums: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # the whole, and its parts
    within: list[tuple[str, str]] = field(default_factory=list)  # the smaller, and what holds it

    def knows(self, name: str, low: int, high: int | None = None) -> None:
        self.bounds[name] = (low, self.most if high is None else high)

    def adds_up(self, whole: str, parts: Iterable[str]) -> None:
        self.sums.append((whole, tuple(parts)))

    def works_out(self, name: str, count: int) -> bool:
        """Whether `name` can be nothing else than `count`."""
        return self._worlds.agree_on({name: 1}, count)

    def works_out_rest(self, larger: str, smaller: str, rest: int) -> bool:
        return self._worlds.agree_on({larger: 1, smaller: -1}, rest)

    @cached_property
    def _worlds(self) -> "_Worlds":
        return _Worlds(self)


class _Worlds:
    """Everything that may be so: looked for by a solver of whole numbers, and what it has found is kept."""

    def __init__(self, known: Knowledge) -> None:
        self._names = {name: column for column, name in enumerate(known.bounds)}
        self._solver = Highs()
        self._solver.setOptionValue("output_flag", False)
        for column, (low, high) in enumerate(known.bounds.values()):
            self._solver.addVar(low, high)
            self._solver.changeColIntegrality(column, HighsVarType.kInteger)
        for whole, parts in known.sums:
            self._add_row(0, 0, {whole: 1} | dict.fromkeys(parts, -1))
        for smaller, larger in known.within:
            self._add_row(-known.most, 0, {smaller: 1, larger: -1})
        self._found: list[Solution] = []

    def _add_row(self, low: int, high: int, factors: Mapping[str, int]) -> None:
        columns = [self._names[name] for name in factors]
        self._solver.addRow(low, high, len(columns), columns, list(factors.values()))

    def agree_on(self, factors: Mapping[str, int], value: int) -> bool:
        """Whether this sum has this value in every world."""
        if any(_sum(factors, world) != value for world in self._found):
            return False
        return all(self._furthest(factors, way) == value for way in (ObjSense.kMaximize, ObjSense.kMinimize))

    def _furthest(self, factors: Mapping[str, int], way: ObjSense) -> int:
        for name, factor in factors.items():
            self._solver.changeColCost(self._names[name], factor)
        self._solver.changeObjectiveSense(way)
        self._solver.run()
        assert self._solver.getModelStatus() == HighsModelStatus.kOptimal, "What really is so has to be possible."
        values = self._solver.getSolution().col_value
        self._found.append({name: round(values[column]) for name, column in self._names.items()})
        for name in factors:
            self._solver.changeColCost(self._names[name], 0)
        return _sum(factors, self._found[-1])


def _sum(factors: Mapping[str, int], world: Solution) -> int:
    return sum(factor * world[name] for name, factor in factors.items())
