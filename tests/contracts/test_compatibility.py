"""What was released is kept: the comparison of schemas, and the comparison with the last release."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.compatibility import breaking_changes

CONTRACTS = Path(__file__).parents[2] / "contracts"
RELEASED = CONTRACTS / "released"
"""The schemas of the last release, laid out as contracts/schemas; a release copies them here."""

OLDER: dict[str, Any] = {
    "x-key": "cohort_id",
    "properties": {
        "cohort_id": {"type": "string", "x-privacy": "open"},
        "note": {"type": "string", "x-privacy": "open"},
        "marks": {"type": "array", "items": {"$ref": "#/$defs/Mark"}, "x-privacy": "pseudonymous"},
        "by": {"type": "object", "additionalProperties": {"type": "integer"}, "x-privacy": "open"},
    },
    "required": ["cohort_id", "marks"],
    "type": "object",
    "$defs": {
        "Mark": {
            "properties": {"status": {"$ref": "#/$defs/Status", "x-privacy": "pseudonymous"}},
            "required": ["status"],
            "type": "object",
        },
        "Status": {"type": "string", "x-extensible-enum": ["present", "absent"]},
    },
}


def changed(**edits: Any) -> dict[str, Any]:
    """The schema with parts exchanged: `a__b=x` puts x at a/b, and None takes away what is there."""
    newer = copy.deepcopy(OLDER)
    for path, content in edits.items():
        *way, last = path.replace("defs", "$defs").split("__")
        place = newer
        for step in way:
            place = place[step]
        if content is None:
            del place[last]
        else:
            place[last] = content
    return newer


@pytest.mark.parametrize(
    "newer",
    [
        changed(),
        changed(properties__room={"type": "string", "x-privacy": "open"}),
        changed(defs__Status={"type": "string", "x-extensible-enum": ["present", "absent", "excused"]}),
        changed(properties__note={"type": "string", "x-privacy": "open", "description": "said better"}),
    ],
    ids=["nothing", "an optional field", "a new term", "another description"],
)
def test_an_addition_breaks_nothing(newer):
    assert breaking_changes(OLDER, newer) == []


@pytest.mark.parametrize(
    ("newer", "named"),
    [
        (changed(properties__note=None), "note: the field is gone"),
        (changed(properties__note={"type": "integer", "x-privacy": "open"}), "note: type was string and is integer"),
        (
            changed(properties__note={"type": "string", "format": "date", "x-privacy": "open"}),
            "note: format was None and is date",
        ),
        (
            changed(required=["cohort_id", "marks", "note"]),
            "note: the field has to be there, which older messages do not know",
        ),
        (changed(required=["cohort_id"]), "marks: the field may be absent, which older readers do not expect"),
        (
            changed(defs__Status={"type": "string", "x-extensible-enum": ["present"]}),
            "marks[].status: the term absent is gone",
        ),
        (changed(defs__Mark__properties={}, defs__Mark__required=[]), "marks[].status: the field is gone"),
        (
            changed(properties__by__additionalProperties={"type": "string"}),
            "by.*: type was integer and is string",
        ),
        (
            changed(properties__by__additionalProperties=None),
            "by: additionalProperties is said in one of the two only",
        ),
        (
            changed(properties__note={"type": "string", "x-privacy": "pseudonymous"}),
            "note: x-privacy was open and is pseudonymous",
        ),
        (changed(**{"x-key": "programme_id"}), "the event: x-key was cohort_id and is programme_id"),
    ],
)
def test_a_broken_promise_is_named(newer, named):
    assert breaking_changes(OLDER, newer) == [named]


def test_two_shapes_of_one_field_are_told_apart_through_their_references():
    renamed = json.loads(json.dumps(OLDER).replace("Mark", "AttendanceMark"))
    assert breaking_changes(OLDER, renamed) == []


def broken_since(released: Path, schemas: Path) -> list[str]:
    """Every promise of the released schemas that the present ones break."""
    broken = []
    for path in sorted(released.rglob("*.json")):
        place = path.relative_to(released)
        if not (schemas / place).exists():
            broken.append(f"{place}: the event is gone")
            continue
        older, newer = (json.loads((folder / place).read_text(encoding="utf-8")) for folder in (released, schemas))
        broken += [f"{place}: {change}" for change in breaking_changes(older, newer)]
    return broken


def test_nothing_that_was_released_is_broken():
    """As long as nothing is released, contracts/released does not exist and nothing can be broken."""
    assert broken_since(RELEASED, CONTRACTS / "schemas") == []


def test_a_release_is_compared_event_by_event(tmp_path):
    release = tmp_path / "registry"
    release.mkdir()
    schema = json.loads((CONTRACTS / "schemas/registry/MemberLeft.v1.json").read_text(encoding="utf-8"))
    (release / "MemberLeft.v1.json").write_text(json.dumps(schema))
    assert broken_since(tmp_path, CONTRACTS / "schemas") == []
    schema["properties"]["place"] = {"type": "string", "x-privacy": "open"}
    (release / "MemberLeft.v1.json").write_text(json.dumps(schema))
    (release / "MemberSold.v1.json").write_text(json.dumps(schema))
    assert broken_since(tmp_path, CONTRACTS / "schemas") == [
        "registry/MemberLeft.v1.json: place: the field is gone",
        "registry/MemberSold.v1.json: the event is gone",
    ]
