"""What a rule may say, how a version comes into force, and that a priority's parts are its whole reason."""

import typing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.p3ke import COLUMNS
from contracts.registry import AgeBand, RuleAdopted, Sex
from services.kit.refusal import Refused
from services.registry.rules import decisions
from services.registry.rules.decisions import (
    PRIORITY,
    PROJECT_DEFAULTS,
    VERIFICATION,
    AdoptPriorityRule,
    AdoptRule,
    AdoptVerificationRule,
    Situation,
    VerificationDefinition,
    adopt,
    holds_days,
    in_force,
    prioritise,
)
from services.registry.rules.state import Rule
from tests.registry.facts import NOW, Story, default_rules

POOR = Situation(
    welfare_decile=1,
    welfare_percentile=2,
    people=5,
    head_age_band=AgeBand.FROM_22,
    head_sex=Sex.FEMALE,
    age_band=AgeBand.FROM_22,
    sex=Sex.FEMALE,
    latrine="Lainnya",
    drinking_water="Sumur Bor",
    stunting_risk=None,
    receives_assistance=True,
    can_leave_home=True,
    situation_changed=False,
)


def a_rule(*parts: dict[str, Any]) -> Rule:
    command = AdoptPriorityRule.model_validate(
        {"kind": "priority", "definition": {"parts": parts}, "source": "SK Gubernur 1/2024"}
    )
    (adopted,) = adopt(None, command)
    return Story(adopted).rule(PRIORITY)


# --- Adopting ---------------------------------------------------------------------------------------------------------


def test_the_first_rule_of_a_kind_is_version_1():
    (adopted,) = adopt(None, PROJECT_DEFAULTS[VERIFICATION])
    assert adopted == RuleAdopted(
        rule_id="verification",
        rule_version=1,
        kind="verification",
        definition={"holds_days": 365},
        source="project default",
    )


def test_another_definition_is_the_next_version_and_the_one_before_is_kept():
    story = Story(*default_rules())
    shorter = AdoptVerificationRule(
        kind="verification", definition=VerificationDefinition(holds_days=90), source="SK Kepala Dinas 7/2024"
    )
    story.given(*adopt(story.rule(VERIFICATION), shorter))
    rule = story.rule(VERIFICATION)
    assert (rule.rule_version, rule.version, holds_days(rule)) == (2, 2, 90)
    (before,) = rule.earlier
    assert (before.rule_version, before.definition, before.adopted_at) == (1, {"holds_days": 365}, NOW)


def test_adopting_what_is_in_force_changes_nothing():
    story = Story(*default_rules())
    for kind, default in PROJECT_DEFAULTS.items():
        assert adopt(story.rule(kind), default) == []


def test_the_same_definition_on_another_source_is_a_new_version():
    story = Story(*default_rules())
    elsewhere = PROJECT_DEFAULTS[PRIORITY].model_copy(update={"source": "Pergub 3/2024"})
    (adopted,) = adopt(story.rule(PRIORITY), elsewhere)
    assert isinstance(adopted, RuleAdopted)
    assert adopted.rule_version == 2


def test_without_a_rule_the_refusal_says_how_to_adopt_one():
    with pytest.raises(Refused, match="no-verification-rule") as refused:
        in_force(None, VERIFICATION)
    assert "GET /rules/verification/default" in (refused.value.remedy or "")


@pytest.mark.parametrize(
    "definition",
    [
        {"parts": []},
        {"parts": [{"name": "x", "when": {}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"stunting_risk": None}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"shoe_size": {"at_least": 40}}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"welfare_decile": {}}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"welfare_decile": {"at_least": 3, "at_most": 2}}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"latrine": ["A hole"]}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"head_age_band": []}, "points": 1}]},
        {"parts": [{"name": "x", "when": {"stunting_risk": True}, "points": 1}] * 2},
        {"parts": [{"name": "x", "when": {"stunting_risk": True}, "points": 5000}]},
        {"holds_days": 30},
    ],
)
def test_a_priority_rule_that_says_nothing_or_nonsense_is_refused(definition: dict[str, Any]):
    with pytest.raises(ValidationError):
        TypeAdapter[Any](AdoptRule).validate_python(
            {"kind": "priority", "definition": definition, "source": "SK Gubernur 1/2024"}
        )


def test_the_words_of_a_rule_are_those_of_the_list():
    in_rules = {
        "latrine": typing.get_args(decisions.Latrine),
        "drinking_water": typing.get_args(decisions.DrinkingWater),
    }
    in_lists = {column.field: column.allowed for column in COLUMNS if column.field in in_rules}
    assert in_lists == in_rules


# --- Applying ---------------------------------------------------------------------------------------------------------


def test_a_part_counts_when_everything_it_names_is_so_and_says_why():
    rule = a_rule(
        {"name": "poor woman", "when": {"welfare_decile": {"at_most": 1}, "head_sex": ["female"]}, "points": 7},
        {"name": "poor man", "when": {"welfare_decile": {"at_most": 1}, "head_sex": ["male"]}, "points": 5},
    )
    priority = prioritise(rule, POOR)
    assert [(p.name, p.points, p.because) for p in priority.parts] == [
        ("poor woman", 7, "welfare_decile is 1, head_sex is female")
    ]
    assert (priority.score, priority.rule_id, priority.rule_version) == (7, "priority", 1)


@pytest.mark.parametrize(
    "when",
    [
        {"welfare_percentile": {"at_most": 100}},
        {"head_age_band": ["60+"]},
        {"stunting_risk": False},
        {"latrine": ["Lainnya"]},
    ],
)
def test_what_nobody_knows_gives_no_points(when: dict[str, Any]):
    unknown = replace(POOR, welfare_percentile=None, head_age_band=None, stunting_risk=None, latrine=None)
    assert prioritise(a_rule({"name": "x", "when": when, "points": 9}), unknown).parts == ()


@pytest.mark.parametrize(("decile", "counts"), [(1, False), (2, True), (3, True), (4, False)])
def test_bounds_belong_to_the_range(decile: int, counts: bool):
    rule = a_rule({"name": "x", "when": {"welfare_decile": {"at_least": 2, "at_most": 3}}, "points": 1})
    assert bool(prioritise(rule, replace(POOR, welfare_decile=decile)).parts) is counts


def test_points_may_be_taken_away():
    rule = a_rule(
        {"name": "poorest", "when": {"welfare_decile": {"at_most": 1}}, "points": 10},
        {"name": "is helped already", "when": {"receives_assistance": True}, "points": -4},
    )
    assert prioritise(rule, POOR).score == 6


def test_the_project_default_puts_the_poorest_first():
    rule = Story(*default_rules()).rule(PRIORITY)
    richer = replace(POOR, welfare_decile=4, welfare_percentile=35)
    assert prioritise(rule, POOR).score > prioritise(rule, richer).score


# --- Always -----------------------------------------------------------------------------------------------------------

bounds = st.tuples(st.integers(1, 10), st.integers(0, 9)).map(lambda b: {"at_least": b[0], "at_most": b[0] + b[1]})
some_bands = st.lists(st.sampled_from(AgeBand), min_size=1, max_size=4)
whens = st.fixed_dictionaries(
    {},
    optional={
        "welfare_decile": bounds,
        "welfare_percentile": bounds,
        "people": bounds,
        "head_age_band": some_bands,
        "age_band": some_bands,
        "sex": st.lists(st.sampled_from(Sex), min_size=1, max_size=2),
        "latrine": st.lists(st.sampled_from(typing.get_args(decisions.Latrine)), min_size=1),
        "drinking_water": st.lists(st.sampled_from(typing.get_args(decisions.DrinkingWater)), min_size=1),
        "stunting_risk": st.booleans(),
        "receives_assistance": st.booleans(),
        "can_leave_home": st.booleans(),
    },
).filter(bool)
parts = st.builds(dict, name=st.text(min_size=1, max_size=20), when=whens, points=st.integers(-1000, 1000))
situations = st.builds(
    Situation,
    welfare_decile=st.integers(1, 10),
    welfare_percentile=st.none() | st.integers(1, 100),
    people=st.integers(0, 15),
    head_age_band=st.none() | st.sampled_from(AgeBand),
    head_sex=st.none() | st.sampled_from(Sex),
    age_band=st.sampled_from(AgeBand),
    sex=st.sampled_from(Sex),
    latrine=st.none() | st.sampled_from(typing.get_args(decisions.Latrine)),
    drinking_water=st.none() | st.sampled_from(typing.get_args(decisions.DrinkingWater)),
    stunting_risk=st.none() | st.booleans(),
    receives_assistance=st.booleans(),
    can_leave_home=st.none() | st.booleans(),
    situation_changed=st.none() | st.booleans(),
)


@given(st.lists(parts, min_size=1, max_size=8, unique_by=lambda part: part["name"]), situations)
def test_the_parts_of_a_priority_always_add_up_to_its_score(parts: list[dict[str, Any]], situation: Situation):
    priority = prioritise(a_rule(*parts), situation)
    declared = {part["name"]: part["points"] for part in parts}
    assert priority.score == sum(part.points for part in priority.parts)
    assert all(declared[part.name] == part.points and part.because for part in priority.parts)


@given(st.lists(parts, min_size=1, max_size=8, unique_by=lambda part: part["name"]), situations)
def test_a_priority_is_the_sum_of_what_each_part_gives_alone(parts: list[dict[str, Any]], situation: Situation):
    alone = [prioritise(a_rule(part), situation).score for part in parts]
    assert prioritise(a_rule(*parts), situation).score == sum(alone)
