"""Whatever was done to a log is named, with its place, wherever it is read: from an endpoint, Kafka or an archive."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.envelope import headers_of
from contracts.topics import TOPICS, Audience, Topic, checkpoints_topic
from services.audit.archive import ArchiveSource, ArchiveWriter, entry_line
from services.audit.findings import Kind
from services.audit.kafka_source import KafkaSource
from services.audit.made import MadeLog, leaves_of
from services.audit.sources import Found, Source
from services.audit.verify import Report, verify_log
from services.kit.notes import Signer, read_checkpoint
from tests.audit import tampering
from tests.audit.tampering import EVENTS, EVERYWHERE, VICTIM, Tampering, Touched
from tests.support.lab import new_name

ARCHIVIST = Signer("entas/archive", bytes(range(32)))
# An archive is cut by sequence: two events of one sequence and copies cannot stand in it, its maker leaves them out.
TWICE = (tampering.two_events_of_one_sequence, tampering.copy_that_differs, tampering.copy_with_another_chain)
IN_ARCHIVES = [touch for touch in EVERYWHERE if touch not in TWICE]


@pytest.fixture
def service() -> Iterator[str]:
    """A service of the test's own, with a topic of three partitions and one of one."""
    name = new_name()
    topics = [
        Topic(f"{name}.facts", name, 3, Audience.SERVICES),
        Topic(f"{name}.rules", name, 1, Audience.SERVICES),
        checkpoints_topic(name),
    ]
    TOPICS.update({topic.name: topic for topic in topics})
    yield name
    for topic in topics:
        del TOPICS[topic.name]


def log_of(service: str) -> MadeLog:
    return tampering.whole(service, examples_for(service))


def examples_for(service: str) -> list[dict[str, Any]]:
    kinds = [("facts", n) for n in range(7)] + [("rules", 9)]
    return [
        {
            "topic": f"{service}.{topic}",
            "headers": {"ce_type": f"entas.{service}.Kind{n}.v1", "ce_actor": "Pak Édi" if n == 3 else "somebody"},
            "value": {},
            "bytes": json.dumps({"number": n, "words": "x" * (n * 40)}).encode(),
        }
        for topic, n in kinds
    ]


async def report_on(touched: Touched, source: Source, leaves_from: Source | None = None, **changes: Any) -> Report:
    log = touched.log
    key = log.signer.verifier
    return await verify_log(log.service, source, key, witnessed=touched.witnessed, leaves_from=leaves_from, **changes)


def assert_named(touched: Touched, report: Report, *, with_offset: bool = False) -> None:
    shown = report.findings.shown
    for named in touched.named:
        assert any(named.is_told_by(finding, with_offset=with_offset) for finding in shown), [str(f) for f in shown]
    kinds = {named.kind for named in touched.named}
    assert {finding.kind for finding in shown} <= kinds, [str(f) for f in shown]
    sequences = {named.sequence for named in touched.named}
    assert {finding.sequence for finding in shown} <= sequences, [str(f) for f in shown]


# --- As an endpoint shows it ------------------------------------------------------------------------------------------


async def test_a_whole_log_is_as_signed(service: str):
    touched = tampering.untouched(log_of(service))
    report = await report_on(touched, touched.log)
    assert report.well, report.findings.shown
    assert (report.events, report.copies, report.unsigned, report.checkpoints) == (EVENTS, 0, 0, 5)


@pytest.mark.parametrize("touch", EVERYWHERE, ids=lambda touch: touch.__name__)
async def test_what_was_done_to_a_log_is_named_in_its_stream_of_entries(service: str, touch: Tampering):
    touched = touch(log_of(service))
    assert_named(touched, await report_on(touched, touched.log))


async def test_copies_of_whole_batches_are_counted_and_are_nothing_wrong(service: str):
    log = log_of(service)
    found = [*log.found[:90], *log.found[40:90], *log.found[90:], *log.found[10:20]]
    report = await report_on(Touched(log, []), tampering.without(log, found))
    assert report.well, report.findings.shown
    assert (report.events, report.copies) == (EVENTS, 60)


async def test_what_is_not_signed_yet_is_not_judged(service: str):
    log = log_of(service)
    report = await report_on(Touched(log, []), MadeLog(service, log.found, log.told[:3], log.signer))
    assert report.well, report.findings.shown
    assert (report.events, report.unsigned) == (240, 160)


