"""Training over HTTP: from the candidate pool to certificates, as officers, facilitators and auditors meet it."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.training import AttendanceStatus, DeliveryMode
from services.training.cohorts.state import beginning_of
from tests.training.conftest import Caller, Training
from tests.training.facts import (
    BASE,
    COHORT,
    COURSE,
    DAYS,
    IN_LOMBOK_TIMUR,
    LOMBOK_BARAT,
    MATARAM,
    OTHER_COHORT,
    OTHER_KECAMATAN,
    PROGRAMME,
    STARTS_AT,
    VILLAGE,
    attended,
    confirmed,
    defined,
    enrolled,
    known_people,
    opened,
    people,
    planned,
    quota,
    started,
    verified,
    waitlisted,
)

CLASS = ("ani", "budi", "citra")


async def set_up(officer: Caller, **more: Any) -> str:
    """Opens a programme with a course and plans a cohort of three, all over HTTP; gives the cohort's id."""
    programme = (await officer.done("/programmes", {"name": "P3KE 2024", "area_code": "52", "year": 2024}))[
        "programme_id"
    ]
    units = [{"unit_id": "U1", "title": "Pijat dasar", "critical": True}]
    course = await officer.done(
        f"/programmes/{programme}/courses", {"title": "Pijat", "lesson_hours": 30, "units": units}
    )
    wish = {
        "programme_id": programme,
        "course_id": course["course_id"],
        "number": "P3KE-2024-01",
        "capacity": 3,
        "delivery_mode": "classroom",
        "area_code": MATARAM,
        "venue": "UPTD Balatkop UKM NTB",
        "days": [day.isoformat() for day in DAYS],
    }
    return str((await officer.done("/cohorts", wish | more))["cohort_id"])


async def test_from_the_pool_to_certificates(training: Training):
    officer = training.officer()
    facilitator = training.caller("facilitator", subject="facilitator-7")
    await training.told(*people(ani=90, budi=80, citra=70, dewi=60, eka=50))
    cohort = await set_up(officer)
    pool = await officer.shown("/candidates")
    assert [line["participant_id"] for line in pool["items"]] == ["ani", "budi", "citra", "dewi", "eka"]
    assert pool["items"][0]["priority"]["parts"][0] == {
        "name": "poorest decile",
        "points": 90,
        "because": "welfare_decile is 1",
    }

    filled = await officer.done(f"/cohorts/{cohort}/enrol-by-priority", {"waitlist": 1})
    assert (filled["enrolled"], filled["waitlisted"], filled["confirm_by"]) == (3, 1, "2024-07-05")
    assert [c["participant_id"] for c in (await officer.shown("/candidates"))["items"]] == ["eka"]

    for person in ("ani", "budi"):
        await facilitator.done(f"/cohorts/{cohort}/participants/{person}/confirm")
    gone = await facilitator.done(
        f"/cohorts/{cohort}/participants/citra/withdraw", {"reason": "cannot_leave_children", "note": "Anak sakit"}
    )
    assert (gone["status"], gone["withdrawn_because"]) == ("withdrawn", "cannot_leave_children")
    await facilitator.done(f"/cohorts/{cohort}/participants/dewi/confirm")

    await training.timers_run(STARTS_AT)
    shown = await officer.shown(f"/cohorts/{cohort}")
    assert shown["status"] == "running"
    assert [(p["participant_id"], p["place"], p["status"]) for p in shown["participants"]] == [
        ("ani", 1, "confirmed"),
        ("budi", 2, "confirmed"),
        ("dewi", 3, "confirmed"),
        ("citra", 3, "withdrawn"),
    ]

    for n, day in enumerate(DAYS):
        await training.timers_run(beginning_of(day) + timedelta(hours=17))
        marks = {"ani": "present", "budi": "present" if n else "excused", "dewi": "absent" if n < 2 else "present"}
        sent = [{"participant_id": person, "status": status} for person, status in marks.items()]
        await facilitator.done(f"/cohorts/{cohort}/attendance", {"day": day.isoformat(), "marks": sent})
    tests = [{"participant_id": person, "score": 60} for person in ("ani", "budi", "dewi")]
    await facilitator.done(f"/cohorts/{cohort}/assessments", {"kind": "post_test", "results": tests})
    tries = [{"participant_id": p, "unit_id": "U1", "competent": p != "budi"} for p in ("ani", "budi", "dewi")]
    await facilitator.done(f"/cohorts/{cohort}/assessments", {"kind": "unit", "results": tries})
    over = await officer.done(f"/cohorts/{cohort}/complete")
    assert (over["status"], over["completed"], over["not_completed"]) == ("completed", 1, 2)

    results = {r["participant_id"]: r for r in await officer.shown(f"/cohorts/{cohort}/results")}
    assert results["ani"]["certificate_number"] == "P3KE/2024/01/0001"
    assert results["ani"]["letter_number"] == "SK.P3KE/2024/01/0001"
    assert (results["ani"]["rule_id"], results["ani"]["rule_version"]) == ("completion", 1)
    assert (results["budi"]["not_completed_because"], results["budi"]["letter_number"]) == (
        "not_competent",
        "SK.P3KE/2024/01/0002",
    )
    assert (results["dewi"]["not_completed_because"], results["dewi"]["letter_number"]) == ("attendance_too_low", None)
    sheet = await officer.shown(f"/cohorts/{cohort}/attendance")
    assert sheet["participants"][1]["attendance"]["2024-07-08"] == "excused"
    assert sheet["days_recorded"] == [day.isoformat() for day in DAYS]

    (funnel,) = await officer.shown("/figures/funnel")
    assert funnel == {
        "area_code": LOMBOK_BARAT,
        "name": "Kabupaten Lombok Barat",
        "enrolled": 4,
        "confirmed": 3,
        "waitlisted": 0,
        "withdrawn": 1,
        "withdrawn_by_reason": {"cannot_leave_children": 1},
        "completed": 1,
        "not_completed": 2,
    }
    (figures,) = (await officer.shown("/figures/cohorts"))["items"]
    assert (figures["attendance_rate"], figures["pass_rate"], figures["post_test_average"]) == (12 / 15, 1 / 3, 60.0)
    assert (figures["enrolled"], figures["withdrawn"], figures["confirmed"]) == (4, 1, 3)

    # Who completed is not in the pool again; who did not may try once more.
    assert [c["participant_id"] for c in (await officer.shown("/candidates"))["items"]] == [
        "budi",
        "citra",
        "dewi",
        "eka",
    ]
    assert (await training.names(cohort))[:8] == [
        "CohortPlanned",
        "ParticipantEnrolled",
        "ParticipantEnrolled",
        "ParticipantEnrolled",
        "ParticipantWaitlisted",
        "ParticipantConfirmed",
        "ParticipantConfirmed",
        "ParticipantWithdrawn",
    ]
    assert (await training.names(cohort))[-2:] == ["ParticipantNotCompleted", "CohortCompleted"]


