"""One real-looking message of every event version, each of which reads, and is written again byte for byte."""

import json
import re
from base64 import urlsafe_b64decode
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from jsonschema import Draft202012Validator

from contracts import areas, notifications, outcomes, registry, training
from contracts.envelope import EVENTS, UPCASTERS, Event, Sealing, headers_of, read_event, read_headers
from contracts.generate import place_of
from contracts.topics import TOPICS

CONTRACTS = Path(__file__).parents[2] / "contracts"
EXAMPLES = CONTRACTS / "examples"
OLD = EXAMPLES / "old"
SEALING = json.loads((CONTRACTS / "vectors" / "sealing.json").read_text(encoding="utf-8"))

OURS = [event for event in EVENTS.values() if TOPICS[event.topic].written_by is None]
PARTNERS = [event for event in EVENTS.values() if TOPICS[event.topic].written_by is not None]
OLD_PLACES = sorted(path.relative_to(EXAMPLES).as_posix() for path in OLD.rglob("*.json"))


def example(place: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / place).read_text(encoding="utf-8"))
    return found


def named(event: type[Event]) -> str:
    return event.ce_type


def written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def headers(message: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in message["headers"].items()]


def test_every_event_has_one_example_and_there_is_no_other_file():
    there = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.is_file()}
    assert there - set(OLD_PLACES) == {place_of(event) for event in EVENTS.values()}


@pytest.mark.parametrize("event", EVENTS.values(), ids=named)
def test_an_example_reads_and_is_written_again_byte_for_byte(event):
    message = example(place_of(event))
    value = written(message["value"])
    fact = read_event(message["headers"]["ce_type"], value)
    assert type(fact) is event
    assert fact.to_bytes() == value
    assert (message["topic"], message["key"]) == (event.topic, fact.key)


