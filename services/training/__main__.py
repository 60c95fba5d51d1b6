"""Training's wiring: `python -m services.training api | worker | migrate | topics`."""

from pathlib import Path

from services.kit.process import main
from services.kit.service import Service
from services.training import api, handlers, state, timers

SERVICE = Service(
    name="training",
    summary="Programmes, cohorts, who gets a place, who came, who completed.",
    tables=state.TABLES,
    router=api.router,
    migrations=Path(__file__).with_name("migrations"),
    reactions=handlers.REACTIONS,
    timers=timers.TIMERS,
)

if __name__ == "__main__":
    main(SERVICE)
