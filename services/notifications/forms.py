"""The forms of what callers send: ids, times of day, texts, and where somebody can be reached."""

import re
from typing import Annotated

import phonenumbers
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""The id of a rule or a template, as people call it: `visit-assigned`."""

STAFF = "staff:"
SUBJECT = r"^(staff:[A-Za-z0-9._:@-]{1,64}|[0-9A-Za-z-]{1,64})$"
"""A participant's id, or `staff:` and the id by which a facilitator signs in."""

TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""In WITA: "20:00"."""

Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=150, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Source = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]+$"),
]
"""Lines of text; a line break is the one control character that it may hold."""

Area = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?$")]
"""A dotted Kemendagri code of any level."""

_NO_PHONE = "this is no telephone number, such as 0812-3456-7890"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}"
)


class Wish(BaseModel):
    """What somebody asks for. Its errors never quote what was sent."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def phone_number(text: str) -> str:
    """+6281234567890 of 0812-3456-7890, 62812… and the like. Raises ValueError, without the number in it."""
    try:
        number = phonenumbers.parse(text, "ID")
    except phonenumbers.NumberParseException:
        raise ValueError(_NO_PHONE) from None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not is_phone_number(written):
        raise ValueError(_NO_PHONE)
    return written


def email_address(text: str) -> str:
    """The address, if it is one that mail servers everywhere take. Raises ValueError, without the address in it."""
    if len(text) <= 254 and ".." not in text and _EMAIL.fullmatch(text):
        return text
    raise ValueError("this is no e-mail address, such as nama@contoh.go.id")


def is_phone_number(text: str | None) -> bool:
    """Whether this is a number that can be written to: E.164, so at most 15 digits, and possible in its country.

    (A NIK, taken for an Indonesian number, is possible by length there.)
    """
    if text is None or not _E164.fullmatch(text):
        return False
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(text))
    except phonenumbers.NumberParseException:
        return False


def is_email_address(text: str | None) -> bool:
    try:
        return text is not None and email_address(text) == text
    except ValueError:
        return False


Phone = Annotated[str, Field(max_length=40), AfterValidator(phone_number)]
Email = Annotated[str, Field(max_length=254), AfterValidator(email_address)]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
