"""HTTP in, over real sockets, on a real PostgreSQL: answered once, areas kept apart, nothing hostile gets through."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio

from deploy.local.daemon import free_ports
from services.kit.app import MAX_BODY_BYTES, api_app
from services.kit.auth import Principal, ServiceToken
from services.kit.database import open_pool
from services.kit.http import Reads
from services.kit.keyring import BorrowedKeys, LocalKeys
from services.kit.keys import RemoteKeys
from services.kit.settings import Settings
from services.kit.transaction import Workplace, acting_as
from services.kit.trust import trusted
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.support.cable import Cable, cable_to
from tests.support.databases import Databases
from tests.support.lab import MASTER_KEY, NOW, Lab, Name, eventually, migrate_lab
from tests.support.lab_service.service import service_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NIK = "5270010101010001"
POOL_SIZE = 4


@dataclass
class World:
    """The lab's API, an issuer, and somebody to call it. Each test counts with counters of its own."""

    lab: Lab
    dsn: str
    pool: Any
    workplace: Workplace
    client: httpx.AsyncClient
    base: str
    signing_key: Any
    cable: Cable
    settings: Settings
    keys: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def bearer(self, *roles: str, areas: tuple[str, ...] = ("*",), subject: str = "officer-7") -> dict[str, str]:
        made = token(self.signing_key, roles=list(roles or ("officer",)), areas=list(areas), sub=subject)
        return {"Authorization": f"Bearer {made}"}

    async def post(self, path: str, body: Any, **said: str) -> httpx.Response:
        """Posts as an officer of the whole country; headers by keyword."""
        headers = self.bearer() | {"Idempotency-Key": f"key-{next(self.keys)}"} | headers_of(said)
        if isinstance(body, bytes):
            headers = {"Content-Type": "application/json"} | headers
            return await self.client.post(path, content=body, headers=headers)
        return await self.client.post(path, json=body, headers=headers)

    async def count(self, counter: str, amount: int = 1, **said: str) -> httpx.Response:
        return await self.post(f"/counters/{counter}/counts", {"amount": amount}, **said)

    async def get(self, path: str, *, bearer: dict[str, str] | None = None, **said: str) -> httpx.Response:
        return await self.client.get(path, headers=(bearer or self.bearer()) | headers_of(said))

    async def version(self, counter: str) -> int:
        return await self.pool.fetchval("SELECT version FROM counter WHERE counter_id = $1", counter) or 0

    async def busy_backends(self) -> list[str]:
        """What the API's connections are in the middle of."""
        rows = await self.pool.fetch(
            "SELECT state, query FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'entas' AND state <> 'idle'"
        )
        return [f"{row['state']}: {row['query']}" for row in rows]

    async def raw(self, request: bytes, *, answer: bool = True) -> bytes:
        """Sends these very bytes over a connection of its own; the answer, or nothing if the caller hangs up first."""
        place = urlsplit(self.base)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(65536), 10) if answer else b""
        finally:
            writer.close()


def headers_of(said: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in said.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(databases: Databases) -> AsyncIterator[World]:
    lab = Lab()
    dsn = await databases.clone("lab", migrate_lab)
    async with AsyncExitStack() as opened:
        opened.callback(lab.forget)
        opened.push_async_callback(databases.drop, dsn)
        cable, by_cable = await opened.enter_async_context(cable_to(dsn))
        pool = await opened.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=4))
        api_pool = await open_pool(by_cable, size=POOL_SIZE)
        opened.callback(api_pool.terminate)
        service = service_of(lab)
        workplace = Workplace(service.name, api_pool, service.tables, LocalKeys(MASTER_KEY), lambda: NOW, lambda: None)
        issuer = Issuer()
        signing_key = issuer.publish("first")
        issuer_url = await opened.enter_async_context(served(issuer.app))
        settings = Settings(
            environment="test",
            database_url=dsn,
            kafka_bootstrap="localhost:1",
            token_issuer=ISSUER,
            jwks_url=f"{issuer_url}/jwks",
        )

        async def health() -> dict[str, Any]:
            return {"ready": True}

        base = await opened.enter_async_context(served(api_app(service, settings, workplace, health)))
        client = await opened.enter_async_context(httpx.AsyncClient(base_url=base, timeout=20, verify=trusted()))
        yield World(lab, dsn, pool, workplace, client, base, signing_key, cable, settings)


