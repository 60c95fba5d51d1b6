"""Figures over facts: exact for who may see them, each with what it stands on."""

from collections import Counter
from collections.abc import Callable, Iterable
from statistics import fmean, median
from typing import Any

import pytest

from contracts.outcomes import BasicNeed, InterventionKind
from services.kit.clock import steer
from services.outcomes.figures.definitions import FIGURES, RuleKind
from services.outcomes.figures.sources import Dimension
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import LINE, held, known
from tests.outcomes.province import NOW, Fate, Province, province, settle

OF = province(households=300, nominated_people=400, cohorts=8, seed=7)
ENROLLED = [fate for fate in OF.fates if fate.cohort is not None]
COMPLETED = [fate for fate in ENROLLED if fate.ended == "completed"]
VISITS = [(fate, visit) for fate in COMPLETED for visit in fate.visits]
RECORDED = [(fate, visit) for fate, visit in VISITS if visit.status == "recorded"]


@pytest.fixture
async def settled(outcomes: Outcomes) -> Outcomes:
    """Outcomes with a province that chance has drawn."""
    await settle(OF, outcomes.pool)
    steer(outcomes.clock, NOW)
    return outcomes


def kabupaten(fate: Fate) -> str:
    return fate.village[:5]


def counted(fates: Iterable[Fate], that: Callable[[Fate], bool] = lambda fate: True) -> int:
    return sum(that(fate) for fate in fates)


# --- Against a model that knows no rows -------------------------------------------------------------------------------


def expected(of: Province) -> dict[str, float | int | None]:
    """Every figure in whole, counted from the fates."""
    judged = counted(ENROLLED, lambda f: f.ended in ("completed", "not_completed"))
    last = {fate.person: fate.recorded[-1] for fate in COMPLETED if fate.recorded}
    incomes = [visit.per_person for _, visit in RECORDED]
    launched = [jobs for fate in COMPLETED for jobs in fate.unit_jobs if jobs is not None]
    return {
        "households_listed": len(of.homes),
        "people_listed": sum(people for _, people in of.homes.values()),
        "list_rows": len(of.homes) + of.rows_rejected,
        "list_rows_rejected": of.rows_rejected,
        "nominated": len(of.fates),
        "visited": counted(of.fates, lambda f: f.visited),
        "verified": counted(of.fates, lambda f: f.verified),
        "verified_now": counted(of.fates, lambda f: f.verified_now),
        "rejected": counted(of.fates, lambda f: f.rejected is not None),
        "cohorts": len(of.classes),
        "enrolled": len(ENROLLED),
        "confirmed": counted(ENROLLED, lambda f: f.confirmed),
        "withdrawn": counted(ENROLLED, lambda f: f.ended == "withdrawn"),
        "completed": len(COMPLETED),
        "not_completed": judged - len(COMPLETED),
        "pass_rate": round(100 * len(COMPLETED) / judged, 1),
        "test_gain": round(fmean(fate.gain for fate in COMPLETED), 1),
        "cases_open": counted(COMPLETED, lambda f: not f.is_closed),
        "cases_closed": counted(COMPLETED, lambda f: f.is_closed),
        "follow_ups_scheduled": len(VISITS),
        "follow_ups_due": sum(visit.status == "due" for _, visit in VISITS),
        "follow_ups_overdue": counted(
            COMPLETED, lambda f: not f.is_closed and any(visit.status == "missed" for visit in f.visits)
        ),
        "follow_ups_recorded": len(RECORDED),
        "follow_ups_missed": sum(visit.status == "missed" for _, visit in VISITS),
        "followed_up": len(last),
        "income_median": median(incomes),
        "income_mean": fmean(incomes),
        "above_line": round(100 * sum(income >= LINE for income in incomes) / len(incomes), 1),
        "above_line_now": sum(visit.per_person >= LINE for visit in last.values()),
        "livelihoods": round(fmean(visit.livelihoods for visit in last.values()), 2),
        "needs_met_then": round(100 * sum(len(f.needs_then) for f in COMPLETED) / (3 * len(COMPLETED)), 1),
        "needs_met_now": round(100 * sum(len(v.needs) for v in last.values()) / (len(BasicNeed) * len(last)), 1),
        "helped": counted(COMPLETED, lambda f: bool(f.interventions)),
        "interventions": sum(len(fate.interventions) for fate in COMPLETED),
        "reports_unmatched": 0,
        "business_units_planned": sum(len(fate.unit_jobs) for fate in COMPLETED),
        "business_units_launched": len(launched),
        "jobs": sum(launched),
        "cooperatives": len(of.cooperatives),
        "cooperatives_active": sum(met.isoformat() >= "2024-03-20" for _, met, _ in of.cooperatives),
        "members_recruited": sum(recruited for _, _, recruited in of.cooperatives),
        "graduated": counted(COMPLETED, lambda f: f.graduated),
        "graduated_now": counted(COMPLETED, lambda f: f.graduated and not f.relapsed),
        "relapsed": counted(COMPLETED, lambda f: f.relapsed),
        "messages_rejected": len(of.faults),
        "message_faults": len(of.faults),
    }


