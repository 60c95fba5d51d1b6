"""Which partition a key belongs to: the murmur2 hash of Kafka's Java client.

The partition of an event is computed once, at append, and stored. It must agree with what other clients compute from
the same key, so that outside readers and tools find a stream where they expect it.
"""

from __future__ import annotations

from functools import cache
from struct import Struct

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_WORD = 0xFFFFFFFF


def partition_for(key: str, partitions: int) -> int:
    """The partition of `key`, 0 up to `partitions` - 1, as Kafka's default partitioner chooses it for UTF-8 keys."""
    if partitions < 1:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    # The sign bit is dropped as `Utils.toPositive` drops it; the absolute value would choose other partitions.
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 as an unsigned 32-bit number; the Java client shows the same bits as a signed one."""
    length = len(data)
    hashed = _SEED ^ length
    # Products are cut to 32 bits only where a shift would bring higher bits back: every cut costs time.
    for word in _words(length).unpack_from(data):
        word = (word * _MIX) & _WORD
        hashed = ((hashed * _MIX) ^ ((word ^ (word >> 24)) * _MIX)) & _WORD
    if rest := data[length & ~3 :]:
        hashed = ((hashed ^ int.from_bytes(rest, "little")) * _MIX) & _WORD
    hashed = ((hashed ^ (hashed >> 13)) * _MIX) & _WORD
    return hashed ^ (hashed >> 15)


@cache
def _words(length: int) -> Struct:
    """Reads the whole little-endian words of a key of `length` bytes."""
    return Struct(f"<{length // 4}I")