def assert_problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Problem details of this status that hold nothing that looks like a national id."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    if code is not None:
        assert body["code"] == code
    assert NIK not in answer.text
    return body


def fields_of(problem: dict[str, Any]) -> set[str]:
    return {error["field"] for error in problem["errors"]}


# --- Idempotency ------------------------------------------------------------------------------------------------------


async def test_a_repeated_request_gets_the_very_same_answer_and_does_nothing_twice(world: World):
    first = await world.count("i1", 5, Idempotency_Key="same")
    assert (first.status_code, first.json()["total"], first.headers["etag"]) == (201, 5, '"1"')
    await world.count("i1", 2)
    again = await world.count("i1", 5, Idempotency_Key="same")
    assert (again.status_code, again.content) == (201, first.content)
    for header in ("etag", "stream-version", "content-type"):
        assert again.headers[header] == first.headers[header]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await world.version("i1") == 2


async def test_a_key_that_was_used_for_another_request_is_refused(world: World):
    await world.count("i2", 5, Idempotency_Key="used")
    for answer in [
        await world.count("i2", 6, Idempotency_Key="used"),
        await world.count("i2-other", 5, Idempotency_Key="used"),
        await world.post("/counters/i2/counts?x=1", {"amount": 5}, Idempotency_Key="used"),
    ]:
        problem = assert_problem(answer, 422, "key-used-otherwise")
        assert fields_of(problem) == {"header.Idempotency-Key"}
    assert await world.version("i2") == 1


async def test_the_same_key_of_another_caller_is_another_request(world: World):
    await world.count("i3", 5, Idempotency_Key="shared")
    other = await world.count("i3", 7, Idempotency_Key="shared", **world.bearer(subject="officer-8"))
    assert (other.status_code, other.json()["total"]) == (201, 12)


async def test_of_two_requests_with_one_key_at_once_one_is_done_and_one_told_to_wait(world: World):
    await world.count("i4", 1)
    async with world.pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM counter WHERE counter_id = 'i4' FOR UPDATE")
        first = asyncio.ensure_future(world.count("i4", 5, Idempotency_Key="twice"))
        await eventually(lambda: waits_for_a_lock(world))
        second = await world.count("i4", 5, Idempotency_Key="twice")
        assert_problem(second, 409, "request-in-flight")
    answer = await first
    third = await world.count("i4", 5, Idempotency_Key="twice")
    assert (answer.status_code, third.content) == (201, answer.content)
    assert await world.version("i4") == 2


async def waits_for_a_lock(world: World) -> bool:
    return any("counter" in query and query.startswith("active") for query in await world.busy_backends())


async def test_a_refused_command_is_not_remembered(world: World):
    refused = await world.count("i5", 13, Idempotency_Key="again")
    problem = assert_problem(refused, 409, "unlucky")
    assert problem["remedy"] == "Count to fourteen."
    assert await world.version("i5") == 0
    mended = await world.count("i5", 14, Idempotency_Key="again")
    assert mended.status_code == 201


async def test_a_request_whose_answer_was_lost_is_answered_when_it_comes_again(world: World):
    # The commit is done and the caller is gone before the answer: as when the process dies between the two.
    body = b'{"amount":5}'
    bearer = world.bearer()["Authorization"]
    request = (
        f"POST /counters/i6/counts HTTP/1.1\r\nHost: lab\r\nAuthorization: {bearer}\r\nIdempotency-Key: lost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    async with world.pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE counter IN SHARE ROW EXCLUSIVE MODE")
        await world.raw(request, answer=False)
        await eventually(lambda: waits_for_a_lock(world))
    await eventually(lambda: world.version("i6"))
    again = await world.post("/counters/i6/counts", body, Idempotency_Key="lost")
    assert (again.status_code, again.json()["total"], again.headers["idempotency-replayed"]) == (201, 5, "true")
    assert await world.version("i6") == 1


@pytest.mark.parametrize("key", ["", "x" * 129, "with space", "schlüssel"])
async def test_a_bad_idempotency_key_is_refused(world: World, key: str):
    answer = await world.client.post(
        "/counters/i7/counts",
        json={"amount": 1},
        headers=[(n.encode(), v.encode("latin-1")) for n, v in (world.bearer() | {"Idempotency-Key": key}).items()],
    )
    assert fields_of(assert_problem(answer, 400, "idempotency-key")) == {"header.Idempotency-Key"}


