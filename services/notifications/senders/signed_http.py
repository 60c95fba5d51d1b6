"""A sender over HTTP: one signed request for each letter, to a provider that tells copies by their Idempotency-Key."""

import asyncio
import json
import re
import time

import httpx

from services.notifications.senders import Ending, Letter, Outcome
from services.notifications.senders.signatures import signed

TIMEOUT_SECONDS = 10.0

REFUSALS = frozenset({400, 410, 413, 422, 451})
"""What is said of this message for good. Whatever else is no 2xx may change: a wrong path or token, an outage."""

_OF_THIS_MESSAGE = frozenset({409, 425})  # It is being worked on: the provider itself is well.
_LONGEST_ANSWER_BYTES = 65_536
_REFERENCE = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")


class SignedHttp:
    """POSTs `{"id", "channel", "to", "language", "subject", "text"}` as JSON.

    A request that gets no answer is repeated with the same id in `Idempotency-Key` and `webhook-id`, and the provider
    promises to take it once. Its answer may hold {"reference": "…"}.
    """

    repeatable = True

    def __init__(self, url: str, secret: bytes, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._secret = secret
        self._timeout = timeout_seconds
        self._client = httpx.AsyncClient(timeout=timeout_seconds)

    async def send(self, letter: Letter) -> Outcome:
        body = _body(letter)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": letter.id,
            **signed(self._secret, letter.id, int(time.time()), body),
        }
        try:
            # A provider that gives its answer drop by drop would never run into a timeout of httpx.
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return await _outcome(answer, letter)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
            return Outcome(Ending.AWAY)
        except (httpx.HTTPError, httpx.StreamError, TimeoutError):
            return Outcome(Ending.UNCLEAR)

    async def close(self) -> None:
        await self._client.aclose()


def _body(letter: Letter) -> bytes:
    said = {
        "id": letter.id,
        "channel": letter.channel,
        "to": letter.to,
        "language": letter.language,
        "subject": letter.subject,
        "text": letter.text,
    }
    return json.dumps(said, ensure_ascii=False).encode()


async def _outcome(answer: httpx.Response, letter: Letter) -> Outcome:
    status = answer.status_code
    if answer.is_success:
        return Outcome(Ending.TAKEN, _reference(await _beginning(answer), letter))
    if status in REFUSALS:
        return Outcome(Ending.REFUSED)
    if status in _OF_THIS_MESSAGE:
        return Outcome(Ending.LATER)
    # A server that failed (5xx) may have failed after it had passed the message on.
    return Outcome(Ending.UNCLEAR if status >= 500 and status != 503 else Ending.AWAY)


async def _beginning(answer: httpx.Response) -> bytes:
    said = b""
    async for chunk in answer.aiter_bytes():
        said += chunk
        if len(said) > _LONGEST_ANSWER_BYTES:
            return b""
    return said


def _reference(said: bytes, letter: Letter) -> str | None:
    """The provider's own reference, unless it says whom the message went to: it stands on the log for ever."""
    try:
        reference = json.loads(said)["reference"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        return None
    digits = re.sub(r"\D", "", letter.to)
    tells = letter.to.lower() in reference.lower() or (len(digits) > 6 and digits[-7:] in reference)
    return None if tells else reference
