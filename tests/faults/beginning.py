"""The world that the fault tests begin with: a programme under way, with people for every lane of work."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from deploy.demo.lists import ListSize, write_list
from tests.faults.load import Load
from tests.journeys.oracle import Oracle
from tests.journeys.oracle.lists import read_list
from tests.journeys.programme import COMPLETION, CONFIRMATION, GRADUATION, PRIORITY, VERIFICATION, Programme
from tests.journeys.until_completion import RULES, TEMPLATES
from tests.support.world import OUTCOMES, REGISTRY, TRAINING, World

BEGINS_AT = datetime(2024, 7, 1, 1, tzinfo=UTC)
LANES = 3
FOLLOW_UP_PLAN = {"months": [1], "missed_after_days": 5}
DAYS = ["2024-10-07", "2024-10-08", "2024-10-09"]
FEW = ListSize("faults", households=120, people=560, villages_per_kabupaten=1)
SomeLoad = TypeVar("SomeLoad", bound=Load)


@contextmanager
def a_programme_under_way(folder: Path, kind: type[SomeLoad] = Load) -> Iterator[SomeLoad]:
    """A house of its own, in which a list is taken in. Nothing flows yet: see `Load.flowing`."""
    with World(BEGINS_AT) as world:
        world.start()
        programme = Programme(world, Oracle(BEGINS_AT))
        for of, definition in (("priority", PRIORITY), ("verification", VERIFICATION)):
            programme.adopt(REGISTRY, of, definition)
        for of, definition in (("completion", COMPLETION), ("confirmation", CONFIRMATION)):
            programme.adopt(TRAINING, of, definition)
        for of, definition in (("follow_up_plan", FOLLOW_UP_PLAN), ("graduation", GRADUATION)):
            programme.adopt(OUTCOMES, of, definition)
        people_are_told_what_nothing_overtakes(programme)
        path = folder / "p3ke.csv"
        write_list(path, FEW, dated=date(2024, 6, 1))
        programme.take_in(read_list(path, "P3KE", date(2024, 6, 1), ["52"]))
        cohorts = [plan(programme, number) for number in range(1, LANES + 1)]
        registry = programme.oracle.registry
        adults = [who for (_, who), row in registry.members.items() if row["adult"]]
        reserved = adults[-60:]
        people = [who for who in registry.home_of if who not in reserved]
        lanes = [(people[number::LANES], cohort) for number, cohort in enumerate(cohorts)]
        known = [nik for nik in registry.national_ids.values() if nik][:12]
        yield kind(programme, lanes, known, reserved)


def people_are_told_what_nothing_overtakes(programme: Programme) -> None:
    """Of the rest nobody could say whether it went out before the next act, while everything dies and comes back."""
    for template in TEMPLATES:
        programme.adopt_template(template)
    for rule in RULES:
        if rule["rule_id"] == "completed":
            programme.adopt_notification_rule(rule)
        if rule["rule_id"] == "follow-up":
            programme.adopt_notification_rule(rule | {"channels": ["email"]})
    programme.change_contact("staff:facilitator", name="Lalu", email="lalu@contoh.id", area_code="52")


def plan(programme: Programme, number: int, *, capacity: int = 40, days: Sequence[str] = DAYS) -> str:
    """A cohort in a programme of its own."""
    opened = programme.open_programme(f"Program {number}", "52", 2024)
    course = programme.define_course(opened, {"title": "Kuliner", "lesson_hours": 30, "units": []})
    return programme.plan_cohort(
        {
            "programme_id": opened,
            "course_id": course,
            "number": f"F-{number}",
            "capacity": capacity,
            "delivery_mode": "classroom",
            "area_code": "52.71",
            "venue": "Balatkop",
            "days": list(days),
        }
    )
