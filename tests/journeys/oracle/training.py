"""What training must say: who could be taught, who has which place, who came, who completed."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tests.journeys.oracle.registry import adopted

if TYPE_CHECKING:
    from tests.journeys.oracle.model import Oracle

Row = dict[str, Any]

PROGRAMMES, COHORTS, RULES = "training.programmes", "training.cohorts", "training.rules"
WITA = timezone(timedelta(hours=8))

_PLACED = ("enrolled", "confirmed")
_OPEN = ("waitlisted", *_PLACED)
_TAKEN = (*_OPEN, "completed")
_COUNTED = (*_PLACED, "completed", "not_completed")


class Training:
    """Told what was accepted. Rows are kept by the ids that the service gave."""

    def __init__(self, world: "Oracle") -> None:
        self._world = world
        self._story = world.story
        self.rules: dict[str, Row] = {}
        self.programmes: dict[str, Row] = {}
        self.courses: dict[tuple[str, str], Row] = {}
        self.quotas: dict[tuple[str, str], Row] = {}
        self.cohorts: dict[str, Row] = {}
        self.enrolments: dict[tuple[str, str], Row] = {}

    # --- Planning -----------------------------------------------------------------------------------------------------

    def rule_adopted(self, kind: str, definition: Row, source: str) -> None:
        self._story.tell(RULES, kind, "RuleAdopted")
        self.rules[kind] = adopted(self.rules.get(kind), kind, definition, source, self._world.now)

    def programme_opened(self, programme_id: str, name: str, area_code: str, year: int) -> None:
        self._story.tell(PROGRAMMES, programme_id, "ProgrammeOpened")
        self.programmes[programme_id] = {
            "programme_id": programme_id,
            "area_code": area_code,
            "name": name,
            "year": year,
            "status": "open",
        }

    def programme_closed(self, programme_id: str) -> None:
        self._story.tell(PROGRAMMES, programme_id, "ProgrammeClosed")
        self.programmes[programme_id]["status"] = "closed"

    def course_defined(self, programme_id: str, course_id: str, said: Row) -> None:
        self._story.tell(PROGRAMMES, programme_id, "CourseDefined")
        self.courses[programme_id, course_id] = {"programme_id": programme_id, "course_id": course_id, **said}

    def quota_set(self, programme_id: str, area_code: str, places: int) -> None:
        self._story.tell(PROGRAMMES, programme_id, "QuotaSet")
        row = {"programme_id": programme_id, "area_code": area_code, "places": places}
        self.quotas[programme_id, area_code] = row

    def cohort_planned(self, cohort_id: str, said: Row) -> None:
        """`said` is what the officer sent."""
        self._story.tell(COHORTS, cohort_id, "CohortPlanned")
        days = [date.fromisoformat(day) for day in said["days"]]
        before = self.rules["confirmation"]["definition"]["days_before_start"]
        confirm_by = max(self._today(), days[0] - timedelta(days=before))
        names = ("number", "programme_id", "course_id", "capacity", "delivery_mode", "area_code", "venue")
        self.cohorts[cohort_id] = {
            "cohort_id": cohort_id,
            **{name: said[name] for name in names},
            "course_title": self.courses[said["programme_id"], said["course_id"]]["title"],
            "days": said["days"],
            "starts_on": days[0],
            "ends_on": days[-1],
            "confirm_by": date.fromisoformat(said["confirm_by"]) if said.get("confirm_by") else confirm_by,
            "status": "planned",
            "days_recorded": [],
            "completed": 0,
            "not_completed": 0,
            "completed_on": None,
            "cancelled_because": None,
        }

    # --- Onto the list ------------------------------------------------------------------------------------------------

    def enrolled(self, cohort_id: str, participant_id: str) -> None:
        self._story.tell(COHORTS, cohort_id, "ParticipantEnrolled")
        self._place(self._on_the_list(cohort_id, participant_id), self._free_places(cohort_id)[0])

    def waitlisted(self, cohort_id: str, participant_id: str) -> None:
        self._story.tell(COHORTS, cohort_id, "ParticipantWaitlisted")
        self.enrolments[cohort_id, participant_id] = self._on_the_list(cohort_id, participant_id)

    def enrolled_by_priority(self, cohort_id: str, waitlist: int = 0, area: str | None = None) -> None:
        cohort = self.cohorts[cohort_id]
        if area is None:
            on_site = cohort["delivery_mode"] == "on_site"
            area = cohort["area_code"][:8] if on_site else self.programmes[cohort["programme_id"]]["area_code"]
        # Who waits in line does so with the priority that they were put on the waitlist with.
        waiting = {row["participant_id"]: row for row in self._list_of(cohort_id, "waitlisted")}
        line = [self._on_the_list(cohort_id, person) for person in self._pool_for(cohort, area)]
        holding = self.candidates_of(beginning_of(cohort["starts_on"]))
        line += [row for person, row in waiting.items() if person in holding]
        room = waitlist - len(waiting)
        for row in sorted(line, key=_in_line):
            person = row["participant_id"]
            if self._free_places(cohort_id) and self._quota_admits(cohort, row):
                room += person in waiting
                self._story.tell(COHORTS, cohort_id, "ParticipantEnrolled")
                self._place(row, self._free_places(cohort_id)[0])
            elif person not in waiting and room > 0:
                room -= 1
                self.waitlisted(cohort_id, person)

    def _on_the_list(self, cohort_id: str, participant_id: str) -> Row:
        standing = self._world.registry.standings[participant_id]
        return {
            "cohort_id": cohort_id,
            "participant_id": participant_id,
            "area_code": self._world.registry.participants[participant_id]["area_code"],
            "status": "waitlisted",
            "score": standing["score"],
            "priority": standing["priority"],
            "attendance": {},
            **dict.fromkeys(("days_present", "days_absent", "days_excused"), 0),
            "units": {},
            **dict.fromkeys(("place", "replaces", "confirm_by", "enrolled_at", "confirmed_at"), None),
            **dict.fromkeys(("withdrawn_because", "pre_test", "post_test", "attendance_percent"), None),
            **dict.fromkeys(("not_completed_because", "rule_id", "rule_version"), None),
            **dict.fromkeys(("certificate_number", "letter_number"), None),
            "sealed": False,
        }

    def _place(self, row: Row, place: int, *, replaces: str | None = None, at_last: bool = False) -> None:
        """`at_last`: the place became free meanwhile, and there is time until the day before the start."""
        cohort = self.cohorts[row["cohort_id"]]
        in_time = self._today() <= cohort["confirm_by"] and not at_last
        self.enrolments[row["cohort_id"], row["participant_id"]] = row | {
            "status": "enrolled",
            "place": place,
            "replaces": replaces,
            "confirm_by": cohort["confirm_by"] if in_time else cohort["starts_on"] - timedelta(days=1),
            "enrolled_at": self._world.now,
        }
        confirm_by = self.enrolments[row["cohort_id"], row["participant_id"]]["confirm_by"]
        self._world.notifications.place_given(row["cohort_id"], row["participant_id"], confirm_by)

    def _pool_for(self, cohort: Row, area: str) -> list[str]:
        starts_at = beginning_of(cohort["starts_on"])
        return [
            person
            for person in self.pool(starts_at, area)
            if (cohort["cohort_id"], person) not in self.enrolments and self._can_come(person, cohort)
        ]

    def pool(self, holds_at: datetime, area: str | None = None) -> list[str]:
        """Verified adults of an area who are on no list and completed nothing, the first in line first."""
        registry = self._world.registry
        busy = {row["participant_id"] for row in self.enrolments.values() if row["status"] in _TAKEN}
        free = [
            person
            for person in self.candidates_of(holds_at, area)
            if person not in busy and registry.participants[person]["adult"]
        ]
        return sorted(free, key=lambda person: (-registry.standings[person]["score"], person))

    def candidates_of(self, holds_at: datetime, area: str | None = None) -> list[str]:
        """Whose verification holds at an instant."""
        registry = self._world.registry
        return [
            person
            for person, standing in registry.standings.items()
            if standing["status"] == "verified"
            and standing["expires_at"] > holds_at
            and (area is None or _lies_in(registry.participants[person]["area_code"], area))
        ]

    def is_busy(self, participant_id: str) -> bool:
        return any(who == participant_id and row["status"] in _TAKEN for (_, who), row in self.enrolments.items())

    def _can_come(self, person: str, cohort: Row) -> bool:
        home = self._world.registry.participants[person]["area_code"]
        leaves = self._world.registry.standings[person]["can_leave_home"]
        near = len(cohort["area_code"]) >= 8 and home[:8] == cohort["area_code"][:8]
        return bool(leaves or near or cohort["delivery_mode"] == "on_site")

    # --- On the list --------------------------------------------------------------------------------------------------

    def confirmed(self, cohort_id: str, participant_id: str) -> None:
        self._story.tell(COHORTS, cohort_id, "ParticipantConfirmed")
        row = self.enrolments[cohort_id, participant_id]
        row |= {"status": "confirmed", "confirmed_at": self._world.now}

    def withdrew(self, cohort_id: str, participant_id: str, reason: str, note: str | None = None) -> None:
        self._give_up(cohort_id, {participant_id: reason}, note is not None)

    def loses_eligibility(self, participant_id: str, reason: str) -> None:
        """Who is on the list of a cohort that is still to come leaves it."""
        for cohort_id, cohort in sorted(self.cohorts.items()):
            row = self.enrolments.get((cohort_id, participant_id))
            if cohort["status"] == "planned" and row is not None and row["status"] in _OPEN:
                self._give_up(cohort_id, {participant_id: reason})

    def unconfirmed_places_are_taken_back(self) -> None:
        for cohort_id, cohort in self.cohorts.items():
            late = [row for row in self._list_of(cohort_id, "enrolled") if row["confirm_by"] < self._today()]
            if cohort["status"] == "planned" and late:
                self._give_up(cohort_id, {row["participant_id"]: "not_confirmed" for row in late})

    def next_deadline(self) -> datetime | None:
        days = [row["confirm_by"] for row in self.enrolments.values() if row["status"] == "enrolled"]
        return beginning_of(min(days) + timedelta(days=1)) if days else None

    def _give_up(self, cohort_id: str, leaving: Mapping[str, str], noted: bool = False) -> None:
        for participant_id, reason in leaving.items():
            self._story.tell(COHORTS, cohort_id, "ParticipantWithdrawn")
            row = self.enrolments[cohort_id, participant_id]
            row |= {"status": "withdrawn", "withdrawn_because": reason, "sealed": noted}
            self._world.notifications.place_lost(cohort_id, participant_id)
        cohort = self.cohorts[cohort_id]
        if cohort["status"] == "planned" and self._world.now < beginning_of(cohort["starts_on"]):
            self._fill_from_waitlist(cohort, leaving)

    def _fill_from_waitlist(self, cohort: Row, leaving: Mapping[str, str]) -> None:
        cohort_id, starts_at = cohort["cohort_id"], beginning_of(cohort["starts_on"])
        former = {row["place"]: row["participant_id"] for row in self._list_of(cohort_id, "withdrawn") if row["place"]}
        former |= {self.enrolments[cohort_id, who]["place"]: who for who in leaving}
        for row in sorted(self._list_of(cohort_id, "waitlisted"), key=_in_line):
            free = sorted(self._free_places(cohort_id), key=lambda place: (place not in former, place))
            holds = row["participant_id"] in self.candidates_of(starts_at)
            if free and holds and self._quota_admits(cohort, row):
                replaces = former.get(free[0])
                self._story.tell(COHORTS, cohort_id, "ParticipantReplaced" if replaces else "ParticipantEnrolled")
                self._place(row, free[0], replaces=replaces, at_last=True)

    def _free_places(self, cohort_id: str) -> list[int]:
        held = {row["place"] for row in self._list_of(cohort_id, *_PLACED)}
        return [place for place in range(1, self.cohorts[cohort_id]["capacity"] + 1) if place not in held]

    def _quota_admits(self, cohort: Row, row: Row) -> bool:
        quota = self.quotas.get((cohort["programme_id"], row["area_code"][:5]))
        return quota is None or self.places_taken(cohort["programme_id"], row["area_code"][:5]) < quota["places"]

    def places_taken(self, programme_id: str, kabupaten: str) -> int:
        return sum(
            row["status"] in _COUNTED and row["area_code"][:5] == kabupaten
            for (cohort_id, _), row in self.enrolments.items()
            if self.cohorts[cohort_id]["programme_id"] == programme_id
        )

    def _list_of(self, cohort_id: str, *statuses: str) -> list[Row]:
        return [row for (of, _), row in self.enrolments.items() if of == cohort_id and row["status"] in statuses]

    # --- In class -----------------------------------------------------------------------------------------------------

    def next_start(self) -> datetime | None:
        days = [cohort["starts_on"] for cohort in self.cohorts.values() if cohort["status"] == "planned"]
        return beginning_of(min(days)) if days else None

    def cohorts_start(self) -> None:
        for cohort_id, cohort in self.cohorts.items():
            if cohort["status"] != "planned" or cohort["starts_on"] > self._today():
                continue
            placed = self._list_of(cohort_id, *_PLACED)
            leaving = {row["participant_id"]: why for row in placed if (why := self._lost_at_the_start(row))}
            self._give_up(cohort_id, leaving)
            if len(leaving) == len(placed):
                self.cancelled(cohort_id, "too_few_participants")
                continue
            self._story.tell(COHORTS, cohort_id, "CohortStarted")
            cohort["status"] = "running"
            for row in self._list_of(cohort_id, "waitlisted"):
                row["status"] = "released"

    def _lost_at_the_start(self, row: Row) -> str | None:
        standing = self._world.registry.standings[row["participant_id"]]
        if standing["status"] in ("rejected", "erased"):
            return "no_longer_eligible"
        if row["participant_id"] not in self.candidates_of(self._world.now):
            return "verification_expired"
        return "not_confirmed" if row["status"] != "confirmed" else None

    def cancelled(self, cohort_id: str, because: str) -> None:
        self._story.tell(COHORTS, cohort_id, "CohortCancelled")
        for row in self._list_of(cohort_id, *_OPEN):
            row["status"] = "released"
        self.cohorts[cohort_id] |= {"status": "cancelled", "cancelled_because": because}

    def attendance_recorded(self, cohort_id: str, day: str, marks: Mapping[str, str]) -> None:
        self._story.tell(COHORTS, cohort_id, "AttendanceRecorded")
        self.cohorts[cohort_id]["days_recorded"].append(day)
        for person, status in marks.items():
            self._mark(cohort_id, person, day, status)

    def attendance_corrected(self, cohort_id: str, day: str, participant_id: str, status: str) -> None:
        self._story.tell(COHORTS, cohort_id, "AttendanceCorrected")
        self._mark(cohort_id, participant_id, day, status)

    def _mark(self, cohort_id: str, participant_id: str, day: str, status: str) -> None:
        row = self.enrolments[cohort_id, participant_id]
        row["attendance"][day] = status
        for kind in ("present", "absent", "excused"):
            row[f"days_{kind}"] = list(row["attendance"].values()).count(kind)

    def assessed(self, cohort_id: str, kind: str, results: list[Row]) -> None:
        self._story.tell(COHORTS, cohort_id, "AssessmentRecorded")
        for result in results:
            row = self.enrolments[cohort_id, result["participant_id"]]
            if kind == "unit":
                before = row["units"].get(result["unit_id"], {"attempts": 0})
                now = {"attempts": before["attempts"] + 1, "competent": result["competent"]}
                row["units"][result["unit_id"]] = now
            else:
                row[kind] = result["score"]

    def completed(self, cohort_id: str) -> None:
        cohort = self.cohorts[cohort_id]
        course = self.courses[cohort["programme_id"], cohort["course_id"]]
        for row in sorted(self._list_of(cohort_id, "confirmed"), key=lambda row: row["place"]):
            self._judge(cohort, course, row)
        self._story.tell(COHORTS, cohort_id, "CohortCompleted")
        cohort |= {
            "status": "completed",
            "completed": len(self._list_of(cohort_id, "completed")),
            "not_completed": len(self._list_of(cohort_id, "not_completed")),
            "completed_on": self._today(),
        }
        done = sorted(self._list_of(cohort_id, "completed"), key=lambda row: row["place"])
        self._world.outcomes.cohort_completed(cohort_id, [row["participant_id"] for row in done])

    def _judge(self, cohort: Row, course: Row, row: Row) -> None:
        """Certificate and letter for who came to enough days and is competent; a letter for who only came."""
        rule, days = self.rules["completion"], len(cohort["days"])
        came = row["days_present"] * 100 >= rule["definition"]["minimum_attendance_percent"] * days
        critical = [unit["unit_id"] for unit in course["units"] if unit["critical"]]
        competent = all(row["units"].get(unit, {}).get("competent", False) for unit in critical)
        number = f"{cohort['number'].replace('-', '/')}/{row['place']:04d}"
        why = None if came and competent else "not_competent" if came else "attendance_too_low"
        row |= {
            "status": "completed" if why is None else "not_completed",
            "not_completed_because": why,
            "attendance_percent": row["days_present"] * 100 // days,
            "rule_id": "completion",
            "rule_version": rule["rule_version"],
            "certificate_number": number if why is None else None,
            "letter_number": f"SK.{number}" if came else None,
        }
        self._story.tell(COHORTS, cohort["cohort_id"], "ParticipantNotCompleted" if why else "ParticipantCompleted")
        self._world.notifications.training_ended(
            cohort["cohort_id"], row["participant_id"], row["attendance_percent"], completed=why is None
        )
        for _ in range((why is None) + came):
            self._story.tell(COHORTS, cohort["cohort_id"], "CertificateIssued")

    def _today(self) -> date:
        return self._world.now.astimezone(WITA).date()

    # --- As tables ----------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[tuple[Any, ...], Row]]:
        heads = {
            "rule": (RULES, self.rules),
            "programme": (PROGRAMMES, self.programmes),
            "cohort": (COHORTS, {cohort_id: self._counted(cohort_id) for cohort_id in self.cohorts}),
        }
        rows: dict[str, dict[tuple[Any, ...], Row]] = {
            "candidate": {(person,): self._candidate(person) for person in self._world.registry.standings},
            "demand": {(household_id,): self._demand(household_id) for household_id in self._world.registry.households},
            "course": dict(self.courses),
            "quota": dict(self.quotas),
            "enrolment": dict(self.enrolments),
        }
        return rows | {
            name: {(key,): row | {"version": self._story.version(topic, key)} for key, row in rows_of_name.items()}
            for name, (topic, rows_of_name) in heads.items()
        }

    def _counted(self, cohort_id: str) -> Row:
        """Who completed still holds their place."""
        held = len(self._list_of(cohort_id, *_COUNTED))
        return self.cohorts[cohort_id] | {
            "enrolled": held,
            "waitlisted": len(self._list_of(cohort_id, "waitlisted")),
        }

    def _candidate(self, person: str) -> Row:
        participant = self._world.registry.participants[person]
        known = ("participant_id", "area_code", "household_id", "sex", "age_band", "adult")
        return (
            {"verified_at": None, "expires_at": None, "score": 0, "priority": None}
            | self._world.registry.standings[person]
            | {name: participant[name] for name in known}
            | {
                "version": self._story.version("registry.participants", person),
                "sealed": participant["status"] != "erased",
            }
        )

    def _demand(self, household_id: str) -> Row:
        household = self._world.registry.households[household_id]
        return {
            "household_id": household_id,
            "version": self._story.version("registry.households", household_id),
            "area_code": household["area_code"],
            "status": household["status"],
            "decile": household["welfare_decile"],
            "percentile": household["welfare_percentile"],
            "people": household["people"],
        }


def beginning_of(day: date) -> datetime:
    """00:00 in Nusa Tenggara."""
    return datetime(day.year, day.month, day.day, tzinfo=WITA).astimezone(UTC)


def _in_line(row: Row) -> tuple[int, str]:
    return -row["score"], row["participant_id"]


def _lies_in(area_code: str, area: str) -> bool:
    return area_code == area or area_code.startswith(f"{area}.")
