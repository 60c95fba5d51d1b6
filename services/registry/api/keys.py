"""The key authority over HTTP: other services ask here for the keys that open what they hold sealed."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from services.kit.auth import Forbidden, Principal, requires
from services.kit.keyring import SEAL, LocalKeys, erase_keys
from services.kit.keys import encode_keys
from services.kit.logs import correlation_id
from services.kit.transaction import Workplace, log_look

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["keys"])

Id = Annotated[str, Field(min_length=1, max_length=128)]
Purpose = Annotated[str, Field(min_length=3, max_length=200)]
Services = Depends(requires("service:*"))


class Unwrap(BaseModel):
    """Whose keys, and what for. A subject of a service's own begins with its name: `outcomes:intervention:…`."""

    model_config = ConfigDict(extra="forbid")

    person_ids: Annotated[list[Id], Field(max_length=500)]
    purpose: Purpose


class Keys(BaseModel):
    """Base64 by person; a person who is missing was erased, or is unknown."""

    keys: dict[str, str]


@router.post("/keys/unwrap")
async def unwrap_keys(command: Unwrap, request: Request, principal: Annotated[Principal, Services]) -> Keys:
    """Gives services the keys of persons. Each key that is given is in the read log before the answer leaves.

    For the purpose `seal` a key is made where the caller's own subject has none yet. Subjects of another service's own
    are missing from every answer.
    """
    workplace: Workplace = request.app.state.workplace
    asked = set(command.person_ids)
    own = {subject for subject in asked if _is_own(subject, principal)}
    made_on_demand = own if command.purpose == SEAL else set()
    people = {subject for subject in asked if ":" not in subject} | (own - made_on_demand)
    async with workplace.pool.acquire() as connection, connection.transaction():
        keys = await workplace.keyring.to_open(connection, people, command.purpose)
        if made_on_demand:
            keys |= await _local(workplace).given_or_made(connection, made_on_demand)
        await log_look(connection, keys.keys(), principal.subject, command.purpose, ["key"], correlation_id() or "")
    return Keys(keys=encode_keys(keys))


class Destroy(BaseModel):
    """Which of the caller's own subjects nothing is to be read of any more, and why."""

    model_config = ConfigDict(extra="forbid")

    subjects: Annotated[list[Id], Field(max_length=500)]
    purpose: Purpose


class Destroyed(BaseModel):
    destroyed: int  # that had a key until now


@router.post("/keys/destroy")
async def destroy_keys(command: Destroy, request: Request, principal: Annotated[Principal, Services]) -> Destroyed:
    """Destroys, for good, keys of the caller's own subjects. Those that have none are passed over, so that it may be
    sent again. Persons are forgotten by POST /people/{person_id}/erasure alone."""
    if not all(_is_own(subject, principal) for subject in command.subjects):
        raise Forbidden(
            "A service destroys the keys of its own subjects alone, which begin with its name and a colon.",
            "Leave the other subjects out; nothing was destroyed.",
        )
    workplace: Workplace = request.app.state.workplace
    async with workplace.pool.acquire() as connection, connection.transaction():
        destroyed = await erase_keys(connection, command.subjects)
    _log.info("keys destroyed", reader=principal.subject, purpose=command.purpose, keys=len(destroyed))
    return Destroyed(destroyed=len(destroyed))


def _is_own(subject: str, principal: Principal) -> bool:
    """Whether the subject begins with the name of the service that calls."""
    owner, colon, _ = subject.partition(":")
    return bool(colon and owner) and f"service:{owner}" in principal.roles


def _local(workplace: Workplace) -> LocalKeys:
    assert isinstance(workplace.keyring, LocalKeys), "the registry is the key authority"
    return workplace.keyring
