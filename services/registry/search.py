"""Owns the search index: finding persons by NIK and by name, though both stand sealed everywhere else.

Derived and outside the fold: it is written in the transaction that lists, corrects or erases somebody, before the log,
and `reindex` makes it anew by decrypting. A NIK is kept as HMAC-SHA256 under the pepper.
"""

import hmac
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from contracts.registry import HouseholdId, PersonDetails, PersonId
from services.kit.rows import Connection
from services.kit.transaction import Transaction, Workplace, acting_as

REINDEX_BATCH = 1_000

_pepper: bytes | None = None


class NoPepper(RuntimeError):
    """The search index has no pepper: call `use_pepper` when the process starts, with Settings.search_pepper()."""


def use_pepper(pepper: bytes) -> None:
    """Keys this process's digests. Two processes with different peppers would not find what the other indexed."""
    global _pepper
    _pepper = pepper


def national_id_digest(national_id: str) -> bytes:
    """32 bytes that tell nothing to whoever has not the pepper. Raises NoPepper."""
    if _pepper is None:
        raise NoPepper(NoPepper.__doc__)
    return hmac.digest(_pepper, b"national-id\0" + national_id.encode(), "sha256")


def normalised_name(name: str) -> str:
    """As names are compared: "SITI  Amínah" and "Siti Aminah" are the same."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    kept = "".join(letter if letter.isalnum() else " " for letter in letters if not unicodedata.combining(letter))
    return " ".join(kept.split())


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index holds of a person."""

    person_id: PersonId
    household_id: HouseholdId
    national_id: bytes | None
    name: str


def entry(household_id: HouseholdId, person_id: PersonId, details: PersonDetails) -> Entry:
    digest = None if details.national_id is None else national_id_digest(details.national_id)
    return Entry(person_id, household_id, digest, normalised_name(details.name))


async def index(connection: Connection, entries: Sequence[Entry]) -> None:
    """Writes these persons in one statement; give it to `Transaction.before_log`, or call it there."""
    await connection.execute(
        """
        INSERT INTO person_search (person_id, household_id, national_id, name)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
        ON CONFLICT (person_id) DO UPDATE
        SET household_id = EXCLUDED.household_id, national_id = EXCLUDED.national_id, name = EXCLUDED.name
        """,
        [entry.person_id for entry in entries],
        [entry.household_id for entry in entries],
        [entry.national_id for entry in entries],
        [entry.name for entry in entries],
    )


async def forget(connection: Connection, person_id: PersonId) -> None:
    """The person can be found no longer."""
    await connection.execute("DELETE FROM person_search WHERE person_id = $1", person_id)


@dataclass(frozen=True, slots=True)
class Listed:
    """Somebody whom the index found."""

    household_id: HouseholdId
    person_id: PersonId


async def people_by_national_id(connection: Connection, national_ids: Collection[str]) -> dict[str, list[Listed]]:
    """Everybody who bears each of these NIKs, by one query; a NIK that nobody bears is missing."""
    asked = {national_id_digest(national_id): national_id for national_id in national_ids}
    rows = await connection.fetch(
        """
        SELECT national_id, household_id, person_id
        FROM person_search
        WHERE national_id = ANY($1::bytea[])
        ORDER BY person_id
        """,
        sorted(asked),
    )
    found: dict[str, list[Listed]] = defaultdict(list)
    for row in rows:
        found[asked[row["national_id"]]].append(Listed(row["household_id"], row["person_id"]))
    return dict(found)


# --- Making it anew ---------------------------------------------------------------------------------------------------


async def reindex(workplace: Workplace) -> int:
    """Makes the index anew from the members' sealed records, in batches, while it is in use. Returns its persons.

    For a new pepper, or after the index was lost. Each look goes to the read log.
    """
    done, after = 0, ("", "")
    while True:
        async with workplace.transaction(acting_as("reindex")) as tx:
            batch = await _members_after(tx.connection, after)
            done += await _index_batch(tx, batch)
        if len(batch) < REINDEX_BATCH:
            break
        after = (batch[-1].household_id, batch[-1].person_id)
    async with workplace.transaction(acting_as("reindex")) as tx:
        await _forget_strangers(tx.connection)
    return done


@dataclass(frozen=True, slots=True)
class _SealedMember:
    household_id: HouseholdId
    person_id: PersonId
    sealed: str | None
    sealed_by: str | None


async def _members_after(connection: Connection, after: tuple[str, str]) -> list[_SealedMember]:
    rows = await connection.fetch(
        """
        SELECT household_id, person_id, sealed, sealed_by
        FROM member
        WHERE (household_id, person_id) > ($1, $2)
        ORDER BY household_id, person_id
        LIMIT $3
        FOR SHARE
        """,
        *after,
        REINDEX_BATCH,
    )
    return [_SealedMember(*row) for row in rows]


async def _index_batch(tx: Transaction, batch: Iterable[_SealedMember]) -> int:
    members = list(batch)
    sealed = [(member.person_id, member.sealed_by, member.sealed) for member in members]
    opened = await tx.open(sealed, PersonDetails, "reindex")
    entries = [
        entry(member.household_id, member.person_id, details)
        for member, details in zip(members, opened, strict=True)
        if details is not None
    ]
    await index(tx.connection, entries)
    return len(entries)


async def _forget_strangers(connection: Connection) -> None:
    """Whoever the index holds though nobody could open their record: erased, or never listed."""
    await connection.execute(
        """
        DELETE FROM person_search s
        WHERE NOT EXISTS (
            SELECT 1
            FROM member m
            JOIN person_key k ON k.subject_id = m.person_id AND k.wrapped IS NOT NULL
            WHERE m.household_id = s.household_id AND m.person_id = s.person_id
        )
        """
    )
