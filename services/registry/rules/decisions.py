"""Owns what a rule may say, how a version comes into force, and how a priority rule is applied. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.envelope import Event
from contracts.registry import AgeBand, Priority, PriorityPart, RuleAdopted, Sex
from services.kit.refusal import Refused
from services.registry.rules.state import Rule

PRIORITY = "priority"
VERIFICATION = "verification"

# --- What a rule may say ----------------------------------------------------------------------------------------------


class Wish(BaseModel):
    """Part of a command: a field that nobody knows is a mistake of the sender's."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Between(Wish):
    """A number within bounds; a bound that is absent does not bind. An unknown number is never within them."""

    at_least: int | None = None
    at_most: int | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Between":
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is above at_most, so this can never hold")
        return self

    def holds(self, number: int | None) -> bool:
        if number is None:
            return False
        return (self.at_least is None or number >= self.at_least) and (self.at_most is None or number <= self.at_most)


Latrine = Literal["Ya, dengan Septic Tank", "Ya, tanpa Septic Tank", "Tidak, Jamban Umum/Bersama", "Lainnya"]
DrinkingWater = Literal[
    "Ledeng/PAM",
    "Air Kemasan/Isi Ulang",
    "Sumur Bor",
    "Sumur Terlindung",
    "Sumur Tidak Terlindung",
    "Air Permukaan",
    "Air Hujan",
    "Lainnya",
]
"""The list's own words (contracts.p3ke); a test holds the two together."""


