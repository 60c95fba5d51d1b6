"""Owns the row of a snapshot (one list file of one source, as it came in) and how facts change it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts import areas
from contracts.envelope import Envelope, Event
from contracts.registry import AreaCode, SnapshotApplied, SnapshotId, SnapshotReceived
from services.kit.table import Table, present, replace


class SnapshotStatus(StrEnum):
    RECEIVED = "received"  # its good rows are staged
    APPLIED = "applied"  # every staged household was dealt with


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list file that came in whole. The counts of what it did are zero until it is applied."""

    snapshot_id: SnapshotId
    version: int
    area_code: AreaCode  # the smallest area that holds all declared ones; "" where only the country does
    status: SnapshotStatus
    source: str
    dated: date
    areas: tuple[AreaCode, ...]
    file_name: str
    file_digest: str
    rows: int
    rows_rejected: int
    households: int
    people: int
    received_at: datetime
    applied_at: datetime | None
    households_on_list: int
    people_on_list: int
    listed: int
    rank_changed: int
    unchanged: int
    delisted: int
    unresolved: int

    @property
    def is_applied(self) -> bool:
        return self.status is SnapshotStatus.APPLIED


def evolve_snapshot(snapshot: Snapshot | None, event: Event, envelope: Envelope) -> Snapshot | None:
    match event:
        case SnapshotReceived():
            return _received(event, envelope)
        case SnapshotApplied():
            return replace(
                present(snapshot, envelope),
                status=SnapshotStatus.APPLIED,
                applied_at=envelope.time,
                households_on_list=event.households_on_list,
                people_on_list=event.people_on_list,
                listed=event.listed,
                rank_changed=event.rank_changed,
                unchanged=event.unchanged,
                delisted=event.delisted,
                unresolved=event.unresolved,
            )
        case _:
            return snapshot


def _received(event: SnapshotReceived, envelope: Envelope) -> Snapshot:
    return Snapshot(
        snapshot_id=event.snapshot_id,
        version=envelope.version,
        area_code=common_area(event.areas),
        status=SnapshotStatus.RECEIVED,
        source=event.source,
        dated=event.dated,
        areas=event.areas,
        file_name=event.file_name,
        file_digest=event.file_digest,
        rows=event.rows,
        rows_rejected=event.rows_rejected,
        households=event.households,
        people=event.people,
        received_at=envelope.time,
        applied_at=None,
        households_on_list=0,
        people_on_list=0,
        listed=0,
        rank_changed=0,
        unchanged=0,
        delisted=0,
        unresolved=0,
    )


def common_area(codes: Sequence[AreaCode]) -> AreaCode:
    """The smallest area that holds all of these; "" where only the whole country does."""
    first, *others = codes
    candidates = (*areas.ancestors(first), first)
    return next((area for area in reversed(candidates) if all(areas.covers(area, code) for code in others)), "")


SNAPSHOTS = Table(
    "snapshot", Snapshot, topic="registry.snapshots", key=("snapshot_id",), evolve=evolve_snapshot, head=True
)
