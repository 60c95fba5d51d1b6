"""The figures of the services, brought together, and whether they agree with each other and with the script's tally."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from contracts import areas
from contracts.areas import AreaCode, Level, at_level
from deploy.demo.clients import House, Json, together
from deploy.demo.comparing import Comparison, ours
from deploy.demo.play import AUDITOR
from deploy.demo.published import PublishedFigure, ask_for_published_figures, with_the_figures
from deploy.demo.stack import RunningStack
from deploy.demo.tally import Tally
from deploy.demo.year_figures import (
    YearAnswers,
    about_the_year,
    ask_about_the_year,
    kabupaten_of,
    the_year_by_the_tally,
)


@dataclass(frozen=True)
class FunnelLine:
    """How far the people of a kabupaten or kota have come. Counts of people, but for the households."""

    area_code: AreaCode
    name: str
    households_listed: int
    people_listed: int
    visited: int
    verified: int  # ever: a verification that has ended since counts
    enrolled: int  # ever had a place
    completed: int  # a class, or two
    followed_up: int  # visited once at least in the year after
    graduated: int  # whose household stands above the line by the rule now


@dataclass(frozen=True)
class Answers:
    """What the services' APIs said at one moment of rest."""

    registry_funnel: list[Json]
    participants: list[Json]
    list_problems: list[Json]  # of all lists that were taken in
    rejections: list[Json]
    training_funnel: list[Json]
    cohorts: list[Json]  # each with its list
    class_figures: list[Json]
    demand: list[Json]
    logs: dict[str, Json]  # by service
    year: YearAnswers
    published: list[PublishedFigure]

    @property
    def funnel(self) -> list[FunnelLine]:
        return funnel(self.registry_funnel, self.participants, self.training_funnel, self.year.cases)


async def ask_the_services(house: House, stack: RunningStack) -> Answers:
    """Everything that the summary shows, through the APIs alone, as an auditor may ask for it."""
    registry, training = house.registry, house.training
    cohorts = await training.items("/cohorts", who=AUDITOR)
    snapshots = await registry.items("/snapshots", who=AUDITOR)
    in_full = await together(training.get(f"/cohorts/{c['cohort_id']}", who=AUDITOR) for c in cohorts)
    problems = await together(registry.items(f"/snapshots/{s['snapshot_id']}/problems", who=AUDITOR) for s in snapshots)
    return Answers(
        registry_funnel=await registry.get("/funnel", who=AUDITOR),
        participants=await registry.items("/participants", who=AUDITOR),
        list_problems=[problem for of_list in problems for problem in of_list],
        rejections=await registry.items("/rejections", who=AUDITOR),
        training_funnel=await training.get("/figures/funnel", who=AUDITOR),
        cohorts=in_full,
        class_figures=await training.items("/figures/cohorts", who=AUDITOR),
        demand=await training.get("/demand", who=AUDITOR, by="kabupaten"),
        logs=await logs_of(house),
        year=await ask_about_the_year(house, stack),
        published=await ask_for_published_figures(house),
    )


async def logs_of(house: House) -> dict[str, Json]:
    figures = await together(api.get("/log/figures", who=AUDITOR) for api in house.apis)
    return dict(zip((api.name for api in house.apis), figures, strict=True))


async def events_so_far(house: House) -> int:
    """The events in all logs."""
    return sum(sum(log["events"].values()) for log in (await logs_of(house)).values())


# --- The funnel -------------------------------------------------------------------------------------------------------


def funnel(
    registry: Sequence[Json], participants: Iterable[Json], training: Sequence[Json], cases: Sequence[Json]
) -> list[FunnelLine]:
    """One line for each kabupaten that any service knows, in order of code."""
    of_registry = {row["area_code"]: row for row in registry}
    of_training = {row["area_code"]: row for row in training}
    verified = Counter(at_level(p["area_code"], Level.KABUPATEN) for p in participants if was_verified(p))
    followed_up = kabupaten_of(case for case in cases if case["last_follow_up"] is not None)
    out_of_poverty = kabupaten_of(case for case in cases if case["standing"] == "graduated")
    return [
        FunnelLine(
            area_code=code,
            name=areas.short_name(code),
            households_listed=of_registry.get(code, {}).get("households_listed", 0),
            people_listed=of_registry.get(code, {}).get("people_listed", 0),
            visited=of_registry.get(code, {}).get("visited", 0),
            verified=verified[code],
            enrolled=of_training.get(code, {}).get("enrolled", 0),
            completed=of_training.get(code, {}).get("completed", 0),
            followed_up=followed_up[code],
            graduated=out_of_poverty[code],
        )
        for code in sorted(of_registry.keys() | of_training.keys() | followed_up.keys())
    ]


def was_verified(participant: Json) -> bool:
    """Whether a participant was ever verified: who was rejected since still shows the priority that was then given."""
    return participant["priority"] is not None


