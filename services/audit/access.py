"""How an auditor's tools reach the services: their addresses, and a token with the role auditor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from services.kit.auth import ServiceToken

LOCAL_STACK = Path(".local/stack.json")
_TIMEOUT_SECONDS = 60.0


class NoAccess(Exception):
    """The tools do not know where the services are, or may not ask them; the text says what to set."""


class Token(Protocol):
    async def token(self) -> str:
        """A bearer token that is good now."""


@dataclass(frozen=True, slots=True)
class FixedToken:
    text: str

    async def token(self) -> str:
        return self.text


@dataclass(frozen=True)
class Access:
    """Addresses by service, and who asks."""

    apis: Mapping[str, str]
    token: Token

    @classmethod
    def find(cls, apis: Sequence[str], stack: Path | None, client_id: str = "auditor") -> Access:
        """From `registry=https://…` and the environment, or else from a local stack's `stack.json`. Raises `NoAccess`.

        In the environment: ENTAS_TOKEN, or ENTAS_TOKEN_URL with ENTAS_CLIENT_ID and ENTAS_CLIENT_SECRET.
        """
        if apis:
            named = dict(_named(text) for text in apis)
            return cls(named, _token_of_environment())
        file = stack or Path(os.environ.get("ENTAS_LOCAL_FOLDER") or LOCAL_STACK.parent) / LOCAL_STACK.name
        try:
            facts = json.loads(file.read_text())
            secret = json.loads(Path(facts["clients_file"]).read_text())[client_id]["secret"]
        except FileNotFoundError:
            raise NoAccess(
                f"No local stack: {file} does not exist. Start one (`make up`), or name the services: "
                "--api registry=https://… --api training=https://… with ENTAS_TOKEN in the environment."
            ) from None
        except (ValueError, KeyError) as error:
            raise NoAccess(f"{file} does not describe a stack with a client {client_id}: {error!r}") from None
        addresses = {name: each["api"] for name, each in facts["services"].items()}
        return cls(addresses, ServiceToken(facts["token_url"], client_id, secret))

    def open(self) -> Services:
        return Services(self)


def _named(text: str) -> tuple[str, str]:
    service, equals, address = text.partition("=")
    if not equals or not address.startswith(("http://", "https://")):
        raise NoAccess(f"--api {text}: write a service and its address, as in --api registry=https://registry.example")
    return service, address.rstrip("/")


def _token_of_environment() -> Token:
    if text := os.environ.get("ENTAS_TOKEN"):
        return FixedToken(text)
    names = ("ENTAS_TOKEN_URL", "ENTAS_CLIENT_ID", "ENTAS_CLIENT_SECRET")
    values = [os.environ.get(name, "") for name in names]
    if not all(values):
        raise NoAccess(f"Set ENTAS_TOKEN, or {', '.join(names)}: services answer auditors alone.")
    return ServiceToken(*values)


class Services:
    """Open connections to every service: `async with access.open() as services`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._closing = AsyncExitStack()
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        for service, address in self._access.apis.items():
            client = httpx.AsyncClient(base_url=address, timeout=_TIMEOUT_SECONDS)
            self._clients[service] = await self._closing.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    @property
    def names(self) -> list[str]:
        return list(self._clients)

    async def ask(self, service: str, method: str, path: str, **said: Any) -> httpx.Response:
        """The answer, which may be any but a refusal of the token. Raises `NoAccess`."""
        headers = {"Authorization": f"Bearer {await self._access.token.token()}"}
        try:
            answer = await self._clients[service].request(method, path, headers=headers, **said)
        except httpx.TransportError as error:
            raise NoAccess(f"{service} at {self._access.apis[service]} does not answer: {error!r}") from error
        if answer.status_code in (401, 403):
            raise NoAccess(f"{service} refuses {path}: {_detail(answer)} The token needs the role auditor, area *.")
        return answer


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}."
