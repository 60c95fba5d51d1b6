"""From a message of Dinas Koperasi to the case of whom it was for: on a real PostgreSQL, with a registry over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.registry import PersonErased
from services.kit.jobs import run_job
from services.kit.outages import OUTAGES
from services.kit.schema_check import check_schema
from services.outcomes.interventions.decisions import id_of_report
from services.outcomes.interventions.state import subject_of
from services.outcomes.matching import forget_next, match_interventions, match_next
from services.outcomes.state import TABLES
from tests.outcomes.agency import Agency, an_agency
from tests.outcomes.facts import home_of, nominated, over, planned
from tests.outcomes.reports import (
    DEWI,
    DEWIS_NIK,
    IN_LOMBOK_TIMUR,
    IN_MALAKA,
    SARI,
    SARIS_NIK,
    STRANGERS_NIK,
    TODAY,
    VILLAGE,
    closed,
    financed,
    joined,
    mentored,
    met,
    opened,
)
from tests.support.databases import FreshDatabase
from tests.support.lab import eventually

NUMBERS = (SARIS_NIK, DEWIS_NIK, STRANGERS_NIK)
ONE = id_of_report("urn:dinkop", "m-1")


@pytest.fixture
async def agency(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Agency]:
    async with an_agency(fresh_database, tmp_path) as world:
        yield world


async def test_the_tables_are_what_their_rows_say(agency: Agency):
    async with agency.pool.acquire() as connection:
        await check_schema(connection, TABLES)


# --- Taking in --------------------------------------------------------------------------------------------------------


async def test_a_message_is_one_intervention_whose_number_stands_nowhere(agency: Agency):
    await agency.taken(financed(), financed(), mentored(DEWIS_NIK), ids=["m-1", "m-1", "m-2"])
    await agency.taken(financed(amount_rupiah=7), ids=["m-1"])
    assert await agency.names("outcomes.interventions") == ["InterventionReported"] * 2
    (_, said), _ = await agency.logged("outcomes.interventions")
    assert (said["intervention_id"], said["amount_rupiah"]) == (ONE, 5_000_000)
    assert list(said["personal"]) == [subject_of(ONE)]
    everything = await agency.everything()
    assert all(number not in everything for number in NUMBERS)


async def test_a_copy_that_comes_after_its_id_was_let_go_of_is_the_same_intervention(agency: Agency):
    await agency.taken(financed(), ids=["m-1"])
    await agency.given(opened())
    await agency.matched()
    await agency.pool.execute("DELETE FROM partner_message")
    await agency.taken(financed(), ids=["m-1"])
    assert await agency.matched() == 0
    assert await agency.names("outcomes.interventions") == ["InterventionReported", "InterventionMatched"]
    assert await agency.names("outcomes.cooperatives") == []
    assert await agency.rows("SELECT * FROM rejection") == []
    assert agency.readable() == set(), "no key was made anew"


async def test_what_cannot_be_taken_in_is_told_by_field_and_the_rest_of_the_batch_goes_on(agency: Agency):
    tomorrow = TODAY + timedelta(days=1)
    await agency.taken(
        mentored("123"), financed(on=tomorrow, amount_rupiah=0, scheme="kur"), mentored(), met(area_code="99.99.99")
    )
    told = await agency.logged("partners.dinkop.rejected")
    assert [{fault["field"] for fault in said["faults"]} for _, said in told] == [
        {"national_id"},
        {"granted_on", "amount_rupiah", "scheme"},
        {"area_code"},
    ]
    assert {name for name, _ in told} == {"SupportMessageRejected"}
    assert SARIS_NIK not in json.dumps(told)
    assert await agency.names("outcomes.interventions") == ["InterventionReported"]
    assert len(agency.readable()) == 1, "no key is made for what is refused"


async def test_a_batch_of_any_size_costs_as_many_statements_and_a_request_for_keys_per_500(agency: Agency):
    costs = []
    for size in (10, 1_190):
        before = agency.authority.asked["/keys/unwrap"]
        async with counted(agency) as statements:
            await agency.taken(*[mentored() for _ in range(size)])
        costs.append((len(statements), agency.authority.asked["/keys/unwrap"] - before))
    (few, one), (many, three) = costs
    assert (one, three) == (1, 3)
    assert few == many
    await agency.given(opened())
    costs = []
    for size in (500, 500, 200):
        async with counted(agency) as statements:
            assert await match_next(agency.context, agency.people) == size
        costs.append((len(statements), agency.authority.asked["/people/match"]))
    (statements_of_500, _), (as_many, _), (of_200, asked) = costs
    assert statements_of_500 == as_many == of_200
    assert asked == 3
    assert (await agency.rows("SELECT interventions FROM case_file"))[0]["interventions"] == 1_200


@asynccontextmanager
async def counted(agency: Agency) -> AsyncIterator[list[str]]:
    """The statements that the database runs in the block."""
    statements: list[str] = []

    def note(record: Any) -> None:
        # A new connection's driver asks about types, with settings of its own while it does.
        if "pg_catalog" not in record.query and "'jit'" not in record.query:
            statements.append(record.query)

    connections = [holder._con for holder in agency.pool._holders if holder._con is not None]
    for connection in connections:
        connection.add_query_logger(note)
    yield statements
    await asyncio.sleep(0)  # The driver calls its loggers in the loop's next turn.
    for connection in connections:
        connection.remove_query_logger(note)


# --- Matching ---------------------------------------------------------------------------------------------------------


async def test_what_is_matched_stands_on_the_case_and_its_number_is_forgotten(agency: Agency):
    await agency.given(opened())
    await agency.taken(financed(), joined(), mentored(STRANGERS_NIK), ids=["m-1", "m-2", "m-3"])
    assert await agency.matched() == 3
    states = {
        r["intervention_id"]: (r["status"], r["participant_id"], r["sealed"] is None)
        for r in await agency.rows("SELECT * FROM intervention")
    }
    third = id_of_report("urn:dinkop", "m-3")
    assert states == {
        ONE: ("matched", SARI, True),
        id_of_report("urn:dinkop", "m-2"): ("matched", SARI, True),
        third: ("unmatched", None, False),
    }
    assert await agency.names("outcomes.cases") == ["CaseOpened", "InterventionRecorded", "InterventionRecorded"]
    assert await agency.names("outcomes.cooperatives") == ["MemberRecruited"]
    assert agency.readable() == {third}
    assert await agency.rows("SELECT * FROM number_to_forget") == []
    assert await agency.matched() == 0


async def test_where_several_bear_the_number_nothing_is_guessed(agency: Agency):
    agency.authority.bearers[SARIS_NIK] = [SARI, DEWI]
    await agency.given(opened(), opened(DEWI))
    await agency.taken(mentored())
    await agency.matched()
    [row] = await agency.rows("SELECT status, because FROM intervention")
    assert row == {"status": "unmatched", "because": "several_bear_the_number"}


async def test_an_intervention_whose_key_is_lost_waits_for_an_officer_and_holds_up_nobody(agency: Agency):
    await agency.taken(mentored(), mentored(DEWIS_NIK), ids=["m-1", "m-2"])
    agency.authority.erased.add(subject_of(ONE))
    assert await agency.matched() == 2
    states = {r["intervention_id"]: r["status"] for r in await agency.rows("SELECT * FROM intervention")}
    assert states == {ONE: "unmatched", id_of_report("urn:dinkop", "m-2"): "matched"}


# --- Waiting for a case -----------------------------------------------------------------------------------------------


def erased(person: str) -> PersonErased:
    return PersonErased(
        participant_id=person, household_id=home_of(person), area_code=VILLAGE, basis="UU 27/2022 art. 8"
    )


async def test_what_is_matched_first_stands_on_the_case_when_the_cohort_is_completed(agency: Agency):
    await agency.told(planned())
    await agency.taken(financed(), joined(), mentored(DEWIS_NIK))
    await agency.matched()
    assert await agency.names("outcomes.cases") == []
    async with counted(agency) as statements:
        await agency.told(over(SARI, "p-somebody"))
    assert len([text for text in statements if "intervention" in text]) < 10
    recorded = [said for name, said in await agency.logged("outcomes.cases") if name == "InterventionRecorded"]
    assert {(said["case_id"], said["kind"]) for said in recorded} == {
        (SARI, "financing"),
        (SARI, "cooperative_membership"),
    }
    assert await agency.names("outcomes.cooperatives") == ["MemberRecruited"]


@pytest.mark.parametrize("matched_first", [True, False])
async def test_matching_while_the_case_is_being_opened_loses_nothing(agency: Agency, matched_first: bool):
    """Each half goes on as far as it can while the other one has not committed."""
    await agency.told(planned())
    await agency.taken(financed())
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        if matched_first:
            await agency.matched()
        else:
            await agency.told(over(SARI))

    async def second() -> None:
        if matched_first:
            await agency.told(over(SARI))
        else:
            await agency.matched()

    async def holding_back() -> None:
        # Whoever is first has done everything but commit: its log stands, and a lock keeps it from finishing.
        async with agency.pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE log IN EXCLUSIVE MODE")
            holding.set()
            await go_on.wait()

    held = asyncio.ensure_future(holding_back())
    await holding.wait()
    one = asyncio.ensure_future(first())
    await eventually(lambda: somebody_waits(agency, 1))
    other = asyncio.ensure_future(second())
    await eventually(lambda: somebody_waits(agency, 2))
    go_on.set()
    await asyncio.gather(held, one, other)
    assert await agency.names("outcomes.cases") == ["CaseOpened", "InterventionRecorded"]


async def somebody_waits(agency: Agency, how_many: int) -> bool:
    [row] = await agency.rows(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(row["n"] == how_many)


async def test_a_report_on_a_closed_case_that_is_of_before_is_recorded_and_one_of_an_erased_person_is_not(
    agency: Agency,
):
    await agency.given(opened(), closed(), opened(DEWI))
    await agency.told(nominated(DEWI), erased(DEWI))
    await agency.taken(financed(), financed(DEWIS_NIK))
    await agency.matched()
    recorded = [said for name, said in await agency.logged("outcomes.cases") if name == "InterventionRecorded"]
    assert [said["case_id"] for said in recorded] == [SARI]
    assert agency.readable() == set()


# --- Outages and crashes ----------------------------------------------------------------------------------------------


async def test_while_the_registry_is_away_nothing_is_taken_in_and_nothing_is_lost(agency: Agency):
    agency.authority.away = "/"
    with pytest.raises(OUTAGES):
        await agency.taken(financed(), ids=["m-1"])
    agency.authority.away = None
    await agency.taken(financed(), ids=["m-1"])
    assert await agency.names("outcomes.interventions") == ["InterventionReported"]


@pytest.mark.parametrize("away", ["/keys/unwrap", "/people/match", "/keys/destroy", "/"])
async def test_while_the_registry_is_away_the_job_waits_and_then_goes_on(agency: Agency, away: str):
    await agency.given(opened())
    await agency.taken(financed(), mentored(STRANGERS_NIK))
    agency.authority.away = away
    before = agency.authority.asked.total()
    job = asyncio.ensure_future(run_job(match_interventions, agency.context))
    await eventually(lambda: answer(agency.authority.asked.total() >= before + 4))
    assert len(agency.readable()) == 2
    decided = (await agency.names("outcomes.interventions"))[2:]
    assert len(decided) == (2 if away == "/keys/destroy" else 0)
    agency.authority.away = None
    await eventually(lambda: answer(len(agency.readable()) == 1))
    agency.context.stopping.set()
    await job
    decided = (await agency.names("outcomes.interventions"))[2:]
    assert sorted(decided) == ["InterventionMatched", "InterventionUnmatched"]
    assert await agency.names("outcomes.cases") == ["CaseOpened", "InterventionRecorded"]


async def answer(done: bool) -> bool:
    return done


async def test_a_key_that_could_not_be_destroyed_after_the_decision_is_destroyed_later(agency: Agency):
    await agency.taken(financed(), ids=["m-1"])
    assert await match_next(agency.context, agency.people) == 1
    # A worker that dies here leaves the note behind; so does a registry that is away.
    agency.authority.away = "/"
    with pytest.raises(OUTAGES):
        await forget_next(agency.context)
    assert agency.readable() == {ONE}
    agency.authority.away = None
    assert await forget_next(agency.context) == 1
    assert agency.readable() == set()
    assert await forget_next(agency.context) == 0


async def test_a_key_that_was_destroyed_before_the_worker_died_is_destroyed_again_without_harm(agency: Agency):
    await agency.taken(financed(), ids=["m-1"])
    await match_next(agency.context, agency.people)
    await agency.workplace.destroy_keys([subject_of(ONE)])
    assert await forget_next(agency.context) == 1
    assert await agency.rows("SELECT * FROM number_to_forget") == []


async def test_two_workers_share_the_work_and_decide_each_once(agency: Agency):
    await agency.given(opened())
    await agency.taken(*[financed() for _ in range(700)])
    done = await asyncio.gather(*(match_next(agency.context, agency.people) for _ in range(2)))
    assert sorted(done) == [200, 500]
    names = await agency.names("outcomes.interventions")
    assert (names.count("InterventionMatched"), names.count("InterventionReported")) == (700, 700)
    assert (await agency.rows("SELECT interventions FROM case_file"))[0]["interventions"] == 700


# --- Officers ---------------------------------------------------------------------------------------------------------


async def test_an_officer_sees_the_number_finds_whose_it_is_and_it_is_forgotten(agency: Agency):
    await agency.told(nominated(SARI))
    await agency.given(opened())
    await agency.taken(joined(STRANGERS_NIK), ids=["m-1"])
    await agency.matched()
    officer = agency.officer()
    [waiting] = (await officer.shown("/interventions", status="unmatched"))["items"]
    assert (waiting["intervention_id"], waiting["because"]) == (ONE, "nobody_bears_the_number")
    assert STRANGERS_NIK not in str(waiting)
    shown = await officer.shown(f"/interventions/{ONE}/national-id")
    assert shown == {"intervention_id": ONE, "national_id": STRANGERS_NIK}
    looks = await agency.rows("SELECT reader, purpose FROM read_log WHERE subject_id = $1", subject_of(ONE))
    assert {"reader": "officer-1", "purpose": "review-intervention"} in looks
    done = await officer.post(f"/interventions/{ONE}/match", {"participant_id": SARI})
    assert done.status_code == 200, done.text
    assert (done.json()["status"], done.json()["participant_id"], done.json()["matched_by"]) == (
        "matched",
        SARI,
        "officer-1",
    )
    assert await agency.names("outcomes.cases") == ["CaseOpened", "InterventionRecorded"]
    assert await agency.names("outcomes.cooperatives") == ["MemberRecruited"]
    await agency.matched()
    assert agency.readable() == set()
    gone = await officer.get(f"/interventions/{ONE}/national-id")
    assert (gone.status_code, gone.json()["code"]) == (410, "number-forgotten")
    again = await officer.post(f"/interventions/{ONE}/match", {"participant_id": SARI})
    assert (again.status_code, again.json()["code"]) == (409, "already-decided")


async def test_an_officer_dismisses_what_concerns_nobody_here(agency: Agency):
    await agency.taken(mentored(STRANGERS_NIK), ids=["m-1"])
    await agency.matched()
    officer = agency.officer()
    refused = await officer.post(f"/interventions/{ONE}/dismissal", {"because": "tidying"})
    assert refused.status_code == 422
    stale = await officer.post(f"/interventions/{ONE}/dismissal", {"because": "not_a_participant"}, If_Match='"1"')
    assert stale.status_code == 412
    done = await officer.post(f"/interventions/{ONE}/dismissal", {"because": "not_a_participant"})
    assert (done.status_code, done.json()["status"], done.json()["because"]) == (200, "dismissed", "not_a_participant")
    await agency.matched()
    assert agency.readable() == set()


async def test_what_an_officer_cannot_match_stays_unmatched(agency: Agency):
    await agency.told(nominated(SARI), nominated(DEWI, area_code=IN_MALAKA))
    await agency.taken(mentored(STRANGERS_NIK), ids=["m-1"])
    officer = agency.officer()
    early = await officer.post(f"/interventions/{ONE}/match", {"participant_id": SARI})
    assert (early.status_code, early.json()["code"]) == (409, "not-looked-up-yet")
    await agency.matched()
    for person, status in (("p-nobody", 404), (DEWI, 403)):
        assert (await officer.post(f"/interventions/{ONE}/match", {"participant_id": person})).status_code == status
    assert (await officer.post("/interventions/nothing/match", {"participant_id": SARI})).status_code == 404
    assert (await officer.shown(f"/interventions/{ONE}"))["status"] == "unmatched"
    assert agency.readable() == {ONE}


async def test_an_intervention_is_a_matter_of_the_province_whoever_it_concerns(agency: Agency):
    await agency.taken(mentored(STRANGERS_NIK), ids=["m-1"])
    await agency.matched()
    for areas, seen in ((["52"], 1), (["*"], 1), (["52.01"], 0), (["53.21"], 0), ([], 0)):
        caller = agency.caller("officer", areas=areas)
        assert len((await caller.shown("/interventions"))["items"]) == seen, areas
        assert (await caller.get(f"/interventions/{ONE}")).status_code == (200 if seen else 404)
        assert (await caller.get(f"/interventions/{ONE}/national-id")).status_code == (200 if seen else 404)
        if not seen:
            tried = await caller.post(f"/interventions/{ONE}/dismissal", {"because": "reported_twice"})
            assert tried.status_code == 403
    for role in ("facilitator", "district", "auditor", "operator"):
        caller = agency.caller(role)
        assert len((await caller.shown("/interventions"))["items"]) == 1
        assert (await caller.get(f"/interventions/{ONE}/national-id")).status_code == 403
        assert (await caller.post(f"/interventions/{ONE}/match", {"participant_id": SARI})).status_code == 403
    assert (await agency.caller("partner:dinkop").get("/interventions")).status_code == 403


async def test_interventions_are_listed_page_by_page_and_by_what_is_asked_for(agency: Agency):
    await agency.given(opened())
    await agency.taken(financed(), mentored(), mentored(DEWIS_NIK), mentored(STRANGERS_NIK))
    await agency.matched()
    officer = agency.officer()
    first = await officer.shown("/interventions", limit=3)
    rest = await officer.shown("/interventions", limit=3, cursor=first["next"])
    ids = [item["intervention_id"] for item in first["items"] + rest["items"]]
    assert len(set(ids)) == 4
    assert rest["next"] is None
    for asked, count in ({"kind": "mentoring"}, 3), ({"participant": SARI}, 2), ({"status": "unmatched"}, 1):
        assert len((await officer.shown("/interventions", **asked))["items"]) == count, asked


async def test_whoever_sees_a_case_sees_what_was_done_for_the_participant_and_nobody_else(agency: Agency):
    await agency.given(opened(), opened(DEWI, IN_LOMBOK_TIMUR))
    await agency.taken(financed(), financed(DEWIS_NIK))
    await agency.matched()
    for areas, seen in (("52.01", [SARI]), ("52.03", [DEWI]), ("52", [DEWI, SARI]), ("", []), ("53", [])):
        async with agency.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('entas.areas', $1, true)", areas)
            await connection.execute("SET LOCAL ROLE entas_reader")
            rows = await connection.fetch("SELECT case_id FROM case_intervention ORDER BY 1")
            assert [row["case_id"] for row in rows] == seen, areas


@pytest.mark.parametrize("table", ["cooperative_member", "number_to_forget"])
async def test_a_reader_may_not_ask_who_joined_what_or_what_is_to_be_forgotten(agency: Agency, table: str):
    async with agency.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('entas.areas', '*', true)")
        await connection.execute("SET LOCAL ROLE entas_reader")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT 1 FROM {table}")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "SELECT intervention_id FROM intervention WHERE status = 'reported' ORDER BY reported_at, intervention_id "
            "LIMIT 500 FOR UPDATE SKIP LOCKED",
            "intervention_to_match",
        ),
        (
            "SELECT intervention_id FROM intervention i WHERE i.participant_id = ANY('{p-1,p-2}'::text[]) "
            "AND i.status = 'matched'",
            "intervention_by_participant",
        ),
    ],
)
async def test_what_the_worker_asks_again_and_again_is_found_by_an_index(agency: Agency, query: str, index: str):
    await agency.pool.execute(
        """
        INSERT INTO intervention (intervention_id, version, area_code, status, kind, system, given_on, reported_at,
                                  participant_id)
        SELECT 'i-' || n, 1, '52', CASE WHEN n % 100 = 0 THEN 'reported' ELSE 'matched' END, 'mentoring', 'dinkop',
               '2024-08-01', now(), CASE WHEN n % 100 = 0 THEN NULL ELSE 'p-' || n END
        FROM generate_series(1, 20000) AS n
        """
    )
    await agency.pool.execute("ANALYZE intervention")
    plan = "\n".join(row[0] for row in await agency.pool.fetch(f"EXPLAIN {query}"))
    assert index in plan
