"""The API of a service for one test after the other: to build its routes takes longer than most tests of them."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI

from services.kit.app import api_app, furnish
from services.kit.service import Service
from services.kit.settings import Settings
from services.kit.transaction import Workplace

_free: dict[str, list[FastAPI]] = defaultdict(list)  # by the name of the service


@contextmanager
def api_of(service: Service, settings: Settings, workplace: Workplace) -> Iterator[FastAPI]:
    """An application that nobody else uses meanwhile, and that knows nothing of who did before."""
    free = _free[service.name]
    app = free.pop() if free else api_app(service, settings, workplace, _healthy)
    furnish(app, settings, workplace)
    try:
        yield app
    finally:
        free.append(app)


async def _healthy() -> dict[str, Any]:
    return {"ready": True}
