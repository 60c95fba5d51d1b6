"""Signatures by which a provider knows that we ask, and we that a provider reports: the Standard Webhooks scheme.

HMAC-SHA256 over `id.timestamp.body`, in base64 behind "v1,"; the secret is base64 behind "whsec_".
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes, by the scheme
_MOST_SIGNATURES = 10


class SecretInvalid(ValueError):
    """A secret is "whsec_" and the base64 of 24 to 64 random bytes."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def read_secret(text: str) -> bytes:
    """The bytes of a secret. Raises SecretInvalid, without the secret."""
    try:
        secret = b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretInvalid from None
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(secret) <= _LONGEST:
        raise SecretInvalid
    return secret


def signed(secret: bytes, message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body; `seconds` since 1970."""
    return {ID: message_id, TIMESTAMP: str(seconds), SIGNATURE: f"v1,{_signature(secret, message_id, seconds, body)}"}


def is_signed(secrets: Iterable[bytes], headers: Mapping[str, str], body: bytes, now_seconds: float) -> bool:
    """Whether one of these secrets signed the body, at most five minutes ago or ahead."""
    message_id, timestamp, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not message_id or not (timestamp.isascii() and timestamp.isdecimal()) or len(timestamp) > 12:
        return False
    seconds = int(timestamp)
    if abs(now_seconds - seconds) > TOLERANCE_SECONDS:
        return False
    # Several stand side by side while a secret is being changed.
    claims = [claim.partition(",")[2] for claim in given.split(" ")[:_MOST_SIGNATURES] if claim.startswith("v1,")]
    wanted = [_signature(secret, message_id, seconds, body) for secret in secrets]
    return any(hmac.compare_digest(one.encode(), claim.encode()) for one in wanted for claim in claims)


def _signature(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    said = f"{message_id}.{seconds}.".encode() + body
    return b64encode(hmac.new(secret, said, hashlib.sha256).digest()).decode()
