"""What outcomes must say: cases and where they begin, follow-ups, graduation and relapse, what other agencies did."""

import calendar
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.journeys.oracle.registry import HOUSEHOLDS, PARTICIPANTS, SNAPSHOTS, adopted
from tests.journeys.oracle.training import COHORTS, WITA, beginning_of

if TYPE_CHECKING:
    from tests.journeys.oracle.model import Oracle

Row = dict[str, Any]

RULES, CASES = "outcomes.rules", "outcomes.cases"
INTERVENTIONS, COOPERATIVES = "outcomes.interventions", "outcomes.cooperatives"
REJECTIONS = "partners.dinkop.rejected"
REGISTRY_REJECTIONS = "partners.dukcapil.rejected"

_NEEDS = ("food", "clean_water", "sanitation", "health", "housing", "education", "information")
_RANK = ("source", "snapshot_id", "dated", "welfare_decile", "welfare_percentile")
_PENDING, _SETTLED = ("scheduled", "due"), ("recorded", "missed")


class Outcomes:
    """Told by the other parts what became of people, and by the script what was recorded and reported."""

    def __init__(self, world: "Oracle") -> None:
        self._world = world
        self._story = world.story
        self.rules: dict[str, Row] = {}
        self.cases: dict[str, Row] = {}
        self.follow_ups: dict[tuple[str, int], Row] = {}
        self.units: dict[tuple[str, str], Row] = {}
        self.interventions: dict[str, Row] = {}
        self.on_cases: dict[tuple[str, str], Row] = {}
        self.cooperatives: dict[str, Row] = {}
        self.recruited: dict[tuple[str, str], Row] = {}
        self.rejections: dict[str, Row] = {}
        self._people: dict[str, Row] = {}
        self._homes: dict[str, Row] = {}
        self._completed_at: dict[str, datetime] = {}  # by cohort

    # --- Rules --------------------------------------------------------------------------------------------------------

    def rule_adopted(self, kind: str, definition: Row, source: str) -> None:
        self._story.tell(RULES, kind, "RuleAdopted")
        self.rules[kind] = adopted(self.rules.get(kind), kind, definition, source, self._world.now)
        for case_id in self.cases:
            self._schedule(case_id)

    # --- What the registry tells --------------------------------------------------------------------------------------

    def household_stands(self, household_id: str, listed: Sequence[str] = ()) -> None:
        """From now on it stands as the registry says; `listed`: who is on the list with it, where a list said so."""
        row = self._world.registry.households[household_id]
        home = self._homes.setdefault(household_id, {"listed_since": self._world.now, "members": [], "history": []})
        home["members"] = [who for who in home["members"] if who not in listed] + list(listed)
        home["history"].append(
            {
                "since": self._world.now,
                "area_code": row["area_code"],
                "people": row["people"],
                "rank": {name: row[name] for name in _RANK},
                "conditions": row["conditions"],
            }
        )

    def person_nominated(self, person: str) -> None:
        self._people[person] = {"verified_since": None, "visits": [], "history": []}
        self._known_from_now_on(person, {})

    def person_visited(self, person: str, visit_id: str, conditions: Row | None) -> None:
        self._people[person]["visits"].append({"visit_id": visit_id, "conditions": conditions})

    def person_verified(self, person: str) -> None:
        """By the visit that counted then."""
        known, now = self._people[person], self._world.now
        stands_on = self._world.registry.participants[person]["visit_id"]
        seen = next((visit["conditions"] for visit in known["visits"] if visit["visit_id"] == stands_on), None)
        known["verified_since"] = known["verified_since"] or now
        known["visits"] = []
        self._known_from_now_on(person, {"verified_at": now, "conditions": seen})

    def person_corrected(self, person: str) -> None:
        last = self._people[person]["history"][-1]
        self._known_from_now_on(person, {name: last.get(name) for name in ("verified_at", "conditions")})

    def _known_from_now_on(self, person: str, known: Row) -> None:
        participant = self._world.registry.participants[person]
        said = {"since": self._world.now, "sex": participant["sex"], "age_band": participant["age_band"]}
        self._people[person]["history"].append(said | known)

    def person_ended(self, person: str) -> None:
        """Died, was rejected, or wanted to be forgotten."""
        if self._world.registry.participants[person]["status"] == "erased":
            self._people[person]["visits"] = []
        if person in self.cases:
            self._close_if_ended(person)

    # --- What training tells ------------------------------------------------------------------------------------------

    def cohort_completed(self, cohort_id: str, people: Sequence[str]) -> None:
        self._completed_at[cohort_id] = self._world.now
        for person in people:
            training = self._training(cohort_id, person)
            if person in self.cases:
                self._story.tell(CASES, person, "TrainingAdded")
                self.cases[person]["trainings"].append(training)
            else:
                self._open(person, training)

    def _training(self, cohort_id: str, person: str) -> Row:
        cohort = self._world.training.cohorts[cohort_id]
        enrolment = self._world.training.enrolments[cohort_id, person]
        return {
            "cohort_id": cohort_id,
            **{name: cohort[name] for name in ("course_id", "delivery_mode", "completed_on")},
            "completed_at": self._world.now,
            **{name: enrolment[name] for name in ("area_code", "attendance_percent", "pre_test", "post_test")},
        }

    def _open(self, person: str, training: Row) -> None:
        self._story.tell(CASES, person, "CaseOpened")
        self.cases[person] = training | {
            "case_id": person,
            "status": "open",
            "standing": "followed",
            "turns": [],
            "trainings": [training],
            "follow_ups": [],
            "interventions": 0,
            "business_units": 0,
            **dict.fromkeys(("closed_because", "closed_on", "graduated_on", "relapsed_on", "household_id"), None),
            **dict.fromkeys(("baseline_people", "baseline_decile", "baseline_percentile", "baseline"), None),
            **dict.fromkeys(("sex", "age_band", "last_follow_up", "last_visit_at"), None),
            **dict.fromkeys(("last_per_person_rupiah", "last_above_line"), None),
        }
        self._begin(person)
        for intervention_id in self._waiting_for(person):
            self._put_on_case(intervention_id)
        self._close_if_ended(person)
        self._schedule(person)

    def _begin(self, person: str) -> None:
        """The baseline: as the household stood when the participant completed, by what was known then."""
        home = self._homes[self._world.registry.participants[person]["household_id"]]
        known, then = self._people[person]["history"][-1], home["history"][-1]
        seen = {name: value for name, value in (known["conditions"] or {}).items() if value not in (None, [])}
        conditions = then["conditions"] | seen
        self._story.tell(CASES, person, "BaselineRecorded")
        baseline = {
            "household_id": self._world.registry.participants[person]["household_id"],
            **{name: then[name] for name in ("area_code", "people", "rank")},
            "conditions": conditions,
            "needs": needs_told_by(conditions),
            **{name: known[name] for name in ("sex", "age_band", "verified_at")},
        }
        self.cases[person] |= {
            **{name: baseline[name] for name in ("household_id", "sex", "age_band")},
            "baseline_people": then["people"],
            "baseline_decile": then["rank"]["welfare_decile"],
            "baseline_percentile": then["rank"]["welfare_percentile"],
            "baseline": baseline,
        }

    # --- Follow-ups ---------------------------------------------------------------------------------------------------

    def _schedule(self, case_id: str) -> None:
        case, plan = self.cases[case_id], self.rules.get("follow_up_plan")
        if plan is None or case["status"] != "open" or case["follow_ups"]:
            return
        for months in plan["definition"]["months"]:
            self._story.tell(CASES, case_id, "FollowUpScheduled")
            case["follow_ups"].append(months)
            due_on = months_later(case["completed_on"], months)
            self.follow_ups[case_id, months] = {
                "case_id": case_id,
                "months": months,
                "area_code": case["area_code"],
                "status": "scheduled",
                "due_on": due_on,
                "missed_after": due_on + timedelta(days=plan["definition"]["missed_after_days"]),
                "plan_id": "follow_up_plan",
                "plan_version": plan["rule_version"],
                "late": False,
                "income": [],
                "needs": [],
                "needs_met": [],
                "sealed": False,
                **dict.fromkeys(("facilitator_id", "visit_id", "captured_at", "received_at", "recorded_on"), None),
                **dict.fromkeys(("people", "income_rupiah", "per_person_rupiah", "line_rupiah", "above_line"), None),
                **dict.fromkeys(("livelihoods", "business", "turnover_rupiah", "workers"), None),
                **dict.fromkeys(("rule_id", "rule_version"), None),
            }

    def next_follow_up(self) -> datetime | None:
        """When a visit falls due, or was due for too long."""
        days = [row["due_on"] for row in self.follow_ups.values() if row["status"] == "scheduled"]
        days += [row["missed_after"] + timedelta(days=1) for row in self.follow_ups.values() if row["status"] == "due"]
        return beginning_of(min(days)) if days else None

    def follow_ups_fall_due_or_are_missed(self) -> None:
        for (case_id, months), row in sorted(self.follow_ups.items()):
            if row["status"] == "scheduled" and row["due_on"] <= self._today():
                self._story.tell(CASES, case_id, "FollowUpDue")
                facilitator = self._world.registry.participants[case_id]["facilitator_id"]
                row |= {"status": "due", "facilitator_id": facilitator}
                self._world.notifications.follow_up_due(case_id, months, facilitator)
        for (case_id, months), row in sorted(self.follow_ups.items()):
            if row["status"] == "due" and row["missed_after"] < self._today():
                self._story.tell(CASES, case_id, "FollowUpMissed")
                row["status"] = "missed"
                self._world.notifications.follow_up_settled(case_id, months)
                self._close_if_all_is_settled(case_id)

    def follow_up_recorded(self, case_id: str, said: Row, facilitator_id: str) -> None:
        """`said` is what the device sent. A copy changes nothing."""
        if any(row["visit_id"] == said["visit_id"] for row in self._visits_to(case_id)):
            return
        case, row, rule = self.cases[case_id], self.follow_ups[case_id, said["follow_up"]], self.rules["graduation"]
        self._story.tell(CASES, case_id, "FollowUpRecorded")
        captured_at = datetime.fromisoformat(said["captured_at"])
        income = sum(source["monthly_rupiah"] for source in said["income"])
        line = rule["definition"]["line_rupiah_per_person_month"]
        needs = sorted(said["needs"], key=lambda need: _NEEDS.index(need["need"]))
        business = said.get("business")
        row |= {
            "status": "recorded",
            "facilitator_id": facilitator_id,
            "visit_id": said["visit_id"],
            "captured_at": captured_at,
            "received_at": self._world.now,
            "recorded_on": captured_at.astimezone(WITA).date(),
            "late": captured_at.astimezone(WITA).date() > row["missed_after"],
            "people": said["people"],
            "income": said["income"],
            "income_rupiah": income,
            "per_person_rupiah": income // said["people"],
            "line_rupiah": line,
            "above_line": income // said["people"] >= line,
            "livelihoods": len({source["livelihood"] for source in said["income"] if source["monthly_rupiah"] > 0}),
            "needs": needs,
            "needs_met": [need["need"] for need in needs if need["met"]],
            "business": business,
            "turnover_rupiah": business and business["monthly_turnover_rupiah"],
            "workers": business and business["workers"],
            "rule_id": "graduation",
            "rule_version": rule["rule_version"],
            "sealed": said.get("notes") is not None,
        }
        if case["last_visit_at"] is None or case["last_visit_at"] <= captured_at:
            case |= {
                "last_follow_up": said["follow_up"],
                "last_visit_at": captured_at,
                "last_per_person_rupiah": row["per_person_rupiah"],
                "last_above_line": row["above_line"],
            }
        self._world.notifications.follow_up_settled(case_id, said["follow_up"])
        self._judge(case_id, rule)
        self._close_if_all_is_settled(case_id)

    def _visits_to(self, case_id: str) -> list[Row]:
        """Those that were made, in the order in which they were made."""
        made = [row for (of, _), row in self.follow_ups.items() if of == case_id and row["status"] == "recorded"]
        return sorted(made, key=lambda row: (row["captured_at"], row["months"]))

    # --- Graduation and relapse ---------------------------------------------------------------------------------------

    def _judge(self, case_id: str, rule: Row) -> None:
        """So many visits in a row that meet every condition, none missed between them, and not too early: graduated.
        Who has graduated and is found below the line has relapsed."""
        case, terms, visits = self.cases[case_id], rule["definition"], self._visits_to(case_id)
        if case["standing"] == "graduated":
            below = visits[-1]["per_person_rupiah"] < terms["line_rupiah_per_person_month"]
            if below:
                self._turn(case_id, "relapsed", visits[-1:], rule)
            return
        row = visits[-terms["follow_ups_in_a_row"] :]
        between = range(row[0]["months"], row[-1]["months"])
        unbroken = all(self.follow_ups[case_id, n]["status"] != "missed" for n in case["follow_ups"] if n in between)
        late_enough = row[-1]["months"] >= terms["not_before_months"]
        if len(row) == terms["follow_ups_in_a_row"] and unbroken and late_enough and all(meets(v, terms) for v in row):
            self._turn(case_id, "graduated", row, rule)

    def _turn(self, case_id: str, standing: str, row: list[Row], rule: Row) -> None:
        self._story.tell(CASES, case_id, {"graduated": "HouseholdGraduated", "relapsed": "HouseholdRelapsed"}[standing])
        case = self.cases[case_id]
        case |= {"standing": standing, f"{standing}_on": self._today()}
        case["turns"].append(
            {
                "standing": standing,
                "on": self._today(),
                "follow_up": row[-1]["months"],
                "evidence": [
                    {
                        "follow_up": visit["months"],
                        **{name: visit[name] for name in ("visit_id", "per_person_rupiah", "livelihoods", "needs_met")},
                    }
                    for visit in row
                ],
                "rule_id": "graduation",
                "rule_version": rule["rule_version"],
            }
        )

    # --- Ends ---------------------------------------------------------------------------------------------------------

    def _close_if_ended(self, case_id: str) -> None:
        participant = self._world.registry.participants[case_id]
        if participant["rejection"] is not None:
            self._close(case_id, "deceased" if participant["rejection"] == "deceased" else "no_longer_participant")
        elif participant["status"] == "erased":
            self._close(case_id, "erased")

    def _close_if_all_is_settled(self, case_id: str) -> None:
        if all(row["status"] in _SETTLED for (of, _), row in self.follow_ups.items() if of == case_id):
            self._close(case_id, "plan_completed")

    def _close(self, case_id: str, because: str) -> None:
        case = self.cases[case_id]
        if case["status"] != "open":
            return
        self._story.tell(CASES, case_id, "CaseClosed")
        case |= {"status": "closed", "closed_because": because, "closed_on": self._today()}
        self._world.notifications.case_closed(case_id)
        for (of, _), row in self.follow_ups.items():
            if of == case_id and row["status"] in _PENDING:
                row["status"] = "dropped"

    # --- What other agencies did --------------------------------------------------------------------------------------

    def intervention_reported(self, intervention_id: str, said: Row, national_id: str) -> None:
        """`said`: kind, given_on, and what a report of its kind says besides. Whose number it is, is found out at once,
        unless nobody bears it here, or several do."""
        self._story.tell(INTERVENTIONS, intervention_id, "InterventionReported")
        self.interventions[intervention_id] = {
            "intervention_id": intervention_id,
            "area_code": "52",
            "system": "dinkop",
            "reported_at": self._world.now,
            **dict.fromkeys(("amount_rupiah", "scheme", "cooperative_number"), None),
            **said,
        }
        bearers = [who for who, borne in self._world.registry.national_ids.items() if borne == national_id]
        if len(bearers) == 1:
            self._match(intervention_id, bearers[0], "national_id")
            return
        self._story.tell(INTERVENTIONS, intervention_id, "InterventionUnmatched")
        because = "several_bear_the_number" if bearers else "nobody_bears_the_number"
        undecided = {"participant_id": None, "matched_by": None, "because": because, "sealed": True}
        self.interventions[intervention_id] |= {"status": "unmatched"} | undecided

    def intervention_matched(self, intervention_id: str, participant_id: str, officer: str) -> None:
        self._match(intervention_id, participant_id, officer)

    def _match(self, intervention_id: str, participant_id: str, by: str) -> None:
        self._story.tell(INTERVENTIONS, intervention_id, "InterventionMatched")
        decided = {"participant_id": participant_id, "matched_by": by, "because": None, "sealed": False}
        self.interventions[intervention_id] |= {"status": "matched"} | decided
        case = self.cases.get(participant_id)
        if case is None or case["closed_because"] == "erased":
            return
        if case["closed_on"] is None or self.interventions[intervention_id]["given_on"] <= case["closed_on"]:
            self._put_on_case(intervention_id)

    def intervention_dismissed(self, intervention_id: str, because: str) -> None:
        self._story.tell(INTERVENTIONS, intervention_id, "InterventionDismissed")
        decided = {"status": "dismissed", "because": because, "sealed": False}
        self.interventions[intervention_id] |= decided

    def _waiting_for(self, person: str) -> list[str]:
        """Matched before the case opened."""
        waiting = [row for row in self.interventions.values() if row["participant_id"] == person]
        return [row["intervention_id"] for row in sorted(waiting, key=lambda row: row["given_on"])]

    def _put_on_case(self, intervention_id: str) -> None:
        intervention = self.interventions[intervention_id]
        case_id = intervention["participant_id"]
        self._story.tell(CASES, case_id, "InterventionRecorded")
        self.cases[case_id]["interventions"] += 1
        said = ("kind", "system", "given_on", "amount_rupiah", "scheme", "cooperative_number")
        self.on_cases[case_id, intervention_id] = {
            "case_id": case_id,
            "intervention_id": intervention_id,
            **{name: intervention[name] for name in said},
            "recorded_at": self._world.now,
        }
        number = intervention["cooperative_number"]
        if number is not None and (number, case_id) not in self.recruited:
            self._recruit(number, case_id, intervention)

    def _recruit(self, number: str, person: str, intervention: Row) -> None:
        self._story.tell(COOPERATIVES, number, "MemberRecruited")
        self._cooperative(number)["recruited"] += 1
        self.recruited[number, person] = {
            "cooperative_number": number,
            "participant_id": person,
            "intervention_id": intervention["intervention_id"],
            "joined_on": intervention["given_on"],
        }

    def annual_meeting_held(self, number: str, said: Row) -> None:
        """`said`: name, area_code (dotted), year, held_on, members, net_surplus_rupiah. Said again it changes nothing,
        and a meeting of an earlier year is only kept."""
        cooperative = self._cooperative(number)
        meeting = {
            **{name: said[name] for name in ("name", "area_code", "members", "net_surplus_rupiah")},
            "meeting_year": said["year"],
            "meeting_held_on": said["held_on"],
        }
        if all(cooperative[name] == value for name, value in meeting.items()):
            return
        self._story.tell(COOPERATIVES, number, "AnnualMeetingRecorded")
        if cooperative["meeting_year"] is None or cooperative["meeting_year"] <= said["year"]:
            cooperative |= meeting

    def _cooperative(self, number: str) -> Row:
        unknown = {
            "cooperative_number": number,
            "area_code": "52",
            "recruited": 0,
            **dict.fromkeys(("name", "meeting_year", "meeting_held_on", "members", "net_surplus_rupiah"), None),
        }
        return self.cooperatives.setdefault(number, unknown)

    def message_rejected(
        self, rejection_id: str, message_id: str | None, type_: str | None, place: tuple[int, int], fields: list[str]
    ) -> None:
        """The message at this partition and offset cannot be taken in, because of these fields."""
        self._story.tell(REJECTIONS, rejection_id, "SupportMessageRejected")
        self.rejections[rejection_id] = {
            "rejection_id": rejection_id,
            "area_code": "",
            "system": "dinkop",
            "message_id": message_id,
            "message_type": type_,
            "record_partition": place[0],
            "record_offset": place[1],
            "faults": fields,
            "rejected_at": self._world.now,
        }

    # --- Business units -----------------------------------------------------------------------------------------------

    def business_unit_planned(self, case_id: str, unit_id: str, said: Row) -> None:
        self._story.tell(CASES, case_id, "BusinessUnitPlanned")
        self.cases[case_id]["business_units"] += 1
        self.units[case_id, unit_id] = {
            "case_id": case_id,
            "unit_id": unit_id,
            "area_code": self.cases[case_id]["area_code"],
            "status": "planned",
            **{name: said[name] for name in ("cooperative_number", "sector", "capital_rupiah")},
            "planned_on": date.fromisoformat(said["planned_on"]),
            "launch_by": date.fromisoformat(said["launch_by"]),
            "jobs_planned": said["jobs"],
            "launched_on": None,
            "jobs": None,
        }

    def business_unit_launched(self, case_id: str, unit_id: str, said: Row) -> None:
        self._story.tell(CASES, case_id, "BusinessUnitLaunched")
        launched = {"launched_on": date.fromisoformat(said["launched_on"]), "jobs": said["jobs"]}
        self.units[case_id, unit_id] |= {"status": "launched"} | launched

    def _today(self) -> date:
        return self._world.now.astimezone(WITA).date()

    def ever_verified(self) -> list[str]:
        return [person for person, known in self._people.items() if known["verified_since"] is not None]

    # --- As tables ----------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[tuple[Any, ...], Row]]:
        registry, training = self._world.registry, self._world.training
        heads: dict[str, tuple[str, Mapping[str, Row]]] = {
            "snapshot": (SNAPSHOTS, {id_: self._snapshot(row) for id_, row in registry.snapshots.items()}),
            "person": (PARTICIPANTS, {who: self._person(who) for who in registry.participants}),
            "home": (HOUSEHOLDS, {home: self._home(home) for home in registry.households}),
            "cohort": (COHORTS, {cohort_id: self._cohort(cohort_id) for cohort_id in training.cohorts}),
            "rule": (RULES, self.rules),
            "case_file": (CASES, self.cases),
            "intervention": (INTERVENTIONS, self.interventions),
            "cooperative": (COOPERATIVES, self.cooperatives),
            "rejection": (REJECTIONS, self.rejections),
            "registry_rejection": (
                REGISTRY_REJECTIONS,
                {
                    id_: {name: row[name] for name in ("rejection_id", "system", "faults")}
                    for id_, row in registry.rejections.items()
                },
            ),
        }
        rows: dict[str, dict[tuple[Any, ...], Row]] = {
            "placement": {key: self._placement(row) for key, row in training.enrolments.items()},
            "follow_up": dict(self.follow_ups),
            "business_unit": dict(self.units),
            "case_intervention": dict(self.on_cases),
            "cooperative_member": dict(self.recruited),
        }
        return rows | {
            name: {(key,): row | {"version": self._story.version(topic, key)} for key, row in rows_of_name.items()}
            for name, (topic, rows_of_name) in heads.items()
        }

    def _snapshot(self, snapshot: Row) -> Row:
        same = ("snapshot_id", "source", "dated", "rows", "rows_rejected", "households", "people")
        unresolved = None if snapshot["applied_at"] is None else snapshot["unresolved"]
        times = {name: snapshot[name] for name in ("received_at", "applied_at")}
        return {name: snapshot[name] for name in same} | times | {"unresolved": unresolved}

    def _person(self, person: str) -> Row:
        participant = self._world.registry.participants[person]
        same = ("participant_id", "area_code", "household_id", "status", "sex", "age_band", "facilitator_id")
        return self._people[person] | {
            **{name: participant.get(name) for name in same},
            "rejected_because": participant["rejection"],
            "sealed": participant["status"] != "erased",
        }

    def _home(self, household_id: str) -> Row:
        household = self._world.registry.households[household_id]
        return self._homes[household_id] | {
            **{name: household[name] for name in ("household_id", "area_code", "status", "people")},
            "decile": household["welfare_decile"],
            "percentile": household["welfare_percentile"],
        }

    def _cohort(self, cohort_id: str) -> Row:
        cohort = self._world.training.cohorts[cohort_id]
        same = ("cohort_id", "area_code", "number", "programme_id", "course_id", "course_title", "delivery_mode")
        also = ("capacity", "starts_on", "ends_on", "status", "completed", "not_completed", "completed_on")
        return {name: cohort[name] for name in (*same, *also)} | {"completed_at": self._completed_at.get(cohort_id)}

    def _placement(self, enrolment: Row) -> Row:
        """What was found in class is known from the end of it on."""
        same = ("cohort_id", "participant_id", "area_code", "status", "enrolled_at", "confirmed_at")
        also = ("withdrawn_because", "attendance_percent", "not_completed_because", "rule_id", "rule_version")
        judged = enrolment["status"] in ("completed", "not_completed")
        tests = {name: enrolment[name] if judged else None for name in ("pre_test", "post_test")}
        return {name: enrolment[name] for name in (*same, *also)} | tests


