"""`python -m benchmarks`: what we do a second, as ratios against the raw limit and against what one would pick instead.

Ratios are taken within one run and hold from machine to machine; figures do not. `--help` says what there is.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import again, latency, projecting, relaying
from benchmarks.apart import FACTS, WAYS, Order, as_our_processes, rate_of
from benchmarks.machine import described
from benchmarks.world import ends, list_households, multiply, rank_anew, world
from services.registry.__main__ import SERVICE as REGISTRY
from services.training.__main__ import SERVICE as TRAINING

GROWING = (100_000, 1_000_000, 5_000_000)
ONCE_MORE = 1_000_000  # of a rebuild
LISTED = 20_000  # by the registry's own decisions; larger logs are copies of these
USUAL_EVENTS = 3_000  # of which the usual way is given fewer: it takes minutes for what the others do in seconds


@dataclass(frozen=True, slots=True)
class Result:
    """A figure with what it is held against. `floor` and `goal` are of the figure, and None where it is one to know."""

    name: str
    figure: float
    unit: str
    floor: float | None = None
    goal: float | None = None
    smaller_is_better: bool = False

    @property
    def verdict(self) -> str:
        if self.floor is None or self.goal is None:
            return ""
        sign = -1 if self.smaller_is_better else 1
        if sign * self.figure >= sign * self.goal:
            return "goal"
        return "floor" if sign * self.figure >= sign * self.floor else "BELOW THE FLOOR"


Bench = Callable[["Scale"], Coroutine[Any, Any, list[Result]]]


@dataclass(frozen=True, slots=True)
class Scale:
    events: int
    runs: int
    largest: int
    say: Callable[[str], None]


async def throughput(scale: Scale) -> list[Result]:
    """Relay and projection against their rivals, of `events` households with 4-5 people each, and of their ranks."""
    rates: dict[str, list[float]] = {}
    for run in range(scale.runs):
        for name, rate in (await _one_run(scale, run)).items():
            rates.setdefault(name, []).append(rate)

    def ratio(ours: str, theirs: str) -> float:
        return median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True))

    results = [Result(name, median(each), "events/s") for name, each in rates.items()]
    results.append(Result("relay against raw send", ratio("relay", "raw send"), "x", floor=0.6, goal=1.0))
    for what in FACTS:
        ours = f"projection of {what}"
        results += [
            Result(f"{ours} against raw", ratio(ours, f"raw {ours}"), "x", floor=0.4, goal=0.6),
            Result(f"{ours} against the usual way", ratio(ours, f"usual {ours}"), "x", floor=50, goal=100),
            Result(f"{ours} against a fair rival", ratio(ours, f"rival {ours}"), "x"),
        ]
    return [replace(result, name=f"{result.name}, {scale.events:,} events") for result in results]


async def _one_run(scale: Scale, run: int) -> dict[str, float]:
    """Events a second of each way, all over the same records, on servers of their own."""
    rates: dict[str, float] = {}
    async with world() as place, place.site(REGISTRY) as registry, place.site(TRAINING) as training:

        async def measure(way: str, dsn: str, fact: str, starts: dict[int, int], count: int) -> float:
            scale.say(f"run {run + 1} of {scale.runs}: {way} of {count:,} {fact}")
            return await rate_of(Order(way, dsn, place.kafka, starts, count, fact))

        scale.say(f"run {run + 1} of {scale.runs}: listing")
        await list_households(registry, min(scale.events, LISTED))
        await multiply(registry, scale.events)
        for fact in FACTS:
            starts = await ends(place.kafka)
            if fact == "ranks":
                scale.say(f"run {run + 1} of {scale.runs}: ranking anew")
                await rank_anew(registry, scale.events)
            relayed = await measure("relay", registry.dsn, fact, starts, scale.events)
            if fact == "households":
                rates["relay"] = relayed
                rates["raw send"] = await measure("raw send", registry.dsn, fact, starts, scale.events)
            for way in (way for way in WAYS if way.endswith("projection")):
                count = min(scale.events, USUAL_EVENTS) if way.startswith("usual") else scale.events
                rates[f"{way} of {fact}"] = await measure(way, training.dsn, fact, starts, count)
    return rates


async def growth(scale: Scale) -> list[Result]:
    """What an event takes when the log is larger: one run each, up to `largest` households."""
    sizes = [size for size in GROWING if size <= scale.largest]
    taken: dict[str, list[float]] = {"relay": [], "projection": []}
    results = []
    for size in sizes:
        async with world() as place, place.site(REGISTRY) as registry, place.site(TRAINING) as training:
            scale.say(f"listing {size:,}")
            await list_households(registry, min(size, LISTED))
            await multiply(registry, size)
            starts = await ends(place.kafka)
            scale.say(f"relay of {size:,}")
            taken["relay"].append(await relaying.relay_all(registry, place.kafka) / size)
            scale.say(f"projection of {size:,}")
            seconds = await projecting.by_consumer(training, place.kafka, starts, size, projecting.LISTED)
            taken["projection"].append(seconds / size)
        results += [Result(f"{name} of {size:,}", 1e6 * each[-1], "us an event") for name, each in taken.items()]
    for name, each in taken.items():
        what = f"{name}: an event at {sizes[-1]:,} against {sizes[0]:,}"
        results.append(Result(what, each[-1] / each[0], "x", floor=1.3, goal=1.1, smaller_is_better=True))
    return results


async def folding_again(scale: Scale) -> list[Result]:
    """A projection of households made anew while nothing differs, and while every row does: of `events`, and once of up
    to a million, where the processes that it starts are worth their start."""
    results = []
    for size in sorted({scale.events, min(ONCE_MORE, scale.largest)}):
        runs = scale.runs if size == scale.events else 1
        async with world() as place, place.site(REGISTRY) as registry, place.site(TRAINING) as training:
            scale.say(f"listing, sending and projecting {size:,} that are to be rebuilt")
            await list_households(registry, min(size, LISTED))
            await multiply(registry, size)
            starts = await ends(place.kafka)
            await relaying.relay_all(registry, place.kafka)
            await projecting.by_consumer(training, place.kafka, starts, size, projecting.LISTED)
            for what, spoilt in (("nothing differs", False), ("every row differs", True)):
                scale.say(f"rebuild of {size:,}: {what}")
                taken = [await again.rebuild_projection(training, place.kafka, spoilt=spoilt) for _ in range(runs)]
                rate = size / median(taken)
                results.append(Result(f"rebuild of {size:,}, {what}", rate, "events/s", floor=25_000, goal=60_000))
    return results


async def verifying(scale: Scale) -> list[Result]:
    """An archive of made-up events by its own verifier, on two processes."""
    events = max(scale.events, 100_000)
    scale.say(f"an archive of {events:,} events is made and verified")
    rates = [events / await again.verify_archive(events) for _ in range(scale.runs)]
    return [Result(f"verify an archive of {events:,} events", median(rates), "events/s", floor=80_000, goal=150_000)]


async def commands_over_http(scale: Scale) -> list[Result]:
    """200 commands a second over HTTP with every process running: from the answer until training's projection."""
    scale.say("200 commands a second over HTTP")
    measured = await latency.over_http(commands=2_000, rate=200)
    return _latencies("over HTTP at 200/s", measured, floor=0.100, goal=0.040)


