"""A whole province as outcomes knows it: fates that chance has drawn, the facts that tell them, and the rows of these.

The fates are plain records: what figures should say is counted from them here, without a row and without SQL.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import asyncpg

from contracts import areas
from contracts.envelope import Event
from contracts.outcomes import (
    AnnualMeetingRecorded,
    AppliedRule,
    BaselineRecorded,
    BasicNeed,
    BusinessUnitLaunched,
    BusinessUnitPlanned,
    CaseClosed,
    CaseOpened,
    ClosingReason,
    Evidence,
    FollowUpDue,
    FollowUpMissed,
    FollowUpRecorded,
    FollowUpScheduled,
    HouseholdGraduated,
    HouseholdRelapsed,
    IncomeAgainstLine,
    IncomeSource,
    InterventionKind,
    InterventionRecorded,
    Livelihood,
    MemberRecruited,
    NeedMet,
)
from contracts.partners import Fault, MessageRejected, SupportMessageRejected
from contracts.registry import (
    AgeBand,
    Finding,
    ParticipantRejected,
    RejectionReason,
    Sex,
    SnapshotApplied,
    SnapshotReceived,
    VerificationExpired,
    VisitRecorded,
)
from contracts.training import (
    CohortCompleted,
    CohortStarted,
    CompletionRule,
    DeliveryMode,
    NotCompletedReason,
    ParticipantCompleted,
    ParticipantConfirmed,
    ParticipantNotCompleted,
    ParticipantWithdrawn,
    WithdrawalReason,
)
from services.kit.rows import statements
from services.outcomes.calendar import months_after
from services.outcomes.people.state import HOMES, Home
from services.outcomes.state import TABLES
from tests.outcomes.facts import (
    LINE,
    POOR,
    default_rules,
    enrolled,
    home_of,
    listed,
    nominated,
    planned,
    rank,
    verified,
)
from tests.support.scenario import Scenario

NOW = datetime(2025, 9, 20, 1, 5, tzinfo=UTC)
TODAY = date(2025, 9, 20)
PLAN = (1, 3, 6, 12)
GRACE_DAYS = 14

COURSES = (
    ("pijat", "Keterampilan Teknis Pijat"),
    ("kerajinan", "Kerajinan Tangan"),
    ("kuliner", "Kuliner Rumahan"),
    ("cukur", "Keterampilan Mencukur"),
)
MANAGERS = ("koperasi", "Perencanaan Unit Usaha Koperasi")

# Poor people by kabupaten and kota, March 2024, in thousands (BPS): lists are as large as poverty is.
WEIGHTS = {
    "52.01": 97, "52.02": 122, "52.03": 185, "52.04": 63, "52.05": 32,
    "52.06": 73, "52.07": 21, "52.08": 56, "52.71": 43, "52.72": 16,
}  # fmt: skip


@dataclass
class Visit:
    """A follow-up as the plan wants it, and what became of it."""

    months: int
    due_on: date
    status: str  # scheduled | due | recorded | missed
    per_person: int = 0
    livelihoods: int = 0
    needs: tuple[BasicNeed, ...] = ()


@dataclass
class Fate:
    """What happened to somebody."""

    person: str
    village: str
    visited: bool = False
    verified: bool = False
    verified_now: bool = False
    rejected: RejectionReason | None = None
    cohort: str | None = None
    confirmed: bool = False
    ended: str | None = None  # withdrawn | completed | not_completed
    because: Any = None
    gain: int = 0
    needs_then: tuple[BasicNeed, ...] = ()
    visits: list[Visit] = field(default_factory=list)
    graduated: bool = False
    relapsed: bool = False
    interventions: list[InterventionKind] = field(default_factory=list)
    unit_jobs: list[int | None] = field(default_factory=list)  # of each planned unit; None: not launched

    @property
    def recorded(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.status == "recorded"]

    @property
    def is_closed(self) -> bool:
        return bool(self.visits) and all(visit.status in ("recorded", "missed") for visit in self.visits)


@dataclass
class Class:
    cohort_id: str
    number: str
    course: tuple[str, str]
    mode: DeliveryMode
    days: tuple[date, ...]

    @property
    def is_over(self) -> bool:
        return self.days[-1] < TODAY


@dataclass
class Province:
    fates: list[Fate]
    classes: list[Class]
    homes: dict[str, tuple[str, int]]  # household -> village, people
    cooperatives: list[tuple[str, date, int]]  # number, last meeting, recruited
    faults: list[str]
    rows_rejected: int


def province(households: int = 1000, nominated_people: int = 620, cohorts: int = 16, seed: int = 1) -> Province:
    chance = random.Random(seed)
    villages = {code: areas.villages(code) for code in WEIGHTS}
    homes = {}
    for n in range(households):
        kabupaten = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        homes[f"home-{n}"] = (chance.choice(villages[kabupaten]), chance.choice((2, 3, 4, 5, 6, 8)))
    classes = [_class(n) for n in range(cohorts)] + [_managers(n) for n in range(2)]
    fates = [_fate(chance, f"p{n}", villages) for n in range(nominated_people)]
    _fill(chance, classes, [fate for fate in fates if fate.verified])
    return Province(
        fates=fates,
        classes=classes,
        homes=homes,
        cooperatives=[(f"5201-{n:03}", date(2025, 3, 1) - timedelta(days=70 * n), n % 5) for n in range(14)],
        faults=["is not a NIK of 16 digits"] * 7 + ["lies in the future"] * 3 + ["is not what anybody knows"] * 2,
        rows_rejected=37,
    )


def _class(n: int) -> Class:
    start = date(2024, 7, 8) + timedelta(weeks=4 * n - (n % 2) * 4)
    mode = DeliveryMode.ON_SITE if n % 4 >= 2 else DeliveryMode.CLASSROOM
    return Class(f"k{n}", f"P3KE-2024-{n + 1:02}", COURSES[n % len(COURSES)], mode, _days(start))


def _managers(n: int) -> Class:
    return Class(f"m{n}", f"KOP-2024-{n + 1:02}", MANAGERS, DeliveryMode.CLASSROOM, _days(date(2024, 10, 14)))


def _days(start: date) -> tuple[date, ...]:
    return tuple(start + timedelta(days=n) for n in range(5))


def _fate(chance: random.Random, person: str, villages: dict[str, tuple[str, ...]]) -> Fate:
    kabupaten = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    fate = Fate(person, chance.choice(villages[kabupaten]))
    fate.visited = chance.random() < 0.97
    if fate.visited:
        fate.verified = chance.random() < 0.9
        if not fate.verified and chance.random() < 0.9:
            fate.rejected = chance.choice(list(RejectionReason))
    fate.verified_now = fate.verified
    return fate


def _fill(chance: random.Random, classes: list[Class], verified_people: list[Fate]) -> None:
    waiting = iter(verified_people)
    for class_ in classes:
        for fate in itertools.islice(waiting, 33):
            fate.cohort = class_.cohort_id
            fate.confirmed = chance.random() < 0.95
            if not fate.confirmed or chance.random() < 0.06:
                fate.ended = "withdrawn"
                fate.because = (
                    chance.choice(list(WithdrawalReason)) if fate.confirmed else WithdrawalReason.NOT_CONFIRMED
                )
            elif class_.is_over:
                _judge(chance, class_, fate)
            if fate.ended != "completed" and fate.verified_now:
                fate.verified_now = chance.random() < 0.7


def _judge(chance: random.Random, class_: Class, fate: Fate) -> None:
    if chance.random() < 0.08:
        fate.ended, fate.because = "not_completed", chance.choice(list(NotCompletedReason))
        return
    fate.ended, fate.gain = "completed", chance.randint(10, 45)
    fate.needs_then = tuple(need for need in _TOLD if chance.random() < 0.45)
    income = chance.randint(190_000, 330_000)
    above = 0
    for months in PLAN:
        visit = Visit(months, months_after(class_.days[-1], months), "scheduled")
        fate.visits.append(visit)
        if visit.due_on > TODAY:
            continue
        if visit.due_on + timedelta(days=GRACE_DAYS) >= TODAY:
            visit.status = "due"
            continue
        if chance.random() < 0.07:
            visit.status = "missed"
            continue
        shock = 0.6 if chance.random() < 0.08 else 1
        income = int(income * chance.uniform(0.97, 1.34) * shock)
        visit.status, visit.per_person = "recorded", income
        visit.livelihoods = chance.choice((1, 2, 2, 3))
        visit.needs = tuple(need for need in BasicNeed if chance.random() < 0.55 + months / 35)
        above = above + 1 if income >= LINE else 0
        if above >= 2 and visit.livelihoods >= 2 and months >= 6 and not fate.graduated:
            fate.graduated = True
        elif fate.graduated and above == 0:
            fate.relapsed = True
    fate.interventions = [kind for kind in InterventionKind if chance.random() < 0.22]
    if class_.course is MANAGERS:
        fate.unit_jobs = [chance.choice((None, 2, 3, 5))]


_TOLD = (BasicNeed.CLEAN_WATER, BasicNeed.SANITATION, BasicNeed.HOUSING)

# --- The facts that tell it -------------------------------------------------------------------------------------------

BEFORE = datetime(2024, 5, 2, 2, 0, tzinfo=UTC)
RULE = AppliedRule(rule_id="graduation", rule_version=1)
PLAN_RULE = AppliedRule(rule_id="follow_up_plan", rule_version=1)


def facts(of: Province) -> Iterator[tuple[datetime, Event]]:
    for rule in default_rules():
        yield BEFORE, rule
    yield BEFORE, SnapshotReceived(
        snapshot_id="s1", source="P3KE", dated=date(2024, 1, 1), areas=("52",), file_name="p3ke.csv",
        file_digest="ab" * 32, rows=len(of.homes) + of.rows_rejected, rows_rejected=of.rows_rejected,
        households=len(of.homes), people=sum(people for _, people in of.homes.values()),
    )  # fmt: skip
    yield BEFORE, SnapshotApplied(
        snapshot_id="s1", source="P3KE", dated=date(2024, 1, 1), households_on_list=len(of.homes), people_on_list=0,
        listed=len(of.homes), rank_changed=0, unchanged=0, delisted=0, unresolved=0,
    )  # fmt: skip
    for fate in of.fates:
        yield from ((BEFORE, fact) for fact in _of_the_field(fate))
    for class_ in of.classes:
        members = [fate for fate in of.fates if fate.cohort == class_.cohort_id]
        yield from _of_a_class(class_, members)
    for number, met, recruited in of.cooperatives:
        yield BEFORE, AnnualMeetingRecorded(
            cooperative_number=number, name=f"Koperasi {number}", area_code="52.01.01", year=met.year - 1, held_on=met,
            members=40, net_surplus_rupiah=1_000_000,
        )  # fmt: skip
        for n in range(recruited):
            yield (
                BEFORE,
                MemberRecruited(
                    cooperative_number=number, participant_id=f"p{n}", intervention_id=f"i{n}", joined_on=met
                ),
            )
    for n, reason in enumerate(of.faults):
        fault = Fault(field="national_id", reason=reason, remedy="Publish the person's NIK.")
        yield (
            BEFORE,
            MessageRejected(rejection_id=f"r{n}", system="dukcapil", partition=0, offset=n, faults=(fault,))
            if n % 3 == 0
            else SupportMessageRejected(rejection_id=f"r{n}", system="dinkop", partition=0, offset=n, faults=(fault,)),
        )


def _of_the_field(fate: Fate) -> Iterator[Event]:
    yield nominated(fate.person, area_code=fate.village)
    if fate.visited:
        yield VisitRecorded(
            participant_id=fate.person, visit_id=f"visit-of-{fate.person}", area_code=fate.village,
            facilitator_id="pendamping-1", captured_at=BEFORE, received_at=BEFORE, finding=Finding.MATCHED,
            willing=True, can_leave_home=True, situation_changed=False, reachable=True, personal={},
        )  # fmt: skip
    if fate.verified:
        yield verified(fate.person, area_code=fate.village)
        if not fate.verified_now:
            yield VerificationExpired(participant_id=fate.person, verified_at=BEFORE, expired_at=BEFORE)
    if fate.rejected is not None:
        yield ParticipantRejected(participant_id=fate.person, reason=fate.rejected)


def _of_a_class(class_: Class, members: list[Fate]) -> Iterator[tuple[datetime, Event]]:
    began, over = _noon(class_.days[0]), _noon(class_.days[-1])
    course_id, title = class_.course
    yield BEFORE, planned(
        class_.cohort_id, number=class_.number, course_id=course_id, course_title=title, delivery_mode=class_.mode,
        days=class_.days, capacity=33,
    )  # fmt: skip
    for place, fate in enumerate(members, 1):
        yield BEFORE, enrolled(fate.person, place, class_.cohort_id, area_code=fate.village)
        if fate.confirmed:
            yield BEFORE, ParticipantConfirmed(cohort_id=class_.cohort_id, participant_id=fate.person)
        if fate.ended == "withdrawn":
            yield (
                BEFORE,
                ParticipantWithdrawn(
                    cohort_id=class_.cohort_id, participant_id=fate.person, reason=fate.because, personal={}
                ),
            )
    if class_.days[0] <= TODAY:
        yield began, CohortStarted(cohort_id=class_.cohort_id, started_on=class_.days[0])
    if not class_.is_over:
        return
    rule = CompletionRule(rule_id="completion", rule_version=1, minimum_attendance_percent=80)
    common: dict[str, Any] = {"cohort_id": class_.cohort_id, "rule": rule}
    for fate in members:
        tests: dict[str, Any] = {"participant_id": fate.person, "pre_test": 40, "post_test": 40 + fate.gain}
        if fate.ended == "completed":
            yield over, ParticipantCompleted(attendance_percent=95, **tests, **common)
        elif fate.ended == "not_completed":
            yield over, ParticipantNotCompleted(attendance_percent=60, reason=fate.because, **tests, **common)
    done = [fate for fate in members if fate.ended == "completed"]
    yield over, CohortCompleted(
        cohort_id=class_.cohort_id, completed_on=class_.days[-1], course_id=course_id, delivery_mode=class_.mode,
        completed=tuple(fate.person for fate in done), not_completed=(),
    )  # fmt: skip
    for fate in done:
        yield from _of_a_case(class_, fate)


def _of_a_case(class_: Class, fate: Fate) -> Iterator[tuple[datetime, Event]]:
    over, case = _noon(class_.days[-1]), {"case_id": fate.person}
    yield over, CaseOpened(
        **case, participant_id=fate.person, cohort_id=class_.cohort_id, course_id=class_.course[0],
        delivery_mode=class_.mode, completed_on=class_.days[-1], completed_at=over, area_code=fate.village,
        attendance_percent=95, pre_test=40, post_test=40 + fate.gain,
    )  # fmt: skip
    yield over, BaselineRecorded(
        **case, household_id=home_of(fate.person), area_code=fate.village, people=4, rank=rank(), conditions=POOR,
        needs=tuple(NeedMet(need=need, met=need in fate.needs_then) for need in _TOLD), sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22, verified_at=BEFORE,
    )  # fmt: skip
    turned: list[str] = []
    for visit in fate.visits:
        last = visit.due_on + timedelta(days=GRACE_DAYS)
        days = {"follow_up": visit.months, "due_on": visit.due_on}
        yield over, FollowUpScheduled(**case, **days, area_code=fate.village, missed_after=last, plan=PLAN_RULE)
        if visit.status != "scheduled":
            yield _noon(visit.due_on), FollowUpDue(**case, **days, missed_after=last, participant_id=fate.person)
        if visit.status == "missed":
            yield _noon(last), FollowUpMissed(**case, **days)
        if visit.status == "recorded":
            yield _noon(visit.due_on), _recorded(fate, visit)
            yield from _turned(fate, visit, turned)
    for n, kind in enumerate(fate.interventions):
        yield (
            over,
            InterventionRecorded(
                **case, intervention_id=f"i-{fate.person}-{n}", kind=kind, system="dinkop", given_on=class_.days[-1]
            ),
        )
    for n, jobs in enumerate(fate.unit_jobs):
        unit = {**case, "unit_id": f"u-{fate.person}-{n}"}
        yield over, BusinessUnitPlanned(
            **unit, area_code=fate.village, cooperative_number="5201-001", sector="trade", planned_on=class_.days[-1],
            launch_by=TODAY, capital_rupiah=5_000_000, jobs=3,
        )  # fmt: skip
        if jobs is not None:
            yield over, BusinessUnitLaunched(**unit, launched_on=class_.days[-1], jobs=jobs)
    if fate.is_closed:
        yield _noon(TODAY), CaseClosed(case_id=fate.person, because=ClosingReason.PLAN_COMPLETED)


def _recorded(fate: Fate, visit: Visit) -> FollowUpRecorded:
    kinds = list(Livelihood)[: visit.livelihoods]
    shares = [visit.per_person * 4 // len(kinds)] * len(kinds)
    shares[0] += visit.per_person * 4 - sum(shares)
    against = IncomeAgainstLine(per_person_rupiah=visit.per_person, line_rupiah=LINE, above=visit.per_person >= LINE)
    return FollowUpRecorded(
        case_id=fate.person, follow_up=visit.months, visit_id=f"v-{fate.person}-{visit.months}",
        facilitator_id="pendamping-1", captured_at=_noon(visit.due_on), received_at=_noon(visit.due_on), late=False,
        people=4, against_line=against, rule=RULE, personal={},
        income=tuple(IncomeSource(livelihood=k, monthly_rupiah=r) for k, r in zip(kinds, shares, strict=True)),
        needs=tuple(NeedMet(need=need, met=need in visit.needs) for need in BasicNeed),
    )  # fmt: skip


def _turned(fate: Fate, visit: Visit, turned: list[str]) -> Iterator[tuple[datetime, Event]]:
    """A graduation at the first visit at which the fate allows one, a relapse at the next that is below the line."""
    evidence = Evidence(
        follow_up=visit.months, visit_id=f"v-{fate.person}-{visit.months}", per_person_rupiah=visit.per_person,
        livelihoods=visit.livelihoods, needs_met=visit.needs,
    )  # fmt: skip
    common: dict[str, Any] = {
        "case_id": fate.person, "household_id": home_of(fate.person), "area_code": fate.village,
        "follow_up": visit.months, "evidence": (evidence,), "rule": RULE,
    }  # fmt: skip
    if fate.graduated and not turned and visit.months >= 6:
        turned.append("graduated")
        yield _noon(visit.due_on), HouseholdGraduated(**common)
    elif fate.relapsed and turned == ["graduated"] and visit.per_person < LINE:
        turned.append("relapsed")
        yield _noon(visit.due_on), HouseholdRelapsed(**common)


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 4, tzinfo=UTC)


# --- The rows of these facts ------------------------------------------------------------------------------------------


class Written:
    """What would be written to a database; to be written to as many as a test run needs."""

    def __init__(self) -> None:
        self.statements: list[tuple[Any, ...]] = []

    async def execute(self, *statement: Any) -> None:
        self.statements.append(statement)


_WRITTEN: dict[int, Written] = {}


async def settle(of: Province, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Folds the facts and writes the rows, as if they had come in one by one; and how far everything was read."""
    if id(of) not in _WRITTEN:
        _WRITTEN[id(of)] = await _folded(of)
    async with pool.acquire() as connection, connection.transaction():
        for statement in _WRITTEN[id(of)].statements:
            await connection.execute(*statement)
        await _settle_homes(of, connection)
        await _read_up_to(connection)


