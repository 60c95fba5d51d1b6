"""The demo's figures: sums that are right, disagreements that are named, tables that fit and say no person's id."""

import io
import json
import os
import time
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from contracts import areas
from deploy.demo.clock import WITA, Clock
from deploy.demo.comparing import Comparison
from deploy.demo.drawing import bar, histogram
from deploy.demo.failures import DemoFailed, Refused
from deploy.demo.figures import Answers, FunnelLine, between_services, funnel, total, with_the_tally
from deploy.demo.stack import Addresses, RunningStack
from deploy.demo.summary import Summary, show, what_next
from deploy.demo.tally import KnownParticipant, Tally
from deploy.demo.telling import PLAIN_WIDTH, StageTime, Telling
from services.kit.clock import SteeredClock
from tests.deploy.demo_year import TABLES, add_the_year, published, year_answers

Json = dict[str, Any]


def registry_row(code: str, households: int, verified: int, expired: int = 0, **rejected: int) -> Json:
    return {
        "area_code": code,
        "households_listed": households,
        "people_listed": households * 4,
        "visited": verified + expired + sum(rejected.values()),
        "verified": verified,
        "expired": expired,
        "rejected": rejected,
    }


def participant(code: str, *, ever_verified: bool = True, rejection: str | None = None) -> Json:
    priority = {"score": 80} if ever_verified else None
    finding = "matched" if ever_verified else rejection
    return {"area_code": f"{code}.01.2001", "priority": priority, "rejection": rejection, "finding": finding}


def line(person: str, status: str) -> Json:
    return {"participant_id": person, "status": status, "place": 1, "confirmed_at": "2024-07-03T01:00:00Z"}


def log(service: str, events: dict[str, int], tables: dict[str, int], listens_to: dict[str, int]) -> Json:
    return {
        "service": service,
        "events": events,
        "sealed": sum(events.values()),
        "batches": 7,
        "root": "ab" * 32,
        "tables": tables,
        "listens_to": listens_to,
    }


def class_figures(number: str) -> Json:
    return {
        "number": number,
        "course_title": "Keterampilan Teknis Pijat",
        "area_code": "52.71",
        "delivery_mode": "classroom",
        "starts_on": "2024-07-08",
        "enrolled": 3,
        "withdrawn": 1,
        "completed": 1,
        "not_completed": 1,
        "attendance_rate": 0.95,
        "pass_rate": 0.5,
        "pre_test_average": 41.5,
        "post_test_average": None,
    }


def answers(**changes: object) -> Answers:
    """Two kabupaten: five participants, of whom three are verified, one was and is rejected, one was never."""
    kept: Json = {
        "registry_funnel": [registry_row("52.01", 90, 2, deceased=1), registry_row("52.71", 10, 1, moved=1)],
        "participants": [
            *[participant("52.01")] * 2,
            participant("52.01", rejection="deceased"),
            participant("52.71"),
            participant("52.71", ever_verified=False, rejection="moved"),
        ],
        "list_problems": [{"code": "no-head", "severity": "rejection"}, {"code": "odd", "severity": "warning"}],
        "rejections": [{"faults": [{"field": "died_on", "reason": "lies in the future"}]}],
        "training_funnel": [
            {"area_code": "52.01", "enrolled": 2, "completed": 1, "withdrawn_by_reason": {}},
            {"area_code": "52.71", "enrolled": 1, "completed": 0, "withdrawn_by_reason": {"work": 1}},
        ],
        "cohorts": [
            {
                "number": "P3KE-2024-01",
                "enrolled": 2,
                "completed": 1,
                "participants": [line("ann", "completed"), line("ben", "not_completed"), line("cho", "withdrawn")],
            }
        ],
        "class_figures": [class_figures("P3KE-2024-01")],
        "demand": [
            {"area_code": "52.01", "households": 90, "people": 360, "verified": 2},
            {"area_code": "52.71", "households": 10, "people": 40, "verified": 1},
        ],
        "logs": {
            "registry": log("registry", {"registry.households": 100}, {"visit": 5}, {"partners.dukcapil": 9}),
            "training": log("training", {"training.cohorts": 12}, {"demand": 100}, {"registry.households": 100}),
            "outcomes": log("outcomes", {"outcomes.cases": 9}, dict(TABLES), {"training.cohorts": 12}),
        },
        "year": year_answers(),
        "published": published(),
    }
    return Answers(**(kept | changes))


