"""The job against real providers that die, hang, fail and refuse: nothing is lost, and other channels go on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from contracts.notifications import Channel
from services.kit.jobs import run_job
from services.notifications.deliveries import sending
from services.notifications.senders import lanes
from services.notifications.senders.lanes import Lane, lanes_from
from services.notifications.senders.signatures import read_secret
from services.notifications.senders.signed_http import SignedHttp
from tests.notifications.conftest import Notifications, notifications_at
from tests.notifications.facts import NOW, defaults, enrolled, nominated, planned
from tests.notifications.providers import SECRET, Gateway, MailServer, gateway, mail_server
from tests.notifications.test_sending import Recorded, contact
from tests.support.lab import eventually

PEOPLE = [f"p{n:02}" for n in range(24)]
BY_MAIL, BY_PHONE = PEOPLE[::2], PEOPLE[1::2]


@dataclass
class Place:
    notifications: Notifications
    mail: MailServer
    provider: Gateway
    minutes: int = 0

    async def count(self, status: str, channel: str) -> int:
        rows = await self.notifications.ledger(rule_id="enrolment", status=status)
        return len([row for row in rows if row["channel"] == channel])

    async def sent(self, channel: str, count: int) -> bool:
        return await self.count("sent", channel) == count

    async def somebody_is_in_doubt(self) -> bool:
        return any(row["in_doubt"] for row in await self.notifications.ledger(rule_id="enrolment"))

    def minute_passes(self) -> None:
        """What was tried in vain is tried again."""
        self.minutes += 1
        self.notifications.turn_to(NOW + timedelta(minutes=self.minutes))


@pytest.fixture
async def place(bare: Notifications, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """Half of the people are told by mail, half over HTTP; nothing else is configured."""
    monkeypatch.setattr(lanes, "LONGEST_PAUSE_SECONDS", 0.5)
    (tmp_path / "place").mkdir()
    async with AsyncExitStack() as opened:
        mail = await opened.enter_async_context(mail_server())
        provider, url = await opened.enter_async_context(gateway(read_secret(SECRET)))
        notifications = await opened.enter_async_context(
            notifications_at(
                bare.settings.database_url,
                tmp_path / "place",
                sender_whatsapp=url,
                sender_whatsapp_secret=SECRET,
                sender_sms=None,
                sender_email=f"smtp://127.0.0.1:{mail.port}?starttls=no",
                sender_email_from="noreply@entas.test",
            )
        )
        await notifications.given(*defaults())
        people = [nominated(p, phone=f"+62811000000{n:02}") for n, p in enumerate(PEOPLE)]
        await notifications.told(*people, planned())
        await notifications.given(*(contact(p, channels=(Channel.EMAIL,), email=f"{p}@example.org") for p in BY_MAIL))
        await notifications.told(*(enrolled(person, n) for n, person in enumerate(PEOPLE, 1)))
        yield Place(notifications, mail, provider)


async def test_a_mail_server_is_dead_for_a_while(place: Place):
    await place.mail.stop()
    async with place.notifications.sending():
        await eventually(lambda: place.sent("whatsapp", 12), seconds=30)
        assert place.mail.taken == []
        await place.mail.start()

        async def all_are_told() -> bool:
            place.minute_passes()
            return await place.sent("email", 12)

        await eventually(all_are_told, seconds=60)
    assert sorted(place.mail.recipients) == sorted(f"{p}@example.org" for p in BY_MAIL)
    tried = [row["attempt"] for row in await place.notifications.ledger(rule_id="enrolment", channel="email")]
    assert max(tried) > 1


async def test_a_mail_server_dies_in_the_middle(place: Place):
    """Whoever was being told is in doubt at most; everybody else is told, nobody twice."""
    place.mail.on_taken = lambda: place.mail.break_off() if len(place.mail.taken) == 4 else None
    async with place.notifications.sending():
        await eventually(lambda: place.sent("whatsapp", 12), seconds=30)

        async def nobody_waits() -> bool:
            place.minute_passes()
            return await place.count("sent", "email") + await place.count("failed", "email") == 12

        await eventually(nobody_waits, seconds=60)
    assert set(place.mail.copies().values()) == {1}
    failed = await place.notifications.ledger(rule_id="enrolment", status="failed")
    assert {row["because"] for row in failed} <= {"in_doubt"}
    assert len(place.mail.taken) + len(failed) >= 12
    assert failed, "somebody's answer was lost"


@pytest.mark.parametrize("how", ["hang", "take and hang", "take and fail"])
async def test_a_provider_hangs_or_fails_and_has_taken_the_message_or_not(place: Place, how: str):
    place.provider.how = how
    own = lanes_from(place.notifications.settings)
    own[Channel.WHATSAPP].sender = SignedHttp(
        str(place.notifications.settings.sender_whatsapp), read_secret(SECRET), timeout_seconds=0.5
    )
    async with place.notifications.sending(own):
        await eventually(lambda: place.sent("email", 12), seconds=30)
        await eventually(place.somebody_is_in_doubt, seconds=30)
        place.provider.how = "answer"
        place.provider.released.set()

        async def all_are_told() -> bool:
            place.minute_passes()
            return await place.sent("whatsapp", 12)

        await eventually(all_are_told, seconds=60)
    assert len(place.provider.taken) == 12, "each once"
    assert len(place.provider.asked) > 12


async def test_a_provider_answers_500_for_a_while(place: Place):
    place.provider.status = 500
    async with place.notifications.sending():
        await eventually(lambda: place.sent("email", 12), seconds=30)
        assert await place.count("sent", "whatsapp") == 0
        place.provider.status = 202

        async def all_are_told() -> bool:
            place.minute_passes()
            return await place.sent("whatsapp", 12)

        await eventually(all_are_told, seconds=60)
    assert len(place.provider.taken) == 12


async def test_one_message_that_makes_a_provider_fail_holds_up_no_other(place: Place):
    place.provider.statuses = {"+6281100000001": 500}
    async with place.notifications.sending():

        async def all_others_are_told() -> bool:
            place.minute_passes()
            return await place.sent("whatsapp", 11)

        await eventually(all_others_are_told, seconds=60)
    [poison] = await place.notifications.ledger(rule_id="enrolment", status="requested")
    assert (poison["recipient_id"], poison["in_doubt"]) == ("p01", True)


async def test_a_provider_refuses_for_good_and_there_is_no_other_way(place: Place):
    place.provider.status = 422
    async with place.notifications.sending():
        await eventually(lambda: place.sent("email", 12), seconds=30)

        async def all_failed() -> bool:
            rows = await place.notifications.ledger(rule_id="enrolment", status="failed")
            return len(rows) == 12

        await eventually(all_failed, seconds=30)
    assert {row["because"] for row in await place.notifications.ledger(status="failed")} == {"refused"}
    assert len(place.provider.asked) == 12, "nobody is asked twice"


async def test_the_databases_connections_are_cut_while_messages_are_on_their_way(
    notifications: Notifications, monkeypatch: pytest.MonkeyPatch
):
    """What a provider has taken is recorded when the database is back, and by nobody asked for again."""
    once = Recorded(repeatable=False)
    once.slowness = 0.4
    monkeypatch.setattr(sending, "lanes_from", lambda _: {Channel.WHATSAPP: Lane(Channel.WHATSAPP, once)})
    people = [nominated(p, phone=f"+62811000000{n:02}") for n, p in enumerate(PEOPLE)]
    await notifications.told(*people, planned(), *(enrolled(person, n) for n, person in enumerate(PEOPLE, 1)))
    stopping = asyncio.Event()
    running = asyncio.create_task(run_job(sending.send_notifications, notifications.context(stopping)))
    superuser = await asyncpg.connect(notifications.settings.database_url)

    async def something_is_on_its_way() -> bool:
        return once.at_once > 0

    for _ in range(2):
        await eventually(something_is_on_its_way, seconds=30)
        await superuser.execute(
            """
            SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE datname = current_database()
              AND pid <> pg_backend_pid()
            """
        )

    async def everybody_is_told() -> bool:
        return bool(await superuser.fetchval("SELECT count(*) FROM delivery WHERE status = 'sent'") == len(PEOPLE))

    await eventually(everybody_is_told, seconds=60)
    stopping.set()
    await running
    await superuser.close()
    assert set(Counter(letter.notification_id for letter in once.letters).values()) == {1}
