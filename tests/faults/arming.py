"""Crash points in the environment of processes, and which of them have killed."""

from collections.abc import Mapping
from pathlib import Path


def armed(folder: Path, name: str, points: str) -> Mapping[str, str]:
    """For one process; each point kills it once, at that passage: "sealed-not-sent:2,sent-not-marked:3"."""
    marks = folder / name
    marks.mkdir()
    return {"ENTAS_CRASH_POINTS": points, "ENTAS_CRASH_ONCE_DIR": str(marks)}


def wanted(points: Mapping[str, str]) -> set[tuple[str, str]]:
    """Each process with each of its points."""
    return {(name, point.partition(":")[0]) for name, each in points.items() for point in each.split(",")}


def reached(folder: Path) -> set[tuple[str, str]]:
    """Process and point of each death."""
    return {(mark.parent.name, mark.name) for mark in folder.glob("*/*")}
