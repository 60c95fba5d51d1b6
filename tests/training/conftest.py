"""Training as its tests meet it: see tests/support/service_world.py."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.training.__main__ import SERVICE
from tests.support.databases import FreshDatabase
from tests.support.service_world import Caller, ServiceWorld, opened
from tests.training.facts import NOW, default_rules

__all__ = ["Caller", "Training"]


class Training(ServiceWorld):
    async def facts(self, stream: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """What the log says of cohorts, or of one: names and payloads, in order."""
        return await self.logged("training.cohorts", stream)

    async def names(self, stream: str | None = None) -> list[str]:
        return [name for name, _ in await self.facts(stream)]


@pytest.fixture
async def training(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Training]:
    """An empty training service at 1 July 2024, 09.00 in Mataram, with the project's default rules in force."""
    async with opened(Training, SERVICE, fresh_database, tmp_path, NOW) as world:
        await world.given(*default_rules())
        yield world
