"""Protection of public counts: what is hidden beside the small ones, and what an attacker can still work out."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.outcomes.figures.protection import Breakdown, Column, Leaf, Protected, protect
from tests.outcomes.attacker import Knowledge

AREA, CLASS = "area", "class"
BOTH = frozenset({AREA, CLASS})

CHAIN = (
    Column("enrolled", by=BOTH),
    Column("completed", within=("enrolled",), by=BOTH),
    Column("graduated", within=("completed",), by=BOTH),
)


def areas(counts: Mapping[str, Sequence[int]], columns: Sequence[Column] = CHAIN) -> dict[str, Leaf]:
    """A kecamatan is written "a1": the first of kabupaten a."""
    return {
        name: Leaf(frozenset({name[0]}), dict(zip((c.name for c in columns), row, strict=True)))
        for name, row in counts.items()
    }


def totals_of(leaves: Breakdown, columns: Sequence[Column] = CHAIN) -> dict[str, int]:
    return {c.name: sum(leaf.counts[c.name] for leaf in leaves.values()) for c in columns}


def of_areas(counts: Mapping[str, Sequence[int]], smallest: int = 5) -> "Truth":
    columns = tuple(Column(c.name, c.within, frozenset({AREA})) for c in CHAIN)
    leaves = areas(counts, columns)
    return Truth(columns, totals_of(leaves, columns), {AREA: leaves}, smallest)


def shown(counts: Mapping[str, Sequence[int]]) -> Protected:
    return of_areas(counts).protected()


def column(result: Protected, name: str) -> dict[str, int | None]:
    return {node: row[name] for node, row in sorted(result.cells[AREA].items())}


# --- What is hidden ---------------------------------------------------------------------------------------------------


def test_large_counts_and_zeros_are_shown_as_they_are():
    result = shown({"a1": (40, 30, 10), "a2": (20, 0, 0), "b1": (50, 40, 20)})
    assert column(result, "enrolled") == {"a": 60, "a1": 40, "a2": 20, "b": 50, "b1": 50}
    assert column(result, "completed") == {"a": 30, "a1": 30, "a2": 0, "b": 40, "b1": 40}
    assert result.totals == {"enrolled": 110, "completed": 70, "graduated": 30}


def test_a_small_count_takes_the_smallest_beside_it_along():
    result = shown({"a1": (3, 0, 0), "a2": (20, 0, 0), "a3": (10, 0, 0)})
    assert column(result, "enrolled") == {"a": 33, "a1": None, "a2": 20, "a3": None}


def test_a_small_count_without_a_neighbour_hides_the_area_above_too():
    result = shown({"a1": (3, 0, 0), "b1": (20, 0, 0), "c1": (30, 0, 0)})
    assert column(result, "enrolled") == {"a": None, "a1": None, "b": None, "b1": None, "c": 30, "c1": 30}


def test_a_small_rest_hides_the_count_that_would_tell_it():
    result = shown({"a1": (30, 28, 0), "a2": (30, 20, 0)})
    assert column(result, "enrolled") == {"a": 60, "a1": 30, "a2": 30}
    assert column(result, "completed") == {"a": 48, "a1": None, "a2": None}


def test_two_small_counts_that_can_only_be_one_each_need_a_third():
    result = shown({"a1": (1, 0, 0), "a2": (1, 0, 0), "a3": (9, 0, 0), "a4": (12, 0, 0)})
    assert column(result, "enrolled") == {"a": 23, "a1": None, "a2": None, "a3": None, "a4": 12}


def test_a_hidden_total_withholds_its_parts_with_their_zeros():
    result = shown({"a1": (40, 2, 0), "a2": (20, 0, 0), "b1": (9, 0, 0)})
    assert result.totals == {"enrolled": 69, "completed": None, "graduated": 0}
    assert set(column(result, "completed").values()) == {None}
    assert set(column(result, "graduated").values()) == {0}


def test_a_total_may_be_hidden_for_the_callers_reasons():
    leaves = areas({"a1": (40, 30, 10), "a2": (20, 15, 6)})
    result = protect(CHAIN, totals_of(leaves), {AREA: leaves}, 5, hidden=["completed"])
    assert result.totals["completed"] is None
    assert set(column(result, "completed").values()) == {None}


# --- What can be worked out -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """A programme as it is: what the attacker does not see."""

    columns: tuple[Column, ...]
    totals: dict[str, int]
    breakdowns: dict[str, Breakdown]
    smallest: int

    def protected(self) -> Protected:
        return protect(self.columns, self.totals, self.breakdowns, self.smallest)

    def rows(self) -> Iterator[tuple[str, list[Column], dict[str, int]]]:
        """Every part with its counts, and the whole."""
        yield "", list(self.columns), self.totals
        for name, leaves in self.breakdowns.items():
            present = [c for c in self.columns if name in c.by]
            for node in sorted({node for leaf, held in leaves.items() for node in (leaf, *held.above)}):
                below = [held for leaf, held in leaves.items() if node == leaf or node in held.above]
                yield f"{node} ", present, {c.name: sum(held.counts[c.name] for held in below) for c in present}

    def holders(self, column: Column) -> set[str]:
        """Whatever holds a column, directly or not."""
        by_name = {c.name: c for c in self.columns}
        return set(column.within).union(*(self.holders(by_name[name]) for name in column.within))

    def secrets(self) -> Iterator[tuple[str, str | None, int]]:
        """Every small number that there is: a count, or what one that holds it has more."""
        for place, present, row in self.rows():
            for column in present:
                if 0 < row[column.name] < self.smallest:
                    yield place + column.name, None, row[column.name]
                for outer in sorted(self.holders(column) & row.keys()):
                    if 0 < row[outer] - row[column.name] < self.smallest:
                        yield place + column.name, place + outer, row[outer] - row[column.name]

    def worked_out(self, public: Protected) -> list[tuple[str, str | None, int]]:
        known = self.knowledge(public)
        return [
            (name, outer, count)
            for name, outer, count in self.secrets()
            if (known.works_out(name, count) if outer is None else known.works_out_rest(outer, name, count))
        ]

    def knowledge(self, public: Protected) -> Knowledge:
        """All that is public, and how it hangs together."""
        known = Knowledge(most=max(self.totals.values()) + self.smallest)
        for place, present, _ in self.rows():
            cells = self._public_row(public, place)
            for column in present:
                name, count = column.name, cells[column.name]
                known.knows(place + name, self._least(public, place, name) if count is None else count, count)
                holders = self.holders(column) & {c.name for c in present}
                known.within += [(place + name, place + outer) for outer in holders]
        for breakdown, leaves in self.breakdowns.items():
            for column in (c for c in self.columns if breakdown in c.by):
                known.adds_up(column.name, (f"{leaf} {column.name}" for leaf in leaves))
                for node in sorted({node for held in leaves.values() for node in held.above}):
                    parts = (f"{leaf} {column.name}" for leaf, held in leaves.items() if node in held.above)
                    known.adds_up(f"{node} {column.name}", parts)
        return known

    def _public_row(self, public: Protected, place: str) -> Mapping[str, int | None]:
        if not place:
            return public.totals
        return next(cells[place.strip()] for cells in public.cells.values() if place.strip() in cells)

    def _least(self, public: Protected, place: str, name: str) -> int:
        """What is hidden is no zero, but where a whole column says nothing of any part."""
        if not place:
            return 1
        cells = next(cells for cells in public.cells.values() if place.strip() in cells)
        return 0 if all(row[name] is None for row in cells.values()) else 1


KECAMATAN = {"a1": {"a"}, "a2": {"a"}, "a3": {"a"}, "b1": {"b"}, "b2": {"b"}, "c1": {"c"}}
COHORTS = {"k1": {"K", "classroom"}, "k2": {"K", "on site"}, "l1": {"L", "classroom"}, "l2": {"L", "on site"}}
ENROLLED, COMPLETED, GRADUATED = CHAIN
PROGRAMMES = (
    CHAIN,
    (ENROLLED, Column("graduated", ("enrolled",), BOTH), Column("kept", ("enrolled",))),
    (ENROLLED, Column("kept", ("enrolled",)), Column("completed", ("kept",), BOTH), GRADUATED),
    (ENROLLED, COMPLETED, Column("above", ("completed",), BOTH), GRADUATED),
    (ENROLLED, COMPLETED, Column("in play", ("enrolled",)), Column("now", ("completed", "in play"), BOTH)),
    (ENROLLED, COMPLETED, Column("due", ("completed",), frozenset({AREA})), GRADUATED),
)


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Some groups of people: each in a kecamatan and a cohort, and in as many counts as they have reached."""
    columns = draw(st.sampled_from(PROGRAMMES))
    group = st.tuples(st.sampled_from(sorted(KECAMATAN)), st.sampled_from(sorted(COHORTS)), st.integers(0, 7))
    groups = draw(st.lists(st.tuples(group, st.integers(1, 8)), max_size=9))
    counts = {place: {c.name: 0 for c in columns} for place in (*KECAMATAN, *COHORTS, "")}
    for (kecamatan, cohort, steps), people in groups:
        reached = {columns[0].name}
        for bit, column in enumerate(columns[1:]):
            if steps >> bit & 1 and reached.issuperset(column.within):
                reached.add(column.name)
        for place in (kecamatan, cohort, ""):
            for name in reached:
                counts[place][name] += people
    return Truth(
        columns=columns,
        totals=counts[""],
        breakdowns={
            AREA: {name: Leaf(frozenset(above), counts[name]) for name, above in KECAMATAN.items()},
            CLASS: {name: Leaf(frozenset(above), counts[name]) for name, above in COHORTS.items()},
        },
        smallest=draw(st.sampled_from([2, 3, 5])),
    )


