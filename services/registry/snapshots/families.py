"""Owns making the family index anew: which household a source means by a family id, out of what stands sealed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from contracts.registry import HouseholdDetails, HouseholdId
from services.kit.database import session
from services.kit.rows import Connection
from services.kit.transaction import Transaction, Workplace, acting_as
from services.registry.snapshots import queries
from services.registry.snapshots.staging import Digests

REINDEX_BATCH = 1_000


class ListsWaiting(Exception):
    """Lists are coming in or wait to be applied: they were staged under the pepper that the index is keyed with now."""


async def reindex_families(workplace: Workplace, pepper: bytes) -> int:
    """Makes the index anew in batches, for a new pepper or after it was lost. Returns its households.

    A household's sealed record holds the id by which it was last matched, and its row the source whose rank it has:
    of a household that two sources name in turn, one id is found again and the other by the head's NIK.
    No list is applied meanwhile. Raises `ListsWaiting`, and changes nothing, while one is coming in or waiting:
    families that were staged under the old pepper would be strangers.
    """
    async with _applying_nothing(workplace):
        done, after = 0, ""
        async with workplace.transaction(acting_as("reindex")) as tx:
            await tx.connection.execute("DELETE FROM household_family")
        while True:
            async with workplace.transaction(acting_as("reindex")) as tx:
                batch = await _households_after(tx.connection, after)
                done += await _index_batch(tx, batch, pepper)
            if len(batch) < REINDEX_BATCH:
                return done
            after = batch[-1].household_id


@asynccontextmanager
async def _applying_nothing(workplace: Workplace) -> AsyncGenerator[None]:
    """Half an index would have the next list take known households for new ones."""
    async with session(workplace.pool) as connection:
        await queries.lead(connection)
        if waiting := await queries.lists_waiting(connection):
            raise ListsWaiting(
                f"{waiting} lists are coming in or wait to be applied: send none, let the worker apply them under "
                "the old pepper (GET /snapshots says when), and run it again."
            )
        yield


@dataclass(frozen=True, slots=True)
class _SealedHousehold:
    household_id: HouseholdId
    source: str
    sealed: str | None
    sealed_by: str | None


async def _households_after(connection: Connection, after: HouseholdId) -> list[_SealedHousehold]:
    rows = await connection.fetch(
        """
        SELECT household_id, source, sealed, sealed_by
        FROM household
        WHERE household_id > $1
        ORDER BY household_id
        LIMIT $2
        FOR SHARE
        """,
        after,
        REINDEX_BATCH,
    )
    return [_SealedHousehold(*row) for row in rows]


async def _index_batch(tx: Transaction, batch: list[_SealedHousehold], pepper: bytes) -> int:
    sealed = [(household.household_id, household.sealed_by, household.sealed) for household in batch]
    opened = await tx.open(sealed, HouseholdDetails, "reindex")
    known = [
        (household.source, Digests(pepper, household.source).family(details.source_family_id), household.household_id)
        for household, details in zip(batch, opened, strict=True)
        if details is not None and details.source_family_id is not None
    ]
    await tx.connection.execute(
        """
        INSERT INTO household_family (source, family, household_id)
        SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[])
        ON CONFLICT (source, family) DO NOTHING
        """,
        [source for source, _, _ in known],
        [family for _, family, _ in known],
        [household_id for _, _, household_id in known],
    )
    return len(known)
