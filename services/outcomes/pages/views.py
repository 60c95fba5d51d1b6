"""What the pages show, made from what is public: every number with its words and the address where it is explained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from contracts import areas
from contracts.areas import AreaCode, Level
from services.outcomes.calendar import day_of
from services.outcomes.figures import names
from services.outcomes.figures.definitions import FIGURES, Figure, RuleKind, Unit
from services.outcomes.figures.press import Issue
from services.outcomes.figures.publication import Cell
from services.outcomes.figures.queries import RuleInForce
from services.outcomes.figures.sources import Dimension
from services.outcomes.figures.words import Language
from services.outcomes.pages import formats
from services.outcomes.pages.texts import SOURCES, TEXTS

SHADES = 5
HIDDEN = "···"
NONE = "–"

ON_THE_MAP = ("graduated_now", "graduated", "completed", "enrolled", "verified", "households_listed")
"""What the tiles can show."""
IN_TABLES = ("households_listed", "verified", "enrolled", "completed", "graduated_now", "follow_ups_due")
OF_COHORTS = ("enrolled", "completed", "graduated_now")

LOMBOK = ("52.08", "52.71", "52.01", "52.02", "52.03")
SUMBAWA = ("52.07", "52.04", "52.05", "52.06", "52.72")

FUNNEL = (
    ("funnel.list", ("households_listed", "people_listed")),
    ("funnel.field", ("nominated", "visited", "verified", "verified_now")),
    ("funnel.training", ("enrolled", "completed", "followed_up", "graduated", "graduated_now")),
)
SUPPORT = (
    "helped",
    "business_units_planned",
    "business_units_launched",
    "jobs",
    "cooperatives_active",
    "members_recruited",
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number on a page. `share` is how long its bar is, of 100; None where there is nothing to draw."""

    text: str
    href: str
    hidden: bool
    value: float | int | None
    share: float | None = None
    shade: int = 0


