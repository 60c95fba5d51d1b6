"""JSON Schema (2020-12) of every event version, with the privacy class of each field, made from the contracts."""

import inspect
import re
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from contracts.envelope import Event, Value, privacy_of
from contracts.topics import TOPICS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MODE: JsonSchemaMode = "serialization"


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The schema of an event's value as it is published.

    Beside the dialect's own keywords: `x-privacy` of each field, also in nested values; `x-extensible-enum`, the terms
    known today, to which a newer publisher may add; `x-seals`, the records that `personal` may hold under seal.
    """
    models = [(model, _MODE) for model in (event, *event.seals)]
    references, definitions = models_json_schema(models, schema_generator=_ContractSchema)
    parts = definitions["$defs"]
    body = parts.pop(_named(references[event, _MODE]))
    topic = TOPICS[event.topic]
    return {
        "$schema": DIALECT,
        "$id": f"urn:entas:{event.ce_type}",
        "title": event.__name__,
        "description": body.pop("description"),
        "x-type": event.ce_type,
        "x-topic": topic.name,
        "x-key": event.key_field,
        "x-audience": topic.audience.value,
        **({"x-seals": [references[record, _MODE] for record in event.seals]} if event.seals else {}),
        **{keyword: content for keyword, content in body.items() if keyword != "title"},
        **({"$defs": dict(sorted(parts.items()))} if parts else {}),
    }


def _named(reference: JsonSchemaValue) -> str:
    return str(reference["$ref"]).removeprefix("#/$defs/")


class _ContractSchema(GenerateJsonSchema):
    """What pydantic says of a model, plus what our contracts mean by it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return _explained(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return _explained(super().dataclass_schema(schema), schema["cls"])

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        described = super().enum_schema(schema)
        described["x-extensible-enum"] = described.pop("enum")
        return described

    # An absent field is left out of the message, never written as null.
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def field_title_should_be_set(self, schema: object) -> bool:
        return False  # A title would only say the field's name once more.


def _explained(described: JsonSchemaValue, contract: type[BaseModel | Value]) -> JsonSchemaValue:
    """With what is beside each field: its comment and its class."""
    for name, privacy in privacy_of(contract).items():
        field = described["properties"][name]
        if comment := _comments(contract).get(name):
            field["description"] = comment
        if privacy is not None:
            field["x-privacy"] = privacy.value
    return described


_FIELD_WITH_COMMENT = re.compile(r"^    (?P<name>\w+): .*  # (?P<comment>.+)$", re.MULTILINE)


@cache
def _comments(contract: type[BaseModel | Value]) -> dict[str, str]:
    """The comment beside each field, inherited ones too: it is the field's description for readers elsewhere."""
    found: dict[str, str] = {}
    for owner in reversed(contract.__mro__):
        if owner.__module__.startswith("contracts."):
            matches = _FIELD_WITH_COMMENT.finditer(inspect.getsource(owner))
            found |= {match["name"]: match["comment"] for match in matches}
    return found
