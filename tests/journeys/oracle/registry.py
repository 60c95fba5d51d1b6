"""What the registry must say: households and people, who is a participant, what partners were told."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.journeys.oracle.lists import Family, Person, TargetingList
from tests.journeys.oracle.priority import priority_under

if TYPE_CHECKING:
    from tests.journeys.oracle.model import Oracle

Row = dict[str, Any]

HOUSEHOLDS, PARTICIPANTS, SNAPSHOTS = "registry.households", "registry.participants", "registry.snapshots"
RULES, REJECTIONS = "registry.rules", "partners.dukcapil.rejected"

_SERVED = ("52.", "53.21.")
_ENDED = ("rejected", "erased")


class Registry:
    """Told what was accepted. Rows are kept by the ids that the service gave."""

    def __init__(self, world: "Oracle") -> None:
        self._world = world
        self._story = world.story
        self.snapshots: dict[str, Row] = {}
        self.households: dict[str, Row] = {}
        self.members: dict[tuple[str, str], Row] = {}
        self.participants: dict[str, Row] = {}
        self.visits: dict[tuple[str, str], Row] = {}
        self.rules: dict[str, Row] = {}
        self.rejections: dict[str, Row] = {}
        self.standings: dict[str, Row] = {}  # what other services know of a participant
        self.family_of: dict[tuple[str, str], str] = {}  # (source, family id) -> household
        self.national_ids: dict[str, str] = {}  # person -> NIK
        self.source_ids: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.home_of: dict[str, str] = {}  # person -> household
        self.phones: dict[str, str] = {}  # of participants, as visits found them
        self.addresses: dict[str, str | None] = {}  # where a household lives, as far as it is known
        self._phones_seen: dict[tuple[str, str], str | None] = {}  # by visit
        self._lists: dict[str, TargetingList] = {}

    # --- Rules --------------------------------------------------------------------------------------------------------

    def rule_adopted(self, kind: str, definition: Row, source: str) -> None:
        before = self.rules.get(kind)
        self._story.tell(RULES, kind, "RuleAdopted")
        self.rules[kind] = adopted(before, kind, definition, source, self._world.now)
        if kind == "priority":
            for participant in self._verified():
                self._prioritise(participant)

    # --- Lists --------------------------------------------------------------------------------------------------------

    def list_received(self, snapshot_id: str, read: TargetingList, file_name: str) -> None:
        self._story.tell(SNAPSHOTS, snapshot_id, "SnapshotReceived")
        self._lists[snapshot_id] = read
        (area,) = read.areas
        self.snapshots[snapshot_id] = {
            "snapshot_id": snapshot_id,
            "area_code": area,
            "status": "received",
            "source": read.source,
            "dated": read.dated,
            "areas": read.areas,
            "file_name": file_name,
            "file_digest": read.digest,
            "rows": read.rows,
            "rows_rejected": read.rows - read.people,
            "households": len(read.families),
            "people": read.people,
            "received_at": self._world.now,
            "applied_at": None,
            **dict.fromkeys(("households_on_list", "people_on_list", "listed", "rank_changed"), 0),
            **dict.fromkeys(("unchanged", "delisted", "unresolved"), 0),
        }

    def list_applied(self, snapshot_id: str, households: dict[int, str], people: dict[str, str]) -> None:
        """`households`: the ids of those that were listed, by first row; `people`: theirs, by the source's id."""
        read, snapshot = self._lists[snapshot_id], self.snapshots[snapshot_id]
        known_before = set(self.households)
        taken: set[str] = set()
        spared: set[str] = set()
        for family in read.families:
            candidates, in_doubt = self._meant(family, read, known_before)
            household_id = candidates[0] if candidates else households[family.row]
            known = self.households.get(household_id)
            staying = self._who_may_be_listed(household_id, family, people)
            if in_doubt or taken.intersection(candidates) or not staying:
                spared.update(candidates)
                snapshot["unresolved"] += 1
                continue
            snapshot["people_on_list"] += len(family.people)
            taken.add(household_id)
            if known is not None and known["status"] == "listed":
                self._said_anew(household_id, family, snapshot_id)
            else:
                self._listed(household_id, family, snapshot_id, staying)
            self.family_of[read.source, family.family_id] = household_id
        self._delist(snapshot_id, read, taken | spared)
        snapshot["households_on_list"] = sum(snapshot[what] for what in ("listed", "rank_changed", "unchanged"))
        self._story.tell(SNAPSHOTS, snapshot_id, "SnapshotApplied")
        snapshot |= {"status": "applied", "applied_at": self._world.now}

    def _meant(self, family: Family, read: TargetingList, known_before: set[str]) -> tuple[list[str], bool]:
        """The known households that may be meant, and whether it is in doubt which, or if any."""
        if known := self.family_of.get((read.source, family.family_id)):
            return [known], False
        nik = family.head.national_id
        heads = {home: row["head_person_id"] for home, row in self.households.items() if home in known_before}
        same = sorted(home for home, head in heads.items() if nik and head and self.national_ids.get(head) == nik)
        shared = sum(nik != "" and other.head.national_id == nik for other in read.families) > 1
        return same, len(same) > 1 or (len(same) == 1 and (shared or self._is_named(same[0], read)))

    def _is_named(self, household_id: str, read: TargetingList) -> bool:
        return any(
            home == household_id and source == read.source and family_id in read.names
            for (source, family_id), home in self.family_of.items()
        )

    def _who_may_be_listed(self, household_id: str, family: Family, new: dict[str, str]) -> dict[str, Person]:
        """By id. Who is known keeps the id, and who is known to have died is not listed again."""
        known = [who for home, who in self.members if home == household_id]
        by_nik = {self.national_ids[who]: who for who in known if self.national_ids.get(who)}
        by_source = {self.source_ids.get(who): who for who in known}
        found = {}
        for person in family.people:
            who = by_nik.get(person.national_id) or by_source.get(person.individual_id) or new.get(person.individual_id)
            left_because = self.members.get((household_id, who or ""), {}).get("left_because")
            if who is not None and left_because in (None, "not_on_list"):
                found[who] = person
        return found

    def _listed(self, household_id: str, family: Family, snapshot_id: str, people: dict[str, Person]) -> None:
        snapshot = self.snapshots[snapshot_id]
        for (home, who), member in self.members.items():
            if home == household_id and who not in people and member["left_because"] is None:
                self._story.tell(HOUSEHOLDS, household_id, "MemberLeft")
                member |= {"left_because": "not_on_list", "left_on": snapshot["dated"]}
                self.households[household_id]["people"] -= 1
                self._world.outcomes.household_stands(household_id)
        self._story.tell(HOUSEHOLDS, household_id, "HouseholdListed")
        snapshot["listed"] += 1
        self.addresses[household_id] = family.address
        self.households[household_id] = {
            "household_id": household_id,
            "area_code": family.village,
            "status": "listed",
            **_rank(family, snapshot),
            "previous_rank": None,
            "file_digest": snapshot["file_digest"],
            "file_row": family.row,
            "people": len(people),
            "head_person_id": next((who for who, person in people.items() if person.head), None),
            "conditions": family.conditions,
            "delisted_because": None,
            "delisted_by": None,
            "sealed": True,
            "sealed_area": family.village,
        }
        for person_id, person in people.items():
            self.home_of[person_id], self.names[person_id] = household_id, person.name
            self.national_ids[person_id], self.source_ids[person_id] = person.national_id, person.individual_id
            self.members[household_id, person_id] = {
                "household_id": household_id,
                "person_id": person_id,
                "area_code": family.village,
                "head": person.head,
                "sex": person.sex,
                "age_band": person.age_band,
                "adult": person.adult,
                "civil_registry_match": person.civil_registry_match,
                "left_because": None,
                "left_on": None,
                "sealed": True,
            }
        self._world.outcomes.household_stands(household_id, list(people))

    def _said_anew(self, household_id: str, family: Family, snapshot_id: str) -> None:
        household, snapshot = self.households[household_id], self.snapshots[snapshot_id]
        before = {name: household[name] for name in _RANK}
        after = _rank(family, snapshot)
        same = all(before[name] == after[name] for name in ("welfare_decile", "welfare_percentile"))
        snapshot["unchanged" if same else "rank_changed"] += 1
        self._story.tell(HOUSEHOLDS, household_id, "HouseholdConfirmed" if same else "HouseholdRankChanged")
        household |= after | {"file_digest": snapshot["file_digest"], "file_row": family.row}
        household["previous_rank"] = before | {"dated": before["dated"].isoformat()}
        self._world.outcomes.household_stands(household_id)
        if (snapshot["source"], family.family_id) not in self.family_of:
            # The source numbers it anew. What was known of its address is sealed with that, unless it has moved away.
            self._story.tell(HOUSEHOLDS, household_id, "HouseholdChanged")
            household["sealed_area"] = household["area_code"]
        if not same:
            for participant in self._verified():
                if participant["household_id"] == household_id:
                    self._prioritise(participant)

    def _delist(self, snapshot_id: str, read: TargetingList, untouched: set[str]) -> None:
        for household_id, household in self.households.items():
            if (
                household["status"] == "listed"
                and household["source"] == read.source
                and household_id not in untouched
                and any(household["area_code"].startswith(f"{area}.") for area in read.areas)
                and not self._is_named(household_id, read)
            ):
                self._delisted(household_id, "not_on_list", snapshot_id)
                self.snapshots[snapshot_id]["delisted"] += 1

    def _delisted(self, household_id: str, because: str, by: str | None = None) -> None:
        self._story.tell(HOUSEHOLDS, household_id, "HouseholdDelisted")
        self.households[household_id] |= {"status": "delisted", "delisted_because": because, "delisted_by": by}

    # --- The way of a participant -------------------------------------------------------------------------------------

    def assigned(self, person_ids: list[str], facilitator_id: str, due_on: date) -> None:
        for person_id in person_ids:
            if person_id not in self.participants:
                self._nominated(person_id)
            version = self._story.tell(PARTICIPANTS, person_id, "VerificationAssigned")
            self.participants[person_id] |= {
                "status": "assigned",
                "facilitator_id": facilitator_id,
                "due_on": due_on,
                **dict.fromkeys(("visit_id", "visited_at", "finding", "willing"), None),
                **dict.fromkeys(("can_leave_home", "situation_changed", "conditions"), None),
            }
            self._world.notifications.visit_assigned(person_id, facilitator_id, due_on, version)

    def _nominated(self, person_id: str) -> None:
        self._story.tell(PARTICIPANTS, person_id, "ParticipantNominated")
        home = self.home_of[person_id]
        member = self.members[home, person_id]
        self.participants[person_id] = {
            "participant_id": person_id,
            "household_id": home,
            "route": "targeting_list",
            **{name: member[name] for name in ("area_code", "sex", "age_band", "adult")},
            "visits": 0,
            **dict.fromkeys(("reachable", "verified_at", "expires_at", "priority", "rejection"), None),
            **dict.fromkeys(("priority_score", "priority_rule_version"), None),
            "sealed": True,
        }
        self.standings[person_id] = {"status": "nominated", "can_leave_home": False, "reachable": False}
        self._world.outcomes.person_nominated(person_id)

    def visited(self, participant_id: str, visit: Row, facilitator_id: str) -> None:
        """`visit` is what the device sent. A copy of it changes nothing, and one from before the last is only kept."""
        if (participant_id, visit["visit_id"]) in self.visits:
            return
        self._story.tell(PARTICIPANTS, participant_id, "VisitRecorded")
        participant = self.participants[participant_id]
        said = ("finding", "willing", "can_leave_home", "reachable")
        seen = {name: visit[name] for name in said} | {
            "situation_changed": visit.get("situation_changed", False),
            # Who saw how people live saw what assistance they receive.
            "conditions": visit.get("conditions") and {"social_assistance": [], **visit["conditions"]},
        }
        captured_at = datetime.fromisoformat(visit["captured_at"])
        participant["visits"] += 1
        if participant["visited_at"] is None or participant["visited_at"] <= captured_at:
            found = {"status": "visited", "visit_id": visit["visit_id"], "visited_at": captured_at}
            participant |= seen | found
        self.visits[participant_id, visit["visit_id"]] = seen | {
            "participant_id": participant_id,
            "visit_id": visit["visit_id"],
            "area_code": participant["area_code"],
            "facilitator_id": facilitator_id,
            "captured_at": captured_at,
            "received_at": self._world.now,
            "sealed": any(visit.get(name) is not None for name in ("notes", "phone", "latitude", "longitude")),
        }
        self._phones_seen[participant_id, visit["visit_id"]] = visit.get("phone")
        self._world.outcomes.person_visited(participant_id, visit["visit_id"], seen["conditions"])
        self._world.notifications.visit_no_longer_open(participant_id)

    def verified(self, participant_id: str) -> None:
        participant = self.participants[participant_id]
        self._story.tell(PARTICIPANTS, participant_id, "ParticipantVerified")
        held = timedelta(days=self.rules["verification"]["definition"]["holds_days"])
        participant |= {
            "status": "verified",
            "verified_at": self._world.now,
            "expires_at": participant["visited_at"] + held,
        }
        self._put_in_line(participant)
        now_known = ("can_leave_home", "reachable", "verified_at", "expires_at")
        self.standings[participant_id] |= {"status": "verified"} | {name: participant[name] for name in now_known}
        if phone := self._phones_seen[participant_id, participant["visit_id"]]:
            self.phones[participant_id] = phone
        self._world.outcomes.person_verified(participant_id)

    def rejected(self, participant_id: str, reason: str) -> None:
        self._story.tell(PARTICIPANTS, participant_id, "ParticipantRejected")
        ended = {"status": "rejected", "rejection": reason, "verified_at": None, "expires_at": None}
        self.participants[participant_id] |= ended
        self.standings[participant_id]["status"] = "rejected"
        self._world.notifications.visit_no_longer_open(participant_id)
        self._world.training.loses_eligibility(participant_id, "no_longer_eligible")
        self._world.outcomes.person_ended(participant_id)

    def corrected(self, person_id: str, name: str) -> None:
        """The name alone was wrong."""
        self.names[person_id] = name
        self._story.tell(HOUSEHOLDS, self.home_of[person_id], "MemberCorrected")
        if person_id in self.participants:
            self._story.tell(PARTICIPANTS, person_id, "ParticipantCorrected")
            self._world.outcomes.person_corrected(person_id)

    def erased(self, person_id: str) -> None:
        """A participant is forgotten at their wish."""
        self._story.tell(PARTICIPANTS, person_id, "PersonErased")
        del self.names[person_id], self.national_ids[person_id], self.source_ids[person_id]
        forgotten = {"status": "erased", "verified_at": None, "expires_at": None, "sealed": False}
        self.participants[person_id] |= forgotten
        for visit in self._visits_of(person_id):
            visit["sealed"] = False
        self.standings[person_id]["status"] = "erased"
        self.phones.pop(person_id, None)
        self._world.training.loses_eligibility(person_id, "no_longer_eligible")
        self._world.outcomes.person_ended(person_id)

    def next_expiry(self) -> datetime | None:
        return min((participant["expires_at"] for participant in self._verified()), default=None)

    def verifications_expire(self) -> None:
        for participant in sorted(self._verified(), key=lambda row: row["expires_at"]):
            if participant["expires_at"] <= self._world.now:
                self._story.tell(PARTICIPANTS, participant["participant_id"], "VerificationExpired")
                participant |= {"status": "expired", "verified_at": None, "expires_at": None}
                self.standings[participant["participant_id"]]["status"] = "expired"
                self._world.training.loses_eligibility(participant["participant_id"], "verification_expired")

    def _verified(self) -> list[Row]:
        return [participant for participant in self.participants.values() if participant["status"] == "verified"]

    def _visits_of(self, participant_id: str) -> list[Row]:
        return [visit for (who, _), visit in self.visits.items() if who == participant_id]

    # --- Who goes first -----------------------------------------------------------------------------------------------

    def _prioritise(self, participant: Row) -> None:
        before = participant["priority"]
        self._put_in_line(participant)
        if participant["priority"] != before:
            self._story.tell(PARTICIPANTS, participant["participant_id"], "PriorityChanged")

    def _put_in_line(self, participant: Row) -> None:
        household = self.households[participant["household_id"]]
        head = self.members.get((household["household_id"], household["head_person_id"]))
        priority = priority_under(self.rules["priority"], participant, household, head)
        participant |= {
            "priority": priority,
            "priority_score": priority["score"],
            "priority_rule_version": priority["rule_version"],
        }
        self.standings[participant["participant_id"]] |= {"score": priority["score"], "priority": priority}

    # --- The civil registry -------------------------------------------------------------------------------------------

    def identity_matched(self, national_id: str, matched: bool) -> bool:
        """Whether it is known who is meant; so of the two below."""
        member = self._bearer_of(national_id)
        if member is None:
            return False
        if member["civil_registry_match"] is not matched:
            self._story.tell(HOUSEHOLDS, member["household_id"], "MemberIdentityChecked")
            member["civil_registry_match"] = matched
        return True

    def death_recorded(self, national_id: str, died_on: date) -> bool:
        member = self._bearer_of(national_id)
        if member is None:
            return False
        household, person_id = self.households[member["household_id"]], member["person_id"]
        if member["left_because"] == "not_on_list":
            self._story.tell(HOUSEHOLDS, member["household_id"], "MemberLeft")
            member |= {"left_because": "deceased", "left_on": died_on}
        elif member["left_because"] is None:
            self._story.tell(HOUSEHOLDS, member["household_id"], "MemberLeft")
            member |= {"left_because": "deceased", "left_on": died_on}
            household["people"] -= 1
            self._world.outcomes.household_stands(member["household_id"])
            if household["head_person_id"] == person_id:
                household["head_person_id"] = None
            if household["people"] == 0 and household["status"] == "listed":
                self._delisted(member["household_id"], "no_members_left")
        self._take_out(person_id, "deceased")
        return True

    def household_moved(self, national_id: str, village: str) -> bool:
        member = self._bearer_of(national_id)
        if member is None or self.households[member["household_id"]]["head_person_id"] != member["person_id"]:
            return False
        household = self.households[member["household_id"]]
        home = [row for (home, _), row in self.members.items() if home == member["household_id"]]
        if not village.startswith(_SERVED):
            if household["status"] == "listed":
                self._delisted(member["household_id"], "moved_away")
            for row in home:
                if row["left_because"] is None:
                    self._take_out(row["person_id"], "moved")
            return True
        if household["area_code"] != village:
            self._story.tell(HOUSEHOLDS, member["household_id"], "HouseholdChanged")
            household["area_code"] = village
            self.addresses[household["household_id"]] = None
            self._world.outcomes.household_stands(household["household_id"])
        for row in home:
            row["area_code"] = village
            if row["left_because"] is None:
                self._relocate(row["person_id"], village)
        return True

    def _bearer_of(self, national_id: str) -> Row | None:
        """The one person who bears the NIK: of several the one who is listed and has not left."""
        bearers = [
            self.members[self.home_of[person_id], person_id]
            for person_id, borne in self.national_ids.items()
            if borne == national_id
        ]
        in_use = [
            member
            for member in bearers
            if self.households[member["household_id"]]["status"] == "listed" and member["left_because"] is None
        ]
        meant = in_use or bearers
        return meant[0] if len(meant) == 1 else None

    def _take_out(self, person_id: str, reason: str) -> None:
        participant = self.participants.get(person_id)
        if participant is not None and participant["status"] not in _ENDED:
            self.rejected(person_id, reason)

    def _relocate(self, person_id: str, village: str) -> None:
        participant = self.participants.get(person_id)
        if participant is None or participant["area_code"] == village:
            return
        self._story.tell(PARTICIPANTS, person_id, "ParticipantRelocated")
        participant["area_code"] = village
        for visit in self._visits_of(person_id):
            visit["area_code"] = village

    def message_rejected(
        self, rejection_id: str, message_id: str | None, type_: str | None, place: tuple[int, int], fields: list[str]
    ) -> None:
        """The message at this partition and offset cannot be taken in, because of these fields."""
        self._story.tell(REJECTIONS, rejection_id, "MessageRejected")
        self.rejections[rejection_id] = {
            "rejection_id": rejection_id,
            "area_code": "",
            "system": "dukcapil",
            "message_id": message_id,
            "message_type": type_,
            "record_partition": place[0],
            "record_offset": place[1],
            "faults": fields,
            "rejected_at": self._world.now,
        }

    # --- As tables ----------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[tuple[Any, ...], Row]]:
        heads = {
            "snapshot": (SNAPSHOTS, self.snapshots),
            "household": (HOUSEHOLDS, self.households),
            "participant": (PARTICIPANTS, self.participants),
            "rule": (RULES, self.rules),
            "rejection": (REJECTIONS, self.rejections),
        }
        return {
            name: {(key,): row | {"version": self._story.version(topic, key)} for key, row in rows.items()}
            for name, (topic, rows) in heads.items()
        } | {"member": dict(self.members), "visit": dict(self.visits)}


_RANK = ("source", "snapshot_id", "dated", "welfare_decile", "welfare_percentile")


def _rank(family: Family, snapshot: Row) -> Row:
    values = (snapshot["source"], snapshot["snapshot_id"], snapshot["dated"], family.decile, family.percentile)
    return dict(zip(_RANK, values, strict=True))


def adopted(before: Row | None, kind: str, definition: Row, source: str, now: datetime) -> Row:
    """A rule's row after its next version came into force."""
    said = ("rule_version", "definition", "source", "adopted_at")
    earlier = [] if before is None else [*before["earlier"], {name: before[name] for name in said}]
    return {
        "rule_id": kind,
        "area_code": "",
        "kind": kind,
        "rule_version": len(earlier) + 1,
        "definition": definition,
        "source": source,
        "adopted_at": now,
        "earlier": earlier,
    }
