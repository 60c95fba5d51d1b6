"""The tables as the migrations make them, and what readers may see of them."""

import json
from typing import Any

import asyncpg
import pytest
from pydantic_core import to_jsonable_python

from contracts.envelope import Event
from contracts.outcomes import BusinessUnitPlanned
from services.kit.rows import columns_of
from services.kit.transaction import acting_as
from services.outcomes.follow_ups.decisions import schedule
from services.outcomes.rules.state import RULES
from services.outcomes.state import TABLES
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import (
    BEFORE,
    COMPLETED_AT,
    IN_LOMBOK_TIMUR,
    NOW,
    OTHER_COHORT,
    VILLAGE,
    Story,
    default_rules,
    held,
    known,
)
from tests.outcomes.test_cases import erased, rejected
from tests.outcomes.test_follow_ups import Followed

_TYPES = {"int8": "bigint", "bool": "boolean", "float8": "double precision"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_a_table_has_the_columns_of_its_row_type(outcomes: Outcomes, table):
    rows = await outcomes.pool.fetch(
        "SELECT column_name, udt_name, is_nullable FROM information_schema.columns WHERE table_name = $1", table.name
    )
    found = {r["column_name"]: (_TYPES.get(r["udt_name"], r["udt_name"]), r["is_nullable"] == "YES") for r in rows}
    assert found == {column.name: (column.sql_type, column.nullable) for column in columns_of(table.row)}


async def a_case_here_and_one_in_lombok_timur(outcomes: Outcomes) -> None:
    here, there = known("sari"), known("dewi", area_code=IN_LOMBOK_TIMUR)
    await outcomes.told(*here, *there, at=BEFORE)
    await outcomes.told(
        *held("sari"), *held("dewi", cohort_id=OTHER_COHORT, area_code=IN_LOMBOK_TIMUR), at=COMPLETED_AT
    )
    await outcomes.timers_run(NOW)
    await outcomes.given(*(_unit(person, area) for person, area in (("sari", VILLAGE), ("dewi", IN_LOMBOK_TIMUR))))


def _unit(case_id: str, area_code: str) -> BusinessUnitPlanned:
    return BusinessUnitPlanned(
        case_id=case_id,
        unit_id=f"unit-of-{case_id}",
        area_code=area_code,
        cooperative_number="5208020050007",
        sector="trade",
        planned_on=NOW.date(),
        launch_by=NOW.date(),
        capital_rupiah=1,
        jobs=1,
    )


async def test_a_reader_sees_the_own_areas_only_and_without_areas_nothing(outcomes: Outcomes):
    await a_case_here_and_one_in_lombok_timur(outcomes)
    for table, each in (
        ("person", 1),
        ("home", 1),
        ("placement", 1),
        ("case_file", 1),
        ("follow_up", 4),
        ("business_unit", 1),
    ):
        for areas, times in (("", 0), ("52.01", 1), ("52.0", 0), ("52.01,52.03", 2), ("52", 2), ("*", 2)):
            async with outcomes.pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT set_config('entas.areas', $1, true)", areas)
                await connection.execute("SET LOCAL ROLE entas_reader")
                found = await connection.fetchval(f"SELECT count(*) FROM {table}")
                assert found == each * times, (table, areas)


@pytest.mark.parametrize("table", ["read_log", "log", "idempotency", "number_to_forget"])
async def test_a_reader_may_not_even_ask_for_what_stands_around(outcomes: Outcomes, table: str):
    async with outcomes.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('entas.areas', '*', true)")
        await connection.execute("SET LOCAL ROLE entas_reader")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT 1 FROM {table}")


# --- Folds ------------------------------------------------------------------------------------------------------------


def told(row: Any) -> str:
    """A row as text. jsonb does not keep the order of names."""
    return json.dumps(to_jsonable_python(row), sort_keys=True)


def a_whole_story() -> list[Event]:
    """Everything of outcomes' own and of others' that happens to three people."""
    story = Followed()
    for months in (1, 3, 6):
        story.visited(months, notes="baik")
    story.given(_unit("sari", VILLAGE))
    story.told(*known("dewi"), *held("dewi", cohort_id=OTHER_COHORT))
    story.given(*schedule(story.case("dewi"), story.the(RULES, "follow_up_plan")))
    story.told(rejected("dewi"), erased("sari"))
    return [event for event, _ in story.events]


def test_no_fold_changes_the_row_that_it_is_given():
    story = Story()
    for event in a_whole_story():
        before = [row for table in TABLES for row in story.of_stream(table, event.key)]
        texts = [told(row) for row in before]
        story.fold(event)
        assert [told(row) for row in before] == texts, type(event).__name__


async def test_rows_come_back_from_postgresql_as_they_were_folded(outcomes: Outcomes):
    await a_case_here_and_one_in_lombok_timur(outcomes)
    story = Story(*default_rules(), now=BEFORE)
    story.told(*known("sari"), *known("dewi", area_code=IN_LOMBOK_TIMUR))
    story.at(COMPLETED_AT)
    story.told(*held("sari"), *held("dewi", cohort_id=OTHER_COHORT, area_code=IN_LOMBOK_TIMUR))
    for table in TABLES:
        if table.name not in ("person", "home", "cohort", "placement"):
            continue
        async with outcomes.workplace.transaction(acting_as("test")) as tx:
            keys = await tx.connection.fetch(f"SELECT {', '.join(table.key)} FROM {table.name}")
            stored = await tx.rows(table, [tuple(key) for key in keys])
        folded = [story.the(table, *tuple(key)) for key in keys]
        assert [_plain(row) for row in stored] == [_plain(row) for row in folded], table.name


def _plain(row: Any) -> dict[str, Any]:
    return {name: value for name, value in to_jsonable_python(row).items() if name not in ("sealed", "sealed_by")}
