"""Owns the rows of cooperatives: the last sign of life of each, and which participants it took in."""

from dataclasses import dataclass
from datetime import date

from contracts import areas
from contracts.areas import AreaCode
from contracts.envelope import Envelope, Event
from contracts.outcomes import AnnualMeetingRecorded, CooperativeNumber, InterventionId, MemberRecruited
from contracts.registry import PersonId
from services.kit.table import Table, one, replace


@dataclass(frozen=True, slots=True)
class Cooperative:
    """What is known of a cooperative. Before its first annual members' meeting (RAT) is reported that is its number."""

    cooperative_number: CooperativeNumber
    version: int
    area_code: AreaCode  # the province as long as nobody told where its seat is
    name: str | None
    meeting_year: int | None  # the business year that the last meeting was about
    meeting_held_on: date | None
    members: int | None  # at the last meeting
    net_surplus_rupiah: int | None  # SHU of that year; below 0 is a loss
    recruited: int  # participants of the programme who were taken in


@dataclass(frozen=True, slots=True)
class CooperativeMember:
    """A participant of the programme whom a cooperative took in."""

    cooperative_number: CooperativeNumber
    participant_id: PersonId
    intervention_id: InterventionId
    joined_on: date


def evolve_cooperative(cooperative: Cooperative | None, event: Event, envelope: Envelope) -> Cooperative | None:
    cooperative = cooperative or _unknown(envelope)
    match event:
        case AnnualMeetingRecorded() if _is_last(cooperative, event):
            return replace(
                cooperative,
                area_code=event.area_code,
                name=event.name,
                meeting_year=event.year,
                meeting_held_on=event.held_on,
                members=event.members,
                net_surplus_rupiah=event.net_surplus_rupiah,
            )
        case MemberRecruited():
            return replace(cooperative, recruited=cooperative.recruited + 1)
        case _:
            return cooperative


def _unknown(envelope: Envelope) -> Cooperative:
    return Cooperative(
        cooperative_number=envelope.key,
        version=envelope.version,
        area_code=areas.NTB,
        name=None,
        meeting_year=None,
        meeting_held_on=None,
        members=None,
        net_surplus_rupiah=None,
        recruited=0,
    )


def _is_last(cooperative: Cooperative, event: AnnualMeetingRecorded) -> bool:
    """Reports may come late: the meeting about the latest year counts, and of one year the one that was held last."""
    if cooperative.meeting_year is None or cooperative.meeting_held_on is None:
        return True
    return (event.year, event.held_on) >= (cooperative.meeting_year, cooperative.meeting_held_on)


def evolve_cooperative_member(
    member: CooperativeMember | None, event: Event, _envelope: Envelope, participant_id: PersonId
) -> CooperativeMember | None:
    assert isinstance(event, MemberRecruited)
    return member or CooperativeMember(event.cooperative_number, participant_id, event.intervention_id, event.joined_on)


COOPERATIVES = Table(
    "cooperative",
    Cooperative,
    topic="outcomes.cooperatives",
    key=("cooperative_number",),
    evolve=evolve_cooperative,
    head=True,
)
COOPERATIVE_MEMBERS = Table(
    "cooperative_member",
    CooperativeMember,
    topic="outcomes.cooperatives",
    key=("cooperative_number", "participant_id"),
    evolve=evolve_cooperative_member,
    touches={MemberRecruited: one("participant_id")},
)
