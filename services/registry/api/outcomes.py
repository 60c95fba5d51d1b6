"""Owns what a batch answers: each item for itself, so that one that is refused does not lose the others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel

from contracts.envelope import Event
from services.kit.refusal import FieldProblem, Refused
from services.kit.transaction import Transaction


class FieldFault(BaseModel):
    field: str
    message: str
    remedy: str | None


class Fault(BaseModel):
    """Why an item was refused, in the words that it would have been refused with alone."""

    code: str
    status: int
    detail: str
    remedy: str | None
    errors: list[FieldFault]


class Outcome(BaseModel):
    """`version` is the participant's now: what to send to other services as Wait-For-Version."""

    participant_id: str
    outcome: Literal["done", "refused"]
    visit_id: str | None = None
    status: str | None = None
    version: int | None = None
    problem: Fault | None = None


class Outcomes(BaseModel):
    """In the order in which the items were sent."""

    done: int
    refused: int
    outcomes: list[Outcome]


class Gathered:
    """What is decided for the items of a batch, taken together: one query for all their keys, not one for each.

    Call `settle` with whom the next item is about before deciding on it: what was decided for them is taken first.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._events: list[Event] = []
        self._about: set[str] = set()

    def add(self, participant_id: str, events: Sequence[Event]) -> None:
        self._events += events
        self._about.add(participant_id)

    async def settle(self, participant_id: str | None = None) -> None:
        """Takes everything; with an id only if something was decided for that participant."""
        if participant_id is None or participant_id in self._about:
            await self._tx.decide(self._events)
            self._events, self._about = [], set()


def outcomes(items: Sequence[Outcome]) -> Outcomes:
    done = sum(item.outcome == "done" for item in items)
    return Outcomes(done=done, refused=len(items) - done, outcomes=list(items))


def refused(participant_id: str, why: Refused, *, visit_id: str | None = None, within: str = "body") -> Outcome:
    """`within` is where in the request the item stands: a fault in its "body.finding" is one in "visits.3.finding"."""
    fault = Fault(
        code=why.code,
        status=why.status,
        detail=why.detail,
        remedy=why.remedy,
        errors=[_within(problem, within) for problem in why.fields],
    )
    return Outcome(participant_id=participant_id, outcome="refused", visit_id=visit_id, problem=fault)


def _within(problem: FieldProblem, place: str) -> FieldFault:
    placed = replace(problem, field=problem.field.replace("body", place, 1))
    return FieldFault(field=placed.field, message=placed.message, remedy=placed.remedy)
