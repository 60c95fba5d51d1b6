"""Asking the registry who bears a number: in batches, with the service's token, and never with a number in an error."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.kit.auth import ServiceToken
from services.kit.outages import OUTAGES
from services.kit.people import PeopleUnavailable, RemotePeople
from tests.kit.issuer import Issuer
from tests.kit.serving import served

NIK = "5270014107800000"


class Registry:
    """A registry that can also break, or answer nonsense."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.tokens: list[str | None] = []
        self.refuse: list[int] = []
        self.answer: Any = None
        self.app = Starlette(routes=[Route("/people/match", self._match, methods=["POST"])])

    async def _match(self, request: Request) -> Response:
        assert not request.url.query
        self.tokens.append(request.headers.get("authorization"))
        if self.refuse:
            return Response(status_code=self.refuse.pop(0))
        numbers = (await request.json())["national_ids"]
        self.asked.append(len(numbers))
        if self.answer is not None:
            return JSONResponse(self.answer)
        return JSONResponse({"matches": {number: [f"person of {number}"] for number in numbers if number[-5] != "9"}})


@pytest.fixture
async def registry() -> Registry:
    return Registry()


@pytest.fixture
async def people(registry: Registry) -> AsyncIterator[RemotePeople]:
    issuer = Issuer()
    async with served(issuer.app) as issuer_url, served(registry.app) as url:
        remote = RemotePeople(url, ServiceToken(f"{issuer_url}/token", "outcomes", "a secret"))
        yield remote
        await remote.aclose()


async def test_numbers_are_asked_for_in_batches_of_500_each_once(registry: Registry, people: RemotePeople):
    numbers = [f"5270{number:08d}0000" for number in range(1200)]
    found = await people.match([*numbers, *numbers[:10]])
    assert registry.asked == [500, 500, 200]
    assert set(registry.tokens) == {"Bearer token-1"}
    assert found == {number: [f"person of {number}"] for number in numbers if number[-5] != "9"}
    assert len(found) == 1080


async def test_nobody_is_no_question(registry: Registry, people: RemotePeople):
    assert await people.match([]) == {}
    assert registry.asked == []


async def test_what_nobody_asked_for_is_not_taken_and_no_people_is_no_match(registry: Registry, people: RemotePeople):
    registry.answer = {"matches": {NIK: [], "5270014107810000": ["somebody"]}}
    assert await people.match([NIK]) == {}


async def test_a_token_that_the_registry_no_longer_takes_is_replaced_once(registry: Registry, people: RemotePeople):
    registry.refuse = [401]
    assert set(await people.match([NIK])) == {NIK}
    assert registry.tokens == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("status", [403, 422, 500, 503])
async def test_a_registry_that_refuses_is_an_outage(registry: Registry, people: RemotePeople, status: int):
    registry.refuse = [status]
    with pytest.raises(PeopleUnavailable, match=str(status)) as refused:
        await people.match([NIK])
    assert isinstance(refused.value, OUTAGES)
    assert set(await people.match([NIK])) == {NIK}


@pytest.mark.parametrize(
    "answer",
    [[], "x", {}, {"matches": []}, {"matches": {NIK: "p1"}}, {"matches": {NIK: [5]}}, {"matches": {NIK: None}}],
)
async def test_an_answer_that_cannot_be_read_is_an_outage_that_quotes_nothing(
    registry: Registry, people: RemotePeople, answer: Any
):
    registry.answer = answer
    with pytest.raises(PeopleUnavailable, match="no readable answer") as refused:
        await people.match([NIK])
    chain: BaseException | None = refused.value
    while chain is not None:
        assert chain.__suppress_context__ or chain.__context__ is None
        assert NIK not in str(chain)
        chain = chain.__cause__
