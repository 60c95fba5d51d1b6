"""Facts of three topics arrive in any order, in any batches, and again: the same notifications are wanted."""

import random
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import Envelope, Event, PersonalRecord, Sealing
from contracts.notifications import NotificationRequested
from contracts.outcomes import FollowUpMissed
from contracts.registry import ParticipantRejected, PersonErased, RejectionReason
from services.kit.transaction import acting_as
from tests.notifications.conftest import Notifications
from tests.notifications.facts import (
    NOW,
    OTHER_COHORT,
    VILLAGE,
    Story,
    assigned,
    case_opened,
    completed,
    defaults,
    enrolled,
    follow_up_due,
    nominated,
    of,
    planned,
    replaced,
    verified,
    withdrawn,
)

Published = tuple[Event, Envelope]

TOLD: tuple[Event, ...] = (
    nominated("sari"),
    assigned("sari"),
    verified("sari"),
    nominated("dewi"),
    assigned("dewi"),
    assigned("dewi", to="facilitator-2"),
    verified("dewi"),
    nominated("ani"),
    PersonErased(participant_id="ani", household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8"),
    planned(),
    enrolled("sari", 1),
    enrolled("ani", 2),
    withdrawn("ani"),
    replaced("dewi", "ani", 2),
    completed("sari"),
    completed("dewi"),
    planned(OTHER_COHORT),
    enrolled("ani", 1, OTHER_COHORT),
    enrolled("stranger", 2, OTHER_COHORT),  # The registry's facts about them never come.
    case_opened("sari"),
    follow_up_due("sari", 1),
    FollowUpMissed(case_id="sari", follow_up=1, due_on=NOW.date()),
    follow_up_due("sari", 3),
    case_opened("dewi"),
    follow_up_due("dewi", 1, to="facilitator-2"),
    ParticipantRejected(participant_id="dewi", reason=RejectionReason.MOVED),
)


def published(run: int = 0) -> dict[tuple[str, str], list[Published]]:
    """Each fact with an id, a version and a time of its own, by stream."""
    streams: dict[tuple[str, str], list[Published]] = {}
    for number, fact in enumerate(TOLD):
        stream = streams.setdefault((fact.topic, fact.key), [])
        at = NOW + timedelta(minutes=7 * number)
        if isinstance(fact, Sealing):
            texts = {who: "sealed" for who, record in fact.personal.items() if isinstance(record, PersonalRecord)}
            fact = fact.model_copy(update={"personal": texts})
        envelope = Envelope(
            f"fact-{run}-{number}",
            fact.ce_type,
            f"/entas/{fact.topic.partition('.')[0]}",
            fact.topic,
            fact.key,
            len(stream) + 1,
            at,
            at,
            "test",
            "correlation",
        )
        stream.append((fact, envelope))
    return streams


def interleaved(order: Any, run: int = 0) -> list[Published]:
    """The facts in some order that keeps each stream's own."""
    waiting = published(run)
    arrived = []
    while waiting:
        stream = order.choice(sorted(waiting))
        arrived.append(waiting[stream].pop(0))
        if not waiting[stream]:
            del waiting[stream]
    return arrived


def wanted(facts: list[Published]) -> set[str]:
    story = Story(*defaults())
    story.now = NOW + timedelta(hours=6)
    decided = [event for fact, envelope in facts for event in story.arrive(fact, envelope)]
    return {event.model_dump_json() for event in of(decided, NotificationRequested)}


def as_told(run: int = 0) -> set[str]:
    """What is wanted when one topic is read after the other."""
    return wanted([one for stream in published(run).values() for one in stream])


AS_TOLD = as_told()


def test_the_story_wants_something_by_every_rule():
    story = Story(*defaults())
    story.told(*TOLD)
    by_rule = {delivery.rule_id for delivery in story.deliveries()}
    assert by_rule == {event.key for event in defaults() if event.topic == "notifications.rules"}
    # A visit to one, two to another; four places and one of a replacement, each with a reminder; two who completed;
    # three follow-ups.
    assert len(AS_TOLD) == 3 + 2 * 5 + 2 + 3


@settings(max_examples=150)
@given(order=st.randoms(use_true_random=False))
def test_every_interleaving_of_the_topics_wants_the_same(order: Any):
    assert wanted(interleaved(order)) == AS_TOLD


async def test_every_split_into_batches_and_every_redelivery_wants_the_same(notifications: Notifications):
    """As the worker takes them in, on PostgreSQL; a batch that failed comes again, and so does a topic read anew."""
    notifications.turn_to(NOW + timedelta(hours=6))
    for run in range(1, 13):
        order = random.Random(run)
        facts, expected = interleaved(order, run), as_told(run)
        cuts = sorted(order.sample(range(1, len(facts)), k=order.choice([0, 1, 3, 10, len(facts) - 1])))
        async with notifications.pool.acquire() as connection:
            for table in ("person", "cohort", "placement", "case_file", "delivery", "put_off"):
                await connection.execute(f"TRUNCATE {table}")
        before = await notifications.pool.fetchval("SELECT count(*) FROM log")
        for start, end in pairwise([0, *cuts, len(facts)]):
            await take_in_after_a_failure(notifications, facts[start:end])
        assert await logged(notifications, before) == expected
        # The cursors are lost, and everything is read from the beginning.
        for table in ("person", "cohort", "placement", "case_file"):
            await notifications.pool.execute(f"TRUNCATE {table}")
        await notifications.arrive(facts)
        assert await logged(notifications, before) == expected


class Interrupted(Exception):
    pass


async def take_in_after_a_failure(notifications: Notifications, facts: list[Published]) -> None:
    try:
        async with notifications.workplace.transaction(acting_as("projection")) as tx:
            await notifications.take_in(tx, facts)
            raise Interrupted
    except Interrupted:
        await notifications.arrive(facts)


async def logged(notifications: Notifications, before: int) -> set[str]:
    rows = await notifications.pool.fetch(
        """
        SELECT value
        FROM (SELECT * FROM log ORDER BY id OFFSET $1) AS later
        WHERE type = 'entas.notifications.NotificationRequested.v1'
        """,
        before,
    )
    events = [NotificationRequested.model_validate_json(row["value"]).model_dump_json() for row in rows]
    assert len(events) == len(set(events)), "none is wanted twice"
    return set(events)
