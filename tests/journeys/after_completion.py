"""The year after the training, chapter by chapter: the script of the journey's second half."""

import json
from datetime import date
from typing import Any

from tests.journeys.programme import DINKOP, FOLLOW_UP_PLAN, GRADUATION, PUBLICATION, Bad, Programme, Report
from tests.journeys.until_completion import NOTE, RULES, in_place_order, visit_to, wita
from tests.support.world import OUTCOMES

COOPERATIVE, OTHER_COOPERATIVE = "5201030500123", "5203-0007"
LINE, HIGHER_LINE = 322_170, 330_000
MONTHS = {1: date(2024, 9, 17), 3: date(2024, 11, 17), 6: date(2025, 2, 17), 12: date(2025, 8, 17)}
"""When visits fall due: everybody completed on 17 August 2024."""

NEEDS = ("food", "clean_water", "sanitation", "housing", "health")
KINDS = ("graduates", "relapses", "one livelihood", "no latrine", "found late", "skips one", "never met")
KINDS += ("on the line", "sent late", "visited early")
"""What becomes of people. Three more die, are forgotten, or are participants no longer."""

# --- Before anybody has completed -------------------------------------------------------------------------------------


def outcomes_are_agreed_on(programme: Programme) -> None:
    programme.adopt(OUTCOMES, "follow_up_plan", FOLLOW_UP_PLAN, "project default")
    programme.adopt(OUTCOMES, "graduation", GRADUATION)
    programme.adopt(OUTCOMES, "publication", PUBLICATION, "project default")


def support_comes_early(programme: Programme, big: str) -> None:
    """What other agencies report before there are cases waits for them; of who does not complete, for ever."""
    programme.until(wita(8, 11))
    with_number = known_by_number(programme, in_place_order(programme, big))
    reports: dict[str, Report] = {}
    for number, (_, nik) in enumerate(with_number[:12]):
        reports[f"early-{number}"] = ("MentoringVisited", nik, {"visited_on": f"2024-07-{number + 1:02}"})
    joined = {"joined_on": "2024-07-20", "cooperative_number": COOPERATIVE}
    reports["early-member"] = ("MemberJoinedCooperative", with_number[0][1], joined)
    again = {"joined_on": "2024-07-21", "cooperative_number": COOPERATIVE}
    reports["early-member-again"] = ("MemberJoinedCooperative", with_number[0][1], again)
    programme.dinkop_supported(reports)


# --- The year ---------------------------------------------------------------------------------------------------------


def others_help(programme: Programme, people: dict[str, str]) -> None:
    programme.until(wita(8, 20))
    numbered = known_by_number(programme, list(people))
    first, second, third, fourth, fifth = (nik for _, nik in numbered[:5])
    ids = programme.dinkop_supported(
        {
            "mentored": ("MentoringVisited", first, {"visited_on": "2024-08-19"}),
            "kur": (
                "FinancingGranted",
                second,
                {"granted_on": "2024-08-20", "amount_rupiah": 5_000_000, "scheme": "KUR_SUPER_MIKRO"},
            ),
            "market": ("MarketAccessGranted", third, {"granted_on": "2024-08-18", "scheme": "PASAR_DESA"}),
            "pkh": (
                "AssistanceDelivered",
                fourth,
                {"delivered_on": "2024-08-17", "scheme": "PKH", "amount_rupiah": 750_000},
            ),
            "bpnt": ("AssistanceDelivered", fourth, {"delivered_on": "2024-08-18", "scheme": "BPNT"}),
            "joined": (
                "MemberJoinedCooperative",
                fifth,
                {"joined_on": "2024-08-19", "cooperative_number": OTHER_COOPERATIVE},
            ),
            "nobody": ("MentoringVisited", "5270000101700000", {"visited_on": "2024-08-01"}),
            "mistaken": ("MentoringVisited", "5270000101700001", {"visited_on": "2024-08-02"}),
            "two-bear-it": ("MentoringVisited", duplicated_number(programme), {"visited_on": "2024-08-03"}),
        }
    )
    assert {programme.oracle.outcomes.interventions[id_]["status"] for id_ in ids.values()} == {"matched", "unmatched"}
    officer = programme.officer(OUTCOMES)
    shown = officer.get(f"/interventions/{ids['nobody']}/national-id")
    assert shown["national_id"] == "5270000101700000"
    programme.match_intervention(ids["nobody"], numbered[0][0])
    programme.dismiss_intervention(ids["mistaken"], "reported_in_error")
    assert officer.http.get(f"/interventions/{ids['mistaken']}/national-id").status_code == 410
    cooperatives_meet(programme)
    what_dinkop_got_wrong(programme, first)


