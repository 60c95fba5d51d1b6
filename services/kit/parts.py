"""The parts of a worker that may fail alone: a broken timer or job must not hold up the relay and the consumer."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.kit import metrics
from services.kit.backoff import Backoff
from services.kit.causes import told
from services.kit.outages import OUTAGES
from services.kit.tasks import sleep_unless

_log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

Failing = dict[str, str]
"""The parts that fail, and why: what the worker's health shows as stopped."""


async def keep_trying(
    name: str, step: Callable[[], Awaitable[float]], stopping: asyncio.Event, failing: Failing
) -> None:
    """Runs `step` again and again, after the seconds that it returns, until the process stops.

    An outage is waited out. Any other error is an alarm: it is logged, shown in `failing` and in the metric
    `entas_timer_failing` for as long as it lasts, and the step is tried again after ever longer pauses.
    """
    of_outages, of_defects = Backoff(), Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    alarm = metrics.timer_failing.labels(name)
    alarm.set(0)
    while not stopping.is_set():
        try:
            seconds = await step()
        except OUTAGES as outage:
            metrics.timer_runs.labels(name, "outage").inc()
            _log.warning("a part waits for an outage to end", part=name, error=told(outage))
            await of_outages.wait(stopping)
        except Exception as error:  # noqa: BLE001 (whatever it is, the other parts go on)
            metrics.timer_runs.labels(name, "failed").inc()
            alarm.set(1)
            failing[name] = told(error)
            _log.error("a part fails and is tried again", part=name, error=told(error), exc_info=error)
            await of_defects.wait(stopping)
        else:
            of_outages.reset()
            of_defects.reset()
            alarm.set(0)
            failing.pop(name, None)
            if seconds:
                await sleep_unless(stopping, seconds)
