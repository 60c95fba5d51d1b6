"""Whose keys: where a service gets the keys that seal and open personal data."""

from collections.abc import Collection, Mapping
from typing import Protocol

from services.kit.keys import KeySource, new_wrapped_keys, unwrap
from services.kit.refusal import Refused
from services.kit.rows import Connection

SEAL = "seal"  # the purpose for which the registry makes keys on demand


class Keyring(Protocol):
    """The keys of subjects: persons, and the households they live in."""

    async def to_seal(self, connection: Connection, subjects: Collection[str]) -> dict[str, bytes]:
        """A key for each subject. Raises `Refused` for one whose key was destroyed."""

    async def to_open(self, connection: Connection, subjects: Collection[str], purpose: str) -> dict[str, bytes]:
        """The keys there are; a subject that was erased, or never had one, is missing."""

    async def aclose(self) -> None:
        """Lets go of connections, when the process ends."""


class LocalKeys:
    """The registry is the key authority: keys live wrapped under the master key in its table `person_key`.

    A subject that was erased keeps its row without a key, so that nobody makes a new one by accident.
    """

    def __init__(self, master: bytes) -> None:
        self._master = master

    async def to_seal(self, connection: Connection, subjects: Collection[str]) -> dict[str, bytes]:
        """A key for each subject, made in this transaction where there is none yet."""
        keys = await self.given_or_made(connection, subjects)
        if erased := [subject for subject in subjects if subject not in keys]:
            raise Refused("person-erased", f"The key of {erased[0]} was destroyed; nothing can be sealed under it.")
        return keys

    async def given_or_made(self, connection: Connection, subjects: Collection[str]) -> dict[str, bytes]:
        """The same, but a subject whose key was destroyed is missing."""
        wrapped = await _wrapped_keys(connection, subjects)
        keys = self._unwrapped(wrapped)
        new = sorted(subject for subject in set(subjects) if subject not in wrapped)
        made = new_wrapped_keys(self._master, new)
        if made and not await _insert_keys(connection, new, [wrapped_key for _, wrapped_key in made]):
            # Another transaction made some of them at the same time, and its keys are the ones that count.
            return await self.given_or_made(connection, subjects)
        return keys | {subject: key for subject, (key, _) in zip(new, made, strict=True)}

    async def to_open(self, connection: Connection, subjects: Collection[str], purpose: str) -> dict[str, bytes]:
        return self._unwrapped(await _wrapped_keys(connection, subjects))

    async def aclose(self) -> None:
        """There is nothing to let go of: the keys are in the transaction's own database."""

    def _unwrapped(self, wrapped: Mapping[str, bytes | None]) -> dict[str, bytes]:
        return {subject: unwrap(self._master, subject, key) for subject, key in wrapped.items() if key is not None}


class BorrowedKeys:
    """Every other service asks the registry, in batches.

    What it seals is sealed under a key that exists already, or under one that the registry makes on demand: for
    subjects of its own, which begin with its name ("outcomes:intervention:…").
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source

    async def to_seal(self, connection: Connection, subjects: Collection[str]) -> dict[str, bytes]:
        keys = await self._source.keys(subjects, SEAL) if subjects else {}
        if missing := [subject for subject in subjects if subject not in keys]:
            raise Refused("person-erased", f"The registry has no key for {missing[0]}: unknown, or erased.")
        return keys

    async def to_open(self, connection: Connection, subjects: Collection[str], purpose: str) -> dict[str, bytes]:
        return await self._source.keys(subjects, purpose) if subjects else {}

    async def destroy(self, subjects: Collection[str]) -> None:
        """Destroys keys of subjects of this service's own for good; again, it changes nothing. No transaction takes it
        back: call it after the commit. Raises KeysUnavailable."""
        await self._source.destroy(subjects)

    async def aclose(self) -> None:
        await self._source.aclose()


async def erase_key(connection: Connection, subject: str) -> bool:
    """Destroys a subject's key for good. False if it was destroyed before or never was."""
    return await erase_keys(connection, [subject]) == {subject}


async def erase_keys(connection: Connection, subjects: Collection[str]) -> set[str]:
    """Destroys these subjects' keys for good. Returns those who had one until now."""
    rows = await connection.fetch(
        """
        UPDATE person_key
        SET wrapped = NULL, erased_at = now()
        WHERE subject_id = ANY($1::text[])
        AND wrapped IS NOT NULL
        RETURNING subject_id
        """,
        list(subjects),
    )
    return {row["subject_id"] for row in rows}


async def _wrapped_keys(connection: Connection, subjects: Collection[str]) -> dict[str, bytes | None]:
    rows = await connection.fetch(
        "SELECT subject_id, wrapped FROM person_key WHERE subject_id = ANY($1::text[])", list(subjects)
    )
    return {row["subject_id"]: row["wrapped"] for row in rows}


async def _insert_keys(connection: Connection, subjects: list[str], wrapped: list[bytes]) -> bool:
    """False if one of the subjects had a key by then."""
    status = await connection.execute(
        """
        INSERT INTO person_key (subject_id, wrapped)
        SELECT * FROM unnest($1::text[], $2::bytea[])
        ON CONFLICT DO NOTHING
        """,
        subjects,
        wrapped,
    )
    return int(status.rpartition(" ")[2]) == len(subjects)
