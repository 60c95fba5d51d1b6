"""The story, act by act, and what is done with the figures at its end."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.demo import programme
from deploy.demo.civil_registry import hear_the_civil_registry
from deploy.demo.classes import fill_the_classes, plan_the_classes
from deploy.demo.clients import House, opened_house
from deploy.demo.clock import Clock
from deploy.demo.failures import DemoFailed
from deploy.demo.fieldwork import assign_visits, visit_and_verify
from deploy.demo.figures import ask_the_services, between_services, events_so_far, with_the_tally
from deploy.demo.managers import renew_verifications, train_the_managers
from deploy.demo.play import AUDITOR, Play
from deploy.demo.rules import adopt_rules
from deploy.demo.stack import RunningStack
from deploy.demo.summary import Summary, show
from deploy.demo.targeting import hand_over_the_list, hand_over_the_next_list, try_the_draft
from deploy.demo.telling import Telling
from deploy.demo.year import (
    first_visits,
    half_a_year_after,
    july,
    the_end_of_the_year,
    to_the_last_visits,
)

Act = Callable[[Play], Awaitable[None]]

STORY: tuple[tuple[str, Act], ...] = (
    ("1 May 2024: the rules", adopt_rules),
    ("A draft of the list", try_the_draft),
    ("The P3KE list", hand_over_the_list),
    ("May: who is visited first", assign_visits),
    ("June: visits and verification", visit_and_verify),
    ("15 June: the next list", hand_over_the_next_list),
    ("18 June: the programme", plan_the_classes),
    ("18 June: places, by priority", fill_the_classes),
    ("20 June: the civil registry speaks", hear_the_civil_registry),
    ("July: the classes", july),
    ("August: the first visits after", first_visits),
    ("October: verified anew", renew_verifications),
    ("14 October: cooperative managers", train_the_managers),
    ("To February 2025: half a year after", half_a_year_after),
    ("To August 2025: a year after", to_the_last_visits),
    ("To the end of 2025", the_end_of_the_year),
)


async def tell(stack: RunningStack, size: programme.Size, telling: Telling) -> bool:
    """Plays the story, or shows what an earlier run has left. False if the figures do not agree at the end."""
    async with opened_house(stack, f"demo-{size.name}") as house:
        found = await _what_is_there(house, Clock(stack, house.http))
        if found is None:
            return await _play(Play(stack, size, house, Clock(stack, house.http), telling))
        return await _show_what_is_there(stack, found, size, house, telling)


async def _play(play: Play) -> bool:
    before = await events_so_far(play.house)
    for title, act in STORY:
        with play.telling.stage(title) as stage:
            await act(play)
        after = await events_so_far(play.house)
        stage.events, before = after - before, after
    answers = await ask_the_services(play.house, play.stack)
    summary = Summary(
        size=play.size.name,
        answers=answers,
        comparisons=[*between_services(answers), *with_the_tally(answers, play.tally)],
        stages=play.telling.stages,
        peak_memory_megabytes=play.stack.peak_memory_megabytes(),
        tally=play.tally,
    )
    _write(play.stack.folder / "demo.json", summary.figures())
    _write(play.stack.folder / "figures.json", answers.published)
    show(play.telling.console, summary, play.stack)
    return not summary.disagreements


def _write(file: Path, figures: object) -> None:
    file.write_text(json.dumps(figures, indent=2, default=str, ensure_ascii=False) + "\n")


# --- A second run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What an earlier run has left."""

    size: str | None  # none: somebody else's list
    finished: bool
    says: str


async def _what_is_there(house: House, clock: Clock) -> Found | None:
    """None if nothing was ever handed over to this stack."""
    snapshots = await house.registry.items("/snapshots", who=AUDITOR)
    cohorts = await house.training.items("/cohorts", who=AUDITOR)
    if not snapshots and not cohorts:
        return None
    names = {snapshot["file_name"] for snapshot in snapshots}
    size = next((name for name in programme.SIZES if f"p3ke-{name}.csv" in names), None)
    planned = [*programme.SIZES[size].classes, *programme.SIZES[size].manager_classes] if size else []
    states = Counter(cohort["status"] for cohort in cohorts)
    lists = "1 list" if len(snapshots) == 1 else f"{len(snapshots)} lists"
    classes = "1 cohort" if len(cohorts) == 1 else f"{len(cohorts)} cohorts"
    by_state = f" ({', '.join(f'{times} {state}' for state, times in states.items())})" if cohorts else ""
    whose = f" of the demo in the size {size}" if size else "; the lists are not the demo's"
    ended = clock.now.date() >= programme.LAST_DAY
    says = f"{lists} and {classes}{by_state}{whose}, on {clock.now:%d %B %Y}"
    return Found(size, finished=bool(size) and states["completed"] == len(cohorts) == len(planned) and ended, says=says)


async def _show_what_is_there(
    stack: RunningStack, found: Found, size: programme.Size, house: House, telling: Telling
) -> bool:
    telling.console.print(f"\n[bold]Found what is there already:[/] {found.says}. Nothing is played a second time.")
    if not found.finished:
        telling.console.print(
            "[yellow]That run did not come to its end.[/] To play from the beginning: make clean, then make demo."
        )
    elif found.size != size.name:
        telling.console.print(f"To play the size {size.name}: make clean, then make demo SIZE={size.name}.")
    await Clock(stack, house.http).settle()
    answers = await ask_the_services(house, stack)
    summary = Summary(
        size=found.size or "unknown",
        answers=answers,
        comparisons=between_services(answers),
        stages=(),
        peak_memory_megabytes=stack.peak_memory_megabytes(),
    )
    show(telling.console, summary, stack)
    if not found.finished:
        raise DemoFailed("The demo found an unfinished run: make clean, then make demo.")
    return not summary.disagreements
