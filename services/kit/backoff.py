"""How long to wait before the next try: longer each time, never in step with others, never for ever."""

import asyncio
import random

from services.kit.tasks import sleep_unless


class Backoff:
    """Doubles from `first_seconds` to `longest_seconds`, with up to half of it by chance."""

    def __init__(self, first_seconds: float = 0.05, longest_seconds: float = 2.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._next = first_seconds

    def reset(self) -> None:
        self._next = self._first

    def seconds(self) -> float:
        """The next wait, and doubles it."""
        wait, self._next = self._next, min(self._next * 2, self._longest)
        return wait * (0.5 + random.random() / 2)

    async def wait(self, stopping: asyncio.Event) -> None:
        """Waits, or returns at once when the process is asked to stop."""
        await sleep_unless(stopping, self.seconds())
