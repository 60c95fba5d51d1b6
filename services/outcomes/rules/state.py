"""The rules that decide in outcomes: the version in force, and those before it."""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope, Event, Open, Value
from contracts.outcomes import RuleAdopted
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
    area_code: str  # "": it holds everywhere
    rule_version: int
    kind: str
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
                rule_version=event.rule_version,
                kind=event.kind,
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


RULES = Table("rule", Rule, topic="outcomes.rules", key=("rule_id",), evolve=evolve_rule, head=True)
