"""Sealing personal data: a key a person, so that deleting one key makes that person unreadable everywhere.

AES-256-GCM with random 96-bit nonces. What a blob belongs to is authenticated with it: a blob moved to another event or
person does not open. Keys travel only between the registry, which keeps them wrapped, and a service that may ask.
"""

from __future__ import annotations

import os
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.kit.auth import ServiceToken
from services.kit.peer import RegistryPeer
from services.kit.refusal import Unavailable

KEY_BYTES = 32
_NONCE_BYTES = 12

_BATCH = 500
_CACHE_SECONDS = 60.0
_CACHE_PERSONS = 10_000


class Unreadable(Exception):
    """The person's key is erased: nobody can read this any more, which is what erasure promises. Show it as erased."""


class Tampered(Exception):
    """A blob or wrapped key does not open: changed, moved, or under another key. Verify the log; compare the backup."""


class KeysUnavailable(Unavailable):
    """The registry, which keeps the persons' keys, does not give them now."""

    def __init__(self, detail: str) -> None:
        super().__init__("keys-unavailable", detail)


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def wrap(master: bytes, person_id: str, key: bytes) -> bytes:
    """The person's key sealed under the master key: nonce, ciphertext, tag. It opens for that person alone."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(master).encrypt(nonce, key, person_id.encode())


def unwrap(master: bytes, person_id: str, wrapped: bytes) -> bytes:
    """Raises Tampered when it was changed, belongs to another person or another master key wrapped it."""
    try:
        return AESGCM(master).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], person_id.encode())
    except (InvalidTag, ValueError) as error:
        raise Tampered(f"the wrapped key of person {person_id} does not open under this master key") from error


def new_wrapped_keys(master: bytes, person_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """A new key and its wrapping for each person; one random read and one cipher serve them all."""
    cipher = AESGCM(master)
    step = KEY_BYTES + _NONCE_BYTES
    drawn = os.urandom(step * len(person_ids))
    made = []
    for at, person_id in zip(range(0, len(drawn), step), person_ids, strict=True):
        key, nonce = drawn[at : at + KEY_BYTES], drawn[at + KEY_BYTES : at + step]
        made.append((key, nonce + cipher.encrypt(nonce, key, person_id.encode())))
    return made


def seal(key: bytes, plaintext: bytes, event_id: str, person_id: str) -> str:
    """Base64url of nonce and ciphertext, bound to the event and the person."""
    return _sealed(key, plaintext, event_id, person_id, os.urandom(_NONCE_BYTES))


def seal_many(items: Sequence[tuple[bytes, bytes, str, str]]) -> list[str]:
    """Seals each (key, plaintext, event id, person id), in order; faster than one by one."""
    drawn = os.urandom(_NONCE_BYTES * len(items))
    nonces = (drawn[at : at + _NONCE_BYTES] for at in range(0, len(drawn), _NONCE_BYTES))
    return [_sealed(*item, nonce) for item, nonce in zip(items, nonces, strict=True)]


def open_sealed(key: bytes | None, blob: str, event_id: str, person_id: str) -> bytes:
    """The plaintext. Raises Unreadable when `key`, from `keys.get(person_id)`, is None, and Tampered."""
    if key is None:
        raise Unreadable(f"the key of person {person_id} is erased")
    try:
        data = b64decode(blob, altchars=b"-_", validate=True)
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound_to(event_id, person_id))
    except (InvalidTag, ValueError) as error:
        raise Tampered(f"the personal data of person {person_id} in event {event_id} does not open") from error


class KeySource(Protocol):
    async def keys(self, person_ids: Collection[str], purpose: str) -> dict[str, bytes]:
        """The persons' keys; one that is missing is erased. Raises KeysUnavailable."""

    async def destroy(self, subjects: Collection[str]) -> None:
        """Destroys keys for good that this service had made for subjects of its own. Raises KeysUnavailable."""

    async def aclose(self) -> None:
        """Lets go of connections."""


