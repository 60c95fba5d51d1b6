"""Every field of every contract is classed, and personal data stands under seal only."""

from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from contracts.envelope import (
    EVENTS,
    Event,
    Open,
    Personal,
    PersonalRecord,
    Privacy,
    Pseudonymous,
    Sealing,
    Value,
    fields_of,
    privacy_of,
)
from contracts.topics import TOPICS

IN_THE_CLEAR = {Privacy.OPEN, Privacy.PSEUDONYMOUS}


def nested_in(model: type[BaseModel | Value]) -> Iterator[type[BaseModel | Value]]:
    """The model and every model within its fields."""
    yield model
    for field in fields_of(model).values():
        for part in models_in(field.annotation):
            yield from nested_in(part)


def models_in(annotation: object) -> Iterator[type[BaseModel | Value]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel | Value):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def written_by_a_partner(event: type[Event]) -> bool:
    return event.topic in TOPICS and TOPICS[event.topic].written_by is not None


def misclassed() -> list[str]:
    """Every field that is not classed as it has to be, as "Class.field"."""
    wrong = set()
    for event in EVENTS.values():
        allowed = {*Privacy} if written_by_a_partner(event) else IN_THE_CLEAR
        for model in nested_in(event):
            if not issubclass(model, PersonalRecord):
                wrong |= {f"{model.__name__}.{name}" for name, kind in privacy_of(model).items() if kind not in allowed}
    for record in PersonalRecord.__subclasses__():
        fields = privacy_of(record).items()
        wrong |= {f"{record.__name__}.{name}" for name, kind in fields if kind is not Privacy.PERSONAL}
    return sorted(wrong)


@pytest.fixture
def planted() -> Iterator[None]:
    """Forgets the events that a test declares."""
    before = dict(EVENTS)
    yield
    EVENTS.clear()
    EVENTS.update(before)


def test_every_field_is_classed_and_none_is_personal_in_the_clear():
    assert misclassed() == []


@pytest.mark.usefixtures("planted")
def test_a_field_that_nobody_classed_is_found():
    class Seen(Value):
        by: str

    class PlantedFact(Event, topic="registry.participants", key="participant_id"):
        participant_id: Pseudonymous[str]

    class PlantedSighting(PlantedFact):
        where: str
        seen: Open[tuple[Seen, ...] | None] = None

    assert misclassed() == ["PlantedSighting.where", "Seen.by"]


@pytest.mark.usefixtures("planted")
def test_a_personal_field_outside_of_a_seal_is_found():
    class PlantedFact(Event, topic="registry.participants", key="participant_id"):
        participant_id: Pseudonymous[str]

    class PlantedNaming(PlantedFact):
        name: Personal[str]

    assert misclassed() == ["PlantedNaming.name"]


def test_a_sealed_record_is_nested_in_no_fact():
    for event in EVENTS.values():
        for name, field in event.model_fields.items():
            if not (name == "personal" and issubclass(event, Sealing)):
                assert not any(issubclass(model, PersonalRecord) for model in models_in(field.annotation)), name


def test_what_seals_says_what_it_seals():
    for event in EVENTS.values():
        assert issubclass(event, Sealing) == bool(event.seals), event.ce_type


def test_a_record_that_is_not_sealed_cannot_be_written():
    class PlantedNote(PersonalRecord):
        note: Personal[str]

    event = EVENTS["entas.training.ParticipantWithdrawn.v1"](
        personal={"p-1": PlantedNote(note="synthetic")}, cohort_id="c-1", participant_id="p-1", reason="illness"
    )
    with pytest.raises(Exception, match="sealed before it is written"):
        event.to_bytes()


def test_a_national_id_stands_in_partner_topics_only():
    for event in EVENTS.values():
        if not written_by_a_partner(event):
            fields = {name for model in nested_in(event) for name in fields_of(model)}
            assert fields.isdisjoint({"national_id", "nik", "phone", "address", "birth_date"}), event.ce_type
