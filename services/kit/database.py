"""The database: connecting and migrating."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg

from services.kit.outages import OUTAGES

ENDED_IN_SECONDS = 5.0
"""So long a session waits for the server to say that it has ended."""

KIT_MIGRATIONS = Path(__file__).with_name("migrations")


class DatabaseAway(Exception):
    """The database of ENTAS_DATABASE_URL cannot be reached. Is its server running, and was it made?"""


async def open_pool(url: str, *, size: int = 10) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool of connections; each statement may take a minute at most, so that nothing hangs for ever.

    A process that sleeps in the middle of a transaction loses it after 20 s, and the locks that others wait for.
    """
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        command_timeout=60,
        server_settings={"application_name": "entas", "timezone": "UTC", "idle_in_transaction_session_timeout": "20s"},
        reset=_nothing,
    )


async def _nothing(_: Any) -> None:
    """A transaction leaves nothing behind on its connection, so that nothing has to be reset after each."""


@asynccontextmanager
async def session(pool: Any) -> AsyncIterator[Any]:
    """A connection for what outlives transactions, such as a lock: it ends with the block, and is not used again.

    However it ends, the server has let go of its locks then, unless it does not answer: it does once it notices.
    """
    async with pool.acquire() as connection:
        try:
            yield connection
        finally:
            with suppress(*OUTAGES):
                await connection.close(timeout=ENDED_IN_SECONDS)


def migrate(url: str, folder: Path) -> list[str]:
    """Brings the database up to date: the kit's migrations, then the service's. Returns the names of those applied.

    Safe to run from several processes at once: one takes the lock, the others wait and find nothing to do.
    Raises `DatabaseAway`.
    """
    # Only this command needs them, and they take a tenth of the time that a process takes to start.
    import psycopg
    from yoyo import get_backend, read_migrations

    try:
        backend = get_backend(_for_psycopg(url))
    except psycopg.OperationalError as error:
        raise DatabaseAway(f"{DatabaseAway.__doc__} {error}") from error
    try:
        migrations = read_migrations(str(KIT_MIGRATIONS), str(folder))
        with backend.lock():
            waiting = backend.to_apply(migrations)
            with redirect_stdout(StringIO()):  # yoyo prints the empty answer of each function that a migration calls
                backend.apply_migrations(waiting)
            return [migration.id for migration in waiting]
    finally:
        backend.connection.close()


def _for_psycopg(url: str) -> str:
    return "postgresql+psycopg://" + url.partition("://")[2]
