"""What a proof covers, written a second time from its description alone, and the tree of RFC 6962, section 2.1.

Imports nothing of ours. `python tests/contracts/proof_oracle.py` writes the test vectors to standard output.
"""

import json
import struct
import sys
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

_NOTHING = object()


def entry(envelope: dict[str, Any], sequence: int, digest: bytes) -> bytes:
    """The bytes that a leaf hashes."""
    parts = [
        "entas-event-v1",
        envelope["source"],
        str(sequence),
        envelope["topic"],
        envelope["key"],
        str(envelope["version"]),
        envelope["type"],
        envelope["id"],
        instant(envelope["time"]),
        instant(envelope["recorded"]),
        envelope["actor"],
        envelope["correlation_id"],
        envelope.get("causation_id", _NOTHING),
    ]
    written = bytearray()
    for part in parts:
        if part is _NOTHING:
            written += struct.pack(">I", 0xFFFFFFFF)
        else:
            written += struct.pack(">I", len(part.encode("utf-8"))) + part.encode("utf-8")
    return bytes(written + struct.pack(">I", len(digest)) + digest)


def instant(text: str) -> str:
    """A time with any offset, in UTC and to the microsecond."""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return (
        f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
        f"T{moment.hour:02}:{moment.minute:02}:{moment.second:02}.{moment.microsecond:06}Z"
    )


def leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash: the left part is the largest power of two of leaves that is smaller than all."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return sha256(b"\x01" + root(leaves[:left]) + root(leaves[left:])).digest()


# --- The vectors ------------------------------------------------------------------------------------------------------

_COHORT = {
    "id": "01908fe3-6a00-7d2c-9b1e-3f5a7c9e1b2d",
    "type": "entas.training.CohortStarted.v1",
    "source": "/entas/training",
    "topic": "training.cohorts",
    "key": "018fdbe1-5c00-7a44-8e10-6b2f90c3d7a1",
    "version": 66,
    "time": "2024-07-07T16:00:00.000000Z",
    "recorded": "2024-07-07T16:00:00.718540Z",
    "actor": "timer",
    "correlation_id": "01908fe3-6a00-7c01-8a2b-4d6e8f0a1c3e",
}
_STARTED = '{"cohort_id":"018fdbe1-5c00-7a44-8e10-6b2f90c3d7a1","started_on":"2024-07-08"}'
_CAUSE = {"causation_id": "01908fe3-6a00-7b00-9c3d-5e7f901a2b4c"}

_CASES: list[tuple[str, dict[str, Any], str]] = [
    ("nothing caused it", _COHORT, _STARTED),
    ("an event caused it", _COHORT | _CAUSE, _STARTED),
    ("an empty cause is not an absent one", _COHORT | {"causation_id": ""}, _STARTED),
    (
        "lengths count bytes, not characters",
        _COHORT | {"key": "angkatan-Pringgabaya-Ø1", "actor": "pendamping: Lalu Añwar – Sembalun 火"},
        '{"cohort_id":"angkatan-Pringgabaya-Ø1","started_on":"2024-07-08"}',
    ),
    (
        "times of Central Indonesia, the day before in UTC",
        _COHORT | {"time": "2024-07-08T00:00:00+08:00", "recorded": "2024-07-08T07:59:59.999999+08:00"},
        _STARTED,
    ),
    (
        "an offset to the minute, and one microsecond",
        _COHORT | {"time": "2024-07-07T21:30:00.000001+05:30", "recorded": "2024-07-07T12:30:00.100000-03:30"},
        _STARTED,
    ),
    (
        "the last microsecond before 1970, and a leap day",
        _COHORT | {"time": "1969-12-31T23:59:59.999999Z", "recorded": "2024-02-29T23:59:59.000010Z"},
        _STARTED,
    ),
    (
        "the first and the last instant that can be written",
        _COHORT | {"time": "0001-01-01T00:00:00.000000Z", "recorded": "9999-12-31T23:59:59.999999Z"},
        _STARTED,
    ),
    ("traces are not covered", _COHORT | {"traceparent": f"00-{'4b' * 16}-{'a7' * 8}-01"}, _STARTED),
    ("a version that fills a database's number", _COHORT | {"version": 2**63 - 1}, "{}"),
    ("texts longer than one byte can count", _COHORT | {"actor": "a" * 300, "key": "k" * 256}, _STARTED),
]


def vectors() -> dict[str, Any]:
    leaves: list[bytes] = []
    entries = []
    for sequence, (why, envelope, value) in enumerate(_CASES):
        digest = sha256(value.encode()).digest()
        written = entry(envelope, sequence, digest)
        leaves.append(leaf(written))
        entries.append(
            {
                "why": why,
                "sequence": sequence,
                "envelope": envelope,
                "value": value,
                "value_sha256": digest.hex(),
                "entry": written.hex(),
                "leaf": leaves[-1].hex(),
                "root": root(leaves).hex(),
            }
        )
    about = (
        "What a proof covers. Each entry is the bytes that contracts.envelope.proof_bytes describes; its leaf is "
        "SHA-256 of 0x00 and the entry; the root is that of the RFC 6962 tree of all entries up to and with this one."
    )
    return {"about": about, "empty_root": root([]).hex(), "entries": entries}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(vectors(), indent=2, ensure_ascii=False) + "\n")
