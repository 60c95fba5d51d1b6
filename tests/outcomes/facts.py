"""Facts as outcomes' tests tell them: a class of July 2024 in Mataram, and households of Nusa Tenggara Barat."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

from contracts.envelope import Event
from contracts.outcomes import BasicNeed, Livelihood
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
    VerificationAssigned,
)
from contracts.training import (
    CohortCompleted,
    CohortPlanned,
    CohortStarted,
    CompletionRule,
    DeliveryMode,
    ParticipantCompleted,
    ParticipantConfirmed,
    ParticipantEnrolled,
)
from services.kit.reactions import Step
from services.outcomes.cases.state import CASES, Case
from services.outcomes.classes.state import PLACEMENTS
from services.outcomes.follow_ups.state import FOLLOW_UPS, FollowUp
from services.outcomes.handlers import REACTIONS
from services.outcomes.interventions.decisions import Waiting
from services.outcomes.people.state import HOMES, PERSONS
from services.outcomes.rules.decisions import PROJECT_DEFAULTS, adopt
from services.outcomes.state import TABLES
from tests.support.scenario import Scenario

NOW = datetime(2024, 7, 15, 1, 0, tzinfo=UTC)  # Monday, 15 July 2024, 09.00 in Mataram
COMPLETED_AT = datetime(2024, 7, 12, 9, 0, tzinfo=UTC)  # 17.00 WITA of the class's last day
BEFORE = datetime(2024, 6, 1, 1, 0, tzinfo=UTC)
DAYS = tuple(date(2024, 7, 8) + timedelta(days=n) for n in range(5))
COMPLETED_ON = DAYS[-1]

MATARAM = "52.71"
VILLAGE = "52.01.01.2002"  # Kebon Ayu, Gerung, Lombok Barat
IN_LOMBOK_TIMUR = "52.03.01.2001"
COHORT, OTHER_COHORT, COURSE = "cohort-1", "cohort-2", "course-1"

POOR = LivingConditions(
    roof="Seng",
    wall="Anyaman Bambu",
    floor="Tanah",
    drinking_water="Sumur Tidak Terlindung",
    latrine="Tidak, Jamban Umum/Bersama",
)
SOUND = LivingConditions(
    roof="Genteng", wall="Tembok", floor="Semen", drinking_water="Sumur Bor", latrine="Ya, dengan Septic Tank"
)

Cast = dict[str, Any]


def priority(score: int = 50) -> Priority:
    part = PriorityPart(name="poorest decile", points=score, because="welfare_decile is 1")
    return Priority(score=score, parts=(part,), rule_id="priority", rule_version=1)


def default_rules() -> list[Event]:
    return [event for default in PROJECT_DEFAULTS.values() for event in adopt(None, default)]


# --- From the registry ------------------------------------------------------------------------------------------------


def home_of(person: str) -> str:
    return f"home-of-{person}"


def rank(decile: int = 1, dated: date = date(2024, 1, 1)) -> Rank:
    return Rank(source="P3KE", snapshot_id=f"s-{dated}", dated=dated, welfare_decile=decile, welfare_percentile=2)


def listed(
    person: str, *, area_code: str = VILLAGE, people: int = 4, decile: int = 1, conditions: LivingConditions = POOR
) -> HouseholdListed:
    """The person's household, with others in it."""
    ids = [person, *(f"{person}-kin-{n}" for n in range(1, people))]
    return HouseholdListed(
        household_id=home_of(person),
        area_code=area_code,
        rank=rank(decile),
        evidence=ListEvidence(file_digest="ab" * 32, row=2),
        conditions=conditions,
        members=tuple(
            Member(person_id=id_, head=id_ == person, sex=Sex.FEMALE, age_band=AgeBand.FROM_22, adult=True)
            for id_ in ids
        ),
    )


def nominated(person: str, *, area_code: str = VILLAGE) -> ParticipantNominated:
    return ParticipantNominated(
        participant_id=person,
        household_id=home_of(person),
        area_code=area_code,
        route=NominationRoute.TARGETING_LIST,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        personal={person: PersonDetails(name=f"Ibu {person}")},
    )


def assigned(person: str, facilitator_id: str = "pendamping-1") -> VerificationAssigned:
    return VerificationAssigned(participant_id=person, facilitator_id=facilitator_id, due_on=date(2024, 6, 20))


