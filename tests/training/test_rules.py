"""Rules by version: adopting them, and what they say."""

from datetime import date

import pytest

from services.kit.refusal import Refused
from services.training.rules.decisions import (
    PROJECT_DEFAULTS,
    AdoptCompletionRule,
    CompletionDefinition,
    adopt,
    completion_terms,
    confirmation_deadline,
)
from services.training.rules.state import RULES
from tests.training.facts import Story, default_rules

STRICTER = AdoptCompletionRule(
    kind="completion",
    definition=CompletionDefinition(minimum_attendance_percent=90, maximum_attempts=2),
    source="SK Kepala Dinas 12/2025",
)


def test_the_first_version_comes_into_force():
    (adopted,) = adopt(None, PROJECT_DEFAULTS["completion"])
    rule = Story(adopted).the(RULES, "completion")
    assert (rule.rule_version, rule.definition["minimum_attendance_percent"]) == (1, 80)
    assert "Permenaker 6/2025" in rule.source


def test_a_next_version_keeps_the_one_before_it():
    story = Story(*default_rules())
    story.given(*adopt(story.the(RULES, "completion"), STRICTER))
    rule = story.the(RULES, "completion")
    assert (rule.rule_version, rule.source) == (2, "SK Kepala Dinas 12/2025")
    assert [(earlier.rule_version, earlier.definition) for earlier in rule.earlier] == [
        (1, {"minimum_attendance_percent": 80, "maximum_attempts": 3})
    ]


def test_adopting_what_is_in_force_changes_nothing():
    rule = Story(*default_rules()).the(RULES, "completion")
    assert adopt(rule, PROJECT_DEFAULTS["completion"]) == []


def test_the_terms_name_the_version_that_was_applied():
    story = Story(*default_rules())
    story.given(*adopt(story.the(RULES, "completion"), STRICTER))
    terms = completion_terms(story.the(RULES, "completion"))
    assert (terms.applied.rule_version, terms.applied.minimum_attendance_percent, terms.maximum_attempts) == (2, 90, 2)


def test_nothing_is_decided_by_a_rule_that_nobody_adopted():
    with pytest.raises(Refused, match="no-completion-rule"):
        completion_terms(None)
    with pytest.raises(Refused, match="no-confirmation-rule"):
        confirmation_deadline(None, date(2024, 7, 8))


def test_the_confirmation_rule_counts_days_back_from_the_start():
    rule = Story(*default_rules()).the(RULES, "confirmation")
    assert confirmation_deadline(rule, date(2024, 7, 8)) == date(2024, 7, 5)
