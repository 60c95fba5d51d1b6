"""Over HTTP: who may adopt rules, keep contacts and read the ledger, what providers may report, and hostile input."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest

from services.notifications.senders.signatures import read_secret, signed
from tests.notifications.conftest import Notifications, notifications_at
from tests.notifications.facts import (
    IN_LOMBOK_TIMUR,
    NIK,
    NOW,
    PHONE,
    VILLAGE,
    assigned,
    defaults,
    enrolled,
    nominated,
    planned,
)
from tests.notifications.providers import SECRET
from tests.notifications.test_deliveries import erased
from tests.notifications.test_sending import Recorded, lanes

# --- Rules and templates ----------------------------------------------------------------------------------------------


async def test_a_fresh_system_adopts_the_defaults_over_the_api(bare: Notifications):
    officer = bare.officer()
    assert await officer.shown("/rules") == await officer.shown("/templates") == []
    for template in await officer.shown("/templates/default"):
        adopted = await officer.done("/templates", template)
        assert (adopted["template_version"], adopted["earlier"]) == (1, [])
    for rule in await officer.shown("/rules/default"):
        adopted = await officer.done("/rules", rule)
        assert (adopted["rule_version"], adopted["active"], adopted["source"]) == (1, True, "project default")
    assert len(await officer.shown("/rules")) == 7
    assert len(await officer.shown("/templates")) == 6
    await bare.told(nominated("sari"), planned(), enrolled("sari"))
    await bare.send_all()
    assert len(bare.taken()) == 1


async def test_a_later_version_keeps_those_before_and_the_same_again_makes_none(notifications: Notifications):
    officer = notifications.officer()
    [rule] = [r for r in await officer.shown("/rules/default") if r["rule_id"] == "enrolment"]
    same = await officer.post("/rules", rule)
    assert (same.status_code, same.headers["etag"], same.json()["earlier"]) == (201, '"1"', [])
    later = await officer.done("/rules", rule | {"active": False})
    assert (later["rule_version"], later["active"]) == (2, False)
    assert [version["active"] for version in later["earlier"]] == [True]
    stale = await officer.post("/rules", rule, If_Match='"1"')
    assert stale.status_code == 412


@pytest.mark.parametrize("path", ["/rules", "/templates"])
async def test_only_an_officer_of_the_whole_country_adopts(notifications: Notifications, path: str):
    [body, *_] = await notifications.officer().shown(f"{path}/default")
    for caller, status in (
        (notifications.caller("officer", areas=("52",)), 403),
        (notifications.caller("facilitator", areas=("*",)), 403),
        (notifications.caller("service:training", areas=("*",)), 403),
        (notifications.officer(), 201),
    ):
        assert (await caller.post(path, body)).status_code == status


async def test_a_refused_rule_says_which_field_and_what_to_do(notifications: Notifications):
    [rule, *_] = await notifications.officer().shown("/rules/default")
    answer = await notifications.officer().post(
        "/rules", rule | {"rule_id": "bulk", "fact": "registry.HouseholdListed"}
    )
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "urn:entas:problem:bulk-fact"
    assert [error["field"] for error in problem["errors"]] == ["body.fact"]


# --- Contacts ---------------------------------------------------------------------------------------------------------


async def test_a_contact_is_kept_sealed_and_shown_to_who_may_with_a_trace(notifications: Notifications):
    await notifications.told(nominated("sari"))
    district = notifications.caller("district", areas=("52.01",))
    said = {"phone": "0812-3456-7890", "email": "sari@example.org", "language": "en", "channels": ["email"]}
    kept = await district.kept("/contacts/sari", said)
    assert kept == {
        "subject_id": "sari",
        "version": 1,
        "area_code": VILLAGE,
        "opted_out": False,
        "language": "en",
        "channels": ["email"],
        "changed_at": "2024-07-01T01:05:00Z",
    }
    shown = await district.shown("/contacts/sari")
    assert shown == kept | {"name": None, "phone": PHONE, "email": "sari@example.org"}
    value = await notifications.pool.fetchval("SELECT value FROM log WHERE topic = 'notifications.contacts'")
    assert b"example" not in value
    assert b"6281234567890" not in value
    looks = await notifications.pool.fetch("SELECT subject_id, purpose FROM read_log")
    assert [(look["subject_id"], look["purpose"]) for look in looks] == [("sari", "contact")]


async def test_a_facilitators_contact_is_sealed_under_a_key_of_the_services_own(notifications: Notifications):
    own = notifications.caller("facilitator", areas=("52.01",), subject="pendamping:5201@entas")
    path = "/contacts/staff:pendamping:5201@entas"
    await own.kept(path, {"name": "Ratna", "email": "ratna@example.org", "area_code": "52.01"})
    assert ("seal", ["notifications:staff:pendamping:5201@entas"]) in notifications.authority.asked
    assert (await notifications.officer().shown(path))["email"] == "ratna@example.org"
    await own.kept(path, {"opted_out": True, "area_code": "52.01"})
    assert (await notifications.officer().shown(path))["email"] is None, "what is left out is no longer kept"


async def test_who_may_keep_whose_contact(notifications: Notifications):
    await notifications.told(
        nominated("sari"), nominated("dewi", area_code=IN_LOMBOK_TIMUR), nominated("ani"), erased("ani")
    )
    staff = {"area_code": "52.01"}
    facilitator = notifications.caller("facilitator", areas=("52.01",), subject="f-1")
    district = notifications.caller("district", areas=("52.01",))
    for caller, subject, body, status in (
        (facilitator, "sari", {}, 200),
        (facilitator, "dewi", {}, 403),
        (facilitator, "staff:f-1", staff, 200),
        (facilitator, "staff:f-2", staff, 403),
        (district, "staff:f-2", staff, 200),
        (district, "staff:f-3", {"area_code": "52.03"}, 403),
        (district, "staff:f-3", {}, 422),
        (district, "nobody", {}, 404),
        (district, "ani", {}, 409),
        (district, "sari", staff, 422),
        (notifications.caller("auditor", areas=("*",)), "sari", {}, 403),
    ):
        answer = await caller.put(f"/contacts/{subject}", body)
        assert answer.status_code == status, (subject, body, answer.text)
    elsewhere = notifications.caller("district", areas=("52.03",))
    assert (await elsewhere.put("/contacts/staff:f-2", {"area_code": "52.03"})).status_code == 403, "not taken away"
    for reader, status in ((district, 200), (elsewhere, 404), (facilitator, 403)):
        assert (await reader.get("/contacts/sari")).status_code == status


async def test_when_the_registry_is_away_only_what_is_personal_cannot_be_kept(notifications: Notifications):
    await notifications.told(nominated("sari"))
    notifications.authority.away = True
    officer = notifications.officer()
    assert (await officer.put("/contacts/sari", {"email": "sari@example.org"})).status_code == 503
    assert (await officer.put("/contacts/sari", {"opted_out": True})).status_code == 200


# --- The ledger -------------------------------------------------------------------------------------------------------


async def test_the_ledger_shows_what_was_wanted_and_what_became_of_it_and_no_text(notifications: Notifications):
    await notifications.told(nominated("sari"), nominated("dewi", area_code=IN_LOMBOK_TIMUR), planned())
    await notifications.told(enrolled("sari"), enrolled("dewi", 2, area_code=IN_LOMBOK_TIMUR), assigned("sari"))
    await notifications.send_all()
    auditor = notifications.caller("auditor", areas=("52",))
    page = await auditor.shown("/notifications")
    assert len(page["items"]) == 5
    assert {(n["rule_id"], n["recipient_id"], n["status"], n["because"]) for n in page["items"]} == {
        ("enrolment", "sari", "sent", None),
        ("enrolment", "dewi", "sent", None),
        ("reminder", "sari", "requested", None),
        ("reminder", "dewi", "requested", None),
        ("visit-assigned", "staff:facilitator-1", "suppressed", "no_address"),
    }
    assert "Lestari" not in json.dumps(page)
    assert PHONE[1:] not in json.dumps(page)
    one = await auditor.shown(f"/notifications/{page['items'][0]['notification_id']}")
    assert one == page["items"][0]

    async def found(**wanted: str) -> int:
        return len((await auditor.shown("/notifications", **wanted))["items"])

    assert await found(participant="sari") == 3
    assert await found(recipient="staff:facilitator-1") == 1
    assert await found(status="sent") == await found(area="52.03") == await found(rule="enrolment") == 2
    assert await found(participant="sari", status="sent", rule="enrolment", area="52.01") == 1
    counts = await auditor.shown("/figures/notifications", area="52.01")
    assert {(c["rule_id"], c["status"], c["notifications"]) for c in counts} == {
        ("enrolment", "sent", 1),
        ("reminder", "requested", 1),
        ("visit-assigned", "suppressed", 1),
    }


async def test_pages_of_the_ledger_follow_each_other_without_a_gap(notifications: Notifications):
    await notifications.told(planned(), *(enrolled(f"p{n}", n) for n in range(1, 11)))
    reader, seen, cursor = notifications.caller("operator"), [], {}
    while True:
        page = await reader.shown("/notifications", limit="7", **cursor)
        seen += [item["notification_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == len(set(seen)) == 20


async def test_a_reader_sees_notifications_about_people_in_the_own_areas_only(notifications: Notifications):
    await notifications.told(planned(), enrolled("sari"), enrolled("dewi", 2, area_code=IN_LOMBOK_TIMUR))
    [theirs, *_] = await notifications.ledger(recipient_id="dewi")
    for areas, count in ((("52.01",), 2), (("52",), 4), (("52.0",), 0), (("52.71",), 0)):
        reader = notifications.caller("district", areas=areas)
        assert len((await reader.shown("/notifications"))["items"]) == count
        seen = await reader.get(f"/notifications/{theirs['notification_id']}")
        assert seen.status_code == (200 if areas == ("52",) else 404)


# --- Receipts ---------------------------------------------------------------------------------------------------------

KEY = read_secret(SECRET)


async def receipt(notifications: Notifications, body: bytes, **how: Any) -> int:
    headers = signed(how.get("secret", KEY), "receipt-1", int(how.get("at", time.time())), body)
    answer = await notifications.client.post("/receipts", content=body, headers=headers)
    for hidden in (NIK, PHONE):
        assert hidden not in answer.text
    return answer.status_code


def delivered(notification_id: str, at: str = "2024-07-01T01:06:00Z") -> bytes:
    return json.dumps({"notification_id": notification_id, "delivered_at": at}).encode()


@pytest.fixture
async def gated(bare: Notifications, tmp_path: Any) -> Any:
    """A service whose WhatsApp goes to a provider over HTTP."""
    (tmp_path / "gated").mkdir()
    async with notifications_at(
        bare.settings.database_url,
        tmp_path / "gated",
        sender_whatsapp="https://provider.entas.test/messages",
        sender_whatsapp_secret=SECRET,
    ) as made:
        await made.given(*defaults())
        yield made


async def test_a_providers_receipt_is_taken_once(gated: Notifications):
    await gated.told(nominated("sari"), planned(), enrolled("sari"))
    await gated.send_all(lanes(whatsapp=Recorded()))
    [sent] = await gated.ledger(status="sent")
    id_ = sent["notification_id"]
    for _ in range(3):
        assert await receipt(gated, delivered(id_)) == 204
    [row] = await gated.ledger(status="delivered")
    assert (row["notification_id"], row["delivered_at"]) == (id_, NOW + timedelta(minutes=1))
    assert (await gated.names(id_)).count("NotificationDelivered") == 1
    [waiting] = await gated.ledger(status="requested")
    assert await receipt(gated, delivered(waiting["notification_id"])) == 409
    assert await receipt(gated, delivered("unknown")) == 404


@pytest.mark.parametrize(
    ("body", "how", "status"),
    [
        (delivered("x"), {"secret": b"y" * 32}, 401),
        (delivered("x"), {"at": time.time() - 400}, 401),
        (delivered("x"), {"at": time.time() + 4000}, 401),
        (b"", {}, 422),
        (b"null", {}, 422),
        (b"\xff", {}, 422),
        (b"[" * 5000, {}, 422),
        (delivered("a/b"), {}, 422),
        (delivered("x" * 65), {}, 422),
        (delivered("x\x00"), {}, 422),
        (delivered("x", "yesterday"), {}, 422),
        (delivered("x", "2024-07-01T01:06:00"), {}, 422),
        (delivered("x", "0001-01-01T00:00:00+14:00"), {}, 422),
        (delivered("x", "9999-12-31T23:59:59-12:00"), {}, 422),
        (json.dumps({"notification_id": "x", "delivered_at": "2024-07-01T01:06:00Z", "to": NIK}).encode(), {}, 422),
        (json.dumps({"notification_id": NIK * 9, "delivered_at": PHONE}).encode(), {}, 422),
    ],
)
async def test_a_receipt_that_is_forged_old_or_nonsense_changes_nothing(
    gated: Notifications, body: bytes, how: dict[str, Any], status: int
):
    assert await receipt(gated, body, **how) == status


async def test_without_a_provider_over_http_nobody_can_report(notifications: Notifications):
    assert await receipt(notifications, delivered("x")) == 401
    assert (await notifications.client.post("/receipts", content=delivered("x"))).status_code == 401


# --- Hostile input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/notifications?participant=" + "x" * 65, None),
        ("GET", "/notifications?participant=a%00b", None),
        ("GET", "/notifications?recipient=staff:%27%20OR%201=1", None),
        ("GET", "/notifications?status=everything", None),
        ("GET", "/notifications?area=52.1", None),
        ("GET", "/notifications?limit=0", None),
        ("GET", "/notifications?cursor=bm9uc2Vuc2U", None),
        ("GET", "/notifications/a%00b", None),
        ("PUT", "/contacts/staff:", {"area_code": "52"}),
        ("PUT", "/contacts/sari%0d%0aX", {}),
        ("PUT", "/contacts/sari", {"opted_out": "maybe"}),
        ("PUT", "/contacts/sari", {"national_id": NIK}),
        ("PUT", "/contacts/sari", {"phone": NIK}),
        ("PUT", "/contacts/sari", {"name": "a\x00b"}),
        ("PUT", "/contacts/sari", {"name": "\ud800"}),
        ("PUT", "/contacts/sari", [1, 2]),
        ("POST", "/templates", {"template_id": "x", "text_id": "{" * 5000}),
        ("POST", "/rules", {"rule_id": NIK}),
    ],
)
async def test_hostile_input_is_refused_and_not_quoted(notifications: Notifications, method: str, path: str, body: Any):
    await notifications.told(nominated("sari"))
    headers = {"Authorization": f"Bearer {notifications.officer().bearer}", "Idempotency-Key": "hostile"}
    content = None if body is None else json.dumps(body).encode()
    answer = await notifications.client.request(
        method, path, content=content, headers=headers | {"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 404, 422), answer.text
    assert NIK not in answer.text


async def test_no_route_answers_without_a_token_but_receipts_and_health(notifications: Notifications):
    document = (await notifications.client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method in methods:
            url = path.replace("{notification_id}", "x").replace("{subject_id}", "x")
            answer = await notifications.client.request(method.upper(), url, json={})
            assert answer.status_code in (401, 422), (method, path)
            if path != "/receipts":
                assert answer.status_code == 401 or "idempotency" in answer.text.lower(), (method, path, answer.text)
