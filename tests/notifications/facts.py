"""Facts as notifications' tests tell them: a cohort of July 2024 in Nusa Tenggara Barat, and people who are to know."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.envelope import Envelope, Event
from contracts.notifications import NotificationRuleAdopted, TemplateAdopted
from contracts.outcomes import AppliedRule, CaseOpened, FollowUpDue
from contracts.registry import (
    AgeBand,
    NominationRoute,
    ParticipantNominated,
    ParticipantVerified,
    PersonDetails,
    Priority,
    PriorityPart,
    Sex,
    VerificationAssigned,
)
from contracts.training import (
    CohortPlanned,
    CompletionRule,
    DeliveryMode,
    ParticipantCompleted,
    ParticipantEnrolled,
    ParticipantReplaced,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.reactions import Step
from services.notifications.defaults import RULES_TO_ADOPT, TEMPLATES_TO_ADOPT
from services.notifications.deliveries.state import DELIVERIES, Delivery
from services.notifications.facts import name_of
from services.notifications.handlers import REACTIONS, Rulebook
from services.notifications.rules.state import RULES
from services.notifications.state import TABLES
from services.notifications.templates.state import TEMPLATES
from tests.support.scenario import Scenario

NOW = datetime(2024, 7, 1, 1, 5, tzinfo=UTC)  # Monday, 1 July 2024, 09.05 in Mataram
DAYS = tuple(date(2024, 7, 8) + timedelta(days=n) for n in range(5))
CONFIRM_BY = date(2024, 7, 5)
REMINDED_AT = datetime(2024, 7, 6, 0, 0, tzinfo=UTC)  # 08.00 WITA two days before
VILLAGE = "52.01.01.2002"  # Kebon Ayu, Gerung
IN_LOMBOK_TIMUR = "52.03.01.2001"
COHORT, OTHER_COHORT = "cohort-1", "cohort-2"
PHONE = "+6281234567890"
NIK = "5270010101900001"


def priority() -> Priority:
    part = PriorityPart(name="poorest decile", points=40, because="welfare_decile is 1")
    return Priority(score=40, parts=(part,), rule_id="priority", rule_version=1)


# --- From the registry ------------------------------------------------------------------------------------------------


def details(person: str, **changes: Any) -> PersonDetails:
    known = {"name": f"{person.title()} Lestari", "national_id": NIK, "phone": PHONE} | changes
    return PersonDetails(**known)


def nominated(person: str, *, area_code: str = VILLAGE, **changes: Any) -> ParticipantNominated:
    return ParticipantNominated(
        participant_id=person,
        household_id=f"home-of-{person}",
        area_code=area_code,
        route=NominationRoute.TARGETING_LIST,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        personal={person: details(person, **changes)},
    )


def assigned(person: str, *, to: str = "facilitator-1", due_on: date = date(2024, 7, 10)) -> VerificationAssigned:
    return VerificationAssigned(participant_id=person, facilitator_id=to, due_on=due_on)


def verified(person: str, **changes: Any) -> ParticipantVerified:
    return ParticipantVerified(
        participant_id=person,
        household_id=f"home-of-{person}",
        area_code=VILLAGE,
        visit_id=f"visit-of-{person}",
        verified_at=NOW,
        expires_at=NOW + timedelta(days=365),
        priority=priority(),
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        can_leave_home=True,
        reachable=True,
        rule_id="verification",
        rule_version=1,
        personal={person: details(person, **changes)},
    )


# --- From training ----------------------------------------------------------------------------------------------------


def planned(cohort_id: str = COHORT, *, venue: str = "Balatkop NTB, Mataram", title: str = "Kuliner") -> CohortPlanned:
    return CohortPlanned(
        cohort_id=cohort_id,
        number="P3KE-2024-01",
        programme_id="programme-1",
        course_id="course-1",
        course_title=title,
        capacity=30,
        delivery_mode=DeliveryMode.CLASSROOM,
        area_code="52.71",
        venue=venue,
        days=DAYS,
        confirm_by=CONFIRM_BY,
    )


def enrolled(person: str, place: int = 1, cohort_id: str = COHORT, *, area_code: str = VILLAGE) -> ParticipantEnrolled:
    return ParticipantEnrolled(
        cohort_id=cohort_id,
        participant_id=person,
        area_code=area_code,
        place=place,
        priority=priority(),
        confirm_by=CONFIRM_BY,
    )


def replaced(person: str, replaces: str, place: int = 1, cohort_id: str = COHORT) -> ParticipantReplaced:
    return ParticipantReplaced(
        cohort_id=cohort_id,
        participant_id=person,
        area_code=VILLAGE,
        place=place,
        replaces=replaces,
        priority=priority(),
        confirm_by=CONFIRM_BY,
    )


def withdrawn(person: str, cohort_id: str = COHORT) -> ParticipantWithdrawn:
    return ParticipantWithdrawn(
        cohort_id=cohort_id, participant_id=person, reason=WithdrawalReason.CANNOT_LEAVE_CHILDREN, place=1
    )


def completed(person: str, cohort_id: str = COHORT) -> ParticipantCompleted:
    rule = CompletionRule(rule_id="completion", rule_version=1, minimum_attendance_percent=80)
    return ParticipantCompleted(cohort_id=cohort_id, participant_id=person, attendance_percent=92, rule=rule)


# --- From outcomes ----------------------------------------------------------------------------------------------------


def case_opened(person: str) -> CaseOpened:
    return CaseOpened(
        case_id=person,
        participant_id=person,
        cohort_id=COHORT,
        course_id="course-1",
        delivery_mode=DeliveryMode.CLASSROOM,
        completed_on=DAYS[-1],
        completed_at=NOW,
        area_code=VILLAGE,
    )


def follow_up_due(person: str, months: int = 1, *, to: str | None = "facilitator-1") -> FollowUpDue:
    return FollowUpDue(
        case_id=person,
        follow_up=months,
        due_on=date(2024, 8, 12),
        missed_after=date(2024, 8, 26),
        participant_id=person,
        facilitator_id=to,
    )


def applied() -> AppliedRule:
    return AppliedRule(rule_id="follow_up_plan", rule_version=1)


# --- Its own ----------------------------------------------------------------------------------------------------------


def adopted(rule_id: str, /, **changes: Any) -> NotificationRuleAdopted:
    """The project's default rule of this name, with changes."""
    command = next(rule for rule in RULES_TO_ADOPT if rule.rule_id == rule_id)
    return NotificationRuleAdopted(**({"rule_version": 1} | command.model_dump() | changes))