async def test_without_leaf_hashes_the_checkpoints_are_named_between_which_the_event_stands(service: str):
    touched = tampering.changed_byte(log_of(service))
    report = await report_on(touched, NoLeaves(touched.log))
    [finding] = report.findings.shown
    assert (finding.kind, finding.sequence) == (Kind.ROOT, 80)
    assert "the events 80 to 159 do not give the root" in finding.text
    removed = tampering.removed(log_of(service))
    kinds = {f.kind: f.sequence for f in (await report_on(removed, NoLeaves(removed.log))).findings.shown}
    assert kinds == {Kind.REMOVED: VICTIM, Kind.UNCHECKED: 80}


async def test_a_tree_that_was_changed_with_its_event_does_not_give_the_signed_root(service: str):
    """Whoever changes an event in the database can change its leaf too; what was signed he cannot."""
    touched = tampering.changed_byte(log_of(service))
    careful = MadeLog(service, touched.log.found, touched.log.told, touched.log.signer)
    assert careful.kept == b"".join(leaves_of(touched.log.found))
    [finding] = (await report_on(touched, careful)).findings.shown
    assert (finding.kind, finding.sequence) == (Kind.ROOT, 80)
    # Somebody else's copy of the tree names the event.
    assert_named(touched, await report_on(touched, careful, leaves_from=log_of(service)))


async def test_counts_that_are_not_so_are_named(service: str):
    log = log_of(service)
    last = read_checkpoint(log.told[-1])
    counts = {**last.counts, f"{service}.rules": last.counts[f"{service}.rules"] + 1}
    text = last.text().replace(json_of(last.counts), json_of(counts))
    report = await report_on(
        Touched(log, []), MadeLog(service, log.found, [*log.told[:-1], log.signer.sign(text)], log.signer)
    )
    [finding] = report.findings.shown
    assert (finding.kind, finding.sequence) == (Kind.COUNTS, EVENTS)
    assert f"events of {service}.rules" in finding.text


def json_of(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


async def test_a_stream_with_a_gap_is_named_though_all_is_signed(service: str):
    log = log_of(service)
    entry = log.found[VICTIM]
    changed = entry._replace(envelope=entry.envelope._replace(version=entry.envelope.version + 5))
    found = [*log.found[:VICTIM], changed, *log.found[VICTIM + 1 :]]
    told = list(tampering.notes_over(service, found, [EVENTS], log.signer))
    report = await report_on(Touched(log, []), MadeLog(service, found, told, log.signer))
    assert {finding.kind for finding in report.findings.shown} == {Kind.VERSION}
    assert VICTIM in {finding.sequence for finding in report.findings.shown}


async def test_a_source_that_signed_nothing_is_not_called_well(service: str):
    log = log_of(service)
    report = await report_on(Touched(log, []), MadeLog(service, log.found, [], log.signer))
    assert [finding.kind for finding in report.findings.shown] == [Kind.UNCHECKED]


class NoLeaves:
    """A source that keeps no tree, as Kafka is."""

    def __init__(self, log: MadeLog) -> None:
        self.name = "no leaves"
        self._log = log
        self.notes, self.entries = log.notes, log.entries

    async def leaves(self, service: str, first: int, count: int) -> bytes:
        return b""


# --- In Kafka ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("touch", [tampering.untouched, *EVERYWHERE], ids=lambda touch: touch.__name__)
async def test_what_was_done_to_a_log_is_named_in_kafka(service: str, kafka: str, touch: Tampering):
    honest = log_of(service)
    touched = touch(honest)
    await publish(kafka, service, touched.log.found, touched.log.told)
    # The endpoint beside it has the tree as it was sealed.
    report = await report_on(touched, KafkaSource(kafka), leaves_from=honest)
    assert_named(touched, report, with_offset=True)
    if touch is tampering.untouched:
        assert (report.events, report.checkpoints) == (EVENTS, 5)


async def test_a_database_that_was_restored_and_went_on_is_named_where_it_began_to_in_kafka(service: str, kafka: str):
    log = log_of(service)
    other = tampering.parted(log, 240)
    again = list(tampering.notes_over(service, other.found, [300], log.signer))
    await publish(kafka, service, [*log.found, *other.found[240:300]], [*log.told, *again])
    report = await report_on(Touched(log, []), KafkaSource(kafka), leaves_from=log)
    forked = {finding.sequence: finding for finding in report.findings.shown if finding.kind is Kind.FORKED}
    first = forked[240]
    assert (f"{first.topic}/{first.partition}", first.offset) == (
        other.found[240].place,
        offset_after(log.found, other.found[240].place),
    )
    [restored] = [finding for finding in report.findings.shown if finding.kind is Kind.RESTORED]
    assert (restored.sequence, restored.topic, restored.offset) == (300, f"{service}.checkpoints", 5)


def offset_after(found: Any, place: str) -> int:
    return sum(entry.place == place for entry in found)


async def test_what_kafka_has_let_go_is_missed_and_what_is_left_is_proven(service: str, kafka: str):
    log = log_of(service)
    rules = [entry for entry in log.found if entry.envelope.topic == f"{service}.rules"]
    await publish(kafka, service, [entry for entry in log.found if entry not in rules[:10]], log.told)
    report = await report_on(Touched(log, []), KafkaSource(kafka), leaves_from=log)
    assert report.findings.of == {Kind.REMOVED: 10}, "every topic of a log is kept for ever"
    assert report.root is not None, "their leaves are known, so the rest is proven"


async def test_a_record_that_cannot_be_read_is_named(service: str, kafka: str):
    log = log_of(service)
    await publish(kafka, service, log.found, log.told, spoilt=VICTIM)
    entry = log.found[VICTIM]
    report = await report_on(Touched(log, []), KafkaSource(kafka), leaves_from=log)
    named = {f.kind: (f.sequence, f.topic, f.partition, f.offset) for f in report.findings.shown}
    where = (entry.envelope.topic, entry.partition, tampering.offset_of(log.found, entry))
    assert named == {Kind.UNREADABLE: (None, *where), Kind.REMOVED: (VICTIM, *where)}


async def publish(kafka: str, service: str, found: Any, told: Any, spoilt: int | None = None) -> None:
    """Writes these entries and notes as records, each partition in this order."""
    names = [topic for topic in TOPICS.values() if topic.owner == service]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic.name, topic.partitions, 1) for topic in names])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        sending = []
        entry: Found
        for entry in found:
            headers = headers_of(entry.envelope, entry.position)
            if entry.position.sequence == spoilt:
                headers = [header for header in headers if header[0] != "ce_time"]
            topic, key = entry.envelope.topic, entry.envelope.key.encode()
            sending.append(await producer.send(topic, entry.value, key, partition=entry.partition, headers=headers))
        for note in told:
            await producer.send_and_wait(f"{service}.checkpoints", note.encode(), service.encode())
        for sent in sending:
            await sent
    finally:
        await producer.stop()


