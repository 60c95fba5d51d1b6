"""Figures as SQL: exact, for whoever may see them, and what they stand on. All of one answer is read at one moment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import asyncpg
from pydantic import BaseModel
from pydantic_core import from_json

from contracts.areas import AreaCode
from services.kit.rows import Connection
from services.outcomes.cooperatives.decisions import overdue_before
from services.outcomes.figures import counts
from services.outcomes.figures.counts import Count
from services.outcomes.figures.definitions import Figure, RuleKind
from services.outcomes.figures.sources import Dimension, Source

MOST_PARTS = 1000

# --- Exact ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Of which area, course, mode or cohort a figure is asked."""

    area: AreaCode | None = None
    to: Mapping[Dimension, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Value:
    """`of` is how many rows, people or visits the value is about."""

    key: str
    value: float | int | None
    of: int


@dataclass(frozen=True, slots=True)
class Exact:
    total: Value
    parts: tuple[Value, ...]


async def exact(
    connection: Connection, figure: Figure, by: Dimension | None, narrowed: Narrowed, now: datetime
) -> Exact:
    """The figure as a whole and by a dimension, over the rows that the connection's role may see."""
    source, sql, given = figure.source, figure.sql, _Given()
    if "{active_since}" in sql:
        sql = sql.replace("{active_since}", f"{given.as_(_active_since(now))}::date")
    conditions = [source.where]
    if narrowed.area is not None:
        # "/" is the character after ".": an area and all below it are one range of codes.
        low, high = given.as_(narrowed.area), given.as_(narrowed.area + "/")
        conditions.append(f"{source.area} >= {low} AND {source.area} < {high}")
    conditions += [f"{source.dimensions[name]} = {given.as_(wanted)}" for name, wanted in narrowed.to.items()]
    parts = f", ({source.by[by]})" if by is not None else ""
    key = source.by[by] if by is not None else "''"
    rows = await connection.fetch(
        f"""
        SELECT {key} AS key, {sql} AS value, {figure.of} AS of, {f"grouping({key})" if parts else "1"} AS whole
        FROM {source.rows}
        WHERE {" AND ".join(conditions)}
        GROUP BY GROUPING SETS ((){parts})
        ORDER BY whole DESC, key
        LIMIT {MOST_PARTS + 1}
        """,
        *given.values,
    )
    total, *others = (Value(row["key"] or "", row["value"], row["of"] or 0) for row in rows)
    return Exact(total, tuple(part for part in others if part.key or part.value))


@dataclass
class _Given:
    """The parameters of a statement."""

    values: list[Any] = field(default_factory=list)

    def as_(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


def _active_since(now: datetime) -> date:
    """A cooperative that has met on this day or since is active."""
    return overdue_before(now)


# --- What a figure stands on ------------------------------------------------------------------------------------------


class Reading(BaseModel):
    """How far a topic of another service is read: the offset that comes next, and the last sequence that was taken."""

    topic: str
    partition: int
    next_offset: int
    last_sequence: int


class Standing(BaseModel):
    """What an answer knows: the own log up to its last sealed event, other services' topics up to what was read."""

    log: str = "/entas/outcomes"
    last_sequence: int  # -1: nothing is sealed yet
    root: str | None  # of the Merkle tree over what is sealed
    waiting: int  # events that count already and are sealed in a moment
    reads: list[Reading]


async def standing(connection: Connection) -> Standing:
    batch = await connection.fetchrow(
        "SELECT first_sequence + size - 1 AS last, root FROM sealed_batch ORDER BY batch_no DESC LIMIT 1"
    )
    reads = await connection.fetch(
        "SELECT topic, partition, next_offset, last_sequence FROM cursor ORDER BY topic, partition"
    )
    return Standing(
        last_sequence=-1 if batch is None else batch["last"],
        root=None if batch is None else batch["root"].hex(),
        waiting=await connection.fetchval("SELECT count(*) FROM outbox"),
        reads=[Reading(**read) for read in reads],
    )


class RuleInForce(BaseModel):
    """The rule that decides, as it is in force now. For completion: what training applied, the newest first."""

    kind: RuleKind
    rule_id: str
    rule_version: int
    definition: dict[str, Any] | None = None
    source: str | None = None
    adopted_at: datetime | None = None


async def rules_in_force(connection: Connection) -> dict[RuleKind, list[RuleInForce]]:
    rows = await connection.fetch(
        "SELECT kind, rule_id, rule_version, definition, source, adopted_at FROM rule ORDER BY kind, adopted_at DESC"
    )
    found: dict[RuleKind, list[RuleInForce]] = {}
    for row in rows:
        rule = RuleInForce(**{**dict(row), "definition": from_json(row["definition"])})
        found.setdefault(rule.kind, []).append(rule)
    applied = await connection.fetch(
        """
        SELECT DISTINCT rule_id, rule_version
        FROM placement
        WHERE rule_id IS NOT NULL
        ORDER BY rule_id, rule_version DESC
        """
    )
    found[RuleKind.COMPLETION] = [RuleInForce(kind=RuleKind.COMPLETION, **row) for row in applied]
    return found


# --- What parts are called --------------------------------------------------------------------------------------------


class Class(BaseModel):
    """A cohort as figures name it."""

    cohort_id: str
    number: str
    course_id: str
    course_title: str
    mode: str
    status: str
    starts_on: date
    ends_on: date
    capacity: int


async def classes(connection: Connection) -> list[Class]:
    rows = await connection.fetch(
        """
        SELECT cohort_id, number, course_id, course_title, delivery_mode AS mode, status, starts_on, ends_on, capacity
        FROM cohort
        ORDER BY starts_on, number
        """
    )
    return [Class(**row) for row in rows]


async def lists(connection: Connection) -> dict[str, str]:
    """The targeting lists by id: their source and date."""
    rows = await connection.fetch("SELECT snapshot_id, source, dated FROM snapshot ORDER BY received_at")
    return {row["snapshot_id"]: f"{row['source']} {row['dated'].isoformat()}" for row in rows}


# --- Counted for everybody --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """Exact counts by the names of their columns: the whole, by kecamatan, by cohort. Not to be shown as they are."""

    totals: dict[str, int] = field(default_factory=dict)
    by_kecamatan: dict[AreaCode, dict[str, int]] = field(default_factory=dict)
    by_cohort: dict[str, dict[str, int]] = field(default_factory=dict)

    def place(self, row: asyncpg.Record) -> dict[str, int]:
        """Where a row of `tally` belongs."""
        if not row["not_area"]:
            return self.by_kecamatan.setdefault(row["kecamatan"], {})
        if not row["not_class"]:
            return self.by_cohort.setdefault(row["cohort_id"], {})
        return self.totals


async def tally(connection: Connection, wanted: Iterable[Count]) -> Tally:
    """Counts all of a source in one query: in whole, by kecamatan, by cohort."""
    found = Tally()
    for source, of_source in counts.by_source(wanted).items():
        kecamatan, cohort = source.by[Dimension.KECAMATAN], source.dimensions.get(Dimension.COHORT)
        of_cohorts = (
            "NULL AS cohort_id, 1 AS not_class"
            if cohort is None
            else f"{cohort} AS cohort_id, grouping({cohort}) AS not_class"
        )
        rows = await connection.fetch(
            f"""
            SELECT {kecamatan} AS kecamatan, grouping({kecamatan}) AS not_area, {of_cohorts}, {_selected(of_source)}
            FROM {source.rows}
            WHERE {source.where}
            GROUP BY GROUPING SETS ((), ({kecamatan}){"" if cohort is None else f", ({cohort})"})
            """
        )
        for row in rows:
            found.place(row).update({count.name: row[count.name] for count in of_source})
    return found


def _selected(of_source: Sequence[Count]) -> str:
    return ", ".join(f"{count.sql} AS {count.name}" for count in of_source)


async def tally_of_each(connection: Connection, wanted: Iterable[Count]) -> dict[str, dict[str, int]]:
    """By part and count: those that are counted for each follow-up, need, reason or kind."""
    found: dict[str, dict[str, int]] = {}
    for source, of_source in counts.by_source(wanted).items():
        for row in await _grouped(connection, source, of_source):
            found.setdefault(row["part"], {}).update({count.name: row[count.name] for count in of_source})
    return found


async def _grouped(connection: Connection, source: Source, of_source: Sequence[Count]) -> list[asyncpg.Record]:
    dimension = of_source[0].of_each
    assert dimension is not None
    return await connection.fetch(
        f"""
        SELECT {source.by[dimension]} AS part, {_selected(of_source)}
        FROM {source.rows}
        WHERE {source.where}
        GROUP BY 1
        """
    )


async def averages(
    connection: Connection, figures: Iterable[Figure], by: Dimension | None
) -> dict[str, dict[str, Any]]:
    """The values of figures by part ('' is the whole) and figure."""
    found: dict[str, dict[str, Any]] = {}
    grouped: dict[Source, list[Figure]] = {}
    for figure in figures:
        grouped.setdefault(figure.source, []).append(figure)
    for source, of_source in grouped.items():
        rows = await connection.fetch(
            f"""
            SELECT {source.by[by] if by else "''"} AS part, {", ".join(f"{f.sql} AS {f.id}" for f in of_source)}
            FROM {source.rows}
            WHERE {source.where}
            {"GROUP BY 1" if by else ""}
            """
        )
        for row in rows:
            found.setdefault(row["part"], {}).update({figure.id: row[figure.id] for figure in of_source})
    return found
