"""What must be true of the evidence, whatever happened: tables, logs and Kafka against the oracle and each other.

Reads by SQL and from Kafka; the oracle's rows say what the tables must hold, and its stories what the streams must.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from contracts.topics import published_by
from tests.contracts import proof_oracle
from tests.journeys.oracle import Oracle
from tests.support.world import NOTIFICATIONS, OUTCOMES, REGISTRY, TRAINING, World

KEYS = {
    "registry": {
        "snapshot": ("snapshot_id",),
        "household": ("household_id",),
        "member": ("household_id", "person_id"),
        "participant": ("participant_id",),
        "visit": ("participant_id", "visit_id"),
        "rule": ("rule_id",),
        "rejection": ("rejection_id",),
    },
    "training": {
        "candidate": ("participant_id",),
        "demand": ("household_id",),
        "programme": ("programme_id",),
        "course": ("programme_id", "course_id"),
        "quota": ("programme_id", "area_code"),
        "rule": ("rule_id",),
        "cohort": ("cohort_id",),
        "enrolment": ("cohort_id", "participant_id"),
    },
    "outcomes": {
        "snapshot": ("snapshot_id",),
        "person": ("participant_id",),
        "home": ("household_id",),
        "cohort": ("cohort_id",),
        "placement": ("cohort_id", "participant_id"),
        "rule": ("rule_id",),
        "case_file": ("case_id",),
        "follow_up": ("case_id", "months"),
        "business_unit": ("case_id", "unit_id"),
        "intervention": ("intervention_id",),
        "case_intervention": ("case_id", "intervention_id"),
        "cooperative": ("cooperative_number",),
        "cooperative_member": ("cooperative_number", "participant_id"),
        "rejection": ("rejection_id",),
        "registry_rejection": ("rejection_id",),
    },
    "notifications": {
        "person": ("participant_id",),
        "cohort": ("cohort_id",),
        "placement": ("cohort_id", "participant_id"),
        "case_file": ("case_id",),
        "template": ("template_id",),
        "rule": ("rule_id",),
        "contact": ("subject_id",),
        "delivery": ("notification_id",),
    },
}
"""Every folded table of the four services, by its primary key."""


_TWO_ATTEMPTS = ("SendingStarted", "SendingStarted")
_OF_THE_ATTEMPTS = ("version", "attempt", "next_at", "sent_at", "in_doubt", "repeatable", "provider_reference")

# --- Tables -----------------------------------------------------------------------------------------------------------


def assert_tables_say_what_the_oracle_says(world: World, oracle: Oracle, *, after_crashes: bool = False) -> None:
    """Row by row and column by column. What is sealed is compared only in that it is there.

    After crashes nobody can say at which attempt a message was sent, and of a mail server there is no reference.
    """
    for service, tables in KEYS.items():
        expected = oracle.tables(service)
        assert expected.keys() == tables.keys()
        named = Names.known_to(world, service)
        for table, key in tables.items():
            rows = [named.in_row(row) for row in _rows(world, service, table)]
            found = {tuple(row[name] for name in key): row for row in rows}
            wanted = {at: {name: _plain(value) for name, value in row.items()} for at, row in expected[table].items()}
            if after_crashes and table == "delivery":
                for row in (*found.values(), *wanted.values()):
                    row.update(dict.fromkeys(_OF_THE_ATTEMPTS))
            differences = _differences(wanted, found)
            assert not differences, f"{service}.{table}, of {len(wanted)} rows:\n" + "\n".join(differences[:12])


def _rows(world: World, service: str, table: str) -> list[dict[str, Any]]:
    return [_comparable(row) for row in world.rows(service, f"SELECT * FROM {table}")]


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    comparable = {name: _plain(value) for name, value in row.items() if name != "sealed_by"}
    if "sealed" in row:
        assert (row["sealed"] is None) == (row["sealed_by"] is None)
        comparable["sealed"] = row["sealed"] is not None
    if "faults" in row:
        comparable["faults"] = [fault["field"] for fault in row["faults"]]
    return comparable


def _plain(value: Any) -> Any:
    """As JSON says it: instants in UTC, and what nobody knows left out."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def _differences(wanted: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    lines = [f"  {key}: is missing" for key in wanted.keys() - found.keys()]
    lines += [f"  {key}: should not be there" for key in found.keys() - wanted.keys()]
    for key in wanted.keys() & found.keys():
        names = wanted[key].keys() | found[key].keys()
        lines += [
            f"  {key}: {name} should be {wanted[key].get(name)!r}, is {found[key].get(name)!r}"
            for name in sorted(names)
            if wanted[key].get(name) != found[key].get(name)
        ]
    return lines


