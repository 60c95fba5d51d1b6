"""Signed notes (C2SP signed-note, tlog-checkpoint; Ed25519): how a service vouches for its log, and how to check it.

A checkpoint of the registry, for example:

    entas/registry
    1204
    jZ0e…= (the root, base64)
    made 2024-07-08T01:05:00.000000Z
    counts {"registry.households":1100,"registry.rules":104}
    tails {"registry.households/0":1203,…}
    cursors {"partners.dukcapil/0":{"last_sequence":-1,"next_offset":17}}

    — entas/registry <base64 of key hash and signature>
"""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.envelope import instant_text

_ED25519 = b"\x01"
_KEY_TEXT = re.compile(r"(?P<name>[^+\s]+)\+(?P<hash>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")

Cursors = Mapping[str, Mapping[str, int]]


class BadNote(ValueError):
    """A text is no checkpoint; the message says what is wrong with it."""


class WrongKey(ValueError):
    """A note is not signed by the key that it was held against."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whose notes a public key verifies. Its text is what others are given: `entas/registry+0a1b2c3d+Ad…=`."""

    name: str
    public: bytes

    @property
    def hash(self) -> bytes:
        return sha256(f"{self.name}\n".encode() + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Raises ValueError when the text is no verifier key, or not a whole one."""
        form = _KEY_TEXT.fullmatch(text.strip())
        key = _bytes_of(form["key"]) if form else b""
        if form is None or len(key) != 33 or key[:1] != _ED25519:
            raise ValueError("a verifier key looks like entas/registry+0a1b2c3d+Ad…=, on one line")
        read = cls(form["name"], key[1:])
        if read.hash.hex() != form["hash"]:
            raise ValueError(f"the verifier key of {read.name} does not fit its own hash: copy it anew")
        return read


class Signer:
    """A name and its private key, which is 32 bytes."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The text, which ends with a line feed, with its signature below."""
        signature = b64encode(self.verifier.hash + self._key.sign(text.encode())).decode()
        return f"{text}\n— {self.verifier.name} {signature}\n"


def verify(note: str, key: VerifierKey) -> str:
    """The signed text. Raises `BadNote`, or `WrongKey` when this key has not signed it."""
    text, signatures = _parts(note)
    for name, blob in signatures:
        if name == key.name and blob[:4] == key.hash:
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(blob[4:], text.encode())
            except InvalidSignature:
                raise WrongKey(f"the signature of {name} is false: the text or the signature was changed") from None
            return text
    raise WrongKey(f"it is not signed by {key.name}+{key.hash.hex()}, but by {_named(signatures)}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a service says of its log: its size and root, and what it had folded of others by then."""

    service: str
    size: int
    root: bytes
    made: datetime
    counts: Mapping[str, int]  # topic -> events
    tails: Mapping[str, int]  # "topic/partition" -> last sequence
    cursors: Cursors  # "topic/partition" -> next_offset and last_sequence

    def text(self) -> str:
        return (
            f"{log_name(self.service)}\n{self.size}\n{b64encode(self.root).decode()}\nmade {instant_text(self.made)}\n"
            f"counts {_compact(self.counts)}\ntails {_compact(self.tails)}\ncursors {_compact(self.cursors)}\n"
        )


def log_name(service: str) -> str:
    """What the notes of a service's log are signed as."""
    return f"entas/{service}"


def read_checkpoint(note: str) -> Checkpoint:
    """What a note says, signature unseen: call `verify` too. Unknown lines below ours are passed over.

    Raises `BadNote`, and nothing else.
    """
    lines = _parts(note)[0].splitlines()
    origin, size, root = [*lines[:3], "", "", ""][:3]
    values = dict(line.split(" ", 1) for line in lines[3:] if " " in line)
    if not origin.startswith("entas/") or not re.fullmatch("0|[1-9][0-9]{0,18}", size) or len(_bytes_of(root)) != 32:
        raise BadNote("a checkpoint begins with its origin, its size and its root, a line each")
    try:
        counts, tails, cursors = (json.loads(values[name]) for name in ("counts", "tails", "cursors"))
        if not (_are_numbers(counts) and _are_numbers(tails) and all(map(_are_numbers, cursors.values()))):
            raise TypeError
        made = datetime.fromisoformat(values["made"]).astimezone(UTC)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise BadNote("one of the lines made, counts, tails and cursors is missing or cannot be read") from None
    return Checkpoint(origin.removeprefix("entas/"), int(size), _bytes_of(root), made, counts, tails, cursors)


def _parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    text, gap, below = note.rpartition("\n\n")
    if not gap or not below.endswith("\n"):
        raise BadNote("a signed note is a text, an empty line, and signatures, each of which ends its line")
    signatures = []
    for line in below.splitlines():
        dash, _, rest = line.partition(" ")
        name, _, blob = rest.partition(" ")
        if dash != "—" or not name or len(_bytes_of(blob)) < 5:
            raise BadNote("a signature's line is a dash (—), a name and a base64 text")
        signatures.append((name, _bytes_of(blob)))
    return text + "\n", signatures


def _bytes_of(text: str) -> bytes:
    """Nothing where it is no base64."""
    try:
        return b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return b""


def _are_numbers(found: object) -> bool:
    return isinstance(found, dict) and all(type(number) is int for number in found.values())


def _named(signatures: list[tuple[str, bytes]]) -> str:
    return ", ".join(f"{name}+{blob[:4].hex()}" for name, blob in signatures)


def _compact(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
