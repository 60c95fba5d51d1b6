"""Comparing two sets of folded tables in one database: a hash per table, then the rows that differ, then why."""

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
from pydantic_core import from_json

from contracts.topics import TOPICS
from services.kit.log import LOG_COLUMNS
from services.kit.masking import masked
from services.kit.partition import partition_for
from services.kit.positions import Place, Standing
from services.kit.replay import Reach, fold_all, foreign_slices, own_and_foreign
from services.kit.rows import Connection, statements
from services.kit.table import Table

SHOWN_ROWS = 20  # a table, of those that differ
SHOWN_EVENTS = 20  # a stream
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same: what stands in the live table, and what the facts say; None where there is no row."""

    stream: str
    key: str
    live: dict[str, Any] | None
    folded: dict[str, Any] | None

    def columns(self) -> list[tuple[str, str, str]]:
        """Column, what is live, what the facts say: of those that differ. Sealed values are shown as digests."""
        live, folded = self.live or {}, self.folded or {}
        names = [name for name in (self.live or self.folded or {}) if live.get(name) != folded.get(name)]
        return [(name, _shown(name, self.live), _shown(name, self.folded)) for name in names]


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of one table."""

    table: Table[Any]
    live_rows: int
    live_hash: str
    folded_rows: int
    folded_hash: str
    differing: int
    rows: Sequence[Difference]

    @property
    def same(self) -> bool:
        return self.differing == 0


def _shown(name: str, row: dict[str, Any] | None) -> str:
    if row is None:
        return "(no row)"
    value = row.get(name)
    text = str(value)
    if value is not None and (name == "sealed" or len(text) > _LONGEST_SHOWN):
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return masked(text)


def shadow_of(table: Table[Any], suffix: str) -> Table[Any]:
    """The same fold, into a table of another name beside the live one."""
    return replace(table, name=f"{table.name}{suffix}")


def differs(table: Table[Any]) -> str:
    """SQL that says whether a live row `l` and the folded row `s` of its key are not the same, or one is not there."""
    names = [column.name for column in statements(table).columns]
    live, folded = ", ".join(f"l.{name}" for name in names), ", ".join(f"s.{name}" for name in names)
    return f"ROW({live}) IS DISTINCT FROM ROW({folded})"


# --- Comparing --------------------------------------------------------------------------------------------------------


async def compare(
    connection: Connection, table: Table[Any], shadow: Table[Any], exempt: Collection[str], shown: int = SHOWN_ROWS
) -> Compared:
    """Holds a live table against its shadow. The rows of exempt streams do not count."""
    left_out = sorted(exempt)
    live_rows, live_hash = await _hash(connection, table, left_out)
    folded_rows, folded_hash = await _hash(connection, shadow, left_out)
    if (live_rows, live_hash) == (folded_rows, folded_hash):
        return Compared(table, live_rows, live_hash, folded_rows, folded_hash, 0, ())
    rows = await connection.fetch(_first_that_differ(table, shadow), left_out, shown)
    count = rows[0]["differing"] if rows else 0
    differences = [_difference(table, row) for row in rows]
    return Compared(table, live_rows, live_hash, folded_rows, folded_hash, count, differences)


async def _hash(connection: Connection, table: Table[Any], left_out: Sequence[str]) -> tuple[int, str]:
    """How many rows there are, and a hash of them in whatever order: two sums of 64-bit hashes of each row's text."""
    row = await connection.fetchrow(
        f"""
        SELECT count(*) AS rows,
               coalesce(sum(hashtextextended(each.text, 1)::numeric), 0)::text
               || '/' || coalesce(bit_xor(hashtextextended(each.text, 2)), 0)::text AS hash
        FROM (
            SELECT {_text(table)} AS text
            FROM {table.name} t
            WHERE NOT t.{table.key[0]} = ANY($1::text[])
            OFFSET 0 -- or the text would be made twice
        ) AS each
        """,
        left_out,
    )
    assert row is not None
    return row["rows"], hashlib.sha256(row["hash"].encode()).hexdigest()[:16]


def _text(table: Table[Any]) -> str:
    return f'ROW({", ".join(f"t.{c.name}" for c in statements(table).columns)})::text COLLATE "C"'


def _first_that_differ(table: Table[Any], shadow: Table[Any]) -> str:
    """SQL of the first $2 rows that differ, by key, each with how many differ. The tables' generated statements are the
    one place where SQL is put together; see rows.py."""
    key = ", ".join(table.key)
    either = ", ".join(f"coalesce(l.{column}, s.{column}) AS {column}" for column in table.key)
    columns, first = ", ".join(column.name for column in statements(table).columns), table.key[0]
    return (
        f"WITH l AS NOT MATERIALIZED (SELECT {columns} FROM {table.name} WHERE NOT {first} = ANY($1::text[])), "
        f"s AS NOT MATERIALIZED (SELECT {columns} FROM {shadow.name} WHERE NOT {first} = ANY($1::text[])), "
        f"differing AS MATERIALIZED (SELECT {either} FROM l FULL JOIN s USING ({key}) "
        f"WHERE {differs(table)}) "
        f"SELECT {first} AS stream, concat_ws('/', {key}) AS key, to_jsonb(l)::text AS live, "
        f"to_jsonb(s)::text AS folded, (SELECT count(*) FROM differing) AS differing "
        f"FROM (SELECT {key} FROM differing ORDER BY {key} LIMIT $2) AS shown "
        f"LEFT JOIN l USING ({key}) LEFT JOIN s USING ({key}) ORDER BY {key}"
    )


