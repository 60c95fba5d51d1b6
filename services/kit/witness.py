"""The witness: who keeps our checkpoints outside of our own reach, so that we cannot take back what we signed."""

import asyncio
import os
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx

from services.kit.trust import trusted

_TIMEOUT_SECONDS = 10.0


class WitnessAway(Exception):
    """The witness did not take a checkpoint. It is sent again; nothing else waits for it."""


class Witness(Protocol):
    async def tell(self, note: str) -> None:
        """Returns once the witness has kept the note. Raises `WitnessAway`."""


def witness_of(address: str) -> Witness:
    """`file:///folder/notes.txt`: the notes are appended to a file, an empty line after each.
    `https://…`: each is POSTed as text/plain, and any answer of 2xx means that it is kept."""
    parts = urlsplit(address)
    return FileWitness(Path(unquote(parts.path))) if parts.scheme == "file" else HttpWitness(address)


class FileWitness:
    def __init__(self, file: Path) -> None:
        self._file = file

    async def tell(self, note: str) -> None:
        try:
            await asyncio.to_thread(self._append, note)
        except OSError as error:
            raise WitnessAway(f"{self._file}: {error.strerror}") from error

    def _append(self, note: str) -> None:
        """One write, so that services may share the file; on disk when it returns."""
        file = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(file).st_size
            # After a crash half a note may be left: what follows begins on a line of its own.
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            content = (("\n" if torn else "") + note + "\n").encode()
            if os.write(file, content) != len(content):
                raise OSError(28, "only a part of the note could be written")
            os.fsync(file)
        finally:
            os.close(file)


class HttpWitness:
    def __init__(self, url: str) -> None:
        self._url = url

    async def tell(self, note: str) -> None:
        place = urlsplit(self._url).hostname
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, verify=trusted()) as client:
                answer = await client.post(self._url, content=note.encode(), headers={"content-type": "text/plain"})
        except httpx.HTTPError as error:
            raise WitnessAway(f"{place}: {type(error).__name__}") from error
        if not answer.is_success:
            raise WitnessAway(f"{place} answered {answer.status_code}")
