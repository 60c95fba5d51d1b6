"""A long rebuild on several cores: processes that each fold some partitions into the same shadow tables.

A row belongs to one stream and a stream to one partition, so they touch no row in common. What each has folded, and how
far it came, commits together: whenever one is broken off, the next run goes on there.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

FOLDED_HERE = 50_000
"""Records. So many are folded by one process sooner than others have begun, which takes two seconds."""

MOST_PROCESSES = 4

PART_COMMAND = "rebuild-part"


def processes_here() -> int:
    return min(MOST_PROCESSES, os.cpu_count() or 1)


def own_program() -> list[str]:
    """How this program was called: `python -m services.training`."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "the program is not a module"
    return [sys.executable, "-m", spec.name.removesuffix(".__main__")]


async def fold_in_processes(
    program: Sequence[str], topic: str, partitions: Sequence[int], processes: int, count: Callable[[int], None]
) -> str | None:
    """Has `program` fold these partitions, in so many processes; tells `count` of what they read.

    Returns what one of them failed of, once all have ended. They end with us, however we end.
    """
    shares = [share for n in range(processes) if (share := partitions[n::processes])]
    children = [
        await asyncio.create_subprocess_exec(
            *program, PART_COMMAND, topic, *map(str, share), stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        for share in shares
    ]
    try:
        failures = await asyncio.gather(*[_followed(child, count) for child in children])
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()
    return next((failure for failure in failures if failure), None)


async def _followed(child: Process, count: Callable[[int], None]) -> str:
    """Hears of a child until it ends. Gives what it says of its failure, nothing if it has none."""
    assert child.stdout is not None
    assert child.stderr is not None
    complaining = asyncio.ensure_future(child.stderr.read())
    async for line in child.stdout:
        if line.strip().isdigit():  # Else it is a line of its log.
            count(int(line))
    complaint = (await complaining).decode().strip()
    return (complaint or "a part of the rebuild failed") if await child.wait() else ""


async def while_led(work: Coroutine[Any, Any, None]) -> None:
    """Does the work of a part, and breaks it off when the process that leads the rebuild has ended."""
    leader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(leader), sys.stdin)
    working, leading = asyncio.ensure_future(work), asyncio.ensure_future(leader.read())
    leading.add_done_callback(lambda _: working.cancel())
    try:
        await working
    except asyncio.CancelledError:
        raise SystemExit("the process that led the rebuild has ended") from None
    finally:
        leading.cancel()
