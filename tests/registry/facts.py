"""Facts and rows as the registry's tests tell them: one household of a mother, a father and a child in Lombok Barat."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from contracts.envelope import Event, PersonalRecord, Sealing
from contracts.registry import (
    AgeBand,
    Finding,
    HouseholdDetails,
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
    VisitRecorded,
)
from services.registry.households.state import HOUSEHOLDS, MEMBERS, Household, HouseholdMember
from services.registry.participants.commands import RecordVisit
from services.registry.participants.state import PARTICIPANTS, VISITS, Participant, Visit
from services.registry.rules.decisions import PROJECT_DEFAULTS, adopt
from services.registry.rules.state import RULES, Rule
from services.registry.state import TABLES
from tests.support.scenario import NOW, Scenario

TODAY = date(2024, 7, 8)
VILLAGE = "52.01.01.2002"  # Kebon Ayu
OTHER_VILLAGE = "52.01.01.2003"  # Gapuk
HOME = "h-1"
MOTHER, FATHER, CHILD = "p-mother", "p-father", "p-child"
FACILITATOR = "facilitator-7"

RANK = Rank(source="P3KE", snapshot_id="s-1", dated=date(2024, 1, 1), welfare_decile=1, welfare_percentile=2)
CONDITIONS = LivingConditions(
    latrine="Tidak, Jamban Umum/Bersama", drinking_water="Sumur Bor", social_assistance=("PKH",), stunting_risk=True
)
EVIDENCE = ListEvidence(file_digest="ab" * 32, row=2)
DETAILS = {
    MOTHER: PersonDetails(name="Inaq Sari", national_id="5270014107800000", birth_date=date(1980, 7, 1)),
    FATHER: PersonDetails(name="Amaq Sari", national_id="5270010101780000", birth_date=date(1978, 1, 1)),
    CHILD: PersonDetails(name="Sari", birth_date=date(2015, 3, 2)),
}
ADDRESS = HouseholdDetails(address="Dusun Karang Anyar", source_family_id="K-0001")


def listed(household_id: str = HOME, *, area_code: str = VILLAGE, rank: Rank = RANK, **more: Any) -> HouseholdListed:
    members = (
        Member(person_id=MOTHER, head=True, sex=Sex.FEMALE, age_band=AgeBand.FROM_22, adult=True),
        Member(person_id=FATHER, head=False, sex=Sex.MALE, age_band=AgeBand.FROM_22, adult=True),
        Member(person_id=CHILD, head=False, sex=Sex.FEMALE, age_band=AgeBand.FROM_7, adult=False),
    )
    facts: dict[str, Any] = {
        "household_id": household_id,
        "area_code": area_code,
        "rank": rank,
        "evidence": EVIDENCE,
        "conditions": CONDITIONS,
        "members": members,
        "personal": {household_id: ADDRESS, **DETAILS},
    }
    return HouseholdListed(**(facts | more))


def nominated(person_id: str = MOTHER) -> ParticipantNominated:
    return ParticipantNominated(
        participant_id=person_id,
        household_id=HOME,
        area_code=VILLAGE,
        route=NominationRoute.TARGETING_LIST,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        personal={person_id: DETAILS.get(person_id, PersonDetails(name="Somebody"))},
    )


def assigned(person_id: str = MOTHER, facilitator_id: str = FACILITATOR) -> VerificationAssigned:
    return VerificationAssigned(
        participant_id=person_id, facilitator_id=facilitator_id, due_on=TODAY + timedelta(days=7)
    )


def visit(**more: Any) -> RecordVisit:
    """What a device sends."""
    wish: dict[str, Any] = {
        "visit_id": "v-1",
        "captured_at": NOW - timedelta(hours=3),
        "finding": Finding.MATCHED,
        "willing": True,
        "can_leave_home": True,
        "reachable": True,
    }
    return RecordVisit(**(wish | more))


def visited(person_id: str = MOTHER, **more: Any) -> VisitRecorded:
    facts: dict[str, Any] = {
        "participant_id": person_id,
        "visit_id": "v-1",
        "area_code": VILLAGE,
        "facilitator_id": FACILITATOR,
        "captured_at": NOW - timedelta(hours=3),
        "received_at": NOW - timedelta(hours=2),
        "finding": Finding.MATCHED,
        "willing": True,
        "can_leave_home": True,
        "situation_changed": False,
        "reachable": True,
    }
    return VisitRecorded(**(facts | more))


PRIORITY = Priority(
    score=40,
    parts=(PriorityPart(name="poorest decile", points=40, because="welfare_decile is 1"),),
    rule_id="priority",
    rule_version=1,
)


def verified(person_id: str = MOTHER, *, expires_at: datetime = NOW + timedelta(days=365)) -> ParticipantVerified:
    return ParticipantVerified(
        participant_id=person_id,
        household_id=HOME,
        area_code=VILLAGE,
        visit_id="v-1",
        verified_at=NOW - timedelta(hours=1),
        expires_at=expires_at,
        priority=PRIORITY,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        can_leave_home=True,
        reachable=True,
        rule_id="verification",
        rule_version=1,
        personal={person_id: DETAILS.get(person_id, PersonDetails(name="Somebody"))},
    )


TO_VISITED: tuple[Event, ...] = (listed(), nominated(), assigned(), visited())
TO_VERIFIED: tuple[Event, ...] = (*TO_VISITED, verified())


class Story(Scenario):
    """What facts make of the tables, told of the one household."""

    def __init__(self, *events: Event) -> None:
        super().__init__(TABLES, NOW)
        self.given(*events)

    @property
    def household(self) -> Household:
        return self.the(HOUSEHOLDS, HOME)

    def member(self, person_id: str = MOTHER) -> HouseholdMember:
        return self.the(MEMBERS, HOME, person_id)

    @property
    def members(self) -> list[HouseholdMember]:
        return self.of_stream(MEMBERS, HOME)

    def participant(self, person_id: str = MOTHER) -> Participant:
        return self.the(PARTICIPANTS, person_id)

    def visit(self, visit_id: str = "v-1", person_id: str = MOTHER) -> Visit | None:
        return self.row(VISITS, person_id, visit_id)

    def rule(self, kind: str) -> Rule:
        return self.the(RULES, kind)


def default_rules() -> list[Event]:
    return [event for default in PROJECT_DEFAULTS.values() for event in adopt(None, default)]


def records_of(events: Iterable[Event]) -> list[PersonalRecord | str]:
    """What events would seal, in order."""
    return [record for event in events if isinstance(event, Sealing) for record in event.personal.values()]