async def test_a_missing_idempotency_key_is_refused(world: World):
    answer = await world.client.post("/counters/i7/counts", json={"amount": 1}, headers=world.bearer())
    assert_problem(answer, 400, "idempotency-key")
    assert await world.version("i7") == 0


async def test_two_that_begin_one_stream_at_once_are_both_done_when_the_loser_comes_again(world: World):
    answers = await asyncio.gather(*[world.count("i8", 1, Idempotency_Key=f"begin-{n}") for n in range(8)])
    assert {answer.status_code for answer in answers} <= {201, 503}
    for n, answer in enumerate(answers):
        while answer.status_code == 503:
            answer = await world.count("i8", 1, Idempotency_Key=f"begin-{n}")
    assert await world.version("i8") == 8
    assert await world.pool.fetchval("SELECT total FROM counter WHERE counter_id = 'i8'") == 8


# --- Versions ---------------------------------------------------------------------------------------------------------


async def test_if_match_lets_only_the_version_through_that_it_names(world: World):
    first = await world.count("v1", 1)
    assert first.headers["stream-version"] == f"{world.lab.topic}/v1=1"
    second = await world.count("v1", 1, If_Match=first.headers["etag"])
    assert (second.status_code, second.headers["etag"]) == (201, '"2"')
    stale = await world.count("v1", 1, If_Match=first.headers["etag"])
    problem = assert_problem(stale, 412, "version-changed")
    assert "version 1" in problem["detail"]
    assert "version 2" in problem["detail"]
    assert (await world.count("v1", 1, If_Match="*")).status_code == 201
    assert_problem(await world.count("v1", 1, If_Match="W/7"), 400, "if-match")
    assert await world.version("v1") == 3


