"""A sender for demo and tests: what would be sent stands as lines of JSON in a folder, one file for each channel."""

import asyncio
import fcntl
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from contracts.notifications import Channel
from services.notifications.senders import Ending, Letter, Outcome


class FileSink:
    """Knows by the file itself which letters it has, so that the same letter never stands there twice.

    A line that a crash cut short was never taken: it is removed, and the letter can come again. Several processes may
    write to one folder. What it has taken outlives the process, not a power cut: nothing is synced to the disk.
    """

    repeatable = True

    def __init__(self, folder: Path, channel: Channel) -> None:
        self._file = folder / f"{channel}.jsonl"
        self._known: set[str] = set()
        self._read_to = 0
        self._one_at_a_time = Lock()

    async def send(self, letter: Letter) -> Outcome:
        try:
            await asyncio.to_thread(self._write, letter)
        except OSError:
            return Outcome(Ending.AWAY)
        return Outcome(Ending.TAKEN, letter.id)

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _write(self, letter: Letter) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._one_at_a_time, self._file.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._learn(file.fileno())
            if letter.id in self._known:
                return
            said = {"id": letter.id, "taken_at": datetime.now(UTC).isoformat(), **asdict(letter)}
            line = json.dumps(said, ensure_ascii=False).encode() + b"\n"
            written = os.write(file.fileno(), line)
            if written < len(line):
                raise OSError("the line was cut short")
            self._known.add(letter.id)
            self._read_to += len(line)

    def _learn(self, file: int) -> None:
        """Reads what others have written meanwhile, and removes a line without an end."""
        size = os.fstat(file).st_size
        if size < self._read_to:
            self._known.clear()  # Somebody has emptied the file.
            self._read_to = 0
        new = os.pread(file, size - self._read_to, self._read_to)
        whole = new[: new.rfind(b"\n") + 1]
        self._known.update(json.loads(line)["id"] for line in whole.splitlines())
        self._read_to += len(whole)
        if len(whole) < len(new):
            os.ftruncate(file, self._read_to)