def cooperatives_meet(programme: Programme) -> None:
    met = {"name": "Koperasi Tenun Kebon Ayu", "area_code": "5201012002", "members": 42}
    later = met | {"year": 2023, "held_on": "2024-03-18", "net_surplus_rupiah": 18_500_000}
    programme.cooperative_met(COOPERATIVE, "rat-2023", **later)
    programme.cooperative_met(COOPERATIVE, "rat-2023-again", **later)
    earlier = met | {"year": 2022, "held_on": "2023-03-20", "net_surplus_rupiah": -1_000_000}
    programme.cooperative_met(COOPERATIVE, "rat-2022", **earlier)


def what_dinkop_got_wrong(programme: Programme, nik: str) -> None:
    def said(**values: Any) -> bytes:
        return json.dumps(values).encode()

    def fact(name: str) -> str:
        return f"entas.partners.{name}.v1"

    visited, granted, met = fact("MentoringVisited"), fact("FinancingGranted"), fact("AnnualMeetingHeld")
    fine = said(national_id=nik, visited_on="2024-08-19")
    meeting = {"cooperative_number": COOPERATIVE, "name": "Koperasi", "year": 2025, "held_on": "2024-03-18"}
    meeting |= {"members": 0, "net_surplus_rupiah": 0, "area_code": "52.99.01"}
    programme.publish_what_cannot_be_taken(
        [
            Bad(visited, said(national_id=nik, visited_on="2024-08-21"), "in-future", ["visited_on"]),
            Bad(visited, said(national_id=nik[:15], visited_on="2024-08-19"), "short", ["national_id"]),
            Bad(
                granted,
                said(national_id=nik, granted_on="2024-08-19", amount_rupiah=0, scheme="kur mikro"),
                "nothing-granted",
                ["amount_rupiah", "scheme"],
            ),
            Bad(fact("MarketAccessGranted"), said(national_id=nik, granted_on="2024-08-19"), "where", ["scheme"]),
            Bad(
                fact("AssistanceDelivered"),
                said(national_id=nik, delivered_on="2024-08-19", scheme="PKH", amount_rupiah="much"),
                "how-much",
                ["amount_rupiah"],
            ),
            Bad(
                fact("MemberJoinedCooperative"),
                said(national_id=nik, joined_on="2024-08-19", cooperative_number=nik),
                "whose-number",
                ["cooperative_number"],
            ),
            Bad(met, said(**meeting), "met-when", ["area_code", "year", "members"]),
            Bad(visited, b"[]", "no-object", ["value"]),
            Bad(visited, fine, nik, ["ce_id"], known_id=False),
            Bad(fact("Wedding"), fine, "a-wedding", ["ce_type"], known_type=False),
            Bad(fact("DeathRecorded"), fine, "not-theirs-to-tell", ["ce_type"], known_type=False),
            Bad(visited, fine, "another-source", ["ce_source"], headers={"ce_source": "urn:dukcapil"}),
        ],
        DINKOP,
    )


