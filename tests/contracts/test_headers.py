"""CloudEvents headers: what is written is read again, and nothing that comes from outside can break the reader."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import (
    MAX_ENVELOPE_BYTES,
    NOTHING_BEFORE,
    Envelope,
    Position,
    Unreadable,
    headers_of,
    headers_said_by,
    read_headers,
    sequence_text,
)

TOPIC = "registry.participants"
ENVELOPE = Envelope(
    id="01900694-9a9c-75f5-8195-16fdb1a64c19",
    type="entas.registry.VisitRecorded.v1",
    source="/entas/registry",
    topic=TOPIC,
    key="018f4bbd-9794-7ddc-8b34-84bb986d7a82",
    version=3,
    time=datetime(2024, 6, 11, 9, 15, 20, tzinfo=UTC),
    recorded=datetime(2024, 6, 11, 9, 15, 20, 604913, tzinfo=UTC),
    actor="pendamping-5208-03",
    correlation_id="01900694-9a9c-7000-8000-000000000001",
    causation_id="01900529-0dd8-791e-9d75-feccce4abcdd",
    traceparent="00-1b7d90c2e4f84a51902c6be3d7a85f44-a94e07c15b3d2f60-01",
)
POSITION = Position(36517, 36511)
HEADERS = dict(headers_of(ENVELOPE, POSITION))
OPTIONAL = {"ce_causationid", "ce_traceparent"}
NOT_READ = {"ce_subject", "content-type"}  # each says again what another one says
REQUIRED = sorted(HEADERS.keys() - OPTIONAL - NOT_READ)


def reading(**changed: bytes | None) -> tuple[Envelope, Position]:
    return read_headers(TOPIC, list((HEADERS | changed).items()))


# --- What is written is read ------------------------------------------------------------------------------------------


def test_headers_are_cloud_events_in_binary_mode():
    assert headers_of(ENVELOPE, POSITION) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"01900694-9a9c-75f5-8195-16fdb1a64c19"),
        ("ce_type", b"entas.registry.VisitRecorded.v1"),
        ("ce_source", b"/entas/registry"),
        ("ce_time", b"2024-06-11T09:15:20.000000Z"),
        ("ce_subject", b"018f4bbd-9794-7ddc-8b34-84bb986d7a82"),
        ("content-type", b"application/json"),
        ("ce_partitionkey", b"018f4bbd-9794-7ddc-8b34-84bb986d7a82"),
        ("ce_sequence", b"00000000000000036517"),
        ("ce_previoussequence", b"00000000000000036511"),
        ("ce_streamversion", b"3"),
        ("ce_recordedtime", b"2024-06-11T09:15:20.604913Z"),
        ("ce_correlationid", b"01900694-9a9c-7000-8000-000000000001"),
        ("ce_actor", b"pendamping-5208-03"),
        ("ce_causationid", b"01900529-0dd8-791e-9d75-feccce4abcdd"),
        ("ce_traceparent", b"00-1b7d90c2e4f84a51902c6be3d7a85f44-a94e07c15b3d2f60-01"),
    ]


def test_headers_come_back_as_they_went():
    assert read_headers(TOPIC, headers_of(ENVELOPE, POSITION)) == (ENVELOPE, POSITION)


def test_what_has_no_cause_and_no_trace_has_no_header_for_them():
    alone = ENVELOPE._replace(causation_id=None, traceparent=None)
    headers = headers_of(alone, POSITION)
    assert not OPTIONAL & dict(headers).keys()
    assert read_headers(TOPIC, headers) == (alone, POSITION)


def test_the_first_event_of_a_partition_has_nothing_before_it():
    first = Position(0, NOTHING_BEFORE)
    headers = headers_of(ENVELOPE, first)
    assert dict(headers)["ce_previoussequence"] == b"none"
    assert read_headers(TOPIC, headers) == (ENVELOPE, first)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1a"), min_size=1, max_size=60)
moments = st.datetimes(timezones=st.just(UTC))


@given(
    st.builds(
        Envelope,
        **dict.fromkeys(("id", "type", "source", "key", "actor", "correlation_id"), texts),
        topic=st.just(TOPIC),
        version=st.integers(1, 2**63 - 1),
        time=moments,
        recorded=moments,
        causation_id=st.none() | texts,
        traceparent=st.none() | texts,
    ),
    st.integers(0, 2**63 - 1).flatmap(
        lambda sequence: st.builds(Position, st.just(sequence), st.integers(-1, sequence - 1))
    ),
)
def test_any_envelope_comes_back_as_it_went(envelope, position):
    headers = headers_of(envelope, position)
    assert read_headers(TOPIC, headers) == (envelope, position)
    assert len(headers) == headers_said_by(envelope)


def test_text_order_of_sequences_is_number_order():
    numbers = [0, 1, 9, 10, 36517, 2**63 - 1]
    assert [len(sequence_text(number)) for number in numbers] == [20] * len(numbers)
    assert sorted(numbers, key=sequence_text) == numbers


def test_headers_of_others_are_ignored():
    assert reading(b3=b"\xff" * 20_000, reply_to=b"registry.rules") == (ENVELOPE, POSITION)


def test_times_are_read_in_utc():
    envelope, _ = reading(ce_time=b"2024-06-11T17:15:20+08:00")
    assert envelope.time == ENVELOPE.time
    assert envelope.time.tzinfo is UTC


# --- What cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_attribute_is_named(name):
    headers = [(header, value) for header, value in HEADERS.items() if header != name]
    with pytest.raises(Unreadable, match=f"^the CloudEvents attribute {name} is missing$"):
        read_headers(TOPIC, headers)


@pytest.mark.parametrize("name", [*REQUIRED, *sorted(OPTIONAL)])
@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"a\0b", None], ids=["empty", "not UTF-8", "NUL", "null"])
def test_an_attribute_that_is_no_text_is_named(name, value):
    with pytest.raises(Unreadable, match=f"^the CloudEvents attribute {name} cannot be read$"):
        reading(**{name: value})


NO_COUNTS = [b"-1", b"+1", b" 1", b"1 ", b"1_0", b"1.0", b"0x1", "\u0661".encode(), b"9223372036854775808", b"9" * 5000]
NO_INSTANTS = [b"2024-06-11", b"2024-06-11T09:15:20", b"today", b"2024-13-01T00:00:00Z", b"0001-01-01T00:00:00+14:00"]


@pytest.mark.parametrize("name", ["ce_streamversion", "ce_sequence", "ce_previoussequence"])
@pytest.mark.parametrize("value", NO_COUNTS)
def test_a_number_is_plain_digits_that_a_database_can_hold(name, value):
    with pytest.raises(Unreadable, match=f"^the CloudEvents attribute {name} cannot be read$"):
        reading(**{name: value})


@pytest.mark.parametrize("name", ["ce_time", "ce_recordedtime"])
@pytest.mark.parametrize("value", NO_INSTANTS)
def test_a_time_says_its_zone_and_exists(name, value):
    with pytest.raises(Unreadable, match=f"^the CloudEvents attribute {name} cannot be read$"):
        reading(**{name: value})


@pytest.mark.parametrize(
    "changed",
    [
        {"ce_specversion": b"0.3"},
        {"ce_previoussequence": b"00000000000000036517"},
        {"ce_streamversion": b"0"},
        {"ce_sequence": b"none"},
        {"ce_actor": b"a" * MAX_ENVELOPE_BYTES},
        {"ce_traceparent": b"a" * MAX_ENVELOPE_BYTES},
    ],
    ids=["another specversion", "after itself", "version 0", "no sequence", "too long", "too long a trace"],
)
def test_attributes_that_make_no_sense_are_refused(changed):
    with pytest.raises(Unreadable):
        reading(**changed)


def test_what_cannot_be_read_is_not_repeated():
    for name in REQUIRED:
        with pytest.raises(Unreadable) as refused:
            reading(**{name: b"5270026704850003\xff"})
        assert "5270" not in str(refused.value)


names = st.sampled_from([*HEADERS, "ce_other"]) | st.text(max_size=5)
odd_values = [*HEADERS.values(), b"none", b"2024-06-11T09:15:20+23:59"]
values = st.none() | st.binary(max_size=30) | st.sampled_from(odd_values)


@given(st.lists(st.tuples(names, values), max_size=20))
def test_hostile_headers_are_read_or_unreadable_and_nothing_else(changes):
    hostile = [*HEADERS.items(), *changes]
    try:
        envelope, position = read_headers(TOPIC, hostile)
    except Unreadable:
        return
    assert envelope.time.tzinfo is UTC
    assert 0 <= position.sequence > position.previous_sequence
    assert dict(read_headers(TOPIC, headers_of(envelope, position))[0]._asdict()) == envelope._asdict()


def test_zones_far_from_utc_do_not_break_the_last_day():
    late = datetime(9999, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-8)))
    with pytest.raises(Unreadable, match="ce_time"):
        reading(ce_time=late.isoformat().encode())