def worded(template_id: str, /, **changes: Any) -> TemplateAdopted:
    """The project's default template of this name, with changes."""
    command = next(template for template in TEMPLATES_TO_ADOPT if template.template_id == template_id)
    return TemplateAdopted(**({"template_version": 1} | command.model_dump() | changes))


def defaults() -> list[Event]:
    return [worded(t.template_id) for t in TEMPLATES_TO_ADOPT] + [adopted(r.rule_id) for r in RULES_TO_ADOPT]


# --- Told in memory ---------------------------------------------------------------------------------------------------


class Story(Scenario):
    """Facts folded in memory, each with what its reaction decided folded after it."""

    def __init__(self, *facts: Event, now: datetime = NOW) -> None:
        super().__init__(TABLES, now)
        self.read_before: set[str] = set()
        self.given(*facts)

    def told(self, *facts: Event) -> list[Event]:
        """What notifications decides on facts of others, in this order."""
        return [decided for fact in facts for decided in self.react(fact, self.fold(fact))]

    def arrive(self, fact: Event, envelope: Envelope, *, react: bool = True) -> list[Event]:
        """What is decided on a fact that was published before, with its own id and time."""
        self._make_known(fact)
        self.rows.fold(fact, envelope)
        return self.react(fact, envelope) if react else []

    def react(self, fact: Event, envelope: Envelope) -> list[Event]:
        reaction = REACTIONS.to(type(fact))
        if reaction is None:
            return []
        decided = reaction.react(Step(fact, envelope, self.rows, self.rulebook(fact), self.now))
        self.given(*decided)
        return decided

    def rulebook(self, fact: Event) -> Rulebook:
        names = {e.key for e, _ in self.events if e.topic == RULES.topic}
        rules = [self.the(RULES, name) for name in sorted(names)]
        templates = {e.key: self.the(TEMPLATES, e.key) for e, _ in self.events if e.topic == TEMPLATES.topic}
        about = [rule for rule in rules if rule.fact == name_of(type(fact))]
        return Rulebook(about, templates, frozenset(self.read_before))

    def deliveries(self) -> list[Delivery]:
        ids = dict.fromkeys(e.key for e, _ in self.events if e.topic == DELIVERIES.topic)
        return [self.the(DELIVERIES, id_) for id_ in ids]

    def delivery(self, rule_id: str, recipient_id: str | None = None) -> Delivery:
        [found] = [d for d in self.deliveries() if d.rule_id == rule_id and recipient_id in (None, d.recipient_id)]
        return found


def of(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
