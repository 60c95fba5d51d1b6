"""Two who have to say the same, and how they differ if they do not."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Two who have to say the same."""

    what: str
    one: str
    says: object
    other: str
    says_otherwise: object

    @property
    def agrees(self) -> bool:
        """Maps may leave out what is zero."""
        return _without_zeros(self.says) == _without_zeros(self.says_otherwise)

    def __str__(self) -> str:
        says, says_otherwise = _difference(_without_zeros(self.says), _without_zeros(self.says_otherwise))
        return f"{self.what}: {self.one} says {says}, {self.other} says {says_otherwise}"


def _without_zeros(said: object) -> object:
    return {key: value for key, value in said.items() if value} if isinstance(said, Mapping) else said


def _difference(says: object, says_otherwise: object) -> tuple[object, object]:
    """The part of each that the other does not share. Of sets of people only how many: their ids say nothing."""
    if isinstance(says, Mapping) and isinstance(says_otherwise, Mapping):
        keys = [key for key in sorted({*says, *says_otherwise}) if says.get(key) != says_otherwise.get(key)]
        return {key: says.get(key, 0) for key in keys}, {key: says_otherwise.get(key, 0) for key in keys}
    if isinstance(says, set) and isinstance(says_otherwise, set):
        alone, otherwise_alone = len(says - says_otherwise), len(says_otherwise - says)
        return f"{len(says)} ({alone} alone)", f"{len(says_otherwise)} ({otherwise_alone} alone)"
    return says, says_otherwise


def ours(what: str, says: object, services_say: object) -> Comparison:
    """What the script did, against what the services say of it."""
    return Comparison(what, "the script", says, "the services", services_say)
