"""Reading from Kafka: what aiokafka and FastStream would do otherwise."""

import asyncio

import pytest
from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker

from services.kit.fetching import wait_for_records


class Fetched:
    """Stands for a consumer that brings these records, fetch by fetch."""

    def __init__(self, *fetches):
        self.fetches = list(fetches)
        self.asked = []

    async def getmany(self, **how):
        self.asked.append(how)
        return self.fetches.pop(0)


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
