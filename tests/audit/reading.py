"""Reads an entry of the log endpoint, by the tests' own hand."""

from datetime import datetime
from typing import Any

from contracts.envelope import Envelope


def envelope_in(entry: dict[str, Any]) -> Envelope:
    names = [name for name in Envelope._fields if name not in ("time", "recorded")]
    times = {name: datetime.fromisoformat(entry[name]) for name in ("time", "recorded")}
    return Envelope(**{name: entry[name] for name in names}, **times)
