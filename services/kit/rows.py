"""The working set of a transaction: folded rows in memory, loaded and written in one statement per table."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
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
        return Column(name, "text", nullable, str, inner)
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
        self.encoders = [(c.name, c.encode) for c in self.columns]
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
        """The rows as COPY takes them. It takes terms as the texts that they are; JSON alone has to be written."""
        written = [(i, c.encode) for i, c in enumerate(self.columns) if c.sql_type == "jsonb" and c.encode is not None]
        values = values_of([column.name for column in self.columns])
        if not written:
            return map(values, rows)
        return (self._with_json(values(row), written) for row in rows)

    @staticmethod
    def _with_json(values: Iterable[Any], written: Sequence[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
        record = list(values)
        for i, encode in written:
            if record[i] is not None:
                record[i] = encode(record[i])
        return record

    def arrays(self, rows: Sequence[Row]) -> list[list[Any]]:
        arrays = []
        for name, encode in self.encoders:
            values = [getattr(row, name) for row in rows]
            if encode is not None:
                values = [None if value is None else encode(value) for value in values]
            arrays.append(values)
        return arrays


@cache
def statements(table: Table[Any]) -> Statements[Any]:
    return Statements(table)


class Rows:
    """The rows that a transaction knows, with what it folded into them. `fold` is the only way to change one."""

    def __init__(self, tables: Sequence[Table[Any]]) -> None:
        self._tables = tuple(tables)
        self._order = {table.name: i for i, table in enumerate(self._tables)}
        self._known: dict[str, dict[Key, Any]] = {table.name: {} for table in self._tables}
        self._streams: dict[str, set[str]] = {table.name: set() for table in self._tables}
        self._by_stream: dict[str, dict[str, dict[Key, None]]] = {t.name: defaultdict(dict) for t in self._tables}
        self._stored: dict[str, set[Key]] = {table.name: set() for table in self._tables}
        self._changed: dict[str, dict[Key, None]] = {table.name: {} for table in self._tables}
        self._folding: dict[type[Event], tuple[Table[Any], ...]] = {}
        self._heads = {table.topic: table for table in self._tables if table.head}
        self._journal: list[tuple[Table[Any], Key, Any, bool]] = []  # what each step changed, so that it can be undone

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, table: Table[Row], *key: str) -> Row | None:
        """The row, or None where there is none. Raises `NotLoaded` if nobody loaded that key."""
        known = self._known[table.name]
        if key in known:
            return cast("Row | None", known[key])
        if key[0] in self._streams[table.name]:
            return None
        raise NotLoaded(f"{table.name} {key} was read, but not loaded")

    def of_stream(self, table: Table[Row], stream: str) -> list[Row]:
        """All rows of a stream, by key. Raises `NotLoaded` if nobody loaded the stream whole."""
        if stream not in self._streams[table.name]:
            raise NotLoaded(f"the rows of {stream} in {table.name} were read, but not loaded")
        known = self._known[table.name]
        rows = [(key, known[key]) for key in self._by_stream[table.name][stream]]
        return [row for _, row in sorted(rows, key=lambda item: item[0]) if row is not None]

    def head(self, topic: str) -> Table[Any]:
        """The table that stands for a topic's streams."""
        try:
            return self._heads[topic]
        except KeyError:
            raise LookupError(f"no head table folds {topic}") from None

    # --- loading -----------------------------------------------------------------------------------------------------

    async def load(self, connection: Connection, table: Table[Any], keys: Iterable[Key], *, lock: bool = True) -> None:
        """Loads these rows in one query, locked in key order. Keys that are known already cost nothing."""
        known, streams = self._known[table.name], self._streams[table.name]
        wanted = sorted({key for key in keys if key not in known and key[0] not in streams})
        if not wanted:
            return
        sql = statements(table)
        arrays = [list(column) for column in zip(*wanted, strict=True)]
        records = await connection.fetch(sql.select + (" FOR UPDATE OF t" if lock else ""), *arrays)
        for key in wanted:
            known[key] = None
        self._remember(table, sql.rows(records))

    async def load_streams(
        self, connection: Connection, table: Table[Any], streams: Iterable[str], *, lock: bool = True
    ) -> None:
        """Loads every row of these streams in one query, locked in key order."""
        wanted = sorted(set(streams) - self._streams[table.name])
        if not wanted:
            return
        sql = statements(table)
        records = await connection.fetch(sql.select_streams + (" FOR UPDATE OF t" if lock else ""), wanted)
        rows = [row for row in sql.rows(records) if self._key(table, row) not in self._known[table.name]]
        self._streams[table.name].update(wanted)
        self._remember(table, rows)

    async def load_touched(self, connection: Connection, events: Collection[Event], *, lock: bool = True) -> None:
        """Loads every row that these events touch: at most two queries per table, tables in locking order."""
        keys: dict[str, set[Key]] = defaultdict(set)
        streams: dict[str, set[str]] = defaultdict(set)
        for event in events:
            for table in self._folded_by(type(event)):
                touched = table.touched_by(event)
                if isinstance(touched, WholeStream):
                    streams[table.name].add(event.key)
                else:
                    keys[table.name].update(touched)
        for table in self._tables:
            await self.load_streams(connection, table, streams[table.name], lock=lock)
            await self.load(connection, table, keys[table.name], lock=lock)

    def add(self, table: Table[Row], rows: Iterable[Row], streams: Iterable[str] = ()) -> None:
        """Makes rows known that were loaded by other means; `streams` are thereby known whole."""
        self._streams[table.name].update(streams)
        self._remember(table, rows)

    def _remember(self, table: Table[Row], rows: Iterable[Row]) -> None:
        known, by_stream, stored = self._known[table.name], self._by_stream[table.name], self._stored[table.name]
        for row in rows:
            key = self._key(table, row)
            known[key] = row
            stored.add(key)
            by_stream[key[0]][key] = None

    @staticmethod
    def _key(table: Table[Any], row: Any) -> Key:
        return tuple(getattr(row, column) for column in table.key)

    # --- changing ----------------------------------------------------------------------------------------------------

    def fold(self, event: Event, envelope: Envelope) -> None:
        """Steps every row that the event touches. Nothing changes if one of them raises."""
        steps: list[tuple[Table[Any], Key, Any]] = []
        for table in self._folded_by(type(event)):
            known = self._known[table.name]
            for key in self._touched(table, event):
                row = known[key] if key in known else self.get(table, *key)
                steps.append((table, key, table.step(row, event, envelope, key)))
        for table, key, after in steps:
            known, changed = self._known[table.name], self._changed[table.name]
            self._journal.append((table, key, known.get(key), key in changed))
            known[key] = after
            self._by_stream[table.name][key[0]][key] = None
            changed[key] = None

    def mark(self) -> int:
        """A point that `undo` goes back to."""
        return len(self._journal)

    def undo(self, mark: int) -> None:
        """Takes back every fold since the mark. What was loaded since stays known."""
        while len(self._journal) > mark:
            table, key, before, was_changed = self._journal.pop()
            self._known[table.name][key] = before
            if not was_changed:
                del self._changed[table.name][key]

    def changes(self) -> list[tuple[Table[Any], Key, Any, Any]]:
        """Every row that was folded: what it was when it was loaded, and what it is now; None where there is none."""
        first: dict[tuple[str, Key], tuple[Table[Any], Any]] = {}
        for table, key, before, _ in self._journal:
            first.setdefault((table.name, key), (table, before))
        return [(table, key, before, self._known[name][key]) for (name, key), (table, before) in first.items()]

    def _touched(self, table: Table[Any], event: Event) -> Iterable[Key]:
        touched = table.touched_by(event)
        if isinstance(touched, WholeStream):
            return [self._key(table, row) for row in self.of_stream(table, event.key)]
        return touched

    def _folded_by(self, event: type[Event]) -> tuple[Table[Any], ...]:
        if event not in self._folding:
            self._folding[event] = tuple(table for table in self._tables if event in table.folds)
        return self._folding[event]

    # --- writing -----------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many rows are known."""
        return sum(len(known) for known in self._known.values())

    async def write(self, connection: Connection, *, copying: bool = False) -> None:
        """Writes what changed: one upsert and at most one delete per table, tables in locking order.

        With `copying`, where nobody else writes these tables, rows that were not loaded are new: COPY is faster.
        """
        for table in self._tables:
            changed = self._changed[table.name]
            if not changed:
                continue
            sql, known, stored = statements(table), self._known[table.name], self._stored[table.name]
            ordered = sorted(changed)
            rows = [known[key] for key in ordered if known[key] is not None]
            gone = [key for key in ordered if known[key] is None and key in stored]
            if copying and (new := [known[k] for k in ordered if known[k] is not None and k not in stored]):
                rows = [known[key] for key in ordered if known[key] is not None and key in stored]
                await connection.copy_records_to_table(
                    table.name, records=sql.records(new), columns=[column.name for column in sql.columns]
                )
            if rows:
                await connection.execute(sql.upsert, *sql.arrays(rows))
            if gone:
                await connection.execute(sql.delete, *[list(column) for column in zip(*gone, strict=True)])
            stored.update(key for key in ordered if known[key] is not None)
            stored.difference_update(gone)
            changed.clear()
