"""Time in: verifications that are over, and priorities that a newer version of the rule has overtaken."""

from services.kit.timers import Timers
from services.kit.transaction import Transaction
from services.registry.participants import decisions, queries
from services.registry.rules.decisions import PRIORITY
from services.registry.rules.queries import rule_in_force

TIMERS = Timers()
AT_ONCE = 200


@TIMERS.every(seconds=1, next_due=queries.next_expiry)
async def expire_verifications(tx: Transaction) -> int:
    due = await queries.participants_due_to_expire(tx, AT_ONCE)
    await tx.decide(event for participant in due for event in decisions.expire(participant, tx.now))
    return tx.facts


@TIMERS.every(seconds=5, next_due=queries.rule_adopted_and_not_applied)
async def prioritise_anew_under_a_newer_rule(tx: Transaction) -> int:
    rule = await rule_in_force(tx, PRIORITY)
    if rule is None:
        return 0
    people = await queries.people_of_an_older_rule(tx, rule.rule_version, AT_ONCE)
    await tx.decide(
        event
        for person in people
        if person.participant is not None
        for event in decisions.reprioritise(
            person.participant, person.household, person.head, person.household.rank, rule
        )
    )
    return tx.facts
