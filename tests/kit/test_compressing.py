"""What is sent is compressed at our level, and anyone reads it."""

from aiokafka.codec import zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from services.kit.compressing import LEVEL, compress_quickly

ZSTD = 4
HEADER_BYTES = 61


def batch_of(values: list[bytes], compression: int) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for offset, value in enumerate(values):
        assert builder.append(offset, timestamp=0, key=None, value=value, headers=[])
    return bytes(builder.build())


def test_record_batches_are_compressed_at_our_level_and_read_as_any():
    values = [f"household {n} of {n % 7} people in 52.0{n % 8}".encode() * 20 for n in range(500)]
    plain = batch_of(values, compression=0)[HEADER_BYTES:]
    assert len(zstd_encode(plain, level=LEVEL)) != len(zstd_encode(plain)), "the levels cannot be told apart"

    compress_quickly()
    batch = batch_of(values, compression=ZSTD)

    assert batch[HEADER_BYTES:] == zstd_encode(plain, level=LEVEL)
    found = MemoryRecords(batch).next_batch()
    assert found is not None
    assert [record.value for record in found] == values
