"""Facts as training's tests tell them: a programme of Nusa Tenggara Barat in July 2024, and people willing to learn."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.envelope import Event
from contracts.registry import (
    AgeBand,
    HouseholdListed,
    ListEvidence,
    LivingConditions,
    Member,
    NominationRoute,
    ParticipantNominated,
    ParticipantVerified,
    PersonDetails,
    Priority,
    PriorityPart,
    Rank,
    Sex,
)
from contracts.training import (
    AttendanceMark,
    AttendanceRecorded,
    AttendanceStatus,
    CohortPlanned,
    CohortStarted,
    CompetencyUnit,
    CourseDefined,
    DeliveryMode,
    ParticipantConfirmed,
    ParticipantEnrolled,
    ParticipantWaitlisted,
    ProgrammeOpened,
    QuotaSet,
)
from services.kit.reactions import Step
from services.training.candidates.state import CANDIDATES, Candidate
from services.training.cohorts.state import COHORTS, Cohort, CohortStatus
from services.training.enrolments.decisions import Commitments, taken_by_kabupaten
from services.training.enrolments.state import ENROLMENTS, OPEN, Enrolment, EnrolmentStatus
from services.training.handlers import REACTIONS
from services.training.programmes.decisions import QuotaRoom
from services.training.programmes.state import COURSES, QUOTAS, Course
from services.training.rules.decisions import PROJECT_DEFAULTS, CompletionTerms, adopt, completion_terms
from services.training.rules.state import RULES
from services.training.state import TABLES
from services.training.withdrawals.decisions import Waiting
from services.training.withdrawals.queries import Lists
from tests.support.scenario import Scenario

NOW = datetime(2024, 7, 1, 1, 0, tzinfo=UTC)  # Monday, 1 July 2024, 09.00 in Mataram
DAYS = tuple(date(2024, 7, 8) + timedelta(days=n) for n in range(5))  # the first two cohorts of 2024 met then
CONFIRM_BY = date(2024, 7, 5)
STARTS_AT = datetime(2024, 7, 7, 16, 0, tzinfo=UTC)  # 00.00 WITA of 8 July
LONG = datetime(2025, 6, 1, tzinfo=UTC)  # until when verifications hold here unless said otherwise

MATARAM, LOMBOK_BARAT, LOMBOK_TIMUR = "52.71", "52.01", "52.03"
VILLAGE = "52.01.01.2002"  # Kebon Ayu, Gerung
SAME_KECAMATAN = "52.01.01.2003"
OTHER_KECAMATAN = "52.01.02.2001"
IN_LOMBOK_TIMUR = "52.03.01.2001"

PROGRAMME, COURSE, COHORT, OTHER_COHORT = "programme-1", "course-1", "cohort-1", "cohort-2"

UNITS = (
    CompetencyUnit(unit_id="U1", title="Pijat dasar", critical=True),
    CompetencyUnit(unit_id="U2", title="Kebersihan", critical=True),
    CompetencyUnit(unit_id="U3", title="Pemasaran", critical=False),
)

Cast = dict[str, Any]


def priority(score: int) -> Priority:
    part = PriorityPart(name="poorest decile", points=score, because="welfare_decile is 1")
    return Priority(score=score, parts=(part,), rule_id="priority", rule_version=1)


# --- From the registry ------------------------------------------------------------------------------------------------


def nominated(person: str, *, area_code: str = VILLAGE) -> ParticipantNominated:
    return ParticipantNominated(
        participant_id=person,
        household_id=f"home-of-{person}",
        area_code=area_code,
        route=NominationRoute.TARGETING_LIST,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        personal={person: PersonDetails(name=f"Ibu {person}")},
    )


def verified(person: str, score: int = 50, **more: Any) -> ParticipantVerified:
    facts: Cast = {
        "participant_id": person,
        "household_id": f"home-of-{person}",
        "area_code": VILLAGE,
        "visit_id": f"visit-of-{person}",
        "verified_at": NOW - timedelta(days=30),
        "expires_at": LONG,
        "priority": priority(score),
        "sex": Sex.FEMALE,
        "age_band": AgeBand.FROM_22,
        "adult": True,
        "can_leave_home": True,
        "reachable": True,
        "rule_id": "verification",
        "rule_version": 1,
        "personal": {person: PersonDetails(name=f"Ibu {person}", phone="+6281200000000")},
    }
    return ParticipantVerified(**(facts | more))


def known_people(*people: ParticipantVerified) -> list[Event]:
    """Nominated, then verified."""
    return [
        fact for person in people for fact in (nominated(person.participant_id, area_code=person.area_code), person)
    ]


def people(**scores: int) -> list[Event]:
    """Verified people by name, each with a priority score."""
    return known_people(*(verified(name, score) for name, score in scores.items()))


def listed(household: str, *, area_code: str = VILLAGE, members: int = 4, decile: int = 1) -> HouseholdListed:
    return HouseholdListed(
        household_id=household,
        area_code=area_code,
        rank=Rank(source="P3KE", snapshot_id="s-1", dated=date(2024, 1, 1), welfare_decile=decile),
        evidence=ListEvidence(file_digest="ab" * 32, row=2),
        conditions=LivingConditions(),
        members=tuple(
            Member(person_id=f"{household}-{n}", head=n == 0, sex=Sex.FEMALE, age_band=AgeBand.FROM_22, adult=True)
            for n in range(members)
        ),
    )


# --- Our own ----------------------------------------------------------------------------------------------------------


def opened() -> ProgrammeOpened:
    return ProgrammeOpened(programme_id=PROGRAMME, name="Pelatihan Keterampilan P3KE", area_code="52", year=2024)


def defined() -> CourseDefined:
    return CourseDefined(
        programme_id=PROGRAMME, course_id=COURSE, title="Keterampilan Teknis Pijat", lesson_hours=30, units=UNITS
    )


def quota(area_code: str, places: int) -> QuotaSet:
    return QuotaSet(programme_id=PROGRAMME, area_code=area_code, places=places)


def default_rules() -> list[Event]:
    return [event for default in PROJECT_DEFAULTS.values() for event in adopt(None, default)]


def planned(cohort_id: str = COHORT, **more: Any) -> CohortPlanned:
    facts: Cast = {
        "cohort_id": cohort_id,
        "number": "P3KE-2024-01",
        "programme_id": PROGRAMME,
        "course_id": COURSE,
        "course_title": "Keterampilan Teknis Pijat",
        "capacity": 3,
        "delivery_mode": DeliveryMode.CLASSROOM,
        "area_code": MATARAM,
        "venue": "UPTD Balatkop UKM NTB",
        "days": DAYS,
        "confirm_by": CONFIRM_BY,
    }
    return CohortPlanned(**(facts | more))


def enrolled(person: str, place: int, cohort_id: str = COHORT, *, score: int = 50, **more: Any) -> ParticipantEnrolled:
    facts: Cast = {
        "cohort_id": cohort_id,
        "participant_id": person,
        "area_code": VILLAGE,
        "place": place,
        "priority": priority(score),
        "confirm_by": CONFIRM_BY,
    }
    return ParticipantEnrolled(**(facts | more))


def waitlisted(
    person: str, score: int = 50, cohort_id: str = COHORT, *, area_code: str = VILLAGE
) -> ParticipantWaitlisted:
    return ParticipantWaitlisted(
        cohort_id=cohort_id, participant_id=person, area_code=area_code, priority=priority(score)
    )


def confirmed(person: str, cohort_id: str = COHORT) -> ParticipantConfirmed:
    return ParticipantConfirmed(cohort_id=cohort_id, participant_id=person)


def started(cohort_id: str = COHORT) -> CohortStarted:
    return CohortStarted(cohort_id=cohort_id, started_on=DAYS[0])


def attended(day: date, marks: dict[str, AttendanceStatus], cohort_id: str = COHORT) -> AttendanceRecorded:
    return AttendanceRecorded(
        cohort_id=cohort_id,
        day=day,
        marks=tuple(AttendanceMark(participant_id=person, status=status) for person, status in marks.items()),
    )


BASE: tuple[Event, ...] = (opened(), defined(), *default_rules(), planned())


class Story(Scenario):
    """A working set of training's tables, with what decisions about one cohort need."""

    def __init__(self, *events: Event, now: datetime = NOW) -> None:
        super().__init__(TABLES, now)
        self.given(*events)

    def cohort(self, cohort_id: str = COHORT) -> Cohort:
        return self.the(COHORTS, cohort_id)

    def enrolments(self, cohort_id: str = COHORT) -> list[Enrolment]:
        return self.of_stream(ENROLMENTS, cohort_id)

    def enrolment(self, person: str, cohort_id: str = COHORT) -> Enrolment:
        return self.the(ENROLMENTS, cohort_id, person)

    def candidate(self, person: str) -> Candidate:
        return self.the(CANDIDATES, person)

    def candidates(self, people: Iterable[str]) -> dict[str, Candidate]:
        rows = ((person, self.row(CANDIDATES, person)) for person in people)
        return {person: row for person, row in rows if row is not None}

    def placed(self, cohort_id: str = COHORT) -> dict[str, Candidate]:
        return self.candidates(e.participant_id for e in self.enrolments(cohort_id))

    def waiting(self, quotas: QuotaRoom | None = None, cohort_id: str = COHORT) -> Waiting:
        people = [e.participant_id for e in self.enrolments(cohort_id) if e.status is EnrolmentStatus.WAITLISTED]
        return Waiting(self.candidates(people), quotas or NO_QUOTAS)

    @property
    def course(self) -> Course:
        return self.the(COURSES, PROGRAMME, COURSE)

    @property
    def terms(self) -> CompletionTerms:
        return completion_terms(self.the(RULES, "completion"))

    def statuses(self, cohort_id: str = COHORT) -> dict[str, str]:
        return {e.participant_id: str(e.status) for e in self.enrolments(cohort_id)}

    def holders(self, cohort_id: str = COHORT) -> dict[int, str]:
        """Place -> who has it."""
        return {
            e.place: e.participant_id
            for e in self.enrolments(cohort_id)
            if e.place is not None and e.status in (EnrolmentStatus.ENROLLED, EnrolmentStatus.CONFIRMED)
        }

    # --- What the queries tell, from the rows in memory ---------------------------------------------------------------

    def cohort_ids(self) -> list[str]:
        return list(dict.fromkeys(event.key for event, _ in self.events if event.topic == COHORTS.topic))

    def taken(self, cohorts: Iterable[str]) -> Counter[str]:
        return sum((taken_by_kabupaten(self.enrolments(cohort)) for cohort in cohorts), Counter())

    def quotas(self, *, besides: str = COHORT) -> QuotaRoom:
        places = {quota.area_code: quota.places for quota in self.of_stream(QUOTAS, PROGRAMME)}
        return QuotaRoom(places, self.taken(cohort for cohort in self.cohort_ids() if cohort != besides))

    def commitments(self, person: str, *, besides: str = COHORT) -> Commitments:
        others = [self.cohort(c) for c in self.cohort_ids() if c != besides]
        mine = [(cohort, self.row(ENROLMENTS, cohort.cohort_id, person)) for cohort in others]
        return Commitments(
            frozenset(day for cohort, row in mine if row and row.status in OPEN for day in cohort.days),
            frozenset(cohort.course_id for cohort, row in mine if row and row.status is EnrolmentStatus.COMPLETED),
        )

    def lists(self) -> Lists:
        cohorts = self.cohort_ids()
        planned = [c for c in cohorts if self.cohort(c).status is CohortStatus.PLANNED]
        cohorts_of: dict[str, list[str]] = defaultdict(list)
        for cohort in planned:
            for enrolment in self.enrolments(cohort):
                if enrolment.status in OPEN:
                    cohorts_of[enrolment.participant_id].append(cohort)
        others = [c for c in cohorts if c not in planned]
        return Lists(cohorts_of, {PROGRAMME: planned}, {PROGRAMME: self.taken(others)})

    def told(self, *facts: Event) -> list[Event]:
        """Takes in the registry's facts one by one, as the worker does, and gives what training decides on them."""
        decided: list[Event] = []
        for fact in facts:
            lists = self.lists()
            for people in lists.cohorts_of:
                self.row(CANDIDATES, people)
            self.of_stream(QUOTAS, PROGRAMME)
            envelope = self.fold(fact)
            if reaction := REACTIONS.to(type(fact)):
                events = reaction.react(Step(fact, envelope, self.rows, lists, self.now))
                self.given(*events)
                decided += events
        return decided


NO_QUOTAS = QuotaRoom({}, {})
FREE = Commitments()
