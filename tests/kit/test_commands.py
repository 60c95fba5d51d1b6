"""The commands over the log, as an operator gives them: what they print, what they end with, and what they leave."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.kit.issuer import ISSUER
from tests.kit.test_intake import message, read_up_to, send, taking_in
from tests.kit.test_process import LAB_SERVICE
from tests.kit.test_relay import outbox_is_empty
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab, Site, eventually, make_topics, migrate_lab, site
from tests.support.nursery import Nursery, nursery


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.forget()


@pytest.fixture(scope="module")
def commands() -> Iterator[Nursery]:
    with nursery(LAB_SERVICE, environment={}) as made:
        yield made


async def command(commands: Nursery, place: Site, kafka: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs `python -m services.<the lab> …`, as it were; its exit code and all that it printed."""
    key = folder / "master.key"
    key.write_text("00" * 32)
    settings = {
        "LAB": place.lab.service,
        "ENTAS_ENVIRONMENT": "test",
        "ENTAS_DATABASE_URL": place.dsn,
        "ENTAS_KAFKA_BOOTSTRAP": kafka,
        "ENTAS_TOKEN_ISSUER": ISSUER,
        "ENTAS_JWKS_URL": "https://issuer.entas.test/jwks",
        "ENTAS_MASTER_KEY_FILE": str(key),
    }
    printed = folder / f"{secrets.token_hex(4)}.log"
    child = commands.start(LAB_SERVICE, *arguments, environment=settings, log_file=printed)
    code = await asyncio.wait_for(asyncio.wrap_future(child.ended), 60)
    assert "Traceback" not in printed.read_text(), printed.read_text()
    return code, printed.read_text()


async def test_an_operator_compares_replays_and_looks_at_cursors(
    lab: Lab, commands: Nursery, fresh_database: FreshDatabase, kafka: str, tmp_path: Path
):
    await make_topics(kafka, lab)
    async with site(lab, fresh_database) as place:
        await send(kafka, lab.partner_topic, [message(lab, f"m{n}", amount=2) for n in range(5)])
        async with taking_in(place, kafka):
            await eventually(lambda: read_up_to(place, 5))
            await eventually(lambda: outbox_is_empty(place))
        assert await place.totals() == {"c1": (5, 10)}

        status, told = await command(commands, place, kafka, tmp_path, "diff")
        assert (status, told.strip().endswith("5 facts folded, everything up to now: the same")) == (0, True), told

        await place.pool.execute("UPDATE counter SET total = 11, sealed = 'a secret'")
        status, told = await command(commands, place, kafka, tmp_path, "rebuild", "--check", "counter")
        assert status == 1, told
        assert "total: live 11, by the facts 10" in told
        assert "sequence 4, occurred" in told
        assert "a secret" not in told
        assert "sealed: live sha256:" in told

        empty = await fresh_database("lab", migrate_lab)
        status, told = await command(commands, place, kafka, tmp_path, "replay", "--into", empty, "--as-of", "2")
        assert status == 0, told
        assert "3 facts folded into" in told
        past = await asyncpg.connect(empty)
        assert await past.fetchval("SELECT total FROM counter") == 6
        await past.close()

        refused = {
            ("replay", "--into", empty): "not empty",
            ("replay", "--into", empty, "--as-of", "yesterday"): "give a sequence (1041) or a time with its zone",
            ("rebuild", "counter"): "own facts",
            ("diff", "counters"): "has no table counters; it has: counter, part, rejection",
        }
        for arguments, words in refused.items():
            status, told = await command(commands, place, kafka, tmp_path, *arguments)
            assert status != 0
            assert words in told, told

        for arguments, words in {
            ("recover",): "nothing is missing; 5 events are sealed here",
            ("reseed",): "nothing was missing",
            ("rebuild",): "there is nothing to rebuild",
            ("cursors", "--reseeded"): f"{lab.partner_topic}/0",
        }.items():
            status, told = await command(commands, place, kafka, tmp_path, *arguments)
            assert (status, words in told) == (0, True), told
