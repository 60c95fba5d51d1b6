"""What outcomes keeps of the targeting lists that came in: how many rows each had, and how many could not be read."""

from dataclasses import dataclass
from datetime import date, datetime

from contracts.envelope import Envelope, Event
from contracts.registry import SnapshotApplied, SnapshotReceived
from services.kit.table import Table, present, replace


@dataclass(frozen=True, slots=True)
class Snapshot:
    snapshot_id: str
    version: int
    source: str  # "P3KE", "DTSEN"
    dated: date
    rows: int
    rows_rejected: int
    households: int
    people: int
    unresolved: int | None  # households for which several matched; None until the list was applied
    received_at: datetime
    applied_at: datetime | None


def evolve_snapshot(snapshot: Snapshot | None, event: Event, envelope: Envelope) -> Snapshot | None:
    match event:
        case SnapshotReceived():
            return Snapshot(
                snapshot_id=event.snapshot_id,
                version=envelope.version,
                source=event.source,
                dated=event.dated,
                rows=event.rows,
                rows_rejected=event.rows_rejected,
                households=event.households,
                people=event.people,
                unresolved=None,
                received_at=envelope.time,
                applied_at=None,
            )
        case SnapshotApplied():
            return replace(present(snapshot, envelope), unresolved=event.unresolved, applied_at=envelope.time)
        case _:
            return snapshot


SNAPSHOTS = Table(
    "snapshot", Snapshot, topic="registry.snapshots", key=("snapshot_id",), evolve=evolve_snapshot, head=True
)
