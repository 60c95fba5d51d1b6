"""Which counts may be shown to everybody, so that nobody can work out a count of few people. Pure.

**What is promised.** Of everything that is public at one moment, no count from 1 to n-1 can be worked out: neither a
count itself in any area, course or cohort, nor the people between two counts of which one holds the other (who enrolled
but did not complete). Not by subtracting from a total or from the area above, and not by anybody who also knows n, that
the parts add up, which count holds which, and that a zero is shown as a zero. Totals are exact.

**How it is kept.** A small count is hidden, and so is one that would leave a small rest to a count that is shown. Then,
for each small number, there must be *another world* in which it is different and every public number is the same: one
person belongs to another area than ours, and all that this would change is hidden. If there is none, the count of one
more area is hidden beside it, the smallest that makes such a world; if that cannot be, the breakdown is withheld.

**What is not promised.** Two moments tell what changed between them, as they do in every live figure. Hiding more than
the small ones follows a rule that can be read here; who reasons about why just this area was hidden beside another may
find some numbers more likely than others. And what is known from elsewhere about a village is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Node = str
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Column:
    """A count of people. Everybody in it is also in those that it is `within`; `by`: in which breakdowns it is shown.

    Of two that cannot both be shown, the one that is declared first is.
    """

    name: str
    within: tuple[str, ...] = ()
    by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Leaf:
    """The smallest part of a breakdown, such as a kecamatan, with the larger parts that it belongs to."""

    above: frozenset[Node]
    counts: Counts


Breakdown = Mapping[Node, Leaf]


@dataclass(frozen=True, slots=True)
class Protected:
    """The counts of one moment; None is hidden."""

    totals: Mapping[str, int | None]
    cells: Mapping[str, Mapping[Node, Mapping[str, int | None]]]  # by breakdown, part and column

    def hides(self, column: str) -> bool:
        return self.totals[column] is None


def protect(
    columns: Sequence[Column],
    totals: Counts,
    breakdowns: Mapping[str, Breakdown],
    smallest: int,
    hidden: Iterable[str] = (),
) -> Protected:
    """Hides what has to be hidden. `hidden` names columns whose totals may not be shown for reasons of the caller's.

    Every breakdown of a column has to add up to its total. `smallest` is the smallest count of people that is shown.
    """
    relations = _relations(columns)
    # A total that is hidden could be added up from its parts: they are withheld with it, the zeros too.
    withheld = _hidden_in_row(columns, relations, totals, smallest, frozenset(hidden))
    cells = {}
    for name, leaves in breakdowns.items():
        shown = [column for column in columns if name in column.by]
        cells[name] = _Guard(shown, relations, leaves, smallest, withheld).cells()
    return Protected({c.name: None if c.name in withheld else totals[c.name] for c in columns}, cells)


@dataclass(frozen=True, slots=True)
class _Relations:
    """Which column holds which, directly or through others."""

    above: Mapping[str, frozenset[str]]
    below: Mapping[str, frozenset[str]]

    def compare(self, one: str, other: str) -> bool:
        return other in self.above[one] or other in self.below[one]


def _relations(columns: Sequence[Column]) -> _Relations:
    within = {column.name: frozenset(column.within) for column in columns}
    above = dict(within)
    for _ in columns:  # Each round reaches one holder further.
        above = {name: held.union(*(within[outer] for outer in held)) for name, held in above.items()}
    below = {name: frozenset(other for other in above if name in above[other]) for name in above}
    return _Relations(above, below)


def _is_small(count: int, smallest: int) -> bool:
    return 0 < count < smallest


def _hidden_in_row(
    columns: Iterable[Column], relations: _Relations, row: Counts, smallest: int, hidden: frozenset[str]
) -> frozenset[str]:
    """Of one area's counts, those that are small themselves or leave a small rest to another that is shown."""
    shown: list[str] = []
    for column in columns:
        name = column.name
        rests = (abs(row[name] - row[other]) for other in shown if relations.compare(name, other))
        if name in hidden or _is_small(row[name], smallest) or any(_is_small(rest, smallest) for rest in rests):
            continue
        shown.append(name)
    return frozenset(column.name for column in columns) - frozenset(shown)


@dataclass(frozen=True, slots=True)
class _Secret:
    """A small number: a column's count in a part, or what a column has there more than one that it holds."""

    node: Node
    column: str
    held_by: str | None = None

    def changes(self, moved: frozenset[str]) -> bool:
        return (self.column in moved) != (self.held_by in moved)


@dataclass(frozen=True, slots=True)
class _Move:
    """Another world: one person of `columns` belongs to the leaf `to` instead of `of`."""

    to: Node
    of: Node
    columns: frozenset[str]


