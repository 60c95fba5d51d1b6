"""One programme from its list file to what became of people a year later, through HTTP, partner topics and time."""

import asyncio
import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.topics import published_by
from deploy.demo.clients import opened_house
from deploy.demo.published import ask_for_published_figures
from deploy.demo.stack import RunningStack
from tests.journeys import after_completion as after
from tests.journeys import until_completion as until
from tests.journeys.evidence import (
    Names,
    assert_kafka_holds_the_log,
    assert_log_tells_the_story,
    assert_tables_say_what_the_oracle_says,
)
from tests.journeys.oracle import Oracle, figures
from tests.journeys.programme import Programme
from tests.journeys.until_completion import NOTE, PHONE, wita, write_first_list
from tests.support.stack import ROOT
from tests.support.world import HOUSE, NOTIFICATIONS, OUTCOMES, REGISTRY, TRAINING, World, wait_for


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programme]:
    """The programme as it stands when everything has happened; the tests only look."""
    begins_at = wita(4, 2)
    with World(begins_at) as world:
        world.start()
        programme = Programme(world, Oracle(begins_at))
        play(programme, tmp_path_factory.mktemp("lists"))
        yield programme


def play(programme: Programme, folder: Path) -> None:
    first, second, renumbered = until.the_lists(folder)
    until.the_list_comes_in(programme, first)
    until.facilitators_visit(programme)
    until.messages_are_agreed_on(programme)
    until.the_civil_registry_tells(programme, renumbered)
    until.verifications_age(programme)
    until.the_second_list_comes_in(programme, second)
    after.outcomes_are_agreed_on(programme)
    cohorts = until.classes_are_planned_and_filled(programme)
    until.places_are_given_up_and_taken(programme, *cohorts)
    after.support_comes_early(programme, cohorts[0])
    until.classes_are_held(programme, *cohorts)
    people = after.fates(programme, *cohorts)
    after.others_help(programme, people)
    after.the_first_month(programme, people)
    after.the_third_month(programme, people)
    after.the_half_year(programme, people)
    after.the_year_is_over(programme, people)


# --- What must be true of it ------------------------------------------------------------------------------------------


def test_every_table_says_what_the_oracle_says(programme: Programme) -> None:
    assert_tables_say_what_the_oracle_says(programme.world, programme.oracle)


@pytest.mark.parametrize("service", HOUSE)
def test_every_stream_tells_what_happened_and_nothing_else(programme: Programme, service: str) -> None:
    assert_log_tells_the_story(programme.world, programme.oracle, service)


@pytest.mark.parametrize("service", HOUSE)
def test_kafka_holds_every_event_of_the_log_and_proves_it(programme: Programme, service: str) -> None:
    assert_kafka_holds_the_log(programme.world, service)


def test_every_figure_of_the_api_is_the_oracles(programme: Programme) -> None:
    world, oracle = programme.world, programme.oracle
    auditor = {service: world.caller(service, "auditor") for service in HOUSE}
    (programme_id,) = oracle.training.programmes
    shown = {
        "registry's funnel": _by_area(auditor[REGISTRY].get("/funnel")),
        "training's funnel": _by_area(auditor[TRAINING].get("/figures/funnel", programme=programme_id)),
        "demand by kecamatan": _by_area(auditor[TRAINING].get("/demand", by="kecamatan")),
        "demand by kabupaten": _by_area(auditor[TRAINING].get("/demand", by="kabupaten")),
        "classes": {row["cohort_id"]: row for row in auditor[TRAINING].pages("/figures/cohorts")},
    }
    counted = {
        "registry's funnel": figures.registry_funnel(oracle),
        "training's funnel": figures.training_funnel(oracle, programme_id),
        "demand by kecamatan": figures.demand(oracle, figures.KECAMATAN),
        "demand by kabupaten": figures.demand(oracle, figures.KABUPATEN),
        "classes": {cohort_id: figures.class_figures(oracle, cohort_id) for cohort_id in oracle.training.cohorts},
    }
    for name, rows in counted.items():
        assert rows == {key: {at: shown[name][key][at] for at in rows[key]} for key in shown[name]}, name
    pool = [row["participant_id"] for row in auditor[TRAINING].pages("/candidates")]
    assert pool == oracle.training.pool(world.now)
    for service in HOUSE:
        log = auditor[service].get("/log/figures")
        assert log["tables"] == {name: len(rows) for name, rows in oracle.tables(service).items()}
        assert sum(log["events"].values()) == log["sealed"] == sum(map(len, oracle.story.of(service).values()))
    (quota,) = auditor[TRAINING].get(f"/programmes/{programme_id}")["quotas"]
    assert (quota["area_code"], quota["taken"]) == ("52.03", oracle.training.places_taken(programme_id, "52.03"))


