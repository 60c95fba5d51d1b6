"""Area codes of the Ministry of Home Affairs (Kemendagri), and the reference list of the areas that bear them.

A code is dotted: province "52", kabupaten or kota "52.01", kecamatan "52.01.01", village "52.01.01.2001". The list
(`reference/areas.csv`; its README names source and licence) holds every province and kabupaten/kota of the country,
and the kecamatan and villages of Nusa Tenggara Barat (52) and Kabupaten Malaka (53.21) only.
"""

import csv
import re
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

AreaCode = str
"""A dotted code, such as "52.01.01.2001"."""

EVERYWHERE = "*"
"""In a token's areas: the whole country."""

NTB: AreaCode = "52"
MALAKA: AreaCode = "53.21"


class Level(IntEnum):
    PROVINCE = 1
    KABUPATEN = 2  # or kota: 01-69 are kabupaten, 71-99 kota
    KECAMATAN = 3
    VILLAGE = 4  # desa or kelurahan


class InvalidAreaCode(ValueError):
    """This is not a Kemendagri code: it has 2, 4, 6 or 10 digits, with or without dots, such as 52.01.01.2001."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)  # What was given stays out of the message: it may be somebody's number.


class UnknownArea(LookupError):
    """A well-formed code that the reference list does not hold."""

    def __init__(self, code: AreaCode) -> None:
        super().__init__(
            f"Area {code} is not in the reference list; look the code up in contracts/reference/areas.csv."
        )


# --- What a code alone says ------------------------------------------------------------------------------------------


def normalise(text: str) -> AreaCode:
    """Gives the dotted form of "5201012001", " 52.01.01.2001 " and the like. Else raises InvalidAreaCode."""
    parts = _CODE.fullmatch(text.strip())
    if parts is None:
        raise InvalidAreaCode
    return ".".join(part for part in parts.groups() if part)


def level(code: AreaCode) -> Level:
    """Raises InvalidAreaCode unless the code is dotted. Says nothing of whether there is such an area."""
    found = _LEVELS.get(len(code))
    if found is None:
        raise InvalidAreaCode
    return found


def parent(code: AreaCode) -> AreaCode | None:
    """The area that this one is a part of; None for a province."""
    return code.rpartition(".")[0] or None


def ancestors(code: AreaCode) -> tuple[AreaCode, ...]:
    """The areas that this one is a part of, the province first, without itself."""
    return tuple(code[:end] for end in (2, 5, 8) if end < len(code))


def at_level(code: AreaCode, wanted: Level) -> AreaCode:
    """The code, or the part of it, at a level: its kabupaten, say. Raises InvalidAreaCode if the code is above it."""
    if level(code) < wanted:
        raise InvalidAreaCode
    return code[: _LENGTHS[wanted]]


def covers(prefix: str, code: AreaCode) -> bool:
    """Whether the area `prefix` is `code` or holds it, by segments: "52.0" does not cover "52.01"; "*" covers all."""
    return code == prefix or prefix == EVERYWHERE or (prefix != "" and code.startswith(prefix + "."))


def is_kota(code: AreaCode) -> bool:
    """Whether a kabupaten/kota, or the one that an area below lies in, is a kota."""
    return at_level(code, Level.KABUPATEN)[3:] > "70"


def is_kelurahan(village: AreaCode) -> bool:
    """Whether a village is an urban one (kelurahan, 1xxx) and not a desa (2xxx)."""
    return level(village) is Level.VILLAGE and village[9] == "1"


_CODE = re.compile(r"([0-9]{2})(?:\.?([0-9]{2})(?:\.?([0-9]{2})(?:\.?([0-9]{4}))?)?)?")
_LENGTHS = {Level.PROVINCE: 2, Level.KABUPATEN: 5, Level.KECAMATAN: 8, Level.VILLAGE: 13}
_LEVELS = {length: level for level, length in _LENGTHS.items()}

# --- What the reference list says ------------------------------------------------------------------------------------


def name(code: AreaCode) -> str:
    """The official name, such as "Kabupaten Lombok Barat". Raises UnknownArea."""
    try:
        return _reference().names[code]
    except KeyError:
        raise UnknownArea(code) from None


def short_name(code: AreaCode) -> str:
    """The name as tables show it: "Lombok Barat", but "Kota Bima", which is not Kabupaten Bima. Raises UnknownArea."""
    return name(code).removeprefix("Kabupaten ")


def is_known(code: AreaCode) -> bool:
    """Whether the list holds the code. Below the kabupaten it knows NTB and Malaka only."""
    return code in _reference().names


def provinces() -> tuple[AreaCode, ...]:
    return _reference().provinces


def children(code: AreaCode) -> tuple[AreaCode, ...]:
    """The areas one level below, in order of code; none for a village and where the list ends. Raises UnknownArea."""
    if not is_known(code):
        raise UnknownArea(code)
    return _reference().children.get(code, ())


def villages(of: AreaCode) -> tuple[AreaCode, ...]:
    """Every village in an area (itself, if it is one), in order of code. Raises UnknownArea."""
    if not is_known(of):
        raise UnknownArea(of)
    every = _reference().villages
    # "/" is the character after ".": all codes below `of` lie between the two.
    return every[bisect_left(every, of) : bisect_left(every, of + "/")]


@dataclass(frozen=True, slots=True)
class _Reference:
    names: dict[AreaCode, str]
    provinces: tuple[AreaCode, ...]
    children: dict[AreaCode, tuple[AreaCode, ...]]
    villages: tuple[AreaCode, ...]


@cache
def _reference() -> _Reference:
    with (Path(__file__).parent / "reference" / "areas.csv").open(encoding="utf-8", newline="") as lines:
        names = dict(list(csv.reader(lines))[1:])
    children: dict[AreaCode, list[AreaCode]] = {}
    for code in sorted(names):
        children.setdefault(parent(code) or "", []).append(code)
    return _Reference(
        names=names,
        provinces=tuple(children.pop("")),
        children={code: tuple(below) for code, below in children.items()},
        villages=tuple(code for code in sorted(names) if level(code) is Level.VILLAGE),
    )
