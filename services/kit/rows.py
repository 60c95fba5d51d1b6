"""The working set of a transaction: folded rows in memory, loaded and written in one statement per table."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import asyncpg
from pydantic import TypeAdapter

from contracts.envelope import Envelope, Event, reading
from services.kit.table import Key, Table, WholeStream, values_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

Row = TypeVar("Row")


_SQL_TYPES: dict[type, str] = {
    str: "text",
    int: "bigint",
    bool: "boolean",
    float: "double precision",
    Decimal: "numeric",
    date: "date",
    datetime: "timestamptz",
    bytes: "bytea",
}


COPIED_FROM = 100  # rows; below that, to ask for COPY takes longer than it saves


def never(table: Table[Any]) -> bool:
    """No table is copied: others may write it meanwhile."""
    return False


class NotLoaded(LookupError):
    """A row was read that nobody loaded: its absence would be a guess."""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """How a field of a row type is kept in PostgreSQL."""

    name: str
    sql_type: str
    nullable: bool
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None


@cache
def columns_of(row: type) -> tuple[Column, ...]:
    """The columns of a row type, in the order of its fields."""
    hints = get_type_hints(row)
    return tuple(_column(field.name, hints[field.name]) for field in dataclasses.fields(row))


def _column(name: str, hint: Any) -> Column:
    inner, nullable = _without_none(hint)
    if inner in _SQL_TYPES:
        return Column(name, _SQL_TYPES[inner], nullable, None, None)
    if isinstance(inner, type) and issubclass(inner, StrEnum):
        return Column(name, "text", nullable, None, inner)
    adapter: TypeAdapter[Any] = TypeAdapter(inner)
    return Column(name, "jsonb", nullable, lambda value: adapter.dump_json(value).decode(), adapter.validate_json)


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
        rest = [part for part in get_args(hint) if part is not NoneType]
        return (rest[0] if len(rest) == 1 else Union[tuple(rest)]), True  # noqa: UP007 (made from a tuple)
    return hint, False


class Statements(Generic[Row]):
    """The SQL of one table, generated once: the one place where SQL does not stand in a query of its own name."""

    def __init__(self, table: Table[Row]) -> None:
        self.columns = columns_of(cast(Any, table.row))
        self.make: Callable[..., Row] = table.row
        self.decoders = [(i, c.decode) for i, c in enumerate(self.columns) if c.decode is not None]
        # PostgreSQL's driver takes terms as the texts that they are; JSON alone has to be written.
        self._written = [(i, c.encode) for i, c in enumerate(self.columns) if c.encode is not None]
        self._values = values_of([c.name for c in self.columns])
        names = ", ".join(c.name for c in self.columns)
        mine = ", ".join(f"t.{c.name}" for c in self.columns)
        key, types = table.key, {c.name: c.sql_type for c in self.columns}
        wanted = ", ".join(f"${n}::{types[k]}[]" for n, k in enumerate(key, 1))
        same = " AND ".join(f"t.{k} = wanted.{k}" for k in key)
        order = ", ".join(f"t.{k}" for k in key)
        self.select = (
            f"SELECT {mine} FROM {table.name} t JOIN unnest({wanted}) AS wanted({', '.join(key)}) ON {same} "
            f"ORDER BY {order}"
        )
        self.select_streams = f"SELECT {mine} FROM {table.name} t WHERE t.{key[0]} = ANY($1::text[]) ORDER BY {order}"
        arrays = ", ".join(
            f"${n}::{'text' if c.sql_type == 'jsonb' else c.sql_type}[]" for n, c in enumerate(self.columns, 1)
        )
        values = ", ".join(f"v.{c.name}::jsonb" if c.sql_type == "jsonb" else f"v.{c.name}" for c in self.columns)
        rest = [c.name for c in self.columns if c.name not in key]
        change = ", ".join(f"{name} = EXCLUDED.{name}" for name in rest)
        self.upsert = (
            f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({arrays}) AS v({names}) "
            f"ON CONFLICT ({', '.join(key)}) DO " + (f"UPDATE SET {change}" if rest else "NOTHING")
        )
        gone = " AND ".join(f"t.{k} = gone.{k}" for k in key)
        self.delete = f"DELETE FROM {table.name} t USING unnest({wanted}) AS gone({', '.join(key)}) WHERE {gone}"

    def row(self, record: asyncpg.Record) -> Row:
        return self.rows([record])[0]

    def rows(self, records: Iterable[asyncpg.Record]) -> list[Row]:
        """The rows of these records. A term that only a newer publisher declares is kept, as when it was read."""
        if not self.decoders:
            return [self.make(*record) for record in records]
        with reading():
            return [self._decoded(record) for record in records]

    def _decoded(self, record: asyncpg.Record) -> Row:
        values = list(record)
        for i, decode in self.decoders:
            if values[i] is not None:
                values[i] = decode(values[i])
        return self.make(*values)

    def records(self, rows: Iterable[Row]) -> Iterable[Sequence[Any]]:
        """The rows as COPY takes them."""
        values = map(self._values, rows)
        return map(self._with_json, values) if self._written else values

    def _with_json(self, values: Iterable[Any]) -> list[Any]:
        record = list(values)
        for i, encode in self._written:
            if record[i] is not None:
                record[i] = encode(record[i])
        return record

    def arrays(self, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """The rows as an upsert takes them: a column of values after the other."""
        arrays: list[Sequence[Any]] = list(zip(*map(self._values, rows), strict=True))
        for i, encode in self._written:
            arrays[i] = [None if value is None else encode(value) for value in arrays[i]]
        return arrays


@cache
def statements(table: Table[Any]) -> Statements[Any]:
    return Statements(table)


class _Known(Generic[Row]):
    """What a working set knows of one table: its rows, and what was changed in them."""

    def __init__(self, table: Table[Row]) -> None:
        self.table = table
        self.sql = statements(table)
        self.rows: dict[Key, Row | None] = {}  # None: there is no such row
        self.streams: set[str] = set()  # of which every row is known
        self.stored: set[Key] = set()  # what the database has
        self.changed: dict[Key, None] = {}  # what it is still to be told, in the order of the steps
        self._key_of = values_of(table.key)
        # Of a table with one row a stream, the key says it all.
        self._keys_of: dict[str, dict[Key, None]] | None = None if len(table.key) == 1 else defaultdict(dict)

    def get(self, key: Key) -> Row | None:
        """The row, or None where there is none. Raises `NotLoaded` if nobody loaded that key."""
        if key in self.rows:
            return self.rows[key]
        if key[0] in self.streams:
            return None
        raise NotLoaded(f"{self.table.name} {key} was read, but not loaded")

    def of_stream(self, stream: str) -> list[Key]:
        """The keys of the stream's rows, in their order. Raises `NotLoaded` if nobody loaded the stream whole."""
        if stream not in self.streams:
            raise NotLoaded(f"the rows of {stream} in {self.table.name} were read, but not loaded")
        keys = [(stream,)] if self._keys_of is None else sorted(self._keys_of[stream])
        return [key for key in keys if self.rows.get(key) is not None]

    def touched(self, event: Event) -> Iterable[Key]:
        if self.table.touches is None:
            return ((event.key,),)
        touched = self.table.touched_by(event)
        return self.of_stream(event.key) if isinstance(touched, WholeStream) else touched

    def unknown(self, keys: Iterable[Key]) -> set[Key]:
        """Those of the keys of which nothing is known yet."""
        if not self.rows and not self.streams:
            return set(keys)
        return {key for key in keys if key not in self.rows and key[0] not in self.streams}

    def remember(self, rows: Iterable[Row]) -> None:
        """Makes rows known that the database has."""
        for row in rows:
            key = self._key_of(row)
            self.stored.add(key)
            self.rows[key] = row
            if self._keys_of is not None:
                self._keys_of[key[0]][key] = None

    def remember_new(self, rows: Iterable[Row]) -> None:
        """The same; but a row that is known already may have been changed since, and stays as it is."""
        self.remember([row for row in rows if self._key_of(row) not in self.rows])

    def change(self, key: Key, row: Row | None) -> None:
        self.changed[key] = None
        self.rows[key] = row
        if self._keys_of is not None:
            self._keys_of[key[0]][key] = None


