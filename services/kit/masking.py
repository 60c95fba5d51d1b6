"""What looks like a NIK or a family card number (16 digits), masked wherever a text may be shown."""

import re

MASK = "[16 digits masked]"

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

# Between two digits up to three signs of any kind that people, URLs, reprs or HTML put there still count as one number.
_BETWEEN = r"(?:[^\w\"'{}\[\]()<>=;|]|_|%[0-9a-fA-F]{2}|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[a-z]|&[a-z]+;){0,3}"
_MASKED = re.compile(
    # Kept: UUIDs, digests and trace ids (32 or 64 hex digits with a letter), timestamps, addresses of machines.
    r"(?P<kept>(?<![0-9A-Za-z])(?:"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    r"|(?=[0-9]*[a-f])(?:[0-9a-f]{32}){1,2}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,6})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
    rf"|{_OCTET}(?:\.{_OCTET}){{3}}(?::[0-9]{{1,5}})?"
    r")(?![0-9A-Za-z]))"
    rf"|\d(?:{_BETWEEN}\d){{15,}}"
)


def masked(text: str) -> str:
    """The text with every run of 16 or more digits replaced, in whatever script and however they are grouped."""
    return _MASKED.sub(lambda found: found["kept"] or MASK, text)
