"""Scheduling follow-ups, recording or missing them, and what they show: graduation, relapse. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from contracts.envelope import Event
from contracts.outcomes import (
    AppliedRule,
    BasicNeed,
    Business,
    CaseClosed,
    ClosingReason,
    Evidence,
    FollowUpDue,
    FollowUpMissed,
    FollowUpNotes,
    FollowUpRecorded,
    FollowUpScheduled,
    HouseholdGraduated,
    HouseholdRelapsed,
    IncomeAgainstLine,
    IncomeSource,
    Livelihood,
    NeedMet,
)
from services.kit.refusal import FieldProblem, Refused
from services.outcomes.calendar import beginning_of, day_of
from services.outcomes.cases.decisions import refuse_closed
from services.outcomes.cases.state import Case, Standing
from services.outcomes.follow_ups.state import FollowUp, FollowUpStatus
from services.outcomes.forms import Notes, Rupiah, VisitId
from services.outcomes.people.state import Person
from services.outcomes.rules.decisions import GraduationTerms, applied, due_days, follow_up_plan, graduation_terms
from services.outcomes.rules.state import Rule

EARLY_DAYS = 7
"""So many days before it is due a visit may be made: facilitators plan their rounds by village, not by the day."""

FAST_DEVICE_CLOCK = timedelta(minutes=5)
"""How far ahead a facilitator's device may run before its time is refused."""

# --- Scheduling -------------------------------------------------------------------------------------------------------


def schedule(case: Case, plan: Rule) -> list[Event]:
    """The visits that the plan in force asks for; nothing if the case is closed or has its visits."""
    if not case.is_open or case.follow_ups:
        return []
    return [
        FollowUpScheduled(
            case_id=case.case_id,
            follow_up=months,
            area_code=case.area_code,
            due_on=due_on,
            missed_after=missed_after,
            plan=applied(plan),
        )
        for months, (due_on, missed_after) in due_days(follow_up_plan(plan), case.completed_on).items()
    ]


# --- Falling due ------------------------------------------------------------------------------------------------------


def fall_due(case: Case, follow_ups: Iterable[FollowUp], person: Person | None, now: datetime) -> list[Event]:
    """Says of every visit of the case whose day has come that it is due, and to whom it falls as far as known."""
    if not case.is_open:
        return []
    return [
        FollowUpDue(
            case_id=case.case_id,
            follow_up=follow_up.months,
            due_on=follow_up.due_on,
            missed_after=follow_up.missed_after,
            participant_id=case.case_id,
            facilitator_id=None if person is None else person.facilitator_id,
        )
        for follow_up in follow_ups
        if follow_up.status is FollowUpStatus.SCHEDULED and follow_up.due_on <= day_of(now)
    ]


def miss(case: Case, follow_ups: Sequence[FollowUp], now: datetime) -> list[Event]:
    """Says of every visit of the case that nobody made in time that it was missed; the last one closes the case."""
    if not case.is_open:
        return []
    missed = {f.months for f in follow_ups if f.status is FollowUpStatus.DUE and f.missed_after < day_of(now)}
    events: list[Event] = [
        FollowUpMissed(case_id=case.case_id, follow_up=follow_up.months, due_on=follow_up.due_on)
        for follow_up in follow_ups
        if follow_up.months in missed
    ]
    return [*events, *_completed_plan(case, follow_ups, missed)] if events else []


def _completed_plan(case: Case, follow_ups: Iterable[FollowUp], just_settled: set[int]) -> list[Event]:
    if any(not f.is_settled and f.months not in just_settled for f in follow_ups):
        return []
    return [CaseClosed(case_id=case.case_id, because=ClosingReason.PLAN_COMPLETED)]


# --- Recording --------------------------------------------------------------------------------------------------------


def _each_need_once(needs: tuple[NeedMet, ...]) -> tuple[NeedMet, ...]:
    if len({need.need for need in needs}) != len(needs):
        raise ValueError("say of each need once whether it is met")
    return needs


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class IncomeFound(Wish):
    livelihood: Livelihood
    monthly_rupiah: Rupiah


class NeedFound(Wish):
    need: BasicNeed
    met: Annotated[bool, Field(strict=True)]


class BusinessFound(Wish):
    """Omzet, aset, tenaga kerja."""

    monthly_turnover_rupiah: Rupiah
    assets_rupiah: Rupiah
    workers: Annotated[int, Field(strict=True, ge=0, le=10_000)]


