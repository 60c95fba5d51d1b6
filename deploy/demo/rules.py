"""The first act: the rules that decide are adopted, and what people are told, in which words, over which channel."""

from deploy.demo.clients import Api, Json, together
from deploy.demo.clock import at
from deploy.demo.contacts import give_contacts
from deploy.demo.play import OFFICER, PROGRAMME_OFFICER, Play
from deploy.demo.programme import LIST_DAY, VERIFICATION_HOLDS_DAYS


async def adopt_rules(play: Play) -> None:
    """Nothing is decided without a rule that says how, so the programme's officer adopts those of all services."""
    await play.clock.move_to(at(LIST_DAY, 8))
    await _adopt_what_decides_on_people(play)
    await _adopt_what_decides_on_outcomes(play)
    await _adopt_what_people_are_told(play)
    await give_contacts(play)


async def _adopt_what_decides_on_people(play: Play) -> None:
    registry, training = play.house.registry, play.house.training
    verification = {
        "kind": "verification",
        "definition": {"holds_days": VERIFICATION_HOLDS_DAYS},
        "source": "the demo's own; no regulation names a number of days",
    }
    priority, _, completion, confirmation = await together(
        (
            _adopt(registry, await _default(registry, "priority")),
            _adopt(registry, verification),
            _adopt(training, await _default(training, "completion")),
            _adopt(training, await _default(training, "confirmation")),
        )
    )
    play.minimum_attendance_percent = completion["definition"]["minimum_attendance_percent"]
    play.telling.say(
        f"priority of need: {len(priority['definition']['parts'])} declared parts · a verification holds "
        f"{VERIFICATION_HOLDS_DAYS} days · completion: {play.minimum_attendance_percent} % attendance and every "
        f"critical unit ({completion['source']}) · places are confirmed "
        f"{confirmation['definition']['days_before_start']} days before the start"
    )


async def _adopt_what_decides_on_outcomes(play: Play) -> None:
    outcomes = play.house.outcomes
    kinds = ("follow_up_plan", "graduation", "publication")
    plan, graduation, publication = await together([_adopt(outcomes, await _default(outcomes, kind)) for kind in kinds])
    play.plan, play.graduation = plan["definition"], graduation["definition"]
    months, terms = ", ".join(str(months) for months in play.plan["months"]), play.graduation
    play.telling.say(
        f"who completes is visited after {months} months · out of extreme poverty: {terms['follow_ups_in_a_row']} "
        f"visits in a row at Rp{terms['line_rupiah_per_person_month']:,} a person and month or more, with "
        f"{terms['minimum_livelihoods']} livelihoods and {len(terms['needs_required'])} basic needs met · "
        f"public figures hide what is about fewer than {publication['definition']['smallest_cell']} people"
    )


async def _adopt_what_people_are_told(play: Play) -> None:
    notifications = play.house.notifications
    templates = await notifications.get("/templates/default", who=OFFICER)
    rules = await notifications.get("/rules/default", who=OFFICER)
    for path, bodies, named in (("/templates", templates, "template_id"), ("/rules", rules, "rule_id")):
        # Rules and templates have to fit each other: one after the other is as fast.
        for body in bodies:
            await notifications.post(path, body, who=PROGRAMME_OFFICER, step=f"{named}-{body[named]}")
    quiet = {f"{rule['quiet_from']} to {rule['quiet_until']}" for rule in rules}
    play.telling.say(
        f"{len(rules)} rules say who is told what, in {len(templates)} templates in Bahasa Indonesia and English; "
        f"nobody is written to from {' or '.join(sorted(quiet))} WITA"
    )


async def _default(api: Api, kind: str) -> Json:
    default: Json = await api.get(f"/rules/{kind}/default", who=OFFICER)
    return default


async def _adopt(api: Api, rule: Json) -> Json:
    adopted: Json = await api.post("/rules", rule, who=PROGRAMME_OFFICER, step=f"rule-{rule['kind']}")
    return adopted
