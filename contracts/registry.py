"""The facts that the registry publishes: who is listed, how poor the lists say they are, and what the field found."""

from datetime import date, datetime

from contracts.envelope import Event, Open, Personal, PersonalRecord, Pseudonymous, Sealing, Value, Word

HouseholdId = str
PersonId = str  # a participant's id is the id the person got when first listed
SnapshotId = str
AreaCode = str  # dotted Kemendagri code: "52", "52.01", "52.01.01", "52.01.01.2001"

# --- Words ------------------------------------------------------------------------------------------------------------


class Finding(Word):
    """What a facilitator found at the door (the findings seen in NTB)."""

    MATCHED = "matched"
    DUPLICATE = "duplicate"
    MOVED = "moved"
    DECEASED = "deceased"
    ADDRESS_NOT_FOUND = "address_not_found"
    PERSON_NOT_FOUND = "person_not_found"
    NIK_NOT_REGISTERED = "nik_not_registered"
    CIVIL_SERVANT_MILITARY_POLICE = "civil_servant_military_police"


class RejectionReason(Word):
    """Why somebody does not become a participant: a finding at the door, a civil-registry fact, or an officer's."""

    DUPLICATE = "duplicate"
    MOVED = "moved"
    DECEASED = "deceased"
    ADDRESS_NOT_FOUND = "address_not_found"
    PERSON_NOT_FOUND = "person_not_found"
    NIK_NOT_REGISTERED = "nik_not_registered"
    CIVIL_SERVANT_MILITARY_POLICE = "civil_servant_military_police"
    NOT_WILLING = "not_willing"
    NOT_ELIGIBLE = "not_eligible"


class DelistingReason(Word):
    NOT_ON_LIST = "not_on_list"  # a newer list of the same source and area does not name it
    MOVED_AWAY = "moved_away"  # out of the areas that are served here
    NO_MEMBERS_LEFT = "no_members_left"


class LeavingReason(Word):
    DECEASED = "deceased"
    MOVED = "moved"
    NOT_ON_LIST = "not_on_list"  # a list that names the household again does not name them; a later one may


class AgeBand(Word):
    """P3KE's age bands in years; what a fact may say of an age without saying the birth date."""

    UNDER_7 = "0-6"
    FROM_7 = "7-12"
    FROM_13 = "13-15"
    FROM_16 = "16-18"
    FROM_19 = "19-21"
    FROM_22 = "22-59"
    FROM_60 = "60+"
    UNKNOWN = "unknown"


class Sex(Word):
    MALE = "male"
    FEMALE = "female"
    UNKNOWN = "unknown"


class NominationRoute(Word):
    """How a person came to be considered."""

    TARGETING_LIST = "targeting_list"
    DISTRICT = "district"  # rekomendasi of a kabupaten/kota


class ListEvidence(Value):
    """Where in which list a fact stands: the file's SHA-256 and the household's first row (the header is row 1)."""

    file_digest: Open[str]
    row: Open[int]


class Rank(Value):
    """A dated, sourced statement of how poor a list says a household is; never simply "its" rank."""

    source: Open[str]  # "P3KE", "DTSEN"
    snapshot_id: Open[SnapshotId]
    dated: Open[date]
    welfare_decile: Pseudonymous[int]  # 1 (poorest) .. 10
    welfare_percentile: Pseudonymous[int | None] = None  # 1 .. 100; supplied beside the list, which has no such column


class LivingConditions(Value):
    """How a household lives, in the list's own words where it has a fixed vocabulary."""

    house_ownership: Pseudonymous[str | None] = None
    savings: Pseudonymous[str | None] = None
    roof: Pseudonymous[str | None] = None
    wall: Pseudonymous[str | None] = None
    floor: Pseudonymous[str | None] = None
    lighting: Pseudonymous[str | None] = None
    cooking_fuel: Pseudonymous[str | None] = None
    drinking_water: Pseudonymous[str | None] = None
    latrine: Pseudonymous[str | None] = None
    social_assistance: Pseudonymous[tuple[str, ...]] = ()  # of PKH, BPNT, BST, BPUM, Sembako
    stunting_risk: Pseudonymous[bool | None] = None


class Member(Value):
    """A person of a household, by id; who that is stands sealed in the event's `personal`."""

    person_id: Pseudonymous[PersonId]
    head: Pseudonymous[bool]
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    adult: Pseudonymous[bool]
    civil_registry_match: Pseudonymous[bool | None] = None