def the_first_month(programme: Programme, people: dict[str, str]) -> None:
    programme.until(wita(9, 14))
    early = of_kind(people, "visited early")[0]
    refuses_what_cannot_be(programme, of_kind(people, "graduates")[0])
    record(programme, people, early, 1, captured=wita(9, 12))
    # A minute before seven in the morning nobody has been woken; by then one person is forgotten.
    programme.until(wita(9, 17, 5))
    programme.erase(of_kind(people, "is forgotten")[0])
    programme.until(wita(9, 20))
    for person in visited_in(people, 1):
        if person != early:
            record(programme, people, person, 1, captured=wita(9, 18))
    programme.adopt_notification_rule(
        next(rule for rule in RULES if rule["rule_id"] == "visited-soon") | {"active": False}
    )
    manager = of_kind(people, "graduates")[0]
    plan = {"cooperative_number": COOPERATIVE, "sector": "crafts", "planned_on": "2024-09-19"}
    plan |= {"launch_by": "2024-12-31", "capital_rupiah": 25_000_000, "jobs": 3}
    unit = programme.plan_business_unit(manager, plan)
    programme.plan_business_unit(manager, plan | {"sector": "food"})
    programme.until(wita(10, 10))
    life_goes_on(programme, people)
    programme.launch_business_unit(manager, unit, {"launched_on": "2024-10-09", "jobs": 2})


def refuses_what_cannot_be(programme: Programme, person: str) -> None:
    facilitator, path = programme.world.caller(OUTCOMES, "facilitator"), f"/cases/{person}/follow-ups"
    said = finding("graduates", 1, 4) | {"visit_id": "no", "captured_at": wita(9, 9).isoformat()}
    assert facilitator.refused(path, said) == "visit-too-early"
    assert facilitator.refused(path, said | {"captured_at": wita(9, 15).isoformat()}) == "visit-in-the-future"
    assert facilitator.refused(path, said | {"follow_up": 2}) == "no-such-follow-up"


def life_goes_on(programme: Programme, people: dict[str, str]) -> None:
    """What the registry learns later changes no baseline, and ends a case only where somebody takes part no more."""
    registry = programme.oracle.registry
    dies = of_kind(people, "dies")[0]
    nik = registry.national_ids[dies]
    programme.dukcapil("DeathRecorded", nik, "death-of-a-graduate", died_on="2024-10-05")
    given = {"granted_on": "2024-10-04", "amount_rupiah": 1_000_000, "scheme": "KUR_MIKRO"}
    after = {"granted_on": "2024-10-11", "amount_rupiah": 2_000_000, "scheme": "KUR_MIKRO"}
    programme.dinkop_supported({"before-the-end": ("FinancingGranted", nik, given)})
    heads = [who for who in people if registry.households[registry.home_of[who]]["head_person_id"] == who]
    moves = next(who for who, _ in known_by_number(programme, heads))
    programme.dukcapil(
        "HouseholdMoved", registry.national_ids[moves], "move-4", to_area_code="5272011001", moved_on="2024-10-01"
    )
    seen_again = next(who for who in people if registry.participants[who]["status"] == "expired")
    programme.assign([seen_again], "facilitator", date(2024, 10, 31))
    programme.until(wita(10, 12))
    visit = visit_to(seen_again, 4) | {"captured_at": wita(10, 11).isoformat(), "visit_id": "seen-again"}
    programme.visit([visit | {"conditions": {"latrine": "Ya, dengan Septic Tank"}}], "facilitator")
    programme.verify([seen_again], await_training=False)
    programme.dinkop_supported({"after-the-end": ("FinancingGranted", nik, after)})
    programme.reject(of_kind(people, "is rejected")[0], "not_eligible")


def the_third_month(programme: Programme, people: dict[str, str]) -> None:
    programme.until(wita(11, 21))
    late = {"found late", "sent late"}
    for person in visited_in(people, 3):
        if people[person] not in late:
            record(programme, people, person, 3, captured=wita(11, 20))
    programme.until(wita(12, 11))
    for person in of_kind(people, "found late"):
        record(programme, people, person, 3, captured=wita(12, 10))
    for person in of_kind(people, "sent late"):
        record(programme, people, person, 3, captured=wita(11, 30))
    person = of_kind(people, "graduates")[0]
    facilitator, path = programme.world.caller(OUTCOMES, "facilitator"), f"/cases/{person}/follow-ups"
    said = finding("graduates", 3, 1) | {"visit_id": f"{person[-12:]}-3", "captured_at": wita(11, 20).isoformat()}
    assert facilitator.refused(path, said | {"income": []}) == "visit-differs"
    assert facilitator.refused(path, said | {"visit_id": "another"}) == "already-recorded"
    dead = of_kind(people, "dies")[0]
    assert facilitator.refused(f"/cases/{dead}/follow-ups", said | {"visit_id": "too-late"}) == "case-closed"