async def test_a_read_waits_for_the_version_that_it_must_know(world: World):
    await world.count("w1", 1)
    waiting = asyncio.ensure_future(world.get("/counters", Wait_For_Version=f"{world.lab.topic}/w1=2"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await world.count("w1", 1)
    answer = await waiting
    assert {c["counter_id"]: c["version"] for c in answer.json()}["w1"] == 2
    at_once = await world.get("/counters", Wait_For_Version=f"{world.lab.topic}/w1=1")
    assert at_once.status_code == 200


async def test_a_version_that_does_not_come_is_a_504_that_names_the_version_reached(world: World):
    await world.count("w2", 1)
    answer = await world.get("/counters", Wait_For_Version=f"{world.lab.topic}/w2=9")
    problem = assert_problem(answer, 504, "not-there-yet")
    assert "has reached version 1, not 9 yet" in problem["detail"]
    assert answer.headers["retry-after"] == "1"
    assert answer.elapsed.total_seconds() < 4


async def test_nobody_waits_for_a_partition_that_stands_still(world: World):
    stop = "INSERT INTO cursor VALUES ($1, $2, 0, -1, NULL, 'planted')"
    stands, runs = (
        "w3",
        next(f"w3-{n}" for n in range(99) if partition_of(world, f"w3-{n}") != partition_of(world, "w3")),
    )
    await world.count(runs, 1)
    await world.pool.execute(stop, world.lab.topic, partition_of(world, stands))
    try:
        answer = await world.get("/counters", Wait_For_Version=f"{world.lab.topic}/{stands}=1")
        assert_problem(answer, 503, "projection-stopped")
        assert answer.elapsed.total_seconds() < 1
        other = await world.get("/counters", Wait_For_Version=f"{world.lab.topic}/{runs}=1")
        assert other.status_code == 200, "a stream of another partition is not concerned"
    finally:
        await world.pool.execute("DELETE FROM cursor")


def partition_of(world: World, counter: str) -> int:
    from contracts.topics import TOPICS
    from services.kit.partition import partition_for

    return partition_for(counter, TOPICS[world.lab.topic].partitions)


@pytest.mark.parametrize(
    "header",
    [
        "nonsense",
        "registry.participants/p1=1",
        "registry.participants/p1=-1",
        f"registry.participants/{NIK}=1",
        "=",
        "a/b=9999999999",
    ],
)
async def test_a_version_that_cannot_be_waited_for_is_refused(world: World, header: str):
    answer = await world.get("/counters", Wait_For_Version=header)
    problem = assert_problem(answer, 400, "wait-for-version")
    assert fields_of(problem) == {"header.Wait-For-Version"}
    assert "registry" not in answer.text


# --- Areas and roles --------------------------------------------------------------------------------------------------

AREAS = {
    "a-5201": "52.01",
    "a-5202": "52.02",
    "a-village": "52.01.01.2001",
    "a-52": "52",
    "a-520": "52.0",
    "a-53": "53.21",
}


async def given_areas(world: World) -> None:
    for counter, area_code in AREAS.items():
        if not await world.version(counter):
            made = await world.post(f"/counters/{counter}/counts", {"amount": 1, "area_code": area_code})
            assert made.status_code == 201


@pytest.mark.parametrize(
    ("areas", "sees"),
    [
        (("52.01",), {"a-5201", "a-village"}),
        (("52.0",), {"a-520"}),
        (("52",), {"a-5201", "a-5202", "a-village", "a-52", "a-520"}),
        (("52.02", "53"), {"a-5202", "a-53"}),
        (("52.01.01.2001",), {"a-village"}),
        (("52.01.01.200",), set()),
        (("5",), set()),
        (("",), set()),
        ((), set()),
        (("%",), set()),
        (("52_01",), set()),
        (("*",), set(AREAS)),
    ],
)
async def test_a_forgotten_where_shows_nothing_outside_the_callers_areas(
    world: World, areas: tuple[str, ...], sees: set[str]
):
    await given_areas(world)
    answer = await world.get("/counters", bearer=world.bearer("auditor", areas=areas))
    assert answer.status_code == 200
    assert {c["counter_id"] for c in answer.json()} & set(AREAS) == sees


async def test_a_command_on_a_row_outside_the_callers_areas_is_refused(world: World):
    await given_areas(world)
    for areas in ((), ("52.02",), ("52.0",), ("52.01.01",)):
        assert_problem(await world.count("a-5201", 1, **world.bearer(areas=areas)), 403, "forbidden")
    assert (await world.count("a-5201", 1, **world.bearer(areas=("52.01",)))).status_code == 201


async def test_what_a_caller_saw_does_not_stay_with_the_connection(world: World):
    await given_areas(world)

    async def seen(*areas: str) -> int:
        return len((await world.get("/counters", bearer=world.bearer(areas=areas))).json())

    everything = await seen("*")
    for _ in range(2 * POOL_SIZE):
        assert await seen() == 0
        assert await seen("52.0") == 1
        assert await seen("*") == everything


def reads_of(world: World, *areas: str) -> Reads:
    return Reads(world.workplace, Principal("auditor-1", frozenset({"auditor"}), areas), "test", None)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO counter (counter_id, version, area_code, times, total) VALUES ('x', 1, '52', 1, 1)",
        "UPDATE counter SET total = 0",
        "DELETE FROM counter",
        "TRUNCATE counter",
        "SELECT * FROM person_key",
        "SELECT * FROM log",
        "SELECT * FROM idempotency",
        "SELECT * FROM read_log",
        "INSERT INTO read_log (subject_id, reader, purpose, fields, correlation_id) VALUES ('x', 'x', 'x', '{}', 'x')",
        "SELECT * FROM part",
        "CREATE TABLE mine (x int)",
        "ALTER TABLE counter DISABLE ROW LEVEL SECURITY",
    ],
)
async def test_the_reader_can_write_nothing_and_read_no_more_than_was_granted(world: World, statement: str):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with reads_of(world, "*") as db:
            await db.connection.execute(statement)


async def test_without_areas_set_a_reader_sees_nothing(world: World):
    await given_areas(world)
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE entas_reader")
        assert await connection.fetchval("SELECT count(*) FROM counter") == 0


@pytest.mark.parametrize(
    ("roles", "status"),
    [
        (("officer",), 201),
        (("partner:dukcapil",), 201),
        (("partner:",), 403),
        (("auditor",), 403),
        (("king",), 403),
        (("OFFICER",), 403),
    ],
)
async def test_a_role_that_the_command_does_not_name_is_refused(world: World, roles: tuple[str, ...], status: int):
    answer = await world.count("r1", 1, **world.bearer(*roles))
    assert answer.status_code == status
    if status == 403:
        assert_problem(answer, 403, "forbidden")


