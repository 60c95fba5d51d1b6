"""The figures that both services must show, counted from the model's rows."""

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.journeys.oracle.model import Oracle

Row = dict[str, Any]

KABUPATEN, KECAMATAN = 5, 8
"""How many characters of an area code name it."""


def registry_funnel(oracle: "Oracle") -> dict[str, Row]:
    """By kabupaten: who is listed, and how far the people have come."""
    registry = oracle.registry
    listed = [row for row in registry.households.values() if row["status"] == "listed"]
    found = {}
    for kabupaten in _areas([*listed, *registry.participants.values()], KABUPATEN):
        homes, people = _in(kabupaten, listed), _in(kabupaten, registry.participants.values())
        statuses = Counter(person["status"] for person in people)
        found[kabupaten] = {
            "households_listed": len(homes),
            "people_listed": sum(home["people"] for home in homes),
            "nominated": len(people),
            "visited": sum(person["visits"] > 0 for person in people),
            **{status: statuses[status] for status in ("assigned", "verified", "expired")},
            "rejected": dict(Counter(person["rejection"] for person in people if person["rejection"])),
        }
    return found


def training_funnel(oracle: "Oracle", programme_id: str) -> dict[str, Row]:
    """By the kabupaten where people live."""
    cohorts = oracle.training.cohorts
    rows = [
        row for row in oracle.training.enrolments.values() if cohorts[row["cohort_id"]]["programme_id"] == programme_id
    ]
    return {kabupaten: _class_counts(_in(kabupaten, rows)) for kabupaten in _areas(rows, KABUPATEN)}


def _class_counts(rows: list[Row]) -> Row:
    statuses = Counter(row["status"] for row in rows)
    gave_up = Counter(row["withdrawn_because"] for row in rows if row["status"] == "withdrawn" and row["enrolled_at"])
    return {
        "enrolled": sum(row["enrolled_at"] is not None for row in rows),
        "confirmed": sum(row["confirmed_at"] is not None for row in rows),
        "withdrawn": gave_up.total(),
        "withdrawn_by_reason": dict(gave_up),
        **{status: statuses[status] for status in ("waitlisted", "completed", "not_completed")},
    }


def class_figures(oracle: "Oracle", cohort_id: str) -> Row:
    rows = [row for (cohort, _), row in oracle.training.enrolments.items() if cohort == cohort_id]
    counts = _class_counts(rows)
    marks = Counter(mark for row in rows for mark in row["attendance"].values())
    judged = counts["completed"] + counts["not_completed"]
    return {
        **{name: counts[name] for name in ("enrolled", "confirmed", "withdrawn", "completed", "not_completed")},
        "attendance_rate": marks["present"] / marks.total() if marks else None,
        "pass_rate": counts["completed"] / judged if judged else None,
        "pre_test_average": _mean([row["pre_test"] for row in rows]),
        "post_test_average": _mean([row["post_test"] for row in rows]),
    }


def demand(oracle: "Oracle", length: int) -> dict[str, Row]:
    """By area: where households are listed, and how many verified adults live there."""
    registry, training = oracle.registry, oracle.training
    listed = [row for row in registry.households.values() if row["status"] == "listed"]
    adults = [registry.participants[person] for person in training.candidates_of(oracle.now)]
    adults = [person for person in adults if person["adult"]]
    return {
        area: {
            "households": len(_in(area, listed)),
            "people": sum(home["people"] for home in _in(area, listed)),
            "verified": len(_in(area, adults)),
            "free": sum(not training.is_busy(person["participant_id"]) for person in _in(area, adults)),
        }
        for area in _areas([*listed, *adults], length)
    }


def _areas(rows: Any, length: int) -> list[str]:
    return sorted({row["area_code"][:length] for row in rows})


def _in(area: str, rows: Any) -> list[Row]:
    return [row for row in rows if row["area_code"].startswith(area)]


def _mean(scores: list[int | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None
