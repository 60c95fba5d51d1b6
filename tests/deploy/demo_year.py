"""A year of one participant, as the services would tell it and as the script tallied it: the two agree."""

from collections import Counter
from datetime import date
from typing import Any

from contracts.outcomes import BasicNeed, Livelihood
from deploy.demo.households import Living
from deploy.demo.known_cases import KnownCase
from deploy.demo.tally import Report, Tally
from deploy.demo.year_figures import YearAnswers

Json = dict[str, Any]

PLAN: Json = {"months": [1, 3, 6, 12], "missed_after_days": 14}
TERMS: Json = {
    "line_rupiah_per_person_month": 322_170,
    "follow_ups_in_a_row": 2,
    "minimum_livelihoods": 2,
    "needs_required": ["food", "clean_water", "sanitation", "housing"],
    "not_before_months": 6,
}
COMPLETED_ON = date(2024, 7, 12)


def living(per_person: int, *, needs: frozenset[BasicNeed] = frozenset(BasicNeed), livelihoods: int = 2) -> Living:
    kinds = (Livelihood.OWN_BUSINESS, Livelihood.FARMING, Livelihood.FISHING)[:livelihoods]
    first, *others = [per_person * 4 // livelihoods] * livelihoods
    amounts = [per_person * 4 - sum(others), *others]
    assert first
    return Living(4, tuple(zip(kinds, amounts, strict=True)), needs, 0, 0, 0)


def anns_case() -> KnownCase:
    """Missed at first, then out of extreme poverty, then back in it."""
    case = KnownCase("52.01", COMPLETED_ON, PLAN, TERMS)
    case.pass_time(date(2024, 8, 27))
    for months, day, per_person in (
        (3, date(2024, 10, 14), 330_000),
        (6, date(2025, 1, 14), 400_000),
        (12, date(2025, 7, 14), 300_000),
    ):
        case.pass_time(day)
        case.record(months, day, living(per_person), day)
    return case


def add_the_year(tally: Tally) -> Tally:
    """What the script did in the year after."""
    tally.assignments = 5
    tally.cases["ann"] = anns_case()
    support = tally.support
    support.reported.update({"mentoring": 3, "cooperative_membership": 1})
    support.reports += [
        Report("ann", "cooperative_membership", date(2024, 9, 2), cooperative="KOP-1"),
        Report("dan", "mentoring", date(2024, 9, 2), by_hand=True),
    ]
    support.unmatched["nobody_bears_the_number"] = 1
    support.dismissed, support.rejected, support.meetings = 1, 1, {"KOP-1": 2024}
    tally.units_planned, tally.units_launched = 1, 1
    return tally


def visit(months: int, status: str, per_person: int | None = None) -> Json:
    return {
        "case_id": "ann",
        "months": months,
        "status": status,
        "late": False,
        "per_person_rupiah": per_person,
        "line_rupiah": 322_170,
        "above_line": per_person is not None and per_person >= 322_170,
        "livelihoods": 2,
    }


def message(rule: str, times: int, channel: str | None = "whatsapp", because: str | None = None) -> Json:
    status = "sent" if because is None else "suppressed"
    return {
        "rule_id": rule,
        "status": status,
        "channel": channel if because is None else None,
        "because": because,
        "notifications": times,
    }


def year_answers(**changes: object) -> YearAnswers:
    kept: Json = {
        "cases": [
            {
                "case_id": "ann",
                "area_code": "52.01.01.2001",
                "status": "closed",
                "closed_because": "plan_completed",
                "standing": "relapsed",
                "graduated_on": "2025-01-14",
                "relapsed_on": "2025-07-14",
                "last_follow_up": 12,
                "last_per_person_rupiah": 300_000,
                "interventions": 1,
                "business_units": 1,
            }
        ],
        "follow_ups": [
            visit(1, "missed"),
            visit(3, "recorded", 330_000),
            visit(6, "recorded", 400_000),
            visit(12, "recorded", 300_000),
        ],
        "interventions": [
            intervention("cooperative_membership", "matched", "ann"),
            intervention("mentoring", "matched", "dan", matched_by="officer"),
            intervention("mentoring", "unmatched", None, because="nobody_bears_the_number"),
            intervention("mentoring", "dismissed", None, because="not_a_participant"),
        ],
        "units": [{"status": "launched", "jobs": 3}],
        "cooperatives": [
            {"cooperative_number": "KOP-1", "meeting_year": 2024, "meeting_overdue": False, "recruited": 1}
        ],
        "rejections": [{"faults": [{"field": "scheme", "reason": "is not a code in capitals"}]}],
        "messages": [
            message("visit-assigned", 5, "email"),
            message("enrolment", 2),
            message("replacement", 1, because="no_address"),
            message("completion", 1),
            message("follow-up-due", 4),
        ],
        "rules": [{"kind": "graduation", "definition": TERMS}],
        "written": {"email": 5, "whatsapp": 7},
        "channels_to_files": ("email", "sms", "whatsapp"),
        "telling_numbers": {},
    }
    return YearAnswers(**(kept | changes))


def intervention(
    kind: str,
    status: str,
    participant: str | None,
    *,
    matched_by: str | None = "national_id",
    because: str | None = None,
) -> Json:
    return {
        "kind": kind,
        "status": status,
        "participant_id": participant,
        "matched_by": matched_by if participant else None,
        "because": because,
        "amount_rupiah": 1_500_000 if kind == "mentoring" else None,
    }


def published(**changes: float) -> list[Json]:
    """Outcomes' own figures for the same year."""
    values: dict[str, float] = {
        "households_listed": 100,
        "people_listed": 400,
        "verified": 4,
        "enrolled": 3,
        "completed": 1,
        "cases_open": 0,
        "cases_closed": 1,
        "followed_up": 1,
        "follow_ups_recorded": 3,
        "follow_ups_missed": 1,
        "graduated": 1,
        "graduated_now": 0,
        "relapsed": 1,
        "interventions": 1,
        "reports_unmatched": 1,
        "business_units_planned": 1,
        "business_units_launched": 1,
        "cooperatives": 1,
        "members_recruited": 1,
        "messages_rejected": 2,
        **changes,
    }
    return [{"id": name, "value": value} for name, value in values.items()]


TABLES = Counter({"case_intervention": 1, "case_file": 1})
"""Rows of outcomes' tables."""
