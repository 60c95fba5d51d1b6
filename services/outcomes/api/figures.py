"""Figures, exact, for who may see them: each with its definition, the rule that decides, and what it stands on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from contracts import areas
from services.kit.http import Reads, reads_as
from services.kit.refusal import FieldProblem, Refused
from services.outcomes.api.shapes import AreaQuery, IdQuery
from services.outcomes.figures import names, queries
from services.outcomes.figures.definitions import FIGURES, Article, Figure, RuleKind, Unit
from services.outcomes.figures.queries import Class, Narrowed, RuleInForce, Standing, Value
from services.outcomes.figures.sources import FILTERS, Dimension
from services.outcomes.figures.words import Text

router = APIRouter(tags=["figures"])

FigureReads = Annotated[Reads, Depends(reads_as("officer", "district", "auditor", "operator", one_moment=True))]
FigureId = Annotated[str, Path(pattern=r"^[a-z_]{1,40}$")]
ModeQuery = Annotated[str | None, Query(pattern=r"^[a-z_]{1,40}$", description="classroom or on_site")]


class AnswersTo(BaseModel):
    """The article or regulation whose question a figure answers."""

    title: Text
    published: str

    @classmethod
    def of(cls, article: Article) -> "AnswersTo":
        return cls(title=article.title, published=article.published)


class Definition(BaseModel):
    """What a figure counts. `by` are the dimensions by which it can be asked for."""

    id: str
    title: Text
    definition: Text
    answers: AnswersTo
    unit: Unit
    decided_by: RuleKind | None
    by: list[Dimension]

    @classmethod
    def of(cls, figure: Figure) -> "Definition":
        return cls(
            id=figure.id,
            title=figure.title,
            definition=figure.definition,
            answers=AnswersTo.of(figure.answers),
            unit=figure.unit,
            decided_by=figure.rule,
            by=list(figure.by),
        )


class Part(BaseModel):
    """A value: `of` is how many rows, people or visits it is about."""

    key: str
    name: Text | None
    value: float | int | None
    of: int


class FigureAnswer(BaseModel):
    """A figure at one moment. `stands_on` says which facts it knows."""

    figure: Definition
    area: str | None
    by: Dimension | None
    narrowed_to: dict[Dimension, str]
    total: Part
    parts: list[Part]
    rules: list[RuleInForce]
    as_of: datetime
    stands_on: Standing


@router.get("/figures")
async def list_figures(_reads: FigureReads) -> list[Definition]:
    """Every figure with its definition, the article or rule that it answers, and the dimensions that it knows."""
    return [Definition.of(figure) for figure in FIGURES.values()]


@router.get("/figures/{figure_id}")
async def show_figure(
    figure_id: FigureId,
    reads: FigureReads,
    by: Dimension | None = None,
    area: AreaQuery = None,
    course: IdQuery = None,
    mode: ModeQuery = None,
    cohort: IdQuery = None,
) -> FigureAnswer:
    """The figure over the areas of your token: exact, in whole and by a dimension."""
    figure = figure_named(figure_id)
    wanted = dict(zip(FILTERS, (course, mode, cohort), strict=True))
    narrowed = Narrowed(area, {name: value for name, value in wanted.items() if value is not None})
    _refuse_unknown(figure, by, narrowed)
    async with reads as db:
        exact = await queries.exact(db.connection, figure, by, narrowed, db.now)
        if len(exact.parts) > queries.MOST_PARTS:
            raise Refused(
                "too-many-parts",
                f"The figure has more than {queries.MOST_PARTS} parts.",
                status=422,
                remedy="Ask for a smaller area or for one cohort.",
            )
        called = await _names(db, by)
        rules = await queries.rules_in_force(db.connection)
        return FigureAnswer(
            figure=Definition.of(figure),
            area=area,
            by=by,
            narrowed_to=dict(narrowed.to),
            total=_part(exact.total, {}),
            parts=[_part(part, called) for part in exact.parts],
            rules=rules.get(figure.rule, []) if figure.rule else [],
            as_of=db.now,
            stands_on=await queries.standing(db.connection),
        )


def figure_named(figure_id: str) -> Figure:
    """Raises `Refused` (404)."""
    figure = FIGURES.get(figure_id)
    if figure is None:
        raise Refused("unknown-figure", "There is no such figure.", status=404, remedy="GET /figures lists them all.")
    return figure


def refuse_dimension(name: str, known: list[Dimension]) -> Refused:
    shown = ", ".join(known) or "none"
    problem = FieldProblem(f"query.{name}", "is not known by this figure", f"It knows: {shown}.")
    return Refused("unknown-dimension", "The figure cannot be told apart like this.", status=422, fields=[problem])


def _refuse_unknown(figure: Figure, by: Dimension | None, narrowed: Narrowed) -> None:
    known = list(figure.by)
    if by is not None and by not in known:
        raise refuse_dimension("by", known)
    if narrowed.area is not None and figure.source.area is None:
        raise refuse_dimension("area", known)
    for name in narrowed.to:
        if name not in known:
            raise refuse_dimension(name, known)


async def _names(db: Reads, by: Dimension | None) -> Mapping[str, Text]:
    match by:
        case Dimension.COHORT | Dimension.COURSE:
            return class_names(await queries.classes(db.connection), by)
        case Dimension.LIST:
            return {key: Text(id=name, en=name) for key, name in (await queries.lists(db.connection)).items()}
    return {}


def class_names(classes: list[Class], by: Dimension) -> dict[str, Text]:
    if by is Dimension.COHORT:
        return {c.cohort_id: Text(id=c.number, en=c.number) for c in classes}
    return {c.course_id: Text(id=c.course_title, en=c.course_title) for c in classes}


def part_name(key: str, called: Mapping[str, Text]) -> Text | None:
    """What a part is called: an area by its official name, a cohort by its number, a reason in words."""
    if not key:
        return None
    if key in called:
        return called[key]
    # Figures are told apart by kabupaten and kecamatan, never by province: "12" is a follow-up after 12 months.
    if "." in key and areas.is_known(key):
        return Text(id=areas.short_name(key), en=areas.short_name(key))
    return names.name_of(key)


def _part(value: Value, called: Mapping[str, Text]) -> Part:
    return Part(key=value.key, name=part_name(value.key, called), value=_number(value.value), of=value.of)


def _number(value: Any) -> float | int | None:
    return value if value is None or isinstance(value, int) else float(value)
