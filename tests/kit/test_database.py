"""What outlives transactions, on a real PostgreSQL."""

import asyncio
from contextlib import suppress

import pytest

from services.kit.database import open_pool, session
from tests.support.databases import FreshDatabase
from tests.support.lab import migrate_lab

LOCK = "SELECT pg_advisory_lock(4711)"
IS_FREE = "SELECT pg_try_advisory_xact_lock(4711)"


@pytest.mark.parametrize("failing", [False, True])
async def test_a_session_that_ended_has_let_go_of_its_lock(failing: bool, fresh_database: FreshDatabase):
    async def hold_the_lock() -> None:
        async with session(pool) as connection:
            await connection.execute(LOCK)
            assert not await another.fetchval(IS_FREE)
            if failing:
                raise ZeroDivisionError

    dsn = await fresh_database("lab", migrate_lab)
    async with await open_pool(dsn) as pool, pool.acquire() as another:
        for _ in range(100):  # Some of a hundred would be seen too early if nobody waited.
            with suppress(ZeroDivisionError):
                await hold_the_lock()
            assert await another.fetchval(IS_FREE)


async def test_a_session_that_is_cancelled_in_the_middle_lets_go_of_its_lock(fresh_database: FreshDatabase):
    async def wait_for_ever(locked: asyncio.Event) -> None:
        async with session(pool) as connection:
            await connection.execute(LOCK)
            locked.set()
            await connection.execute("SELECT pg_sleep(60)")

    dsn = await fresh_database("lab", migrate_lab)
    async with await open_pool(dsn) as pool, pool.acquire() as another:
        for _ in range(20):
            locked = asyncio.Event()
            waiting = asyncio.create_task(wait_for_ever(locked))
            await locked.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await another.fetchval(IS_FREE)


async def test_a_session_that_the_server_has_cut_ends_without_an_error(fresh_database: FreshDatabase):
    async with await open_pool(await fresh_database("lab", migrate_lab)) as pool:
        async with session(pool) as connection:
            await pool.execute("SELECT pg_terminate_backend($1)", await connection.fetchval("SELECT pg_backend_pid()"))
        await asyncio.wait_for(pool.close(), 10)
