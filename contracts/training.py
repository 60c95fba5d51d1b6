"""The facts that training publishes: programmes, cohorts, who got a place, who came, who completed."""

from datetime import date
from typing import Any

from contracts.envelope import Event, Open, Personal, PersonalRecord, Pseudonymous, Sealing, Value, Word, upcaster
from contracts.registry import AreaCode, PersonId, Priority

ProgrammeId = str
CourseId = str
CohortId = str

# --- Words ------------------------------------------------------------------------------------------------------------


class DeliveryMode(Word):
    CLASSROOM = "classroom"  # di kelas
    ON_SITE = "on_site"  # on the spot, in the village


class AttendanceStatus(Word):
    PRESENT = "present"
    ABSENT = "absent"
    EXCUSED = "excused"  # izin or sakit; does not count as present


class WithdrawalReason(Word):
    CANNOT_LEAVE_CHILDREN = "cannot_leave_children"
    NOT_CONFIRMED = "not_confirmed"
    VERIFICATION_EXPIRED = "verification_expired"
    NO_LONGER_ELIGIBLE = "no_longer_eligible"
    ILLNESS = "illness"
    WORK = "work"
    OTHER = "other"


class NotCompletedReason(Word):
    ATTENDANCE_TOO_LOW = "attendance_too_low"
    NOT_COMPETENT = "not_competent"


class AssessmentKind(Word):
    PRE_TEST = "pre_test"
    POST_TEST = "post_test"
    UNIT = "unit"  # a competency unit: competent or not yet


class CertificateKind(Word):
    CERTIFICATE = "certificate"  # sertifikat: competent and attended
    LETTER_OF_ATTENDANCE = "letter_of_attendance"  # surat keterangan: attended


class CompetencyUnit(Value):
    unit_id: Open[str]
    title: Open[str]
    critical: Open[bool]  # all critical units must be competent to pass


class AttendanceMark(Value):
    participant_id: Pseudonymous[PersonId]
    status: Pseudonymous[AttendanceStatus]


class AssessmentResult(Value):
    participant_id: Pseudonymous[PersonId]
    score: Pseudonymous[int | None] = None  # 0 .. 100, of a test
    unit_id: Open[str | None] = None
    competent: Pseudonymous[bool | None] = None  # of a unit


class CompletionRule(Value):
    """The rule version that was applied. Model: Permenaker 6/2025 art. 33."""

    rule_id: Open[str]
    rule_version: Open[int]
    minimum_attendance_percent: Open[int]


# --- What is sealed ---------------------------------------------------------------------------------------------------


class WithdrawalNote(PersonalRecord):
    note: Personal[str]


# --- Rules ------------------------------------------------------------------------------------------------------------


class TrainingRuleFact(Event, topic="training.rules", key="rule_id"):
    rule_id: Open[str]


class RuleAdopted(TrainingRuleFact):
    """A version of a rule (completion, confirmation deadline) came into force."""

    rule_version: Open[int]
    kind: Open[str]  # "completion" | "confirmation"
    definition: Open[dict[str, object]]
    source: Open[str]


# --- Programmes -------------------------------------------------------------------------------------------------------


class ProgrammeFact(Event, topic="training.programmes", key="programme_id"):
    programme_id: Open[ProgrammeId]


class ProgrammeOpened(ProgrammeFact):
    """A training programme (diklat) with its year and the area it serves."""

    name: Open[str]
    area_code: Open[AreaCode]
    year: Open[int]


class CourseDefined(ProgrammeFact):
    """A course of a programme, with its lesson hours (JP) and competency units (SKKNI)."""

    course_id: Open[CourseId]
    title: Open[str]
    lesson_hours: Open[int]
    units: Open[tuple[CompetencyUnit, ...]]


class QuotaSet(ProgrammeFact):
    """How many places of a programme a kabupaten/kota may fill."""

    area_code: Open[AreaCode]
    places: Open[int]


class ProgrammeClosed(ProgrammeFact):
    """No more cohorts are planned in the programme."""


# --- Cohorts ----------------------------------------------------------------------------------------------------------


class CohortFact(Event, topic="training.cohorts", key="cohort_id"):
    cohort_id: Open[CohortId]


class CohortPlanned(CohortFact):
    """A cohort (angkatan) has a course, a place, its days and a capacity of its own."""

    number: Open[str]  # as people call it: "P3KE-2024-01"
    programme_id: Open[ProgrammeId]
    course_id: Open[CourseId]
    course_title: Open[str]
    capacity: Open[int]
    delivery_mode: Open[DeliveryMode]
    area_code: Open[AreaCode]
    venue: Open[str]
    days: Open[tuple[date, ...]]  # the days it meets, in order
    confirm_by: Open[date]


