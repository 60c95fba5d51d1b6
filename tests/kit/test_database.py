"""What outlives transactions, on a real PostgreSQL."""

import asyncio

import pytest

from services.kit.database import open_pool, session
from tests.support.databases import FreshDatabase
from tests.support.lab import migrate_lab

LOCK = "SELECT pg_advisory_lock(4711)"
IS_FREE = "SELECT pg_try_advisory_xact_lock(4711)"


async def test_a_session_that_ended_has_let_go_of_its_lock(fresh_database: FreshDatabase):
    async with await open_pool(await fresh_database("lab", migrate_lab)) as pool, pool.acquire() as another:
        for _ in range(100):  # Some of a hundred would be seen too early if nobody waited.
            async with session(pool) as connection:
                await connection.execute(LOCK)
                assert not await another.fetchval(IS_FREE)
            assert await another.fetchval(IS_FREE)


async def test_a_session_that_failed_does_not_go_back_to_the_pool(fresh_database: FreshDatabase):
    async def fail() -> None:
        async with session(pool) as connection:
            await connection.execute("SET search_path = elsewhere")
            raise ZeroDivisionError

    async with await open_pool(await fresh_database("lab", migrate_lab), size=1) as pool:
        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await pool.fetchval("SHOW search_path") != "elsewhere"


async def test_a_session_that_the_server_has_cut_ends_without_an_error(fresh_database: FreshDatabase):
    async with await open_pool(await fresh_database("lab", migrate_lab)) as pool:
        async with session(pool) as connection:
            await pool.execute("SELECT pg_terminate_backend($1)", await connection.fetchval("SELECT pg_backend_pid()"))
        await asyncio.wait_for(pool.close(), 10)