class When(Wish):
    """What must be so for a part to count: everything that is named, and at least one thing."""

    welfare_decile: Between | None = None
    welfare_percentile: Between | None = None
    people: Between | None = None
    head_age_band: Annotated[tuple[AgeBand, ...], Field(min_length=1)] | None = None
    head_sex: Annotated[tuple[Sex, ...], Field(min_length=1)] | None = None
    age_band: Annotated[tuple[AgeBand, ...], Field(min_length=1)] | None = None
    sex: Annotated[tuple[Sex, ...], Field(min_length=1)] | None = None
    latrine: Annotated[tuple[Latrine, ...], Field(min_length=1)] | None = None
    drinking_water: Annotated[tuple[DrinkingWater, ...], Field(min_length=1)] | None = None
    stunting_risk: bool | None = None
    receives_assistance: bool | None = None
    can_leave_home: bool | None = None
    situation_changed: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "When":
        if not self.model_fields_set or all(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("name at least one thing that must be so")
        return self


class Part(Wish):
    """So many points for whoever this is so for."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    when: When
    points: Annotated[int, Field(ge=-1000, le=1000)]


class PriorityDefinition(Wish):
    """Who goes first: the points of the parts that hold are added up."""

    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=50)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> "PriorityDefinition":
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError("two parts have the same name, so nobody could tell them apart in a priority")
        return self


class VerificationDefinition(Wish):
    """How long what was seen at the door is good to act on, counted from the visit."""

    holds_days: Annotated[int, Field(ge=1, le=3650)]


# --- Adopting ---------------------------------------------------------------------------------------------------------

Source = Annotated[str, Field(min_length=1, max_length=300, description="The regulation or decree it stands on")]


class AdoptPriorityRule(Wish):
    kind: Literal["priority"]
    definition: PriorityDefinition
    source: Source


class AdoptVerificationRule(Wish):
    kind: Literal["verification"]
    definition: VerificationDefinition
    source: Source


AdoptRule = Annotated[AdoptPriorityRule | AdoptVerificationRule, Field(discriminator="kind")]

PROJECT_DEFAULTS: dict[str, AdoptPriorityRule | AdoptVerificationRule] = {
    PRIORITY: AdoptPriorityRule.model_validate(
        {
            "kind": PRIORITY,
            "source": "project default",
            "definition": {
                "parts": [
                    {"name": "poorest decile", "when": {"welfare_decile": {"at_most": 1}}, "points": 40},
                    {"name": "second decile", "when": {"welfare_decile": {"at_least": 2, "at_most": 2}}, "points": 20},
                    {"name": "extreme poor", "when": {"welfare_percentile": {"at_most": 3}}, "points": 20},
                    {"name": "five or more to feed", "when": {"people": {"at_least": 5}}, "points": 10},
                    {"name": "child at risk of stunting", "when": {"stunting_risk": True}, "points": 10},
                    {"name": "elderly head", "when": {"head_age_band": [AgeBand.FROM_60]}, "points": 5},
                    {"name": "woman as head", "when": {"head_sex": [Sex.FEMALE]}, "points": 5},
                    {
                        "name": "no latrine of their own",
                        "when": {"latrine": ["Tidak, Jamban Umum/Bersama", "Lainnya"]},
                        "points": 5,
                    },
                    {
                        "name": "unsafe water",
                        "when": {"drinking_water": ["Sumur Tidak Terlindung", "Air Permukaan", "Air Hujan"]},
                        "points": 5,
                    },
                    {"name": "no assistance yet", "when": {"receives_assistance": False}, "points": 5},
                    {"name": "can leave home", "when": {"can_leave_home": True}, "points": 5},
                ]
            },
        }
    ),
    VERIFICATION: AdoptVerificationRule(
        kind="verification", source="project default", definition=VerificationDefinition(holds_days=365)
    ),
}
"""What a fresh system may adopt. No regulation says these points and days: they are this project's, and say so."""


def adopt(rule: Rule | None, command: AdoptPriorityRule | AdoptVerificationRule) -> list[Event]:
    """The next version of the kind's one rule; nothing if exactly this is in force already."""
    definition = command.definition.model_dump(mode="json", exclude_none=True)
    if rule is not None and rule.definition == definition and rule.source == command.source:
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


def in_force(rule: Rule | None, kind: str) -> Rule:
    """The rule, where something cannot be decided without one. Refuses with the way to adopt it."""
    if rule is None:
        raise Refused(
            f"no-{kind}-rule",
            f"No {kind} rule is in force, so nobody can be verified.",
            remedy=f"An officer adopts one by POST /rules; GET /rules/{kind}/default shows one to start from.",
        )
    return rule


# --- Applying ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Situation:
    """What a priority rule can ask about a person. None: nobody knows."""

    welfare_decile: int
    welfare_percentile: int | None
    people: int
    head_age_band: AgeBand | None
    head_sex: Sex | None
    age_band: AgeBand
    sex: Sex
    latrine: str | None
    drinking_water: str | None
    stunting_risk: bool | None
    receives_assistance: bool
    can_leave_home: bool | None
    situation_changed: bool | None


def prioritise(rule: Rule, situation: Situation) -> Priority:
    """The priority that a rule gives; its parts add up to its score, and each says why it counts."""
    definition = PriorityDefinition.model_validate(rule.definition)
    parts = tuple(
        PriorityPart(name=part.name, points=part.points, because=because)
        for part in definition.parts
        if (because := _why(part.when, situation)) is not None
    )
    return Priority(
        score=sum(part.points for part in parts),
        parts=parts,
        rule_id=rule.rule_id,
        rule_version=rule.rule_version,
    )


def holds_days(rule: Rule) -> int:
    return VerificationDefinition.model_validate(rule.definition).holds_days


def _why(when: When, situation: Situation) -> str | None:
    """Each thing asked and what it is, such as "welfare_decile is 1"; None unless all of them hold."""
    reasons = []
    for name, wanted in _asked(when):
        found = getattr(situation, name)
        if not _holds(wanted, found):
            return None
        reasons.append(f"{name} is {_in_words(found)}")
    return ", ".join(reasons)


def _asked(when: When) -> Iterator[tuple[str, object]]:
    for name in type(when).model_fields:
        wanted = getattr(when, name)
        if wanted is not None:
            yield name, wanted


def _holds(wanted: object, found: object) -> bool:
    if isinstance(wanted, Between):
        return wanted.holds(found if isinstance(found, int) else None)
    if isinstance(wanted, tuple):
        return found in wanted
    return found is wanted


def _in_words(found: object) -> str:
    if isinstance(found, bool):
        return "yes" if found else "no"
    return str(found)
