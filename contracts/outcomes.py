"""The facts that outcomes publishes: what became of who completed a training, and what was done for them."""

from datetime import date, datetime

from contracts.envelope import Event, Open, Personal, PersonalRecord, Pseudonymous, Sealing, Value, Word
from contracts.registry import AgeBand, AreaCode, HouseholdId, LivingConditions, PersonId, Rank, Sex
from contracts.training import CohortId, CourseId, DeliveryMode

CaseId = str  # the participant's id: one case a person, whichever fact about them comes first
InterventionId = str
CooperativeNumber = str  # "NIK koperasi": a cooperative's own number, not a person's

# --- Words ------------------------------------------------------------------------------------------------------------


class BasicNeed(Word):
    """The seven needs of the news of Balatkop NTB (14 October 2024)."""

    FOOD = "food"
    CLEAN_WATER = "clean_water"
    SANITATION = "sanitation"
    HEALTH = "health"
    HOUSING = "housing"
    EDUCATION = "education"
    INFORMATION = "information"


class Livelihood(Word):
    """What a household lives on."""

    WAGE_WORK = "wage_work"
    CASUAL_WORK = "casual_work"  # by the day
    OWN_BUSINESS = "own_business"
    FARMING = "farming"
    LIVESTOCK = "livestock"
    FISHING = "fishing"
    COOPERATIVE_UNIT = "cooperative_unit"  # a business unit of their cooperative
    REMITTANCE = "remittance"
    OTHER = "other"


class InterventionKind(Word):
    MENTORING = "mentoring"  # pendampingan
    FINANCING = "financing"  # KUR and others
    MARKET_ACCESS = "market_access"
    ASSISTANCE = "assistance"  # bansos
    COOPERATIVE_MEMBERSHIP = "cooperative_membership"  # recruited as a member


class UnmatchedReason(Word):
    NOBODY_BEARS_THE_NUMBER = "nobody_bears_the_number"
    SEVERAL_BEAR_THE_NUMBER = "several_bear_the_number"


class DismissalReason(Word):
    NOT_A_PARTICIPANT = "not_a_participant"
    REPORTED_TWICE = "reported_twice"
    REPORTED_IN_ERROR = "reported_in_error"


class ClosingReason(Word):
    PLAN_COMPLETED = "plan_completed"  # every follow-up was recorded or missed
    DECEASED = "deceased"
    NO_LONGER_PARTICIPANT = "no_longer_participant"  # the registry rejected them for another reason
    ERASED = "erased"


class AppliedRule(Value):
    """The rule version that decided."""

    rule_id: Open[str]
    rule_version: Open[int]


class NeedMet(Value):
    need: Pseudonymous[BasicNeed]
    met: Pseudonymous[bool]


class IncomeSource(Value):
    livelihood: Pseudonymous[Livelihood]
    monthly_rupiah: Pseudonymous[int]


class Business(Value):
    """Omzet, aset, tenaga kerja of a micro business (PP 7/2021)."""

    monthly_turnover_rupiah: Pseudonymous[int]
    assets_rupiah: Pseudonymous[int]
    workers: Pseudonymous[int]  # besides the participant


class IncomeAgainstLine(Value):
    """Income for each person of the household and month, against the extreme-poverty line of the rule in force."""

    per_person_rupiah: Pseudonymous[int]
    line_rupiah: Open[int]  # per person and month
    above: Pseudonymous[bool]  # at the line or above it


class Evidence(Value):
    """A follow-up on which a decision stands."""

    follow_up: Open[int]
    visit_id: Pseudonymous[str]
    per_person_rupiah: Pseudonymous[int]
    livelihoods: Pseudonymous[int]
    needs_met: Pseudonymous[tuple[BasicNeed, ...]]


# --- What is sealed ---------------------------------------------------------------------------------------------------


class FollowUpNotes(PersonalRecord):
    """What a facilitator wrote at the door, months later."""

    notes: Personal[str | None] = None
    latitude: Personal[float | None] = None
    longitude: Personal[float | None] = None


class InterventionSubject(PersonalRecord):
    """Whom a partner spoke of, until it is clear who that is; sealed under the intervention's own key."""

    national_id: Personal[str]


