"""What outcomes and notifications say at the end of the year, and whether others say the same."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.areas import AreaCode, Level, at_level
from deploy.demo.clients import House, Json, together
from deploy.demo.comparing import Comparison, ours
from deploy.demo.people import IMPOSSIBLE_REGION
from deploy.demo.play import AUDITOR
from deploy.demo.stack import RunningStack
from deploy.demo.tally import Tally

FOLLOW_UP_STATUSES = ("scheduled", "due", "recorded", "missed", "dropped")


@dataclass(frozen=True)
class YearAnswers:
    """What the APIs of outcomes and notifications said at one moment of rest, and what stands in files by then."""

    cases: list[Json]
    follow_ups: list[Json]
    interventions: list[Json]
    units: list[Json]
    cooperatives: list[Json]
    rejections: list[Json]
    messages: list[Json]  # how many, by rule, status, channel and reason
    rules: list[Json]  # of outcomes, in force
    written: Mapping[str, int]  # by channel: the messages that stand in its file
    channels_to_files: Collection[str]
    telling_numbers: Mapping[str, int]  # by file: places where a national id stands, of messages and logs

    @property
    def line(self) -> int:
        """The extreme-poverty line of the rule in force, in rupiah a person and month; 0 if there is none."""
        graduation = (rule["definition"] for rule in self.rules if rule["kind"] == "graduation")
        return int(next((terms["line_rupiah_per_person_month"] for terms in graduation), 0))


async def ask_about_the_year(house: House, stack: RunningStack) -> YearAnswers:
    outcomes, notifications = house.outcomes, house.notifications
    cases = await outcomes.items("/cases", who=AUDITOR)
    planners = [case["case_id"] for case in cases if case["business_units"]]
    in_full = await together(outcomes.get(f"/cases/{case}", who=AUDITOR) for case in planners)
    return YearAnswers(
        cases=cases,
        follow_ups=await outcomes.items("/follow-ups", who=AUDITOR, status=list(FOLLOW_UP_STATUSES)),
        interventions=await outcomes.items("/interventions", who=AUDITOR),
        units=[unit for case in in_full for unit in case["units"]],
        cooperatives=await outcomes.items("/cooperatives", who=AUDITOR),
        rejections=await outcomes.items("/rejections", who=AUDITOR),
        messages=await notifications.get("/figures/notifications", who=AUDITOR),
        rules=await outcomes.get("/rules", who=AUDITOR),
        written=written(stack.messages),
        channels_to_files=stack.channels_to_files,
        telling_numbers=telling_numbers([*stack.messages.glob("*"), *(stack.folder / "logs").glob("*.log")]),
    )


# --- Files ------------------------------------------------------------------------------------------------------------

_NATIONAL_ID = re.compile(rb"%d(?:[ .-]?[0-9]){12}" % IMPOSSIBLE_REGION)
"""As all numbers of the demo's people begin; also with a sign between the digits."""


def written(folder: Path) -> dict[str, int]:
    """Channel -> the lines of its file. A message that stands there twice counts twice."""
    return {file.stem: file.read_bytes().count(b"\n") for file in sorted(folder.glob("*.jsonl"))}


def telling_numbers(files: Iterable[Path]) -> dict[str, int]:
    """Where national ids of the demo's people stand in files that are to hold none."""
    found = {file.name: _numbers_in(file) for file in sorted(files)}
    return {name: times for name, times in found.items() if times}


