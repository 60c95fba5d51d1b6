"""The partition of a key against the Java client's vectors and against aiokafka."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from services.kit.partition import murmur2, partition_for

# UtilsTest.testMurmur2 of Apache Kafka, which shows the hash as a signed 32-bit number.
JAVA_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("data", "signed"), JAVA_VECTORS.items())
def test_murmur2_gives_what_the_java_client_gives(data, signed):
    assert murmur2(data) == signed % (1 << 32)


def test_a_negative_hash_loses_its_sign_bit_and_not_its_sign():
    # -790332482 & 0x7fffffff = 1357151166; its absolute value would give partition 82.
    assert partition_for("foobar", 100) == 66


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(1, 60))
def test_the_partition_is_the_one_that_aiokafka_chooses(key, partitions):
    everyone = list(range(partitions))
    assert partition_for(key, partitions) == DefaultPartitioner()(key.encode(), everyone, everyone)


@pytest.mark.parametrize("partitions", [0, -1])
def test_a_topic_without_partitions_is_refused(partitions):
    with pytest.raises(ValueError, match="at least one partition"):
        partition_for("key", partitions)
