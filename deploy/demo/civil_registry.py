"""Dukcapil speaks: matches, deaths and moves on the partner topic, some of them malformed, copied, or of strangers."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from pydantic_core import to_json

from contracts.areas import AreaCode, Level, at_level
from contracts.partners import CivilRegistryFact, DeathRecorded, HouseholdMoved, IdentityMatched
from deploy.demo.clients import Message, together
from deploy.demo.clock import at
from deploy.demo.partner_messages import Partner, with_header
from deploy.demo.play import AUDITOR, Person, Play
from deploy.demo.programme import CIVIL_REGISTRY_DAY

DUKCAPIL = Partner("dukcapil", "urn:dukcapil")
ELSEWHERE: AreaCode = "73.71.01.1001"  # A village in Makassar, where the programme serves nobody.
DIED_ON = date(2024, 6, 9)
MOVED_ON = date(2024, 6, 3)

# --- What is said -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meant:
    """Of whom something is said."""

    matched: Sequence[Person]
    died_with_a_place: Sequence[Person]
    died_verified: Sequence[Person]
    died_unvisited: Sequence[Person]
    moved_within: Sequence[Person]
    moved_away: Sequence[Person]

    @property
    def died(self) -> list[Person]:
        return [*self.died_with_a_place, *self.died_verified, *self.died_unvisited]


def choose(
    with_a_place: Sequence[Person],
    verified: Sequence[Person],
    visited: Sequence[Person],
    not_visited: Sequence[Person],
    scale: int,
    rng: random.Random,
) -> Meant:
    """Picks people known by their NIK, nobody twice; `verified` are free of any class."""
    free = _shuffled(verified, rng)
    died, moved, away = free[: 2 * scale], free[2 * scale : 4 * scale], free[4 * scale : 5 * scale]
    spoken_of = {person.person_id for person in (*died, *moved, *away)}
    matched = [person for person in _shuffled(visited, rng) if person.person_id not in spoken_of]
    return Meant(
        matched=matched[: 40 * scale],
        died_with_a_place=_shuffled(with_a_place, rng)[: 2 * scale],
        died_verified=died,
        died_unvisited=_shuffled(not_visited, rng)[: 3 * scale],
        moved_within=moved,
        moved_away=away,
    )


def _shuffled(people: Sequence[Person], rng: random.Random) -> list[Person]:
    """Whom a message can name, of households that go on without one."""
    named = sorted((person for person in people if person.national_id and person.people > 1), key=lambda p: p.row)
    return rng.sample(named, len(named))


def facts(meant: Meant, rng: random.Random) -> list[CivilRegistryFact]:
    """One fact for each, matches first."""
    new_homes = {person.person_id: rng.choice(meant.matched).area_code for person in meant.moved_within}
    return [
        *(IdentityMatched(national_id=p.national_id, matched=rng.random() < 0.95) for p in meant.matched),
        *(DeathRecorded(national_id=p.national_id, died_on=DIED_ON) for p in meant.died),
        *(
            HouseholdMoved(national_id=p.national_id, to_area_code=new_homes[p.person_id], moved_on=MOVED_ON)
            for p in meant.moved_within
        ),
        *(
            HouseholdMoved(national_id=p.national_id, to_area_code=ELSEWHERE, moved_on=MOVED_ON)
            for p in meant.moved_away
        ),
    ]


# --- What cannot be taken in ------------------------------------------------------------------------------------------


def nobodys_number(nth: int) -> str:
    """A number that cannot be issued, and is on no list that the demo writes."""
    return f"527099010190{nth:04}"


def spoilt(known: Person, time: datetime) -> Iterator[tuple[str, Message]]:
    """Messages that have to be rejected, each with the field that is wrong in it."""
    death = DeathRecorded(national_id=known.national_id, died_on=DIED_ON)
    move = HouseholdMoved(national_id=known.national_id, to_area_code=known.area_code, moved_on=MOVED_ON)

    def message(number: int, fact: CivilRegistryFact = death) -> Message:
        return DUKCAPIL.binary(fact, f"dukcapil-spoilt-{number}", time)

    yield "value", replace(message(1), value=b'{"national_id": "')
    yield "value", replace(message(2), value=None)
    yield "died_on", replace(message(3), value=to_json({"national_id": known.national_id}))
    yield "died_on", message(4, death.model_copy(update={"died_on": date(2025, 1, 1)}))
    yield "national_id", message(5, death.model_copy(update={"national_id": known.national_id[:15]}))
    yield "national_id", message(6, death.model_copy(update={"national_id": nobodys_number(1)}))
    yield "to_area_code", message(7, move.model_copy(update={"to_area_code": "52.99.99.2999"}))
    yield "to_area_code", message(8, move.model_copy(update={"to_area_code": "Mataram"}))
    yield "ce_source", with_header(message(9), "ce_source", "urn:someone-else")
    yield "ce_type", with_header(message(10), "ce_type", "entas.partners.BirthRecorded.v1")
    yield "ce_id", with_header(message(11), "ce_id", known.national_id)
    yield "ce_time", with_header(message(12), "ce_time", "kemarin")


# --- The act ----------------------------------------------------------------------------------------------------------


async def hear_the_civil_registry(play: Play) -> None:
    """Its messages change who belongs, takes part and keeps a place; what is wrong is told, and stops nothing."""
    await play.clock.move_to(at(CIVIL_REGISTRY_DAY, 10))
    rng, now = play.random("civil registry"), play.clock.now
    places = await _places(play)
    meant = _choose(play, places, rng)
    said = facts(meant, rng)
    good = DUKCAPIL.messages_of(said, now)
    copies = rng.sample(good, len(good) // 8)
    wrong = list(spoilt(meant.matched[0], now))
    batch = [*good, *copies, *(message for _, message in wrong)]
    rng.shuffle(batch)
    await play.house.dukcapil.publish(batch)
    await play.clock.settle()
    _count(play, meant, said, places)
    play.tally.messages, play.tally.message_copies, play.tally.messages_rejected = len(good), len(copies), len(wrong)
    play.telling.say(
        f"{len(good)} messages: {len(meant.matched)} identities compared, {len(meant.died)} deaths "
        f"({len(meant.died_with_a_place)} of people with a place), "
        f"{len(meant.moved_within) + len(meant.moved_away)} moves; {len(copies)} copies changed nothing"
    )
    rejections = await play.house.registry.items("/rejections", who=AUDITOR)
    faults = {fault["field"]: fault for rejection in rejections for fault in rejection["faults"]}
    for field in ("national_id", "died_on", "to_area_code"):
        if field in faults:
            play.telling.mind(f"{field} {faults[field]['reason']}. {faults[field]['remedy']}")
    play.telling.mind(
        f"{len(rejections)} messages were rejected, kept sealed, and told on partners.dukcapil.rejected; the others of "
        "their batches went on"
    )


async def _places(play: Play) -> dict[str, tuple[str, str]]:
    """Participant -> the number of their class and how they stand on its list."""
    lists = await together(
        play.house.training.get(f"/cohorts/{planned.cohort_id}", who=AUDITOR) for planned in play.classes
    )
    return {
        line["participant_id"]: (cohort["number"], line["status"])
        for cohort in lists
        for line in cohort["participants"]
    }


def _choose(play: Play, places: Mapping[str, tuple[str, str]], rng: random.Random) -> Meant:
    meeting = {person.person_id for person in play.at_village_meeting}
    known = [
        person
        for person in play.visited
        if person.person_id not in meeting and person.family_id not in play.delisted_families
    ]

    def is_verified(person: Person) -> bool:
        return play.tally.participants[person.person_id].status == "verified"

    return choose(
        with_a_place=[person for person in known if places.get(person.person_id, ("", ""))[1] == "enrolled"],
        verified=[person for person in known if is_verified(person) and person.person_id not in places],
        visited=[person for person in known if person.person_id not in places],
        not_visited=[person for person in play.not_visited if person.family_id not in play.delisted_families],
        scale=1 if play.size.name == "small" else 3,
        rng=rng,
    )


def _count(play: Play, meant: Meant, said: Sequence[CivilRegistryFact], places: Mapping[str, tuple[str, str]]) -> None:
    tally = play.tally
    for person in meant.died_with_a_place:
        tally.class_of(places[person.person_id][0]).withdrawn["no_longer_eligible"] += 1
    for person in (*meant.died_with_a_place, *meant.died_verified):
        tally.rejected(person.person_id, "deceased", CIVIL_REGISTRY_DAY)
    for person in meant.moved_away:
        tally.rejected(person.person_id, "moved", CIVIL_REGISTRY_DAY)
        tally.households[at_level(person.area_code, Level.KABUPATEN)] -= 1
    moves = {fact.national_id: fact.to_area_code for fact in said if isinstance(fact, HouseholdMoved)}
    for person in meant.moved_within:
        before = at_level(person.area_code, Level.KABUPATEN)
        now = at_level(moves[person.national_id], Level.KABUPATEN)
        tally.households[before] -= 1
        tally.households[now] += 1
        tally.moved(person.person_id, now)
