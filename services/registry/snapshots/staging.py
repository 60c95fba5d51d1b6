"""Owns how a row of a list waits: what is kept of it, sealed under its import's key, and the digests it is found by."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter
from pydantic_core import to_json

from contracts.envelope import fields_of
from contracts.p3ke import PersonRow, age_band
from contracts.registry import AgeBand, HouseholdDetails, LivingConditions, PersonDetails, Sex, SnapshotId
from services.kit.keys import Tampered
from services.kit.transaction import new_id
from services.registry.households.decisions import is_adult
from services.registry.snapshots.decisions import StagedHousehold, StagedPerson

_DIGEST_BYTES = 16


class Digests:
    """Keyed digests: equal for the same person or family, and telling nothing to whoever has not the pepper.

    BLAKE2b with a key is a message authentication code, a third of HMAC's price where every row needs one.
    """

    def __init__(self, pepper: bytes, source: str) -> None:
        self._person = blake2b(b"person\0", key=pepper, digest_size=_DIGEST_BYTES)
        self._individual = blake2b(f"individual\0{source}\0".encode(), key=pepper, digest_size=_DIGEST_BYTES)
        self._family = blake2b(f"family\0{source}\0".encode(), key=pepper, digest_size=_DIGEST_BYTES)

    def family(self, family_id: str) -> bytes:
        """A source's id of a family; another source's equal id gives another digest."""
        return _finished(self._family, family_id)

    def identity(self, row: PersonRow) -> bytes | None:
        """Who a row is about, as far as two rows of one file can be compared."""
        if row.national_id is not None:
            return _finished(self._person, row.national_id)
        if row.individual_id is not None:
            return _finished(self._individual, row.individual_id)
        return None


def _finished(begun: blake2b, text: str) -> bytes:
    digest = begun.copy()
    digest.update(text.encode())
    return digest.digest()


class RowSeal:
    """Seals and opens the rows of one import.

    AES-256-GCM; the key serves this import alone and every row once, so the row's number is the nonce.
    """

    def __init__(self, key: bytes, snapshot_id: SnapshotId) -> None:
        self._cipher = AESGCM(key)
        self._bound_to = snapshot_id.encode()

    def seal(self, number: int, plaintext: bytes) -> bytes:
        return self._cipher.encrypt(number.to_bytes(12), plaintext, self._bound_to)

    def open(self, number: int, sealed: bytes) -> bytes:
        """Raises Tampered when it was changed, moved to another row, or the key is another import's."""
        try:
            return self._cipher.decrypt(number.to_bytes(12), sealed, self._bound_to)
        except InvalidTag as error:
            raise Tampered(f"staged row {number} of snapshot {self._bound_to.decode()} does not open") from error


# --- What is kept of a row --------------------------------------------------------------------------------------------

# As they stand in JSON: head, sex, age band, adult, civil-registry match, details.
_Person = tuple[bool, Sex, AgeBand, bool, bool | None, PersonDetails]
# Village, decile, percentile, details, conditions.
_Family = tuple[str, int, int | None, HouseholdDetails, LivingConditions]
_PACKED: TypeAdapter[tuple[_Person, _Family | None]] = TypeAdapter(tuple[_Person, _Family | None])

_CONDITIONS = tuple(fields_of(LivingConditions))
_ADULT_BANDS = frozenset((AgeBand.FROM_19, AgeBand.FROM_22, AgeBand.FROM_60))

Age = tuple[str | None, str, bool]
"""Birth date as text, age band, adult."""


def ages_on(day: date) -> Callable[[date], Age]:
    """How old people were on that day, by birth date; remembered, because many people share few birth dates."""

    @lru_cache(maxsize=40_000)
    def age(born: date) -> Age:
        return born.isoformat(), age_band(born, day).value, is_adult(born, day)

    return age


def pack(row: PersonRow, age_of: Callable[[date], Age], *, with_family: bool) -> bytes:
    """The part of a row that matters later; the family's columns only where a run of the family's rows begins."""
    born = row.birth_date
    birth_date, band, adult = (None, row.age_band.value, row.age_band in _ADULT_BANDS) if born is None else age_of(born)
    # Plain texts: an enum or a date would cost the serialiser more than all the rest.
    details = {
        "name": row.name or (row.household_head if row.is_head else None) or "",
        "national_id": row.national_id,
        "birth_date": birth_date,
        "relation_to_head": row.relation_to_head,
        "marital_status": row.marital_status,
        "occupation": row.occupation,
        "education": row.education,
        "source_person_id": row.individual_id,
    }
    person = (row.is_head, row.sex.value, band, adult, row.civil_registry_match, details)
    return to_json((person, _packed_family(row) if with_family else None))


def _packed_family(row: PersonRow) -> tuple[Any, ...]:
    return (
        row.village_code,
        row.welfare_decile,
        row.welfare_percentile,
        {
            "address": row.address,
            "family_card_number": row.family_card_number,
            "source_family_id": row.family_id,
        },
        {name: getattr(row, name) for name in _CONDITIONS},
    )


def unpack(rows: Sequence[tuple[int, bytes]], *, shares_head: bool) -> StagedHousehold:
    """The household that these rows, each with its number and the earliest first, were packed from. Gives new ids."""
    opened = [(row, *_PACKED.validate_json(packed)) for row, packed in rows]
    first_row, _, family = opened[0]
    assert family is not None, "the first row of a family carries its columns"
    area_code, decile, percentile, details, conditions = family
    return StagedHousehold(
        household_id=new_id(),
        row=first_row,
        area_code=area_code,
        welfare_decile=decile,
        welfare_percentile=percentile,
        conditions=conditions,
        details=details,
        people=tuple(StagedPerson(new_id(), row, *person) for row, person, _ in opened),
        shares_head=shares_head,
    )