async def _folded(of: Province) -> Written:
    story, written = Scenario(TABLES), Written()
    for instant, fact in facts(of):
        story.now = instant
        story.fold(fact)
    await story.rows.write(cast(Any, written))
    return written


async def _settle_homes(of: Province, connection: Any) -> None:
    story = Scenario(TABLES)
    story.fold(listed("somebody"))
    pattern: Home = story.the(HOMES, home_of("somebody"))
    homes = [
        replace(
            pattern,
            household_id=household,
            area_code=village,
            people=people,
            history=(replace(pattern.history[0], area_code=village, people=people),),
        )
        for household, (village, people) in of.homes.items()
    ]
    for start in range(0, len(homes), 10_000):
        some = homes[start : start + 10_000]
        await connection.execute(statements(HOMES).upsert, *statements(HOMES).arrays(some))


async def _read_up_to(connection: Any) -> None:
    await connection.execute(
        "INSERT INTO sealed_batch (batch_no, first_sequence, size, root, frontier, tails) "
        "VALUES (1, 0, 12346, decode(repeat('a7', 32), 'hex'), '', '{}')"
    )
    for topic, partitions in (("registry.households", 6), ("registry.participants", 6), ("training.cohorts", 6)):
        await connection.executemany(
            "INSERT INTO cursor (topic, partition, next_offset, last_sequence) VALUES ($1, $2, $3, $4)",
            [(topic, n, 1000 + n, 5000 + n) for n in range(partitions)],
        )
