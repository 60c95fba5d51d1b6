"""Owns a participant's way from nomination to verification, and what ends it. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from contracts.envelope import Event
from contracts.registry import (
    AreaCode,
    Finding,
    LivingConditions,
    MemberCorrected,
    NominationRoute,
    ParticipantCorrected,
    ParticipantNominated,
    ParticipantRejected,
    ParticipantRelocated,
    ParticipantVerified,
    PersonDetails,
    PersonErased,
    Priority,
    PriorityChanged,
    Rank,
    RejectionReason,
    VerificationAssigned,
    VerificationExpired,
    VisitNotes,
    VisitRecorded,
)
from services.kit.refusal import FieldProblem, Refused
from services.registry.households.decisions import is_served, today_in_wita
from services.registry.households.state import Household, HouseholdMember
from services.registry.participants.commands import Assign, RecordVisit
from services.registry.participants.state import Participant, ParticipantStatus, Visit
from services.registry.rules import decisions as rules
from services.registry.rules.state import Rule

FAST_DEVICE_CLOCK = timedelta(minutes=5)
"""How far ahead a facilitator's device may run before its time is refused."""

_NEEDS_A_NEW_VISIT = (
    ParticipantStatus.NOMINATED,
    ParticipantStatus.ASSIGNED,
    ParticipantStatus.VISITED,
    ParticipantStatus.EXPIRED,
)
_UNDER_WAY = (ParticipantStatus.ASSIGNED, ParticipantStatus.VISITED)
_ENDED = (ParticipantStatus.REJECTED, ParticipantStatus.ERASED)

# --- Nominating and assigning -----------------------------------------------------------------------------------------


def refuse_past_due_date(due_on: date, now: datetime) -> None:
    if due_on < today_in_wita(now):
        problem = FieldProblem("body.due_on", "lies in the past", "Give today or a later day.")
        raise Refused("due-in-the-past", "A visit cannot be due in the past.", status=422, fields=[problem])


def assign(
    household: Household,
    member: HouseholdMember,
    participant: Participant | None,
    details: PersonDetails | None,
    command: Assign,
) -> list[Event]:
    """Asks a facilitator for a visit, and nominates the person first if nobody has.

    `details` is who a person is who is to be nominated. Refuses for who left, who is verified, rejected or erased, and
    for households that are not on a list.
    """
    if participant is not None:
        _refuse_ended(participant)
    if member.has_left:
        raise Refused("member-left", "The person belongs to the household no longer.")
    if not household.is_listed:
        raise Refused(
            "household-delisted",
            "The person's household is on no list.",
            remedy="Choose persons of listed households; a household comes back with a list that names it.",
        )
    asked = VerificationAssigned(
        participant_id=member.person_id, facilitator_id=command.facilitator_id, due_on=command.due_on
    )
    if participant is None:
        return [_nominated(member, details, command.route), asked]
    if participant.status not in _NEEDS_A_NEW_VISIT:
        raise Refused(
            "already-verified",
            f"The participant is verified until {_day(participant.expires_at)}.",
            remedy="Wait until the verification expires, or reject the participant.",
        )
    return [asked]


def _nominated(member: HouseholdMember, details: PersonDetails | None, route: NominationRoute) -> ParticipantNominated:
    if details is None:
        raise _erased()
    return ParticipantNominated(
        participant_id=member.person_id,
        household_id=member.household_id,
        area_code=member.area_code,
        route=route,
        sex=member.sex,
        age_band=member.age_band,
        adult=member.adult,
        personal={member.person_id: details},
    )


# --- Visiting ---------------------------------------------------------------------------------------------------------


def record_visit(
    participant: Participant, known: Visit | None, command: RecordVisit, facilitator_id: str, now: datetime
) -> list[Event]:
    """What the assigned facilitator found; nothing for a copy of a visit that is known.

    Refuses another facilitator's visit, one that is still to come, one under an id that another visit bears, and one
    that nobody asked for.
    """
    if known is not None:
        _refuse_difference(known, command, facilitator_id)
        return []
    _refuse_ended(participant)
    if participant.status not in _UNDER_WAY:
        raise Refused(
            "no-visit-asked-for",
            f"The participant is {participant.status}; no visit is to be made now.",
            remedy="An officer assigns the participant first (POST /assignments).",
        )
    if participant.facilitator_id != facilitator_id:
        raise Refused(
            "another-facilitator",
            "The participant is assigned to another facilitator.",
            status=403,
            remedy="Ask an officer to assign the participant to you.",
        )
    if command.captured_at > now + FAST_DEVICE_CLOCK:
        problem = FieldProblem("body.captured_at", "lies in the future", "Set the device's clock, then send it again.")
        raise Refused("visit-in-the-future", "A visit cannot lie in the future.", status=422, fields=[problem])
    notes = command.to_seal
    return [
        VisitRecorded(
            participant_id=participant.participant_id,
            visit_id=command.visit_id,
            area_code=participant.area_code,
            facilitator_id=facilitator_id,
            captured_at=command.captured_at,
            received_at=now,
            finding=command.finding,
            willing=command.willing,
            can_leave_home=command.can_leave_home,
            situation_changed=command.situation_changed,
            reachable=command.reachable,
            conditions=command.seen,
            personal={} if notes is None else {participant.participant_id: notes},
        )
    ]


