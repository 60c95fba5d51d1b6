"""A process of a service: `api`, `worker`, `migrate` or `topics`; how it starts, and how it ends within seconds."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from services.kit import crash, metrics
from services.kit.app import api_app, worker_app
from services.kit.backoff import Backoff
from services.kit.clock import clock_from
from services.kit.consumer import Consumer
from services.kit.database import migrate, open_pool
from services.kit.jobs import JobContext, run_job
from services.kit.logs import configure_logging
from services.kit.outages import OUTAGES
from services.kit.relay import Nudge, Relay
from services.kit.service import Service
from services.kit.settings import Settings, SettingsInvalid, load_settings
from services.kit.tasks import sleep_unless
from services.kit.timers import Timers, run_timer
from services.kit.topics import TopicsDiffer, check_topics, create_topics
from services.kit.transaction import Workplace

_log = structlog.get_logger(__name__)

LEAVE_SECONDS = 3.0
HOUSEKEEPING_SECONDS = 60.0


def main(service: Service) -> None:
    """The command line of a service."""
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
        applied = migrate(settings.database_url, service.migrations)
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
        typer.echo(f"{service.name}: made {', '.join(made)}" if made else f"{service.name}: all topics are there")

    app()


def _settings(service: Service) -> Settings:
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        sys.exit(str(error))
    configure_logging(settings.log_level, service=service.name)
    crash.arm(settings.crash_points, settings.crash_once_dir)
    return settings


def _run(service: Service, serve: Callable[[Service, Settings, asyncio.Event], Awaitable[None]]) -> None:
    settings = _settings(service)

    async def until_told() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for told in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(told, stopping.set)
        await serve(service, settings, stopping)

    try:
        asyncio.run(until_told())
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
    pool.terminate()


async def serve_worker(service: Service, settings: Settings, stopping: asyncio.Event) -> None:
    """Relay, consumer, timers and jobs in one process, until told to stop."""
    pool = await _pool(settings, stopping)
    if pool is None:
        return
    await check_topics(settings.kafka_bootstrap, service.name, stopping)
    nudge = Nudge(pool)
    workplace = _workplace(service, settings, pool, nudge)
    relay = Relay(f"/entas/{service.name}", settings.database_url, settings.kafka_bootstrap)
    consumer = Consumer(workplace, settings.kafka_bootstrap, service.reactions, service.partners)
    context = JobContext(workplace, settings, stopping)

    async def health() -> dict[str, Any]:
        return await _progress(service, workplace, relay, consumer)

    await _together(
        stopping,
        [
            _serve_http(worker_app(service, health), settings.api_host, settings.worker_port, stopping),
            nudge.run(stopping),
            relay.run(stopping),
            consumer.run(stopping),
            _keep_house(pool, stopping),
            *[run_timer(timer, workplace, stopping) for timer in service.timers.all],
            *[run_job(job, context) for job in service.jobs],
        ],
    )
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
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan="off"
    )
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stop.cancel()
    await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process listens for signals itself, for all its parts."""
        yield


# --- Health -----------------------------------------------------------------------------------------------------------


async def _answers(pool: Any) -> bool:
    try:
        await pool.fetchval("SELECT 1", timeout=2)
    except OUTAGES:
        return False
    return True


async def _progress(service: Service, workplace: Workplace, relay: Relay, consumer: Consumer) -> dict[str, Any]:
    """What a supervisor, an operator and the steered clock want to know: is everything that happened dealt with?"""
    lag = None
    with suppress(*OUTAGES):
        # Measured now: a lag of a while ago would say that all is dealt with when something has just been sent.
        async with asyncio.timeout(1):
            await consumer.measure()
        lag = consumer.lag
    stopped = {str(place): reason for place, reason in consumer.stopped.items()}
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
        state["outbox"] = await workplace.pool.fetchval("SELECT count(*) FROM outbox", timeout=5)
        state["next_due"] = await _next_due(service.timers, workplace)
        state["ready"] = not stopped
    except OUTAGES as outage:
        state["database"] = type(outage).__name__
    return state


async def _next_due(timers: Timers, workplace: Workplace) -> Any:
    async with workplace.pool.acquire(timeout=5) as connection:
        due = [await timer.next_due(connection) for timer in timers.all]
    return min((instant for instant in due if instant is not None), default=None)


# --- Around it --------------------------------------------------------------------------------------------------------


def _workplace(service: Service, settings: Settings, pool: Any, nudge: Nudge) -> Workplace:
    clock = clock_from(settings)
    return Workplace(service.name, pool, service.tables, service.keyring(settings), clock.now, nudge)


async def _pool(settings: Settings, stopping: asyncio.Event) -> Any:
    """The database's pool, as soon as it answers; None if the process is told to stop before."""
    backoff = Backoff()
    while not stopping.is_set():
        try:
            return await open_pool(settings.database_url)
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
            await pool.execute("DELETE FROM idempotency WHERE created_at < now() - interval '2 days'")
            await pool.execute("DELETE FROM partner_message WHERE received_at < now() - interval '90 days'")
            await pool.execute("DELETE FROM rejected_message WHERE received_at < now() - interval '90 days'")
        except OUTAGES as outage:
            _log.info("housekeeping waits", error=type(outage).__name__)
        await sleep_unless(stopping, HOUSEKEEPING_SECONDS)
