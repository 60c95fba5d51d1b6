"""Notifications' wiring: `python -m services.notifications api | worker | migrate | topics`."""

from pathlib import Path

from services.kit.process import main
from services.kit.service import Service
from services.notifications import api, handlers, state, timers
from services.notifications.deliveries.sending import send_notifications
from services.notifications.settings import SenderSettings

SERVICE = Service(
    name="notifications",
    summary="Who is told what, over which channel, and what became of each message.",
    tables=state.TABLES,
    router=api.router,
    migrations=Path(__file__).with_name("migrations"),
    reactions=handlers.REACTIONS,
    timers=timers.TIMERS,
    jobs=(send_notifications,),
    settings=SenderSettings,
)

if __name__ == "__main__":
    main(SERVICE)
