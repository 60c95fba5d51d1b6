"""What was seen under each sequence, on disk: a copy may come long after, from a relay that slept meanwhile."""

import os
import struct
import tempfile
from hashlib import blake2b
from typing import Literal

from services.kit.merkle import HASH_BYTES

Seeing = Literal["same", "nothing", "other event", "differs"]


class Seen:
    """By sequence: the leaf, the event's id, and what stands beside it that no leaf covers."""

    _RECORD = struct.Struct(">32s8s8s")
    _HELD = 4_096

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="entas-verify-")  # noqa: SIM115 (kept open until `close`)
        self._held = bytearray()
        self._written = 0  # bytes in the file

    def close(self) -> None:
        self._file.close()

    def add(self, sequence: int, leaf: bytes, event_id: str, beside: str) -> None:
        record = self._RECORD.pack(leaf, _short(event_id), _short(beside))
        at = sequence * self._RECORD.size - self._written
        if at == len(self._held):
            self._held += record
        elif at >= 0:
            self._held[at : at + len(record)] = record
        else:
            os.pwrite(self._file.fileno(), record, sequence * self._RECORD.size)
        if len(self._held) > self._HELD * self._RECORD.size:
            self._flush()

    def skip(self, count: int) -> None:
        self._flush()
        self._written += count * self._RECORD.size

    def compare(self, sequence: int, leaf: bytes, event_id: str, beside: str) -> Seeing:
        """What stands under a sequence that was passed already."""
        at = sequence * self._RECORD.size
        if at >= self._written:
            record = bytes(self._held[at - self._written : at - self._written + self._RECORD.size])
        else:
            record = os.pread(self._file.fileno(), self._RECORD.size, at)
        if record == self._RECORD.pack(leaf, _short(event_id), _short(beside)):
            return "same"
        if not any(record):
            return "nothing"
        return "other event" if record[HASH_BYTES:-8] != _short(event_id) else "differs"

    def _flush(self) -> None:
        os.pwrite(self._file.fileno(), self._held, self._written)
        self._written += len(self._held)
        self._held.clear()


def _short(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()
