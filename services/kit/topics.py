"""Topics on the broker: made as the contracts say, and held against them at every start."""

import asyncio

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from contracts.topics import TOPICS, Topic, heard_by
from services.kit.backoff import Backoff
from services.kit.outages import OUTAGES
from services.kit.tasks import first_of

_log = structlog.get_logger(__name__)

_DAY_MS = 86_400_000
_APPEAR_SECONDS = 30


class TopicsDiffer(Exception):
    """The broker's topics are not those of contracts/topics.py; going on would break the order of events."""


async def create_topics(bootstrap: str, service: str, replication_factor: int) -> list[str]:
    """Creates the topics that the service owns. Returns the names of those made; raises `TopicsDiffer`."""
    own = [topic for topic in TOPICS.values() if topic.owner == service]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in own if topic.name not in existing]
        if missing:
            await _create(admin, missing, replication_factor)
            await _appear(admin, {topic.name for topic in missing})
        await _compare(admin, [topic for topic in own if topic.name in existing])
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication_factor: int) -> None:
    answer = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions,
                replication_factor,
                topic_configs=_configuration(topic, replication_factor),
            )
            for topic in topics
        ]
    )
    for name, code, message in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicsDiffer(f"{name} could not be made: {message or code}")


def _configuration(topic: Topic, replication_factor: int) -> dict[str, str]:
    configuration = {
        "cleanup.policy": "delete",
        "retention.ms": str(-1 if topic.retention_days is None else topic.retention_days * _DAY_MS),
        "min.insync.replicas": str(2 if replication_factor >= 3 else 1),
        # What our producer says is kept: a resent record must be the same record.
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
    }
    if topic.retention_days is not None:
        # Whole segments are deleted, so that a long one would keep its records twice as long as was promised.
        configuration["segment.ms"] = str(_DAY_MS)
    if topic.written_by is not None:
        # A partner that sets a time far ahead would have its records, which name people, kept for ever.
        configuration["message.timestamp.type"] = "LogAppendTime"
    return configuration


async def _appear(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Waits until the broker shows what it made: a worker that starts at once would not find it."""
    backoff = Backoff(first_seconds=0.02)
    async with asyncio.timeout(_APPEAR_SECONDS):
        while not names <= set(await admin.list_topics()):  # noqa: ASYNC110 (the broker tells nobody)
            await asyncio.sleep(backoff.seconds())


async def check_topics(bootstrap: str, service: str, stopping: asyncio.Event) -> None:
    """Waits for the broker. Raises `TopicsDiffer` if a topic of the service is missing, or if one that it owns or hears
    has another number of partitions. What it hears may be made later, by its owner."""
    backoff = Backoff()
    while not stopping.is_set():
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap.split(","), request_timeout_ms=10_000)

        async def compare(admin: AIOKafkaAdminClient = admin) -> None:
            await admin.start()
            existing = set(await admin.list_topics())
            heard = [topic for topic in heard_by(service) if topic.owner != service and topic.name in existing]
            await _compare(admin, [topic for topic in TOPICS.values() if topic.owner == service] + heard)

        try:
            await first_of(compare(), stopping)
            return
        except OUTAGES as outage:
            _log.warning("waiting for Kafka", error=f"{type(outage).__name__}: {outage}")
            await backoff.wait(stopping)
        finally:
            await admin.close()


async def _compare(admin: AIOKafkaAdminClient, topics: list[Topic]) -> None:
    if not topics:
        return
    for described in await admin.describe_topics([topic.name for topic in topics]):
        declared, there = TOPICS[described["topic"]], len(described["partitions"])
        if described["error_code"] == UnknownTopicOrPartitionError.errno:
            raise TopicsDiffer(
                f"the topic {declared.name} is missing; run `python -m services.{declared.owner} topics`"
            )
        if there != declared.partitions:
            raise TopicsDiffer(
                f"the topic {declared.name} has {there} partitions, contracts/topics.py says {declared.partitions}: "
                "a topic's partitions are fixed for life; make a new generation of the topic instead"
            )