async def test_every_figure_says_what_the_model_says(settled: Outcomes):
    auditor = settled.caller("auditor", areas=["*"])
    said = {figure_id: (await auditor.shown(f"/figures/{figure_id}"))["total"]["value"] for figure_id in FIGURES}
    assert said == pytest.approx(expected(OF), rel=1e-9)
    assert expected(OF)["relapsed"], "this province has no relapse to tell of"


PARTED: list[tuple[str, Dimension, Counter[str]]] = [
    ("households_listed", Dimension.KABUPATEN, Counter(village[:5] for village, _ in OF.homes.values())),
    ("verified", Dimension.KECAMATAN, Counter(f.village[:8] for f in OF.fates if f.verified)),
    ("rejected", Dimension.REASON, Counter(f.rejected for f in OF.fates if f.rejected)),
    ("enrolled", Dimension.COHORT, Counter(f.cohort for f in ENROLLED)),
    ("withdrawn", Dimension.REASON, Counter(f.because for f in ENROLLED if f.ended == "withdrawn")),
    ("not_completed", Dimension.REASON, Counter(f.because for f in ENROLLED if f.ended == "not_completed")),
    ("completed", Dimension.KABUPATEN, Counter(kabupaten(f) for f in COMPLETED)),
    ("graduated", Dimension.KECAMATAN, Counter(f.village[:8] for f in COMPLETED if f.graduated)),
    ("follow_ups_recorded", Dimension.FOLLOW_UP, Counter(f"{v.months:02}" for _, v in RECORDED)),
    ("interventions", Dimension.KIND, Counter(kind for f in COMPLETED for kind in f.interventions)),
    ("message_faults", Dimension.REASON, Counter(OF.faults)),
    (
        "messages_rejected",
        Dimension.SYSTEM,
        Counter("dukcapil" if n % 3 == 0 else "dinkop" for n in range(len(OF.faults))),
    ),
]


