"""Who is on a cohort's list, with which place, and what became of them in class."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.registry import Priority
from contracts.training import (
    AssessmentKind,
    AssessmentRecorded,
    AssessmentResult,
    AttendanceCorrected,
    AttendanceRecorded,
    AttendanceStatus,
    CertificateIssued,
    CertificateKind,
    CohortCancelled,
    CohortStarted,
    NotCompletedReason,
    ParticipantCompleted,
    ParticipantConfirmed,
    ParticipantEnrolled,
    ParticipantNotCompleted,
    ParticipantReplaced,
    ParticipantWaitlisted,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.table import Table, each, one, present, replace, whole_stream


class EnrolmentStatus(StrEnum):
    WAITLISTED = "waitlisted"
    ENROLLED = "enrolled"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"  # the waitlist ended without a place, or the cohort was cancelled
    COMPLETED = "completed"
    NOT_COMPLETED = "not_completed"


OPEN = frozenset({EnrolmentStatus.WAITLISTED, EnrolmentStatus.ENROLLED, EnrolmentStatus.CONFIRMED})
"""On the list of a cohort that is still to come or under way: not free for another one on the same days."""

WITH_A_PLACE = frozenset({EnrolmentStatus.ENROLLED, EnrolmentStatus.CONFIRMED})

COUNTED = WITH_A_PLACE | {EnrolmentStatus.COMPLETED, EnrolmentStatus.NOT_COMPLETED}
"""Uses up a place of a kabupaten's quota."""


@dataclass(frozen=True, slots=True)
class UnitResult:
    attempts: int
    competent: bool  # in the last attempt


@dataclass(frozen=True, slots=True)
class Enrolment:
    cohort_id: str
    participant_id: str
    area_code: str  # where the participant lived when they came on the list
    status: EnrolmentStatus
    place: int | None  # 1 .. capacity; kept when they withdraw
    replaces: str | None
    score: int
    priority: Priority
    confirm_by: date | None
    enrolled_at: datetime | None
    confirmed_at: datetime | None
    withdrawn_because: WithdrawalReason | None
    sealed: str | None  # WithdrawalNote
    sealed_by: str | None
    attendance: dict[date, AttendanceStatus]
    days_present: int
    days_absent: int
    days_excused: int
    pre_test: int | None
    post_test: int | None
    units: dict[str, UnitResult]
    attendance_percent: int | None  # as it stood when the cohort was completed
    not_completed_because: NotCompletedReason | None
    rule_id: str | None  # what decided on completion
    rule_version: int | None
    certificate_number: str | None
    letter_number: str | None


Placed = ParticipantEnrolled | ParticipantReplaced


def evolve_enrolment(
    enrolment: Enrolment | None, event: Event, envelope: Envelope, participant_id: str
) -> Enrolment | None:
    match event:
        case ParticipantWaitlisted():
            return _on_the_list(event, EnrolmentStatus.WAITLISTED)
        case ParticipantEnrolled() | ParticipantReplaced():
            return _placed(event, envelope)
        case CohortStarted():
            return _released(present(enrolment, envelope), {EnrolmentStatus.WAITLISTED})
        case CohortCancelled():
            return _released(present(enrolment, envelope), OPEN)
    enrolment = present(enrolment, envelope)
    match event:
        case ParticipantConfirmed():
            return replace(enrolment, status=EnrolmentStatus.CONFIRMED, confirmed_at=envelope.time)
        case ParticipantWithdrawn():
            return _withdrawn(enrolment, event, envelope)
        case AttendanceRecorded():
            marks = {mark.participant_id: mark.status for mark in event.marks}
            return _marked(enrolment, event.day, marks[participant_id])
        case AttendanceCorrected():
            return _marked(enrolment, event.day, event.status)
        case AssessmentRecorded():
            for result in event.results:
                if result.participant_id == participant_id:
                    enrolment = _assessed(enrolment, event.kind, result)
            return enrolment
        case ParticipantCompleted():
            return _decided(enrolment, event, EnrolmentStatus.COMPLETED)
        case ParticipantNotCompleted():
            return replace(
                _decided(enrolment, event, EnrolmentStatus.NOT_COMPLETED), not_completed_because=event.reason
            )
        case CertificateIssued(kind=CertificateKind.CERTIFICATE):
            return replace(enrolment, certificate_number=event.certificate_number)
        case CertificateIssued():
            return replace(enrolment, letter_number=event.certificate_number)
        case _:
            return enrolment


