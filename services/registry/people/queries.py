"""Owns what concerns a person whatever they take part in: finding them, their key, and who looked at their data."""

from collections.abc import Collection, Sequence
from datetime import datetime

from pydantic import BaseModel

from contracts.envelope import Event
from contracts.registry import HouseholdId, PersonErased, PersonId
from services.kit.keyring import erase_key
from services.kit.paging import Page, Paging
from services.kit.rows import Connection
from services.kit.transaction import SealedText
from services.registry import search

LATEST = (1 << 63) - 1


class FoundPerson(BaseModel):
    """Somebody the search found; the name is shown as it stands on the list."""

    person_id: PersonId
    household_id: HouseholdId
    area_code: str
    likeness: float  # 1: as asked for
    name: str | None = None


class Read(BaseModel):
    """One look at a person's data (UU 27/2022: the person may see the trail of its processing)."""

    number: int
    read_at: datetime
    reader: str
    purpose: str
    fields: list[str]


async def people_named(connection: Connection, name: str, most: int) -> list[FoundPerson]:
    """Persons of the caller's areas whose name is like this one, the likest first."""
    rows = await connection.fetch("SELECT * FROM people_named($1, $2)", search.normalised_name(name), most)
    return [FoundPerson(**dict(row)) for row in rows]


async def people_with_national_id(connection: Connection, national_id: str) -> list[FoundPerson]:
    """Persons of the caller's areas who bear this NIK."""
    rows = await connection.fetch("SELECT * FROM people_with_national_id($1)", search.national_id_digest(national_id))
    return [FoundPerson(**dict(row)) for row in rows]


async def sealed_records(connection: Connection, found: Collection[FoundPerson]) -> list[SealedText]:
    """What stands sealed of these persons, in their order."""
    rows = await connection.fetch(
        """
        SELECT m.person_id, m.sealed_by, m.sealed
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (household_id, person_id, place)
        JOIN member m ON m.household_id = wanted.household_id AND m.person_id = wanted.person_id
        ORDER BY wanted.place
        """,
        [person.household_id for person in found],
        [person.person_id for person in found],
    )
    return [(row["person_id"], row["sealed_by"], row["sealed"]) for row in rows]


# --- Who looked -------------------------------------------------------------------------------------------------------


async def reads_of(connection: Connection, paging: Paging, person_id: PersonId) -> Page[Read]:
    """Latest first; nothing for a person outside the caller's areas."""
    (before,) = paging.after(int) or (LATEST,)
    rows = await connection.fetch("SELECT * FROM reads_of($1, $2, $3)", person_id, before, paging.fetch)
    return paging.page(rows, lambda row: Read(**dict(row)), lambda row: (row["number"],))


# --- Forgetting -------------------------------------------------------------------------------------------------------


async def forget(connection: Connection, household_id: HouseholdId, person_id: PersonId) -> None:
    """Destroys the person's key and what was derived; with the last person of a household also the household's.

    No list can mean that household any more: nothing could be sealed under its key. It would be listed as a new one.
    """
    await erase_key(connection, person_id)
    await search.forget(connection, person_id)
    somebody_left = await connection.fetchval(
        """
        SELECT EXISTS (
            SELECT 1
            FROM member m
            JOIN person_key k ON k.subject_id = m.person_id
            WHERE m.household_id = $1
            AND k.wrapped IS NOT NULL
        )
        """,
        household_id,
    )
    if not somebody_left:
        await erase_key(connection, household_id)
        await connection.execute("DELETE FROM household_family WHERE household_id = $1", household_id)


async def forget_again(connection: Connection, events: Sequence[Event]) -> None:
    """Has those who were erased after a backup stay erased in a database that was restored from it."""
    for event in events:
        if isinstance(event, PersonErased):
            # Of somebody who was listed after the backup there is no row, and a new key could be made by accident.
            await connection.execute(
                "INSERT INTO person_key (subject_id, erased_at) VALUES ($1, now()) ON CONFLICT DO NOTHING",
                event.participant_id,
            )
            await forget(connection, event.household_id, event.participant_id)
