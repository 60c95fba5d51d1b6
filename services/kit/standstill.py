"""Notices that records wait which nobody brings: a client may lose its way without a word, and for good."""

from collections.abc import Collection

from services.kit.positions import Place

PATIENCE_SECONDS = 10.0
LONGEST_SECONDS = 600.0
UNSEEN_SECONDS = 5.0  # between two looks: nobody could look, as in an outage, or nobody was awake


class Standstill:
    """What waits, and since when nothing was brought from there. Its patience doubles each time that it has run out,
    and is what it was at first once nothing waits: what never comes (the mark that a partner's transaction leaves
    behind its records) is not to be asked for all the time.
    """

    def __init__(self) -> None:
        self._since: dict[Place, float] = {}
        self._looked_at = 0.0
        self._patience = PATIENCE_SECONDS

    def brought(self, places: Collection[Place]) -> None:
        """Records came from these places, whatever becomes of them."""
        for place in places:
            self._since.pop(place, None)

    def lasts(self, waiting: Collection[Place], now: float) -> set[Place]:
        """Of the places where records wait `now` (seconds by any one clock): those where patience has run out."""
        if now - self._looked_at > UNSEEN_SECONDS:
            self._since = {}
        self._looked_at = now
        self._since = {place: self._since.get(place, now) for place in waiting}
        if not waiting:
            self._patience = PATIENCE_SECONDS
        stuck = {place for place, since in self._since.items() if now - since > self._patience}
        if stuck:
            self._since = {}
            self._patience = min(2 * self._patience, LONGEST_SECONDS)
        return stuck
