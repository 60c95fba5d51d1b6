"""What falls due in notifications by the programme's clock."""

from services.kit.timers import Timers
from services.kit.transaction import Transaction
from services.notifications.deliveries import queries
from services.notifications.deliveries.decisions import give_up
from services.notifications.deliveries.state import DELIVERIES

TIMERS = Timers()

AT_ONCE = 200


@TIMERS.every(seconds=1, next_due=queries.next_due)
async def give_up_what_is_old_news(tx: Transaction) -> int:
    """Ends messages that could not be sent for as long as they made sense.

    Its `next_due` is also that of the job which sends: a steered clock stops where a message may go.
    """
    ids = await queries.old_news(tx.connection, tx.now, AT_ONCE)
    rows = await tx.rows(DELIVERIES, [(id_,) for id_ in ids])
    await tx.decide(event for row in rows if row is not None for event in give_up(row))
    await queries.no_longer_put_off(tx.connection, ids)
    return len(ids)
