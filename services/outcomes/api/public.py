"""What everybody may know, without a log-in: aggregates alone, and nothing that tells of few people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from contracts import areas
from services.kit.refusal import FieldProblem, Refused
from services.outcomes.api.figures import (
    Definition,
    FigureId,
    class_names,
    figure_named,
    part_name,
    refuse_dimension,
)
from services.outcomes.figures.definitions import FIGURES, Figure, RuleKind, Unit
from services.outcomes.figures.press import Issue, Press
from services.outcomes.figures.publication import Cell
from services.outcomes.figures.queries import RuleInForce, Standing
from services.outcomes.figures.sources import Dimension
from services.outcomes.figures.words import Text

router = APIRouter(prefix="/public", tags=["public"])

PublicArea = Annotated[
    str | None, Query(pattern=r"^[0-9]{2}\.[0-9]{2}(\.[0-9]{2})?$", description="A kabupaten, kota or kecamatan: 52.01")
]


async def press_of(request: Request) -> Press:
    """The one press of this process."""
    state = request.app.state
    if not hasattr(state, "press"):
        state.press = Press(state.workplace)
    found: Press = state.press
    return found


ThePress = Annotated[Press, Depends(press_of)]


class PublicPart(BaseModel):
    """A public number. `hidden`: it would tell of fewer people than `smallest_cell`, or let others be worked out."""

    key: str
    name: Text | None
    value: float | int | None
    hidden: bool


class PublicFigure(BaseModel):
    """A figure for everybody, at one moment."""

    figure: Definition
    area: str | None
    by: Dimension | None
    total: PublicPart
    parts: list[PublicPart]
    smallest_cell: int
    rules: list[RuleInForce]
    as_of: datetime
    stands_on: Standing


class PublicTotal(BaseModel):
    id: str
    title: Text
    unit: Unit
    by: list[Dimension]
    value: float | int | None
    hidden: bool


class PublicFigures(BaseModel):
    """Every public figure in whole."""

    figures: list[PublicTotal]
    smallest_cell: int
    publication_rule: RuleInForce | None
    as_of: datetime
    stands_on: Standing


@router.get("/figures", response_model=PublicFigures)
async def list_public_figures(request: Request, the_press: ThePress) -> Response | PublicFigures:
    """Every public figure of the whole programme. Counts that would tell of few people are hidden; zeros are shown."""
    issue = await the_press.issue()
    if knows(request, issue.etag):
        return not_modified(issue.etag)
    totals = [(figure, issue.release.total(figure)) for figure in FIGURES.values() if figure.public is not None]
    answer = PublicFigures(
        figures=[
            PublicTotal(
                id=figure.id,
                title=figure.title,
                unit=figure.unit,
                by=list(figure.public_by),
                value=cell.value,
                hidden=cell.hidden,
            )
            for figure, cell in totals
        ],
        smallest_cell=issue.release.smallest,
        publication_rule=next(iter(issue.rules.get(RuleKind.PUBLICATION, [])), None),
        as_of=issue.as_of,
        stands_on=issue.standing,
    )
    return _told(answer, issue)


@router.get("/figures/{figure_id}", response_model=PublicFigure)
async def show_public_figure(
    request: Request,
    figure_id: FigureId,
    the_press: ThePress,
    by: Dimension | None = None,
    area: PublicArea = None,
) -> Response | PublicFigure:
    """One public figure in whole and by a dimension; with `area` that of one kabupaten, kota or kecamatan."""
    figure = public_figure(figure_id)
    _refuse_unknown(figure, by, area)
    issue = await the_press.issue()
    if knows(request, issue.etag):
        return not_modified(issue.etag)
    called = class_names(list(issue.classes.values()), by) if by in (Dimension.COHORT, Dimension.COURSE) else {}
    release = issue.release
    answer = PublicFigure(
        figure=Definition.of(figure).model_copy(update={"by": list(figure.public_by)}),
        area=area,
        by=by,
        total=_part(release.total(figure) if area is None else release.of(figure, level(area), area), {}),
        parts=[_part(cell, called) for cell in release.by(figure, by, area)] if by is not None else [],
        smallest_cell=release.smallest,
        rules=issue.rules.get(figure.rule, []) if figure.rule else [],
        as_of=issue.as_of,
        stands_on=issue.standing,
    )
    return _told(answer, issue)


def public_figure(figure_id: str) -> Figure:
    """Raises `Refused` (404), also for a figure that is not public."""
    figure = figure_named(figure_id)
    if figure.public is None:
        raise Refused(
            "unknown-figure", "There is no such public figure.", status=404, remedy="GET /public/figures lists them."
        )
    return figure


def level(area: str) -> Dimension:
    return Dimension.KABUPATEN if areas.level(area) is areas.Level.KABUPATEN else Dimension.KECAMATAN


def _refuse_unknown(figure: Figure, by: Dimension | None, area: str | None) -> None:
    known = list(figure.public_by)
    if by is not None and by not in known:
        raise refuse_dimension("by", known)
    if area is None:
        return
    if level(area) not in known:
        raise refuse_dimension("area", known)
    if by not in (None, Dimension.KABUPATEN, Dimension.KECAMATAN):
        remedy = "Ask for the area by kecamatan, or for the whole programme by something else."
        problem = FieldProblem("query.by", "cannot be combined with an area in public", remedy)
        raise Refused("unknown-dimension", "That is not public together.", status=422, fields=[problem])


def _part(cell: Cell, called: Mapping[str, Text]) -> PublicPart:
    return PublicPart(key=cell.key, name=part_name(cell.key, called), value=cell.value, hidden=cell.hidden)


# --- Told once --------------------------------------------------------------------------------------------------------


def knows(request: Request, etag: str) -> bool:
    """Whether the caller has this answer already."""
    return _quoted(etag) in (known.strip() for known in request.headers.get("if-none-match", "").split(","))


def not_modified(etag: str) -> Response:
    return Response(status_code=304, headers=caching(etag))


def caching(etag: str) -> dict[str, str]:
    """Everybody may keep the answer, and asks whether it still holds before giving it again."""
    return {"ETag": _quoted(etag), "Cache-Control": "public, no-cache"}


def _told(answer: BaseModel, issue: Issue) -> Response:
    return Response(answer.model_dump_json(), 200, caching(issue.etag), "application/json")


def _quoted(etag: str) -> str:
    return f'W/"{etag}"'
