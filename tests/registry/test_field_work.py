"""From a listed person to a verified participant over HTTP, and what goes wrong on the way."""

from datetime import timedelta
from typing import Any

from contracts.registry import DelistingReason, HouseholdDelisted, ParticipantRejected, RejectionReason
from tests.registry.conftest import Registry
from tests.registry.facts import (
    CHILD,
    FACILITATOR,
    FATHER,
    HOME,
    MOTHER,
    NOW,
    TO_VERIFIED,
    TO_VISITED,
    TODAY,
    assigned,
    listed,
    nominated,
    visited,
)

ASSIGNMENT: dict[str, Any] = {"facilitator_id": FACILITATOR, "due_on": str(TODAY), "person_ids": [MOTHER]}
VISIT: dict[str, Any] = {
    "visit_id": "v-1",
    "captured_at": (NOW - timedelta(hours=3)).isoformat(),
    "finding": "matched",
    "willing": True,
    "can_leave_home": True,
    "reachable": True,
}


async def test_the_whole_way_from_the_list_to_a_verified_participant(home: Registry):
    officer, facilitator = home.officer("52.01"), home.facilitator()
    answer = await officer.post("/assignments", ASSIGNMENT)
    assert answer.json()["outcomes"] == [
        {
            "participant_id": MOTHER,
            "outcome": "done",
            "visit_id": None,
            "status": "assigned",
            "version": 2,
            "problem": None,
        }
    ]
    answer = await facilitator.post(f"/participants/{MOTHER}/visits", VISIT | {"phone": "0812 3456 7890"})
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"3"')
    answer = await officer.post("/verifications", {"participant_ids": [MOTHER]})
    assert (answer.json()["done"], answer.json()["outcomes"][0]["status"]) == (1, "verified")

    shown = (await officer.get(f"/participants/{MOTHER}")).json()
    assert (shown["status"], shown["version"], shown["priority"]["score"]) == ("verified", 4, 85)
    assert (shown["details"]["name"], shown["details"]["phone"]) == ("Inaq Sari", "+6281234567890")
    assert await home.names("registry.participants") == [
        "ParticipantNominated",
        "VerificationAssigned",
        "VisitRecorded",
        "ParticipantVerified",
    ]


async def test_nothing_personal_stands_in_the_log_in_the_clear(home: Registry):
    await home.officer().post("/assignments", ASSIGNMENT)
    await home.facilitator().post(f"/participants/{MOTHER}/visits", VISIT | {"notes": "rumah di tepi kali"})
    await home.officer().post("/verifications", {"participant_ids": [MOTHER]})
    said = str(await home.facts("registry.participants")) + str(await home.facts("registry.households"))
    for personal in ("Inaq Sari", "5270014107800000", "1980-07-01", "tepi kali", "Karang Anyar"):
        assert personal not in said


async def test_one_bad_person_does_not_lose_the_others(registry: Registry):
    await registry.given(*TO_VERIFIED)
    body = ASSIGNMENT | {"person_ids": [FATHER, MOTHER, "nobody", FATHER]}
    answer = (await registry.officer().post("/assignments", body)).json()
    assert (answer["done"], answer["refused"]) == (2, 2)
    codes = [item["problem"] and item["problem"]["code"] for item in answer["outcomes"]]
    assert codes == [None, "already-verified", "unknown-person", None]
    assert await registry.names("registry.participants", FATHER) == [
        "ParticipantNominated",
        "VerificationAssigned",
        "VerificationAssigned",
    ]


async def test_an_officer_assigns_in_their_own_areas_only(home: Registry):
    outcome = (await home.officer("52.02").post("/assignments", ASSIGNMENT)).json()["outcomes"][0]
    assert (outcome["outcome"], outcome["problem"]["status"]) == ("refused", 403)
    assert await home.names("registry.participants") == []
    assert await home.pool.fetchval("SELECT count(*) FROM read_log") == 0


async def test_a_visit_that_is_due_in_the_past_is_refused_as_a_whole(home: Registry):
    answer = await home.officer().post("/assignments", ASSIGNMENT | {"due_on": str(TODAY - timedelta(days=1))})
    assert (answer.status_code, answer.json()["code"]) == (422, "due-in-the-past")


async def test_the_same_assignment_under_the_same_key_is_made_once(home: Registry):
    officer = home.officer()
    first = await officer.post("/assignments", ASSIGNMENT, Idempotency_Key="the-same")
    again = await officer.post("/assignments", ASSIGNMENT, Idempotency_Key="the-same")
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await home.facts("registry.participants")) == 2


# --- Visits -----------------------------------------------------------------------------------------------------------


async def test_a_copy_of_a_visit_gets_the_answer_of_the_first(registry: Registry):
    await registry.given(listed(), nominated(), assigned())
    facilitator = registry.facilitator()
    first = await facilitator.post(f"/participants/{MOTHER}/visits", VISIT)
    registry.later(hours=5)
    await registry.officer().post("/verifications", {"participant_ids": [MOTHER]})
    again = await facilitator.post(f"/participants/{MOTHER}/visits", VISIT)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await registry.names("registry.participants")).count("VisitRecorded") == 1


