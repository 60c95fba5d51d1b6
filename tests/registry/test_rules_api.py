"""Rules over HTTP: a fresh system says what it lacks, a default to start from, and what a newer version does."""

from typing import Any

from services.kit.timers import Timer, run_once
from services.registry.timers import TIMERS
from tests.registry.conftest import Registry
from tests.registry.facts import FATHER, MOTHER, TO_VERIFIED, TO_VISITED, assigned, nominated, visited

ANEW: Timer = next(timer for timer in TIMERS.all if timer.name == "prioritise_anew_under_a_newer_rule")
SIMPLER: dict[str, Any] = {
    "kind": "priority",
    "definition": {"parts": [{"name": "poorest", "when": {"welfare_decile": {"at_most": 1}}, "points": 7}]},
    "source": "SK Kepala Dinas 12/2024",
}


async def test_a_fresh_system_says_what_it_lacks_and_offers_a_default(registry: Registry):
    await registry.pool.execute("DELETE FROM rule")
    await registry.given(*TO_VISITED)
    answer = await registry.officer().post("/verifications", {"participant_ids": [MOTHER]})
    assert (answer.status_code, answer.json()["code"]) == (409, "no-priority-rule")
    assert "GET /rules/priority/default" in answer.json()["remedy"]


async def test_the_default_can_be_adopted_as_it_is_offered(registry: Registry):
    officer = registry.officer()
    for kind in ("priority", "verification"):
        offered = (await officer.get(f"/rules/{kind}/default")).json()
        adopted = await officer.post("/rules", offered)
        assert (adopted.status_code, adopted.json()["rule_version"]) == (201, 1)
    assert await registry.names("registry.rules") == ["RuleAdopted", "RuleAdopted"]


async def test_a_newer_version_is_in_force_and_the_one_before_is_shown_with_it(registry: Registry):
    adopted = await registry.officer().post("/rules", SIMPLER)
    assert (adopted.json()["rule_version"], adopted.headers["ETag"]) == (2, '"2"')
    rules = (await registry.caller("auditor").get("/rules")).json()
    priority = next(rule for rule in rules if rule["kind"] == "priority")
    assert (priority["source"], [rule["source"] for rule in priority["earlier"]]) == (
        "SK Kepala Dinas 12/2024",
        ["project default"],
    )


async def test_a_rule_holds_everywhere_so_an_officer_of_one_kabupaten_cannot_adopt_it(registry: Registry):
    assert (await registry.officer("52.01").post("/rules", SIMPLER)).status_code == 403


async def test_nonsense_is_refused_by_field(registry: Registry):
    wrong = {**SIMPLER, "definition": {"parts": [{"name": "x", "when": {"latrine": ["A hole"]}, "points": 1}]}}
    answer = await registry.officer().post("/rules", wrong)
    assert answer.status_code == 422
    assert any("latrine" in error["field"] for error in answer.json()["errors"])


async def test_whoever_is_verified_gets_a_priority_under_the_newer_rule(registry: Registry):
    await registry.given(*TO_VERIFIED, nominated(FATHER), assigned(FATHER), visited(FATHER))
    assert await run_once(ANEW, registry.workplace) == 0
    await registry.officer().post("/rules", SIMPLER)
    async with registry.pool.acquire() as connection:
        assert await ANEW.next_due(connection) == registry.workplace.now()
        assert await run_once(ANEW, registry.workplace) == 1
        assert await ANEW.next_due(connection) is None
    assert await run_once(ANEW, registry.workplace) == 0
    shown = (await registry.officer().get(f"/participants/{MOTHER}")).json()
    assert (shown["priority"]["score"], shown["priority"]["rule_version"]) == (7, 2)
    assert shown["priority"]["parts"] == [{"name": "poorest", "points": 7, "because": "welfare_decile is 1"}]
    assert (await registry.names("registry.participants"))[-1] == "PriorityChanged"
