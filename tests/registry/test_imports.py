"""Lists through the API and the worker's job, on a real PostgreSQL."""

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.registry.snapshots import imports
from tests.registry.importing import ELSEWHERE, Registry, csv_of, family, nik, running_registry
from tests.support.databases import FreshDatabase
from tests.support.lab import eventually

STAGING = ("snapshot_row", "snapshot_family", "snapshot_spared")


@pytest.fixture
async def registry(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Registry]:
    async with running_registry(fresh_database, tmp_path) as running:
        yield running


async def nothing_is_staged(registry: Registry) -> bool:
    return not any([await registry.value(f"SELECT count(*) FROM {table}") for table in STAGING])


# --- The first list ---------------------------------------------------------------------------------------------------


async def test_a_list_is_received_and_then_applied(registry: Registry):
    content = csv_of(family(1, people=3), family(2))
    received = await registry.upload(content, file_name="p3ke juni.csv")
    report = received.json()
    snapshot = report["snapshot"]
    assert received.status_code == 201
    assert received.headers["location"] == f"/snapshots/{snapshot['snapshot_id']}"
    assert (received.headers["etag"], snapshot["state"], snapshot["version"]) == ('"1"', "received", 1)
    assert received.headers["stream-version"] == f"registry.snapshots/{snapshot['snapshot_id']}=1"
    assert {name: report[name] for name in ("rows", "rows_rejected", "households", "people", "problems")} == {
        "rows": 5,
        "rows_rejected": 0,
        "households": 2,
        "people": 5,
        "problems": [],
    }
    assert report["file_digest"] == hashlib.sha256(content).hexdigest()
    await registry.apply()
    applied = await registry.get(received.headers["location"])
    shown = applied.json()
    assert (applied.headers["etag"], shown["state"], shown["file_name"]) == ('"2"', "applied", "p3ke juni.csv")
    counts = ("households_on_list", "people_on_list", "listed", "rank_changed", "unchanged", "delisted", "unresolved")
    assert [shown[name] for name in counts] == [2, 5, 2, 0, 0, 0, 0]
    assert await registry.facts() == ["SnapshotReceived", "HouseholdListed", "HouseholdListed", "SnapshotApplied"]


async def test_every_household_can_be_traced_to_its_row_and_cause(registry: Registry):
    content = csv_of(family(1), family(2))
    await registry.take_in(content, headers={"X-Correlation-Id": "the-upload"})
    homes = await registry.households()
    assert {family_id: home["file_row"] for family_id, home in homes.items()} == {"K-1": 2, "K-2": 4}
    assert {home["file_digest"] for home in homes.values()} == {hashlib.sha256(content).hexdigest()}
    log = await registry.fetch("SELECT event_id, causation_id, correlation_id, actor FROM log ORDER BY id")
    assert {row["correlation_id"] for row in log} == {"the-upload"}
    assert [row["causation_id"] for row in log] == [None, *[log[0]["event_id"]] * 3]
    assert [row["actor"] for row in log] == ["officer-1", *["importer"] * 3]


async def test_listed_people_can_be_found_by_nik_and_name(registry: Registry):
    await registry.take_in(csv_of(family(1), family(2)))
    people = await registry.fetch("SELECT household_id, national_id, name FROM person_search ORDER BY name")
    assert [person["name"] for person in people] == ["anak c", "anak c", "inaq b", "inaq c"]
    assert [person["national_id"] is not None for person in people] == [False, False, True, True]


