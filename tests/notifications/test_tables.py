"""The tables as the migration makes them, the folds that fill them, and how hot queries find their rows."""

import asyncio
import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from pydantic_core import to_jsonable_python

from contracts.notifications import (
    AttemptFailed,
    Channel,
    FailureReason,
    NotificationDelivered,
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
    SendingStarted,
    SuppressionReason,
)
from services.kit.rows import Rows, statements
from services.kit.schema_check import check_schema
from services.notifications.deliveries import queries
from services.notifications.deliveries.state import DELIVERIES
from services.notifications.state import TABLES
from tests.notifications.conftest import Notifications
from tests.notifications.facts import IN_LOMBOK_TIMUR, NOW, Story, adopted, defaults, enrolled, nominated, planned
from tests.notifications.test_deliveries import preference
from tests.notifications.test_orders import TOLD
from tests.support.purity import assert_pure


async def test_the_tables_are_what_their_row_types_say(bare: Notifications):
    async with bare.pool.acquire() as connection:
        await check_schema(connection, TABLES)


def whole_story() -> Story:
    """Every fact that any table folds."""
    story = Story(*defaults(), preference("sari", channels=(Channel.EMAIL,)))
    story.told(*TOLD)
    ids = [delivery.notification_id for delivery in story.deliveries()]
    start = [SendingStarted(notification_id=id_, attempt=1, channel=Channel.SMS, repeatable=True) for id_ in ids[1:6]]
    story.given(NotificationSuppressed(notification_id=ids[0], because=SuppressionReason.OVERTAKEN), *start)
    said: dict[str, Any] = {"attempt": 1, "channel": Channel.SMS}
    story.given(
        AttemptFailed(notification_id=ids[1], because=FailureReason.REFUSED, **said),
        AttemptFailed(notification_id=ids[2], because=FailureReason.IN_DOUBT, **said),
        NotificationSent(notification_id=ids[3], provider_reference="r-1", **said),
        NotificationDelivered(notification_id=ids[3], delivered_at=NOW),
        NotificationFailed(notification_id=ids[4], because=FailureReason.IN_DOUBT),
        NotificationSent(notification_id=ids[4], **said),
        adopted("enrolment", rule_version=2, active=False),
    )
    return story


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_folds_change_nothing_that_they_are_given(table: Any):
    facts = [(event, envelope) for event, envelope in whole_story().events if event.topic == table.topic]
    assert facts
    if table is not DELIVERIES:  # Its values are a dict, which could be changed; that no fold does, is seen below.
        assert_pure(table, facts)


def test_no_fold_of_a_delivery_changes_the_row_that_it_is_given():
    story = Story()
    for event, envelope in whole_story().events:
        before = [told(row) for row in story.of_stream(DELIVERIES, event.key)]
        rows = story.of_stream(DELIVERIES, event.key)
        story.arrive(event, envelope, react=False)
        assert [told(row) for row in rows] == before, type(event).__name__


async def test_the_tables_are_the_same_however_the_facts_are_cut_into_batches(bare: Notifications):
    story = whole_story()
    facts = story.events
    expected = {
        table.name: {told(row) for stream in {e.key for e, _ in facts} for row in story.of_stream(table, stream)}
        for table in TABLES
    }
    assert all(expected.values()), "the story fills every table"
    every_cut = list(range(1, len(facts)))
    for cuts in ([], every_cut, every_cut[::2], every_cut[::5]):
        assert await in_batches(bare.pool, facts, cuts) == expected


async def in_batches(pool: Any, facts: list[Any], cuts: list[int]) -> dict[str, set[str]]:
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
            return {table.name: await rows_of(connection, table) for table in TABLES}
        finally:
            await transaction.rollback()


async def rows_of(connection: Any, table: Any) -> set[str]:
    sql = statements(table)
    columns = ", ".join(column.name for column in sql.columns)
    return {told(sql.row(record)) for record in await connection.fetch(f"SELECT {columns} FROM {table.name}")}


def told(row: Any) -> str:
    """A row as text. jsonb does not keep the order of names."""
    return json.dumps(to_jsonable_python(row), sort_keys=True)


