"""What a cooperative's annual members' meeting (RAT) tells of it. Pure."""

from datetime import date, datetime

from contracts import areas
from contracts.envelope import Event
from contracts.outcomes import AnnualMeetingRecorded
from contracts.partners import AnnualMeetingHeld
from services.kit.refusal import FieldProblem
from services.outcomes import checks
from services.outcomes.calendar import day_of, months_after
from services.outcomes.cooperatives.state import Cooperative

OVERDUE_AFTER_MONTHS = 18
"""A cooperative meets at least once a year, and within six months after the business year that it reports on (UU
25/1992, art. 26). So after a meeting early in one year the next one may come as late as the middle of the year after;
once 18 months have passed, a meeting has been missed."""

FIRST_YEAR = 1945


def record_meeting(known: Cooperative | None, fact: AnnualMeetingHeld, now: datetime) -> list[Event]:
    """The meeting, by our codes. Nothing if it is known as the last one; refuses a message with all that is wrong."""
    checks.refuse(_problems_in(fact, now))
    area_code = areas.normalise(fact.area_code)
    if known is not None and _as_known(known) == (
        fact.name,
        area_code,
        fact.year,
        fact.held_on,
        fact.members,
        fact.net_surplus_rupiah,
    ):
        return []
    return [
        AnnualMeetingRecorded(
            cooperative_number=fact.cooperative_number,
            name=fact.name,
            area_code=area_code,
            year=fact.year,
            held_on=fact.held_on,
            members=fact.members,
            net_surplus_rupiah=fact.net_surplus_rupiah,
        )
    ]


def overdue_before(now: datetime) -> date:
    """A cooperative that last met before this day has missed a meeting."""
    return months_after(day_of(now), -OVERDUE_AFTER_MONTHS)


def _problems_in(fact: AnnualMeetingHeld, now: datetime) -> list[FieldProblem]:
    return [
        *checks.cooperative_number("cooperative_number", fact.cooperative_number),
        *checks.cooperative_name("name", fact.name),
        *checks.seat("area_code", fact.area_code),
        *_year(fact),
        *checks.past("held_on", fact.held_on, now),
        *checks.above_zero("members", fact.members),
    ]


def _year(fact: AnnualMeetingHeld) -> list[FieldProblem]:
    if FIRST_YEAR <= fact.year <= fact.held_on.year:
        return []
    remedy = "Publish the business year that the meeting was about, in four digits."
    return [FieldProblem("year", "is no business year before the meeting", remedy)]


def _as_known(known: Cooperative) -> tuple[object, ...]:
    return (
        known.name,
        known.area_code,
        known.meeting_year,
        known.meeting_held_on,
        known.members,
        known.net_surplus_rupiah,
    )
