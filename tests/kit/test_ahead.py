"""How a consumer waits for records, and fetches the next while it writes these."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker

from services.kit.ahead import Ahead, wait_for_records
from services.kit.positions import Record


class Fetched:
    """Stands for a consumer that brings these records, fetch by fetch, and nothing after them."""

    def __init__(self, *fetches):
        self.fetches = list(fetches)
        self.asked = []
        self._subscription = SimpleNamespace(reassignment_in_progress=False)

    async def getmany(self, **how):
        self.asked.append(how)
        match self.fetches.pop(0) if self.fetches else {}:
            case Exception() as error:
                raise error
            case records:
                return records


async def test_a_fetch_that_brings_nothing_is_followed_by_the_next_at_once():
    broker = KafkaBroker(apply_types=False)
    subscriber = broker.subscriber("registry.households", batch=True, batch_timeout_ms=60_000, max_records=7)
    wait_for_records(subscriber)
    there = TopicPartition("registry.households", 0), TopicPartition("registry.households", 1)
    consumer = Fetched({}, {there[0]: ["a", "b"], there[1]: ["c"]})
    async with asyncio.timeout(10):
        assert await subscriber.get_msg(consumer) == ()
        assert await subscriber.get_msg(consumer) == ("a", "b", "c")
    assert consumer.asked == [{"timeout_ms": 60_000, "max_records": 7}] * 2


def test_a_subscriber_that_takes_records_one_by_one_is_refused():
    with pytest.raises(TypeError):
        wait_for_records(KafkaBroker().subscriber("registry.households"))


# --- Ahead ------------------------------------------------------------------------------------------------------------

HOUSEHOLDS, PEOPLE = TopicPartition("registry.households", 0), TopicPartition("registry.participants", 3)


def record(place: TopicPartition, offset: int, value: bytes = b"as it came") -> Record:
    return Record(place.topic, place.partition, offset, 0, None, value, ())


def read(record: Record) -> Record:
    return record._replace(value=b"read")


def fetches_of(place: TopicPartition, *counts: int) -> list[dict[TopicPartition, list[Record]]]:
    """So many records in each fetch, one after the other."""
    offsets = itertools.count()
    return [{place: [record(place, next(offsets)) for _ in range(count)]} for count in counts]


async def test_what_was_fetched_ahead_is_read_and_handed_on_once_before_the_next_fetch():
    subscriber = KafkaBroker(apply_types=False).subscriber("registry.households", batch=True)
    ahead = wait_for_records(subscriber)
    consumer = Fetched(*fetches_of(HOUSEHOLDS, 64, 64, 12, 1))
    await ahead.fetch(consumer, 140, read)
    assert await subscriber.get_msg(consumer) == tuple(record(HOUSEHOLDS, n, b"read") for n in range(140))
    assert await subscriber.get_msg(consumer) == (record(HOUSEHOLDS, 140),)
    # No more than was asked for in all, and without waiting for what is not there yet.
    assert consumer.asked[:3] == [{"max_records": 64}, {"max_records": 64}, {"max_records": 12}]


async def test_to_fetch_ahead_ends_where_nothing_more_has_come():
    ahead, consumer = Ahead(), Fetched(*fetches_of(HOUSEHOLDS, 64, 5))
    await ahead.fetch(consumer, 2_000, read)
    assert len(ahead.taken()) == 69
    assert len(consumer.asked) == 3


async def test_others_get_their_turn_while_a_batch_is_read_ahead():
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.ensure_future(count_turns())
    await Ahead().fetch(Fetched(*fetches_of(HOUSEHOLDS, *[64] * 31)), 2_000, read)
    counting.cancel()
    assert turns >= 20


async def test_of_a_partition_that_is_read_from_another_place_now_nothing_is_handed_on():
    ahead = Ahead()
    await ahead.fetch(Fetched({HOUSEHOLDS: [record(HOUSEHOLDS, 7)], PEOPLE: [record(PEOPLE, 1)]}), 500, read)
    ahead.drop(*HOUSEHOLDS)
    assert ahead.taken() == (record(PEOPLE, 1, b"read"),)


async def test_a_fetch_that_fails_raises_when_its_turn_comes_and_not_before():
    subscriber = KafkaBroker(apply_types=False).subscriber("registry.households", batch=True)
    ahead = wait_for_records(subscriber)
    before, after = fetches_of(HOUSEHOLDS, 2, 1)
    consumer = Fetched(before, ValueError("planted"), after)
    await ahead.fetch(consumer, 500, read)
    assert await subscriber.get_msg(consumer) == tuple(record(HOUSEHOLDS, n, b"read") for n in range(2))
    await ahead.fetch(consumer, 500, read)
    with pytest.raises(ValueError, match="planted"):
        await subscriber.get_msg(consumer)
    assert await subscriber.get_msg(consumer) == (record(HOUSEHOLDS, 2),)


async def test_a_rebalance_holds_up_no_batch():
    ahead, consumer = Ahead(), Fetched()
    consumer._subscription.reassignment_in_progress = True
    await ahead.fetch(consumer, 500, read)
    await ahead.fetch(None, 500, read)  # What has been stopped meanwhile has none.
    assert (ahead.taken(), consumer.asked) == ((), [])


async def test_a_rebalance_that_begins_meanwhile_holds_up_no_batch():
    ahead, consumer = Ahead(), Fetched(*fetches_of(HOUSEHOLDS, 3, 3))

    def read_as_a_rebalance_begins(each: Record) -> Record:
        consumer._subscription.reassignment_in_progress = True
        return read(each)

    await ahead.fetch(consumer, 500, read_as_a_rebalance_begins)
    assert (len(ahead.taken()), len(consumer.asked)) == (3, 1)
