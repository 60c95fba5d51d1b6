"""Each sender against a real provider of its kind: what is taken, refused, lost on the way, and what stays hidden."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contracts.notifications import Channel, Language
from deploy.local.daemon import free_ports
from services.notifications.senders import Ending, Letter
from services.notifications.senders.file_sink import FileSink
from services.notifications.senders.signatures import (
    SIGNATURE,
    TIMESTAMP,
    SecretInvalid,
    is_signed,
    read_secret,
    signed,
)
from services.notifications.senders.signed_http import REFUSALS, SignedHttp
from services.notifications.senders.smtp import Smtp
from tests.notifications.providers import SECRET, gateway, mail_server

KEY = read_secret(SECRET)
FROM = "Balatkop NTB <noreply@entas.test>"


def letter(number: int = 1, to: str = "+6281234567890", channel: Channel = Channel.WHATSAPP, **said: Any) -> Letter:
    what = {"subject": "Kabar baik", "text": "Halo Sari,\n.selamat: é – ✓", "language": Language.INDONESIAN} | said
    return Letter(notification_id=f"notification-{number}", attempt=1, channel=channel, to=to, **what)


def mail(number: int = 1, to: str = "sari@example.org", **said: Any) -> Letter:
    return letter(number, to, Channel.EMAIL, **said)


def test_a_letter_does_not_show_whom_it_goes_to_or_what_it_says():
    shown = repr(letter())
    assert "notification-1" in shown
    for hidden in ("6281234567890", "Halo", "Kabar"):
        assert hidden not in shown


# --- SMTP -------------------------------------------------------------------------------------------------------------


async def test_mail_arrives_as_it_was_written():
    async with mail_server() as server:
        sender = Smtp("127.0.0.1", server.port, FROM, starttls="no")
        assert (await sender.send(mail())).ending is Ending.TAKEN
        await sender.close()
    [taken] = server.taken
    assert taken["Message-ID"] == "<notification-1.email@entas.test>"
    assert (taken["From"], taken["To"]) == (FROM, "sari@example.org")
    assert (taken["Subject"], taken["Content-Language"]) == ("Kabar baik", "id")
    assert taken["Auto-Submitted"] == "auto-generated"
    assert taken.get_content().replace("\r\n", "\n") == "Halo Sari,\n.selamat: é – ✓\n"
    assert server.recipients == ["sari@example.org"]


async def test_connections_are_kept_and_one_that_the_server_closed_meanwhile_costs_no_letter():
    async with mail_server() as server:
        sender = Smtp("127.0.0.1", server.port, FROM, starttls="no")
        for number in range(5):
            assert (await sender.send(mail(number))).ending is Ending.TAKEN
        assert server.sessions == 1
        await server.stop()
        await server.start()
        assert (await sender.send(mail(6))).ending is Ending.TAKEN
        await sender.close()
    assert set(server.copies().values()) == {1}


@pytest.mark.parametrize(
    ("replies", "ending"),
    [
        ({"rcpt": {"sari@example.org": "550 no such user"}}, Ending.REFUSED),
        ({"rcpt": {"sari@example.org": "450 mailbox busy"}}, Ending.LATER),
        ({"rcpt": {"sari@example.org": "421 closing"}}, Ending.AWAY),
        ({"data": {"sari@example.org": "554 looks like spam"}}, Ending.REFUSED),
        ({"data": {"sari@example.org": "451 not now"}}, Ending.LATER),
        ({"data": {"sari@example.org": "nonsense"}}, Ending.UNCLEAR),
        ({"after_data": "break off"}, Ending.UNCLEAR),
    ],
)
async def test_what_a_mail_server_says_is_understood(replies: dict[str, Any], ending: Ending):
    async with mail_server(**replies) as server:
        sender = Smtp("127.0.0.1", server.port, FROM, starttls="no")
        assert (await sender.send(mail())).ending is ending
        # Whatever it was, the next letter is taken.
        server.after_data = "answer"
        assert (await sender.send(mail(2, "dewi@example.org"))).ending is Ending.TAKEN
        await sender.close()


async def test_a_mail_server_that_hangs_after_the_letter_leaves_it_unclear():
    async with mail_server(after_data="hang") as server:
        sender = Smtp("127.0.0.1", server.port, FROM, starttls="no", timeout_seconds=0.3)
        assert (await sender.send(mail())).ending is Ending.UNCLEAR
        await sender.close()


async def test_a_mail_server_that_is_not_there_or_is_none_has_not_taken_anything():
    sender = Smtp("127.0.0.1", free_ports(1)[0], FROM, starttls="no", timeout_seconds=1)
    assert (await sender.send(mail())).ending is Ending.AWAY

    for greeting, seconds in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", 1), (b"", 0.2)):
        async with something_that_says(greeting) as port:
            sender = Smtp("127.0.0.1", port, FROM, starttls="no", timeout_seconds=seconds)
            assert (await sender.send(mail())).ending is Ending.AWAY


@asynccontextmanager
async def something_that_says(greeting: bytes) -> AsyncIterator[int]:
    """A port on which something answers that is no mail server."""
    ended = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    await ended.wait()
    server.close()
    await server.wait_closed()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key_file)
    return file, context


async def test_mail_goes_over_starttls_with_a_password_to_a_server_that_proves_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file, context = certificate(tmp_path)
    async with mail_server(tls=context, password="right") as server:
        right = Smtp("localhost", server.port, FROM, user="entas", password="right", timeout_seconds=2)
        assert (await right.send(mail())).ending is Ending.AWAY, "nobody vouches for this certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert (await right.send(mail())).ending is Ending.TAKEN
        await right.close()
        wrong = Smtp("localhost", server.port, FROM, user="entas", password="wrong", timeout_seconds=2)
        assert (await wrong.send(mail(2))).ending is Ending.AWAY, "a wrong password is no fault of the letter's"
        plain = Smtp("localhost", server.port, FROM, starttls="no", timeout_seconds=2)
        assert (await plain.send(mail(3))).ending is Ending.AWAY
    assert len(server.taken) == 1


async def test_where_starttls_is_asked_for_nothing_goes_in_plain_text():
    async with mail_server() as server:
        assert (await Smtp("127.0.0.1", server.port, FROM, starttls="yes").send(mail())).ending is Ending.AWAY
        auto = Smtp("127.0.0.1", server.port, FROM, starttls="auto")
        assert (await auto.send(mail())).ending is Ending.TAKEN
        await auto.close()


# --- Signed HTTP ------------------------------------------------------------------------------------------------------


async def test_a_letter_is_asked_for_once_and_a_copy_is_known_by_its_id():
    async with gateway(KEY) as (provider, url):
        sender = SignedHttp(url, KEY)
        first, copy = await sender.send(letter()), await sender.send(letter())
        await sender.close()
    assert (first.ending, first.reference) == (Ending.TAKEN, "ref-notification-1.whatsapp")
    assert copy == first
    assert provider.asked == ["notification-1.whatsapp"] * 2
    assert provider.taken == {
        "notification-1.whatsapp": {
            "id": "notification-1.whatsapp",
            "channel": "whatsapp",
            "to": "+6281234567890",
            "language": "id",
            "subject": "Kabar baik",
            "text": "Halo Sari,\n.selamat: é – ✓",
        }
    }
    assert provider.unsigned == 0


async def test_a_letter_on_another_channel_is_no_copy():
    assert letter(channel=Channel.SMS).id != letter(channel=Channel.WHATSAPP).id


async def test_without_the_right_secret_nothing_is_taken_and_the_letter_is_not_lost():
    async with gateway(KEY) as (provider, url):
        sender = SignedHttp(url, b"x" * 32)
        assert (await sender.send(letter())).ending is Ending.AWAY
        await sender.close()
    assert (provider.unsigned, provider.taken) == (1, {})


@pytest.mark.parametrize(
    ("status", "ending"),
    [(200, Ending.TAKEN), (201, Ending.TAKEN), (204, Ending.TAKEN)]
    + [(status, Ending.REFUSED) for status in sorted(REFUSALS)]
    + [(status, Ending.AWAY) for status in (301, 302, 401, 403, 404, 405, 408, 429, 503)]
    + [(status, Ending.LATER) for status in (409, 425)]
    + [(status, Ending.UNCLEAR) for status in (500, 502, 504)],
)
async def test_what_a_provider_answers_is_understood(status: int, ending: Ending):
    async with gateway(KEY, status=status, body=b"") as (_, url):
        sender = SignedHttp(url, KEY)
        assert (await sender.send(letter())).ending is ending
        await sender.close()


@pytest.mark.parametrize("how", ["hang", "take and hang", "drip"])
async def test_a_provider_that_hangs_or_never_ends_its_answer_is_left_in_time(how: str):
    async with gateway(KEY, how=how) as (provider, url):
        sender = SignedHttp(url, KEY, timeout_seconds=0.3)
        async with asyncio.timeout(5):
            assert (await sender.send(letter())).ending is Ending.UNCLEAR
        await sender.close()
        provider.released.set()


async def test_a_provider_that_is_not_there_has_taken_nothing():
    sender = SignedHttp(f"http://127.0.0.1:{free_ports(1)[0]}/messages", KEY)
    assert (await sender.send(letter())).ending is Ending.AWAY
    await sender.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"ok",
        b"[]",
        b"null",
        b'{"reference": 5}',
        b'{"reference": "a b"}',
        b'{"reference": "' + b"x" * 129 + b'"}',
        b'{"reference": "sent-to-6281234567890"}',
        b'{"reference": "sent-to-4567890"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"reference": "ok", "padding": "' + b"x" * 100_000 + b'"}',
    ],
)
async def test_a_reference_that_is_none_or_tells_the_number_is_not_kept(said: bytes):
    async with gateway(KEY, body=said) as (_, url):
        sender = SignedHttp(url, KEY)
        outcome = await sender.send(letter())
        await sender.close()
    assert (outcome.ending, outcome.reference) == (Ending.TAKEN, None)


# --- Signatures -------------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_scheme():
    """The values that the scheme's reference library (standardwebhooks 1.1.0, Python) gives for its own test secret."""
    headers = signed(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers[SIGNATURE] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_holds_for_one_body_id_time_and_secret():
    headers = signed(KEY, "id-1", 1000, b"body")
    assert is_signed([b"y" * 32, KEY], headers, b"body", 1299)
    for wrong in (
        is_signed([KEY], headers, b"Body", 1000),
        is_signed([b"y" * 32], headers, b"body", 1000),
        is_signed([], headers, b"body", 1000),
        is_signed([KEY], headers | {"webhook-id": "id-2"}, b"body", 1000),
        is_signed([KEY], headers | {TIMESTAMP: "1001"}, b"body", 1000),
        is_signed([KEY], headers, b"body", 1301),
        is_signed([KEY], headers, b"body", 699),
        is_signed([KEY], {}, b"body", 1000),
        is_signed([KEY], headers | {TIMESTAMP: "-5"}, b"body", 1000),
        is_signed([KEY], headers | {TIMESTAMP: "٥"}, b"body", 1000),
        is_signed([KEY], headers | {TIMESTAMP: "9" * 5000}, b"body", 1000),
        is_signed([KEY], headers | {SIGNATURE: headers[SIGNATURE].replace("v1,", "v2,")}, b"body", 1000),
        is_signed([KEY], headers | {SIGNATURE: "é"}, b"body", 1000),
    ):
        assert not wrong
    several = headers | {SIGNATURE: f"v1,{b64encode(b'0' * 32).decode()} {headers[SIGNATURE]}"}
    assert is_signed([KEY], several, b"body", 1000)


@pytest.mark.parametrize(
    "text", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_é", "whsec_=="]
)
def test_what_is_no_secret_is_refused_without_being_shown(text: str):
    with pytest.raises(SecretInvalid) as invalid:
        read_secret(text)
    assert not text or text not in str(invalid.value).replace("whsec_", "", 1) or text == "whsec_"


# --- Files ------------------------------------------------------------------------------------------------------------


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "whatsapp.jsonl").read_text().splitlines()]