class RecordFollowUp(Wish):
    """What a facilitator found at the door. The device gives `visit_id` once and may send the visit as often as it
    likes; `follow_up` is the number of the plan: months after completion."""

    follow_up: Annotated[int, Field(strict=True, ge=1, le=60)]
    visit_id: VisitId
    captured_at: AwareDatetime
    people: Annotated[int, Field(strict=True, ge=1, le=60, description="In the household, that day")]
    income: Annotated[tuple[IncomeFound, ...], Field(max_length=30)]
    needs: Annotated[tuple[NeedFound, ...], Field(max_length=7), AfterValidator(_each_need_once)]
    business: BusinessFound | None = None
    notes: Notes | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None

    @property
    def to_seal(self) -> FollowUpNotes | None:
        notes = FollowUpNotes(notes=self.notes, latitude=self.latitude, longitude=self.longitude)
        return None if notes == FollowUpNotes() else notes


def record(
    case: Case,
    follow_ups: Sequence[FollowUp],
    person: Person | None,
    graduation: Rule | None,
    command: RecordFollowUp,
    facilitator_id: str,
    now: datetime,
) -> list[Event]:
    """What a visit found, and what that makes of the household; nothing for a copy of a visit that is known.

    Refuses a visit of another content under a known id, one that the plan does not ask for or not yet, one that was
    made already, and any on a closed case.
    """
    if known := next((f for f in follow_ups if f.visit_id == command.visit_id), None):
        _refuse_difference(known, command, facilitator_id)
        return []
    follow_up = _asked_for(case, follow_ups, command, now)
    terms, rule = graduation_terms(graduation)
    recorded = _recorded(follow_up, command, facilitator_id, terms, rule, now)
    visits = _visits_with(follow_ups, recorded)
    return [
        recorded,
        *_turn(case, follow_ups, visits, person, terms, rule),
        *_completed_plan(case, follow_ups, {follow_up.months}),
    ]


def _refuse_difference(known: FollowUp, command: RecordFollowUp, facilitator_id: str) -> None:
    """What is sealed is not compared: nobody opens a person's data to look for a copy."""
    differing = [
        name
        for name, (before, after) in {
            "follow_up": (known.months, command.follow_up),
            "visit_id": (known.facilitator_id, facilitator_id),
            "captured_at": (known.captured_at, command.captured_at),
            "people": (known.people, command.people),
            "income": (known.income, _income(command)),
            "needs": (known.needs, _needs(command)),
            "business": (known.business, _business(command)),
        }.items()
        if before != after
    ]
    if differing:
        raise Refused(
            "visit-differs",
            "Another visit is recorded under this visit_id.",
            fields=[FieldProblem(f"body.{name}", "differs from what is recorded") for name in differing],
            remedy="Give a new visit its own visit_id.",
        )


def _asked_for(case: Case, follow_ups: Iterable[FollowUp], command: RecordFollowUp, now: datetime) -> FollowUp:
    """The follow-up that the visit is for."""
    refuse_closed(case)
    follow_up = next((f for f in follow_ups if f.months == command.follow_up), None)
    if follow_up is None:
        asked = ", ".join(str(f.months) for f in follow_ups) or "none yet"
        problem = FieldProblem("body.follow_up", "is none of the case's plan", f"Use one of: {asked}.")
        raise Refused("no-such-follow-up", "The plan asks for no such follow-up.", status=422, fields=[problem])
    if follow_up.status is FollowUpStatus.RECORDED:
        raise Refused(
            "already-recorded",
            f"The follow-up after {follow_up.months} months is recorded: one visit each.",
            remedy="Record a further visit under the next follow-up once that is due.",
        )
    if command.captured_at > now + FAST_DEVICE_CLOCK:
        problem = FieldProblem("body.captured_at", "lies in the future", "Set the device's clock, then send it again.")
        raise Refused("visit-in-the-future", "A visit cannot lie in the future.", status=422, fields=[problem])
    first_day = follow_up.due_on - timedelta(days=EARLY_DAYS)
    if command.captured_at < beginning_of(first_day):
        problem = FieldProblem("body.captured_at", "lies too early", f"Visit on {first_day} or later.")
        raise Refused("visit-too-early", f"The follow-up is due on {follow_up.due_on}.", status=422, fields=[problem])
    return follow_up


def _recorded(
    follow_up: FollowUp,
    command: RecordFollowUp,
    facilitator_id: str,
    terms: GraduationTerms,
    rule: AppliedRule,
    now: datetime,
) -> FollowUpRecorded:
    income = _income(command)
    per_person = sum(source.monthly_rupiah for source in income) // command.people
    line = terms.line_rupiah_per_person_month
    notes = command.to_seal
    return FollowUpRecorded(
        case_id=follow_up.case_id,
        follow_up=follow_up.months,
        visit_id=command.visit_id,
        facilitator_id=facilitator_id,
        captured_at=command.captured_at,
        received_at=now,
        late=day_of(command.captured_at) > follow_up.missed_after,
        people=command.people,
        income=income,
        needs=_needs(command),
        business=_business(command),
        against_line=IncomeAgainstLine(per_person_rupiah=per_person, line_rupiah=line, above=per_person >= line),
        rule=rule,
        personal={} if notes is None else {follow_up.case_id: notes},
    )