@given(truths())
@settings(max_examples=250)
def test_no_small_number_can_be_worked_out_from_all_that_is_public(truth: Truth):
    assert truth.worked_out(truth.protected()) == []


@given(truths())
@settings(max_examples=100)
def test_what_is_shown_is_true_and_never_small(truth: Truth):
    public = truth.protected()
    for place, present, row in truth.rows():
        cells = truth._public_row(public, place)
        for column in present:
            assert cells[column.name] in (None, row[column.name])
            assert cells[column.name] is None or not 0 < row[column.name] < truth.smallest


def test_the_attacker_finds_what_is_not_protected():
    """Else the attacker's failure would prove nothing: with small counts alone hidden, a lot can be worked out."""
    truth = of_areas({"a1": (3, 0, 0), "a2": (20, 0, 0), "b1": (30, 28, 0)})
    honest = truth.protected()
    naive = {
        node: {name: None if 0 < count < 5 else count for name, count in row.items()}
        for node, row in ((place.strip(), row) for place, _, row in truth.rows() if place)
    }
    found = truth.worked_out(replace(honest, totals=truth.totals, cells={AREA: naive}))
    assert ("a1 enrolled", None, 3) in found
    assert ("b1 completed", "b1 enrolled", 2) in found
    assert truth.worked_out(honest) == []