class RemoteKeys:
    """Asks the registry, in batches, and keeps what it gave for a minute of real time, apart for each purpose.

    So an erased person stays readable here for at most that minute.
    """

    def __init__(
        self, registry_url: str, service_token: ServiceToken, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._peer = RegistryPeer(registry_url, service_token, "keys", KeysUnavailable)
        self._monotonic = monotonic
        # In the order in which they were fetched, so the first ones are the oldest.
        self._cache: dict[tuple[str, str], tuple[float, bytes]] = {}

    async def keys(self, person_ids: Collection[str], purpose: str) -> dict[str, bytes]:
        self._forget_old()
        known = {person: held[1] for person in person_ids if (held := self._cache.get((purpose, person)))}
        missing = iter([person for person in dict.fromkeys(person_ids) if person not in known])
        while batch := list(islice(missing, _BATCH)):
            fetched = await self._fetch(batch, purpose)
            known |= fetched
            self._remember(fetched, purpose)
        return known

    async def destroy(self, subjects: Collection[str]) -> None:
        """Destroys keys of subjects that begin with this service's name. Doing it again changes nothing.

        What other processes of this service hold of them is gone within a minute.
        """
        wanted = list(dict.fromkeys(subjects))
        held = set(wanted)
        self._drop([entry for entry in self._cache if entry[1] in held])
        rest = iter(wanted)
        while batch := list(islice(rest, _BATCH)):
            await self._peer.post("/keys/destroy", {"subjects": batch, "purpose": "destroyed by its service"})

    async def aclose(self) -> None:
        await self._peer.aclose()

    async def _fetch(self, person_ids: list[str], purpose: str) -> dict[str, bytes]:
        said = await self._peer.post("/keys/unwrap", {"person_ids": person_ids, "purpose": purpose})
        try:
            keys = decode_keys(said["keys"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._peer.unreadable() from error
        return {person: keys[person] for person in person_ids if person in keys}

    def _remember(self, fetched: Mapping[str, bytes], purpose: str) -> None:
        until = self._monotonic() + _CACHE_SECONDS
        for person, key in fetched.items():
            self._cache.pop((purpose, person), None)
            self._cache[purpose, person] = (until, key)
        self._drop(list(islice(self._cache, max(0, len(self._cache) - _CACHE_PERSONS))))

    def _forget_old(self) -> None:
        now = self._monotonic()
        old = []
        for entry, (until, _) in self._cache.items():
            if until > now:
                break
            old.append(entry)
        self._drop(old)

    def _drop(self, entries: Iterable[tuple[str, str]]) -> None:
        for entry in entries:
            del self._cache[entry]


def encode_keys(keys: Mapping[str, bytes]) -> dict[str, str]:
    """The `keys` of an answer to POST /keys/unwrap: base64 by person id."""
    return {person: b64encode(key).decode() for person, key in keys.items()}


def decode_keys(keys: Mapping[str, str]) -> dict[str, bytes]:
    """Reverses `encode_keys`. Raises ValueError for what is no key."""
    decoded = {person: b64decode(text, validate=True) for person, text in keys.items()}
    if any(len(key) != KEY_BYTES for key in decoded.values()):
        raise ValueError(f"a person's key has {KEY_BYTES} bytes")
    return decoded


def _sealed(key: bytes, plaintext: bytes, event_id: str, person_id: str, nonce: bytes) -> str:
    data = nonce + AESGCM(key).encrypt(nonce, plaintext, _bound_to(event_id, person_id))
    return urlsafe_b64encode(data).decode()


def _bound_to(event_id: str, person_id: str) -> bytes:
    """Both ids, each after its length: no other pair of ids gives the same bytes."""
    event, person = event_id.encode(), person_id.encode()
    return len(event).to_bytes(2, "big") + event + len(person).to_bytes(2, "big") + person
