"""Owns the staged rows of a list: how they are appended, gathered into families, checked together, and swept away."""

from collections.abc import Sequence
from typing import cast

from contracts.p3ke import Problem, Severity
from contracts.registry import AreaCode, SnapshotId
from services.kit.rows import Connection
from services.registry.snapshots.reading import Batch, RowProblem

MOST_PEOPLE = 50
"""In one family. More is a list whose family ids have slipped, and would not fit into one message either."""

_WHOLE_LIST_SECONDS = 600.0
"""Statements over all rows may take longer than others: the list of a whole country has millions of them."""

# --- Appending --------------------------------------------------------------------------------------------------------


async def begin_import(connection: Connection, snapshot_id: SnapshotId, area_code: AreaCode, wrapped_key: bytes) -> int:
    """The number of a new import. Nobody sweeps it away while this connection lives."""
    async with connection.transaction():
        number = await connection.fetchval(
            "INSERT INTO snapshot_import (snapshot_id, area_code, wrapped_key) VALUES ($1, $2, $3) RETURNING number",
            snapshot_id,
            area_code,
            wrapped_key,
        )
        # The lock is the session's and outlives the transaction, but is held before anybody else sees the row.
        await connection.execute("SELECT pg_advisory_lock(hashtext('snapshot_import'), $1::bigint::int)", number)
    return cast(int, number)


async def stage(connection: Connection, number: int, area_code: AreaCode, batch: Batch) -> None:
    """Appends a batch of rows and what was wrong in them."""
    if batch.rows:
        await connection.copy_records_to_table(
            "snapshot_row",
            columns=("import", "row", "family", "family_version", "identity", "head", "sealed"),
            records=[(number, *row) for row in batch.rows],
        )
    await add_problems(connection, number, area_code, batch.problems)


async def add_problems(
    connection: Connection, number: int, area_code: AreaCode, problems: Sequence[RowProblem]
) -> None:
    if problems:
        await connection.copy_records_to_table(
            "snapshot_problem",
            columns=("import", "area_code", "row", "column", "code", "severity", "reason", "remedy"),
            records=[(number, area_code, *problem) for problem in problems],
        )


# --- Gathering --------------------------------------------------------------------------------------------------------


async def gather(connection: Connection, number: int, area_code: AreaCode) -> tuple[int, int]:
    """Checks the rows of a list together; gives the counts of the households and people that are taken.

    To be called in a transaction. A family is taken whole or not at all: its rows must agree and name one head.
    """
    await connection.execute("SET LOCAL work_mem = '64MB'")  # Else a list of a province is sorted on disk, three times.
    await connection.execute("ANALYZE snapshot_row", timeout=_WHOLE_LIST_SECONDS)
    await _drop_repeated_people(connection, number, area_code)
    await _make_families(connection, number)
    await connection.execute("ANALYZE snapshot_family", timeout=_WHOLE_LIST_SECONDS)
    await _report_disagreeing_rows(connection, number, area_code)
    await _report_families_not_taken(connection, number, area_code)
    await _report_people_of_several_families(connection, number, area_code)
    row = await connection.fetchrow(
        "SELECT count(*), coalesce(sum(people), 0) FROM snapshot_family WHERE import = $1 AND taken", number
    )
    assert row is not None
    return row[0], int(row[1])


async def _drop_repeated_people(connection: Connection, number: int, area_code: AreaCode) -> None:
    """Rejects every row about a person whom an earlier row of the same family is about."""
    await connection.execute(
        """
        WITH repeated AS (
            SELECT family, identity, min(row) AS first
            FROM snapshot_row
            WHERE import = $1 AND identity IS NOT NULL AND sealed IS NOT NULL
            GROUP BY family, identity
            HAVING count(*) > 1
        ), dropped AS (
            UPDATE snapshot_row r
            SET sealed = NULL
            FROM repeated
            WHERE r.import = $1 AND r.family = repeated.family AND r.identity = repeated.identity
              AND r.row > repeated.first AND r.sealed IS NOT NULL
            RETURNING r.row, repeated.first
        )
        INSERT INTO snapshot_problem (import, area_code, row, "column", code, severity, reason, remedy)
        SELECT $1, $2, row, $3, $4, $5, replace($6, '{first}', first::text), $7
        FROM dropped
        """,
        number,
        area_code,
        *_said(_REPEATED),
        timeout=_WHOLE_LIST_SECONDS,
    )


