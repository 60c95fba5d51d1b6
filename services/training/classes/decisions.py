"""What happens in class: daily attendance, tests and competency units, completion and certificates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.envelope import Event
from contracts.training import (
    AssessmentKind,
    AssessmentRecorded,
    AssessmentResult,
    AttendanceCorrected,
    AttendanceMark,
    AttendanceRecorded,
    AttendanceStatus,
    CertificateIssued,
    CertificateKind,
    CohortCompleted,
    NotCompletedReason,
    ParticipantCompleted,
    ParticipantNotCompleted,
)
from services.kit.refusal import FieldProblem, Refused
from services.training.cohorts.decisions import running
from services.training.cohorts.state import Cohort, day_of
from services.training.enrolments.state import Enrolment, EnrolmentStatus
from services.training.forms import Id, ShortText
from services.training.programmes.state import Course
from services.training.rules.decisions import CompletionTerms

Score = Annotated[int, Field(ge=0, le=100)]


class Mark(BaseModel):
    model_config = ConfigDict(extra="forbid")

    participant_id: Id
    status: AttendanceStatus


class RecordAttendance(BaseModel):
    model_config = ConfigDict(extra="forbid")

    day: date
    marks: list[Mark] = Field(max_length=1000, description="One for everybody in the class")


class CorrectAttendance(BaseModel):
    model_config = ConfigDict(extra="forbid")

    day: date
    participant_id: Id
    status: AttendanceStatus
    because: Literal["entry_error", "late_proof"]


class TestScore(BaseModel):
    __test__ = False  # It is no test case, whatever pytest makes of the name.
    model_config = ConfigDict(extra="forbid")

    participant_id: Id
    score: Score


class RecordTest(BaseModel):
    """Scores of a pre-test or a post-test. A later score of a participant takes the place of the earlier one."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal[AssessmentKind.PRE_TEST, AssessmentKind.POST_TEST]
    results: list[TestScore] = Field(min_length=1, max_length=1000)


class UnitAttempt(BaseModel):
    model_config = ConfigDict(extra="forbid")

    participant_id: Id
    unit_id: ShortText
    competent: bool
    score: Score | None = None


