"""How somebody wants to be told, and where they can be reached, sealed."""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope, Event
from contracts.notifications import Channel, ContactPreferenceChanged, Language
from services.kit.table import Table


@dataclass(frozen=True, slots=True)
class Contact:
    subject_id: str  # a participant's id, or "staff:" and the id by which a facilitator signs in
    version: int
    area_code: str
    opted_out: bool
    language: Language
    channels: tuple[Channel, ...]  # in their own order; none: the rule's
    changed_at: datetime
    sealed: str | None  # ContactDetails
    sealed_by: str | None


def key_subject(subject_id: str) -> str:
    """Whose key seals a contact: a participant's own, which the registry made; a facilitator's is made for us."""
    return f"notifications:{subject_id}" if subject_id.startswith("staff:") else subject_id


def evolve_contact(contact: Contact | None, event: Event, envelope: Envelope) -> Contact | None:
    match event:
        case ContactPreferenceChanged():
            sealed = event.personal.get(key_subject(event.subject_id))
            return Contact(
                subject_id=event.subject_id,
                version=envelope.version,
                area_code=event.area_code,
                opted_out=event.opted_out,
                language=event.language,
                channels=event.channels,
                changed_at=envelope.time,
                sealed=sealed if isinstance(sealed, str) else None,
                sealed_by=None if sealed is None else envelope.id,
            )
        case _:
            return contact


CONTACTS = Table(
    "contact", Contact, topic="notifications.contacts", key=("subject_id",), evolve=evolve_contact, head=True
)
