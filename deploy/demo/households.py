"""How the households of those who completed fare in the year after: what a visit would find. Pure, but for chance."""

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.outcomes import BasicNeed, Livelihood
from deploy.demo.programme import SEED

Terms = Mapping[str, Any]
"""The definition of the graduation rule, as outcomes shows it."""

STEP_RUPIAH = 5_000
"""Nobody tells their income more exactly."""


@dataclass(frozen=True)
class Living:
    """What is found at a door on one day."""

    people: int
    income: tuple[tuple[Livelihood, int], ...]  # of the whole household in a month, in rupiah
    needs_met: frozenset[BasicNeed]
    turnover: int  # of their own business in a month; 0 if there is none
    assets: int
    workers: int

    @property
    def per_person(self) -> int:
        return sum(rupiah for _, rupiah in self.income) // self.people

    @property
    def livelihoods(self) -> int:
        return len({livelihood for livelihood, rupiah in self.income if rupiah > 0})

    def meets(self, terms: Terms) -> bool:
        """The graduation rule's conditions for one visit, in plain words."""
        return (
            self.per_person >= terms["line_rupiah_per_person_month"]
            and self.livelihoods >= terms["minimum_livelihoods"]
            and {BasicNeed(need) for need in terms["needs_required"]} <= self.needs_met
        )


@dataclass(frozen=True)
class Fortune:
    """What is drawn once for a household; all that is found later follows from it.

    Made up, for nobody has published what became of participants. By month and person, as shares of the line:
    - Before the training the work that they had brought log-normally 64 % of the line (a spread of 22 %), for managers
      of cooperatives 74 %. One household in three lives on two kinds of work, the others on one.
    - Three in ten never begin a business. With the others it comes to earn 0.8 (1 - exp(-months / 6)) of the line,
      times a success that lies anywhere from 0.3 to 1.4.
    - What people tell is up to 6 % off, and in steps of Rp5,000.
    - After a year one household in six has a setback: the business earns a fifth, the other work 15 % less.
    - Of the seven basic needs each is met at first with the chance in AT_FIRST; of those that are not, half are by the
      next visit where a business earns, a quarter elsewhere.
    """

    people: int
    work: tuple[tuple[Livelihood, float], ...]  # shares of the line for each person
    success: float  # 0: no business
    business: Livelihood
    setback: bool
    needs: Mapping[int, frozenset[BasicNeed]]  # by months
    told: Mapping[int, float]  # by months: what they say, as a share of what it is

    def after(self, months: int, line: int) -> Living:
        hit = self.setback and months >= SETBACK_FROM_MONTHS
        told = line * self.people * self.told[months]
        earned = [(kind, _rounded(share * told * (0.85 if hit else 1))) for kind, share in self.work]
        from_business = _rounded(self.success * _growth(months) * told * (0.2 if hit else 1))
        if from_business:
            earned.append((self.business, from_business))
        has_business = from_business > 0
        return Living(
            people=self.people,
            income=tuple(earned),
            needs_met=self.needs[months],
            turnover=_rounded(from_business * 2.2),
            assets=_rounded(1_500_000 + from_business * 1.5) if has_business else 0,
            workers=int(self.success > 1.1 and months >= 6) if has_business else 0,
        )


SETBACK_FROM_MONTHS = 12

AT_FIRST: Mapping[BasicNeed, float] = {
    BasicNeed.FOOD: 0.55,
    BasicNeed.CLEAN_WATER: 0.5,
    BasicNeed.SANITATION: 0.4,
    BasicNeed.HEALTH: 0.7,
    BasicNeed.HOUSING: 0.5,
    BasicNeed.EDUCATION: 0.8,
    BasicNeed.INFORMATION: 0.6,
}

_WORK = (
    Livelihood.CASUAL_WORK,
    Livelihood.FARMING,
    Livelihood.FISHING,
    Livelihood.WAGE_WORK,
    Livelihood.LIVESTOCK,
    Livelihood.REMITTANCE,
)
_HOW_MANY = (34, 30, 10, 12, 8, 6)  # of a hundred


def _growth(months: int) -> float:
    return 0.8 * (1 - math.exp(-months / 6))


def _rounded(rupiah: float) -> int:
    return round(rupiah / STEP_RUPIAH) * STEP_RUPIAH


def draw(row: int, people: int, months: Collection[int], *, manager: bool = False) -> Fortune:
    """The fortune of the household that begins in that row of the list: in every run the same."""
    rng = random.Random(f"{SEED} household {row}")
    share = rng.lognormvariate(math.log(0.74 if manager else 0.64), 0.22)
    first = rng.choices(_WORK, _HOW_MANY)[0]
    second = rng.choices(_WORK, _HOW_MANY)[0]
    one_alone = rng.random() < 0.66 or second is first
    work = ((first, share),) if one_alone else ((first, share * 0.7), (second, share * 0.3))
    success = 0.0 if rng.random() < 0.3 else rng.uniform(0.3, 1.4)
    return Fortune(
        people=people,
        work=work,
        success=success,
        business=Livelihood.COOPERATIVE_UNIT if manager else Livelihood.OWN_BUSINESS,
        setback=rng.random() < 1 / 6,
        needs=_needs(sorted(months), 0.5 if success else 0.25, rng),
        told={each: rng.uniform(0.94, 1.06) for each in sorted(months)},
    )


def _needs(months: Sequence[int], chance: float, rng: random.Random) -> dict[int, frozenset[BasicNeed]]:
    met = {need for need, at_first in AT_FIRST.items() if rng.random() < at_first}
    found = {}
    for each in months:
        met |= {need for need in AT_FIRST if rng.random() < chance and need not in met}
        found[each] = frozenset(met)
    return found


def with_a_relapse(fortunes: Mapping[str, Fortune], terms: Terms) -> tuple[dict[str, Fortune], str]:
    """The same fortunes, of which one at least is good enough after half a year, and after a year is not any more.

    If chance has given none, the household that was nearest gets a setback. Gives its participant too.
    """
    line = terms["line_rupiah_per_person_month"]

    def income(participant: str, months: int) -> int:
        return fortunes[participant].after(months, line).per_person

    def rises(participant: str) -> bool:
        return all(fortunes[participant].after(months, line).meets(terms) for months in (3, 6))

    fallen = [one for one in fortunes if rises(one) and income(one, 12) < line]
    if fallen:
        return dict(fortunes), fallen[0]
    chosen = max(fortunes, key=lambda one: (rises(one), income(one, 3), fortunes[one].people))
    return {**fortunes, chosen: _rising_and_falling(fortunes[chosen], terms)}, chosen


def _rising_and_falling(fortune: Fortune, terms: Terms) -> Fortune:
    return replace(
        fortune,
        work=((Livelihood.CASUAL_WORK, 0.8),),
        success=1.2,
        setback=True,
        needs={months: frozenset(BasicNeed) for months in fortune.needs},
        told=dict.fromkeys(fortune.told, 1.0),
    )
