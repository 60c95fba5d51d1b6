"""The rules by which people are told: every version of each, since a fact is told by the version of its own time."""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope, Event, Open, Value
from contracts.notifications import Channel, NotificationRuleAdopted, Recipient
from services.kit.table import Table, replace


class RuleVersion(Value):
    rule_version: Open[int]
    template_id: Open[str]
    channels: Open[tuple[Channel, ...]]
    quiet_from: Open[str]
    quiet_until: Open[str]
    tell_within_hours: Open[int]
    active: Open[bool]
    source: Open[str]  # the regulation or decree it stands on, or "project default"
    adopted_at: Open[datetime]
    remind_days_before: Open[int | None] = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Which fact is told to whom; that never changes. How, is for its versions to say."""

    rule_id: str
    version: int
    area_code: str  # "": it holds everywhere
    fact: str
    recipient: Recipient
    versions: tuple[RuleVersion, ...]  # oldest first

    @property
    def in_force(self) -> RuleVersion:
        return self.versions[-1]

    def at(self, instant: datetime) -> RuleVersion | None:
        """The version that was in force then; None before the first was."""
        return next((version for version in reversed(self.versions) if version.adopted_at <= instant), None)


def evolve_rule(rule: Rule | None, event: Event, envelope: Envelope) -> Rule | None:
    match event:
        case NotificationRuleAdopted():
            adopted = RuleVersion(
                rule_version=event.rule_version,
                template_id=event.template_id,
                channels=event.channels,
                quiet_from=event.quiet_from,
                quiet_until=event.quiet_until,
                remind_days_before=event.remind_days_before,
                tell_within_hours=event.tell_within_hours,
                active=event.active,
                source=event.source,
                adopted_at=envelope.time,
            )
            if rule is None:
                return Rule(event.rule_id, envelope.version, "", event.fact, event.recipient, (adopted,))
            return replace(rule, versions=(*rule.versions, adopted))
        case _:
            return rule


RULES = Table("rule", Rule, topic="notifications.rules", key=("rule_id",), evolve=evolve_rule, head=True)
