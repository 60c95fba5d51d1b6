"""The pages for everybody: the overview, an area, and how a number is known. HTML, also where something is missing."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from services.kit.outages import OUTAGES
from services.kit.refusal import Refused
from services.outcomes.api.figures import figure_named
from services.outcomes.api.public import ThePress, caching, knows
from services.outcomes.figures.press import Issue
from services.outcomes.figures.sources import Dimension
from services.outcomes.figures.words import Language
from services.outcomes.pages import rendering
from services.outcomes.pages.assets import ASSETS, EDITION
from services.outcomes.pages.views import ON_THE_MAP, How, Page

router = APIRouter(include_in_schema=False)

_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FOR_A_YEAR = "public, max-age=31536000, immutable"

# What is not one of these words is taken as the default: a page is no form, and a link may be cut short.
Lang = Annotated[str, Query(max_length=20)]
MapOf = Annotated[str, Query(alias="map", max_length=40)]
Part = Annotated[str, Query(max_length=64)]
Live = Annotated[str, Query(max_length=4, description="1: only what changes while the page is open")]
Code = Annotated[str, Path(max_length=13)]

Endpoint = Callable[..., Awaitable[Response]]


def page(endpoint: Endpoint) -> Endpoint:
    """Answers with a page also where there is nothing, and while the database is away."""

    @wraps(endpoint)
    async def answer(*args: Any, **kwargs: Any) -> Response:
        language = _language(kwargs["lang"])
        try:
            return await endpoint(*args, **kwargs)
        except Refused as refused:
            return HTMLResponse(rendering.message("missing", language), refused.status, _SAFE)
        except OUTAGES:
            return HTMLResponse(rendering.message("away", language), 503, {**_SAFE, "Retry-After": "1"})

    return answer


@router.get("/")
@page
async def show_overview(
    request: Request, the_press: ThePress, lang: Lang = "id", map_of: MapOf = "", live: Live = ""
) -> Response:
    issue = await the_press.issue()
    return _told(request, issue, lambda: rendering.overview(_page(request, issue, lang, map_of), live=live == "1"))


@router.get("/area/{code}")
@page
async def show_area(
    request: Request, the_press: ThePress, code: Code, lang: Lang = "id", map_of: MapOf = "", live: Live = ""
) -> Response:
    issue = await the_press.issue()
    release = issue.release
    if code not in (*release.parts[Dimension.KABUPATEN], *release.parts[Dimension.KECAMATAN]) or "?" in code:
        raise _nothing()
    return _told(request, issue, lambda: rendering.area(_page(request, issue, lang, map_of), code, live=live == "1"))


@router.get("/how/{figure_id}")
@page
async def show_how(
    request: Request,
    the_press: ThePress,
    figure_id: Annotated[str, Path(max_length=40)],
    lang: Lang = "id",
    by: Annotated[str, Query(max_length=20)] = "",
    part: Part = "",
    live: Live = "",
) -> Response:
    figure = figure_named(figure_id)
    issue = await the_press.issue()
    shown = _page(request, issue, lang, "")
    dimension = next((d for d in figure.public_by if d == by), None)
    if figure.public is None or (by and dimension is None):
        raise _nothing()
    if dimension is not None and part not in issue.release.parts_of(figure, dimension):
        raise _nothing()
    explained = How(
        page=shown,
        figure=figure,
        number=shown.number(figure.id, dimension, part if dimension else None),
        of=shown.t("how.whole") if dimension is None else shown.part_name(dimension, part),
        by=dimension,
        part=part if dimension else None,
    )
    return _told(request, issue, lambda: rendering.how(shown, explained, live=live == "1"))


@router.get("/assets/{name}")
async def show_asset(name: Annotated[str, Path(max_length=60)]) -> Response:
    asset = ASSETS.get(name)
    if asset is None:
        return Response(status_code=404, headers=_SAFE)
    return Response(asset.content, 200, {**_SAFE, "Cache-Control": _FOR_A_YEAR}, asset.media_type)


def _language(asked: str) -> Language:
    return "en" if asked == "en" else "id"


def _page(request: Request, issue: Issue, lang: str, map_of: str) -> Page:
    chosen = map_of if map_of in ON_THE_MAP else None
    kept = {name: value for name, value in request.query_params.items() if name in ("map", "by", "part")}
    return Page(issue, _language(lang), request.url.path, chosen, kept)


def _told(request: Request, issue: Issue, render: Callable[[], str]) -> Response:
    # The same moment looks the same at one address: what was asked for is the address itself.
    etag = f"{issue.etag}-{EDITION}"
    if knows(request, etag):
        return Response(status_code=304, headers={**_SAFE, **caching(etag)})
    return HTMLResponse(render(), 200, {**_SAFE, **caching(etag)})


def _nothing() -> Refused:
    return Refused("no-such-page", "There is no such page.", status=404)
