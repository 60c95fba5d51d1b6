"""The key authority over HTTP: other services ask here for the keys that open what they hold sealed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from services.kit.auth import Principal, requires
from services.kit.keys import encode_keys
from services.kit.logs import correlation_id
from services.kit.transaction import Workplace
from services.registry.people import queries

router = APIRouter(tags=["keys"])

Id = Annotated[str, Field(min_length=1, max_length=64)]


class Unwrap(BaseModel):
    """Whose keys, and what for."""

    model_config = ConfigDict(extra="forbid")

    person_ids: Annotated[list[Id], Field(max_length=500)]
    purpose: Annotated[str, Field(min_length=3, max_length=200)]


class Keys(BaseModel):
    """Base64 by person; a person who is missing was erased, or is unknown."""

    keys: dict[str, str]


@router.post("/keys/unwrap")
async def unwrap_keys(
    command: Unwrap, request: Request, principal: Annotated[Principal, Depends(requires("service:*"))]
) -> Keys:
    """Gives services the keys of persons. Each key that is given is in the read log before the answer leaves."""
    workplace: Workplace = request.app.state.workplace
    people = set(command.person_ids)
    async with workplace.pool.acquire() as connection, connection.transaction():
        keys = await workplace.keyring.to_open(connection, people, command.purpose)
        await queries.log_unwrapping(
            connection, keys.keys(), principal.subject, command.purpose, correlation_id() or ""
        )
    return Keys(keys=encode_keys(keys))