def tally() -> Tally:
    made = Tally(households=Counter({"52.01": 90, "52.71": 10}), visits=5, messages_rejected=1)
    made.participants = {
        "a": KnownParticipant("52.01", "verified", verified_once=True, finding="matched"),
        "b": KnownParticipant("52.01", "verified", verified_once=True, finding="matched"),
        "c": KnownParticipant("52.01", "rejected", verified_once=True, finding="matched", reason="deceased"),
        "d": KnownParticipant("52.71", "verified", verified_once=True, finding="matched"),
        "e": KnownParticipant("52.71", "rejected", finding="moved", reason="moved"),
    }
    of_class = made.class_of("P3KE-2024-01")
    of_class.confirmed = {"ann", "ben", "cho"}
    of_class.completed, of_class.not_completed = {"ann"}, {"ben"}
    of_class.withdrawn["work"] = 1
    return add_the_year(made)


def wrong(comparisons: list[Comparison]) -> list[str]:
    return [comparison.what for comparison in comparisons if not comparison.agrees]


# --- The funnel ------------------------------------------------------------------------------------------------------


def test_the_funnel_joins_both_services_by_kabupaten() -> None:
    found = answers().funnel
    assert found == [
        FunnelLine("52.01", "Lombok Barat", 90, 360, 3, 3, 2, 1, 1, 0),
        FunnelLine("52.71", "Kota Mataram", 10, 40, 2, 1, 1, 0, 0, 0),
    ]


def test_who_was_verified_counts_as_verified_after_a_rejection() -> None:
    (found,) = funnel([registry_row("52.01", 5, 0, deceased=1)], [participant("52.01", rejection="deceased")], [], [])
    assert (found.verified, found.enrolled) == (1, 0)


def test_a_kabupaten_that_one_service_does_not_know_is_shown() -> None:
    case = {"area_code": "52.72.01.1001", "last_follow_up": 6, "standing": "graduated"}
    found = funnel([], [], [{"area_code": "52.08", "enrolled": 4, "completed": 2}], [case])
    assert found == [
        FunnelLine("52.08", "Lombok Utara", 0, 0, 0, 0, 4, 2, 0, 0),
        FunnelLine("52.72", "Kota Bima", 0, 0, 0, 0, 0, 0, 1, 1),
    ]


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 8), max_size=10))
def test_the_total_is_the_sum_of_every_column(numbers: list[tuple[int, ...]]) -> None:
    codes = areas.children(areas.NTB)
    lines = [FunnelLine(code, code, *row) for code, row in zip(codes, numbers, strict=False)]
    summed = total(lines)
    columns = list(zip(*numbers, strict=True)) or [()] * 8
    assert (
        summed.households_listed,
        summed.people_listed,
        summed.visited,
        summed.verified,
        summed.enrolled,
        summed.completed,
        summed.followed_up,
        summed.graduated,
    ) == tuple(sum(column) for column in columns)


# --- Agreement -------------------------------------------------------------------------------------------------------


def test_services_and_script_that_say_the_same_agree() -> None:
    assert wrong(between_services(answers())) == []
    assert wrong(with_the_tally(answers(), tally())) == []


def test_what_a_real_provider_took_stands_in_no_file() -> None:
    year = year_answers(written={"whatsapp": 7}, channels_to_files=("whatsapp", "sms"))
    assert wrong(between_services(answers(year=year))) == []


