"""Facts that arrive, without Kafka: records as a consumer gets them, and a batch that is taken as the worker does."""

from collections.abc import Sequence

from contracts.envelope import NOTHING_BEFORE, Envelope, Event, Position, headers_of
from services.kit.batch import Batches
from services.kit.positions import Place, Record, Slice
from services.kit.service import Service
from services.kit.transaction import Transaction, Workplace


def record_of(
    fact: Event, envelope: Envelope, place: Place, offset: int, sequence: int = 0, previous: int = NOTHING_BEFORE
) -> Record:
    """What Kafka would hand over of this fact."""
    return Record(
        topic=place.topic,
        partition=place.partition,
        offset=offset,
        timestamp=int(envelope.recorded.timestamp() * 1000),
        key=fact.key.encode(),
        value=fact.to_bytes(),
        headers=tuple(headers_of(envelope, Position(sequence, previous))),
    )


async def take_all(service: Service, workplace: Workplace, tx: Transaction, slices: Sequence[Slice]) -> None:
    """Applies the slices. Whatever fails would be parked: here it fails the test."""
    batches = Batches(service.name, service.tables, service.reactions, service.partners, workplace.keyring)
    parked = await batches.apply(tx, slices)
    assert not parked, parked[0].reason