async def test_a_file_has_each_letter_once_also_for_another_process(tmp_path: Path):
    one, other = (FileSink(tmp_path, Channel.WHATSAPP) for _ in range(2))
    for sender in (one, one, other):
        assert (await sender.send(letter())).ending is Ending.TAKEN
    await other.send(letter(2))
    await one.send(letter(2))
    assert [line["id"] for line in lines(tmp_path)] == ["notification-1.whatsapp", "notification-2.whatsapp"]
    [first, _] = lines(tmp_path)
    assert (first["to"], first["text"], first["subject"]) == (letter().to, letter().text, "Kabar baik")


async def test_a_line_that_was_cut_short_was_never_taken(tmp_path: Path):
    sender = FileSink(tmp_path, Channel.WHATSAPP)
    await sender.send(letter())
    with (tmp_path / "whatsapp.jsonl").open("a") as file:
        file.write('{"id": "notification-2.whatsapp", "te')
    for again in (sender, FileSink(tmp_path, Channel.WHATSAPP)):
        assert (await again.send(letter(2))).ending is Ending.TAKEN
    assert [line["id"] for line in lines(tmp_path)] == ["notification-1.whatsapp", "notification-2.whatsapp"]


async def test_a_folder_that_cannot_be_written_takes_nothing(tmp_path: Path):
    (tmp_path / "occupied").write_text("")
    assert (await FileSink(tmp_path / "occupied", Channel.SMS).send(letter())).ending is Ending.AWAY


def write_many(folder: str) -> None:
    async def write() -> None:
        sender = FileSink(Path(folder), Channel.WHATSAPP)
        for number in range(100):
            await sender.send(letter(number))

    asyncio.run(write())


def test_two_processes_that_write_at_once_double_and_tear_nothing(tmp_path: Path):
    start = get_context("spawn")
    writers = [start.Process(target=write_many, args=(str(tmp_path),)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert sorted(line["id"] for line in lines(tmp_path)) == sorted(letter(n).id for n in range(100))
