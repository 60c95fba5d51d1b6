"""Timers: what is due by the programme's clock becomes a decision. Many workers may run one timer: rows are skipped."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.kit import metrics
from services.kit.backoff import Backoff
from services.kit.crash import crash_point
from services.kit.outages import OUTAGES
from services.kit.rows import Connection
from services.kit.tasks import sleep_unless
from services.kit.transaction import Transaction, Workplace, acting_as

_log = structlog.get_logger(__name__)

Work = Callable[[Transaction], Awaitable[int]]
NextDue = Callable[[Connection], Awaitable[datetime | None]]


@dataclass(frozen=True, slots=True)
class Timer:
    """`work` decides on a bounded number of due rows and says how many; while it finds any it is called again."""

    work: Work
    seconds: float
    next_due: NextDue

    @property
    def name(self) -> str:
        return self.work.__name__


class Timers:
    """The timers of a service."""

    def __init__(self) -> None:
        self.all: list[Timer] = []

    def every(self, *, seconds: float = 1.0, next_due: NextDue) -> Callable[[Work], Work]:
        """Registers a timer. `next_due` is the earliest instant at which it will have something to do, or None."""

        def register(work: Work) -> Work:
            self.all.append(Timer(work, seconds, next_due))
            return work

        return register


async def run_timer(timer: Timer, workplace: Workplace, stopping: asyncio.Event) -> None:
    """Runs one timer until the process stops. An outage is waited out; anything else stops the timer with an alarm."""
    backoff = Backoff()
    while not stopping.is_set():
        try:
            done = await run_once(timer, workplace)
            backoff.reset()
        except OUTAGES as outage:
            metrics.timer_runs.labels(timer.name, "outage").inc()
            _log.warning("timer waits for an outage to end", timer=timer.name, error=str(outage))
            await backoff.wait(stopping)
            continue
        if not done:
            await sleep_unless(stopping, timer.seconds)


async def run_once(timer: Timer, workplace: Workplace) -> int:
    """One passage in one transaction. Returns how many rows were decided on."""
    async with workplace.transaction(acting_as(f"timer:{timer.name}")) as tx:
        done = await timer.work(tx)
        crash_point("timer-before-commit")
    metrics.timer_runs.labels(timer.name, "done").inc()
    metrics.timer_rows.labels(timer.name).inc(done)
    return done
