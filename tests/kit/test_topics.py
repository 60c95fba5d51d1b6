"""Topics on a real broker: made as the contracts say, and refused where they are not as the contracts say."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import TOPICS
from services.kit.topics import TopicsDiffer, check_topics, create_topics
from tests.support.lab import PARTITIONS, Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


async def test_topics_are_made_as_the_contracts_say_and_once(lab: Lab, kafka: str):
    made = await create_topics(kafka, lab.service, 1)
    assert sorted(made) == sorted([lab.topic, lab.partner_topic, lab.rejected_topic, lab.checkpoints_topic])
    assert await create_topics(kafka, lab.service, 1) == []
    await check_topics(kafka, lab.service, asyncio.Event())
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        described = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics(made)}
        assert described == {
            lab.topic: PARTITIONS,
            lab.partner_topic: 1,
            lab.rejected_topic: 1,
            lab.checkpoints_topic: 1,
        }
        kept = {name: await kept_how(admin, name) for name in made}
    finally:
        await admin.close()
    assert kept == {
        lab.topic: (-1, "CreateTime"),
        lab.partner_topic: (7, "LogAppendTime"),
        lab.rejected_topic: (-1, "CreateTime"),
        lab.checkpoints_topic: (-1, "CreateTime"),
    }


async def kept_how(admin: AIOKafkaAdminClient, topic: str) -> tuple[int, str]:
    """The retention in days, and whose time it goes by."""
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [resource] = answer.resources
    configured = {entry[0]: entry[1] for entry in resource[4]}
    return int(configured["retention.ms"]) // 86_400_000, configured["message.timestamp.type"]


async def test_a_topic_with_another_number_of_partitions_is_refused(lab: Lab, kafka: str):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(lab.topic, PARTITIONS + 1, 1)])
    await admin.close()
    told = rf"the topic {lab.topic} has {PARTITIONS + 1} partitions, contracts/topics.py says {PARTITIONS}"
    with pytest.raises(TopicsDiffer, match=told):
        await create_topics(kafka, lab.service, 1)
    with pytest.raises(TopicsDiffer, match="make a new generation of the topic"):
        await check_topics(kafka, lab.service, asyncio.Event())


async def test_a_topic_of_another_service_is_held_against_the_contracts_where_it_is_there(lab: Lab, kafka: str):
    TOPICS[lab.topic] = replace(TOPICS[lab.topic], read_by=("reader",))
    await check_topics(kafka, "reader", asyncio.Event())
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(lab.topic, PARTITIONS - 1, 1)])
    await admin.close()
    with pytest.raises(TopicsDiffer, match=rf"the topic {lab.topic} has {PARTITIONS - 1} partitions"):
        await check_topics(kafka, "reader", asyncio.Event())


async def test_a_topic_that_is_missing_is_named_with_the_command_that_makes_it(lab: Lab, kafka: str):
    with pytest.raises(TopicsDiffer, match=rf"is missing; run `python -m services\.{lab.service} topics`"):
        await check_topics(kafka, lab.service, asyncio.Event())


async def test_a_broker_that_is_away_is_waited_for_until_told_to_stop(lab: Lab):
    stopping = asyncio.Event()
    waiting = asyncio.ensure_future(check_topics("127.0.0.1:1", lab.service, stopping))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    stopping.set()
    await asyncio.wait_for(waiting, 2)
