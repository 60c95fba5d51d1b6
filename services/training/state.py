"""Every table that training folds, in the order in which a transaction locks them.

Candidates come first: whoever puts people on a list locks them before anything else, so that two cohorts cannot take
one person on the same day. Then the programme, which guards the quotas; then the cohort, which guards its capacity.
"""

from typing import Any

from services.kit.table import Table
from services.training.candidates.state import CANDIDATES, DEMAND
from services.training.cohorts.state import COHORTS
from services.training.enrolments.state import ENROLMENTS
from services.training.programmes.state import COURSES, PROGRAMMES, QUOTAS
from services.training.rules.state import RULES

TABLES: tuple[Table[Any], ...] = (
    CANDIDATES,
    DEMAND,
    PROGRAMMES,
    COURSES,
    QUOTAS,
    COHORTS,
    ENROLMENTS,
    RULES,
)
