"""What every act of the story has at hand, and what one act leaves for the next."""

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.areas import AreaCode
from deploy.demo.clients import House, Json, Message
from deploy.demo.clock import Clock
from deploy.demo.diary import Diary
from deploy.demo.programme import SEED, Class, Size
from deploy.demo.stack import RunningStack
from deploy.demo.tally import Tally
from deploy.demo.telling import Telling

if TYPE_CHECKING:
    from deploy.demo.dinkop import Cooperative
    from deploy.demo.fates import Fates
    from deploy.demo.follow_ups import FollowUpVisit
    from deploy.demo.visits import Visit

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
    diary: Diary = field(default_factory=Diary)
    # What acts leave for later ones:
    minimum_attendance_percent: int = 100
    plan: Json = field(default_factory=dict)  # the definition of the follow-up plan in force
    graduation: Json = field(default_factory=dict)  # and of the graduation rule
    delisted_families: frozenset[str] = frozenset()  # by the source's id, as the next list leaves them out
    doubtful_families: set[str] = field(default_factory=set)  # by the source's id: something was planted in them
    visited: list[Person] = field(default_factory=list)
    at_village_meeting: list[Person] = field(default_factory=list)
    not_visited: list[Person] = field(default_factory=list)
    pockets: dict[AreaCode, list[AreaCode]] = field(default_factory=dict)  # kabupaten -> its kecamatan, worst first
    visits: dict[str, "Visit"] = field(default_factory=dict)  # participant -> their last one in the field
    shared_national_ids: list[str] = field(default_factory=list)  # two listed people bear each
    classes: list[PlannedClass] = field(default_factory=list)
    manager_classes: list[PlannedClass] = field(default_factory=list)
    follow_ups: list["FollowUpVisit"] = field(default_factory=list)  # that are still to be sent, or will never be
    cooperatives: list["Cooperative"] = field(default_factory=list)
    last_reports: list[Message] = field(default_factory=list)  # of the agency for cooperatives, to send again
    spared: set[str] = field(default_factory=set)  # participants whom the story needs to the end
    fates: "Fates | None" = None
    mistyped: dict[str, str] = field(default_factory=dict)  # a wrong number -> the participant who was meant
    losing_their_place: dict[str, str] = field(default_factory=dict)  # participant -> number of the class

    @property
    def people(self) -> dict[str, Person]:
        """Everybody who was visited, by id."""
        return {person.person_id: person for person in self.visited}

    @property
    def bearers(self) -> dict[str, str]:
        """National id -> the person of the list who bears it, of those that the demo chose from."""
        return {each.national_id: each.person_id for each in (*self.not_visited, *self.visited) if each.national_id}

    def random(self, what: str) -> random.Random:
        """The same numbers in every run, for one purpose each."""
        return random.Random(f"{SEED} {self.size.name} {what}")