OF_CASES = ["cases closed", "followed up", "graduated", "relapsed", "interventions"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"demand": []}, ["households listed", "people listed", "people verified now"]),
        ({"class_figures": []}, ["places given"]),
        ({"participants": []}, ["rejections", "verified"]),
        ({"training_funnel": []}, ["places given", "completions", "enrolled", "completed"]),
        ({"published": published(graduated_now=2, relapsed=0)}, ["graduated now", "relapsed"]),
        ({"year": year_answers(cases=[])}, ["who has a case", "interventions on cases", *OF_CASES]),
        ({"year": year_answers(written={"whatsapp": 7})}, ["messages taken"]),
        ({"year": year_answers(telling_numbers={"sms.jsonl": 1})}, ["places where a national id stands"]),
        ({"year": year_answers(messages=[])}, ["places told", "completions told", "messages taken"]),
    ],
)
def test_a_service_that_says_otherwise_is_named(changed: Json, what: list[str]) -> None:
    assert wrong(between_services(answers(**changed))) == what


def test_events_that_were_not_read_or_not_sealed_are_named() -> None:
    logs = answers().logs
    logs["training"]["listens_to"]["registry.households"] = 99
    logs["registry"]["sealed"] -= 1
    assert wrong(between_services(answers(logs=logs))) == ["events that a reader has not read", "events"]


def test_resent_copies_are_no_disagreement() -> None:
    logs = answers().logs
    logs["training"]["listens_to"]["registry.households"] = 140
    assert wrong(between_services(answers(logs=logs))) == []


def test_what_the_script_did_otherwise_is_named() -> None:
    ours = tally()
    ours.visits += 1
    ours.rejected("d", "deceased", date(2024, 7, 20))
    ours.class_of("P3KE-2024-01").completed = {"ben"}
    assert wrong(with_the_tally(answers(), ours)) == [
        "visits",
        "people verified now",
        "participants rejected",
        "who completed P3KE-2024-01",
    ]


def test_what_became_of_people_otherwise_than_the_script_says_is_named() -> None:
    ours = tally()
    ours.cases["ann"].standing = "graduated"
    ours.support.unmatched["several_bear_the_number"] += 1
    assert wrong(with_the_tally(answers(), ours)) == [
        "how households stand",
        "who has graduated",
        "graduated by kabupaten",
        "interventions by what became of them",
        "interventions unmatched",
    ]


def test_a_disagreement_tells_the_difference_and_nobodys_id() -> None:
    areas_differ = Comparison(
        "households", "the registry", {"52.01": 5, "52.02": 7}, "training", {"52.01": 5, "52.02": 8}
    )
    assert str(areas_differ) == "households: the registry says {'52.02': 7}, training says {'52.02': 8}"
    people_differ = Comparison("who came", "the script", {"ann", "ben"}, "the services", {"ben", "cho", "dee"})
    assert str(people_differ) == "who came: the script says 2 (1 alone), the services says 3 (2 alone)"


def test_what_is_zero_may_be_left_out() -> None:
    assert Comparison("x", "a", {"52.01": 0, "52.02": 3}, "b", {"52.02": 3}).agrees
    assert not Comparison("x", "a", {"52.01": 1, "52.02": 3}, "b", {"52.02": 3}).agrees


# --- The summary -----------------------------------------------------------------------------------------------------


@given(st.integers(-5, 10**7), st.integers(-5, 10**7), st.integers(1, 40))
def test_a_bar_is_never_longer_than_its_column_and_shows_whatever_is_there(
    count: int, largest: int, width: int
) -> None:
    drawn = bar(min(count, largest), largest, width)
    assert len(drawn) <= width
    assert bool(drawn) == (min(count, largest) > 0)


@given(st.lists(st.integers(0, 10**6), max_size=12))
def test_a_histogram_has_a_column_for_each_count_and_shows_whatever_is_there(counts: list[int]) -> None:
    drawn = histogram(counts)
    assert [character != " " for character in drawn] == [count > 0 for count in counts]
    if max(counts, default=0):
        assert drawn[counts.index(max(counts))] == "█"


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(50, 100, 8) == "████"
    assert bar(100, 100, 8) == "█" * 8
    assert bar(1, 64, 8) == "▏"
    assert bar(13, 16, 2) == "█▋"


