"""Parking: what our code cannot take waits, in its order, and holds up nothing but its own stream."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services.kit.batch import Batches
from services.kit.consumer import projecting
from services.kit.parked import Release, parked_commands, release
from services.kit.parking import ParkedStream, parked_records, parked_streams
from services.kit.positions import Arrival, Place, Slice, Standing
from services.kit.reactions import Partner, Reactions, Step
from services.kit.settings import Settings
from services.kit.table import Table
from tests.kit.test_consumer import consumer_of, publish, same_totals
from tests.kit.test_intake import NIK, message, rejected, send, taking_in
from tests.kit.test_rows import envelope_of
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, relay_of, running, site
from tests.support.lab_service.service import TOO_MUCH, reactions_of, service_of
from tests.support.taking import record_of

PLANTED = 1313


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


def failing_at_what_is_planted(lab: Lab, event: Any = None) -> Reactions:
    reactions = Reactions()

    async def nothing(*_: Any) -> None:
        return None

    @reactions.on(event or lab.Counted, loads=nothing)
    def refuses_what_is_planted(step: Step[Any, None]) -> list[Any]:
        if step.event.amount == PLANTED:
            raise ZeroDivisionError("planted")
        return []

    return reactions


def batches_of(place: Site, reactions: Reactions | None = None, partners: Sequence[Partner] = ()) -> Batches:
    workplace = place.workplace
    return Batches(workplace.service, workplace.tables, reactions or Reactions(), partners, workplace.keyring)


async def streams(place: Site) -> list[ParkedStream]:
    async with place.pool.acquire() as connection:
        return await parked_streams(connection)


async def let_go(place: Site, batches: Batches, *, rehearse: bool = False) -> list[Release]:
    return [await release(place.workplace, batches, parked, rehearse=rehearse) for parked in await streams(place)]


async def same_but(publisher: Site, reader: Site, counter: str) -> bool:
    wanted, there = await publisher.totals(), await reader.totals()
    return {c: t for c, t in wanted.items() if c != counter} == {c: t for c, t in there.items() if c != counter}


def arrived(lab: Lab, version: int) -> Slice:
    """One fact of a counter, as it comes."""
    fact, place = lab.Counted(counter_id="c1", amount=1), Place(lab.topic, 0)
    envelope = envelope_of(fact, version)
    return Slice(place, Standing(), Standing(), [Arrival(record_of(fact, envelope, place, 0), envelope, 0)])


@pytest.mark.parametrize(("version", "asked"), [(1, []), (2, ["counter", "part"])], ids=["its first fact", "another"])
async def test_of_a_stream_that_begins_nobody_asks_for_rows(
    lab: Lab, fresh_database: FreshDatabase, version: int, asked: list[str]
):
    asked_for: list[str] = []
    async with site(lab, fresh_database, service=f"reader-{lab.service}") as reader:
        async with reader.pool.acquire() as connection, connection.transaction():
            with connection.query_logger(lambda query: asked_for.append(query.query)):
                tx = projecting(reader.workplace, connection)
                await batches_of(reader).apply(tx, [arrived(lab, version)])
                await tx.finish()
        tables = [name for name in ("counter", "part") if any(f"FROM {name} " in query for query in asked_for)]
        assert (tables, await reader.totals()) == (asked, {"c1": (1, 1)})


@pytest.mark.parametrize("reacting", [True, False], ids=["with a reaction", "without"])
async def test_rows_are_locked_where_a_reaction_may_look_at_them_and_else_only_as_they_are_written(
    lab: Lab, fresh_database: FreshDatabase, reacting: bool
):
    """Two who work on the same rows find what the other did because both lock them; a fold alone needs the cursor."""
    async with site(lab, fresh_database, service=f"reader-{lab.service}") as reader:
        batches = batches_of(reader, failing_at_what_is_planted(lab) if reacting else None)
        async with reader.pool.acquire() as connection, connection.transaction():
            await batches.apply(projecting(reader.workplace, connection), [arrived(lab, version=2)])
            held = "SELECT count(*) > 0 FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowShareLock'"
            assert await connection.fetchval(held) is reacting


async def test_what_fails_is_parked_with_the_rest_of_its_stream_and_everything_else_goes_on(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await publisher.decide(*[lab.Counted(counter_id="bad", amount=n) for n in (1, 2, PLANTED, 3)])
        await publish(publisher, 60, counters=30)
        consumer = consumer_of(reader, kafka, failing_at_what_is_planted(lab))
        async with running(relay_of(publisher, kafka).run, consumer.run):
            await eventually(lambda: same_but(publisher, reader, "bad"))
            # What comes in a later batch waits as well, and other streams of its partition do not.
            await publisher.decide(lab.Counted(counter_id="bad", amount=4))
            await publish(publisher, 60, counters=30)
            await eventually(lambda: same_but(publisher, reader, "bad"))
            await eventually(lambda: records_are(reader, 3))
        assert (await reader.totals())["bad"] == (2, 3), "what failed left no trace of its fold"
        assert consumer.stopped == {}
        [bad] = await streams(reader)
        assert (bad.topic, bad.stream, bad.records) == (lab.topic, "bad", 3)
        assert bad.reason.endswith("its fold or refuses_what_is_planted failed: ZeroDivisionError: planted")
        async with reader.pool.acquire() as connection:
            reasons = [record.reason for record in await parked_records(connection, lab.topic, "bad")]
        assert reasons == [bad.reason, None, None]


async def test_a_fold_that_raises_parks_its_stream_though_nothing_reacts(lab: Lab, fresh_database: FreshDatabase):
    place = Place(lab.topic, 0)
    amounts = {"bad": (PLANTED, 2), "good": (3, 4)}
    facts = [(lab.Counted(counter_id=c, amount=a), n) for c, of in amounts.items() for n, a in enumerate(of, 1)]
    arrivals = []
    for offset, (fact, version) in enumerate(facts):
        envelope = envelope_of(fact, version)
        arrivals.append(Arrival(record_of(fact, envelope, place, offset), envelope, offset))

    def refusing(table: Table[Any]) -> Table[Any]:
        def evolve(row: Any, event: Any, *rest: Any) -> Any:
            if getattr(event, "amount", 0) == PLANTED:
                raise ZeroDivisionError("planted")
            return table.evolve(row, event, *rest)

        return replace(table, evolve=evolve)

    async with site(lab, fresh_database, service=f"reader-{lab.service}") as reader:
        workplace = replace(reader.workplace, tables=tuple(map(refusing, reader.workplace.tables)))
        async with reader.pool.acquire() as connection, connection.transaction():
            tx = projecting(workplace, connection)
            parked = await batches_of(reader).apply(tx, [Slice(place, Standing(), Standing(), arrivals)])
            await tx.finish()
        assert [(each.stream.key, each.reason) for each in parked] == [
            ("bad", f"{place} offset 0: its fold failed: ZeroDivisionError: planted"),
            ("bad", None),
        ]
        assert await reader.totals() == {"good": (2, 7)}


async def records_are(place: Site, number: int) -> bool:
    return sum(parked.records for parked in await streams(place)) == number


async def parked_bad(lab: Lab, publisher: Site, reader: Site, kafka: str) -> None:
    """Leaves what is planted, and 3, of the stream "bad" parked."""
    await make_topics(kafka, lab)
    await publisher.decide(*[lab.Counted(counter_id="bad", amount=n) for n in (1, 2, PLANTED, 3)])
    async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka, failing_at_what_is_planted(lab)).run):
        await eventually(lambda: records_are(reader, 2))


async def test_mended_code_takes_what_was_parked_in_its_order_and_the_stream_goes_on(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await parked_bad(lab, publisher, reader, kafka)
        [rehearsal] = await let_go(reader, batches_of(reader), rehearse=True)
        assert rehearsal.records == 2
        changed = {table.name: (before.total, after.total) for table, _, before, after in rehearsal.changes}
        assert changed == {"counter": (3, PLANTED + 6), "part": (3, PLANTED + 6)}
        assert (await reader.totals())["bad"] == (2, 3), "a rehearsal changes nothing"
        assert await records_are(reader, 2)
        [released] = await let_go(reader, batches_of(reader))
        assert (released.records, released.failure) == (2, None)
        assert await publisher.totals() == await reader.totals()
        assert await streams(reader) == []
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await publisher.decide(lab.Counted(counter_id="bad", amount=5))
            await eventually(lambda: same_totals(publisher, reader))


async def test_what_still_fails_stays_parked_whole(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await parked_bad(lab, publisher, reader, kafka)
        before = await reader.rows("SELECT * FROM parked ORDER BY record_offset")
        [tried] = await let_go(reader, batches_of(reader, failing_at_what_is_planted(lab)))
        assert tried.failure is not None
        assert "ZeroDivisionError" in tried.failure
        assert await reader.rows("SELECT * FROM parked ORDER BY record_offset") == before


async def test_what_is_released_waits_for_the_batch_that_is_under_way(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await parked_bad(lab, publisher, reader, kafka)
        async with reader.pool.acquire() as batch, batch.transaction():
            await batch.execute("SELECT 1 FROM cursor FOR UPDATE")  # as a batch begins
            releasing = asyncio.ensure_future(let_go(reader, batches_of(reader)))
            await eventually(lambda: somebody_waits(reader))
            assert not releasing.done()
        await releasing
        assert await publisher.totals() == await reader.totals()


async def somebody_waits(place: Site) -> bool:
    return bool(await place.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_a_fact_that_cannot_be_read_is_parked(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await publisher.decide(lab.Counted(counter_id="c1", amount=1), lab.Counted(counter_id="c2", amount=2))
        # As by a publisher whose contract is not ours, which the append-only log would not let happen by accident.
        await publisher.pool.execute("ALTER TABLE log DISABLE TRIGGER log_is_append_only")
        await publisher.pool.execute("UPDATE log SET value = '{\"counter_id\": \"c1\"}' WHERE stream = 'c1'")
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await eventually(lambda: records_are(reader, 1))
        [parked] = await streams(reader)
        assert "it cannot be read" in parked.reason
        assert "amount" in parked.reason
        assert await reader.totals() == {"c2": (1, 2)}


async def test_what_fails_as_it_is_written_is_found_and_parked(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await reader.pool.execute(f"ALTER TABLE counter ADD CHECK (total < {PLANTED})")
        facts = [lab.Counted(counter_id=f"c{n}", amount=n) for n in (1, 2, PLANTED, 3)]
        await publisher.decide(*facts, lab.Counted(counter_id=f"c{PLANTED}", amount=1))
        async with running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run):
            await eventually(lambda: same_but(publisher, reader, f"c{PLANTED}"), seconds=60)
            await eventually(lambda: records_are(reader, 2))
        [parked] = await streams(reader)
        assert "it cannot be applied: CheckViolationError" in parked.reason
        await reader.pool.execute("ALTER TABLE counter DROP CONSTRAINT counter_total_check")
        await let_go(reader, batches_of(reader))
        assert await publisher.totals() == await reader.totals()


# --- Partners ---------------------------------------------------------------------------------------------------------


async def test_of_a_partners_message_nothing_is_kept_in_the_clear(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, capfd: pytest.CaptureFixture[str]
):
    await make_topics(kafka, lab)
    reactions = Reactions()

    async def load(*_: Any) -> None:
        return None

    @reactions.on(lab.Reported, loads=load)
    def looks_up_what_is_not_there(step: Step[Any, None]) -> list[Any]:
        return [] if step.event.amount < 5 else [{}[step.event.counter_id]]

    async with site(lab, fresh_database) as place:
        messages = [("a", "c1", 1), ("b", f"Siti {NIK}", 5), ("c", f"Siti {NIK}", 1), ("d", "c1", 2)]
        await send(kafka, lab.partner_topic, [message(lab, *m) for m in messages])
        async with taking_in(place, kafka, reactions):
            await eventually(lambda: records_are(place, 2))
            await eventually(lambda: read_to_the_end(place, 4))
        [siti] = await streams(place)
        assert siti.reason.startswith(f"{lab.partner_topic}/0 offset 1: its fold or looks_up_what_is_not_there failed")
        kept = str(await place.rows("SELECT * FROM parked"))
        assert "Siti" not in kept
        assert NIK not in kept
        assert "Siti" not in "".join(capfd.readouterr())
        [released] = await let_go(place, batches_of(place, reactions_of(lab), (lab.partner,)))
        assert released.records == 2
        assert await place.totals() == {f"Siti {NIK}": (2, 6)}


async def read_to_the_end(place: Site, offset: int) -> bool:
    return bool(await place.rows("SELECT 1 FROM cursor WHERE next_offset = $1", offset))


async def test_a_message_that_is_refused_when_it_is_released_is_rejected(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    reactions = Reactions()

    async def load(connection: Any, rows: Any, events: Sequence[Any]) -> None:
        if any(event.amount > TOO_MUCH for event in events):
            raise ZeroDivisionError("planted")

    @reactions.on(lab.Reported, loads=load)
    def counts(step: Step[Any, None]) -> list[Any]:
        return [lab.Counted(counter_id=step.event.counter_id, amount=step.event.amount)]

    async with site(lab, fresh_database) as place:
        amounts = (1, 2, TOO_MUCH + 1, 3)
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}", "c1", n) for n in amounts])
        async with taking_in(place, kafka, reactions):
            await eventually(lambda: records_are(place, 2))
        assert await place.totals() == {"c1": (2, 3)}, "what stands before it is taken"
        [parked] = await streams(place)
        assert "it cannot be applied: ZeroDivisionError at test_parking.py" in parked.reason
        await let_go(place, batches_of(place, reactions_of(lab), (lab.partner,)))
        assert await place.totals() == {"c1": (3, 6)}
        assert {field for field, _ in (await rejected(place))[2]} == {"amount"}


# --- The command line -------------------------------------------------------------------------------------------------


async def run(app: typer.Typer, *arguments: str, fails: bool = False) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    assert (done.exit_code != 0) == fails, (done.output, done.exception)
    return done.output


async def test_the_commands_say_what_is_parked_and_what_would_change_before_they_do_it(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, tmp_path: Path
):
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
    ):
        await parked_bad(lab, publisher, reader, kafka)
        key = tmp_path / "master.key"
        key.write_text("00" * 32)
        settings = Settings(
            environment="test",
            database_url=reader.dsn,
            kafka_bootstrap="localhost:1",
            token_issuer="https://issuer.test",
            jwks_url="https://issuer.test/jwks",
            master_key_file=key,
        )
        service = replace(service_of(lab), name=f"reader-{lab.service}", tables=lab.tables, partners=())
        mended = parked_commands(replace(service, reactions=Reactions()), lambda: settings)
        broken = parked_commands(replace(service, reactions=failing_at_what_is_planted(lab)), lambda: settings)

        assert "bad" in await run(mended, "list")
        shown = await run(mended, "show", lab.topic, "bad")
        assert "waits" in shown
        assert "nothing of" in await run(mended, "show", lab.topic, "good", fails=True)
        assert "still fails" in await run(broken, "rehearse", fails=True)
        rehearsed = await run(mended, "rehearse", "--stream", "bad")
        assert "total: 3 -> 1319" in rehearsed
        assert "1 of 1 streams, 2 records, would be taken; nothing was changed" in " ".join(rehearsed.split())
        assert (await reader.totals())["bad"] == (2, 3)
        assert "0 of 0" in await run(mended, "release", "--yes", "--topic", "another.topic")
        await run(mended, "release", fails=True)  # Nobody says yes.
        assert (await reader.totals())["bad"] == (2, 3)
        assert "2 records, are taken" in " ".join((await run(mended, "release", "--yes")).split())
        assert await publisher.totals() == await reader.totals()
        assert "nothing is parked" in await run(mended, "list")