async def test_nobody_comes_in_without_a_token(world: World):
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic b2ZmaWNlcjp4"}):
        answer = await world.client.post(
            "/counters/r2/counts", json={"amount": 1}, headers=headers | {"Idempotency-Key": "k"}
        )
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


# --- Personal data ----------------------------------------------------------------------------------------------------


async def test_an_answer_without_a_body_is_replayed_as_well(world: World):
    for replayed in (None, "true"):
        answer = await world.post("/counters/n0/name", {"name": "Siti Rahmah"}, Idempotency_Key="no-body")
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers.get("idempotency-replayed") == replayed
    assert await world.version("n0") == 1


async def test_a_look_at_a_name_is_in_the_read_log_and_the_reader_stays_a_reader(world: World):
    await world.count("n1", 1)
    await world.post("/counters/n1/name", {"name": "Siti Rahmah"})
    answer = await world.get("/counters/n1/name", bearer=world.bearer(subject="officer-9"))
    assert answer.json() == {"name": "Siti Rahmah"}
    [look] = await world.pool.fetch("SELECT subject_id, purpose FROM read_log WHERE reader = 'officer-9'")
    assert (look["subject_id"], look["purpose"]) == ("n1", "roster")
    row = await world.pool.fetchrow("SELECT sealed, sealed_by FROM counter WHERE counter_id = 'n1'")
    async with reads_of(world, "*") as db:
        assert await db.open([("n1", row["sealed_by"], row["sealed"])], Name, "test") == [Name(name="Siti Rahmah")]
        assert await db.connection.fetchval("SELECT current_user") == "entas_reader"


async def test_a_name_outside_the_callers_areas_is_not_found_and_not_looked_at(world: World):
    await world.count("n2", 1)
    await world.post("/counters/n2/name", {"name": "Siti Rahmah"})
    bearer = world.bearer(areas=("53",), subject="officer-10")
    assert_problem(await world.get("/counters/n2/name", bearer=bearer), 404, "no-such-counter")
    assert await world.pool.fetchval("SELECT count(*) FROM read_log WHERE reader = 'officer-10'") == 0


async def test_as_many_readers_of_names_as_there_are_connections_do_not_wait_for_one_another(world: World):
    await world.count("n3", 1)
    await world.post("/counters/n3/name", {"name": "Siti Rahmah"})
    # All are let go at once when each holds a connection.
    async with world.pool.acquire() as holder:
        async with holder.transaction():
            await holder.execute("LOCK TABLE counter IN ACCESS EXCLUSIVE MODE")
            reading = [asyncio.ensure_future(world.get("/counters/n3/name")) for _ in range(3 * POOL_SIZE)]

            async def all_connections_wait() -> bool:
                return len(await world.busy_backends()) == POOL_SIZE

            await eventually(all_connections_wait)
        answers = await asyncio.wait_for(asyncio.gather(*reading), 10)
    assert [answer.json() for answer in answers] == [{"name": "Siti Rahmah"}] * (3 * POOL_SIZE)


# --- Hostile requests -------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(world: World):
    answer = await world.post("/counters/h1/counts", b'{"amount":1,"note":"' + b"x" * MAX_BODY_BYTES + b'"}')
    assert_problem(answer, 413)
    assert "2,000,000 bytes" in answer.json()["detail"]


async def endless(chunks: int, chunk: bytes = b"x" * 50_000) -> AsyncIterator[bytes]:
    for _ in range(chunks):
        yield chunk


@pytest.mark.parametrize("content_type", ["application/json", "text/csv", "application/octet-stream"])
async def test_a_body_without_a_length_is_bounded_as_well(world: World, content_type: str):
    headers = world.bearer() | {"Idempotency-Key": f"key-{next(world.keys)}", "Content-Type": content_type}
    answer = await world.client.post("/counters/h2/counts", content=endless(60), headers=headers)
    assert_problem(answer, 413)
    assert await world.version("h2") == 0


