"""The programme from its list file to completed cohorts, chapter by chapter: the script of the journey's first half."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.demo.lists import (
    Changes,
    Defect,
    Defects,
    ListSize,
    Planted,
    SecondSummary,
    Summary,
    second_list,
    write_list,
)
from tests.journeys.oracle.lists import TargetingList, read_list
from tests.journeys.programme import COMPLETION, CONFIRMATION, PRIORITY, VERIFICATION, Bad, Programme
from tests.support.world import NOTIFICATIONS, REGISTRY, TRAINING

SIZE = ListSize("journey", households=200, people=932, villages_per_kabupaten=1)
SEED = 7
FIRST, SECOND = date(2024, 4, 1), date(2024, 7, 1)
PLANTED = Defects(
    bad_code=2, bad_decile=2, bad_nik=2, broken_row=2, nik_disagrees=2, disagreeing_family=2, duplicate_family=2,
    repeated_family=1,
)  # fmt: skip
CHANGES = Changes(rank_changed=30, delisted=9, added=5, renumbered=4)


NOTE = "Catatan kunjungan rahasia"
PHONE = "+62812555"
CONTACTS = ("Lalu Pendamping", "Inaq Sahnun", "sahnun@contoh.id")


def template(template_id: str, id_: str, en: str) -> dict[str, str]:
    """With the text's first words as its subject."""
    texts = {"subject_id": id_, "subject_en": en, "text_id": id_, "text_en": en}
    return {"template_id": template_id} | {
        name: text.split(" (")[0] if name.startswith("subject") else text for name, text in texts.items()
    }


def rule(rule_id: str, fact: str, template_id: str, *, to: str = "participant", **said: Any) -> dict[str, Any]:
    return {
        "rule_id": rule_id,
        "fact": fact,
        "recipient": to,
        "template_id": template_id,
        "channels": ["whatsapp", "sms", "email"],
        "quiet_from": "20:00",
        "quiet_until": "07:00",
        "remind_days_before": None,
        "tell_within_hours": 48,
        "active": True,
        "source": "project default",
    } | said


TEMPLATES = (
    template(
        "place",
        "{name}, ada tempat untuk Anda di {course} (angkatan {cohort}, {venue}, mulai {starts_on}). Kabari kami sampai "
        "{confirm_by}.",
        "{name}, there is a place for you in {course} (cohort {cohort}, {venue}, from {starts_on}). Tell us by "
        "{confirm_by}.",
    ),
    template(
        "begins",
        "{name}, {course} (di {venue}) mulai {starts_on}.",
        "{name}, {course} (at {venue}) begins on {starts_on}.",
    ),
    template(
        "completed",
        "{name} lulus {course} (hadir {attendance_percent} persen).",
        "{name} has completed {course} (attended {attendance_percent} per cent).",
    ),
    template(
        "visit", "{name}: kunjungi {participant} (sampai {due_on}).", "{name}: visit {participant} (by {due_on})."
    ),
    template(
        "follow-up",
        "{name}: kunjungi {participant} lagi (bulan ke-{follow_up}, sampai {visit_by}).",
        "{name}: visit {participant} again (month {follow_up}, by {visit_by}).",
    ),
    template(
        "visited-soon",
        "{name}, pendamping akan datang (sampai {visit_by}).",
        "{name}, your facilitator will come (by {visit_by}).",
    ),
)
RULES = (
    rule("place", "training.ParticipantEnrolled", "place"),
    rule("place-after-all", "training.ParticipantReplaced", "place"),
    rule("early", "training.ParticipantEnrolled", "begins", remind_days_before=5, channels=["sms"]),
    rule("begins", "training.ParticipantEnrolled", "begins", remind_days_before=2),
    rule("begins-after-all", "training.ParticipantReplaced", "begins", remind_days_before=2),
    rule("completed", "training.ParticipantCompleted", "completed", tell_within_hours=168),
    rule("visit", "registry.VerificationAssigned", "visit", to="facilitator"),
    rule("follow-up", "outcomes.FollowUpDue", "follow-up", to="facilitator", tell_within_hours=168),
    rule("visited-soon", "outcomes.FollowUpDue", "visited-soon", channels=["sms", "whatsapp"]),
)  # fmt: skip


def wita(month: int, day: int, hour: int = 9, *, year: int = 2024) -> datetime:
    """A moment by the clocks of Nusa Tenggara."""
    return datetime(year, month, day, hour, tzinfo=UTC) - timedelta(hours=8)