async def _make_families(connection: Connection, number: int) -> None:
    await connection.execute(
        """
        INSERT INTO snapshot_family (import, family, first_row, people, heads, agree, taken)
        SELECT $1, family, first_row, people, heads, agree, agree AND heads = 1 AND people <= $2
        FROM (
            SELECT family,
                   coalesce(min(row) FILTER (WHERE sealed IS NOT NULL), min(row)) AS first_row,
                   count(*) FILTER (WHERE sealed IS NOT NULL) AS people,
                   count(*) FILTER (WHERE sealed IS NOT NULL AND head) AS heads,
                   coalesce(min(family_version) = max(family_version), true) AS agree
            FROM snapshot_row
            WHERE import = $1
            GROUP BY family
        ) AS gathered
        """,
        number,
        MOST_PEOPLE,
        timeout=_WHOLE_LIST_SECONDS,
    )


async def _report_disagreeing_rows(connection: Connection, number: int, area_code: AreaCode) -> None:
    """Reports rows that contradict their family's first row from afar; neighbours were compared while reading."""
    await connection.execute(
        """
        INSERT INTO snapshot_problem (import, area_code, row, "column", code, severity, reason, remedy)
        SELECT $1, $2, r.row, $3, $4, $5, $6, $7
        FROM snapshot_family f
        JOIN snapshot_row r ON r.import = $1 AND r.family = f.family
        WHERE f.import = $1 AND NOT f.agree AND r.family_version <> (
            SELECT first.family_version
            FROM snapshot_row first
            WHERE first.import = $1 AND first.family = f.family AND first.family_version IS NOT NULL
            ORDER BY first.row
            LIMIT 1
        ) AND NOT EXISTS (
            SELECT 1 FROM snapshot_problem p WHERE p.import = $1 AND p.row = r.row AND p.code = $4
        )
        """,
        number,
        area_code,
        *_said(_DISAGREES),
        timeout=_WHOLE_LIST_SECONDS,
    )


async def _report_families_not_taken(connection: Connection, number: int, area_code: AreaCode) -> None:
    """Reports each at its first row, with the first reason that holds."""
    reasons = (_FAMILY_DISAGREES, _TOO_MANY_PEOPLE, _NO_HEAD, _SEVERAL_HEADS)
    await connection.execute(
        """
        INSERT INTO snapshot_problem (import, area_code, row, "column", code, severity, reason, remedy)
        SELECT $1, $2, f.first_row, why."column", why.code, why.severity, why.reason, why.remedy
        FROM snapshot_family f
        JOIN unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
             WITH ORDINALITY AS why ("column", code, severity, reason, remedy, place)
          ON why.place = CASE WHEN NOT f.agree THEN 1 WHEN f.people > $3 THEN 2 WHEN f.heads = 0 THEN 3 ELSE 4 END
        WHERE f.import = $1 AND NOT f.taken AND f.people > 0
        """,
        number,
        area_code,
        MOST_PEOPLE,
        *[list(column) for column in zip(*map(_said, reasons), strict=True)],
        timeout=_WHOLE_LIST_SECONDS,
    )


async def _report_people_of_several_families(connection: Connection, number: int, area_code: AreaCode) -> None:
    """Reports them in every row after the first. Nobody is rejected: which family is right is found at the door."""
    await connection.execute(
        """
        WITH shared AS (
            SELECT r.identity, min(r.row) AS first
            FROM snapshot_row r
            JOIN snapshot_family f ON f.import = $1 AND f.family = r.family AND f.taken
            WHERE r.import = $1 AND r.identity IS NOT NULL AND r.sealed IS NOT NULL
            GROUP BY r.identity
            HAVING count(*) > 1
        ), concerned AS (
            SELECT r.row, r.family, r.identity, r.head, shared.first
            FROM shared
            JOIN snapshot_row r ON r.import = $1 AND r.identity = shared.identity AND r.sealed IS NOT NULL
            JOIN snapshot_family f ON f.import = $1 AND f.family = r.family AND f.taken
        ), marked AS (
            UPDATE snapshot_family f
            SET shares_head = true
            FROM concerned c
            WHERE f.import = $1 AND f.family = c.family AND c.head AND EXISTS (
                SELECT 1 FROM concerned o WHERE o.head AND o.identity = c.identity AND o.family <> c.family
            )
        )
        INSERT INTO snapshot_problem (import, area_code, row, "column", code, severity, reason, remedy)
        SELECT $1, $2, row, $3, $4, $5, replace($6, '{first}', first::text), $7
        FROM concerned
        WHERE row > first
        """,
        number,
        area_code,
        *_said(_IN_SEVERAL_FAMILIES),
        timeout=_WHOLE_LIST_SECONDS,
    )


