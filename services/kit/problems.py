"""HTTP errors as problem details (RFC 9457) that name the field and the remedy and never repeat what was sent.

What was sent may hold a NIK, a name or an address, so an answer is built from our words and from pydantic's
descriptions of the rule, with the input's own text taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.kit.causes import told
from services.kit.logs import correlation_id
from services.kit.masking import masked
from services.kit.refusal import FieldProblem, Refused, Unavailable

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger(__name__)
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")

# Rules whose message repeats the input get our words.
_MESSAGES = {
    "json_invalid": "The body is no valid JSON",
    "union_tag_invalid": "The kind is not one of those that are known here",
    "uuid_parsing": "The value is no UUID",
    "url_parsing": "The value is no URL",
}
_REMEDIES = {
    "missing": "Add this field.",
    "extra_forbidden": "Remove this field or correct its name.",
    "json_invalid": "Send one JSON object in UTF-8.",
    "string_too_long": "Send at most {max_length} characters.",
    "string_too_short": "Send at least {min_length} characters.",
    "string_pattern_mismatch": "Send a value of the form {pattern}.",
    "too_long": "Send at most {max_length} items.",
    "too_short": "Send at least {min_length} items.",
    "enum": "Send one of {expected}.",
    "literal_error": "Send one of {expected}.",
    "union_tag_invalid": "Send one of {expected_tags}.",
    "greater_than": "Send a number above {gt}.",
    "greater_than_equal": "Send a number from {ge} up.",
    "less_than": "Send a number below {lt}.",
    "less_than_equal": "Send a number up to {le}.",
    "timezone_aware": "Send the instant with its zone, as in 2024-07-08T09:05:00+08:00.",
    "uuid_parsing": "Send the id as it was given to you.",
}
_DEFAULT_REMEDY = "Correct this field and send the request again."

_STATUS_REMEDIES = {
    404: "Check the path against /docs.",
    405: "Use a method that the Allow header names.",
    413: "Send a smaller body, or split it.",
    415: "Send the content type that /docs names.",
}


def install(app: FastAPI) -> None:
    """Makes every error of `app` an application/problem+json answer whose instance is the correlation id."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    fields: Sequence[FieldProblem] = (),
    remedy: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem details answer; empty members are left out."""
    body = {
        "type": f"urn:entas:problem:{code}",
        "code": code,
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": masked(detail),
        "instance": _instance(request),
        "remedy": masked(remedy) if remedy else None,
        "errors": [_shown(field) for field in fields],
    }
    return JSONResponse(
        {name: value for name, value in body.items() if value}, status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def field_problems(errors: Sequence[Mapping[str, Any]]) -> list[FieldProblem]:
    """What pydantic's `errors()` say, a reason and a remedy for each field, without the values that were sent."""
    return [
        FieldProblem(_dotted(error["loc"]), _message(error), _remedy(error["type"], error.get("ctx") or {}))
        for error in errors
    ]


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    _log.info("refused", code=error.code, status=error.status)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return problem(
        request, error.status, error.code, error.detail, fields=error.fields, remedy=error.remedy, headers=headers
    )


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Unavailable)
    cause = None if error.__cause__ is None else told(error.__cause__)
    _log.warning("unavailable", error=told(error), cause=cause)
    retry = str(error.retry_after_seconds)
    return problem(
        request, 503, error.code, error.detail, remedy=f"Try again in {retry} s.", headers={"Retry-After": retry}
    )


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = field_problems(error.errors())
    _log.info("refused", code="invalid-request", status=422, fields=[field.field for field in fields])
    detail = "The request does not have the form that is described at /docs; nothing was changed."
    return problem(request, 422, "invalid-request", detail, fields=fields)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "-").replace("'", "")
    return problem(request, status, code, str(error.detail), remedy=_STATUS_REMEDIES.get(status), headers=error.headers)


async def _failed(request: Request, error: Exception) -> JSONResponse:
    # The server logs the traceback itself; this line ties it to the instance that the caller will report.
    _log.error("request failed", error=type(error).__name__, instance=_instance(request))
    detail = "The service failed on this request. Whether it took effect is not certain."
    remedy = (
        "Send it again with the same Idempotency-Key: it takes effect once. If it fails again, report the instance."
    )
    return problem(request, 500, "internal-error", detail, remedy=remedy)


def _instance(request: Request) -> str | None:
    # A failure is answered outside all middleware, where the context may be reset; the request's state still knows.
    instance = getattr(request.state, "correlation_id", None) or correlation_id()
    return masked(str(instance)) if instance else None


def _shown(field: FieldProblem) -> dict[str, str]:
    shown = {"field": field.field, "message": field.message, "remedy": field.remedy}
    return {name: masked(text) for name, text in shown.items() if text}


def _dotted(location: Sequence[str | int]) -> str:
    """A path as in body.members.0.name. A part that is no plausible field name is the sender's text: it becomes `*`."""
    return ".".join(str(part) if isinstance(part, int) or _FIELD_NAME.fullmatch(part) else "*" for part in location)


def _message(error: Mapping[str, Any]) -> str:
    message = _MESSAGES.get(error["type"], error["msg"])
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    sent = error.get("input")
    if isinstance(sent, str | int | float) and not isinstance(sent, bool) and len(str(sent)) > 2:
        message = message.replace(str(sent), "the value")
    return masked(message)


def _remedy(kind: str, context: Mapping[str, Any]) -> str:
    try:
        return _REMEDIES.get(kind, _DEFAULT_REMEDY).format_map(context)
    except KeyError:
        return _DEFAULT_REMEDY
