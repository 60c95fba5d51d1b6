"""Changing how somebody wants to be told, and where they can be reached."""

from typing import Annotated

from pydantic import Field, field_validator

from contracts import areas
from contracts.envelope import Event
from contracts.notifications import Channel, ContactDetails, ContactPreferenceChanged, Language
from services.kit.refusal import FieldProblem, Refused
from services.notifications.contacts.state import key_subject
from services.notifications.forms import STAFF, Area, Email, Name, Phone, Wish
from services.notifications.people.state import Person, PersonStatus


class ChangeContact(Wish):
    """Everything about somebody's contact at once: what is left out is no longer kept."""

    opted_out: bool = Field(False, description="true: they are told nothing")
    language: Language = Language.INDONESIAN
    channels: Annotated[
        tuple[Channel, ...], Field(max_length=3, description="In their own order; none: as the rule says")
    ] = ()
    name: Name | None = None
    phone: Annotated[
        Phone | None, Field(description="Kept as E.164; none: a participant's is the one that the registry knows")
    ] = None
    email: Email | None = None
    area_code: Annotated[
        Area | None, Field(description="Of a facilitator; a participant's is where they live by the registry")
    ] = None

    @field_validator("channels")
    @classmethod
    def _each_once(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("each channel can be named once")
        return channels


def area_of(subject_id: str, person: Person | None, command: ChangeContact) -> str:
    """The area that a contact belongs to. Refuses somebody unknown or erased."""
    if subject_id.startswith(STAFF):
        if command.area_code is None or not areas.is_known(command.area_code):
            raise _refused("area_code", "is missing or unknown", "Give the area in which the facilitator works.")
        return command.area_code
    if person is None:
        raise Refused(
            "no-such-participant",
            "The registry has told of no such participant.",
            status=404,
            remedy="Check the id; a facilitator's begins with `staff:`.",
        )
    if person.status is PersonStatus.ERASED:
        raise Refused("person-erased", "At the person's wish nothing is kept about them any more.")
    if command.area_code is not None:
        raise _refused("area_code", "is given for a participant", "Leave it out: the registry knows where they live.")
    return person.area_code


def change(subject_id: str, area_code: str, command: ChangeContact) -> list[Event]:
    """What is personal is sealed whole under the person's own key, or one that was made for the facilitator."""
    details = ContactDetails(name=command.name, phone=command.phone, email=command.email)
    return [
        ContactPreferenceChanged(
            subject_id=subject_id,
            area_code=area_code,
            opted_out=command.opted_out,
            language=command.language,
            channels=command.channels,
            personal={} if details == ContactDetails() else {key_subject(subject_id): details},
        )
    ]


def _refused(field: str, problem: str, remedy: str) -> Refused:
    return Refused(
        "contact-unfit",
        "The contact was not changed.",
        status=422,
        fields=[FieldProblem(f"body.{field}", problem, remedy)],
    )