def _on_the_list(event: Placed | ParticipantWaitlisted, status: EnrolmentStatus) -> Enrolment:
    return Enrolment(
        cohort_id=event.cohort_id,
        participant_id=event.participant_id,
        area_code=event.area_code,
        status=status,
        place=None,
        replaces=None,
        score=event.priority.score,
        priority=event.priority,
        confirm_by=None,
        enrolled_at=None,
        confirmed_at=None,
        withdrawn_because=None,
        sealed=None,
        sealed_by=None,
        attendance={},
        days_present=0,
        days_absent=0,
        days_excused=0,
        pre_test=None,
        post_test=None,
        units={},
        attendance_percent=None,
        not_completed_because=None,
        rule_id=None,
        rule_version=None,
        certificate_number=None,
        letter_number=None,
    )


def _placed(event: Placed, envelope: Envelope) -> Enrolment:
    return replace(
        _on_the_list(event, EnrolmentStatus.ENROLLED),
        place=event.place,
        replaces=event.replaces if isinstance(event, ParticipantReplaced) else None,
        confirm_by=event.confirm_by,
        enrolled_at=envelope.time,
    )


def _released(enrolment: Enrolment, statuses: frozenset[EnrolmentStatus] | set[EnrolmentStatus]) -> Enrolment:
    return replace(enrolment, status=EnrolmentStatus.RELEASED) if enrolment.status in statuses else enrolment


def _withdrawn(enrolment: Enrolment, event: ParticipantWithdrawn, envelope: Envelope) -> Enrolment:
    note = event.personal.get(event.participant_id)
    return replace(
        enrolment,
        status=EnrolmentStatus.WITHDRAWN,
        withdrawn_because=event.reason,
        sealed=note if isinstance(note, str) else None,
        sealed_by=envelope.id if isinstance(note, str) else None,
    )


def _marked(enrolment: Enrolment, day: date, status: AttendanceStatus) -> Enrolment:
    attendance = enrolment.attendance | {day: status}
    days = Counter(attendance.values())
    return replace(
        enrolment,
        attendance=attendance,
        days_present=days[AttendanceStatus.PRESENT],
        days_absent=days[AttendanceStatus.ABSENT],
        days_excused=days[AttendanceStatus.EXCUSED],
    )


def _assessed(enrolment: Enrolment, kind: AssessmentKind, result: AssessmentResult) -> Enrolment:
    match kind:
        case AssessmentKind.PRE_TEST:
            return replace(enrolment, pre_test=result.score)
        case AssessmentKind.POST_TEST:
            return replace(enrolment, post_test=result.score)
        case _:
            unit_id = result.unit_id or ""
            before = enrolment.units.get(unit_id)
            after = UnitResult(1 if before is None else before.attempts + 1, result.competent is True)
            return replace(enrolment, units=enrolment.units | {unit_id: after})


def _decided(
    enrolment: Enrolment, event: ParticipantCompleted | ParticipantNotCompleted, status: EnrolmentStatus
) -> Enrolment:
    return replace(
        enrolment,
        status=status,
        attendance_percent=event.attendance_percent,
        rule_id=event.rule.rule_id,
        rule_version=event.rule.rule_version,
    )


ENROLMENTS = Table(
    "enrolment",
    Enrolment,
    topic="training.cohorts",
    key=("cohort_id", "participant_id"),
    evolve=evolve_enrolment,
    touches={
        ParticipantEnrolled: one("participant_id"),
        ParticipantWaitlisted: one("participant_id"),
        ParticipantReplaced: one("participant_id"),
        ParticipantConfirmed: one("participant_id"),
        ParticipantWithdrawn: one("participant_id"),
        CohortStarted: whole_stream,
        CohortCancelled: whole_stream,
        AttendanceRecorded: each("marks", "participant_id"),
        AttendanceCorrected: one("participant_id"),
        AssessmentRecorded: each("results", "participant_id"),
        ParticipantCompleted: one("participant_id"),
        ParticipantNotCompleted: one("participant_id"),
        CertificateIssued: one("participant_id"),
    },
)