def test_the_attacker_joins_sums_that_tell_nothing_one_by_one():
    """Two hidden counts in two sums each, and one that both sums share: only all sums together tell it."""
    known = Knowledge(most=20)
    for name in ("x", "y", "z"):
        known.knows(name, 1)
    for whole, parts, count in (("xy", "xy", 5), ("yz", "yz", 4), ("xz", "xz", 3)):
        known.knows(whole, count, count)
        known.adds_up(whole, parts)
    assert known.works_out("x", 2)
    assert known.works_out("y", 3)


def test_a_province_with_every_kecamatan_is_protected_within_a_moment():
    """Of 117 kecamatan, each with a few people and as many stages as are public."""
    chance = random.Random(5)
    columns = tuple(Column(f"stage {n}", (f"stage {n - 1}",) if n else (), frozenset({AREA})) for n in range(8))
    leaves = {}
    for code in range(117):
        counts, people = {}, chance.randrange(60)
        for column in columns:
            counts[column.name] = people
            people = chance.randint(people // 3, people)
        leaves[f"k{code}"] = Leaf(frozenset({f"kab{code % 10}"}), counts)
    totals = {c.name: sum(leaf.counts[c.name] for leaf in leaves.values()) for c in columns}
    started = time.perf_counter()
    protect(columns, totals, {AREA: leaves}, 5)
    assert time.perf_counter() - started < 2
