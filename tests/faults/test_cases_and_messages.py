"""Outcomes and notifications killed (-9) where it could hurt, and a mail server that is away, while commands flow."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.arming import armed, reached, wanted
from tests.faults.beginning import plan
from tests.faults.load import Load
from tests.faults.mail import MailServer
from tests.faults.supervisor import Supervisor
from tests.journeys.oracle.training import beginning_of
from tests.journeys.programme import Programme, Report
from tests.support.world import NOTIFICATIONS, OUTCOMES, World

OPENING_CASES = {
    "outcomes-worker": "folded-not-committed:2,sent-not-marked:1,forgotten-not-noted:1",
    "notifications-worker": "folded-not-committed:2,sending-started-not-sent:3,sent-not-recorded:4",
}
FALLING_DUE = {
    "outcomes-worker": "timer-before-commit:2",
    "outcomes-api": "command-before-commit:2,command-after-commit:3",
    "notifications-worker": "sending-started-not-sent:4,sent-not-recorded:12",
}
AT_ONCE = 8
"""So many messages a worker sends at once: no more are in doubt when it dies."""

FIRST_DAY = date(2024, 7, 23)
PEOPLE, VISITED = 36, 4


@pytest.fixture(scope="module")
def cohort(load: Load) -> str:
    return a_cohort_whose_days_are_over(load)


def a_cohort_whose_days_are_over(load: Load) -> str:
    """In it everybody completes."""
    programme = load.programme
    people = load.reserved[-PEOPLE:]
    days = [FIRST_DAY, FIRST_DAY + timedelta(days=1)]
    programme.until(beginning_of(FIRST_DAY) - timedelta(days=1))
    meet(programme, people)
    cohort_id = plan(programme, 8, capacity=PEOPLE, days=[day.isoformat() for day in days])
    for person in people:
        programme.enrol(cohort_id, person)
        programme.confirm(cohort_id, person)
    for day in days:
        programme.until(beginning_of(day) + timedelta(hours=16))
        programme.record_attendance(cohort_id, day, dict.fromkeys(people, "present"))
    programme.world.settle()
    return cohort_id


def meet(programme: Programme, people: list[str]) -> None:
    """Each has a telephone."""
    programme.assign(people, "facilitator", date(2024, 12, 31))
    seen = {"captured_at": programme.world.now.isoformat(), "finding": "matched", "willing": True}
    seen |= {"can_leave_home": True, "reachable": True}
    visits = [
        seen | {"participant_id": who, "visit_id": f"met-{who[-12:]}", "phone": f"+62812555970{number:02}"}
        for number, who in enumerate(people)
    ]
    programme.visit(visits, "facilitator")
    programme.verify(people)


def test_workers_that_are_killed_open_each_case_once_and_tell_each_person_once(
    load: Load, cohort: str, tmp_path: Path
) -> None:
    programme, world = load.programme, load.programme.world
    reports = support_of(programme, load.reserved[-PEOPLE:])
    environments = {name: armed(tmp_path, name, points) for name, points in OPENING_CASES.items()}
    supervisor = Supervisor(world, environments)
    with supervisor.looking_after():
        with load.flowing():
            load.patient.publish_reports(reports)
            load.await_that("every number is looked up and forgotten", lambda: is_all_matched(world, len(reports)))
            load.patient.learn_interventions(reports)
            load.patient.complete(cohort)
            load.await_that("each point has killed its process", lambda: reached(tmp_path) >= wanted(OPENING_CASES))
            load.await_acts(20)
        load.settle()
    # What was under way when a worker died is sent again, after a pause by the programme's clock.
    programme.until(world.now + timedelta(minutes=5))
    load.assert_nothing_was_lost()
    assert supervisor.other_ends() == [], "nothing but its crash points has ended a process"
    told = [row for row in programme.oracle.notifications.deliveries.values() if row["rule_id"] == "completed"]
    assert len(told) == PEOPLE
    letters = [letter["notification_id"] for letter in world.letters()]
    assert len(set(letters)) == len(letters) == PEOPLE, "at most one message a notification"


def support_of(programme: Programme, people: list[str]) -> dict[str, Report]:
    """Different for each, so that nobody is taken for another."""
    borne = programme.oracle.registry.national_ids
    known = [borne[who] for who in people if borne[who] and list(borne.values()).count(borne[who]) == 1]
    return {
        f"support-{number}": ("MentoringVisited", nik, {"visited_on": f"{date(2024, 5, 1) + timedelta(days=number)}"})
        for number, nik in enumerate(known)
    }


def is_all_matched(world: World, number: int) -> bool:
    matched = world.value(OUTCOMES, "SELECT count(*) FROM intervention WHERE status = 'matched'")
    return bool(matched >= number and world.value(OUTCOMES, "SELECT count(*) FROM number_to_forget") == 0)


def test_a_mail_server_that_is_away_for_a_while_and_workers_that_are_killed_send_nothing_twice(
    load: Load, cohort: str, tmp_path: Path
) -> None:
    """A month later visits fall due. No mail server tells copies: what it may have taken is never sent again."""
    programme, world = load.programme, load.programme.world
    cases = [who for (of, who), row in programme.oracle.training.enrolments.items() if of == cohort]
    due = beginning_of(date(2024, 8, 24))
    programme.until(due - timedelta(minutes=1))
    for worker in ("outcomes-worker", "notifications-worker"):
        world.process(worker).kill()
    turn_clock_at_once(programme, due)
    mail = MailServer()
    environments = {name: armed(tmp_path, name, points) for name, points in FALLING_DUE.items()}
    environments["notifications-worker"] |= {
        "ENTAS_SENDER_EMAIL": mail.url,
        "ENTAS_SENDER_EMAIL_FROM": "kami@contoh.id",
    }
    supervisor = Supervisor(world, environments)
    with supervisor.looking_after():
        with load.flowing():
            load.await_that("every case has told that a visit is due", lambda: number_wanted(world) == len(cases))
            for case_id in cases[:VISITED]:
                visit_made(load.patient, case_id)
        load.settle()
        turn_clock_at_once(programme, due + timedelta(hours=7))
        with load.flowing():
            load.await_that("the mail server is missed", lambda: number_of_vain_attempts(world) > 1)
            mail.start()
            load.await_that("each point has killed its process", lambda: reached(tmp_path) >= wanted(FALLING_DUE))
            load.await_acts(20)
        load.settle()
        programme.until(world.now + timedelta(hours=1))
    mail.stop()
    in_doubt = learn_what_is_in_doubt(programme)
    load.assert_nothing_was_lost()
    assert supervisor.other_ends() == [], "nothing but its crash points has ended a process"
    sent = {row["notification_id"] for row in deliveries(world) if row["status"] == "sent"}
    copies = mail.copies()
    assert sent == copies.keys() - in_doubt, "what is sent was accepted"
    assert set(copies.values()) == {1}, "at most one message a notification"
    assert len(sent) + len(in_doubt) == len(cases) - VISITED
    assert 0 < len(in_doubt) <= 2 * AT_ONCE
    world.process("notifications-worker").stop()
    world.start_process("notifications-worker")
    world.await_state("notifications-worker", "ready")


def turn_clock_at_once(programme: Programme, instant: datetime) -> None:
    """Nobody waits until all is dealt with: somebody is dead, or away."""
    programme.world.set_clock(instant)
    programme.oracle.time_passes(instant)


def visit_made(programme: Programme, case_id: str) -> None:
    said = {"follow_up": 1, "visit_id": f"after-{case_id[-12:]}", "captured_at": programme.world.now.isoformat()}
    income = [{"livelihood": "farming", "monthly_rupiah": 900_000}]
    programme.record_follow_up(case_id, said | {"people": 4, "income": income, "needs": []})


def deliveries(world: World) -> list[dict[str, str]]:
    return world.rows(NOTIFICATIONS, "SELECT * FROM delivery WHERE rule_id = 'follow-up'")


def number_wanted(world: World) -> int:
    return len(deliveries(world))


def number_of_vain_attempts(world: World) -> int:
    asked = "SELECT count(*) FROM log WHERE type = 'entas.notifications.AttemptFailed.v1'"
    return int(world.value(NOTIFICATIONS, asked))


def learn_what_is_in_doubt(programme: Programme) -> set[str]:
    """Nobody can foresee what was under way when a worker died."""
    found = [row for row in deliveries(programme.world) if row["status"] == "failed"]
    assert {row["because"] for row in found} <= {"in_doubt"}
    for row in found:
        programme.oracle.notifications.left_in_doubt(row["participant_id"], row["rule_id"])
    return {row["notification_id"] for row in found}
