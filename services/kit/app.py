"""The HTTP application of a process: its routes, who called, problem details, health that means progress, metrics."""

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import structlog
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import MutableHeaders, State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.kit import figures, log_api, metrics, problems, tracing
from services.kit.auth import Verifier
from services.kit.http import Replayed, TimedOut, is_streamed
from services.kit.logs import bind_correlation
from services.kit.masking import masked
from services.kit.outages import OUTAGES
from services.kit.refusal import Refused, Unavailable
from services.kit.service import Service
from services.kit.settings import Settings
from services.kit.storable import is_unstorable, unstorable_parts
from services.kit.transaction import Workplace

_log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 2_000_000
Health = Callable[[], Awaitable[dict[str, Any]]]


def api_app(service: Service, settings: Settings, workplace: Workplace, health: Health) -> FastAPI:
    """The service's API with everything around it."""
    app = FastAPI(
        title=f"Entas {service.name}",
        summary=service.summary,
        version="0.1.0",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        dependencies=[Depends(_refuse_unstorable)],
    )
    furnish(app, settings, workplace)
    problems.install(app)
    app.add_exception_handler(Replayed, _replayed)
    app.add_exception_handler(TimedOut, _timed_out)
    for outage in OUTAGES:
        # An `Unavailable` says by itself what does not answer; problems.py knows how to tell it.
        if outage is not Unavailable:
            app.add_exception_handler(outage, _away)
    app.add_exception_handler(asyncpg.PostgresError, _refused_by_database)
    app.add_middleware(_Accompanied)
    app.include_router(service.router)
    app.include_router(figures.router)
    app.include_router(log_api.router)
    app.include_router(tracing.router)
    _add_health(app, health)
    return app


def furnish(app: FastAPI, settings: Settings, workplace: Workplace) -> None:
    """Gives the application what its requests work with, in the place of all that it had."""
    verifier = Verifier(settings.jwks_url, settings.token_issuer)
    app.state = State({"workplace": workplace, "settings": settings, "verifier": verifier})


def worker_app(service: Service, health: Health) -> FastAPI:
    """What a worker shows: health and metrics, and nothing of the data."""
    app = FastAPI(title=f"Entas {service.name} worker", docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)
    _add_health(app, health)
    return app


def _add_health(app: FastAPI, health: Health) -> None:
    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", include_in_schema=False)
    async def ready(response: Response) -> dict[str, Any]:
        state = await health()
        response.status_code = 200 if state["ready"] else 503
        return state

    @app.get("/health/progress", include_in_schema=False)
    async def progress() -> dict[str, Any]:
        return await health()

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class _Accompanied:
    """Binds the correlation id to a request, its log lines and its answer; bounds its body; says how it ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-correlation-id", "")
        correlation_id = given if _is_plain(given) else str(uuid.uuid4())
        request.state.correlation_id = correlation_id
        bind_correlation(correlation_id)
        started, status = time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Correlation-Id"] = correlation_id
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, _bounded(receive, request), send_with_headers)
        finally:
            if not request.url.path.startswith(("/health", "/metrics")):
                _log.info(
                    "answered",
                    method=request.method,
                    route=getattr(scope.get("route"), "path", None),
                    status=status,
                    milliseconds=round((time.perf_counter() - started) * 1000, 1),
                )


def _bounded(receive: Receive, request: Request) -> Receive:
    """Refuses a body above the limit, by the length it announces or by what really comes. Streamed ones may be any."""
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdecimal() else 0

    taken = 0

    def refuse_above_the_limit(size: int) -> None:
        if size > MAX_BODY_BYTES and not is_streamed(request):
            raise HTTPException(413, f"A request holds at most {MAX_BODY_BYTES:,} bytes.")

    async def receive_bounded() -> Message:
        nonlocal taken
        refuse_above_the_limit(length)  # Before anything of it is waited for.
        message = await receive()
        taken += len(message.get("body", b""))
        refuse_above_the_limit(taken)
        return message

    return receive_bounded


async def _refuse_unstorable(request: Request) -> None:
    """Refuses, by field, what no table can keep: a NUL in a text, a number beyond 64 bits, an infinite one."""
    # Of the body, what FastAPI has read by now: one that nobody asked for, or that is streamed, is left alone.
    wrong = unstorable_parts(getattr(request, "_json", None), "body") + unstorable_parts(request.path_params, "path")
    for name, value in request.query_params.multi_items():
        wrong += unstorable_parts(value, "query", name)
    if wrong:
        raise Refused(
            "invalid-request",
            "The request holds values that cannot be kept; nothing was changed.",
            status=422,
            fields=wrong,
        )


def _is_plain(text: str) -> bool:
    """Short, printable, and nothing that could be a national id: it is logged and goes on every event."""
    return 0 < len(text) <= 64 and text.isascii() and text.replace("-", "").isalnum() and masked(text) == text


async def _replayed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Replayed)
    return error.response


async def _timed_out(request: Request, error: Exception) -> Response:
    return problems.problem(
        request, 504, "not-there-yet", str(error), remedy="Ask again in a moment.", headers={"Retry-After": "1"}
    )


async def _refused_by_database(request: Request, error: Exception) -> Response:
    """A value that the checks at the edge let through is the caller's to mend; anything else is a defect of ours."""
    if is_unstorable(error):
        _log.warning("refused by the database", error=type(error).__name__)
        return problems.problem(
            request,
            422,
            "unstorable-value",
            "A value is too long, too large or holds a character that cannot be kept; nothing was changed.",
            remedy="Send shorter texts, and numbers and times that can occur.",
        )
    raise error


async def _away(request: Request, error: Exception) -> Response:
    _log.warning("unavailable", error=f"{type(error).__name__}")
    metrics.commands.labels("any", "unavailable").inc()
    return problems.problem(
        request,
        503,
        "unavailable",
        "The service cannot reach its database, or another request was in the way. Nothing was changed.",
        remedy="Send the same request again, with the same Idempotency-Key.",
        headers={"Retry-After": "1"},
    )