async def test_no_personal_value_stands_in_the_clear_before_or_after(registry: Registry):
    await registry.upload(csv_of(family(1)))
    secrets = [nik(1), "Inaq", "Dusun", "K-1", "1980-07-01"]

    async def found() -> list[tuple[str, str]]:
        tables = [
            row["tablename"]
            for row in await registry.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        texts = {
            table: str(await registry.fetch(f"SELECT t::text FROM {table} t"))
            for table in tables
            if table != "person_search"
        }
        hexed = [secret.encode().hex() for secret in secrets]
        return [(table, secret) for table, text in texts.items() for secret in (*secrets, *hexed) if secret in text]

    assert await registry.value("SELECT count(*) FROM snapshot_row") == 2
    assert await found() == []
    await registry.apply()
    assert await registry.value("SELECT count(*) FROM log") == 3
    assert await found() == []


async def test_what_was_staged_is_gone_when_the_list_is_applied_and_its_key_with_it(registry: Registry):
    received = await registry.upload(csv_of(family(1)))
    assert await registry.value("SELECT wrapped_key IS NOT NULL FROM snapshot_import")
    await registry.apply()
    assert await nothing_is_staged(registry)
    assert await registry.fetch("SELECT stage, wrapped_key FROM snapshot_import") == [
        {"stage": "swept", "wrapped_key": None}
    ]
    assert received.status_code == 201


# --- What is reported -------------------------------------------------------------------------------------------------


async def test_bad_rows_are_reported_with_row_column_reason_and_remedy_and_good_ones_taken(registry: Registry):
    bad_child = family(1, people=3)
    bad_child[2]["nik"] = "12"
    bad_decile = family(2, desil_kesejahteraan=11)
    received = await registry.upload(csv_of(bad_child, bad_decile, family(3)))
    report = received.json()
    assert (report["rows"], report["rows_rejected"], report["households"], report["people"]) == (7, 3, 2, 4)
    assert [(p["row"], p["column"], p["severity"]) for p in report["problems"]] == [
        (4, "nik", "rejection"),
        (5, "desil_kesejahteraan", "rejection"),
        (6, "desil_kesejahteraan", "rejection"),
    ]
    assert all(problem["reason"] and problem["remedy"] for problem in report["problems"])
    pages = await registry.get(report["all_problems"], limit=2)
    rest = await registry.get(report["all_problems"], limit=2, cursor=pages.json()["next"])
    assert pages.json()["items"] + rest.json()["items"] == report["problems"]
    assert rest.json()["next"] is None
    sheet = await registry.get(report["all_problems"] + ".csv")
    assert sheet.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [(int(row["row"]), row["column"]) for row in rows] == [(p["row"], p["column"]) for p in report["problems"]]


def changed(rows: list[dict[str, str]], at: int, **cells: str) -> list[dict[str, str]]:
    return [row | cells if number == at else row for number, row in enumerate(rows)]


MOTHER, CHILD = family(1)
SLIPPED = [row | {"tanggal_lahir": "2015-03-01"} for row in family(1, people=51)]
FAULTY: dict[str, tuple[list[list[dict[str, str]]], set[tuple[int, str]]]] = {
    "neighbours that contradict each other": (
        [changed(family(1, people=3), 1, persentil="9")],
        {(2, "family-not-taken"), (3, "family-conflict")},
    ),
    "rows that stand apart and contradict each other": (
        [[MOTHER], family(2), [CHILD | {"persentil": "9"}]],
        {(2, "family-not-taken"), (5, "family-conflict")},
    ),
    "nobody is the head": ([changed(family(1), 0, hubungan_kepala_keluarga="Anak")], {(2, "no-head")}),
    "both are the head": ([changed(family(1), 1, hubungan_kepala_keluarga="Kepala Keluarga")], {(2, "several-heads")}),
    "the head's row is rejected": ([changed(family(1), 0, nik="1")], {(2, "not-16-digits"), (3, "no-head")}),
    "a whole town is one family": (
        [changed(SLIPPED, 0, tanggal_lahir="1980-07-01")],
        {(2, "too-many-people")},
    ),
}


async def test_a_family_that_contradicts_itself_is_not_taken_and_the_reason_is_reported(registry: Registry):
    for families, problems in FAULTY.values():
        received = await registry.upload(csv_of(*families, family(3)), dry_run=True)
        report = received.json()
        assert {(problem["row"], problem["code"]) for problem in report["problems"]} == problems
        assert report["rows_rejected"] == report["rows"] - report["people"] > 0


async def test_rows_of_one_family_that_stand_apart_are_one_family(registry: Registry):
    mother, child = family(1)
    snapshot = await registry.take_in(csv_of([mother], family(2), [child]))
    assert (snapshot["households"], snapshot["people"], snapshot["rows_rejected"]) == (2, 4, 0)
    assert (await registry.households())["K-1"]["people"] == 2


async def test_a_row_that_stands_twice_counts_once(registry: Registry):
    snapshot = await registry.take_in(csv_of(family(1), family(2), family(1)))
    assert (snapshot["rows"], snapshot["rows_rejected"], snapshot["households"], snapshot["people"]) == (6, 2, 2, 4)
    problems = await registry.get(f"/snapshots/{snapshot['snapshot_id']}/problems")
    assert [(p["row"], p["code"], p["reason"][-7:]) for p in problems.json()["items"]] == [
        (6, "person-repeated", " row 2."),
        (7, "person-repeated", " row 3."),
    ]
    assert (await registry.households())["K-1"]["people"] == 2


async def test_the_same_person_in_two_families_is_reported_and_both_are_listed(registry: Registry):
    both = csv_of(family(1), family(2, nik=nik(1))[:1])
    snapshot = await registry.take_in(both)
    assert (snapshot["listed"], snapshot["unresolved"]) == (2, 0)
    (problem,) = (await registry.get(f"/snapshots/{snapshot['snapshot_id']}/problems")).json()["items"]
    assert (problem["row"], problem["code"], problem["severity"]) == (4, "person-in-several-families", "warning")
    assert "row 2" in problem["reason"]


async def test_a_row_outside_the_declared_areas_is_reported(registry: Registry):
    received = await registry.upload(csv_of(family(1), family(2, kode_kemdagri=ELSEWHERE)), areas=["52.01"])
    assert [(p["row"], p["code"]) for p in received.json()["problems"]] == [(4, "outside-areas"), (5, "outside-areas")]
    assert received.json()["snapshot"]["area_code"] == "52.01"


# --- Refused as a whole -----------------------------------------------------------------------------------------------


async def test_a_list_without_a_good_household_is_refused_and_says_why(registry: Registry):
    refused = await registry.upload(csv_of(family(1, kode_kemdagri="99")))
    assert (refused.status_code, refused.json()["code"]) == (422, "no-good-household")
    assert refused.json()["errors"][0]["field"] == "body.2.kode_kemdagri"
    assert await nothing_is_staged(registry)
    assert await registry.value("SELECT count(*) FROM log") == 0


async def test_a_file_that_is_no_list_is_refused_with_a_remedy(registry: Registry):
    bodies = {
        b"": "unreadable-list",
        b"a;b;c\n1;2;3\n": "unreadable-list",
        "nama\n".encode("utf-16"): "unreadable-list",
        csv_of(): "no-good-household",
    }
    for body, code in bodies.items():
        refused = await registry.upload(body)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
        assert refused.json()["remedy"]
    assert await registry.value("SELECT count(*) FROM snapshot_import") == 0


MAY_NOT_BE: list[tuple[dict[str, Any], int, str]] = [
    ({"role": "facilitator"}, 403, "forbidden"),
    ({"role": "partner:dukcapil"}, 403, "forbidden"),
    ({"own_areas": ["52.01"]}, 403, "forbidden"),
    ({"areas": ["77"]}, 422, "wrong-areas"),
    ({"areas": []}, 422, "invalid-request"),
    ({"dated": "2024-07-09"}, 422, "list-from-the-future"),
    ({"dated": "yesterday"}, 422, "invalid-request"),
    ({"source": "p3ke"}, 422, "invalid-request"),
    ({"file_name": "5270014107800001.csv"}, 422, "invalid-request"),
    ({"headers": {"Content-Type": "application/json"}}, 415, "no-csv"),
    ({"headers": {"Content-Encoding": "gzip"}}, 415, "no-csv"),
    ({"headers": {"Idempotency-Key": ""}}, 400, "idempotency-key"),
    ({"headers": {"Authorization": "Bearer none"}}, 401, "unauthenticated"),
]


async def test_an_upload_that_may_not_be_is_refused(registry: Registry):
    for said, status, code in MAY_NOT_BE:
        refused = await registry.upload(csv_of(family(1)), **said)
        assert (refused.status_code, refused.json()["code"]) == (status, code), said
        assert "5270014107800001" not in refused.text
    assert await registry.value("SELECT count(*) FROM snapshot_import") == 0


async def test_bappeda_may_send_the_list_of_its_areas(registry: Registry):
    received = await registry.upload(csv_of(family(1)), role="partner:bappeda", own_areas=["52.01"], areas=["52.01"])
    assert received.status_code == 201


async def test_a_list_of_other_areas_is_hidden(registry: Registry):
    snapshot = await registry.take_in(csv_of(family(1)), areas=["52.01"])
    path = f"/snapshots/{snapshot['snapshot_id']}"
    for hidden in (path, f"{path}/problems", f"{path}/problems.csv", "/snapshots/no-such-thing"):
        assert (await registry.get(hidden, areas=["52.02"])).status_code == 404
    assert (await registry.get("/snapshots", areas=["52.02"])).json()["items"] == []
    assert len((await registry.get("/snapshots", areas=["52.01"])).json()["items"]) == 1
    assert (await registry.get("/snapshots", role="facilitator")).status_code == 403


# --- Dry runs, copies and what breaks off -----------------------------------------------------------------------------


async def test_a_dry_run_reports_the_same_and_keeps_nothing(registry: Registry):
    content = csv_of(family(1), family(2, kode_kemdagri="99"))
    dry = await registry.upload(content, dry_run=True)
    assert (dry.status_code, dry.json()["snapshot"], dry.json()["dry_run"]) == (200, None, True)
    assert await nothing_is_staged(registry)
    assert await registry.value("SELECT count(*) FROM snapshot_import") == 0
    assert await registry.value("SELECT count(*) FROM snapshot_problem") == 0
    assert await registry.value("SELECT count(*) FROM log") == 0
    wet = await registry.upload(content)
    alike = ("file_digest", "rows", "rows_rejected", "households", "people", "problem_counts", "problems")
    assert {name: dry.json()[name] for name in alike} == {name: wet.json()[name] for name in alike}


async def test_the_same_file_again_does_nothing(registry: Registry):
    content = csv_of(family(1))
    first = await registry.upload(content)
    while_it_waits = await registry.upload(content)
    await registry.apply()
    facts = await registry.facts()
    again = await registry.upload(content, file_name="other name.csv")
    for copy, state in ((while_it_waits, "received"), (again, "applied")):
        assert (copy.status_code, copy.json()["received_before"]) == (200, True)
        assert copy.json()["snapshot"]["snapshot_id"] == first.json()["snapshot"]["snapshot_id"]
        assert copy.json()["snapshot"]["state"] == state
    assert await registry.apply() == 0
    assert await registry.facts() == facts
    assert await registry.value("SELECT count(*) FROM snapshot_import") == 1


async def test_the_same_file_sent_twice_at_once_is_received_once(registry: Registry):
    content = csv_of(*[family(n) for n in range(300)])
    answers = await asyncio.gather(registry.upload(content), registry.upload(content))
    assert sorted(answer.status_code for answer in answers) == [200, 201]
    assert await registry.facts() == ["SnapshotReceived"]


async def test_an_idempotency_key_stands_for_the_file_too(registry: Registry):
    key = {"Idempotency-Key": "one-key"}
    first = await registry.upload(csv_of(family(1)), headers=key)
    copy = await registry.upload(csv_of(family(1)), headers=key)
    other = await registry.upload(csv_of(family(2)), headers=key)
    assert (copy.status_code, copy.json(), copy.headers["idempotency-replayed"]) == (201, first.json(), "true")
    assert (other.status_code, other.json()["code"]) == (422, "key-used-otherwise")
    assert await registry.value("SELECT count(*) FROM snapshot_import") == 1


async def test_an_older_list_is_refused_but_the_same_old_file_is_still_known(registry: Registry):
    old = csv_of(family(1))
    await registry.take_in(old, dated="2024-01-31")
    await registry.take_in(csv_of(family(1), family(2)), dated="2024-06-30")
    refused = await registry.upload(csv_of(family(3)), dated="2024-03-31")
    assert (refused.status_code, refused.json()["code"]) == (409, "older-list")
    refused = await registry.upload(csv_of(family(3)), dated="2024-01-31")
    assert (refused.status_code, refused.json()["code"]) == (409, "older-list")
    known = await registry.upload(old, dated="2024-01-31")
    assert (known.status_code, known.json()["received_before"]) == (200, True)


async def test_an_upload_that_breaks_off_leaves_nothing_behind(registry: Registry):
    content = csv_of(*[family(n) for n in range(6_000)])

    async def broken_off() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]
        await eventually(lambda: registry.value("SELECT count(*) > 0 FROM snapshot_row"))
        raise ConnectionResetError("the cable was pulled")

    with pytest.raises((ConnectionResetError, httpx.HTTPError)):
        await registry.upload(broken_off())

    async def clean() -> bool:
        return not await registry.value("SELECT count(*) FROM snapshot_import") and await nothing_is_staged(registry)

    await eventually(clean)
    assert (await registry.upload(content)).status_code == 201


async def test_a_sender_who_has_gone_silent_is_cut_off(registry: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imports, "STALLED_SECONDS", 0.2)
    for_ever = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield csv_of(family(1))
        await for_ever.wait()

    sending = asyncio.ensure_future(registry.upload(silent()))
    await eventually(lambda: registry.value("SELECT count(*) = 1 FROM snapshot_import"))
    await eventually(lambda: registry.value("SELECT count(*) = 0 FROM snapshot_import"))
    assert not sending.done()
    for_ever.set()
    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (408, "stalled")
    monkeypatch.undo()
    assert (await registry.upload(csv_of(family(1)))).status_code == 201


async def test_no_more_than_two_lists_come_in_at_once(registry: Registry):
    go_on = asyncio.Event()
    content = csv_of(family(1))

    async def slow() -> AsyncIterator[bytes]:
        yield content[:100]
        await go_on.wait()
        yield content[100:]

    waiting = [asyncio.ensure_future(registry.upload(slow(), dry_run=True)) for _ in range(2)]
    await eventually(lambda: registry.value("SELECT count(*) = 2 FROM snapshot_import"))
    refused = await registry.upload(content)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert (await registry.upload(content)).status_code == 201
