"""What is asked of lists: what a decision about one needs, what a batch of the registry's facts concerns, reads."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

import asyncpg
from pydantic import TypeAdapter

from services.kit.rows import Connection
from services.kit.transaction import Transaction
from services.training.cohorts.decisions import no_such_cohort
from services.training.cohorts.queries import programme_of
from services.training.cohorts.state import COHORTS, Cohort
from services.training.enrolments.decisions import Commitments
from services.training.enrolments.state import ENROLMENTS, Enrolment, EnrolmentStatus
from services.training.programmes.decisions import QuotaRoom
from services.training.programmes.queries import quota_room
from services.training.programmes.state import PROGRAMMES, Programme

# --- For commands and timers ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClassList:
    """A cohort with its list and what other cohorts take of the quotas; all locked."""

    cohort: Cohort
    programme: Programme
    enrolments: list[Enrolment]
    quotas: QuotaRoom


async def lock_list(tx: Transaction, cohort_id: str) -> ClassList:
    """Locks the programme, which guards the quotas, the cohort and its list. Raises `Refused` if there is none."""
    programme = await tx.row(PROGRAMMES, await programme_of(tx.connection, cohort_id) or "")
    cohort = await tx.row(COHORTS, cohort_id)
    if cohort is None or programme is None:
        raise no_such_cohort()
    quotas = await quota_room(tx, cohort.programme_id, besides_cohort=cohort_id)
    return ClassList(cohort, programme, await tx.stream_rows(ENROLMENTS, cohort_id), quotas)


def waitlisted(enrolments: Iterable[Enrolment]) -> list[str]:
    return [e.participant_id for e in enrolments if e.status is EnrolmentStatus.WAITLISTED]


async def waitlisted_on(connection: Connection, cohort_id: str) -> list[str]:
    """Who waits for a place, not locked: to lock their candidates before the cohort."""
    rows = await connection.fetch(
        """
        SELECT participant_id
        FROM enrolment
        WHERE cohort_id = $1
          AND status = 'waitlisted'
        """,
        cohort_id,
    )
    return [row["participant_id"] for row in rows]


COMMITMENTS = """
    SELECT e.participant_id, e.status, c.days, c.course_id
    FROM enrolment e
    JOIN cohort c USING (cohort_id)
    WHERE e.participant_id = ANY($1::text[])
      AND e.cohort_id <> $2
      AND e.status IN ('waitlisted', 'enrolled', 'confirmed', 'completed')
"""

_days = TypeAdapter(tuple[date, ...])


async def commitments_of(
    connection: Connection, participant_ids: Collection[str], *, besides_cohort: str
) -> dict[str, Commitments]:
    """The busy days of these people and the courses they completed. The caller has locked their candidates."""
    rows = await connection.fetch(COMMITMENTS, list(participant_ids), besides_cohort)
    busy: dict[str, set[date]] = defaultdict(set)
    courses: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["status"] == EnrolmentStatus.COMPLETED:
            courses[row["participant_id"]].add(row["course_id"])
        else:
            busy[row["participant_id"]].update(_days.validate_json(row["days"]))
    return {person: Commitments(frozenset(busy[person]), frozenset(courses[person])) for person in participant_ids}


# --- Reads ------------------------------------------------------------------------------------------------------------


async def list_of(connection: Connection, cohort_id: str) -> list[asyncpg.Record]:
    """A cohort's list as the caller's areas let it be seen: by place, then who waits in line, then who left."""
    return await connection.fetch(
        """
        SELECT cohort_id, participant_id, area_code, status, place, replaces, score, priority, confirm_by, enrolled_at,
               confirmed_at, withdrawn_because, attendance, days_present, days_absent, days_excused, pre_test,
               post_test, units, attendance_percent, not_completed_because, rule_id, rule_version, certificate_number,
               letter_number, sealed, sealed_by
        FROM enrolment
        WHERE cohort_id = $1
        ORDER BY
            CASE
                WHEN status IN ('enrolled', 'confirmed', 'completed', 'not_completed') THEN 1
                WHEN status = 'waitlisted' THEN 2
                ELSE 3
            END,
            place,
            score DESC,
            participant_id
        """,
        cohort_id,
    )


async def roster(connection: Connection, cohort_id: str) -> list[asyncpg.Record]:
    """Who has a place in class, with the sealed details of each."""
    return await connection.fetch(
        """
        SELECT e.participant_id, e.place, e.status, e.area_code, c.reachable, c.sealed, c.sealed_by
        FROM enrolment e
        LEFT JOIN candidate c USING (participant_id)
        WHERE e.cohort_id = $1
          AND e.status IN ('enrolled', 'confirmed', 'completed', 'not_completed')
        ORDER BY e.place
        """,
        cohort_id,
    )
