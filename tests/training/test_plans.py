"""How PostgreSQL answers the questions that are asked most, with the numbers of a whole province."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.training.candidates.queries import POOL
from services.training.enrolments.queries import COMMITMENTS
from tests.training.conftest import Training

NOW = datetime(2024, 7, 1, tzinfo=UTC)


@pytest.fixture
async def province(training: Training) -> Training:
    """20,000 candidates, half of them verified; 16 cohorts with 480 people on their lists."""
    await training.pool.execute(
        """
        INSERT INTO candidate
        SELECT 'p' || lpad(n::text, 6, '0'), 2, '52.0' || 1 + n % 8 || '.01.2001', 'h' || n,
               CASE WHEN n % 2 = 0 THEN 'verified' ELSE 'nominated' END, 'female', '22-59', true, true, true,
               '2024-06-01', '2025-06-01', n * 7919 % 100, '{}', NULL, NULL
        FROM generate_series(1, 20000) AS n;

        INSERT INTO cohort
        SELECT 'c' || n, 1, '52.71', 'P3KE-' || n, 'programme', 'course', 'Pijat', 30, 'classroom', 'Balatkop',
               '["2024-07-08"]', '2024-07-08', '2024-07-08', '2024-07-05', 'planned', 30, 0, '[]', 0, 0, NULL, NULL
        FROM generate_series(1, 16) AS n;

        INSERT INTO enrolment
        SELECT 'c' || 1 + n % 16, 'p' || lpad((n * 2)::text, 6, '0'), '52.01.01.2001', 'enrolled', 1 + n / 16, NULL, 50,
               '{}', '2024-07-05', '2024-07-01', NULL, NULL, NULL, NULL, '{}', 0, 0, 0, NULL, NULL, '{}', NULL, NULL,
               NULL, NULL, NULL, NULL
        FROM generate_series(0, 479) AS n;

        ANALYZE;
        """
    )
    return training


async def plan_of(training: Training, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    """The nodes of the plan that a reader of one province gets, outermost first."""
    async with training.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('entas.areas', '52', true)")
        await connection.execute("SET LOCAL ROLE entas_reader")
        told = await connection.fetchval("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql, *arguments)
    nodes, waiting = [], [json.loads(told)[0]["Plan"]]
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


async def test_a_page_of_the_pool_is_read_in_the_order_of_an_index(province: Training):
    nodes = await plan_of(province, POOL, NOW, "", "~", (1 << 63) - 1, "", 51)
    assert "candidate_by_priority" in [node.get("Index Name") for node in nodes]
    assert "Sort" not in [node["Node Type"] for node in nodes], "the pool is sorted as a whole for one page"
    scanned = next(node for node in nodes if node.get("Index Name") == "candidate_by_priority")
    assert scanned["Actual Rows"] < 2000


async def test_the_last_page_of_the_pool_is_found_as_fast_as_the_first(province: Training):
    nodes = await plan_of(province, POOL, NOW, "", "~", 3, "p010000", 51)
    scanned = next(node for node in nodes if node.get("Index Name") == "candidate_by_priority")
    assert scanned["Actual Rows"] < 2000
    assert "score <=" in scanned["Index Cond"]


async def test_the_busy_days_of_a_class_are_found_by_person(province: Training):
    people = [f"p{n:06d}" for n in range(2, 62, 2)]
    nodes = await plan_of(province, COMMITMENTS, people, "c1")
    assert "Seq Scan" not in [node["Node Type"] for node in nodes if node.get("Relation Name") == "enrolment"]