class RecordUnits(BaseModel):
    """Attempts at competency units."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal[AssessmentKind.UNIT]
    results: list[UnitAttempt] = Field(min_length=1, max_length=2000)


RecordAssessment = Annotated[RecordTest | RecordUnits, Field(discriminator="kind")]


# --- Attendance -------------------------------------------------------------------------------------------------------


def record_attendance(
    cohort: Cohort | None, enrolments: Sequence[Enrolment], command: RecordAttendance, now: datetime
) -> list[Event]:
    """Records a day for the whole class in one fact. Refuses a day that is recorded, and names who is missing."""
    cohort = running(cohort)
    _check_day(cohort, command.day, now)
    if command.day in cohort.days_recorded:
        raise Refused(
            "attendance-recorded-already",
            f"The attendance of {command.day} is recorded.",
            remedy="Correct single marks: POST /cohorts/{cohort_id}/attendance/corrections.",
        )
    in_class = _in_class(enrolments)
    _check_everybody_once(in_class, [mark.participant_id for mark in command.marks])
    status_of = {mark.participant_id: mark.status for mark in command.marks}
    marks = tuple(AttendanceMark(participant_id=person, status=status_of[person]) for person in in_class)
    return [AttendanceRecorded(cohort_id=cohort.cohort_id, day=command.day, marks=marks)]


def correct_attendance(cohort: Cohort | None, enrolment: Enrolment | None, command: CorrectAttendance) -> list[Event]:
    """Changes one mark of a recorded day, as long as the cohort is not completed."""
    cohort = running(cohort)
    marked = None if enrolment is None else enrolment.attendance.get(command.day)
    if marked is None:
        raise Refused(
            "no-such-mark",
            f"The participant has no mark on {command.day}.",
            status=404,
            remedy="See the attendance sheet: GET /cohorts/{cohort_id}/attendance.",
        )
    if marked is command.status:
        raise Refused("mark-unchanged", f"The mark says {marked} already.", remedy="Nothing is left to do.")
    return [
        AttendanceCorrected(
            cohort_id=cohort.cohort_id,
            day=command.day,
            participant_id=command.participant_id,
            status=command.status,
            because=command.because,
        )
    ]


def _check_day(cohort: Cohort, day: date, now: datetime) -> None:
    if day not in cohort.days:
        problem = FieldProblem(
            "body.day", "The cohort does not meet on this day.", f"Send one of {', '.join(map(str, cohort.days))}."
        )
        raise Refused("not-a-class-day", "The class does not meet then.", status=422, fields=[problem])
    if day > day_of(now):
        raise Refused("day-to-come", f"{day} is still to come.", remedy="Record a day when it has come.")


def _check_everybody_once(in_class: Sequence[str], marked: Sequence[str]) -> None:
    problems = [
        *_strangers(in_class, marked, "marks"),
        *(
            FieldProblem(f"body.marks.{n}.participant_id", "An earlier mark is for the same participant.", "Send one.")
            for n, person in enumerate(marked)
            if person in marked[:n]
        ),
        *(
            FieldProblem("body.marks", f"The mark of participant {person} is missing.", "Send a mark for everybody.")
            for person in in_class
            if person not in marked
        ),
    ]
    if problems:
        raise Refused(
            "not-the-whole-class",
            f"The class has {len(in_class)} participants, and the marks are not one for each.",
            status=422,
            fields=problems,
        )


def _strangers(in_class: Sequence[str], named: Sequence[str], where: str) -> list[FieldProblem]:
    return [
        FieldProblem(f"body.{where}.{n}.participant_id", "The participant is not in this class.", "Leave them out.")
        for n, person in enumerate(named)
        if person not in in_class
    ]


def _in_class(enrolments: Sequence[Enrolment]) -> list[str]:
    """Who sits in class, by place."""
    return [e.participant_id for e in sorted(enrolments, key=lambda e: e.place or 0) if _sits_in_class(e)]


def _sits_in_class(enrolment: Enrolment) -> bool:
    return enrolment.status is EnrolmentStatus.CONFIRMED


# --- Tests and units --------------------------------------------------------------------------------------------------


def record_assessment(
    cohort: Cohort | None,
    course: Course,
    enrolments: Sequence[Enrolment],
    terms: CompletionTerms,
    command: RecordTest | RecordUnits,
) -> list[Event]:
    """Records the results of a test, or attempts at competency units, of any number of the class."""
    cohort = running(cohort)
    problems = _strangers(_in_class(enrolments), [result.participant_id for result in command.results], "results")
    if isinstance(command, RecordTest):
        problems += _scored_twice(command)
        results = tuple(AssessmentResult(participant_id=r.participant_id, score=r.score) for r in command.results)
    else:
        problems += _wrong_attempts(course, enrolments, terms, command)
        results = tuple(AssessmentResult(**result.model_dump()) for result in command.results)
    if problems:
        raise Refused("results", "Some of the results cannot be recorded; none was.", status=422, fields=problems)
    return [AssessmentRecorded(cohort_id=cohort.cohort_id, kind=command.kind, results=results)]


def _scored_twice(command: RecordTest) -> list[FieldProblem]:
    people = [result.participant_id for result in command.results]
    return [
        FieldProblem(f"body.results.{n}.participant_id", "An earlier result is of the same participant.", "Send one.")
        for n, person in enumerate(people)
        if person in people[:n]
    ]


def _wrong_attempts(
    course: Course, enrolments: Sequence[Enrolment], terms: CompletionTerms, command: RecordUnits
) -> list[FieldProblem]:
    taught = {unit.unit_id for unit in course.units}
    before = {(e.participant_id, unit_id): result for e in enrolments for unit_id, result in e.units.items()}
    attempts = Counter({attempt: result.attempts for attempt, result in before.items()})
    competent = {attempt for attempt, result in before.items() if result.competent}
    problems = []
    for n, result in enumerate(command.results):
        attempt = (result.participant_id, result.unit_id)
        attempts[attempt] += 1
        if result.unit_id not in taught:
            problems.append(
                FieldProblem(f"body.results.{n}.unit_id", "The course has no such unit.", "Send a unit of the course.")
            )
        elif attempt in competent:
            problems.append(
                FieldProblem(f"body.results.{n}", "The participant is competent in this unit already.", "Leave it out.")
            )
        elif attempts[attempt] > terms.maximum_attempts:
            rule = f"Rule {terms.applied.rule_id} version {terms.applied.rule_version}"
            problems.append(
                FieldProblem(
                    f"body.results.{n}",
                    f"The attempts at this unit are used up: {rule} allows {terms.maximum_attempts}.",
                    "Leave it out.",
                )
            )
        if result.competent:
            competent.add(attempt)
    return problems


# --- Completion -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the completion rule says of one participant; no reason: completed."""

    attendance_percent: int  # rounded down
    reason: NotCompletedReason | None


