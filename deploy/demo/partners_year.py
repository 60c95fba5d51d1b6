"""The agency for cooperatives reports through the year; an officer looks at what no number could match."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from contracts.outcomes import DismissalReason, UnmatchedReason
from contracts.partners import AnnualMeetingHeld, MemberJoinedCooperative, MentoringVisited, SupportFact
from deploy.demo.civil_registry import nobodys_number
from deploy.demo.clients import Json, Message
from deploy.demo.clock import at
from deploy.demo.diary import Doing
from deploy.demo.dinkop import DINKOP, KINDS, Cooperative, cooperatives_of, mistyped, spoilt, support_for
from deploy.demo.failures import DemoFailed
from deploy.demo.follow_ups import SYNC_HOUR
from deploy.demo.play import OFFICER, Person, Play
from deploy.demo.tally import Report

FIRST_DAY = date(2024, 7, 10)
"""While the classes meet: no case is open yet, and what is reported has to wait for one."""
MEETINGS_DAY = date(2024, 8, 30)
REVIEW_DAY = date(2024, 11, 8)
NEXT_MEETINGS_DAY = date(2025, 4, 25)
DAYS = (
    FIRST_DAY,
    MEETINGS_DAY,
    date(2024, 10, 25),
    date(2024, 12, 20),
    date(2025, 2, 28),
    NEXT_MEETINGS_DAY,
    date(2025, 6, 27),
    date(2025, 8, 29),
    date(2025, 10, 31),
)

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.1

# --- The diary --------------------------------------------------------------------------------------------------------


def write_down(play: Play) -> None:
    """Enters the days on which the agency reports, and the one on which an officer looks."""
    play.cooperatives = cooperatives_of(_pockets(play))
    for day in DAYS:
        play.diary.add(at(day, 16 if day == FIRST_DAY else SYNC_HOUR), _report_on(day))
    play.diary.add(at(REVIEW_DAY, SYNC_HOUR), review)


def _pockets(play: Play) -> list[str]:
    """The kecamatan of each kabupaten that stands out most; two of each in the whole of NTB."""
    return [code for kecamatan in play.pockets.values() for code in kecamatan[: 1 if play.size.name == "small" else 2]]


def _report_on(day: date) -> Doing:
    async def report(play: Play) -> None:
        await _report(play, day)

    return report


# --- Reporting --------------------------------------------------------------------------------------------------------


async def _report(play: Play, day: date) -> None:
    """One batch: what was done in the two weeks before, copies of it, and what cannot be taken in."""
    rng, now, support = play.random(f"dinkop {day}"), play.clock.now, play.tally.support
    known = _who_can_be_supported(play, day)
    facts = support_for(known, play.cooperatives, day, rng)
    facts += _of_people_without_a_case(play, day)
    bearers = play.bearers
    support.reports += [_as_report(fact, bearers) for fact in facts]
    support.reported.update(KINDS[type(fact)].value for fact in facts)
    strange = _of_nobody_here(play, day, known)
    meetings = _meetings(play.cooperatives, day, rng)
    support.meetings |= {meeting.cooperative_number: meeting.year for meeting in meetings}
    good = DINKOP.messages_of([*facts, *strange, *meetings], now)
    copies = [*rng.sample(good, len(good) // 8), *play.last_reports]
    wrong = _wrong(play, known, day)
    support.copies += len(copies)
    support.rejected += len(wrong)
    batch = [*good, *copies, *wrong]
    rng.shuffle(batch)
    await play.house.dinkop.publish(batch)
    play.last_reports = good[:2]


def _who_can_be_supported(play: Play, day: date) -> list[Person]:
    """Who has a case that is open, or before there are any who sits in class; known by number."""
    cases, people = play.tally.cases, play.people
    if day == FIRST_DAY:
        chosen = sorted({person for of_class in play.tally.classes.values() for person in of_class.confirmed})
    else:
        chosen = [person for person, case in cases.items() if not case.closed]
    return sorted((people[each] for each in chosen if people[each].national_id), key=lambda person: person.row)


def _of_people_without_a_case(play: Play, day: date) -> list[SupportFact]:
    """Of listed people who never took part; and of somebody who had died."""
    listed = [person for person in play.not_visited if person.national_id][: 3 if day == MEETINGS_DAY else 0]
    died = [
        play.people[participant]
        for participant, case in play.tally.cases.items()
        if case.closed == "deceased" and case.closed_on is not None and day - case.closed_on < timedelta(days=60)
    ]
    visited_on = day - timedelta(days=2)
    return [MentoringVisited(national_id=one.national_id, visited_on=visited_on) for one in (*listed, *died[:1])]


def _of_nobody_here(play: Play, day: date, known: Sequence[Person]) -> list[SupportFact]:
    """Numbers that nobody here bears, one of them mistyped, and one that two people bear."""
    support, visited_on = play.tally.support, day - timedelta(days=5)
    nobodys = [nobodys_number(1 + 2 * DAYS.index(day) + n) for n in range(2)]
    if day == MEETINGS_DAY:
        person = known[0]
        play.mistyped[mistyped(person.national_id)] = person.person_id
        nobodys.append(mistyped(person.national_id))
    shared = play.shared_national_ids[:1] if day == MEETINGS_DAY else []
    facts = [MentoringVisited(national_id=number, visited_on=visited_on) for number in (*nobodys, *shared)]
    support.unmatched[UnmatchedReason.NOBODY_BEARS_THE_NUMBER.value] += len(nobodys)
    support.unmatched[UnmatchedReason.SEVERAL_BEAR_THE_NUMBER.value] += len(shared)
    support.reported[KINDS[MentoringVisited].value] += len(facts)
    return list(facts)


def _as_report(fact: SupportFact, bearers: Mapping[str, str]) -> Report:
    said = fact.model_dump()
    given_on = next(value for value in said.values() if isinstance(value, date))
    number = fact.cooperative_number if isinstance(fact, MemberJoinedCooperative) else None
    return Report(bearers[fact.national_id], KINDS[type(fact)].value, given_on, number)


def _meetings(cooperatives: Sequence[Cooperative], day: date, rng: random.Random) -> list[AnnualMeetingHeld]:
    """Those of 2024 about the year before; a year later the last cooperative has not met."""
    if day == MEETINGS_DAY:
        return [one.meeting(2023, date(2024, 3, rng.randrange(1, 29)), rng) for one in cooperatives]
    if day == NEXT_MEETINGS_DAY:
        return [one.meeting(2024, date(2025, 3, rng.randrange(1, 29)), rng) for one in cooperatives[:-1]]
    return []


def _wrong(play: Play, known: Sequence[Person], day: date) -> list[Message]:
    """One of each kind once, and a few of them again in another year."""
    messages = [message for _, message in spoilt(known[0], play.cooperatives[0], play.clock.now)]
    return {MEETINGS_DAY: messages, NEXT_MEETINGS_DAY: messages[3:7]}.get(day, [])


# --- Looking at what was not matched ----------------------------------------------------------------------------------


async def all_are_looked_up(play: Play) -> None:
    """Returns once no report waits for its number to be looked up."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (await play.house.outcomes.get("/interventions", who=OFFICER, status="reported", limit=1))["items"]:
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"After {_PATIENCE_SECONDS:.0f} s reports still wait for their numbers to be looked up. "
                f"Look in {play.stack.log_of('outcomes-worker')}."
            )
        await asyncio.sleep(_POLL_SECONDS)
    await play.clock.settle()


