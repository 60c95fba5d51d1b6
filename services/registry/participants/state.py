"""Owns the rows of participants and of the visits to them, and how facts change them."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from contracts.envelope import Envelope, Event
from contracts.registry import (
    AgeBand,
    AreaCode,
    Finding,
    HouseholdId,
    LivingConditions,
    NominationRoute,
    ParticipantCorrected,
    ParticipantNominated,
    ParticipantRejected,
    ParticipantRelocated,
    ParticipantVerified,
    PersonErased,
    PersonId,
    Priority,
    PriorityChanged,
    RejectionReason,
    Sex,
    VerificationAssigned,
    VerificationExpired,
    VisitRecorded,
)
from services.kit.table import Table, one, present, replace, whole_stream
from services.registry.households.state import sealed_under


class ParticipantStatus(StrEnum):
    NOMINATED = "nominated"
    ASSIGNED = "assigned"
    VISITED = "visited"
    VERIFIED = "verified"
    REJECTED = "rejected"
    EXPIRED = "expired"  # was verified; is to be visited again
    ERASED = "erased"  # at the person's wish


@dataclass(frozen=True, slots=True)
class Participant:
    """A person who is considered for the programme, and how far their verification has come.

    What the last visit found counts until the next assignment, which asks for a new visit.
    """

    participant_id: PersonId
    version: int
    household_id: HouseholdId
    area_code: AreaCode
    status: ParticipantStatus
    route: NominationRoute | None  # None only for persons who were erased before anybody nominated them
    sex: Sex
    age_band: AgeBand
    adult: bool
    facilitator_id: str | None
    due_on: date | None
    visits: int  # all there were, of every assignment
    visit_id: str | None
    visited_at: datetime | None
    finding: Finding | None
    willing: bool | None
    can_leave_home: bool | None
    situation_changed: bool | None
    reachable: bool | None
    conditions: LivingConditions | None  # as seen at the door
    verified_at: datetime | None
    expires_at: datetime | None
    priority: Priority | None
    priority_score: int | None
    priority_rule_version: int | None
    rejection: RejectionReason | None
    sealed: str | None
    sealed_by: str | None

    @property
    def is_visited(self) -> bool:
        """Whether a visit waits for somebody to act on it."""
        return self.status is ParticipantStatus.VISITED


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit, as the facilitator's device told it; kept so that a copy of it is known as one."""

    participant_id: PersonId
    visit_id: str
    area_code: AreaCode  # the participant's, so that row-level security needs no join
    facilitator_id: str
    captured_at: datetime
    received_at: datetime
    finding: Finding
    willing: bool
    can_leave_home: bool
    situation_changed: bool
    reachable: bool
    conditions: LivingConditions | None
    sealed: str | None
    sealed_by: str | None


def evolve_participant(participant: Participant | None, event: Event, envelope: Envelope) -> Participant | None:
    match event:
        case ParticipantNominated():
            return _nominated(event, envelope)
        case PersonErased():
            known = participant or _never_nominated(event, envelope)
            return replace(
                known,
                status=ParticipantStatus.ERASED,
                verified_at=None,
                expires_at=None,
                sealed=None,
                sealed_by=None,
            )
        case _:
            return _gone_on(present(participant, envelope), event, envelope)


def _gone_on(participant: Participant, event: Event, envelope: Envelope) -> Participant:
    match event:
        case VerificationAssigned():
            return _assigned(participant, event)
        case VisitRecorded():
            return _visited(participant, event)
        case ParticipantVerified():
            return _verified(participant, event, envelope)
        case ParticipantRejected():
            return replace(
                participant,
                status=ParticipantStatus.REJECTED,
                rejection=event.reason,
                verified_at=None,
                expires_at=None,
            )
        case VerificationExpired():
            return replace(participant, status=ParticipantStatus.EXPIRED, verified_at=None, expires_at=None)
        case PriorityChanged():
            return _prioritised(participant, event.priority)
        case ParticipantRelocated():
            return replace(participant, area_code=event.area_code)
        case ParticipantCorrected():
            return replace(
                participant,
                sex=event.sex,
                age_band=event.age_band,
                adult=event.adult,
                sealed=sealed_under(event, event.participant_id),
                sealed_by=envelope.id,
            )
        case _:
            return participant