# --- The list ---------------------------------------------------------------------------------------------------------


async def test_one_is_enrolled_by_choice_and_the_answer_says_what_to_wait_for(training: Training):
    await training.told(*people(ani=90))
    await training.given(opened(), defined(), planned())
    answer = await training.officer().post(f"/cohorts/{COHORT}/participants", {"participant_id": "ani"})
    assert (answer.status_code, answer.json()["place"], answer.headers["ETag"]) == (201, 1, '"2"')
    assert answer.headers["Stream-Version"] == f"training.cohorts/{COHORT}=2"


async def test_a_repeated_request_enrols_nobody_twice(training: Training):
    await training.told(*people(ani=90))
    await training.given(opened(), defined(), planned())
    wish, key = {"participant_id": "ani"}, {"Idempotency-Key": "the-same"}
    first = await training.officer().post(f"/cohorts/{COHORT}/participants", wish, **key)
    again = await training.officer().post(f"/cohorts/{COHORT}/participants", wish, **key)
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert await training.names(COHORT) == ["CohortPlanned", "ParticipantEnrolled"]


async def test_who_is_not_known_yet_is_refused_with_what_to_do(training: Training):
    await training.given(opened(), defined(), planned())
    answer = await training.officer().post(f"/cohorts/{COHORT}/participants", {"participant_id": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-candidate")
    assert "arrives within seconds" in answer.json()["remedy"]


async def test_a_list_that_changed_since_it_was_read_is_not_decided_on(training: Training):
    await training.told(*people(ani=90, budi=80))
    await training.given(opened(), defined(), planned(), enrolled("budi", 1))
    answer = await training.officer().post(f"/cohorts/{COHORT}/participants", {"participant_id": "ani"}, If_Match='"1"')
    assert (answer.status_code, answer.json()["code"]) == (412, "version-changed")


async def test_the_waitlist_and_its_order(training: Training):
    await training.told(*people(ani=10, budi=90))
    await training.given(opened(), defined(), planned(capacity=1), enrolled("x", 1))
    officer = training.officer()
    for person in ("ani", "budi"):
        await officer.done(f"/cohorts/{COHORT}/waitlist", {"participant_id": person})
    shown = await officer.shown(f"/cohorts/{COHORT}")
    assert [p["participant_id"] for p in shown["participants"]] == ["x", "budi", "ani"]
    await officer.done(f"/cohorts/{COHORT}/participants/x/withdraw", {"reason": "work"})
    shown = await officer.shown(f"/cohorts/{COHORT}")
    assert [(p["participant_id"], p["replaces"]) for p in shown["participants"]][:1] == [("budi", "x")]


async def test_who_cannot_leave_home_is_chosen_for_a_class_on_site_only(training: Training):
    await training.told(*known_people(verified("ani", 90, can_leave_home=False), verified("budi", 10)))
    on_site = planned(
        OTHER_COHORT,
        number="P3KE-2024-02",
        delivery_mode=DeliveryMode.ON_SITE,
        area_code=VILLAGE,
        days=tuple(day + timedelta(days=7) for day in DAYS),
    )
    await training.given(opened(), defined(), planned(), on_site)
    officer = training.officer()
    assert (await officer.done(f"/cohorts/{COHORT}/enrol-by-priority", {}))["enrolled"] == 1
    assert (await officer.done(f"/cohorts/{OTHER_COHORT}/enrol-by-priority", {}))["enrolled"] == 1
    lists = {c: (await officer.shown(f"/cohorts/{c}"))["participants"] for c in (COHORT, OTHER_COHORT)}
    assert [lists[c][0]["participant_id"] for c in (COHORT, OTHER_COHORT)] == ["budi", "ani"]


async def test_a_class_on_site_takes_people_of_its_kecamatan_unless_an_area_is_named(training: Training):
    await training.told(*known_people(verified("ani", 90, area_code=OTHER_KECAMATAN), verified("budi", 10)))
    await training.given(opened(), defined(), planned(delivery_mode=DeliveryMode.ON_SITE, area_code=VILLAGE))
    officer = training.officer()
    assert (await officer.done(f"/cohorts/{COHORT}/enrol-by-priority", {}))["enrolled"] == 1
    assert (await officer.done(f"/cohorts/{COHORT}/enrol-by-priority", {"area_code": LOMBOK_BARAT}))["enrolled"] == 2
    answer = await officer.post(f"/cohorts/{COHORT}/enrol-by-priority", {"area_code": "52.99"})
    assert answer.json()["code"] == "unknown-area"


async def test_enrolling_by_priority_leaves_alone_who_is_on_a_list_or_completed_a_course(training: Training):
    later = planned(OTHER_COHORT, number="P3KE-2024-02", days=tuple(day + timedelta(days=7) for day in DAYS))
    await training.told(*people(ani=90, budi=80))
    await training.given(opened(), defined(), planned(), later, enrolled("ani", 1))
    await training.officer().done(f"/cohorts/{OTHER_COHORT}/enrol-by-priority", {"waitlist": 5})
    shown = await training.officer().shown(f"/cohorts/{OTHER_COHORT}")
    assert [p["participant_id"] for p in shown["participants"]] == ["budi"]


async def test_quotas_hold_over_all_cohorts_of_a_programme(training: Training):
    later = planned(OTHER_COHORT, number="P3KE-2024-02", days=tuple(day + timedelta(days=7) for day in DAYS))
    east = [verified(f"t{n}", 10 + n, area_code=IN_LOMBOK_TIMUR) for n in range(3)]
    await training.told(*people(ani=90, budi=80, citra=70, dewi=60), *known_people(*east))
    await training.given(opened(), defined(), planned(), later, quota(LOMBOK_BARAT, 2))
    officer = training.officer()
    for cohort, expected in ((COHORT, ["ani", "budi", "t2"]), (OTHER_COHORT, ["t1", "t0"])):
        await officer.done(f"/cohorts/{cohort}/enrol-by-priority", {})
        shown = await officer.shown(f"/cohorts/{cohort}")
        assert [p["participant_id"] for p in shown["participants"]] == expected
    answer = await officer.post(f"/cohorts/{OTHER_COHORT}/participants", {"participant_id": "citra"})
    assert answer.json()["code"] == "quota-full"
    answer = await officer.post(f"/programmes/{PROGRAMME}/quotas", {"area_code": LOMBOK_BARAT, "places": 1})
    assert answer.json()["code"] == "quota-below-use"
    programme = await officer.shown(f"/programmes/{PROGRAMME}")
    assert programme["quotas"] == [{"area_code": LOMBOK_BARAT, "places": 2, "taken": 2}]
    assert [unit["unit_id"] for unit in programme["courses"][0]["units"]] == ["U1", "U2", "U3"]


async def test_two_cohorts_do_not_bear_one_number(training: Training):
    officer = training.officer()
    await set_up(officer)
    with pytest.raises(AssertionError, match="number-taken"):
        await set_up(officer)


async def test_a_closed_programme_plans_no_cohort(training: Training):
    await training.given(opened(), defined())
    officer = training.officer()
    assert (await officer.done(f"/programmes/{PROGRAMME}/close"))["status"] == "closed"
    wish = {
        "programme_id": PROGRAMME,
        "course_id": COURSE,
        "number": "X-1",
        "capacity": 1,
        "delivery_mode": "classroom",
        "area_code": MATARAM,
        "venue": "Balatkop",
        "days": ["2024-07-08"],
    }
    assert (await officer.post("/cohorts", wish)).json()["code"] == "programme-closed"


async def test_a_cancelled_cohort_leaves_its_people_in_the_pool(training: Training):
    await training.told(*people(ani=90))
    await training.given(opened(), defined(), planned(), enrolled("ani", 1))
    officer = training.officer()
    assert (await officer.shown("/candidates"))["items"] == []
    cancelled = await officer.done(f"/cohorts/{COHORT}/cancel", {"because": "budget"})
    assert (cancelled["status"], cancelled["cancelled_because"]) == ("cancelled", "budget")
    assert [c["participant_id"] for c in (await officer.shown("/candidates"))["items"]] == ["ani"]


async def test_a_cohort_is_started_by_hand_on_its_first_day_at_the_earliest(training: Training):
    await training.told(*people(ani=90))
    await training.given(opened(), defined(), planned(), enrolled("ani", 1), confirmed("ani"))
    answer = await training.officer().post(f"/cohorts/{COHORT}/start")
    assert answer.json()["code"] == "before-first-day"


async def test_a_wrong_mark_is_corrected(training: Training):
    marks = dict.fromkeys(CLASS, AttendanceStatus.PRESENT)
    await training.given(*BASE[:2], BASE[-1], *(enrolled(p, n) for n, p in enumerate(CLASS, 1)))
    await training.given(*(confirmed(p) for p in CLASS), started(), attended(DAYS[0], marks))
    facilitator = training.caller("facilitator")
    wish = {"day": "2024-07-08", "participant_id": "budi", "status": "absent", "because": "entry_error"}
    await facilitator.done(f"/cohorts/{COHORT}/attendance/corrections", wish)
    sheet = await facilitator.shown(f"/cohorts/{COHORT}/attendance")
    assert [(p["days_present"], p["days_absent"]) for p in sheet["participants"]] == [(1, 0), (0, 1), (1, 0)]
    answer = await facilitator.post(f"/cohorts/{COHORT}/attendance", {"day": "2024-07-08", "marks": []})
    assert answer.json()["code"] in ("attendance-recorded-already", "day-to-come")


async def test_a_cohort_is_not_completed_without_a_rule(training: Training):
    await training.pool.execute("DELETE FROM rule")
    await training.given(opened(), defined(), planned(), enrolled("ani", 1), confirmed("ani"), started())
    answer = await training.officer().post(f"/cohorts/{COHORT}/complete")
    assert (answer.status_code, answer.json()["code"]) == (409, "no-completion-rule")


# --- Who may do and see what ------------------------------------------------------------------------------------------


async def test_names_are_shown_to_who_may_see_them_and_each_look_is_in_the_read_log(training: Training):
    await training.told(*people(ani=90), *known_people(verified("tuti", area_code=IN_LOMBOK_TIMUR)))
    await training.given(
        opened(), defined(), planned(), enrolled("ani", 1), enrolled("tuti", 2, area_code=IN_LOMBOK_TIMUR)
    )
    district = training.caller("district", areas=[LOMBOK_BARAT], subject="district-1")
    (line,) = await district.shown(f"/cohorts/{COHORT}/roster")
    assert (line["place"], line["name"], line["phone"]) == (1, "Ibu ani", "+6281200000000")
    (look,) = await training.table("read_log")
    assert (look["subject_id"], look["reader"], look["purpose"]) == ("ani", "district-1", "roster")
    assert "name" in look["fields"]
    answer = await training.caller("auditor").get(f"/cohorts/{COHORT}/roster")
    assert answer.status_code == 403


async def test_an_erased_person_is_on_the_roster_without_a_name(training: Training):
    await training.told(*people(ani=90))
    await training.given(opened(), defined(), planned(), enrolled("ani", 1))
    training.authority.erased.add("ani")
    (line,) = await training.officer().shown(f"/cohorts/{COHORT}/roster")
    assert (line["place"], line["name"]) == (1, None)


async def test_nobody_acts_outside_their_areas(training: Training):
    await training.told(*people(ani=90))
    await training.given(opened(), defined(), planned(), enrolled("ani", 1))
    elsewhere = training.officer("52.03")
    for path, body in (
        (f"/cohorts/{COHORT}/participants", {"participant_id": "ani"}),
        (f"/cohorts/{COHORT}/enrol-by-priority", {}),
        (f"/cohorts/{COHORT}/cancel", {"because": "budget"}),
        (f"/cohorts/{COHORT}/complete", None),
        (f"/cohorts/{COHORT}/participants/ani/confirm", None),
        (f"/cohorts/{COHORT}/participants/ani/withdraw", {"reason": "work"}),
        (f"/programmes/{PROGRAMME}/close", None),
        ("/programmes", {"name": "x", "area_code": "52", "year": 2024}),
        ("/rules", {"kind": "confirmation", "definition": {"days_before_start": 1}, "source": "x"}),
    ):
        assert (await elsewhere.post(path, body)).status_code == 403, path
    assert await training.names(COHORT) == ["CohortPlanned", "ParticipantEnrolled"]


async def test_a_facilitator_neither_plans_nor_enrols(training: Training):
    facilitator = training.caller("facilitator")
    for path in ("/programmes", "/cohorts", f"/cohorts/{COHORT}/participants", f"/cohorts/{COHORT}/complete"):
        assert (await facilitator.post(path, {})).status_code == 403, path


async def test_a_cohort_is_seen_by_all_and_its_list_by_the_areas_where_people_live(training: Training):
    await training.given(
        opened(), defined(), planned(), enrolled("ani", 1), enrolled("tuti", 2, area_code=IN_LOMBOK_TIMUR)
    )
    seen = await training.caller("district", areas=[LOMBOK_BARAT]).shown(f"/cohorts/{COHORT}")
    assert (seen["venue"], [p["participant_id"] for p in seen["participants"]]) == ("UPTD Balatkop UKM NTB", ["ani"])


async def test_what_is_not_there_is_not_found(training: Training):
    officer = training.officer()
    for path in ("/cohorts/x", "/cohorts/x/roster", "/cohorts/x/attendance", "/cohorts/x/results", "/programmes/x"):
        assert (await officer.get(path)).status_code == 404, path
    for path in ("start", "complete", "enrol-by-priority", "participants/ani/confirm"):
        assert (await officer.post(f"/cohorts/x/{path}", {})).status_code == 404, path


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/candidates", {"area": "52.1"}),
        ("/candidates", {"area": "52'--"}),
        ("/demand", {"by": "street"}),
        ("/cohorts", {"status": "asleep"}),
        ("/cohorts/a%00b", {}),
    ],
)
async def test_nonsense_is_refused_by_field(training: Training, path: str, parameters: dict[str, str]):
    answer = await training.officer().get(path, **parameters)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


async def test_the_waitlist_of_people_in_line_follows_a_withdrawal_over_http(training: Training):
    await training.told(*people(ani=90, budi=80))
    await training.given(opened(), defined(), planned(capacity=1), enrolled("ani", 1), waitlisted("budi", 80))
    await training.caller("district", areas=[LOMBOK_BARAT]).done(
        f"/cohorts/{COHORT}/participants/ani/withdraw", {"reason": "illness"}
    )
    assert (await training.names(COHORT))[-2:] == ["ParticipantWithdrawn", "ParticipantReplaced"]
    _, last = (await training.facts(COHORT))[-1]
    assert (last["participant_id"], last["replaces"], last["confirm_by"]) == ("budi", "ani", "2024-07-07")
