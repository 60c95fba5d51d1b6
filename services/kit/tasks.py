"""Waiting in a process that may be asked to stop at any time."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_of(work: Coroutine[Any, Any, Any], stopping: asyncio.Event, *, seconds: float | None = None) -> bool:
    """Runs `work` until it ends, the process stops, or the time is over. True if the work ended; its error is raised.

    Work that did not end is cancelled and awaited.
    """
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({task, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        for waiting in (task, stop):
            if not waiting.done():
                waiting.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)


async def sleep_unless(stopping: asyncio.Event, seconds: float) -> None:
    """Sleeps that long, or until the process is asked to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
