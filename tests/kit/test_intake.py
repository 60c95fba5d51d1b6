"""The intake: what partners may do to a topic. Each bad message is told with its faults; nothing stops the topic."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import EVENTS
from services.kit.consumer import Consumer
from services.kit.intake import read_message, rejection_fact
from services.kit.keyring import LocalKeys
from services.kit.keys import open_sealed
from services.kit.positions import Record
from services.kit.reactions import Partner, Reactions, Step
from tests.support.databases import FreshDatabase
from tests.support.lab import MASTER_KEY, Lab, Site, all_records, eventually, make_topics, relay_of, running, site
from tests.support.lab_service.service import reactions_of

NIK = "5270010101010001"
Headers = list[tuple[str, bytes]]


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@dataclass(frozen=True)
class Sent:
    """A message as its publisher makes it."""

    value: bytes | None
    headers: Headers
    timestamp_ms: int | None = None


def message(lab: Lab, id_: str, counter: str = "c1", amount: Any = 1, **attributes: str | None) -> Sent:
    """A good message in binary mode, with attributes changed, or left out where None."""
    said: dict[str, str | None] = {
        "specversion": "1.0",
        "id": id_,
        "type": lab.Reported.ce_type,
        "source": "urn:lab",
        "time": "2024-07-08T09:05:00+08:00",
    }
    headers = [(f"ce_{name}", text.encode()) for name, text in (said | attributes).items() if text is not None]
    return Sent(json.dumps({"counter_id": counter, "amount": amount}).encode(), headers)


def structured(lab: Lab, body: Any) -> Sent:
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Sent(value, [("content-type", b"application/cloudevents+json; charset=UTF-8")])


def whole(lab: Lab, id_: str, counter: str, **changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": id_,
        "type": lab.Reported.ce_type,
        "source": "urn:lab",
        "data": {"counter_id": counter, "amount": 1},
    }
    return event | changes


async def send(kafka: str, topic: str, messages: Sequence[Sent]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=2_000_000, linger_ms=20)
    await producer.start()
    try:
        waiting = [
            await producer.send(topic, m.value, key=b"k", headers=m.headers, timestamp_ms=m.timestamp_ms)
            for m in messages
        ]
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


@asynccontextmanager
async def taking_in(place: Site, kafka: str, reactions: Reactions | None = None) -> AsyncIterator[Consumer]:
    lab = place.lab
    consumer = Consumer(place.workplace, kafka, reactions or reactions_of(lab), (lab.partner,))
    async with running(relay_of(place, kafka).run, consumer.run):
        yield consumer


async def rejected(place: Site) -> dict[int, list[tuple[str, str]]]:
    """offset -> the fields and reasons that were told."""
    rows = await place.rows("SELECT record_offset, faults FROM rejection")
    return {
        row["record_offset"]: [(fault["field"], fault["reason"]) for fault in json.loads(row["faults"])] for row in rows
    }


async def read_up_to(place: Site, offset: int) -> bool:
    sql = "SELECT 1 FROM cursor WHERE topic = $1 AND next_offset >= $2"
    return bool(await place.rows(sql, place.lab.partner_topic, offset))


def hostile(lab: Lab) -> dict[str, tuple[Sent, set[str]]]:
    """Messages that cannot be taken in, with the fields whose faults are to be told. Each holds the NIK if it can."""
    good = message(lab, "x")
    told: dict[str, tuple[Sent, set[str]]] = {
        "tombstone": (Sent(None, message(lab, "h-tombstone").headers), {"value"}),
        "no headers": (Sent(good.value, []), {"ce_specversion", "ce_id", "ce_type", "ce_source"}),
        "no id": (message(lab, "", NIK, id=None), {"ce_id"}),
        "an id that is a NIK": (message(lab, NIK), {"ce_id"}),
        "an id with a NIK in it": (message(lab, "nik-52.7001.0101.010001-a"), {"ce_id"}),
        "a long id": (message(lab, "x" * 129), {"ce_id"}),
        "an id with a NUL": (message(lab, "a\0b"), {"ce_id"}),
        "another source": (message(lab, "h-source", source=f"urn:{NIK}"), {"ce_source"}),
        "another type": (message(lab, "h-type", type="entas.registry.ParticipantVerified.v1"), {"ce_type"}),
        "a type of the owner's": (message(lab, "h-own", type=lab.Counted.ce_type), {"ce_type"}),
        "a NIK for a type": (message(lab, "h-nik", type=NIK), {"ce_type"}),
        "a newer version": (message(lab, "h-newer", type=lab.Reported.ce_type.replace(".v1", ".v9")), {"ce_type"}),
        "an older specversion": (message(lab, "h-spec", specversion="0.3"), {"ce_specversion"}),
        "no time of this calendar": (message(lab, "h-time", time="0001-01-01T00:00:00+14:00"), {"ce_time"}),
        "no time at all": (message(lab, "h-notime", time=NIK), {"ce_time"}),
        "no JSON": (replace(message(lab, "h-json"), value=b'{"counter_id":"' + NIK.encode()), {"value"}),
        "no UTF-8": (
            replace(message(lab, "h-utf8"), value=b'{"counter_id":"\xff\xfe' + NIK.encode() + b'"}'),
            {"value"},
        ),
        "not an object": (replace(message(lab, "h-list"), value=b'["' + NIK.encode() + b'"]'), {"value"}),
        "an empty value": (replace(message(lab, "h-empty"), value=b""), {"value"}),
        "too deep": (replace(message(lab, "h-deep"), value=b"[" * 100_000), {"value"}),
        "wrong types": (
            replace(
                message(lab, "h-types"), value=b'{"counter_id":{"a":1},"amount":"x","seen_on":"%s"}' % NIK.encode()
            ),
            {"counter_id", "amount", "seen_on"},
        ),
        "fields that lack": (replace(message(lab, "h-lack"), value=b"{}"), {"counter_id", "amount"}),
        "a NUL": (message(lab, "h-nul", f"{NIK}\0"), {"counter_id"}),
        "a number beyond 64 bits": (message(lab, "h-big", "c1", 2**63), {"amount"}),
        "a text too long for an index": (message(lab, "h-long", "".join(map(chr, range(0x4E00, 0x6600)))), {"value"}),
        "refused by the reaction": (message(lab, "h-much", NIK, 1_000_001), {"amount"}),
        "a header that is not UTF-8": (
            replace(good, headers=[("ce_id", b"\xff\xfe"), *message(lab, "y").headers[2:]]),
            {"value"},
        ),
        "structured, no JSON": (structured(lab, b'{"id": "' + NIK.encode()), {"value"}),
        "structured, a list": (structured(lab, [NIK]), {"value"}),
        "structured, no data": (structured(lab, whole(lab, "h-data", "c1", data=NIK)), {"value"}),
        "structured, no id": (structured(lab, whole(lab, "x", "c1", id=5)), {"ce_id"}),
        "structured, wrong field": (
            structured(lab, whole(lab, "h-field", "c1", data={"counter_id": NIK, "amount": [NIK]})),
            {"amount"},
        ),
        "a huge message": (
            replace(message(lab, "h-huge"), value=b'{"counter_id":"' + b"x" * 900_000 + b'"}'),
            {"amount"},
        ),
    }
    return told


async def test_each_bad_message_is_told_with_its_faults_and_every_good_one_is_taken(
    lab: Lab, fresh_database: FreshDatabase, kafka: str, capfd: pytest.CaptureFixture[str]
):
    await make_topics(kafka, lab)
    bad = hostile(lab)
    messages: list[Sent] = []
    expected: dict[int, tuple[str, set[str]]] = {}
    for name, (sent, fields) in bad.items():
        expected[len(messages)] = (name, fields)
        # A good one after each bad one, in both modes.
        messages += [sent, message(lab, f"good-{len(messages)}", "c1")]
        messages.append(structured(lab, whole(lab, f"good-{len(messages)}", "c2")))
    async with site(lab, fresh_database) as place:
        await send(kafka, lab.partner_topic, messages)
        async with taking_in(place, kafka) as consumer:
            await eventually(lambda: read_up_to(place, len(messages)))
            await eventually(lambda: outbox_is_empty(place))
        assert consumer.stopped == {}
        told = await rejected(place)
        named = {expected[offset][0]: {field for field, _ in faults} for offset, faults in told.items()}
        assert named == dict(expected.values())
        assert await place.totals() == {"c1": (len(bad), len(bad)), "c2": (len(bad), len(bad))}

        # One fact and one sealed message each, which opens with the key of that system's rejections.
        facts = await place.rows("SELECT stream, value FROM log WHERE topic = $1", lab.rejected_topic)
        assert len(facts) == len(bad)
        kept = await place.rows("SELECT rejection_id, sealed FROM rejected_message")
        offsets = {r["rejection_id"]: r["record_offset"] for r in await place.rows("SELECT * FROM rejection")}
        assert {fact["stream"] for fact in facts} == {row["rejection_id"] for row in kept} == offsets.keys()
        subject = f"{lab.service}:rejected:lab"
        async with place.pool.acquire() as connection:
            keys = await LocalKeys(MASTER_KEY).to_open(connection, [subject], "test")
        for row in kept:
            opened = open_sealed(keys[subject], row["sealed"].decode(), row["rejection_id"], subject)
            assert opened == (messages[offsets[row["rejection_id"]]].value or b"")

        # The number that was planted stands nowhere but in the partner's own topic.
        dumped = await everything_in(place)
        in_kafka = [(s.value, s.headers) for s in await all_records(kafka, lab.topic, lab.rejected_topic)]
        assert len(in_kafka) == len(bad) * 3
        printed = "".join(capfd.readouterr())
        for text in (dumped, str(in_kafka), printed, str(told)):
            assert NIK not in text
            assert NIK[4:] not in text


async def everything_in(place: Site) -> str:
    tables = await place.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    dumped = ""
    for table in tables:
        rows = await place.rows(f'SELECT * FROM "{table["table_name"]}"')
        dumped += "".join(str(row) for row in rows)
    assert "rejection_id" in dumped
    return dumped


async def outbox_is_empty(place: Site) -> bool:
    return not await place.rows("SELECT 1 FROM outbox")


async def test_a_message_counts_once_however_often_it_comes(lab: Lab, fresh_database: FreshDatabase, kafka: str):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        bad = message(lab, "bad", "c1", "x")
        await send(kafka, lab.partner_topic, [message(lab, "a"), message(lab, "a"), bad, message(lab, "b"), bad])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 5))
            # Another batch; and another text under an id that was taken is a copy as well.
            await send(kafka, lab.partner_topic, [message(lab, "a"), message(lab, "b", "c9", 7), bad])
            await eventually(lambda: read_up_to(place, 8))
        await send(kafka, lab.partner_topic, [message(lab, "a"), message(lab, "c"), bad])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 11))
        assert await place.totals() == {"c1": (3, 3)}
        assert set(await rejected(place)) == {2}


async def test_a_message_whose_second_fact_is_refused_leaves_no_trace_of_its_first(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    reactions = Reactions()

    async def load(*_: Any) -> None:
        return None

    @reactions.on(lab.Reported, loads=load)
    def says_much(step: Step[Any, None]) -> list[Any]:
        note = "x" * 1_000_000 if step.event.amount == 5 else None
        counter = step.event.counter_id
        return [lab.Counted(counter_id=counter, amount=1), lab.Counted(counter_id=counter, amount=1, note=note)]

    async with site(lab, fresh_database) as place:
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}", "c1", n) for n in (1, 5, 2)])
        async with taking_in(place, kafka, reactions):
            await eventually(lambda: read_up_to(place, 3))
        told = await rejected(place)
        [(field, reason)] = told[1]
        assert field == "value"
        assert "a message holds at most 900,000" in reason
        assert await place.totals() == {"c1": (4, 4)}
        log = await place.rows("SELECT version FROM log WHERE topic = $1 ORDER BY id", lab.topic)
        assert [row["version"] for row in log] == [1, 2, 3, 4]


# --- A header whose name is no text -----------------------------------------------------------------------------------


async def send_with_a_broken_header_name(kafka: str, topic: str, sent: Sequence[Sent], broken: int) -> None:
    """In one record batch, with a header whose name is not UTF-8: no client library makes one, no broker refuses it."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        builder = producer.create_batch()
        for n, m in enumerate(sent):
            headers = [*m.headers, ("PLANTED", b"x")] if n == broken else m.headers
            builder.append(timestamp=1_720_000_000_000, key=b"k", value=m.value, headers=headers)
        raw = bytearray(builder._build())
        assert raw.count(b"PLANTED") == 1
        at = raw.index(b"PLANTED")
        raw[at : at + 7] = b"\xff\xfe\xfd\xfc\xfb\xfa\xf9"
        raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
        builder._buffer = raw
        await (await producer.send_batch(builder, topic, partition=0))
    finally:
        await producer.stop()


