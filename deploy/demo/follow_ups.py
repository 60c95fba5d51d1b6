"""The visits of the year after: when facilitators make them, what devices send on Fridays, and what is refused."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from contracts.outcomes import BasicNeed
from deploy.demo.clients import Json, together
from deploy.demo.clock import WITA, at
from deploy.demo.diary import Doing
from deploy.demo.failures import DemoFailed, Refused
from deploy.demo.households import Fortune, Living, draw, with_a_relapse
from deploy.demo.known_cases import KnownCase
from deploy.demo.play import Person, Play
from deploy.demo.programme import SEED

SYNC_HOUR = 17
FRIDAY = 4

# --- Planning ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FollowUpVisit:
    """What a facilitator will find, and the Friday on which the device tells it."""

    visit_id: str
    person: Person
    months: int
    captured_at: datetime
    sent_on: date
    living: Living

    @property
    def day(self) -> date:
        return self.captured_at.astimezone(WITA).date()

    def body(self, captured_at: datetime | None = None, **instead: object) -> Json:
        living = self.living
        body: Json = {
            "follow_up": self.months,
            "visit_id": self.visit_id,
            "captured_at": (captured_at or self.captured_at).isoformat(),
            "people": living.people,
            "income": [{"livelihood": kind.value, "monthly_rupiah": rupiah} for kind, rupiah in living.income],
            "needs": [{"need": need.value, "met": need in living.needs_met} for need in BasicNeed],
            "notes": _NOTES[(self.person.row + self.months) % len(_NOTES)],
        }
        if living.turnover:
            body["business"] = {
                "monthly_turnover_rupiah": living.turnover,
                "assets_rupiah": living.assets,
                "workers": living.workers,
            }
        return body | instead


_NOTES = (
    "Usaha berjalan, pencatatan masih di buku tulis.",
    "Anak bungsu sakit minggu lalu, warung tutup tiga hari.",
    "Sudah menabung di koperasi.",
    "Atap diganti bulan lalu, dibantu tetangga.",
    "Pelanggan tetap bertambah, terutama pada hari pasar.",
)


@dataclass(frozen=True)
class _Habit:
    """How a visit goes, in days after it is due; and how many of a hundred go so."""

    weight: int
    earliest: int
    latest: int
    offline_until: int = 0  # The device is online again only so many days after the visit was due.


_IN_TIME = _Habit(86, -3, 12)
_HABITS: tuple[_Habit | None, ...] = (
    _IN_TIME,
    _Habit(4, 3, 12, offline_until=17),  # Made in time, and missed as far as anybody knew.
    _Habit(4, 16, 22),  # Too late.
    None,  # Never: six of a hundred.
)
_AWAY = 0.05
"""The share of those who completed who went to work overseas, so that no visit ever finds them. Made up."""
_WEIGHTS = [6 if habit is None else habit.weight for habit in _HABITS]


def plan_follow_ups(
    people: Sequence[Person], cases: Mapping[str, KnownCase], fortunes: Mapping[str, Fortune], sure: str | None
) -> list[FollowUpVisit]:
    """The visits to each of these people, a person and number at most one; to `sure` every visit is made in time."""
    visits = []
    for person in people:
        case, fortune = cases[person.person_id], fortunes[person.person_id]
        rng = random.Random(f"{SEED} follow-ups {person.row}")
        line = case.terms["line_rupiah_per_person_month"]
        if rng.random() < _AWAY and person.person_id != sure:
            continue
        for months in case.months:
            habit = rng.choices(_HABITS, _WEIGHTS)[0]
            minutes, days = rng.randrange(7 * 60), rng.random()
            if person.person_id == sure:
                habit = _IN_TIME
            if habit is None:
                continue
            due_on = case.due_on(months)
            seen_on = due_on + timedelta(days=habit.earliest + int(days * (habit.latest - habit.earliest + 1)))
            visits.append(
                FollowUpVisit(
                    visit_id=f"monev-{person.row}-{months}",
                    person=person,
                    months=months,
                    captured_at=at(seen_on, 8) + timedelta(minutes=minutes),
                    sent_on=friday_from(max(seen_on, due_on + timedelta(days=habit.offline_until - 1))),
                    living=fortune.after(months, line),
                )
            )
    return visits


def friday_from(day: date) -> date:
    """The day itself if it is a Friday, else the next."""
    return day + timedelta(days=(FRIDAY - day.weekday()) % 7)


def write_down(play: Play, participants: Sequence[str], *, managers: bool = False) -> None:
    """Plans the visits to people whose cases have just begun, and enters the Fridays on which devices send them."""
    people, cases = play.people, play.tally.cases
    chosen = sorted((people[participant] for participant in participants), key=lambda person: person.row)
    fortunes = {
        person.person_id: draw(person.row, person.people, play.plan["months"], manager=managers) for person in chosen
    }
    sure = None
    if not managers:
        fortunes, sure = with_a_relapse(fortunes, play.graduation)
        play.spared.add(sure)
    planned = plan_follow_ups(chosen, cases, fortunes, sure)
    known = {visit.sent_on for visit in play.follow_ups}
    play.follow_ups += planned
    for friday in sorted({visit.sent_on for visit in planned} - known):
        play.diary.add(at(friday, SYNC_HOUR), _send_on(friday))


# --- Sending ----------------------------------------------------------------------------------------------------------


def _send_on(friday: date) -> Doing:
    async def send(play: Play) -> None:
        await send_follow_ups(play, friday)

    return send


async def send_follow_ups(play: Play, friday: date) -> None:
    """What devices have kept until this Friday, and some that they are not sure have arrived: nothing counts twice."""
    rng = play.random(f"devices of {friday}")
    now = [visit for visit in play.follow_ups if visit.sent_on == friday and _is_made(play, visit)]
    before = [visit for visit in play.follow_ups if visit.sent_on < friday and _is_recorded(play, visit)]
    if now:
        await _try_what_is_refused(play, now[0])
    await together(_send(play, visit) for visit in now)
    again = rng.sample(before, min(len(before), len(now) // 20))
    await together(_send_again(play, visit, friday) for visit in again)


def _is_made(play: Play, visit: FollowUpVisit) -> bool:
    """Nobody visits who has died, moved away or asked to be forgotten."""
    case = play.tally.cases[visit.person.person_id]
    return case.closed in (None, "plan_completed") or case.closed_on is None or visit.day <= case.closed_on


def _is_recorded(play: Play, visit: FollowUpVisit) -> bool:
    recorded = play.tally.cases[visit.person.person_id].recorded.get(visit.months)
    return recorded is not None and recorded.on == visit.day


async def _send(play: Play, visit: FollowUpVisit) -> None:
    """Records it, unless the case was closed before."""
    case, today = play.tally.cases[visit.person.person_id], play.clock.now.date()
    try:
        answer = await _post(play, visit, visit.body(), f"follow-up {visit.visit_id}")
    except Refused as refused:
        if refused.code == "case-closed" and case.closed:
            play.tally.refusals[refused.code] += 1
            return
        raise
    if case.closed:
        raise DemoFailed(f"Visit {visit.visit_id} was recorded on a case that is closed ({case.closed}).")
    case.record(visit.months, visit.day, visit.living, today)
    if answer["standing"] != case.standing:
        raise DemoFailed(
            f"After visit {visit.visit_id} the household is {answer['standing']} by outcomes, and {case.standing} by "
            "the rule in plain words."
        )


async def _send_again(play: Play, visit: FollowUpVisit, friday: date) -> None:
    await _post(play, visit, visit.body(), f"follow-up {visit.visit_id} again on {friday}")
    play.tally.follow_up_copies += 1


async def _post(play: Play, visit: FollowUpVisit, body: Json, step: str) -> Json:
    person = visit.person.person_id
    facilitator = play.stack.facilitator_of(play.tally.cases[person].kabupaten)
    answer: Json = await play.house.outcomes.post(f"/cases/{person}/follow-ups", body, who=facilitator, step=step)
    return answer


# --- What is refused --------------------------------------------------------------------------------------------------

_EARLY = timedelta(days=30)


async def _try_what_is_refused(play: Play, visit: FollowUpVisit) -> None:
    """Once in the year a device's clock is wrong, and a visit is told to be of a month ago or of next week."""
    if play.tally.refusals["visit-too-early"]:
        return
    case = play.tally.cases[visit.person.person_id]
    if case.closed or visit.months in case.recorded:
        return
    wrong = {
        "visit-too-early": visit.body(at(case.due_on(visit.months), 9) - _EARLY),
        "visit-in-the-future": visit.body(play.clock.now + timedelta(days=7)),
        "no-such-follow-up": visit.body(follow_up=60),
    }
    for code, body in wrong.items():
        try:
            await _post(play, visit, body, f"{code} {visit.visit_id}")
        except Refused as refused:
            if refused.code != code:
                raise
            play.tally.refusals[code] += 1
        else:
            raise DemoFailed(f"A visit that is wrong by intention ({code}) was recorded.")
