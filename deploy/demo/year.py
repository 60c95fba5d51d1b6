"""From July 2024 to the end of 2025: the acts that let the diary run, and say how far people have come."""

from datetime import date, timedelta

from deploy.demo import fates, partners_year
from deploy.demo.classes import hold_the_classes
from deploy.demo.clock import at
from deploy.demo.contacts import say_what_is_preferred
from deploy.demo.play import Play
from deploy.demo.programme import LAST_DAY, RENEWAL_DAY


async def july(play: Play) -> None:
    """The classes; and from now on other agencies report what they did."""
    await say_what_is_preferred(play)
    partners_year.write_down(play)
    fates.write_down(play)
    await hold_the_classes(play)


async def first_visits(play: Play) -> None:
    """A month after. The verifications of June end in August, each at its own minute."""
    play.clock.by_the_week = frozenset({"registry"})
    await _until(play, RENEWAL_DAY - timedelta(days=2))


async def half_a_year_after(play: Play) -> None:
    await _until(play, date(2025, 2, 28))


async def to_the_last_visits(play: Play) -> None:
    await _until(play, date(2025, 8, 31))


async def the_end_of_the_year(play: Play) -> None:
    await _until(play, LAST_DAY)
    await partners_year.all_are_looked_up(play)


async def _until(play: Play, day: date) -> None:
    await play.diary.play_until(play, at(day, 20))
    cases = play.tally.cases.values()
    recorded = sum(len(case.recorded) for case in cases)
    missed = sum(status == "missed" for case in cases for status in case.statuses.values())
    standing = [case.standing for case in cases]
    play.telling.say(
        f"{recorded:,} follow-ups were recorded and {missed:,} missed so far; out of extreme poverty: "
        f"{standing.count('graduated')} households, back in it: {standing.count('relapsed')}; "
        f"{sum(play.tally.support.reported.values()):,} reports of support came in"
    )