@pytest.fixture
def stack(tmp_path: Path) -> RunningStack:
    names = {"registry": "r", "training": "t", "outcomes": "o", "notifications": "n"}
    services = {name: Addresses(f"http://{letter}", f"http://{letter}w") for name, letter in names.items()}
    clients = tmp_path / "clients.json"
    clients.write_text(
        json.dumps(
            {
                "auditor": {"secret": "hush", "roles": ["auditor"], "areas": ["*"]},
                "facilitator": {"secret": "hush", "roles": ["facilitator"], "areas": ["52"]},
                "facilitator:52.01": {"secret": "hush", "roles": ["facilitator"], "areas": ["52.01"]},
            }
        )
    )
    return RunningStack(tmp_path, "k:1", "http://i/token", clients, tmp_path / "clock", services)


def summary(**changes: object) -> Summary:
    said = answers(**changes)
    comparisons = [*between_services(said), *with_the_tally(said, tally())]
    stages = [StageTime("The rules", 0.5, 4), StageTime("The list", 10.0, 1000)]
    return Summary("small", said, comparisons, stages, {"registry-api": 120.0, "kafka": 900.0}, tally())


def shown(made: Summary, stack: RunningStack, width: int = PLAIN_WIDTH) -> str:
    file = io.StringIO()
    show(Console(file=file, width=width, highlight=False), made, stack)
    return file.getvalue()


def test_the_summary_shows_every_figure_and_fits(stack: RunningStack) -> None:
    text = shown(summary(), stack)
    tables, _, what_is_next = text.partition("The page that everybody may see")
    assert all(len(row) <= PLAIN_WIDTH for row in tables.splitlines())
    for figure in (
        *("Lombok Barat", "P3KE-2024-01", "no head", "lies in the future", "registry.households", "1,004"),
        *(
            "Rp322.170",
            "Rp400.000",
            "had left it, and are back",
            "cooperative membership",
            "follow-up-due",
            "no address",
        ),
        *("is not a code in capitals", "members recruited"),
    ):
        assert figure in tables
    assert "…" not in tables.replace("ab" * 8 + "…", "")
    assert "comparisons: the services and the script's own tally agree" in tables
    assert "http://r/docs" in what_is_next
    assert "http://o/\n" in what_is_next


def test_a_narrow_terminal_shows_every_table_whole(stack: RunningStack) -> None:
    tables = shown(summary(), stack, width=80).partition("The page that everybody may see")[0]
    assert all(len(row) <= 80 for row in tables.splitlines())
    assert "…" not in tables.replace("ab" * 4 + "…", "")


def test_the_summary_names_nobody(stack: RunningStack) -> None:
    text = shown(summary(), stack) + json.dumps(summary().figures())
    assert "hush" not in text
    assert not any(f'"{person}"' in text or f" {person} " in text for person in ("ann", "ben", "cho"))


def test_disagreements_are_shown_and_written_down(stack: RunningStack) -> None:
    made = summary(demand=[])
    assert "They do not agree" in shown(made, stack)
    assert len(made.figures()["disagreements"]) == 3
    assert "households listed: the registry says" in made.figures()["disagreements"][0]


def test_the_figures_for_programs_are_those_that_are_shown() -> None:
    figures = json.loads(json.dumps(summary().figures()))
    assert figures["funnel"][-1] == {
        "area_code": "52",
        "name": "NTB",
        "households_listed": 100,
        "people_listed": 400,
        "visited": 5,
        "verified": 4,
        "enrolled": 3,
        "completed": 1,
        "followed_up": 1,
        "graduated": 0,
    }
    assert figures["events"] == {"registry.households": 100, "training.cohorts": 12, "outcomes.cases": 9}
    assert figures["rejected"]["list_rows"] == {"no-head": 1}
    assert figures["rejected"]["participants"] == {"deceased": 1, "moved": 1}
    assert figures["rejected"]["reports"] == {"scheme: is not a code in capitals": 1}
    assert figures["withdrawn"] == {"work": 1}
    assert [line["median_rupiah_per_person"] for line in figures["follow_ups"]] == [None, 330_000, 400_000, 300_000]
    assert figures["standing"] == {"relapsed": 1}
    assert figures["cooperatives"]["members_recruited"] == 1
    assert figures["seconds"] == 10.5
    assert figures["disagreements"] == []


