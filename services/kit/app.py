"""The HTTP application of a process: its routes, who called, problem details, health that means progress, metrics."""

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.kit import figures, metrics, problems
from services.kit.auth import Verifier
from services.kit.http import Replayed, TimedOut
from services.kit.logs import bind_correlation, masked
from services.kit.outages import OUTAGES
from services.kit.service import Service
from services.kit.settings import Settings
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
    )
    app.state.workplace = workplace
    app.state.settings = settings
    app.state.verifier = Verifier(settings.jwks_url, settings.token_issuer)
    problems.install(app)
    app.add_exception_handler(Replayed, _replayed)
    app.add_exception_handler(TimedOut, _timed_out)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _away)
    app.middleware("http")(_accompany)
    app.include_router(service.router)
    app.include_router(figures.router)
    _add_health(app, health)
    return app


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


async def _accompany(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Binds the correlation id to the request, its log lines and its answer, and says how it ended."""
    given = request.headers.get("x-correlation-id", "")
    correlation_id = given if _is_plain(given) else str(uuid.uuid4())
    request.state.correlation_id = correlation_id
    bind_correlation(correlation_id)
    started = time.perf_counter()
    streamed = request.headers.get("content-type", "").startswith("text/csv")
    if not streamed and int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
        return problems.problem(
            request, 413, "too-large", f"A request holds at most {MAX_BODY_BYTES:,} bytes.", remedy="Split it."
        )
    response = await call_next(request)
    response.headers["X-Correlation-Id"] = correlation_id
    response.headers.setdefault("Cache-Control", "no-store")
    if not request.url.path.startswith(("/health", "/metrics")):
        route = request.scope.get("route")
        _log.info(
            "answered",
            method=request.method,
            route=getattr(route, "path", None),
            status=response.status_code,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
        )
    return response


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
