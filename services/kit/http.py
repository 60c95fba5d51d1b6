"""HTTP in: commands that are answered once, reads that see their areas only, and waiting for a version to arrive."""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from types import TracebackType
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder
from pydantic_core import from_json, to_json

from contracts.envelope import PersonalRecord
from contracts.topics import TOPICS
from services.kit import metrics
from services.kit.auth import Principal, requires
from services.kit.crash import crash_point
from services.kit.logs import correlation_id
from services.kit.outages import OUTAGES
from services.kit.partition import partition_for
from services.kit.refusal import FieldProblem, Refused, Unavailable
from services.kit.rows import Connection
from services.kit.table import Table
from services.kit.transaction import Origin, SealedText, Transaction, Workplace, open_records

Record = TypeVar("Record", bound=PersonalRecord)

WAIT_SECONDS = 2.0
_POLL_SECONDS = 0.005
_LONGEST_POLL_SECONDS = 0.05
_KEY_FORM = re.compile(r"[\x21-\x7e]{1,128}")
_VERSION_FORM = re.compile(r"(?P<topic>[a-z_.]{1,64})/(?P<key>[A-Za-z0-9._:-]{1,128})=(?P<version>[0-9]{1,9})")
_ETAG_FORM = re.compile(r'"(?P<version>[0-9]{1,9})"')


class Replayed(Exception):
    """This request was answered before: the stored answer is given again, and nothing is done twice."""

    def __init__(self, response: Response) -> None:
        super().__init__("replayed")
        self.response = response


class CommandTransaction(Transaction):
    """The transaction of one HTTP command."""

    if_match: int | None = None
    answered: Response | None = None

    def expect_version(self, row: Any) -> None:
        """Raises `Refused` (412) if the caller's `If-Match` names another version than this row has."""
        if self.if_match is not None and row is not None and row.version != self.if_match:
            raise Refused(
                "version-changed",
                f"You have version {self.if_match}; it is at version {row.version} now.",
                status=412,
                remedy="Read it again, and decide again on what it says now.",
            )

    def answer(
        self, body: Any, *, status: int = 200, version: int | None = None, stream: str | None = None
    ) -> Response:
        """The answer, kept under the request's Idempotency-Key. `stream` ("registry.participants/<id>") with `version`
        tells the caller what to send as Wait-For-Version to another service."""
        headers = {}
        if version is not None:
            headers["ETag"] = f'"{version}"'
            if stream is not None:
                headers["Stream-Version"] = f"{stream}={version}"
        # A 204 has no body; a server that was given one would break off the connection.
        said = b"" if status == 204 else to_json(_plain(body))
        self.answered = Response(said, status, headers, "application/json")
        return self.answered


def _plain(body: Any) -> Any:
    if isinstance(body, list | tuple):
        return [_plain(item) for item in body]
    return asdict(body) if is_dataclass(body) and not isinstance(body, type) else jsonable_encoder(body)


@dataclass
class Work:
    """A command on its way: `async with work as tx` opens the transaction, and commits it at the end of the block."""

    workplace: Workplace
    principal: Principal
    correlation_id: str
    traceparent: str | None
    key: str
    fingerprint: bytes
    if_match: int | None
    command: str

    async def __aenter__(self) -> CommandTransaction:
        self._started = time.perf_counter()
        self._connection = await _acquire(self.workplace)
        self._transaction = self._connection.transaction()
        try:
            await self._transaction.start()
            await self._look_up_answer()
        except BaseException:
            await self._end(commit=False)
            raise
        origin = Origin(
            self.workplace.service, self.principal.subject, self.correlation_id, traceparent=self.traceparent
        )
        place = self.workplace
        self._tx = CommandTransaction(
            self._connection, place.tables, place.keyring, place.now(), origin, self.principal
        )
        self._tx.if_match = self.if_match
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self._end(commit=False)
            self._count(_outcome(error))
            return
        try:
            await self._tx.finish(self._keep_answer)
        except BaseException as failure:
            await self._end(commit=False)
            self._count(_outcome(failure))
            raise
        await self._end(commit=True)
        crash_point("command-after-commit")
        self._count("done")
        if self._tx.facts:
            self.workplace.committed()

    async def _end(self, *, commit: bool) -> None:
        await _end(self.workplace, self._connection, self._transaction, commit=commit)

    def _count(self, outcome: metrics.CommandOutcome) -> None:
        metrics.commands.labels(self.command, outcome).inc()
        metrics.command_seconds.labels(self.command).observe(time.perf_counter() - self._started)

    async def _look_up_answer(self) -> None:
        """IETF draft on Idempotency-Key: replay gives the stored answer, another request 422, one in flight 409."""
        free = await self._connection.fetchval(
            "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", f"{self.principal.subject}\n{self.key}"
        )
        if not free:
            self._count("conflict")
            raise Refused(
                "request-in-flight",
                "A request with this Idempotency-Key is being worked on.",
                remedy="Wait a moment, and send the same request again with the same key.",
            )
        stored = await self._connection.fetchrow(
            "SELECT fingerprint, status, headers, body FROM idempotency WHERE principal = $1 AND key = $2",
            self.principal.subject,
            self.key,
        )
        if stored is None:
            return
        if stored["fingerprint"] != self.fingerprint:
            self._count("conflict")
            raise Refused(
                "key-used-otherwise",
                "This Idempotency-Key was used for another request.",
                status=422,
                fields=[FieldProblem("header.Idempotency-Key", "was used for another request", "Make a new key.")],
            )
        self._count("replayed")
        headers = {**from_json(stored["headers"]), "Idempotency-Replayed": "true"}
        raise Replayed(Response(stored["body"], stored["status"], headers, "application/json"))

    async def _keep_answer(self, connection: Connection) -> None:
        answer = self._tx.answered
        if answer is None:
            raise TypeError(f"the command {self.command} ended without an answer")
        kept = {name: value for name, value in answer.headers.items() if name in ("etag", "stream-version", "location")}
        await connection.execute(
            """
            INSERT INTO idempotency (principal, key, fingerprint, status, headers, body)
            VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)
            """,
            self.principal.subject,
            self.key,
            self.fingerprint,
            answer.status_code,
            to_json(kept).decode(),
            bytes(answer.body),
        )