@pytest.mark.parametrize("event", EVENTS.values(), ids=named)
def test_an_example_fits_its_committed_schema(event):
    schema = json.loads((CONTRACTS / "schemas" / place_of(event)).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    fits = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    value = example(place_of(event))["value"]
    assert [error.message for error in fits.iter_errors(value)] == []
    without_key = {name: part for name, part in value.items() if name != event.key_field}
    assert [error.message for error in fits.iter_errors(without_key)] == [f"'{event.key_field}' is a required property"]


@pytest.mark.parametrize("event", OURS, ids=named)
def test_the_headers_of_our_examples_read_and_are_written_again_byte_for_byte(event):
    message = example(place_of(event))
    envelope, position = read_headers(message["topic"], headers(message))
    assert headers_of(envelope, position) == headers(message)
    assert envelope.type == event.ce_type
    assert envelope.key == message["key"]
    assert envelope.source == f"/entas/{TOPICS[event.topic].owner}"


@pytest.mark.parametrize("event", OURS, ids=named)
def test_our_examples_happened_in_an_order_that_can_be(event):
    """A UUIDv7 says when it was made; nothing is recorded before it occurred."""
    envelope, _ = read_headers(event.topic, headers(example(place_of(event))))
    made = UUID(envelope.id)
    assert made.version == 7
    assert made.int >> 80 == int(envelope.recorded.timestamp() * 1000)
    assert envelope.time <= envelope.recorded


@pytest.mark.parametrize("event", PARTNERS, ids=named)
def test_a_partners_example_has_what_cloud_events_asks_for_and_nothing_of_ours(event):
    message = example(place_of(event))
    there = message["headers"]
    assert there["ce_specversion"] == "1.0"
    assert there["ce_source"] == f"urn:{TOPICS[event.topic].written_by}"
    assert there["content-type"] == "application/json"
    assert there["ce_id"]
    assert datetime.fromisoformat(there["ce_time"]).tzinfo is not None
    assert there.keys() <= {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type"}
    assert message["key"] not in there.values()  # The key is a NIK, which does not belong in headers.


def test_no_two_examples_have_one_id_or_one_position_in_a_log():
    there = [example(place_of(event))["headers"] for event in OURS]
    assert len({message["ce_id"] for message in there}) == len(there)
    assert len({(message["ce_source"], message["ce_sequence"]) for message in there}) == len(there)


def test_areas_of_the_examples_exist():
    codes = set()
    for event in EVENTS.values():
        value = example(place_of(event))["value"]
        codes |= {value[field] for field in ("area_code", "to_area_code") if field in value}
        codes |= set(value.get("areas", ()))
    assert len(codes) >= 5
    assert all(areas.is_known(code) for code in codes)


# --- Nobody real ------------------------------------------------------------------------------------------------------

SIXTEEN_DIGITS = re.compile(r"(?<![0-9a-fA-F-])[0-9]{16}(?![0-9a-fA-F-])")


def cannot_be_issued(number: str) -> bool:
    return number.startswith("5270") or number.endswith("0000")


def test_every_number_of_a_person_is_one_that_cannot_be_issued():
    found = []
    for path in (*EXAMPLES.rglob("*.json"), *(CONTRACTS / "vectors").glob("*.json")):
        found += SIXTEEN_DIGITS.findall(path.read_text(encoding="utf-8"))
    assert len(found) > 5
    assert all(cannot_be_issued(number) for number in found)


def test_no_example_of_ours_holds_a_number_of_a_person():
    for event in OURS:
        assert not SIXTEEN_DIGITS.search((EXAMPLES / place_of(event)).read_text(encoding="utf-8")), event.ce_type


# --- What is sealed ---------------------------------------------------------------------------------------------------

RECORDS = {
    record.__name__: record
    for record in (
        registry.PersonDetails,
        registry.HouseholdDetails,
        registry.VisitNotes,
        training.WithdrawalNote,
        outcomes.FollowUpNotes,
        outcomes.InterventionSubject,
        notifications.ContactDetails,
    )
}


@pytest.mark.parametrize(
    "vector", SEALING["sealed"], ids=lambda vector: f"{vector['example']}-{vector['subject'][-4:]}"
)
def test_a_sealed_text_opens_to_a_record_that_its_event_may_seal(vector):
    message = example(vector["example"])
    blob = urlsafe_b64decode(message["value"]["personal"][vector["subject"]])
    bound_to = b"".join(
        len(text).to_bytes(2, "big") + text.encode() for text in (message["headers"]["ce_id"], vector["subject"])
    )
    key = bytes.fromhex(SEALING["keys"][vector["subject"]])
    plain = AESGCM(key).decrypt(blob[:12], blob[12:], bound_to)
    record = RECORDS[vector["record"]]
    assert record in EVENTS[message["headers"]["ce_type"]].seals
    assert record.model_validate_json(plain).model_dump_json(exclude_none=True).encode() == plain
    assert json.loads(plain) == vector["opens_to"]


def test_every_sealed_text_of_the_examples_has_its_vector():
    sealed = {
        (place_of(event), subject)
        for event in EVENTS.values()
        if issubclass(event, Sealing)
        for subject in example(place_of(event))["value"]["personal"]
    }
    assert sealed == {(vector["example"], vector["subject"]) for vector in SEALING["sealed"]}
    assert SEALING["keys"].keys() == {subject for _, subject in sealed}


# --- Older versions ---------------------------------------------------------------------------------------------------


def test_every_upcaster_has_an_example_of_what_it_lifts():
    assert {example(place)["headers"]["ce_type"] for place in OLD_PLACES} == UPCASTERS.keys()


@pytest.mark.parametrize("place", OLD_PLACES)
def test_an_old_example_is_lifted_to_todays_event(place):
    message = example(place)
    old_type = message["headers"]["ce_type"]
    fact = read_event(old_type, written(message["value"]))
    assert type(fact) in EVENTS.values()
    assert fact.ce_type != old_type
    assert read_event(fact.ce_type, fact.to_bytes()) == fact
    assert place == f"old/{old_type.split('.', 2)[1]}/{old_type.split('.', 2)[2]}.json"


def test_who_was_absent_in_version_1_is_absent_in_version_2():
    old = example("old/training/AttendanceRecorded.v1.json")["value"]
    lifted = read_event("entas.training.AttendanceRecorded.v1", written(old))
    now = read_event("entas.training.AttendanceRecorded.v2", lifted.to_bytes())
    assert {mark.participant_id for mark in now.marks if mark.status == "absent"} == set(old["absent"])
    assert {mark.participant_id for mark in now.marks if mark.status == "present"} == set(old["present"])
    assert len(now.marks) == 30
