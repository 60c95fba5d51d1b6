"""The page's own style and script, each under a name that changes with what is in it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Asset:
    name: str
    media_type: str
    content: bytes

    @property
    def address(self) -> str:
        return f"/assets/{self.name}"


def _read(file: str) -> Asset:
    path = _FOLDER / file
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Asset(f"{path.stem}.{digest}{path.suffix}", _TYPES[path.suffix], content)


def _edition() -> str:
    """Changes with whatever makes the pages: then no browser goes on showing an older one for the same figures."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.parent.rglob("*")) + sorted(_FOLDER.parents[1].joinpath("figures").glob("*.py")):
        if path.suffix in (".py", ".html", ".css", ".js"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


EDITION = _edition()
STYLE = _read("entas.css")
SCRIPT = _read("entas.js")
ASSETS = {asset.name: asset for asset in (STYLE, SCRIPT)}
