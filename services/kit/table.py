"""The fold's declaration: a table is a row type and a pure `evolve`. Imports no driver, so that state.py may use it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from contracts.envelope import EVENTS, Envelope, Event

Row = TypeVar("Row")
Key = tuple[str, ...]


class WholeStream:
    """Says that an event touches every row its stream has in a table."""


WHOLE_STREAM = WholeStream()

Touches = Callable[[Any], Iterable[Key] | WholeStream]


class BrokenStream(Exception):
    """A fold met an event that cannot follow what it knows of the stream: the order or the fold is wrong."""


@dataclass(frozen=True, eq=False)
class Table(Generic[Row]):
    """A folded table.

    `evolve(row | None, event, envelope, *rest_of_key) -> row | None` is pure, and gives the row that it got or one that
    it has made; None means "no such row". The primary key begins with the key of the topic's stream; `rest_of_key` are
    its further columns, for tables with several rows a stream. `touches` says for each event which rests of keys it
    touches; an event that it does not name leaves the table alone. A table with the stream's key alone needs no
    `touches`: every event of the topic touches its row.

    The `head` table of a topic stands for its streams: one row a stream, which never folds to None and has the fields
    `version` (set by the kit, never by `evolve`) and, for own topics, `area_code`.

    Fields of the row type are scalars (text, int, bool, float, Decimal, date, datetime, StrEnum) or anything that
    pydantic can write as JSON (stored as jsonb). Column order and names are the row type's.

    `fold_version` is raised whenever `evolve` or `touches` comes to give other rows for the same facts: a worker then
    leaves the topic alone until `rebuild` has made a projection anew (see folds.py).
    """

    name: str
    row: type[Row]
    topic: str
    key: tuple[str, ...]
    evolve: Callable[..., Row | None]
    touches: Mapping[type[Event], Touches] | None = None
    head: bool = False
    fold_version: int = 1

    def __post_init__(self) -> None:
        columns = self.columns
        missing = [column for column in self.key if column not in columns]
        if missing:
            raise TypeError(f"the key column {missing[0]} of table {self.name} is not a field of {self.row.__name__}")
        if self.head and "version" not in columns:
            raise TypeError(f"{self.row.__name__} stands for its stream and needs a field version: int")
        if self.touches is None and len(self.key) > 1:
            raise TypeError(f"table {self.name} has several rows a stream and must say what each event touches")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(cast(Any, self.row)))

    @cached_property
    def folds(self) -> tuple[type[Event], ...]:
        """The events that can change this table."""
        if self.touches is not None:
            return tuple(self.touches)
        return tuple(event for event in EVENTS.values() if event.topic == self.topic)

    def touched_by(self, event: Event) -> Iterable[Key] | WholeStream:
        """The full keys of the rows that an event touches, or WHOLE_STREAM."""
        if self.touches is None:
            return ((event.key,),)
        touch = self.touches.get(type(event))
        if touch is None:
            return ()
        touched = touch(event)
        return touched if isinstance(touched, WholeStream) else [(event.key, *rest) for rest in touched]

    def step(self, row: Row | None, event: Event, envelope: Envelope, key: Key) -> Row | None:
        """The row after the event. Raises `BrokenStream` if a head row vanishes."""
        after = self.evolve(row, event, envelope, *key[1:]) if len(key) > 1 else self.evolve(row, event, envelope)
        if not self.head:
            return after
        if after is None:
            raise BrokenStream(f"{self.name} {envelope.key} folded to nothing at {envelope.type}")
        if after is row:
            return replace(after, version=envelope.version)
        # Nobody else knows it yet: a copy would cost more than the fold.
        object.__setattr__(after, "version", envelope.version)
        return after


def replace(row: Row, /, **changes: Any) -> Row:
    """A copy with some fields changed, as `dataclasses.replace` makes it, in two thirds of the time.

    Raises TypeError for a name that is no field.
    """
    valued, at = _copying(cast(Any, type(row)))
    values = list(valued(row))
    for name, value in changes.items():
        if name not in at:
            raise TypeError(f"{type(row).__name__} has no field {name}")
        values[at[name]] = value
    return type(row)(*values)


@cache
def _copying(row: type) -> tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, int]]:
    """What gives a row's values in the order of its fields, and which of them stands where."""
    names = [field.name for field in dataclasses.fields(cast(Any, row))]
    return values_of(names), {name: n for n, name in enumerate(names)}


def values_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What gives these attributes of an object in their order; a tuple also of one."""
    return attrgetter(*names) if len(names) > 1 else lambda one: (getattr(one, names[0]),)


def one(field: str) -> Touches:
    """Touches the row whose rest of key is this field of the event."""
    return lambda event: [(getattr(event, field),)]


def each(field: str, of: str | None = None) -> Touches:
    """Touches a row for each element of this field: the element itself, or its attribute `of`."""
    if of is None:
        return lambda event: [(element,) for element in getattr(event, field)]
    return lambda event: [(getattr(element, of),) for element in getattr(event, field)]


def whole_stream(_event: Event) -> WholeStream:
    """Touches every row of the stream."""
    return WHOLE_STREAM


def present(row: Row | None, envelope: Envelope) -> Row:
    """The row, where an event makes no sense without one. Raises `BrokenStream` and names stream and event."""
    if row is None:
        raise BrokenStream(f"{envelope.type} reached {envelope.topic}/{envelope.key}, which has no row yet")
    return row
