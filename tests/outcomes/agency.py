"""Outcomes as the tests of partners' reports meet it: what Dinas Koperasi publishes comes in, and the job runs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from contracts.envelope import Event
from services.kit.jobs import JobContext
from services.kit.people import RemotePeople
from services.kit.positions import Place, Record, Standing, take
from services.kit.service import remote_people
from services.kit.transaction import acting_as
from services.outcomes.__main__ import SERVICE
from services.outcomes.interventions.state import subject_of
from services.outcomes.matching import forget_next, match_next
from tests.outcomes.reports import DEWI, DEWIS_NIK, NOW, SARI, SARIS_NIK
from tests.support.databases import FreshDatabase
from tests.support.service_world import ServiceWorld, opened
from tests.support.taking import take_all


class Agency(ServiceWorld):
    """The service, with its job; Sari and Dewi bear numbers that the registry knows."""

    people: RemotePeople
    context: JobContext

    async def taken(self, *facts: Event, ids: Sequence[str] = (), **headers: str) -> None:
        """These messages of the agency arrive in one batch."""
        records = [
            message(fact, offset, ids[offset] if ids else str(uuid4()), headers) for offset, fact in enumerate(facts)
        ]
        piece = take(Place("partners.dinkop", 0), Standing(), records, chained=False)
        async with self.workplace.transaction(acting_as("projection")) as tx:
            await take_all(SERVICE, self.workplace, tx, [piece])

    async def matched(self) -> int:
        """The job does what is to be done. Gives the number of interventions that it looked up."""
        looked_up = 0
        while done := await match_next(self.context, self.people):
            looked_up += done
        while await forget_next(self.context):
            pass
        return looked_up

    def readable(self) -> set[str]:
        """Interventions whose number can be read, since there is a key."""
        beginning = subject_of("")
        kept = self.authority.keys.keys() - self.authority.erased
        return {subject.removeprefix(beginning) for subject in kept if subject.startswith(beginning)}

    async def names(self, topic: str) -> list[str]:
        return [name for name, _ in await self.logged(topic)]

    async def rows(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.pool.fetch(sql, *arguments)]

    async def everything(self) -> str:
        """All that stands in the database, as text."""
        tables = await self.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        said = [str(await self.rows(f'SELECT * FROM "{table["table_name"]}"')) for table in tables]
        assert any("InterventionReported" in text for text in said)
        return "\n".join(said)


def message(fact: Event, offset: int, id_: str, headers: dict[str, str]) -> Record:
    """A record as the agency's client publishes it."""
    said = {"specversion": "1.0", "id": id_, "type": fact.ce_type, "source": "urn:dinkop"} | headers
    return Record(
        topic="partners.dinkop",
        partition=0,
        offset=offset,
        timestamp=int(NOW.timestamp() * 1000),
        key=fact.key.encode(),
        value=fact.model_dump_json(exclude_none=True).encode(),
        headers=tuple((f"ce_{name}", value.encode()) for name, value in said.items()),
    )


@asynccontextmanager
async def an_agency(fresh_database: FreshDatabase, folder: Path) -> AsyncIterator[Agency]:
    """An empty outcomes service at 2 September 2024, 09.00 in Mataram."""
    async with opened(Agency, SERVICE, fresh_database, folder, NOW) as world:
        world.authority.bearers |= {SARIS_NIK: [SARI], DEWIS_NIK: [DEWI]}
        world.context = JobContext(world.workplace, world.settings, asyncio.Event())
        world.people = remote_people(world.settings)
        try:
            yield world
        finally:
            await world.people.aclose()
