"""Tells whether a text could hold a national id (NIK): it must stand in no message, however it is disguised."""

import unicodedata

DIGITS = 16
"""Of a NIK, and of a family card number."""

_SIGNS_BETWEEN = 3


def holds_national_id(text: str) -> bool:
    """Whether 16 digits or more stand together, in any script, with at most three signs between one and the next.

    Signs are spaces, dots, dashes, line breaks, whatever is no letter; signs without width count for nothing. A long
    run of dates and numbers without a word between them counts too: better one message too few.
    """
    digits = signs = 0
    for character in text:
        category = unicodedata.category(character)
        if shown := _digits_of(character):
            digits, signs = digits + shown, 0
            if digits >= DIGITS:
                return True
        elif category in ("Cf", "Mn", "Me"):
            continue  # It has no width: people see the digits beside each other.
        elif category[0] == "L" or signs == _SIGNS_BETWEEN:
            digits = signs = 0
        else:
            signs += 1
    return False


def _digits_of(character: str) -> int:
    """How many digits people see in it: one in a digit of any script, two in a circled twelve."""
    if unicodedata.digit(character, None) is not None:
        return 1
    plain = unicodedata.normalize("NFKC", character)
    return len(plain) if plain.isdecimal() else 0
