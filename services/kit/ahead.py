"""How a consumer waits for records, where FastStream would sleep, and fetches the next while it writes these."""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from faststream.kafka.subscriber.usecase import BatchSubscriber

from services.kit.fetching import READ_AT_ONCE
from services.kit.positions import Record


class Ahead:
    """The fetch after this one, made while the database writes what this one brought, and read as far as can be read
    before its turn."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._error: Exception | None = None

    async def fetch(
        self, consumer: AIOKafkaConsumer | None, max_records: int, read: Callable[[Record], Record]
    ) -> None:
        """Fetches what has come by now and reads it, giving way to whoever has heard of the database. Never raises."""
        if consumer is None or self._error is not None:
            return
        while left := max_records - len(self._records):
            if consumer._subscription.reassignment_in_progress:
                # `getmany` would wait for its end, and to break that off would upset aiokafka's (0.14) counts.
                return
            try:
                found = await consumer.getmany(max_records=min(left, READ_AT_ONCE))
            except Exception as error:  # noqa: BLE001 (`taken` raises it)
                self._error = error
                return
            if not found:
                return
            self._records += map(read, chain(*found.values()))
            await asyncio.sleep(0)

    def taken(self) -> tuple[Record, ...]:
        """What was fetched; it is the caller's then. Raises what the fetch has raised, once all before it was taken."""
        if self._records:
            records, self._records = tuple(self._records), []
            return records
        error, self._error = self._error, None
        if error is not None:
            raise error
        return ()

    def drop(self, topic: str, partition: int) -> None:
        """Leaves out a partition that is read from another place now."""
        self._records = [each for each in self._records if (each.topic, each.partition) != (topic, partition)]


class _PromptSubscriber(BatchSubscriber):
    """Waits for records, where FastStream (0.7) sleeps again after each wait that brought none: that held up a fact by
    up to another wait, and to hold it up but little, every idle worker had to wake fifty times a second."""

    ahead: Ahead

    async def get_msg(self, consumer: AIOKafkaConsumer) -> tuple[Record, ...]:
        if records := self.ahead.taken():
            return records
        found = await consumer.getmany(timeout_ms=self.batch_timeout_ms, max_records=self.max_records)
        return tuple(chain(*found.values()))


def wait_for_records(subscriber: Any) -> Ahead:
    """Makes a subscriber of batches hand on what comes as it comes, beginning with what was fetched ahead.

    Raises `TypeError` if it is of another kind.
    """
    # FastStream chooses the class itself. This one adds behaviour alone.
    subscriber.__class__ = _PromptSubscriber
    subscriber.ahead = Ahead()
    return cast(Ahead, subscriber.ahead)
