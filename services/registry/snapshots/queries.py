"""SELECTs, and the writes outside the fold, that receiving and applying a list need. One function each."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Literal, cast

import asyncpg
from pydantic import BaseModel, Field
from pydantic_core import from_json

from contracts.envelope import Envelope
from contracts.p3ke import Severity
from contracts.registry import AreaCode, HouseholdId, PersonId, SnapshotId
from services.kit.log import LOG_COLUMNS, envelope_of
from services.kit.paging import Page, Paging
from services.kit.rows import Connection, statements
from services.registry.snapshots.decisions import Outcome
from services.registry.snapshots.state import SNAPSHOTS, Snapshot, SnapshotStatus

# --- Receiving ----------------------------------------------------------------------------------------------------


async def lock_source(connection: Connection, source: str) -> None:
    """Lets one list of a source at a time pass, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('snapshot_source'), hashtext($1))", source)


async def snapshots_of(connection: Connection, source: str) -> list[Snapshot]:
    """Every snapshot of a source, however many files that was; they are few."""
    sql = statements(SNAPSHOTS)
    names = ", ".join(SNAPSHOTS.columns)
    return [sql.row(row) for row in await connection.fetch(f"SELECT {names} FROM snapshot WHERE source = $1", source)]


async def enqueue(connection: Connection, number: int) -> None:
    """The import is to be applied after all that came before it."""
    await connection.execute(
        "UPDATE snapshot_import SET stage = 'listing', arrival = nextval('snapshot_arrival') WHERE number = $1", number
    )


# --- Applying ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import:
    """How far the application of a snapshot is."""

    number: int
    snapshot_id: SnapshotId
    area_code: AreaCode
    stage: str  # "listing" | "delisting"
    wrapped_key: bytes
    last_row: int
    last_household: HouseholdId
    people_on_list: int
    outcomes: Counter[Outcome]
    delisted: int


@dataclass(frozen=True, slots=True)
class StagedFamily:
    """A family that is to be settled: its digest, and its rows, each with its number, the earliest first."""

    family: bytes
    shares_head: bool
    rows: tuple[tuple[int, bytes], ...]


async def received_as(connection: Connection, snapshot_id: SnapshotId) -> Envelope:
    """The envelope of the fact that a snapshot was received: the cause of all that it does."""
    row = await connection.fetchrow(
        f"SELECT {LOG_COLUMNS} FROM log l WHERE l.topic = $1 AND l.stream = $2 AND l.version = 1",
        SNAPSHOTS.topic,
        snapshot_id,
    )
    assert row is not None, f"the snapshot {snapshot_id} is staged, but the log has not received it"
    return envelope_of("/entas/registry", row)


async def try_to_lead(connection: Connection) -> bool:
    """Whether this transaction may apply: one at a time does, however many workers there are."""
    return await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('snapshot_apply'), 0)") is True


async def lead(connection: Connection) -> None:
    """Waits until nobody applies, and keeps everybody from it until the connection's end: call it in a `session`."""
    await connection.execute("SELECT pg_advisory_lock(hashtext('snapshot_apply'), 0)")


async def lists_waiting(connection: Connection) -> int:
    """How many lists are coming in, or came in and are not applied whole."""
    waiting: int = await connection.fetchval(
        "SELECT count(*) FROM snapshot_import WHERE stage IN ('uploading', 'listing', 'delisting')"
    )
    return waiting


async def next_import(connection: Connection) -> Import | None:
    """The import whose turn it is: they are applied in the order in which they came in."""
    row = await connection.fetchrow(
        """
        SELECT number, snapshot_id, area_code, stage, wrapped_key, last_row, last_household, people_on_list,
               listed, rank_changed, unchanged, unresolved, delisted
        FROM snapshot_import
        WHERE stage IN ('listing', 'delisting')
        ORDER BY arrival
        LIMIT 1
        """
    )
    if row is None:
        return None
    return Import(
        number=row["number"],
        snapshot_id=row["snapshot_id"],
        area_code=row["area_code"],
        stage=row["stage"],
        wrapped_key=row["wrapped_key"],
        last_row=row["last_row"],
        last_household=row["last_household"],
        people_on_list=row["people_on_list"],
        outcomes=Counter({outcome: row[outcome.value] for outcome in Outcome}),
        delisted=row["delisted"],
    )


async def staged_families(connection: Connection, number: int, after_row: int, limit: int) -> list[StagedFamily]:
    """The next families to settle, in the order of their first rows."""
    rows = await connection.fetch(
        """
        SELECT f.family, f.shares_head, people.rows, people.sealed
        FROM snapshot_family f
        CROSS JOIN LATERAL (
            SELECT array_agg(r.row ORDER BY r.row) AS rows, array_agg(r.sealed ORDER BY r.row) AS sealed
            FROM snapshot_row r
            WHERE r.import = $1 AND r.family = f.family AND r.sealed IS NOT NULL
        ) AS people
        WHERE f.import = $1 AND f.taken AND f.first_row > $2
        ORDER BY f.first_row
        LIMIT $3
        """,
        number,
        after_row,
        limit,
    )
    return [
        StagedFamily(row["family"], row["shares_head"], tuple(zip(row["rows"], row["sealed"], strict=True)))
        for row in rows
    ]


