"""Reading an event: what is tolerated of newer publishers, what is refused, and that no message repeats a value."""

import copy
import json
from datetime import date
from enum import Enum
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts import partners, registry, training
from contracts.envelope import (
    EVENTS,
    UPCASTERS,
    VALUES,
    NewerVersion,
    UnknownType,
    Unreadable,
    Word,
    fields_of,
    read_event,
    reading,
)
from contracts.registry import Finding, LeavingReason, MemberLeft, Sex

NIK = "5270026704850003"
LEFT = {"household_id": "h-1", "person_id": "p-1", "reason": "deceased", "on": "2024-07-12"}


def read(type_: str, value: Any) -> Any:
    return read_event(type_, json.dumps(value).encode())


# --- What newer publishers may add ------------------------------------------------------------------------------------


def test_a_field_that_is_not_known_is_ignored():
    assert read(MemberLeft.ce_type, LEFT | {"certificate": "3471"}) == read(MemberLeft.ce_type, LEFT)


def test_a_term_that_is_not_known_is_kept_and_written_again_byte_for_byte():
    value = json.dumps(LEFT | {"reason": "hilang é"}, separators=(",", ":"), ensure_ascii=False).encode()
    event = read_event(MemberLeft.ce_type, value)
    assert event.to_bytes() == value
    assert event.reason == "hilang é"
    assert event.reason not in list(LeavingReason)


def test_an_unknown_term_behaves_as_any_other():
    term = read(MemberLeft.ce_type, LEFT | {"reason": "missing"}).reason
    again = read(MemberLeft.ce_type, LEFT | {"reason": "missing"}).reason
    assert isinstance(term, LeavingReason)
    assert (term, hash(term), str(term), term.value) == (again, hash(again), "missing", "missing")
    assert copy.deepcopy(term) == term
    assert json.dumps({"reason": term}) == '{"reason": "missing"}'
    match term:
        case LeavingReason.DECEASED | LeavingReason.MOVED | LeavingReason.NOT_ON_LIST:
            pytest.fail("an unknown term was taken for a known one")


def test_unknown_terms_deep_inside_a_value_are_kept():
    results = {"cohort_id": "c-1", "day": "2024-07-08", "marks": [{"participant_id": "p-1", "status": "late"}]}
    event = read("entas.training.AttendanceRecorded.v2", results)
    assert [mark.status for mark in event.marks] == ["late"]


def test_an_unknown_term_that_was_read_may_be_said_again():
    term = read(MemberLeft.ce_type, LEFT | {"reason": "missing"}).reason
    again = MemberLeft(household_id="h-2", person_id="p-2", reason=term, on=date(2024, 7, 12))
    assert again.reason is term


def test_what_is_written_now_uses_declared_terms():
    with pytest.raises(ValidationError, match="Input should be 'deceased', 'moved' or 'not_on_list'"):
        MemberLeft.model_validate(LEFT | {"reason": "missing"})
    with pytest.raises(ValueError, match="is not a valid Finding"):
        Finding("lost")


def test_a_command_refuses_a_term_that_is_not_declared():
    class CorrectSex(BaseModel):
        model_config = ConfigDict(extra="forbid")
        sex: Sex

    with pytest.raises(ValidationError, match="Input should be 'male', 'female' or 'unknown'"):
        CorrectSex.model_validate_json('{"sex":"F"}')


def test_reading_ends_where_it_ends():
    with reading():
        assert Finding("lost") == "lost"
        with pytest.raises(Unreadable):
            read(MemberLeft.ce_type, {})
        assert Finding("lost") == "lost"
    with pytest.raises(ValueError, match="is not a valid Finding"):
        Finding("lost")


def test_a_term_is_a_text():
    with pytest.raises(Unreadable, match="reason: Input should be 'deceased', 'moved' or 'not_on_list'"):
        read(MemberLeft.ce_type, LEFT | {"reason": 3})


def test_every_enumeration_of_a_contract_may_grow():
    closed = [
        enumeration
        for module in (registry, training, partners)
        for enumeration in vars(module).values()
        if isinstance(enumeration, type) and issubclass(enumeration, Enum) and not issubclass(enumeration, Word)
    ]
    assert closed == []


# --- What is refused --------------------------------------------------------------------------------------------------


def test_a_newer_version_says_what_to_deploy():
    with pytest.raises(NewerVersion, match=r"MemberLeft\.v3 is newer than version 1, .* deploy the release"):
        read("entas.registry.MemberLeft.v3", LEFT)


