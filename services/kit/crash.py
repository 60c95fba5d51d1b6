"""Named places where the fault tests make a process die as if its power were cut.

A place does nothing until it is armed by ENTAS_CRASH_POINTS, which production settings refuse.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

CrashPoint = Literal[
    "sealed-not-sent",
    "sent-not-marked",
    "folded-not-committed",
    "committed-not-offset",
    "command-before-commit",
    "command-after-commit",
    "half-an-import",
    "timer-before-commit",
    "sending-started-not-sent",
    "sent-not-recorded",
    "forgotten-not-noted",
    "checkpoint-not-published",
]
CRASH_POINTS: frozenset[str] = frozenset(get_args(CrashPoint))


class UnknownCrashPoint(ValueError):
    """A crash point must be one of `CRASH_POINTS`; add a new one there."""


def parse_crash_points(text: str) -> dict[str, int]:
    """Reads "sealed-not-sent,half-an-import:3": each name with the passage, from 1, at which the process dies."""
    armed: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, passage = part.partition(":")
        _check(name)
        if passage and not (passage.isascii() and passage.isdigit() and int(passage) > 0):
            raise ValueError(f"the passage of {name} must be a number from 1, as in {name}:3")
        armed[name] = int(passage or 1)
    return armed


_remaining: dict[str, int] = {}
_once_folder: Path | None = None


def arm(points: Mapping[str, int], once_folder: Path | None = None) -> None:
    """Replaces what is armed in this process. With a folder each point kills one process of all that share it."""
    global _once_folder
    for name in points:
        _check(name)
    _remaining.clear()
    _remaining.update(points)
    _once_folder = once_folder


def crash_point(name: CrashPoint) -> None:
    """Kills this process with SIGKILL if `name` is armed and this is the passage it waits for; else does nothing."""
    if name not in _remaining:
        _check(name)
        return
    _remaining[name] -= 1
    if _remaining[name] == 0 and _first_here(name):
        os.write(2, f"crash point {name}: process {os.getpid()} kills itself\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def _first_here(name: str) -> bool:
    if _once_folder is None:
        return True
    try:
        # Exclusive creation lets exactly one of several workers die, and its successor live.
        (_once_folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _check(name: str) -> None:
    if name not in CRASH_POINTS:
        raise UnknownCrashPoint(f"{name!r} is no crash point; known are {', '.join(sorted(CRASH_POINTS))}")
