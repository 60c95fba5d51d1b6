"""Publishes: reads everything public at one moment, protects it, and keeps it until there is something new to tell."""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import datetime

from services.kit.http import Reads
from services.kit.transaction import Workplace, acting_as
from services.outcomes.calendar import day_of
from services.outcomes.figures import counts, names, publication, queries
from services.outcomes.figures.definitions import FIGURES, Average, Open, RuleKind
from services.outcomes.figures.publication import Raw, Release
from services.outcomes.figures.queries import Class, RuleInForce, Standing
from services.outcomes.figures.sources import Dimension

LOOKS_AGAIN_AFTER_SECONDS = 1.0
RESTS = 4
"""After reading for some time it rests for this many times as long: everybody's page leaves room for the work."""


@dataclass(frozen=True)
class Issue:
    """What is public at one moment, and what it stands on."""

    release: Release
    standing: Standing
    rules: dict[RuleKind, list[RuleInForce]]
    classes: dict[str, Class]
    as_of: datetime

    @property
    def etag(self) -> str:
        return self.release.stamp


class Press:
    """Reads once a second at most, however many ask; and counts anew only if the log or what is read has moved."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._lock = asyncio.Lock()
        self._last: Issue | None = None
        self._looks_at = 0.0

    async def issue(self) -> Issue:
        """What is public now, at most about a second old."""
        if self._last is not None and time.monotonic() < self._looks_at:
            return self._last
        async with self._lock:
            if self._last is None or time.monotonic() >= self._looks_at:
                started = time.monotonic()
                self._last = await self._look(self._last)
                now = time.monotonic()
                self._looks_at = now + max(LOOKS_AGAIN_AFTER_SECONDS, RESTS * (now - started))
            return self._last

    async def _look(self, last: Issue | None) -> Issue:
        everywhere = Reads(self._workplace, acting_as("public"), "", one_moment=True)
        async with everywhere as db:
            now, standing = db.now, await queries.standing(db.connection)
            rules = await queries.rules_in_force(db.connection)
            smallest = publication.smallest_by(rules)
            stands_on = _stands_on(standing, now)
            if last is not None and last.etag == publication.stamp(stands_on, smallest):
                return replace(last, as_of=now)
            raw, classes = await _read(db, now)
        # Protecting takes longer than reading where there is much to hide: others are answered meanwhile.
        release = await asyncio.to_thread(publication.release, raw, smallest, stands_on)
        return Issue(release, standing, rules, {c.cohort_id: c for c in classes}, now)


def _stands_on(standing: Standing, now: datetime) -> str:
    """What may change a figure: the log, what is read, and for some the day."""
    return f"{standing.model_dump_json()} {day_of(now)}"


async def _read(db: Reads, now: datetime) -> tuple[Raw, list[Class]]:
    connection = db.connection
    everywhere = (*counts.ON_THE_LIST, *counts.IN_THE_FIELD, *counts.IN_TRAINING_AND_AFTER)
    classes = await queries.classes(connection)
    tally = await queries.tally(connection, (*everywhere, *counts.ALONE, counts.INTERVENTIONS))
    of_each = {
        Dimension.FOLLOW_UP.value: await queries.tally_of_each(connection, counts.OF_EACH_FOLLOW_UP),
        Dimension.NEED.value: await queries.tally_of_each(connection, counts.OF_EACH_NEED),
    }
    for figure in FIGURES.values():
        if figure.parts is not None and figure.parts.of_each is not None:
            of_each[f"{figure.parts.of_each}:{figure.parts.name}"] = await queries.tally_of_each(
                connection, [figure.parts]
            )
    whole = [f for f in FIGURES.values() if isinstance(f.public, Average) and f.public.of.of_each is None]
    monthly = [f for f in FIGURES.values() if isinstance(f.public, Average) and f.public.of.of_each is not None]
    averages = await queries.averages(connection, whole, None)
    averages |= await queries.averages(connection, monthly, Dimension.FOLLOW_UP)
    raw = Raw(
        totals=tally.totals,
        by_kecamatan=tally.by_kecamatan,
        by_cohort=tally.by_cohort,
        of_each=of_each,
        averages=averages,
        open={f.id: await _open(db, f.id, now) for f in FIGURES.values() if isinstance(f.public, Open)},
        classes=tuple(publication.Class(c.cohort_id, c.course_id, c.mode) for c in classes),
        kecamatan=publication.every_kecamatan(),
    )
    return raw, classes


async def _open(db: Reads, figure_id: str, now: datetime) -> dict[str, int]:
    figure = FIGURES[figure_id]
    found: dict[str, int] = {}
    for dimension in figure.public_by or (None,):
        exact = await queries.exact(db.connection, figure, dimension, queries.Narrowed(), now)
        found[""] = int(exact.total.value or 0)
        for part in exact.parts:
            key = names.told_in_public(part.key) if dimension is Dimension.REASON else part.key
            found[key] = found.get(key, 0) + int(part.value or 0)
    return found
