"""Outcomes as its tests meet it: see tests/support/service_world.py."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.outcomes.__main__ import SERVICE
from tests.outcomes.facts import NOW, default_rules
from tests.support.databases import FreshDatabase
from tests.support.service_world import Caller, ServiceWorld, opened

__all__ = ["Caller", "Outcomes"]


class Outcomes(ServiceWorld):
    def facilitator(self, subject: str = "pendamping-1", *areas: str) -> Caller:
        return self.caller("facilitator", areas=areas or ("52",), subject=subject)

    async def facts(self, stream: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """What the log says of cases, or of one: names and payloads, in order."""
        return await self.logged("outcomes.cases", stream)

    async def names(self, stream: str | None = None) -> list[str]:
        return [name for name, _ in await self.facts(stream)]


@pytest.fixture
async def outcomes(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Outcomes]:
    """An empty outcomes service at 15 July 2024, 09.00 in Mataram, with the project's default rules in force."""
    async with opened(Outcomes, SERVICE, fresh_database, tmp_path, NOW) as world:
        await world.given(*default_rules())
        yield world
