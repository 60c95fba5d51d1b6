"""How Kafka is read: what aiokafka would do otherwise, and a reader for commands.

One record that aiokafka (0.14) cannot decode must not hold up all that a member reads. Names of headers are UTF-8 by
the protocol, but no broker looks: whoever writes bytes by hand can publish others. It then raises UnicodeDecodeError
at each fetch, for all partitions of the consumer, and has no hook for that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher

from contracts.envelope import new_tuple
from services.kit.positions import Record

UNREADABLE = (("unreadable", b"the name of a header is not UTF-8"),)
"""The headers of the record that stands for one that cannot be decoded."""


class _DecodablePartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Gives a record without value in the place of one that cannot be decoded, and of the rest of its record batch:
    where that rest begins, only the decoder could say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._records_iterator: Iterator[Record] = self._decodable(self._records_iterator)

    def __iter__(self) -> Iterator[Record]:
        return self._records_iterator

    def _decodable(self, records: Iterator[Record]) -> Iterator[Record]:
        try:
            yield from records
        except UnicodeDecodeError:
            offset: int = self.next_fetch_offset  # type: ignore[has-type]
            # What follows is fetched again, from the offset after this one.
            self.next_fetch_offset = offset + 1
            topic, partition = self._tp
            yield Record(topic, partition, offset, -1, None, None, UNREADABLE)

    def _consumer_record(self, place: TopicPartition, record: Any) -> Record:
        topic, partition = place
        return new_tuple(
            Record,
            (topic, partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers), None),
        )


def read_what_cannot_be_decoded() -> None:
    """Makes every consumer of this process go on after such a record. May be called again."""
    fetcher.PartitionRecords = _DecodablePartitionRecords


READ_AT_ONCE = 64  # some two milliseconds; and what is read at once stays in the processor's cache until it is
FETCH_WAIT_MS = 20
RETRY_MS = 20  # what a client waits before it asks again, as it does for each topic that is new to it


@asynccontextmanager
async def reader(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside of any group, for commands that read topics themselves: assign, seek, and read."""
    read_what_cannot_be_decoded()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        isolation_level="read_committed",
        enable_auto_commit=False,
        # A fetch with nothing to bring would hold up whatever is asked after it, by default for half a second.
        fetch_max_wait_ms=FETCH_WAIT_MS,
        retry_backoff_ms=RETRY_MS,
        **options,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def fetched(
    consumer: AIOKafkaConsumer, max_records: int, wait_ms: int, read: Callable[[Record], Record]
) -> list[Record]:
    """What has come, or comes within that time, a few at a time, each read at once: it is still in the processor's
    cache then."""
    records: list[Record] = []
    while left := max_records - len(records):
        found = await consumer.getmany(timeout_ms=0 if records else wait_ms, max_records=min(left, READ_AT_ONCE))
        if not found:
            break
        records += map(read, chain(*found.values()))
    return records


Offsets = dict[TopicPartition, int]


async def extent(consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> tuple[Offsets, Offsets]:
    """Where these partitions begin and end now; at 0 where there is no such topic. To be asked before `read_from`."""
    asked = list(partitions)
    there = await consumer.topics()
    wanted = [partition for partition in asked if partition.topic in there]
    none = dict.fromkeys(asked, 0)
    if not wanted:
        return none, none
    # For each topic that is new to the client it asks again after a while: they are asked for side by side.
    topics = {partition.topic for partition in wanted}
    await asyncio.gather(*[consumer.end_offsets([p for p in wanted if p.topic == topic]) for topic in topics])
    return none | await consumer.beginning_offsets(wanted), none | await consumer.end_offsets(wanted)


def read_from(consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int]) -> None:
    """Assigns these partitions at these offsets, at once: between an assignment and a seek that is awaited, aiokafka
    (0.14) goes to where it would begin by itself, and may stay there."""
    consumer.assign(list(starts))
    for partition, offset in starts.items():
        consumer.seek(partition, offset)
