"""A sender over SMTP. No mail server tells copies, so a letter is handed over once at most."""

import asyncio
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_LINES
from email.utils import formatdate, parseaddr
from typing import Literal

import aiosmtplib
from aiosmtplib import SMTPException, SMTPRecipientRefused, SMTPResponseException

from services.notifications.senders import Ending, Letter, Outcome

TIMEOUT_SECONDS = 10.0
_HAND_OVER_SECONDS = 30.0
_CLOSING = 421  # "service not available, closing transmission channel"

StartTls = Literal["yes", "auto", "no"]

_NOT_CONNECTED = (SMTPException, OSError, ValueError)  # ValueError: what the server said was no SMTP.


class Smtp:
    """Keeps connections for the next letters. The Message-ID follows from the letter: some servers drop copies by it,
    none promises to."""

    repeatable = False

    def __init__(
        self,
        host: str,
        port: int,
        sent_from: str,
        *,
        tls: bool = False,
        starttls: StartTls = "yes",
        user: str | None = None,
        password: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._address = (host, port)
        self._sent_from = sent_from
        self._envelope_from = parseaddr(sent_from)[1]
        self._tls = tls
        self._starttls = {"yes": True, "auto": None, "no": False}[starttls]
        self._user, self._password = user, password
        self._timeout = timeout_seconds
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, letter: Letter) -> Outcome:
        written = self._written(letter)
        try:
            client = await self._connected()
        except _NOT_CONNECTED:
            return Outcome(Ending.AWAY)
        outcome = None
        try:
            outcome = await self._hand_over(client, letter.to, written)
            return outcome
        finally:
            if outcome is not None and outcome.ending in (Ending.TAKEN, Ending.REFUSED, Ending.LATER):
                self._idle.append(client)
            else:
                client.close()

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connected(self) -> aiosmtplib.SMTP:
        while self._idle:
            client = self._idle.pop()
            try:
                # A server may have closed a connection that lay idle.
                await client.rset()
            except _NOT_CONNECTED:
                client.close()
            else:
                return client
        host, port = self._address
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            timeout=self._timeout,
            use_tls=self._tls,
            start_tls=False if self._tls else self._starttls,
            username=self._user,
            password=self._password,
        )
        try:
            async with asyncio.timeout(3 * self._timeout):
                await client.connect()
        except BaseException:
            client.close()
            raise
        return client

    async def _hand_over(self, client: aiosmtplib.SMTP, to: str, written: bytes) -> Outcome:
        try:
            await client.mail(self._envelope_from)
            await client.rcpt(to)
        except SMTPRecipientRefused as refusal:
            return Outcome(_said_no(refusal.code) or Ending.AWAY)
        except _NOT_CONNECTED:
            # Whom we are, the server does not like, or it is gone: nothing was handed over.
            return Outcome(Ending.AWAY)
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await client.data(written)
        except SMTPResponseException as refusal:
            return Outcome(_said_no(refusal.code) or Ending.UNCLEAR)
        except _NOT_CONNECTED:
            return Outcome(Ending.UNCLEAR)
        return Outcome(Ending.TAKEN)

    def _written(self, letter: Letter) -> bytes:
        message = EmailMessage(policy=SMTP_LINES.clone(cte_type="7bit"))
        message["Message-ID"] = f"<{letter.id}@{self._envelope_from.rpartition('@')[2]}>"
        message["Date"] = formatdate()
        message["From"] = self._sent_from
        message["To"] = Address(addr_spec=letter.to)
        message["Subject"] = letter.subject
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        message["Content-Language"] = letter.language  # Content headers that stood before the content were removed.
        return bytes(message)


def _said_no(code: int) -> Ending | None:
    """What a reply's code means (RFC 5321, 4.2.1): 5xx never, 4xx not now; None for what is no refusal at all."""
    if 500 <= code <= 599:
        return Ending.REFUSED
    if code == _CLOSING:
        return Ending.AWAY
    return Ending.LATER if 400 <= code <= 499 else None