def _refuse_difference(known: Visit, command: RecordVisit, facilitator_id: str) -> None:
    """What is sealed is not compared: nobody opens a person's data to look for a copy."""
    compared = ("captured_at", "finding", "willing", "can_leave_home", "situation_changed", "reachable")
    differing = [name for name in compared if getattr(known, name) != getattr(command, name)]
    if known.conditions != command.seen:
        differing.append("conditions")
    if known.facilitator_id != facilitator_id:
        differing.append("visit_id")
    if differing:
        raise Refused(
            "visit-differs",
            "Another visit is recorded under this visit_id.",
            fields=[FieldProblem(f"body.{name}", "differs from what is recorded") for name in differing],
            remedy="Give a new visit its own visit_id; to mend a visit, visit again.",
        )


# --- Verifying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RulesInForce:
    priority: Rule
    verification: Rule


def rules_in_force(priority: Rule | None, verification: Rule | None) -> RulesInForce:
    """Refuses while one is missing: a verification without a rule could not be accounted for."""
    return RulesInForce(
        priority=rules.in_force(priority, rules.PRIORITY),
        verification=rules.in_force(verification, rules.VERIFICATION),
    )


def verify(
    participant: Participant,
    household: Household,
    head: HouseholdMember | None,
    details: PersonDetails | None,
    notes: VisitNotes | None,
    in_force: RulesInForce,
    now: datetime,
) -> list[Event]:
    """The participant is who the list says, and takes part. What was seen holds from the visit on.

    Refuses unless the last visit found them, willing, not too long ago, and the household is on a list.
    """
    _refuse_ended(participant)
    _refuse_what_the_visit_does_not_bear_out(participant)
    if not household.is_listed:
        raise Refused("household-delisted", "The participant's household is on no list any more.")
    if details is None:
        raise _erased()
    assert participant.visit_id is not None
    assert participant.visited_at is not None
    expires_at = participant.visited_at + timedelta(days=rules.holds_days(in_force.verification))
    if expires_at <= now:
        raise Refused(
            "visit-too-old",
            f"What the visit found held until {_day(expires_at)}.",
            remedy="Assign the participant again for a new visit.",
        )
    if notes is not None and notes.phone is not None:
        details = details.model_copy(update={"phone": notes.phone})
    return [
        ParticipantVerified(
            participant_id=participant.participant_id,
            household_id=participant.household_id,
            area_code=participant.area_code,
            visit_id=participant.visit_id,
            verified_at=now,
            expires_at=expires_at,
            priority=priority_of(participant, household, head, household.rank, in_force.priority),
            sex=participant.sex,
            age_band=participant.age_band,
            adult=participant.adult,
            can_leave_home=participant.can_leave_home is True,
            reachable=participant.reachable is True,
            rule_id=in_force.verification.rule_id,
            rule_version=in_force.verification.rule_version,
            personal={participant.participant_id: details},
        )
    ]


def _refuse_what_the_visit_does_not_bear_out(participant: Participant) -> None:
    if participant.status is ParticipantStatus.VERIFIED:
        raise Refused("already-verified", f"The participant is verified until {_day(participant.expires_at)}.")
    if participant.status is not ParticipantStatus.VISITED:
        raise Refused(
            "not-visited",
            f"The participant is {participant.status}; nobody has visited them since.",
            remedy="Record the facilitator's visit first.",
        )
    if participant.finding is not Finding.MATCHED:
        raise Refused(
            "not-matched",
            f"The visit found: {participant.finding}.",
            remedy="Reject the participant with this reason, or assign them again for another visit.",
        )
    if not participant.willing:
        raise Refused("not-willing", "The person does not want to take part.", remedy="Reject with not_willing.")


# --- Ending -----------------------------------------------------------------------------------------------------------


def reject(participant: Participant, reason: RejectionReason) -> list[Event]:
    """Takes the person out, verified or not; names the visit that found the reason."""
    _refuse_ended(participant)
    found = participant.visit_id if participant.finding is not None and participant.finding == str(reason) else None
    return [ParticipantRejected(participant_id=participant.participant_id, reason=reason, visit_id=found)]


