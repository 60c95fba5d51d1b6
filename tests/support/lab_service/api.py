"""HTTP in: counting, naming, a list of any size; and reads, one of which forgets its WHERE."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.kit.http import Reads, Work, reads_as, works_as
from services.kit.refusal import Refused
from tests.support.lab import Counter, Lab, Name


class Count(BaseModel):
    model_config = ConfigDict(extra="forbid")

    amount: int = Field(ge=-1_000_000)
    part: str = "a"
    note: str | None = None
    area_code: str | None = None
    anything: dict[str, Any] | None = None


class GiveName(BaseModel):
    name: str = Field(max_length=100)


class CounterView(BaseModel):
    counter_id: str
    version: int
    area_code: str
    times: int
    total: int


def router_of(lab: Lab) -> APIRouter:
    router = APIRouter()

    @router.post("/counters/{counter_id}/counts", status_code=201, response_model=CounterView)
    async def count(
        counter_id: str, command: Count, work: Annotated[Work, Depends(works_as("officer", "partner:*"))]
    ) -> Response:
        async with work as tx:
            counter = await tx.row(lab.counters, counter_id)
            tx.authorise(counter.area_code if counter else command.area_code or "52.01")
            tx.expect_version(counter)
            if command.amount == 13:
                raise Refused("unlucky", "Thirteen is not counted here.", remedy="Count to fourteen.")
            await tx.decide(
                [
                    lab.Counted(  # type: ignore[call-arg]
                        counter_id=counter_id,
                        amount=command.amount,
                        part=command.part,
                        note=command.note,
                        area_code=command.area_code,
                    )
                ]
            )
            counted = await tx.row(lab.counters, counter_id)
            assert counted is not None
            return tx.answer(_view(counted), status=201, version=counted.version, stream=f"{lab.topic}/{counter_id}")

    @router.post("/counters/{counter_id}/name", status_code=204)
    async def give_name(
        counter_id: str, command: GiveName, work: Annotated[Work, Depends(works_as("officer"))]
    ) -> Response:
        async with work as tx:
            await tx.decide(
                [lab.Named(counter_id=counter_id, personal={counter_id: Name(name=command.name)})]  # type: ignore[call-arg]
            )
            return tx.answer(None, status=204)

    @router.post("/lists", status_code=201)
    async def take_list(
        request: Request, work: Annotated[Work, Depends(works_as("officer", streamed=True))]
    ) -> Response:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        async with work as tx:
            return tx.answer({"bytes": size}, status=201)

    @router.get("/counters", response_model=list[CounterView])
    async def list_counters(reads: Annotated[Reads, Depends(reads_as("officer", "auditor"))]) -> list[CounterView]:
        async with reads as db:
            rows = await db.connection.fetch(
                """
                SELECT counter_id, version, area_code, times, total
                FROM counter
                ORDER BY counter_id
                """
            )
            return [CounterView(**dict(row)) for row in rows]

    @router.get("/counters/{counter_id}/name")
    async def name_of(counter_id: str, reads: Annotated[Reads, Depends(reads_as("officer"))]) -> dict[str, str | None]:
        async with reads as db:
            row = await db.connection.fetchrow(
                "SELECT sealed, sealed_by FROM counter WHERE counter_id = $1", counter_id
            )
            if row is None:
                raise Refused("no-such-counter", "There is no such counter in your areas.", status=404)
            [name] = await db.open([(counter_id, row["sealed_by"], row["sealed"])], Name, "roster")
            return {"name": name and name.name}

    return router


def _view(counter: Counter) -> CounterView:
    known = asdict(counter)
    return CounterView(**{name: known[name] for name in CounterView.model_fields})
