"""October: cooperative managers from the pockets of poverty are visited anew, trained, and plan business units."""

from collections.abc import Sequence
from datetime import date, timedelta

from contracts.areas import AreaCode
from contracts.registry import Finding
from deploy.demo import classes, follow_ups, programme
from deploy.demo.clients import Json, together
from deploy.demo.clock import at
from deploy.demo.diary import Doing
from deploy.demo.dinkop import Cooperative
from deploy.demo.fieldwork import assign, decide, send_all
from deploy.demo.follow_ups import SYNC_HOUR
from deploy.demo.play import OFFICER, Person, PlannedClass, Play
from deploy.demo.programme import MANAGERS_COURSE, MANAGERS_PROGRAMME
from deploy.demo.visits import Visit, phone_of

_VISITED_FOR_TEN = 14
"""So many are visited anew for ten places: some have changed their minds, and some wait in line."""
_UNWILLING_OF = 15  # One of so many does not want to any more.
_TRAINED_BEFORE = 5  # So many have completed a class in July already.

LAUNCH_DAYS = (date(2024, 12, 13), date(2025, 2, 14), date(2025, 4, 11))
_LAUNCHED_OF_FIVE = 3

SECTORS = ("trade", "food", "crafts", "farming", "services", "fishery", "savings_and_loan")

# --- Choosing ---------------------------------------------------------------------------------------------------------


async def renew_verifications(play: Play) -> None:
    """The verifications of June ended in August: who may become a manager is visited and verified again."""
    await play.diary.play_until(play, at(programme.RENEWAL_DAY, 9))
    chosen = _who_may_manage(play)
    await assign(play, chosen, "renewal", due_on=programme.RENEWAL_SYNC_DAY)
    await play.diary.play_until(play, at(programme.RENEWAL_SYNC_DAY, SYNC_HOUR))
    visits = plan_renewals(chosen, frozenset(play.tally.cases))
    arrived = await send_all(play, visits, {}, programme.RENEWAL_SYNC_DAY, play.random("renewals"))
    await decide(play, arrived, "renewal")
    await play.clock.settle()
    willing = sum(visit.willing for visit in visits)
    play.telling.say(
        f"{len(chosen)} people whose verification had ended were visited anew: {willing} are verified again; "
        f"not willing any more: {len(chosen) - willing}"
    )


