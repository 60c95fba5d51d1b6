"""A service's log as its own endpoint shows it (services/kit/log_api.py), to an auditor of the whole country."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from services.audit.sources import BATCH, Batch, Broken, Found, Noted, entry_from
from services.kit.auth import ServiceToken
from services.kit.trust import trusted

_AT_ONCE = 20_000
_NOTES = 10_000
_TRIES = 5


class NotShown(Exception):
    """An endpoint did not answer, or refused; the message says what it said."""


class ApiSource:
    """`addresses`: service -> base URL of its API."""

    def __init__(self, addresses: Mapping[str, str], token: ServiceToken) -> None:
        self.name = "api " + ", ".join(addresses.values())
        self._addresses = addresses
        self._token = token

    async def notes(self, service: str) -> AsyncIterator[Noted]:
        after = 0
        while True:
            lines = [json.loads(line) async for line in self._lines(service, "checkpoints", after=after, limit=_NOTES)]
            for text in lines:
                yield Noted(text, f"{self._addresses[service]}/log/checkpoints after {after}")
                after = _size_in(text, after)
            if len(lines) < _NOTES:
                return

    async def newest(self, service: str) -> AsyncIterator[Noted]:
        """The newest checkpoint alone."""
        text = (await self._bytes(service, "checkpoint")).decode()
        yield Noted(text, f"{self._addresses[service]}/log/checkpoint")

    async def consistency(self, service: str, first: int, second: int) -> Any:
        """The service's proof that its log of `second` events begins with that of `first`."""
        return json.loads(await self._bytes(service, "consistency", first=first, second=second))

    async def proof(self, service: str, sequence: int, size: int) -> Any:
        """The service's proof that an event stands in its log of `size` events."""
        return json.loads(await self._bytes(service, f"{sequence}/proof", size=size))

    async def entries(self, service: str, first: int, size: int) -> AsyncIterator[Batch]:
        """An answer that breaks off is asked for again, from where it broke off."""
        failed = 0
        while first < size:
            batch: list[Found | Broken] = []
            before = first
            try:
                async for line in self._lines(service, "entries", first=first, limit=min(_AT_ONCE, size - first)):
                    entry = entry_from(line)
                    batch.append(entry)
                    first = max(first, entry.position.sequence + 1 if isinstance(entry, Found) else first + 1)
                    if len(batch) == BATCH:
                        yield batch
                        batch = []
            except httpx.TransportError as error:
                failed += 1
                if failed == _TRIES:
                    raise NotShown(f"{self._addresses[service]}: {type(error).__name__} {_TRIES} times") from error
                await asyncio.sleep(0.2 * failed)
            else:
                failed = 0
                if first == before:
                    return  # It has no more, though a checkpoint says that it should.
            if batch:
                yield batch

    async def leaves(self, service: str, first: int, count: int) -> bytes:
        return await self._bytes(service, "leaves", first=first, limit=count)

    async def _bytes(self, service: str, what: str, **query: int) -> bytes:
        async with self._answer(service, what, query) as answer:
            return bytes(await answer.aread())

    async def _lines(self, service: str, what: str, **query: int) -> AsyncIterator[str]:
        async with self._answer(service, what, query) as answer:
            async for line in answer.aiter_lines():
                yield line

    def _answer(self, service: str, what: str, query: Mapping[str, int]) -> "_Answer":
        return _Answer(f"{self._addresses[service].rstrip('/')}/log/{what}", query, self._token)


class _Answer:
    """A streamed answer, which is a good one."""

    def __init__(self, url: str, query: Mapping[str, int], token: ServiceToken) -> None:
        self._url, self._query, self._token = url, query, token
        self._client = httpx.AsyncClient(timeout=60, verify=trusted())

    async def __aenter__(self) -> httpx.Response:
        headers = {"Authorization": f"Bearer {await self._token.token()}"}
        request = self._client.build_request("GET", self._url, params=dict(self._query), headers=headers)
        try:
            self._stream = await self._client.send(request, stream=True)
            if self._stream.status_code != 200:
                said = (await self._stream.aread()).decode("utf-8", "replace")[:300]
                raise NotShown(f"{self._url} answered {self._stream.status_code}: {said}")
        except BaseException:
            await self._client.aclose()
            raise
        return self._stream

    async def __aexit__(self, *_: Any) -> None:
        await self._stream.aclose()
        await self._client.aclose()


def _size_in(note: str, otherwise: int) -> int:
    """The size that a note names, to ask for the notes after it. What is wrong with it is the verifier's to say."""
    lines = note.split("\n")
    return int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else otherwise + 1
