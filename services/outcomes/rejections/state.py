"""Owns the rows of partner messages that could not be taken in: what is wrong with each, never what it said."""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope, Event
from contracts.partners import Fault, MessageRejected, SupportMessageRejected
from contracts.registry import AreaCode
from services.kit.table import Table


@dataclass(frozen=True, slots=True)
class Rejection:
    rejection_id: str
    version: int
    area_code: AreaCode  # "": nobody knows where an unreadable message belongs
    system: str
    message_id: str | None
    message_type: str | None
    record_partition: int
    record_offset: int
    faults: tuple[Fault, ...]
    rejected_at: datetime


def evolve_rejection(rejection: Rejection | None, event: Event, envelope: Envelope) -> Rejection | None:
    match event:
        case SupportMessageRejected():
            return Rejection(
                rejection_id=event.rejection_id,
                version=envelope.version,
                area_code="",
                system=event.system,
                message_id=event.message_id,
                message_type=event.message_type,
                record_partition=event.partition,
                record_offset=event.offset,
                faults=event.faults,
                rejected_at=envelope.time,
            )
        case _:
            return rejection


REJECTIONS = Table(
    "rejection",
    Rejection,
    topic="partners.dinkop.rejected",
    key=("rejection_id",),
    evolve=evolve_rejection,
    head=True,
)


@dataclass(frozen=True, slots=True)
class RegistryRejection:
    """What the registry could not take in of the civil registry's messages: as much of it as is counted."""

    rejection_id: str
    version: int
    system: str
    faults: tuple[Fault, ...]


def evolve_registry_rejection(
    rejection: RegistryRejection | None, event: Event, envelope: Envelope
) -> RegistryRejection | None:
    match event:
        case MessageRejected():
            return RegistryRejection(
                rejection_id=event.rejection_id,
                version=envelope.version,
                system=event.system,
                faults=event.faults,
            )
        case _:
            return rejection


REGISTRY_REJECTIONS = Table(
    "registry_rejection",
    RegistryRejection,
    topic="partners.dukcapil.rejected",
    key=("rejection_id",),
    evolve=evolve_registry_rejection,
    head=True,
)
