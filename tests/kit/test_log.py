"""The log: what a transaction appends, in which order, and what it refuses."""

import asyncio

import asyncpg
import pytest

from contracts.envelope import MAX_ENVELOPE_BYTES
from services.kit.keyring import LocalKeys, erase_key
from services.kit.log import MAX_RECORD_BYTES, BegunElsewhere
from services.kit.refusal import Refused
from services.kit.transaction import acting_as
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Name, site


@pytest.fixture
def lab():
    made = Lab()
    yield made
    made.forget()


async def test_a_decision_folds_its_facts_and_puts_them_on_log_and_outbox(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Counted(counter_id="c1", amount=5), lab.Counted(counter_id="c1", amount=-2, part="b"))
        await place.decide(lab.Counted(counter_id="c1", amount=1))
        assert await place.totals() == {"c1": (3, 4)}
        log = await place.rows("SELECT * FROM log ORDER BY id")
        assert [(row["stream"], row["version"], row["area_code"]) for row in log] == [
            ("c1", 1, "52.01"),
            ("c1", 2, "52.01"),
            ("c1", 3, "52.01"),
        ]
        assert [row["id"] for row in log] == [r["id"] for r in await place.rows("SELECT id FROM outbox ORDER BY id")]
        assert log[0]["value"] == b'{"counter_id":"c1","amount":5,"part":"a"}'


async def test_a_row_that_folds_to_none_is_deleted_and_can_come_again(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Counted(counter_id="c1", amount=5))
        await place.decide(lab.Counted(counter_id="c1", amount=-5))
        assert await place.rows("SELECT * FROM part") == []
        await place.decide(lab.Counted(counter_id="c1", amount=7))
        assert await place.rows("SELECT * FROM part") == [{"counter_id": "c1", "part": "a", "total": 7}]


