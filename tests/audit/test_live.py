"""A service that runs: its endpoint, its Kafka and its witness tell one history, and a touched table is named."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.audit.api_source import ApiSource, NotShown
from services.audit.archive import ArchiveSource, ArchiveWriter
from services.audit.findings import Kind
from services.audit.kafka_source import KafkaSource
from services.audit.made import made_log
from services.audit.sources import Noted, Source, WitnessFile
from services.audit.verify import Report, verify_log
from services.audit.witness import check_witness
from services.kit.app import api_app
from services.kit.auth import ServiceToken
from services.kit.checkpoints import Checkpoints
from services.kit.merkle import verify_inclusion
from services.kit.notes import Signer, log_name, read_checkpoint
from services.kit.settings import Settings
from services.kit.witness import witness_of
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.kit.test_relay import fill, outbox_is_empty
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, relay_of, running, site
from tests.support.lab_service.service import service_of

ROUNDS, EACH = 4, 60
EVENTS = ROUNDS * EACH * 3
VICTIM = 301


@pytest.fixture
def lab():
    made = Lab()
    yield made
    made.forget()


@dataclass
class Running:
    place: Site
    kafka: KafkaSource
    api: ApiSource
    signer: Signer
    witness: WitnessFile
    checkpoints: Checkpoints

    @property
    def service(self) -> str:
        return self.place.lab.service

    async def witnessed(self) -> list[Noted]:
        return [noted async for noted in self.witness.notes(self.service)]

    async def verified(self, source: Source, leaves_from: Source | None = None) -> Report:
        key = self.signer.verifier
        witnessed = await self.witnessed()
        return await verify_log(self.service, source, key, witnessed=witnessed, leaves_from=leaves_from)

    async def touch(self, *statements: str) -> None:
        """What only somebody with the database's own rights can do."""
        for table in ("log", "seal", "checkpoint"):
            await self.place.pool.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            await self.place.pool.execute(statement)

    async def place_of(self, sequence: int) -> tuple[str, int]:
        [row] = await self.place.rows(
            "SELECT topic, partition FROM seal JOIN log USING (id) WHERE sequence = $1", sequence
        )
        return row["topic"], row["partition"]


@pytest.fixture
async def service(lab: Lab, fresh_database: FreshDatabase, kafka: str, tmp_path: Path) -> AsyncIterator[Running]:
    """Four rounds of events, each with its checkpoint, which a witness keeps."""
    issuer = Issuer()
    issuer.gives = token(issuer.publish("first"), roles=["auditor"], areas=["*"])
    signer = Signer(log_name(lab.service), bytes(32))
    notes = tmp_path / "notes.txt"
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place, served(issuer.app) as url:
        checkpoints = Checkpoints(lab.service, place.pool, kafka, signer, witness_of(notes.as_uri()))
        async with running(relay_of(place, kafka).run):
            for _ in range(ROUNDS):
                await fill(place, EACH)
                await eventually(lambda: outbox_is_empty(place))
                await checkpoints.make_and_hand_on()
        settings = Settings(
            environment="test",
            database_url=place.dsn,
            kafka_bootstrap=kafka,
            token_issuer=ISSUER,
            jwks_url=f"{url}/jwks",
        )

        async def health() -> dict[str, Any]:
            return {"ready": True}

        async with served(api_app(service_of(lab), settings, place.workplace, health)) as address:
            api = ApiSource({lab.service: address}, ServiceToken(f"{url}/token", "auditor", "a secret"))
            yield Running(place, KafkaSource(kafka), api, signer, WitnessFile(notes), checkpoints)


async def test_kafka_the_endpoint_and_the_witness_tell_one_history(service: Running):
    for source in (service.kafka, service.api):
        report = await service.verified(source)
        assert report.well, report.findings.shown
        assert (report.events, report.size, report.checkpoints) == (EVENTS, EVENTS, ROUNDS)
    witnessed = await service.witnessed()
    assert len(witnessed) == ROUNDS
    assert await check_witness(service.service, service.api, service.signer.verifier, witnessed) == (ROUNDS, [])


async def test_an_event_is_proven_to_stand_in_what_was_signed(service: Running):
    [*_, newest] = [read_checkpoint(noted.text) async for noted in service.api.newest(service.service)]
    proof = await service.api.proof(service.service, VICTIM, newest.size)
    path = [b64decode(node) for node in proof["path"]]
    assert verify_inclusion(VICTIM, newest.size, b64decode(proof["leaf"]), path, newest.root)


async def test_a_log_that_goes_on_meanwhile_is_verified_up_to_its_newest_checkpoint(service: Running):
    place = service.place
    async with running(relay_of(place, service.kafka._bootstrap).run):
        filling = asyncio.ensure_future(fill(place, 100))
        reports = [await service.verified(source) for source in (service.kafka, service.api)]
        await filling
        await eventually(lambda: outbox_is_empty(place))
    for report in reports:
        assert report.well, report.findings.shown
        assert report.events >= EVENTS
    resent = await service.verified(service.kafka)
    assert resent.unsigned == 300