async def test_a_list_may_be_of_any_size_where_it_is_streamed(world: World):
    headers = world.bearer() | {"Idempotency-Key": "list-1", "Content-Type": "text/csv"}
    answer = await world.client.post("/lists", content=endless(60), headers=headers)
    assert (answer.status_code, answer.json()) == (201, {"bytes": 3_000_000})
    announced = await world.client.post(
        "/lists", content=b"x" * 3_000_000, headers=headers | {"Idempotency-Key": "list-2"}
    )
    assert (announced.status_code, announced.json()) == (201, {"bytes": 3_000_000})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (rb'{"amount":1,"note":"a\u0000b"}', {"body.note"}),
        (rb'{"amount":1,"part":"\u0000"}', {"body.part"}),
        (rb'{"amount":1,"area_code":"52\u0000"}', {"body.area_code"}),
        (rb'{"amount":1,"anything":{"deep":[{"er":"\u0000"}]}}', {"body.anything.deep.0.er"}),
        (rb'{"amount":1,"anything":{"a\u0000":1}}', {"body.anything.*"}),
        (rb'{"amount":1,"note":"\ud800"}', {"body.note"}),
        (b'{"amount":9223372036854775808}', {"body.amount"}),
        (b'{"amount":1' + b"0" * 400 + b"}", {"body.amount"}),
        (b'{"amount":1,"anything":{"x":NaN}}', {"body.anything.x"}),
        (b'{"amount":1,"anything":{"x":-Infinity}}', {"body.anything.x"}),
        (b'{"amount":1,"anything":{"x":1e999}}', {"body.anything.x"}),
        (rb'{"amount":1,"unknown\u0000":1,"note":"\u0000' + NIK.encode() + b'"}', {"body.*", "body.note"}),
    ],
)
async def test_what_no_table_can_keep_is_refused_by_field(world: World, body: bytes, fields: set[str]):
    answer = await world.post("/counters/h3/counts", body)
    problem = assert_problem(answer, 422, "invalid-request")
    assert fields_of(problem) >= fields
    assert await world.version("h3") == 0


async def test_a_nul_in_path_or_query_is_refused(world: World):
    assert fields_of(assert_problem(await world.count("h4%00", 1), 422)) == {"path.counter_id"}
    assert fields_of(assert_problem(await world.get("/counters?after=%00"), 422)) == {"query.after"}


async def test_a_value_that_only_the_database_finds_too_long_is_refused(world: World):
    # No field of the command is bounded, and an index holds no text of this length.
    part = "".join(chr(0x4E00 + n % 20_000) for n in range(6_000))
    problem = assert_problem(await world.post("/counters/h5/counts", {"amount": 1, "part": part}), 422)
    assert problem["code"] == "unstorable-value"
    assert await world.version("h5") == 0


async def test_a_sum_that_outgrows_its_column_is_refused(world: World):
    assert (await world.count("h6", 2**63 - 1)).status_code == 201
    assert_problem(await world.count("h6", 1), 422, "unstorable-value")
    assert await world.version("h6") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{}",
        b'{"amount":1,"note":"\xc3\x28"}',
        b"{",
        b"",
        b"null",
        b"[" * 100_000,
        b'{"amount":1,"anything":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        b'{"amount":' + b"9" * 5_000 + b"}",
    ],
)
async def test_a_body_that_is_no_json_is_the_callers_mistake(world: World, body: bytes):
    answer = await world.post("/counters/h7/counts", body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await world.version("h7") == 0


@pytest.mark.parametrize(
    "body",
    [
        {"amount": NIK, "part": 5},
        {"amount": -int(NIK)},
        {"amount": 1, NIK: 1},
        {"amount": 1, "note": [NIK]},
        {"amount": 1, "anything": NIK},
        [NIK],
        NIK,
    ],
)
async def test_no_answer_repeats_what_was_sent(world: World, body: Any):
    assert_problem(await world.post(f"/counters/{NIK}/counts", body), 422, "invalid-request")


async def test_hostile_headers_change_nothing(world: World):
    for header in (
        "If-Match",
        "Wait-For-Version",
        "Idempotency-Key",
        "X-Correlation-Id",
        "traceparent",
        "Content-Type",
    ):
        for value in (b"\xff\xfe\x80", b"x" * 7_000, b"'; DROP TABLE counter; --", NIK.encode()):
            headers = [(n.encode(), v.encode()) for n, v in world.bearer().items()] + [
                (b"Idempotency-Key", f"h8-{next(world.keys)}".encode()),
                (header.encode(), value),
            ]
            answer = await world.client.post("/counters/h8/counts", content=b'{"amount":1}', headers=headers)
            assert answer.status_code in (201, 400, 422), (header, value, answer.text)
            assert NIK not in answer.text
            assert NIK not in str(answer.headers)
    assert await world.pool.fetchval("SELECT count(*) FROM log WHERE correlation_id = $1", NIK) == 0


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999999999999", "1e9", "\N{ARABIC-INDIC DIGIT FIVE}"])
async def test_a_length_that_is_none_is_refused(world: World, length: str):
    head = f"POST /counters/h9/counts HTTP/1.1\r\nHost: lab\r\nContent-Length: {length}\r\n\r\n"
    got = await world.raw(head.encode())
    assert got.split(b" ")[1] in (b"400", b"413"), got
    assert (await world.count("h9", 1)).status_code == 201


async def test_headers_without_end_are_refused_while_they_come(world: World):
    url = httpx.URL(world.base)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET /counters HTTP/1.1\r\nHost: lab\r\nX-Endless: ")
    sent = 0
    answering = asyncio.ensure_future(reader.read(1000))
    try:
        while not answering.done() and sent < 10_000_000:
            writer.write(b"x" * 10_000)
            sent += 10_000
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(answering, 5)).startswith(b"HTTP/1.1 400")
        assert sent < 1_000_000
    finally:
        writer.transport.abort()


