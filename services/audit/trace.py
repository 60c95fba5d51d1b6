"""`trace`: the whole story of a person, household, cohort, case or certificate, each event with its proof."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import httpx
from pydantic_core import from_json
from rich.console import Console
from rich.text import Text

from contracts.envelope import Envelope, proof_bytes, value_digest
from services.audit.api_source import NotShown
from services.audit.asking import Apis, said_by
from services.audit.story import Evidence, Happening, Subject, evidence_in, story_of
from services.kit.merkle import leaf_hash, verify_inclusion
from services.kit.notes import BadNote, Checkpoint, VerifierKey, WrongKey, read_checkpoint, verify

AT_ONCE = 200  # ids in one request: they stand in its address
PROOFS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Proof:
    """That an event stands in the tree of a checkpoint, checked here from the event's own bytes; or why it is not."""

    size: int | None  # of the tree
    root: str | None  # hex
    holds: bool
    says: str


@dataclass(frozen=True)
class Trace:
    subject: Subject
    id: str
    story: list[Happening]
    proofs: Mapping[str, Proof]  # by event id
    evidence: list[Evidence]
    opened: Mapping[str, Mapping[str, Any]]  # by event id: what was sealed, where it was asked for
    signed: Mapping[str, Signed]  # the newest checkpoint by service

    @property
    def holds(self) -> bool:
        """Whether every event is proved."""
        return all(self.proofs[h.id].holds for h in self.story)


async def trace(
    apis: Apis, subject: Subject, id_: str, *, keys: Callable[[str], VerifierKey], purpose: str | None = None
) -> Trace:
    """Asks every service. With a purpose what is sealed is opened, and each look is in the services' read logs.

    `keys` gives a service's public key. Raises `NothingTold` and `NotShown`.
    """
    logs = LogsOfServices(apis)
    story = await story_of(subject, id_, logs)
    limit = asyncio.Semaphore(PROOFS_AT_ONCE)
    signed = {service: await _signed(apis, service, keys) for service in sorted({h.service for h in story})}
    proofs = await asyncio.gather(*[_proof(apis, logs, h, signed[h.service], limit) for h in story])
    opened = await _opened(apis, story, purpose) if purpose else {}
    by_id = {h.id: proof for h, proof in zip(story, proofs, strict=True)}
    return Trace(subject, id_, story, by_id, evidence_in(story), opened, signed)


@dataclass
class LogsOfServices:
    """The logs of all services as one source, and the leaves of the events that it gave."""

    apis: Apis
    leaves: dict[str, bytes] = field(default_factory=dict)  # by event id

    async def mentioning(self, ids: Collection[str]) -> list[Happening]:
        found = await asyncio.gather(
            *[self._of(service, part) for service in self.apis.services for part in _parts(sorted(ids), AT_ONCE)]
        )
        return list({h.id: h for part in found for h in part}.values())

    async def _of(self, service: str, ids: Sequence[str]) -> list[Happening]:
        answer = await self.apis.ask(service, "GET", "/log/mentions", params={"id": list(ids)})
        _must_be_good(service, answer)
        return [self._happening(service, from_json(line)) for line in answer.content.splitlines()]

    def _happening(self, service: str, said: Mapping[str, Any]) -> Happening:
        value = b64decode(said["value"])
        envelope = Envelope(
            id=said["id"],
            type=said["type"],
            source=said["source"],
            topic=said["topic"],
            key=said["key"],
            version=said["version"],
            time=datetime.fromisoformat(said["time"]),
            recorded=datetime.fromisoformat(said["recorded"]),
            actor=said["actor"],
            correlation_id=said["correlation_id"],
            causation_id=said["causation_id"],
        )
        self.leaves[envelope.id] = leaf_hash(proof_bytes(envelope, said["sequence"], value_digest(value)))
        payload = from_json(value)
        payload.pop("personal", None)
        return Happening(
            service=service,
            sequence=said["sequence"],
            topic=envelope.topic,
            partition=said["partition"],
            key=envelope.key,
            version=envelope.version,
            type=envelope.type,
            id=envelope.id,
            time=said["time"],
            recorded=said["recorded"],
            actor=envelope.actor,
            causation_id=envelope.causation_id,
            payload=payload,
        )


@dataclass(frozen=True, slots=True)
class Signed:
    """A service's newest checkpoint, whose signature was checked; or why there is none to hold anything against."""

    checkpoint: Checkpoint | None
    note: str | None
    says: str


async def _signed(apis: Apis, service: str, keys: Callable[[str], VerifierKey]) -> Signed:
    answer = await apis.ask(service, "GET", "/log/checkpoint")
    if answer.status_code != 200:
        return Signed(None, None, said_by(answer))
    try:
        verify(answer.text, keys(service))
        return Signed(read_checkpoint(answer.text), answer.text, "signed")
    except (BadNote, WrongKey) as error:
        return Signed(None, answer.text, str(error))


