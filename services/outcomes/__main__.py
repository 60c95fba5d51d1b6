"""Outcomes' wiring: `python -m services.outcomes api | worker | migrate | topics`."""

from pathlib import Path

from services.kit.process import main
from services.kit.service import Service
from services.outcomes import api, dinkop, handlers, matching, state, timers

SERVICE = Service(
    name="outcomes",
    summary="What became of who completed a training, and what was done for them.",
    tables=state.TABLES,
    router=api.router,
    migrations=Path(__file__).with_name("migrations"),
    reactions=handlers.REACTIONS,
    partners=(dinkop.DINKOP,),
    timers=timers.TIMERS,
    jobs=(matching.match_interventions,),
)

if __name__ == "__main__":
    main(SERVICE)
