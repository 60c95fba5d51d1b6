"""A database per test: cloned from a template that is migrated once per session, and swept clean for the next test.

Making and dropping a database moves hundreds of files, which takes longer than most tests; sweeping one takes
milliseconds. One whose schema, statistics or size a test has changed is dropped instead.
"""

import inspect
import itertools
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

Migrate = Callable[[str], Awaitable[object] | object]
FreshDatabase = Callable[[str, Migrate], Awaitable[str]]  # What the fixture `fresh_database` is.

MOST_BYTES = 1_000_000  # of one table: a larger one leaves more dead rows than the next test should wade through


@dataclass(frozen=True, slots=True)
class Template:
    """A migrated database, what its schema looks like, and the statements that empty a clone of it."""

    name: str
    schema: str
    sweep: str


class Databases:
    """Makes, sweeps and drops databases on one server. Names are unique, so that several runs can share the server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._templates: dict[str, Template] = {}
        self._used_by: dict[str, Template] = {}  # the DSN of each clone
        self._clean: dict[str, list[str]] = defaultdict(list)  # the template's name -> DSNs of clones that are swept

    async def clone(self, template: str, migrate: Migrate) -> str:
        """Gives the DSN of a database like the template; the first call of a session migrates the template.

        `migrate(dsn)` may be async or not and must have closed its connections when it returns.
        """
        if template not in self._templates:
            self._templates[template] = await self._build(template, migrate)
        made = self._templates[template]
        if self._clean[made.name]:
            return self._clean[made.name].pop()
        name = f"test_{self._run}_{next(self._numbers)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{made.name}" STRATEGY FILE_COPY')
        self._used_by[self._dsn(name)] = made
        return self._dsn(name)

    async def give_back(self, dsn: str) -> None:
        """Ends the connections that a test left open; the database is swept for another test, or dropped."""
        template = self._used_by[dsn]
        if await self._swept(dsn, template):
            self._clean[template.name].append(dsn)
        else:
            await self.drop(dsn)

    async def drop(self, dsn: str) -> None:
        """Drops the database and ends the connections that a test left open."""
        await self._execute(f'DROP DATABASE IF EXISTS "{urlsplit(dsn).path[1:]}" WITH (FORCE)')

    async def drop_all(self) -> None:
        """Drops the templates, and the clones that are swept."""
        for dsn in itertools.chain.from_iterable(self._clean.values()):
            await self.drop(dsn)
        for template in self._templates.values():
            await self._execute(f'DROP DATABASE "{template.name}"')

    async def _build(self, template: str, migrate: Migrate) -> Template:
        name = f"template_{self._run}_{template}"
        await self._execute(f'CREATE DATABASE "{name}"')
        done = migrate(self._dsn(name))
        if inspect.isawaitable(done):
            await done
        connection = await asyncpg.connect(self._dsn(name))
        try:
            return Template(name, await _schema(connection), await _sweep(connection))
        finally:
            await connection.close()

    async def _swept(self, dsn: str, template: Template) -> bool:
        await self._execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{urlsplit(dsn).path[1:]}'"
        )
        try:
            connection = await asyncpg.connect(dsn)
        except asyncpg.InvalidCatalogNameError:
            return False  # The test has dropped it.
        try:
            if await _schema(connection) != template.schema:
                return False
            await connection.execute(template.sweep)
            return True
        finally:
            await connection.close()

    def _dsn(self, name: str) -> str:
        return urlsplit(self._server)._replace(path=f"/{name}").geturl()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def _schema(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """A digest of all that a test may have changed but rows: tables, rules, functions, settings, statistics."""
    digest: str = await connection.fetchval(
        """
        WITH ours AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace),
        part (said) AS (
            SELECT concat_ws(' ', relname, relkind, relrowsecurity, relforcerowsecurity, relacl, reloptions,
                             CASE relkind WHEN 'r' THEN pg_relation_size(oid) > $1 END)
            FROM ours
            UNION ALL
            SELECT concat_ws(' ', c.relname, a.attname, a.atttypid, a.attnotnull, a.attnum, a.attisdropped)
            FROM pg_attribute a JOIN ours c ON c.oid = a.attrelid
            WHERE a.attnum > 0
            UNION ALL
            SELECT concat_ws(' ', c.relname, pg_get_constraintdef(r.oid))
            FROM pg_constraint r JOIN ours c ON c.oid = r.conrelid
            UNION ALL
            SELECT concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
            FROM pg_trigger t JOIN ours c ON c.oid = t.tgrelid
            UNION ALL
            SELECT concat_ws(' ', c.relname, p.polname, pg_get_expr(p.polqual, p.polrelid))
            FROM pg_policy p JOIN ours c ON c.oid = p.polrelid
            UNION ALL
            SELECT concat_ws(' ', proname, prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL
            SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = current_database()
            UNION ALL
            SELECT 'analysed ' || c.relname FROM pg_statistic s JOIN ours c ON c.oid = s.starelid
        )
        SELECT md5(string_agg(said, '|' ORDER BY said)) FROM part
        """,
        MOST_BYTES,
    )
    return digest


async def _sweep(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """Empties every table but those that the migrations filled, append-only or not, and starts every count anew."""
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    filled = [
        r["relname"] for r in tables if await connection.fetchval(f'SELECT EXISTS (SELECT FROM "{r["relname"]}")')
    ]
    kept = {name for name in filled if "yoyo" in name}
    assert set(filled) == kept, f"a migration fills {', '.join(sorted(set(filled) - kept))}: sweeping would lose that"
    sequences = await connection.fetch("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")
    return ";\n".join(
        [
            "SET session_replication_role = replica",
            *(f'DELETE FROM "{row["relname"]}"' for row in tables if "yoyo" not in row["relname"]),
            *(f'ALTER SEQUENCE "{row["sequencename"]}" RESTART' for row in sequences),
        ]
    )
