"""Checkpoints on a real database and Kafka: what is signed is so, none is lost, and no witness is waited for."""

import asyncio
import json
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.kit import checkpoints as checkpoints_module
from services.kit import metrics
from services.kit.checkpoints import Checkpoints, make_checkpoint, signer_of
from services.kit.notes import Signer, log_name, read_checkpoint, verify
from services.kit.process import LEAVE_SECONDS, _alarms
from services.kit.settings import Settings, SettingsInvalid
from services.kit.witness import witness_of
from tests.kit.serving import served
from tests.kit.test_relay import fill, outbox_is_empty
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, relay_of, running, site


@pytest.fixture
def lab():
    made = Lab()
    yield made
    made.forget()


@pytest.fixture
def signer(lab: Lab) -> Signer:
    return Signer(log_name(lab.service), bytes(32))


async def sent(place: Site, kafka: str, transactions: int) -> None:
    async with running(relay_of(place, kafka).run):
        await fill(place, transactions)
        await eventually(lambda: outbox_is_empty(place))


async def published(kafka: str, lab: Lab) -> list[tuple[bytes, str]]:
    """Key and note of each record in the topic of checkpoints."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    try:
        place = TopicPartition(lab.checkpoints_topic, 0)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        found: list[Any] = []
        while len(found) < end:
            found += (await consumer.getmany(timeout_ms=500)).get(place, [])
        return [(record.key, record.value.decode()) for record in found]
    finally:
        await consumer.stop()


async def test_a_checkpoint_says_what_the_log_is(lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        assert await make_checkpoint(place.pool, lab.service, signer) is None, "nothing is sealed"
        await place.pool.execute("INSERT INTO cursor VALUES ($1, 0, 12, 99, 'id', NULL)", "others.facts")
        await sent(place, kafka, 40)
        made = await make_checkpoint(place.pool, lab.service, signer)
        [last] = await place.rows("SELECT root, tails FROM sealed_batch ORDER BY batch_no DESC LIMIT 1")
        [row] = await place.rows("SELECT * FROM checkpoint")
        assert made is not None
        assert (made.size, made.root, made.tails) == (120, last["root"], json.loads(last["tails"]))
        assert made.counts == {lab.topic: 120}
        assert made.cursors == {"others.facts/0": {"next_offset": 12, "last_sequence": 99}}
        assert verify(row["note"], signer.verifier) == made.text()
        assert read_checkpoint(row["note"]) == made
        assert (row["tree_size"], row["root"], json.loads(row["counts"])) == (120, made.root, made.counts)
        assert json.loads(row["cursors"]) == made.cursors
        assert json.loads(row["tails"]) == made.tails
        assert await make_checkpoint(place.pool, lab.service, signer) is None, "nothing is new"


async def test_counting_goes_on_from_the_checkpoint_before(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checkpoints_module, "COUNTED_AT_ONCE", 7)
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        for size in (30, 60, 90):
            await sent(place, kafka, 10)
            made = await make_checkpoint(place.pool, lab.service, signer)
            assert made is not None
            assert (made.size, made.counts) == (size, {lab.topic: size})
        # What was counted is not counted again: a count that somebody had planted would be carried on.
        await place.pool.execute("ALTER TABLE checkpoint DISABLE TRIGGER USER")
        await place.pool.execute("UPDATE checkpoint SET counts = '{\"planted\": 5}' WHERE tree_size = 90")
        await sent(place, kafka, 10)
        made = await make_checkpoint(place.pool, lab.service, signer)
        assert made is not None
        assert made.counts == {"planted": 5, lab.topic: 30}


async def test_only_what_kafka_has_in_full_is_signed(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await sent(place, kafka, 10)
        await sent(place, kafka, 10)
        await place.pool.execute(
            "UPDATE sealed_batch SET sent_at = NULL WHERE batch_no = (SELECT max(batch_no) FROM sealed_batch)"
        )
        [unsent] = await place.rows("SELECT first_sequence FROM sealed_batch WHERE sent_at IS NULL")
        made = await make_checkpoint(place.pool, lab.service, signer)
        assert made is not None
        assert made.size == unsent["first_sequence"] < 60


async def test_what_was_signed_cannot_be_changed(lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await sent(place, kafka, 5)
        await make_checkpoint(place.pool, lab.service, signer)
        await place.pool.execute("UPDATE checkpoint SET published_at = now(), witnessed_at = now()")
        for statement in ("UPDATE checkpoint SET note = ''", "DELETE FROM checkpoint", "TRUNCATE checkpoint"):
            with pytest.raises(Exception, match="append-only"):
                await place.pool.execute(statement)


async def test_a_note_whose_publishing_failed_is_published_again(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer, monkeypatch: pytest.MonkeyPatch
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        part = Checkpoints(lab.service, place.pool, kafka, signer, None)
        away = Checkpoints(lab.service, place.pool, "localhost:1", signer, None)
        for _ in range(2):
            await sent(place, kafka, 10)
            with pytest.raises(Exception, match="bootstrap"):
                await away.make_and_hand_on()
        await part.make_and_hand_on()
        notes = [row["note"] for row in await place.rows("SELECT note FROM checkpoint ORDER BY tree_size")]
        assert len(notes) == 2
        assert await published(kafka, lab) == [(lab.service.encode(), note) for note in notes]
        await part.make_and_hand_on()
        assert len(await published(kafka, lab)) == 2, "what was published is not published again"


async def test_a_worker_signs_while_its_relay_leads(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        relay = relay_of(place, kafka)
        part = Checkpoints(lab.service, place.pool, kafka, signer, None)
        failing: dict[str, str] = {}
        await fill(place, 20)
        async with running(relay.run, lambda stopping: part.run(relay, 0.1, stopping, failing)):

            async def all_is_signed() -> bool:
                return bool(await place.rows("SELECT 1 FROM checkpoint WHERE tree_size = 60 AND published_at < now()"))

            await eventually(all_is_signed)
        assert failing == {}
        sizes = [read_checkpoint(note).size for _, note in await published(kafka, lab)]
        assert sizes[-1] == 60
        assert sizes == sorted(set(sizes))


async def test_a_broker_that_is_silent_does_not_hold_up_a_process_that_is_told_to_stop(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer
):
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place, await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        await sent(place, kafka, 10)
        port = silent.sockets[0].getsockname()[1]
        relay, stopping = relay_of(place, kafka), asyncio.Event()
        relay.leading = True
        part = Checkpoints(lab.service, place.pool, f"127.0.0.1:{port}", signer, None)
        running_part = asyncio.ensure_future(part.run(relay, 60, stopping, {}))
        await asyncio.wait_for(asked.wait(), 20)
        stopping.set()
        await asyncio.wait_for(running_part, LEAVE_SECONDS)
        [row] = await place.rows("SELECT published_at FROM checkpoint")
        assert row["published_at"] is None, "it is published by the next leader"


# --- The witness ------------------------------------------------------------------------------------------------------


async def test_a_witness_that_fails_is_an_alarm_and_gets_what_it_missed(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer, tmp_path: Path
):
    await make_topics(kafka, lab)
    folder = tmp_path / "mounted"
    file = folder / "notes.txt"
    async with site(lab, fresh_database) as place:
        part = Checkpoints(lab.service, place.pool, kafka, signer, witness_of(file.as_uri()))
        for _ in range(2):
            await sent(place, kafka, 10)
            await part.make_and_hand_on()
        assert part.witness_fails is not None
        assert str(file) in part.witness_fails
        assert metrics.witness_failing._value.get() == 1
        assert _alarms(part) == {"alarms": {"witness": part.witness_fails}}
        assert len(await published(kafka, lab)) == 2, "Kafka is told all the same"
        folder.mkdir()
        await part.make_and_hand_on()
        assert part.witness_fails is None
        assert metrics.witness_failing._value.get() == 0
        assert _alarms(part) == _alarms(None) == {"alarms": {}}
        notes = [row["note"] for row in await place.rows("SELECT note FROM checkpoint ORDER BY tree_size")]
        assert file.read_text() == "".join(f"{note}\n" for note in notes)


async def test_half_a_note_left_by_a_crash_does_not_spoil_the_next(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("entas/lab\n12\nhal")
    await witness_of(file.as_uri()).tell("entas/lab\n13\n")
    assert file.read_text() == "entas/lab\n12\nhal\nentas/lab\n13\n\n"


async def test_a_witness_over_http_is_posted_the_note_until_it_says_yes(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, signer: Signer
):
    taken: list[str] = []
    answers = Counter({503: 1})

    async def take(request: Request) -> Response:
        assert request.headers["content-type"] == "text/plain"
        if answers[503]:
            answers[503] -= 1
            return Response(status_code=503)
        taken.append((await request.body()).decode())
        return Response(status_code=204)

    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as place,
        served(Starlette(routes=[Route("/notes", take, methods=["POST"])])) as url,
    ):
        part = Checkpoints(lab.service, place.pool, kafka, signer, witness_of(f"{url}/notes"))
        await sent(place, kafka, 10)
        await part.make_and_hand_on()
        assert part.witness_fails is not None
        assert part.witness_fails.endswith("127.0.0.1 answered 503")
        await part.make_and_hand_on()
        assert part.witness_fails is None
        assert taken == [row["note"] for row in await place.rows("SELECT note FROM checkpoint")]


# --- Settings ---------------------------------------------------------------------------------------------------------


def settings(**changes: Any) -> Settings:
    needed = {
        "database_url": "postgresql://x/y",
        "kafka_bootstrap": "k:1",
        "token_issuer": "i",
        "jwks_url": "https://i",
    }
    return Settings(**(needed | {"environment": "test"} | changes))


def test_production_does_not_run_without_a_key(tmp_path: Path):
    assert signer_of(settings(), "registry") is None
    with pytest.raises(SettingsInvalid, match="ENTAS_CHECKPOINT_KEY_FILE: is not set"):
        signer_of(settings(environment="production"), "registry")
    (tmp_path / "key").write_text("07" * 32)
    made = signer_of(settings(environment="production", checkpoint_key_file=tmp_path / "key"), "registry")
    assert made is not None
    assert str(made.verifier) == str(Signer("entas/registry", bytes([7] * 32)).verifier)
    assert b64decode(str(made.verifier).split("+", 2)[2])[:1] == b"\x01"


def test_production_refuses_a_witness_over_plain_http():
    with pytest.raises(ValueError, match="ENTAS_WITNESS: plain http"):
        settings(environment="production", witness="http://witness/notes")
