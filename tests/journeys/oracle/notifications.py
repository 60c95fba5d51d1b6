"""What notifications must say: who is told of what, in which words, when and how; and who is not told, and why."""

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from tests.journeys.oracle.outcomes import CASES
from tests.journeys.oracle.registry import PARTICIPANTS
from tests.journeys.oracle.training import COHORTS, WITA, beginning_of

if TYPE_CHECKING:
    from tests.journeys.oracle.model import Oracle

Row = dict[str, Any]

RULES, TEMPLATES = "notifications.rules", "notifications.templates"
CONTACTS, DELIVERIES = "notifications.contacts", "notifications.deliveries"

_MONTHS = {
    "id": "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember",
    "en": "January February March April May June July August September October November December",
}
_DAYS = ("starts_on", "ends_on", "confirm_by", "due_on", "visit_by", "told_on")
_NAMED_DAY = {"ParticipantEnrolled": "starts_on", "ParticipantReplaced": "starts_on"}
_NAMED_DAY |= {"VerificationAssigned": "due_on", "FollowUpDue": "visit_by"}
_TEXTS = ("subject_id", "subject_en", "text_id", "text_en")


class Notifications:
    """Told by the other parts what people can be told of. Ids of facts are written as where they stand:
    "training.cohorts/<id>@7"; a notification is named by the fact, the person and the rule."""

    def __init__(self, world: "Oracle") -> None:
        self._world = world
        self._story = world.story
        self.rules: dict[str, Row] = {}
        self.templates: dict[str, Row] = {}
        self.contacts: dict[str, Row] = {}
        self.deliveries: dict[str, Row] = {}
        self.letters: dict[str, Row] = {}  # what was sent: to whom and in which words, by notification
        self._addresses: dict[str, Row] = {}  # by subject
        self._assigned_by: dict[str, str | None] = {}
        self._placements: dict[tuple[str, str], Row] = {}
        self._due: dict[str, list[Row]] = {}

    # --- Rules, templates, contacts -----------------------------------------------------------------------------------

    def template_adopted(self, said: Row) -> None:
        template_id = said["template_id"]
        self._story.tell(TEMPLATES, template_id, "TemplateAdopted")
        row = self.templates.setdefault(template_id, {"template_id": template_id, "area_code": "", "versions": []})
        version = {"template_version": len(row["versions"]) + 1, "adopted_at": self._world.now}
        row["versions"].append(version | {name: said[name] for name in _TEXTS})

    def rule_adopted(self, said: Row) -> None:
        """`said`: a rule with all that it can say."""
        rule_id = said["rule_id"]
        self._story.tell(RULES, rule_id, "NotificationRuleAdopted")
        new = {"rule_id": rule_id, "area_code": "", "fact": said["fact"], "recipient": said["recipient"]}
        row = self.rules.setdefault(rule_id, new | {"versions": []})
        version = {name: value for name, value in said.items() if name not in ("rule_id", "fact", "recipient")}
        row["versions"].append(version | {"rule_version": len(row["versions"]) + 1, "adopted_at": self._world.now})

    def contact_changed(self, subject_id: str, area_code: str, said: Row) -> None:
        self._story.tell(CONTACTS, subject_id, "ContactPreferenceChanged")
        self._addresses[subject_id] = {name: said.get(name) for name in ("name", "phone", "email")}
        self.contacts[subject_id] = {
            "subject_id": subject_id,
            "area_code": area_code,
            "opted_out": said.get("opted_out", False),
            "language": said.get("language", "id"),
            "channels": said.get("channels", []),
            "changed_at": self._world.now,
            "sealed": any(self._addresses[subject_id].values()),
        }

    # --- What others tell ---------------------------------------------------------------------------------------------

    def visit_assigned(self, person: str, facilitator_id: str, due_on: date, version: int) -> None:
        fact = place_of(PARTICIPANTS, person, version)
        self._assigned_by[person] = fact
        area = self._world.registry.participants[person]["area_code"]
        self._tell("registry.VerificationAssigned", fact, person, area, {"due_on": due_on.isoformat()}, facilitator_id)

    def visit_no_longer_open(self, person: str) -> None:
        """They were visited, or are no participants any more."""
        self._assigned_by[person] = None

    def place_given(self, cohort_id: str, person: str, confirm_by: date) -> None:
        """By the last fact of the cohort's stream."""
        version = self._story.version(COHORTS, cohort_id)
        fact, said = place_of(COHORTS, cohort_id, version), self._story.facts[COHORTS, cohort_id][-1]
        area = self._world.training.enrolments[cohort_id, person]["area_code"]
        self._placements[cohort_id, person] = {"area_code": area, "status": "held", "given_by": fact}
        values = self._of_class(cohort_id) | {"confirm_by": confirm_by.isoformat()}
        self._tell(f"training.{said}", fact, person, area, values)

    def place_lost(self, cohort_id: str, person: str) -> None:
        if (cohort_id, person) in self._placements:
            self._placements[cohort_id, person]["status"] = "lost"

    def training_ended(self, cohort_id: str, person: str, attendance_percent: int, *, completed: bool) -> None:
        placement = self._placements[cohort_id, person]
        placement["status"] = "ended"
        if completed:
            fact = place_of(COHORTS, cohort_id, self._story.version(COHORTS, cohort_id))
            values = self._of_class(cohort_id) | {"attendance_percent": str(attendance_percent)}
            self._tell("training.ParticipantCompleted", fact, person, placement["area_code"], values)

    def _of_class(self, cohort_id: str) -> Row:
        cohort = self._world.training.cohorts[cohort_id]
        return {
            "course": cohort["course_title"],
            "cohort": cohort["number"],
            "venue": cohort["venue"],
            "starts_on": cohort["days"][0],
            "ends_on": cohort["days"][-1],
            "days": str(len(cohort["days"])),
        }

    def follow_up_due(self, case_id: str, months: int, facilitator_id: str | None) -> None:
        fact = place_of(CASES, case_id, self._story.version(CASES, case_id))
        self._due.setdefault(case_id, []).append({"follow_up": months, "told_by": fact})
        row = self._world.outcomes.follow_ups[case_id, months]
        days = {"due_on": row["due_on"].isoformat(), "visit_by": row["missed_after"].isoformat()}
        values = {"follow_up": str(months), **days}
        self._tell("outcomes.FollowUpDue", fact, case_id, row["area_code"], values, facilitator_id)

    def follow_up_settled(self, case_id: str, months: int) -> None:
        self._due[case_id] = [due for due in self._due.get(case_id, []) if due["follow_up"] != months]

    def case_closed(self, case_id: str) -> None:
        self._due[case_id] = []

    # --- What is wanted -----------------------------------------------------------------------------------------------

    def _tell(
        self, fact: str, told_by: str, person: str, area_code: str, values: Row, facilitator_id: str | None = None
    ) -> None:
        now = self._world.now
        always = {"area": area_code, "told_on": now.astimezone(WITA).date().isoformat(), "told_at": now.isoformat()}
        for rule in self.rules.values():
            recipient = person if rule["recipient"] == "participant" else facilitator_id and f"staff:{facilitator_id}"
            version = rule["versions"][-1]
            if rule["fact"] == fact and version["active"] and recipient is not None:
                self._want(rule, told_by, recipient, person, area_code, always | values)

    def _want(self, rule: Row, told_by: str, recipient: str, person: str, area_code: str, values: Row) -> None:
        now, version = self._world.now, rule["versions"][-1]
        days_before, news_for = version["remind_days_before"], timedelta(hours=version["tell_within_hours"])
        send_after = now
        if days_before is not None:
            day = date.fromisoformat(values[_NAMED_DAY[rule["fact"].partition(".")[2]]])
            send_after = beginning_of(day - timedelta(days=days_before)) + timedelta(hours=8)
            if send_after <= now:
                return
        send_after = out_of_quiet_hours(send_after, version)
        send_before = send_after + news_for
        if days_before is not None:
            send_before = min(send_before, beginning_of(day))
        wanted = f"{told_by} {recipient} {rule['rule_id']}"
        self._story.tell(DELIVERIES, wanted, "NotificationRequested")
        template = self.templates[version["template_id"]]
        self.deliveries[wanted] = {
            "notification_id": wanted,
            "area_code": area_code,
            "status": "requested",
            "rule_id": rule["rule_id"],
            "rule_version": version["rule_version"],
            "template_id": version["template_id"],
            "template_version": len(template["versions"]),
            "recipient": rule["recipient"],
            "recipient_id": recipient,
            "participant_id": person,
            "about_id": told_by,
            "about_stream": told_by.partition("@")[0],
            "told": values,
            "requested_at": now,
            "send_after": send_after,
            "send_before": send_before,
            "next_at": send_after,
            "attempt": 0,
            "repeatable": False,
            "in_doubt": False,
            "refused": [],
            **dict.fromkeys(("channel", "sending_by", "because"), None),
            **dict.fromkeys(("provider_reference", "sent_at", "delivered_at"), None),
        }
        if send_after <= now:
            self._send(wanted)

    # --- What is sent -------------------------------------------------------------------------------------------------

    def next_message(self) -> datetime | None:
        times = [row["send_after"] for row in self.deliveries.values() if row["status"] == "requested"]
        return min(times, default=None)

    def messages_go(self) -> None:
        for wanted, row in self.deliveries.items():
            if row["status"] == "requested" and row["send_after"] <= self._world.now:
                self._send(wanted)

    def _send(self, wanted: str) -> None:
        row = self.deliveries[wanted]
        reason = self._why_not(row)
        ways = [] if reason else self._ways(row)
        if not ways:
            self._story.tell(DELIVERIES, wanted, "NotificationSuppressed")
            row |= {"status": "suppressed", "because": reason or "no_address"}
            return
        channel, address = ways[0]
        self._story.tell(DELIVERIES, wanted, "SendingStarted")
        self._story.tell(DELIVERIES, wanted, "NotificationSent")
        row |= {
            "status": "sent",
            "attempt": 1,
            "channel": channel,
            "repeatable": True,
            "provider_reference": f"{wanted}.{channel}",
            "sent_at": self._world.now,
        }
        self.letters[wanted] = self._letter(row, channel, address)

    def _why_not(self, row: Row) -> str | None:
        contact = self.contacts.get(row["recipient_id"])
        if not self.rules[row["rule_id"]]["versions"][-1]["active"]:
            return "withdrawn"
        if self._world.registry.participants[row["participant_id"]]["status"] == "erased":
            return "erased"
        if not self._still_so(row):
            return "overtaken"
        if contact is not None and contact["opted_out"]:
            return "opted_out"
        return None

    def _still_so(self, row: Row) -> bool:
        """The place is theirs and the class still to come; the visit is still to be made."""
        person, fact = row["participant_id"], row["about_id"]
        topic, _, key = row["about_stream"].partition("/")
        if topic == PARTICIPANTS:
            return self._assigned_by[person] == fact
        if topic == CASES:
            return any(due["told_by"] == fact for due in self._due[person])
        if self.rules[row["rule_id"]]["fact"] == "training.ParticipantCompleted":
            return True
        placement = self._placements[key, person]
        planned = self._world.training.cohorts[key]["status"] == "planned"
        return planned and placement["status"] == "held" and placement["given_by"] == fact

    def _ways(self, row: Row) -> list[tuple[str, str]]:
        """Channels in the recipient's own order, or the rule's, with an address for each."""
        contact = self.contacts.get(row["recipient_id"])
        channels = (contact and contact["channels"]) or self.rules[row["rule_id"]]["versions"][-1]["channels"]
        said = self._addresses.get(row["recipient_id"], {})
        phone = said.get("phone") or self._world.registry.phones.get(row["recipient_id"])
        addresses = {"email": said.get("email"), "whatsapp": phone, "sms": phone}
        return [(channel, address) for channel in channels if (address := addresses[channel])]

    def _letter(self, row: Row, channel: str, address: str) -> Row:
        contact = self.contacts.get(row["recipient_id"])
        language = "id" if contact is None else contact["language"]
        template = self.templates[row["template_id"]]["versions"][row["template_version"] - 1]
        unnamed = {"id": "Bapak/Ibu", "en": "Sir or Madam"}[language]
        participant = self._world.registry.names.get(row["participant_id"], unnamed)
        own = self._addresses.get(row["recipient_id"], {}).get("name")
        name = own or (participant if row["recipient"] == "participant" else unnamed)
        values = {place: in_words(place, value, language) for place, value in row["told"].items()}
        values |= {"name": name, "participant": participant}
        written = {part: template[f"{part}_{language}"].format_map(values) for part in ("subject", "text")}
        return {"channel": channel, "to": address, "language": language, **written}

    def left_in_doubt(self, participant_id: str, rule_id: str) -> None:
        """A worker died while it sent this, and the provider tells no copies: nobody knows whether it went out."""
        told = [wanted for wanted, row in self.deliveries.items() if row["participant_id"] == participant_id]
        (wanted,) = [wanted for wanted in told if self.deliveries[wanted]["rule_id"] == rule_id]
        assert self._story.facts[DELIVERIES, wanted].pop() == "NotificationSent"
        self._story.tell(DELIVERIES, wanted, "NotificationFailed")
        self.deliveries[wanted] |= {"status": "failed", "because": "in_doubt", "provider_reference": None}

    # --- As tables ----------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[tuple[Any, ...], Row]]:
        registry, training, outcomes = self._world.registry, self._world.training, self._world.outcomes
        heads: dict[str, tuple[str, dict[str, Row]]] = {
            "person": (PARTICIPANTS, {who: self._person(who) for who in registry.participants}),
            "cohort": (COHORTS, {cohort_id: self._cohort(cohort_id) for cohort_id in training.cohorts}),
            "case_file": (CASES, {case_id: self._case(case_id) for case_id in outcomes.cases}),
            "template": (TEMPLATES, self.templates),
            "rule": (RULES, self.rules),
            "contact": (CONTACTS, self.contacts),
            "delivery": (DELIVERIES, self.deliveries),
        }
        placements = {
            key: row | dict(zip(("cohort_id", "participant_id"), key, strict=True))
            for key, row in self._placements.items()
        }
        return {"placement": placements} | {
            name: {(key,): row | {"version": self._story.version(topic, key)} for key, row in rows_of_name.items()}
            for name, (topic, rows_of_name) in heads.items()
        }

    def _person(self, person: str) -> Row:
        participant = self._world.registry.participants[person]
        erased = participant["status"] == "erased"
        return {
            "participant_id": person,
            "area_code": participant["area_code"],
            "status": "erased" if erased else "known",
            "assigned_by": None if erased else self._assigned_by.get(person),
            "sealed": not erased,
        }

    def _cohort(self, cohort_id: str) -> Row:
        cohort = self._world.training.cohorts[cohort_id]
        names = ("cohort_id", "area_code", "number", "course_title", "venue", "days", "status")
        return {name: cohort[name] for name in names}

    def _case(self, case_id: str) -> Row:
        area_code = self._world.outcomes.cases[case_id]["area_code"]
        return {"case_id": case_id, "area_code": area_code, "due": self._due.get(case_id, [])}


def place_of(topic: str, key: str, version: int) -> str:
    """Where a fact stands, which is its name here."""
    return f"{topic}/{key}@{version}"


def out_of_quiet_hours(instant: datetime, version: Row) -> datetime:
    """The instant, or the next end of the quiet hours if it lies in them."""
    begins, ends = time.fromisoformat(version["quiet_from"]), time.fromisoformat(version["quiet_until"])
    here = instant.astimezone(WITA)
    minute = timedelta(minutes=1)
    while is_within(here.time(), begins, ends):
        here = here.replace(second=0, microsecond=0) + minute
    return here.astimezone(UTC)


def is_within(now: time, begins: time, ends: time) -> bool:
    return begins <= now < ends if begins <= ends else now >= begins or now < ends


def in_words(place: str, value: str, language: str) -> str:
    if place not in _DAYS:
        return value
    day = date.fromisoformat(value)
    return f"{day.day} {_MONTHS[language].split()[day.month - 1]} {day.year}"
