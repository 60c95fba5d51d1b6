"""An archive: a service's log in open formats (gzip, JSON lines), signed, with a verifier that needs nothing of ours.

    manifest.json  manifest.sig     what belongs to it, by SHA-256; signed by who made it
    verify.py  README  keys/        the standard-library verifier, and the services' public keys
    registry/log-000000.jsonl.gz    events, one a line, as GET /log/entries shows them
    registry/leaves-000000.bin      their leaf hashes, 32 bytes each
    registry/checkpoints.jsonl      signed notes, a JSON string a line

It is a folder, or a .tar of it. Nothing of it is ever held in memory whole.
"""

import gzip
import hashlib
import json
import shutil
import tarfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydantic_core import to_json

from contracts.envelope import instant_text, proof_bytes, value_digest
from services.audit.sources import BATCH, Batch, Broken, Found, Noted, Source, entry_from
from services.kit.log_entries import entry_of
from services.kit.merkle import HASH_BYTES, leaf_hash
from services.kit.notes import BadNote, Signer, VerifierKey, read_checkpoint

FORMAT = "entas-archive-1"
SEGMENT = 1 << 14  # a power of two, so that a full segment is one node of the tree
SIGNED_AS = "entas/archive"
_CHUNK = 1 << 20
_VERIFIER = Path(__file__).with_name("standalone.py")

README = """An archive of what Entas services logged: every event up to the newest checkpoint that each had signed.

    python3 verify.py

reads all of it and says whether every event is what was signed (Python 3.11, nothing else needed). Read verify.py
first: it is meant to be read. Compare the keys in keys/ with those that you were given by another way.

Events are JSON lines in <service>/log-*.jsonl.gz; `value` is the message's own JSON in base64. What names a person
in it is sealed under that person's key, which no archive holds.
"""


class NoArchive(Exception):
    """A path is no archive; the message says what is missing."""


# --- Writing ----------------------------------------------------------------------------------------------------------


class ArchiveWriter:
    """Writes files one after the other into a folder or a tar, and signs the list of them at the end."""

    def __init__(self, target: Path, signer: Signer) -> None:
        if target.exists():
            raise NoArchive(f"{target} is there already; choose another place")
        self._target = target
        self._signer = signer
        self.folder = target.with_name(f".{target.name}.unfinished")
        self._files: dict[str, dict[str, Any]] = {}
        self._services: dict[str, dict[str, Any]] = {}
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "ArchiveWriter":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self._target.suffix == ".tar":
            self._tar = tarfile.open(self.folder / self._target.name, "w")
        self.add("README", README.encode())
        self.add("verify.py", _VERIFIER.read_bytes())
        self.add("keys/archive.vkey", f"{self._signer.verifier}\n".encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """What is whole appears under its name at once; what is not is taken away."""
        if error is None:
            self._sign()
        if self._tar is not None:
            self._tar.close()
        if error is None:
            (self.folder if self._tar is None else self.folder / self._target.name).rename(self._target)
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, name: str, content: bytes) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.keep(name)

    def keep(self, name: str, *, listed: bool = True) -> None:
        """Notes a file that was written, and moves it into the tar."""
        file = self.folder / name
        if listed:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            self._files[name] = {"sha256": digest, "bytes": file.stat().st_size}
        if self._tar is not None:
            self._tar.add(file, name, filter=_nameless)
            file.unlink()

    async def add_log(
        self, service: str, source: Source, key: VerifierKey, progress: Callable[[int, int], None] = lambda *_: None
    ) -> int:
        """The log up to its newest checkpoint, as the source has it, right or wrong: an archive is evidence."""
        notes = [noted.text async for noted in source.notes(service)]
        size = max((_size_of(note) for note in notes), default=0)
        segments: list[dict[str, Any]] = []
        with _Segments(self, service, source, segments) as writing:
            async for batch in source.entries(service, 0, size):
                for entry in batch:
                    if isinstance(entry, Broken):
                        raise NoArchive(f"{source.name}: an event cannot be read ({entry.why}); `verify` says more")
                    if writing.next <= entry.position.sequence < size:
                        await writing.take(entry)
                progress(writing.next, size)
            await writing.close()
        self.add(f"{service}/checkpoints.jsonl", b"".join(to_json(note) + b"\n" for note in notes))
        self.add(f"keys/{service}.vkey", f"{key}\n".encode())
        self._services[service] = {
            "size": size,
            "segments": segments,
            "checkpoints": f"{service}/checkpoints.jsonl",
        }
        return size

    def _sign(self) -> None:
        manifest = {
            "format": FORMAT,
            "made": instant_text(datetime.now(UTC)),
            "services": self._services,
            "files": self._files,
        }
        content = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        text = f"{SIGNED_AS}\n{hashlib.sha256(content).hexdigest()}\n"
        for name, signed in (("manifest.json", content), ("manifest.sig", self._signer.sign(text).encode())):
            (self.folder / name).write_bytes(signed)
            self.keep(name, listed=False)


