"""Writes what is made from the contracts: JSON Schemas and AsyncAPI documents. `--check` only says what is stale."""

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.envelope import EVENTS, Event
from contracts.event_schemas import schema_of
from contracts.service_documents import document_of, services

_HERE = Path(__file__).parent
COMMAND = "python -m contracts.generate"


class MissingExample(LookupError):
    """An event has no example message yet."""

    def __init__(self, place: str) -> None:
        super().__init__(f"contracts/{place} is missing: write the event's example message, then run `{COMMAND}`")


def place_of(event: type[Event]) -> str:
    """Where an event's schema and its example stand within their folders: `registry/ParticipantVerified.v1.json`."""
    _, owner, name = event.ce_type.split(".", 2)
    return f"{owner}/{name}.json"


def generated(folder: Path = _HERE) -> dict[str, str]:
    """Every generated file, by its path within the contracts' folder; examples are read from there.

    Raises `MissingExample`.
    """

    def example(event: type[Event]) -> dict[str, Any]:
        place = f"examples/{place_of(event)}"
        try:
            found: dict[str, Any] = json.loads((folder / place).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingExample(place) from None
        return found

    schemas = {f"schemas/{place_of(event)}": schema_of(event) for event in EVENTS.values()}
    documents = {f"asyncapi/{service}.json": document_of(service, _release(), example) for service in services()}
    return {
        place: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for place, content in (schemas | documents).items()
    }


def _release() -> str:
    project = tomllib.loads((_HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def stale(wanted: dict[str, str], folder: Path = _HERE) -> dict[str, str]:
    """What is wrong with the files in `folder`: path -> "missing", "stale", or "left over"."""
    there = {
        str(path.relative_to(folder)): path
        for made in ("schemas", "asyncapi")
        for path in sorted((folder / made).rglob("*"))
        if path.is_file()
    }
    wrong = dict.fromkeys(there.keys() - wanted.keys(), "left over")
    for place, content in wanted.items():
        if place not in there:
            wrong[place] = "missing"
        elif there[place].read_bytes() != content.encode():
            wrong[place] = "stale"
    return dict(sorted(wrong.items()))


def write(wanted: dict[str, str], folder: Path = _HERE) -> dict[str, str]:
    """Makes the files in `folder` what they should be. Returns what was wrong."""
    wrong = stale(wanted, folder)
    for place in wrong:
        path = folder / place
        if place in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[place].encode())
        else:
            path.unlink()
    return wrong


def main(arguments: Sequence[str], folder: Path = _HERE) -> int:
    """0 when all is well, 1 when something is stale or missing, 2 when the arguments cannot be understood."""
    if set(arguments) - {"--check"}:
        sys.stderr.write(f"usage: {COMMAND} [--check]\n")
        return 2
    try:
        wanted = generated(folder)
    except MissingExample as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    if "--check" not in arguments:
        for place, what in write(wanted, folder).items():
            sys.stdout.write(f"contracts/{place} was {what}\n")
        return 0
    wrong = stale(wanted, folder)
    for place, what in wrong.items():
        sys.stderr.write(f"contracts/{place} is {what}: run `{COMMAND}` and look at the difference\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
