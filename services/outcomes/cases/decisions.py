"""Opening cases, what they begin from, and what ends them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, datetime

from contracts.envelope import Event, fields_of
from contracts.outcomes import (
    AppliedRule,
    BaselineRecorded,
    BasicNeed,
    CaseClosed,
    CaseOpened,
    ClosingReason,
    FollowUpScheduled,
    NeedMet,
    TrainingAdded,
)
from contracts.registry import LivingConditions, RejectionReason
from contracts.training import CohortCompleted
from services.kit.refusal import Refused
from services.kit.table import replace
from services.outcomes.calendar import months_after
from services.outcomes.cases.state import Baseline, Case, Training, is_before
from services.outcomes.classes.state import Cohort, Placement
from services.outcomes.follow_ups.state import FollowUp, FollowUpStatus
from services.outcomes.people.state import Home, Person, PersonStatus, as_of

# --- Opening ----------------------------------------------------------------------------------------------------------


def training_completed(
    event: CohortCompleted, at: datetime, cohort: Cohort | None, placement: Placement | None
) -> Training:
    """What a completed cohort says of one participant. Who has no row on its list lived where it met."""
    place = placement or cohort
    return Training(
        cohort_id=event.cohort_id,
        course_id=event.course_id,
        delivery_mode=event.delivery_mode,
        completed_on=event.completed_on,
        completed_at=at,
        area_code="" if place is None else place.area_code,
        attendance_percent=None if placement is None else placement.attendance_percent,
        pre_test=None if placement is None else placement.pre_test,
        post_test=None if placement is None else placement.post_test,
    )


def open_case(
    participant_id: str, training: Training, person: Person | None, home: Home | None, waiting: Iterable[Event]
) -> list[Event]:
    """A case from its first training on, with its baseline if the registry's facts about it are here already.

    `waiting` are facts of interventions that were reported before. Who is no participant any more has a case that is
    closed at once: whatever the order in which that became known, it ends the same.
    """
    opened = CaseOpened(case_id=participant_id, participant_id=participant_id, **asdict(training))
    baseline = baseline_as_of(person, home, training.completed_at)
    reason = closing_reason(person)
    return [
        opened,
        *([] if baseline is None else [_recorded(participant_id, baseline)]),
        *waiting,
        *([] if reason is None else [CaseClosed(case_id=participant_id, because=reason)]),
    ]


def add_training(
    case: Case, training: Training, person: Person | None, home: Home | None, follow_ups: Sequence[FollowUp]
) -> list[Event]:
    """Another training of a person who has a case; nothing for one that is known.

    Of two trainings the case follows the one that was completed first, whichever was heard of first: then it begins
    anew from there, as far as nothing has fallen due.
    """
    if any(known.cohort_id == training.cohort_id for known in case.trainings):
        return []
    added = TrainingAdded(case_id=case.case_id, **asdict(training))
    if not is_before(training, case.trainings[0]):
        return [added]
    baseline = baseline_as_of(person, home, training.completed_at)
    return [
        added,
        *([] if baseline is None else [_recorded(case.case_id, baseline)]),
        *_rescheduled(follow_ups, training.completed_on, training.area_code),
    ]


def _rescheduled(follow_ups: Iterable[FollowUp], completed_on: date, area_code: str) -> list[Event]:
    """The visits that are not due yet, counted from another completion and by the plan that they came from."""
    scheduled = [f for f in follow_ups if f.status is FollowUpStatus.SCHEDULED]
    return [
        FollowUpScheduled(
            case_id=follow_up.case_id,
            follow_up=follow_up.months,
            area_code=area_code,
            due_on=(due_on := months_after(completed_on, follow_up.months)),
            missed_after=due_on + (follow_up.missed_after - follow_up.due_on),
            plan=AppliedRule(rule_id=follow_up.plan_id, rule_version=follow_up.plan_version),
        )
        for follow_up in scheduled
    ]


# --- Baseline ---------------------------------------------------------------------------------------------------------


def record_baseline(case: Case, person: Person | None, home: Home | None) -> list[Event]:
    """The baseline as the registry's facts tell it by now; nothing if it is what is recorded.

    Facts of after the completion change nothing. It does not matter whether the case is still open: else the end would
    depend on which fact arrived first.
    """
    baseline = baseline_as_of(person, home, case.completed_at)
    if baseline is None or baseline == case.baseline:
        return []
    return [_recorded(case.case_id, baseline)]


def baseline_as_of(person: Person | None, home: Home | None, instant: datetime) -> Baseline | None:
    """How a verified person's household stood at an instant, by the facts up to it; None as long as they do not say.

    What the verified visit saw goes before what the list says.
    """
    known = None if person is None else as_of(person.history, instant)
    then = None if home is None else as_of(home.history, instant)
    if person is None or home is None or known is None or then is None or known.verified_at is None:
        return None
    conditions = seen_over_listed(known.conditions, then.conditions)
    return Baseline(
        household_id=home.household_id,
        area_code=then.area_code,
        people=then.people,
        rank=then.rank,
        conditions=conditions,
        needs=needs_told_by(conditions),
        sex=known.sex,
        age_band=known.age_band,
        verified_at=known.verified_at,
    )


def seen_over_listed(seen: LivingConditions | None, listed: LivingConditions) -> LivingConditions:
    """What was seen at the door, and what the list says of all else."""
    return listed if seen is None else replace(listed, **{name: getattr(seen, name) for name in _said_by(seen)})


def _said_by(conditions: LivingConditions) -> list[str]:
    return [name for name in fields_of(LivingConditions) if getattr(conditions, name) not in (None, ())]


_SAFE_WATER = frozenset({"Ledeng/PAM", "Air Kemasan/Isi Ulang", "Sumur Bor", "Sumur Terlindung"})
_UNSAFE_WATER = frozenset({"Sumur Tidak Terlindung", "Air Permukaan", "Air Hujan"})
_SAFE_LATRINE = "Ya, dengan Septic Tank"
_FLIMSY = {
    "roof": frozenset({"Bambu", "Jerami/Ijuk/Daun-daunan"}),
    "wall": frozenset({"Bambu", "Anyaman Bambu"}),
    "floor": frozenset({"Tanah", "Bambu"}),
}


def needs_told_by(conditions: LivingConditions) -> tuple[NeedMet, ...]:
    """The basic needs of which the list's words tell whether they are met; of the others they say nothing.

    Clean water: a protected source; rain and surface water are none. Sanitation: a latrine of their own with a septic
    tank. Housing: roof, wall and floor all known, and none of earth, bamboo or straw. These readings are the project's
    own: P3KE gives the words and no thresholds.
    """
    told = {
        BasicNeed.CLEAN_WATER: _water_is_clean(conditions),
        BasicNeed.SANITATION: None if conditions.latrine is None else conditions.latrine == _SAFE_LATRINE,
        BasicNeed.HOUSING: _house_is_solid(conditions),
    }
    return tuple(NeedMet(need=need, met=met) for need, met in told.items() if met is not None)


def _water_is_clean(conditions: LivingConditions) -> bool | None:
    if conditions.drinking_water in _SAFE_WATER:
        return True
    return False if conditions.drinking_water in _UNSAFE_WATER else None


def _house_is_solid(conditions: LivingConditions) -> bool | None:
    parts = {part: getattr(conditions, part) for part in _FLIMSY}
    if any(material in _FLIMSY[part] for part, material in parts.items()):
        return False
    return None if any(material in (None, "Lainnya") for material in parts.values()) else True


def _recorded(case_id: str, baseline: Baseline) -> BaselineRecorded:
    return BaselineRecorded(case_id=case_id, **asdict(baseline))


# --- Ending -----------------------------------------------------------------------------------------------------------


def closing_reason(person: Person | None) -> ClosingReason | None:
    """Why nothing more is asked of somebody, by what the registry said first; None if they are still a participant."""
    if person is None:
        return None
    if person.rejected_because is not None:
        died = person.rejected_because == RejectionReason.DECEASED
        return ClosingReason.DECEASED if died else ClosingReason.NO_LONGER_PARTICIPANT
    return ClosingReason.ERASED if person.status is PersonStatus.ERASED else None


def close_if_ended(case: Case | None, person: Person | None) -> list[Event]:
    """Closes an open case of somebody who is no participant any more."""
    reason = closing_reason(person)
    if case is None or reason is None or not case.is_open:
        return []
    return [CaseClosed(case_id=case.case_id, because=reason)]


# --- Common refusals --------------------------------------------------------------------------------------------------


def known(case: Case | None) -> Case:
    """Raises `Refused` (404) if there is no such case."""
    if case is None:
        raise no_such_case()
    return case


def no_such_case() -> Refused:
    return Refused(
        "no-such-case",
        "There is no case of this id within your areas.",
        status=404,
        remedy="Check the id; a case opens within seconds after its participant completed a training.",
    )


def refuse_closed(case: Case) -> None:
    if not case.is_open:
        raise Refused(
            "case-closed",
            f"The case is closed: {case.closed_because}.",
            remedy="Nothing more can be recorded on it.",
        )
