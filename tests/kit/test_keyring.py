"""The keyring of the key authority: one key a subject, however many transactions ask for it at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.kit.keyring import LocalKeys, erase_keys
from services.kit.refusal import Refused
from tests.support.databases import FreshDatabase
from tests.support.lab import MASTER_KEY, migrate_lab


@pytest.fixture
async def pool(fresh_database: FreshDatabase) -> AsyncIterator[Any]:
    dsn = await fresh_database("lab", migrate_lab)
    async with asyncpg.create_pool(dsn, min_size=8, max_size=8) as opened:
        yield opened


async def test_transactions_that_make_the_same_keys_at_once_end_with_the_same_keys(pool: Any):
    keyring, together = LocalKeys(MASTER_KEY), asyncio.Barrier(8)

    async def seal_for(subjects: list[str]) -> dict[str, bytes]:
        async with pool.acquire() as connection, connection.transaction():
            await together.wait()
            return await keyring.to_seal(connection, subjects)

    # Each names them in another order, and some in another company.
    asked = [["a", "b", "c"], ["c", "b", "a"], ["b", "d"], ["d", "a"], ["c"], ["a"], ["e", "a"], ["a", "e"]]
    given = await asyncio.wait_for(asyncio.gather(*[seal_for(subjects) for subjects in asked]), 20)
    async with pool.acquire() as connection:
        kept = await keyring.to_open(connection, ["a", "b", "c", "d", "e"], "test")
    assert len(set(kept.values())) == 5
    for subjects, keys in zip(asked, given, strict=True):
        assert keys == {subject: kept[subject] for subject in subjects}


async def test_keys_of_a_transaction_that_is_rolled_back_never_were(pool: Any):
    keyring = LocalKeys(MASTER_KEY)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await keyring.to_seal(connection, ["a"])
        await transaction.rollback()
        assert await keyring.to_open(connection, ["a"], "test") == {}


async def test_a_destroyed_key_is_missing_and_none_is_made_in_its_place(pool: Any):
    keyring = LocalKeys(MASTER_KEY)
    async with pool.acquire() as connection:
        made = await keyring.to_seal(connection, ["a", "b"])
        assert await erase_keys(connection, ["a", "never made"]) == {"a"}
        assert await erase_keys(connection, ["a"]) == set()
        assert await keyring.given_or_made(connection, ["b", "a", "b"]) == {"b": made["b"]}
        with pytest.raises(Refused, match="destroyed"):
            await keyring.to_seal(connection, ["a", "b"])
        # What was destroyed before there was a key does not keep one from being made.
        assert set(await keyring.given_or_made(connection, ["never made"])) == {"never made"}
