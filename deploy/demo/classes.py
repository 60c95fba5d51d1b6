"""The training: classes are planned and filled, people answer, come or stay away, are tested, and complete."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from contracts import areas
from contracts.areas import AreaCode
from contracts.training import DeliveryMode
from deploy.demo import follow_ups, programme
from deploy.demo.clients import Json, together
from deploy.demo.clock import at
from deploy.demo.diary import Diary, Doing
from deploy.demo.failures import DemoFailed, Refused
from deploy.demo.learners import Learner, plan_answers, plan_learners
from deploy.demo.play import AUDITOR, OFFICER, PlannedClass, Play
from deploy.demo.programme import COURSES, Class, Course

# --- Planning ---------------------------------------------------------------------------------------------------------


async def plan_the_classes(play: Play) -> None:
    """The programme with its courses, each kabupaten's quota, and the cohorts (angkatan)."""
    await play.clock.move_to(at(programme.ENROLMENT_DAY, 9))
    quotas = programme.quotas(play.size)
    play.classes = await plan_programme(play, programme.PROGRAMME, COURSES, _meeting_places(play), quotas)
    on_site = sum(planned.plan.mode is DeliveryMode.ON_SITE for planned in play.classes)
    play.telling.say(
        f"{programme.PROGRAMME}: {len(COURSES)} courses, quotas for {len(quotas)} kabupaten and kota, "
        f"{len(play.classes)} cohorts of {programme.CAPACITY} ({on_site} on site in the villages), five days each"
    )


async def plan_programme(
    play: Play,
    name: str,
    courses: Sequence[Course],
    meeting_places: Sequence[tuple[Class, AreaCode]],
    quotas: Mapping[AreaCode, int],
) -> list[PlannedClass]:
    """Opens a programme for all NTB, with these courses, quotas and cohorts."""
    training = play.house.training
    body = {"name": name, "area_code": areas.NTB, "year": programme.YEAR}
    opened = await training.post("/programmes", body, who=OFFICER, step=f"programme {name}")
    programme_id, path = opened["programme_id"], f"/programmes/{opened['programme_id']}"
    defined = {
        course: await training.post(f"{path}/courses", _course(course), who=OFFICER, step=f"course {course.title}")
        for course in courses
    }
    for kabupaten, places in quotas.items():
        quota = {"area_code": kabupaten, "places": places}
        await training.post(f"{path}/quotas", quota, who=OFFICER, step=f"quota-{kabupaten}")
    classes = []
    for planned, area in meeting_places:
        body = _cohort(planned, area, programme_id, defined[planned.course]["course_id"])
        cohort = await training.post("/cohorts", body, who=OFFICER, step=f"cohort-{planned.number}")
        classes.append(PlannedClass(planned, cohort["cohort_id"], area))
    return classes


def _course(course: Course) -> Json:
    return {
        "title": course.title,
        "lesson_hours": course.lesson_hours,
        "units": [{"unit_id": unit.unit_id, "title": unit.title, "critical": unit.critical} for unit in course.units],
    }


def _cohort(planned: Class, area: AreaCode, programme_id: str, course_id: str) -> Json:
    on_site = planned.mode is DeliveryMode.ON_SITE
    return {
        "programme_id": programme_id,
        "course_id": course_id,
        "number": planned.number,
        "capacity": planned.capacity,
        "delivery_mode": planned.mode.value,
        "area_code": area,
        "venue": f"Aula Kantor Camat {areas.name(area)}" if on_site else "UPTD Balatkop UKM NTB, Mataram",
        "days": [day.isoformat() for day in planned.days],
    }


def _meeting_places(play: Play) -> list[tuple[Class, AreaCode]]:
    """A class on site meets in a kecamatan of its host that no other class has, the one with most poor people first."""
    free = {kabupaten: list(kecamatan) for kabupaten, kecamatan in play.pockets.items()}
    return [
        (planned, planned.host if planned.mode is DeliveryMode.CLASSROOM else free[planned.host].pop(0))
        for planned in play.size.classes
    ]


# --- Filling ----------------------------------------------------------------------------------------------------------


async def fill_the_classes(play: Play) -> None:
    """By priority of need, each kabupaten within its quota; the classes on site first, which have their own people."""
    await _enrol_by_hand(play)
    on_site_first = sorted(play.classes, key=lambda c: (c.plan.mode is DeliveryMode.CLASSROOM, c.plan.number))
    enrolled = waiting = 0
    for planned in on_site_first:
        cohort = await play.house.training.post(
            f"/cohorts/{planned.cohort_id}/enrol-by-priority",
            {"waitlist": play.size.waitlist},
            who=OFFICER,
            step=f"enrol-{planned.plan.number}",
        )
        enrolled += cohort["enrolled"]
        waiting += cohort["waitlisted"]
    play.telling.say(f"{enrolled} people have a place, by priority of need; {waiting} wait in line")
    await _ask_for_one_place_too_many(play)


