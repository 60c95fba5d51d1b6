"""What else happens to people in the year after: some die, some move, one asks to be forgotten."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from contracts.areas import Level, at_level
from contracts.partners import CivilRegistryFact, DeathRecorded, HouseholdMoved
from deploy.demo.civil_registry import DUKCAPIL, ELSEWHERE
from deploy.demo.clock import at
from deploy.demo.follow_ups import SYNC_HOUR
from deploy.demo.play import OFFICER, Person, Play

CIVIL_REGISTRY_DAY = date(2024, 11, 22)
ERASURE_DAY = date(2025, 3, 7)

BASIS = "UU 27/2022 art. 8"
"""The right to have one's data erased."""


@dataclass(frozen=True)
class Fates:
    """Of people who have a case; nobody twice."""

    died: Sequence[Person]
    moved_away: Sequence[Person]
    moved_within: Sequence[Person]
    erased: Sequence[Person]


def choose(people: Sequence[Person], scale: int, rng: random.Random, spared: Collection[str]) -> Fates:
    """Whom a message can name, of households that go on without one."""
    named = sorted(
        (p for p in people if p.national_id and p.people > 1 and p.person_id not in spared), key=lambda p: p.row
    )
    chosen = rng.sample(named, min(len(named), 5 * scale))
    parts = (chosen[: 2 * scale], chosen[2 * scale : 3 * scale], chosen[3 * scale : 4 * scale], chosen[4 * scale :])
    return Fates(*parts)


def write_down(play: Play) -> None:
    """In the evening, when the devices have sent what they had."""
    play.diary.add(at(CIVIL_REGISTRY_DAY, SYNC_HOUR + 1), hear_of_deaths_and_moves)
    play.diary.add(at(ERASURE_DAY, SYNC_HOUR + 1), forget)


def _fates(play: Play) -> Fates:
    """The same whenever it is asked, as long as nobody else gets a case."""
    if play.fates is None:
        followed = [play.people[participant] for participant, case in play.tally.cases.items() if not case.closed]
        scale = 1 if play.size.name == "small" else 3
        play.fates = choose(followed, scale, play.random("fates"), play.spared)
    return play.fates


async def hear_of_deaths_and_moves(play: Play) -> None:
    """Cases of who died or moved away close; who moved within the province is followed as before."""
    fates, today = _fates(play), play.clock.now.date()
    on = today - timedelta(days=9)
    villages = {person.person_id: _another_village(play, person) for person in fates.moved_within}
    said: list[CivilRegistryFact] = [
        *(DeathRecorded(national_id=person.national_id, died_on=on) for person in fates.died),
        *(HouseholdMoved(national_id=p.national_id, to_area_code=ELSEWHERE, moved_on=on) for p in fates.moved_away),
        *(
            HouseholdMoved(national_id=p.national_id, to_area_code=villages[p.person_id], moved_on=on)
            for p in fates.moved_within
        ),
    ]
    await play.house.dukcapil.publish(DUKCAPIL.messages_of(said, play.clock.now))
    await play.clock.settle()
    tally = play.tally
    tally.messages += len(said)
    for person in fates.died:
        tally.rejected(person.person_id, "deceased", today)
    for person in fates.moved_away:
        tally.households[_kabupaten_of(play, person)] -= 1
        tally.rejected(person.person_id, "moved", today)
    for person in fates.moved_within:
        tally.households[_kabupaten_of(play, person)] -= 1
        tally.households[at_level(villages[person.person_id], Level.KABUPATEN)] += 1
        tally.moved(person.person_id, at_level(villages[person.person_id], Level.KABUPATEN))
    play.telling.mind(
        f"of people who are followed, {len(fates.died)} died and {len(fates.moved_away)} moved away: their cases "
        f"close; moved within NTB, and followed as before: {len(fates.moved_within)}"
    )


def _kabupaten_of(play: Play, person: Person) -> str:
    """Where the household is listed."""
    return play.tally.participants[person.person_id].kabupaten


def _another_village(play: Play, person: Person) -> str:
    """Of another kabupaten: where the next in the list of people lives."""
    others = [p.area_code for p in play.visited if p.area_code[:5] != _kabupaten_of(play, person)]
    return others[person.row % len(others)]


async def forget(play: Play) -> None:
    """Somebody asks to be forgotten: their key is destroyed, and their case closes."""
    fates, today = _fates(play), play.clock.now.date()
    for person in fates.erased:
        body = {"basis": BASIS}
        path = f"/people/{person.person_id}/erasure"
        await play.house.registry.post(path, body, who=OFFICER, step=f"erase {person.person_id}")
    await play.clock.settle()
    for person in fates.erased:
        play.tally.erased(person.person_id, today)
    play.telling.mind(f"asked to be forgotten: {len(fates.erased)}. The key is destroyed, and the case closes")
