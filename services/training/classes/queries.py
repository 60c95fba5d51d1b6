"""What is asked of classes: the course that is taught, the rule that decides."""

from services.kit.transaction import Transaction
from services.training.cohorts.state import Cohort
from services.training.programmes.state import COURSES, Course
from services.training.rules.decisions import COMPLETION, CompletionTerms, completion_terms
from services.training.rules.state import RULES


async def course_of(tx: Transaction, cohort: Cohort) -> Course:
    """The cohort's course, not locked: it never changes."""
    key = (cohort.programme_id, cohort.course_id)
    await tx.working_set.load(tx.connection, COURSES, [key], lock=False)
    course = tx.working_set.get(COURSES, *key)
    assert course is not None
    return course


async def terms_in_force(tx: Transaction) -> CompletionTerms:
    """What the completion rule says now. Raises `Refused` as long as none was adopted."""
    rule = await tx.row(RULES, COMPLETION)
    return completion_terms(rule)
