"""The field: who is visited first, whose visits come in, and who is verified and rejected on what was found."""

import csv
import random
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from contracts import areas
from contracts.areas import AreaCode
from contracts.p3ke import HEAD
from contracts.registry import Finding
from contracts.training import DeliveryMode
from deploy.demo import programme
from deploy.demo.clients import Json, together
from deploy.demo.clock import WITA, at
from deploy.demo.failures import DemoFailed
from deploy.demo.lists import HEADER
from deploy.demo.play import AUDITOR, OFFICER, Person, Play
from deploy.demo.targeting import list_file
from deploy.demo.visits import Visit, chunks, plan_visits, sendings

AT_THE_VILLAGE_MEETING = 3
_ASSIGNED_AT_ONCE = 500
_VERIFIED_AT_ONCE = 500

# --- Who is visited ---------------------------------------------------------------------------------------------------


async def assign_visits(play: Play) -> None:
    """The poorest of each kabupaten first, in the kecamatan where most of them live; three in a village meeting."""
    wanted = programme.visits_by_kabupaten(play.size)
    chosen = await together(_choose(play, kabupaten, visits) for kabupaten, visits in wanted.items())
    everybody = [person for to_visit, others in chosen for person in (*to_visit, *others)]
    identified = _with_national_ids(list_file(play), everybody, play.doubtful_families)
    visited = {person.person_id for people in chosen for person in people[0]}
    play.not_visited = [person for person in identified if person.person_id not in visited]
    play.visited = [person for person in identified if person.person_id in visited]
    play.at_village_meeting = _of_the_village_meeting(play)
    await play.clock.move_to(at(programme.VILLAGE_MEETING_DAY, 8))
    await assign(play, play.at_village_meeting, "musdes", due_on=programme.VILLAGE_MEETING_DAY)
    await play.clock.move_to(at(programme.ASSIGNING_DAY, 9))
    at_meeting = {person.person_id for person in play.at_village_meeting}
    others = [person for person in play.visited if person.person_id not in at_meeting]
    await assign(play, others, "field", due_on=programme.SYNC_DAYS[-1])
    pockets = sum(map(len, play.pockets.values()))
    play.telling.say(
        f"{len(play.visited):,} people of {len(wanted)} kabupaten and kota are to be visited, the poorest of "
        f"{pockets} kecamatan first; {len(play.at_village_meeting)} of them were seen in a village meeting on 2 May"
    )


async def _choose(play: Play, kabupaten: AreaCode, visits: int) -> tuple[list[Person], list[Person]]:
    """Who is to be visited, and others of the same kecamatan."""
    demand = await play.house.training.get("/demand", who=AUDITOR, area=kabupaten, by="kecamatan")
    listed = {row["area_code"]: row["households"] for row in demand}
    on_site = [c for c in play.size.classes if c.mode is DeliveryMode.ON_SITE and c.host == kabupaten]
    pockets = programme.pockets(listed, visits, at_once=max(1, len(on_site)))
    play.pockets[kabupaten] = [pocket.kecamatan for pocket in pockets]
    chosen: list[Person] = []
    others: list[Person] = []
    for pocket in pockets:
        found = await play.house.registry.items("/households", who=AUDITOR, area=pocket.kecamatan, status="listed")
        people = [_head_of(household) for household in programme.by_need(found)]
        chosen += people[: pocket.visits]
        others += people[pocket.visits :]
    if len(chosen) < visits:
        raise DemoFailed(f"{kabupaten} has households for {len(chosen)} visits only; {visits} are planned.")
    return chosen, others


def _head_of(household: Mapping[str, object]) -> Person:
    evidence = household["evidence"]
    assert isinstance(evidence, Mapping)
    return Person(
        person_id=str(household["head_person_id"]),
        household_id=str(household["household_id"]),
        area_code=str(household["area_code"]),
        people=int(str(household["people"])),
        row=evidence["row"],
    )


