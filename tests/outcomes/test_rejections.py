"""What Dinas Koperasi does to its topic: good, malformed, copied and unknown messages, over a real Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from contracts.envelope import Event
from services.kit.consumer import Consumer
from services.kit.keys import open_sealed
from services.kit.positions import Record
from services.kit.relay import Relay
from services.kit.topics import create_topics
from services.outcomes.__main__ import SERVICE
from services.outcomes.matching import match_interventions
from tests.outcomes.agency import Agency, an_agency, message
from tests.outcomes.reports import (
    COOPERATIVE,
    SARI,
    SARIS_NIK,
    STRANGERS_NIK,
    financed,
    joined,
    mentored,
    met,
    opened,
    sold,
)
from tests.support.databases import FreshDatabase
from tests.support.lab import all_records, eventually, running
from tests.support.stack import Stack

TOPIC = "partners.dinkop"
REJECTED = "partners.dinkop.rejected"
REJECTED_SUBJECT = "outcomes:rejected:dinkop"


@pytest.fixture
async def agency(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Agency]:
    async with an_agency(fresh_database, tmp_path) as world:
        yield world


def changed(record: Record, value: bytes | None = None, **headers: str | None) -> Record:
    """The record with another value, or with headers changed, or left out where None."""
    said = dict(record.headers) | {
        f"ce_{name}": None if text is None else text.encode() for name, text in headers.items()
    }
    headers_left = tuple((name, text) for name, text in said.items() if text is not None)
    return record._replace(headers=headers_left, value=record.value if value is None else value)


def record(fact: Event, id_: str) -> Record:
    return message(fact, 0, id_, {})


BAD: dict[str, tuple[Any, set[str]]] = {
    "a wrong number": (record(mentored("5270-0141"), "b-1"), {"national_id"}),
    "everything wrong": (
        record(financed("x", amount_rupiah=-5, scheme="kur"), "b-2"),
        {"national_id", "amount_rupiah", "scheme"},
    ),
    "no JSON": (changed(record(mentored(), "b-3"), b'{"national_id": "' + SARIS_NIK.encode()), {"value"}),
    "a field that lacks": (
        changed(record(mentored(), "b-4"), json.dumps({"national_id": SARIS_NIK}).encode()),
        {"visited_on"},
    ),
    "a date that is none": (
        changed(
            record(sold(), "b-5"),
            json.dumps({"national_id": SARIS_NIK, "scheme": "PASAR_DESA", "granted_on": "31-31-2024"}).encode(),
        ),
        {"granted_on"},
    ),
    "an amount beyond 64 bits": (record(financed(amount_rupiah=2**63), "b-6"), {"amount_rupiah"}),
    "a person's number as a cooperative's": (record(joined(number=STRANGERS_NIK), "b-7"), {"cooperative_number"}),
    "a cooperative nowhere": (record(met(area_code="52.99.99.9999"), "b-8"), {"area_code"}),
    "somebody else's source": (changed(record(mentored(), "b-9"), source="urn:dukcapil"), {"ce_source"}),
    "somebody else's message": (
        changed(record(mentored(), "b-10"), type="entas.partners.DeathRecorded.v1"),
        {"ce_type"},
    ),
    "a fact of ours": (
        changed(record(mentored(), "b-11"), type="entas.outcomes.InterventionMatched.v1"),
        {"ce_type"},
    ),
    "no id": (changed(record(mentored(), "b-12"), id=None), {"ce_id"}),
    "a number for an id": (record(mentored(), SARIS_NIK), {"ce_id"}),
    "a zero in a name": (record(met(name="Koperasi\0Tenun"), "b-13"), {"name"}),
}  # fmt: skip


async def send(kafka: str, records: Iterable[Any]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for one in records:
            await producer.send_and_wait(TOPIC, one.value, key=one.key, headers=list(one.headers), partition=0)
    finally:
        await producer.stop()


async def test_the_good_the_malformed_the_copied_and_the_unknown(
    agency: Agency, private_stack: Stack, capfd: pytest.CaptureFixture[str]
):
    kafka = await asyncio.to_thread(lambda: private_stack.kafka)
    for service in ("registry", "training", "outcomes"):
        await create_topics(kafka, service, 1)
    await agency.given(opened())
    good = [
        record(financed(), "g-1"),
        record(joined(), "g-2"),
        record(mentored(STRANGERS_NIK), "g-3"),
        record(met(), "g-4"),
    ]
    bad = [one for one, _ in BAD.values()]
    sent = [*good[:2], *bad, *good, *bad[:2], *good]
    await send(kafka, sent)
    consumer = Consumer(agency.workplace, kafka, SERVICE.reactions, SERVICE.partners)
    relay = Relay("/entas/outcomes", agency.settings.database_url, kafka)

    async def job(stopping: asyncio.Event) -> None:
        await match_interventions(replace(agency.context, stopping=stopping))

    async def all_is_done() -> bool:
        read = await agency.rows("SELECT 1 FROM cursor WHERE topic = $1 AND next_offset = $2", TOPIC, len(sent))
        waiting = await agency.rows(
            "SELECT 1 FROM outbox UNION ALL SELECT 1 FROM number_to_forget UNION ALL "
            "SELECT 1 FROM intervention WHERE status = 'reported'"
        )
        return bool(read) and not waiting

    async with running(relay.run, consumer.run, job):
        await eventually(all_is_done, seconds=90)
    assert consumer.stopped == {}

    # What was good is taken in once.
    interventions = await agency.rows("SELECT kind, status, participant_id FROM intervention ORDER BY kind")
    assert [(row["kind"], row["status"], row["participant_id"]) for row in interventions] == [
        ("cooperative_membership", "matched", SARI),
        ("financing", "matched", SARI),
        ("mentoring", "unmatched", None),
    ]
    assert await agency.names("outcomes.cooperatives") == ["AnnualMeetingRecorded", "MemberRecruited"] or (
        await agency.names("outcomes.cooperatives") == ["MemberRecruited", "AnnualMeetingRecorded"]
    )
    shown = await agency.caller("auditor").shown(f"/cooperatives/{COOPERATIVE}")
    assert (shown["name"], shown["members"], shown["recruited"]) == ("Koperasi Tenun Kebon Ayu", 42, 1)

    # What was bad is told with its faults, each once, and one without an id each time.
    told = [json.loads(seen.value) for seen in await all_records(kafka, REJECTED)]
    named = {said["offset"] - 2: {fault["field"] for fault in said["faults"]} for said in told}
    assert named == {place: fields for place, (_, fields) in enumerate(BAD.values())}
    assert all(fault["remedy"] for said in told for fault in said["faults"])

    # Each is kept, sealed under outcomes' own key.
    key = agency.authority.keys[REJECTED_SUBJECT]
    kept = {row["rejection_id"]: row["sealed"] for row in await agency.rows("SELECT * FROM rejected_message")}
    assert len(kept) == len(BAD)
    for said in told:
        opened_again = open_sealed(key, kept[said["rejection_id"]].decode(), said["rejection_id"], REJECTED_SUBJECT)
        assert opened_again == sent[said["offset"]].value

    # The numbers stand nowhere but in the agency's own topic.
    topics = [seen.value for seen in await all_records(kafka, REJECTED, "outcomes.interventions", "outcomes.cases")]
    printed = "".join(capfd.readouterr())
    for text in (await agency.everything(), str(topics), printed):
        for number in (SARIS_NIK, STRANGERS_NIK):
            assert number not in text
            assert number[4:] not in text


async def test_a_partner_sees_its_own_rejections_and_who_works_with_them_sees_all(agency: Agency):
    await agency.taken(mentored("123"), sold(scheme="pasar"))
    for role, count in (
        ("partner:dinkop", 2),
        ("partner:dukcapil", 0),
        ("officer", 2),
        ("operator", 2),
        ("auditor", 2),
    ):
        page = await agency.caller(role, areas=["52.01"]).shown("/rejections")
        assert len(page["items"]) == count, role
    assert (await agency.caller("facilitator", areas=["*"]).get("/rejections")).status_code == 403
    first = await agency.caller("operator").shown("/rejections", limit=1)
    rest = await agency.caller("operator").shown("/rejections", limit=1, cursor=first["next"])
    assert {item["faults"][0]["field"] for item in first["items"] + rest["items"]} == {"national_id", "scheme"}
    assert rest["next"] is None
