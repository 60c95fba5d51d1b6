"""The figures that both services must show, counted from the model's rows."""

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.journeys.oracle.model import Oracle

Row = dict[str, Any]

KABUPATEN, KECAMATAN = 5, 8
"""How many characters of an area code name it."""

_JUDGED = ("completed", "not_completed")


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


def what_became_of_them(oracle: "Oracle") -> dict[str, dict[str, int]]:
    """By figure and kabupaten, where it is not 0: of people by where they live, of cases by where they lived then."""
    registry, outcomes = oracle.registry, oracle.outcomes
    listed = [row for row in registry.households.values() if row["status"] == "listed"]
    people, cases, visits = registry.participants, outcomes.cases, outcomes.follow_ups.values()
    places = [row for row in oracle.training.enrolments.values() if row["enrolled_at"] is not None]
    of_cases = {case_id: row["area_code"] for case_id, row in cases.items()}
    turned = {
        standing: [row for row in cases.values() if any(turn["standing"] == standing for turn in row["turns"])]
        for standing in ("graduated", "relapsed")
    }
    counted: dict[str, list[str]] = {
        "households_listed": [row["area_code"] for row in listed],
        "people_listed": [row["area_code"] for row in listed for _ in range(row["people"])],
        "nominated": [row["area_code"] for row in people.values()],
        "visited": [row["area_code"] for row in people.values() if row["visits"]],
        "verified": [people[person]["area_code"] for person in outcomes.ever_verified()],
        "verified_now": [row["area_code"] for row in people.values() if row["status"] == "verified"],
        "rejected": [row["area_code"] for row in people.values() if row["rejection"]],
        "enrolled": [row["area_code"] for row in places],
        "confirmed": [row["area_code"] for row in places if row["confirmed_at"] is not None],
        "withdrawn": [row["area_code"] for row in places if row["status"] == "withdrawn"],
        **{status: [row["area_code"] for row in places if row["status"] == status] for status in _JUDGED},
        "cases_open": [row["area_code"] for row in cases.values() if row["status"] == "open"],
        "cases_closed": [row["area_code"] for row in cases.values() if row["status"] == "closed"],
        "follow_ups_recorded": [row["area_code"] for row in visits if row["status"] == "recorded"],
        "follow_ups_missed": [row["area_code"] for row in visits if row["status"] == "missed"],
        "interventions": [of_cases[case_id] for case_id, _ in outcomes.on_cases],
        "business_units_planned": [row["area_code"] for row in outcomes.units.values()],
        "graduated_now": [row["area_code"] for row in cases.values() if row["standing"] == "graduated"],
        **{standing: [row["area_code"] for row in rows] for standing, rows in turned.items()},
    }
    return {name: dict(Counter(area[:KABUPATEN] for area in areas)) for name, areas in counted.items()}