class ParticipantEnrolled(CohortFact):
    """A verified participant got a place in a cohort."""

    participant_id: Pseudonymous[PersonId]
    area_code: Open[AreaCode]  # where the participant lives
    place: Pseudonymous[int]  # 1 .. capacity
    priority: Pseudonymous[Priority]  # what chose them, as it then stood
    confirm_by: Open[date]  # the last day to say that they will come
    from_waitlist: Open[bool] = False  # the place was nobody's before; the participant was next in line for it


class ParticipantWaitlisted(CohortFact):
    """All places are taken; the participant is next in line, by priority."""

    participant_id: Pseudonymous[PersonId]
    area_code: Open[AreaCode]
    priority: Pseudonymous[Priority]


class ParticipantConfirmed(CohortFact):
    """The participant said they will come."""

    participant_id: Pseudonymous[PersonId]


class ParticipantWithdrawn(CohortFact, Sealing, seals=(WithdrawalNote,)):
    """The participant gave up the place, or lost it."""

    participant_id: Pseudonymous[PersonId]
    reason: Pseudonymous[WithdrawalReason]
    place: Pseudonymous[int | None] = None  # the place that is free now; none: they were on the waitlist


class ParticipantReplaced(CohortFact):
    """A place that became free went to the next on the waitlist: `participant_id` has it now."""

    participant_id: Pseudonymous[PersonId]
    area_code: Open[AreaCode]
    place: Pseudonymous[int]
    replaces: Pseudonymous[PersonId]
    priority: Pseudonymous[Priority]
    confirm_by: Open[date]


class CohortStarted(CohortFact):
    """The first day has come; enrolment is over."""

    started_on: Open[date]


class AttendanceRecorded(CohortFact, version=2):
    """Who came on a day. One fact a day; a later change is an `AttendanceCorrected`."""

    day: Open[date]
    marks: Pseudonymous[tuple[AttendanceMark, ...]]


@upcaster("entas.training.AttendanceRecorded.v1", AttendanceRecorded.ce_type)
def _marks_from_present_and_absent(payload: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had two lists of ids, and no word for an excused absence."""
    marks = [{"participant_id": person, "status": "present"} for person in payload.pop("present")]
    marks += [{"participant_id": person, "status": "absent"} for person in payload.pop("absent")]
    return payload | {"marks": marks}


class AttendanceCorrected(CohortFact):
    """A mark was wrong."""

    day: Open[date]
    participant_id: Pseudonymous[PersonId]
    status: Pseudonymous[AttendanceStatus]
    because: Open[str]  # a code: "entry_error" | "late_proof"


class AssessmentRecorded(CohortFact):
    """The results of a pre-test, a post-test or a competency unit. At most three attempts a unit."""

    kind: Open[AssessmentKind]
    results: Pseudonymous[tuple[AssessmentResult, ...]]


class ParticipantCompleted(CohortFact):
    """The participant attended and is competent in every critical unit."""

    participant_id: Pseudonymous[PersonId]
    attendance_percent: Pseudonymous[int]
    pre_test: Pseudonymous[int | None] = None
    post_test: Pseudonymous[int | None] = None
    rule: Open[CompletionRule]


class ParticipantNotCompleted(CohortFact):
    """The participant stayed to the end without meeting the rule."""

    participant_id: Pseudonymous[PersonId]
    attendance_percent: Pseudonymous[int]
    reason: Pseudonymous[NotCompletedReason]
    pre_test: Pseudonymous[int | None] = None
    post_test: Pseudonymous[int | None] = None
    rule: Open[CompletionRule]


class CertificateIssued(CohortFact):
    """A certificate (or the letter for who attended only) with the number people quote."""

    participant_id: Pseudonymous[PersonId]
    kind: Open[CertificateKind]
    certificate_number: Pseudonymous[str]


class CohortCompleted(CohortFact):
    """The cohort is over; whose training it completed, and whose not, in one fact."""

    completed_on: Open[date]
    course_id: Open[CourseId]
    delivery_mode: Open[DeliveryMode]
    completed: Pseudonymous[tuple[PersonId, ...]]
    not_completed: Pseudonymous[tuple[PersonId, ...]]


class CohortCancelled(CohortFact):
    """The cohort does not take place; everybody on its list is free again."""

    because: Open[str]  # "too_few_participants" | "budget" | "force_majeure"
