"""How PostgreSQL answers the questions that are asked most, with the numbers of a whole province."""

import json
from datetime import date
from typing import Any

import pytest

from services.kit.rows import statements
from services.outcomes.cases.queries import OVERLOOKED
from services.outcomes.cases.state import CASES
from services.outcomes.follow_ups.queries import (
    CASES_WITH_ONES_TO_FALL_DUE,
    CASES_WITH_ONES_TO_MISS,
    FOLLOW_UPS_BY_DAY,
)
from tests.outcomes.conftest import Outcomes


@pytest.fixture
async def province(outcomes: Outcomes) -> Outcomes:
    """60,642 households, 2,000 participants, all with a case, and their 8,000 follow-ups, a hundred of them due."""
    await outcomes.pool.execute(
        """
        INSERT INTO home
        SELECT 'h' || lpad(n::text, 6, '0'), 1, '52.0' || 1 + n % 8 || '.01.2001', 'listed', 5, 1, 2, '2024-01-01',
               jsonb_build_array('p' || lpad(n::text, 6, '0')), '[]'
        FROM generate_series(1, 60642) AS n;

        INSERT INTO person
        SELECT 'p' || lpad(n::text, 6, '0'), 3, '52.0' || 1 + n % 8 || '.01.2001', 'h' || lpad(n::text, 6, '0'),
               CASE WHEN n > 2000 THEN 'rejected' ELSE 'verified' END, NULL, 'female', '22-59', 'f-1', '2024-02-01',
               '[]', '[]', NULL, NULL
        FROM generate_series(1, 2600) AS n;

        INSERT INTO case_file
        SELECT 'p' || lpad(n::text, 6, '0'), 6, '52.0' || 1 + n % 8 || '.01.2001', 'open', NULL, NULL, 'followed', NULL,
               NULL, '[]', 'c' || n / 30, 'course', 'classroom', '2024-07-12', '2024-07-12', 100, 1, 2, '[]',
               'h' || lpad(n::text, 6, '0'), 5, 1, 2, 'female', '22-59', '{}', '[1, 3, 6, 12]', NULL, NULL, NULL,
               NULL, 0, 0
        FROM generate_series(1, 2000) AS n;

        INSERT INTO follow_up
        SELECT 'p' || lpad(n::text, 6, '0'), m, '52.0' || 1 + n % 8 || '.01.2001',
               CASE WHEN m > 1 THEN 'scheduled' WHEN n <= 100 THEN 'due' ELSE 'recorded' END,
               date '2024-08-12' + (m * 30 + n % 60)::int, date '2024-08-26' + (m * 30 + n % 60)::int, 'follow_up_plan',
               1, 'f-' || n % 50, NULL, NULL, NULL, NULL, false, NULL, '[]', NULL, NULL, NULL, NULL, NULL, '[]', '[]',
               NULL, NULL, NULL, NULL, NULL, NULL, NULL
        FROM generate_series(1, 2000) AS n, unnest(ARRAY[1, 3, 6, 12]) AS m;

        ANALYZE;
        """
    )
    return outcomes


async def plan_of(outcomes: Outcomes, sql: str, *arguments: Any, reader: bool = False) -> list[dict[str, Any]]:
    """The nodes of a plan, outermost first; of one that a reader of one province gets, if asked."""
    async with outcomes.pool.acquire() as connection, connection.transaction():
        if reader:
            await connection.execute("SELECT set_config('entas.areas', '52', true)")
            await connection.execute("SET LOCAL ROLE entas_reader")
        told = await connection.fetchval("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql, *arguments)
    nodes, waiting = [], [json.loads(told)[0]["Plan"]]
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


def indexes_in(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}


def pages_of(nodes: list[dict[str, Any]]) -> int:
    """What was read, in pages of 8 KiB."""
    return int(nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"])


async def test_which_cases_a_batch_of_listings_concerns_is_found_without_reading_them_all(province: Outcomes):
    nobody = [f"q{n}" for n in range(9_300)]
    nodes = await plan_of(province, statements(CASES).select, nobody)
    assert pages_of(nodes) < 1_000
    few = await plan_of(province, statements(CASES).select, ["p000007", "p000008", "q1"])
    assert "case_file_pkey" in indexes_in(few)
    assert pages_of(few) < 40


async def test_what_falls_due_is_found_by_its_day(province: Outcomes):
    nodes = await plan_of(province, CASES_WITH_ONES_TO_FALL_DUE, date(2024, 9, 1), 200)
    assert "follow_up_to_come" in indexes_in(nodes)
    assert pages_of(nodes) < 60, "nothing is due yet, and little is read to know it"
    nodes = await plan_of(province, "SELECT min(due_on) FROM follow_up WHERE status = 'scheduled'")
    assert indexes_in(nodes) == {"follow_up_to_come"}


async def test_what_is_missed_is_found_by_its_day(province: Outcomes):
    nodes = await plan_of(province, CASES_WITH_ONES_TO_MISS, date(2024, 9, 1), 200)
    assert "follow_up_due" in indexes_in(nodes)
    assert pages_of(nodes) < 60


async def test_what_was_overlooked_is_looked_for_without_reading_households(province: Outcomes):
    nodes = await plan_of(province, f"SELECT min(completed_at) FROM ({OVERLOOKED}) AS overlooked")
    read = [n for n in nodes if n.get("Relation Name") == "home" and n["Node Type"] == "Seq Scan" and n["Actual Loops"]]
    assert read == []
    assert pages_of(nodes) < 1_000


async def test_a_page_of_due_follow_ups_is_read_in_the_order_of_an_index(province: Outcomes):
    arguments = ("52", "52/", date(2024, 10, 1), ["scheduled", "due"], None, None, date.min, "", 0, 51)
    nodes = await plan_of(province, FOLLOW_UPS_BY_DAY, *arguments, reader=True)
    assert "follow_up_by_due_day" in indexes_in(nodes)
    assert "Sort" not in {node["Node Type"] for node in nodes}
    assert "case_file_pkey" in indexes_in(nodes)