def _income(command: RecordFollowUp) -> tuple[IncomeSource, ...]:
    return tuple(IncomeSource(**found.model_dump()) for found in command.income)


def _needs(command: RecordFollowUp) -> tuple[NeedMet, ...]:
    """In the order of the vocabulary, so that a copy is one however it is put together."""
    order = list(BasicNeed)
    return tuple(
        NeedMet(**found.model_dump()) for found in sorted(command.needs, key=lambda found: order.index(found.need))
    )


def _business(command: RecordFollowUp) -> Business | None:
    return None if command.business is None else Business(**command.business.model_dump())


# --- Graduation and relapse -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VisitMade:
    """A recorded follow-up as evidence."""

    made_at: datetime
    evidence: Evidence


def _visits_with(follow_ups: Iterable[FollowUp], recorded: FollowUpRecorded) -> list[VisitMade]:
    """Every visit that was made, in the order in which they were made, the recorded one among them."""
    made = [_made(f) for f in follow_ups if f.status is FollowUpStatus.RECORDED]
    evidence = Evidence(
        follow_up=recorded.follow_up,
        visit_id=recorded.visit_id,
        per_person_rupiah=recorded.against_line.per_person_rupiah,
        livelihoods=len({source.livelihood for source in recorded.income if source.monthly_rupiah > 0}),
        needs_met=tuple(need.need for need in recorded.needs if need.met),
    )
    made.append(VisitMade(recorded.captured_at, evidence))
    return sorted(made, key=lambda visit: (visit.made_at, visit.evidence.follow_up))


def _made(follow_up: FollowUp) -> VisitMade:
    assert follow_up.captured_at is not None
    assert follow_up.visit_id is not None
    assert follow_up.per_person_rupiah is not None
    assert follow_up.livelihoods is not None
    evidence = Evidence(
        follow_up=follow_up.months,
        visit_id=follow_up.visit_id,
        per_person_rupiah=follow_up.per_person_rupiah,
        livelihoods=follow_up.livelihoods,
        needs_met=follow_up.needs_met,
    )
    return VisitMade(follow_up.captured_at, evidence)


def _turn(
    case: Case,
    follow_ups: Iterable[FollowUp],
    visits: Sequence[VisitMade],
    person: Person | None,
    terms: GraduationTerms,
    rule: AppliedRule,
) -> list[Event]:
    """Whether the visits make a graduate of the household, or say that it is one no longer."""
    if case.standing is Standing.GRADUATED:
        decisive = _below_again(visits, terms)
    else:
        made = {visit.evidence.follow_up for visit in visits}
        missed = [f for f in follow_ups if f.status is FollowUpStatus.MISSED and f.months not in made]
        decisive = _row_that_graduates(visits, missed, terms)
    if not decisive:
        return []
    household_id = case.household_id or (None if person is None else person.household_id)
    if household_id is None:
        raise Refused(
            "household-unknown",
            "The registry has not told yet which household this is.",
            remedy="Send the visit again in a moment; its facts are on their way.",
        )
    turned = HouseholdRelapsed if case.standing is Standing.GRADUATED else HouseholdGraduated
    return [
        turned(
            case_id=case.case_id,
            household_id=household_id,
            area_code=case.area_code,
            follow_up=decisive[-1].evidence.follow_up,
            evidence=tuple(visit.evidence for visit in decisive),
            rule=rule,
        )
    ]


def _below_again(visits: Sequence[VisitMade], terms: GraduationTerms) -> Sequence[VisitMade]:
    """The latest visit, if it found less than the line."""
    latest = visits[-1]
    return [latest] if latest.evidence.per_person_rupiah < terms.line_rupiah_per_person_month else []


def _row_that_graduates(
    visits: Sequence[VisitMade], missed: Iterable[FollowUp], terms: GraduationTerms
) -> Sequence[VisitMade]:
    """The last visits in a row, if each meets the rule; a follow-up that was missed between them breaks the row."""
    row = visits[-terms.follow_ups_in_a_row :]
    if len(row) < terms.follow_ups_in_a_row or row[-1].evidence.follow_up < terms.not_before_months:
        return []
    first, last = day_of(row[0].made_at), day_of(row[-1].made_at)
    if any(first < follow_up.due_on <= last for follow_up in missed):
        return []
    return row if all(_meets(visit.evidence, terms) for visit in row) else []


def _meets(evidence: Evidence, terms: GraduationTerms) -> bool:
    return (
        evidence.per_person_rupiah >= terms.line_rupiah_per_person_month
        and evidence.livelihoods >= terms.minimum_livelihoods
        and set(terms.needs_required) <= set(evidence.needs_met)
    )
