"""Adopting rules, and what the rules in force say."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.envelope import Event
from contracts.training import CompletionRule, RuleAdopted
from services.kit.refusal import Refused
from services.training.forms import Text
from services.training.rules.state import Rule

COMPLETION = "completion"
CONFIRMATION = "confirmation"

# --- What a rule may say ----------------------------------------------------------------------------------------------


class CompletionDefinition(BaseModel):
    """Who completes: every critical unit competent, and so much attendance."""

    model_config = ConfigDict(extra="forbid")

    minimum_attendance_percent: int = Field(ge=0, le=100)
    maximum_attempts: int = Field(ge=1, le=10, description="Attempts at a competency unit")


class ConfirmationDefinition(BaseModel):
    """Until when a participant says that they will come, where a cohort names no day of its own."""

    model_config = ConfigDict(extra="forbid")

    days_before_start: int = Field(ge=1, le=60)


# --- Adopting ---------------------------------------------------------------------------------------------------------


class AdoptCompletionRule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["completion"]
    definition: CompletionDefinition
    source: Text = Field(description="The regulation or decree it stands on")


class AdoptConfirmationRule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["confirmation"]
    definition: ConfirmationDefinition
    source: Text = Field(description="The regulation or decree it stands on")


AdoptRule = Annotated[AdoptCompletionRule | AdoptConfirmationRule, Field(discriminator="kind")]

PROJECT_DEFAULTS: dict[str, AdoptCompletionRule | AdoptConfirmationRule] = {
    COMPLETION: AdoptCompletionRule(
        kind="completion",
        definition=CompletionDefinition(minimum_attendance_percent=80, maximum_attempts=3),
        source="Permenaker 6/2025, art. 33 (the model)",
    ),
    CONFIRMATION: AdoptConfirmationRule(
        kind="confirmation", definition=ConfirmationDefinition(days_before_start=3), source="project default"
    ),
}
"""What a fresh system may adopt; the source says what is law and what is this project's own."""


def adopt(rule: Rule | None, command: AdoptCompletionRule | AdoptConfirmationRule) -> list[Event]:
    """The next version of the kind's one rule; nothing if exactly this is in force already.

    It decides on what is completed or planned from now on; what was decided before keeps its version.
    """
    definition = command.definition.model_dump(mode="json")
    if rule is not None and (rule.definition, rule.source) == (definition, command.source):
        return []
    return [
        RuleAdopted(
            rule_id=command.kind,
            rule_version=1 if rule is None else rule.rule_version + 1,
            kind=command.kind,
            definition=definition,
            source=command.source,
        )
    ]


# --- Applying ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CompletionTerms:
    """The completion rule in force, with its version."""

    applied: CompletionRule
    maximum_attempts: int


def completion_terms(rule: Rule | None) -> CompletionTerms:
    """What the completion rule in force says. Raises `Refused` as long as none was adopted."""
    rule = _in_force(rule, COMPLETION)
    definition = CompletionDefinition.model_validate(rule.definition)
    applied = CompletionRule(
        rule_id=rule.rule_id,
        rule_version=rule.rule_version,
        minimum_attendance_percent=definition.minimum_attendance_percent,
    )
    return CompletionTerms(applied, definition.maximum_attempts)


def confirmation_deadline(rule: Rule | None, starts_on: date) -> date:
    """The last day to confirm, by the rule in force. Raises `Refused` as long as none was adopted."""
    rule = _in_force(rule, CONFIRMATION)
    return starts_on - timedelta(days=ConfirmationDefinition.model_validate(rule.definition).days_before_start)


def _in_force(rule: Rule | None, kind: str) -> Rule:
    if rule is None:
        raise Refused(
            f"no-{kind}-rule",
            f"No {kind} rule is in force, so this cannot be decided.",
            remedy=f"An officer adopts one by POST /rules; GET /rules/{kind}/default shows one to start from.",
        )
    return rule
