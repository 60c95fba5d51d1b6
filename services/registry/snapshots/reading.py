"""Owns the way from a file's bytes to rows that can be staged, in batches and constant memory. Blocks: for threads."""

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from typing_extensions import Buffer

from contracts import areas
from contracts.p3ke import ListReader, PersonRow, Problem, Severity, conflicts, family_fingerprint
from services.registry.snapshots.decisions import ListOffered
from services.registry.snapshots.staging import Digests, RowSeal, ages_on, pack

BATCH = 2_000
_BUFFER_BYTES = 1 << 20


class ReceivedFile(io.RawIOBase):
    """A file that is still coming in: `receive` blocks until there is more, and gives b"" at the end."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._rest = memoryview(b"")
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of what was read so far, in hex."""
        return self._sha256.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if not self._rest:
            received = self._receive()
            self._sha256.update(received)
            self._rest = memoryview(received)
        with memoryview(buffer) as wanted:
            taken = min(len(wanted), len(self._rest))
            wanted[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken


class StagedRow(NamedTuple):
    """A row of the table snapshot_row, without its import."""

    row: int
    family: bytes
    family_version: int | None
    identity: bytes | None
    head: bool
    sealed: bytes | None


class RowProblem(NamedTuple):
    """A row of the table snapshot_problem, without its import and area."""

    row: int
    column: str
    code: str
    severity: Severity
    reason: str
    remedy: str


@dataclass(slots=True)
class Batch:
    rows: list[StagedRow] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= BATCH or len(self.problems) >= BATCH


class Reading:
    """Reads a list to its end. `rows` are the rows so far that were not empty, without the header."""

    def __init__(self, file: io.RawIOBase, offered: ListOffered, digests: Digests, seal: RowSeal) -> None:
        """Reads the header. Raises `UnreadableList`."""
        self._reader = ListReader(io.BufferedReader(file, _BUFFER_BYTES))
        self._offered = offered
        self._digests = digests
        self._seal = seal
        self._first: PersonRow | None = None  # of the run of rows of one family that is being read
        self._family = b""
        self._outside = False
        self._age_of = ages_on(offered.dated)
        self.rows = 0
        self._batch = Batch()
        self._report(1, self._reader.header.warnings)

    def next_batch(self) -> Batch | None:
        """The next rows and problems; None at the end of the file."""
        batch = self._batch
        for row, read in self._reader:
            self.rows += 1
            if isinstance(read, PersonRow):
                batch.rows.append(self._stage(row, read))
            else:
                self._report(row, read)
                self._stage_name(batch, row)
            if batch.is_full:
                break
        self._batch = Batch()
        return batch if batch.rows or batch.problems else None

    def _stage(self, row: int, person: PersonRow) -> StagedRow:
        begins_run = self._begins_run(row, person)
        if person.warnings:
            self._report(row, person.warnings)
        if not person.name and not (person.is_head and person.household_head):
            self._report(row, (_NO_NAME,))
        if self._outside:
            self._report(row, (_OUTSIDE,))
        packed = None if self._outside else pack(person, self._age_of, with_family=begins_run)
        return StagedRow(
            row,
            self._family,
            _version_of(person) if begins_run else None,
            self._digests.identity(person),
            person.is_head,
            None if packed is None else self._seal.seal(row, packed),
        )

    def _stage_name(self, batch: Batch, row: int) -> None:
        """Keeps of a row that cannot be taken which family it names: nobody is delisted over a faulty row."""
        if (family_id := self._reader.family_id) is not None:
            batch.rows.append(StagedRow(row, self._digests.family(family_id), None, None, False, None))

    def _begins_run(self, row: int, person: PersonRow) -> bool:
        """Whether the row's family columns have to be kept: it is the first of its family here, or contradicts it."""
        first = self._first
        if first is None or first.family_id != person.family_id:
            self._first = person
            self._family = self._digests.family(person.family_id)
            self._outside = not any(areas.covers(area, person.village_code) for area in self._offered.areas)
            return True
        differences = conflicts(first, person)
        self._report(row, differences)
        return bool(differences)

    def _report(self, row: int, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self._batch.problems.extend(row_problem(row, problem) for problem in problems)


def row_problem(row: int, problem: Problem) -> RowProblem:
    return RowProblem(row, problem.column, problem.code, problem.severity, problem.reason, problem.remedy)


def _version_of(row: PersonRow) -> int:
    """Equal for two rows that say the same of their family; the first eight bytes of the fingerprint are enough."""
    return int(struct.unpack_from(">q", family_fingerprint(row))[0])


_OUTSIDE = Problem(
    "kode_kemdagri",
    "outside-areas",
    "The village lies outside the areas that the list was declared to be complete for.",
    "Declare its area too, or leave the row to the list of that area.",
)
_NO_NAME = Problem(
    "nama",
    "no-name",
    "The person has no name.",
    "Give the name as the identity card has it.",
    Severity.WARNING,
)
