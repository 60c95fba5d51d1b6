"""What is to be done when: the clock moves from entry to entry, and what is meant for one instant is done at once."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

from deploy.demo.clients import together

if TYPE_CHECKING:
    from deploy.demo.play import Play

Doing = Callable[["Play"], Awaitable[None]]


class Diary:
    """Entries by their instant. Whatever is done may add entries for later."""

    def __init__(self) -> None:
        self._entries: dict[datetime, list[Doing]] = {}

    def add(self, when: datetime, doing: Doing) -> None:
        self._entries.setdefault(when, []).append(doing)

    @property
    def instants(self) -> list[datetime]:
        return sorted(self._entries)

    async def play_until(self, play: "Play", end: datetime) -> None:
        """Does everything up to `end`, in order, and lets the time until then pass."""
        due = [when for when in self._entries if when <= end]
        with play.telling.progress("days with something to do", len(due)) as advance:
            done = 0
            while due := [when for when in self._entries if when <= end]:
                when = min(due)
                await play.clock.move_to(when)
                play.tally.pass_time(when)
                await together(doing(play) for doing in self._entries.pop(when))
                done += 1
                advance(done)
        await play.clock.move_to(end)
        await play.clock.settle()
        play.tally.pass_time(end)
