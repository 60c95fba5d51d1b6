"""What decides about leaving a list: who waits in line, who let a deadline pass, whom the registry's facts concern."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from contracts.areas import AreaCode
from contracts.registry import ParticipantFact
from services.kit.rows import Connection, Rows
from services.kit.transaction import Transaction
from services.training.candidates.queries import as_they_stand
from services.training.candidates.state import CANDIDATES
from services.training.cohorts.state import COHORTS, Cohort, beginning_of
from services.training.enrolments.decisions import taken_by_kabupaten
from services.training.enrolments.queries import ClassList, waitlisted
from services.training.enrolments.state import ENROLMENTS
from services.training.programmes.decisions import QuotaRoom
from services.training.programmes.queries import places_of
from services.training.programmes.state import PROGRAMMES, QUOTAS
from services.training.withdrawals.decisions import Waiting


async def waiting_on(tx: Transaction, list_: ClassList) -> Waiting:
    """What decides who follows on a place of this list."""
    return Waiting(await as_they_stand(tx, waitlisted(list_.enrolments)), list_.quotas)


async def cohort_with_unconfirmed(connection: Connection, today: date) -> str | None:
    """A planned cohort in which somebody has let the last day to confirm pass; its programme is locked.

    One whose programme another transaction holds is passed over, to be found again.
    """
    cohort_id: str | None = await connection.fetchval(
        """
        SELECT c.cohort_id
        FROM enrolment e
        JOIN cohort c USING (cohort_id)
        JOIN programme p USING (programme_id)
        WHERE e.status = 'enrolled'
          AND e.confirm_by < $1
          AND c.status = 'planned'
        ORDER BY e.confirm_by, c.cohort_id
        LIMIT 1
        FOR UPDATE OF p SKIP LOCKED
        """,
        today,
    )
    return cohort_id


async def next_confirmation_deadline(connection: Connection) -> datetime | None:
    """When the next participant loses a place for want of confirming: the end of their last day in WITA."""
    day: date | None = await connection.fetchval("SELECT min(confirm_by) FROM enrolment WHERE status = 'enrolled'")
    return None if day is None else beginning_of(day + timedelta(days=1))


# --- For reactions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lists:
    """What a batch of facts about participants concerns here: the lists of planned cohorts that they are on."""

    cohorts_of: Mapping[str, Sequence[str]]  # participant -> cohorts
    planned_in: Mapping[str, Sequence[str]]  # programme -> its planned cohorts, whose lists are all loaded
    taken_in_others: Mapping[str, Mapping[AreaCode, int]]  # programme -> what its other cohorts take of the quotas


_NOTHING = Lists({}, {}, {})


async def load_lists_of(connection: Connection, rows: Rows, facts: Sequence[ParticipantFact]) -> Lists:
    """Loads the lists that these participants are on, in locking order; one query for each table."""
    cohorts_of, programmes = await _planned_cohorts_of(connection, [fact.participant_id for fact in facts])
    if not cohorts_of:
        return _NOTHING
    await rows.load(connection, PROGRAMMES, [(programme,) for programme in programmes])
    await rows.load_streams(connection, QUOTAS, programmes)
    planned_in = await _planned_cohorts_in(connection, programmes)
    planned = [cohort for cohorts in planned_in.values() for cohort in cohorts]
    concerned = {cohort for cohorts in cohorts_of.values() for cohort in cohorts}
    await rows.load(connection, COHORTS, [(cohort,) for cohort in concerned])
    await rows.load_streams(connection, ENROLMENTS, concerned.union(planned))
    waiting = {person for cohort in planned for person in waitlisted(rows.of_stream(ENROLMENTS, cohort))}
    await rows.load(connection, CANDIDATES, [(person,) for person in waiting], lock=False)
    return Lists(cohorts_of, planned_in, await _taken_in_other_cohorts(connection, programmes, planned))


def waiting_in(rows: Rows, lists: Lists, cohort: Cohort, changed: Mapping[AreaCode, int]) -> Waiting:
    """What decides who follows on a place of this cohort, as the facts so far left it.

    `changed`: what was decided in this step about the programme's other cohorts, and is not folded yet.
    """
    enrolments = rows.of_stream(ENROLMENTS, cohort.cohort_id)
    candidates = {person: rows.get(CANDIDATES, person) for person in waitlisted(enrolments)}
    taken = Counter(lists.taken_in_others.get(cohort.programme_id, {}))
    taken.update(changed)
    for other in lists.planned_in[cohort.programme_id]:
        if other != cohort.cohort_id:
            taken.update(taken_by_kabupaten(rows.of_stream(ENROLMENTS, other)))
    places = places_of(rows.of_stream(QUOTAS, cohort.programme_id))
    return Waiting({p: c for p, c in candidates.items() if c is not None}, QuotaRoom(places, taken))


async def _planned_cohorts_of(
    connection: Connection, participant_ids: Collection[str]
) -> tuple[dict[str, list[str]], set[str]]:
    records = await connection.fetch(
        """
        SELECT e.participant_id, e.cohort_id, c.programme_id
        FROM enrolment e
        JOIN cohort c USING (cohort_id)
        WHERE e.participant_id = ANY($1::text[])
          AND e.status IN ('waitlisted', 'enrolled', 'confirmed')
          AND c.status = 'planned'
        ORDER BY e.participant_id, e.cohort_id
        """,
        list(participant_ids),
    )
    cohorts_of: dict[str, list[str]] = defaultdict(list)
    for record in records:
        cohorts_of[record["participant_id"]].append(record["cohort_id"])
    return dict(cohorts_of), {record["programme_id"] for record in records}


async def _planned_cohorts_in(connection: Connection, programmes: Collection[str]) -> dict[str, list[str]]:
    records = await connection.fetch(
        """
        SELECT programme_id, cohort_id
        FROM cohort
        WHERE programme_id = ANY($1::text[])
          AND status = 'planned'
        ORDER BY cohort_id
        """,
        list(programmes),
    )
    planned: dict[str, list[str]] = {programme: [] for programme in programmes}
    for record in records:
        planned[record["programme_id"]].append(record["cohort_id"])
    return planned


async def _taken_in_other_cohorts(
    connection: Connection, programmes: Collection[str], loaded: Collection[str]
) -> dict[str, dict[AreaCode, int]]:
    # Told apart by id: a cohort that starts at this moment would otherwise be counted twice.
    records = await connection.fetch(
        """
        SELECT c.programme_id, left(e.area_code, 5) AS kabupaten, count(*) AS places
        FROM cohort c
        JOIN enrolment e USING (cohort_id)
        WHERE c.programme_id = ANY($1::text[])
          AND c.cohort_id <> ALL($2::text[])
          AND e.status IN ('enrolled', 'confirmed', 'completed', 'not_completed')
        GROUP BY 1, 2
        """,
        list(programmes),
        list(loaded),
    )
    taken: dict[str, dict[AreaCode, int]] = defaultdict(dict)
    for record in records:
        taken[record["programme_id"]][record["kabupaten"]] = record["places"]
    return taken