@dataclass
class _Guard:
    """One breakdown on its way to being safe: hides more and more until every small number has another world."""

    columns: Sequence[Column]
    relations: _Relations
    leaves: Breakdown
    smallest: int
    hidden_totals: frozenset[str]
    withheld: set[str] = field(init=False)
    hidden: set[tuple[Node, str]] = field(init=False, default_factory=set)
    rows: dict[Node, dict[str, int]] = field(init=False, default_factory=dict)
    parts: dict[Node, list[Node]] = field(init=False, default_factory=dict)  # the leaves of each part
    beside: dict[frozenset[Node], list[Node]] = field(init=False, default_factory=dict)  # leaves of the same parts

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        own = frozenset(names)
        self.above = {name: self.relations.above[name] & own for name in names}
        self.below = {name: self.relations.below[name] & own for name in names}
        self.withheld = set(self.hidden_totals & own)
        for leaf, held in self.leaves.items():
            for node in (leaf, *sorted(held.above)):
                row = self.rows.setdefault(node, dict.fromkeys(names, 0))
                for name in names:
                    row[name] += held.counts[name]
                self.parts.setdefault(node, []).append(leaf)
            self.beside.setdefault(held.above, []).append(leaf)
        self.whole = {leaf: held.above | {leaf} for leaf, held in self.leaves.items()}

    def cells(self) -> dict[Node, dict[str, int | None]]:
        for node, row in self.rows.items():
            hidden = _hidden_in_row(self.columns, self.relations, row, self.smallest, frozenset(self.withheld))
            self.hidden |= {(node, name) for name in hidden - self.withheld}
        for secret in self._secrets():
            self._keep(secret)
        return {
            node: {name: None if self._is_hidden(node, name) else count for name, count in row.items()}
            for node, row in self.rows.items()
        }

    def _secrets(self) -> Iterator[_Secret]:
        for node, row in sorted(self.rows.items()):
            for column in self.columns:
                name = column.name
                if _is_small(row[name], self.smallest):
                    yield _Secret(node, name)
                for holder in sorted(self.above[name]):
                    if _is_small(row[holder] - row[name], self.smallest):
                        yield _Secret(node, name, holder)

    def _is_hidden(self, node: Node, name: str) -> bool:
        return name in self.withheld or (node, name) in self.hidden

    # --- another world for each secret -------------------------------------------------------------------------------

    def _keep(self, secret: _Secret) -> None:
        """Hides as little more as is needed until there is another world in which the secret is different."""
        while not self._has_another_world(secret):
            best = min(self._nearly_possible(secret), default=None)
            if best is not None:
                _, more = best
                self.hidden.update(more)
                return
            hidden = [name for name in (secret.column, secret.held_by) if name and self._is_hidden(secret.node, name)]
            wider = set(hidden) or {secret.column}
            if wider <= self.withheld:
                wider = {column.name for column in self.columns}
                if wider <= self.withheld:
                    return  # Nothing at all is said of any part.
            self.withheld |= wider

    def _has_another_world(self, secret: _Secret) -> bool:
        if any(True for _ in self._with_another_total(secret)):
            return True
        return any(self._in_the_way(move) == [] for move in self._moves(secret, among_hidden=True))

    def _nearly_possible(self, secret: _Secret) -> Iterator[tuple[int, list[tuple[Node, str]]]]:
        """What would have to be hidden for a move to be possible, and how many people it would hide."""
        for move in self._moves(secret, among_hidden=False):
            shown = self._in_the_way(move)
            if shown is not None:
                yield sum(self.rows[node][name] for node, name in shown), sorted(shown)

    def _with_another_total(self, secret: _Secret) -> Iterator[frozenset[str]]:
        """Where totals are hidden, one person more may belong to the part."""
        for leaf in self.parts[secret.node]:
            for name in (secret.column, secret.held_by):
                if name in self.hidden_totals:
                    gained = self._gained_with(leaf, name)
                    if gained <= self.hidden_totals and secret.changes(gained):
                        yield gained

    def _gained_with(self, leaf: Node, name: str) -> frozenset[str]:
        """The columns that grow with this one if the leaf gains a person of it: those that hold it, where they must."""
        row, gained, open_ = self.rows[leaf], {name}, [name]
        while open_:
            inner = open_.pop()
            more = {outer for outer in self.above[inner] - gained if row[outer] <= row[inner]}
            gained |= more
            open_ += more
        return frozenset(gained)

    def _moves(self, secret: _Secret, *, among_hidden: bool) -> Iterator[_Move]:
        """Moves into the part and out of it; `among_hidden`: only where the column is hidden already."""
        for name in (secret.column, secret.held_by):
            if name is None or not self._is_hidden(secret.node, name):
                continue
            for here in self.parts[secret.node]:
                if among_hidden and not self._is_hidden(here, name):
                    continue
                for there in self._others(here, name if among_hidden else None):
                    if secret.node in self.whole[there]:
                        continue
                    for to, of in ((here, there), (there, here)):
                        columns = self._moved_with(to, of, name)
                        if secret.changes(columns):
                            yield _Move(to, of, columns)

    def _others(self, here: Node, hidden: str | None) -> Iterator[Node]:
        """The other leaves, those in the same larger parts first; only those between which a column is hidden."""
        above = self.leaves[here].above
        for beside in sorted(self.beside, key=lambda other: other != above):
            if hidden is None or all(self._is_hidden(node, hidden) for node in above ^ beside):
                for there in self.beside[beside]:
                    if there != here and (hidden is None or self._is_hidden(there, hidden)):
                        yield there

    def _moved_with(self, to: Node, of: Node, name: str) -> frozenset[str]:
        """The columns that change if one person of a column moves: where it is full there, and where all are inside."""
        gains, loses, moved, open_ = self.rows[to], self.rows[of], {name}, [name]
        while open_:
            column = open_.pop()
            more = {outer for outer in self.above[column] - moved if gains[outer] <= gains[column]}
            more |= {inner for inner in self.below[column] - moved if loses[column] <= loses[inner]}
            moved |= more
            open_ += more
        return frozenset(moved)

    def _in_the_way(self, move: _Move) -> list[tuple[Node, str]] | None:
        """The counts that this would change and that are shown; None if the move cannot be at all."""
        shown = []
        for node, name, change in self._changes(move):
            count = self.rows[node][name]
            if name in self.withheld:
                if count + change < 0:
                    return None
            elif count < 1 or count + change < 1:  # It is shown as a zero, or would be.
                return None
            elif (node, name) not in self.hidden:
                shown.append((node, name))
        return shown

    def _changes(self, move: _Move) -> Iterator[tuple[Node, str, int]]:
        gaining, losing = self.whole[move.to], self.whole[move.of]
        for name in sorted(move.columns):
            for node in gaining - losing:
                yield node, name, 1
            for node in losing - gaining:
                yield node, name, -1
