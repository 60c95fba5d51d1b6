"""Owns the worker's job that finds out whom reported interventions were for, and then has the numbers forgotten."""

from contracts.outcomes import InterventionSubject
from services.kit.jobs import JobContext
from services.kit.people import RemotePeople
from services.kit.service import remote_people
from services.kit.tasks import sleep_unless
from services.outcomes.interventions import queries
from services.outcomes.interventions.decisions import match_by_number
from services.outcomes.interventions.recording import conclude
from services.outcomes.interventions.state import INTERVENTIONS, subject_of

INTERVENTIONS_AT_ONCE = 500
IDLE_SECONDS = 0.5


async def match_interventions(context: JobContext) -> None:
    """Matches what was reported, in the order in which it came in, until the process stops.

    However it ends, it goes on where its last transaction got: each intervention is decided once, and the key of each
    decided one is destroyed, if need be by the next worker. Raises Unavailable while the registry is away.
    """
    people = remote_people(context.settings)
    try:
        while not context.stopping.is_set():
            done = await match_next(context, people)
            done += await forget_next(context)
            if not done:
                await sleep_unless(context.stopping, IDLE_SECONDS)
    finally:
        await people.aclose()


async def match_next(context: JobContext, people: RemotePeople) -> int:
    """Looks up the next numbers in one transaction, whose every step serves all of them. Returns how many."""
    async with context.transaction("matching") as tx:
        ids = await queries.reported(tx.connection, INTERVENTIONS_AT_ONCE)
        if not ids:
            return 0
        reported = [row for row in await tx.rows(INTERVENTIONS, [(id_,) for id_ in ids]) if row is not None]
        sealed = [(subject_of(one.intervention_id), one.sealed_by, one.sealed) for one in reported]
        opened = await tx.open(sealed, InterventionSubject, "match-intervention")
        numbers = [None if subject is None else subject.national_id for subject in opened]
        bearers = await people.match({number for number in numbers if number is not None})
        # A number that cannot be read any more is borne by nobody whom we could know.
        decided = [
            match_by_number(one, bearers.get(number or "", ())) for one, number in zip(reported, numbers, strict=True)
        ]
        await tx.decide([event for events in decided for event in events])
        await conclude(tx, ids)
    return len(ids)


async def forget_next(context: JobContext) -> int:
    """Has the keys of decided interventions destroyed. Returns how many.

    What is to be forgotten was noted with the decision, and is noted off after the registry has destroyed the key: a
    crash anywhere between has it destroyed again, which changes nothing.
    """
    async with context.transaction("matching") as tx:
        ids = await queries.numbers_to_forget(tx.connection, INTERVENTIONS_AT_ONCE)
        if ids:
            await context.workplace.destroy_keys([subject_of(id_) for id_ in ids])
            context.crash_point("forgotten-not-noted")
            await queries.note_forgotten(tx.connection, ids)
    return len(ids)
