"""Timers: what is due by the programme's clock becomes a decision. Many workers may run one timer: rows are skipped."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from services.kit import metrics
from services.kit.crash import crash_point
from services.kit.parts import Failing, keep_trying
from services.kit.rows import Connection
from services.kit.transaction import Transaction, Workplace, acting_as

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


async def run_timer(
    timer: Timer, workplace: Workplace, stopping: asyncio.Event, failing: Failing | None = None
) -> None:
    """Runs one timer until the process stops. An outage is waited out; anything else is an alarm, and tried again."""

    async def step() -> float:
        return 0 if await run_once(timer, workplace) else timer.seconds

    await keep_trying(timer.name, step, stopping, {} if failing is None else failing)


async def run_once(timer: Timer, workplace: Workplace) -> int:
    """One passage in one transaction. Returns how many rows were decided on."""
    async with workplace.transaction(acting_as(f"timer:{timer.name}")) as tx:
        done = await timer.work(tx)
        crash_point("timer-before-commit")
    metrics.timer_runs.labels(timer.name, "done").inc()
    metrics.timer_rows.labels(timer.name).inc(done)
    return done
