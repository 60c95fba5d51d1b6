"""What every act of the story has at hand, and what one act leaves for the next."""

import random
from dataclasses import dataclass, field

from contracts.areas import AreaCode
from deploy.demo.clients import House
from deploy.demo.clock import Clock
from deploy.demo.programme import SEED, Class, Size
from deploy.demo.stack import RunningStack
from deploy.demo.tally import Tally
from deploy.demo.telling import Telling

OFFICER = "officer"
PROGRAMME_OFFICER = "programme"  # Adopts rules, which hold everywhere.
BAPPEDA = "partner:bappeda"
AUDITOR = "auditor"


@dataclass(frozen=True)
class Person:
    """Somebody of a listed household, as an officer and the civil registry together know them."""

    person_id: str
    household_id: str
    area_code: AreaCode
    people: int  # in the household
    row: int  # of the list, where the household begins: it tells people apart from run to run, unlike ids
    family_id: str = ""  # as the source calls the household
    national_id: str = ""  # where the civil registry may speak of them


@dataclass(frozen=True)
class PlannedClass:
    """A class once training has planned it."""

    plan: Class
    cohort_id: str
    area_code: AreaCode  # where it meets


@dataclass
class Play:
    stack: RunningStack
    size: Size
    house: House
    clock: Clock
    telling: Telling
    tally: Tally = field(default_factory=Tally)
    # What acts leave for later ones:
    minimum_attendance_percent: int = 100
    delisted_families: frozenset[str] = frozenset()  # by the source's id, as the next list leaves them out
    doubtful_families: set[str] = field(default_factory=set)  # by the source's id: something was planted in them
    visited: list[Person] = field(default_factory=list)
    at_village_meeting: list[Person] = field(default_factory=list)
    not_visited: list[Person] = field(default_factory=list)
    pockets: dict[AreaCode, list[AreaCode]] = field(default_factory=dict)  # kabupaten -> its kecamatan, worst first
    classes: list[PlannedClass] = field(default_factory=list)
    losing_their_place: dict[str, str] = field(default_factory=dict)  # participant -> number of the class

    def random(self, what: str) -> random.Random:
        """The same numbers in every run, for one purpose each."""
        return random.Random(f"{SEED} {self.size.name} {what}")
