"""How somebody wants to be told."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response

from contracts.notifications import Channel, ContactDetails, Language
from services.kit.auth import Forbidden, Principal
from services.kit.refusal import Refused
from services.notifications.api.shapes import ContactReads, ContactWork, FromJson, SubjectPath, View
from services.notifications.contacts import decisions, queries
from services.notifications.contacts.state import CONTACTS, key_subject
from services.notifications.forms import STAFF
from services.notifications.people.state import PERSONS

router = APIRouter(tags=["contacts"])


class PreferenceView(View):
    subject_id: str
    version: int
    area_code: str
    opted_out: bool
    language: Language
    channels: Annotated[tuple[Channel, ...], FromJson]
    changed_at: datetime


class ContactView(PreferenceView):
    """With name and addresses, as far as they were given here."""

    name: str | None
    phone: str | None
    email: str | None


@router.put("/contacts/{subject_id}", response_model=PreferenceView)
async def change_contact(subject_id: SubjectPath, command: decisions.ChangeContact, work: ContactWork) -> Response:
    """Keeps how somebody wants to be told, and where; or that they want to be told nothing (`opted_out`)."""
    async with work as tx:
        is_staff = subject_id.startswith(STAFF)
        person = await tx.row(PERSONS, subject_id)
        area_code = decisions.area_of(subject_id, person, command)
        tx.authorise(area_code)
        if is_staff:
            _authorise_for_colleague(tx.principal, subject_id)
        contact = await tx.row(CONTACTS, subject_id)
        if contact is not None:
            # Whoever moves somebody into their own area must have had them in it before.
            tx.authorise(contact.area_code)
        tx.expect_version(contact)
        await tx.decide(decisions.change(subject_id, area_code, command))
        contact = await tx.row(CONTACTS, subject_id)
        assert contact is not None
        stream = f"{CONTACTS.topic}/{subject_id}"
        return tx.answer(PreferenceView.of(contact), version=contact.version, stream=stream)


@router.get("/contacts/{subject_id}")
async def show_contact(subject_id: SubjectPath, reads: ContactReads) -> ContactView:
    """One person's preference, name and addresses; each look is in the read log."""
    async with reads as db:
        row = await queries.contact(db.connection, subject_id)
        if row is None:
            raise Refused(
                "no-such-contact",
                "Nothing was kept about this person here, or not in your areas.",
                status=404,
                remedy="They are told as the rules say, at the number that the registry knows.",
            )
        sealed = (key_subject(subject_id), row["sealed_by"], row["sealed"])
        [details] = await db.open([sealed], ContactDetails, "contact")
        return ContactView(**PreferenceView.of(row).model_dump(), **(details or ContactDetails()).model_dump())


def _authorise_for_colleague(principal: Principal, subject_id: str) -> None:
    """Facilitators keep their own contact; officers and districts anybody's."""
    if not principal.has_any(("officer", "district")) and subject_id != f"{STAFF}{principal.subject}":
        raise Forbidden("This is another facilitator's contact.")
