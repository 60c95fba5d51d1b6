"""What a test needs of the machine beyond Python, and what becomes of it where that is missing."""

import os
from typing import NoReturn

import pytest


def without(reason: str, check: str) -> NoReturn:
    """Leaves a check out by name on a desk; where changes are judged (CI=true) it is an error."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI has to check {check}")
    pytest.skip(reason)
