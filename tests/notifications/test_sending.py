"""What is due goes out, once, in words that its reader understands; what does not, stands in the ledger with why."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import structlog
from prometheus_client import generate_latest

from contracts.notifications import Channel, ContactDetails, ContactPreferenceChanged, Language
from services.kit.keys import KeysUnavailable
from services.kit.logs import configure_logging
from services.notifications.deliveries import sending
from services.notifications.deliveries.sending import seat
from services.notifications.senders import Ending, Letter, Outcome
from services.notifications.senders.lanes import Lane
from tests.notifications.conftest import Notifications
from tests.notifications.facts import (
    NIK,
    NOW,
    PHONE,
    REMINDED_AT,
    VILLAGE,
    adopted,
    assigned,
    case_opened,
    completed,
    enrolled,
    follow_up_due,
    nominated,
    planned,
    verified,
    withdrawn,
)
from tests.notifications.test_deliveries import erased
from tests.support.lab import eventually

EVENING = NOW + timedelta(hours=11)  # 20.05 in Mataram
SEVEN = NOW + timedelta(hours=21, minutes=55)  # 07.00 the next day


class Recorded:
    """A provider in memory, which is told how to end each letter."""

    def __init__(self, *, repeatable: bool = True) -> None:
        self.repeatable = repeatable
        self.letters: list[Letter] = []
        self.endings: dict[str, list[Ending]] = {}  # by address, for the next attempts
        self.at_once = self.most_at_once = 0
        self.slowness = 0.0

    async def send(self, letter: Letter) -> Outcome:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.slowness)
        self.at_once -= 1
        self.letters.append(letter)
        endings = self.endings.get(letter.to, [])
        return Outcome(endings.pop(0) if endings else Ending.TAKEN, f"r-{len(self.letters)}")

    async def close(self) -> None: ...


def contact(subject: str, **said: Any) -> ContactPreferenceChanged:
    personal = {k: said.pop(k) for k in ("name", "phone", "email") if k in said}
    key = f"notifications:{subject}" if subject.startswith("staff:") else subject
    what = {"area_code": VILLAGE, "opted_out": False, "language": Language.INDONESIAN} | said
    sealed = {key: ContactDetails(**personal)} if personal else {}
    return ContactPreferenceChanged(subject_id=subject, personal=sealed, **what)


FACILITATOR = contact("staff:facilitator-1", name="Bu Ratna", email="ratna@example.org", phone="+6281900000001")


# --- The whole way ----------------------------------------------------------------------------------------------------


async def test_who_gets_a_place_is_told_and_reminded(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    assert await notifications.next_due() == NOW
    await notifications.send_all()
    [taken] = notifications.taken()
    assert (taken["to"], taken["language"]) == (PHONE, "id")
    assert taken["text"].startswith(
        "Halo Sari Lestari, selamat! Anda mendapat tempat di pelatihan Kuliner, angkatan P3KE-2024-01. Pelatihan "
        "berlangsung 5 hari, dari 8 Juli 2024 sampai 12 Juli 2024, di Balatkop NTB, Mataram. Kabari pendamping Anda "
        "paling lambat 5 Juli 2024 bahwa Anda akan datang"
    )
    assert await notifications.next_due() == REMINDED_AT
    notifications.turn_to(REMINDED_AT - timedelta(microseconds=1))
    await notifications.send_all()
    assert len(notifications.taken()) == 1
    notifications.turn_to(REMINDED_AT)
    await notifications.send_all()
    assert [line["text"] for line in notifications.taken()][1:] == [
        "Halo Sari Lestari, pelatihan Kuliner dimulai 8 Juli 2024 di Balatkop NTB, Mataram. Sampai jumpa! Jika Anda "
        "tidak bisa datang, segera kabari pendamping Anda."
    ]
    assert await notifications.next_due() is None
    [row] = await notifications.ledger(rule_id="enrolment")
    assert (row["status"], row["channel"], row["attempt"], row["sent_at"]) == ("sent", "whatsapp", 1, NOW)
    assert await notifications.names(row["notification_id"]) == [
        "NotificationRequested",
        "SendingStarted",
        "NotificationSent",
    ]


async def test_a_facilitator_is_told_whom_to_visit_and_where_over_their_own_channel_in_their_language(
    notifications: Notifications,
):
    own = contact(
        "staff:facilitator-1",
        name="Ratna",
        email="ratna@example.org",
        phone="+6281900000001",
        language=Language.ENGLISH,
        channels=(Channel.EMAIL,),
    )
    await notifications.given(own)
    await notifications.told(
        nominated("sari"), assigned("sari"), nominated("dewi"), case_opened("dewi"), follow_up_due("dewi", 3)
    )
    await notifications.send_all()
    mails = sorted(notifications.taken("email"), key=lambda line: line["subject"])
    assert [(line["to"], line["subject"], line["text"]) for line in mails] == [
        (
            "ratna@example.org",
            "Follow-up visit by 26 August 2024",
            "Hello Ratna, 3 month(s) have passed since Dewi Lestari in Kebon Ayu, Gerung, Kabupaten Lombok Barat "
            "completed the training. Please visit and record how they are doing, by 26 August 2024.",
        ),
        (
            "ratna@example.org",
            "Verification visit by 10 July 2024",
            "Hello Ratna, please visit Sari Lestari in Kebon Ayu, Gerung, Kabupaten Lombok Barat for verification, by "
            "10 July 2024. This was assigned on 1 July 2024 at 09:05 WITA.",
        ),
    ]


async def test_who_completed_is_congratulated(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"), completed("sari"))
    await notifications.send_all()
    [line] = [line for line in notifications.taken() if "lulus" in line["text"]]
    assert line["text"].startswith("Selamat Sari Lestari! Anda lulus pelatihan Kuliner dengan kehadiran 92 persen.")


async def test_the_facts_about_a_person_may_come_after_their_place(notifications: Notifications):
    await notifications.told(planned(), enrolled("sari"), enrolled("dewi", 2))
    async with notifications.sending():
        await notifications.told(nominated("dewi"))
        await eventually(lambda: _sent(notifications, 1), seconds=20)
        await notifications.told(nominated("sari"), verified("sari", phone="+6285300000000"))
        await eventually(lambda: _sent(notifications, 2), seconds=20)
    assert [line["to"] for line in notifications.taken()] == [PHONE, "+6285300000000"]


async def _sent(notifications: Notifications, count: int) -> bool:
    return len(await notifications.ledger(status="sent")) == count


# --- What is not sent, and why ----------------------------------------------------------------------------------------


async def test_each_reason_for_sending_nothing_is_in_the_ledger(notifications: Notifications):
    people = {
        "lost": nominated("lost"),
        "out": nominated("out"),
        "gone": nominated("gone"),
        "mute": nominated("mute", phone=None),
        "odd": nominated("odd", phone="081-not-a-number"),
        "long": nominated("long", phone=f"+{NIK}"),
        "unsafe": nominated("unsafe", name=f"Sari 5270.0101 / {NIK[8:]}"),
    }
    await notifications.told(*people.values(), planned())
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(people, 1)))
    await notifications.told(withdrawn("lost"), erased("gone"))
    await notifications.given(contact("out", opted_out=True))
    await notifications.told(nominated("visited"), assigned("visited"))  # The facilitator has no contact.
    await notifications.send_all()
    statuses = await notifications.statuses()
    assert {who: statuses["enrolment", who] for who in people} == {
        "lost": ("suppressed", "overtaken"),
        "out": ("suppressed", "opted_out"),
        "gone": ("suppressed", "erased"),
        "mute": ("suppressed", "no_address"),
        "odd": ("suppressed", "no_address"),
        "long": ("suppressed", "no_address"),
        "unsafe": ("failed", "unsafe_text"),
    }
    assert statuses["visit-assigned", "staff:facilitator-1"] == ("suppressed", "no_address")
    assert not any(notifications.taken(channel) for channel in Channel)


async def test_a_person_whose_key_is_destroyed_has_no_address_any_more(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    notifications.authority.erased.add("sari")
    await notifications.send_all()
    assert (await notifications.statuses())["enrolment", "sari"] == ("suppressed", "no_address")


async def test_what_a_switched_off_rule_wanted_before_is_not_sent(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    await notifications.given(adopted("enrolment", rule_version=2, active=False))
    await notifications.send_all()
    assert (await notifications.statuses())["enrolment", "sari"] == ("suppressed", "withdrawn")


async def test_what_could_not_be_sent_for_as_long_as_it_was_news_is_given_up(notifications: Notifications):
    await notifications.told(planned(), enrolled("nobody"))  # The registry's facts about them never come.
    assert await notifications.next_due() == NOW
    notifications.turn_to(NOW + timedelta(hours=48))
    await notifications.timers_run()
    assert (await notifications.statuses())["enrolment", "nobody"] == ("failed", "unreachable")


# --- Quiet hours ------------------------------------------------------------------------------------------------------


async def test_in_the_night_nothing_goes_out_and_the_clock_stops_in_the_morning(notifications: Notifications):
    notifications.turn_to(EVENING)
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    assert await notifications.next_due() == SEVEN
    await notifications.send_all()
    assert notifications.taken() == []
    notifications.turn_to(SEVEN)
    await notifications.send_all()
    assert len(notifications.taken()) == 1


async def test_what_was_late_anyway_does_not_go_out_in_the_night_either(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    notifications.turn_to(EVENING)  # The worker was away all day.
    await notifications.send_all()
    assert (notifications.taken(), await notifications.next_due()) == ([], SEVEN)
    notifications.turn_to(SEVEN)
    await notifications.send_all()
    assert len(notifications.taken()) == 1


# --- Channels ---------------------------------------------------------------------------------------------------------


def lanes(**senders: Recorded) -> dict[Channel, Lane]:
    return {Channel(name): Lane(Channel(name), sender) for name, sender in senders.items()}


async def test_after_a_refusal_the_next_channel_is_tried_and_after_the_last_it_failed(notifications: Notifications):
    whatsapp, sms = Recorded(), Recorded()
    await notifications.told(
        nominated("sari", phone="+6281100000001"), nominated("dewi", phone="+6281100000002"), planned()
    )
    await notifications.told(enrolled("sari"), enrolled("dewi", 2))
    whatsapp.endings = {f"+628110000000{n}": [Ending.REFUSED] for n in (1, 2)}
    sms.endings = {"+6281100000002": [Ending.REFUSED]}
    await notifications.send_all(lanes(whatsapp=whatsapp, sms=sms))
    assert {k[1]: v for k, v in (await notifications.statuses()).items() if k[0] == "enrolment"} == {
        "sari": ("sent", None),
        "dewi": ("failed", "refused"),
    }
    assert sorted(letter.to for letter in sms.letters) == ["+6281100000001", "+6281100000002"]
    [sari] = await notifications.ledger(recipient_id="sari", rule_id="enrolment")
    assert (sari["channel"], sari["attempt"], json.loads(sari["refused"])) == ("sms", 2, ["whatsapp"])


async def test_a_channel_without_a_sender_is_passed_over(notifications: Notifications):
    sms = Recorded()
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    await notifications.send_all(lanes(sms=sms))
    assert [letter.channel for letter in sms.letters] == ["sms"]


async def test_where_no_channel_has_a_sender_a_message_waits_and_after_a_refusal_it_failed(
    notifications: Notifications,
):
    whatsapp = Recorded()
    await notifications.told(
        nominated("sari", phone="+6281100000001"), nominated("dewi", phone="+6281100000002"), planned()
    )
    await notifications.given(contact("dewi", channels=(Channel.SMS,)))
    await notifications.told(enrolled("sari"), enrolled("dewi", 2))
    whatsapp.endings = {"+6281100000001": [Ending.REFUSED]}
    async with notifications.sending(lanes(whatsapp=whatsapp)):
        await eventually(lambda: _statuses_are(notifications, {"failed", "requested"}), seconds=20)
    assert (await notifications.statuses())["enrolment", "sari"] == ("failed", "refused")
    await notifications.send_all()  # The operator has found out.
    assert [line["to"] for line in notifications.taken("sms")] == ["+6281100000002"]


async def test_a_provider_that_is_away_holds_up_its_own_channel_only_and_loses_nothing(notifications: Notifications):
    away, well = Recorded(), Recorded()
    people = [f"p{n:02}" for n in range(40)]
    mailed = people[:20]
    await notifications.told(*(nominated(p, phone=f"+62811000000{n:02}") for n, p in enumerate(people)), planned())
    own = [contact(p, channels=(Channel.EMAIL,), email=f"{p}@example.org") for p in mailed]
    await notifications.given(*own)
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(people, 1)))
    away.endings = {f"{p}@example.org": [Ending.AWAY] * 3 for p in mailed}
    async with notifications.sending(lanes(whatsapp=well, email=away)):
        await eventually(lambda: _sent(notifications, 20), seconds=20)
        assert {letter.to[:3] for letter in well.letters} == {"+62"}
        away.endings.clear()
        # Who was tried is tried again when the programme's clock says so.
        notifications.turn_to(NOW + timedelta(minutes=1))
        await eventually(lambda: _sent(notifications, 40), seconds=60)
    assert len(away.letters) < 40, "one at a time asks whether the provider is back"
    assert set(Counter(letter.to for letter in away.letters if letter.attempt == 1).values()) == {1}


async def test_an_outage_that_outlasts_the_news_ends_as_unreachable_for_who_was_tried_and_who_waited(
    notifications: Notifications,
):
    away = Recorded()
    people = [f"p{n:02}" for n in range(20)]
    await notifications.told(*(nominated(p, phone=f"+62811000000{n:02}") for n, p in enumerate(people)), planned())
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(people, 1)))
    away.endings = {f"+62811000000{n:02}": [Ending.AWAY] * 99 for n in range(20)}
    async with notifications.sending(lanes(whatsapp=away, sms=Recorded())):

        async def all_wait_for_the_provider() -> bool:
            tried = await notifications.pool.fetchval("SELECT count(*) FROM delivery WHERE attempt > 0")
            waiting = await notifications.pool.fetchval("SELECT count(*) FROM put_off WHERE channel = 'whatsapp'")
            return bool(tried and waiting and tried + waiting >= 20)

        await eventually(all_wait_for_the_provider, seconds=30)
    notifications.turn_to(NOW + timedelta(hours=48))
    await notifications.timers_run()
    enrolments = await notifications.ledger(rule_id="enrolment")
    assert {(row["status"], row["because"]) for row in enrolments} == {("failed", "unreachable")}
    assert await notifications.pool.fetchval("SELECT count(*) FROM put_off") == 0


async def test_in_doubt_a_repeatable_provider_is_asked_again_with_the_same_id(notifications: Notifications):
    provider = Recorded()
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    provider.endings = {PHONE: [Ending.UNCLEAR, Ending.TAKEN]}
    async with notifications.sending(lanes(whatsapp=provider, sms=Recorded())):
        await eventually(lambda: _names(notifications, "AttemptFailed"), seconds=20)
        notifications.turn_to(NOW + timedelta(seconds=2))
        await eventually(lambda: _sent(notifications, 1), seconds=20)
    one, other = provider.letters
    assert one.id == other.id
    assert (one.attempt, other.attempt) == (1, 2)


async def _names(notifications: Notifications, name: str) -> bool:
    return name in await notifications.names()


async def test_in_doubt_another_provider_is_never_asked_again(notifications: Notifications):
    provider, next_one = Recorded(repeatable=False), Recorded()
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    provider.endings = {PHONE: [Ending.UNCLEAR]}
    await notifications.send_all(lanes(whatsapp=provider, sms=next_one))
    assert (await notifications.statuses())["enrolment", "sari"] == ("failed", "in_doubt")
    assert (len(provider.letters), len(next_one.letters)) == (1, 0)


async def test_a_sender_that_is_broken_is_an_alarm_and_holds_up_nobody_else(notifications: Notifications):
    class Broken(Recorded):
        async def send(self, letter: Letter) -> Outcome:
            if letter.to == PHONE:
                raise KeyError(letter.text)
            return await super().send(letter)

    broken = Broken()
    await notifications.told(nominated("sari"), nominated("dewi", phone="+6281100000002"), planned())
    await notifications.told(enrolled("sari"), enrolled("dewi", 2))
    with logged() as lines:
        async with notifications.sending(lanes(whatsapp=broken)):
            await eventually(lambda: _sent(notifications, 1), seconds=20)
    assert "a sender failed" in lines.read()
    assert "Lestari" not in lines.read()


async def test_a_message_that_cannot_be_decided_on_holds_up_no_other(notifications: Notifications):
    people = [f"p{n}" for n in range(12)]
    await notifications.told(*(nominated(p, phone=f"+62811000000{n:02}") for n, p in enumerate(people)), planned())
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(people, 1)))
    await notifications.pool.execute("UPDATE person SET sealed_by = 'another-event' WHERE participant_id = 'p5'")
    with logged() as lines:
        async with notifications.sending():
            await eventually(lambda: _sent(notifications, 11), seconds=20)
            await eventually(notifications.nothing_is_due, seconds=20)
    assert "a message cannot be decided on" in lines.read()
    assert (await notifications.statuses())["enrolment", "p5"] == ("requested", None)
    assert await notifications.next_due() == NOW + timedelta(minutes=10)


# --- Many -------------------------------------------------------------------------------------------------------------


async def test_two_workers_send_each_of_many_messages_once_a_bounded_number_at_a_time(notifications: Notifications):
    one, other = Recorded(repeatable=False), Recorded(repeatable=False)
    one.slowness = other.slowness = 0.002
    people = [f"p{n:03}" for n in range(150)]
    await notifications.told(*(nominated(p, phone=f"+6281100000{n:03}") for n, p in enumerate(people)), planned())
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(people, 1)))
    async with notifications.sending(lanes(whatsapp=one)), notifications.sending(lanes(whatsapp=other)):
        await eventually(lambda: _sent(notifications, 150), seconds=120)
    copies = Counter(letter.notification_id for letter in one.letters + other.letters)
    assert (len(copies), set(copies.values())) == (150, {1})
    assert one.letters, "both work"
    assert other.letters, "both work"
    assert max(one.most_at_once, other.most_at_once) <= 8


async def test_a_batch_takes_the_same_number_of_queries_however_many_it_holds(
    notifications: Notifications, monkeypatch: pytest.MonkeyPatch
):
    counted: list[tuple[int, int]] = []
    original = sending.Batch.decide

    async def counting(self: Any, tx: Any, ids: Any) -> None:
        queries = []
        with tx.connection.query_logger(lambda record: queries.append(record.query)):
            await original(self, tx, ids)
            await asyncio.sleep(0)  # The driver tells its loggers in the loop's next round.
        counted.append((len(ids), sum("typeinfo_tree" not in q and "'jit'" not in q for q in queries)))

    monkeypatch.setattr(sending.Batch, "decide", counting)
    people = [f"p{n:03}" for n in range(30)]
    await notifications.told(*(nominated(p, phone=f"+6281100000{n:03}") for n, p in enumerate(people)), planned())
    await notifications.told(enrolled("p000"))
    await notifications.send_all()
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(people[1:], 2)))
    await notifications.send_all()
    by_size = dict(counted)
    assert max(by_size) >= 8
    # One more where some have to wait for a slot.
    assert by_size[1] <= by_size[max(by_size)] <= by_size[1] + 1 <= 12


# --- Others are away --------------------------------------------------------------------------------------------------


async def test_while_the_registry_gives_no_keys_messages_wait(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    notifications.authority.away = True
    async with seat(notifications.workplace) as mine:
        desk = sending.Desk(notifications.context(), lanes(whatsapp=Recorded()), mine)
        with pytest.raises(KeysUnavailable):  # An outage: the kit runs the job again after a while.
            await desk.work()
    assert await notifications.names() == ["NotificationRequested"] * 2
    notifications.authority.away = False
    await notifications.send_all()
    assert len(notifications.taken()) == 1


async def test_what_a_dead_worker_was_sending_is_taken_up_by_another(notifications: Notifications):
    whatsapp, sms = Recorded(), Recorded(repeatable=False)
    people = {"sari": "+6281100000001", "dewi": "+6281100000002"}
    await notifications.told(*(nominated(p, phone=phone) for p, phone in people.items()), planned())
    await notifications.given(contact("dewi", channels=(Channel.SMS,)))
    await notifications.told(enrolled("sari"), enrolled("dewi", 2))
    whatsapp.slowness = sms.slowness = 3600
    dying = await asyncpg.connect(notifications.settings.database_url)
    name = "sender:dying"
    await dying.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", name)
    desk = sending.Desk(notifications.context(), lanes(whatsapp=whatsapp, sms=sms), sending.Seat(name, dying))
    assert await desk._start_what_is_due()
    for task in list(desk._under_way):
        task.cancel()

    # As long as it lives, nobody takes its messages.
    after, unused = Recorded(), Recorded(repeatable=False)
    async with notifications.sending(lanes(whatsapp=after, sms=unused)):
        await asyncio.sleep(0.6)
        assert {row["status"] for row in await notifications.ledger(rule_id="enrolment")} == {"sending"}
        await dying.close()
        await eventually(lambda: _statuses_are(notifications, {"requested", "failed"}), seconds=20)
        notifications.turn_to(NOW + timedelta(seconds=2))
        await eventually(lambda: _statuses_are(notifications, {"sent", "failed"}), seconds=20)
    assert (await notifications.statuses())["enrolment", "dewi"] == ("failed", "in_doubt")
    assert [(letter.to, letter.attempt) for letter in after.letters] == [("+6281100000001", 2)]
    assert unused.letters == []


async def _statuses_are(notifications: Notifications, wanted: set[str]) -> bool:
    return {row["status"] for row in await notifications.ledger(rule_id="enrolment")} == wanted


# --- What stays hidden ------------------------------------------------------------------------------------------------


class Lines:
    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None: ...

    def read(self) -> str:
        return "".join(self._parts)


@contextmanager
def logged() -> Iterator[Lines]:
    """Everything that is logged meanwhile, by us and by libraries, as a process writes it."""
    lines, root, before = Lines(), logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    configure_logging("DEBUG", lines)  # type: ignore[arg-type]
    try:
        yield lines
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**before)


async def test_no_name_number_address_or_text_is_in_a_log_line_an_event_a_table_or_a_metric(
    notifications: Notifications,
):
    provider, mails = Recorded(), Recorded(repeatable=False)
    with logged() as lines:
        await notifications.given(FACILITATOR)
        await notifications.told(
            nominated("sari"),
            nominated("dewi", name=f"Dewi {NIK}"),
            nominated("ani", phone="+6285300000000"),
            planned(),
        )
        await notifications.told(enrolled("sari"), enrolled("dewi", 2), enrolled("ani", 3), assigned("sari"))
        provider.endings = {PHONE: [Ending.AWAY, Ending.UNCLEAR], "+6285300000000": [Ending.REFUSED]}
        async with notifications.sending(lanes(whatsapp=provider, email=mails)):
            for minute in range(1, 4):
                await asyncio.sleep(0.7)
                notifications.turn_to(NOW + timedelta(minutes=minute))
            await eventually(notifications.nothing_is_due, seconds=20)
    assert provider.letters, "something was sent"
    values = [row["value"].decode() for row in await notifications.pool.fetch("SELECT value FROM log")]
    tables = [
        str(row) for table in ("delivery", "put_off", "contact", "person") for row in await _rows(notifications, table)
    ]
    said = {"lines": lines.read(), "log": "\n".join(values), "tables": "\n".join(tables)}
    said["metrics"] = generate_latest().decode()
    assert len(said["lines"]) > 100
    for where, text in said.items():
        for hidden in (NIK, "Lestari", "Ratna", PHONE[1:], "6285300000000", "ratna@", "Halo", "selamat!"):
            if not (where == "log" and hidden in ("Halo", "selamat!")):  # Templates are on the log.
                assert hidden not in text, (where, hidden)


async def _rows(notifications: Notifications, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await notifications.pool.fetch(f"SELECT * FROM {table}")]


async def test_each_look_at_a_name_is_in_the_read_log(notifications: Notifications):
    await notifications.told(nominated("sari"), planned(), enrolled("sari"))
    await notifications.send_all()
    rows = await notifications.pool.fetch("SELECT subject_id, purpose, reader FROM read_log")
    assert [(row["subject_id"], row["purpose"]) for row in rows] == [("sari", "notify")]
    assert rows[0]["reader"].startswith("sender:")