_stream_of = attrgetter("key")


def by_kind(events: Iterable[Event]) -> dict[type[Event], list[Event]]:
    """The events of each type, in their order."""
    kinds: dict[type[Event], list[Event]] = defaultdict(list)
    for event in events:
        kinds[type(event)].append(event)
    return kinds


class Rows:
    """The rows that a transaction knows, with what it folded into them. `fold` is the only way to change one."""

    def __init__(self, tables: Sequence[Table[Any]]) -> None:
        self._known: dict[str, _Known[Any]] = {table.name: _Known(table) for table in tables}  # in locking order
        self._folding: dict[type[Event], tuple[_Known[Any], ...]] = {}
        self._heads = {table.topic: table for table in tables if table.head}
        # What each step changed, so that it can be undone: the row before it, and whether it was changed already.
        self._journal: list[tuple[_Known[Any], Key, Any, bool]] = []

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, table: Table[Row], *key: str) -> Row | None:
        """The row, or None where there is none. Raises `NotLoaded` if nobody loaded that key."""
        return cast("Row | None", self._known[table.name].get(key))

    def of_stream(self, table: Table[Row], stream: str) -> list[Row]:
        """All rows of a stream, by key. Raises `NotLoaded` if nobody loaded the stream whole."""
        known = self._known[table.name]
        return cast("list[Row]", [known.rows[key] for key in known.of_stream(stream)])

    def head(self, topic: str) -> Table[Any]:
        """The table that stands for a topic's streams."""
        try:
            return self._heads[topic]
        except KeyError:
            raise LookupError(f"no head table folds {topic}") from None

    # --- loading -----------------------------------------------------------------------------------------------------

    async def load(self, connection: Connection, table: Table[Any], keys: Iterable[Key], *, lock: bool = True) -> None:
        """Loads these rows in one query, locked in key order. Keys that are known already cost nothing."""
        known = self._known[table.name]
        unknown = known.unknown(keys)
        if not unknown:
            return
        wanted = sorted(unknown) if lock else list(unknown)
        arrays = [list(column) for column in zip(*wanted, strict=True)]
        records = await connection.fetch(known.sql.select + (" FOR UPDATE OF t" if lock else ""), *arrays)
        known.rows.update(dict.fromkeys(wanted))
        known.remember(known.sql.rows(records))

    async def load_streams(
        self, connection: Connection, table: Table[Any], streams: Iterable[str], *, lock: bool = True
    ) -> None:
        """Loads every row of these streams in one query, locked in key order."""
        known = self._known[table.name]
        wanted = sorted(set(streams) - known.streams)
        if not wanted:
            return
        records = await connection.fetch(known.sql.select_streams + (" FOR UPDATE OF t" if lock else ""), wanted)
        known.streams.update(wanted)
        known.remember_new(known.sql.rows(records))

    async def load_touched(self, connection: Connection, events: Collection[Event], *, lock: bool = True) -> None:
        """Loads every row that these events touch: at most two queries per table, tables in locking order."""
        keys: dict[str, set[Key]] = defaultdict(set)
        streams: dict[str, set[str]] = defaultdict(set)
        for kind, of_kind in by_kind(events).items():
            for known in self._folded_by(kind):
                if known.table.touches is None:
                    keys[known.table.name].update(zip(map(_stream_of, of_kind)))
                    continue
                for event in of_kind:
                    touched = known.table.touched_by(event)
                    if isinstance(touched, WholeStream):
                        streams[known.table.name].add(event.key)
                    else:
                        keys[known.table.name].update(touched)
        for name, known in self._known.items():
            await self.load_streams(connection, known.table, streams[name], lock=lock)
            await self.load(connection, known.table, keys[name], lock=lock)

    def add(self, table: Table[Row], rows: Iterable[Row], streams: Iterable[str] = ()) -> None:
        """Makes rows known that were loaded by other means; `streams` are thereby known whole."""
        known = self._known[table.name]
        known.streams.update(streams)
        known.remember(rows)

    def begin(self, topic: str, streams: Collection[str]) -> None:
        """Makes known that nothing is there of these streams: their first fact is still to be folded."""
        for known in self._known.values():
            if known.table.topic == topic:
                known.streams.update(streams)

    # --- changing ----------------------------------------------------------------------------------------------------

    def fold(self, event: Event, envelope: Envelope) -> None:
        """Steps every row that the event touches. Nothing changes if one of them raises."""
        steps = []
        for known in self._folded_by(type(event)):
            step = known.table.step
            for key in known.touched(event):
                before = known.get(key)
                steps.append((known, key, before, step(before, event, envelope, key)))
        for known, key, before, after in steps:
            self._journal.append((known, key, before, key in known.changed))
            known.change(key, after)

    def mark(self) -> int:
        """A point that `undo` goes back to."""
        return len(self._journal)

    def undo(self, mark: int) -> None:
        """Takes back every fold since the mark. What was loaded since stays known."""
        while len(self._journal) > mark:
            known, key, before, was_changed = self._journal.pop()
            known.rows[key] = before
            if not was_changed:
                del known.changed[key]

    def changes(self) -> list[tuple[Table[Any], Key, Any, Any]]:
        """Every row that was folded: what it was when it was loaded, and what it is now; None where there is none."""
        first: dict[tuple[str, Key], tuple[_Known[Any], Any]] = {}
        for known, key, before, _ in self._journal:
            first.setdefault((known.table.name, key), (known, before))
        return [(known.table, key, before, known.rows[key]) for (_, key), (known, before) in first.items()]

    def _folded_by(self, event: type[Event]) -> tuple[_Known[Any], ...]:
        if event not in self._folding:
            self._folding[event] = tuple(known for known in self._known.values() if event in known.table.folds)
        return self._folding[event]

    # --- writing -----------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many rows are known."""
        return sum(len(known.rows) for known in self._known.values())

    async def write(self, connection: Connection, *, copied: Callable[[Table[Any]], bool] = never) -> None:
        """Writes what changed: one upsert and at most one delete per table, tables in locking order.

        Of a table that is `copied`, which nobody else may write meanwhile, what the database does not have is new:
        where that is much, COPY takes half of the time.
        """
        for known in self._known.values():
            if not known.changed:
                continue
            sql, stored = known.sql, known.stored
            there = [key for key in known.changed if known.rows[key] is not None]
            gone = sorted(key for key in known.changed if known.rows[key] is None and key in stored)
            new = [key for key in there if key not in stored] if copied(known.table) else []
            old = there
            if len(new) >= COPIED_FROM:
                await connection.copy_records_to_table(
                    known.table.name,
                    records=sql.records([known.rows[key] for key in new]),
                    columns=[column.name for column in sql.columns],
                )
                old = [key for key in there if key in stored]
            if old:
                await connection.execute(sql.upsert, *sql.arrays([known.rows[key] for key in sorted(old)]))
            if gone:
                await connection.execute(sql.delete, *[list(column) for column in zip(*gone, strict=True)])
            stored.update(there)
            stored.difference_update(gone)
            known.changed.clear()
