"""What goes to a provider, and what can come of it. The senders themselves stand in this folder's modules."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from contracts.notifications import Channel, Language


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to a provider. What is personal in it stays out of its `repr`."""

    notification_id: str
    attempt: int
    channel: Channel
    language: Language
    to: str = field(repr=False)  # E.164, or an e-mail address
    subject: str = field(repr=False)
    text: str = field(repr=False)

    @property
    def id(self) -> str:
        """By which a provider tells a copy: the same for each attempt on a channel, another on the next channel."""
        return f"{self.notification_id}.{self.channel}"


class Ending(StrEnum):
    """How an attempt ended."""

    TAKEN = "taken"  # the provider has it
    REFUSED = "refused"  # it says that it will never take it
    LATER = "later"  # it has not taken it; this message alone may be tried again
    AWAY = "away"  # it has not taken it, and takes nothing now
    UNCLEAR = "unclear"  # it may have taken it: it was handed over, and no answer came


@dataclass(frozen=True, slots=True)
class Outcome:
    ending: Ending
    reference: str | None = None  # the provider's own, for what it has taken


class Sender(Protocol):
    """A way to one provider. `repeatable`: it tells copies by the letter's id, so that it may be asked again."""

    repeatable: bool

    async def send(self, letter: Letter) -> Outcome:
        """Asks the provider once. Whatever happens on the way is an outcome; only a defect of ours raises."""

    async def close(self) -> None:
        """Lets go of connections."""
