"""What figures are counted from: rows of the folded tables, and the dimensions by which they can be told apart."""

from dataclasses import dataclass, field
from enum import StrEnum


class Dimension(StrEnum):
    KABUPATEN = "kabupaten"  # or kota
    KECAMATAN = "kecamatan"
    COURSE = "course"
    MODE = "mode"  # in class, or on the spot in the village
    COHORT = "cohort"
    FOLLOW_UP = "follow_up"  # months after completion
    REASON = "reason"
    NEED = "need"
    KIND = "kind"
    SYSTEM = "system"
    LIST = "list"


FILTERS = (Dimension.COURSE, Dimension.MODE, Dimension.COHORT)
"""What an answer can be narrowed to, beside an area."""


@dataclass(frozen=True, eq=False)
class Source:
    """Rows, in SQL: what stands after FROM, and after WHERE."""

    rows: str
    area: str | None  # the expression that gives a row's area code; None: it has none
    dimensions: dict[Dimension, str] = field(default_factory=dict)
    where: str = "true"

    @property
    def by(self) -> dict[Dimension, str]:
        """Every dimension with its expression; a part has its name, or '' where nothing is known."""
        return _areas(self.area) | {name: f"coalesce(({sql})::text, '')" for name, sql in self.dimensions.items()}


def _areas(area: str | None) -> dict[Dimension, str]:
    if area is None:
        return {}
    return {Dimension.KABUPATEN: f"left({area}, 5)", Dimension.KECAMATAN: f"left({area}, 8)"}


def _of_a_case(**more: str) -> dict[Dimension, str]:
    """By the training that the case follows."""
    own = {Dimension.COURSE: "f.course_id", Dimension.MODE: "f.delivery_mode", Dimension.COHORT: "f.cohort_id"}
    return own | {Dimension(name): sql for name, sql in more.items()}


HOMES = Source("home h", "h.area_code", where="h.status = 'listed'")

PEOPLE = Source("person p", "p.area_code", {Dimension.REASON: "p.rejected_because"}, where="p.history <> '[]'")
"""Everybody who was ever nominated. Who was erased before that has a row, and no history."""

PLACEMENTS = Source(
    "placement l JOIN cohort c USING (cohort_id)",
    "l.area_code",
    {
        Dimension.COURSE: "c.course_id",
        Dimension.MODE: "c.delivery_mode",
        Dimension.COHORT: "l.cohort_id",
        Dimension.REASON: "coalesce(l.withdrawn_because, l.not_completed_because)",
    },
    where="l.enrolled_at IS NOT NULL",
)
"""Everybody who ever had a place; who was on the waitlist only has none."""

CASES = Source("case_file f", "f.area_code", _of_a_case())

FOLLOW_UPS = Source(
    "follow_up v JOIN case_file f USING (case_id)", "f.area_code", _of_a_case(follow_up="lpad(v.months::text, 2, '0')")
)

NEEDS_THEN = Source(
    "case_file f CROSS JOIN LATERAL jsonb_to_recordset(f.baseline -> 'needs') AS n(need text, met boolean)",
    "f.area_code",
    _of_a_case(need="n.need"),
)
NEEDS_NOW = Source(
    "case_file f JOIN follow_up v ON v.case_id = f.case_id AND v.months = f.last_follow_up"
    " CROSS JOIN LATERAL jsonb_to_recordset(v.needs) AS n(need text, met boolean)",
    "f.area_code",
    _of_a_case(need="n.need"),
)
"""By the visit that was made last."""

LAST_VISITS = Source(
    "case_file f JOIN follow_up v ON v.case_id = f.case_id AND v.months = f.last_follow_up",
    "f.area_code",
    _of_a_case(),
)

INTERVENTIONS = Source("case_intervention i JOIN case_file f USING (case_id)", "f.area_code", _of_a_case(kind="i.kind"))
REPORTS = Source("intervention i", "i.area_code", {Dimension.KIND: "i.kind", Dimension.REASON: "i.because"})

BUSINESS_UNITS = Source("business_unit b JOIN case_file f USING (case_id)", "f.area_code", _of_a_case(kind="b.sector"))

COHORTS = Source(
    "cohort c",
    "c.area_code",
    {Dimension.COURSE: "c.course_id", Dimension.MODE: "c.delivery_mode", Dimension.COHORT: "c.cohort_id"},
    where="c.status <> 'cancelled'",
)
"""By the area where they meet."""

COOPERATIVES = Source("cooperative k", "k.area_code")

LISTS = Source("snapshot s", None, {Dimension.LIST: "s.snapshot_id"})

_REJECTED = "(SELECT system, faults FROM rejection UNION ALL SELECT system, faults FROM registry_rejection) r"
REJECTIONS = Source(_REJECTED, None, {Dimension.SYSTEM: "r.system"})
FAULTS = Source(
    f"{_REJECTED} CROSS JOIN LATERAL jsonb_to_recordset(r.faults) AS t(field text, reason text)",
    None,
    {Dimension.SYSTEM: "r.system", Dimension.REASON: "t.reason"},
)
