"""A service's log as it stands in Kafka: its partitions merged by sequence, with one fetch of each in memory."""

import heapq
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.envelope import Unreadable, read_headers
from contracts.topics import checkpoints_of, published_by
from services.audit.sources import BATCH, Batch, Broken, Found, Noted

_WAIT_MS = 1_000
_FETCHED = 2_000


class KafkaSource:
    def __init__(self, bootstrap: str) -> None:
        self.name = f"kafka {bootstrap}"
        self._bootstrap = bootstrap

    async def notes(self, service: str) -> AsyncIterator[Noted]:
        place = TopicPartition(checkpoints_of(service).name, 0)
        async with _Reading(self._bootstrap, [place]) as reading:
            while record := await reading.next(place):
                text = (record.value or b"").decode("utf-8", "replace")
                where = f"{place.topic}/0"
                yield Noted(text, f"{where} offset {record.offset}", place=where, offset=record.offset)

    async def entries(self, service: str, first: int, size: int) -> AsyncIterator[Batch]:
        """All that stands in the service's topics now: what is merged cannot begin in the middle."""
        places = [TopicPartition(t.name, n) for t in published_by(service) for n in range(t.partitions)]
        async with _Reading(self._bootstrap, places) as reading:
            heads: list[tuple[int, int, Found | Broken]] = []
            for number, place in enumerate(places):
                await _push(heads, reading, number, place)
            batch: list[Found | Broken] = []
            while heads:
                # An honest partition is in order but for whole copies; those, being small, come at once.
                _, number, entry = heapq.heappop(heads)
                batch.append(entry)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
                await _push(heads, reading, number, places[number])
            yield batch

    async def leaves(self, service: str, first: int, count: int) -> bytes:
        return b""


async def _push(heads: list[Any], reading: "_Reading", number: int, place: TopicPartition) -> None:
    if record := await reading.next(place):
        entry = _entry(record)
        sequence = entry.position.sequence if isinstance(entry, Found) else -1
        heapq.heappush(heads, (sequence, number, entry))


def _entry(record: Any) -> Found | Broken:
    try:
        envelope, position = read_headers(record.topic, record.headers)
    except Unreadable as error:
        return Broken(record.topic, record.partition, record.offset, str(error))
    if record.value is None or record.key != envelope.key.encode():
        return Broken(record.topic, record.partition, record.offset, "the record has no value, or another key")
    return Found(envelope, position, record.partition, record.value, record.offset)


class _Reading:
    """Reads partitions from their beginning to where they ended when reading began, each at its own pace."""

    def __init__(self, bootstrap: str, places: list[TopicPartition]) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap.split(","),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._places = places
        self._waiting: dict[TopicPartition, deque[Any]] = {place: deque() for place in places}
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> "_Reading":
        try:
            await self._consumer.start()
            self._consumer.assign(self._places)
            self._ends = await self._consumer.end_offsets(self._places)
            await self._consumer.seek_to_beginning(*self._places)
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def next(self, place: TopicPartition) -> Any:
        """The partition's next record; None at its end."""
        waiting = self._waiting[place]
        while not waiting and await self._consumer.position(place) < self._ends[place]:
            fetched = await self._consumer.getmany(place, timeout_ms=_WAIT_MS, max_records=_FETCHED)
            waiting.extend(record for record in fetched.get(place, []) if record.offset < self._ends[place])
        return waiting.popleft() if waiting else None
