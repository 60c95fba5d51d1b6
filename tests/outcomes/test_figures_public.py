"""Public figures: without a log-in, true or hidden, told once, and safe against who knows all of them."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kit.clock import steer
from services.outcomes.figures import counts, press, publication, queries
from services.outcomes.figures.counts import AREA
from services.outcomes.figures.definitions import FIGURES, Figure, Open, Shown
from services.outcomes.figures.publication import Cell, Class, Raw, Release
from services.outcomes.figures.sources import Dimension
from tests.outcomes.attacker import Knowledge
from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import held, known
from tests.outcomes.province import NOW, province, settle

OF = province(households=300, nominated_people=400, cohorts=8, seed=7)
PUBLIC = {name: figure for name, figure in FIGURES.items() if figure.public is not None}
SMALLEST = 5


@pytest.fixture
async def settled(outcomes: Outcomes) -> Outcomes:
    await settle(OF, outcomes.pool)
    steer(outcomes.clock, NOW)
    return outcomes


async def public(outcomes: Outcomes, path: str, **asked: str) -> Any:
    answer = await outcomes.client.get(f"/public{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- Who may ask, and for what ----------------------------------------------------------------------------------------


async def test_everybody_may_ask_and_only_for_aggregates(outcomes: Outcomes):
    told = await public(outcomes, "/figures")
    assert [figure["id"] for figure in told["figures"]] == list(PUBLIC)
    assert told["smallest_cell"] == SMALLEST
    assert told["publication_rule"]["rule_id"] == "publication"
    for path in ("/figures", "/cases", "/interventions"):
        assert (await outcomes.client.get(path)).status_code == 401


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/figures/completed", {"by": "need"}),
        ("/figures/withdrawn", {"by": "kabupaten"}),
        ("/figures/pass_rate", {"area": "52.01"}),
        ("/figures/completed", {"by": "cohort", "area": "52.01"}),
        ("/figures/completed", {"area": "52.01.01.2002"}),
        ("/figures/completed", {"area": "52.01' --"}),
    ],
)
async def test_what_is_not_public_together_is_refused(outcomes: Outcomes, path, asked):
    answer = await outcomes.client.get(f"/public{path}", params=asked)
    assert answer.status_code == 422
    assert "--" not in answer.text


@pytest.mark.parametrize("figure_id", ["reports_unmatched", "unheard_of"])
async def test_a_figure_that_is_not_public_is_not_found(outcomes: Outcomes, figure_id):
    assert (await outcomes.client.get(f"/public/figures/{figure_id}")).status_code == 404


# --- True, or hidden --------------------------------------------------------------------------------------------------


async def test_what_is_shown_is_the_exact_figure_and_never_a_small_count_of_people(settled: Outcomes):
    auditor = settled.caller("auditor", areas=["*"])
    hidden = shown = 0
    for figure in PUBLIC.values():
        for by in (None, *figure.public_by):
            asked = {} if by is None else {"by": by.value}
            told = await public(settled, f"/figures/{figure.id}", **asked)
            exact = await auditor.shown(f"/figures/{figure.id}", **asked)
            values = {part["key"]: part["value"] for part in (exact["total"], *exact["parts"])}
            for part in (told["total"], *told["parts"]):
                if part["hidden"]:
                    hidden += 1
                    assert part["value"] is None
                elif part["value"] is not None:
                    shown += 1
                    assert_same(figure, part, values)
    assert shown > 300, "a page of dots would be safe too"
    assert hidden > 100, "this province has too few small counts to tell"


def assert_same(figure: Figure, part: dict[str, Any], exact: dict[str, Any]) -> None:
    value = exact.get(part["key"]) or 0
    if figure.unit == "rupiah":
        assert part["value"] % publication.RUPIAH_ROUNDED_TO == 0
        assert part["value"] == pytest.approx(value, abs=publication.RUPIAH_ROUNDED_TO)
    elif figure.id != "message_faults":  # What was said in no words of ours is told as something else.
        assert part["value"] == pytest.approx(value), (figure.id, part)
    if isinstance(figure.public, Shown) and figure.public.over is None:
        assert part["value"] == 0 or part["value"] >= SMALLEST, (figure.id, part)


async def test_an_area_is_told_with_its_kecamatan(settled: Outcomes):
    told = await public(settled, "/figures/enrolled", area="52.03", by="kecamatan")
    exact = await settled.caller("auditor", areas=["*"]).shown("/figures/enrolled", area="52.03", by="kecamatan")
    assert told["total"]["value"] == exact["total"]["value"]
    assert told["total"]["name"] == {"id": "Lombok Timur", "en": "Lombok Timur"}
    assert len(told["parts"]) == 21
    assert all(part["key"].startswith("52.03.") for part in told["parts"])


async def test_zeros_are_shown(settled: Outcomes):
    told = await public(settled, "/figures/graduated", by="kecamatan")
    assert any(part["value"] == 0 for part in told["parts"])


async def test_a_rate_is_hidden_with_what_it_is_of(outcomes: Outcomes):
    people = [f"p{n}" for n in range(4)]
    await outcomes.told(*(fact for person in people for fact in known(person)), *held(*people))
    told = {figure["id"]: figure for figure in (await public(outcomes, "/figures"))["figures"]}
    assert told["completed"]["hidden"]
    assert told["pass_rate"] == told["pass_rate"] | {"value": None, "hidden": True}
    assert told["test_gain"]["hidden"]


async def test_the_smallest_cell_is_what_the_rule_in_force_says(settled: Outcomes):
    before = await public(settled, "/figures/enrolled", by="kabupaten")
    rule = {"kind": "publication", "definition": {"smallest_cell": 40}, "source": "SK 8"}
    await settled.officer("*").done("/rules", rule)
    await later(settled, lambda told: told["smallest_cell"] == 40)
    after = await public(settled, "/figures/enrolled", by="kabupaten")
    count = [sum(part["hidden"] for part in told["parts"]) for told in (before, after)]
    assert count[0] < count[1]
    assert all(part["hidden"] or part["value"] >= 40 or part["value"] == 0 for part in after["parts"])


def test_five_is_the_smallest_cell_as_long_as_no_rule_is_adopted():
    assert publication.smallest_by({}) == 5


async def later(outcomes: Outcomes, is_so: Any) -> None:
    """Waits until the public knows."""
    for _ in range(400):
        if is_so(await public(outcomes, "/figures")):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the public does not know it after 20 s")


async def test_nothing_public_names_anybody(settled: Outcomes):
    texts = [(await settled.client.get("/public/figures")).text]
    for figure in PUBLIC.values():
        for by in (None, *figure.public_by):
            asked = {} if by is None else {"by": by.value}
            texts.append((await settled.client.get(f"/public/figures/{figure.id}", params=asked)).text)
    everything = "\n".join(texts)
    assert not re.search(r"\b[0-9]{16}\b", everything)
    for personal in (r"\bp[0-9]+\b", "Ibu ", "home-", "pendamping-1", r"visit-of", "koperasi 5201"):
        assert not re.search(personal, everything), personal


async def test_a_fault_in_unknown_words_is_told_in_ours(settled: Outcomes):
    told = await public(settled, "/figures/message_faults", by="reason")
    assert {part["key"]: part["value"] for part in told["parts"]} == {
        "is not a NIK of 16 digits": 7,
        "lies in the future": 3,
        "something else": 2,
    }


# --- Told once --------------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_known_is_not_told_again(settled: Outcomes):
    first = await settled.client.get("/public/figures/completed")
    assert first.headers["cache-control"] == "public, no-cache"
    again = await settled.client.get("/public/figures/completed", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_new_fact_is_told_within_seconds(outcomes: Outcomes):
    first = await outcomes.client.get("/public/figures/nominated")
    assert first.json()["total"]["value"] == 0
    await outcomes.told(*(fact for n in range(6) for fact in known(f"p{n}")))
    await outcomes.pool.execute("INSERT INTO cursor VALUES ('registry.participants', 0, 24, 23)")
    await later(outcomes, lambda told: any(f["id"] == "nominated" and f["value"] == 6 for f in told["figures"]))
    second = await outcomes.client.get("/public/figures/nominated")
    assert second.headers["etag"] != first.headers["etag"]


async def test_however_many_ask_the_database_is_asked_once(settled: Outcomes, monkeypatch: pytest.MonkeyPatch):
    looks = 0
    standing = queries.standing

    async def counting(connection: Any) -> Any:
        nonlocal looks
        looks += 1
        return await standing(connection)

    monkeypatch.setattr(queries, "standing", counting)
    answers = await asyncio.gather(*(settled.client.get(f"/public/figures/{name}") for name in PUBLIC for _ in "ab"))
    assert {answer.status_code for answer in answers} == {200}
    assert looks == 1


async def test_nothing_is_counted_anew_while_nothing_happens(settled: Outcomes, monkeypatch: pytest.MonkeyPatch):
    await public(settled, "/figures")

    async def never(*_args: Any) -> Any:
        raise AssertionError("counted anew")

    monkeypatch.setattr(queries, "tally", never)
    monkeypatch.setattr(press, "LOOKS_AGAIN_AFTER_SECONDS", 0.0)
    settled_press = settled.client._transport.app.state.press  # type: ignore[attr-defined]
    settled_press._looks_at = 0.0
    assert (await public(settled, "/figures"))["stands_on"]["last_sequence"] == 12345


# --- What can be worked out from everything public at one moment ------------------------------------------------------

PLACES = ("52.01.01", "52.01.02", "52.71.01", "52.72.01")
CLASSES = (Class("k1", "c1", "classroom"), Class("k2", "c1", "on_site"), Class("k3", "c2", "classroom"))
STEPS = ("withdrawn", "released", "in training", "not_completed", "completed", "followed_up", "graduated")


Group = tuple[str, str, str, str, int]  # place, cohort, how far they came, why they withdrew, how many


@st.composite
def raws(draw: st.DrawFn) -> Raw:
    reasons = st.sampled_from(["illness", "work", "other", "not_confirmed"])
    cohorts = st.sampled_from([c.cohort_id for c in CLASSES])
    group = st.tuples(st.sampled_from(PLACES), cohorts, st.sampled_from(STEPS), reasons, st.integers(1, 8))
    return raw_of(draw(st.lists(group, max_size=8)))


def raw_of(groups: Iterable[Group]) -> Raw:
    """The people of these groups, counted into columns as the SQL does."""
    names = [count.name for count in (*counts.IN_THE_FIELD, *counts.IN_TRAINING_AND_AFTER)]
    totals = dict.fromkeys(names, 0)
    by_kecamatan = {place: dict.fromkeys(names, 0) for place in PLACES}
    by_cohort = {c.cohort_id: dict.fromkeys(names, 0) for c in CLASSES}
    reasons: dict[str, dict[str, int]] = {}
    for place, cohort, step, reason, people in groups:
        for row in (totals, by_kecamatan[place], by_cohort[cohort]):
            for name in _columns_of(step):
                row[name] += people
        if step == "withdrawn":
            reasons.setdefault(reason, {"withdrawn": 0})["withdrawn"] += people
    return Raw(
        totals=totals,
        by_kecamatan=by_kecamatan,
        by_cohort=by_cohort,
        of_each={"reason:withdrawn": reasons},
        averages={},
        open={name: {} for name, figure in FIGURES.items() if isinstance(figure.public, Open)},
        classes=CLASSES,
        kecamatan=PLACES,
    )


def _columns_of(step: str) -> Iterator[str]:
    yield from ("nominated", "visited", "verified", "in_play", "enrolled")
    if step == "withdrawn":
        return
    yield "kept"
    if step in ("released", "in training"):
        return
    yield "judged"
    if step == "not_completed":
        return
    yield from ("completed", "cases", "cases_open")
    if step in ("followed_up", "graduated"):
        yield "followed_up"
    if step == "graduated":
        yield from ("graduated", "graduated_now")


TOLD = ("enrolled", "completed", "followed_up", "graduated")
AREAS = (Dimension.KABUPATEN, Dimension.KECAMATAN)
BY_CLASS = (Dimension.COURSE, Dimension.MODE, Dimension.COHORT)


@dataclass
class Everybody:
    """Somebody who knows all that is public of training and after, and how it hangs together; not how it was made."""

    release: Release
    most: int

    def __post_init__(self) -> None:
        self.known = Knowledge(self.most)
        self._learn_totals()
        self._learn_reasons()
        self._learn_parts(AREAS, {place: {place[:5]} for place in PLACES})
        self._learn_parts(BY_CLASS, {c.cohort_id: {c.course_id, c.mode} for c in CLASSES})

    def _learn(self, name: str, cell: Cell, least: int) -> None:
        """What is hidden is no zero, but where nothing is said of any part."""
        self.known.knows(name, least if cell.value is None else int(cell.value), cell.value and int(cell.value))
        if cell.value == 0:
            self.known.knows(name, 0, 0)

    def _learn_totals(self) -> None:
        for name in (*TOLD, "withdrawn", "not_completed"):
            # A rest of two counts is hidden with either, so what is hidden of it may be a zero.
            self._learn(name, self.release.total(FIGURES[name]), 1 if name in TOLD else 0)
        for name in ("kept", "judged", "unsettled"):
            self.known.knows(name, 0)
        self.known.adds_up("enrolled", ("withdrawn", "kept"))
        self.known.adds_up("kept", ("judged", "unsettled"))
        self.known.adds_up("judged", ("completed", "not_completed"))
        self.known.within += [(inner, outer) for outer, inner in pairwise(TOLD)]

    def _learn_reasons(self) -> None:
        cells = self.release.by(FIGURES["withdrawn"], Dimension.REASON)
        least = 0 if all(cell.hidden for cell in cells) else 1
        for cell in cells:
            self._learn(f"{cell.key} withdrawn", cell, least)
        self.known.adds_up("withdrawn", [f"{cell.key} withdrawn" for cell in cells])

    def _learn_parts(self, dimensions: tuple[Dimension, ...], above: dict[str, set[str]]) -> None:
        for name in TOLD:
            cells = [cell for dimension in dimensions for cell in self.release.by(FIGURES[name], dimension)]
            least = 0 if all(cell.hidden for cell in cells) else 1
            for cell in cells:
                self._learn(f"{cell.key} {name}", cell, least)
            self.known.adds_up(name, [f"{leaf} {name}" for leaf in above])
            for whole in sorted({whole for wholes in above.values() for whole in wholes}):
                parts = [f"{leaf} {name}" for leaf, wholes in above.items() if whole in wholes]
                self.known.adds_up(f"{whole} {name}", parts)
        for outer, inner in pairwise(TOLD):
            every = {*above, *(whole for wholes in above.values() for whole in wholes)}
            self.known.within += [(f"{part} {inner}", f"{part} {outer}") for part in every]

    def works_out(self, raw: Raw) -> list[tuple[str, int]]:
        """The small counts of the public figures that can be nothing else than they are."""
        small = [(name, count) for name, count in secrets(raw) if 0 < count < SMALLEST]
        return [(name, count) for name, count in small if self.known.works_out(name, count)]


def secrets(raw: Raw) -> Iterator[tuple[str, int]]:
    for name in TOLD:
        yield name, raw.totals[name]
        for place, row in raw.by_kecamatan.items():
            yield f"{place} {name}", row[name]
        for kabupaten in sorted({place[:5] for place in PLACES}):
            parts = [row[name] for place, row in raw.by_kecamatan.items() if place.startswith(kabupaten)]
            yield f"{kabupaten} {name}", sum(parts)
        for cohort, row in raw.by_cohort.items():
            yield f"{cohort} {name}", row[name]
        for whole in ("c1", "c2", "classroom", "on_site"):
            own = [c.cohort_id for c in CLASSES if whole in (c.course_id, c.mode)]
            yield f"{whole} {name}", sum(raw.by_cohort[cohort][name] for cohort in own)
    yield "withdrawn", raw.totals["enrolled"] - raw.totals["kept"]
    yield "not_completed", raw.totals["judged"] - raw.totals["completed"]
    for reason, row in raw.of_each["reason:withdrawn"].items():
        yield f"{reason} withdrawn", row["withdrawn"]


@given(raws())
@settings(max_examples=150)
def test_nobody_works_out_a_small_count_from_all_that_is_public(raw: Raw):
    release = publication.release(raw, SMALLEST, "now")
    assert Everybody(release, most=raw.totals["enrolled"] + SMALLEST).works_out(raw) == []


def test_somebody_would_if_small_counts_alone_were_hidden():
    """Else nobody's failure would prove nothing."""
    raw = raw_of([("52.01.01", "k1", "completed", "", 30), ("52.01.02", "k2", "completed", "", 3)])
    honest = publication.release(raw, SMALLEST, "now")
    nobody = dict.fromkeys(raw.totals, 0)
    cells = {**raw.by_kecamatan, "52.01": raw.totals, "52.71": nobody, "52.72": nobody}
    naive = replace(honest, totals=raw.totals, cells={**honest.cells, AREA: without_small(cells)})
    assert ("52.01.02 completed", 3) in Everybody(naive, most=80).works_out(raw)
    assert Everybody(honest, most=80).works_out(raw) == []


def without_small(cells: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int | None]]:
    return {
        place: {name: None if 0 < count < SMALLEST else count for name, count in row.items()}
        for place, row in cells.items()
    }