def total(lines: Sequence[FunnelLine], name: str = "NTB") -> FunnelLine:
    """All lines together."""
    sums = {
        field: sum(asdict(line)[field] for line in lines)
        for field in FunnelLine.__dataclass_fields__
        if field not in ("area_code", "name")
    }
    return FunnelLine(area_code=areas.NTB, name=name, **sums)


# --- Agreement --------------------------------------------------------------------------------------------------------


def between_services(answers: Answers) -> list[Comparison]:
    """What two services, or two answers of one, have to say alike."""
    registry, demand, logs = answers.registry_funnel, answers.demand, answers.logs
    by_reason: Counter[str] = Counter()
    for row in registry:
        by_reason.update(row["rejected"])
    published = {topic: count for log in logs.values() for topic, count in log["events"].items()}
    heard = {topic: read for log in logs.values() for topic, read in log["listens_to"].items() if topic in published}
    unheard = {topic: published[topic] - read for topic, read in heard.items() if read < published[topic]}
    funnel_enrolled = _sum(answers.training_funnel, "enrolled")
    funnel_completed = _sum(answers.training_funnel, "completed")
    return [
        _services("households listed", _column(registry, "households_listed"), _column(demand, "households")),
        _services("people listed", _column(registry, "people_listed"), _column(demand, "people")),
        _services("people verified now", _column(registry, "verified"), _column(demand, "verified")),
        Comparison("rejections", "the registry's funnel", by_reason, "its participants", _rejected(answers)),
        Comparison(
            "places given", "training's funnel", funnel_enrolled, "its cohorts", _sum(answers.class_figures, "enrolled")
        ),
        Comparison(
            "completions", "training's funnel", funnel_completed, "its cohorts", _sum(answers.cohorts, "completed")
        ),
        Comparison("events that a reader has not read", "the logs", {}, "the readers' cursors", unheard),
        Comparison(
            "events",
            "the logs",
            {name: sum(log["events"].values()) for name, log in logs.items()},
            "their seals",
            {name: log["sealed"] for name, log in logs.items()},
        ),
        *about_the_year(answers.year, answers.cohorts, logs),
        *with_the_figures(
            answers.published,
            asdict(total(answers.funnel)),
            answers.year,
            len(answers.rejections) + len(answers.year.rejections),
        ),
    ]


def with_the_tally(answers: Answers, tally: Tally) -> list[Comparison]:
    """What the services have to say of what the script did."""
    registry = answers.registry_funnel
    withdrawn: Counter[str] = Counter()
    for row in answers.training_funnel:
        withdrawn.update(row["withdrawn_by_reason"])
    verified = Counter(at_level(p["area_code"], Level.KABUPATEN) for p in answers.participants if was_verified(p))
    found = [
        ours("households listed", tally.households, _column(registry, "households_listed")),
        ours("participants", len(tally.participants), len(answers.participants)),
        ours("visits", tally.visits, answers.logs["registry"]["tables"]["visit"]),
        ours("findings", tally.findings(), Counter(p["finding"] for p in answers.participants if p["finding"])),
        ours("people ever verified", tally.verified_once_by_kabupaten(), verified),
        ours("people verified now", tally.participants_by("verified"), _column(registry, "verified")),
        ours("verifications that ended", tally.participants_by("expired"), _column(registry, "expired")),
        ours("participants rejected", tally.rejected_by_reason(), _rejected(answers)),
        ours("messages rejected", tally.messages_rejected, len(answers.rejections)),
        ours("places given up or lost", tally.withdrawn_by_reason(), withdrawn),
        ours("cohorts", sorted(tally.classes), sorted(cohort["number"] for cohort in answers.cohorts)),
    ]
    for cohort in answers.cohorts:
        of_class, number = tally.class_of(cohort["number"]), cohort["number"]
        confirmed = {line["participant_id"] for line in cohort["participants"] if line["confirmed_at"]}
        found += [
            ours(f"who confirmed in {number}", of_class.confirmed, confirmed),
            ours(f"who completed {number}", of_class.completed, _people(cohort, "completed")),
            ours(f"who did not complete {number}", of_class.not_completed, _people(cohort, "not_completed")),
        ]
    return [*found, *the_year_by_the_tally(answers.year, tally)]


def _services(what: str, registry: object, training: object) -> Comparison:
    return Comparison(what, "the registry", registry, "training", training)


def _rejected(answers: Answers) -> Counter[str]:
    return Counter(p["rejection"] for p in answers.participants if p["rejection"])


def _column(rows: Iterable[Json], name: str) -> dict[str, int]:
    return {row["area_code"]: row[name] for row in rows}


def _sum(rows: Iterable[Json], name: str) -> int:
    return sum(row[name] for row in rows)


def _people(cohort: Json, status: str) -> set[str]:
    return {line["participant_id"] for line in cohort["participants"] if line["status"] == status}
