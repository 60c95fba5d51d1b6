"""A database per test, cloned from a template that is migrated once per session."""

import inspect
import itertools
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import asyncpg

Migrate = Callable[[str], Awaitable[object] | object]
FreshDatabase = Callable[[str, Migrate], Awaitable[str]]  # What the fixture `fresh_database` is.


class Databases:
    """Makes and drops databases on one server. Names are unique, so that several test runs can share the server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._templates: dict[str, str] = {}

    async def clone(self, template: str, migrate: Migrate) -> str:
        """Gives the DSN of a new database like the template; the first call of a session migrates the template.

        `migrate(dsn)` may be async or not and must have closed its connections when it returns.
        """
        if template not in self._templates:
            self._templates[template] = await self._build(template, migrate)
        name = f"test_{self._run}_{next(self._numbers)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._templates[template]}" STRATEGY FILE_COPY')
        return self._dsn(name)

    async def drop(self, dsn: str) -> None:
        """Drops the database and ends the connections that a test left open."""
        await self._execute(f'DROP DATABASE "{urlsplit(dsn).path[1:]}" WITH (FORCE)')

    async def drop_templates(self) -> None:
        for name in self._templates.values():
            await self._execute(f'DROP DATABASE "{name}"')

    async def _build(self, template: str, migrate: Migrate) -> str:
        name = f"template_{self._run}_{template}"
        await self._execute(f'CREATE DATABASE "{name}"')
        done = migrate(self._dsn(name))
        if inspect.isawaitable(done):
            await done
        return name

    def _dsn(self, name: str) -> str:
        return urlsplit(self._server)._replace(path=f"/{name}").geturl()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