class PriorityPart(Value):
    """One reason of a priority, with the points it gave."""

    name: Open[str]
    points: Pseudonymous[int]
    because: Pseudonymous[str]


class Priority(Value):
    """Who goes first, and why: the parts add up to the score, under the rule version that was applied."""

    score: Pseudonymous[int]
    parts: Pseudonymous[tuple[PriorityPart, ...]]
    rule_id: Open[str]
    rule_version: Open[int]


# --- What is sealed ---------------------------------------------------------------------------------------------------


class PersonDetails(PersonalRecord):
    """Who a person is, as the list says it; sealed whole under the person's key whenever any of it changes."""

    name: Personal[str]
    national_id: Personal[str | None] = None  # NIK
    birth_date: Personal[date | None] = None
    relation_to_head: Personal[str | None] = None
    marital_status: Personal[str | None] = None
    occupation: Personal[str | None] = None
    education: Personal[str | None] = None
    source_person_id: Personal[str | None] = None
    phone: Personal[str | None] = None  # E.164


class HouseholdDetails(PersonalRecord):
    """Where a household lives and how the list names it; sealed under the household's own subject key."""

    address: Personal[str | None] = None
    family_card_number: Personal[str | None] = None  # nomor KK
    source_family_id: Personal[str | None] = None


class VisitNotes(PersonalRecord):
    """What a facilitator wrote at the door."""

    notes: Personal[str | None] = None
    phone: Personal[str | None] = None
    latitude: Personal[float | None] = None
    longitude: Personal[float | None] = None


# --- Rules: what decides is in the log too ----------------------------------------------------------------------------


class RegistryRuleFact(Event, topic="registry.rules", key="rule_id"):
    rule_id: Open[str]


class RuleAdopted(RegistryRuleFact):
    """A version of a rule (priority, verification's age) came into force."""

    rule_version: Open[int]
    kind: Open[str]  # "priority" | "verification"
    definition: Open[dict[str, object]]
    source: Open[str]  # the regulation or the decree it stands on, or "project default"


# --- Snapshots of targeting lists -------------------------------------------------------------------------------------


class SnapshotFact(Event, topic="registry.snapshots", key="snapshot_id"):
    snapshot_id: Open[SnapshotId]


class SnapshotReceived(SnapshotFact):
    """A list file came in whole, was read to its end, and its good rows are staged."""

    source: Open[str]
    dated: Open[date]
    areas: Open[tuple[AreaCode, ...]]  # the list is complete for these; only there may it delist anybody
    file_name: Open[str]
    file_digest: Open[str]  # SHA-256 of the bytes, hex
    rows: Open[int]
    rows_rejected: Open[int]
    households: Open[int]
    people: Open[int]


class SnapshotApplied(SnapshotFact):
    """Every staged household was dealt with. A reader holds the snapshot when it holds `households_on_list` of it."""

    source: Open[str]
    dated: Open[date]
    households_on_list: Open[int]  # listed + rank_changed + unchanged
    people_on_list: Open[int]
    listed: Open[int]
    rank_changed: Open[int]
    unchanged: Open[int]
    delisted: Open[int]
    unresolved: Open[int]  # several candidates matched: reported, nothing guessed


# --- Households -------------------------------------------------------------------------------------------------------


class HouseholdFact(Event, topic="registry.households", key="household_id"):
    household_id: Pseudonymous[HouseholdId]


class HouseholdListed(HouseholdFact, Sealing, seals=(PersonDetails, HouseholdDetails)):
    """A household is on a targeting list for the first time (or again, after it was delisted)."""

    area_code: Open[AreaCode]  # the village
    rank: Pseudonymous[Rank]
    evidence: Open[ListEvidence]
    conditions: Pseudonymous[LivingConditions]
    members: Pseudonymous[tuple[Member, ...]]


class HouseholdRankChanged(HouseholdFact):
    """A newer snapshot says something else about how poor the household is."""

    rank: Pseudonymous[Rank]
    evidence: Open[ListEvidence]


class HouseholdConfirmed(HouseholdFact):
    """A newer snapshot names the household with the same rank."""

    rank: Pseudonymous[Rank]
    evidence: Open[ListEvidence]


class HouseholdDelisted(HouseholdFact):
    """The household is no longer on the list of its source."""

    reason: Open[DelistingReason]
    snapshot_id: Open[SnapshotId | None] = None


class HouseholdChanged(HouseholdFact, Sealing, seals=(HouseholdDetails,)):
    """The household lives elsewhere or otherwise than was known."""

    area_code: Open[AreaCode | None] = None
    conditions: Pseudonymous[LivingConditions | None] = None


