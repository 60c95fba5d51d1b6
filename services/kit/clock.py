"""What time it is for the programme: the system's clock, or in the demo and in tests one that is steered by a file.

The steered clock sets `now` and the time an event occurred. Token expiry, caches and Kafka's timestamps stay real.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from services.kit.settings import Settings


class Clock(Protocol):
    def now(self) -> datetime:
        """The present instant, aware, in UTC."""


_MICROSECOND = timedelta(microseconds=1)


class ClockFileInvalid(Exception):
    """The steered clock's file is missing or holds no instant. Write it with `steer` before a process starts."""


class ClockWouldGoBack(Exception):
    """A steered clock only moves forward. Start from clean data to play an earlier time."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SteeredClock:
    """Stands still at the instant in a file until `steer` moves it. One `stat` a call, a read only after a move."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._instant = datetime.min.replace(tzinfo=UTC)
        self.now()

    def now(self) -> datetime:
        try:
            status = self._file.stat()
        except FileNotFoundError as error:
            raise ClockFileInvalid(f"{self._file} does not exist") from error
        mark = (status.st_ino, status.st_mtime_ns)
        if mark != self._seen:
            # The mark was taken before the read: a move in between only means one read more next time.
            self._instant, self._seen = _read(self._file), mark
        return self._instant


def steer(file: Path, instant: datetime) -> None:
    """Moves the clock in `file` to `instant`, atomically; a reader sees the old or the new one. One process steers.

    Raises ClockWouldGoBack, and ValueError for an instant without a zone.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    instant = instant.astimezone(UTC)
    if file.exists() and instant < (present := _read(file)):
        raise ClockWouldGoBack(f"{file} stands at {present.isoformat()}, after {instant.isoformat()}")
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(handle, "w") as new:
            new.write(instant.isoformat() + "\n")
        # The file's own time is the instant: two moves within one tick of the kernel's clock still look different.
        nanoseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND * 1000
        os.utime(name, ns=(nanoseconds, nanoseconds))
        Path(name).chmod(0o644)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def clock_from(settings: Settings) -> Clock:
    return SteeredClock(settings.clock_file) if settings.clock_file else SystemClock()


def _read(file: Path) -> datetime:
    text = file.read_text().strip()
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ClockFileInvalid(f"{file} holds no ISO 8601 instant") from error
    if instant.tzinfo is None:
        raise ClockFileInvalid(f"{file} holds an instant without a time zone")
    return instant.astimezone(UTC)
