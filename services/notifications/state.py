"""Every table that notifications folds, in the order in which a transaction locks them: others' facts, then its own."""

from typing import Any

from services.kit.table import Table
from services.notifications.cases.state import CASES
from services.notifications.classes.state import COHORTS, PLACEMENTS
from services.notifications.contacts.state import CONTACTS
from services.notifications.deliveries.state import DELIVERIES
from services.notifications.people.state import PERSONS
from services.notifications.rules.state import RULES
from services.notifications.templates.state import TEMPLATES

TABLES: tuple[Table[Any], ...] = (
    PERSONS,
    COHORTS,
    PLACEMENTS,
    CASES,
    TEMPLATES,
    RULES,
    CONTACTS,
    DELIVERIES,
)
