"""Adopting rules, and what the rules in force say."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from contracts.envelope import Event
from contracts.outcomes import AppliedRule, BasicNeed, RuleAdopted
from services.kit.refusal import Refused
from services.outcomes.calendar import months_after
from services.outcomes.forms import Text
from services.outcomes.rules.state import Rule

FOLLOW_UP_PLAN = "follow_up_plan"
GRADUATION = "graduation"
PUBLICATION = "publication"

# --- What a rule may say ----------------------------------------------------------------------------------------------


def _rising(months: tuple[int, ...]) -> tuple[int, ...]:
    if list(months) != sorted(set(months)):
        raise ValueError("give each month once, the earliest first")
    return months


def _each_once(needs: tuple[BasicNeed, ...]) -> tuple[BasicNeed, ...]:
    if len(set(needs)) != len(needs):
        raise ValueError("give each need once")
    return needs


Months = Annotated[int, Field(ge=1, le=60)]


class FollowUpPlan(BaseModel):
    """When a case is visited, in months after completion, and for how long a visit still counts as in time."""

    model_config = ConfigDict(extra="forbid")

    months: Annotated[tuple[Months, ...], Field(min_length=1, max_length=24), AfterValidator(_rising)]
    missed_after_days: int = Field(ge=0, le=120)


class GraduationTerms(BaseModel):
    """When a household counts as having left extreme poverty."""

    model_config = ConfigDict(extra="forbid")

    line_rupiah_per_person_month: int = Field(ge=1, le=100_000_000)
    follow_ups_in_a_row: int = Field(ge=1, le=12)
    minimum_livelihoods: int = Field(ge=0, le=9)
    needs_required: Annotated[tuple[BasicNeed, ...], AfterValidator(_each_once)]
    not_before_months: int = Field(ge=0, le=60)


class PublicationTerms(BaseModel):
    """Public figures about fewer people than this are hidden."""

    model_config = ConfigDict(extra="forbid")

    smallest_cell: int = Field(ge=2, le=1000)


# --- Adopting ---------------------------------------------------------------------------------------------------------

Source = Annotated[Text, Field(description="The regulation or decree it stands on")]


class AdoptFollowUpPlan(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["follow_up_plan"]
    definition: FollowUpPlan
    source: Source


class AdoptGraduationRule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["graduation"]
    definition: GraduationTerms
    source: Source


class AdoptPublicationRule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["publication"]
    definition: PublicationTerms
    source: Source


AnyRule = AdoptFollowUpPlan | AdoptGraduationRule | AdoptPublicationRule
AdoptRule = Annotated[AnyRule, Field(discriminator="kind")]

PROJECT_DEFAULTS: dict[str, AnyRule] = {
    FOLLOW_UP_PLAN: AdoptFollowUpPlan(
        kind="follow_up_plan",
        definition=FollowUpPlan(months=(1, 3, 6, 12), missed_after_days=14),
        source="project default: no regulation sets when participants are visited again",
    ),
    GRADUATION: AdoptGraduationRule(
        kind="graduation",
        definition=GraduationTerms(
            line_rupiah_per_person_month=322_170,
            follow_ups_in_a_row=2,
            minimum_livelihoods=2,
            needs_required=(BasicNeed.FOOD, BasicNeed.CLEAN_WATER, BasicNeed.SANITATION, BasicNeed.HOUSING),
            not_before_months=6,
        ),
        source="The line: 1.9 USD PPP, Rp10,739 a day (2022). Two livelihoods: Desa Berdaya NTB. "
        "The rest: project default after BRAC's graduation criteria",
    ),
    PUBLICATION: AdoptPublicationRule(
        kind="publication", definition=PublicationTerms(smallest_cell=5), source="project default"
    ),
}
"""What a fresh system may adopt; the source says what is fixed elsewhere and what is this project's own."""


def adopt(rule: Rule | None, command: AnyRule) -> list[Event]:
    """The next version of the kind's one rule; nothing if exactly this is in force already.

    It decides on what is scheduled, recorded or shown from now on; what was decided before keeps its version.
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


def follow_up_plan(rule: Rule) -> FollowUpPlan:
    return FollowUpPlan.model_validate(rule.definition)


def graduation_terms(rule: Rule | None) -> tuple[GraduationTerms, AppliedRule]:
    """What the graduation rule in force says. Raises `Refused` as long as none was adopted."""
    rule = in_force(rule, GRADUATION)
    return GraduationTerms.model_validate(rule.definition), applied(rule)


def smallest_cell(rule: Rule | None) -> tuple[int, AppliedRule]:
    """Below how many people a public figure is hidden. Raises `Refused` as long as no rule was adopted."""
    rule = in_force(rule, PUBLICATION)
    return PublicationTerms.model_validate(rule.definition).smallest_cell, applied(rule)


def due_days(plan: FollowUpPlan, completed_on: date) -> dict[int, tuple[date, date]]:
    """By months after completion: the day of the visit, and the last day on which it still counts as in time."""
    days = {months: months_after(completed_on, months) for months in plan.months}
    return {months: (day, day + timedelta(days=plan.missed_after_days)) for months, day in days.items()}


def applied(rule: Rule) -> AppliedRule:
    return AppliedRule(rule_id=rule.rule_id, rule_version=rule.rule_version)


def in_force(rule: Rule | None, kind: str) -> Rule:
    """Raises `Refused` as long as no rule of the kind was adopted."""
    if rule is None:
        raise Refused(
            f"no-{kind.replace('_', '-')}-rule",
            f"No {kind} rule is in force, so this cannot be decided.",
            remedy=f"An officer adopts one by POST /rules; GET /rules/{kind}/default shows one to start from.",
        )
    return rule
