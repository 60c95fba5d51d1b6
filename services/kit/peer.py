"""Asking the registry: how another service calls its API with a token of its own, and what it says when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from services.kit.auth import IssuerUnavailable, ServiceToken
from services.kit.refusal import Unavailable
from services.kit.trust import trusted

_HTTP_TIMEOUT_SECONDS = 10.0

Raises = Callable[[str], Unavailable]


class RegistryPeer:
    """The registry's API for one purpose. `wanted` ("keys") is named in what `raises` makes of a failure."""

    def __init__(self, registry_url: str, service_token: ServiceToken, wanted: str, raises: Raises) -> None:
        self._url = registry_url.rstrip("/")
        self._service_token = service_token
        self._wanted = wanted
        self._raises = raises
        self._client = httpx.AsyncClient(timeout=_HTTP_TIMEOUT_SECONDS, verify=trusted())

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that was answered. Raises what the failure means; never with anything of the body in it."""
        try:
            answer = await self._ask(path, body)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                # The issuer may have changed its keys since our token was made.
                self._service_token.forget()
                answer = await self._ask(path, body)
            said = answer.raise_for_status().json()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise self._raises(f"The registry answered {status} when asked for {self._wanted}.") from error
        except IssuerUnavailable as error:
            raise self._raises(
                f"This service could not fetch its own token to ask the registry for {self._wanted}."
            ) from error
        except httpx.HTTPError as error:
            raise self._raises(f"The registry does not answer when asked for {self._wanted}.") from error
        except ValueError:
            # Its text would quote the answer, which may name somebody.
            raise self.unreadable() from None
        if not isinstance(said, dict):
            raise self.unreadable()
        return said

    def unreadable(self) -> Unavailable:
        """For whoever finds that an answer is not what was asked for."""
        return self._raises(f"The registry gave no readable answer when asked for {self._wanted}.")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {await self._service_token.token()}"}
        return await self._client.post(self._url + path, json=body, headers=headers)