async def test_a_header_whose_name_is_no_text_does_not_stop_the_topic(
    lab: Lab, fresh_database: FreshDatabase, kafka: str
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        async with taking_in(place, kafka) as consumer:
            for n in range(2):
                batch = [message(lab, f"{letter}{n}") for letter in "abc"]
                await send_with_a_broken_header_name(kafka, lab.partner_topic, batch, broken=1)
                await send(kafka, lab.partner_topic, [message(lab, f"d{n}")])
            await eventually(lambda: read_up_to(place, 8))
        assert consumer.stopped == {}
        assert await place.totals() == {"c1": (4, 4)}, "what stands before it, and in the next batches, is taken"
        told = await rejected(place)
        assert set(told) == {1, 2, 5, 6}, "so is the rest of its batch: nobody can say where it begins"
        assert {fault for faults in told.values() for fault in faults} == {
            ("value", "the name of a header, here or before in the same record batch, is not UTF-8")
        }


# --- Reading alone ----------------------------------------------------------------------------------------------------


def record_of(lab: Lab, value: bytes | None, headers: Headers, timestamp: int = 1_720_000_000_000) -> Record:
    return Record(lab.partner_topic, 0, 7, timestamp, b"k", value, tuple(headers))


names = st.sampled_from(["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type", "ce_x", "x"])
header_values = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from([b"1.0", b"urn:lab", b"application/cloudevents+json", b"9999-12-31T23:59:59-12:00", b"id-1"]),
)


