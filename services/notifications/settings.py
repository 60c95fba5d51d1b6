"""What notifications needs to know besides what every process does: which provider each channel goes to."""

from __future__ import annotations

from email.utils import parseaddr
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from contracts.notifications import Channel
from services.kit.settings import Settings
from services.notifications.forms import is_email_address
from services.notifications.senders.signatures import SecretInvalid, read_secret

_OVER_HTTP = ("http", "https")
_OVER_SMTP = ("smtp", "smtps")


class SenderSettings(Settings):
    """A channel without a sender is left out; messages that can go no other way wait until they are old news."""

    sender_whatsapp: str | None = Field(None, repr=False, description="https://host/path, or file:///folder in a demo")
    sender_sms: str | None = Field(None, repr=False, description="https://host/path, or file:///folder in a demo")
    sender_email: str | None = Field(
        None,
        repr=False,
        description="smtp://user@host:587 (?starttls=yes, auto or no), smtps://user@host:465, https://host/path, "
        "or file:///folder in a demo",
    )
    sender_whatsapp_secret: str | None = Field(None, repr=False, description="whsec_ and base64, shared with it")
    sender_sms_secret: str | None = Field(None, repr=False, description="whsec_ and base64, shared with it")
    sender_email_secret: str | None = Field(
        None, repr=False, description="the password of the mail server's user; for https whsec_ and base64"
    )
    sender_email_from: str | None = Field(None, description='"Balatkop NTB <noreply@example.go.id>", for smtp')

    @field_validator("sender_whatsapp", "sender_sms", "sender_email")
    @classmethod
    def _read_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        schemes = ("file", *_OVER_HTTP, *(_OVER_SMTP if info.field_name == "sender_email" else ()))
        address = _split(value)
        if address.scheme not in schemes:
            raise ValueError("is no address that a sender is made for")
        if address.scheme == "file" and (address.netloc or not address.path.startswith("/")):
            raise ValueError("names no folder")
        if address.scheme != "file" and not address.hostname:
            raise ValueError("names no host")
        if address.scheme in _OVER_SMTP and starttls_of(value) not in ("yes", "auto", "no"):
            raise ValueError("starttls is yes, auto or no")
        return value

    @field_validator("sender_email_from")
    @classmethod
    def _read_mailbox(cls, value: str | None) -> str | None:
        if value is not None and (not is_email_address(parseaddr(value)[1]) or any(c in value for c in "\r\n")):
            raise ValueError("names no e-mail address")
        return value

    @model_validator(mode="after")
    def _be_complete_and_safe(self) -> Self:
        problems = [problem for channel in Channel for problem in self._problems_of(channel)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_of(self, channel: Channel) -> list[str]:
        url = self.sender_of(channel)
        if url is None:
            return []
        name, scheme, problems = f"ENTAS_SENDER_{channel.upper()}", urlsplit(url).scheme, []
        if scheme in _OVER_HTTP:
            try:
                read_secret(self.secret_of(channel) or "")
            except SecretInvalid as error:
                problems.append(f"{name}_SECRET: {error}")
        if scheme in _OVER_SMTP and self.sender_email_from is None:
            problems.append(f"{name}_FROM: is not set, and mail needs a sender")
        if self.environment == "production":
            if scheme == "file":
                problems.append(f"{name}: a file is for demo and test; nobody is reached by it")
            if _is_readable_on_the_way(url) and not self.allow_http:
                problems.append(f"{name}: plain text on the way; use https, smtps or starttls=yes")
        return problems

    def sender_of(self, channel: Channel) -> str | None:
        value: str | None = getattr(self, f"sender_{channel.value}")
        return value

    def secret_of(self, channel: Channel) -> str | None:
        value: str | None = getattr(self, f"sender_{channel.value}_secret")
        return value

    def signing_secrets(self) -> list[bytes]:
        """The secrets shared with providers over HTTP: with them they sign their receipts."""
        over_http = [c for c in Channel if urlsplit(self.sender_of(c) or "").scheme in _OVER_HTTP]
        return [read_secret(self.secret_of(channel) or "") for channel in over_http]


def folder_of(url: str) -> Path:
    """Of file:///folder."""
    return Path(unquote(urlsplit(url).path))


def starttls_of(url: str) -> str:
    """Of smtp://host?starttls=no; "yes" where it says nothing: a server that cannot is refused."""
    return parse_qs(urlsplit(url).query).get("starttls", ["yes"])[-1]


def _is_readable_on_the_way(url: str) -> bool:
    scheme = urlsplit(url).scheme
    return scheme == "http" or (scheme == "smtp" and starttls_of(url) != "yes")


def _split(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError:
        raise ValueError("is no address") from None
    return address
