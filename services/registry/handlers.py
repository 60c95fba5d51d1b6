"""Kafka in: what the civil registry (Dukcapil) publishes becomes facts about our households and participants."""

from contracts.envelope import Event
from contracts.partners import DeathRecorded, HouseholdMoved, IdentityMatched
from contracts.registry import RejectionReason
from services.kit.reactions import Partner, Reactions, Step
from services.registry.households import decisions as households
from services.registry.households.state import HOUSEHOLDS, MEMBERS, Household, HouseholdMember
from services.registry.participants import decisions as participants
from services.registry.participants.queries import households_meant
from services.registry.participants.state import PARTICIPANTS, Participant
from services.registry.search import Listed

PARTNERS = (Partner(topic="partners.dukcapil", system="dukcapil", source="urn:dukcapil"),)
REACTIONS = Reactions()

Found = dict[str, list[Listed]]


@REACTIONS.on(IdentityMatched, loads=households_meant)
def record_the_identity_check_when_dukcapil_matched(step: Step[IdentityMatched, Found]) -> list[Event]:
    _, member = _meant(step)
    return households.record_identity(member, step.event.matched)


@REACTIONS.on(DeathRecorded, loads=households_meant)
def let_the_member_leave_when_dukcapil_recorded_a_death(step: Step[DeathRecorded, Found]) -> list[Event]:
    household, member = _meant(step)
    return [
        *households.record_death(household, member, step.event.died_on, step.now),
        *participants.reject_if_still_in(_participant(step, member), RejectionReason.DECEASED),
    ]


@REACTIONS.on(HouseholdMoved, loads=households_meant)
def move_household_and_participants_when_dukcapil_recorded_a_move(step: Step[HouseholdMoved, Found]) -> list[Event]:
    household, head = _meant(step)
    village = households.destination(household, head, step.event.to_area_code, step.event.moved_on, step.now)
    return [*households.move(household, village), *participants.follow(_participants_of(step, household), village)]


def _meant(
    step: Step[IdentityMatched, Found] | Step[DeathRecorded, Found] | Step[HouseholdMoved, Found],
) -> tuple[Household, HouseholdMember]:
    candidates = []
    for listed in step.found.get(step.event.national_id, ()):
        household = step.rows.get(HOUSEHOLDS, listed.household_id)
        member = step.rows.get(MEMBERS, listed.household_id, listed.person_id)
        # An index that was made from another database may name somebody who is not listed here.
        if household is not None and member is not None:
            candidates.append((household, member))
    return households.the_one_meant(step.event.national_id, candidates)


def _participant(step: Step[DeathRecorded, Found], member: HouseholdMember) -> Participant | None:
    return step.rows.get(PARTICIPANTS, member.person_id)


def _participants_of(step: Step[HouseholdMoved, Found], household: Household) -> list[Participant]:
    members = households.living_members(step.rows.of_stream(MEMBERS, household.household_id))
    found = [step.rows.get(PARTICIPANTS, member.person_id) for member in members]
    return [participant for participant in found if participant is not None]