def _with_national_ids(path: Path, people: Sequence[Person], doubtful: Set[str]) -> list[Person]:
    """The civil registry knows people by their NIK: the demo reads it from the list that it wrote itself.

    People of doubtful families get none: their NIKs may stand in several rows, and nobody could say whom they mean.
    """
    at_family, at_nik, at_relation = map(HEADER.index, ("id_keluarga", "nik", "hubungan_kepala_keluarga"))
    wanted = {person.row for person in people}
    found: dict[int, tuple[str, str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(file, start=1):
            if number in wanted:
                cells = next(csv.reader([line]))
                sure = cells[at_relation] == HEAD and cells[at_family] not in doubtful
                found[number] = cells[at_family], cells[at_nik] if sure else ""
    return [
        replace(person, family_id=family_id, national_id=national_id)
        for person in people
        for family_id, national_id in [found[person.row]]
    ]


def _of_the_village_meeting(play: Play) -> list[Person]:
    """Of the kabupaten whose class begins after their verification has ended."""
    host = _class_that_outlasts(play).host
    return [person for person in play.visited if areas.covers(host, person.area_code)][:AT_THE_VILLAGE_MEETING]


def _class_that_outlasts(play: Play) -> programme.Class:
    ends = programme.VILLAGE_MEETING_DAY + timedelta(days=programme.VERIFICATION_HOLDS_DAYS)
    return next(planned for planned in play.size.classes if planned.days[0] > ends)


async def assign(play: Play, people: Sequence[Person], step: str, *, due_on: date) -> None:
    for facilitator, theirs in by_facilitator(play, people).items():
        for number, some in enumerate(chunks(theirs, _ASSIGNED_AT_ONCE)):
            answer = await play.house.registry.post(
                "/assignments",
                {
                    "facilitator_id": facilitator,
                    "due_on": due_on.isoformat(),
                    "person_ids": [person.person_id for person in some],
                },
                who=OFFICER,
                step=f"assign-{step}-{facilitator}-{number}",
            )
            _all_done(answer, "an assignment")
            play.tally.assigned((person.person_id, person.area_code) for person in some)


def by_facilitator(play: Play, people: Iterable[Person]) -> dict[str, list[Person]]:
    """Whom each is to visit: people where they live now, if they have moved since they were listed."""
    theirs: dict[str, list[Person]] = {}
    for person in people:
        known = play.tally.participants.get(person.person_id)
        kabupaten = person.area_code[:5] if known is None else known.kabupaten
        theirs.setdefault(play.stack.facilitator_of(kabupaten), []).append(person)
    return theirs


# --- Sending, verifying, rejecting ------------------------------------------------------------------------------------


@dataclass
class _Week:
    """What came in of one kabupaten."""

    arrived: dict[str, Visit] = field(default_factory=dict)
    refused: list[Visit] = field(default_factory=list)
    copies: int = 0


async def visit_and_verify(play: Play) -> None:
    """Three weeks of visits; each Friday the devices send, and officers verify and reject on what was found."""
    await _village_meeting(play)
    rng = play.random("visits")
    at_meeting = {person.person_id for person in play.at_village_meeting}
    visits = plan_visits([person for person in play.visited if person.person_id not in at_meeting], rng)
    before: dict[str, list[Visit]] = {}
    latest = ""
    for friday in programme.SYNC_DAYS:
        await play.clock.move_to(at(friday, 17))
        week = [
            visit
            for visit in visits
            if friday - timedelta(days=7) < visit.captured_at.astimezone(WITA).date() <= friday
        ]
        arrived = await send_all(play, week, before, friday, rng)
        latest = await decide(play, arrived, f"{friday:%m%d}") or latest
        verified = play.tally.participants_by("verified").total()
        play.telling.say(
            f"{friday:%d %B}: {len(arrived):,} visits came in; {verified:,} people are verified and "
            f"{play.tally.rejected_by_reason().total():,} rejected so far"
        )
    tally = play.tally
    play.telling.say(f"{tally.visit_copies} copies of visits were sent again by devices: none was counted twice")
    if refused := tally.refusals["visit-in-the-future"]:
        play.telling.mind(f"{refused} visits from devices whose clocks run ahead were refused, and sent again mended")
    await play.house.training.get("/candidates", who=AUDITOR, wait_for=latest, limit=1)
    play.telling.say("training was asked with Wait-For-Version, and knows the last who was verified")


async def _village_meeting(play: Play) -> None:
    """The meeting was weeks ago; its visits were kept on a device and are all of one minute."""
    seen_at = at(programme.VILLAGE_MEETING_DAY, 10)
    visits = [
        Visit(f"musdes-{person.row}", person, seen_at, Finding.MATCHED, True, True, True, False, "Hadir di musdes.")
        for person in play.at_village_meeting
    ]
    arrived = await send_all(play, visits, {}, programme.VILLAGE_MEETING_DAY, play.random("musdes"))
    await decide(play, arrived, "musdes")


async def send_all(
    play: Play, visits: Sequence[Visit], before: dict[str, list[Visit]], day: date, rng: random.Random
) -> list[Visit]:
    """Each device sends its own; gives the visits that are recorded now."""
    by_person = {visit.person.person_id: visit for visit in visits}
    people = by_facilitator(play, (visit.person for visit in visits))
    weeks = await together(
        _send(
            play,
            facilitator,
            [by_person[p.person_id] for p in theirs],
            before.setdefault(facilitator, []),
            day,
            random.Random(rng.random()),
        )
        for facilitator, theirs in people.items()
    )
    for facilitator, week in zip(people, weeks, strict=True):
        before[facilitator] += week.arrived.values()
        play.tally.visit_copies += week.copies
    arrived = [visit for week in weeks for visit in week.arrived.values()]
    for visit in arrived:
        play.tally.found(visit.person.person_id, visit.finding.value)
        play.visits[visit.person.person_id] = visit
    return arrived


async def _send(
    play: Play, facilitator: str, visits: Sequence[Visit], before: Sequence[Visit], day: date, rng: random.Random
) -> _Week:
    week, new = _Week(), {visit.visit_id for visit in visits}
    ahead = at(day, 17) + timedelta(hours=3)
    for number, sending in enumerate(sendings(visits, before, rng)):
        bodies = [visit.body(ahead if visit.fast_clock and visit.visit_id in new else None) for visit in sending.visits]
        answer = await _post_visits(play, facilitator, bodies, f"visits-{day:%m%d}-{facilitator}-{number}")
        week.copies += sending.copies
        for visit, outcome in zip(sending.visits, answer["outcomes"], strict=True):
            if outcome["outcome"] == "done":
                if visit.visit_id in new:
                    week.arrived[visit.visit_id] = visit
            elif outcome["problem"]["code"] == "visit-in-the-future":
                week.refused.append(visit)
                play.tally.refusals["visit-in-the-future"] += 1
            else:
                raise DemoFailed(f"Visit {visit.visit_id} was refused: {outcome['problem']['detail']}")
    if week.refused:
        answer = await _post_visits(
            play, facilitator, [visit.body() for visit in week.refused], f"visits-{day:%m%d}-{facilitator}-mended"
        )
        _all_done(answer, "a mended visit")
        week.arrived |= {visit.visit_id: visit for visit in week.refused}
    return week


async def _post_visits(play: Play, facilitator: str, bodies: Sequence[Json], step: str) -> Json:
    answer: Json = await play.house.registry.post("/visits", {"visits": list(bodies)}, who=facilitator, step=step)
    return answer


async def decide(play: Play, visits: Sequence[Visit], step: str) -> str | None:
    """Verifies who was found and is willing, and rejects the others for what was found.

    Gives the latest version of a stream that other services have to have read to know of all verifications.
    """
    latest = None
    good = [visit for visit in visits if visit.finding is Finding.MATCHED and visit.willing]
    for number, some in enumerate(chunks(good, _VERIFIED_AT_ONCE)):
        answer = await play.house.registry.post(
            "/verifications",
            {"participant_ids": [visit.person.person_id for visit in some]},
            who=OFFICER,
            step=f"verify-{step}-{number}",
        )
        _all_done(answer, "a verification")
        for outcome in answer["outcomes"]:
            visited_at = play.visits[outcome["participant_id"]].captured_at
            until = visited_at + timedelta(days=programme.VERIFICATION_HOLDS_DAYS)
            play.tally.verified(outcome["participant_id"], until)
            latest = f"registry.participants/{outcome['participant_id']}={outcome['version']}"
    kept = {visit.visit_id for visit in good}
    await together(_reject(play, visit) for visit in visits if visit.visit_id not in kept)
    return latest


async def _reject(play: Play, visit: Visit) -> None:
    reason = "not_willing" if visit.finding is Finding.MATCHED else visit.finding.value
    person_id = visit.person.person_id
    await play.house.registry.post(
        f"/participants/{person_id}/rejection", {"reason": reason}, who=OFFICER, step=f"reject-{person_id}"
    )
    play.tally.rejected(person_id, reason, play.clock.now.date())


def _all_done(answer: Json, what: str) -> None:
    """Raises DemoFailed if the service refused one of a batch."""
    for outcome in answer["outcomes"]:
        if outcome["outcome"] != "done":
            raise DemoFailed(f"{what.capitalize()} was refused: {outcome['problem']['detail']}")