async def test_what_is_not_there_is_told_by_its_own_code_with_the_time_to_wait(world: World):
    """Keys come from a registry that does not answer."""
    await world.count("away-1", 1)
    await world.post("/counters/away-1/name", {"name": "Siti Rahmah"})
    (port,) = free_ports(1)
    nobody = f"http://127.0.0.1:{port}"
    keys = BorrowedKeys(RemoteKeys(nobody, ServiceToken(f"{nobody}/token", "lab", "a secret")))

    async def health() -> dict[str, Any]:
        return {"ready": True}

    app = api_app(service_of(world.lab), world.settings, replace(world.workplace, keyring=keys), health)
    async with served(app) as base, httpx.AsyncClient(base_url=base, verify=trusted()) as client:
        headers = world.bearer() | {"Idempotency-Key": "away-key"}
        body = {"name": "Siti Rahmah"}
        for answer in (
            await client.get("/counters/away-1/name", headers=headers),
            await client.post("/counters/away-1/name", json=body, headers=headers),
        ):
            problem = assert_problem(answer, 503, "keys-unavailable")
            assert answer.headers["retry-after"] == "2"
            assert problem["remedy"] == "Try again in 2 s."
    await keys.aclose()
    # Nothing was kept under the key: sent again to one whose keys are there, it is done.
    assert (await world.client.post("/counters/away-1/name", json=body, headers=headers)).status_code == 204


async def test_a_correlation_id_is_taken_over_or_replaced(world: World):
    good = await world.count("c1", 1, X_Correlation_Id="request-17")
    assert good.headers["x-correlation-id"] == "request-17"
    for bad in (NIK, "x" * 65, "a b", "a;b", "ünicode".encode().decode("latin-1")):
        headers = [(n.encode(), v.encode()) for n, v in world.bearer().items()]
        headers.append((b"X-Correlation-Id", bad.encode("latin-1")))
        answer = await world.client.get("/counters", headers=headers)
        assert answer.headers["x-correlation-id"] != bad
        assert len(answer.headers["x-correlation-id"]) == 36
    refused = await world.count("c1", 13, X_Correlation_Id="request-18")
    assert refused.json()["instance"] == "request-18"
    log = await world.pool.fetch("SELECT correlation_id, actor FROM log WHERE stream = 'c1'")
    assert [(row["correlation_id"], row["actor"]) for row in log] == [("request-17", "officer-7")]


async def test_a_trace_is_taken_over_where_it_is_one(world: World):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.count("c2", 1, traceparent=trace)
    await world.count("c2", 1, traceparent="00-nonsense")
    rows = await world.pool.fetch("SELECT traceparent FROM log WHERE stream = 'c2' ORDER BY id")
    assert [row["traceparent"] for row in rows] == [trace, None]


