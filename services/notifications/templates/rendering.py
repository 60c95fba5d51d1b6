"""Puts values into the places of a template, as people in Nusa Tenggara write them. Pure."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from babel.dates import format_date, format_time
from babel.numbers import format_decimal

from contracts import areas
from contracts.notifications import Language
from services.notifications.facts import KINDS, Kind, Place
from services.notifications.national_ids import holds_national_id
from services.notifications.templates.state import TemplateVersion
from services.notifications.wita import local

_PLACE = re.compile(r"\{([a-z_]+)\}")
_LONGEST_VALUE = 200
_TIMES = {Language.INDONESIAN: "HH.mm", Language.ENGLISH: "HH:mm"}


class Unsendable(Exception):
    """This text must not be sent, or cannot be written; the message says why and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A message in its last form. It is on no log and in no table."""

    subject: str
    text: str


def write(template: TemplateVersion, language: Language, values: Mapping[str, str]) -> Written:
    """The message. Raises Unsendable for a text that could hold a national id, or has no value for a place."""
    indonesian = language is Language.INDONESIAN
    subject, text = (template.subject_id, template.text_id) if indonesian else (template.subject_en, template.text_en)
    written = Written(_filled(subject, language, values), _filled(text, language, values))
    if holds_national_id(written.subject) or holds_national_id(written.text):
        raise Unsendable("with the values in their places it could hold a national id")
    return written


def places_in(text: str) -> frozenset[str]:
    """What stands in braces."""
    return frozenset(_PLACE.findall(text))


def has_stray_braces(text: str) -> bool:
    """Whether a brace is not part of a place such as {name}."""
    return bool(re.search(r"[{}]", _PLACE.sub("", text)))


def _filled(text: str, language: Language, values: Mapping[str, str]) -> str:
    # What is put in is not looked at again: a name that looks like a place stays a name.
    return _PLACE.sub(lambda found: _value(found[1], language, values), text)


def _value(name: str, language: Language, values: Mapping[str, str]) -> str:
    try:
        kind, value = KINDS[Place(name)], values[name]
        return _one_line(_WRITERS[kind](value, language))
    except (ValueError, KeyError):
        # Named by its place alone: what could not be written may be anything.
        raise Unsendable(f"the place {{{name}}} has no value that can be written") from None


def _one_line(value: str) -> str:
    """The value without line breaks, signs that steer a terminal or turn the line round, and endless length."""
    visible = "".join(" " if _is_space(c) else c for c in value if unicodedata.category(c) not in ("Cf", "Cs", "Co"))
    line = " ".join(visible.split())
    if not line:
        raise ValueError("an empty value")
    return line[:_LONGEST_VALUE]


def _is_space(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cc"


# --- Kinds ------------------------------------------------------------------------------------------------------------


def _text(value: str, _language: Language) -> str:
    return value


def _date(value: str, language: Language) -> str:
    """8 Juli 2024; 8 July 2024."""
    return format_date(date.fromisoformat(value), "d MMMM y", locale=language.value)


def _time(value: str, language: Language) -> str:
    """09.05; 09:05. In WITA."""
    return format_time(local(datetime.fromisoformat(value)).time(), _TIMES[language], locale=language.value)


def _number(value: str, language: Language) -> str:
    """1.234.567; 1,234,567."""
    return format_decimal(int(value), locale=language.value)


def _area(value: str, _language: Language) -> str:
    """Kebon Ayu, Gerung, Kabupaten Lombok Barat: from the smallest to the kabupaten; the code where it is unknown."""
    if not areas.is_known(value):
        return value
    names = []
    code: str | None = value
    while code is not None and areas.level(code) > areas.Level.PROVINCE:
        names.append(areas.name(code))
        code = areas.parent(code)
    return ", ".join(names) or areas.name(value)


_WRITERS: dict[Kind, Callable[[str, Language], str]] = {
    Kind.TEXT: _text,
    Kind.AREA: _area,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.NUMBER: _number,
}
