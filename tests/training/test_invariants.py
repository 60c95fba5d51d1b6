"""What never happens, whatever is wished for in whatever order: found out by wishing at random.

The test keeps its own books from the facts alone, and looks into no row.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.envelope import Event
from contracts.registry import ParticipantRejected, PersonErased, PriorityChanged, RejectionReason, VerificationExpired
from contracts.training import (
    AssessmentKind,
    AttendanceRecorded,
    AttendanceStatus,
    CertificateIssued,
    CertificateKind,
    CohortCancelled,
    CohortCompleted,
    CohortPlanned,
    CohortStarted,
    ParticipantCompleted,
    ParticipantEnrolled,
    ParticipantNotCompleted,
    ParticipantReplaced,
    ParticipantWaitlisted,
    ParticipantWithdrawn,
    QuotaSet,
)
from services.kit.refusal import Refused
from services.training.candidates.state import CANDIDATES
from services.training.classes import decisions as classes
from services.training.cohorts import decisions as cohorts
from services.training.cohorts.state import CohortStatus, beginning_of, day_of
from services.training.enrolments import decisions as enrolments
from services.training.enrolments.state import ENROLMENTS, OPEN, EnrolmentStatus
from services.training.programmes.decisions import SetQuota, set_quota
from services.training.programmes.state import PROGRAMMES
from services.training.withdrawals import decisions as withdrawals
from tests.training.facts import (
    DAYS,
    NOW,
    PROGRAMME,
    VILLAGE,
    Story,
    default_rules,
    defined,
    nominated,
    opened,
    planned,
    priority,
    verified,
)

AREAS = {"52.01": VILLAGE, "52.03": "52.03.01.2001", "52.71": "52.71.01.1004"}
PEOPLE = {f"{kabupaten[3:]}-{n}": village for kabupaten, village in AREAS.items() for n in range(4)}
# Two meet on the same days, the second shares the last of them, the third comes later and has another course's days.
COHORTS = {"one": DAYS[:3], "two": DAYS[2:4], "three": tuple(day + timedelta(days=7) for day in DAYS[:2])}
CAPACITY = 3

person, cohort = st.sampled_from(sorted(PEOPLE)), st.sampled_from(sorted(COHORTS))


@dataclass
class Books:
    """Who has which place where, by the facts alone."""

    capacity: dict[str, int] = field(default_factory=dict)
    days: dict[str, set[date]] = field(default_factory=dict)
    holders: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    waiting: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    used: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))  # cohort -> person -> kabupaten
    quotas: dict[str, int] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)
    completed: set[tuple[str, str]] = field(default_factory=set)
    judged: set[tuple[str, str]] = field(default_factory=set)
    certificates: list[str] = field(default_factory=list)
    marked: set[tuple[str, date]] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)

    def keep(self, fact: Event) -> None:
        self.kinds[type(fact).__name__] += 1
        match fact:
            case QuotaSet():
                self.quotas[fact.area_code] = fact.places
            case CohortPlanned():
                self.capacity[fact.cohort_id] = fact.capacity
                self.days[fact.cohort_id] = set(fact.days)
            case ParticipantEnrolled() | ParticipantReplaced():
                here = self.holders[fact.cohort_id]
                assert fact.cohort_id not in self.started, "a place was given after the start"
                assert fact.participant_id not in here, "somebody got a second place"
                assert fact.place not in here.values(), "a place was given twice"
                assert 1 <= fact.place <= self.capacity[fact.cohort_id], "a place beyond the capacity"
                here[fact.participant_id] = fact.place
                self.used[fact.cohort_id][fact.participant_id] = fact.area_code[:5]
                waited = fact.participant_id in self.waiting[fact.cohort_id]
                assert waited == (isinstance(fact, ParticipantReplaced) or fact.from_waitlist)
                self.waiting[fact.cohort_id].discard(fact.participant_id)
            case ParticipantWaitlisted():
                self.waiting[fact.cohort_id].add(fact.participant_id)
            case ParticipantWithdrawn():
                assert self.holders[fact.cohort_id].pop(fact.participant_id, None) == fact.place
                self.used[fact.cohort_id].pop(fact.participant_id, None)
                self.waiting[fact.cohort_id].discard(fact.participant_id)
            case CohortStarted():
                self.started.add(fact.cohort_id)
                self.waiting[fact.cohort_id].clear()
            case CohortCancelled():
                self._end(fact.cohort_id)
                self.used[fact.cohort_id].clear()
            case AttendanceRecorded():
                assert (fact.cohort_id, fact.day) not in self.marked, "a day was recorded twice"
                self.marked.add((fact.cohort_id, fact.day))
                assert {mark.participant_id for mark in fact.marks} == self.holders[fact.cohort_id].keys()
            case ParticipantCompleted() | ParticipantNotCompleted():
                key = (fact.cohort_id, fact.participant_id)
                assert key not in self.judged, "somebody was judged twice"
                self.judged.add(key)
                if isinstance(fact, ParticipantCompleted):
                    self.completed.add(key)
            case CertificateIssued():
                self._certify(fact)
            case CohortCompleted():
                everybody = {*fact.completed, *fact.not_completed}
                assert everybody == self.holders[fact.cohort_id].keys(), "somebody was forgotten or made up"
                assert {(fact.cohort_id, p) for p in fact.completed} <= self.completed
                self._end(fact.cohort_id)

    def _certify(self, fact: CertificateIssued) -> None:
        key = (fact.cohort_id, fact.participant_id)
        assert key in self.judged, "a paper before the judgement"
        if fact.kind is CertificateKind.CERTIFICATE:
            assert key in self.completed, "a certificate without completion"
        assert fact.certificate_number not in self.certificates, "one number on two papers"
        self.certificates.append(fact.certificate_number)

    def _end(self, cohort_id: str) -> None:
        self.over.add(cohort_id)
        self.holders[cohort_id].clear()
        self.waiting[cohort_id].clear()


def _runs(machine: Any) -> bool:
    return any(machine.story.cohort(c).status is CohortStatus.RUNNING for c in COHORTS)


class Training(RuleBasedStateMachine):
    """Officers, participants, the registry and the clock, all at once."""

    @initialize(quota=st.integers(1, 6), score=st.integers(0, 100))
    def begin(self, quota: int, score: int) -> None:
        self.books = Books()
        self.story = Story(opened(), defined(), *default_rules())
        self.decide(lambda: [QuotaSet(programme_id=PROGRAMME, area_code="52.01", places=quota)])
        for n, (cohort_id, days) in enumerate(COHORTS.items(), start=1):
            number = f"P3KE-2024-{n:02d}"
            confirm_by = days[0] - timedelta(days=2)
            fact = planned(cohort_id, number=number, capacity=CAPACITY, days=days, confirm_by=confirm_by)
            self.decide(lambda fact=fact: [fact])
        for name, village in PEOPLE.items():
            self.story.given(nominated(name, area_code=village))
        self.all_are_verified(score)

    def decide(self, wish: Callable[[], Sequence[Event]]) -> None:
        """What is refused changes nothing; what is decided is folded, and written into the books."""
        try:
            events = wish()
        except Refused:
            return
        self.story.given(*events)
        for event in events:
            self.books.keep(event)

    def _told(self, fact: Event) -> None:
        for event in self.story.told(fact):
            self.books.keep(event)

    @property
    def now(self) -> datetime:
        return self.story.now

    # --- The registry -------------------------------------------------------------------------------------------------

    @rule(who=person, score=st.integers(0, 100), days=st.integers(1, 40), leaves=st.booleans())
    def is_verified(self, who: str, score: int, days: int, leaves: bool) -> None:
        expires_at = self.now + timedelta(days=days)
        village = PEOPLE[who]
        self._told(verified(who, score, area_code=village, expires_at=expires_at, can_leave_home=leaves))

    @rule(score=st.integers(0, 100))
    def all_are_verified(self, score: int) -> None:
        for n, (who, village) in enumerate(PEOPLE.items()):
            self._told(verified(who, (score + 17 * n) % 100, area_code=village))

    @rule(who=person)
    def expires(self, who: str) -> None:
        self._told(VerificationExpired(participant_id=who, verified_at=NOW, expired_at=self.now))

    @rule(who=person)
    def is_rejected(self, who: str) -> None:
        self._told(ParticipantRejected(participant_id=who, reason=RejectionReason.MOVED))

    @rule(who=person)
    def is_erased(self, who: str) -> None:
        self._told(PersonErased(participant_id=who, household_id="h", area_code=PEOPLE[who], basis="UU 27/2022"))

    @rule(who=person, score=st.integers(0, 100))
    def priority_changes(self, who: str, score: int) -> None:
        self._told(PriorityChanged(participant_id=who, priority=priority(score)))

    # --- Officers and participants ------------------------------------------------------------------------------------

    @rule(kabupaten=st.sampled_from(sorted(AREAS)), places=st.integers(0, 6))
    def sets_a_quota(self, kabupaten: str, places: int) -> None:
        taken = self.story.taken(COHORTS)
        programme = self.story.row(PROGRAMMES, PROGRAMME)
        self.decide(lambda: set_quota(programme, taken, SetQuota(area_code=kabupaten, places=places)))

    @rule(where=cohort, who=person)
    def enrols(self, where: str, who: str) -> None:
        self.decide(
            lambda: enrolments.enrol(
                self.story.cohort(where),
                self.story.enrolments(where),
                self.story.row(CANDIDATES, who),
                self.story.commitments(who, besides=where),
                self.story.quotas(besides=where),
                self.now,
            )
        )

    @rule(where=cohort, who=person)
    def waits(self, where: str, who: str) -> None:
        self.decide(
            lambda: enrolments.waitlist(
                self.story.cohort(where),
                self.story.enrolments(where),
                self.story.row(CANDIDATES, who),
                self.story.commitments(who, besides=where),
                self.now,
            )
        )

    @rule(where=cohort, length=st.integers(0, 3))
    def enrols_by_priority(self, where: str, length: int) -> None:
        self.decide(
            lambda: enrolments.enrol_by_priority(
                self.story.cohort(where),
                self.story.enrolments(where),
                self.story.candidates(PEOPLE).values(),
                {who: self.story.commitments(who, besides=where) for who in PEOPLE},
                self.story.quotas(besides=where),
                enrolments.EnrolByPriority(waitlist=length),
                self.now,
            )
        )

    @rule(where=cohort, who=person)
    def confirms(self, where: str, who: str) -> None:
        enrolment = self.story.row(ENROLMENTS, where, who)
        self.decide(lambda: enrolments.confirm(self.story.cohort(where), enrolment, self.now))

    @rule(where=cohort)
    def all_confirm(self, where: str) -> None:
        for who in PEOPLE:
            self.confirms(where, who)

    @rule(where=cohort, who=person)
    def withdraws(self, where: str, who: str) -> None:
        self.decide(
            lambda: withdrawals.withdraw(
                self.story.cohort(where),
                self.story.enrolments(where),
                who,
                self._waiting(where),
                withdrawals.Withdraw(reason="work"),
                self.now,
            )
        )

    @rule(where=cohort, nth=st.integers(0, 11))
    def somebody_on_the_list_withdraws(self, where: str, nth: int) -> None:
        on_list = [e.participant_id for e in self.story.enrolments(where) if e.status in OPEN]
        if on_list:
            self.withdraws(where, on_list[nth % len(on_list)])

    @rule(where=cohort, nth=st.integers(0, 11))
    def somebody_on_the_list_is_rejected(self, where: str, nth: int) -> None:
        on_list = [e.participant_id for e in self.story.enrolments(where) if e.status in OPEN]
        if on_list:
            self.is_rejected(on_list[nth % len(on_list)])

    @precondition(lambda machine: len(machine.story.events) > 60)
    @rule(where=cohort)
    def is_cancelled(self, where: str) -> None:
        self.decide(
            lambda: cohorts.cancel_cohort(self.story.cohort(where), cohorts.CancelCohort(because="force_majeure"))
        )

    # --- The clock ----------------------------------------------------------------------------------------------------

    @rule(hours=st.integers(1, 60))
    def time_passes(self, hours: int) -> None:
        until = self.now + timedelta(hours=hours)
        self.story.now = until
        for where in COHORTS:
            self.decide(
                lambda where=where: withdrawals.withdraw_unconfirmed(
                    self.story.cohort(where), self.story.enrolments(where), self._waiting(where), self.now
                )
            )
            self.starts(where)

    @rule(where=cohort)
    def starts(self, where: str) -> None:
        self.decide(
            lambda: cohorts.start_cohort(
                self.story.cohort(where), self.story.enrolments(where), self.story.placed(where), self.now
            )
        )

    @rule(where=cohort, score=st.integers(0, 100))
    def class_is_filled_and_begins(self, where: str, score: int) -> None:
        first = beginning_of(COHORTS[where][0])
        if first > self.now:
            self.all_are_verified(score)
            self.enrols_by_priority(where, 2)
            self.all_confirm(where)
            self.story.now = first
            self.time_passes(0)

    @precondition(_runs)
    @rule(nth=st.integers(0, 2), competent=st.booleans())
    def class_comes_to_its_end(self, nth: int, competent: bool) -> None:
        run = [c for c in COHORTS if self.story.cohort(c).status is CohortStatus.RUNNING]
        where = run[nth % len(run)]
        last = beginning_of(COHORTS[where][-1])
        if last > self.now:
            self.story.now = last
            self.time_passes(0)
        self.day_is_recorded(where, set(), True)
        if competent:
            self.all_are_competent(where, "U1")
            self.all_are_competent(where, "U2")
        self.is_completed(where)

    # --- In class -----------------------------------------------------------------------------------------------------

    @precondition(_runs)
    @rule(where=cohort, absent=st.sets(person), everybody=st.booleans())
    def day_is_recorded(self, where: str, absent: set[str], everybody: bool) -> None:
        in_class = [e for e in self.story.enrolments(where) if e.status is EnrolmentStatus.CONFIRMED]
        marks = [
            classes.Mark(
                participant_id=e.participant_id,
                status=AttendanceStatus.ABSENT if e.participant_id in absent else AttendanceStatus.PRESENT,
            )
            for e in in_class
            if everybody or e.participant_id not in absent
        ]
        for day in COHORTS[where]:
            wish = classes.RecordAttendance(day=day, marks=marks)
            self.decide(
                lambda wish=wish: classes.record_attendance(
                    self.story.cohort(where), self.story.enrolments(where), wish, self.now
                )
            )

    @precondition(_runs)
    @rule(where=cohort, who=person, unit=st.sampled_from(["U1", "U2", "U3", "U9"]), competent=st.booleans())
    def unit_is_tried(self, where: str, who: str, unit: str, competent: bool) -> None:
        self._tries(where, [{"participant_id": who, "unit_id": unit, "competent": competent}])

    @precondition(_runs)
    @rule(where=cohort, unit=st.sampled_from(["U1", "U2"]))
    def all_are_competent(self, where: str, unit: str) -> None:
        for e in self.story.enrolments(where):
            self._tries(where, [{"participant_id": e.participant_id, "unit_id": unit, "competent": True}])

    def _tries(self, where: str, results: list[dict[str, Any]]) -> None:
        wish = classes.RecordUnits(kind=AssessmentKind.UNIT, results=results)
        self.decide(
            lambda: classes.record_assessment(
                self.story.cohort(where), self.story.course, self.story.enrolments(where), self.story.terms, wish
            )
        )

    @precondition(_runs)
    @rule(where=cohort)
    def is_completed(self, where: str) -> None:
        self.decide(
            lambda: classes.complete_cohort(
                self.story.cohort(where), self.story.course, self.story.enrolments(where), self.story.terms, self.now
            )
        )

    def _waiting(self, where: str) -> withdrawals.Waiting:
        return self.story.waiting(self.story.quotas(besides=where), where)

    # --- What never happens -------------------------------------------------------------------------------------------

    @invariant()
    def no_cohort_is_over_its_capacity(self) -> None:
        for where, holders in self.books.holders.items():
            assert len(holders) <= CAPACITY, where

    @invariant()
    def nobody_is_in_two_cohorts_that_meet_on_one_day(self) -> None:
        days: dict[str, list[date]] = defaultdict(list)
        for where in COHORTS:
            for who in (*self.books.holders[where], *self.books.waiting[where]):
                days[who] += self.books.days[where]
        for who, busy in days.items():
            assert len(busy) == len(set(busy)), f"{who} has to be in two places on one day"

    @invariant()
    def no_quota_is_exceeded(self) -> None:
        used = Counter(kabupaten for people in self.books.used.values() for kabupaten in people.values())
        for kabupaten, places in self.books.quotas.items():
            assert used[kabupaten] <= places, kabupaten

    @invariant()
    def the_tables_say_what_the_facts_say(self) -> None:
        for where in COHORTS:
            row = self.story.cohort(where)
            if row.status in (CohortStatus.PLANNED, CohortStatus.RUNNING):
                holders = self.books.holders[where]
                assert {who: place for place, who in self.story.holders(where).items()} == holders
                assert (row.enrolled, row.waitlisted) == (len(holders), len(self.books.waiting[where]))

    @invariant()
    def nobody_sits_in_class_unconfirmed_or_before_the_first_day(self) -> None:
        for where in self.books.started - self.books.over:
            assert COHORTS[where][0] <= day_of(self.now)
            statuses = {e.status for e in self.story.enrolments(where)}
            assert statuses.isdisjoint({EnrolmentStatus.ENROLLED, EnrolmentStatus.WAITLISTED})


Training.TestCase.settings = settings(max_examples=80, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestNothingImpossibleHappens = Training.TestCase
