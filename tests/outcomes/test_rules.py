"""Rules by version: adopting them, and what they say."""

from datetime import date
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.outcomes import AppliedRule
from services.kit.refusal import Refused
from services.outcomes.rules.decisions import (
    PROJECT_DEFAULTS,
    AdoptRule,
    FollowUpPlan,
    adopt,
    due_days,
    graduation_terms,
    smallest_cell,
)
from services.outcomes.rules.state import RULES
from tests.outcomes.facts import Story, default_rules

PLAN = PROJECT_DEFAULTS["follow_up_plan"]
TEXT = TypeAdapter(AdoptRule)


@pytest.mark.parametrize("kind", PROJECT_DEFAULTS)
def test_a_default_says_what_it_stands_on_and_comes_into_force_as_version_1(kind: str):
    (adopted,) = adopt(None, PROJECT_DEFAULTS[kind])
    rule = Story(adopted).the(RULES, kind)
    assert (rule.kind, rule.rule_version, rule.area_code) == (kind, 1, "")
    assert "project default" in rule.source


def test_the_line_is_the_published_one():
    terms, applied = graduation_terms(Story(*default_rules()).the(RULES, "graduation"))
    assert terms.line_rupiah_per_person_month == 10_739 * 30
    assert applied == AppliedRule(rule_id="graduation", rule_version=1)


def test_a_next_version_keeps_the_one_before_it_and_the_same_again_is_none():
    story = Story(*default_rules())
    changed = PLAN.model_copy(update={"source": "SK Kepala Dinas 3/2025"})
    story.given(*adopt(story.the(RULES, "follow_up_plan"), changed))
    rule = story.the(RULES, "follow_up_plan")
    assert (rule.rule_version, [earlier.rule_version for earlier in rule.earlier]) == (2, [1])
    assert adopt(rule, changed) == []


def test_due_days_are_counted_from_the_completion():
    plan = FollowUpPlan(months=(1, 6), missed_after_days=10)
    assert due_days(plan, date(2024, 8, 31)) == {
        1: (date(2024, 9, 30), date(2024, 10, 10)),
        6: (date(2025, 2, 28), date(2025, 3, 10)),
    }


def test_nothing_is_decided_by_a_rule_that_nobody_adopted():
    with pytest.raises(Refused, match="no-graduation-rule"):
        graduation_terms(None)
    with pytest.raises(Refused, match="no-publication-rule"):
        smallest_cell(None)
    assert smallest_cell(Story(*default_rules()).the(RULES, "publication"))[0] == 5


@pytest.mark.parametrize(
    ("kind", "definition"),
    [
        ("follow_up_plan", {"months": [], "missed_after_days": 14}),
        ("follow_up_plan", {"months": [3, 1], "missed_after_days": 14}),
        ("follow_up_plan", {"months": [1, 1], "missed_after_days": 14}),
        ("follow_up_plan", {"months": [0], "missed_after_days": 14}),
        ("follow_up_plan", {"months": [61], "missed_after_days": 14}),
        ("follow_up_plan", {"months": list(range(1, 26)), "missed_after_days": 14}),
        ("follow_up_plan", {"months": [1], "missed_after_days": -1}),
        ("publication", {"smallest_cell": 1}),
        ("publication", {"smallest_cell": 10**20}),
        ("publication", {"smallest_cell": 5, "except": "us"}),
        ("graduation", {"line_rupiah_per_person_month": 0}),
        ("completion", {"minimum_attendance_percent": 80}),
    ],
)
def test_a_rule_of_a_wrong_form_is_refused(kind: str, definition: dict[str, Any]):
    with pytest.raises(ValidationError):
        TEXT.validate_python({"kind": kind, "definition": definition, "source": "SK"})


@pytest.mark.parametrize(
    "change",
    [
        {"follow_ups_in_a_row": 0},
        {"needs_required": ["food", "food"]},
        {"needs_required": ["love"]},
        {"minimum_livelihoods": 10},
    ],
)
def test_graduation_terms_of_a_wrong_form_are_refused(change: dict[str, Any]):
    body = PROJECT_DEFAULTS["graduation"].model_dump(mode="json")
    body["definition"] |= change
    with pytest.raises(ValidationError):
        TEXT.validate_python(body)