async def transactions_of_the_kit(scale: Scale) -> list[Result]:
    """1,000 transactions a second by the kit, relay and consumer beside them: from commit until the projection."""
    scale.say("1,000 transactions a second by the kit")
    async with world() as place, place.site(REGISTRY) as registry, place.site(TRAINING) as training:
        measured = await latency.of_the_kit(registry, training, place.kafka, transactions=5_000, rate=1_000)
    return _latencies("by the kit at 1,000/s", measured)


def _latencies(
    where: str, measured: latency.Latencies, floor: float | None = None, goal: float | None = None
) -> list[Result]:
    return [
        Result(f"commit to projection {where}: p50", measured.percentile(50), "s"),
        Result(f"commit to projection {where}: p99", measured.percentile(99), "s", floor, goal, smaller_is_better=True),
        Result(f"really reached {where}", measured.commands_a_second, "commands/s"),
    ]


BENCHES: dict[str, Bench] = {
    "throughput": throughput,
    "http": commands_over_http,
    "kit": transactions_of_the_kit,
    "rebuild": folding_again,
    "verify": verifying,
    "growth": growth,
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(BENCHES)}. Default: all.")] = None,
    events: Annotated[int, typer.Option(help="Households of a run.")] = 100_000,
    runs: Annotated[int, typer.Option(help="Runs of each; medians are shown.")] = 5,
    largest: Annotated[
        int, typer.Option(help="Where `growth` ends; 5,000,000 takes half an hour and 20 GB.")
    ] = 5_000_000,
) -> None:
    """Measures against the raw limit, and against what a user would pick instead. Figures also go to
    .local/bench.json. Starts a PostgreSQL and a Kafka of its own; nothing else should run beside it."""
    chosen = names or list(BENCHES)
    if unknown := [name for name in chosen if name not in BENCHES]:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(BENCHES)}")
    as_our_processes()
    console = Console()
    machine = described()
    with console.status("starting servers") as status:
        scale = Scale(events, runs, largest, status.update)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results: list[Result] = []
            for name in chosen:
                results += runner.run(BENCHES[name](scale))
                _keep(machine, results)  # The whole takes an hour: what was measured stays measured.
    _show(console, machine, results)


def _show(console: Console, machine: dict[str, str | int], results: list[Result]) -> None:
    table = Table("what", "figure", "floor", "goal", "reached", title=", ".join(f"{k} {v}" for k, v in machine.items()))
    for result in results:
        known = [f"{bound:g}" if bound is not None else "" for bound in (result.floor, result.goal)]
        table.add_row(result.name, f"{_rounded(result.figure)} {result.unit}", *known, result.verdict)
    console.print(table)


def _rounded(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}" if figure >= 1 else f"{figure:.3f}"


def _keep(machine: dict[str, str | int], results: list[Result]) -> None:
    file = Path(".local/bench.json")
    file.parent.mkdir(exist_ok=True)
    figures = [
        {name: getattr(result, name) for name in ("name", "figure", "unit", "floor", "goal", "verdict")}
        for result in results
    ]
    file.write_text(json.dumps({"machine": machine, "results": figures}, indent=2))


if __name__ == "__main__":
    typer.run(main)
