"""What falls due in outcomes by the programme's clock, in WITA."""

from services.kit.timers import Timers
from services.kit.transaction import Transaction
from services.outcomes.calendar import day_of
from services.outcomes.cases.decisions import close_if_ended, record_baseline
from services.outcomes.cases.queries import first_overlooked, load_people_of, overlooked
from services.outcomes.cases.state import CASES, Case
from services.outcomes.follow_ups import decisions, queries
from services.outcomes.follow_ups.state import FOLLOW_UPS
from services.outcomes.people.state import HOMES, PERSONS
from services.outcomes.rules.decisions import FOLLOW_UP_PLAN
from services.outcomes.rules.queries import rule_of

TIMERS = Timers()

CASES_AT_ONCE = 200


@TIMERS.every(seconds=1, next_due=queries.next_to_schedule)
async def schedule_follow_ups(tx: Transaction) -> int:
    """Gives cases the visits of the plan in force. As long as none was adopted, they wait."""
    plan = await rule_of(tx, FOLLOW_UP_PLAN)
    if plan is None:
        return 0
    cases = await _locked(tx, await queries.cases_to_schedule(tx.connection, CASES_AT_ONCE))
    await tx.decide([event for case in cases for event in decisions.schedule(case, plan)])
    return len(cases)


@TIMERS.every(seconds=1, next_due=queries.next_to_fall_due)
async def tell_of_due_follow_ups(tx: Transaction) -> int:
    """At 00:00 WITA of the day on which a visit is to be made."""
    ids = await queries.cases_with_ones_to_fall_due(tx.connection, day_of(tx.now), CASES_AT_ONCE)
    cases = await _locked(tx, ids)
    await tx.working_set.load(tx.connection, PERSONS, [(id_,) for id_ in ids], lock=False)
    for case in cases:
        follow_ups = await tx.stream_rows(FOLLOW_UPS, case.case_id)
        person = tx.working_set.get(PERSONS, case.case_id)
        await tx.decide(decisions.fall_due(case, follow_ups, person, tx.now))
    return len(cases)


@TIMERS.every(seconds=1, next_due=queries.next_to_miss)
async def give_up_missed_follow_ups(tx: Transaction) -> int:
    """At the end of the last day on which a visit counts as in time. The plan's last one closes the case."""
    ids = await queries.cases_with_ones_to_miss(tx.connection, day_of(tx.now), CASES_AT_ONCE)
    cases = await _locked(tx, ids)
    for case in cases:
        follow_ups = await tx.stream_rows(FOLLOW_UPS, case.case_id)
        await tx.decide(decisions.miss(case, follow_ups, tx.now))
    return len(cases)


@TIMERS.every(seconds=5, next_due=first_overlooked)
async def settle_what_two_workers_overlooked(tx: Transaction) -> int:
    """A case that was being opened by one worker while another took in the first fact about its people."""
    ids = await overlooked(tx.connection, CASES_AT_ONCE)
    cases = await _locked(tx, ids)
    await load_people_of(tx, ids)
    for case in cases:
        person = tx.working_set.get(PERSONS, case.case_id)
        home = None if person is None else tx.working_set.get(HOMES, person.household_id)
        await tx.decide(record_baseline(case, person, home))
        await tx.decide(close_if_ended(case, person))
    return len(cases)


async def _locked(tx: Transaction, case_ids: list[str]) -> list[Case]:
    """These cases with all their follow-ups, in one query each."""
    cases = await tx.rows(CASES, [(id_,) for id_ in case_ids])
    await tx.load_streams(FOLLOW_UPS, case_ids)
    return [case for case in cases if case is not None]
