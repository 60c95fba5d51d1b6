"""What decides about messages whose time has come: loaded for all of them by a constant number of queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.notifications import Channel, ContactDetails, Language, Recipient
from contracts.registry import PersonDetails
from services.kit.transaction import Transaction
from services.notifications.cases.state import CASES
from services.notifications.classes.state import COHORTS, PLACEMENTS
from services.notifications.contacts.state import CONTACTS, Contact, key_subject
from services.notifications.deliveries.decisions import Circumstances, still_holds
from services.notifications.deliveries.state import Delivery
from services.notifications.facts import NAMES, Place
from services.notifications.forms import is_email_address, is_phone_number
from services.notifications.people.state import PERSONS
from services.notifications.rules.queries import every_rule
from services.notifications.templates.queries import every_template
from services.notifications.templates.rendering import Written, write
from services.notifications.templates.state import Template

_PURPOSE = "notify"
_UNNAMED = {Language.INDONESIAN: "Bapak/Ibu", Language.ENGLISH: "Sir or Madam"}

_COHORTS, _CASES = f"{COHORTS.topic}/", f"{CASES.topic}/"


async def circumstances_of(tx: Transaction, deliveries: Sequence[Delivery]) -> dict[str, Circumstances]:
    """By notification id. Nothing personal is opened for it."""
    rules = {rule.rule_id: rule for rule in await every_rule(tx.connection)}
    rows, connection = tx.working_set, tx.connection
    cohorts = {d.notification_id: _key_behind(_COHORTS, d) for d in deliveries}
    cases = {d.notification_id: _key_behind(_CASES, d) for d in deliveries}
    places = [(key, d.participant_id) for d in deliveries if (key := cohorts[d.notification_id])]
    # Other transactions may fold these rows at this moment: what they will say, comes too late for this message.
    await rows.load(connection, PERSONS, [(d.participant_id,) for d in deliveries], lock=False)
    await rows.load(connection, COHORTS, [(key,) for key, _ in places], lock=False)
    await rows.load(connection, PLACEMENTS, places, lock=False)
    await rows.load(connection, CASES, [(key,) for key in cases.values() if key], lock=False)
    await rows.load(connection, CONTACTS, [(d.recipient_id,) for d in deliveries], lock=False)
    known = {}
    for delivery in deliveries:
        id_ = delivery.notification_id
        cohort_id, case_id = cohorts[id_], cases[id_]
        rule, person = rules[delivery.rule_id], rows.get(PERSONS, delivery.participant_id)
        assert person is not None, "only messages about known people are due"
        cohort = rows.get(COHORTS, cohort_id) if cohort_id else None
        placement = rows.get(PLACEMENTS, cohort_id, delivery.participant_id) if cohort_id else None
        case = rows.get(CASES, case_id) if case_id else None
        holds = still_holds(delivery, rule, person, cohort, placement, case)
        known[id_] = Circumstances(rule, person, rows.get(CONTACTS, delivery.recipient_id), holds)
    return known


def _key_behind(topic: str, delivery: Delivery) -> str | None:
    """The stream's key in "training.cohorts/<key>"."""
    return delivery.about_stream.removeprefix(topic) if delivery.about_stream.startswith(topic) else None


# --- Who they are -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reachable:
    """Names and addresses, in memory for as long as the message takes."""

    name: str | None
    participant: str | None
    phone: str | None
    email: str | None

    def address(self, channel: Channel) -> str | None:
        """Where a channel goes to; None where nothing is known, or what is known is malformed."""
        if channel is Channel.EMAIL:
            return self.email if is_email_address(self.email) else None
        return self.phone if is_phone_number(self.phone) else None


async def reach(
    tx: Transaction, deliveries: Sequence[Delivery], known: Mapping[str, Circumstances]
) -> dict[str, Reachable]:
    """By notification id. Each look is in the read log. Raises KeysUnavailable while the registry is away."""
    each = [known[d.notification_id] for d in deliveries]
    people = {c.person.participant_id: c.person for c in each}
    contacts = {c.contact.subject_id: c.contact for c in each if c.contact is not None}
    opened_people = await tx.open(
        [(p.participant_id, p.sealed_by, p.sealed) for p in people.values()], PersonDetails, _PURPOSE
    )
    opened_contacts = await tx.open(
        [(key_subject(c.subject_id), c.sealed_by, c.sealed) for c in contacts.values()], ContactDetails, _PURPOSE
    )
    persons = dict(zip(people, opened_people, strict=True))
    details = dict(zip(contacts, opened_contacts, strict=True))
    return {
        d.notification_id: _reachable(d, persons[d.participant_id], details.get(d.recipient_id)) for d in deliveries
    }


def _reachable(delivery: Delivery, person: PersonDetails | None, contact: ContactDetails | None) -> Reachable:
    """What somebody has said of their own contact goes before what the registry knows."""
    contact = contact or ContactDetails()
    name = None if person is None else person.name
    if delivery.recipient is Recipient.FACILITATOR:
        return Reachable(contact.name, name, contact.phone, contact.email)
    phone = contact.phone or (None if person is None else person.phone)
    return Reachable(contact.name or name, name, phone, contact.email)


# --- What is said -----------------------------------------------------------------------------------------------------


async def templates_of(tx: Transaction) -> dict[str, Template]:
    return {template.template_id: template for template in await every_template(tx.connection)}


def language_of(contact: Contact | None) -> Language:
    """Bahasa Indonesia, unless somebody has asked for English."""
    return Language.INDONESIAN if contact is None else contact.language


def write_to(delivery: Delivery, template: Template, language: Language, reachable: Reachable) -> Written:
    """The message with the names in it. Raises Unsendable."""
    names = dict(zip((Place.NAME, Place.PARTICIPANT), (reachable.name, reachable.participant), strict=True))
    values = {place.value: name or _UNNAMED[language] for place, name in names.items()}
    told = {place: value for place, value in delivery.told.items() if place not in NAMES}
    return write(template.numbered(delivery.template_version), language, told | values)