@pytest.mark.parametrize(
    ("figure_id", "by", "model"), PARTED, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_the_parts_of_a_figure_are_those_of_the_model(settled: Outcomes, figure_id, by, model):
    auditor = settled.caller("auditor", areas=["*"])
    answer = await auditor.shown(f"/figures/{figure_id}", by=by.value)
    said = {part["key"]: part["value"] for part in answer["parts"] if part["value"]}
    assert said == {str(key): count for key, count in model.items()}
    assert answer["total"]["value"] == sum(model.values())


async def test_a_figure_is_narrowed_to_an_area_a_course_a_mode_and_a_cohort(settled: Outcomes):
    auditor = settled.caller("auditor", areas=["*"])
    class_ = OF.classes[0]
    wanted = {"area": "52.03", "course": class_.course[0], "mode": class_.mode.value, "cohort": class_.cohort_id}
    answer = await auditor.shown("/figures/enrolled", by="kecamatan", **wanted)
    model = Counter(f.village[:8] for f in ENROLLED if f.cohort == class_.cohort_id and kabupaten(f) == "52.03")
    assert {part["key"]: part["value"] for part in answer["parts"]} == model
    assert answer["narrowed_to"] == {name: value for name, value in wanted.items() if name != "area"}


# --- Who sees what ----------------------------------------------------------------------------------------------------


async def test_a_district_sees_its_own_areas_alone(settled: Outcomes):
    district = settled.caller("district", areas=["52.01"])
    answer = await district.shown("/figures/completed", by="kabupaten")
    assert answer["total"]["value"] == counted(COMPLETED, lambda f: kabupaten(f) == "52.01")
    assert [part["key"] for part in answer["parts"]] == ["52.01"]
    elsewhere = await district.shown("/figures/completed", area="52.03")
    assert elsewhere["total"]["value"] == 0


@pytest.mark.parametrize("role", ["facilitator", "partner:dinkop"])
async def test_others_do_not_see_exact_figures(outcomes: Outcomes, role):
    caller = outcomes.caller(role)
    for path in ("/figures", "/figures/completed"):
        assert (await caller.get(path)).status_code == 403
    assert (await outcomes.client.get("/figures/completed")).status_code == 401


@pytest.mark.parametrize(
    ("path", "asked", "field"),
    [
        ("/figures/completed", {"by": "need"}, "query.by"),
        ("/figures/verified", {"cohort": "k1"}, "query.cohort"),
        ("/figures/list_rows", {"area": "52.01"}, "query.area"),
        ("/figures/completed", {"by": "name"}, "query.by"),
        ("/figures/completed", {"area": "52' OR true"}, "query.area"),
    ],
)
async def test_what_a_figure_does_not_know_is_refused_by_field(outcomes: Outcomes, path, asked, field):
    refused = await outcomes.officer().get(path, **asked)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


async def test_an_unknown_figure_is_not_found(outcomes: Outcomes):
    assert (await outcomes.officer().get("/figures/unheard_of")).json()["code"] == "unknown-figure"


# --- What it stands on ------------------------------------------------------------------------------------------------


async def test_an_answer_says_what_it_is_and_what_it_stands_on(settled: Outcomes):
    answer = await settled.officer().shown("/figures/graduated")
    assert answer["figure"]["title"] == {"id": "Pernah lulus dari kemiskinan ekstrem", "en": "Graduated"}
    assert answer["figure"]["answers"]["published"] == "2023-01-11"
    assert answer["figure"]["decided_by"] == "graduation"
    (rule,) = answer["rules"]
    assert (rule["rule_id"], rule["rule_version"]) == ("graduation", 1)
    assert rule["definition"]["line_rupiah_per_person_month"] == LINE
    assert answer["as_of"] == "2025-09-20T01:05:00Z"
    stands_on = answer["stands_on"]
    assert (stands_on["last_sequence"], stands_on["root"]) == (12345, "a7" * 32)
    assert {"topic": "training.cohorts", "partition": 5, "next_offset": 1005, "last_sequence": 5005} in stands_on[
        "reads"
    ]


async def test_the_rule_is_the_version_in_force_now(outcomes: Outcomes):
    officer = outcomes.officer("*")
    plan = {"kind": "follow_up_plan", "definition": {"months": [2, 4], "missed_after_days": 7}, "source": "SK 7"}
    await officer.done("/rules", plan)
    (rule,) = (await officer.shown("/figures/follow_ups_missed"))["rules"]
    assert (rule["rule_version"], rule["source"], rule["definition"]["months"]) == (2, "SK 7", [2, 4])


async def test_completion_names_the_versions_that_training_applied(outcomes: Outcomes):
    await outcomes.told(*known("p1"), *held("p1"))
    (rule,) = (await outcomes.officer().shown("/figures/completed"))["rules"]
    assert (rule["kind"], rule["rule_id"], rule["rule_version"]) == ("completion", "completion", 1)


async def test_events_that_are_not_sealed_yet_are_counted_as_waiting(outcomes: Outcomes):
    answer = await outcomes.officer().shown("/figures/completed")
    waiting = await outcomes.pool.fetchval("SELECT count(*) FROM outbox")
    assert (answer["stands_on"]["last_sequence"], answer["stands_on"]["waiting"]) == (-1, waiting)
    assert waiting == 3  # the rules


async def test_all_of_an_answer_is_of_one_moment(outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch):
    """What is committed between two statements of an answer is in none of them."""
    from services.outcomes.figures import queries

    exact = queries.exact

    async def meanwhile(*args: Any) -> Any:
        found = await exact(*args)
        await outcomes.told(*known("p1"), *held("p1"))
        await outcomes.pool.execute("INSERT INTO cursor VALUES ('training.cohorts', 0, 9, 9)")
        return found

    monkeypatch.setattr(queries, "exact", meanwhile)
    answer = await outcomes.officer().shown("/figures/completed")
    assert (answer["total"]["value"], answer["rules"], answer["stands_on"]["reads"]) == (0, [], [])
    assert answer["stands_on"]["waiting"] == 3


# --- The definitions --------------------------------------------------------------------------------------------------


async def test_every_figure_is_declared_with_words_in_both_languages(outcomes: Outcomes):
    told = await outcomes.caller("operator").shown("/figures")
    assert [figure["id"] for figure in told] == list(FIGURES)
    for figure in told:
        texts = (figure["title"], figure["definition"], figure["answers"]["title"])
        assert all(len(text["id"]) > 3 and len(text["en"]) > 3 for text in texts)
        assert all(text["id"] != text["en"] for text in texts)
    assert {figure.rule for figure in FIGURES.values()} >= {RuleKind.COMPLETION, RuleKind.GRADUATION}


async def test_every_figure_can_be_told_apart_by_each_dimension_it_names(settled: Outcomes):
    auditor = settled.caller("auditor", areas=["*"])
    for figure in FIGURES.values():
        for by in figure.by:
            answer = await auditor.shown(f"/figures/{figure.id}", by=by.value)
            assert all(part["key"] or part["value"] for part in answer["parts"]), (figure.id, by)
            counts = [part["value"] for part in answer["parts"]]
            if figure.unit in ("people", "households", "visits", "interventions") and by is not Dimension.FOLLOW_UP:
                assert sum(counts) == answer["total"]["value"], (figure.id, by)


def test_interventions_are_those_of_the_contract():
    assert {kind for fate in COMPLETED for kind in fate.interventions} == set(InterventionKind)