class _Segments:
    """Cuts a stream of entries into files of `SEGMENT` sequences."""

    def __init__(self, writer: ArchiveWriter, service: str, source: Source, segments: list[dict[str, Any]]) -> None:
        self._writer, self._service, self._source, self._segments = writer, service, source, segments
        self._file: IO[bytes] | None = None
        self._packed: gzip.GzipFile | None = None
        self._leaves: list[bytes] = []
        self.next = 0

    def __enter__(self) -> "_Segments":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    async def take(self, entry: Found) -> None:
        sequence, previous = entry.position
        if sequence // SEGMENT != (self.next - 1) // SEGMENT:
            await self.close()
        if self._packed is None:
            self._open(sequence // SEGMENT)
        assert self._packed is not None
        self._packed.write(entry_line(entry, previous))
        self._leaves.append(leaf_hash(proof_bytes(entry.envelope, sequence, value_digest(entry.value))))
        self._segments[-1]["count"] = sequence + 1 - self._segments[-1]["first"]
        self.next = sequence + 1

    def _open(self, number: int) -> None:
        name = f"{self._service}/log-{number:06}.jsonl.gz"
        path = self._writer.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        # Neither time nor name: the same log gives the same file.
        self._packed = gzip.GzipFile("", "wb", 6, self._file, mtime=0)
        leaves = f"{self._service}/leaves-{number:06}.bin"
        self._segments.append({"log": name, "leaves": leaves, "first": number * SEGMENT, "count": 0})

    async def close(self) -> None:
        """Ends a segment. Its leaves are those of the source's tree, where it has one, else the computed ones."""
        if self._packed is None or self._file is None:
            return
        self._packed.close()
        self._file.close()
        self._packed = self._file = None
        segment = self._segments[-1]
        self._writer.keep(segment["log"])
        kept = await self._source.leaves(self._service, segment["first"], segment["count"])
        whole = len(kept) == segment["count"] * HASH_BYTES
        self._writer.add(segment["leaves"], kept if whole else b"".join(self._leaves))
        self._leaves.clear()


def entry_line(entry: Found, previous: int) -> bytes:
    """An entry as GET /log/entries shows it."""
    envelope = entry.envelope
    row = {
        "sequence": entry.position.sequence,
        "topic": envelope.topic,
        "partition": entry.partition,
        "stream": envelope.key,
        "version": envelope.version,
        "type": envelope.type,
        "event_id": envelope.id,
        "occurred_at": envelope.time,
        "recorded_at": envelope.recorded,
        "actor": envelope.actor,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "traceparent": envelope.traceparent,
        "area_code": entry.area_code,
        "value": entry.value,
    }
    return to_json(entry_of(envelope.source, row, previous)) + b"\n"


def _nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of the machine that made it."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _size_of(note: str) -> int:
    try:
        return read_checkpoint(note).size
    except BadNote:
        return 0


# --- Reading ----------------------------------------------------------------------------------------------------------


@dataclass
class ArchiveSource:
    """An archive as a source. A file that is not the one listed is told as a broken entry."""

    path: Path
    manifest: Mapping[str, Any]
    places: Mapping[str, tuple[Path, int, int]]  # name -> path, offset, length
    name: str = ""
    _wrong: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> "ArchiveSource":
        """Raises NoArchive."""
        try:
            places = dict(_places(path))
            source = cls(path, {"files": {}}, places, f"archive {path}")
            source.manifest = json.loads(b"".join(source._chunks("manifest.json")))
        except (OSError, tarfile.TarError, ValueError, KeyError) as error:
            raise NoArchive(f"{path} is no archive (a folder or a .tar with manifest.json): {error}") from error
        if source.manifest.get("format") != FORMAT:
            raise NoArchive(f"{path} has the format {source.manifest.get('format')}; this reads {FORMAT}")
        return source

    @property
    def made(self) -> str:
        return str(self.manifest["made"])

    @property
    def services(self) -> list[str]:
        return sorted(self.manifest["services"])

    def key(self, service: str) -> VerifierKey:
        """The key that came with the archive: to be compared with one that was given by another way."""
        return VerifierKey.read(b"".join(self._chunks(f"keys/{service}.vkey")).decode())

    async def notes(self, service: str) -> AsyncIterator[Noted]:
        name = self.manifest["services"][service]["checkpoints"]
        for number, line in enumerate(self._lines(name, packed=False), 1):
            try:
                text = str(json.loads(line))
            except ValueError:
                text = line.decode("utf-8", "replace")
            yield Noted(text, f"{name} line {number}")

    async def entries(self, service: str, first: int, size: int) -> AsyncIterator[Batch]:
        for segment in self.manifest["services"][service]["segments"]:
            if segment["first"] + segment["count"] <= first or segment["first"] >= size:
                continue
            try:
                for batch in self._batches(segment["log"]):
                    yield batch
            except (zlib.error, OSError) as error:
                yield [Broken(None, None, None, f"{segment['log']} cannot be read on: {type(error).__name__}")]
            yield [Broken(None, None, None, why) for why in self._wrong]
            self._wrong.clear()

    async def leaves(self, service: str, first: int, count: int) -> bytes:
        found = b""
        for segment in self.manifest["services"][service]["segments"]:
            begin, end = max(first, segment["first"]), min(first + count, segment["first"] + segment["count"])
            if begin < end:
                at = (begin - segment["first"]) * HASH_BYTES
                path, offset, length = self.places.get(segment["leaves"], (self.path, 0, 0))
                wanted = max(0, min((end - begin) * HASH_BYTES, length - at))
                found += _read(path, offset + at, wanted) if wanted else b""
        return found

    def _batches(self, name: str) -> Iterator[Batch]:
        batch: list[Found | Broken] = []
        for line in self._lines(name):
            batch.append(entry_from(line))
            if len(batch) == BATCH:
                yield batch
                batch = []
        yield batch

    def _lines(self, name: str, *, packed: bool = True) -> Iterator[bytes]:
        unpack = zlib.decompressobj(31)
        rest = b""
        for chunk in self._chunks(name):
            lines = (rest + (unpack.decompress(chunk) if packed else chunk)).split(b"\n")
            rest = lines.pop()
            yield from lines
        if rest:
            yield rest

    def _chunks(self, name: str) -> Iterator[bytes]:
        """A file's bytes; notes it if it is not the one that is listed."""
        digest = hashlib.sha256()
        path, offset, left = self.places.get(name, (self.path, 0, 0))
        while left and (chunk := _read(path, offset, min(_CHUNK, left))):
            offset, left = offset + len(chunk), left - len(chunk)
            digest.update(chunk)
            yield chunk
        listed = self.manifest["files"].get(name)
        if listed is not None and listed["sha256"] != digest.hexdigest():
            self._wrong.append(f"{name} is not the file that the manifest lists: its SHA-256 differs")


def _places(path: Path) -> Iterator[tuple[str, tuple[Path, int, int]]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file.relative_to(path).as_posix(), (file, 0, file.stat().st_size)
        return
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isfile():
                yield member.name, (path, member.offset_data, member.size)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
