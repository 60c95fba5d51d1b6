"""What a consumer takes of the records it is handed: everything once and in order, whatever is copied, cut or lost."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import NOTHING_BEFORE, Envelope, Position, Unreadable, headers_of, read_headers
from services.kit.positions import Hole, Place, Record, Recreated, Standing, by_place, id_of, take
from tests.support.lab import NOW

PLACE = Place("lab.counters", 0)


def record_with(topic: str, partition: int, offset: int, headers: tuple[tuple[str, bytes | None], ...]) -> Record:
    return Record(topic, partition, offset, 0, None, b"", headers)


def record(offset: int, sequence: int, previous: int, id_: str | None = None) -> Record:
    envelope = Envelope(
        id=id_ or f"event-{sequence}",
        type="entas.lab.Counted.v1",
        source="/entas/lab",
        topic=PLACE.topic,
        key="c1",
        version=1,
        time=NOW,
        recorded=NOW,
        actor="test",
        correlation_id="test",
    )
    return record_with(*PLACE, offset, tuple(headers_of(envelope, Position(sequence, previous))))


@st.composite
def partitions(draw: st.DrawFn) -> list[Record]:
    """What a relay may leave in a partition: batches of the log's sequences, each copied whole any number of times.

    Other partitions have a share of the sequences, and control records leave gaps in the offsets.
    """
    records, sequence, previous, offset = [], 0, NOTHING_BEFORE, 0
    for _ in range(draw(st.integers(1, 5))):
        batch = []
        for _ in range(draw(st.integers(1, 4))):
            sequence += draw(st.integers(0, 3))
            batch.append((sequence, previous))
            previous = sequence
            sequence += 1
        for _ in range(draw(st.integers(1, 3))):
            offset += draw(st.sampled_from((0, 0, 0, 1, 2)))
            for its_sequence, its_previous in batch:
                records.append(record(offset, its_sequence, its_previous))
                offset += 1
    return records


def sequences(records: Sequence[Any]) -> list[int]:
    return [int(dict(r.headers)["ce_sequence"]) for r in records]


@settings(max_examples=80)
@given(records=partitions(), data=st.data())
def test_any_fetches_of_any_copies_give_each_event_once_and_in_order(records: list[Record], data: st.DataObject):
    standing, taken = Standing(), []
    while standing.next_offset <= records[-1].offset:
        # A fetch begins at, or before, what is read next, and is of any length; sometimes it follows a restart.
        first = data.draw(st.integers(0, 3))
        left = [r for r in records if r.offset >= standing.next_offset - first]
        piece = take(PLACE, standing, left[: data.draw(st.integers(1, len(left)))], chained=True)
        assert piece.trouble is None
        assert piece.before == standing
        for arrival in piece.arrivals:
            assert arrival.after.last_sequence == sequences([arrival.record])[0]
        taken += sequences([arrival.record for arrival in piece.arrivals])
        standing = piece.after
    # The oracle: the first time that each number stands in the partition.
    assert taken == list(dict.fromkeys(sequences(records)))
    assert standing.last_sequence == max(taken)
    assert standing.next_offset == records[-1].offset + 1


@settings(max_examples=80)
@given(records=partitions(), data=st.data())
def test_an_event_that_is_lost_is_noticed_at_the_next_one(records: list[Record], data: st.DataObject):
    numbers = list(dict.fromkeys(sequences(records)))
    lost = data.draw(st.sampled_from(numbers))
    left = [r for r in records if sequences([r]) != [lost]]
    piece = take(PLACE, Standing(), left, chained=True)
    taken = sequences([arrival.record for arrival in piece.arrivals])
    before, after = numbers[: numbers.index(lost)], numbers[numbers.index(lost) + 1 :]
    assert taken == before, "nothing after the hole is taken"
    assert isinstance(piece.trouble, Hole) == bool(after)
    if after:
        assert f"sequence {after[0]} follows {lost}" in str(piece.trouble)
        following = next(r for r in left if sequences([r]) == [after[0]])
        assert piece.after.next_offset <= following.offset


@settings(max_examples=80)
@given(offsets=st.lists(st.integers(0, 60), unique=True, min_size=1).map(sorted), start=st.integers(0, 60))
def test_of_a_partners_records_each_is_taken_once_whatever_the_gaps(offsets: list[int], start: int):
    records = [record_with("partner", 0, offset, (("ce_id", f"m{offset}".encode()),)) for offset in offsets]
    piece = take(Place("partner", 0), Standing(start), records, chained=False)
    assert [arrival.record.offset for arrival in piece.arrivals] == [offset for offset in offsets if offset >= start]
    assert piece.trouble is None
    if piece.arrivals:
        assert piece.after == Standing(offsets[-1] + 1, NOTHING_BEFORE, f"m{offsets[-1]}")


def test_another_event_at_the_offset_read_last_tells_that_the_topic_was_made_anew():
    first = take(PLACE, Standing(), [record(0, 0, -1), record(1, 1, 0)], chained=True)
    again = take(PLACE, first.after, [record(1, 1, 0), record(2, 2, 1)], chained=True)
    assert (len(again.arrivals), again.trouble) == (1, None)
    other = take(PLACE, first.after, [record(1, 1, 0, id_="another"), record(2, 2, 1)], chained=True)
    assert isinstance(other.trouble, Recreated)
    assert "another event at offset 1" in str(other.trouble)
    assert (other.arrivals, other.after) == ([], first.after)


def test_a_record_that_is_no_event_stops_what_follows_it():
    broken = record_with(*PLACE, 1, (("ce_id", b"x"),))
    piece = take(PLACE, Standing(), [record(0, 0, -1), broken, record(2, 1, 0)], chained=True)
    assert isinstance(piece.trouble, Unreadable)
    assert "lab.counters/0 offset 1: the CloudEvents attribute ce_specversion is missing" in str(piece.trouble)
    assert piece.after.next_offset == 1


def test_a_slice_is_cut_where_an_arrival_cannot_be_taken():
    records = [record(0, 0, -1), record(1, 1, 0), record(2, 2, 1)]
    piece = take(PLACE, Standing(), records, chained=True)
    piece.cut(1)
    assert piece.after == Standing(1, 0, "event-0")
    piece.cut(0)
    assert piece.after == piece.before == Standing()


@pytest.mark.parametrize(
    ("id_", "kept"),
    [
        (b"0190a5d3-7c1e-7000-8000-000000000001", "0190a5d3-7c1e-7000-8000-000000000001"),
        (b"m/1", "m/1"),
        (b"5270010101010001", None),
        (b"nik:52.7001.0101.01.0001", None),
        (b"a\0b", None),
        (b"\xff", None),
        (b"", None),
        (b"x" * 129, None),
    ],
)
def test_of_ids_only_those_are_kept_that_can_be_and_may_be(id_: bytes, kept: str | None):
    assert id_of(record_with(*PLACE, 0, (("other", b"x"), ("ce_id", None), ("ce_id", id_)))) == kept
    assert id_of(record_with(*PLACE, 0, ())) is None


def test_records_are_parted_by_their_partitions_and_keep_their_order():
    records = [
        record_with("a", 0, 5, ()),
        record_with("b", 0, 1, ()),
        record_with("a", 1, 0, ()),
        record_with("a", 0, 6, ()),
    ]
    parted = by_place(records)
    assert {place: [r.offset for r in of_place] for place, of_place in parted.items()} == {
        Place("a", 0): [5, 6],
        Place("b", 0): [1],
        Place("a", 1): [0],
    }


# --- What waits -------------------------------------------------------------------------------------------------------


def ahead(record: Record) -> Record:
    return record.saying(*read_headers(record.topic, record.headers), None)


def test_what_was_read_ahead_waits_without_its_headers_and_has_them_again_as_they_were_sent():
    sent = record(7, 4, 3)
    waiting = ahead(sent)
    assert waiting.headers == ()
    assert tuple(waiting.headers_as_sent) == sent.headers == sent.headers_as_sent
    assert id_of(waiting) == id_of(sent) == "event-4"


def test_headers_that_a_newer_publisher_adds_are_kept():
    sent = record(7, 4, 3)
    sent = sent._replace(headers=(*sent.headers, ("ce_dataschema", b"urn:entas:counted")))
    assert ahead(sent).headers_as_sent == sent.headers
