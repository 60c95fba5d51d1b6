"""Jobs: long work of a worker in small transactions, such as applying a list of half a million people."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from services.kit.backoff import Backoff
from services.kit.crash import CrashPoint, crash_point
from services.kit.outages import OUTAGES
from services.kit.settings import Settings
from services.kit.transaction import Transaction, Workplace, acting_as

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobContext:
    """What a job works with. It runs until `stopping` is set, and resumes from what it committed."""

    workplace: Workplace
    settings: Settings
    stopping: asyncio.Event
    crash_point: Callable[[CrashPoint], None] = crash_point

    def transaction(self, actor: str, *, correlation_id: str | None = None) -> AbstractAsyncContextManager[Transaction]:
        """One step: commits at the end of the block, rolls back if it raises."""
        return self.workplace.transaction(acting_as(actor), correlation_id=correlation_id)


async def run_job(job: Callable[[JobContext], object], context: JobContext) -> None:
    """Runs a job until the process stops; after an outage it is started again and resumes."""
    backoff = Backoff()
    while not context.stopping.is_set():
        try:
            await job(context)  # type: ignore[misc]
        except OUTAGES as outage:
            _log.warning("job waits for an outage to end", job=job.__name__, error=str(outage))
            await backoff.wait(context.stopping)