@pytest.mark.parametrize("table", ["person", "placement", "case_file", "contact", "delivery"])
async def test_a_reader_sees_the_own_areas_only_and_without_areas_nothing(notifications: Notifications, table: str):
    await notifications.told(
        *(nominated(p, area_code=a) for p, a in (("sari", "52.01.01.2002"), ("dewi", IN_LOMBOK_TIMUR)))
    )
    await notifications.told(planned(), enrolled("sari"), enrolled("dewi", 2, area_code=IN_LOMBOK_TIMUR))
    await notifications.given(preference("sari"), preference("dewi", area_code=IN_LOMBOK_TIMUR))
    for area in ("52.01.01.2002", IN_LOMBOK_TIMUR):
        await notifications.pool.execute("INSERT INTO case_file VALUES ($1, 1, $1, '[]')", area)
    whole = await notifications.pool.fetchval(f"SELECT count(*) FROM {table}")
    for areas, rows in (("", 0), ("52.01", whole // 2), ("52.0", 0), ("52", whole), ("*", whole)):
        async with notifications.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('entas.areas', $1, true)", areas)
            await connection.execute("SET LOCAL ROLE entas_reader")
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == rows, areas


@pytest.mark.parametrize("table", ["put_off", "read_log", "log"])
async def test_a_reader_may_not_even_ask_for_what_is_the_services_own(bare: Notifications, table: str):
    async with bare.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE entas_reader")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT 1 FROM {table}")


# --- Plans ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def much(bare: Notifications) -> Notifications:
    """A ledger of 40,000 notifications, of which a few are due."""
    await bare.pool.execute("INSERT INTO person SELECT 'p' || n, 1, '52.01', 'known' FROM generate_series(1, 40000) n")
    await bare.pool.execute(
        """
        INSERT INTO delivery
        SELECT 'n' || n, 1, '52.01', CASE WHEN n <= 2000 THEN 'requested' WHEN n <= 2010 THEN 'sending' ELSE 'sent' END,
               'enrolment', 1, 'enrolment', 1, 'participant', 'p' || n, 'p' || n, 'e' || n, 'training.cohorts/c' || n,
               '{}', $1::timestamptz, $1, $1 + interval '2 days', $1 + n * interval '1 minute', 0, NULL, false,
               CASE WHEN n BETWEEN 2001 AND 2010 THEN 'sender:x' END, false, '[]', NULL, NULL, NULL, NULL
        FROM generate_series(1, 40000) n
        """,
        NOW,
    )
    await bare.pool.execute("ANALYZE")
    return bare


async def plan_of(notifications: Notifications, ask: Any) -> str:
    """The plan of what `ask` sends, with this data."""
    sent: list[Any] = []
    async with notifications.pool.acquire() as connection, connection.transaction():
        with connection.query_logger(lambda record: sent.append((record.query, record.args))):
            await ask(connection)
            await asyncio.sleep(0)  # The driver tells its loggers in the loop's next round.
        plans = [await connection.fetch(f"EXPLAIN {query}", *arguments) for query, arguments in sent]
    assert plans
    return "\n".join(row[0] for rows in plans for row in rows)


async def test_what_is_due_is_found_without_reading_the_ledger(much: Notifications):
    at = NOW + timedelta(minutes=10)
    plan = await plan_of(much, lambda c: queries.due(c, at, {Channel.SMS: 8}))
    assert "delivery_due" in plan
    assert "Seq Scan on delivery" not in plan
    for ask in (
        lambda c: queries.left_behind(c, "sender:me", 100),
        lambda c: queries.old_news(c, at, 200),
        lambda c: queries.wanted_about(c, ["training.cohorts/c7", "training.cohorts/c9"]),
    ):
        assert "Seq Scan on delivery" not in await plan_of(much, ask)


async def test_when_the_next_is_due_is_found_among_those_that_are_open(much: Notifications):
    assert "Seq Scan on delivery" not in await plan_of(much, queries.next_due)


async def test_a_page_of_the_ledger_is_found_by_an_index(much: Notifications):
    for wanted in ({}, {"participant": "p7"}, {"recipient": "p7"}):
        plan = await plan_of(much, lambda c, wanted=wanted: queries.ledger(c, wanted, None, 51))
        assert "Seq Scan on delivery" not in plan, (wanted, plan)