def test_what_to_try_next_is_a_shell_script_that_parses(stack: RunningStack, tmp_path: Path) -> None:
    lines = what_next(stack).split("[bold]Try next[/]")[1].split("[bold]")[0]
    script = tmp_path / "next.sh"
    script.write_text(lines)
    assert os.system(f"sh -n {script}") == 0
    assert "curl -s" in lines


def test_without_a_terminal_long_steps_say_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    seconds = iter(range(0, 100, 3))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    with Telling(Console(file=file, width=PLAIN_WIDTH)).progress("sending, MB", 126) as advance:
        for done in (1, 50, 126):
            advance(done)
    assert file.getvalue() == "    sending, MB: 50 of 126 after 9 s\n"


# --- The stack and its clock -----------------------------------------------------------------------------------------


def test_the_facilitator_nearest_to_an_area_is_chosen(stack: RunningStack) -> None:
    assert stack.facilitator_of("52.01") == "facilitator:52.01"
    assert stack.facilitator_of("52.08.02") == "facilitator"
    with pytest.raises(DemoFailed, match=r"no client with the role facilitator for 53\.21"):
        stack.facilitator_of("53.21")


def test_a_missing_stack_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTAS_LOCAL_FOLDER", str(tmp_path))
    with pytest.raises(DemoFailed, match="make up"):
        RunningStack.find()


def test_a_stack_on_the_systems_clock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTAS_LOCAL_FOLDER", str(tmp_path))
    (tmp_path / "stack.json").write_text(json.dumps({"clock_file": None}))
    with pytest.raises(DemoFailed, match="system's clock"):
        RunningStack.find()


def test_services_see_the_clock_that_the_demo_moves(stack: RunningStack) -> None:
    stack.clock_file.write_text("2024-05-01T08:00:00+08:00")
    seen, clock = SteeredClock(stack.clock_file), Clock(stack, None)  # type: ignore[arg-type]
    assert clock.now == seen.now() == datetime(2024, 5, 1, tzinfo=UTC)
    for minute in range(3):
        instant = datetime(2024, 7, 8, 9, minute, tzinfo=WITA)
        clock._write(instant)
        assert seen.now() == clock.now == instant
    assert [path.name for path in stack.folder.glob("clock*")] == ["clock"]


def test_the_clock_stops_at_what_is_due_and_in_services_that_have_time_at_the_end_of_the_week(
    stack: RunningStack,
) -> None:
    clock = Clock(stack, None)  # type: ignore[arg-type]
    monday, tuesday = datetime(2024, 8, 5, 10, 32, tzinfo=WITA), datetime(2024, 8, 6, 0, 0, tzinfo=WITA)
    later, end = datetime(2024, 8, 30, 17, tzinfo=WITA), datetime(2024, 8, 16, 17, tzinfo=WITA)
    due = {"registry": monday, "outcomes": tuesday, "training": later}
    assert clock._stop(due, end) == monday
    clock.by_the_week = frozenset({"registry"})
    assert clock._stop(due, end) == tuesday
    assert clock._stop({"registry": monday}, end) == datetime(2024, 8, 12, tzinfo=WITA)
    assert clock._stop({"registry": monday}, tuesday) == tuesday
    assert clock._stop({"training": later}, end) is None


def test_a_refusal_names_what_where_why_and_the_log() -> None:
    problem = {"code": "cohort-full", "detail": "All 30 places are taken.", "remedy": "Choose another."}
    refused = Refused("POST http://t/cohorts (as officer)", 409, problem, "/logs/training-api.log")
    assert refused.code == "cohort-full"
    for part in ("POST http://t/cohorts (as officer)", "409", "All 30 places", "Choose another.", "training-api.log"):
        assert part in str(refused)