def _who_may_manage(play: Play) -> list[Person]:
    """Whose verification has ended, who can leave home, and whose household is still listed; most have no case yet."""
    places = play.size.manager_capacity * play.size.manager_cohorts
    able = [
        person
        for person in play.visited
        if play.tally.participants[person.person_id].status == "expired"
        and person.person_id in play.visits
        and play.visits[person.person_id].can_leave_home
        and person.family_id not in play.delisted_families
    ]
    able = play.random("managers").sample(able, len(able))
    new = [person for person in able if person.person_id not in play.tally.cases]
    trained = [person for person in able if person.person_id in play.tally.cases][:_TRAINED_BEFORE]
    return sorted((*trained, *new[: places * _VISITED_FOR_TEN // 10 - len(trained)]), key=lambda person: person.row)


def plan_renewals(people: Sequence[Person], with_a_case: frozenset[str]) -> list[Visit]:
    """One visit to each in the days before the devices are online."""
    friday = programme.RENEWAL_SYNC_DAY
    return [
        Visit(
            visit_id=f"perpanjangan-{person.row}",
            person=person,
            captured_at=at(friday - timedelta(days=1 + number % 4), 9) + timedelta(minutes=number % 300),
            finding=Finding.MATCHED,
            willing=number % _UNWILLING_OF != 7 or person.person_id in with_a_case,
            can_leave_home=True,
            reachable=True,
            situation_changed=False,
            notes="Aktif di koperasi desa.",
            phone=phone_of(person),
        )
        for number, person in enumerate(people)
    ]


# --- Training ---------------------------------------------------------------------------------------------------------


async def train_the_managers(play: Play) -> None:
    """Five days at the training centre; each who completes has planned a unit, and some open it in the months after."""
    at_the_centre = [(planned, planned.host) for planned in play.size.manager_classes]
    planned = await classes.plan_programme(play, MANAGERS_PROGRAMME, (MANAGERS_COURSE,), at_the_centre, {})
    play.manager_classes = planned
    await _enrol_the_nominated(play, planned)
    classes.write_down(play.diary, planned)
    last_day = planned[0].plan.days[-1]
    before = set(play.tally.cases)
    await play.diary.play_until(play, at(last_day, 16))
    await play.clock.settle()
    completed = sorted(person for cohort in planned for person in play.tally.class_of(cohort.plan.number).completed)
    follow_ups.write_down(play, [person for person in completed if person not in before], managers=True)
    await _plan_units(play, completed, last_day)
    play.telling.say(
        f"{len(completed)} managers completed, {sum(person in before for person in completed)} of whom had completed a "
        "class in July; each has planned a business unit of a cooperative"
    )


async def _enrol_the_nominated(play: Play, cohorts: Sequence[PlannedClass]) -> None:
    """Cooperatives have named them, so no priority decides: whoever comes after the places waits in line."""
    known, trained = play.tally.participants, play.tally.cases
    nominated = sorted(
        (person for person in play.visited if known[person.person_id].status == "verified"),
        key=lambda person: (person.person_id not in trained, person.row),
    )
    for number, person in enumerate(nominated):
        cohort = cohorts[number % len(cohorts)]
        has_place = number < len(cohorts) * cohort.plan.capacity
        await play.house.training.post(
            f"/cohorts/{cohort.cohort_id}/{'participants' if has_place else 'waitlist'}",
            {"participant_id": person.person_id},
            who=OFFICER,
            step=f"nominated {cohort.plan.number} {person.person_id}",
        )


async def _plan_units(play: Play, managers: Sequence[str], day: date) -> None:
    chosen = sorted((play.people[manager] for manager in managers), key=lambda person: person.row)
    answers = await together(
        _post(play, person, "business-units", plan_of(person, play.cooperatives, day), f"unit {person.person_id}")
        for person in chosen
    )
    play.tally.units_planned += len(chosen)
    for number, (person, unit) in enumerate(zip(chosen, answers, strict=True)):
        if number % 5 < _LAUNCHED_OF_FIVE:
            launched_on = LAUNCH_DAYS[number % len(LAUNCH_DAYS)]
            play.diary.add(at(launched_on, SYNC_HOUR), _launch(person, unit, launched_on))


def plan_of(person: Person, cooperatives: Sequence[Cooperative], day: date) -> Json:
    """A small unit of the cooperative that is nearest."""
    nearest = min(cooperatives, key=lambda one: (-_shared(one.area_code, person.area_code), one.number))
    return {
        "cooperative_number": nearest.number,
        "sector": SECTORS[person.row % len(SECTORS)],
        "planned_on": day.isoformat(),
        "launch_by": LAUNCH_DAYS[-1].isoformat(),
        "capital_rupiah": 5_000_000 * (1 + person.row % 8),
        "jobs": 1 + person.row % 4,
    }


def _shared(one: AreaCode, other: AreaCode) -> int:
    """How many levels two codes have in common."""
    return sum(a == b for a, b in zip(one.split("."), other.split("."), strict=False))


def _launch(person: Person, unit: Json, launched_on: date) -> Doing:
    async def launch(play: Play) -> None:
        if play.tally.participants[person.person_id].status in ("rejected", "erased"):
            return
        jobs = max(1, unit["jobs_planned"] - person.row % 2)
        body = {"launched_on": (launched_on - timedelta(days=2)).isoformat(), "jobs": jobs}
        await _post(play, person, f"business-units/{unit['unit_id']}/launch", body, f"launch {person.person_id}")
        play.tally.units_launched += 1

    return launch


async def _post(play: Play, person: Person, what: str, body: Json, step: str) -> Json:
    facilitator = play.stack.facilitator_of(play.tally.cases[person.person_id].kabupaten)
    path = f"/cases/{person.person_id}/{what}"
    answer: Json = await play.house.outcomes.post(path, body, who=facilitator, step=step)
    return answer
