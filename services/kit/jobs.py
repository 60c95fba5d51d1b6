"""Jobs: long work of a worker in small transactions, such as applying a list of half a million people."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from services.kit.crash import CrashPoint, crash_point
from services.kit.parts import Failing, keep_trying
from services.kit.settings import Settings
from services.kit.transaction import Transaction, Workplace, acting_as

PAUSE_SECONDS = 1.0  # before a job that ended by itself is run again


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


async def run_job(
    job: Callable[[JobContext], Awaitable[None]], context: JobContext, failing: Failing | None = None
) -> None:
    """Runs a job until the process stops. After an outage, or a failure, which is an alarm, it is run again and resumes
    from what it committed."""

    async def step() -> float:
        await job(context)
        return PAUSE_SECONDS

    await keep_trying(job.__name__, step, context.stopping, {} if failing is None else failing)