def the_half_year(programme: Programme, people: dict[str, str]) -> None:
    """The line has risen."""
    programme.until(wita(1, 2, year=2025))
    programme.adopt(OUTCOMES, "graduation", GRADUATION | {"line_rupiah_per_person_month": HIGHER_LINE}, "SK 1/2025")
    programme.until(wita(2, 20, year=2025))
    for person in visited_in(people, 6):
        record(programme, people, person, 6, captured=wita(2, 19, year=2025))


def the_year_is_over(programme: Programme, people: dict[str, str]) -> None:
    programme.until(wita(8, 21, year=2025))
    for person in visited_in(people, 12):
        record(programme, people, person, 12, captured=wita(8, 20, year=2025))
    programme.until(wita(9, 2, year=2025))
    programme.world.settle()


# --- Who is whom, and what is found -----------------------------------------------------------------------------------


def fates(programme: Programme, *cohorts: str) -> dict[str, str]:
    """By participant with a case what becomes of them."""
    people = [person for cohort in cohorts for person in in_place_order(programme, cohort, "completed")]
    facts = {"dies": known_by_number(programme, people)[-1][0]}
    facts["is forgotten"], facts["is rejected"] = [person for person in people if person not in facts.values()][-2:]
    others = [person for person in people if person not in facts.values()]
    kinds = {person: KINDS[number % len(KINDS)] for number, person in enumerate(others)}
    return kinds | {person: fate for fate, person in facts.items()}


def of_kind(people: dict[str, str], kind: str) -> list[str]:
    return [person for person, fate in people.items() if fate == kind]


def visited_in(people: dict[str, str], months: int) -> list[str]:
    """Whom a facilitator finds so many months after."""
    gone = {"is forgotten": 1, "dies": 3, "is rejected": 3, "never met": 0}
    return [
        person
        for person, fate in people.items()
        if months < gone.get(fate, 99) and not (fate == "skips one" and months == 6)
    ]


def record(programme: Programme, people: dict[str, str], person: str, months: int, *, captured: Any) -> None:
    registry = programme.oracle.registry
    persons = max(1, registry.households[registry.home_of[person]]["people"])
    said = finding(people[person], months, persons)
    said |= {"visit_id": f"{person[-12:]}-{months}", "captured_at": captured.isoformat()}
    programme.record_follow_up(person, said)


def finding(fate: str, months: int, persons: int) -> dict[str, Any]:
    """What is found in a household of so many persons."""
    poor = (months == 1 and fate != "skips one") or (fate == "relapses" and months == 12)
    per_person = 190_000 if poor else {"on the line": LINE if months == 3 else HIGHER_LINE}.get(fate, 345_000)
    total, second = per_person * persons, per_person * persons // 3
    income = [{"livelihood": "own_business", "monthly_rupiah": total - second}]
    other = "own_business" if fate == "one livelihood" else "livestock"
    income += [{"livelihood": other, "monthly_rupiah": second}, {"livelihood": "fishing", "monthly_rupiah": 0}]
    unmet = {"health"} | ({"sanitation"} if fate == "no latrine" else set())
    said: dict[str, Any] = {
        "follow_up": months,
        "people": persons,
        "income": income,
        "needs": [{"need": need, "met": need not in unmet} for need in reversed(NEEDS)],
    }
    if months > 3:
        said["business"] = {"monthly_turnover_rupiah": total, "assets_rupiah": 1_500_000, "workers": months // 6}
    if persons % 2:
        said["notes"] = f"{NOTE} bulan ke-{months}"
    return said


def known_by_number(programme: Programme, people: list[str]) -> list[tuple[str, str]]:
    """Those who bear a NIK that nobody else bears, with it."""
    borne = list(programme.oracle.registry.national_ids.values())
    niks = {person: programme.oracle.registry.national_ids[person] for person in people}
    return [(person, nik) for person, nik in niks.items() if nik and borne.count(nik) == 1]


def duplicated_number(programme: Programme) -> str:
    borne = [nik for nik in programme.oracle.registry.national_ids.values() if nik]
    return next(nik for nik in borne if borne.count(nik) > 1)
