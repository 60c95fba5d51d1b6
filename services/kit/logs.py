"""Logs: one JSON object a line on standard output, bound to a correlation id, without any national id number.

Whoever logs, we or a library, by structlog or by the standard library, goes through the same processors. The last one
masks whatever looks like a NIK or a family card number (16 digits); names and addresses it cannot know, so nobody may
log personal fields in the first place.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping
from datetime import date, datetime
from types import TracebackType
from typing import Any, TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor

from services.kit.masking import MASK, masked

CORRELATION = "correlation_id"

# Loggers that would otherwise write by handlers of their own. FastStream adds none where it finds one on stdout.
_SELF_WILLED = ("uvicorn", "uvicorn.error", "uvicorn.access", "faststream", "faststream.access.kafka")


def mask_numbers(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Masks keys and values at any depth. What is no plain data is masked in the form in which it would be printed."""
    return {masked(str(key)): _clean(value) for key, value in event.items()}


def configure_logging(level: str = "INFO", stream: TextIO | None = None, **bound: str) -> None:
    """Sends structlog, the standard library, warnings and uncaught errors to one stream; `bound` is on each line."""
    stream = stream or sys.stdout
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_colours,
                lambda _logger, _method, event: {**bound, **event},
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                mask_numbers,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _SELF_WILLED:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda failed: _log_uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)


def bind_correlation(correlation_id: str) -> None:
    """Puts the id on every line that this task, and the tasks that it starts, log from here on."""
    structlog.contextvars.bind_contextvars(**{CORRELATION: correlation_id})


def correlation_id() -> str | None:
    """The id that `bind_correlation` bound here, if any."""
    bound = structlog.contextvars.get_contextvars().get(CORRELATION)
    return str(bound) if bound is not None else None


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Says that a line is lost. The standard library would print the record's arguments, unmasked."""
        kind = sys.exc_info()[0]
        line = {"event": "log line lost", "level": "error", "logger": record.name, "line": record.lineno}
        sys.stderr.write(json.dumps(line | {"error": kind.__name__ if kind else None}) + "\n")


def _without_colours(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drops uvicorn's second copy of its message, which is written for a terminal."""
    event.pop("color_message", None)
    return event


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), traceback)
        return
    logging.getLogger("uncaught").critical("uncaught exception", exc_info=(kind, error or kind(), traceback))


def _clean(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        # A table program turns a number of 16 digits into a float; none of our figures comes near 10^15.
        return value if abs(value) < 1e15 else MASK
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, UUID | date | datetime):
        return str(value)
    if depth < 8 and isinstance(value, Mapping):
        return {masked(str(key)): _clean(item, depth + 1) for key, item in value.items()}
    if depth < 8 and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    return masked(_printed(value))


def _printed(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("latin-1")
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a log line must not fail on a foreign object's repr.
        return f"<{type(value).__name__}: repr raised {type(error).__name__}>"
