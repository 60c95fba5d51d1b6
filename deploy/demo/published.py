"""The figures that outcomes publishes, with the articles that they answer: `.local/figures.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.demo.clients import House, Json, together
from deploy.demo.comparing import Comparison
from deploy.demo.play import AUDITOR
from deploy.demo.year_figures import YearAnswers

PublishedFigure = dict[str, Any]


async def ask_for_published_figures(house: House) -> list[PublishedFigure]:
    """Each figure in whole: definition, article, value, rule version, the log positions it stands on, public value."""
    definitions = await house.outcomes.get("/figures", who=AUDITOR)
    exact = await together(house.outcomes.get(f"/figures/{one['id']}", who=AUDITOR) for one in definitions)
    public = await house.outcomes.get("/public/figures", who=AUDITOR)
    in_public = {one["id"]: one for one in public["figures"]}
    return [_figure(answer, in_public.get(answer["figure"]["id"])) for answer in exact]


def _figure(answer: Json, public: Json | None) -> PublishedFigure:
    definition = answer["figure"]
    return {
        **{name: definition[name] for name in ("id", "title", "definition", "unit")},
        "article": definition["answers"],
        "value": answer["total"]["value"],
        "of": answer["total"]["of"],
        "rules": answer["rules"],
        "as_of": answer["as_of"],
        "stands_on": answer["stands_on"],
        "public": None if public is None else {"value": public["value"], "hidden": public["hidden"]},
    }


def with_the_figures(
    figures: Sequence[PublishedFigure], funnel: Mapping[str, int], year: YearAnswers, messages_rejected: int
) -> list[Comparison]:
    """What the lists of the services come to, and what is published: nobody is to work with two numbers."""
    published = {figure["id"]: figure["value"] for figure in figures}
    statuses = [visit["status"] for visit in year.follow_ups]
    counted: dict[str, int] = {
        **{name: funnel[name] for name in ("households_listed", "people_listed", "verified", "enrolled", "completed")},
        "cases_open": sum(case["status"] == "open" for case in year.cases),
        "cases_closed": sum(case["status"] == "closed" for case in year.cases),
        "followed_up": funnel["followed_up"],
        "follow_ups_recorded": statuses.count("recorded"),
        "follow_ups_missed": statuses.count("missed"),
        "graduated": sum(case["graduated_on"] is not None for case in year.cases),
        "graduated_now": funnel["graduated"],
        "relapsed": sum(case["relapsed_on"] is not None for case in year.cases),
        "interventions": sum(case["interventions"] for case in year.cases),
        "reports_unmatched": sum(one["status"] == "unmatched" for one in year.interventions),
        "business_units_planned": len(year.units),
        "business_units_launched": sum(unit["status"] == "launched" for unit in year.units),
        "cooperatives": len(year.cooperatives),
        "members_recruited": sum(one["recruited"] for one in year.cooperatives),
        "messages_rejected": messages_rejected,
    }
    return [
        Comparison(
            name.replace("_", " "), "the services' lists", counted[name], "the published figure", published[name]
        )
        for name in counted
    ]