async def _enrol_by_hand(play: Play) -> None:
    """An officer takes two of the village meeting into a class that begins after their verification ends.

    That is allowed, since it may be renewed; if it is not, they lose the place when it ends.
    """
    ends = programme.VILLAGE_MEETING_DAY + timedelta(days=programme.VERIFICATION_HOLDS_DAYS)
    planned = next(planned for planned in play.classes if planned.plan.days[0] > ends)
    for person in play.at_village_meeting[:2]:
        await play.house.training.post(
            f"/cohorts/{planned.cohort_id}/participants",
            {"participant_id": person.person_id},
            who=OFFICER,
            step=f"enrol-by-hand-{person.row}",
        )
        play.losing_their_place[person.person_id] = planned.plan.number


async def _ask_for_one_place_too_many(play: Play) -> None:
    """The first class is full, so the next candidate is refused a place, and put in line instead."""
    planned = play.classes[0]
    cohort = await play.house.training.get(f"/cohorts/{planned.cohort_id}", who=AUDITOR)
    pool = await play.house.training.get("/candidates", who=AUDITOR, limit=50)
    able = next((candidate for candidate in pool["items"] if candidate["can_leave_home"]), None)
    if able is None or cohort["enrolled"] < cohort["capacity"]:
        play.telling.mind(f"{planned.plan.number} has places left, or nobody else may have one; no one is refused")
        return
    wish = {"participant_id": able["participant_id"]}
    path = f"/cohorts/{planned.cohort_id}"
    try:
        await play.house.training.post(f"{path}/participants", wish, who=OFFICER, step="one-too-many")
    except Refused as refused:
        if refused.code != "cohort-full":
            raise
        play.tally.refusals[refused.code] += 1
        play.telling.mind(
            f"a 31st participant for {planned.plan.number} is refused, since it is full, and waits in line"
        )
        await play.house.training.post(f"{path}/waitlist", wish, who=OFFICER, step="one-more-in-line")
        return
    raise DemoFailed(f"Cohort {planned.plan.number} took a participant beyond its {programme.CAPACITY} places.")


# --- Answering --------------------------------------------------------------------------------------------------------


async def _ask(play: Play, planned: PlannedClass) -> None:
    placed = await _placed(play, planned, "enrolled")
    # Who is about to lose the place anyway has promised to come.
    promised = [place for place, person in placed.items() if person in play.losing_their_place]
    answers = plan_answers(planned.plan, [place for place in placed if place not in promised])
    of_class = play.tally.class_of(planned.plan.number)
    for place, reason in answers.withdraw.items():
        person = placed[place]
        wish = {"reason": reason, "note": "Disampaikan lewat telepon."}
        await play.house.training.post(
            f"/cohorts/{planned.cohort_id}/participants/{person}/withdraw",
            wish,
            who=OFFICER,
            step=f"withdraw-{planned.plan.number}-{person}",
        )
        of_class.withdrawn[reason] += 1
    of_class.withdrawn["not_confirmed"] += len(answers.silent)
    await _confirm(play, planned, [placed[place] for place in (*answers.confirm, *promised)])


async def _ask_again(play: Play, planned: PlannedClass) -> None:
    """Those who followed on a free place; the silent have lost theirs by now."""
    placed = await _placed(play, planned, "enrolled")
    await _confirm(play, planned, list(placed.values()))


async def _confirm(play: Play, planned: PlannedClass, people: Sequence[str]) -> None:
    number, path = planned.plan.number, f"/cohorts/{planned.cohort_id}/participants"
    # One class is one row to lock: more at once would wait for each other, and keep other classes waiting.
    await together(
        (
            play.house.training.post(f"{path}/{person}/confirm", who=OFFICER, step=f"confirm-{number}-{person}")
            for person in people
        ),
        at_once=2,
    )
    play.tally.class_of(number).confirmed.update(people)


async def _placed(play: Play, planned: PlannedClass, status: str) -> dict[int, str]:
    """Place -> participant, of those who stand so on the list."""
    cohort = await play.house.training.get(f"/cohorts/{planned.cohort_id}", who=OFFICER)
    return {line["place"]: line["participant_id"] for line in cohort["participants"] if line["status"] == status}


# --- In class ---------------------------------------------------------------------------------------------------------