# --- Rules ------------------------------------------------------------------------------------------------------------


class OutcomeRuleFact(Event, topic="outcomes.rules", key="rule_id"):
    rule_id: Open[str]


class RuleAdopted(OutcomeRuleFact):
    """A version of a rule (follow-up plan, graduation, publication) came into force."""

    rule_version: Open[int]
    kind: Open[str]  # "follow_up_plan" | "graduation" | "publication"
    definition: Open[dict[str, object]]
    source: Open[str]


# --- Cases ------------------------------------------------------------------------------------------------------------


class CaseFact(Event, topic="outcomes.cases", key="case_id"):
    case_id: Pseudonymous[CaseId]


class CaseOpened(CaseFact):
    """A participant completed a training: from now on we ask what becomes of them."""

    participant_id: Pseudonymous[PersonId]
    cohort_id: Open[CohortId]
    course_id: Open[CourseId]
    delivery_mode: Open[DeliveryMode]
    completed_on: Open[date]
    completed_at: Open[datetime]  # when training said so: the baseline is as of this instant
    area_code: Open[AreaCode]  # where the participant then lived
    attendance_percent: Pseudonymous[int | None] = None
    pre_test: Pseudonymous[int | None] = None
    post_test: Pseudonymous[int | None] = None


class TrainingAdded(CaseFact):
    """The participant of a case completed another training.

    The earliest training is the one that the case follows. Cohorts are told of in no certain order: one that was
    completed earlier may be added after a later one, and takes its place.
    """

    cohort_id: Open[CohortId]
    course_id: Open[CourseId]
    delivery_mode: Open[DeliveryMode]
    completed_on: Open[date]
    completed_at: Open[datetime]
    area_code: Open[AreaCode]
    attendance_percent: Pseudonymous[int | None] = None
    pre_test: Pseudonymous[int | None] = None
    post_test: Pseudonymous[int | None] = None


class BaselineRecorded(CaseFact):
    """How the household stood when the participant completed, by the registry's facts up to that moment.

    It is recorded anew if the registry's facts of before that moment reach us after it; the last one counts.
    """

    household_id: Pseudonymous[HouseholdId]
    area_code: Open[AreaCode]
    people: Pseudonymous[int]  # in the household
    rank: Pseudonymous[Rank]
    conditions: Pseudonymous[LivingConditions]
    needs: Pseudonymous[tuple[NeedMet, ...]]  # those that the living conditions tell
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    verified_at: Pseudonymous[datetime]


class FollowUpScheduled(CaseFact):
    """The case is to be visited, by the plan that was in force. The last one of a number counts."""

    follow_up: Open[int]  # months after completion: 1, 3, 6, 12
    area_code: Open[AreaCode]  # the case's
    due_on: Open[date]
    missed_after: Open[date]  # the last day on which it still counts as in time
    plan: Open[AppliedRule]


class FollowUpDue(CaseFact):
    """The day has come."""

    follow_up: Open[int]
    due_on: Open[date]
    missed_after: Open[date]
    participant_id: Pseudonymous[PersonId]
    facilitator_id: Pseudonymous[str | None] = None  # who verified them, as far as we know


class FollowUpRecorded(CaseFact, Sealing, seals=(FollowUpNotes,)):
    """A facilitator asked how the household lives. `visit_id` is the device's: a copy of a visit is dropped."""

    follow_up: Open[int]
    visit_id: Pseudonymous[str]
    facilitator_id: Pseudonymous[str]
    captured_at: Pseudonymous[datetime]  # when it happened, by the device
    received_at: Pseudonymous[datetime]  # when it reached us
    late: Open[bool]  # after `missed_after`
    people: Pseudonymous[int]  # in the household, that day
    income: Pseudonymous[tuple[IncomeSource, ...]]  # of the whole household
    needs: Pseudonymous[tuple[NeedMet, ...]]
    business: Pseudonymous[Business | None] = None
    against_line: Pseudonymous[IncomeAgainstLine]
    rule: Open[AppliedRule]  # which said where the line is


class FollowUpMissed(CaseFact):
    """Nobody came in time. It may still be recorded, as late, while the case is open."""

    follow_up: Open[int]
    due_on: Open[date]


