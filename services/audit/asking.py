"""Asks the services' APIs as an auditor, and tells plainly what is wrong with an answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx

from services.audit.api_source import NotShown
from services.kit.auth import ServiceToken
from services.kit.trust import trusted

_TIMEOUT_SECONDS = 60.0


class Apis:
    """The services' APIs by name: `async with Apis(addresses, token) as apis`."""

    def __init__(self, addresses: Mapping[str, str], token: ServiceToken) -> None:
        self._addresses = addresses
        self._token = token
        self._closing = AsyncExitStack()
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        for service, address in self._addresses.items():
            client = httpx.AsyncClient(base_url=address, timeout=_TIMEOUT_SECONDS, verify=trusted())
            self._clients[service] = await self._closing.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    @property
    def services(self) -> list[str]:
        return list(self._clients)

    async def ask(self, service: str, method: str, path: str, **said: Any) -> httpx.Response:
        """The answer, which may be any but a refusal of the token. Raises `NotShown`."""
        headers = {"Authorization": f"Bearer {await self._token.token()}"}
        try:
            answer = await self._clients[service].request(method, path, headers=headers, **said)
        except httpx.TransportError as error:
            raise NotShown(f"{service} at {self._addresses[service]} does not answer: {error!r}") from error
        if answer.status_code in (401, 403):
            raise NotShown(f"{service} refuses {path}: {said_by(answer)} The token needs the role auditor, area *.")
        return answer


def said_by(answer: httpx.Response) -> str:
    """What an answer that is none says."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}: {answer.text[:200]}"
