"""The tables as the migrations make them, and what readers may see of them."""

from dataclasses import replace

import asyncpg
import pytest

from contracts.registry import (
    DelistingReason,
    HouseholdDelisted,
    HouseholdRankChanged,
    SnapshotApplied,
    SnapshotReceived,
)
from services.kit.rows import columns_of
from services.registry.state import TABLES
from tests.registry.conftest import Registry
from tests.registry.facts import EVIDENCE, HOME, MOTHER, RANK, TO_VERIFIED, TODAY, listed

_TYPES = {"int8": "bigint", "bool": "boolean", "timestamptz": "timestamptz", "float8": "double precision"}


async def test_each_table_has_the_columns_of_its_row_type(registry: Registry):
    for table in TABLES:
        rows = await registry.pool.fetch(
            "SELECT column_name, udt_name, is_nullable FROM information_schema.columns WHERE table_name = $1",
            table.name,
        )
        found = {r["column_name"]: (_TYPES.get(r["udt_name"], r["udt_name"]), r["is_nullable"] == "YES") for r in rows}
        assert found == {column.name: (column.sql_type, column.nullable) for column in columns_of(table.row)}


async def test_a_reader_without_areas_sees_nothing(registry: Registry):
    await registry.given(*TO_VERIFIED)
    async with registry.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE entas_reader")
        for table in ("household", "member", "participant", "visit", "household_shown"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        await connection.execute("SELECT set_config('entas.areas', '52', true)")
        for table in ("household", "member", "participant", "visit", "household_shown"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") > 0, table


async def test_a_reader_may_not_even_ask_for_keys_indexes_and_logs(home: Registry):
    for table in ("person_key", "person_search", "read_log", "log", "idempotency"):
        async with home.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('entas.areas', '*', true)")
            await connection.execute("SET LOCAL ROLE entas_reader")
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=table):
                await connection.execute(f"SELECT 1 FROM {table}")


# --- A snapshot shows at once or not at all ---------------------------------------------------------------------------


def received(snapshot_id: str) -> SnapshotReceived:
    return SnapshotReceived(
        snapshot_id=snapshot_id,
        source="P3KE",
        dated=TODAY,
        areas=("52",),
        file_name="p3ke.csv",
        file_digest="ab" * 32,
        rows=3,
        rows_rejected=0,
        households=1,
        people=3,
    )


def applied(snapshot_id: str) -> SnapshotApplied:
    return SnapshotApplied(
        snapshot_id=snapshot_id,
        source="P3KE",
        dated=TODAY,
        households_on_list=1,
        people_on_list=3,
        listed=1,
        rank_changed=0,
        unchanged=0,
        delisted=0,
        unresolved=0,
    )


async def shown(registry: Registry) -> list[tuple[str, str, int, str]]:
    page = (await registry.caller("auditor", areas=["52.01"]).get("/households")).json()
    return [
        (item["household_id"], item["status"], item["rank"]["welfare_decile"], item["rank"]["snapshot_id"])
        for item in page["items"]
    ]


async def test_households_show_once_their_first_list_is_applied_whole(registry: Registry):
    await registry.given(received("s-1"), listed())
    officer = registry.officer()
    assert await shown(registry) == []
    assert (await officer.get(f"/households/{HOME}")).status_code == 404
    assert (await officer.get("/funnel")).json() == []
    await registry.given(applied("s-1"))
    assert await shown(registry) == [(HOME, "listed", 1, "s-1")]
    assert (await officer.get(f"/households/{HOME}")).status_code == 200
    assert (await officer.get("/funnel")).json()[0]["households_listed"] == 1


async def test_a_rank_changes_for_readers_once_its_list_is_applied_whole(registry: Registry):
    newer = replace(RANK, snapshot_id="s-2", welfare_decile=4)
    await registry.given(received("s-1"), listed(), applied("s-1"), received("s-2"))
    await registry.given(HouseholdRankChanged(household_id=HOME, rank=newer, evidence=EVIDENCE))
    assert await shown(registry) == [(HOME, "listed", 1, "s-1")]
    await registry.given(applied("s-2"))
    assert await shown(registry) == [(HOME, "listed", 4, "s-2")]


async def test_a_household_goes_for_readers_once_its_list_is_applied_whole(registry: Registry):
    await registry.given(received("s-1"), listed(), applied("s-1"), received("s-2"))
    await registry.given(HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST, snapshot_id="s-2"))
    assert [row[1] for row in await shown(registry)] == ["listed"]
    await registry.given(applied("s-2"))
    assert [row[1] for row in await shown(registry)] == ["delisted"]


async def test_what_happens_to_one_household_alone_shows_at_once(home: Registry):
    await home.given(HouseholdDelisted(household_id=HOME, reason=DelistingReason.NO_MEMBERS_LEFT))
    assert [row[1] for row in await shown(home)] == ["delisted"]
    assert MOTHER in str((await home.officer().get(f"/households/{HOME}")).json())
