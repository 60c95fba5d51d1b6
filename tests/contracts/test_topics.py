"""The table of topics is one that tools can rely on."""

import json
from pathlib import Path

import pytest

from contracts.envelope import EVENTS
from contracts.topics import TOPICS, Audience, carrying, checkpoints_of, heard_by, published_by

SERVICES = {"registry", "training", "outcomes", "notifications"}


def test_a_topic_is_listed_under_its_own_name():
    assert all(name == topic.name for name, topic in TOPICS.items())


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_topic_is_owned_by_a_service_that_exists(topic):
    assert topic.owner in SERVICES
    assert set(topic.read_by) <= SERVICES - {topic.owner}
    assert (Path(__file__).parents[2] / "services" / topic.owner).is_dir()


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_a_topic_carries_something_on_at_least_one_partition(topic):
    assert topic.partitions >= 1
    assert bool(topic.events) == (topic.carries == "events")
    # A partner may speak of persons and of cooperatives on one topic; of ours each keeps one kind of stream.
    assert topic.written_by or not topic.events or len({event.key_field for event in topic.events}) == 1
    assert topic.retention_days is None or topic.retention_days >= 1


def test_every_event_has_its_topic_and_its_key():
    for event in EVENTS.values():
        assert event.topic in TOPICS
        assert event.key_field in event.model_fields
        assert event.model_fields[event.key_field].annotation is str


def test_a_partner_writes_to_a_topic_of_its_own_that_is_soon_forgotten():
    written = [topic for topic in TOPICS.values() if topic.written_by is not None]
    assert written
    for topic in written:
        assert topic.name == f"partners.{topic.written_by}"
        assert (topic.audience, topic.retention_days, topic.read_by) == (Audience.PARTNERS, 7, ())


def test_facts_of_ours_are_kept_for_years():
    for service in SERVICES:
        for topic in published_by(service):
            assert topic.retention_days is None


def test_a_service_keeps_what_it_signs_for_years_where_no_service_folds_it():
    for service in SERVICES:
        topic = checkpoints_of(service)
        assert (topic.name, topic.partitions, topic.retention_days) == (f"{service}.checkpoints", 1, None)
        assert topic not in published_by(service)
        assert not any(topic in heard_by(other) for other in SERVICES)


def test_a_topic_is_published_or_taken_in_but_not_both():
    for service in SERVICES:
        assert not {t.name for t in published_by(service)} & {t.name for t in heard_by(service)}


def test_what_a_service_hears_is_declared():
    assert {topic.name for topic in heard_by("registry")} == {"partners.dukcapil"}
    assert {topic.name for topic in heard_by("training")} == {"registry.households", "registry.participants"}
    assert {topic.name for topic in heard_by("outcomes")} == {
        "registry.snapshots",
        "partners.dukcapil.rejected",
        "registry.households",
        "registry.participants",
        "training.cohorts",
        "partners.dinkop",
    }
    assert {topic.name for topic in heard_by("notifications")} == {
        "registry.participants",
        "training.cohorts",
        "outcomes.cases",
    }


def test_carrying_names_each_topic_once():
    households = [event for event in EVENTS.values() if event.topic == "registry.households"]
    assert carrying([*households, EVENTS["entas.partners.DeathRecorded.v1"]]) == (
        "partners.dukcapil",
        "registry.households",
    )


def test_the_service_documents_and_the_table_know_the_same_services():
    folder = Path(__file__).parents[2] / "contracts" / "asyncapi"
    assert {path.stem for path in folder.glob("*.json")} == SERVICES
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        topics = (*published_by(path.stem), checkpoints_of(path.stem), *heard_by(path.stem))
        wanted = {topic.name for topic in topics}
        assert document["channels"].keys() == wanted