# --- In an archive ----------------------------------------------------------------------------------------------------


async def archived(touched: Touched, path: Path) -> None:
    """An archive whose maker has touched it: everything listed and signed anew, but what the services signed."""
    log = touched.log
    size = len(log.kept) // 32
    honest = MadeLog(log.service, log_of(log.service).found[:size], log.told, log.signer)
    with ArchiveWriter(path, ARCHIVIST) as writer:
        writer.keep = touching(writer, log, writer.keep)  # type: ignore[method-assign]
        await writer.add_log(log.service, honest, log.signer.verifier)


def touching(writer: ArchiveWriter, log: MadeLog, keep: Any) -> Any:
    """Puts the touched entries into each file of events, just before it is listed."""
    lines: dict[int, list[bytes]] = {}
    for entry in log.found:
        lines.setdefault(entry.position.sequence // 64, []).append(entry_line(entry, entry.position.previous_sequence))

    def keep_touched(name: str, **how: bool) -> None:
        if name.endswith(".jsonl.gz"):
            content = b"".join(lines[int(name[-15:-9])])
            (writer.folder / name).write_bytes(gzip.compress(content))
        keep(name, **how)

    return keep_touched


@pytest.mark.parametrize("form", ["archive", "archive.tar"])
@pytest.mark.parametrize("touch", [tampering.untouched, *IN_ARCHIVES], ids=lambda touch: touch.__name__)
async def test_what_was_done_to_a_log_is_named_in_an_archive(
    service: str, touch: Tampering, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.audit.archive.SEGMENT", 64)
    touched = touch(log_of(service))
    path = tmp_path / form
    await archived(touched, path)
    source = ArchiveSource.open(path)
    report = await report_on(touched, source, made_before=source.made)
    assert_named(touched, report)
    notes = tmp_path / "notes.txt"
    notes.write_text("".join(f"{noted.text}\n" for noted in touched.witnessed))
    status, findings = standalone(path, notes)
    expected = touched.named
    assert status == (1 if expected else 0), findings
    for named in expected:
        assert any(
            (f["kind"], f["sequence"]) == (named.kind.value, named.sequence)
            and named.place in (None, f"{f['topic']}/{f['partition']}", f"{service}.checkpoints/0")
            for f in findings
        ), findings
    assert {f["kind"] for f in findings} <= {named.kind.value for named in expected}, findings


def standalone(path: Path, witness: Path) -> tuple[int, list[dict[str, Any]]]:
    """What the verifier of the repository says of an archive, run as a stranger would."""
    script = Path(__file__).parents[2] / "services" / "audit" / "standalone.py"
    command = [sys.executable, "-I", "-S", str(script), str(path), f"--witness={witness}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)["findings"]
