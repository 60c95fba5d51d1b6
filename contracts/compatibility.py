"""Says whether a newer schema of an event keeps what an older one promised. The log is for ever: both ways count.

Readers of the older release meet newer messages, and the newer release reads older messages. So only an optional field
or a new term may be added; everything else is a new version of the event, beside the old one, with an upcaster.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def breaking_changes(older: Schema, newer: Schema) -> list[str]:
    """Each promise that the newer schema breaks, as "field.path: what". Schemas are those of `event_schemas`."""
    return sorted(_Comparison(older, newer).of(older, newer, ""))


class _Comparison:
    """Two whole schemas, in which references are looked up."""

    def __init__(self, older: Schema, newer: Schema) -> None:
        self._older = older.get("$defs", {})
        self._newer = newer.get("$defs", {})

    def of(self, older: Schema, newer: Schema, place: str) -> Iterator[str]:
        older, newer = _resolved(older, self._older), _resolved(newer, self._newer)
        yield from _values(older, newer, place)
        yield from _fields(older, newer, place)
        before, now = older.get("properties", {}), newer.get("properties", {})
        for name in before.keys() & now.keys():
            yield from self.of(before[name], now[name], f"{place}.{name}".lstrip("."))
        for part, sign in (("items", "[]"), ("additionalProperties", ".*")):
            if part in older and part in newer:
                yield from self.of(older[part], newer[part], place + sign)


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" not in schema:
        return schema
    beside = {keyword: content for keyword, content in schema.items() if keyword != "$ref"}
    return {**definitions[schema["$ref"].removeprefix("#/$defs/")], **beside}


def _values(older: Schema, newer: Schema, place: str) -> Iterator[str]:
    for keyword in ("type", "format", "anyOf", "contentEncoding", "x-privacy", "x-type", "x-topic", "x-key"):
        before, now = older.get(keyword), newer.get(keyword)
        if before != now:
            yield f"{place or 'the event'}: {keyword} was {before} and is {now}"
    for term in older.get("x-extensible-enum", ()):
        if term not in newer.get("x-extensible-enum", ()):
            yield f"{place}: the term {term} is gone"
    for keyword in ("items", "additionalProperties"):
        if (keyword in older) != (keyword in newer):
            yield f"{place}: {keyword} is said in one of the two only"


def _fields(older: Schema, newer: Schema, place: str) -> Iterator[str]:
    inside = f"{place}." if place else ""
    before, now = older.get("properties", {}), newer.get("properties", {})
    for name in before.keys() - now.keys():
        yield f"{inside}{name}: the field is gone"
    had_to_be, has_to_be = set(older.get("required", ())), set(newer.get("required", ()))
    for name in has_to_be - had_to_be:
        yield f"{inside}{name}: the field has to be there, which older messages do not know"
    for name in (had_to_be - has_to_be) & now.keys():
        yield f"{inside}{name}: the field may be absent, which older readers do not expect"
