"""The facts that other government systems publish to us, and what we tell them when a message cannot be taken.

A partner knows a person by the NIK only: partner topics are the one place where it travels, kept for seven days and
readable by the service that takes them in alone.
"""

from datetime import date

from contracts.envelope import Event, Open, Personal, Pseudonymous, Value

# --- partners.dukcapil: the civil registry ----------------------------------------------------------------------------


class CivilRegistryFact(Event, topic="partners.dukcapil", key="national_id"):
    national_id: Personal[str]  # NIK, 16 digits


class IdentityMatched(CivilRegistryFact):
    """The civil registry compared a person with its records."""

    matched: Personal[bool]


class DeathRecorded(CivilRegistryFact):
    """A death was registered."""

    died_on: Personal[date]


class HouseholdMoved(CivilRegistryFact):
    """The head of a household registered a move of the whole household."""

    to_area_code: Personal[str]  # a village, dotted or not
    moved_on: Personal[date]


# --- partners.dinkop: the province's agency for cooperatives and small business ---------------------------------------


class SupportFact(Event, topic="partners.dinkop", key="national_id"):
    national_id: Personal[str]  # NIK, 16 digits, of who was supported


class MentoringVisited(SupportFact):
    """A mentor (pendamping) visited somebody's business."""

    visited_on: Personal[date]


class FinancingGranted(SupportFact):
    """A credit or a grant was paid out."""

    granted_on: Personal[date]
    amount_rupiah: Personal[int]
    scheme: Personal[str]  # a code in capitals: KUR_SUPER_MIKRO, KUR_MIKRO, BPUM


class MarketAccessGranted(SupportFact):
    """Somebody got a place where their goods are sold."""

    granted_on: Personal[date]
    scheme: Personal[str]  # a code in capitals: PASAR_DESA, PAMERAN, E_KATALOG


class AssistanceDelivered(SupportFact):
    """A social programme's benefit arrived."""

    delivered_on: Personal[date]
    scheme: Personal[str]  # a code in capitals: PKH, BPNT, BST, SEMBAKO
    amount_rupiah: Personal[int | None] = None


class MemberJoinedCooperative(SupportFact):
    """A cooperative took somebody in."""

    joined_on: Personal[date]
    cooperative_number: Personal[str]


class CooperativeReport(Event, topic="partners.dinkop", key="cooperative_number"):
    cooperative_number: Open[str]  # the cooperative's own number, not a person's


class AnnualMeetingHeld(CooperativeReport):
    """A cooperative held its annual members' meeting (RAT)."""

    name: Open[str]
    area_code: Open[str]  # where its seat is: a village or a kecamatan, dotted or not
    year: Open[int]  # the business year that it was about
    held_on: Open[date]
    members: Open[int]
    net_surplus_rupiah: Open[int]  # SHU; below 0 is a loss


# --- What we answer ---------------------------------------------------------------------------------------------------


class Fault(Value):
    """What is wrong in a message: where, why, and what to do. Never the value itself."""

    field: Open[str]
    reason: Open[str]
    remedy: Open[str]


class Rejection(Event):
    """What a partner is told of a message that was not taken in; each system is told on a topic of its own."""

    system: Open[str]
    message_id: Pseudonymous[str | None] = None  # the message's own ce_id, where it had a readable one
    message_type: Open[str | None] = None
    partition: Open[int]
    offset: Open[int]
    faults: Open[tuple[Fault, ...]]


class RejectionFact(Event, topic="partners.dukcapil.rejected", key="rejection_id"):
    rejection_id: Open[str]


class MessageRejected(Rejection, RejectionFact):
    """A message of the civil registry was not taken in; it is kept sealed for 90 days.

    Publish it again, mended, with a new id.
    """


class SupportRejectionFact(Event, topic="partners.dinkop.rejected", key="rejection_id"):
    rejection_id: Open[str]


class SupportMessageRejected(Rejection, SupportRejectionFact):
    """A message of the agency for cooperatives was not taken in; it is kept sealed for 90 days.

    Publish it again, mended, with a new id.
    """
