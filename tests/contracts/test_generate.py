"""The committed schemas are those of the contracts, and say what a reader elsewhere has to know."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.envelope import EVENTS, privacy_of
from contracts.event_schemas import DIALECT, schema_of
from contracts.generate import COMMAND, generated, main, place_of

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The contracts' data in a folder where it may be changed."""
    for part in ("schemas", "examples", "asyncapi"):
        shutil.copytree(CONTRACTS / part, tmp_path / part)
    return tmp_path


def committed(event: Any) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((CONTRACTS / "schemas" / place_of(event)).read_text(encoding="utf-8"))
    return schema


# --- Fresh or stale ---------------------------------------------------------------------------------------------------


def test_what_is_committed_is_what_the_contracts_give():
    done = subprocess.run(
        [sys.executable, "-m", "contracts.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_comes_out_the_same_every_time():
    assert generated() == generated()


def test_a_stale_a_missing_and_a_left_over_file_are_named_with_the_command_that_mends_them(copied, capsys):
    (copied / "schemas/registry/MemberLeft.v1.json").write_text("{}\n")
    (copied / "asyncapi/training.json").unlink()
    (copied / "schemas/registry/MemberSold.v1.json").write_text("{}\n")
    assert main(["--check"], copied) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"contracts/asyncapi/training.json is missing: run `{COMMAND}` and look at the difference",
        f"contracts/schemas/registry/MemberLeft.v1.json is stale: run `{COMMAND}` and look at the difference",
        f"contracts/schemas/registry/MemberSold.v1.json is left over: run `{COMMAND}` and look at the difference",
    ]
    assert main([], copied) == 0
    assert main(["--check"], copied) == 0
    assert not (copied / "schemas/registry/MemberSold.v1.json").exists()


def test_a_check_changes_nothing(copied):
    (copied / "schemas/registry/MemberLeft.v1.json").write_text("{}\n")
    main(["--check"], copied)
    assert (copied / "schemas/registry/MemberLeft.v1.json").read_text() == "{}\n"


def test_an_event_without_an_example_is_named(copied, capsys):
    (copied / "examples/registry/MemberLeft.v1.json").unlink()
    assert main(["--check"], copied) == 1
    assert "contracts/examples/registry/MemberLeft.v1.json is missing" in capsys.readouterr().err


def test_arguments_that_it_does_not_know_are_refused(capsys):
    assert main(["--chekc"]) == 2
    assert COMMAND in capsys.readouterr().err


# --- What a schema says -----------------------------------------------------------------------------------------------


def fields_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every property of a schema and of its definitions, by place."""
    parts = {"": schema} | schema.get("$defs", {})
    return {
        f"{part}.{name}": field for part, inner in parts.items() for name, field in inner.get("properties", {}).items()
    }


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.ce_type)
def test_a_schema_says_what_it_is_of(event):
    schema = committed(event)
    assert schema["$schema"] == DIALECT
    assert schema["$id"] == f"urn:entas:{event.ce_type}"
    assert (schema["x-topic"], schema["x-key"]) == (event.topic, event.key_field)
    assert schema["properties"].keys() == event.model_fields.keys()
    assert schema["description"]


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.ce_type)
def test_every_field_has_its_privacy_class_also_in_nested_values(event):
    schema = committed(event)
    fields = fields_of(schema)
    assert {name: field["x-privacy"] for name, field in fields.items() if name.startswith(".")} == {
        f".{name}": privacy for name, privacy in privacy_of(event).items()
    }
    assert all(field["x-privacy"] in {"open", "pseudonymous", "personal"} for field in fields.values())


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.ce_type)
def test_a_schema_allows_what_a_newer_publisher_adds(event):
    text = json.dumps(committed(event))
    assert '"enum"' not in text
    assert '"additionalProperties": false' not in text
    assert "null" not in text


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.ce_type)
def test_every_reference_within_a_schema_leads_somewhere(event):
    schema = committed(event)
    wanted = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert wanted == schema.get("$defs", {}).keys()


def test_a_schema_names_the_records_that_may_be_sealed():
    schema = schema_of(EVENTS["entas.registry.HouseholdListed.v1"])
    assert schema["x-seals"] == [{"$ref": "#/$defs/PersonDetails"}, {"$ref": "#/$defs/HouseholdDetails"}]
    sealed = schema["properties"]["personal"]["additionalProperties"]
    assert (sealed["type"], sealed["contentEncoding"]) == ("string", "base64url")
    assert schema["$defs"]["PersonDetails"]["properties"]["national_id"]["x-privacy"] == "personal"


def test_terms_are_listed_and_may_grow():
    schema = schema_of(EVENTS["entas.registry.MemberLeft.v1"])
    assert schema["$defs"]["LeavingReason"] == {
        "title": "LeavingReason",
        "type": "string",
        "x-extensible-enum": ["deceased", "moved", "not_on_list"],
    }


def test_the_comment_beside_a_field_is_its_description():
    schema = schema_of(EVENTS["entas.training.CohortPlanned.v1"])
    assert schema["properties"]["days"]["description"] == "the days it meets, in order"
    assert "description" not in schema["properties"]["cohort_id"]


def test_an_optional_field_may_be_absent():
    schema = schema_of(EVENTS["entas.registry.HouseholdDelisted.v1"])
    assert schema["properties"]["snapshot_id"] == {"type": "string", "x-privacy": "open"}
    assert schema["required"] == ["household_id", "reason"]