async def test_what_raises_leaves_no_trace(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:

        async def decide_and_fail() -> None:
            async with place.workplace.transaction(acting_as("tester")) as tx:
                await tx.decide([lab.Counted(counter_id="c1", amount=5)])
                raise RuntimeError("planted")

        with pytest.raises(RuntimeError, match="planted"):
            await decide_and_fail()
        assert await place.totals() == {}
        assert await place.rows("SELECT * FROM log") == []


async def test_commands_on_one_stream_at_once_follow_one_another_without_a_gap(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Counted(counter_id="c1", amount=0))
        await asyncio.gather(*[place.decide(lab.Counted(counter_id="c1", amount=1)) for _ in range(20)])
        log = await place.rows("SELECT id, version FROM log ORDER BY id")
        assert [row["version"] for row in log] == list(range(1, 22)), "the order of ids is the order of changes"
        assert (await place.totals())["c1"] == (21, 20)


async def test_two_that_begin_one_stream_at_once_cannot_both_win(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        both_loaded = asyncio.Barrier(2)

        async def begin() -> None:
            async with place.workplace.transaction(acting_as("tester")) as tx:
                await tx.row(lab.counters, "new")
                await both_loaded.wait()
                await tx.decide([lab.Counted(counter_id="new", amount=1)])

        ended = await asyncio.gather(begin(), begin(), return_exceptions=True)
        assert [type(end) for end in ended if end is not None] == [BegunElsewhere]
        assert (await place.totals())["new"] == (1, 1)
        await place.decide(lab.Counted(counter_id="new", amount=1))
        assert (await place.totals())["new"] == (2, 2), "who lost finds the stream when it comes again"


async def test_personal_data_is_sealed_before_fold_and_log_and_opens_for_its_person_alone(
    lab: Lab, fresh_database: FreshDatabase
):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Named(counter_id="c1", personal={"c1": Name(name="Siti Rahmah")}))
        [row] = await place.rows("SELECT sealed, sealed_by FROM counter")
        [entry] = await place.rows("SELECT event_id, value FROM log")
        assert row["sealed_by"] == entry["event_id"]
        assert b"Siti" not in entry["value"]
        assert row["sealed"].encode() in entry["value"]
        async with place.workplace.transaction(acting_as("officer-7")) as tx:
            opened = await tx.open([("c1", row["sealed_by"], row["sealed"])], Name, "roster")
        assert opened == [Name(name="Siti Rahmah")]
        [look] = await place.rows("SELECT subject_id, reader, purpose, fields FROM read_log")
        assert look == {"subject_id": "c1", "reader": "officer-7", "purpose": "roster", "fields": ["name"]}


async def test_an_erased_person_can_be_neither_read_nor_sealed_again(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Named(counter_id="c1", personal={"c1": Name(name="Siti Rahmah")}))
        [row] = await place.rows("SELECT sealed, sealed_by FROM counter")
        async with place.workplace.transaction(acting_as("officer-7")) as tx:
            assert await erase_key(tx.connection, "c1")
            assert not await erase_key(tx.connection, "c1")
        async with place.workplace.transaction(acting_as("officer-7")) as tx:
            assert await tx.open([("c1", row["sealed_by"], row["sealed"])], Name, "roster") == [None]
        with pytest.raises(Refused, match="person-erased"):
            await place.decide(lab.Named(counter_id="c1", personal={"c1": Name(name="Siti Rahmah")}))


async def test_another_master_key_opens_nothing(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Named(counter_id="c1", personal={"c1": Name(name="Siti Rahmah")}))
        async with place.pool.acquire() as connection:
            with pytest.raises(Exception, match="does not open"):
                await LocalKeys(b"x" * 32).to_open(connection, ["c1"], "test")


async def test_an_event_too_large_for_kafka_is_refused_at_append(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        with pytest.raises(Refused, match="event-too-large") as refused:
            await place.decide(lab.Counted(counter_id="c1", amount=1, note="x" * MAX_RECORD_BYTES))
        assert refused.value.status == 413
        await place.decide(lab.Counted(counter_id="c1", amount=1, note="x" * (MAX_RECORD_BYTES - 2_000)))
        assert len(await place.rows("SELECT id FROM log")) == 1


async def test_attributes_that_no_reader_would_take_are_refused_at_append(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        with pytest.raises(Refused, match="event-too-large"):
            await place.decide(lab.Counted(counter_id="c" * MAX_ENVELOPE_BYTES, amount=1))
        assert await place.rows("SELECT id FROM log") == []


@pytest.mark.parametrize(
    "statement", ["UPDATE log SET actor = 'x'", "DELETE FROM log", "TRUNCATE log", "DELETE FROM seal"]
)
async def test_the_log_is_append_only(statement: str, lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Counted(counter_id="c1", amount=5))
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await place.pool.execute(statement)


async def test_a_service_cannot_publish_the_facts_of_another(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database, service="other") as place:
        with pytest.raises(TypeError, match="may not publish"):
            await place.decide(lab.Counted(counter_id="c1", amount=5))


async def test_the_outbox_is_the_transactions_last_statement(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await place.decide(lab.Counted(counter_id="c1", amount=5))
        statements: list[str] = []
        # Whichever connection the transaction gets, its statements are seen.
        for holder in place.pool._holders:
            if holder._con is not None:
                holder._con.add_query_logger(lambda record: statements.append(" ".join(record.query.split())))
        async with place.workplace.transaction(acting_as("tester")) as tx:
            await tx.decide([lab.Counted(counter_id="c1", amount=5)])
            tx.before_log(lambda connection: connection.execute("UPDATE person_key SET wrapped = wrapped"))
        await asyncio.sleep(0)  # The driver calls its loggers in the loop's next turn.
        written = [s for s in statements if s.startswith(("INSERT", "UPDATE", "DELETE", "WITH", "COMMIT"))]
        assert "INSERT INTO outbox" in written[-2], written
        assert written[-1].startswith("COMMIT")
        assert any("INSERT INTO counter" in s for s in written[:-2])