async def test_the_documentation_and_the_description_are_served(world: World):
    assert "swagger" in (await world.client.get("/docs")).text.lower()
    described = (await world.client.get("/openapi.json")).json()
    command = described["paths"]["/counters/{counter_id}/counts"]["post"]
    assert {p["name"] for p in command["parameters"]} >= {"idempotency-key", "if-match"}
    assert_problem(await world.client.get("/no-such-path"), 404)
    assert_problem(await world.client.delete("/counters"), 405)


async def test_health_and_metrics_need_no_token(world: World):
    for path in ("/health/live", "/health/ready", "/health/progress", "/metrics"):
        assert (await world.client.get(path)).status_code == 200
    assert 'entas_commands_total{command="count",outcome="done"}' in (await world.client.get("/metrics")).text


# --- Connections ------------------------------------------------------------------------------------------------------


async def test_a_caller_that_hangs_up_leaves_no_transaction_open(world: World):
    bearer = world.bearer()["Authorization"]
    await world.count("d1", 1)
    async with world.pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE counter IN ACCESS EXCLUSIVE MODE")
        for n in range(2 * POOL_SIZE):
            head = (
                f"Host: lab\r\nAuthorization: {bearer}\r\nIdempotency-Key: gone-{n}\r\nContent-Type: application/json"
            )
            body = '{"amount":1}'
            post = f"POST /counters/d1/counts HTTP/1.1\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            await world.raw(post.encode(), answer=False)
            await world.raw(f"GET /counters HTTP/1.1\r\n{head}\r\n\r\n".encode(), answer=False)
        await eventually(lambda: waits_for_a_lock(world))

    async def all_idle() -> bool:
        pool = world.workplace.pool
        return not await world.busy_backends() and pool.get_idle_size() == pool.get_size()

    await eventually(all_idle)
    half_a_body = f"POST /counters/d1/counts HTTP/1.1\r\n{head}\r\nContent-Length: 500\r\n\r\n{{"
    await world.raw(half_a_body.encode(), answer=False)
    assert (await world.count("d1", 1)).status_code == 201


async def stopped_after(steps: int, work: Callable[[], Awaitable[Any]]) -> bool:
    """Runs `work` and cancels it after so many turns of the loop. Whether it had ended by then."""
    task = asyncio.ensure_future(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return not task.cancelled()


async def test_a_command_or_read_that_is_cancelled_anywhere_gives_its_connection_back(world: World):
    from services.kit.http import Work

    async def command() -> None:
        work = Work(world.workplace, acting_as("x"), "test", None, f"cancel-{next(world.keys)}", b"", None, "test")
        async with work as tx:
            await tx.decide([world.lab.Counted(counter_id="d2", amount=1)])
            tx.answer({})

    async def read() -> None:
        async with reads_of(world, "*") as db:
            await db.connection.fetchval("SELECT count(*) FROM counter")
            await db.open([], Name, "test")

    async def nothing_is_held() -> bool:
        pool = world.workplace.pool
        return bool(pool.get_idle_size() == pool.get_size())

    await command()
    ended = []
    for work in (command, read):
        for steps in range(60):
            ended.append(await stopped_after(steps, work))
            # A release that was cancelled goes on by itself: the pool shields it.
            await eventually(nothing_is_held)
        assert not await world.busy_backends()
    assert False in ended
    done = await world.version("d2")
    # What was cancelled is either whole or not there at all.
    assert await world.pool.fetchval("SELECT count(*) FROM log WHERE stream = 'd2'") == done
    assert await world.pool.fetchval("SELECT total FROM counter WHERE counter_id = 'd2'") == done


async def test_a_database_that_is_away_is_a_503_and_comes_back_by_itself(world: World):
    await world.count("o1", 1)
    await world.cable.cut()
    try:
        for answer in [await world.count("o1", 1, Idempotency_Key="outage"), await world.get("/counters")]:
            problem = assert_problem(answer, 503, "unavailable")
            assert "same Idempotency-Key" in problem["remedy"]
            assert answer.headers["retry-after"] == "1"
    finally:
        await world.cable.mend()
    again = await world.count("o1", 1, Idempotency_Key="outage")
    assert (again.status_code, again.json()["version"]) == (201, 2)
    assert json.loads(again.content)["total"] == 2
