"""The programme's clock, steered: it stops at whatever is due, and moves on only when everything is dealt with."""

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import httpx

from deploy.demo.failures import DemoFailed
from deploy.demo.stack import RunningStack

WITA = timezone(timedelta(hours=8), "WITA")
"""Asia/Makassar, the time of Nusa Tenggara: UTC+8 all year."""

PATIENCE_SECONDS = 60.0
_FIRST_POLL_SECONDS = 0.02
_LAST_POLL_SECONDS = 0.25
"""Asking costs a worker time that it needs for what it is asked about: so it is asked less and less often."""


def at(day: date, hour: int, minute: int = 0) -> datetime:
    """A time of day in WITA."""
    return datetime.combine(day, time_of_day(hour, minute), tzinfo=WITA)


class Clock:
    """Moves the clock in the file that every service reads."""

    def __init__(self, stack: RunningStack, http: httpx.AsyncClient) -> None:
        self._stack, self._http = stack, http
        self.by_the_week: frozenset[str] = frozenset()
        """Services in which things fall due minute by minute: what they have to do is done once a week."""

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self._stack.clock_file.read_text().strip()).astimezone(WITA)

    async def move_to(self, instant: datetime) -> None:
        """Lets the time until `instant` pass, and everything that falls due on the way happen; it never goes back."""
        due = await self.settle()
        while (stop := self._stop(due, instant)) is not None:
            self._write(stop)
            due = await self.settle()
        if instant > self.now:
            self._write(instant)

    def _stop(self, due: Mapping[str, datetime], instant: datetime) -> datetime | None:
        """Where to stop on the way to an instant, if something is due before."""
        stops = [
            min(_end_of_week(when), instant) if service in self.by_the_week else when
            for service, when in due.items()
            if when <= instant
        ]
        return min(stops, default=None)

    async def settle(self) -> dict[str, datetime]:
        """Waits until every event has been sent and read and nothing is due now; gives what is due next, by service.

        Facts flow one way, in the order in which the stack names its services: who comes before is quiet and stays so,
        since only the clock and this script could wake it. So each is asked once it has heard all there is to hear.
        """
        due = {}
        for service in self._stack.services:
            deadline, before, pause = time.monotonic() + PATIENCE_SECONDS, None, _FIRST_POLL_SECONDS
            while reason := self._unsettled(state := await self._progress_of(service)):
                if reason != before:  # It gets on, however long it takes.
                    deadline, before = time.monotonic() + PATIENCE_SECONDS, reason
                if time.monotonic() > deadline:
                    raise DemoFailed(_stuck(self._stack, service, reason))
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, _LAST_POLL_SECONDS)
            if state["next_due"]:
                due[service] = _instant(state["next_due"])
        return due

    def _unsettled(self, state: Mapping[str, Any]) -> str | None:
        """What a worker still has to deal with."""
        if state.get("stopped"):
            raise DemoFailed(
                f"The worker of {state['service']} stands still: {state['stopped']}. "
                f"Look in {self._stack.log_of(state['service'] + '-worker')}."
            )
        if not state.get("ready"):
            return "it is not ready"
        if state["outbox"]:
            return f"{state['outbox']} events are not sent"
        if state["lag"] is None or state["lag"] > 0:
            return f"{state['lag']} records are not read"
        if state["next_due"] and _instant(state["next_due"]) <= self.now:
            return f"something is due since {state['next_due']}"
        return None

    async def _progress_of(self, service: str) -> Mapping[str, Any]:
        address = self._stack.services[service].worker
        try:
            answer = await self._http.get(f"{address}/health/progress")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DemoFailed(
                f"The worker of {service} at {address} does not answer ({type(error).__name__}). "
                f"Look in {self._stack.log_of(service + '-worker')}, then `make up` starts it again."
            ) from error
        state: Mapping[str, Any] = answer.json()
        return state

    def _write(self, instant: datetime) -> None:
        """Replaces the file whole. Its own time is the instant, by which a reader sees that it has changed."""
        instant = instant.astimezone(UTC)
        file = self._stack.clock_file
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix="clock.")
        with os.fdopen(handle, "w") as text:
            text.write(instant.isoformat() + "\n")
        nanoseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
        os.utime(draft, ns=(nanoseconds, nanoseconds))
        Path(draft).chmod(0o644)
        os.replace(draft, file)


def _end_of_week(instant: datetime) -> datetime:
    """The next Sunday's midnight in WITA."""
    day = instant.astimezone(WITA).date()
    return at(day + timedelta(days=7 - day.weekday()), 0)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _stuck(stack: RunningStack, service: str, reason: str) -> str:
    return (
        f"For {PATIENCE_SECONDS:.0f} s the services have not got on with what is to be dealt with. {service}: {reason} "
        f"(log: {stack.log_of(service + '-worker')})."
    )