def complete_cohort(
    cohort: Cohort | None,
    course: Course,
    enrolments: Sequence[Enrolment],
    terms: CompletionTerms,
    now: datetime,
) -> list[Event]:
    """Ends a cohort: who completed gets a certificate and a letter, who only attended a letter (model: Permenaker
    6/2025, art. 33, in the version of the rule that is in force now). Every day's attendance has to be recorded."""
    cohort = running(cohort)
    if missing := [day for day in cohort.days if day not in cohort.days_recorded]:
        raise Refused(
            "attendance-missing",
            f"The attendance of {', '.join(map(str, missing))} is not recorded.",
            remedy="Record it: POST /cohorts/{cohort_id}/attendance.",
        )
    events: list[Event] = []
    completed: list[str] = []
    not_completed: list[str] = []
    for person in sorted((e for e in enrolments if _sits_in_class(e)), key=lambda e: e.place or 0):
        verdict = judge(person, cohort, course, terms)
        events += _completion_of(person, verdict, cohort, terms)
        (completed if verdict.reason is None else not_completed).append(person.participant_id)
    over = CohortCompleted(
        cohort_id=cohort.cohort_id,
        completed_on=day_of(now),
        course_id=cohort.course_id,
        delivery_mode=cohort.delivery_mode,
        completed=tuple(completed),
        not_completed=tuple(not_completed),
    )
    return [*events, over]


def judge(person: Enrolment, cohort: Cohort, course: Course, terms: CompletionTerms) -> Verdict:
    """Excused days do not count as present; the percentage is compared exactly, and told rounded down."""
    days = len(cohort.days)
    percent = person.days_present * 100 // days
    if person.days_present * 100 < terms.applied.minimum_attendance_percent * days:
        return Verdict(percent, NotCompletedReason.ATTENDANCE_TOO_LOW)
    if not all(_competent(person, unit.unit_id) for unit in course.units if unit.critical):
        return Verdict(percent, NotCompletedReason.NOT_COMPETENT)
    return Verdict(percent, None)


def _competent(person: Enrolment, unit_id: str) -> bool:
    result = person.units.get(unit_id)
    return result is not None and result.competent


def _completion_of(person: Enrolment, verdict: Verdict, cohort: Cohort, terms: CompletionTerms) -> list[Event]:
    result: Mapping[str, object] = {
        "cohort_id": cohort.cohort_id,
        "participant_id": person.participant_id,
        "attendance_percent": verdict.attendance_percent,
        "pre_test": person.pre_test,
        "post_test": person.post_test,
        "rule": terms.applied,
    }
    if verdict.reason is None:
        return [
            ParticipantCompleted.model_validate(result),
            _issued(person, cohort, CertificateKind.CERTIFICATE),
            _issued(person, cohort, CertificateKind.LETTER_OF_ATTENDANCE),
        ]
    not_completed = ParticipantNotCompleted.model_validate({**result, "reason": verdict.reason})
    if verdict.reason is NotCompletedReason.NOT_COMPETENT:
        return [not_completed, _issued(person, cohort, CertificateKind.LETTER_OF_ATTENDANCE)]
    return [not_completed]


def _issued(person: Enrolment, cohort: Cohort, kind: CertificateKind) -> CertificateIssued:
    assert person.place is not None
    return CertificateIssued(
        cohort_id=cohort.cohort_id,
        participant_id=person.participant_id,
        kind=kind,
        certificate_number=certificate_number(cohort.number, person.place, kind),
    )


def certificate_number(cohort_number: str, place: int, kind: CertificateKind) -> str:
    """ "P3KE/2024/01/0007" for place 7 of P3KE-2024-01; its letter (surat keterangan) is "SK.P3KE/2024/01/0007".

    Unique, because cohort numbers and the places of a class are, and no cohort number holds a full stop.
    """
    number = f"{cohort_number.replace('-', '/')}/{place:04d}"
    return number if kind is CertificateKind.CERTIFICATE else f"SK.{number}"
