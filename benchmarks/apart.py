"""One way at a time, in a process of its own, as it runs where it is deployed.

The memory of a process that has listed a hundred thousand households is full of holes, in which everything takes up to
a fifth longer: ours, the rivals and the raw limit alike.
"""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
import uvloop
from pydantic import TypeAdapter
from pydantic_core import to_json

from benchmarks import projecting, relaying
from benchmarks.world import Site, site_of
from services.kit.database import open_pool
from services.kit.garbage import look_less_often
from services.registry.__main__ import SERVICE as REGISTRY
from services.training.__main__ import SERVICE as TRAINING

FACTS = {"households": projecting.LISTED, "ranks": projecting.RANKED}


@dataclass(frozen=True)
class Order:
    """What is to be measured, of `events` records from `starts` (partition -> offset) on."""

    way: str  # one of `WAYS`
    dsn: str  # the registry's database for a relay, else training's
    kafka: str
    starts: Mapping[int, int]
    events: int
    fact: str  # one of `FACTS`


def _projection(way: Callable[..., Awaitable[float]]) -> Callable[[Site, Order], Awaitable[float]]:
    return lambda site, order: way(site, order.kafka, order.starts, order.events, FACTS[order.fact])


WAYS: dict[str, Callable[[Site, Order], Awaitable[float]]] = {
    "relay": lambda site, order: relaying.relay_all(site, order.kafka),
    "raw send": lambda site, order: relaying.send_raw(order.kafka, order.starts, order.events),
    "projection": _projection(projecting.by_consumer),
    "raw projection": _projection(projecting.raw),
    "rival projection": _projection(projecting.rival),
    "usual projection": _projection(projecting.usual),
}


async def rate_of(order: Order) -> float:
    """Events a second. Raises RuntimeError with what the process said, if it fails."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.apart", to_json(order).decode(), stdout=PIPE, stderr=PIPE
    )
    said, complaint = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{order.way} of {order.fact}: {complaint.decode()[-2_000:]}")
    return order.events / float(said.split()[-1])


def as_our_processes() -> None:
    """Looks for garbage as seldom as our processes do, and says nothing; the rivals have both, too, and uvloop."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.WARNING)
    look_less_often()


async def _measured(order: Order) -> float:
    pool = await open_pool(order.dsn)
    service = REGISTRY if order.way in ("relay", "raw send") else TRAINING
    seconds = await WAYS[order.way](site_of(service, order.dsn, pool), order)
    await pool.close()
    return seconds


def main() -> None:
    order = TypeAdapter(Order).validate_json(sys.argv[1])
    as_our_processes()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(f"{runner.run(_measured(order))}\n")


if __name__ == "__main__":
    main()