class InterventionRecorded(CaseFact):
    """Another agency did something for the participant, and reported it."""

    intervention_id: Pseudonymous[InterventionId]
    kind: Open[InterventionKind]
    system: Open[str]  # who reported it
    given_on: Open[date]
    amount_rupiah: Pseudonymous[int | None] = None
    scheme: Open[str | None] = None  # a code, such as "KUR_MIKRO"
    cooperative_number: Open[CooperativeNumber | None] = None


class BusinessUnitPlanned(CaseFact):
    """A cooperative manager has planned a business unit (the task of the training of October 2024)."""

    unit_id: Pseudonymous[str]
    area_code: Open[AreaCode]  # the case's
    cooperative_number: Open[CooperativeNumber]
    sector: Open[str]  # a code: "trade" | "farming" | "fishery" | "crafts" | "food" | "services" | "savings_and_loan"
    planned_on: Open[date]
    launch_by: Open[date]
    capital_rupiah: Open[int]
    jobs: Open[int]  # that the plan counts on


class BusinessUnitLaunched(CaseFact):
    """The planned business unit works."""

    unit_id: Pseudonymous[str]
    launched_on: Open[date]
    jobs: Open[int]


class HouseholdGraduated(CaseFact):
    """The household has left extreme poverty, by the rule's version and on this evidence."""

    household_id: Pseudonymous[HouseholdId]
    area_code: Open[AreaCode]
    follow_up: Open[int]  # the one that decided
    evidence: Pseudonymous[tuple[Evidence, ...]]
    rule: Open[AppliedRule]


class HouseholdRelapsed(CaseFact):
    """A household that had graduated is back below the line. It may graduate again."""

    household_id: Pseudonymous[HouseholdId]
    area_code: Open[AreaCode]
    follow_up: Open[int]
    evidence: Pseudonymous[tuple[Evidence, ...]]
    rule: Open[AppliedRule]


class CaseClosed(CaseFact):
    """Nothing more is asked."""

    because: Pseudonymous[ClosingReason]


# --- What partners reported, until it is clear whom it concerns -------------------------------------------------------


class InterventionFact(Event, topic="outcomes.interventions", key="intervention_id"):
    intervention_id: Pseudonymous[InterventionId]


class InterventionReported(InterventionFact, Sealing, seals=(InterventionSubject,)):
    """A partner reported an intervention; the national id stands sealed under the intervention's own key."""

    kind: Open[InterventionKind]
    system: Open[str]
    given_on: Open[date]
    amount_rupiah: Pseudonymous[int | None] = None
    scheme: Open[str | None] = None
    cooperative_number: Open[CooperativeNumber | None] = None


class InterventionMatched(InterventionFact):
    """It is clear whom it concerns; the key of the number is destroyed. Their case may still have to open."""

    participant_id: Pseudonymous[PersonId]
    matched_by: Pseudonymous[str]  # "national_id", or the officer who decided


class InterventionUnmatched(InterventionFact):
    """Nobody, or more than one person, bears the number: it is kept for an officer to look at."""

    because: Open[UnmatchedReason]


class InterventionDismissed(InterventionFact):
    """An officer looked and found that it concerns nobody here; the key of the number is destroyed."""

    because: Open[DismissalReason]


# --- Cooperatives -----------------------------------------------------------------------------------------------------


class CooperativeFact(Event, topic="outcomes.cooperatives", key="cooperative_number"):
    cooperative_number: Open[CooperativeNumber]


class AnnualMeetingRecorded(CooperativeFact):
    """A cooperative held its annual members' meeting (RAT): the sign of life that the ministry looks for."""

    name: Open[str]
    area_code: Open[AreaCode]
    year: Open[int]  # the business year it was about
    held_on: Open[date]
    members: Open[int]
    net_surplus_rupiah: Open[int]  # SHU; below 0 is a loss


class MemberRecruited(CooperativeFact):
    """A cooperative took a participant of the programme in as a member."""

    participant_id: Pseudonymous[PersonId]
    intervention_id: Pseudonymous[InterventionId]
    joined_on: Open[date]