def _difference(table: Table[Any], row: asyncpg.Record) -> Difference:
    live = None if row["live"] is None else from_json(row["live"])
    folded = None if row["folded"] is None else from_json(row["folded"])
    return Difference(row["stream"], row["key"], live, folded)


# --- diff -------------------------------------------------------------------------------------------------------------

SUFFIX = "__diff"


@dataclass(frozen=True, slots=True)
class Report:
    events: int
    reach: Reach
    tables: Sequence[Compared]
    explained: dict[tuple[str, str], list[str]]  # topic and stream -> its events

    @property
    def same(self) -> bool:
        return all(compared.same for compared in self.tables)


async def diff(
    url: str,
    service: str,
    bootstrap: str,
    tables: Sequence[Table[Any]],
    reach_of: Any,
    progress: Any = None,
) -> Report:
    """Replays into temporary tables and compares them with the live ones, in one snapshot of the database: its log, its
    cursors and its tables are of one moment, while the service runs on. Changes nothing."""
    shadows = [shadow_of(table, SUFFIX) for table in tables]
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            for table, shadow in zip(tables, shadows, strict=True):
                await _make_temporary(connection, table, shadow)
            reach: Reach = await reach_of(connection, {t.topic for t in own_and_foreign(service, tables)[1]})
            events = await fold_all(connection, connection, service, bootstrap, shadows, reach, progress)
            exempt: dict[str, set[str]] = {}
            for place, stream in reach.parked:
                exempt.setdefault(place.topic, set()).add(stream)
            compared = []
            for table, shadow in zip(tables, shadows, strict=True):
                await connection.execute(f"ANALYZE {shadow.name}")
                compared.append(await compare(connection, table, shadow, exempt.get(table.topic, ())))
            explained = await explain(connection, service, bootstrap, compared, reach)
        return Report(events, reach, compared, explained)
    finally:
        await connection.close()


async def _make_temporary(connection: Connection, table: Table[Any], shadow: Table[Any]) -> None:
    await connection.execute(f"CREATE TEMPORARY TABLE {shadow.name} (LIKE {table.name}) ON COMMIT DROP")
    await connection.execute(f"ALTER TABLE {shadow.name} ADD PRIMARY KEY ({', '.join(table.key)})")


# --- Explaining -------------------------------------------------------------------------------------------------------


async def explain(
    connection: Connection, service: str, bootstrap: str, compared: Sequence[Compared], reach: Reach
) -> dict[tuple[str, str], list[str]]:
    """The events of the streams whose rows differ, from the log or from Kafka, the latest `SHOWN_EVENTS` of each."""
    own = {table.topic for table in own_and_foreign(service, [c.table for c in compared])[0]}
    streams = sorted({(c.table.topic, row.stream) for c in compared for row in c.rows})
    explained: dict[tuple[str, str], list[str]] = {stream: [] for stream in streams}
    for topic, stream in streams:
        if topic in own:
            explained[topic, stream] = await _events_of_log(connection, topic, stream)
    foreign = [stream for stream in streams if stream[0] not in own]
    async for which, line in _events_of_kafka(bootstrap, foreign, reach):
        explained[which] = [*explained[which], line][-SHOWN_EVENTS:]
    return explained


async def _events_of_log(connection: Connection, topic: str, stream: str) -> list[str]:
    rows = await connection.fetch(
        f"""
        SELECT {LOG_COLUMNS}, s.sequence
        FROM log l
        LEFT JOIN seal s ON s.id = l.id
        WHERE l.topic = $1 AND l.stream = $2
        ORDER BY l.version DESC
        LIMIT $3
        """,
        topic,
        stream,
        SHOWN_EVENTS,
    )
    return [
        f"version {row['version']} {row['type']} {row['event_id']}, "
        + ("not sealed yet" if row["sequence"] is None else f"sequence {row['sequence']}")
        + f", occurred {row['occurred_at']:%Y-%m-%dT%H:%M:%SZ}"
        for row in reversed(rows)
    ]


async def _events_of_kafka(
    bootstrap: str, streams: Collection[tuple[str, str]], reach: Reach
) -> AsyncIterator[tuple[tuple[str, str], str]]:
    wanted = set(streams)
    places = {Place(topic, partition_for(stream, TOPICS[topic].partitions)) for topic, stream in wanted}
    ends = {place: end for place, end in reach.foreign.items() if place in places}
    async for slices in foreign_slices(bootstrap, dict.fromkeys(ends, Standing()), ends):
        for piece in slices:
            for arrival in piece.arrivals:
                envelope = arrival.envelope
                assert envelope is not None, "foreign slices are chained"
                if (envelope.topic, envelope.key) in wanted:
                    yield (
                        (envelope.topic, envelope.key),
                        f"version {envelope.version} {envelope.type} {envelope.id}, {piece.place} offset "
                        f"{arrival.record.offset}, sequence {arrival.last_sequence}, occurred "
                        f"{envelope.time:%Y-%m-%dT%H:%M:%SZ}",
                    )
