"""A process of a service: `api`, `worker` or a command; how it starts, and how it ends within seconds."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import structlog
import typer
import uvicorn
import uvloop
from fastapi import FastAPI

from services.kit import crash, metrics, parking
from services.kit.app import api_app, worker_app
from services.kit.backoff import Backoff
from services.kit.causes import told
from services.kit.checkpoints import Checkpoints, checkpoints_from, signer_of
from services.kit.clock import clock_from
from services.kit.commands import add_log_commands
from services.kit.consumer import Consumer
from services.kit.database import DatabaseAway, migrate, open_pool
from services.kit.garbage import look_less_often
from services.kit.jobs import JobContext, run_job
from services.kit.logs import configure_logging
from services.kit.outages import OUTAGES
from services.kit.parked import parked_commands
from services.kit.parts import Failing
from services.kit.relay import Nudge, Relay
from services.kit.service import Service
from services.kit.settings import Settings, SettingsInvalid, load_settings
from services.kit.tails import wait_until_sound
from services.kit.tasks import first_of, sleep_unless
from services.kit.timers import Timers, run_timer
from services.kit.topics import TopicsDiffer, check_topics, create_topics
from services.kit.transaction import Workplace

_log = structlog.get_logger(__name__)

LEAVE_SECONDS = 3.0
HOUSEKEEPING_SECONDS = 60.0


def main(service: Service) -> None:
    """Runs what the command line says."""
    command_line(service)()


def command_line(service: Service) -> typer.Typer:
    """Every command of a service."""
    app = typer.Typer(help=f"{service.summary}", no_args_is_help=True, add_completion=False)

    @app.command()
    def api() -> None:
        """Serves the HTTP API on ENTAS_API_HOST:ENTAS_API_PORT."""
        _run(service, serve_api)

    @app.command()
    def worker() -> None:
        """Runs relay, consumer, timers and jobs; health and metrics on ENTAS_WORKER_PORT."""
        _run(service, serve_worker)

    @app.command(name="migrate")
    def migrate_command() -> None:
        """Brings the database up to date. Safe to run again, and from several places at once."""
        settings = _settings(service)
        try:
            applied = migrate(settings.database_url, service.migrations)
        except DatabaseAway as error:
            sys.exit(str(error))
        typer.echo(f"{service.name}: applied {', '.join(applied)}" if applied else f"{service.name}: up to date")

    @app.command()
    def topics(replication_factor: int | None = typer.Option(None, help="Default: 3 in production, else 1.")) -> None:
        """Creates the service's topics as contracts/topics.py says, and checks those that exist."""
        settings = _settings(service)
        factor = replication_factor or (3 if settings.environment == "production" else 1)
        try:
            made = asyncio.run(create_topics(settings.kafka_bootstrap, service.name, factor))
        except TopicsDiffer as error:
            sys.exit(str(error))
        except OUTAGES as outage:
            sys.exit(f"Kafka at {settings.kafka_bootstrap} (ENTAS_KAFKA_BOOTSTRAP) cannot be reached: {told(outage)}")
        typer.echo(f"{service.name}: made {', '.join(made)}" if made else f"{service.name}: all topics are there")

    app.add_typer(parked_commands(service, lambda: _settings(service)), name="parked")
    add_log_commands(app, service, lambda: _settings(service))
    return app


def _settings(service: Service) -> Settings:
    try:
        settings = load_settings(service.settings)
    except SettingsInvalid as error:
        sys.exit(str(error))
    configure_logging(settings.log_level, service=service.name)
    crash.arm(settings.crash_points, settings.crash_once_dir)
    return settings


def _run(service: Service, serve: Callable[[Service, Settings, asyncio.Event], Awaitable[None]]) -> None:
    settings = _settings(service)

    async def until_told() -> None:
        look_less_often()
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await serve(service, settings, stopping)

    try:
        # What a process does is waiting for its servers, hundreds of times a second: uvloop does that in half the time.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_told())
    except (SettingsInvalid, TopicsDiffer) as error:
        sys.exit(str(error))
    _log.info("ended")


# --- What a process runs ----------------------------------------------------------------------------------------------


