"""A long rebuild on several cores: processes that each fold some partitions into the same shadow tables.

A row belongs to one stream and a stream to one partition, so they touch no row in common. What each has folded, and how
far it came, commits together: whenever one is broken off, the next run goes on there.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic_core import to_json

FOLDED_HERE = 50_000
"""Records. So many are folded by one process sooner than others have begun."""

MOST_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to fold: some partitions of a topic, into the shadow tables of this database."""

    url: str
    bootstrap: str
    topic: str
    partitions: tuple[int, ...]


def processes_here() -> int:
    return min(MOST_PROCESSES, os.cpu_count() or 1)


def own_tables() -> str:
    """The module of this program's tables: `services.training.state` for `python -m services.training`."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "the program is not a module"
    return f"{spec.name.removesuffix('.__main__')}.state"


async def fold_in_processes(tables: str, order: Order, processes: int, count: Callable[[int], None]) -> str | None:
    """Has so many processes share what is to be folded into the `TABLES` of a module; tells `count` what they read.

    Returns what one of them failed of, once all have ended. They end with us, however we end.
    """
    shares = [share for n in range(processes) if (share := order.partitions[n::processes])]
    program = [sys.executable, "-m", "services.kit.rebuild_part", tables]
    children = [await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=PIPE) for _ in shares]
    try:
        orders = [replace(order, partitions=share) for share in shares]
        failures = await asyncio.gather(*[_followed(*each, count) for each in zip(children, orders, strict=True)])
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()
    return next((failure for failure in failures if failure), None)


async def _followed(child: Process, order: Order, count: Callable[[int], None]) -> str:
    """Gives a child its order, and hears of it until it ends. Returns what it says of its failure, if it has one."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdin.write(to_json(order) + b"\n")
    complaining = asyncio.ensure_future(child.stderr.read())
    async for line in child.stdout:
        if line.strip().isdigit():  # Else it is a line of its log.
            count(int(line))
    complaint = (await complaining).decode().strip()
    return (complaint or "a part of the rebuild failed") if await child.wait() else ""