async def test_a_copy_is_answered_though_the_version_it_was_decided_on_is_long_gone(registry: Registry):
    await registry.given(listed(), nominated(), assigned())
    facilitator = registry.facilitator()
    first = await facilitator.post(f"/participants/{MOTHER}/visits", VISIT, If_Match='"2"')
    again = await facilitator.post(f"/participants/{MOTHER}/visits", VISIT, If_Match='"2"')
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())


async def test_conditions_are_said_in_the_words_of_the_lists(registry: Registry):
    await registry.given(listed(), nominated(), assigned())
    for conditions in (
        {"latrine": "Hutan"},
        {"floor": "Tanah, telepon 081234567890"},
        {"social_assistance": ["Raskin"]},
    ):
        body = VISIT | {"conditions": conditions}
        assert (await registry.facilitator().post(f"/participants/{MOTHER}/visits", body)).status_code == 422
    body = VISIT | {"conditions": {"latrine": "Lainnya", "floor": "Tanah", "social_assistance": ["PKH"]}}
    answer = await registry.facilitator().post(f"/participants/{MOTHER}/visits", body)
    assert (answer.status_code, answer.json()["conditions"]["floor"]) == (201, "Tanah")


async def test_captured_and_received_are_told_apart(registry: Registry):
    await registry.given(listed(), nominated(), assigned())
    instant = registry.later(days=2)
    body = (await registry.facilitator().post(f"/participants/{MOTHER}/visits", VISIT)).json()
    assert (body["captured_at"], body["received_at"]) == (
        "2024-07-07T22:00:00Z",
        instant.isoformat().replace("+00:00", "Z"),
    )


async def test_visits_that_cannot_be_are_refused(registry: Registry):
    await registry.given(listed(), nominated(), assigned())
    for changed, subject, status, code in (
        ({}, "facilitator-8", 403, "another-facilitator"),
        ({"captured_at": (NOW + timedelta(hours=1)).isoformat()}, FACILITATOR, 422, "visit-in-the-future"),
        ({"captured_at": "2024-07-08T09:00:00"}, FACILITATOR, 422, "invalid-request"),
        ({"finding": "asleep"}, FACILITATOR, 422, "invalid-request"),
        ({"phone": "hello"}, FACILITATOR, 422, "invalid-request"),
    ):
        answer = await registry.facilitator(subject).post(f"/participants/{MOTHER}/visits", VISIT | changed)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "VisitRecorded" not in await registry.names("registry.participants")


async def test_a_visit_to_nobody_is_not_found(registry: Registry):
    answer = await registry.facilitator().post("/participants/nobody/visits", VISIT)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-participant")


async def test_a_version_that_changed_meanwhile_is_told(registry: Registry):
    await registry.given(listed(), nominated(), assigned())
    answer = await registry.facilitator().post(f"/participants/{MOTHER}/visits", VISIT, If_Match='"1"')
    assert answer.status_code == 412


async def test_a_device_sends_what_it_recorded_offline_and_each_visit_counts_for_itself(home: Registry):
    await home.officer().post("/assignments", ASSIGNMENT | {"person_ids": [MOTHER, FATHER]})
    await home.officer().post("/assignments", ASSIGNMENT | {"person_ids": [CHILD], "facilitator_id": "facilitator-8"})
    earlier = (NOW - timedelta(days=1)).isoformat()
    visits = [
        VISIT | {"participant_id": MOTHER},
        VISIT | {"participant_id": MOTHER, "visit_id": "v-0", "captured_at": earlier, "finding": "person_not_found"},
        VISIT | {"participant_id": CHILD},
        VISIT | {"participant_id": "nobody"},
        VISIT | {"participant_id": FATHER, "captured_at": (NOW + timedelta(days=3)).isoformat()},
        VISIT | {"participant_id": MOTHER},
    ]
    answer = (await home.facilitator().post("/visits", {"visits": visits})).json()
    codes = [item["problem"] and item["problem"]["code"] for item in answer["outcomes"]]
    assert codes == [None, None, "another-facilitator", "unknown-participant", "visit-in-the-future", None]
    assert answer["outcomes"][4]["problem"]["errors"][0]["field"] == "visits.4.captured_at"
    shown = (await home.officer().get(f"/participants/{MOTHER}")).json()
    assert (shown["finding"], shown["visits"]) == ("matched", 2)
    assert [visit["visit_id"] for visit in shown["all_visits"]] == ["v-0", "v-1"]


async def test_a_batch_has_its_limits(home: Registry):
    too_many = {"visits": [VISIT | {"participant_id": f"p-{number}"} for number in range(201)]}
    assert (await home.facilitator().post("/visits", too_many)).status_code == 422
    assert (await home.officer().post("/verifications", {"participant_ids": ["p"] * 501})).status_code == 422