async def households_by_family(
    connection: Connection, source: str, families: Collection[bytes]
) -> dict[bytes, HouseholdId]:
    """Which households a source means by these family ids."""
    rows = await connection.fetch(
        "SELECT family, household_id FROM household_family WHERE source = $1 AND family = ANY($2::bytea[])",
        source,
        list(families),
    )
    return {row["family"]: row["household_id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Standing:
    """What an import says of a household that was found by its head's NIK."""

    known_before: bool  # not first listed by this import itself
    named: bool  # the list names it by a family id of its own


async def standings(
    connection: Connection, number: int, source: str, households: Collection[HouseholdId]
) -> dict[HouseholdId, Standing]:
    """How each of these households stands to an import."""
    rows = await connection.fetch(
        """
        SELECT wanted.household_id,
               coalesce(bool_or(known.learned_from IS DISTINCT FROM $1), true) AS known_before,
               coalesce(bool_or(listed.family IS NOT NULL), false) AS named
        FROM unnest($3::text[]) AS wanted (household_id)
        LEFT JOIN household_family known ON known.household_id = wanted.household_id
        LEFT JOIN snapshot_family listed
               ON listed.import = $1 AND known.source = $2 AND listed.family = known.family
        GROUP BY wanted.household_id
        """,
        number,
        source,
        list(households),
    )
    return {row["household_id"]: Standing(row["known_before"], row["named"]) for row in rows}


async def learn_families(
    connection: Connection, number: int, source: str, learned: Sequence[tuple[bytes, HouseholdId]]
) -> None:
    """From now on these family ids of the source stand for these households."""
    if learned:
        await connection.execute(
            """
            INSERT INTO household_family (source, family, household_id, learned_from)
            SELECT $2, family, household_id, $1 FROM unnest($3::bytea[], $4::text[]) AS learned (family, household_id)
            ON CONFLICT (source, family) DO UPDATE
            SET household_id = EXCLUDED.household_id, learned_from = EXCLUDED.learned_from
            """,
            number,
            source,
            [family for family, _ in learned],
            [household_id for _, household_id in learned],
        )


async def verified_participants(connection: Connection, households: Collection[HouseholdId]) -> list[PersonId]:
    """The participants of these households whose priority counts."""
    rows = await connection.fetch(
        "SELECT participant_id FROM participant WHERE household_id = ANY($1::text[]) AND status = 'verified'",
        list(households),
    )
    return [row["participant_id"] for row in rows]


async def spare(connection: Connection, number: int, households: Collection[HouseholdId]) -> None:
    """This list does not delist these: a row of it that is unresolved may have meant them."""
    if households:
        await connection.execute(
            "INSERT INTO snapshot_spared (import, household_id) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
            number,
            list(households),
        )


async def households_not_named(
    connection: Connection, number: int, snapshot: Snapshot, after: HouseholdId, limit: int
) -> list[HouseholdId]:
    """Households that the list would have had to name and does not, not even in a row that was rejected."""
    rows = await connection.fetch(
        """
        SELECT h.household_id
        FROM household h
        WHERE h.household_id > $2 AND h.status = 'listed' AND h.source = $3 AND h.snapshot_id <> $4
          AND EXISTS (
              SELECT 1 FROM unnest($5::text[]) AS area
              WHERE h.area_code = area OR starts_with(h.area_code, area || '.')
          )
          AND NOT EXISTS (SELECT 1 FROM snapshot_spared s WHERE s.import = $1 AND s.household_id = h.household_id)
          AND NOT EXISTS (
              SELECT 1
              FROM household_family known
              JOIN snapshot_family named ON named.import = $1 AND named.family = known.family
              WHERE known.household_id = h.household_id AND known.source = $3
          )
        ORDER BY h.household_id
        LIMIT $6
        """,
        number,
        after,
        snapshot.source,
        snapshot.snapshot_id,
        list(snapshot.areas),
        limit,
    )
    return [row["household_id"] for row in rows]


async def advance(
    connection: Connection,
    work: Import,
    *,
    stage: str | None = None,
    last_row: int | None = None,
    last_household: HouseholdId | None = None,
    settled: Mapping[Outcome, int] = MappingProxyType({}),
    people_on_list: int = 0,
    delisted: int = 0,
) -> None:
    """Notes how far the import is, in the transaction that got it there. What is applied can be opened no longer."""
    await connection.execute(
        """
        UPDATE snapshot_import
        SET stage = $2, last_row = $3, last_household = $4, listed = listed + $5, rank_changed = rank_changed + $6,
            unchanged = unchanged + $7, unresolved = unresolved + $8, people_on_list = people_on_list + $9,
            delisted = delisted + $10, wrapped_key = CASE WHEN $2 = 'applied' THEN NULL ELSE wrapped_key END
        WHERE number = $1
        """,
        work.number,
        stage or work.stage,
        work.last_row if last_row is None else last_row,
        work.last_household if last_household is None else last_household,
        settled.get(Outcome.LISTED, 0),
        settled.get(Outcome.RANK_CHANGED, 0),
        settled.get(Outcome.UNCHANGED, 0),
        settled.get(Outcome.UNRESOLVED, 0),
        people_on_list,
        delisted,
    )


# --- What the API shows -----------------------------------------------------------------------------------------------


class SnapshotView(BaseModel):
    """A list that came in, how far it is applied, and what it did."""

    snapshot_id: SnapshotId
    version: int
    area_code: AreaCode
    state: Literal["received", "applying", "applied"]
    source: str
    dated: date
    areas: tuple[AreaCode, ...]
    file_name: str
    file_digest: str = Field(description="SHA-256 of the file's bytes, in hex")
    rows: int = Field(description="Without the header and empty rows")
    rows_rejected: int
    households: int = Field(description="That were good, and are or were to be settled")
    people: int
    received_at: datetime
    applied_at: datetime | None
    households_settled: int
    households_on_list: int
    people_on_list: int
    listed: int
    rank_changed: int
    unchanged: int
    delisted: int
    unresolved: int


class ProblemView(BaseModel):
    """What is wrong in a row. It holds no value of the file."""

    row: int = Field(description="As a spreadsheet counts: the header is row 1")
    column: str = Field(description="Empty for the row as a whole")
    code: str
    severity: Severity
    reason: str
    remedy: str


_SHOWN = """
    SELECT s.*, i.stage, i.listed + i.rank_changed + i.unchanged + i.unresolved AS settled
    FROM snapshot s
    JOIN snapshot_import i ON i.snapshot_id = s.snapshot_id
"""


async def snapshot_page(connection: Connection, paging: Paging) -> Page[SnapshotView]:
    """The newest first."""
    (before,) = paging.after(str) or (None,)
    rows = await connection.fetch(
        f"{_SHOWN} WHERE $1::text IS NULL OR s.snapshot_id < $1 ORDER BY s.snapshot_id DESC LIMIT $2",
        before,
        paging.fetch,
    )
    return paging.page(rows, _view, lambda row: (row["snapshot_id"],))


async def snapshot_view(connection: Connection, snapshot_id: SnapshotId) -> SnapshotView | None:
    row = await connection.fetchrow(f"{_SHOWN} WHERE s.snapshot_id = $1", snapshot_id)
    return None if row is None else _view(row)


def _view(row: asyncpg.Record) -> SnapshotView:
    shown = {name: row[name] for name in SnapshotView.model_fields if name in row}
    return SnapshotView(
        **shown | {"areas": from_json(row["areas"]), "state": _state(row), "households_settled": row["settled"]}
    )


def _state(row: asyncpg.Record) -> str:
    if row["status"] == SnapshotStatus.APPLIED:
        return "applied"
    return "applying" if row["settled"] > 0 or row["stage"] == "delisting" else "received"


async def problem_counts(connection: Connection, number: int) -> list[tuple[str, Severity, int]]:
    """(code, severity, how often), the most frequent first."""
    rows = await connection.fetch(
        """
        SELECT code, severity, count(*) AS times
        FROM snapshot_problem
        WHERE import = $1
        GROUP BY code, severity
        ORDER BY times DESC, code
        """,
        number,
    )
    return [(row["code"], Severity(row["severity"]), row["times"]) for row in rows]


async def problem_page(connection: Connection, number: int, paging: Paging) -> Page[ProblemView]:
    """By row."""
    row, last = paging.after(int, int) or (0, 0)
    rows = await connection.fetch(
        """
        SELECT number, row, "column", code, severity, reason, remedy
        FROM snapshot_problem
        WHERE import = $1 AND (row, number) > ($2, $3)
        ORDER BY row, number
        LIMIT $4
        """,
        number,
        row,
        last,
        paging.fetch,
    )
    return paging.page(
        rows,
        lambda row: ProblemView(**{name: row[name] for name in ProblemView.model_fields}),
        lambda row: (row["row"], row["number"]),
    )


async def import_number(connection: Connection, snapshot_id: SnapshotId) -> int | None:
    """The number of the import that brought a snapshot; None for an unknown one, or one out of the reader's areas."""
    return cast(
        "int | None",
        await connection.fetchval("SELECT number FROM snapshot_import WHERE snapshot_id = $1", snapshot_id),
    )
