"""The real worker is killed (-9) between the log and the provider, on either side: nobody is told twice.

Real processes, PostgreSQL, Kafka, mail server and HTTP provider; each worker is started again as soon as it has died.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from contracts.notifications import Channel
from contracts.topics import TOPICS
from deploy.local.daemon import Daemon, free_ports
from services.kit.database import migrate
from services.kit.topics import create_topics
from services.notifications.__main__ import SERVICE
from services.notifications.senders.lanes import AT_ONCE
from services.notifications.senders.signatures import read_secret
from tests.notifications.conftest import Notifications, notifications_at
from tests.notifications.facts import NOW, defaults, enrolled, nominated, planned
from tests.notifications.providers import SECRET, gateway, mail_server
from tests.notifications.test_sending import contact
from tests.support.stack import Stack

PEOPLE = [f"p{n:02}" for n in range(30)]
POINTS = "sending-started-not-sent:5,sent-not-recorded:9"
"""At which passage each kills the process; each does once."""


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """For each test: a log and its topics belong together, and a worker refuses those of another history."""
    with Stack() as running:
        yield running


@pytest.fixture
async def kafka_of_its_own(own_stack: Stack) -> str:
    """With every topic that the worker reads or writes."""
    bootstrap = await asyncio.to_thread(lambda: own_stack.kafka)
    for owner in sorted({topic.owner for topic in TOPICS.values()}):
        await create_topics(bootstrap, owner, 1)
    return bootstrap


@pytest.fixture
async def dsn(own_stack: Stack) -> str:
    server = await asyncio.to_thread(lambda: own_stack.postgres)
    superuser = await asyncpg.connect(server)
    await superuser.execute("CREATE DATABASE killed")
    await superuser.close()
    url = urlsplit(server)._replace(path="/killed").geturl()
    await asyncio.to_thread(migrate, url, SERVICE.migrations)
    return url


@asynccontextmanager
async def supervised(
    stack: Stack, kafka: str, notifications: Notifications, marks: Path, workers: int
) -> AsyncIterator[list[Daemon]]:
    """So many workers, each started again when it has died; gives every process that ran."""
    environment = notifications.environment | {
        "ENTAS_KAFKA_BOOTSTRAP": kafka,
        "ENTAS_CRASH_POINTS": POINTS,
        "ENTAS_CRASH_ONCE_DIR": str(marks),
    }
    ports, ran, stopping = free_ports(workers), [], asyncio.Event()

    async def look_after(number: int) -> None:
        own = environment | {"ENTAS_WORKER_PORT": str(ports[number])}
        daemon: Daemon | None = None
        while not stopping.is_set():
            if daemon is None or daemon.pid() is None:
                command = ["python", "-m", "services.notifications", "worker"]
                name = f"{marks.name}-{number}-{len(ran)}"
                daemon = await asyncio.to_thread(stack.launch, name, command, own)
                ran.append(daemon)
            await asyncio.sleep(0.05)
        assert daemon is not None
        await asyncio.to_thread(daemon.kill)

    tasks = [asyncio.create_task(look_after(number)) for number in range(workers)]
    try:
        yield ran
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def everybody_is_to_be_told(notifications: Notifications, by_mail: list[str]) -> None:
    await notifications.given(*defaults())
    await notifications.told(*(nominated(p, phone=f"+62811000000{n:02}") for n, p in enumerate(PEOPLE)), planned())
    await notifications.given(*(contact(p, channels=(Channel.EMAIL,), email=f"{p}@example.org") for p in by_mail))
    await notifications.told(*(enrolled(person, place) for place, person in enumerate(PEOPLE, 1)))


async def all_ended(notifications: Notifications) -> bool:
    rows = await notifications.ledger(rule_id="enrolment")
    return all(row["status"] in ("sent", "failed") for row in rows)


@pytest.mark.parametrize(
    ("by_mail", "workers"), [(PEOPLE, 1), ([], 1), (PEOPLE[::2], 2)], ids=["mail", "http", "both, two workers"]
)
async def test_a_worker_that_is_killed_on_either_side_of_sending_tells_nobody_twice(
    own_stack: Stack, kafka_of_its_own: str, dsn: str, tmp_path: Path, by_mail: list[str], workers: int
):
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(mail_server())
        provider, url = await opened.enter_async_context(gateway(read_secret(SECRET)))
        senders = {
            "sender_whatsapp": url,
            "sender_whatsapp_secret": SECRET,
            "sender_sms": None,
            "sender_email": f"smtp://127.0.0.1:{server.port}?starttls=no",
            "sender_email_from": "Balatkop NTB <noreply@entas.test>",
        }
        notifications = await opened.enter_async_context(notifications_at(dsn, tmp_path, **senders))
        await everybody_is_to_be_told(notifications, by_mail)
        marks = tmp_path / "reached"
        marks.mkdir()
        ran = await opened.enter_async_context(supervised(own_stack, kafka_of_its_own, notifications, marks, workers))
        minutes = 0
        while len(list(marks.iterdir())) < 2 or not await all_ended(notifications):
            # What is asked again waits by the programme's clock.
            minutes += 1
            assert minutes < 240, [daemon.log_tail(20) for daemon in ran]
            notifications.turn_to(NOW + timedelta(minutes=minutes))
            await asyncio.sleep(0.5)

        rows = await notifications.ledger(rule_id="enrolment")
        mails = {row["notification_id"]: row for row in rows if row["channel"] == "email"}
        posts = {row["notification_id"]: row for row in rows if row["channel"] == "whatsapp"}
        assert (len(mails), len(posts)) == (len(by_mail), len(PEOPLE) - len(by_mail))

        # Over HTTP everybody was told, once, also who had to be asked for twice.
        assert {row["status"] for row in posts.values()} <= {"sent"}
        assert sorted(provider.taken) == sorted(f"{id_}.whatsapp" for id_ in posts)
        asked_twice = [id_ for id_, times in Counter(provider.asked).items() if times > 1]
        assert asked_twice or by_mail

        # By mail nobody was told twice. In doubt is who was being told when a worker died, and nobody else: some were
        # told, some were not, and nobody can say which.
        told = {message_id[1:].partition(".")[0] for message_id in server.copies()}
        assert set(server.copies().values()) <= {1}
        doubted = {id_ for id_, row in mails.items() if row["status"] == "failed"}
        assert {mails[id_]["because"] for id_ in doubted} <= {"in_doubt"}
        assert mails.keys() - told <= doubted
        assert len(doubted) <= 2 * AT_ONCE, "for each death no more than a worker sends at once"
        if by_mail == PEOPLE:
            assert doubted & told
            assert doubted - told

        for row in rows:
            names = await notifications.names(row["notification_id"])
            assert names[0] == "NotificationRequested"
            assert names.count("NotificationSent") + names.count("NotificationFailed") == 1
        assert_nothing_shows(ran)


def assert_nothing_shows(ran: list[Daemon]) -> None:
    for daemon in ran:
        log = daemon.log_file.read_text()
        for hidden in ("Lestari", "62811000000", "example.org", "Halo", "Traceback"):
            assert hidden not in log, (daemon.name, hidden)