async def _teach(play: Play, planned: PlannedClass, day: int) -> None:
    """One day of one class: attendance, tests and units when they are due, and on the last day completion."""
    placed = await _placed(play, planned, "confirmed")
    if not placed:
        raise DemoFailed(f"Cohort {planned.plan.number} should meet today, and nobody in it is confirmed.")
    learners = plan_learners(planned.plan, list(placed))
    marks = [{"participant_id": person, "status": learners[place].marks[day]} for place, person in placed.items()]
    attendance = {"day": planned.plan.days[day].isoformat(), "marks": marks}
    await _record(play, planned, "attendance", attendance, f"day-{day}")
    last = len(planned.plan.days) - 1
    if day == 0:
        await _test(play, planned, "pre_test", {person: learners[place].pre_test for place, person in placed.items()})
    if day >= last - 1:
        await _assess(play, planned, placed, learners, attempt=day - (last - 1))
    if day == last:
        await _test(play, planned, "post_test", {person: learners[place].post_test for place, person in placed.items()})
        await _complete(play, planned, placed, learners)


async def _test(play: Play, planned: PlannedClass, kind: str, scores: Mapping[str, int]) -> None:
    results = [{"participant_id": person, "score": score} for person, score in scores.items()]
    await _record(play, planned, "assessments", {"kind": kind, "results": results}, kind)


async def _assess(
    play: Play, planned: PlannedClass, placed: Mapping[int, str], learners: Mapping[int, Learner], *, attempt: int
) -> None:
    """First everybody's first attempt, the day after the second of those who need one."""
    results = [
        {"participant_id": person, "unit_id": unit_id, "competent": attempts[attempt]}
        for place, person in placed.items()
        for unit_id, attempts in learners[place].attempts.items()
        if len(attempts) > attempt
    ]
    if results:
        await _record(play, planned, "assessments", {"kind": "unit", "results": results}, f"units-{attempt}")


async def _complete(
    play: Play, planned: PlannedClass, placed: Mapping[int, str], learners: Mapping[int, Learner]
) -> None:
    course, minimum = planned.plan.course, play.minimum_attendance_percent
    completed = {person for place, person in placed.items() if learners[place].completes(course, minimum)}
    cohort = await play.house.training.post(
        f"/cohorts/{planned.cohort_id}/complete", who=OFFICER, step=f"complete-{planned.plan.number}"
    )
    of_class = play.tally.class_of(planned.plan.number)
    of_class.completed, of_class.not_completed = completed, set(placed.values()) - completed
    for person in completed:
        play.tally.opened(person, planned.plan.days[-1], play.plan, play.graduation)
    play.telling.say(
        f"{planned.plan.number} {cohort['course_title']} is completed: {cohort['completed']} with a certificate, "
        f"{cohort['not_completed']} without"
    )


async def _record(play: Play, planned: PlannedClass, what: str, body: Json, step: str) -> None:
    await play.house.training.post(
        f"/cohorts/{planned.cohort_id}/{what}",
        body,
        who=play.stack.facilitator_of(planned.area_code),
        step=f"{planned.plan.number}-{step}",
    )


# --- Day by day -------------------------------------------------------------------------------------------------------

InClass = Callable[[Play, PlannedClass], Awaitable[None]]


def entries(classes: Sequence[PlannedClass]) -> list[tuple[datetime, InClass, PlannedClass]]:
    """What is done when, in order: people are asked, asked again, and taught for five days."""
    return sorted(_entries(classes), key=lambda entry: entry[0])


def _entries(classes: Sequence[PlannedClass]) -> Iterator[tuple[datetime, InClass, PlannedClass]]:
    for planned in classes:
        yield at(planned.plan.answers_on, 9), _ask, planned
        yield at(planned.plan.second_answers_on, 9), _ask_again, planned
        for day, when in enumerate(planned.plan.days):
            yield at(when, 16), _taught_on(day), planned


def _taught_on(day: int) -> InClass:
    async def teach(play: Play, planned: PlannedClass) -> None:
        await _teach(play, planned, day)

    return teach


def write_down(diary: Diary, classes: Sequence[PlannedClass]) -> None:
    """Enters everything about the classes in the diary."""
    for when, doing, planned in entries(classes):
        diary.add(when, _of_class(doing, planned))


def _of_class(doing: InClass, planned: PlannedClass) -> Doing:
    async def do(play: Play) -> None:
        await doing(play, planned)

    return do


async def hold_the_classes(play: Play) -> None:
    """Weeks of classes; deadlines, starts and the verification that ends on the way pass by the clock."""
    write_down(play.diary, play.classes)
    last_day = max(planned.plan.days[-1] for planned in play.classes)
    await play.diary.play_until(play, at(last_day, 16))
    for number in play.losing_their_place.values():
        play.tally.class_of(number).withdrawn["verification_expired"] += 1
    reasons = play.tally.withdrawn_by_reason()
    play.telling.mind(
        "places given up or lost, and mostly given to the next in line: "
        + ", ".join(f"{reason.replace('_', ' ')} {times}" for reason, times in reasons.most_common())
    )
    cases = play.tally.cases
    follow_ups.write_down(play, list(cases))
    play.telling.say(f"{len(cases)} people completed; from now on a case of each asks what becomes of them")