async def test_a_row_that_somebody_changed_is_named_over_the_endpoint(service: Running):
    topic, partition = await service.place_of(VICTIM)
    await service.touch(
        f"UPDATE log SET value = value || ' ' WHERE id = (SELECT id FROM seal WHERE sequence = {VICTIM})"
    )
    [finding] = (await service.verified(service.api)).findings.shown
    assert (finding.kind, finding.sequence) == (Kind.CHANGED, VICTIM)
    assert (finding.service, finding.topic, finding.partition) == (service.service, topic, partition)
    # Kafka has what was sealed, and the tree beside it agrees.
    assert (await service.verified(service.kafka, service.api)).well


async def test_a_row_that_somebody_removed_is_named_over_the_endpoint(service: Running):
    topic, partition = await service.place_of(VICTIM)
    await service.touch(f"DELETE FROM seal WHERE sequence = {VICTIM}")
    report = await service.verified(service.api)
    removed = [f for f in report.findings.shown if f.kind is Kind.REMOVED]
    assert [(f.sequence, f.topic, f.partition) for f in removed] == [(VICTIM, topic, partition)]
    assert report.findings.of == {Kind.REMOVED: 1}


async def test_rows_that_somebody_exchanged_are_both_named_over_the_endpoint(service: Running):
    await service.touch(
        f"""
        UPDATE seal s
        SET id = o.id
        FROM seal o
        WHERE (s.sequence, o.sequence) IN (({VICTIM}, {VICTIM + 7}), ({VICTIM + 7}, {VICTIM}))
        """
    )
    report = await service.verified(service.api)
    changed = {f.sequence for f in report.findings.shown if f.kind is Kind.CHANGED}
    assert changed == {VICTIM, VICTIM + 7}


async def test_a_tail_that_somebody_cut_off_is_named_over_the_endpoint(service: Running):
    topic, partition = await service.place_of(EVENTS - 1)
    await service.touch(f"DELETE FROM seal WHERE sequence >= {EVENTS - 1}")
    findings = (await service.verified(service.api)).findings.shown
    assert [(f.kind, f.sequence, f.topic, f.partition) for f in findings] == [
        (Kind.TRUNCATED, EVENTS - 1, topic, partition)
    ]


async def test_an_older_database_that_was_restored_is_named_by_the_witness(service: Running):
    size = EVENTS - EACH * 3
    await service.touch(
        f"DELETE FROM checkpoint WHERE tree_size > {size}",
        f"DELETE FROM seal WHERE sequence >= {size}",
        f"DELETE FROM sealed_batch WHERE first_sequence >= {size}",
    )
    [finding] = (await service.verified(service.api)).findings.shown
    assert (finding.kind, finding.sequence) == (Kind.RESTORED, size)
    assert f"the log had {EVENTS} events" in finding.text
    witnessed = await service.witnessed()
    proven, findings = await check_witness(service.service, service.api, service.signer.verifier, witnessed)
    assert (proven, [f.kind for f in findings]) == (ROUNDS - 1, [Kind.RESTORED])


async def test_another_history_signed_by_the_service_itself_is_named_by_the_witness(service: Running, tmp_path: Path):
    """The whole log made anew, tree and signatures and all: what the witness saw cannot be made anew."""
    other = made_log("registry", 400, 100)
    forged = [service.signer.sign(text_of(note, service.service)) for note in other.told]
    notes = tmp_path / "forged.txt"
    notes.write_text("".join(f"{note}\n" for note in forged[:2]))
    witnessed = [noted async for noted in WitnessFile(notes).notes(service.service)]
    proven, findings = await check_witness(service.service, service.api, service.signer.verifier, witnessed)
    assert (proven, [(f.kind, f.sequence) for f in findings]) == (0, [(Kind.FORKED, 0)])
    report = await verify_log(service.service, service.api, service.signer.verifier, witnessed=witnessed)
    assert [(f.kind, f.sequence) for f in report.findings.shown] == [(Kind.FORKED, 0)]


def text_of(note: str, service: str) -> str:
    return note.rpartition("\n\n")[0].replace("entas/registry", log_name(service)) + "\n"


async def test_checkpoints_of_another_key_are_named(service: Running):
    key = Signer(log_name(service.service), bytes([1] * 32)).verifier
    for source in (service.kafka, service.api):
        report = await verify_log(service.service, source, key)
        assert report.findings.of == {Kind.WRONG_KEY: ROUNDS, Kind.UNCHECKED: 1}


async def test_an_export_of_kafka_and_one_of_the_endpoint_are_verified(service: Running, tmp_path: Path):
    for name, source in (("kafka", service.kafka), ("api.tar", service.api)):
        with ArchiveWriter(tmp_path / name, Signer("entas/archive", bytes(32))) as writer:
            assert await writer.add_log(service.service, source, service.signer.verifier) == EVENTS
        report = await service.verified(ArchiveSource.open(tmp_path / name))
        assert report.well, report.findings.shown
        assert report.events == EVENTS


async def test_an_endpoint_that_refuses_is_told_in_its_own_words(service: Running):
    wrong = ApiSource(service.api._addresses, ServiceToken("http://127.0.0.1:1/token", "auditor", "x"))
    wrong._token._token, wrong._token._good_until = "no token", float("inf")
    with pytest.raises(NotShown, match=r"/log/checkpoints answered 401: .*The token is no JWT"):
        await service.verified(wrong)