# --- What happens, chapter by chapter ---------------------------------------------------------------------------------


def the_list_comes_in(programme: Programme, first: TargetingList) -> None:
    programme.adopt(REGISTRY, "priority", PRIORITY)
    programme.adopt(REGISTRY, "verification", VERIFICATION)
    rehearsed = programme.send_list(first, dry_run=True)
    assert (rehearsed["snapshot"], rehearsed["people"]) == (None, first.people)
    received = programme.take_in(first)
    assert received["rows_rejected"] == first.rows - first.people
    assert programme.send_list(first)["received_before"]


EARLY, USUAL, LATE = wita(2, 5), wita(4, 8), wita(4, 22)
"""When doors were knocked at: what was seen then holds until 4 June, 6 August and 20 August."""


def facilitators_visit(programme: Programme) -> None:
    adults = adults_in_order(programme)[::4]
    programme.until(wita(4, 5))
    for facilitator, people in by_facilitator(programme, adults).items():
        programme.assign(people, facilitator, date(2024, 4, 30))
    programme.until(wita(4, 24))
    theirs = visit_to(by_facilitator(programme, adults)["facilitator:52.03"][3], 5)
    refused = programme.world.caller(REGISTRY, "facilitator").tell("/visits", {"visits": [theirs]})
    assert refused["outcomes"][0]["problem"]["code"] == "another-facilitator"
    visited = {person: number for number, person in enumerate(adults) if number % 12 != 3}
    for facilitator, people in by_facilitator(programme, list(visited)).items():
        visits = [visit for person in people for visit in visits_to(person, visited[person])]
        # Devices were offline: the latest visits are sent first, some from before after them, and half of all twice.
        visits.sort(key=lambda visit: str(visit["captured_at"]), reverse=True)
        behind = [visit for visit in visits if visit["visit_id"] in (f"knock-{number}" for number in range(4, 999, 24))]
        programme.visit([visit for visit in visits if visit not in behind], facilitator)
        if behind:
            programme.visit(behind, facilitator)
        programme.visit(visits[: len(visits) // 2], facilitator)
    programme.until(wita(4, 25))
    ready = {person: number for person, number in visited.items() if number % 12 > 3}
    programme.verify(list(ready))
    officer = programme.officer(REGISTRY)
    others = {person: number for person, number in visited.items() if person not in ready}
    assert officer.tell("/verifications", {"participant_ids": list(others)})["refused"] == len(others)
    for person, number in others.items():
        programme.reject(person, ("moved", "address_not_found", "not_willing")[number % 12], settle=False)
    late = [person for number, person in enumerate(adults) if number % 12 == 3]
    programme.assign(late[:2], "facilitator", date(2024, 5, 31))


def visits_to(person: str, number: int) -> list[dict[str, Any]]:
    """Most were met at once, one in twelve at the second knock, and some not at all."""
    kind, last = number % 12, visit_to(person, number)
    if kind == 4:
        earlier = datetime.fromisoformat(last["captured_at"]) - timedelta(days=3)
        knock = {"visit_id": f"knock-{number}", "finding": "person_not_found", "captured_at": earlier.isoformat()}
        return [last | knock, last]
    findings = {0: "moved", 1: "address_not_found"}
    return [last | {"finding": findings.get(kind, "matched"), "willing": kind != 2}]


def visit_to(person: str, number: int) -> dict[str, Any]:
    met_on = EARLY if number % 11 == 5 else USUAL if number % 7 == 1 else LATE
    visit: dict[str, Any] = {
        "participant_id": person,
        "visit_id": f"visit-{number}",
        "captured_at": (met_on + timedelta(hours=number % 3)).isoformat(),
        "finding": "matched",
        "willing": True,
        "can_leave_home": number % 5 != 0,
        "reachable": number % 3 != 0,
        "situation_changed": number % 8 == 6,
    }
    if number % 4 == 1:
        visit["conditions"] = {"latrine": "Lainnya", "drinking_water": "Air Hujan", "stunting_risk": number % 8 == 1}
    if number % 3 == 1:
        visit |= {"notes": f"{NOTE} {number}", "phone": f"{PHONE}{number:04}"}
    return visit


def messages_are_agreed_on(programme: Programme) -> None:
    """From now on people are told. Whoever was sent to somebody's door before is not told of it any more."""
    programme.until(wita(4, 26))
    for template in TEMPLATES:
        programme.adopt_template(template)
    for rule in RULES:
        programme.adopt_notification_rule(rule)
    officer = programme.officer(NOTIFICATIONS)
    assert officer.refused("/rules", RULES[0] | {"rule_id": "lists", "fact": "registry.HouseholdListed"}) == "bulk-fact"
    number = "NIK Anda 5270 0141 0780 0000"
    assert officer.refused("/templates", TEMPLATES[0] | {"text_id": number, "text_en": number}) == "template-unfit"
    facilitator, phone = CONTACTS[0], f"{PHONE}99001"
    programme.change_contact("staff:facilitator", name=facilitator, phone=phone, area_code="52", language="en")


def the_civil_registry_tells(programme: Programme, to_be_renumbered: str) -> None:
    programme.until(wita(5, 2))
    people = programme.oracle.registry
    nik = people.national_ids
    verified = [person for person, row in people.participants.items() if row["status"] == "verified" and nik[person]]
    for number, person in enumerate(verified[:8]):
        programme.dukcapil("IdentityMatched", nik[person], f"match-{number}", matched=number % 3 != 0)
    programme.dukcapil("DeathRecorded", nik[verified[8]], "death-1", died_on="2024-04-30")
    programme.dukcapil("DeathRecorded", nik[verified[8]], "death-1-again", died_on="2024-04-30")
    child = next(who for (_, who), row in people.members.items() if not row["adult"] and nik[who])
    programme.dukcapil("DeathRecorded", nik[child], "death-2", died_on="2024-05-01")
    alone = next(row for row in people.households.values() if row["people"] == 1 and nik[row["head_person_id"]])
    programme.dukcapil("DeathRecorded", nik[alone["head_person_id"]], "death-3", died_on="2024-05-01")
    heads = [person for person in verified if people.households[people.home_of[person]]["head_person_id"] == person]
    programme.dukcapil("HouseholdMoved", nik[heads[-1]], "move-1", to_area_code="5201012002", moved_on="2024-04-20")
    programme.dukcapil("HouseholdMoved", nik[heads[-2]], "move-2", to_area_code="32.73.01.1001", moved_on="2024-04-21")
    mover = people.households[people.family_of["P3KE", to_be_renumbered]]["head_person_id"]
    programme.dukcapil("HouseholdMoved", nik[mover], "move-3", to_area_code="52.72.01.1001", moved_on="2024-04-22")
    # What cannot be taken in: unknown people, two who bear one number, and messages that are none.
    twins = duplicated_heads(programme)
    programme.dukcapil("IdentityMatched", twins, "two-bear-it", matched=True)
    programme.dukcapil("DeathRecorded", "5270000101700000", "nobody", died_on="2024-05-01")
    programme.dukcapil("HouseholdMoved", nik[child], "no-head", to_area_code="52.01.01.2002", moved_on="2024-04-20")
    death, known = "entas.partners.DeathRecorded.v1", json.dumps({"national_id": nik[verified[1]]}).encode()
    programme.publish_what_cannot_be_taken(
        [
            Bad(death, known, "no-day", ["died_on"]),
            Bad(death, b"{", "broken", ["value"]),
            Bad(death, known, nik[verified[1]], ["ce_id"], known_id=False),
            Bad("entas.partners.Birth.v1", known, "a-birth", ["ce_type"], known_type=False),
            Bad(death, known, "not-theirs", ["ce_source"], headers={"ce_source": "urn:bappeda"}),
        ]
    )


def verifications_age(programme: Programme) -> None:
    """Those who were visited in February are to be visited again; half of them are."""
    programme.until(wita(6, 10))
    expired = [who for who, row in programme.oracle.registry.participants.items() if row["status"] == "expired"]
    assert len(expired) > 3
    again = expired[: len(expired) // 2]
    programme.assign(again, "facilitator", date(2024, 6, 20))
    programme.until(wita(6, 15))
    found = {"captured_at": wita(6, 14).isoformat(), "finding": "matched"}
    programme.visit(
        [visit_to(who, 6) | found | {"visit_id": f"again-{n}"} for n, who in enumerate(again)], "facilitator"
    )
    programme.verify(again)
    # One person's name was misspelt, another wants to be forgotten.
    officer, (misspelt, forgotten) = programme.officer(REGISTRY), again[:2]
    officer.tell(f"/people/{misspelt}/corrections", {"name": "Sahnun Corrected"})
    programme.oracle.registry.corrected(misspelt, "Sahnun Corrected")
    programme.erase(forgotten)


def the_second_list_comes_in(programme: Programme, second: TargetingList) -> None:
    programme.until(wita(7, 2))
    received = programme.take_in(second)
    applied = programme.oracle.registry.snapshots[received["snapshot"]["snapshot_id"]]
    assert applied["unresolved"] == 2, "the third family of twins, and the household whose only member has died"
    assert min(applied["rank_changed"], applied["delisted"], applied["listed"], applied["unchanged"]) > 3
    programme.until(wita(7, 5))
    newer = {"parts": [*PRIORITY["parts"], {"name": "women", "when": {"sex": ["female"]}, "points": 2}]}
    programme.adopt(REGISTRY, "priority", newer, "SK Kepala Balatkop 19/2024")
    programme.world.settle()


# --- Classes ----------------------------------------------------------------------------------------------------------

DAYS = [date(2024, 8, 12) + timedelta(days=n) for n in range(5)]


def classes_are_planned_and_filled(programme: Programme) -> tuple[str, str, str]:
    programme.until(wita(7, 8))
    programme.adopt(TRAINING, "completion", COMPLETION, "Permenaker 6/2025, art. 33 (the model)")
    programme.adopt(TRAINING, "confirmation", CONFIRMATION, "project default")
    people_say_how_they_want_to_be_told(programme)
    opened = programme.open_programme("Kecakapan hidup P3KE", "52", 2024)
    course = programme.define_course(
        opened,
        {
            "title": "Pijat dan kerajinan",
            "lesson_hours": 30,
            "units": [
                {"unit_id": "U1", "title": "Melayani tamu", "critical": True},
                {"unit_id": "U2", "title": "Menghitung harga", "critical": True},
                {"unit_id": "U3", "title": "Berjualan daring", "critical": False},
            ],
        },
    )
    programme.set_quota(opened, "52.03", 9)
    plan = {"programme_id": opened, "course_id": course, "days": [day.isoformat() for day in DAYS]}
    village = most_frequent_village(programme)
    on_site = plan | {"number": "P3KE-2024-02", "capacity": 5, "delivery_mode": "on_site", "venue": "Balai Desa"}
    classroom = plan | {
        "number": "P3KE-2024-01",
        "delivery_mode": "classroom",
        "area_code": "52.71",
        "venue": "Balatkop",
    }
    big = programme.plan_cohort(classroom | {"capacity": 30})
    small = programme.plan_cohort(on_site | {"area_code": village, "confirm_by": "2024-08-08"})
    spare = programme.plan_cohort(classroom | {"number": "P3KE-2024-03", "capacity": 2})
    officer = programme.officer(TRAINING)
    assert officer.refused("/cohorts", classroom | {"capacity": 5}) == "number-taken"
    programme.until(wita(7, 9))
    # Verified, but not until the class begins: an officer may place them, and hope that they are visited again. One for
    # each instant at which verifications expire: of places that open at once nobody can say which is filled first.
    starts = datetime(2024, 8, 11, 16, tzinfo=UTC)
    training = programme.oracle.training
    ageing = {
        programme.oracle.registry.standings[person]["expires_at"]: person
        for person in training.pool(programme.world.now)
        if person not in training.pool(starts) and can_leave(programme, person)
    }
    assert len(ageing) == 3
    for person in ageing.values():
        programme.enrol(big, person)
    programme.enrol_by_priority(small, waitlist=3)
    programme.enrol_by_priority(big, waitlist=6)
    left = [person for person in training.pool(starts) if can_leave(programme, person)]
    full_quota = [person for person in left if lives_in(programme, person, "52.03")]
    assert officer.refused(f"/cohorts/{spare}/participants", {"participant_id": full_quota[0]}) == "quota-full"
    left = [person for person in left if person not in full_quota]
    for person in left[:2]:
        programme.enrol(spare, person)
    assert officer.refused(f"/cohorts/{spare}/participants", {"participant_id": left[2]}) == "cohort-full"
    programme.waitlist(spare, left[2])
    placed = next(who for (cohort, who), row in training.enrolments.items() if cohort == big and row["place"] == 9)
    assert officer.refused(f"/cohorts/{spare}/waitlist", {"participant_id": placed}) == "overlapping-cohort"
    return big, small, spare


def people_say_how_they_want_to_be_told(programme: Programme) -> None:
    """Those who are first in line: they will have a place."""
    starts = datetime(2024, 8, 11, 16, tzinfo=UTC)
    first = [person for person in programme.oracle.training.pool(starts) if can_leave(programme, person)]
    programme.change_contact(first[0], opted_out=True)
    programme.change_contact(first[1], language="en", channels=["email", "sms"], email=CONTACTS[2])
    programme.change_contact(first[2], language="en", phone=f"{PHONE}99002", channels=["sms"])
    programme.change_contact(first[3], phone=f"{PHONE}99003", name=CONTACTS[1])
    for number, person in enumerate(first[4:16]):
        programme.change_contact(person, phone=f"{PHONE}991{number:02}")


def places_are_given_up_and_taken(programme: Programme, big: str, small: str, spare: str) -> None:
    programme.until(wita(7, 20))
    placed = in_place_order(programme, big)
    for number, person in enumerate(placed):
        if number not in (4, 11, 12):
            programme.confirm(big, person)
    for person in in_place_order(programme, small)[1:]:
        programme.confirm(small, person)
    programme.withdraw(big, placed[7], "cannot_leave_children", f"{NOTE} anak tiga")
    programme.withdraw(big, placed[11], "illness")
    programme.withdraw(small, in_place_order(programme, small)[1], "work")
    programme.cancel(spare, "too_few_participants")
    # The registry no longer vouches for one, and one dies: their places go to the next in line.
    programme.reject(placed[14], "not_eligible")
    nik = programme.oracle.registry.national_ids
    dies = next(person for person in placed[16:] if nik[person])
    programme.dukcapil("DeathRecorded", nik[dies], "death-4", died_on="2024-07-19")
    programme.adopt_notification_rule(next(rule for rule in RULES if rule["rule_id"] == "early") | {"active": False})
    # 6 August: verifications of April are over. 9 August: who has not confirmed loses the place.
    programme.until(wita(8, 7))
    for person in in_place_order(programme, big, "enrolled")[:-2]:
        if person not in (placed[4], placed[12]):
            programme.confirm(big, person)
    programme.until(wita(8, 10))
    for cohort in (big, small):
        for person in in_place_order(programme, cohort, "enrolled")[1:]:
            programme.confirm(cohort, person)


def classes_are_held(programme: Programme, big: str, small: str, _spare: str) -> None:
    for number, day in enumerate(DAYS):
        programme.until(wita(day.month, day.day, 17))
        for cohort in (big, small):
            people = in_place_order(programme, cohort)
            programme.record_attendance(
                cohort, day, {person: attends(seat, number) for seat, person in enumerate(people)}
            )
            if number == 0:
                scores = [{"participant_id": person, "score": 30 + seat} for seat, person in enumerate(people)]
                programme.assess(cohort, "pre_test", scores)
    programme.correct_attendance(big, DAYS[1], in_place_order(programme, big)[2], "present")
    for cohort in (big, small):
        people = in_place_order(programme, cohort)
        scores = [{"participant_id": person, "score": 60 + seat} for seat, person in enumerate(people)]
        programme.assess(cohort, "post_test", scores)
        for attempt in range(3):
            results = [
                {"participant_id": person, "unit_id": unit, "competent": succeeds(seat, unit) <= attempt}
                for seat, person in enumerate(people)
                for unit in ("U1", "U2", "U3")
                if succeeds(seat, unit) >= attempt
            ]
            programme.assess(cohort, "unit", results)
    stubborn = {"participant_id": in_place_order(programme, big)[5], "unit_id": "U2", "competent": True}
    fourth = {"kind": "unit", "results": [stubborn]}
    assert programme.world.caller(TRAINING, "facilitator").refused(f"/cohorts/{big}/assessments", fourth) == "results"
    programme.until(wita(8, 17))
    for cohort in (big, small):
        programme.complete(cohort)
    programme.world.settle()


def attends(seat: int, day: int) -> str:
    """Seats 2 and 8 miss two days, though seat 2 brings a proof for one of them later."""
    if seat in (2, 8) and day in (1, 3):
        return "absent"
    return "excused" if (seat, day) == (6, 2) else "present"


def succeeds(seat: int, unit: str) -> int:
    """At which attempt, counted from 0; seat 5 never in U2, and seat 3 never in U3, which nobody needs."""
    if (seat, unit) in ((5, "U2"), (3, "U3")):
        return 9
    return 1 if seat % 4 == 1 else 0


# --- Who is chosen for what -------------------------------------------------------------------------------------------


def adults_in_order(programme: Programme) -> list[str]:
    """Household by household as the list has them, the head first."""
    registry = programme.oracle.registry
    rows = [
        (registry.households[home]["file_row"], not row["head"], who) for (home, who), row in registry.members.items()
    ]
    return [who for _, _, who in sorted(rows) if registry.members[registry.home_of[who], who]["adult"]]


def by_facilitator(programme: Programme, people: list[str]) -> dict[str, list[str]]:
    """Lombok Timur has a facilitator of its own."""
    registry = programme.oracle.registry
    homes = {person: registry.households[registry.home_of[person]] for person in people}
    there = [person for person in people if homes[person]["area_code"][:5] == "52.03"]
    return {"facilitator": [p for p in people if p not in there], "facilitator:52.03": there}


def duplicated_heads(programme: Programme) -> str:
    """A NIK that the heads of two listed households bear."""
    niks = [nik for nik in programme.oracle.registry.national_ids.values() if nik]
    return next(nik for nik in niks if niks.count(nik) > 1)


def most_frequent_village(programme: Programme) -> str:
    """Where most could come to a class on site."""
    training, participants = programme.oracle.training, programme.oracle.registry.participants
    homes = [participants[person]["area_code"] for person in training.pool(programme.world.now)]
    return str(max(sorted(homes), key=homes.count))


def can_leave(programme: Programme, person: str) -> bool:
    return bool(programme.oracle.registry.standings[person]["can_leave_home"])


def lives_in(programme: Programme, person: str, kabupaten: str) -> bool:
    return bool(programme.oracle.registry.participants[person]["area_code"][:5] == kabupaten)


def in_place_order(programme: Programme, cohort_id: str, *statuses: str) -> list[str]:
    rows = [row for (cohort, _), row in programme.oracle.training.enrolments.items() if cohort == cohort_id]
    placed = [row for row in rows if row["status"] in (statuses or ("enrolled", "confirmed"))]
    return [row["participant_id"] for row in sorted(placed, key=lambda row: row["place"])]


# --- The lists --------------------------------------------------------------------------------------------------------


def the_lists(folder: Path) -> tuple[TargetingList, TargetingList, str]:
    """The first, the second, and the id of a family that the second calls otherwise."""
    summary = write_first_list(folder / "p3ke-2024-04.csv")
    first = read_list(
        summary.path,
        "P3KE",
        FIRST,
        ["52"],
        bad_rows=[row for planted in summary.planted for row in rows_rejected_for(planted)],
        bad_families=[p.family_id for p in summary.planted if p.defect is Defect.DISAGREEING_FAMILY],
    )
    path = folder / "p3ke-2024-07.csv"
    later = second_list(path, SIZE, seed=SEED, dated=SECOND, changes=CHANGES)
    twins = next(planted for planted in summary.planted if planted.defect is Defect.DUPLICATE_FAMILY)
    bad_rows = plant_doubt(path, twins.original_family_id, same_everywhere(summary, later))
    return first, read_list(path, "P3KE", SECOND, ["52"], bad_rows=bad_rows), min(later.renumbered)


def write_first_list(path: Path) -> Summary:
    return write_list(path, SIZE, seed=SEED, dated=FIRST, defects=PLANTED)


def plant_doubt(path: Path, twin: str, unreadable: str) -> list[int]:
    """Names one of two twin families a third time, and spoils every row of another family. Gives the spoilt rows."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    decile, spoilt = header.index("desil_kesejahteraan"), []
    for number, cells in enumerate(rows, start=2):
        if cells[0] == unreadable:
            cells[decile] = "satu"
            spoilt.append(number)
    third = [["KEL-7777777", *cells[1:]] for cells in rows if cells[0] == twin]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows, *third])
    return spoilt


def same_everywhere(first: Summary, later: SecondSummary) -> str:
    """A family that stands in both lists, with nothing planted and nothing changed."""
    touched = {planted.family_id for planted in first.planted} | {p.original_family_id for p in first.planted}
    touched |= {*later.rank_changed, *later.delisted, *later.renumbered}
    return next(family for family in (f"KEL-{number:07}" for number in range(100, 200)) if family not in touched)


def rows_rejected_for(planted: Planted) -> range:
    if planted.defect in (Defect.NIK_DISAGREES, Defect.DISAGREEING_FAMILY, Defect.DUPLICATE_FAMILY):
        return range(0)
    return range(planted.row, planted.row + planted.rows)