# --- Verifying, rejecting, expiring -----------------------------------------------------------------------------------


async def test_who_the_field_did_not_find_is_refused_and_the_others_are_verified(registry: Registry):
    await registry.given(*TO_VISITED, nominated(FATHER), assigned(FATHER), visited(FATHER, finding="moved"))
    body = {"participant_ids": [FATHER, MOTHER, MOTHER, CHILD]}
    answer = (await registry.officer().post("/verifications", body)).json()
    codes = [item["problem"] and item["problem"]["code"] for item in answer["outcomes"]]
    assert codes == ["not-matched", None, "already-verified", "unknown-participant"]


async def test_only_those_who_are_to_be_verified_are_looked_at(registry: Registry):
    await registry.given(*TO_VISITED, nominated(FATHER))
    await registry.officer().post("/verifications", {"participant_ids": [FATHER, MOTHER]})
    looks = await registry.pool.fetch("SELECT subject_id FROM read_log WHERE purpose = 'verification'")
    assert {row["subject_id"] for row in looks} == {MOTHER}


async def test_a_rejection_says_why_and_ends_the_way(registry: Registry):
    await registry.given(*TO_VERIFIED)
    answer = await registry.officer().post(f"/participants/{MOTHER}/rejection", {"reason": "duplicate"})
    assert (answer.json()["status"], answer.json()["rejection"]) == ("rejected", "duplicate")
    again = await registry.officer().post(f"/participants/{MOTHER}/rejection", {"reason": "moved"})
    assert (again.status_code, again.json()["code"]) == (409, "already-rejected")
    elsewhere = await registry.officer("52.02").post(f"/participants/{MOTHER}/rejection", {"reason": "moved"})
    assert elsewhere.status_code == 403


async def test_only_officers_assign_verify_reject_and_adopt(registry: Registry):
    await registry.given(*TO_VISITED)
    for role in ("facilitator", "district", "auditor", "operator", "partner:dukcapil"):
        caller = registry.caller(role, areas=["*"])
        for path, body in (
            ("/assignments", ASSIGNMENT),
            ("/verifications", {"participant_ids": [MOTHER]}),
            (f"/participants/{MOTHER}/rejection", {"reason": "moved"}),
            ("/rules", {"kind": "verification", "definition": {"holds_days": 3}, "source": "me"}),
        ):
            assert (await caller.post(path, body)).status_code == 403, (role, path)


async def test_households_that_are_off_the_list_verify_nobody(registry: Registry):
    await registry.given(*TO_VISITED, HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST))
    answer = (await registry.officer().post("/verifications", {"participant_ids": [MOTHER]})).json()
    assert answer["outcomes"][0]["problem"]["code"] == "household-delisted"


# --- Lists and figures ------------------------------------------------------------------------------------------------


async def test_the_funnel_counts_by_kabupaten(registry: Registry):
    elsewhere = listed("h-2", area_code="52.02.01.2001", members=[], personal={})
    await registry.given(*TO_VERIFIED, elsewhere, nominated(FATHER), nominated(CHILD), assigned(CHILD))
    await registry.given(ParticipantRejected(participant_id=FATHER, reason=RejectionReason.DECEASED))
    west, central = (await registry.caller("auditor", areas=["52"]).get("/funnel")).json()
    assert west == {
        "area_code": "52.01",
        "name": "Lombok Barat",
        "households_listed": 1,
        "people_listed": 3,
        "nominated": 3,
        "assigned": 1,
        "visited": 1,
        "verified": 1,
        "expired": 0,
        "rejected": {"deceased": 1},
    }
    assert (central["name"], central["households_listed"], central["people_listed"]) == ("Lombok Tengah", 1, 0)
    assert [row["area_code"] for row in (await registry.officer("52.02").get("/funnel")).json()] == ["52.02"]
    assert [row["area_code"] for row in (await registry.officer().get("/funnel", area="52.01")).json()] == ["52.01"]


async def test_participants_are_found_by_area_decile_status_and_facilitator(registry: Registry):
    await registry.given(*TO_VERIFIED, nominated(FATHER), nominated(CHILD), assigned(CHILD))
    district = registry.caller("district", areas=["52.01"])

    async def ids(**parameters: Any) -> set[str]:
        page = (await district.get("/participants", **parameters)).json()
        return {item["participant_id"] for item in page["items"]}

    assert await ids() == {MOTHER, FATHER, CHILD}
    assert await ids(status=["verified", "nominated"]) == {MOTHER, FATHER}
    assert await ids(facilitator_id=FACILITATOR, status="assigned") == {CHILD}
    assert await ids(decile_from=2) == set()
    assert await ids(decile_to=1, area="52.01.01") == {MOTHER, FATHER, CHILD}
    assert await ids(area="52.01.02") == set()
    assert (await district.get("/participants", area="here")).status_code == 422
