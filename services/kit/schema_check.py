"""Holds a database's tables against the row types that are folded into them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from services.kit.rows import Connection, columns_of
from services.kit.table import Table


class SchemaDiffers(Exception):
    """A table is not what its row type says; each line of the message names table and column. Mend the migration."""


async def check_schema(connection: Connection, tables: Sequence[Table[Any]]) -> None:
    """Raises `SchemaDiffers` unless each table has just the columns of its row type, by name, type and nullability,
    its declared primary key, and no other rule that a fold could break: no unique index, no foreign key."""
    names = [table.name for table in tables]
    columns = await _columns(connection, names)
    keys = await _keys(connection, names)
    rules = await _rules(connection, names)
    differences = [
        difference
        for table in tables
        for difference in _differences(table, columns.get(table.name), keys.get(table.name), rules[table.name])
    ]
    if differences:
        raise SchemaDiffers("\n".join(differences))


def _differences(
    table: Table[Any], there: dict[str, str] | None, key: tuple[str, ...] | None, rules: Iterable[str]
) -> Iterable[str]:
    if there is None:
        yield f"{table.name}: there is no such table"
        return
    wanted = {column.name: _spelt(column.sql_type, column.nullable) for column in columns_of(cast(Any, table.row))}
    for column, kind in wanted.items():
        if column not in there:
            yield f"{table.name}.{column}: is missing, should be {kind}"
        elif there[column] != kind:
            yield f"{table.name}.{column}: is {there[column]}, should be {kind}"
    for column in there.keys() - wanted.keys():
        yield f"{table.name}.{column}: is no field of {table.row.__name__}, so no fold fills it"
    if key != table.key:
        yield f"{table.name}: its primary key is ({', '.join(key or ())}), should be ({', '.join(table.key)})"
    for rule in rules:
        yield f"{table.name}: {rule} is a rule that a fold could break; lock a row that both commands touch instead"


def _spelt(sql_type: str, nullable: bool) -> str:
    return sql_type if nullable else f"{sql_type} NOT NULL"


async def _columns(connection: Connection, names: list[str]) -> dict[str, dict[str, str]]:
    rows = await connection.fetch(
        """
        SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES' AS nullable
        FROM information_schema.columns c
        WHERE c.table_schema = current_schema()
        AND c.table_name = ANY($1::text[])
        AND c.is_generated = 'NEVER'
        ORDER BY c.table_name, c.ordinal_position
        """,
        names,
    )
    tables: dict[str, dict[str, str]] = {}
    for row in rows:
        kind = {"timestamp with time zone": "timestamptz"}.get(row["data_type"], row["data_type"])
        tables.setdefault(row["table_name"], {})[row["column_name"]] = _spelt(kind, row["nullable"])
    return tables


async def _keys(connection: Connection, names: list[str]) -> dict[str, tuple[str, ...]]:
    rows = await connection.fetch(
        """
        SELECT t.table_name, array_agg(k.column_name::text ORDER BY k.ordinal_position) AS key
        FROM information_schema.table_constraints t
        JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name, table_name)
        WHERE t.table_schema = current_schema()
        AND t.table_name = ANY($1::text[])
        AND t.constraint_type = 'PRIMARY KEY'
        GROUP BY t.table_name
        """,
        names,
    )
    return {row["table_name"]: tuple(row["key"]) for row in rows}


async def _rules(connection: Connection, names: list[str]) -> Mapping[str, list[str]]:
    """Foreign keys from and to these tables, and their unique indexes besides the primary key."""
    rows = await connection.fetch(
        """
        SELECT t.relname AS table_name, 'the foreign key ' || c.conname AS rule
        FROM pg_constraint c
        JOIN pg_class t ON t.oid IN (c.conrelid, c.confrelid)
        WHERE c.contype = 'f'
        AND t.relnamespace = current_schema()::regnamespace
        AND t.relname = ANY($1::text[])
        UNION
        SELECT t.relname, 'the unique index ' || x.relname
        FROM pg_index i
        JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indisunique
        AND NOT i.indisprimary
        AND t.relnamespace = current_schema()::regnamespace
        AND t.relname = ANY($1::text[])
        ORDER BY 1, 2
        """,
        names,
    )
    rules = defaultdict(list)
    for row in rows:
        rules[row["table_name"]].append(row["rule"])
    return rules