async def serve_api(service: Service, settings: Settings, stopping: asyncio.Event) -> None:
    """Serves until told to stop; requests in flight get their answers first."""
    pool = await _pool(settings, stopping)
    if pool is None:
        return
    nudge = Nudge(pool)
    workplace = _workplace(service, settings, pool, nudge)

    async def health() -> dict[str, Any]:
        return {"ready": await _answers(pool), "service": service.name, "process": "api"}

    app = api_app(service, settings, workplace, health)
    await _together(stopping, [_serve_http(app, settings.api_host, settings.api_port, stopping), nudge.run(stopping)])
    await workplace.keyring.aclose()
    pool.terminate()


async def serve_worker(service: Service, settings: Settings, stopping: asyncio.Event) -> None:
    """Relay, consumer, timers and jobs in one process, until told to stop."""
    signer = signer_of(settings, service.name)
    pool = await _pool(settings, stopping)
    if pool is None:
        return
    try:
        await check_topics(settings.kafka_bootstrap, service.name, stopping)
    except TopicsDiffer:
        pool.terminate()  # A refusal leaves nothing open.
        raise
    nudge = Nudge(pool)
    workplace = _workplace(service, settings, pool, nudge)
    relay = Relay(f"/entas/{service.name}", settings.database_url, settings.kafka_bootstrap)
    consumer = Consumer(workplace, settings.kafka_bootstrap, service.reactions, service.partners)
    checkpoints = checkpoints_from(settings, service.name, pool, signer)
    context = JobContext(workplace, settings, stopping)
    failing: Failing = {}

    async def health() -> dict[str, Any]:
        return await _progress(service, workplace, relay, consumer, failing) | _alarms(checkpoints)

    async def deciding() -> None:
        """What decides of itself waits until the log is known to be whole: on an older backup it would decide twice."""
        await wait_until_sound(settings.database_url, service.name, settings.kafka_bootstrap, stopping, failing)
        async with asyncio.TaskGroup() as parts:
            parts.create_task(consumer.run(stopping))
            for timer in service.timers.all:
                parts.create_task(run_timer(timer, workplace, stopping, failing))
            for job in service.jobs:
                parts.create_task(run_job(job, context, failing))

    await _together(
        stopping,
        [
            _serve_http(worker_app(service, health), settings.api_host, settings.worker_port, stopping),
            nudge.run(stopping),
            relay.run(stopping),
            _keep_house(pool, stopping),
            *([] if checkpoints is None else [checkpoints.run(relay, settings.checkpoint_seconds, stopping, failing)]),
            deciding(),
        ],
    )
    await workplace.keyring.aclose()
    pool.terminate()


async def _together(stopping: asyncio.Event, parts: Sequence[Awaitable[None]]) -> None:
    """Runs the parts until told to stop. A part that fails ends the process, loudly: its supervisor starts it again."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in tasks if task.done() and task.exception()]
    stopping.set()
    _, late = await asyncio.wait(tasks, timeout=LEAVE_SECONDS)
    for task in late:
        _log.warning("a part did not end in time and is left", part=task.get_coro().__qualname__)  # type: ignore[union-attr]
    stop.cancel()
    if failed:
        _log.error("a part of the process failed", exc_info=failed[0].exception())
    if late or failed:
        # What is committed is committed; waiting for a frozen server would keep the supervisor waiting.
        sys.stdout.flush()
        os._exit(1 if failed else 0)


async def _serve_http(app: FastAPI, host: str, port: int, stopping: asyncio.Event) -> None:
    server = _Server(http_config(app, host=host, port=port))
    serving = asyncio.ensure_future(server.serve())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stop.cancel()
    await serving


def http_config(app: FastAPI, *, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """How we serve. h11 bounds what a request line and headers may hold (64 KiB); the faster httptools does not."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process listens for signals itself, for all its parts."""
        yield


# --- Health -----------------------------------------------------------------------------------------------------------


async def _answers(pool: Any) -> bool:
    try:
        async with asyncio.timeout(2):
            await pool.fetchval("SELECT 1")
    except OUTAGES:
        return False
    return True


