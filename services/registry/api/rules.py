"""Rules over HTTP: what decides here, who adopted it, and a definition to start from."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends
from starlette.responses import Response

from services.kit.auth import Principal, requires
from services.kit.http import Reads, Work, reads_as, works_as
from services.registry.api.parameters import WHO_SEE_FIGURES
from services.registry.rules import decisions, queries
from services.registry.rules.decisions import AdoptPriorityRule, AdoptRule, AdoptVerificationRule
from services.registry.rules.queries import RuleView
from services.registry.rules.state import RULES

router = APIRouter(tags=["rules"])


@router.post("/rules", status_code=201, response_model=RuleView)
async def adopt_rule(
    command: Annotated[AdoptRule, Body()], work: Annotated[Work, Depends(works_as("officer"))]
) -> Response:
    """Puts the next version of a rule in force everywhere; adopting what is in force already changes nothing.

    Verified participants are given their priority under a new priority rule within seconds.
    """
    async with work as tx:
        tx.authorise("")
        rule = await tx.row(RULES, command.kind)
        tx.expect_version(rule)
        await tx.decide(decisions.adopt(rule, command))
        adopted = await tx.row(RULES, command.kind)
        assert adopted is not None
        return tx.answer(adopted, status=201, version=adopted.version, stream=f"registry.rules/{command.kind}")


@router.get("/rules")
async def list_rules(reads: Annotated[Reads, Depends(reads_as(*WHO_SEE_FIGURES, "operator"))]) -> list[RuleView]:
    """The rules in force, each with the versions before it."""
    async with reads as db:
        return await queries.rules(db.connection)


@router.get("/rules/{kind}/default")
async def show_default(
    kind: Literal["priority", "verification"], _: Annotated[Principal, Depends(requires(*WHO_SEE_FIGURES))]
) -> AdoptPriorityRule | AdoptVerificationRule:
    """What this project proposes where no regulation says anything: ready to be sent to POST /rules."""
    return decisions.PROJECT_DEFAULTS[kind]
