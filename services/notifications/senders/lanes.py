"""One lane for each channel: how many messages are on their way at once, and how long a provider is left in peace."""

import asyncio
import time
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

import structlog
from prometheus_client import Counter, Gauge

from contracts.notifications import Channel
from services.kit.backoff import Backoff
from services.kit.causes import told
from services.notifications.senders import Ending, Letter, Outcome, Sender
from services.notifications.senders.file_sink import FileSink
from services.notifications.senders.signatures import read_secret
from services.notifications.senders.signed_http import SignedHttp
from services.notifications.senders.smtp import Smtp
from services.notifications.settings import SenderSettings, folder_of, starttls_of

_log = structlog.get_logger(__name__)

AT_ONCE = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0

_TROUBLE = (Ending.AWAY, Ending.UNCLEAR)

attempts = Counter("entas_notification_attempts", "Attempts to send, by how they ended", ["channel", "outcome"])
paused = Gauge("entas_notification_lane_paused", "1 while a channel's provider is left in peace, else 0", ["channel"])


class Lane:
    """The way to one channel's provider. After trouble it pauses, then lets one message try before the others."""

    def __init__(
        self,
        channel: Channel,
        sender: Sender,
        *,
        at_once: int = AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.sender = sender
        self._at_once = at_once
        self._monotonic = monotonic
        self._under_way = 0
        self._troubled = False
        self._paused_until = float("-inf")
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        paused.labels(channel).set(0)

    def free(self) -> int:
        """How many messages may start now."""
        if self._monotonic() < self._paused_until:
            return 0
        return max(0, (1 if self._troubled else self._at_once) - self._under_way)

    def take(self) -> bool:
        """A slot for one message, if there is one: until it is recorded what became of it, so that no more are in doubt
        when this process dies."""
        if self.free() == 0:
            return False
        self._under_way += 1
        return True

    def give_back(self) -> None:
        """The slot is free for the next message."""
        self._under_way -= 1

    async def ask(self, letter: Letter) -> Outcome:
        """Asks the provider once. A sender that raises is a defect of ours, and whether it has sent is unclear."""
        try:
            outcome = await self.sender.send(letter)
        except Exception as error:  # noqa: BLE001 (the other messages and channels go on)
            # Its text could quote the letter.
            _log.error("a sender failed", channel=self.channel, error=told(error, plain=True))
            outcome = Outcome(Ending.UNCLEAR)
        attempts.labels(self.channel, outcome.ending).inc()
        self._learn(outcome.ending)
        return outcome

    def _learn(self, ending: Ending) -> None:
        if ending not in _TROUBLE:
            if self._troubled:
                _log.info("a provider answers again", channel=self.channel)
            self._troubled = False
            self._backoff.reset()
            paused.labels(self.channel).set(0)
        elif self._monotonic() >= self._paused_until:
            # Of the many that fail at the same time the first alone makes the pause longer.
            seconds = self._backoff.seconds()
            self._troubled, self._paused_until = True, self._monotonic() + seconds
            paused.labels(self.channel).set(1)
            _log.warning(
                "a provider does not take messages",
                channel=self.channel,
                ending=ending,
                pause_seconds=round(seconds, 1),
            )


Lanes = Mapping[Channel, Lane]


def lanes_from(settings: SenderSettings) -> Lanes:
    """A lane for each channel that has a sender."""
    return {
        channel: Lane(channel, sender_from(settings, channel, url))
        for channel in Channel
        if (url := settings.sender_of(channel)) is not None
    }


async def close(lanes: Lanes) -> None:
    await asyncio.gather(*(lane.sender.close() for lane in lanes.values()))


def sender_from(settings: SenderSettings, channel: Channel, url: str) -> Sender:
    """The sender that a channel's address asks for."""
    address, secret = urlsplit(url), settings.secret_of(channel)
    if address.scheme == "file":
        return FileSink(folder_of(url), channel)
    if address.scheme in ("http", "https"):
        return SignedHttp(url, read_secret(secret or ""))
    implicit = address.scheme == "smtps"
    starttls = starttls_of(url)
    return Smtp(
        address.hostname or "",
        address.port or (465 if implicit else 587),
        settings.sender_email_from or "",
        tls=implicit,
        starttls="no" if starttls == "no" else "auto" if starttls == "auto" else "yes",
        user=unquote(address.username) if address.username else None,
        password=secret,
    )
