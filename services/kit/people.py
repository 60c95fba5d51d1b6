"""Who bears a NIK: what another service asks the registry, which alone can tell."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from pydantic import TypeAdapter, ValidationError

from services.kit.auth import ServiceToken
from services.kit.peer import RegistryPeer
from services.kit.refusal import Unavailable

_BATCH = 500
_MATCHES = TypeAdapter(dict[str, list[str]])


class PeopleUnavailable(Unavailable):
    """The registry, which knows who bears which number, does not tell now."""

    def __init__(self, detail: str) -> None:
        super().__init__("people-unavailable", detail)


class RemotePeople:
    """Asks the registry's POST /people/match, in batches. Each person who is named is in the registry's read log."""

    def __init__(self, registry_url: str, service_token: ServiceToken) -> None:
        self._peer = RegistryPeer(registry_url, service_token, "people", PeopleUnavailable)

    async def match(self, national_ids: Collection[str]) -> dict[str, list[str]]:
        """The ids of all persons who bear each of these NIKs (16 digits each); a NIK that nobody bears is missing.

        Raises PeopleUnavailable.
        """
        found: dict[str, list[str]] = {}
        asked = iter(list(dict.fromkeys(national_ids)))
        while batch := list(islice(asked, _BATCH)):
            said = await self._peer.post("/people/match", {"national_ids": batch})
            found |= {number: people for number, people in self._read(said).items() if number in batch and people}
        return found

    async def aclose(self) -> None:
        await self._peer.aclose()

    def _read(self, said: dict[str, object]) -> dict[str, list[str]]:
        try:
            return _MATCHES.validate_python(said.get("matches"), strict=True)
        except ValidationError:
            # Its text would quote the numbers.
            raise self._peer.unreadable() from None
