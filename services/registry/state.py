"""Owns the list of the registry's folded tables, in the order in which a transaction locks them."""

from typing import Any

from services.kit.table import Table
from services.registry.households.state import HOUSEHOLDS, MEMBERS
from services.registry.participants.state import PARTICIPANTS, VISITS
from services.registry.rejections.state import REJECTIONS
from services.registry.rules.state import RULES
from services.registry.snapshots.state import SNAPSHOTS

TABLES: tuple[Table[Any], ...] = (SNAPSHOTS, HOUSEHOLDS, MEMBERS, PARTICIPANTS, VISITS, RULES, REJECTIONS)
