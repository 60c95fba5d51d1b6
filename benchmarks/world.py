"""What the benchmarks stand on: throw-away servers, a registry with households on its log, a training to read them."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.registry import (
    AgeBand,
    HouseholdDetails,
    HouseholdListed,
    HouseholdRankChanged,
    ListEvidence,
    LivingConditions,
    Member,
    PersonDetails,
    Rank,
    Sex,
)
from contracts.topics import TOPICS
from services.kit.database import migrate, open_pool
from services.kit.keyring import LocalKeys
from services.kit.topics import create_topics
from services.kit.transaction import Workplace, acting_as, new_id
from services.registry.__main__ import SERVICE as REGISTRY
from services.training.__main__ import SERVICE as TRAINING
from tests.support.databases import Databases
from tests.support.stack import Stack

TOPIC = "registry.households"
HOUSEHOLDS_A_TRANSACTION = 500
COPIED_AT_ONCE = 50_000
NOW = datetime(2024, 7, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Site:
    """A service's database and what acts in it."""

    dsn: str
    pool: Any
    workplace: Workplace


def site_of(service: Any, dsn: str, pool: Any) -> Site:
    """A service's database that is there already."""
    keys = LocalKeys(bytes(32))
    return Site(dsn, pool, Workplace(service.name, pool, service.tables, keys, lambda: NOW, lambda: None))


@dataclass(frozen=True)
class World:
    kafka: str
    databases: Databases

    @asynccontextmanager
    async def site(self, service: Any) -> AsyncIterator[Site]:
        """A fresh database of this service."""
        dsn = await self.databases.clone(service.name, lambda dsn: migrate(dsn, service.migrations))
        pool = await open_pool(dsn)
        yield site_of(service, dsn, pool)
        await pool.close()
        await self.databases.drop(dsn)


class Servers(Stack):
    """As in production: what is committed is on disk."""

    durable = True


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    with Servers() as stack:
        databases = Databases(stack.postgres)
        for service in (REGISTRY, TRAINING):
            await create_topics(stack.kafka, service.name, 1)
        yield World(stack.kafka, databases)


async def list_households(site: Site, count: int) -> None:
    """Puts households of four to five people on the log, as an import does: 500 a transaction."""
    dice = random.Random(count)
    for first in range(0, count, HOUSEHOLDS_A_TRANSACTION):
        async with site.workplace.transaction(acting_as("importer")) as tx:
            await tx.decide([_household(n, dice) for n in range(first, min(count, first + HOUSEHOLDS_A_TRANSACTION))])


def _household(number: int, dice: random.Random) -> HouseholdListed:
    people = [new_id() for _ in range(dice.choice((4, 5)))]
    household_id = new_id()
    details = {
        person: PersonDetails(name=f"Baiq Synthetic {number}", national_id=f"5270{number:012}", occupation="Tani")
        for person in people
    }
    return HouseholdListed(
        household_id=household_id,
        area_code=f"52.0{dice.randint(1, 8)}.01.2001",
        rank=Rank(source="P3KE", snapshot_id="bench", dated=date(2024, 6, 30), welfare_decile=1, welfare_percentile=2),
        evidence=ListEvidence(file_digest="0" * 64, row=number + 2),
        conditions=LivingConditions(roof="Seng", latrine="Tidak, Jamban Umum/Bersama", social_assistance=("PKH",)),
        members=tuple(
            Member(person_id=p, head=p == people[0], sex=Sex.FEMALE, age_band=AgeBand.FROM_22, adult=True)
            for p in people
        ),
        personal={household_id: HouseholdDetails(address="Dusun Karang", source_family_id=str(number)), **details},
    )


async def rank_anew(site: Site, events: int) -> None:
    """Puts that many changed ranks of the households that were listed on the log, each household in turn."""
    households = [row["household_id"] for row in await site.pool.fetch("SELECT household_id FROM household")]
    for first in range(0, events, HOUSEHOLDS_A_TRANSACTION):
        numbers = range(first, min(events, first + HOUSEHOLDS_A_TRANSACTION))
        async with site.workplace.transaction(acting_as("importer")) as tx:
            await tx.decide([_ranked(households[n % len(households)], n) for n in numbers])


def _ranked(household_id: str, number: int) -> HouseholdRankChanged:
    decile = 1 + number % 10
    rank = Rank(source="P3KE", snapshot_id=f"bench-{number % 7}", dated=date(2025, 6, 30), welfare_decile=decile)
    return HouseholdRankChanged(
        household_id=household_id, rank=rank, evidence=ListEvidence(file_digest="1" * 64, row=number + 2)
    )


async def multiply(site: Site, events: int) -> None:
    """Makes `events` households of those that are listed, in the log alone: each copy with an id of its own.

    Listing a million as an import does would take minutes; relay and projection see no difference.
    """
    there = await site.pool.fetchval("SELECT count(*) FROM log")
    while there < events:
        copied = await site.pool.fetchval(
            """
            WITH made AS (
                SELECT l.*, gen_random_uuid()::text AS household, gen_random_uuid()::text AS event
                FROM log l
                ORDER BY l.id
                LIMIT $1
            ),
            appended AS (
                INSERT INTO log (topic, stream, version, partition, type, event_id, occurred_at, recorded_at, actor,
                                 correlation_id, area_code, value)
                SELECT topic, household, version, partition, type, event, occurred_at, recorded_at, actor,
                       correlation_id, area_code,
                       convert_to(replace(convert_from(value, 'UTF8'), stream, household), 'UTF8')
                FROM made
                RETURNING id
            ),
            waiting AS (INSERT INTO outbox (id) SELECT id FROM appended)
            SELECT count(*) FROM appended
            """,
            min(there, events - there, COPIED_AT_ONCE),
        )
        there += copied
    # A log grows for years. What PostgreSQL has to do for some seconds after millions of rows at once is not measured.
    await site.pool.execute("VACUUM ANALYZE log")
    await site.pool.execute("CHECKPOINT")


async def new_topic(kafka: str) -> str:
    """A topic like the households', for records that are no facts."""
    name = f"bench.raw.{perf_counter():.6f}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, TOPICS[TOPIC].partitions, 1)])
    await admin.close()
    return name


async def ends(kafka: str) -> dict[int, int]:
    """Partition -> where the households' topic ends now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    places = [TopicPartition(TOPIC, n) for n in range(TOPICS[TOPIC].partitions)]
    found = await consumer.end_offsets(places)
    await consumer.stop()
    return {place.partition: end for place, end in found.items()}
