"""Owns what callers may ask for about participants, and the form in which they ask. Pure."""

from datetime import date
from typing import Annotated, Literal

import phonenumbers
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from contracts.registry import Finding, LivingConditions, NominationRoute, RejectionReason, VisitNotes
from services.registry.rules import decisions as rules

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]+$")]


def _e164(text: str) -> str:
    """+6281234567890 of 0812-3456-7890, 62812… and the like. The number itself stays out of the message.

    The library takes up to 17 digits of an Indonesian number for possible, and so a NIK too: E.164 has at most 15.
    """
    try:
        number = phonenumbers.parse(text, "ID")
    except phonenumbers.NumberParseException:
        raise ValueError("this is no telephone number, such as 0812-3456-7890") from None
    told = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not phonenumbers.is_possible_number(number) or len(told) > len("+") + 15:
        raise ValueError("this is no telephone number, such as 0812-3456-7890")
    return told


Phone = Annotated[str, Field(max_length=40), AfterValidator(_e164)]


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Assign(Wish):
    """Have a facilitator visit persons of listed households; whoever is new is nominated by this."""

    facilitator_id: Id
    due_on: date
    person_ids: Annotated[list[Id], Field(min_length=1, max_length=500)]
    route: NominationRoute = NominationRoute.TARGETING_LIST


Word = Annotated[str, Field(pattern=r"^[A-Za-z /.,()-]{1,60}$")]


class SeenConditions(Wish):
    """How the household lives, as seen, in the words of the lists; what was not looked at is left out."""

    house_ownership: Word | None = None
    savings: Word | None = None
    roof: Word | None = None
    wall: Word | None = None
    floor: Word | None = None
    lighting: Word | None = None
    cooking_fuel: Word | None = None
    drinking_water: rules.DrinkingWater | None = None
    latrine: rules.Latrine | None = None
    social_assistance: tuple[Literal["PKH", "BPNT", "BST", "BPUM", "Sembako"], ...] = ()
    stunting_risk: bool | None = None

    @property
    def as_fact(self) -> LivingConditions:
        return LivingConditions(**self.model_dump())


class RecordVisit(Wish):
    """What was found at a door. The device gives `visit_id` once and may send the visit again as often as it likes."""

    visit_id: Id
    captured_at: AwareDatetime
    finding: Finding
    willing: bool
    can_leave_home: bool
    situation_changed: bool = False
    reachable: bool
    conditions: SeenConditions | None = None
    notes: Annotated[str, Field(max_length=2000)] | None = None
    phone: Phone | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None

    @property
    def seen(self) -> LivingConditions | None:
        return None if self.conditions is None else self.conditions.as_fact

    @property
    def to_seal(self) -> VisitNotes | None:
        notes = VisitNotes(notes=self.notes, phone=self.phone, latitude=self.latitude, longitude=self.longitude)
        return None if notes == VisitNotes() else notes


class RecordVisitTo(RecordVisit):
    participant_id: Id


class Reject(Wish):
    reason: RejectionReason
