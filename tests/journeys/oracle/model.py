"""The whole model: its clock, the story that each stream must tell, and what passes with time."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from tests.journeys.oracle.notifications import Notifications
from tests.journeys.oracle.outcomes import Outcomes
from tests.journeys.oracle.registry import Registry
from tests.journeys.oracle.training import Training

Table = dict[tuple[Any, ...], dict[str, Any]]
"""A table as it must be: primary key -> row. Of what is sealed a row says only whether it is there."""


class Story:
    """The names of the facts that each stream must hold, in order."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], list[str]] = defaultdict(list)

    def tell(self, topic: str, key: str, fact: str) -> int:
        """Gives the version that the stream has now."""
        self.facts[topic, key].append(fact)
        return self.version(topic, key)

    def version(self, topic: str, key: str) -> int:
        return len(self.facts[topic, key])

    def of(self, service: str) -> dict[tuple[str, str], list[str]]:
        """Of the streams that a service publishes, among them what its partner is told of rejections."""
        partner = {"registry": "partners.dukcapil.", "outcomes": "partners.dinkop."}.get(service, "")
        owned = tuple(filter(None, (f"{service}.", partner)))
        return {stream: facts for stream, facts in self.facts.items() if stream[0].startswith(owned)}


class Oracle:
    """Each part is told what was done there, and tells those that hear it; `time_passes` does what nobody has to do."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.story = Story()
        self.registry = Registry(self)
        self.training = Training(self)
        self.outcomes = Outcomes(self)
        self.notifications = Notifications(self)

    def time_passes(self, until: datetime) -> None:
        """Everything that falls due up to and with an instant happens, in its order, each at its own instant."""
        while True:
            due = [
                (self.registry.next_expiry(), self.registry.verifications_expire),
                (self.training.next_deadline(), self.training.unconfirmed_places_are_taken_back),
                (self.training.next_start(), self.training.cohorts_start),
                (self.outcomes.next_follow_up(), self.outcomes.follow_ups_fall_due_or_are_missed),
                (self.notifications.next_message(), self.notifications.messages_go),
            ]
            coming = [(instant, happens) for instant, happens in due if instant is not None and instant <= until]
            if not coming:
                break
            self.now, happens = min(coming, key=lambda what: what[0])
            happens()
        self.now = until

    def tables(self, service: str) -> dict[str, Table]:
        parts = {
            "registry": self.registry,
            "training": self.training,
            "outcomes": self.outcomes,
            "notifications": self.notifications,
        }
        return parts[service].tables()