def verified(person: str, **more: Any) -> ParticipantVerified:
    facts: Cast = {
        "participant_id": person,
        "household_id": home_of(person),
        "area_code": VILLAGE,
        "visit_id": f"visit-of-{person}",
        "verified_at": BEFORE,
        "expires_at": BEFORE + timedelta(days=180),
        "priority": priority(),
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


def known(person: str, *, area_code: str = VILLAGE, **more: Any) -> list[Event]:
    """Listed, nominated, assigned and verified."""
    return [
        listed(person, area_code=area_code, **more),
        nominated(person, area_code=area_code),
        assigned(person),
        verified(person, area_code=area_code),
    ]


# --- From training ----------------------------------------------------------------------------------------------------


def planned(cohort_id: str = COHORT, **more: Any) -> CohortPlanned:
    facts: Cast = {
        "cohort_id": cohort_id,
        "number": f"P3KE-2024-{cohort_id}",
        "programme_id": "programme-1",
        "course_id": COURSE,
        "course_title": "Keterampilan Teknis Pijat",
        "capacity": 30,
        "delivery_mode": DeliveryMode.CLASSROOM,
        "area_code": MATARAM,
        "venue": "UPTD Balatkop UKM NTB",
        "days": DAYS,
        "confirm_by": date(2024, 7, 5),
    }
    return CohortPlanned(**(facts | more))


def enrolled(person: str, place: int = 1, cohort_id: str = COHORT, *, area_code: str = VILLAGE) -> ParticipantEnrolled:
    return ParticipantEnrolled(
        cohort_id=cohort_id,
        participant_id=person,
        area_code=area_code,
        place=place,
        priority=priority(),
        confirm_by=date(2024, 7, 5),
    )


def passed(person: str, cohort_id: str = COHORT) -> ParticipantCompleted:
    return ParticipantCompleted(
        cohort_id=cohort_id,
        participant_id=person,
        attendance_percent=100,
        pre_test=40,
        post_test=80,
        rule=CompletionRule(rule_id="completion", rule_version=1, minimum_attendance_percent=80),
    )


def over(*completed: str, cohort_id: str = COHORT, completed_on: date = COMPLETED_ON) -> CohortCompleted:
    return CohortCompleted(
        cohort_id=cohort_id,
        completed_on=completed_on,
        course_id=COURSE,
        delivery_mode=DeliveryMode.CLASSROOM,
        completed=completed,
        not_completed=(),
    )


def held(
    *people: str, cohort_id: str = COHORT, completed_on: date = COMPLETED_ON, area_code: str = VILLAGE
) -> list[Event]:
    """A whole class, from its plan to its end."""
    days = tuple(completed_on - timedelta(days=n) for n in reversed(range(5)))
    return [
        planned(cohort_id, days=days),
        *(enrolled(person, n, cohort_id, area_code=area_code) for n, person in enumerate(people, 1)),
        *(ParticipantConfirmed(cohort_id=cohort_id, participant_id=person) for person in people),
        CohortStarted(cohort_id=cohort_id, started_on=days[0]),
        *(passed(person, cohort_id) for person in people),
        over(*people, cohort_id=cohort_id, completed_on=completed_on),
    ]


# --- A visit --------------------------------------------------------------------------------------------------------

LINE = 322_170  # rupiah a person and month
ALL_REQUIRED = (BasicNeed.FOOD, BasicNeed.CLEAN_WATER, BasicNeed.SANITATION, BasicNeed.HOUSING)


def visit(follow_up: int, captured_at: datetime, per_person: int = 400_000, **more: Any) -> Cast:
    """The body of a POST /cases/{case_id}/follow-ups: four people who live on two things, and lack none of the four."""
    people = more.pop("people", 4)
    body: Cast = {
        "follow_up": follow_up,
        "visit_id": f"visit-{follow_up}",
        "captured_at": captured_at.isoformat(),
        "people": people,
        "income": [
            {"livelihood": Livelihood.CASUAL_WORK, "monthly_rupiah": per_person * people // 2},
            {"livelihood": Livelihood.OWN_BUSINESS, "monthly_rupiah": per_person * people - per_person * people // 2},
        ],
        "needs": [{"need": need, "met": need in ALL_REQUIRED} for need in BasicNeed],
        "business": {"monthly_turnover_rupiah": 2_000_000, "assets_rupiah": 5_000_000, "workers": 1},
    }
    return body | more


class Story(Scenario):
    """A working set of outcomes' tables."""

    def __init__(self, *events: Event, now: datetime = NOW) -> None:
        super().__init__(TABLES, now)
        self.given(*events)

    def at(self, instant: datetime) -> Self:
        """What is told from now on happened at this instant."""
        self.now = instant
        return self

    def told(self, *facts: Event) -> list[Event]:
        """Folds these facts of other services, each with what outcomes decides on it."""
        return [decided for fact in facts for decided in self._told(fact)]

    def _told(self, fact: Event) -> list[Event]:
        envelope = self.fold(fact)
        reaction = REACTIONS.to(type(fact))
        if reaction is None:
            return []
        people = getattr(fact, "completed", ())
        self._know(fact, people)
        found = {person: Waiting() for person in people}
        decided = reaction.react(Step(fact, envelope, self.rows, found, self.now))
        self.given(*decided)
        return decided

    def _know(self, fact: Event, people: Iterable[str]) -> None:
        """There is no database behind this: what a reaction asks for and nobody told of does not exist."""
        self._know_stream(HOMES, fact.key)
        self._know_stream(PLACEMENTS, fact.key)
        home = self.row(HOMES, fact.key)
        for person in {fact.key, *people, *(() if home is None else home.members)}:
            for table in (PERSONS, CASES, FOLLOW_UPS):
                self._know_stream(table, person)
            if (row := self.row(PERSONS, person)) is not None:
                self._know_stream(HOMES, row.household_id)

    def case(self, person: str) -> Case:
        return self.the(CASES, person)

    def visits(self, person: str) -> list[FollowUp]:
        return self.of_stream(FOLLOW_UPS, person)