async def count_what_is_listed(connection: Connection) -> None:
    """Has the planner know how many households there are, before each is held against the list: soon after a first
    list it takes them for few, and the comparison of 60,000 with 3,600 ran into its limit of a minute."""
    await connection.execute("ANALYZE household, household_family, snapshot_spared", timeout=_WHOLE_LIST_SECONDS)


def _said(problem: Problem) -> tuple[str, str, str, str, str]:
    return problem.column, problem.code, problem.severity, problem.reason, problem.remedy


# --- Sweeping ---------------------------------------------------------------------------------------------------------


async def abandoned_imports(connection: Connection) -> list[int]:
    """Imports whose upload broke off: nobody holds their lock. This transaction holds it from now on."""
    rows = await connection.fetch(
        """
        SELECT number
        FROM snapshot_import
        WHERE stage = 'uploading' AND pg_try_advisory_xact_lock(hashtext('snapshot_import'), number::int)
        """
    )
    return [row["number"] for row in rows]


async def forget_import(connection: Connection, number: int) -> None:
    """Removes an import without a trace, problems and all."""
    for table in ("snapshot_row", "snapshot_family", "snapshot_problem"):
        await connection.execute(f"DELETE FROM {table} WHERE import = $1", number, timeout=_WHOLE_LIST_SECONDS)
    await connection.execute("DELETE FROM snapshot_import WHERE number = $1", number)


async def sweep_applied(connection: Connection, limit: int) -> bool:
    """Deletes some staged rows of an import that is applied; its problems stay. False if there is no such import."""
    number = await connection.fetchval(
        "SELECT number FROM snapshot_import WHERE stage = 'applied' ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    if number is None:
        return False
    deleted = await connection.fetchval(
        """
        WITH doomed AS (
            SELECT ctid FROM snapshot_row WHERE import = $1 LIMIT $2
        ), deleted AS (
            DELETE FROM snapshot_row r USING doomed WHERE r.ctid = doomed.ctid RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        number,
        limit,
    )
    if deleted == 0:
        await connection.execute("DELETE FROM snapshot_family WHERE import = $1", number, timeout=_WHOLE_LIST_SECONDS)
        await connection.execute("DELETE FROM snapshot_spared WHERE import = $1", number)
        await connection.execute("UPDATE snapshot_import SET stage = 'swept' WHERE number = $1", number)
    return True


# --- What is reported -------------------------------------------------------------------------------------------------

_REPEATED = Problem(
    "nik",
    "person-repeated",
    "The family has this person already, in row {first}.",
    "Remove the row, or correct the NIK or the id of one of the two.",
)
_DISAGREES = Problem(
    "",
    "family-conflict",
    "The row says something else of the family than the family's first row.",
    "Give all rows of a family the same family columns, or another family id if it is another family.",
)
_FAMILY_DISAGREES = Problem(
    "id_keluarga",
    "family-not-taken",
    "The family is not taken, because its rows contradict each other.",
    "Correct the rows of this family that are reported.",
)
_TOO_MANY_PEOPLE = Problem(
    "id_keluarga",
    "too-many-people",
    f"The family is not taken, because it has more than {MOST_PEOPLE} people.",
    "Check whether the column of the family ids has slipped.",
)
_NO_HEAD = Problem(
    "hubungan_kepala_keluarga",
    "no-head",
    "The family is not taken, because no row of it that can be taken is its head's.",
    "Write Kepala Keluarga in the head's row, and correct that row if it is reported.",
)
_SEVERAL_HEADS = Problem(
    "hubungan_kepala_keluarga",
    "several-heads",
    "The family is not taken, because more than one of its rows is a head's.",
    "Write Kepala Keluarga in one row only.",
)
_IN_SEVERAL_FAMILIES = Problem(
    "nik",
    "person-in-several-families",
    "The person stands in another family too, in row {first}.",
    "Find out on the visit in which family the person belongs, and have the source correct the other.",
    Severity.WARNING,
)
