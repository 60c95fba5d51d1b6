"""The relay on a real Kafka: every sequence is there, in order, chained, and a copy is a copy of a whole batch."""

import asyncio

import pytest

from contracts.envelope import NOTHING_BEFORE, proof_bytes, value_digest
from services.kit import relay as relay_module
from services.kit.merkle import Frontier, leaf_hash
from services.kit.relay import Relay
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Seen, Site, all_records, eventually, make_topics, relay_of, running, site


@pytest.fixture
def lab():
    made = Lab()
    yield made
    made.forget()


async def outbox_is_empty(place: Site) -> bool:
    return not await place.rows("SELECT 1 FROM outbox LIMIT 1")


async def fill(place: Site, transactions: int, each: int = 3) -> None:
    for n in range(transactions):
        await place.decide(*[place.lab.Counted(counter_id=f"c{(n + i) % 7}", amount=1) for i in range(each)])


def assert_whole(seen: list[Seen], expected: int) -> None:
    """Every sequence once or more, copies identical, each partition in order and chained."""
    copies: dict[int, Seen] = {}
    last: dict[tuple[str, int], int] = {}
    for record in seen:
        place = (record.topic, record.partition)
        first = copies.setdefault(record.position.sequence, record)
        assert (first.envelope, first.value) == (record.envelope, record.value), "copies are identical"
        if first is record:
            assert record.position.previous_sequence == last.get(place, NOTHING_BEFORE)
            last[place] = record.position.sequence
    assert sorted(copies) == list(range(expected))


async def test_everything_reaches_kafka_in_order_and_chained(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await fill(place, 30)
        async with running(relay_of(place, kafka).run):
            await fill(place, 30)
            await eventually(lambda: outbox_is_empty(place))
        seen = await all_records(kafka, lab.topic)
        assert len(seen) == 180
        assert_whole(seen, 180)


async def test_the_tree_is_rebuilt_from_what_stands_in_kafka(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        async with running(relay_of(place, kafka).run):
            for _ in range(3):
                await fill(place, 100)
                await eventually(lambda: outbox_is_empty(place))
        seen = sorted(await all_records(kafka, lab.topic), key=lambda s: s.position.sequence)
        leaves = [leaf_hash(proof_bytes(s.envelope, s.position.sequence, value_digest(s.value))) for s in seen]
        batches = await place.rows("SELECT first_sequence, size, root FROM sealed_batch ORDER BY batch_no")
        assert len(batches) >= 3
        for batch in batches:
            grown, _ = Frontier().extend(leaves[: batch["first_sequence"] + batch["size"]])
            assert grown.root() == batch["root"]
        tiles = await place.rows("SELECT hashes FROM tile WHERE level = 0 ORDER BY number")
        assert b"".join(tile["hashes"] for tile in tiles) == b"".join(leaves)


async def test_a_batch_sealed_but_not_marked_is_sent_again_identical(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await fill(place, 10)
        async with running(relay_of(place, kafka).run):
            await eventually(lambda: outbox_is_empty(place))
        # As if the relay had died between sending the last batch and marking it.
        [last] = await place.rows("SELECT max(batch_no) AS no FROM sealed_batch")
        await place.pool.execute("UPDATE sealed_batch SET sent_at = NULL WHERE batch_no = $1", last["no"])
        async with running(relay_of(place, kafka).run):
            await fill(place, 10)
            await eventually(lambda: outbox_is_empty(place))
        seen = await all_records(kafka, lab.topic)
        assert len(seen) > 60, "the batch was sent twice"
        assert_whole(seen, 60)


async def test_one_record_batch_per_partition_holds_a_sealed_batch(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, monkeypatch: pytest.MonkeyPatch
):
    sent: list[tuple[str, int]] = []
    real = relay_module.AIOKafkaProducer.send_batch

    async def counted(self: object, batch: object, topic: str, *, partition: int) -> object:
        sent.append((topic, partition))
        return await real(self, batch, topic, partition=partition)

    monkeypatch.setattr(relay_module.AIOKafkaProducer, "send_batch", counted)
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await place.decide(*[lab.Counted(counter_id=f"c{n}", amount=1) for n in range(500)])
        async with running(relay_of(place, kafka).run):
            await eventually(lambda: outbox_is_empty(place))
        assert sorted(sent) == [(lab.topic, 0), (lab.topic, 1), (lab.topic, 2)]


async def test_a_large_transaction_is_cut_at_what_a_record_batch_holds(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await place.decide(*[lab.Counted(counter_id="c1", amount=1, note="x" * 300_000) for _ in range(8)])
        async with running(relay_of(place, kafka).run):
            await eventually(lambda: outbox_is_empty(place))
        assert_whole(await all_records(kafka, lab.topic), 8)
        assert len(await place.rows("SELECT 1 FROM sealed_batch")) >= 3


async def test_of_two_relays_one_leads_and_the_other_takes_over(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        first, second = relay_of(place, kafka), relay_of(place, kafka)
        async with running(first.run, second.run):

            async def one_leads() -> list[Relay]:
                return [relay for relay in (first, second) if relay.leading]

            [leader] = await eventually(one_leads)
            await fill(place, 5)
            await eventually(lambda: outbox_is_empty(place))
            assert [leader] == await one_leads()
            # The leader's connection is cut under it: whoever leads next goes on.
            await place.pool.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
            )
            await fill(place, 5)
            await eventually(lambda: outbox_is_empty(place))
        assert_whole(await all_records(kafka, lab.topic), 30)


async def test_the_relay_ends_at_once_while_kafka_is_away(lab: Lab, fresh_database: FreshDatabase):
    async with site(lab, fresh_database) as place:
        await fill(place, 1)
        relay = Relay("/entas/lab", place.dsn, "127.0.0.1:1")
        started = asyncio.get_running_loop().time()
        async with running(relay.run):
            await asyncio.sleep(0.5)
        assert asyncio.get_running_loop().time() - started < 3