async def review(play: Play) -> None:
    """An officer sees whose number was mistyped and matches the report; one of a stranger is dismissed."""
    outcomes, support = play.house.outcomes, play.tally.support
    await play.clock.settle()
    await all_are_looked_up(play)
    waiting = await outcomes.items("/interventions", who=OFFICER, status="unmatched")
    numbers = {one["intervention_id"]: await _number_of(play, one["intervention_id"]) for one in waiting}
    nobody = UnmatchedReason.NOBODY_BEARS_THE_NUMBER.value
    for intervention, number in numbers.items():
        if number in play.mistyped:
            participant = play.mistyped[number]
            body: Json = {"participant_id": participant}
            await outcomes.post(f"/interventions/{intervention}/match", body, who=OFFICER, step=f"match {intervention}")
            given_on = next(date.fromisoformat(o["given_on"]) for o in waiting if o["intervention_id"] == intervention)
            support.reports.append(Report(participant, KINDS[MentoringVisited].value, given_on, by_hand=True))
            support.unmatched[nobody] -= 1
    stranger = next(each for each, number in numbers.items() if number == nobodys_number(1))
    body = {"because": DismissalReason.NOT_A_PARTICIPANT.value}
    await outcomes.post(f"/interventions/{stranger}/dismissal", body, who=OFFICER, step=f"dismiss {stranger}")
    support.dismissed += 1
    support.unmatched[nobody] -= 1
    play.telling.mind(
        f"{len(waiting)} reports of support could not be matched by number: an officer matched one that was mistyped, "
        f"dismissed one of a stranger, and keeps {len(waiting) - 2}"
    )


async def _number_of(play: Play, intervention: str) -> str:
    shown = await play.house.outcomes.get(f"/interventions/{intervention}/national-id", who=OFFICER)
    return str(shown["national_id"])
