"""The registry's processes: `python -m services.registry api | worker | migrate | topics | reindex`."""

import asyncio
import sys
from pathlib import Path

from services.kit.clock import clock_from
from services.kit.database import open_pool
from services.kit.keyring import Keyring
from services.kit.process import main
from services.kit.service import Service, local_keys
from services.kit.settings import Settings, SettingsInvalid, load_settings
from services.kit.transaction import Workplace
from services.registry import search
from services.registry.api import router
from services.registry.handlers import PARTNERS, REACTIONS
from services.registry.people.queries import forget_again
from services.registry.snapshots import imports
from services.registry.snapshots.applying import apply_snapshots
from services.registry.snapshots.families import ListsWaiting, reindex_families
from services.registry.state import TABLES
from services.registry.timers import TIMERS


def own_secrets(settings: Settings) -> Keyring:
    """The registry keeps everybody's keys, and the pepper that its search index is keyed with."""
    search.use_pepper(settings.search_pepper())
    return local_keys(settings)


SERVICE = Service(
    name="registry",
    summary="Who is listed, how poor the lists say they are, what the field found, and whose data is whose.",
    tables=TABLES,
    router=router,
    migrations=Path(__file__).with_name("migrations"),
    reactions=REACTIONS,
    partners=PARTNERS,
    timers=TIMERS,
    jobs=(apply_snapshots,),
    keyring=own_secrets,
    redo=forget_again,
)


async def reindex(settings: Settings) -> tuple[int, int]:
    """Makes the indexes that the pepper keys anew, while the service runs; after a change of it, or when one is lost.

    Returns how many persons can be found, and how many households by their source's family id. Raises `ListsWaiting`.
    """
    pool = await open_pool(settings.database_url, size=3)
    try:
        clock = clock_from(settings)
        workplace = Workplace(SERVICE.name, pool, TABLES, own_secrets(settings), clock.now, lambda: None)
        await imports.sweep(workplace)
        households = await reindex_families(workplace, settings.search_pepper())
        return await search.reindex(workplace), households
    finally:
        await pool.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["reindex"]:
        try:
            persons, households = asyncio.run(reindex(load_settings()))
        except (SettingsInvalid, ListsWaiting) as error:
            sys.exit(str(error))
        sys.stdout.write(f"registry: {persons} persons and {households} households of lists can be found\n")
    else:
        main(SERVICE)
