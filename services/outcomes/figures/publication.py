"""What everybody may know at one moment: the protected counts, and the figures made from them. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import areas
from contracts.areas import AreaCode
from contracts.outcomes import BasicNeed, InterventionKind
from contracts.registry import RejectionReason
from contracts.training import NotCompletedReason, WithdrawalReason
from services.outcomes.figures import counts
from services.outcomes.figures.counts import AREA, CLASS, Count
from services.outcomes.figures.definitions import FIGURES, Average, Figure, Open, RuleKind, Shown, Unit
from services.outcomes.figures.protection import Breakdown, Column, Leaf, Protected, protect
from services.outcomes.figures.sources import Dimension

DEFAULT_SMALLEST = 5
"""Fewer people than this are hidden as long as no publication rule says otherwise."""

RUPIAH_ROUNDED_TO = 1000

PARTS: dict[Dimension, tuple[str, ...]] = {Dimension.NEED: tuple(BasicNeed)}
VOCABULARY: dict[str, tuple[str, ...]] = {
    counts.REJECTED_BY_REASON.name: tuple(RejectionReason),
    counts.WITHDRAWN_BY_REASON.name: tuple(WithdrawalReason),
    counts.NOT_COMPLETED_BY_REASON.name: tuple(NotCompletedReason),
    counts.INTERVENTIONS_BY_KIND.name: tuple(InterventionKind),
}
"""The parts that are named even when nobody is in them: a part that were named only then would tell of somebody."""


@dataclass(frozen=True)
class Class:
    """A cohort, by its course and mode."""

    cohort_id: str
    course_id: str
    mode: str


@dataclass(frozen=True)
class Raw:
    """Exact counts as they were read, by the names of their columns. They never leave this module but protected."""

    totals: Mapping[str, int]
    by_kecamatan: Mapping[AreaCode, Mapping[str, int]]
    by_cohort: Mapping[str, Mapping[str, int]]
    of_each: Mapping[str, Mapping[str, Mapping[str, int]]]  # by dimension, part and name
    averages: Mapping[str, Mapping[str, Any]]  # by part ("" is the whole) and figure; shown with what they are of
    open: Mapping[str, Mapping[str, int]]  # by figure and part ("" is the whole); says nothing of people
    classes: tuple[Class, ...]
    kecamatan: tuple[AreaCode, ...]  # those that are named even when nobody is in them


def every_kecamatan() -> tuple[AreaCode, ...]:
    """Of NTB, which the programme serves."""
    return tuple(kecamatan for kabupaten in areas.children(areas.NTB) for kecamatan in areas.children(kabupaten))


@dataclass(frozen=True)
class Cell:
    """One public number. None and hidden: it would tell of too few people. None and not hidden: there is nothing."""

    key: str
    value: float | int | None
    hidden: bool


@dataclass(frozen=True)
class Release:
    """All public figures of one moment."""

    smallest: int
    totals: Mapping[str, int | None]
    cells: Mapping[str, Mapping[str, Mapping[str, int | None]]]
    averages: Mapping[str, Mapping[str, Any]]
    open: Mapping[str, Mapping[str, int]]
    parts: Mapping[Dimension, tuple[str, ...]]
    stamp: str

    def total(self, figure: Figure) -> Cell:
        """The figure of the whole programme."""
        match figure.public:
            case Shown() as shown if shown.part.of_each is None:
                return _made(figure, "", shown, self.totals)
            case Shown() as shown:
                return self._sum_of_parts(figure, shown)
            case Average(of=of) if of.of_each is None:
                return self._average(figure, "", of)
            case Open():
                return Cell("", self.open[figure.id].get("", 0), hidden=False)
        return Cell("", None, hidden=False)

    def by(self, figure: Figure, dimension: Dimension, within: AreaCode | None = None) -> list[Cell]:
        """The figure by a dimension that it is public by, in the order of the parts; `within` for areas."""
        return [self.of(figure, dimension, part) for part in self.parts_of(figure, dimension, within)]

    def of(self, figure: Figure, dimension: Dimension, part: str) -> Cell:
        """The figure of one part."""
        match figure.public:
            case Shown() as shown if figure.parts is not None and figure.parts.of_each is dimension:
                value = self.cells[figure.parts.name].get(part, {}).get(figure.parts.name, 0)
                return Cell(part, value, hidden=value is None)
            case Shown() as shown if shown.part.of_each is dimension:
                row = {c.name: self.totals.get(c.named(part), 0) for c in shown.counts}
                return _made(figure, part, shown, row)
            case Shown() as shown:
                breakdown = AREA if dimension in (Dimension.KABUPATEN, Dimension.KECAMATAN) else CLASS
                return _made(figure, part, shown, self.cells[breakdown].get(_node(dimension, part), _Nobody()))
            case Average(of=of):
                return self._average(figure, part, of)
            case Open():
                return Cell(part, self.open[figure.id].get(part, 0), hidden=False)
        return Cell(part, None, hidden=False)

    def parts_of(self, figure: Figure, dimension: Dimension, within: AreaCode | None = None) -> list[str]:
        if figure.parts is not None and figure.parts.of_each is dimension:
            return list(self.cells[figure.parts.name])
        if isinstance(figure.public, Open):
            return [part for part in self.open[figure.id] if part]
        return [part for part in self.parts.get(dimension, ()) if within is None or areas.covers(within, part)]

    def _average(self, figure: Figure, part: str, of: Count) -> Cell:
        about = self.totals.get(of.named(part or None), 0)
        value = self.averages.get(part, {}).get(figure.id)
        if about is None:
            return Cell(part, None, hidden=True)
        return Cell(part, None if about == 0 or value is None else _rounded(figure, value), hidden=False)

    def _sum_of_parts(self, figure: Figure, shown: Shown) -> Cell:
        """A count that is made for each part is known in whole where it is known of each."""
        assert shown.part.of_each is not None
        if shown.over is not None:
            return Cell("", None, hidden=False)
        values = [cell.value for cell in self.by(figure, shown.part.of_each)]
        hidden = any(value is None for value in values)
        return Cell("", None if hidden else sum(value for value in values if value is not None), hidden)


class _Nobody(dict[str, int | None]):
    """The counts of a part that nobody is in."""

    def __missing__(self, _name: str) -> int:
        return 0


def _made(figure: Figure, key: str, shown: Shown, row: Mapping[str, int | None]) -> Cell:
    part = row[shown.part.name]
    less = 0 if shown.less is None else row[shown.less.name]
    over = 1 if shown.over is None else row[shown.over.name]
    if part is None or less is None or over is None:
        return Cell(key, None, hidden=True)
    if shown.over is None:
        return Cell(key, part - less, hidden=False)
    return Cell(key, round(100 * part / over, 1) if over else None, hidden=False)


def _rounded(figure: Figure, value: Any) -> float | int:
    if figure.unit is Unit.RUPIAH:
        return int(round(float(value) / RUPIAH_ROUNDED_TO) * RUPIAH_ROUNDED_TO)
    return value if isinstance(value, int) else float(value)


def _node(dimension: Dimension, part: str) -> str:
    return part if dimension in (Dimension.KABUPATEN, Dimension.KECAMATAN) else f"{dimension}:{part}"


# --- Protecting -------------------------------------------------------------------------------------------------------


def release(raw: Raw, smallest: int, stands_on: str) -> Release:
    """Protects the counts. `stands_on` tells one moment from another."""
    months = tuple(sorted(raw.of_each.get(Dimension.FOLLOW_UP, {})))
    each = {Dimension.FOLLOW_UP: months, Dimension.NEED: _known(PARTS[Dimension.NEED], raw.of_each, Dimension.NEED)}
    area, class_ = _areas(raw), _classes(raw)
    groups = [
        _group(raw, counts.ON_THE_LIST, smallest, {AREA: area}),
        _group(raw, counts.IN_THE_FIELD, smallest, {AREA: area}),
        _group(raw, counts.IN_TRAINING_AND_AFTER, smallest, {AREA: area, CLASS: class_}, each),
        _group(raw, counts.ALONE, smallest, {}),
        _group(raw, (counts.INTERVENTIONS,), smallest, {}),
    ]
    totals = {name: count for group in groups for name, count in group.totals.items()}
    cells: dict[str, dict[str, dict[str, int | None]]] = {AREA: {}, CLASS: {}}
    for group in groups:
        for breakdown, nodes in group.cells.items():
            for node, row in nodes.items():
                cells[breakdown].setdefault(node, {}).update(row)
    for figure in FIGURES.values():
        if figure.parts is not None and isinstance(figure.public, Shown):
            hidden = _made(figure, "", figure.public, totals).hidden
            cells[figure.parts.name] = _parted(raw, figure.parts, smallest, hidden=hidden)
    return Release(
        smallest=smallest,
        totals=totals,
        cells=cells,
        averages=raw.averages,
        open=raw.open,
        parts=_parts(area, raw, each),
        stamp=stamp(stands_on, smallest),
    )


def stamp(stands_on: str, smallest: int) -> str:
    """Tells one moment from another."""
    return hashlib.sha256(f"{smallest}\n{stands_on}".encode()).hexdigest()[:32]


def _group(
    raw: Raw,
    group: Iterable[Count],
    smallest: int,
    breakdowns: Mapping[str, Mapping[str, Leaf]],
    each: Mapping[Dimension, tuple[str, ...]] | None = None,
) -> Protected:
    """Counts that hold one another are protected together, those of each follow-up and need among them."""
    columns = [count.column() for count in group]
    totals = {column.name: raw.totals.get(column.name, 0) for column in columns}
    for count in (*counts.OF_EACH_FOLLOW_UP, *counts.OF_EACH_NEED) if each else ():
        assert count.of_each is not None
        for part in each[count.of_each] if each else ():
            columns.append(count.column(part))
            totals[count.named(part)] = raw.of_each.get(count.of_each, {}).get(part, {}).get(count.name, 0)
    return protect(columns, totals, {name: _with(leaves, columns) for name, leaves in breakdowns.items()}, smallest)


def _with(leaves: Mapping[str, Leaf], columns: Iterable[Column]) -> Breakdown:
    names = [column.name for column in columns]
    return {
        name: Leaf(leaf.above, {column: leaf.counts.get(column, 0) for column in names})
        for name, leaf in leaves.items()
    }


def _parted(raw: Raw, count: Count, smallest: int, *, hidden: bool) -> dict[str, dict[str, int | None]]:
    """A count by reason or kind."""
    assert count.of_each is not None
    found = raw.of_each.get(f"{count.of_each}:{count.name}", {})
    parts = dict.fromkeys((*VOCABULARY[count.name], *(part for part in sorted(found) if part)))
    leaves = {part: Leaf(frozenset(), {count.name: found.get(part, {}).get(count.name, 0)}) for part in parts}
    whole = {count.name: sum(leaf.counts[count.name] for leaf in leaves.values())}
    column = Column(count.name, by=frozenset({"parts"}))
    result = protect([column], whole, {"parts": leaves}, smallest, hidden=[count.name] if hidden else ())
    return {part: dict(row) for part, row in result.cells["parts"].items()}


def _areas(raw: Raw) -> dict[str, Leaf]:
    """The kecamatan, and others that occur. Who is known of less exactly is in a part of its own."""
    found: dict[str, Leaf] = {}
    for code in sorted({*raw.kecamatan, *raw.by_kecamatan}):
        kabupaten = code[:5]
        exact = len(code) == len("52.01.01")
        above = frozenset({kabupaten}) if len(kabupaten) == len("52.01") else frozenset[str]()
        found[code if exact else f"{code}.?"] = Leaf(above, raw.by_kecamatan.get(code, {}))
    return found


def _classes(raw: Raw) -> dict[str, Leaf]:
    return {
        _node(Dimension.COHORT, c.cohort_id): Leaf(
            frozenset({_node(Dimension.COURSE, c.course_id), _node(Dimension.MODE, c.mode)}),
            raw.by_cohort.get(c.cohort_id, {}),
        )
        for c in raw.classes
    }


def _known(words: Iterable[str], of_each: Mapping[str, Mapping[str, Any]], dimension: Dimension) -> tuple[str, ...]:
    """A vocabulary, and words that are newer than it."""
    return tuple(dict.fromkeys([*words, *sorted(of_each.get(dimension, {}))]))


def _parts(
    area: Mapping[str, Leaf], raw: Raw, each: Mapping[Dimension, tuple[str, ...]]
) -> dict[Dimension, tuple[str, ...]]:
    kabupaten = sorted({above for leaf in area.values() for above in leaf.above})
    return {
        Dimension.KABUPATEN: tuple(kabupaten),
        Dimension.KECAMATAN: tuple(sorted(area)),
        Dimension.COURSE: tuple(dict.fromkeys(c.course_id for c in raw.classes)),
        Dimension.MODE: tuple(sorted({c.mode for c in raw.classes})),
        Dimension.COHORT: tuple(c.cohort_id for c in raw.classes),
        **each,
    }


def smallest_by(rules: Mapping[RuleKind, Any]) -> int:
    """n by the publication rule in force."""
    in_force = rules.get(RuleKind.PUBLICATION) or ()
    return int(in_force[0].definition["smallest_cell"]) if in_force else DEFAULT_SMALLEST
