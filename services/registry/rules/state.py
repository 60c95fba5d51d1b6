"""Owns the rows of the rules that decide here: which version is in force, and those before it."""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope, Event, Open, Value
from contracts.registry import AreaCode, RuleAdopted
from services.kit.table import Table


class RuleVersion(Value):
    """A version of a rule that was in force until the next one."""

    rule_version: Open[int]
    definition: Open[dict[str, object]]
    source: Open[str]
    adopted_at: Open[datetime]


@dataclass(frozen=True, slots=True)
class Rule:
    rule_id: str
    version: int
    area_code: AreaCode  # "": a rule holds everywhere
    kind: str
    rule_version: int
    definition: dict[str, object]
    source: str  # the regulation or decree it stands on, or "project default"
    adopted_at: datetime
    earlier: tuple[RuleVersion, ...]  # oldest first


def evolve_rule(rule: Rule | None, event: Event, envelope: Envelope) -> Rule | None:
    match event:
        case RuleAdopted():
            return Rule(
                rule_id=event.rule_id,
                version=envelope.version,
                area_code="",
                kind=event.kind,
                rule_version=event.rule_version,
                definition=event.definition,
                source=event.source,
                adopted_at=envelope.time,
                earlier=() if rule is None else (*rule.earlier, _superseded(rule)),
            )
        case _:
            return rule


def _superseded(rule: Rule) -> RuleVersion:
    return RuleVersion(
        rule_version=rule.rule_version,
        definition=rule.definition,
        source=rule.source,
        adopted_at=rule.adopted_at,
    )


RULES = Table("rule", Rule, topic="registry.rules", key=("rule_id",), evolve=evolve_rule, head=True)
