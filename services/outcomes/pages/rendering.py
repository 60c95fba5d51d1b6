"""Turns views into HTML."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from contracts import areas
from contracts.areas import AreaCode, Level
from services.outcomes.figures.sources import Dimension
from services.outcomes.figures.words import Language
from services.outcomes.pages.assets import EDITION, SCRIPT, STYLE
from services.outcomes.pages.texts import TEXTS
from services.outcomes.pages.views import LOMBOK, SUMBAWA, SUPPORT, How, Page

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    auto_reload=False,
)


def overview(page: Page, *, live: bool) -> str:
    """The overview; with `live` only what changes while it is open."""
    return _rendered("overview", page, live, lombok=LOMBOK, sumbawa=SUMBAWA, support=SUPPORT)


def area(page: Page, code: AreaCode, *, live: bool) -> str:
    """A kabupaten or kota with its kecamatan, or one kecamatan."""
    above = areas.parent(code) if areas.level(code) is Level.KECAMATAN else None
    return _rendered("area", page, live, area=code, above=above)


def how(page: Page, explained: How, *, live: bool) -> str:
    """How a number is known."""
    return _rendered("how", page, live, how=explained)


def message(key: str, language: Language) -> str:
    """A page that says only that something is not there, or not now."""
    return _TEMPLATES.get_template("message.html").render(
        language=language,
        title=TEXTS[f"{key}.title"].in_(language),
        text=TEXTS[f"{key}.text"].in_(language),
        back=TEXTS["back"].in_(language),
        home="/" if language == "id" else "/?lang=en",
        style=STYLE.address,
    )


def _rendered(name: str, page: Page, live: bool, **more: Any) -> str:
    template = _TEMPLATES.get_template(f"{name}_live.html" if live else f"{name}.html")
    return template.render(
        page=page,
        style=STYLE.address,
        script=SCRIPT.address,
        edition=EDITION,
        reason=Dimension.REASON,
        kind=Dimension.KIND,
        system=Dimension.SYSTEM,
        **more,
    )
