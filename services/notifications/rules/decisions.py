"""Adopting rules: which fact is told to whom, in which words, over which channels, and when not."""

from datetime import time
from typing import Annotated

from pydantic import Field, field_validator

from contracts.envelope import Event
from contracts.notifications import Channel, NotificationRuleAdopted, Recipient
from services.kit.refusal import FieldProblem, Refused
from services.kit.table import replace
from services.notifications.facts import FACTS, is_of_bulk_listing
from services.notifications.forms import Slug, Source, TimeOfDay, Wish
from services.notifications.rules.state import Rule
from services.notifications.templates.decisions import places_of
from services.notifications.templates.state import Template

_LONGEST_QUIET_HOURS = 16


class AdoptRule(Wish):
    """A rule. What it has once said of fact and recipient never changes; switch it off and adopt another instead."""

    rule_id: Slug
    fact: Annotated[str, Field(max_length=100, description='Such as "training.ParticipantEnrolled"')]
    recipient: Recipient
    template_id: Slug
    channels: Annotated[
        tuple[Channel, ...], Field(min_length=1, max_length=3, description="In the order in which they are tried")
    ]
    quiet_from: TimeOfDay = Field("20:00", description="In WITA; the same time twice: no hour is quiet")
    quiet_until: TimeOfDay = Field("07:00", description="In WITA")
    remind_days_before: Annotated[
        int | None, Field(ge=1, le=60, description="At 08:00 so many days before the day that the fact names")
    ] = None
    tell_within_hours: Annotated[int, Field(ge=1, le=720, description="Later than that it is old news")]
    active: bool = Field(True, description="false: nothing more is sent by it, not even what was wanted before")
    source: Source = Field(description="The regulation or decree it stands on, or who decided so")

    @field_validator("channels")
    @classmethod
    def _each_once(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("each channel can be named once")
        return channels


def adopt(rule: Rule | None, template: Template | None, command: AdoptRule) -> list[Event]:
    """The next version of a rule; nothing if exactly this is in force already.

    It decides on facts from now on. A fact that was told before keeps the version of its own time, but nothing is sent
    any more by a rule that was switched off, and quiet hours and channels are those of the version in force.
    """
    _refuse_unless_fit(rule, template, command)
    said = command.model_dump(exclude={"rule_id", "fact", "recipient"})
    if rule is not None and replace(rule.in_force, **said) == rule.in_force:
        return []
    return [
        NotificationRuleAdopted(
            rule_id=command.rule_id,
            rule_version=1 if rule is None else rule.in_force.rule_version + 1,
            fact=command.fact,
            recipient=command.recipient,
            **said,
        )
    ]


def _refuse_unless_fit(rule: Rule | None, template: Template | None, command: AdoptRule) -> None:
    if is_of_bulk_listing(command.fact):
        raise _refused(
            "bulk-fact", "fact", "is a fact by which lists of hundreds of thousands come in: nobody is told of it"
        )
    fact = FACTS.get(command.fact)
    if fact is None:
        raise _refused("unknown-fact", "fact", "is none that people can be told of", f"Name one of {', '.join(FACTS)}.")
    if rule is not None and (rule.fact, rule.recipient) != (command.fact, command.recipient):
        raise Refused(
            "rule-tells-another-fact",
            f"The rule {command.rule_id} tells of {rule.fact} to the {rule.recipient}, and that never changes.",
            remedy="Switch it off with active=false, and adopt a rule with another id.",
        )
    if command.recipient not in fact.recipients:
        raise _refused(
            "nobody-to-tell",
            "recipient",
            f"{command.fact} names no {command.recipient}",
            f"Choose {' or '.join(sorted(fact.recipients))}.",
        )
    if command.remind_days_before is not None and fact.remind_before is None:
        raise _refused(
            "no-day-to-remind-of", "remind_days_before", f"{command.fact} names no day to come", "Leave it out."
        )
    if _quiet_hours(command.quiet_from, command.quiet_until) > _LONGEST_QUIET_HOURS:
        raise _refused(
            "too-quiet",
            "quiet_from",
            f"more than {_LONGEST_QUIET_HOURS} hours of the day would be quiet",
            "Give the time at which the quiet hours begin, then the one at which they end.",
        )
    if template is None:
        raise _refused(
            "no-such-template", "template_id", "names no template", "Adopt the template first, by POST /templates."
        )
    words = template.in_force
    used = places_of((words.subject_id, words.subject_en, words.text_id, words.text_en))
    if missing := used - fact.places:
        raise _refused(
            "template-unfit",
            "template_id",
            f"the template uses {', '.join(sorted(missing))}, which {command.fact} has no value for",
            f"It has {', '.join(sorted(fact.places))}.",
        )


def _refused(code: str, field: str, problem: str, remedy: str | None = None) -> Refused:
    return Refused(
        code,
        "The rule was not adopted.",
        status=422,
        fields=[FieldProblem(f"body.{field}", problem, remedy)],
    )


def _quiet_hours(quiet_from: str, quiet_until: str) -> float:
    begins, ends = time.fromisoformat(quiet_from), time.fromisoformat(quiet_until)
    return ((ends.hour - begins.hour) % 24) + (ends.minute - begins.minute) / 60
