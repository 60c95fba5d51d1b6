"""The bytes that a proof covers, against the vectors in contracts/vectors and against an oracle of their own."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Envelope, instant_text, proof_bytes, value_digest
from tests.contracts import proof_oracle

VECTORS = json.loads((Path(__file__).parents[2] / "contracts" / "vectors" / "proof.json").read_text(encoding="utf-8"))
ENTRIES = VECTORS["entries"]


def envelope_of(texts: dict[str, Any]) -> Envelope:
    times = {name: datetime.fromisoformat(texts[name]) for name in ("time", "recorded")}
    return Envelope(**(texts | times))


PLAIN = envelope_of(ENTRIES[1]["envelope"])
DIGEST = value_digest(b"{}")


@pytest.mark.parametrize("vector", ENTRIES, ids=[vector["why"] for vector in ENTRIES])
def test_proof_bytes_are_those_of_the_vectors(vector):
    digest = value_digest(vector["value"].encode())
    entry = proof_bytes(envelope_of(vector["envelope"]), vector["sequence"], digest)
    assert digest.hex() == vector["value_sha256"]
    assert entry.hex() == vector["entry"]
    assert proof_oracle.leaf(entry).hex() == vector["leaf"]


def test_the_vectors_are_what_the_oracle_says():
    assert proof_oracle.vectors() == VECTORS


def test_the_vectors_hold_the_roots_of_the_growing_tree():
    leaves = [bytes.fromhex(vector["leaf"]) for vector in ENTRIES]
    assert [vector["sequence"] for vector in ENTRIES] == list(range(len(ENTRIES)))
    assert len(ENTRIES) > 8  # a tree that is perfect, and one that is not
    assert VECTORS["empty_root"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert ENTRIES[0]["root"] == ENTRIES[0]["leaf"]
    for size, vector in enumerate(ENTRIES, start=1):
        assert vector["root"] == proof_oracle.root(leaves[:size]).hex()


CHANGES = {
    "id": "01908fe3-6a00-7d2c-9b1e-3f5a7c9e1b2e",
    "type": "entas.training.CohortStarted.v2",
    "source": "/entas/registry",
    "topic": "training.cohort",
    "key": "018fdbe1-5c00-7a44-8e10-6b2f90c3d7a2",
    "version": 67,
    "time": PLAIN.time + timedelta(microseconds=1),
    "recorded": PLAIN.recorded - timedelta(microseconds=1),
    "actor": "timer ",
    "correlation_id": "",
    "causation_id": None,
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_covered_field_changes_the_leaf(field):
    changed = PLAIN._replace(**{field: CHANGES[field]})
    assert proof_bytes(changed, 5, DIGEST) != proof_bytes(PLAIN, 5, DIGEST)


def test_every_field_of_the_envelope_is_covered_but_the_trace():
    assert set(Envelope._fields) == {*CHANGES, "traceparent"}
    traced = PLAIN._replace(traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
    assert proof_bytes(traced, 5, DIGEST) == proof_bytes(PLAIN, 5, DIGEST)


def test_sequence_and_value_are_covered():
    assert proof_bytes(PLAIN, 6, DIGEST) != proof_bytes(PLAIN, 5, DIGEST)
    assert proof_bytes(PLAIN, 5, value_digest(b"{ }")) != proof_bytes(PLAIN, 5, DIGEST)


def test_no_text_can_move_from_one_part_into_the_next():
    left = PLAIN._replace(topic="training.cohortsX", key="Y")
    right = PLAIN._replace(topic="training.cohorts", key="XY")
    assert proof_bytes(left, 5, DIGEST) != proof_bytes(right, 5, DIGEST)


def test_the_same_instant_in_another_zone_gives_the_same_bytes():
    wita = timezone(timedelta(hours=8), "WITA")
    moved = PLAIN._replace(time=PLAIN.time.astimezone(wita), recorded=PLAIN.recorded.astimezone(wita))
    assert proof_bytes(moved, 5, DIGEST) == proof_bytes(PLAIN, 5, DIGEST)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
moments = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 (the strategy wants it naive, and gives it the zone)
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.builds(timezone, st.integers(-14 * 3600, 14 * 3600).map(lambda seconds: timedelta(seconds=seconds))),
)


@given(
    st.builds(
        Envelope,
        **dict.fromkeys(("id", "type", "source", "topic", "key", "actor", "correlation_id"), texts),
        version=st.integers(1, 2**63 - 1),
        time=moments,
        recorded=moments,
        causation_id=st.none() | texts,
    ),
    st.integers(0, 2**63 - 1),
    st.binary(max_size=64),
)
def test_proof_bytes_agree_with_the_oracle_on_any_envelope(envelope, sequence, value):
    described = {name: part for name, part in envelope._asdict().items() if part is not None}
    described |= {"time": envelope.time.isoformat(), "recorded": envelope.recorded.isoformat()}
    digest = value_digest(value)
    assert proof_bytes(envelope, sequence, digest) == proof_oracle.entry(described, sequence, digest)


@given(moments)
def test_an_instant_is_written_in_utc_to_the_microsecond(moment):
    assert instant_text(moment) == proof_oracle.instant(moment.isoformat())
    assert datetime.fromisoformat(instant_text(moment)) == moment


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(TypeError, match="offset-naive"):
        instant_text(datetime(2024, 7, 8))  # noqa: DTZ001


def test_an_instant_before_the_first_year_is_refused():
    with pytest.raises(OverflowError):
        instant_text(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=8))))


def test_utc_is_the_one_zone_that_is_written():
    assert instant_text(datetime(2024, 7, 8, 1, 5, tzinfo=UTC)) == "2024-07-08T01:05:00.000000Z"