def works_as(*roles: str, streamed: bool = False) -> Callable[..., Awaitable[Work]]:
    """A dependency for commands: `Depends(works_as("officer"))`. The caller must hold one of the roles.

    With `streamed` the body is not read here (nor covered by the idempotency key): the endpoint streams it.
    """

    async def work(
        request: Request,
        principal: Annotated[Principal, Depends(requires(*roles))],
        idempotency_key: Annotated[str | None, Header(description="A new value for each new request.")] = None,
        if_match: Annotated[str | None, Header(description='The version you decided on, as `"7"`.')] = None,
    ) -> Work:
        request.state.streamed = streamed
        body = b"" if streamed else await request.body()
        said = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
        return Work(
            workplace=request.app.state.workplace,
            principal=principal,
            correlation_id=correlation_id() or "",
            traceparent=_traceparent(request),
            key=_idempotency_key(idempotency_key),
            fingerprint=hashlib.sha256(said + body).digest(),
            if_match=_version_of_etag(if_match),
            command=request.scope["route"].name,
        )

    return work


def is_streamed(request: Request) -> bool:
    """Whether the endpoint that a request reached streams the body, whatever its size."""
    return getattr(request.state, "streamed", False)


def _outcome(error: BaseException) -> metrics.CommandOutcome:
    if isinstance(error, Refused):
        return "refused"
    return "unavailable" if isinstance(error, OUTAGES) else "failed"


def _idempotency_key(key: str | None) -> str:
    if key is not None and _KEY_FORM.fullmatch(key):
        return key
    problem = "is missing" if key is None else "is not 1 to 128 visible ASCII characters"
    raise Refused(
        "idempotency-key",
        f"The header Idempotency-Key {problem}.",
        status=400,
        fields=[FieldProblem("header.Idempotency-Key", problem, "Send a new UUID with each new request.")],
    )


def _version_of_etag(etag: str | None) -> int | None:
    if etag is None or etag.strip() == "*":
        return None
    if form := _ETAG_FORM.fullmatch(etag.strip()):
        return int(form["version"])
    raise Refused(
        "if-match",
        "The header If-Match is not an ETag of ours.",
        status=400,
        fields=[FieldProblem("header.If-Match", "cannot be read", 'Send the ETag you were given, such as "7".')],
    )


