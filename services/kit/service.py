"""What a service is made of: the one description from which its processes are wired."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from contracts.envelope import Event
from services.kit.auth import ServiceToken
from services.kit.keyring import BorrowedKeys, Keyring, LocalKeys
from services.kit.keys import RemoteKeys
from services.kit.people import RemotePeople
from services.kit.reactions import Partner, Reactions
from services.kit.rows import Connection
from services.kit.settings import Settings
from services.kit.table import Table
from services.kit.timers import Timers

if TYPE_CHECKING:
    from services.kit.jobs import JobContext

Job = Callable[["JobContext"], Awaitable[None]]
Redo = Callable[[Connection, Sequence[Event]], Awaitable[None]]


def local_keys(settings: Settings) -> Keyring:
    """For the key authority: keys live in its own database, wrapped under the master key."""
    return LocalKeys(settings.master_key())


def borrowed_keys(settings: Settings) -> Keyring:
    """For every other service: keys are asked for at the registry, with the service's own token."""
    return BorrowedKeys(RemoteKeys(settings.needed("registry_url"), own_token(settings)))


def remote_people(settings: Settings) -> RemotePeople:
    """For a service that has to find out whom a partner spoke of. Whoever makes it closes it (`aclose`)."""
    return RemotePeople(settings.needed("registry_url"), own_token(settings))


def own_token(settings: Settings) -> ServiceToken:
    """The token with which a process calls other services. Raises SettingsInvalid."""
    return ServiceToken(settings.needed("token_url"), settings.needed("client_id"), settings.needed("client_secret"))


@dataclass(frozen=True)
class Service:
    """`tables` stand in locking order, own ones and projections of foreign facts alike."""

    name: str
    summary: str
    tables: tuple[Table[Any], ...]
    router: APIRouter
    migrations: Path
    reactions: Reactions = field(default_factory=Reactions)
    partners: tuple[Partner, ...] = ()
    timers: Timers = field(default_factory=Timers)
    jobs: tuple[Job, ...] = ()
    keyring: Callable[[Settings], Keyring] = borrowed_keys
    settings: type[Settings] = Settings  # a subclass, where a service has settings of its own
    redo: Redo | None = None  # does again what facts did outside the fold; a database that takes them back needs it
