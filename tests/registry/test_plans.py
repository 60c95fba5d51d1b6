"""Hot queries use their indexes at the size of a kabupaten's list, also as a reader under row-level security."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.kit.paging import Paging
from services.registry import search
from services.registry.households import queries as households
from services.registry.households.queries import Wanted
from services.registry.households.state import HouseholdStatus
from services.registry.participants import queries as participants
from services.registry.participants.state import ParticipantStatus
from services.registry.people import queries as people
from tests.registry.conftest import Registry

COUNT = 20_000


@pytest.fixture
async def full(registry: Registry) -> Registry:
    """Rows as a list leaves them, made by one statement a table: what is tested here is how they are found again."""
    await registry.pool.execute(
        f"""
        INSERT INTO household
        SELECT
            'h-' || n, 1, '52.' || lpad((n % 10 + 1)::text, 2, '0') || '.01.' || (2000 + n % 50), 'listed', 'P3KE',
            's-1', '2024-01-01', n % 10 + 1, NULL, NULL, 'digest', n, 4, 'p-' || n, '{{}}', NULL, NULL, NULL, NULL, '52'
        FROM generate_series(1, {COUNT}) AS n
        """
    )
    await registry.pool.execute(
        """
        INSERT INTO member
        SELECT household_id, head_person_id, area_code, true, 'female', '22-59', true, NULL, NULL, NULL, NULL, NULL
        FROM household
        """
    )
    await registry.pool.execute(
        """
        INSERT INTO participant (
            participant_id, version, household_id, area_code, status, route, sex, age_band, adult, visits, expires_at,
            priority_rule_version
        )
        SELECT
            person_id, 1, household_id, area_code, CASE WHEN person_id LIKE '%7' THEN 'verified' ELSE 'nominated' END,
            'targeting_list', 'female', '22-59', true, 0, now() + random() * interval '300 days', 1
        FROM member
        """
    )
    await registry.pool.execute(
        """
        INSERT INTO person_search
        SELECT person_id, household_id, sha256(person_id::bytea), 'nama ' || md5(person_id) FROM member
        """
    )
    await registry.pool.execute("ANALYZE household, member, participant, person_search")
    return registry


class Explaining:
    """A connection that, instead of fetching, keeps the plan of what it was to fetch."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan = ""

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        self.plan += "\n".join(row[0] for row in await self._connection.fetch("EXPLAIN " + sql, *arguments))
        return []

    async def fetchval(self, sql: str, *arguments: Any) -> None:
        await self.fetch(sql, *arguments)

    fetchrow = fetchval


@pytest.fixture
async def reader(full: Registry) -> AsyncIterator[Explaining]:
    async with full.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('entas.areas', '52.01,52.02', true)")
        await connection.execute("SET LOCAL ROLE entas_reader")
        yield Explaining(connection)


@pytest.fixture
async def owner(full: Registry) -> AsyncIterator[Explaining]:
    async with full.pool.acquire() as connection, connection.transaction():
        yield Explaining(connection)


WANTED = Wanted("52", 1, 3)
PAGING = Paging(50)


async def test_a_page_of_households_is_a_range_of_the_index(reader: Any):
    await households.households(reader, PAGING, WANTED, [HouseholdStatus.LISTED])
    assert "Index Scan using household_by_area" in reader.plan
    assert "Seq Scan on household" not in reader.plan
    assert "Sort" not in reader.plan


async def test_a_page_of_participants_is_a_range_of_the_index(reader: Any):
    await participants.participants(reader, PAGING, WANTED, [ParticipantStatus.VERIFIED], None)
    assert "Index Scan using participant_by_area" in reader.plan
    assert "Seq Scan" not in reader.plan.replace("Seq Scan on snapshot", "")
    assert "Sort" not in reader.plan


async def test_one_household_is_found_by_its_keys(reader: Any):
    await households.household(reader, "h-77")
    assert "household_pkey" in reader.plan


async def test_what_expires_next_is_at_one_end_of_an_index(owner: Any):
    await participants.next_expiry(owner)
    assert "participant_to_expire" in owner.plan
    assert "Seq Scan" not in owner.plan


async def test_what_is_due_is_a_range_of_an_index(full: Registry):
    async with full.transaction() as tx:
        explaining: Any = Explaining(tx.connection)
        tx.connection = explaining
        await participants.participants_due_to_expire(tx, 200)
        await participants.people_of_an_older_rule(tx, 2, 200)
        tx.connection = explaining._connection
    assert "participant_to_expire" in explaining.plan
    assert "Seq Scan on participant" not in explaining.plan


async def test_a_nik_is_looked_up_by_its_digest(owner: Any):
    await search.people_by_national_id(owner, {f"52700101010{n:05}" for n in range(200)})
    assert "person_search_by_national_id" in owner.plan
    assert "Seq Scan" not in owner.plan


async def test_a_name_is_looked_up_by_its_trigrams(full: Registry):
    """As the function's own query. A table of this size is read whole as fast: whether the index serves is asked."""
    async with full.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch("EXPLAIN SELECT person_id FROM person_search s WHERE 'nama abc123' <% s.name")
    assert "person_search_by_name" in "\n".join(row[0] for row in rows)


async def test_the_households_of_500_persons_are_found_by_an_index(owner: Any):
    await households.households_of(owner, [f"p-{n}" for n in range(500)])
    assert "member_by_person" in owner.plan


async def test_who_looked_at_a_person_is_found_by_an_index(full: Registry):
    async with full.pool.acquire() as connection:
        page = await people.reads_of(connection, PAGING, "p-1")
        assert page.items == []
        asked = "EXPLAIN SELECT * FROM read_log WHERE subject_id = 'p-1' AND id < 5 ORDER BY id DESC"
        rows = await connection.fetch(asked)
    assert "Seq Scan" not in "\n".join(row[0] for row in rows)
