"""What falls due in training by the programme's clock, in WITA."""

from services.kit.timers import Timers
from services.kit.transaction import Transaction
from services.training.candidates.queries import as_they_stand
from services.training.cohorts import decisions as cohorts
from services.training.cohorts.queries import cohort_to_start, next_start
from services.training.cohorts.state import COHORTS, day_of
from services.training.enrolments.queries import lock_list
from services.training.enrolments.state import ENROLMENTS, WITH_A_PLACE
from services.training.withdrawals.decisions import withdraw_unconfirmed
from services.training.withdrawals.queries import cohort_with_unconfirmed, next_confirmation_deadline, waiting_on

TIMERS = Timers()


@TIMERS.every(seconds=1, next_due=next_confirmation_deadline)
async def take_back_unconfirmed_places(tx: Transaction) -> int:
    """One cohort at a time: who has let the last day to confirm pass makes room for the next in line."""
    cohort_id = await cohort_with_unconfirmed(tx.connection, day_of(tx.now))
    if cohort_id is None:
        return 0
    list_ = await lock_list(tx, cohort_id)
    waiting = await waiting_on(tx, list_)
    decided = withdraw_unconfirmed(list_.cohort, list_.enrolments, waiting, tx.now)
    await tx.decide(decided)
    return len(decided)


@TIMERS.every(seconds=1, next_due=next_start)
async def start_cohorts(tx: Transaction) -> int:
    """One cohort at a time, at 00:00 WITA of its first day."""
    cohort_id = await cohort_to_start(tx.connection, day_of(tx.now))
    if cohort_id is None:
        return 0
    cohort = await tx.row(COHORTS, cohort_id)
    on_list = await tx.stream_rows(ENROLMENTS, cohort_id)
    placed = await as_they_stand(tx, [e.participant_id for e in on_list if e.status in WITH_A_PLACE])
    await tx.decide(cohorts.start_cohort(cohort, on_list, placed, tx.now))
    return 1
