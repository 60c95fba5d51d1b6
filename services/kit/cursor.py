"""The cursor: the database's row of how far each partition was read, which is compared and moved with the batch."""

from collections.abc import Collection, Mapping, Sequence

from services.kit.folds import Folds, OtherFold, difference
from services.kit.positions import Place, Slice, Standing
from services.kit.rows import Connection


class Outrun(Exception):
    """Another member has moved the cursor on: what this one holds is out of date, and nothing of its batch counts."""


async def read_cursor(connection: Connection, places: Collection[Place]) -> dict[Place, Standing]:
    rows = await connection.fetch(
        """
        SELECT c.topic, c.partition, c.next_offset, c.last_sequence, c.last_event_id
        FROM cursor c
        JOIN unnest($1::text[], $2::smallint[]) AS place (topic, partition) USING (topic, partition)
        """,
        [place.topic for place in places],
        [place.partition for place in places],
    )
    return {
        Place(row["topic"], row["partition"]): Standing(row["next_offset"], row["last_sequence"], row["last_event_id"])
        for row in rows
    }


async def hold_cursor(
    connection: Connection, slices: Sequence[Slice], service: str, folds: Mapping[str, Folds]
) -> None:
    """Compares the cursor with the positions held, and keeps it from moving until this transaction ends.

    Raises `Outrun`; and `OtherFold` where the rows are made with another fold than ours, as after a rebuild.
    """
    rows = await connection.fetch(
        """
        SELECT c.topic, c.partition, c.next_offset, c.folds
        FROM cursor c
        JOIN unnest($1::text[], $2::smallint[]) AS place (topic, partition) USING (topic, partition)
        ORDER BY c.topic, c.partition
        FOR UPDATE OF c
        """,
        [piece.place.topic for piece in slices],
        [piece.place.partition for piece in slices],
    )
    found = {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    for piece in slices:
        if found.get(piece.place) != piece.before.next_offset:
            raise Outrun(f"{piece.place}: held {piece.before.next_offset}, the cursor says {found.get(piece.place)}")
    others = {
        Place(row["topic"], row["partition"]): reason
        for row in rows
        if row["topic"] in folds and (reason := difference(service, row["topic"], folds[row["topic"]], row["folds"]))
    }
    if others:
        raise OtherFold(others)


async def move_cursor(connection: Connection, slices: Sequence[Slice]) -> None:
    await connection.execute(
        """
        UPDATE cursor c
        SET next_offset = moved.next_offset, last_sequence = moved.last_sequence,
            last_event_id = moved.last_event_id, stopped = NULL
        FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[], $5::text[])
             AS moved (topic, partition, next_offset, last_sequence, last_event_id)
        WHERE c.topic = moved.topic AND c.partition = moved.partition
        """,
        [piece.place.topic for piece in slices],
        [piece.place.partition for piece in slices],
        [piece.after.next_offset for piece in slices],
        [piece.after.last_sequence for piece in slices],
        [piece.after.last_event_id for piece in slices],
    )
