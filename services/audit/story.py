"""One story out of many logs: what was told of a participant, household, cohort, case or certificate, causes first.

Pure but for the source, which finds events that mention an id. Says nothing personal: what is sealed stays sealed.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Protocol

Payload = Mapping[str, Any]


class Subject(StrEnum):
    """What a story may be about; the id is that of its stream, or a certificate's number."""

    PARTICIPANT = "participant"
    HOUSEHOLD = "household"
    COHORT = "cohort"
    CASE = "case"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as the story needs it: where it stands in its log, and what it says of whom the story is about."""

    service: str
    sequence: int
    topic: str
    partition: int
    key: str
    version: int
    type: str
    id: str
    time: str
    recorded: str
    actor: str
    causation_id: str | None
    payload: Payload

    @property
    def name(self) -> str:
        """`ParticipantVerified` of `entas.registry.ParticipantVerified.v1`."""
        return self.type.split(".")[-2]


class Source(Protocol):
    async def mentioning(self, ids: Collection[str]) -> list[Happening]:
        """Every event, of every service, that is of one of these streams, has one of these ids, or names one."""


class NothingTold(LookupError):
    """No log says anything of the subject: the id is wrong, or a service's log was not asked."""


# The fields that lead from one stream to another, and those that say which people an event is about.
_LINKS = frozenset({"household_id", "snapshot_id", "cohort_id", "programme_id", "intervention_id", "notification_id"})
_PEOPLE = frozenset({"participant_id", "person_id", "subject_id", "case_id", "recipient_id", "replaces"})
_LISTS_OF_PEOPLE = frozenset({"completed", "not_completed"})
_STREAMS_OF_PEOPLE = frozenset({"registry.participants", "outcomes.cases", "notifications.contacts"})


async def story_of(subject: Subject, id_: str, source: Source) -> list[Happening]:
    """The whole story in order: a cause before what it caused, each log in its own order, else by recorded time.

    Raises `NothingTold`.
    """
    first = await source.mentioning({id_})
    if not first:
        raise NothingTold(f"No event mentions the {subject.value} {id_}.")
    if subject is Subject.CERTIFICATE:
        bearers = {str(h.payload["participant_id"]) for h in first if h.payload.get("certificate_number") == id_}
        if not bearers:
            raise NothingTold(f"No certificate has the number {id_}.")
        return await _around(bearers, await source.mentioning(bearers), source)
    if subject is Subject.HOUSEHOLD:
        of_household = [h for h in first if h.key == id_]
        people = {person for h in of_household for person in _people_in(h)}
        return await _around(people | {id_}, [*first, *(await source.mentioning(people) if people else ())], source)
    if subject is Subject.COHORT:
        return await _around(None, [h for h in first if h.key == id_], source)
    return await _around({id_}, first, source)


async def _around(people: Collection[str] | None, known: Sequence[Happening], source: Source) -> list[Happening]:
    """What is known, with the streams that it leads to as far as they concern these people (None: everybody)."""
    found = {h.id: h for h in known}
    asked: set[str] = set(people or ())
    for _ in range(3):  # person -> cohort -> programme, and the causes of what was found on the way
        wanted = {id_ for h in found.values() for id_ in _leads(h)} - asked - found.keys()
        if not wanted:
            break
        asked |= wanted
        for h in await source.mentioning(wanted):
            if h.id in wanted or (h.key in wanted and _concerns(h, people)):
                found.setdefault(h.id, h)
    told = in_order(_without_other_courses(list(found.values())))
    return told if people is None else [replace(h, payload=_about(h.payload, people)) for h in told]


def _about(value: Any, people: Collection[str]) -> Any:
    """What an event says, without what it says of others: marks of a whole class, who else completed."""
    if isinstance(value, Mapping):
        return {
            name: _own(part, people) if name in _LISTS_OF_PEOPLE else _about(part, people)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_about(part, people) for part in value if _names_one_of(part, people)]
    return value


def _own(value: Any, people: Collection[str]) -> Any:
    return [person for person in value if person in people] if isinstance(value, list) else value


def _names_one_of(part: Any, people: Collection[str]) -> bool:
    named = {value for name, value in _fields(part) if name in _PEOPLE}
    return not named or not named.isdisjoint(people)


def _without_other_courses(story: Sequence[Happening]) -> list[Happening]:
    """A programme has many courses and quotas; those of other cohorts are not of this story."""
    courses = {h.payload.get("course_id") for h in story if h.name == "CohortPlanned"} | {None}
    return [
        h
        for h in story
        if not h.topic.endswith(".programmes") or (h.name != "QuotaSet" and h.payload.get("course_id") in courses)
    ]


def _leads(happening: Happening) -> Iterator[str]:
    if happening.causation_id:
        yield happening.causation_id
    if happening.topic.partition(".")[2] in ("cohorts", "households", "interventions", "deliveries"):
        yield happening.key
    for name, value in _fields(happening.payload):
        if name in _LINKS and isinstance(value, str):
            yield value


def _concerns(happening: Happening, people: Collection[str] | None) -> bool:
    named = set(_people_in(happening))
    return people is None or not named or not named.isdisjoint(people)


def _people_in(happening: Happening) -> Iterator[str]:
    if happening.topic in _STREAMS_OF_PEOPLE:
        yield happening.key
    for name, value in _fields(happening.payload):
        if name in _PEOPLE and isinstance(value, str):
            yield value


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar with the name of the field that holds it, however deep."""
    if isinstance(value, Mapping):
        for inner, part in value.items():
            yield from _fields(part, inner)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _fields(part, name)
    else:
        yield name, value


def in_order(happenings: Sequence[Happening]) -> list[Happening]:
    """Causes first, each log in its own order, and else by the time of recording: clocks of machines may differ."""
    by_id = {h.id: h for h in happenings}
    after: dict[str, list[str]] = defaultdict(list)
    waits_for: dict[str, int] = dict.fromkeys(by_id, 0)
    logs: dict[str, list[Happening]] = defaultdict(list)
    for h in happenings:
        logs[h.service].append(h)
    edges = [(h.causation_id, h.id) for h in happenings if h.causation_id in by_id]
    for log in logs.values():
        log.sort(key=lambda h: h.sequence)
        edges += [(before.id, next_.id) for before, next_ in pairwise(log)]
    for before, next_ in edges:
        after[str(before)].append(next_)
        waits_for[next_] += 1
    ready = [(h.recorded, h.service, h.sequence, h.id) for h in happenings if not waits_for[h.id]]
    heapq.heapify(ready)
    ordered: list[Happening] = []
    while ready:
        *_, id_ = heapq.heappop(ready)
        ordered.append(by_id[id_])
        for next_ in after[id_]:
            waits_for[next_] -= 1
            if not waits_for[next_]:
                h = by_id[next_]
                heapq.heappush(ready, (h.recorded, h.service, h.sequence, h.id))
    return ordered


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row of a list file: where the story begins."""

    file_digest: str  # SHA-256
    row: int
    listed_by: Happening


def evidence_in(story: Sequence[Happening]) -> list[Evidence]:
    """The rows of lists that the story goes back to, in its order."""
    return [
        Evidence(str(said["file_digest"]), int(said["row"]), h)
        for h in story
        if isinstance(said := h.payload.get("evidence"), Mapping) and "file_digest" in said
    ]
