"""Real local providers: a mail server and an HTTP gateway, which take, refuse, fail, hang and break off as told."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from deploy.local.daemon import free_ports
from services.notifications.senders.signatures import is_signed
from tests.kit.serving import served

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class _Watched(SMTP):
    """Remembers its connections, so that a server that dies breaks them off, also those that never said EHLO."""

    def __init__(self, transports: set[Any], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._watched = transports

    def connection_made(self, transport: Any) -> None:
        self._watched.add(transport)
        super().connection_made(transport)


# --- Mail -------------------------------------------------------------------------------------------------------------


@dataclass
class MailServer:
    """What it has taken, and how it answers the next: `rcpt`, `data` are replies, `after_data` what happens then."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    taken: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    rcpt: dict[str, str] = field(default_factory=dict)  # by address
    data: dict[str, str] = field(default_factory=dict)
    after_data: str = "answer"  # "answer", "break off", "hang"
    sessions: int = 0
    tls: ssl.SSLContext | None = None
    password: str | None = None
    on_taken: Callable[[], None] = lambda: None
    _server: "asyncio.Server | None" = None
    _transports: set[Any] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Dies: the port is closed, and every connection broken off."""
        if self._server is None:
            return
        self._server.close()
        self.break_off()
        await self._server.wait_closed()
        self._server = None
        await asyncio.sleep(0.01)  # What is broken off ends in the loop's next rounds.

    def break_off(self) -> None:
        """Every connection is lost, whatever was being said."""
        for transport in list(self._transports):
            transport.abort()

    def _session(self) -> SMTP:
        self.sessions += 1
        options: dict[str, Any] = {}
        if self.tls is not None:
            options |= {"tls_context": self.tls, "require_starttls": True}
        if self.password is not None:
            options |= {"authenticator": self._authenticate, "auth_required": True, "auth_require_tls": bool(self.tls)}
        return _Watched(self._transports, self, hostname="mail.test", loop=asyncio.get_running_loop(), **options)

    def _authenticate(self, _s: Any, _session: Any, _e: Any, _mechanism: str, data: Any) -> AuthResult:
        ok = isinstance(data, LoginPassword) and data.password == (self.password or "").encode()
        return AuthResult(success=ok, handled=False)

    async def handle_RCPT(self, _server: SMTP, _s: Session, envelope: Envelope, address: str, _o: list[str]) -> str:
        if refusal := self.rcpt.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        [address] = envelope.rcpt_tos
        if refusal := self.data.get(address):
            return refusal
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy)
        assert isinstance(message, EmailMessage)
        self.taken.append(message)
        self.recipients.append(address)
        self.on_taken()
        if self.after_data == "break off":
            server.transport.abort()
        if self.after_data == "hang":
            await asyncio.sleep(3600)
        return "250 taken"

    def copies(self) -> Counter[str]:
        """How often each letter was taken, by Message-ID."""
        return Counter(str(message["Message-ID"]) for message in self.taken)


@asynccontextmanager
async def mail_server(**how: Any) -> AsyncIterator[MailServer]:
    server = MailServer(**how)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


# --- HTTP -------------------------------------------------------------------------------------------------------------


@dataclass
class Gateway:
    """A provider that keeps what it has taken by Idempotency-Key, and answers a copy as it did the first."""

    secret: bytes
    asked: list[str] = field(default_factory=list)  # ids, in the order of requests
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    unsigned: int = 0
    status: int = 202
    statuses: dict[str, int] = field(default_factory=dict)  # by phone number
    body: bytes | None = None  # instead of a reference
    how: str = "answer"  # "answer", "hang", "take and hang", "drip", "take and fail"
    on_taken: Callable[[], None] = lambda: None
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/messages", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        if not is_signed([self.secret], request.headers, body, self._seconds(request)):
            self.unsigned += 1
            return Response(status_code=401)
        said, id_ = await request.json(), request.headers["idempotency-key"]
        assert said["id"] == id_ == request.headers["webhook-id"]
        self.asked.append(id_)
        if self.how == "hang":
            await self.released.wait()
            return Response(status_code=500)
        status = self.statuses.get(said["to"], self.status)
        if not 200 <= status < 300:
            return Response(b"" if self.body is None else self.body, status)
        first = id_ not in self.taken
        self.taken.setdefault(id_, said)
        if first:
            self.on_taken()
        if first and self.how == "take and hang":
            await self.released.wait()
        if first and self.how == "take and fail":
            return Response(status_code=500)
        if self.how == "drip":
            return StreamingResponse(self._drip(), status)
        if self.body is not None:
            return Response(self.body, status)
        return JSONResponse({"reference": f"ref-{id_}"}, status)

    async def _drip(self) -> AsyncIterator[bytes]:
        while not self.released.is_set():
            yield b" "
            await asyncio.sleep(0.02)

    def _seconds(self, request: Request) -> float:
        return float(request.headers.get("webhook-timestamp", "0"))


@asynccontextmanager
async def gateway(secret: bytes, **how: Any) -> AsyncIterator[tuple[Gateway, str]]:
    """The gateway and the address at which it takes messages."""
    made = Gateway(secret, **how)
    async with served(made.app) as url:
        try:
            yield made, f"{url}/messages"
        finally:
            made.released.set()
