"""How record batches are compressed: aiokafka (0.14) has no setting for the level of zstd."""

from aiokafka.codec import zstd_encode
from aiokafka.record import _crecords, default_records

LEVEL = -1
"""Most of a fact is sealed text, in which there is little to find. By level 3, which is aiokafka's, batches are smaller
by a quarter, and take twice as long to make and three times as long to read, which every reader does for years."""


def compress_quickly() -> None:
    """Makes every producer of this process compress at `LEVEL`. May be called again."""
    for module in (default_records, _crecords.default_records):  # what is written in Python, and what is compiled
        module.zstd_encode = _quickly


def _quickly(records: bytes) -> bytes:
    compressed: bytes = zstd_encode(records, level=LEVEL)
    return compressed