def _by_area(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["area_code"]: row for row in rows}


def test_every_figure_of_what_became_of_them_is_the_oracles(programme: Programme) -> None:
    auditor = programme.world.caller(OUTCOMES, "auditor")
    for figure_id, wanted in figures.what_became_of_them(programme.oracle).items():
        shown = auditor.get(f"/figures/{figure_id}", by="kabupaten")
        assert {part["key"]: part["value"] for part in shown["parts"] if part["value"]} == wanted, figure_id
        assert shown["total"]["value"] == sum(wanted.values()), figure_id


def test_what_everybody_may_see_is_true_and_tells_of_nobody(programme: Programme) -> None:
    """Without a log-in; the smallest cell is 5. Averages are rounded, to a thousand rupiah or a whole percent."""
    auditor, everybody = programme.world.caller(OUTCOMES, "auditor"), programme.world.anybody(OUTCOMES)
    shown, hidden = 0, 0
    for figure in everybody.get("/public/figures").json()["figures"]:
        # Of faults only those are told apart in public that have a word of their own.
        for by in figure["by"] if figure["id"] != "message_faults" else ():
            public = everybody.get(f"/public/figures/{figure['id']}", params={"by": by}).json()
            exact = auditor.get(f"/figures/{figure['id']}", by=by)
            values = {part["key"]: part["value"] for part in exact["parts"]}
            cells = [(cell, values.get(cell["key"])) for cell in public["parts"]]
            for cell, value in [(public["total"], exact["total"]["value"]), *cells]:
                if cell["value"] is None:
                    hidden += cell["hidden"]
                    continue
                shown += cell["value"] != 0
                rounding = {"rupiah": 500, "percent": 0.5, "points": 0.5}.get(figure["unit"], 0)
                assert not cell["hidden"]
                assert abs(cell["value"] - (value or 0)) <= rounding, (figure["id"], by, cell["key"])
                assert figure["unit"] not in ("people", "households") or value not in range(1, 5)
    assert shown > 50
    assert hidden > 50


