"""Adopting templates: what a message may say at all."""

from collections.abc import Iterable

from pydantic import Field

from contracts.envelope import Event
from contracts.notifications import TemplateAdopted
from services.kit.refusal import FieldProblem, Refused
from services.notifications.facts import FACTS, Place
from services.notifications.forms import Line, Slug, Text, Wish
from services.notifications.national_ids import holds_national_id
from services.notifications.rules.state import Rule
from services.notifications.templates.rendering import has_stray_braces, places_in
from services.notifications.templates.state import Template

_KNOWN = frozenset(Place)
_TEXTS = ("subject_id", "subject_en", "text_id", "text_en")


class AdoptTemplate(Wish):
    """What a message says, in both languages. `{name}` and the like are places; GET /templates/default shows some."""

    template_id: Slug
    subject_id: Line = Field(description="The subject line in Bahasa Indonesia; only e-mail shows it")
    subject_en: Line
    text_id: Text = Field(description="In Bahasa Indonesia")
    text_en: Text


def adopt(template: Template | None, rules: Iterable[Rule], command: AdoptTemplate) -> list[Event]:
    """The next version of a template; nothing if it says just this already.

    `rules`: those that use it. Refuses what could hold a national id, and a place that a fact has no value for.
    """
    if problems := [*_problems(command), *_not_given(rules, command)]:
        raise Refused(
            "template-unfit",
            "The template was not adopted.",
            status=422,
            fields=problems,
        )
    says = {name: getattr(command, name) for name in _TEXTS}
    if template is not None and says == {name: getattr(template.in_force, name) for name in _TEXTS}:
        return []
    number = 1 if template is None else template.in_force.template_version + 1
    return [TemplateAdopted(template_id=command.template_id, template_version=number, **says)]


def places_of(texts: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(places_in(text) for text in texts))


def _problems(command: AdoptTemplate) -> Iterable[FieldProblem]:
    for name in _TEXTS:
        text = getattr(command, name)
        if unknown := places_in(text) - _KNOWN:
            yield FieldProblem(
                f"body.{name}",
                f"has {len(unknown)} unknown place(s)",
                f"Use only {', '.join(f'{{{place}}}' for place in Place)}.",
            )
        elif has_stray_braces(text):
            yield FieldProblem(f"body.{name}", "has a brace that belongs to no place", "Leave braces out of the text.")
        if holds_national_id(text):
            yield FieldProblem(
                f"body.{name}",
                "could hold a national id: 16 digits stand together",
                "Leave the number out: no message carries a NIK.",
            )
    if places_in(command.text_id) != places_in(command.text_en):
        yield FieldProblem(
            "body.text_en", "has not the same places as text_id", "Say the same in both languages: use the same places."
        )


def _not_given(rules: Iterable[Rule], command: AdoptTemplate) -> Iterable[FieldProblem]:
    used = places_of(getattr(command, name) for name in _TEXTS) & _KNOWN
    for rule in rules:
        if missing := used - FACTS[rule.fact].places:
            yield FieldProblem(
                "body.text_id",
                f"uses {', '.join(sorted(missing))}, which the rule {rule.rule_id} has no value for",
                f"{rule.fact} has {', '.join(sorted(FACTS[rule.fact].places))}.",
            )