def meets(visit: Row, terms: Row) -> bool:
    return (
        visit["per_person_rupiah"] >= terms["line_rupiah_per_person_month"]
        and visit["livelihoods"] >= terms["minimum_livelihoods"]
        and all(need in visit["needs_met"] for need in terms["needs_required"])
    )


def months_later(day: date, months: int) -> date:
    """31 January and a month is the last of February."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def needs_told_by(conditions: Row) -> list[Row]:
    """Protected water, a latrine of their own with a septic tank, a house of what lasts; else nothing is said."""
    water, latrine = conditions.get("drinking_water"), conditions.get("latrine")
    parts = [conditions.get(part) for part in ("roof", "wall", "floor")]
    told: dict[str, bool | None] = {
        "clean_water": None
        if water in (None, "Lainnya")
        else water in ("Ledeng/PAM", "Air Kemasan/Isi Ulang", "Sumur Bor", "Sumur Terlindung"),
        "sanitation": None if latrine is None else latrine == "Ya, dengan Septic Tank",
        "housing": False
        if {"Bambu", "Anyaman Bambu", "Jerami/Ijuk/Daun-daunan", "Tanah"}.intersection(filter(None, parts))
        else None
        if None in parts or "Lainnya" in parts
        else True,
    }
    return [{"need": need, "met": met} for need, met in told.items() if met is not None]
