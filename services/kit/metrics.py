"""The metrics that every service shows to Prometheus.

A label holds one of a small, known set of words (a topic, an outcome), never an id, an area or anything of a person:
`LABELS` is the whole list. One process is one service, so the scrape's own labels say which.
"""

from __future__ import annotations

from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

LABELS = frozenset({"topic", "partition", "group", "command", "outcome", "timer", "reason", "projection"})

CommandOutcome = Literal["done", "replayed", "refused", "conflict", "unavailable", "failed"]
WaitOutcome = Literal["reached", "timed-out", "stopped"]

_WAITS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
_WORK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

relay_sealed_events = Counter("entas_relay_sealed_events", "Events given a sequence and a leaf in the tree", ["topic"])
relay_sent_events = Counter("entas_relay_sent_events", "Events that Kafka acknowledged, copies included", ["topic"])
relay_resent_batches = Counter("entas_relay_resent_batches", "Sealed batches that were sent again, after a failure")
relay_leading = Gauge("entas_relay_leading", "1 while this process is its database's relay, else 0")
relay_batch_seconds = Histogram("entas_relay_batch_seconds", "From taking a batch to marking it sent", buckets=_WORK)
outbox_events = Gauge("entas_outbox_events", "Events in the outbox: appended, not yet acknowledged by Kafka")
outbox_oldest_seconds = Gauge("entas_outbox_oldest_seconds", "Age of the oldest event in the outbox, 0 when empty")

consumer_records = Counter("entas_consumer_records", "Records taken, by what became of them", ["topic", "outcome"])
consumer_batches = Counter("entas_consumer_batches", "Batches, by how their transaction ended", ["group", "outcome"])
consumer_batch_seconds = Histogram("entas_consumer_batch_seconds", "A batch's transaction", ["group"], buckets=_WORK)
consumer_lag = Gauge("entas_consumer_lag", "Records behind the end of the partition", ["group", "topic", "partition"])
consumer_position = Gauge("entas_consumer_position", "Next offset by the cursor", ["group", "topic", "partition"])
consumer_standstills = Counter(
    "entas_consumer_standstills", "Times that the group was joined anew, since waiting records did not come", ["group"]
)
stopped_partitions = Gauge(
    "entas_stopped_partitions", "1 for a partition stopped with an alarm", ["topic", "partition"]
)
parked_records = Counter("entas_parked_records", "Records parked since the process started", ["topic"])
parked_streams = Gauge("entas_parked_streams", "Streams that wait for mended code; alert when above 0", ["topic"])
rejected_messages = Counter("entas_rejected_messages", "Partner messages kept as rejected", ["topic", "reason"])

witness_failing = Gauge("entas_witness_failing", "1 while the witness does not take checkpoints, else 0")

commands = Counter("entas_commands", "Commands, by outcome", ["command", "outcome"])
command_seconds = Histogram("entas_command_seconds", "From request to answer", ["command"], buckets=_WORK)
timer_runs = Counter("entas_timer_runs", "Passages of a timer, by outcome", ["timer", "outcome"])
timer_rows = Counter("entas_timer_rows", "Due rows that a timer decided on", ["timer"])
timer_overdue_seconds = Gauge("entas_timer_overdue_seconds", "How late the oldest due row is, 0 when none", ["timer"])
timer_failing = Gauge("entas_timer_failing", "1 while a timer or job fails and is tried again, else 0", ["timer"])
version_wait_seconds = Histogram(
    "entas_version_wait_seconds",
    "Waiting for a projection to reach a version",
    ["projection", "outcome"],
    buckets=_WAITS,
)
