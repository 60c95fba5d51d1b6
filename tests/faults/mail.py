"""A real mail server that is there and away as a test wants it, and what it has accepted."""

from collections import Counter
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.daemon import free_ports


class MailServer:
    """Accepts everything. `url` is what notifications are configured with."""

    def __init__(self) -> None:
        self._port = free_ports(1)[0]
        self._controller: Controller | None = None
        self.accepted: list[EmailMessage] = []

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._port}?starttls=no"

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """aiosmtpd calls it by this name."""
        assert isinstance(envelope.content, bytes)
        self.accepted.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    def copies(self) -> Counter[str]:
        """How often each notification was accepted. The Message-ID is made of its id, the channel and our domain."""
        return Counter(str(message["Message-ID"]).strip("<>").partition(".")[0] for message in self.accepted)