async def _proof(apis: Apis, logs: LogsOfServices, h: Happening, signed: Signed, limit: asyncio.Semaphore) -> Proof:
    if signed.checkpoint is None:
        return Proof(None, None, False, f"not proved: {signed.says}")
    size, root = signed.checkpoint.size, signed.checkpoint.root
    if h.sequence >= size:
        return Proof(size, root.hex(), False, "not proved yet: younger than the newest checkpoint; ask in a minute")
    async with limit:
        answer = await apis.ask(h.service, "GET", f"/log/{h.sequence}/proof", params={"size": size})
    if answer.status_code != 200:
        return Proof(size, root.hex(), False, f"no proof: {said_by(answer)}")
    path = [b64decode(step) for step in answer.json()["path"]]
    holds = verify_inclusion(h.sequence, size, logs.leaves[h.id], path, root)
    return Proof(size, root.hex(), holds, "proved" if holds else "is NOT what was signed")


async def _opened(apis: Apis, story: Sequence[Happening], purpose: str) -> dict[str, Mapping[str, Any]]:
    opened: dict[str, Mapping[str, Any]] = {}
    for service in sorted({h.service for h in story}):
        at = {h.sequence: h.id for h in story if h.service == service}
        for part in _parts(sorted(at), AT_ONCE):
            answer = await apis.ask(service, "POST", "/log/open", json={"sequences": part, "purpose": purpose})
            _must_be_good(service, answer)
            opened |= {at[each["sequence"]]: each["personal"] for each in answer.json() if each["personal"]}
    return opened


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(items), size):
        yield list(items[first : first + size])


def _must_be_good(service: str, answer: httpx.Response) -> None:
    if answer.status_code != 200:
        raise NotShown(f"{service} answers {answer.status_code}: {said_by(answer)}")


# --- As text and as JSON ----------------------------------------------------------------------------------------------


def as_json_text(traced: Trace) -> str:
    """Everything that was found, for other programs."""
    numbers = {h.id: number for number, h in enumerate(traced.story, 1)}
    return json.dumps(
        {
            "subject": traced.subject.value,
            "id": traced.id,
            "holds": traced.holds,
            "story": [
                {
                    "number": numbers[h.id],
                    "because_of": numbers.get(h.causation_id or ""),
                    **{name: getattr(h, name) for name in Happening.__slots__},
                    "proof": {name: getattr(traced.proofs[h.id], name) for name in Proof.__slots__},
                    "personal": traced.opened.get(h.id),
                }
                for h in traced.story
            ],
            "evidence": [
                {"file_digest": e.file_digest, "row": e.row, "listed_by": e.listed_by.id} for e in traced.evidence
            ],
            "checkpoints": {service: signed.note for service, signed in traced.signed.items()},
        },
        indent=2,
        ensure_ascii=False,
    )


def print_trace(traced: Trace, console: Console) -> None:
    """A line or two an event: when, what, where it stands, who, and because of what."""
    numbers = {h.id: number for number, h in enumerate(traced.story, 1)}
    for h in traced.story:
        proof = traced.proofs[h.id]
        line = Text(f"{numbers[h.id]:4} ")
        line.append(h.time[:16].replace("T", " ") + "Z ", "dim")
        line.append(h.name, "bold")
        line.append(f"  {h.service} {h.sequence}  {h.topic}/{h.partition} version {h.version}  by {h.actor}", "dim")
        if h.causation_id:
            because = numbers.get(h.causation_id)
            line.append(f"  because of {because or h.causation_id}", "cyan")
        line.append(f"  {proof.says}", "green" if proof.holds else "red")
        console.print(line, soft_wrap=True)
        if said := _short(h.payload):
            console.print(Text(f"       {said}"), soft_wrap=True)
        for subject, record in (traced.opened.get(h.id) or {}).items():
            told = "the key was destroyed" if record is None else _short(cast("Mapping[str, Any]", record))
            console.print(Text(f"       {subject}: {told}", "yellow"), soft_wrap=True)
    for evidence in traced.evidence:
        number = numbers[evidence.listed_by.id]
        console.print(
            f"Source of {number}: row {evidence.row} of the list file with SHA-256 {evidence.file_digest}",
            highlight=False,
        )
    proved = sum(traced.proofs[h.id].holds for h in traced.story)
    console.print(f"{len(traced.story)} events, {proved} of them proved by their services' signed checkpoints.")


def _short(payload: Mapping[str, Any]) -> str:
    """What an event says, without what it is about, on one line."""
    said = {name: value for name, value in payload.items() if not name.endswith("_id") or name == "course_id"}
    text = json.dumps(said, ensure_ascii=False, default=str)[1:-1]
    return text if len(text) <= 400 else text[:400] + " …"
