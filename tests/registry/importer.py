"""What a worker's process does with lists, without its relay and consumer, until none waits: a process to be killed."""

import asyncio
from datetime import UTC, datetime

from services.kit import crash
from services.kit.database import open_pool
from services.kit.jobs import JobContext
from services.kit.keyring import LocalKeys
from services.kit.settings import load_settings
from services.kit.transaction import Workplace
from services.registry import search
from services.registry.snapshots.applying import apply_snapshots
from services.registry.state import TABLES

NOW = datetime(2024, 7, 8, 1, 0, tzinfo=UTC)


async def work_until_applied() -> None:
    settings = load_settings()
    crash.arm(settings.crash_points)
    search.use_pepper(settings.search_pepper())
    pool = await open_pool(settings.database_url, size=3)
    workplace = Workplace("registry", pool, TABLES, LocalKeys(settings.master_key()), lambda: NOW, lambda: None)
    context = JobContext(workplace, settings, asyncio.Event())
    job = asyncio.ensure_future(apply_snapshots(context))
    while await pool.fetchval("SELECT EXISTS (SELECT 1 FROM snapshot_import WHERE stage <> 'swept')"):
        await asyncio.wait([job], timeout=0.1)
        if job.done():
            await job
    context.stopping.set()
    await job
    pool.terminate()


if __name__ == "__main__":
    asyncio.run(work_until_applied())