def reject_if_still_in(participant: Participant | None, reason: RejectionReason) -> list[Event]:
    """What a fact of the civil registry does to somebody who may be a participant; nothing if they are none."""
    if participant is None or participant.status in _ENDED:
        return []
    return reject(participant, reason)


def expire(participant: Participant, now: datetime) -> list[Event]:
    """The verification is over once its time is; nothing before, and nothing for who is not verified."""
    if participant.status is not ParticipantStatus.VERIFIED:
        return []
    assert participant.verified_at is not None
    assert participant.expires_at is not None
    if participant.expires_at > now:
        return []
    return [
        VerificationExpired(
            participant_id=participant.participant_id,
            verified_at=participant.verified_at,
            expired_at=participant.expires_at,
        )
    ]


def erase(participant: Participant | None, member: HouseholdMember, basis: str) -> list[Event]:
    """The person is forgotten, whether or not anybody ever nominated them. Nothing if they are already."""
    if participant is not None and participant.status is ParticipantStatus.ERASED:
        return []
    return [
        PersonErased(
            participant_id=member.person_id,
            household_id=member.household_id,
            area_code=member.area_code,
            basis=basis,
        )
    ]


# --- Keeping up with the household ------------------------------------------------------------------------------------


def follow(participants: Collection[Participant], village: AreaCode) -> list[Event]:
    """Participants go where their household goes; where nobody is served, they take part no longer."""
    if is_served(village):
        return relocate(participants, village)
    return [event for who in participants for event in reject_if_still_in(who, RejectionReason.MOVED)]


def relocate(participants: Collection[Participant], area_code: AreaCode) -> list[Event]:
    """Participants live where their household does, whatever their status."""
    return [
        ParticipantRelocated(participant_id=participant.participant_id, area_code=area_code)
        for participant in participants
        if participant.area_code != area_code
    ]


def correct(participant: Participant | None, corrected: MemberCorrected) -> list[Event]:
    """The same correction on the participant's own stream; nothing for who is no participant."""
    if participant is None or participant.status is ParticipantStatus.ERASED:
        return []
    return [
        ParticipantCorrected(
            participant_id=participant.participant_id,
            sex=corrected.sex,
            age_band=corrected.age_band,
            adult=corrected.adult,
            personal={participant.participant_id: corrected.personal[corrected.person_id]},
        )
    ]


def reprioritise(
    participant: Participant, household: Household, head: HouseholdMember | None, rank: Rank, rule: Rule | None
) -> list[Event]:
    """A verified participant's priority under another rank or rule; nothing if it stays the same.

    Without a rule in force nobody can be verified, so there is nothing to change.
    """
    if participant.status is not ParticipantStatus.VERIFIED or rule is None:
        return []
    priority = priority_of(participant, household, head, rank, rule)
    if priority == participant.priority:
        return []
    return [PriorityChanged(participant_id=participant.participant_id, priority=priority)]


def priority_of(
    participant: Participant, household: Household, head: HouseholdMember | None, rank: Rank, rule: Rule
) -> Priority:
    """What a rule makes of a participant; what was seen at the door goes before what the list says."""
    seen, listed = participant.conditions or LivingConditions(), household.conditions
    return rules.prioritise(
        rule,
        rules.Situation(
            welfare_decile=rank.welfare_decile,
            welfare_percentile=rank.welfare_percentile,
            people=household.people,
            head_age_band=None if head is None else head.age_band,
            head_sex=None if head is None else head.sex,
            age_band=participant.age_band,
            sex=participant.sex,
            latrine=seen.latrine or listed.latrine,
            drinking_water=seen.drinking_water or listed.drinking_water,
            stunting_risk=listed.stunting_risk if seen.stunting_risk is None else seen.stunting_risk,
            receives_assistance=bool(seen.social_assistance or listed.social_assistance),
            can_leave_home=participant.can_leave_home,
            situation_changed=participant.situation_changed,
        ),
    )


# --- Common refusals --------------------------------------------------------------------------------------------------


def _refuse_ended(participant: Participant) -> None:
    if participant.status is ParticipantStatus.ERASED:
        raise _erased()
    if participant.status is ParticipantStatus.REJECTED:
        raise Refused(
            "already-rejected",
            f"The participant was rejected: {participant.rejection}.",
            remedy="Nothing more can be done for them here; another member of the household may be nominated.",
        )


def _erased() -> Refused:
    return Refused(
        "person-erased", "The person's data were erased at their wish; they take part no longer.", status=410
    )


def _day(instant: datetime | None) -> str:
    return "an unknown day" if instant is None else today_in_wita(instant).isoformat()