async def _progress(
    service: Service, workplace: Workplace, relay: Relay, consumer: Consumer, failing: Failing
) -> dict[str, Any]:
    """What a supervisor, an operator and the steered clock want to know: is everything that happened dealt with?"""
    lag = None
    with suppress(*OUTAGES):
        # Measured now: a lag of a while ago would say that all is dealt with when something has just been sent.
        async with asyncio.timeout(1):
            await consumer.measure()
        lag = consumer.lag
    stopped = {str(place): reason for place, reason in consumer.stopped.items()} | failing
    if relay.defect:
        stopped["relay"] = relay.defect
    state: dict[str, Any] = {
        "service": service.name,
        "process": "worker",
        "now": workplace.now(),
        "relay_leads": relay.leading,
        "lag": lag,
        "stopped": stopped,
        "ready": False,
    }
    try:
        async with asyncio.timeout(5):
            state["outbox"] = await workplace.pool.fetchval("SELECT count(*) FROM outbox")
            state["parked"] = await _count_parked(workplace.pool)
            state["next_due"] = await _next_due(service.timers, workplace, stopped)
        state["ready"] = not stopped
    except OUTAGES as outage:
        state["database"] = type(outage).__name__
    return state


async def _count_parked(pool: Any) -> int:
    """How many streams wait for mended code; the metric is what an operator is woken by."""
    counts = await parking.count_parked(pool)
    metrics.parked_streams.clear()
    for topic, (streams, _) in counts.items():
        metrics.parked_streams.labels(topic).set(streams)
    return sum(streams for streams, _ in counts.values())


def _alarms(checkpoints: Checkpoints | None) -> dict[str, Any]:
    """What an operator has to look at although the worker goes on."""
    trouble = checkpoints.witness_fails if checkpoints is not None else None
    return {"alarms": {} if trouble is None else {"witness": trouble}}


async def _next_due(timers: Timers, workplace: Workplace, stopped: dict[str, str]) -> datetime | None:
    """The earliest instant at which a timer will have something to do. One that cannot say is shown as stopped."""
    due = []
    async with workplace.pool.acquire() as connection:
        for timer in timers.all:
            try:
                due.append(await timer.next_due(connection))
            except OUTAGES:
                raise
            except Exception as error:  # noqa: BLE001 (the health of the other parts is shown all the same)
                stopped.setdefault(timer.name, f"its next_due fails: {told(error)}")
    return min((instant for instant in due if instant is not None), default=None)


# --- Around it --------------------------------------------------------------------------------------------------------


def _workplace(service: Service, settings: Settings, pool: Any, nudge: Nudge) -> Workplace:
    clock = clock_from(settings)
    return Workplace(service.name, pool, service.tables, service.keyring(settings), clock.now, nudge)


async def _pool(settings: Settings, stopping: asyncio.Event) -> Any:
    """The database's pool, as soon as it answers; None if the process is told to stop before."""
    backoff = Backoff()
    opened: list[Any] = []

    async def try_to_open() -> None:
        opened.append(await open_pool(settings.database_url))

    while not stopping.is_set():
        try:
            # A server that is frozen would hold us for a minute: whoever tells us to stop does not wait that long.
            if await first_of(try_to_open(), stopping):
                return opened[0]
        except OUTAGES as outage:
            _log.warning("waiting for the database", error=f"{type(outage).__name__}")
            await backoff.wait(stopping)
    return None


async def _keep_house(pool: Any, stopping: asyncio.Event) -> None:
    """Measures the outbox, and lets go of what has had its time: answers after 2 days, partners' ids after 90."""
    while not stopping.is_set():
        try:
            row = await pool.fetchrow(
                "SELECT count(*) AS events, extract(epoch FROM now() - min(l.recorded_at)) AS age "
                "FROM outbox o JOIN log l ON l.id = o.id"
            )
            metrics.outbox_events.set(row["events"])
            metrics.outbox_oldest_seconds.set(row["age"] or 0)
            await _count_parked(pool)
            await pool.execute("DELETE FROM idempotency WHERE created_at < now() - interval '2 days'")
            await pool.execute("DELETE FROM partner_message WHERE received_at < now() - interval '90 days'")
            await pool.execute("DELETE FROM rejected_message WHERE received_at < now() - interval '90 days'")
        except OUTAGES as outage:
            _log.info("housekeeping waits", error=type(outage).__name__)
        await sleep_unless(stopping, HOUSEKEEPING_SECONDS)
