"""What the summary is drawn with: bars and histograms of single characters, and one form for all tables."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

BAR_WIDTH = 12
_EIGHTHS = "▏▎▍▌▋▊▉"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def bar(count: int, largest: int, width: int) -> str:
    """A bar in eighths of a character; whatever is not zero shows at least one eighth."""
    if largest <= 0 or count <= 0:
        return ""
    eighths = max(1, round(count * width * 8 / largest))
    full, part = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[part - 1] if part else "")


def histogram(counts: Sequence[int]) -> str:
    """A column for each count, as high as it is to the largest; whatever is not zero shows."""
    largest = max(counts, default=0)
    return "".join(" " if not count else _HEIGHTS[max(1, -(-count * 8 // largest)) - 1] for count in counts)


def percent_of(count: int, before: int) -> str:
    return f"{count / before:.0%}" if before else ""


def table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
