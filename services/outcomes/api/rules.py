"""The rules that decide in outcomes."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response

from services.outcomes.api.shapes import FromJson, OfficerWork, OpenReads, View
from services.outcomes.rules import decisions, queries
from services.outcomes.rules.state import RULES, RuleVersion

router = APIRouter(tags=["rules"])


class RuleView(View):
    rule_id: str
    version: int
    rule_version: int
    kind: str
    definition: Annotated[dict[str, object], FromJson]
    source: str
    adopted_at: datetime
    earlier: Annotated[tuple[RuleVersion, ...], FromJson]


@router.post("/rules", status_code=201, response_model=RuleView)
async def adopt_rule(command: decisions.AdoptRule, work: OfficerWork) -> Response:
    """Brings the next version of a rule into force everywhere; nothing changes if it says just this already."""
    async with work as tx:
        tx.authorise("")
        rule = await tx.row(RULES, command.kind)
        tx.expect_version(rule)
        await tx.decide(decisions.adopt(rule, command))
        rule = await tx.row(RULES, command.kind)
        assert rule is not None
        return tx.answer(RuleView.of(rule), status=201, version=rule.version, stream=f"{RULES.topic}/{rule.rule_id}")


@router.get("/rules")
async def list_rules(reads: OpenReads) -> list[RuleView]:
    """The rules in force, with the versions before."""
    async with reads as db:
        return [RuleView.of(row) for row in await queries.rules(db.connection)]


@router.get("/rules/{kind}/default")
async def show_default_rule(
    kind: Literal["follow_up_plan", "graduation", "publication"], reads: OpenReads
) -> decisions.AnyRule:
    """What a fresh system may adopt: the body of a POST /rules."""
    return decisions.PROJECT_DEFAULTS[kind]