def test_the_page_the_api_and_the_demos_file_of_figures_agree(
    programme: Programme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the demo keeps in figures.json is what the API answers; what the page shows is what of it is public."""
    world = programme.world
    monkeypatch.setenv("ENTAS_LOCAL_FOLDER", str(world.folder))
    kept = {figure["id"]: figure for figure in asyncio.run(as_the_demo_asks())}
    auditor, everybody = world.caller(OUTCOMES, "auditor"), world.anybody(OUTCOMES)
    for figure_id, figure in kept.items():
        assert auditor.get(f"/figures/{figure_id}")["total"]["value"] == figure["value"], figure_id
        assert figure["article"]["title"]["id"], f"{figure_id} answers no article"
    for figure in everybody.get("/public/figures").json()["figures"]:
        assert kept[figure["id"]]["public"] == {"value": figure["value"], "hidden": figure["hidden"]}
    page = everybody.get("/", params={"lang": "en"}).text
    facts = [re.search(r'id="fact-([a-z_]+)".*?class="fact-number">\s*([0-9,]+)\s*<', fact, re.DOTALL)
             for fact in page.split("<details")[1:]]  # fmt: skip
    shown = [fact.groups() for fact in facts if fact]
    assert len(shown) > 10
    for figure_id, text in shown:
        assert int(text.replace(",", "")) == kept[figure_id]["public"]["value"], figure_id


async def as_the_demo_asks() -> list[dict[str, Any]]:
    async with opened_house(RunningStack.find(), "test") as house:
        return await ask_for_published_figures(house)


def test_a_graduation_is_traced_back_to_the_row_of_the_list(programme: Programme) -> None:
    """By the auditors' command, across the four services; every event is held against a signed checkpoint."""
    world, outcomes = programme.world, programme.oracle.outcomes
    person = next(case_id for case_id, case in outcomes.cases.items() if case["graduated_on"])
    traced = wait_for(
        "all of it is signed", lambda: trace_of(world, "participant", person, unless_proved=True), seconds=90
    )
    names = [told["type"].split(".")[2] for told in traced["story"]]
    wanted = ["HouseholdListed", "ParticipantNominated", "ParticipantVerified", "ParticipantCompleted"]
    wanted += ["CaseOpened", "FollowUpRecorded", "HouseholdGraduated"]
    assert [names.index(name) for name in wanted] == sorted(names.index(name) for name in wanted)
    assert {"ParticipantEnrolled", "ParticipantReplaced"} & set(names), "they got a place"
    assert {told["service"] for told in traced["story"]} == set(HOUSE)
    first = programme.lists[0].path
    assert traced["evidence"][0]["file_digest"] == hashlib.sha256(first.read_bytes()).hexdigest()
    lines = first.read_text(encoding="utf-8").splitlines()
    family = lines[traced["evidence"][0]["row"] - 1].partition(",")[0]  # The household begins in that row.
    of_family = [line for line in lines if line.startswith(f"{family},")]
    assert any(programme.oracle.registry.national_ids[person] in line for line in of_family)
    certificate = next(told["payload"] for told in traced["story"] if told["type"].endswith("CertificateIssued.v1"))
    again = trace_of(world, "certificate", certificate["certificate_number"])
    assert [told["id"] for told in again["story"]] == [told["id"] for told in traced["story"]]
    assert all(told["personal"] is None for told in traced["story"]), "nothing is opened that was not asked for"


def trace_of(world: World, subject: str, id_: str, *, unless_proved: bool = False) -> dict[str, Any]:
    """What the command prints. With `unless_proved` nothing where an event is younger than the newest checkpoint."""
    command = [sys.executable, "-m", "services.audit", "trace", subject, id_, "--stack", str(world.folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if unless_proved and done.returncode == 1:
        return {}
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def test_the_cohort_is_completed_and_everybody_in_it_has_an_end(programme: Programme) -> None:
    """The story is worth comparing only if it was lived through: each way to get and to lose a place was taken."""
    enrolments = programme.oracle.training.enrolments.values()
    assert {row["status"] for row in enrolments} == {"completed", "not_completed", "withdrawn", "released"}
    assert {row["not_completed_because"] for row in enrolments} >= {"attendance_too_low", "not_competent"}
    assert {row["withdrawn_because"] for row in enrolments} >= {
        *("cannot_leave_children", "illness", "work"),
        *("not_confirmed", "verification_expired", "no_longer_eligible"),
    }
    assert sum(row["replaces"] is not None for row in enrolments) > 3
    big = next(row for row in programme.oracle.training.cohorts.values() if row["capacity"] == 30)
    shown = programme.officer(TRAINING).get(f"/cohorts/{big['cohort_id']}")
    assert (shown["status"], shown["completed"] + shown["not_completed"]) == ("completed", shown["enrolled"])


def test_the_year_is_over_and_every_way_through_it_was_taken(programme: Programme) -> None:
    outcomes, notifications = programme.oracle.outcomes, programme.oracle.notifications
    cases, visits = outcomes.cases.values(), outcomes.follow_ups.values()
    assert {row["standing"] for row in cases} == {"followed", "graduated", "relapsed"}
    ends = {"plan_completed", "deceased", "no_longer_participant", "erased"}
    assert {row["closed_because"] for row in cases} == ends
    assert {row["status"] for row in visits} == {"recorded", "missed", "dropped"}
    assert any(row["late"] for row in visits)
    assert {turn["rule_version"] for row in cases for turn in row["turns"]} == {2}
    assert {row["rule_version"] for row in visits} == {None, 1, 2}
    interventions = outcomes.interventions.values()
    assert {row["status"] for row in interventions} == {"matched", "unmatched", "dismissed"}
    on_no_case = [row for row in interventions if row["status"] == "matched" and not on_its_case(programme, row)]
    assert {row["participant_id"] in outcomes.cases for row in on_no_case} == {True, False}
    deliveries = notifications.deliveries.values()
    reasons = {"opted_out", "no_address", "erased", "overtaken", "withdrawn"}
    assert {row["because"] for row in deliveries if row["status"] == "suppressed"} == reasons
    letters = notifications.letters.values()
    assert {letter["language"] for letter in letters} == {"id", "en"}
    assert {letter["channel"] for letter in letters} == {"whatsapp", "sms", "email"}


def on_its_case(programme: Programme, intervention: dict[str, Any]) -> bool:
    return (intervention["participant_id"], intervention["intervention_id"]) in programme.oracle.outcomes.on_cases


def test_each_message_went_out_once_in_these_words_to_this_address(programme: Programme) -> None:
    """Names stand in messages, for whom they are about and whom they go to; no number of a person does."""
    names, letters = Names.known_to(programme.world, NOTIFICATIONS), programme.world.letters()
    assert len({letter["id"] for letter in letters}) == len(letters)
    said = ("channel", "to", "language", "subject", "text")
    sent = {names.in_text(letter["notification_id"]): {name: letter[name] for name in said} for letter in letters}
    assert sent == programme.oracle.notifications.letters
    assert not re.findall(r"[0-9]{16}", json.dumps(letters))


def test_the_number_of_a_decided_intervention_can_never_be_read_again(programme: Programme) -> None:
    asked = "SELECT subject_id, wrapped IS NULL AS destroyed FROM person_key WHERE subject_id LIKE 'outcomes:interv%'"
    destroyed = {
        row["subject_id"].rpartition(":")[2]: row["destroyed"] for row in programme.world.rows(REGISTRY, asked)
    }
    decided = {id_: row["status"] != "unmatched" for id_, row in programme.oracle.outcomes.interventions.items()}
    assert destroyed == decided
    assert programme.world.value(OUTCOMES, "SELECT count(*) FROM number_to_forget") == 0


def test_a_case_tells_its_story_over_the_api_to_whom_it_concerns(programme: Programme) -> None:
    outcomes, registry = programme.oracle.outcomes, programme.oracle.registry
    case_id = next(id_ for id_, row in outcomes.cases.items() if row["standing"] == "relapsed")
    shown = programme.officer(OUTCOMES).get(f"/cases/{case_id}")
    assert [turn["standing"] for turn in shown["turns"]] == ["graduated", "relapsed"]
    assert [visit["status"] for visit in shown["visits"]] == ["recorded"] * 4
    assert len(shown["turns"][0]["evidence"]) == 2
    person = programme.officer(OUTCOMES).get(f"/cases/{case_id}/person")
    assert (person["name"], person["phone"]) == (registry.names[case_id], registry.phones.get(case_id))
    erased = next(id_ for id_, row in outcomes.cases.items() if row["closed_because"] == "erased")
    assert programme.officer(OUTCOMES).get(f"/cases/{erased}/person")["name"] is None
    here = {id_ for id_, row in outcomes.cases.items() if row["area_code"].startswith("52.71.")}
    assert {row["case_id"] for row in programme.world.caller(OUTCOMES, "district").pages("/cases")} == here
    assert 0 < len(here) < len(outcomes.cases)


def test_names_are_shown_to_who_may_see_them_and_are_those_of_the_file(programme: Programme) -> None:
    names = programme.oracle.registry.names
    cohort_id = next(iter(programme.oracle.training.cohorts))
    roster = programme.officer(TRAINING).get(f"/cohorts/{cohort_id}/roster")
    assert len(roster) > 20
    assert [row["name"] for row in roster] == [names.get(row["participant_id"]) for row in roster]
    refused = programme.world.caller(TRAINING, "auditor").http.get(f"/cohorts/{cohort_id}/roster")
    assert refused.status_code == 403


def test_an_address_is_shown_as_long_as_the_household_lives_there(programme: Programme) -> None:
    registry = programme.oracle.registry
    moved = {home: address for home, address in registry.addresses.items() if address is None}
    assert len(moved) > 1
    settled = dict(list(registry.addresses.items())[:5])
    for household_id, address in (moved | settled).items():
        assert programme.officer(REGISTRY).get(f"/households/{household_id}")["address"] == address


def test_a_district_sees_its_own_people_and_nobody_else(programme: Programme) -> None:
    registry = programme.oracle.registry
    district = programme.world.caller(REGISTRY, "district")
    for path, key, rows in (
        ("/households", "household_id", registry.households),
        ("/participants", "participant_id", registry.participants),
    ):
        own = {id_ for id_, row in rows.items() if row["area_code"].startswith("52.71.")}
        assert own
        assert {row[key] for row in district.pages(path)} == own
    stranger = next(id_ for id_, row in registry.participants.items() if row["area_code"].startswith("52.03."))
    assert district.http.get(f"/participants/{stranger}").status_code == 404
    mine = programme.world.caller(TRAINING, "district").pages("/candidates")
    assert all(row["area_code"].startswith("52.71.") for row in mine)


def test_problems_of_a_list_are_told_by_row_and_column(programme: Programme, tmp_path: Path) -> None:
    registry = programme.oracle.registry
    first = min(registry.snapshots.values(), key=lambda row: row["dated"])
    shown = programme.officer(REGISTRY).pages(f"/snapshots/{first['snapshot_id']}/problems")
    told = {(problem["row"], problem["column"], problem["code"]) for problem in shown}
    summary = write_first_list(tmp_path / "the same again.csv")
    planted = [planted for planted in summary.planted if planted.problem]
    assert len(planted) == 12
    assert told >= {(p.row, p.column, p.problem) for p in planted}


def test_nothing_personal_stands_anywhere_in_the_clear(programme: Programme) -> None:
    """Not in a log, on a topic of ours, in what a process writes or measures. The partner's own topic is its own."""
    world = programme.world
    clear = {file.name: file.read_text(errors="replace") for file in (world.folder / "logs").glob("*.log*")}
    for service in HOUSE:
        for name in (f"{service}-api", f"{service}-worker"):
            clear[f"metrics of {name}"] = without_values(world.metrics_of(name))
        logged = world.rows(service, "SELECT * FROM log")
        clear[f"log of {service}"] = "\n".join(f"{in_the_clear(bytes(row.pop('value')))} {row}" for row in logged)
        for record in world.records([topic.name for topic in published_by(service)]):
            said = f"{in_the_clear(record.value)} {record.key!r} {record.headers!r}\n"
            clear[record.topic] = clear.get(record.topic, "") + said
    assert len(clear) > 30
    secrets = personal_texts(programme)
    assert len(secrets) > 500
    for place, text in clear.items():
        assert not re.findall(r"5270[0-9]{12}", text), f"a national id or family card number in {place}"
        assert PHONE.removeprefix("+") not in text, f"a telephone number in {place}"
        folded = text.casefold()
        words = set(re.findall(r"\w+", folded))
        possible = [secret for secret in secrets if words.issuperset(re.findall(r"\w+", secret))]
        found = [secret for secret in possible if re.search(rf"\b{re.escape(secret)}\b", folded)]
        assert not found, f"in {place}"


def without_values(metrics: str) -> str:
    """Names and labels. What is measured in seconds has as many digits as a national id."""
    return "\n".join(line if line.startswith("#") else line.rpartition(" ")[0] for line in metrics.splitlines())


def in_the_clear(value: bytes) -> str:
    """A fact without what is sealed in it, which must be no text that anybody can read."""
    fact = json.loads(value)
    for sealed in fact.pop("personal", {}).values():
        assert not base64.urlsafe_b64decode(sealed + "==").isascii()
    return json.dumps(fact, ensure_ascii=False)


def personal_texts(programme: Programme) -> set[str]:
    """Names, addresses and whatever facilitators wrote, in small letters."""
    texts = {NOTE, *until.CONTACTS, *programme.oracle.registry.names.values()}
    for read in programme.lists:
        with read.path.open(encoding="utf-8", newline="") as lines:
            for cells in csv.DictReader(lines):
                texts |= {cells["nama"], cells["kepala_keluarga"], cells["alamat"]}
    return {text.casefold() for text in texts if len(text) > 4}
