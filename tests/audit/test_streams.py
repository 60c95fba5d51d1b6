"""Gaps in streams are found whatever the order of streams and however many there are, as a dictionary finds them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.audit.streams import Gap, Streams

EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=60)


def gaps_by_hand(events: list[tuple[int, int]]) -> set[Gap]:
    last: dict[int, tuple[int, int]] = {}
    gaps = set()
    for sequence, (stream, version) in enumerate(events):
        after, before = last.get(stream, (-1, 0))
        if version != before + 1:
            gaps.add(Gap(f"topic/{stream % 2}", after, sequence, before, version))
        last[stream] = (sequence, version)
    return gaps


@settings(max_examples=60)
@given(events=EVENTS, held=st.integers(1, 4))
def test_every_gap_is_found_and_no_other(events: list[tuple[int, int]], held: int):
    streams = Streams()
    streams._HELD = held
    try:
        for sequence, (stream, version) in enumerate(events):
            streams.take(f"topic/{stream % 2}", f"key {stream}", version, sequence)
        assert set(streams.gaps()) == gaps_by_hand(events)
    finally:
        streams.close()
