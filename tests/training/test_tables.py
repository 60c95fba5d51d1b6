"""The tables as the migrations make them, and what readers may see of them."""

import json
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python

from contracts.envelope import Envelope, Event
from contracts.registry import (
    DelistingReason,
    HouseholdDelisted,
    LeavingReason,
    MemberLeft,
    ParticipantRejected,
    PersonErased,
    PriorityChanged,
    RejectionReason,
    VerificationExpired,
)
from contracts.training import AttendanceCorrected, AttendanceStatus
from services.kit.rows import Rows, columns_of, statements
from services.training.state import TABLES
from tests.training.conftest import Training
from tests.training.facts import (
    BASE,
    COHORT,
    DAYS,
    IN_LOMBOK_TIMUR,
    NOW,
    VILLAGE,
    Story,
    attended,
    confirmed,
    enrolled,
    known_people,
    listed,
    priority,
    quota,
    started,
    verified,
    waitlisted,
)

_TYPES = {"int8": "bigint", "bool": "boolean", "float8": "double precision"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_a_table_has_the_columns_of_its_row_type(training: Training, table):
    rows = await training.pool.fetch(
        "SELECT column_name, udt_name, is_nullable FROM information_schema.columns WHERE table_name = $1", table.name
    )
    found = {r["column_name"]: (_TYPES.get(r["udt_name"], r["udt_name"]), r["is_nullable"] == "YES") for r in rows}
    assert found == {column.name: (column.sql_type, column.nullable) for column in columns_of(table.row)}


@pytest.mark.parametrize("table", ["candidate", "demand", "enrolment"])
async def test_a_reader_sees_the_own_areas_only_and_without_areas_nothing(training: Training, table: str):
    people = known_people(verified("sari"), verified("dewi", area_code=IN_LOMBOK_TIMUR))
    await training.told(*people, listed("h-1"), listed("h-2", area_code=IN_LOMBOK_TIMUR))
    await training.given(*BASE[:2], BASE[-1], enrolled("sari", 1), enrolled("dewi", 2, area_code=IN_LOMBOK_TIMUR))
    for areas, rows in (("", 0), ("52.01", 1), ("52.0", 0), ("52", 2), ("*", 2)):
        async with training.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('entas.areas', $1, true)", areas)
            await connection.execute("SET LOCAL ROLE entas_reader")
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == rows, areas


@pytest.mark.parametrize("table", ["read_log", "log", "idempotency"])
async def test_a_reader_may_not_even_ask_for_logs(training: Training, table: str):
    async with training.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('entas.areas', '*', true)")
        await connection.execute("SET LOCAL ROLE entas_reader")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT 1 FROM {table}")


# --- Folds ------------------------------------------------------------------------------------------------------------

WHOLE_STORY: list[Event] = [
    *known_people(verified("ani", 90), verified("budi", 80), verified("citra", 70), verified("dewi", 60)),
    *(listed(f"h-{n}") for n in range(3)),
    *BASE,
    quota("52.01", 20),
    *(enrolled(p, n) for n, p in enumerate(("ani", "budi", "citra"), 1)),
    waitlisted("dewi"),
    *(confirmed(p) for p in ("ani", "budi", "citra")),
    PriorityChanged(participant_id="dewi", priority=priority(99)),
    VerificationExpired(participant_id="citra", verified_at=NOW, expired_at=NOW),
    started(),
    *(attended(day, dict.fromkeys(("ani", "budi", "citra"), AttendanceStatus.PRESENT)) for day in DAYS),
    AttendanceCorrected(
        cohort_id=COHORT,
        day=DAYS[1],
        participant_id="budi",
        status=AttendanceStatus.ABSENT,
        because="entry_error",
    ),
    ParticipantRejected(participant_id="dewi", reason=RejectionReason.MOVED),
    PersonErased(participant_id="ani", household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8"),
    MemberLeft(household_id="h-1", person_id="h-1-1", reason=LeavingReason.DECEASED, on=NOW.date()),
    HouseholdDelisted(household_id="h-2", reason=DelistingReason.NOT_ON_LIST),
]
AS_FOLDED = Story(*WHOLE_STORY)
STORED = {
    table.name: [row for stream in {e.key for e, _ in AS_FOLDED.events} for row in AS_FOLDED.of_stream(table, stream)]
    for table in TABLES
}


def told(row: Any) -> str:
    """A row as text. jsonb does not keep the order of names."""
    return json.dumps(to_jsonable_python(row), sort_keys=True)


async def in_batches(pool: Any, facts: list[tuple[Event, Envelope]], cuts: list[int]) -> dict[str, set[str]]:
    """The tables after folding these facts in batches, each read from and written to PostgreSQL."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            for start, end in pairwise([0, *cuts, len(facts)]):
                rows = Rows(TABLES)
                await rows.load_touched(connection, [fact for fact, _ in facts[start:end]])
                for fact, envelope in facts[start:end]:
                    rows.fold(fact, envelope)
                await rows.write(connection)
            return {table.name: await _rows_of(connection, table) for table in TABLES}
        finally:
            await transaction.rollback()


async def _rows_of(connection: Any, table: Any) -> set[str]:
    sql = statements(table)
    columns = ", ".join(column.name for column in sql.columns)
    return {told(sql.row(record)) for record in await connection.fetch(f"SELECT {columns} FROM {table.name}")}


async def test_the_tables_are_the_same_however_the_facts_are_cut_into_batches(training: Training):
    await training.pool.execute("TRUNCATE rule")
    facts = AS_FOLDED.events
    expected = {name: {told(row) for row in rows} for name, rows in STORED.items()}
    assert all(expected.values()), "the story fills every table"
    every_cut = list(range(1, len(facts)))
    for cuts in ([], every_cut, every_cut[::2], every_cut[::5], every_cut[3:20:7]):
        assert await in_batches(training.pool, facts, cuts) == expected


def test_no_fold_changes_the_row_that_it_is_given():
    story = Story()
    for event in WHOLE_STORY:
        before = [row for table in TABLES for row in story.of_stream(table, event.key)]
        texts = [told(row) for row in before]
        story.fold(event)
        assert [told(row) for row in before] == texts, type(event).__name__


def streams_of(facts: list[tuple[Event, Envelope]]) -> dict[tuple[str, str], list[tuple[Event, Envelope]]]:
    streams: dict[tuple[str, str], list[tuple[Event, Envelope]]] = {}
    for event, envelope in facts:
        streams.setdefault((event.topic, event.key), []).append((event, envelope))
    return streams


@settings(max_examples=60)
@given(order=st.randoms(use_true_random=False))
def test_the_tables_are_the_same_for_every_interleaving_of_streams(order):
    waiting = {stream: list(facts) for stream, facts in streams_of(AS_FOLDED.events).items()}
    rows = Rows(TABLES)
    for table in TABLES:
        rows.add(table, [], [key for _, key in waiting])
    streams = [key for _, key in waiting]
    while waiting:
        stream = order.choice(sorted(waiting))
        event, envelope = waiting[stream].pop(0)
        rows.fold(event, envelope)
        if not waiting[stream]:
            del waiting[stream]
    for table in TABLES:
        assert {told(row) for key in streams for row in rows.of_stream(table, key)} == set(
            map(told, STORED[table.name])
        )