def _nominated(event: ParticipantNominated, envelope: Envelope) -> Participant:
    blank = _blank(event.participant_id, event.household_id, event.area_code, envelope)
    return replace(
        blank,
        status=ParticipantStatus.NOMINATED,
        route=event.route,
        sex=event.sex,
        age_band=event.age_band,
        adult=event.adult,
        sealed=sealed_under(event, event.participant_id),
        sealed_by=envelope.id,
    )


def _never_nominated(event: PersonErased, envelope: Envelope) -> Participant:
    return _blank(event.participant_id, event.household_id, event.area_code, envelope)


def _blank(participant_id: PersonId, household_id: HouseholdId, area_code: AreaCode, envelope: Envelope) -> Participant:
    return Participant(
        participant_id=participant_id,
        version=envelope.version,
        household_id=household_id,
        area_code=area_code,
        status=ParticipantStatus.ERASED,
        route=None,
        sex=Sex.UNKNOWN,
        age_band=AgeBand.UNKNOWN,
        adult=False,
        facilitator_id=None,
        due_on=None,
        visits=0,
        visit_id=None,
        visited_at=None,
        finding=None,
        willing=None,
        can_leave_home=None,
        situation_changed=None,
        reachable=None,
        conditions=None,
        verified_at=None,
        expires_at=None,
        priority=None,
        priority_score=None,
        priority_rule_version=None,
        rejection=None,
        sealed=None,
        sealed_by=None,
    )


def _assigned(participant: Participant, event: VerificationAssigned) -> Participant:
    return replace(
        participant,
        status=ParticipantStatus.ASSIGNED,
        facilitator_id=event.facilitator_id,
        due_on=event.due_on,
        visit_id=None,
        visited_at=None,
        finding=None,
        willing=None,
        can_leave_home=None,
        situation_changed=None,
        conditions=None,
    )


def _visited(participant: Participant, event: VisitRecorded) -> Participant:
    visits = participant.visits + 1
    if participant.visited_at is not None and event.captured_at < participant.visited_at:
        # It reached us late: what was found afterwards counts.
        return replace(participant, visits=visits)
    return replace(
        participant,
        status=ParticipantStatus.VISITED,
        visits=visits,
        visit_id=event.visit_id,
        visited_at=event.captured_at,
        finding=event.finding,
        willing=event.willing,
        can_leave_home=event.can_leave_home,
        situation_changed=event.situation_changed,
        reachable=event.reachable,
        conditions=event.conditions,
    )


def _verified(participant: Participant, event: ParticipantVerified, envelope: Envelope) -> Participant:
    verified = replace(
        participant,
        status=ParticipantStatus.VERIFIED,
        verified_at=event.verified_at,
        expires_at=event.expires_at,
        sex=event.sex,
        age_band=event.age_band,
        adult=event.adult,
        can_leave_home=event.can_leave_home,
        reachable=event.reachable,
        sealed=sealed_under(event, event.participant_id),
        sealed_by=envelope.id,
    )
    return _prioritised(verified, event.priority)


def _prioritised(participant: Participant, priority: Priority) -> Participant:
    return replace(
        participant,
        priority=priority,
        priority_score=priority.score,
        priority_rule_version=priority.rule_version,
    )


def evolve_visit(visit: Visit | None, event: Event, envelope: Envelope, visit_id: str) -> Visit | None:
    match event:
        case VisitRecorded():
            sealed = sealed_under(event, event.participant_id)
            return Visit(
                participant_id=event.participant_id,
                visit_id=visit_id,
                area_code=event.area_code,
                facilitator_id=event.facilitator_id,
                captured_at=event.captured_at,
                received_at=event.received_at,
                finding=event.finding,
                willing=event.willing,
                can_leave_home=event.can_leave_home,
                situation_changed=event.situation_changed,
                reachable=event.reachable,
                conditions=event.conditions,
                sealed=sealed,
                sealed_by=envelope.id if sealed is not None else None,
            )
        case ParticipantRelocated():
            return replace(present(visit, envelope), area_code=event.area_code)
        case PersonErased():
            return replace(present(visit, envelope), sealed=None, sealed_by=None)
        case _:
            return visit


PARTICIPANTS = Table(
    "participant",
    Participant,
    topic="registry.participants",
    key=("participant_id",),
    evolve=evolve_participant,
    head=True,
)
VISITS = Table(
    "visit",
    Visit,
    topic="registry.participants",
    key=("participant_id", "visit_id"),
    evolve=evolve_visit,
    touches={VisitRecorded: one("visit_id"), ParticipantRelocated: whole_stream, PersonErased: whole_stream},
)
