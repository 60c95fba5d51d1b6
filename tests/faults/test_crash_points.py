"""Processes that are killed (-9) at each place where it could hurt, while commands flow."""

import json
from datetime import date, timedelta
from pathlib import Path

from deploy.demo.lists import ListSize, write_list
from services.kit.crash import CRASH_POINTS
from tests.faults.arming import armed, reached, wanted
from tests.faults.beginning import plan
from tests.faults.load import Load
from tests.faults.supervisor import Supervisor
from tests.faults.test_cases_and_messages import FALLING_DUE, OPENING_CASES
from tests.journeys.oracle.lists import TargetingList, read_list
from tests.journeys.programme import Programme
from tests.support.world import REGISTRY

RELAY_AND_CONSUMER = (
    "sealed-not-sent:2,sent-not-marked:3,folded-not-committed:2,committed-not-offset:3,checkpoint-not-published:1"
)
ARMED = {
    "registry-worker": f"{RELAY_AND_CONSUMER},half-an-import:1",
    "training-worker": f"{RELAY_AND_CONSUMER},timer-before-commit:5",
    "registry-api": "command-before-commit:4,command-after-commit:6",
    "training-api": "command-before-commit:3,command-after-commit:5",
}
"""Each process dies once at each of these points, at that passage; the importer works in the registry's worker."""


def test_every_crash_point_that_the_kit_names_is_tried() -> None:
    everywhere = [*ARMED.values(), *OPENING_CASES.values(), *FALLING_DUE.values()]
    assert {point.partition(":")[0] for points in everywhere for point in points.split(",")} == CRASH_POINTS


def test_a_process_that_is_killed_at_any_point_loses_and_doubles_nothing(load: Load, tmp_path: Path) -> None:
    programme, world = load.programme, load.programme.world
    supervisor = Supervisor(world, {name: armed(tmp_path, name, points) for name, points in ARMED.items()})
    coming = a_list_of_more_households_than_one_transaction_takes(tmp_path)
    with supervisor.looking_after():
        with load.flowing():
            received = load.patient.send_list(coming)["snapshot"]
            load.await_that("each point has killed its process", lambda: reached(tmp_path) >= wanted(ARMED))
            load.await_acts(20)
        programme.oracle.registry.list_received(received["snapshot_id"], coming, coming.path.name)
        world.settle()
        learn_ids_from_the_log(programme, received["snapshot_id"], coming)
        copies = load.assert_nothing_was_lost()
    assert copies > 0, "a batch that was sent and not marked is sent again, whole"
    assert load.counts["replays"] > 0, "a command that was committed and not answered is answered when it is repeated"
    assert supervisor.other_ends() == [], "nothing but its crash points has ended a process"


def test_a_timer_that_is_killed_before_its_commit_does_its_work_once(load: Load, tmp_path: Path) -> None:
    """Verifications fall due while the registry's worker is dead; it dies again in the middle of expiring them."""
    programme, world = load.programme, load.programme.world
    cohort_id = plan(programme, 9, capacity=1)
    *ageing, waiting = load.reserved[:9]
    verify(programme, ageing, met_days_ago=100)
    verify(programme, [waiting], met_days_ago=1)
    programme.enrol(cohort_id, ageing[0])
    programme.waitlist(cohort_id, waiting)
    world.settle()
    expiry = world.now + timedelta(days=20)
    # What else falls due in those days is dealt with on its own day.
    programme.until(expiry - timedelta(minutes=1))
    world.process("registry-worker").kill()
    world.set_clock(expiry)
    programme.oracle.time_passes(expiry)
    points = armed(tmp_path, "registry-worker", "timer-before-commit:1")
    with Supervisor(world, {"registry-worker": points}).looking_after(), load.flowing():
        load.await_that("the timer was killed", lambda: reached(tmp_path))
        load.await_acts(20)
    load.assert_nothing_was_lost()
    assert programme.oracle.registry.participants[ageing[0]]["status"] == "expired"
    assert programme.oracle.training.enrolments[cohort_id, waiting]["replaces"] == ageing[0]


def a_list_of_more_households_than_one_transaction_takes(folder: Path) -> TargetingList:
    path = folder / "dtsen.csv"
    size = ListSize("more", households=530, people=1_100, villages_per_kabupaten=1)
    write_list(path, size, seed=99, dated=date(2024, 6, 1))
    return read_list(path, "DTSEN", date(2024, 6, 1), ["52"])


def learn_ids_from_the_log(programme: Programme, snapshot_id: str, read: TargetingList) -> None:
    """Members stand in a fact in the order of their rows. Asking the API for each household would take longer."""
    families = {family.row: family for family in read.families}
    households: dict[int, str] = {}
    people: dict[str, str] = {}
    for row in programme.world.rows(REGISTRY, "SELECT value FROM log WHERE type = 'entas.registry.HouseholdListed.v1'"):
        listed = json.loads(bytes(row["value"]))
        if listed["evidence"]["file_digest"] != read.digest:
            continue
        family = families[listed["evidence"]["row"]]
        households[family.row] = listed["household_id"]
        for person, member in zip(family.people, listed["members"], strict=True):
            people[person.individual_id] = member["person_id"]
    programme.oracle.registry.list_applied(snapshot_id, households, people)


def verify(programme: Programme, people: list[str], *, met_days_ago: int) -> None:
    programme.assign(people, "facilitator", date(2024, 12, 31))
    seen = {
        "captured_at": (programme.world.now - timedelta(days=met_days_ago)).isoformat(),
        "finding": "matched",
        "willing": True,
        "can_leave_home": True,
        "reachable": True,
    }
    programme.visit([seen | {"participant_id": who, "visit_id": f"met-{who[-12:]}"} for who in people], "facilitator")
    programme.verify(people)