@pytest.mark.parametrize(
    "type_",
    [
        "entas.registry.HouseholdSold.v1",
        "entas.registry.MemberLeft",
        "entas.registry.MemberLeft.v0",
        "entas.registry.MemberLeft.v",
        "entas.registry.MemberLeft.v99999",
        "entas.registry.MemberLeft.v\u00b2",
        "org.example.Something",
        "",
        NIK,
        f"entas.registry.{NIK}.v1",
        "x" * 100_000,
    ],
)
def test_a_type_that_is_not_declared_is_unknown(type_):
    with pytest.raises(UnknownType) as refused:
        read(type_, LEFT)
    assert NIK not in str(refused.value)
    assert len(str(refused.value)) < 200


HOSTILE_VALUES = [
    b"",
    b"null",
    b"[]",
    b"3",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"household_id": "\\ud800"}',
    b"[" * 100_000,
    b'{"cohort_id":"c","day":"2024-07-08","present":5,"absent":[]}',
    b'{"cohort_id":"c","day":"2024-07-08","present":[[]],"absent":[]}',
    f'{{"household_id": "{NIK}", "on": "{NIK}", "person_id": {NIK}, "reason": [{NIK}]}}'.encode(),
    f'{{"{NIK}": "{NIK}"}}'.encode(),
]
TYPES = [
    "entas.registry.MemberLeft.v1",
    "entas.registry.HouseholdListed.v1",
    "entas.training.AttendanceRecorded.v1",
    "entas.partners.DeathRecorded.v1",
]


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=[str(number) for number in range(len(HOSTILE_VALUES))])
@pytest.mark.parametrize("type_", TYPES)
def test_a_value_that_does_not_fit_is_unreadable_and_not_repeated(type_, value):
    with pytest.raises(Unreadable, match="does not fit its contract") as refused:
        read_event(type_, value)
    assert NIK not in str(refused.value)


def test_the_wrong_field_is_named():
    with pytest.raises(Unreadable, match=r"does not fit its contract: person_id: Field required; on: Input should be"):
        read(MemberLeft.ce_type, {"household_id": "h-1", "reason": "moved", "on": "2024-13-01"})


def test_the_wrong_field_of_a_nested_value_is_named():
    marks = [{"participant_id": "p-1", "status": "present"}, {"status": "absent"}]
    with pytest.raises(Unreadable, match=r"marks\.1\.participant_id: Field required"):
        read("entas.training.AttendanceRecorded.v2", {"cohort_id": "c-1", "day": "2024-07-08", "marks": marks})


def test_a_key_of_a_map_is_not_repeated():
    with pytest.raises(Unreadable, match=r"personal\.\*: ") as refused:
        read("entas.training.ParticipantWithdrawn.v1", {"personal": {NIK: 5}})
    assert NIK not in str(refused.value)


# --- Older versions ---------------------------------------------------------------------------------------------------


def test_every_older_version_of_an_event_can_be_lifted():
    for event in EVENTS.values():
        name, _, _ = event.ce_type.rpartition(".v")
        for version in range(1, event.schema_version):
            lifted = f"{name}.v{version}"
            while lifted in UPCASTERS:
                lifted, _ = UPCASTERS[lifted]
            assert lifted == event.ce_type, f"nothing lifts {name}.v{version}"


def test_an_upcaster_does_not_stand_for_a_declared_event():
    assert UPCASTERS.keys() & EVENTS.keys() == set()


# --- What is left out -------------------------------------------------------------------------------------------------


def test_every_field_that_may_be_none_may_be_absent():
    """`to_bytes` leaves absent fields out, so a field without a default could be written and never be read again."""
    for model in (*EVENTS.values(), *VALUES):
        for name, field in fields_of(model).items():
            may_be_none = type(None) in get_args(field.annotation)
            assert not (may_be_none and field.is_required()), f"{model.__name__}.{name} needs the default None"


def test_absent_fields_are_left_out_and_nulls_in_a_definition_are_kept():
    adopted = registry.RuleAdopted(rule_id="r", rule_version=1, kind="priority", definition={"a": None}, source="test")
    rejected = partners.MessageRejected(rejection_id="r", system="dukcapil", partition=0, offset=1, faults=())
    for event in (adopted, rejected):
        assert read_event(event.ce_type, event.to_bytes()) == event
    assert b'"definition":{"a":null}' in adopted.to_bytes()
    assert b"message_id" not in rejected.to_bytes()
