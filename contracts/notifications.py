"""The facts that notifications publishes: which message was wanted for whom and why, and what became of it.

No message text is on the log: a template and the values for its places are, and the names are put in when it is sent.
"""

from datetime import datetime

from contracts.envelope import Event, Open, Personal, PersonalRecord, Pseudonymous, Sealing, Word
from contracts.registry import AreaCode

NotificationId = str
SubjectId = str  # a person's id, or "staff:" and the id by which a facilitator signs in

# --- Words ------------------------------------------------------------------------------------------------------------


class Channel(Word):
    WHATSAPP = "whatsapp"
    SMS = "sms"
    EMAIL = "email"


class Language(Word):
    INDONESIAN = "id"
    ENGLISH = "en"


class Recipient(Word):
    PARTICIPANT = "participant"
    FACILITATOR = "facilitator"


class SuppressionReason(Word):
    """Why nothing is sent."""

    OPTED_OUT = "opted_out"
    NO_ADDRESS = "no_address"  # none for any channel of the rule
    ERASED = "erased"
    TOO_OLD = "too_old"  # the fact is older than the rule lets anybody be told of
    OVERTAKEN = "overtaken"  # what was to be announced does not take place, or not for them
    WITHDRAWN = "withdrawn"  # the rule was switched off before it was sent


class FailureReason(Word):
    REFUSED = "refused"  # the provider says that it will never take it
    UNREACHABLE = "unreachable"  # the provider could not be asked for as long as the message made sense
    IN_DOUBT = "in_doubt"  # killed between sending and recording, and the provider cannot tell copies: not sent again
    UNSAFE_TEXT = "unsafe_text"  # with the values in their places it could hold a national id, or had no value for one


# --- What is sealed ---------------------------------------------------------------------------------------------------


class ContactDetails(PersonalRecord):
    """Where somebody can be reached; sealed whole whenever any of it changes."""

    name: Personal[str | None] = None
    phone: Personal[str | None] = None  # E.164
    email: Personal[str | None] = None


# --- Rules and templates ----------------------------------------------------------------------------------------------


class NotificationRuleFact(Event, topic="notifications.rules", key="rule_id"):
    rule_id: Open[str]


class NotificationRuleAdopted(NotificationRuleFact):
    """Which fact makes which message for whom. A version holds until the next."""

    rule_version: Open[int]
    fact: Open[str]  # "training.ParticipantEnrolled"
    recipient: Open[Recipient]
    template_id: Open[str]
    channels: Open[tuple[Channel, ...]]  # in the order in which they are tried
    quiet_from: Open[str]  # "20:00" in WITA
    quiet_until: Open[str]  # "07:00" in WITA
    remind_days_before: Open[int | None] = None  # None: at once; else so many days before the date that the fact names
    tell_within_hours: Open[int]  # after that it is old news and suppressed
    active: Open[bool]
    source: Open[str]


class TemplateFact(Event, topic="notifications.templates", key="template_id"):
    template_id: Open[str]


class TemplateAdopted(TemplateFact):
    """A message in both languages, with places such as {name} and {course}. No place can hold a national id."""

    template_version: Open[int]
    subject_id: Open[str]  # the subject line in Bahasa Indonesia; only e-mail shows it
    subject_en: Open[str]
    text_id: Open[str]
    text_en: Open[str]


# --- Contacts ---------------------------------------------------------------------------------------------------------


class ContactFact(Event, topic="notifications.contacts", key="subject_id"):
    subject_id: Pseudonymous[SubjectId]


class ContactPreferenceChanged(ContactFact, Sealing, seals=(ContactDetails,)):
    """How somebody wants to be told, or that they do not want to be told at all."""

    area_code: Open[AreaCode]
    opted_out: Pseudonymous[bool]
    language: Pseudonymous[Language]
    channels: Pseudonymous[tuple[Channel, ...]] = ()  # in their own order; none: the rule's


# --- Deliveries -------------------------------------------------------------------------------------------------------


class DeliveryFact(Event, topic="notifications.deliveries", key="notification_id"):
    notification_id: Pseudonymous[NotificationId]


class NotificationRequested(DeliveryFact):
    """A rule wants somebody told. The id follows from the fact, the person and the rule: it cannot be wanted twice."""

    rule_id: Open[str]
    rule_version: Open[int]
    template_id: Open[str]
    template_version: Open[int]
    recipient: Open[Recipient]
    recipient_id: Pseudonymous[SubjectId]
    area_code: Open[AreaCode]
    about_id: Pseudonymous[str]  # the event that is told of
    about_stream: Pseudonymous[str]  # "training.cohorts/<id>"
    participant_id: Pseudonymous[str]  # whom it is about: the recipient, or whom a facilitator is to visit
    values: Pseudonymous[dict[str, str]]  # for the template's places; names come later and are not here
    send_after: Open[datetime]
    send_before: Open[datetime]


class NotificationSuppressed(DeliveryFact):
    """Nothing is sent."""

    because: Pseudonymous[SuppressionReason]


class SendingStarted(DeliveryFact):
    """What follows is out of our hands: recorded before the provider is asked, so that no crash can hide a message."""

    attempt: Open[int]  # 1, 2, 3 …
    channel: Pseudonymous[Channel]
    repeatable: Open[bool]  # the provider tells copies by our id: after a crash it may be asked again


class NotificationSent(DeliveryFact):
    """The provider has taken the message."""

    attempt: Open[int]
    channel: Pseudonymous[Channel]
    provider_reference: Pseudonymous[str | None] = None


class AttemptFailed(DeliveryFact):
    """The provider did not take it this time; it is tried again, or on the next channel."""

    attempt: Open[int]
    channel: Pseudonymous[Channel]
    because: Open[FailureReason]  # in_doubt: it did not answer, and tells copies, so it is asked again with the same id


class NotificationDelivered(DeliveryFact):
    """The provider says that the message has arrived."""

    delivered_at: Open[datetime]


class NotificationFailed(DeliveryFact):
    """It was not sent, and is not tried again; or nobody can tell whether it was."""

    because: Open[FailureReason]
