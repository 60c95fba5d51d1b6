"""In class: attendance, tests, competency units, completion and certificates."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.training import (
    AssessmentKind,
    AssessmentRecorded,
    AssessmentResult,
    AttendanceCorrected,
    AttendanceStatus,
    CertificateIssued,
    CertificateKind,
    CohortCompleted,
    DeliveryMode,
    NotCompletedReason,
    ParticipantCompleted,
    ParticipantNotCompleted,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.refusal import Refused
from services.training.classes.decisions import (
    CorrectAttendance,
    Mark,
    RecordAssessment,
    RecordAttendance,
    certificate_number,
    complete_cohort,
    correct_attendance,
    record_assessment,
    record_attendance,
)
from services.training.enrolments.state import EnrolmentStatus, UnitResult
from services.training.rules.decisions import AdoptCompletionRule, CompletionDefinition, adopt
from services.training.rules.state import RULES
from tests.training.facts import (
    BASE,
    COHORT,
    COURSE,
    DAYS,
    STARTS_AT,
    Story,
    attended,
    confirmed,
    enrolled,
    planned,
    started,
)

PRESENT, ABSENT, EXCUSED = AttendanceStatus.PRESENT, AttendanceStatus.ABSENT, AttendanceStatus.EXCUSED
IN_CLASS = [enrolled("ani", 1), enrolled("budi", 2), confirmed("ani"), confirmed("budi"), started()]
MORNING = STARTS_AT + timedelta(hours=9)
LAST_EVENING = MORNING + timedelta(days=4, hours=8)


def story(*facts: Any) -> Story:
    return Story(*BASE, *IN_CLASS, *facts, now=MORNING)


def marks(**statuses: AttendanceStatus) -> list[Mark]:
    return [Mark(participant_id=person, status=status) for person, status in statuses.items()]


def mark(place: Story, given: list[Mark], day: date = DAYS[0], now: datetime = MORNING) -> list[Any]:
    return record_attendance(place.cohort(), place.enrolments(), RecordAttendance(day=day, marks=given), now)


# --- Attendance -------------------------------------------------------------------------------------------------------


def test_a_day_of_the_whole_class_is_one_fact_in_the_order_of_places():
    assert mark(story(), marks(budi=ABSENT, ani=PRESENT)) == [attended(DAYS[0], {"ani": PRESENT, "budi": ABSENT})]


def test_attendance_is_counted_for_each_participant():
    place = story(
        attended(DAYS[0], {"ani": PRESENT, "budi": ABSENT}), attended(DAYS[1], {"ani": PRESENT, "budi": EXCUSED})
    )
    ani, budi = place.enrolment("ani"), place.enrolment("budi")
    assert (ani.days_present, ani.days_absent, ani.days_excused) == (2, 0, 0)
    assert (budi.days_present, budi.days_absent, budi.days_excused) == (0, 1, 1)
    assert place.cohort().days_recorded == DAYS[:2]


def test_a_day_is_recorded_once():
    with pytest.raises(Refused) as refused:
        mark(story(attended(DAYS[0], {"ani": PRESENT, "budi": ABSENT})), marks(ani=PRESENT, budi=PRESENT))
    assert refused.value.code == "attendance-recorded-already"
    assert "corrections" in (refused.value.remedy or "")


def test_everybody_in_class_has_one_mark_and_who_is_missing_or_strange_is_named():
    given = [*marks(ani=PRESENT, stranger=PRESENT), *marks(ani=ABSENT)]
    with pytest.raises(Refused) as refused:
        mark(story(), given)
    assert [problem.field for problem in refused.value.fields] == [
        "body.marks.1.participant_id",
        "body.marks.2.participant_id",
        "body.marks",
    ]
    assert "budi" in refused.value.fields[2].message


def test_who_withdrew_needs_no_mark_any_more():
    gone = ParticipantWithdrawn(cohort_id=COHORT, participant_id="budi", reason=WithdrawalReason.WORK, place=2)
    assert mark(story(gone), marks(ani=PRESENT)) == [attended(DAYS[0], {"ani": PRESENT})]


@pytest.mark.parametrize(("day", "code"), [(date(2024, 7, 13), "not-a-class-day"), (DAYS[1], "day-to-come")])
def test_only_days_of_the_class_that_have_come_are_recorded(day: date, code: str):
    with pytest.raises(Refused) as refused:
        mark(story(), marks(ani=PRESENT, budi=PRESENT), day)
    assert refused.value.code == code


def test_a_class_that_has_not_begun_has_no_attendance():
    place = Story(*BASE, enrolled("ani", 1), confirmed("ani"))
    with pytest.raises(Refused, match="cohort-not-running"):
        mark(place, marks(ani=PRESENT))


def correct(place: Story, person: str = "budi", day: date = DAYS[0], status: AttendanceStatus = PRESENT) -> list[Any]:
    wish = CorrectAttendance(day=day, participant_id=person, status=status, because="late_proof")
    enrolment = next((e for e in place.enrolments() if e.participant_id == person), None)
    return correct_attendance(place.cohort(), enrolment, wish)


def test_a_wrong_mark_is_corrected():
    place = story(attended(DAYS[0], {"ani": PRESENT, "budi": ABSENT}))
    events = correct(place)
    assert events == [
        AttendanceCorrected(cohort_id=COHORT, day=DAYS[0], participant_id="budi", status=PRESENT, because="late_proof")
    ]
    place.given(*events)
    assert (place.enrolment("budi").days_present, place.enrolment("budi").days_absent) == (1, 0)


@pytest.mark.parametrize(
    ("person", "day", "status", "code"),
    [
        ("budi", DAYS[1], PRESENT, "no-such-mark"),
        ("stranger", DAYS[0], PRESENT, "no-such-mark"),
        ("budi", DAYS[0], ABSENT, "mark-unchanged"),
    ],
)
def test_there_has_to_be_another_mark_to_correct(person: str, day: date, status: AttendanceStatus, code: str):
    with pytest.raises(Refused) as refused:
        correct(story(attended(DAYS[0], {"ani": PRESENT, "budi": ABSENT})), person, day, status)
    assert refused.value.code == code


# --- Tests and units --------------------------------------------------------------------------------------------------


def assess(place: Story, **wish: Any) -> list[Any]:
    command = TypeAdapter(RecordAssessment).validate_python(wish)
    return record_assessment(place.cohort(), place.course, place.enrolments(), place.terms, command)


def attempt(person: str = "ani", unit: str = "U1", competent: bool = True) -> dict[str, Any]:
    return {"participant_id": person, "unit_id": unit, "competent": competent}


def tried(*attempts: dict[str, Any]) -> AssessmentRecorded:
    results = tuple(AssessmentResult(**attempt) for attempt in attempts)
    return AssessmentRecorded(cohort_id=COHORT, kind=AssessmentKind.UNIT, results=results)


@pytest.mark.parametrize("kind", ["pre_test", "post_test"])
def test_a_test_is_recorded_and_a_later_score_takes_the_place_of_the_earlier(kind: str):
    place = story()
    for score in (40, 45):
        place.given(*assess(place, kind=kind, results=[{"participant_id": "ani", "score": score}]))
    ani = place.enrolment("ani")
    assert (ani.pre_test, ani.post_test) == ((45, None) if kind == "pre_test" else (None, 45))


@pytest.mark.parametrize("score", [-1, 101])
def test_a_score_is_from_0_to_100(score: int):
    with pytest.raises(ValidationError):
        assess(story(), kind="pre_test", results=[{"participant_id": "ani", "score": score}])


def test_attempts_at_a_unit_are_counted_and_the_last_one_says_whether_somebody_is_competent():
    place = story()
    place.given(*assess(place, kind="unit", results=[attempt(competent=False), attempt("budi")]))
    place.given(*assess(place, kind="unit", results=[attempt()]))
    assert place.enrolment("ani").units == {"U1": UnitResult(attempts=2, competent=True)}
    assert place.enrolment("budi").units == {"U1": UnitResult(attempts=1, competent=True)}


def test_two_attempts_of_one_participant_in_one_call_are_both_counted():
    place = story()
    place.given(*assess(place, kind="unit", results=[attempt(competent=False), attempt(), attempt(unit="U2")]))
    assert place.enrolment("ani").units == {"U1": UnitResult(2, True), "U2": UnitResult(1, True)}


def test_there_are_at_most_three_attempts_at_a_unit():
    failed = attempt(competent=False)
    place = story(tried(failed, failed))
    assert assess(place, kind="unit", results=[attempt()])
    with pytest.raises(Refused) as refused:
        assess(place, kind="unit", results=[failed, attempt()])
    assert [problem.field for problem in refused.value.fields] == ["body.results.1"]
    assert "version 1 allows 3" in refused.value.fields[0].message


def test_who_is_competent_is_not_tried_again():
    with pytest.raises(Refused) as refused:
        assess(story(tried(attempt())), kind="unit", results=[attempt()])
    assert "competent in this unit already" in refused.value.fields[0].message


def test_each_wrong_result_is_named_and_none_is_recorded():
    with pytest.raises(Refused) as refused:
        assess(story(), kind="unit", results=[attempt(), attempt("stranger"), attempt(unit="U9")])
    assert [problem.field for problem in refused.value.fields] == [
        "body.results.1.participant_id",
        "body.results.2.unit_id",
    ]


def test_a_test_has_one_score_for_each_participant():
    ani = {"participant_id": "ani", "score": 50}
    with pytest.raises(Refused) as refused:
        assess(story(), kind="pre_test", results=[ani, ani])
    assert [problem.field for problem in refused.value.fields] == ["body.results.1.participant_id"]


# --- Completion -------------------------------------------------------------------------------------------------------


def whole_course(ani: int, budi: int) -> list[Any]:
    """Attendance of all days, of which each was present on the first so many."""
    return [
        attended(day, {"ani": PRESENT if n < ani else ABSENT, "budi": PRESENT if n < budi else EXCUSED})
        for n, day in enumerate(DAYS)
    ]


BOTH_COMPETENT = tried(attempt("ani", "U1"), attempt("ani", "U2"), attempt("budi", "U1"), attempt("budi", "U2"))


def complete(place: Story, now: datetime = LAST_EVENING) -> list[Any]:
    return complete_cohort(place.cohort(), place.course, place.enrolments(), place.terms, now)


def certificates(events: list[Any]) -> list[tuple[str, str, str]]:
    return [(e.participant_id, str(e.kind), e.certificate_number) for e in events if isinstance(e, CertificateIssued)]


def test_who_attended_and_is_competent_completes_with_a_certificate_and_a_letter():
    place = story(*whole_course(ani=4, budi=5), BOTH_COMPETENT)
    events = complete(place)
    assert [e.participant_id for e in events if isinstance(e, ParticipantCompleted)] == ["ani", "budi"]
    assert certificates(events) == [
        ("ani", "certificate", "P3KE/2024/01/0001"),
        ("ani", "letter_of_attendance", "SK.P3KE/2024/01/0001"),
        ("budi", "certificate", "P3KE/2024/01/0002"),
        ("budi", "letter_of_attendance", "SK.P3KE/2024/01/0002"),
    ]
    assert events[-1] == CohortCompleted(
        cohort_id=COHORT,
        completed_on=DAYS[4],
        course_id=COURSE,
        delivery_mode=DeliveryMode.CLASSROOM,
        completed=("ani", "budi"),
        not_completed=(),
    )


def test_the_result_holds_the_figures_and_the_rule_version_that_decided():
    place = story(*whole_course(ani=4, budi=5), BOTH_COMPETENT)
    place.given(*assess(place, kind="pre_test", results=[{"participant_id": "ani", "score": 40}]))
    place.given(*assess(place, kind="post_test", results=[{"participant_id": "ani", "score": 80}]))
    place.given(*complete(place))
    ani = place.enrolment("ani")
    assert (ani.status, ani.attendance_percent, ani.pre_test, ani.post_test) == (EnrolmentStatus.COMPLETED, 80, 40, 80)
    assert (ani.rule_id, ani.rule_version) == ("completion", 1)
    assert (ani.certificate_number, ani.letter_number) == ("P3KE/2024/01/0001", "SK.P3KE/2024/01/0001")
    assert (place.cohort().completed, place.cohort().not_completed, place.cohort().completed_on) == (2, 0, DAYS[4])


def test_who_attended_and_is_not_competent_in_a_critical_unit_gets_a_letter_only():
    place = story(
        *whole_course(ani=5, budi=5), tried(attempt("ani", "U1"), attempt("ani", "U2"), attempt("budi", "U1"))
    )
    events = complete(place)
    (not_completed,) = [e for e in events if isinstance(e, ParticipantNotCompleted)]
    assert (not_completed.participant_id, not_completed.reason) == ("budi", NotCompletedReason.NOT_COMPETENT)
    assert [kind for person, kind, _ in certificates(events) if person == "budi"] == ["letter_of_attendance"]


def test_who_attended_too_little_gets_nothing_however_competent():
    place = story(*whole_course(ani=5, budi=3), BOTH_COMPETENT)
    events = complete(place)
    (not_completed,) = [e for e in events if isinstance(e, ParticipantNotCompleted)]
    assert (not_completed.participant_id, not_completed.reason) == ("budi", NotCompletedReason.ATTENDANCE_TOO_LOW)
    assert not_completed.attendance_percent == 60
    assert [person for person, _, _ in certificates(events)] == ["ani", "ani"]
    place.given(*events)
    budi = place.enrolment("budi")
    assert (budi.status, budi.not_completed_because, budi.certificate_number, budi.letter_number) == (
        EnrolmentStatus.NOT_COMPLETED,
        NotCompletedReason.ATTENDANCE_TOO_LOW,
        None,
        None,
    )


def test_an_excused_day_does_not_count_as_present():
    place = story(*whole_course(ani=5, budi=3), BOTH_COMPETENT)
    assert place.enrolment("budi").days_excused == 2
    assert "budi" in complete(place)[-1].not_completed


def test_attendance_is_compared_exactly_and_told_rounded_down():
    three_days = planned(days=DAYS[:3])
    facts = [attended(day, {"ani": PRESENT, "budi": PRESENT if n else ABSENT}) for n, day in enumerate(DAYS[:3])]
    place = Story(*BASE[:-1], three_days, *IN_CLASS, *facts, BOTH_COMPETENT, now=MORNING)
    lenient = AdoptCompletionRule(
        kind="completion",
        definition=CompletionDefinition(minimum_attendance_percent=67, maximum_attempts=3),
        source="x",
    )
    place.given(*adopt(place.the(RULES, "completion"), lenient))
    (not_completed,) = [e for e in complete(place) if isinstance(e, ParticipantNotCompleted)]
    assert (not_completed.attendance_percent, not_completed.rule.rule_version) == (66, 2)


def test_a_cohort_is_not_completed_while_a_days_attendance_is_missing():
    place = story(*whole_course(ani=5, budi=5)[:-1], BOTH_COMPETENT)
    with pytest.raises(Refused) as refused:
        complete(place)
    assert (refused.value.code, str(DAYS[4]) in refused.value.detail) == ("attendance-missing", True)


def test_who_withdrew_neither_completes_nor_fails():
    gone = ParticipantWithdrawn(cohort_id=COHORT, participant_id="budi", reason=WithdrawalReason.WORK, place=2)
    place = story(*whole_course(ani=5, budi=5), BOTH_COMPETENT, gone)
    assert (complete(place)[-1].completed, complete(place)[-1].not_completed) == (("ani",), ())


def test_a_completed_cohort_is_over():
    place = story(*whole_course(ani=5, budi=5), BOTH_COMPETENT)
    place.given(*complete(place))
    for wish in (
        lambda: complete(place),
        lambda: correct(place),
        lambda: assess(place, kind="unit", results=[attempt()]),
        lambda: mark(place, marks(ani=PRESENT, budi=PRESENT)),
    ):
        with pytest.raises(Refused, match="cohort-not-running"):
            wish()


def test_numbers_of_certificates_and_letters_never_meet():
    kinds = (CertificateKind.CERTIFICATE, CertificateKind.LETTER_OF_ATTENDANCE)
    cohorts = ("P3KE-2024-01", "P3KE-2024-01-SK", "SK-P3KE-2024-01", "P3KE-2024")
    numbers = [certificate_number(c, place, k) for c in cohorts for k in kinds for place in (1, 7, 1000)]
    assert len(set(numbers)) == len(numbers)
    assert certificate_number("P3KE-2024-01", 7, CertificateKind.CERTIFICATE) == "P3KE/2024/01/0007"
