"""Reading one's own write across services: by relay, Kafka and consumer; and what is told where that fails."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.kit.app import api_app
from services.kit.reactions import Reactions, Step
from services.kit.settings import Settings
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.kit.test_consumer import consumer_of
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, make_topics, relay_of, running, site
from tests.support.lab_service.service import service_of


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@asynccontextmanager
async def api_of(reader: Site) -> AsyncIterator[httpx.AsyncClient]:
    issuer = Issuer()
    key = issuer.publish("first")
    async with served(issuer.app) as issuer_url:
        settings = Settings(
            environment="test",
            database_url=reader.dsn,
            kafka_bootstrap="localhost:1",
            token_issuer=ISSUER,
            jwks_url=f"{issuer_url}/jwks",
        )

        async def health() -> dict[str, Any]:
            return {"ready": True}

        app = api_app(service_of(reader.lab), settings, reader.workplace, health)
        headers = {"Authorization": f"Bearer {token(key, areas=['*'])}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://reader.test", headers=headers) as client:
            yield client


async def test_what_was_just_written_is_read_from_the_other_services_projection(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
        api_of(reader) as client,
        running(relay_of(publisher, kafka).run, consumer_of(reader, kafka).run),
    ):
        # Joining the group takes longer than a reader waits.
        await publisher.decide(lab.Counted(counter_id="c1", amount=1))
        while (await wait_for(client, lab, 1)).status_code == 504:
            continue
        for version in range(2, 12):
            await publisher.decide(lab.Counted(counter_id="c1", amount=1))
            answer = await wait_for(client, lab, version)
            assert [c["version"] for c in answer.json()] == [version]
        too_early = await wait_for(client, lab, 99)
        assert too_early.status_code == 504
        assert "has reached version 11, not 99 yet" in too_early.json()["detail"]


async def wait_for(client: httpx.AsyncClient, lab: Lab, version: int) -> httpx.Response:
    return await client.get("/counters", headers={"Wait-For-Version": f"{lab.topic}/c1={version}"})


async def test_whoever_waits_for_a_partition_that_stopped_is_told_so(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    reactions = Reactions()

    async def nothing(*_: Any) -> None:
        return None

    @reactions.on(lab.Counted, loads=nothing)
    def breaks(step: Step[Any, None]) -> list[Any]:
        raise ZeroDivisionError("planted")

    async with (
        site(lab, fresh_database) as publisher,
        site(lab, fresh_database, service=f"reader-{lab.service}") as reader,
        api_of(reader) as client,
        running(relay_of(publisher, kafka).run, consumer_of(reader, kafka, reactions).run),
    ):
        await publisher.decide(lab.Counted(counter_id="c1", amount=1))
        while (answer := await wait_for(client, lab, 1)).status_code == 504:
            continue
        assert (answer.status_code, answer.json()["code"]) == (503, "projection-stopped")
        assert lab.topic in answer.json()["detail"]
