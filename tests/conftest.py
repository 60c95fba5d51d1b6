"""The fixtures that every test may ask for: a PostgreSQL, a Kafka, a database of its own, a stack of its own.

`DATABASE_URL` (a superuser's DSN) and `KAFKA_BOOTSTRAP` in the environment put servers that exist in the place of ours.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.support.databases import Databases, FreshDatabase, Migrate
from tests.support.stack import Stack

# Pretty tracebacks draw every local variable, which for a batch of records takes longer than a Kafka session lasts.
structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])

# The same examples in every run: what turns red was changed. `--hypothesis-profile=further` tries others, by chance.
# How long an example takes says nothing, on a machine that has other things to do.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("again", untimed, derandomize=True)
settings.register_profile("further", untimed)
settings.load_profile("again")


class FileByFile(LoadScopeScheduling):
    """Each process of a test run takes a whole file at a time; the fault tests share a world across their files."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/faults" if file.startswith("tests/faults/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileByFile:
    return FileByFile(config, log)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The session's stack, for all tests together: not to be frozen or killed. See `private_stack`."""
    with Stack() as running:
        yield running


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> str:
    """A superuser's DSN of a real PostgreSQL, shared by the session."""
    if existing := os.environ.get("DATABASE_URL"):
        return existing
    return str(request.getfixturevalue("stack").postgres)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> str:
    """The bootstrap address of a real Kafka, shared by the session: give your topics and groups names of their own."""
    if existing := os.environ.get("KAFKA_BOOTSTRAP"):
        return existing
    return str(request.getfixturevalue("stack").kafka)


@pytest.fixture(scope="session")
def databases(postgres: str) -> Iterator[Databases]:
    made = Databases(postgres)
    yield made
    asyncio.run(made.drop_all())


@pytest.fixture
async def fresh_database(databases: Databases) -> AsyncIterator[FreshDatabase]:
    """`dsn = await fresh_database("registry", migrate)`: a database for this test alone; see `Databases`."""
    made: list[str] = []

    async def fresh(template: str, migrate: Migrate) -> str:
        made.append(await databases.clone(template, migrate))
        return made[-1]

    yield fresh
    for dsn in made:
        await databases.give_back(dsn)


@pytest.fixture(scope="module")
def private_stack() -> Iterator[Stack]:
    """A stack for one module's fault tests, which may freeze, kill and restart it."""
    with Stack() as running:
        yield running
