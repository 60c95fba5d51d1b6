"""Reactions: foreign facts that make a service decide something of its own."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from contracts.envelope import Envelope, Event
from services.kit.rows import Connection, Rows
from services.kit.table import Key, Table

E = TypeVar("E", bound=Event)
Found = TypeVar("Found")

Loads = Callable[[Connection, Rows, Sequence[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Step(Generic[E, Found]):
    """One fact, met in order: the rows are as every fact before it left them, never as a later one will."""

    event: E
    envelope: Envelope
    rows: Rows
    found: Found  # what `loads` returned for the whole batch
    now: datetime


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream that a reaction is about to begin: its row, and the subject under whose key it seals something."""

    table: Table[Any]
    key: Key
    seals_under: str


@dataclass(frozen=True, slots=True)
class Reaction:
    event: type[Event]
    loads: Loads
    react: Callable[[Any], list[Event]]
    begins: Callable[[Any], Begun | None] | None = None

    @property
    def name(self) -> str:
        return self.react.__name__


@dataclass(frozen=True, slots=True)
class Partner:
    """A topic on which another government system publishes facts to this service."""

    topic: str
    system: str
    source: str  # the CloudEvents source that the system's messages must carry


class Reactions:
    """The reactions of a service, at most one for each event type."""

    def __init__(self) -> None:
        self._by_event: dict[type[Event], Reaction] = {}

    def on(
        self,
        event: type[E],
        *,
        loads: Callable[[Connection, Rows, Sequence[E]], Awaitable[Any]],
        begins: Callable[[Step[E, Any]], Begun | None] | None = None,
    ) -> Callable[[Callable[[Step[E, Any]], list[Event]]], Callable[[Step[E, Any]], list[Event]]]:
        """Registers what to decide when `event` arrives.

        `loads(connection, rows, events)` is called once a batch with all its events of this type: it loads into `rows`
        what they need, one query a table, and returns what the reaction finds in `step.found`. The reaction is pure.
        It returns own facts; on a partner's topic it may raise `Refused`, which rejects that message.

        Where the id of a new stream is made of the envelope, `begins(step)` names it, so that the rows of a whole batch
        are loaded by one query and its keys are asked for at once; None where the reaction will begin nothing.
        """

        def register(react: Callable[[Step[E, Any]], list[Event]]) -> Callable[[Step[E, Any]], list[Event]]:
            if event in self._by_event:
                raise TypeError(f"{event.__name__} has a reaction already: {self._by_event[event].name}")
            self._by_event[event] = Reaction(event, loads, react, begins)
            return react

        return register

    def to(self, event: type[Event]) -> Reaction | None:
        return self._by_event.get(event)

    @property
    def events(self) -> tuple[type[Event], ...]:
        return tuple(self._by_event)
