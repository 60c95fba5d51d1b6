"""The schema check: whatever differs between a migration and a row type is named, table and column."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from services.kit.schema_check import SchemaDiffers, check_schema
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, migrate_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@pytest.fixture
async def connection(fresh_database: FreshDatabase) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(await fresh_database("lab", migrate_lab))
    yield opened
    await opened.close()


async def test_the_labs_tables_are_what_their_row_types_say(lab: Lab, connection: Any):
    await check_schema(connection, lab.own_tables)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DROP TABLE part", "part: there is no such table"),
        ("ALTER TABLE counter DROP COLUMN total", "counter.total: is missing, should be bigint NOT NULL"),
        (
            "ALTER TABLE counter ALTER times TYPE integer",
            "counter.times: is integer NOT NULL, should be bigint",
        ),
        ("ALTER TABLE counter ALTER sealed SET NOT NULL", "counter.sealed: is text NOT NULL, should be text"),
        ("ALTER TABLE part ALTER total DROP NOT NULL", "part.total: is bigint, should be bigint NOT NULL"),
        (
            "ALTER TABLE rejection ALTER faults TYPE json",
            "rejection.faults: is json NOT NULL, should be jsonb",
        ),
        ("ALTER TABLE part ADD more text", "part.more: is no field of Part"),
        (
            "ALTER TABLE part DROP CONSTRAINT part_pkey",
            r"part: its primary key is \(\), should be \(counter_id, part\)",
        ),
        (
            "ALTER TABLE part DROP CONSTRAINT part_pkey, ADD PRIMARY KEY (part, counter_id)",
            r"part: its primary key is \(part, counter_id\), should be \(counter_id, part\)",
        ),
        ("CREATE UNIQUE INDEX one_part ON part (part)", "part: the unique index one_part is a rule that a fold"),
        (
            "ALTER TABLE part ADD CONSTRAINT of_counter FOREIGN KEY (counter_id) REFERENCES counter",
            "counter: the foreign key of_counter .*\npart: the foreign key of_counter",
        ),
    ],
)
async def test_a_difference_is_named(lab: Lab, connection: Any, change: str, named: str):
    await connection.execute(change)
    with pytest.raises(SchemaDiffers, match=named):
        await check_schema(connection, lab.own_tables)


async def test_what_the_database_computes_by_itself_is_no_difference(lab: Lab, connection: Any):
    await connection.execute("ALTER TABLE part ADD doubled bigint GENERATED ALWAYS AS (total * 2) STORED")
    await connection.execute("CREATE INDEX part_by_total ON part (total)")
    await check_schema(connection, lab.own_tables)
