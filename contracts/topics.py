"""The topics: who owns each, what it carries, how it is kept. Tools, access rules and tests read this one table."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from contracts import notifications, outcomes, partners, registry, training
from contracts.envelope import EVENTS, Event


class Audience(StrEnum):
    """Whom a topic's contract binds us to, from the loosest promise to the strictest."""

    OWN = "own"  # read by its owner alone: upcasters are enough
    SERVICES = "services"  # read by the other services
    PARTNERS = "partners"  # read or written outside: compatible for ever


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    owner: str  # the service that publishes it; for partner topics the one that takes it in
    partitions: int  # fixed for life: growth is a new generation of the topic
    audience: Audience
    retention_days: int | None = None  # None: kept for years
    written_by: str | None = None  # the partner system that writes it, for topics that are not ours to write
    read_by: tuple[str, ...] = ()  # the other services that fold it or react to it
    carries: Literal["events", "checkpoints"] = "events"  # checkpoints are signed notes about the log, not of it

    @property
    def events(self) -> tuple[type[Event], ...]:
        return tuple(event for event in EVENTS.values() if event.topic == self.name)


def checkpoints_topic(service: str) -> Topic:
    """Where a service publishes what it signs of its log: outsiders hold what they were given against it."""
    return Topic(f"{service}.checkpoints", service, 1, Audience.PARTNERS, carries="checkpoints")


def _named(*topics: Topic) -> dict[str, Topic]:
    return {topic.name: topic for topic in topics}


TOPICS = _named(
    Topic("registry.rules", "registry", 1, Audience.SERVICES),
    Topic("registry.snapshots", "registry", 1, Audience.SERVICES, read_by=("outcomes",)),
    Topic("registry.households", "registry", 6, Audience.SERVICES, read_by=("training", "outcomes")),
    Topic("registry.participants", "registry", 6, Audience.SERVICES, read_by=("training", "outcomes", "notifications")),
    Topic("training.rules", "training", 1, Audience.SERVICES),
    Topic("training.programmes", "training", 1, Audience.SERVICES),
    Topic("training.cohorts", "training", 6, Audience.PARTNERS, read_by=("outcomes", "notifications")),
    Topic("outcomes.rules", "outcomes", 1, Audience.SERVICES),
    Topic("outcomes.cases", "outcomes", 6, Audience.SERVICES, read_by=("notifications",)),
    Topic("outcomes.interventions", "outcomes", 3, Audience.OWN),
    Topic("outcomes.cooperatives", "outcomes", 1, Audience.PARTNERS),
    Topic("notifications.rules", "notifications", 1, Audience.SERVICES),
    Topic("notifications.templates", "notifications", 1, Audience.SERVICES),
    Topic("notifications.contacts", "notifications", 3, Audience.OWN),
    Topic("notifications.deliveries", "notifications", 6, Audience.SERVICES),
    Topic("partners.dukcapil", "registry", 3, Audience.PARTNERS, retention_days=7, written_by="dukcapil"),
    Topic("partners.dukcapil.rejected", "registry", 1, Audience.PARTNERS, read_by=("outcomes",)),
    Topic("partners.dinkop", "outcomes", 3, Audience.PARTNERS, retention_days=7, written_by="dinkop"),
    Topic("partners.dinkop.rejected", "outcomes", 1, Audience.PARTNERS),
    *(checkpoints_topic(service) for service in ("registry", "training", "outcomes", "notifications")),
)

# Every event has a topic of the table, or it could be written but never delivered.
_homeless = {event.topic for event in EVENTS.values()} - {t.name for t in TOPICS.values() if t.carries == "events"}
if _homeless:
    raise TypeError(f"events name topics that are not declared: {', '.join(sorted(_homeless))}")


def published_by(service: str) -> tuple[Topic, ...]:
    """The topics whose events a service's own log holds."""
    return tuple(
        topic
        for topic in TOPICS.values()
        if topic.owner == service and topic.written_by is None and topic.carries == "events"
    )


def checkpoints_of(service: str) -> Topic:
    """The topic of the service's signed checkpoints."""
    return next(topic for topic in TOPICS.values() if topic.owner == service and topic.carries == "checkpoints")


def heard_by(service: str) -> tuple[Topic, ...]:
    """The topics that a service takes in: those of other services that it reads, and what partners write to it."""
    return tuple(
        topic
        for topic in TOPICS.values()
        if service in topic.read_by or (topic.owner == service and topic.written_by is not None)
    )


def carrying(events: Iterable[type[Event]]) -> tuple[str, ...]:
    """The names of the topics that these events travel on, sorted."""
    return tuple(sorted({event.topic for event in events}))


__all__ = [
    "TOPICS",
    "Audience",
    "Topic",
    "carrying",
    "checkpoints_of",
    "checkpoints_topic",
    "heard_by",
    "notifications",
    "outcomes",
    "partners",
    "published_by",
    "registry",
    "training",
]
