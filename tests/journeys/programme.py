"""The programme as people run it: each act goes over HTTP or the partner topic, and what was accepted to the oracle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from tests.journeys.oracle import Oracle
from tests.journeys.oracle.lists import Family, TargetingList
from tests.support.world import NOTIFICATIONS, OUTCOMES, REGISTRY, SOURCES, TRAINING, Caller, World, wait_for

PRIORITY = {
    "parts": [
        {"name": "poorest decile", "when": {"welfare_decile": {"at_most": 1}}, "points": 40},
        {"name": "extreme poor", "when": {"welfare_percentile": {"at_most": 3}}, "points": 20},
        {"name": "five or more to feed", "when": {"people": {"at_least": 5}}, "points": 10},
        {"name": "child at risk of stunting", "when": {"stunting_risk": True}, "points": 9},
        {"name": "elderly head", "when": {"head_age_band": ["60+"]}, "points": 8},
        {"name": "woman as head", "when": {"head_sex": ["female"]}, "points": 7},
        {"name": "no latrine", "when": {"latrine": ["Tidak, Jamban Umum/Bersama", "Lainnya"]}, "points": 6},
        {"name": "unsafe water", "when": {"drinking_water": ["Air Permukaan", "Air Hujan"]}, "points": 5},
        {"name": "no assistance yet", "when": {"receives_assistance": False}, "points": 4},
        {"name": "can leave home", "when": {"can_leave_home": True}, "points": 3},
        {"name": "young woman", "when": {"sex": ["female"], "age_band": ["19-21", "22-59"]}, "points": 2},
        {"name": "situation changed", "when": {"situation_changed": True}, "points": 1},
    ]
}
VERIFICATION = {"holds_days": 120}
COMPLETION = {"minimum_attendance_percent": 80, "maximum_attempts": 3}
CONFIRMATION = {"days_before_start": 3}
DECREE = "SK Kepala Balatkop 12/2024"

FOLLOW_UP_PLAN = {"months": [1, 3, 6, 12], "missed_after_days": 14}
GRADUATION = {
    "line_rupiah_per_person_month": 322_170,
    "follow_ups_in_a_row": 2,
    "minimum_livelihoods": 2,
    "needs_required": ["food", "clean_water", "sanitation", "housing"],
    "not_before_months": 6,
}
PUBLICATION = {"smallest_cell": 5}

DUKCAPIL, DINKOP = "partners.dukcapil", "partners.dinkop"
TAKEN_IN_BY = {DUKCAPIL: REGISTRY, DINKOP: OUTCOMES}

_KINDS = {
    "MentoringVisited": ("mentoring", "visited_on"),
    "FinancingGranted": ("financing", "granted_on"),
    "MarketAccessGranted": ("market_access", "granted_on"),
    "AssistanceDelivered": ("assistance", "delivered_on"),
    "MemberJoinedCooperative": ("cooperative_membership", "joined_on"),
}
"""What a report of support tells of, and the field that says when it was given."""


Report = tuple[str, str, dict[str, Any]]
"""The name of a fact of support, whose NIK, and what it says besides."""


@dataclass
class Bad:
    """A message that cannot be taken in, because of these fields. What could not be read of it is not told back."""

    type_: str
    value: bytes
    message_id: str | None
    fields: list[str]
    known_id: bool = True
    known_type: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Programme:
    """What officers, facilitators and the civil registry do. Each act must be accepted, or says that it must not be."""

    world: World
    oracle: Oracle
    lists: list[TargetingList] = field(default_factory=list)  # that were taken in

    def officer(self, service: str) -> Caller:
        return self.world.caller(service, "programme")

    def until(self, instant: datetime) -> None:
        self.world.turn_clock_to(instant)
        self.oracle.time_passes(instant)

    # --- Rules --------------------------------------------------------------------------------------------------------

    def adopt(self, service: str, kind: str, definition: dict[str, Any], source: str = DECREE) -> None:
        self.officer(service).tell("/rules", {"kind": kind, "definition": definition, "source": source})
        tellers = {REGISTRY: self.oracle.registry, TRAINING: self.oracle.training, OUTCOMES: self.oracle.outcomes}
        tellers[service].rule_adopted(kind, definition, source)

    # --- Lists --------------------------------------------------------------------------------------------------------

    def send_list(self, read: TargetingList, *, dry_run: bool = False) -> dict[str, Any]:
        answer = self.officer(REGISTRY).post(
            "/snapshots",
            csv=read.path.read_bytes(),
            source=read.source,
            dated=read.dated.isoformat(),
            areas=read.areas,
            file_name=read.path.name,
            dry_run=dry_run,
        )
        assert answer.is_success, answer.text
        return dict(answer.json())

    def take_in(self, read: TargetingList) -> dict[str, Any]:
        """Sends a list, waits until it is applied, and learns under which ids everybody is known now."""
        received = self.send_list(read)
        snapshot_id = received["snapshot"]["snapshot_id"]
        self.oracle.registry.list_received(snapshot_id, read, read.path.name)
        self.lists.append(read)
        self.world.settle()
        self.learn_ids(snapshot_id, read)
        return received

    def learn_ids(self, snapshot_id: str, read: TargetingList) -> None:
        households: dict[int, str] = {}
        people: dict[str, str] = {}
        families = {family.row: family for family in read.families}
        for shown in self.officer(REGISTRY).pages("/households"):
            household_id = shown["household_id"]
            if shown["evidence"]["file_digest"] != read.digest or household_id in self.oracle.registry.households:
                continue
            family = families[shown["evidence"]["row"]]
            households[family.row] = household_id
            people |= self._meet(household_id, family)
        self.oracle.registry.list_applied(snapshot_id, households, people)

    def _meet(self, household_id: str, family: Family) -> dict[str, str]:
        """Who lives there, by the source's ids; what was sealed opens, and says what stood in the file."""
        shown = self.officer(REGISTRY).get(f"/households/{household_id}")
        assert shown["address"] == family.address
        assert (shown["family_card_number"] or "") == family.family_card_number
        found = {member["details"]["source_person_id"]: member for member in shown["members"]}
        for person in family.people:
            details = found[person.individual_id]["details"]
            assert (details["name"], details["national_id"] or "") == (person.name, person.national_id)
        assert len(found) == len(family.people)
        return {source_id: member["person_id"] for source_id, member in found.items()}

    # --- The field ----------------------------------------------------------------------------------------------------

    def assign(self, person_ids: Sequence[str], facilitator_id: str, due_on: date) -> None:
        body = {"facilitator_id": facilitator_id, "due_on": due_on.isoformat(), "person_ids": list(person_ids)}
        _all_done(self.officer(REGISTRY).tell("/assignments", body), len(person_ids))
        self.oracle.registry.assigned(list(person_ids), facilitator_id, due_on)

    def visit(self, visits: Sequence[dict[str, Any]], facilitator_id: str) -> None:
        """`visits` as a device sends them, each with its `participant_id`. What was found first is told first."""
        facilitator = self.world.caller(REGISTRY, facilitator_id)
        _all_done(facilitator.tell("/visits", {"visits": list(visits)}), len(visits))
        for visit in sorted(visits, key=lambda visit: str(visit["captured_at"])):
            self.oracle.registry.visited(visit["participant_id"], visit, facilitator_id)

    def verify(self, participant_ids: Sequence[str], *, await_training: bool = True) -> None:
        body = {"participant_ids": list(participant_ids)}
        answer = _all_done(self.officer(REGISTRY).tell("/verifications", body), len(participant_ids))
        for participant_id in participant_ids:
            self.oracle.registry.verified(participant_id)
        if await_training:
            # Training knows of the last of them no later than a reader who waits for it is answered.
            version = f"registry.participants/{participant_ids[-1]}={answer['outcomes'][-1]['version']}"
            self.officer(TRAINING).get("/candidates", headers={"Wait-For-Version": version})

    def reject(self, participant_id: str, reason: str, *, settle: bool = True) -> None:
        self.officer(REGISTRY).tell(f"/participants/{participant_id}/rejection", {"reason": reason})
        if settle:
            # Whoever had a place has lost it when the next act begins.
            self.world.settle()
        self.oracle.registry.rejected(participant_id, reason)

    # --- The civil registry -------------------------------------------------------------------------------------------

    def dukcapil(self, fact: str, national_id: str, message_id: str, **said: Any) -> None:
        """Publishes a fact, twice under the same id; the oracle says whether it is known who is meant."""
        value = json.dumps({"national_id": national_id, **said}).encode()
        places = [self.publish(f"entas.partners.{fact}.v1", national_id, value, message_id) for _ in range(2)]
        self.world.settle()
        tell = {
            "IdentityMatched": lambda: self.oracle.registry.identity_matched(national_id, said["matched"]),
            "DeathRecorded": lambda: self.oracle.registry.death_recorded(
                national_id, date.fromisoformat(said["died_on"])
            ),
            "HouseholdMoved": lambda: self.oracle.registry.household_moved(national_id, _dotted(said["to_area_code"])),
        }
        if not tell[fact]():
            self._learn_rejection(places[0], message_id, f"entas.partners.{fact}.v1", ["national_id"])

    def publish_what_cannot_be_taken(self, messages: Sequence[Bad], topic: str = DUKCAPIL) -> None:
        """Each is rejected, and the partner is told why."""
        places = [
            self.publish(bad.type_, "nobody", bad.value, bad.message_id, topic=topic, **bad.headers) for bad in messages
        ]
        self.world.settle()
        for place, bad in zip(places, messages, strict=True):
            id_, type_ = bad.message_id if bad.known_id else None, bad.type_ if bad.known_type else None
            self._learn_rejection(place, id_, type_, bad.fields, topic=topic)

    def publish(
        self, type_: str, key: str, value: bytes, message_id: str | None, *, topic: str = DUKCAPIL, **headers: str
    ) -> tuple[int, int]:
        """CloudEvents in Kafka's binary mode."""
        attributes = {
            "ce_specversion": "1.0",
            "ce_type": type_,
            "ce_source": SOURCES[topic],
            "content-type": "application/json",
        }
        attributes |= {} if message_id is None else {"ce_id": message_id}
        return self.world.publish(topic, key, value, attributes | headers)

    def _learn_rejection(
        self,
        place: tuple[int, int],
        message_id: str | None,
        type_: str | None,
        fields: list[str],
        *,
        topic: str = DUKCAPIL,
    ) -> None:
        service, partner = TAKEN_IN_BY[topic], f"partner:{topic.removeprefix('partners.')}"

        def told() -> dict[str, Any] | None:
            shown = self.world.caller(service, partner).pages("/rejections")
            return next((r for r in shown if (r["record_partition"], r["record_offset"]) == place), None)

        rejection = wait_for(f"the message at {place} is rejected", told)
        teller = self.oracle.registry if service == REGISTRY else self.oracle.outcomes
        teller.message_rejected(rejection["rejection_id"], message_id, type_, place, fields)

    def erase(self, person: str) -> None:
        """Somebody wants to be forgotten."""
        self.officer(REGISTRY).tell(f"/people/{person}/erasure", {"basis": "UU 27/2022 art. 8"})
        self.world.settle()
        self.oracle.registry.erased(person)

    # --- Training -----------------------------------------------------------------------------------------------------

    def open_programme(self, name: str, area_code: str, year: int) -> str:
        body = {"name": name, "area_code": area_code, "year": year}
        programme_id = str(self.officer(TRAINING).tell("/programmes", body)["programme_id"])
        self.oracle.training.programme_opened(programme_id, name, area_code, year)
        return programme_id

    def define_course(self, programme_id: str, said: dict[str, Any]) -> str:
        course_id = str(self.officer(TRAINING).tell(f"/programmes/{programme_id}/courses", said)["course_id"])
        self.oracle.training.course_defined(programme_id, course_id, said)
        return course_id

    def set_quota(self, programme_id: str, area_code: str, places: int) -> None:
        said = {"area_code": area_code, "places": places}
        self.officer(TRAINING).tell(f"/programmes/{programme_id}/quotas", said)
        self.oracle.training.quota_set(programme_id, area_code, places)

    def plan_cohort(self, said: dict[str, Any]) -> str:
        cohort_id = str(self.officer(TRAINING).tell("/cohorts", said)["cohort_id"])
        self.oracle.training.cohort_planned(cohort_id, said)
        return cohort_id

    def enrol(self, cohort_id: str, participant_id: str) -> None:
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/participants", {"participant_id": participant_id})
        self.oracle.training.enrolled(cohort_id, participant_id)

    def waitlist(self, cohort_id: str, participant_id: str) -> None:
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/waitlist", {"participant_id": participant_id})
        self.oracle.training.waitlisted(cohort_id, participant_id)

    def enrol_by_priority(self, cohort_id: str, waitlist: int) -> None:
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/enrol-by-priority", {"waitlist": waitlist})
        self.oracle.training.enrolled_by_priority(cohort_id, waitlist)

    def confirm(self, cohort_id: str, participant_id: str) -> None:
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/participants/{participant_id}/confirm")
        self.oracle.training.confirmed(cohort_id, participant_id)

    def withdraw(self, cohort_id: str, participant_id: str, reason: str, note: str | None = None) -> None:
        said = {"reason": reason} | ({} if note is None else {"note": note})
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/participants/{participant_id}/withdraw", said)
        self.oracle.training.withdrew(cohort_id, participant_id, reason, note)

    def record_attendance(self, cohort_id: str, day: date, marks: Mapping[str, str]) -> None:
        said = [{"participant_id": person, "status": status} for person, status in marks.items()]
        facilitator = self.world.caller(TRAINING, "facilitator")
        facilitator.tell(f"/cohorts/{cohort_id}/attendance", {"day": day.isoformat(), "marks": said})
        self.oracle.training.attendance_recorded(cohort_id, day.isoformat(), marks)

    def correct_attendance(self, cohort_id: str, day: date, participant_id: str, status: str) -> None:
        said = {"day": day.isoformat(), "participant_id": participant_id, "status": status, "because": "late_proof"}
        self.world.caller(TRAINING, "facilitator").tell(f"/cohorts/{cohort_id}/attendance/corrections", said)
        self.oracle.training.attendance_corrected(cohort_id, day.isoformat(), participant_id, status)

    def assess(self, cohort_id: str, kind: str, results: list[dict[str, Any]]) -> None:
        facilitator = self.world.caller(TRAINING, "facilitator")
        facilitator.tell(f"/cohorts/{cohort_id}/assessments", {"kind": kind, "results": results})
        self.oracle.training.assessed(cohort_id, kind, results)

    def complete(self, cohort_id: str) -> None:
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/complete")
        self.oracle.training.completed(cohort_id)

    def cancel(self, cohort_id: str, because: str) -> None:
        self.officer(TRAINING).tell(f"/cohorts/{cohort_id}/cancel", {"because": because})
        self.oracle.training.cancelled(cohort_id, because)

    # --- What became of them ------------------------------------------------------------------------------------------

    def record_follow_up(self, case_id: str, said: dict[str, Any], facilitator_id: str = "facilitator") -> None:
        """`said` as a device sends it. Devices send twice what they got no answer to."""
        facilitator = self.world.caller(OUTCOMES, facilitator_id)
        for _ in range(2):
            facilitator.tell(f"/cases/{case_id}/follow-ups", said)
        self.oracle.outcomes.follow_up_recorded(case_id, said, facilitator_id)

    def plan_business_unit(self, case_id: str, said: dict[str, Any]) -> str:
        facilitator = self.world.caller(OUTCOMES, "facilitator")
        unit_id = str(facilitator.tell(f"/cases/{case_id}/business-units", said)["unit_id"])
        self.oracle.outcomes.business_unit_planned(case_id, unit_id, said)
        return unit_id

    def launch_business_unit(self, case_id: str, unit_id: str, said: dict[str, Any]) -> None:
        facilitator = self.world.caller(OUTCOMES, "facilitator")
        facilitator.tell(f"/cases/{case_id}/business-units/{unit_id}/launch", said)
        self.oracle.outcomes.business_unit_launched(case_id, unit_id, said)

    # --- What other agencies did --------------------------------------------------------------------------------------

    def dinkop_supported(self, reports: Mapping[str, Report]) -> dict[str, str]:
        """Reports by message id: the fact, whose NIK, and what it says. Each is published twice, and all are taken in.

        Gives under which id each is known now. No two may say the same, or nobody could tell which is which.
        """
        self.publish_reports(reports)
        self.world.settle()
        return self.learn_interventions(reports)

    def publish_reports(self, reports: Mapping[str, Report]) -> None:
        for message_id, (fact, national_id, said) in reports.items():
            value = json.dumps({"national_id": national_id, **said}).encode()
            for _ in range(2):
                self.publish(f"entas.partners.{fact}.v1", national_id, value, message_id, topic=DINKOP)

    def learn_interventions(self, reports: Mapping[str, Report]) -> dict[str, str]:
        known = set(self.oracle.outcomes.interventions)
        shown = self.officer(OUTCOMES).pages("/interventions")
        found = {_told_of(row): row["intervention_id"] for row in shown if row["intervention_id"] not in known}
        wanted = {message_id: _report(fact, said) for message_id, (fact, _, said) in reports.items()}
        ids = {message_id: found[_told_of(row)] for message_id, row in wanted.items()}
        assert len(found) == len(set(ids.values())) == len(reports), "each message is one intervention"
        for message_id, (_, national_id, _) in reports.items():
            row = wanted[message_id]
            self.oracle.outcomes.intervention_reported(ids[message_id], row, national_id)
        return ids

    def match_intervention(self, intervention_id: str, participant_id: str) -> None:
        body = {"participant_id": participant_id}
        self.officer(OUTCOMES).tell(f"/interventions/{intervention_id}/match", body)
        self.oracle.outcomes.intervention_matched(intervention_id, participant_id, "programme")

    def dismiss_intervention(self, intervention_id: str, because: str) -> None:
        self.officer(OUTCOMES).tell(f"/interventions/{intervention_id}/dismissal", {"because": because})
        self.oracle.outcomes.intervention_dismissed(intervention_id, because)

    def cooperative_met(self, number: str, message_id: str, **said: Any) -> None:
        value = json.dumps({"cooperative_number": number, **said}).encode()
        for _ in range(2):
            self.publish("entas.partners.AnnualMeetingHeld.v1", number, value, message_id, topic=DINKOP)
        self.world.settle()
        on = date.fromisoformat(said["held_on"])
        village = said | {"area_code": _dotted(said["area_code"]), "held_on": on}
        self.oracle.outcomes.annual_meeting_held(number, village)

    # --- Who is told --------------------------------------------------------------------------------------------------

    def adopt_template(self, said: dict[str, str]) -> None:
        self.officer(NOTIFICATIONS).tell("/templates", said)
        self.oracle.notifications.template_adopted(said)

    def adopt_notification_rule(self, said: dict[str, Any]) -> None:
        """`said`: a rule with all that it can say."""
        self.officer(NOTIFICATIONS).tell("/rules", said)
        self.oracle.notifications.rule_adopted(said)

    def change_contact(self, subject_id: str, **said: Any) -> None:
        answer = self.officer(NOTIFICATIONS).put(f"/contacts/{subject_id}", said)
        assert answer.is_success, answer.text
        self.oracle.notifications.contact_changed(subject_id, answer.json()["area_code"], said)


def _report(fact: str, said: dict[str, Any]) -> dict[str, Any]:
    """As the oracle wants it."""
    kind, given_in = _KINDS[fact]
    rest = {name: value for name, value in said.items() if name != given_in}
    return {"kind": kind, "given_on": date.fromisoformat(said[given_in]), **rest}


def _told_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells one intervention of the script from another."""
    names = ("kind", "given_on", "amount_rupiah", "scheme", "cooperative_number")
    return tuple(str(row.get(name)) for name in names)


def _all_done(answer: dict[str, Any], items: int) -> dict[str, Any]:
    refused = [outcome for outcome in answer["outcomes"] if outcome["outcome"] != "done"]
    assert not refused, refused[:3]
    assert answer["done"] == items
    return answer


def _dotted(code: str) -> str:
    """52.01.01.2001 of 5201012001, and 52.01.01 of 520101."""
    digits = code.replace(".", "")
    return ".".join(filter(None, (digits[:2], digits[2:4], digits[4:6], digits[6:])))