@dataclass(frozen=True, slots=True)
class Fact:
    """A number with what it counts; what opens when somebody asks how we know."""

    id: str
    title: str
    definition: str
    article: str
    rule: str
    api: str
    number: Number


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table."""

    head: str
    numbers: tuple[Number, ...]
    href: str | None = None
    cells: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    code: AreaCode
    name: str
    href: str
    number: Number


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    facts: tuple[Fact, ...]
    bars: bool  # steps of one way, and not of several units


@dataclass(frozen=True, slots=True)
class Choice:
    title: str
    href: str
    chosen: bool


@dataclass(frozen=True)
class Page:
    """One page in one language, over one issue."""

    issue: Issue
    language: Language
    path: str
    chosen_map: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    # --- words and addresses ----------------------------------------------------------------------------------------

    def t(self, key: str, **places: object) -> str:
        text = TEXTS[key].in_(self.language)
        return text.format(**places) if places else text

    def link(self, path: str, **parameters: str | None) -> str:
        asked = {name: value for name, value in parameters.items() if value is not None}
        if self.language != "id":
            asked["lang"] = self.language
        return f"{path}?{urlencode(asked)}" if asked else path

    @property
    def in_the_other_language(self) -> str:
        asked = dict(self.extra)
        if self.language == "id":
            asked["lang"] = "en"
        return f"{self.path}?{urlencode(asked)}" if asked else self.path

    @property
    def fragment(self) -> str:
        """Where the script asks for the live part of this page."""
        asked = self.extra | ({} if self.language == "id" else {"lang": self.language}) | {"live": "1"}
        return f"{self.path}?{urlencode(asked)}"

    # --- numbers ------------------------------------------------------------------------------------------------------

    def number(
        self, figure_id: str, by: Dimension | None = None, part: str | None = None, whole: float | None = None
    ) -> Number:
        """A figure, in whole or of one part; with `whole` as a part of 100."""
        figure, release = FIGURES[figure_id], self.issue.release
        cell = release.total(figure) if by is None or part is None else release.of(figure, by, part)
        return self._shown(figure, cell, by, part, whole)

    def _shown(
        self, figure: Figure, cell: Cell, by: Dimension | None, part: str | None, whole: float | None = None
    ) -> Number:
        if cell.hidden:
            text = HIDDEN
        elif cell.value is None:
            text = NONE
        else:
            text = formats.number(cell.value, figure.unit, self.language)
        share = None
        if cell.value is not None and figure.unit is Unit.PERCENT:
            share = float(cell.value)
        elif cell.value is not None and whole:
            share = 100 * cell.value / whole
        return Number(
            text=text,
            href=self.link(f"/how/{figure.id}", **({} if by is None else {"by": by.value, "part": part})),
            hidden=cell.hidden,
            value=cell.value,
            share=None if share is None else round(min(share, 100), 2),
        )

    @cached_property
    def out(self) -> str:
        """The figure of who lives out of extreme poverty; where too few fell back to be told, of who ever came out."""
        now, ever = self.number("graduated_now"), self.number("graduated")
        return "graduated" if now.hidden and not ever.hidden else "graduated_now"

    @property
    def map_of(self) -> str:
        return self.chosen_map or self.out

    @property
    def in_tables(self) -> tuple[str, ...]:
        return self._told(IN_TABLES)

    @property
    def of_cohorts(self) -> tuple[str, ...]:
        return self._told(OF_COHORTS)

    def _told(self, figure_ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.out if name == "graduated_now" else name for name in figure_ids)

    def fact(self, figure_id: str, area: AreaCode | None = None, whole: float | None = None) -> Fact:
        figure = FIGURES[figure_id]
        by = None if area is None else level(area)
        return Fact(
            id=figure.id,
            title=figure.title.in_(self.language),
            definition=figure.definition.in_(self.language),
            article=self.article(figure),
            rule=self.rule_of(figure),
            api=self.api(figure, area),
            number=self.number(figure_id, by, area, whole),
        )

    def article(self, figure: Figure) -> str:
        title, published = figure.answers.title.in_(self.language), figure.answers.published
        if len(published) == len("2024-10-15"):
            return f"{title}, {formats.day(datetime.fromisoformat(published).date(), self.language)}"
        return title

    def rule_of(self, figure: Figure) -> str:
        """The rule that decides, by its version."""
        if figure.rule is None:
            return self.t("how.no_rule")
        in_force = self.issue.rules.get(figure.rule, [])
        if not in_force:
            return f"{self.t(f'rule.{figure.rule}')}: {self.t('how.rule_missing')}"
        versions = ", ".join(f"{rule.rule_id} {self.t('how.version')} {rule.rule_version}" for rule in in_force)
        return f"{self.t(f'rule.{figure.rule}')}: {versions}"

    def api(self, figure: Figure, area: AreaCode | None = None, by: str | None = None) -> str:
        asked = {name: value for name, value in (("area", area), ("by", by)) if value is not None}
        address = f"/public/figures/{figure.id}"
        return f"{address}?{urlencode(asked)}" if asked else address

    # --- the parts of the overview ------------------------------------------------------------------------------------

    def funnel(self, area: AreaCode | None = None) -> list[Group]:
        return [self._steps(title, steps, area) for title, steps in FUNNEL]

    def _steps(self, title: str, steps: Sequence[str], area: AreaCode | None) -> Group:
        by = None if area is None else level(area)
        first = max((self.number(step, by, area).value or 0 for step in steps), default=0)
        return Group(self.t(title), tuple(self.fact(step, area, first) for step in steps), bars=title != "funnel.list")

    @property
    def map_choices(self) -> list[Choice]:
        return [
            Choice(
                FIGURES[name].title.in_(self.language),
                self.link(self.path, map=None if name == self.out else name) + "#peta",
                name == self.map_of,
            )
            for name in ON_THE_MAP
        ]

    def island(self, codes: Sequence[AreaCode]) -> list[Tile]:
        return self._tiles(codes, Dimension.KABUPATEN)

    @property
    def elsewhere(self) -> list[Tile]:
        known = self.issue.release.parts[Dimension.KABUPATEN]
        return self._tiles([code for code in known if code not in (*LOMBOK, *SUMBAWA)], Dimension.KABUPATEN)

    def kecamatan_tiles(self, area: AreaCode) -> list[Tile]:
        return self._tiles(self.kecamatan(area), Dimension.KECAMATAN)

    def kecamatan(self, area: AreaCode) -> list[AreaCode]:
        return [code for code in self.issue.release.parts[Dimension.KECAMATAN] if areas.covers(area, code)]

    def _tiles(self, codes: Sequence[AreaCode], by: Dimension) -> list[Tile]:
        every = self.issue.release.parts[by]
        beside = every if by is Dimension.KABUPATEN else codes
        most = max((self.number(self.map_of, by, code).value or 0 for code in beside), default=0)
        return [
            Tile(
                code,
                self.area_name(code),
                self.link(f"/area/{code}", map=self.chosen_map),
                _shaded(self.number(self.map_of, by, code), most),
            )
            for code in codes
        ]

    def area_name(self, code: AreaCode) -> str:
        if areas.is_known(code):
            return areas.short_name(code)
        return self.t("unknown_area") if code.endswith("?") else code

    def table_heads(self, figure_ids: Sequence[str]) -> list[str]:
        return [self.short_title(name) for name in figure_ids]

    def short_title(self, figure_id: str) -> str:
        """For the head of a column, where its place in the table says the rest."""
        short = TEXTS.get(f"short.{figure_id}") or FIGURES[figure_id].title
        return short.in_(self.language)

    def area_lines(self, codes: Sequence[AreaCode] | None = None) -> list[Line]:
        by = Dimension.KABUPATEN if codes is None else Dimension.KECAMATAN
        return [
            Line(
                self.area_name(code),
                tuple(self.number(name, by, code) for name in self.in_tables),
                self.link(f"/area/{code}"),
            )
            for code in (self.issue.release.parts[by] if codes is None else codes)
        ]

    def whole_line(self, area: AreaCode | None = None) -> Line:
        by = None if area is None else level(area)
        return Line(self.t("whole"), tuple(self.number(name, by, area) for name in self.in_tables))

    def cohort_lines(self) -> list[Line]:
        return [
            Line(
                c.number,
                tuple(self.number(name, Dimension.COHORT, c.cohort_id) for name in self.of_cohorts),
                note=" · ".join(
                    (
                        c.course_title,
                        names.name_of(c.mode).in_(self.language),
                        formats.short_day(c.starts_on, self.language),
                        names.name_of(c.status).in_(self.language),
                    )
                ),
            )
            for c in self.issue.classes.values()
        ]

    INCOME_FIGURES = ("income_median", "income_mean", "above_line", "follow_ups_recorded")

    def income_lines(self) -> list[Line]:
        most = max(self._incomes(), default=0)
        return [
            Line(
                self.months(part),
                tuple(
                    self.number(name, Dimension.FOLLOW_UP, part, most if name.startswith("income") else None)
                    for name in self.INCOME_FIGURES
                ),
            )
            for part in self.follow_ups
            if any(self.number(name, Dimension.FOLLOW_UP, part).text != NONE for name in self.INCOME_FIGURES[:2])
        ]

    def _incomes(self) -> list[float]:
        shown = [
            self.number(name, Dimension.FOLLOW_UP, part).value
            for part in self.follow_ups
            for name in self.INCOME_FIGURES[:2]
        ]
        return [1.15 * value for value in (*shown, self.line_rupiah) if value is not None]

    @property
    def line_rupiah(self) -> int | None:
        rule = self.graduation_rule
        return None if rule is None or rule.definition is None else int(rule.definition["line_rupiah_per_person_month"])

    @property
    def line_share(self) -> float | None:
        """Where the line stands in the drawing, of 100."""
        most = max(self._incomes(), default=0)
        return None if self.line_rupiah is None or not most else round(100 * self.line_rupiah / most, 2)

    @property
    def graduation_rule(self) -> RuleInForce | None:
        return next(iter(self.issue.rules.get(RuleKind.GRADUATION, [])), None)

    def graduation_sentence(self) -> str | None:
        rule = self.graduation_rule
        if rule is None or rule.definition is None:
            return None
        terms: dict[str, Any] = rule.definition
        needs = [names.name_of(need).in_(self.language) for need in terms["needs_required"]]
        return self.t(
            "graduation.rule",
            line=formats.rupiah(terms["line_rupiah_per_person_month"], self.language),
            livelihoods=terms["minimum_livelihoods"],
            needs=self.listed(needs),
            times=terms["follow_ups_in_a_row"],
            months=terms["not_before_months"],
        )

    def listed(self, words: Sequence[str]) -> str:
        *first, last = words or [NONE]
        return f"{', '.join(first)} {self.t('lede.and')} {last}" if first else last

    @property
    def follow_ups(self) -> tuple[str, ...]:
        return self.issue.release.parts[Dimension.FOLLOW_UP]

    def months(self, part: str) -> str:
        return self.t("month") if int(part) == 1 else self.t("months", n=int(part))

    FOLLOW_UP_FIGURES = ("follow_ups_scheduled", "follow_ups_recorded", "follow_ups_missed")

    def follow_up_lines(self) -> list[Line]:
        return [
            Line(
                self.months(part),
                tuple(self.number(name, Dimension.FOLLOW_UP, part) for name in self.FOLLOW_UP_FIGURES),
            )
            for part in self.follow_ups
        ]

    def need_lines(self) -> list[Line]:
        return [
            Line(
                _capital(names.name_of(need).in_(self.language)),
                tuple(self.number(name, Dimension.NEED, need) for name in ("needs_met_then", "needs_met_now")),
            )
            for need in self.issue.release.parts[Dimension.NEED]
        ]

    def part_lines(self, figure_id: str, by: Dimension, *, zeros: bool = False) -> list[Line]:
        """A figure by reason or kind, the largest first; parts that nobody is in are left out."""
        figure, release = FIGURES[figure_id], self.issue.release
        cells = [cell for cell in release.by(figure, by) if zeros or cell.value != 0]
        if all(cell.hidden for cell in cells) and release.total(figure).value == 0:
            return []
        most = max((cell.value or 0 for cell in cells), default=0)
        ordered = sorted(cells, key=lambda cell: (cell.value is None, -(cell.value or 0)))
        return [
            Line(
                _capital(self.part_name(by, cell.key)),
                (self._shown(figure, cell, by, cell.key, most),),
            )
            for cell in ordered
        ]

    def part_name(self, by: Dimension, part: str) -> str:
        match by:
            case Dimension.KABUPATEN | Dimension.KECAMATAN:
                return self.area_name(part)
            case Dimension.COHORT:
                return self.issue.classes[part].number if part in self.issue.classes else part
            case Dimension.COURSE:
                return next((c.course_title for c in self.issue.classes.values() if c.course_id == part), part)
            case Dimension.FOLLOW_UP:
                return self.months(part)
        return names.name_of(part).in_(self.language)

    # --- what it stands on --------------------------------------------------------------------------------------------

    @property
    def as_of(self) -> str:
        return formats.moment(self.issue.as_of, self.language)

    @property
    def sequence(self) -> str:
        return formats.count(self.issue.standing.last_sequence, self.language)

    @property
    def smallest(self) -> int:
        return self.issue.release.smallest

    def count(self, value: int) -> str:
        return formats.count(value, self.language)

    def rupiah(self, value: int) -> str:
        return formats.rupiah(value, self.language)

    def rules_in_force(self) -> list[Line]:
        lines = []
        for kind in RuleKind:
            for rule in self.issue.rules.get(kind, []):
                source = self.source_of(rule) or self.t("how.applied_by_training")
                since = "" if rule.adopted_at is None else formats.day(day_of(rule.adopted_at), self.language)
                lines.append(Line(_capital(self.t(f"rule.{kind}")), (), cells=(str(rule.rule_version), source, since)))
        return lines

    def source_of(self, rule: RuleInForce) -> str | None:
        return SOURCES.get(rule.source or "", rule.source) if self.language == "id" else rule.source


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shaded(number: Number, most: float) -> Number:
    """The shade of a tile: 0 for none, then in fifths of the most."""
    if number.value is None or not most:
        return number
    shade = 0 if number.value == 0 else min(SHADES, 1 + int(SHADES * number.value / (most * 1.0001)))
    return Number(number.text, number.href, number.hidden, number.value, number.share, shade)


def level(area: AreaCode) -> Dimension:
    return Dimension.KABUPATEN if areas.level(area) is Level.KABUPATEN else Dimension.KECAMATAN


@dataclass(frozen=True)
class How:
    """How one number is known."""

    page: Page
    figure: Figure
    number: Number
    of: str  # which part it is of
    by: Dimension | None
    part: str | None

    @property
    def title(self) -> str:
        return self.figure.title.in_(self.page.language)

    @property
    def rules(self) -> list[RuleInForce]:
        return [] if self.figure.rule is None else self.page.issue.rules.get(self.figure.rule, [])

    @property
    def breakdowns(self) -> list[tuple[str, list[Line]]]:
        return [
            (
                self.page.t("how.by", dimension=names.DIMENSIONS[by].in_(self.page.language)),
                self._lines(by),
            )
            for by in self.figure.public_by
            if by is not Dimension.KECAMATAN
        ]

    def _lines(self, by: Dimension) -> list[Line]:
        page, release = self.page, self.page.issue.release
        cells = release.by(self.figure, by)
        most = max((cell.value or 0 for cell in cells), default=0)
        return [
            Line(
                _capital(page.part_name(by, cell.key)),
                (page._shown(self.figure, cell, by, cell.key, most),),
                page.link(f"/area/{cell.key}") if by is Dimension.KABUPATEN else None,
            )
            for cell in cells
        ]

    @property
    def api(self) -> str:
        if self.by in (Dimension.KABUPATEN, Dimension.KECAMATAN):
            return self.page.api(self.figure, self.part)
        return self.page.api(self.figure, by=None if self.by is None else self.by.value)

    @property
    def exact_api(self) -> str:
        return self.api.removeprefix("/public")

    def terms(self, rule: RuleInForce) -> list[tuple[str, str]]:
        """What a rule says, term by term."""
        language = self.page.language
        return [
            (names.term(name).in_(language), self._said(name, value)) for name, value in (rule.definition or {}).items()
        ]

    def _said(self, name: str, value: object) -> str:
        match value:
            case list():
                return self.page.listed([names.name_of(str(one)).in_(self.page.language) for one in value])
            case int() if "rupiah" in name:
                return self.page.rupiah(value)
        return str(value)

    def adopted(self, rule: RuleInForce) -> str:
        return "" if rule.adopted_at is None else formats.day(day_of(rule.adopted_at), self.page.language)