@pytest.fixture(scope="module")
def standing_lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@settings(max_examples=100)
@given(data=st.data())
def test_reading_never_raises_and_repeats_nothing(standing_lab: Lab, data: st.DataObject):
    lab = standing_lab
    headers = data.draw(st.lists(st.tuples(names, header_values), max_size=8))
    if data.draw(st.booleans()):
        headers = [*message(lab, "fine").headers, *headers]
    value = data.draw(
        st.one_of(
            st.none(),
            st.binary(max_size=40),
            st.dictionaries(
                st.sampled_from(["counter_id", "amount", "seen_on", "data", "id", "type"]),
                st.one_of(
                    st.none(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.integers(), max_size=2)
                ),
            ).map(lambda body: json.dumps(body | {"planted": NIK}).encode()),
        )
    )
    timestamp = data.draw(st.integers(-(2**63), 2**63 - 1))
    read = read_message(record_of(lab, value, headers, timestamp), lab.partner)
    assert (read.event is None) == bool(read.faults)
    assert (read.envelope is None) == (read.event is None)
    for fault in read.faults:
        assert fault.field
        assert fault.reason
        assert fault.remedy
        assert NIK not in f"{fault.field}{fault.reason}{fault.remedy}"


def test_a_good_message_becomes_an_event_with_its_envelope(lab: Lab):
    sent = message(lab, "m-1", "c7", 5)
    read = read_message(record_of(lab, sent.value, sent.headers), lab.partner)
    assert read.faults == []
    assert read.event == lab.Reported(counter_id="c7", amount=5)
    assert read.envelope is not None
    assert (read.envelope.id, read.envelope.correlation_id, read.envelope.actor) == ("m-1", "m-1", "partner:lab")
    assert read.envelope.time.isoformat() == "2024-07-08T01:05:00+00:00"
    assert read.envelope.recorded.isoformat() == "2024-07-03T09:46:40+00:00"


def test_each_partner_is_told_by_a_fact_of_its_own_topic(lab: Lab):
    assert rejection_fact(lab.partner) is lab.MessageRejected
    with pytest.raises(TypeError, match=r"the topic partners\.bank\.rejected has to carry"):
        rejection_fact(Partner("partners.bank", "bank", "urn:bank"))
    dukcapil = Partner("partners.dukcapil", "dukcapil", "urn:dukcapil")
    assert rejection_fact(dukcapil) is EVENTS["entas.partners.MessageRejected.v1"]
