"""With which fold a projection was made: what a worker checks in each batch, and what a rebuild writes down.

`cursor.folds` names the tables of a topic with the versions of their folds (`Table.fold_version`). It stands beside the
position, since both are compared in one query: rows must never be folded on with another fold than made them.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from services.kit.positions import Place
from services.kit.rows import Connection
from services.kit.table import Table

Folds = Mapping[str, int]  # table -> version of its fold


class OtherFold(Exception):
    """The projections of a partition are made with another fold than this code's: nothing was folded."""

    def __init__(self, reasons: Mapping[Place, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


def folds_by_topic(tables: Sequence[Table[Any]], topics: Collection[str]) -> dict[str, dict[str, int]]:
    """With which folds this code makes the tables of each topic."""
    return {topic: folds_of(topic, tables) for topic in sorted(topics)}


def folds_of(topic: str, tables: Sequence[Table[Any]]) -> dict[str, int]:
    """With which folds this code makes the tables of one topic: table -> version of its fold."""
    return {table.name: table.fold_version for table in tables if table.topic == topic}


def difference(service: str, topic: str, ours: Folds, stored: str | None) -> str | None:
    """Why this code may not fold the topic on; None where it may. `stored` is what `cursor.folds` says."""
    theirs: dict[str, int] = {} if stored is None else from_json(stored)
    if theirs == ours:
        return None
    older = [f"{name} (version {v})" for name, v in theirs.items() if ours.get(name, 0) < v]
    if older:
        return (
            f"{topic}: the database's {', '.join(sorted(older))} is folded by a newer release than this one: deploy "
            f"that release here too (if the table was taken out: `python -m services.{service} rebuild`)"
        )
    newer = [
        f"{name} ({theirs.get(name, 'not yet there')} -> {v})" for name, v in ours.items() if theirs.get(name) != v
    ]
    tables = " ".join(sorted(name for name, v in ours.items() if theirs.get(name) != v))
    return (
        f"{topic}: this release folds {', '.join(sorted(newer))} in a new way; its facts wait until "
        f"`python -m services.{service} rebuild {tables}` has made the rows anew"
    )


async def adopt(connection: Connection, ours: Mapping[str, Folds]) -> None:
    """Writes down this code's folds where nothing was folded yet, or nobody has written down with what."""
    await connection.execute(
        """
        UPDATE cursor c
        SET folds = mine.folds::jsonb
        FROM unnest($1::text[], $2::text[]) AS mine (topic, folds)
        WHERE c.topic = mine.topic
          AND (c.folds IS NULL OR NOT EXISTS (SELECT 1 FROM cursor r WHERE r.topic = c.topic AND r.next_offset > 0))
          AND c.folds IS DISTINCT FROM mine.folds::jsonb
        """,
        list(ours),
        [to_json(folds).decode() for folds in ours.values()],
    )


async def other_folds(connection: Connection, service: str, ours: Mapping[str, Folds]) -> dict[Place, str]:
    """The partitions that this code may not fold on, and why."""
    rows = await connection.fetch("SELECT topic, partition, folds FROM cursor WHERE topic = ANY($1)", list(ours))
    told = {
        Place(row["topic"], row["partition"]): difference(service, row["topic"], ours[row["topic"]], row["folds"])
        for row in rows
    }
    return {place: reason for place, reason in told.items() if reason is not None}
