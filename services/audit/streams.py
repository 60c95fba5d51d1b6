"""Whether the versions of every stream are 1, 2, 3 … without a gap, for any number of streams, in constant memory.

What was seen of each stream lately is written to one of a few files, by a hash of the stream; in the end each file is
held together alone.
"""

import struct
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import NamedTuple


class Gap(NamedTuple):
    """An event whose version does not follow the one before it in its stream."""

    place: str  # topic/partition, which is one and the same for a stream
    after: int  # the sequence of the event before it in its stream; -1 if there is none
    sequence: int
    before: int  # the version of the event before it; 0 if there is none
    version: int


class Streams:
    # The stream, its place, the first and the last sequence, the first and the last version.
    _NOTE = struct.Struct(">16sHQQII")
    _BUCKETS = 64
    _HELD = 50_000  # streams in memory

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="entas-streams-")
        self._held: dict[tuple[str, str], list[int]] = {}
        self._places: dict[str, int] = {}

    def close(self) -> None:
        self._folder.cleanup()

    def take(self, place: str, key: str, version: int, sequence: int) -> None:
        """The next event of a stream, in the order of sequences."""
        stream = self._held.get((place, key))
        if stream is not None and version == stream[3] + 1:
            stream[1], stream[3] = sequence, version
            return
        if stream is not None or len(self._held) >= self._HELD:
            self._spill()
        self._held[place, key] = [sequence, sequence, version, version]

    def gaps(self) -> Iterator[Gap]:
        self._spill()
        places = list(self._places)
        for file in sorted(Path(self._folder.name).iterdir()):
            notes = sorted(self._NOTE.iter_unpack(file.read_bytes()))
            for _, noted in groupby(notes, key=lambda note: note[0]):
                after, before = -1, 0
                for _, place, first, last, begin, end in noted:
                    if begin != before + 1:
                        yield Gap(places[place], after, first, before, begin)
                    after, before = last, end

    def _spill(self) -> None:
        buckets: list[list[bytes]] = [[] for _ in range(self._BUCKETS)]
        for (place, key), numbers in self._held.items():
            stream = blake2b(f"{place} {key}".encode(), digest_size=16).digest()
            number = self._places.setdefault(place, len(self._places)) & 0xFFFF
            buckets[stream[-1] % self._BUCKETS].append(self._NOTE.pack(stream, number, *numbers))
        for number, notes in enumerate(buckets):
            with (Path(self._folder.name) / str(number)).open("ab") as file:
                file.write(b"".join(notes))
        self._held.clear()
