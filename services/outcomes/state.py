"""Every table that outcomes folds, in the order in which a transaction locks them.

People and homes come first: whoever opens a case, and whoever takes in a fact about its people, locks them before the
case, so that each finds what the other did.
"""

from typing import Any

from services.kit.table import Table
from services.outcomes.business_units.state import BUSINESS_UNITS
from services.outcomes.cases.state import CASES
from services.outcomes.classes.state import COHORTS, PLACEMENTS
from services.outcomes.cooperatives.state import COOPERATIVE_MEMBERS, COOPERATIVES
from services.outcomes.follow_ups.state import FOLLOW_UPS
from services.outcomes.interventions.state import CASE_INTERVENTIONS, INTERVENTIONS
from services.outcomes.people.state import HOMES, PERSONS
from services.outcomes.rejections.state import REGISTRY_REJECTIONS, REJECTIONS
from services.outcomes.rules.state import RULES
from services.outcomes.snapshots.state import SNAPSHOTS

TABLES: tuple[Table[Any], ...] = (
    PERSONS,
    HOMES,
    COHORTS,
    PLACEMENTS,
    INTERVENTIONS,
    CASES,
    FOLLOW_UPS,
    CASE_INTERVENTIONS,
    BUSINESS_UNITS,
    COOPERATIVES,
    COOPERATIVE_MEMBERS,
    RULES,
    REJECTIONS,
    REGISTRY_REJECTIONS,
    SNAPSHOTS,
)
