"""The rules by which people are told."""

from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel

from contracts.notifications import Channel, Recipient
from services.notifications.api.shapes import OfficerWork, OpenReads
from services.notifications.defaults import RULES_TO_ADOPT
from services.notifications.rules import decisions, queries
from services.notifications.rules.state import RULES, Rule, RuleVersion
from services.notifications.templates.state import TEMPLATES

router = APIRouter(tags=["rules"])


class RuleView(BaseModel):
    """What is in force, with the versions before."""

    rule_id: str
    version: int
    rule_version: int
    fact: str
    recipient: Recipient
    template_id: str
    channels: tuple[Channel, ...]
    quiet_from: str
    quiet_until: str
    remind_days_before: int | None
    tell_within_hours: int
    active: bool
    source: str
    adopted_at: datetime
    earlier: tuple[RuleVersion, ...]


def _view(rule: Rule) -> RuleView:
    *earlier, in_force = rule.versions
    return RuleView(
        rule_id=rule.rule_id,
        version=rule.version,
        fact=rule.fact,
        recipient=rule.recipient,
        earlier=tuple(earlier),
        **asdict(in_force),
    )


@router.post("/rules", status_code=201, response_model=RuleView)
async def adopt_rule(command: decisions.AdoptRule, work: OfficerWork) -> Response:
    """Brings the next version of a rule into force everywhere; nothing changes if it says just this already."""
    async with work as tx:
        tx.authorise("")
        await queries.hold_templates(tx.connection)
        template = await tx.row(TEMPLATES, command.template_id)
        rule = await tx.row(RULES, command.rule_id)
        tx.expect_version(rule)
        await tx.decide(decisions.adopt(rule, template, command))
        rule = await tx.row(RULES, command.rule_id)
        assert rule is not None
        return tx.answer(_view(rule), status=201, version=rule.version, stream=f"{RULES.topic}/{rule.rule_id}")


@router.get("/rules")
async def list_rules(reads: OpenReads) -> list[RuleView]:
    """The rules in force, with the versions before."""
    async with reads as db:
        return [_view(rule) for rule in await queries.every_rule(db.connection)]


@router.get("/rules/default")
async def show_default_rules(reads: OpenReads) -> tuple[decisions.AdoptRule, ...]:
    """What a fresh system may adopt: the bodies of POST /rules, after those of GET /templates/default."""
    return RULES_TO_ADOPT