@dataclass(frozen=True)
class Names:
    """The oracle knows no ids of events. It calls a fact by where it stands ("training.cohorts/<id>@7"), and a
    notification by the fact, whom it goes to and the rule."""

    of_ids: Mapping[str, str]

    @classmethod
    def known_to(cls, world: World, service: str) -> "Names":
        """What stands in the tables of notifications; other services keep no such ids."""
        if service != NOTIFICATIONS:
            return cls({})
        names = {
            row["event_id"]: f"{row['topic']}/{row['stream']}@{row['version']}"
            for source in (REGISTRY, TRAINING, OUTCOMES)
            for row in world.rows(source, "SELECT event_id, topic, stream, version FROM log")
        }
        asked = "SELECT notification_id, about_id, recipient_id, rule_id FROM delivery"
        for row in world.rows(NOTIFICATIONS, asked):
            names[row["notification_id"]] = f"{names[row['about_id']]} {row['recipient_id']} {row['rule_id']}"
        return cls(names)

    def in_row(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.in_row(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.in_row(part) for part in value]
        return self.in_text(value) if isinstance(value, str) else value

    def in_text(self, text: str) -> str:
        """Of an id, or of one with what a channel adds to it behind a dot."""
        id_, dot, rest = text.partition(".")
        return self.of_ids[id_] + dot + rest if id_ in self.of_ids else text


# --- Logs and Kafka ---------------------------------------------------------------------------------------------------


def assert_log_tells_the_story(world: World, oracle: Oracle, service: str, *, after_crashes: bool = False) -> None:
    """Each stream holds the facts that the script made happen, in their order, and nothing else.

    After crashes a message may have been tried several times.
    """
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    named = Names.known_to(world, service)
    for row in world.rows(service, "SELECT topic, stream, version, type FROM log ORDER BY topic, stream, version"):
        facts = told[row["topic"], named.in_text(row["stream"])]
        facts.append(row["type"].split(".")[-2])
        assert row["version"] == len(facts), f"{row['topic']}/{row['stream']} has a gap before version {row['version']}"
    if after_crashes:
        told = defaultdict(list, {key: without_vain_attempts(facts) for key, facts in told.items()})
    wanted = oracle.story.of(service)
    wrong = [
        f"  {key}: {wanted.get(key)} != {told.get(key)}"
        for key in wanted.keys() | told
        if wanted.get(key) != told.get(key)
    ]
    assert not wrong, f"{len(wrong)} streams of {service} tell something else:\n" + "\n".join(wrong[:12])


def without_vain_attempts(facts: list[str]) -> list[str]:
    """Of each run of attempts the last."""
    attempts = [fact for fact in facts if fact != "AttemptFailed"]
    return [fact for fact, before in zip(attempts, ["", *attempts], strict=False) if (fact, before) != _TWO_ATTEMPTS]


def assert_kafka_holds_the_log(world: World, service: str) -> int:
    """Every event of the log stands in Kafka, as it was logged and sealed, in order. Gives the number of copies."""
    log = world.rows(
        service,
        "SELECT s.sequence, l.topic, l.partition, l.stream, l.version, l.type, l.event_id, l.value, l.occurred_at, "
        "l.recorded_at, l.actor, l.correlation_id, l.causation_id FROM log l LEFT JOIN seal s USING (id)",
    )
    records = world.records([topic.name for topic in published_by(service)])
    first = _first_of_identical_copies(records)
    assert sorted(row["sequence"] for row in log) == list(range(len(log))), "sealing left a gap"
    assert sorted(first) == list(range(len(log))), f"{len(log)} events were logged, Kafka has {len(first)} of them"
    for row in log:
        _assert_is_as_logged(first[row["sequence"]], row, service)
    _assert_chained(records)
    _assert_streams_in_order(first)
    _assert_tree_is_the_sealed_one(world, service, first)
    return len(records) - len(first)


def _first_of_identical_copies(records: list[Any]) -> dict[int, Any]:
    first: dict[int, Any] = {}
    for record in records:
        sequence = int(_headers(record)["ce_sequence"])
        before = first.setdefault(sequence, record)
        assert (before.key, before.value, before.headers, before.timestamp) == (
            record.key,
            record.value,
            record.headers,
            record.timestamp,
        ), f"{record.topic}/{record.partition}: offsets {before.offset} and {record.offset} are no copies of one event"
    return first


def _assert_is_as_logged(record: Any, row: dict[str, Any], service: str) -> None:
    assert (record.topic, record.partition, record.key) == (row["topic"], row["partition"], row["stream"].encode())
    assert record.value == bytes(row["value"])
    headers = _headers(record)
    assert (headers["ce_id"], headers["ce_type"]) == (row["event_id"], row["type"])
    assert headers["ce_source"] == f"/entas/{service}"
    assert int(headers["ce_streamversion"]) == row["version"]
    for header, column in (("ce_time", "occurred_at"), ("ce_recordedtime", "recorded_at")):
        assert datetime.fromisoformat(headers[header]) == row[column]
    assert headers["ce_actor"] == row["actor"]
    assert headers["ce_correlationid"] == row["correlation_id"]
    assert headers.get("ce_causationid") == row["causation_id"]


def _assert_chained(records: list[Any]) -> None:
    """Each new sequence of a partition names the one before it; a copy comes after what it is a copy of."""
    last: dict[tuple[str, int], int] = {}
    for record in records:
        headers, place = _headers(record), (record.topic, record.partition)
        sequence = int(headers["ce_sequence"])
        if place in last and sequence <= last[place]:
            continue
        before = str(last[place]).zfill(20) if place in last else "none"
        assert headers["ce_previoussequence"] == before, f"{place} offset {record.offset}: the chain is broken"
        last[place] = sequence


def _assert_streams_in_order(first: Mapping[int, Any]) -> None:
    versions: dict[tuple[str, bytes], int] = defaultdict(int)
    for sequence in sorted(first):
        record = first[sequence]
        versions[record.topic, record.key] += 1
        assert int(_headers(record)["ce_streamversion"]) == versions[record.topic, record.key], record.key


def _assert_tree_is_the_sealed_one(world: World, service: str, first: Mapping[int, Any]) -> None:
    """The Merkle tree, made from what stands in Kafka alone, has the root that sealing gave to every batch."""
    roots = _roots([leaf_of(first[sequence], sequence) for sequence in sorted(first)])
    for batch in world.rows(service, "SELECT batch_no, first_sequence + size AS events, root FROM sealed_batch"):
        assert roots[batch["events"]] == bytes(batch["root"]), f"{service}'s batch {batch['batch_no']}"


def _roots(leaves: list[bytes]) -> list[bytes]:
    """The root of the first n leaves, for each n from 0 on (RFC 6962, 2.1)."""
    roots = [proof_oracle.root([])]
    peaks: list[tuple[int, bytes]] = []
    for leaf in leaves:
        peaks.append((1, leaf))
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (size, left), (_, right) = peaks[-2:]
            peaks[-2:] = [(2 * size, sha256(b"\x01" + left + right).digest())]
        root = peaks[-1][1]
        for _, peak in reversed(peaks[:-1]):
            root = sha256(b"\x01" + peak + root).digest()
        roots.append(root)
    return roots


def leaf_of(record: Any, sequence: int) -> bytes:
    """The leaf of a record as it stands in Kafka, by the oracle of proofs."""
    headers = _headers(record)
    envelope = {
        "source": headers["ce_source"],
        "topic": record.topic,
        "key": record.key.decode(),
        "version": int(headers["ce_streamversion"]),
        "type": headers["ce_type"],
        "id": headers["ce_id"],
        "time": headers["ce_time"],
        "recorded": headers["ce_recordedtime"],
        "actor": headers["ce_actor"],
        "correlation_id": headers["ce_correlationid"],
    }
    if "ce_causationid" in headers:
        envelope["causation_id"] = headers["ce_causationid"]
    return proof_oracle.leaf(proof_oracle.entry(envelope, sequence, sha256(record.value).digest()))


def _headers(record: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def sealed_texts(value: bytes) -> list[str]:
    """What a fact holds under somebody's key."""
    personal = json.loads(value).get("personal", {})
    return list(personal.values())
