"""Metrics: every family is there to be scraped, and no label can hold an id or a person."""

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from services.kit import metrics

FAMILIES = {name: metric for name, metric in vars(metrics).items() if isinstance(metric, Counter | Gauge | Histogram)}


def test_no_metric_has_a_label_outside_the_known_set():
    assert len(FAMILIES) >= 20
    used = {label for metric in FAMILIES.values() for label in metric._labelnames}
    assert used == metrics.LABELS


def test_no_known_label_is_named_after_an_id_or_a_person():
    forbidden = ("id", "nik", "key", "stream", "person", "participant", "household", "name", "area", "subject", "actor")
    assert not [label for label in metrics.LABELS for word in forbidden if word in label.split("_")]


def test_a_metric_is_exported_under_its_own_name_and_says_what_it_is():
    for name, metric in FAMILIES.items():
        [family] = metric.describe()
        assert family.name == f"entas_{name}"
        assert len(family.documentation) > 10


def test_what_is_counted_can_be_scraped():
    metrics.commands.labels(command="EnrolParticipant", outcome="refused").inc()
    metrics.consumer_lag.labels(group="training", topic="registry.participants", partition="3").set(7)
    scraped = generate_latest().decode()
    assert 'entas_commands_total{command="EnrolParticipant",outcome="refused"} ' in scraped
    assert 'entas_consumer_lag{group="training",partition="3",topic="registry.participants"} 7.0' in scraped
