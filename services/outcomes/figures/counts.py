"""The counts that are public, each in SQL, and which holds which. What is protected stands here, once."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from services.outcomes.figures import sources
from services.outcomes.figures.protection import Column
from services.outcomes.figures.sources import Dimension, Source

AREA = "area"
CLASS = "class"
BOTH = frozenset({AREA, CLASS})
IN_AREAS = frozenset({AREA})


@dataclass(frozen=True)
class Count:
    """A count of people, households or the like. `of_each` makes one count for each part of a dimension."""

    name: str
    source: Source
    sql: str
    within: "tuple[Count, ...]" = ()
    by: frozenset[str] = field(default_factory=frozenset)
    of_each: Dimension | None = None

    def column(self, part: str | None = None) -> Column:
        """As it is protected; with a part if it is counted for each."""
        return Column(self.named(part), tuple(outer.named(part) for outer in self.within), self.by)

    def named(self, part: str | None = None) -> str:
        return self.name if self.of_each is None else f"{self.name}@{part}"


def _where(condition: str) -> str:
    return f"count(*) FILTER (WHERE {condition})"


# --- The targeting list -----------------------------------------------------------------------------------------------

LISTED_PEOPLE = Count("people_listed", sources.HOMES, "coalesce(sum(h.people), 0)::bigint", by=IN_AREAS)
LISTED = Count("households_listed", sources.HOMES, "count(*)", (LISTED_PEOPLE,), IN_AREAS)

# --- The field --------------------------------------------------------------------------------------------------------

NOMINATED = Count("nominated", sources.PEOPLE, "count(*)", by=IN_AREAS)
VISITED = Count(
    "visited",
    sources.PEOPLE,
    _where("p.verified_since IS NOT NULL OR p.visits <> '[]' OR p.status = 'visited'"),
    (NOMINATED,),
    IN_AREAS,
)
VERIFIED = Count("verified", sources.PEOPLE, _where("p.verified_since IS NOT NULL"), (VISITED,), IN_AREAS)
IN_PLAY = Count("in_play", sources.PEOPLE, _where("p.status <> 'rejected'"), (NOMINATED,))
VERIFIED_NOW = Count("verified_now", sources.PEOPLE, _where("p.status = 'verified'"), (VERIFIED, IN_PLAY), IN_AREAS)
REJECTED = Count("rejected", sources.PEOPLE, _where("p.status = 'rejected'"))
REJECTED_BY_REASON = replace(REJECTED, of_each=Dimension.REASON)

# --- Training ---------------------------------------------------------------------------------------------------------

ENROLLED = Count("enrolled", sources.PLACEMENTS, "count(*)", by=BOTH)
KEPT = Count("kept", sources.PLACEMENTS, _where("l.status <> 'withdrawn'"), (ENROLLED,))
CONFIRMED = Count("confirmed", sources.PLACEMENTS, "count(l.confirmed_at)", (ENROLLED,))
JUDGED = Count("judged", sources.PLACEMENTS, _where("l.status IN ('completed', 'not_completed')"), (KEPT,))
COMPLETED = Count("completed", sources.PLACEMENTS, _where("l.status = 'completed'"), (JUDGED,), BOTH)
WITHDRAWN = Count("withdrawn", sources.PLACEMENTS, _where("l.status = 'withdrawn'"))
WITHDRAWN_BY_REASON = replace(WITHDRAWN, of_each=Dimension.REASON)
NOT_COMPLETED = Count("not_completed", sources.PLACEMENTS, _where("l.status = 'not_completed'"))
NOT_COMPLETED_BY_REASON = replace(NOT_COMPLETED, of_each=Dimension.REASON)

# --- Cases ------------------------------------------------------------------------------------------------------------

OPENED = Count("cases", sources.CASES, "count(*)", (COMPLETED,))
FOLLOWED_UP = Count("followed_up", sources.CASES, "count(f.last_follow_up)", (OPENED,), BOTH)
GRADUATED = Count("graduated", sources.CASES, "count(f.graduated_on)", (FOLLOWED_UP,), BOTH)
ABOVE_NOW = Count("above_line_now", sources.CASES, _where("f.last_above_line"), (FOLLOWED_UP,), BOTH)
GRADUATED_NOW = Count("graduated_now", sources.CASES, _where("f.standing = 'graduated'"), (GRADUATED,), BOTH)
RELAPSED = Count("relapsed", sources.CASES, "count(f.relapsed_on)", (GRADUATED,))
DUE = Count(
    "follow_ups_due",
    sources.FOLLOW_UPS,
    "count(DISTINCT v.case_id) FILTER (WHERE v.status = 'due')",
    (OPENED,),
    IN_AREAS,
)
OVERDUE = Count(
    "follow_ups_overdue",
    sources.FOLLOW_UPS,
    "count(DISTINCT v.case_id) FILTER (WHERE v.status = 'missed' AND f.status = 'open')",
    (OPENED,),
)
OPEN = Count("cases_open", sources.CASES, _where("f.status = 'open'"), (OPENED,))
HELPED = Count("helped", sources.CASES, _where("f.interventions > 0"), (OPENED,))
TESTED = Count("tested", sources.CASES, _where("f.pre_test IS NOT NULL AND f.post_test IS NOT NULL"), (OPENED,))

# --- Of each follow-up ------------------------------------------------------------------------------------------------

SCHEDULED = Count("scheduled", sources.FOLLOW_UPS, "count(*)", (OPENED,), of_each=Dimension.FOLLOW_UP)
CAME_DUE = Count(
    "came_due",
    sources.FOLLOW_UPS,
    _where("v.status IN ('due', 'recorded', 'missed')"),
    (SCHEDULED,),
    of_each=Dimension.FOLLOW_UP,
)
SETTLED = Count(
    "settled",
    sources.FOLLOW_UPS,
    _where("v.status IN ('recorded', 'missed')"),
    (CAME_DUE,),
    of_each=Dimension.FOLLOW_UP,
)
RECORDED = Count(
    "recorded", sources.FOLLOW_UPS, _where("v.status = 'recorded'"), (SETTLED,), of_each=Dimension.FOLLOW_UP
)
ABOVE = Count("above", sources.FOLLOW_UPS, _where("v.above_line"), (RECORDED,), of_each=Dimension.FOLLOW_UP)

# --- Of each need -----------------------------------------------------------------------------------------------------

NEED_KNOWN_THEN = Count("need_known_then", sources.NEEDS_THEN, "count(*)", (OPENED,), of_each=Dimension.NEED)
NEED_MET_THEN = Count("need_met_then", sources.NEEDS_THEN, _where("n.met"), (NEED_KNOWN_THEN,), of_each=Dimension.NEED)
NEED_KNOWN_NOW = Count("need_known_now", sources.NEEDS_NOW, "count(*)", (FOLLOWED_UP,), of_each=Dimension.NEED)
NEED_MET_NOW = Count("need_met_now", sources.NEEDS_NOW, _where("n.met"), (NEED_KNOWN_NOW,), of_each=Dimension.NEED)

# --- What else was done -----------------------------------------------------------------------------------------------

INTERVENTIONS = Count("interventions", sources.INTERVENTIONS, "count(*)")
INTERVENTIONS_BY_KIND = replace(INTERVENTIONS, of_each=Dimension.KIND)
UNITS_PLANNED = Count("business_units_planned", sources.BUSINESS_UNITS, "count(*)")
UNITS_LAUNCHED = Count(
    "business_units_launched", sources.BUSINESS_UNITS, _where("b.status = 'launched'"), (UNITS_PLANNED,)
)
RECRUITED = Count("members_recruited", sources.COOPERATIVES, "coalesce(sum(k.recruited), 0)::bigint")

# --- What is protected together ---------------------------------------------------------------------------------------

ON_THE_LIST = (LISTED_PEOPLE, LISTED)
IN_THE_FIELD = (NOMINATED, VERIFIED, VISITED, IN_PLAY, VERIFIED_NOW)
IN_TRAINING_AND_AFTER = (
    ENROLLED,
    COMPLETED,
    GRADUATED,
    FOLLOWED_UP,
    GRADUATED_NOW,
    ABOVE_NOW,
    DUE,
    KEPT,
    JUDGED,
    OPENED,
    CONFIRMED,
    RELAPSED,
    OPEN,
    OVERDUE,
    HELPED,
    TESTED,
)
"""What matters most comes first: of two that cannot both be shown, the first is."""
OF_EACH_FOLLOW_UP = (SCHEDULED, CAME_DUE, SETTLED, RECORDED, ABOVE)
OF_EACH_NEED = (NEED_KNOWN_THEN, NEED_MET_THEN, NEED_KNOWN_NOW, NEED_MET_NOW)
ALONE = (UNITS_PLANNED, UNITS_LAUNCHED, RECRUITED)


def by_source(counts: Iterable[Count]) -> dict[Source, list[Count]]:
    """For one query a source."""
    grouped: dict[Source, list[Count]] = {}
    for count in counts:
        grouped.setdefault(count.source, []).append(count)
    return grouped