def _traceparent(request: Request) -> str | None:
    given = request.headers.get("traceparent", "")
    return given if re.fullmatch(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", given) else None


# --- Reads ------------------------------------------------------------------------------------------------------------


@dataclass
class Reads:
    """A read on its way: `async with reads as db` opens a read-only transaction under row-level security.

    With `one_moment` all its statements see the database as it was at the first.
    """

    workplace: Workplace
    principal: Principal
    correlation_id: str
    wait_for: tuple[str, str, int] | None = None
    one_moment: bool = False

    async def __aenter__(self) -> "Reads":
        if self.wait_for is not None:
            await _wait_for_version(self.workplace, *self.wait_for)
        self.connection: Connection = await _acquire(self.workplace)
        self._transaction = self.connection.transaction(isolation="repeatable_read" if self.one_moment else None)
        self._looked = False
        try:
            await self._transaction.start()
            areas = ",".join(self.principal.areas)
            await self.connection.execute("SELECT set_config('entas.areas', $1, true)", areas)
            await self._as_reader()
        except BaseException:
            await self._end(commit=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The reader may write nothing, so only the read log, which the service itself keeps, is ever committed.
        await self._end(commit=self._looked and error is None)

    async def _end(self, *, commit: bool) -> None:
        await _end(self.workplace, self.connection, self._transaction, commit=commit)

    async def _as_reader(self) -> None:
        await self.connection.execute("SET LOCAL ROLE entas_reader")

    @property
    def now(self) -> Any:
        return self.workplace.now()

    async def open(self, sealed: list[SealedText], record: type[Record], purpose: str) -> list[Record | None]:
        """Decrypts at the last moment; None where erased. Who looked is in the read log before anything is shown:
        it is committed at the end of the block, and nothing is answered if that fails."""
        self._looked = True
        # For this alone the service acts as itself. A second connection would be taken while this one is held: as many
        # requests as the pool has connections would then wait for one another.
        await self.connection.execute("SET LOCAL ROLE NONE")
        opened = await open_records(
            self.connection, self.workplace.keyring, sealed, record, purpose, self.principal, self.correlation_id
        )
        await self._as_reader()
        return opened


def reads_as(*roles: str, one_moment: bool = False) -> Callable[..., Awaitable[Reads]]:
    """A dependency for reads: `Depends(reads_as("officer", "auditor"))`. The caller must hold one of the roles.

    With `one_moment` what several statements say belongs together (repeatable read).
    """

    async def read(
        request: Request,
        principal: Annotated[Principal, Depends(requires(*roles))],
        wait_for_version: Annotated[
            str | None, Header(description="`topic/key=version` that the answer must know; waits at most 2 s.")
        ] = None,
    ) -> Reads:
        wanted = _wanted_version(wait_for_version)
        return Reads(request.app.state.workplace, principal, correlation_id() or "", wanted, one_moment)

    return read


def _wanted_version(header: str | None) -> tuple[str, str, int] | None:
    if header is None:
        return None
    if form := _VERSION_FORM.fullmatch(header.strip()):
        return form["topic"], form["key"], int(form["version"])
    raise Refused(
        "wait-for-version",
        "The header Wait-For-Version cannot be read.",
        status=400,
        fields=[FieldProblem("header.Wait-For-Version", "cannot be read", "Send a Stream-Version you were given.")],
    )


async def _wait_for_version(workplace: Workplace, topic: str, key: str, version: int) -> None:
    """Waits until the projection of this stream has the version. 504 after two seconds; 503 if it stands still:
    its partition is stopped, or the stream is parked."""
    table = next((table for table in workplace.tables if table.head and table.topic == topic), None)
    if table is None:
        raise Refused(
            "wait-for-version",
            "This service keeps no projection of that topic.",
            status=400,
            fields=[FieldProblem("header.Wait-For-Version", "names a topic that is not read here", "Leave it out.")],
        )
    started = time.monotonic()
    while True:
        reached, stands_still = await _progress_of(workplace, table, key)
        waited = time.monotonic() - started
        if reached >= version:
            metrics.version_wait_seconds.labels(table.name, "reached").observe(waited)
            return
        if stands_still:
            metrics.version_wait_seconds.labels(table.name, "stopped").observe(waited)
            raise Unavailable(
                "projection-stopped", f"What is known of this stream of {topic} stands still; its operator knows why."
            )
        if waited > WAIT_SECONDS:
            metrics.version_wait_seconds.labels(table.name, "timed-out").observe(waited)
            raise TimedOut(f"The stream has reached version {reached}, not {version} yet.")
        # Most versions are there within milliseconds; whoever waits longer asks less often.
        await asyncio.sleep(min(_LONGEST_POLL_SECONDS, _POLL_SECONDS + waited / 10))


class TimedOut(Exception):
    """What was waited for did not come in time; the caller may ask again."""


async def _progress_of(workplace: Workplace, table: Table[Any], key: str) -> tuple[int, bool]:
    """The version that a stream has here (0: none), and whether it stands still."""
    sql = f"""
        SELECT coalesce((SELECT version FROM {table.name} WHERE {table.key[0]} = $1), 0) AS version,
               EXISTS (SELECT 1 FROM cursor WHERE topic = $2 AND partition = $3 AND stopped IS NOT NULL)
               OR EXISTS (SELECT 1 FROM parked WHERE topic = $2 AND stream = $1) AS stopped
    """
    partition = partition_for(key, TOPICS[table.topic].partitions)
    connection = await _acquire(workplace)
    try:
        row = await connection.fetchrow(sql, key, table.topic, partition)
    finally:
        await workplace.pool.release(connection)
    return row["version"], row["stopped"]


async def _acquire(workplace: Workplace) -> Any:
    try:
        return await workplace.pool.acquire(timeout=5)
    except TimeoutError:
        raise Unavailable("busy", "All database connections are in use.") from None


async def _end(workplace: Workplace, connection: Any, transaction: Any, *, commit: bool) -> None:
    """Ends a transaction and gives its connection back, whatever becomes of it: the pool resets what it gets back."""
    try:
        if commit:
            await transaction.commit()
        elif not connection.is_closed():
            with suppress(*OUTAGES):
                await transaction.rollback()
    finally:
        await workplace.pool.release(connection)


__all__ = ["CommandTransaction", "Reads", "Replayed", "TimedOut", "Work", "reads_as", "works_as"]
