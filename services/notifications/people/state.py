"""What notifications keeps of the registry's facts: who somebody is, sealed, and whether a visit to them is open."""

from dataclasses import dataclass
from enum import StrEnum

from contracts.envelope import Envelope, Event, Sealing
from contracts.registry import (
    ParticipantCorrected,
    ParticipantNominated,
    ParticipantRejected,
    ParticipantRelocated,
    ParticipantVerified,
    PersonErased,
    VerificationAssigned,
    VisitRecorded,
)
from services.kit.table import Table, present, replace


class PersonStatus(StrEnum):
    KNOWN = "known"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Person:
    """A participant of the registry's, as far as messages to them and about them need it."""

    participant_id: str
    version: int
    area_code: str
    status: PersonStatus
    assigned_by: str | None  # the event by which a facilitator was told to visit them, until the visit
    sealed: str | None  # PersonDetails
    sealed_by: str | None


def evolve_person(person: Person | None, event: Event, envelope: Envelope) -> Person | None:
    match event:
        case PersonErased():
            return Person(
                participant_id=event.participant_id,
                version=envelope.version,
                area_code=event.area_code if person is None else person.area_code,
                status=PersonStatus.ERASED,
                assigned_by=None,
                sealed=None,
                sealed_by=None,
            )
        case ParticipantNominated():
            return Person(
                participant_id=event.participant_id,
                version=envelope.version,
                area_code=event.area_code,
                status=PersonStatus.KNOWN,
                assigned_by=None,
                sealed=_sealed(event, event.participant_id),
                sealed_by=envelope.id,
            )
    person = present(person, envelope)
    if person.status is PersonStatus.ERASED:
        return person
    match event:
        case VerificationAssigned():
            return replace(person, assigned_by=envelope.id)
        case VisitRecorded() | ParticipantRejected():
            return replace(person, assigned_by=None)
        case ParticipantVerified():
            return _described(replace(person, assigned_by=None), event, envelope)
        case ParticipantCorrected():
            return _described(person, event, envelope)
        case ParticipantRelocated():
            return replace(person, area_code=event.area_code)
        case _:
            return person


def _described(person: Person, event: Sealing, envelope: Envelope) -> Person:
    sealed = _sealed(event, person.participant_id)
    return person if sealed is None else replace(person, sealed=sealed, sealed_by=envelope.id)


def _sealed(event: Sealing, subject: str) -> str | None:
    sealed = event.personal.get(subject)
    return sealed if isinstance(sealed, str) else None


PERSONS = Table(
    "person", Person, topic="registry.participants", key=("participant_id",), evolve=evolve_person, head=True
)