class MemberLeft(HouseholdFact):
    """A person died, moved out, or is named no longer by the list that names the household."""

    person_id: Pseudonymous[PersonId]
    reason: Pseudonymous[LeavingReason]
    on: Pseudonymous[date]  # of a list: its date
    counted_no_longer: Pseudonymous[bool | None] = None  # true: had left before, so the number of people stays


class MemberIdentityChecked(HouseholdFact):
    """The civil registry compared a member with its own records (padan Dukcapil)."""

    person_id: Pseudonymous[PersonId]
    civil_registry_match: Pseudonymous[bool]


class MemberCorrected(HouseholdFact, Sealing, seals=(PersonDetails,)):
    """What was known of a person was wrong and is right now (UU 27/2022 art. 6)."""

    person_id: Pseudonymous[PersonId]
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    adult: Pseudonymous[bool]


# --- Participants -----------------------------------------------------------------------------------------------------


class ParticipantFact(Event, topic="registry.participants", key="participant_id"):
    participant_id: Pseudonymous[PersonId]


class ParticipantNominated(ParticipantFact, Sealing, seals=(PersonDetails,)):
    """A listed person is considered for the programme."""

    household_id: Pseudonymous[HouseholdId]
    area_code: Open[AreaCode]
    route: Open[NominationRoute]
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    adult: Pseudonymous[bool]


class VerificationAssigned(ParticipantFact):
    """A facilitator is to visit the participant."""

    facilitator_id: Pseudonymous[str]
    due_on: Open[date]


class VisitRecorded(ParticipantFact, Sealing, seals=(VisitNotes,)):
    """A facilitator was at the door. `visit_id` is given by the facilitator's device: a copy of a visit is dropped."""

    visit_id: Pseudonymous[str]
    area_code: Open[AreaCode]  # where the participant then lived
    facilitator_id: Pseudonymous[str]
    captured_at: Pseudonymous[datetime]  # when it happened, by the device
    received_at: Pseudonymous[datetime]  # when it reached us
    finding: Pseudonymous[Finding]
    willing: Pseudonymous[bool]
    can_leave_home: Pseudonymous[bool]  # can attend away from home (small children keep many from it)
    situation_changed: Pseudonymous[bool]
    reachable: Pseudonymous[bool]  # has a phone number
    conditions: Pseudonymous[LivingConditions | None] = None


class ParticipantVerified(ParticipantFact, Sealing, seals=(PersonDetails,)):
    """The field confirmed who this is and how they live. The verification ages, and expires at `expires_at`."""

    household_id: Pseudonymous[HouseholdId]
    area_code: Open[AreaCode]
    visit_id: Pseudonymous[str]
    verified_at: Pseudonymous[datetime]
    expires_at: Pseudonymous[datetime]
    priority: Pseudonymous[Priority]
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    adult: Pseudonymous[bool]
    can_leave_home: Pseudonymous[bool]
    reachable: Pseudonymous[bool]
    rule_id: Open[str]  # of verification: how long it holds
    rule_version: Open[int]


class ParticipantRejected(ParticipantFact):
    """The person does not become a participant, or is one no longer."""

    reason: Pseudonymous[RejectionReason]
    visit_id: Pseudonymous[str | None] = None


class VerificationExpired(ParticipantFact):
    """The verification is too old to act on: people's condition changes. It is to be done again."""

    verified_at: Pseudonymous[datetime]
    expired_at: Pseudonymous[datetime]


class PriorityChanged(ParticipantFact):
    """A newer rank or a newer rule gives the participant another priority."""

    priority: Pseudonymous[Priority]


class ParticipantRelocated(ParticipantFact):
    """The participant's household moved within the areas that are served here."""

    area_code: Open[AreaCode]


class ParticipantCorrected(ParticipantFact, Sealing, seals=(PersonDetails,)):
    """What was known of a participant was wrong and is right now; the person's `MemberCorrected` says the same."""

    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    adult: Pseudonymous[bool]


class PersonErased(ParticipantFact):
    """The person's key was destroyed: nothing personal about them can be read any more, anywhere.

    They take part in nothing from now on. It may be the first fact of its stream: anybody listed may ask for it.
    """

    household_id: Pseudonymous[HouseholdId]
    area_code: Open[AreaCode]
    basis: Open[str]  # the legal basis, such as "UU 27/2022 art. 8"