def _numbers_in(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(len(_NATIONAL_ID.findall(line)) for line in lines)


# --- Counting ---------------------------------------------------------------------------------------------------------


def kabupaten_of(rows: Iterable[Json]) -> Counter[AreaCode]:
    return Counter(at_level(row["area_code"], Level.KABUPATEN) for row in rows)


def graduated(cases: Iterable[Json]) -> list[Json]:
    """Who stands above the line by the rule now."""
    return [case for case in cases if case["standing"] == "graduated"]


def messages_by(messages: Iterable[Json], *names: str) -> Counter[tuple[str, ...]]:
    """How many, by some of rule, status, channel and reason; what a message has none of is "" there."""
    found: Counter[tuple[str, ...]] = Counter()
    for row in messages:
        found[tuple(row[name] or "" for name in names)] += row["notifications"]
    return found


def requested(messages: Iterable[Json], *rules: str) -> int:
    return sum(row["notifications"] for row in messages if row["rule_id"] in rules)


def _by_number_and_status(follow_ups: Iterable[Json]) -> Counter[str]:
    return Counter(f"after {visit['months']} months {visit['status']}" for visit in follow_ups)


# --- Agreement --------------------------------------------------------------------------------------------------------


def about_the_year(year: YearAnswers, cohorts: Sequence[Json], logs: Mapping[str, Json]) -> list[Comparison]:
    """What two services, or a service and its files, have to say alike."""
    on_lists = [line for cohort in cohorts for line in cohort["participants"]]
    completed = {line["participant_id"] for line in on_lists if line["status"] == "completed"}
    placed = sum(line["place"] is not None for line in on_lists)
    taken = [row for row in year.messages if row["status"] in ("sent", "delivered")]
    by_channel = {channel: times for (channel,), times in messages_by(taken, "channel").items()}
    by_channel = {channel: times for channel, times in by_channel.items() if channel in year.channels_to_files}
    in_files = {channel: lines for channel, lines in year.written.items() if channel in year.channels_to_files}
    places_told = requested(year.messages, "enrolment", "replacement")
    completions = sum(cohort["completed"] for cohort in cohorts)
    completions_told = requested(year.messages, "completion")
    on_cases = sum(case["interventions"] for case in year.cases)
    tables = logs["outcomes"]["tables"]
    return [
        Comparison("who has a case", "training", completed, "outcomes", {case["case_id"] for case in year.cases}),
        Comparison("places told", "training's lists", placed, "notifications", places_told),
        Comparison("completions told", "training's cohorts", completions, "notifications", completions_told),
        Comparison("interventions on cases", "the cases", on_cases, "their table", tables["case_intervention"]),
        Comparison("messages taken", "notifications", by_channel, "the senders' files", in_files),
        Comparison("places where a national id stands", "messages and logs", year.telling_numbers, "the promise", {}),
    ]


def the_year_by_the_tally(year: YearAnswers, tally: Tally) -> list[Comparison]:
    """What outcomes and notifications have to say of what the script did."""
    cases, support = tally.cases, tally.support
    stand = Counter(
        f"after {months} months {status}" for case in cases.values() for months, status in case.statuses.items()
    )
    late = sum(visit.late for case in cases.values() for visit in case.recorded.values())
    on_cases = tally.on_cases()
    members = {(report.cooperative, report.person_id) for report in on_cases if report.cooperative is not None}
    return [
        ours("cases", Counter(case.kabupaten for case in cases.values()), kabupaten_of(year.cases)),
        ours("follow-ups", stand, _by_number_and_status(year.follow_ups)),
        ours("follow-ups recorded late", late, sum(visit["late"] for visit in year.follow_ups)),
        ours("follow-ups told", _fallen_due(tally), requested(year.messages, "follow-up-due")),
        ours("visits told", tally.assignments, requested(year.messages, "visit-assigned")),
        ours("why cases closed", Counter(case.closed for case in cases.values() if case.closed), _closed(year.cases)),
        ours("how households stand", Counter(case.standing for case in cases.values()), _standing(year.cases)),
        ours("who has graduated", _standing_so(tally, "graduated"), _ids(graduated(year.cases))),
        ours(
            "graduated by kabupaten",
            Counter(case.kabupaten for case in cases.values() if case.standing == "graduated"),
            kabupaten_of(graduated(year.cases)),
        ),
        ours("incomes at the last visit", _last_incomes(tally), _incomes(year.cases)),
        ours("interventions reported", support.reported, Counter(one["kind"] for one in year.interventions)),
        ours(
            "interventions by what became of them", _by_end(tally), Counter(one["status"] for one in year.interventions)
        ),
        ours("interventions unmatched", +support.unmatched, _because(year.interventions)),
        ours(
            "interventions matched by hand",
            sum(report.by_hand for report in support.reports),
            sum(one["status"] == "matched" and one["matched_by"] != "national_id" for one in year.interventions),
        ),
        ours(
            "interventions on cases",
            set(Counter(report.person_id for report in on_cases).items()),
            _on_cases(year.cases),
        ),
        ours("reports rejected", support.rejected, len(year.rejections)),
        ours("cooperatives' last meetings", support.meetings, _meetings(year.cooperatives)),
        ours("members recruited", Counter(number for number, _ in members), _recruited(year.cooperatives)),
        ours("business units planned", tally.units_planned, len(year.units)),
        ours("business units launched", tally.units_launched, sum(u["status"] == "launched" for u in year.units)),
    ]


def _fallen_due(tally: Tally) -> int:
    return sum(len(case.fallen_due) for case in tally.cases.values())


def _closed(cases: Iterable[Json]) -> Counter[str]:
    return Counter(case["closed_because"] for case in cases if case["closed_because"])


def _standing(cases: Iterable[Json]) -> Counter[str]:
    return Counter(case["standing"] for case in cases)


def _standing_so(tally: Tally, standing: str) -> set[str]:
    return {person for person, case in tally.cases.items() if case.standing == standing}


def _ids(cases: Iterable[Json]) -> set[str]:
    return {case["case_id"] for case in cases}


def _last_incomes(tally: Tally) -> set[tuple[str, int]]:
    """Participant, and rupiah a person and month at the visit that was made last."""
    visits = {person: list(case.recorded.values()) for person, case in tally.cases.items() if case.recorded}
    return {(person, max(made, key=lambda visit: visit.on).living.per_person) for person, made in visits.items()}


def _incomes(cases: Iterable[Json]) -> set[tuple[str, int]]:
    return {(case["case_id"], case["last_per_person_rupiah"]) for case in cases if case["last_follow_up"] is not None}


def _by_end(tally: Tally) -> dict[str, int]:
    support = tally.support
    return {
        "matched": len(support.reports),
        "unmatched": support.unmatched.total(),
        "dismissed": support.dismissed,
    }


def _because(interventions: Iterable[Json]) -> Counter[str]:
    return Counter(one["because"] for one in interventions if one["status"] == "unmatched")


def _on_cases(cases: Iterable[Json]) -> set[tuple[str, int]]:
    """Participant, and how many interventions stand on their case. As a set: of who differs nobody's id is told."""
    return {(case["case_id"], case["interventions"]) for case in cases if case["interventions"]}


def _meetings(cooperatives: Iterable[Json]) -> dict[str, int]:
    return {one["cooperative_number"]: one["meeting_year"] for one in cooperatives}


def _recruited(cooperatives: Iterable[Json]) -> dict[str, int]:
    return {one["cooperative_number"]: one["recruited"] for one in cooperatives}
