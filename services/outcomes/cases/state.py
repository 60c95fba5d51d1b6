"""Cases: what became of a participant who completed a training. A case bears the participant's id."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts.envelope import Envelope, Event, Open, Pseudonymous, Value
from contracts.outcomes import (
    BaselineRecorded,
    BusinessUnitPlanned,
    CaseClosed,
    CaseOpened,
    ClosingReason,
    Evidence,
    FollowUpRecorded,
    FollowUpScheduled,
    HouseholdGraduated,
    HouseholdRelapsed,
    InterventionRecorded,
    NeedMet,
    TrainingAdded,
)
from contracts.registry import AgeBand, LivingConditions, Rank, Sex
from contracts.training import DeliveryMode
from services.kit.table import Table, present, replace
from services.outcomes.calendar import day_of


class CaseStatus(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Standing(StrEnum):
    """Where the household stands, as far as the follow-ups tell."""

    FOLLOWED = "followed"
    GRADUATED = "graduated"
    RELAPSED = "relapsed"


class Training(Value):
    """A training that the participant completed."""

    cohort_id: Open[str]
    course_id: Open[str]
    delivery_mode: Open[DeliveryMode]
    completed_on: Open[date]
    completed_at: Open[datetime]
    area_code: Open[str]
    attendance_percent: Pseudonymous[int | None] = None
    pre_test: Pseudonymous[int | None] = None
    post_test: Pseudonymous[int | None] = None


class Baseline(Value):
    """How the household stood when the participant completed; the fields of `BaselineRecorded`."""

    household_id: Pseudonymous[str]
    area_code: Open[str]
    people: Pseudonymous[int]
    rank: Pseudonymous[Rank]
    conditions: Pseudonymous[LivingConditions]
    needs: Pseudonymous[tuple[NeedMet, ...]]
    sex: Pseudonymous[Sex]
    age_band: Pseudonymous[AgeBand]
    verified_at: Pseudonymous[datetime]


class Turn(Value):
    """A graduation or a relapse, with what it stands on."""

    standing: Open[Standing]
    on: Open[date]
    follow_up: Open[int]
    evidence: Pseudonymous[tuple[Evidence, ...]]
    rule_id: Open[str]
    rule_version: Open[int]


@dataclass(frozen=True, slots=True)
class Case:
    case_id: str
    version: int
    area_code: str  # where the participant lived when they completed
    status: CaseStatus
    closed_because: ClosingReason | None
    closed_on: date | None
    standing: Standing
    graduated_on: date | None  # the last time; None if never
    relapsed_on: date | None
    turns: tuple[Turn, ...]
    cohort_id: str  # of the first training, as all up to post_test
    course_id: str
    delivery_mode: DeliveryMode
    completed_on: date
    completed_at: datetime
    attendance_percent: int | None
    pre_test: int | None
    post_test: int | None
    trainings: tuple[Training, ...]  # in the order in which they were completed
    household_id: str | None  # of the baseline, as all up to `baseline`; None until there is one
    baseline_people: int | None
    baseline_decile: int | None
    baseline_percentile: int | None
    sex: Sex | None
    age_band: AgeBand | None
    baseline: Baseline | None
    follow_ups: tuple[int, ...]  # those that are scheduled, in months after completion
    last_follow_up: int | None  # of the visits so far, the one made last; as all up to `last_above_line`
    last_visit_at: datetime | None
    last_per_person_rupiah: int | None
    last_above_line: bool | None
    interventions: int
    business_units: int

    @property
    def is_open(self) -> bool:
        return self.status is CaseStatus.OPEN


def evolve_case(case: Case | None, event: Event, envelope: Envelope) -> Case | None:
    match event:
        case CaseOpened():
            return _opened(event, envelope)
    case = present(case, envelope)
    match event:
        case TrainingAdded():
            return _of_trainings(case, (*case.trainings, training_of(event)))
        case BaselineRecorded():
            return _based(case, Baseline(**event.model_dump()))
        case FollowUpScheduled():
            return replace(case, follow_ups=tuple(sorted({*case.follow_ups, event.follow_up})))
        case FollowUpRecorded():
            return _followed_up(case, event)
        case HouseholdGraduated():
            return replace(_turned(case, Standing.GRADUATED, event, envelope), graduated_on=day_of(envelope.time))
        case HouseholdRelapsed():
            return replace(_turned(case, Standing.RELAPSED, event, envelope), relapsed_on=day_of(envelope.time))
        case InterventionRecorded():
            return replace(case, interventions=case.interventions + 1)
        case BusinessUnitPlanned():
            return replace(case, business_units=case.business_units + 1)
        case CaseClosed():
            return replace(
                case, status=CaseStatus.CLOSED, closed_because=event.because, closed_on=day_of(envelope.time)
            )
        case _:
            return case


def training_of(event: CaseOpened | TrainingAdded) -> Training:
    return Training(**event.model_dump())


def _order(training: Training) -> tuple[datetime, str]:
    return training.completed_at, training.cohort_id


def is_before(training: Training, other: Training) -> bool:
    """Which of two trainings a case follows: the one that was completed first."""
    return _order(training) < _order(other)


def _opened(event: CaseOpened, envelope: Envelope) -> Case:
    training = training_of(event)
    return Case(
        case_id=event.case_id,
        version=envelope.version,
        area_code=event.area_code,
        status=CaseStatus.OPEN,
        closed_because=None,
        closed_on=None,
        standing=Standing.FOLLOWED,
        graduated_on=None,
        relapsed_on=None,
        turns=(),
        cohort_id=event.cohort_id,
        course_id=event.course_id,
        delivery_mode=event.delivery_mode,
        completed_on=event.completed_on,
        completed_at=event.completed_at,
        attendance_percent=event.attendance_percent,
        pre_test=event.pre_test,
        post_test=event.post_test,
        trainings=(training,),
        household_id=None,
        baseline_people=None,
        baseline_decile=None,
        baseline_percentile=None,
        sex=None,
        age_band=None,
        baseline=None,
        follow_ups=(),
        last_follow_up=None,
        last_visit_at=None,
        last_per_person_rupiah=None,
        last_above_line=None,
        interventions=0,
        business_units=0,
    )


def _of_trainings(case: Case, trainings: Iterable[Training]) -> Case:
    """The case follows the earliest; if that is another one than before, its baseline is still to be recorded."""
    ordered = tuple(sorted(trainings, key=_order))
    first = ordered[0]
    if first.cohort_id != case.cohort_id:
        case = _without_baseline(case)
    return replace(
        case,
        area_code=first.area_code,
        cohort_id=first.cohort_id,
        course_id=first.course_id,
        delivery_mode=first.delivery_mode,
        completed_on=first.completed_on,
        completed_at=first.completed_at,
        attendance_percent=first.attendance_percent,
        pre_test=first.pre_test,
        post_test=first.post_test,
        trainings=ordered,
    )


def _without_baseline(case: Case) -> Case:
    return replace(
        case,
        household_id=None,
        baseline_people=None,
        baseline_decile=None,
        baseline_percentile=None,
        sex=None,
        age_band=None,
        baseline=None,
    )


def _based(case: Case, baseline: Baseline) -> Case:
    return replace(
        case,
        household_id=baseline.household_id,
        baseline_people=baseline.people,
        baseline_decile=baseline.rank.welfare_decile,
        baseline_percentile=baseline.rank.welfare_percentile,
        sex=baseline.sex,
        age_band=baseline.age_band,
        baseline=baseline,
    )


def _followed_up(case: Case, event: FollowUpRecorded) -> Case:
    if case.last_visit_at is not None and event.captured_at < case.last_visit_at:
        return case
    return replace(
        case,
        last_follow_up=event.follow_up,
        last_visit_at=event.captured_at,
        last_per_person_rupiah=event.against_line.per_person_rupiah,
        last_above_line=event.against_line.above,
    )


def _turned(case: Case, standing: Standing, event: HouseholdGraduated | HouseholdRelapsed, envelope: Envelope) -> Case:
    turn = Turn(
        standing=standing,
        on=day_of(envelope.time),
        follow_up=event.follow_up,
        evidence=event.evidence,
        rule_id=event.rule.rule_id,
        rule_version=event.rule.rule_version,
    )
    return replace(case, standing=standing, turns=(*case.turns, turn))


CASES = Table("case_file", Case, topic="outcomes.cases", key=("case_id",), evolve=evolve_case, head=True)
