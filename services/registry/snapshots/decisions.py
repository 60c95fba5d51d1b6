"""Owns what a targeting list means: for the households it names, for those it names no longer, and for itself. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, TypeVar

from contracts import areas
from contracts.envelope import Event
from contracts.p3ke import Problem, Severity
from contracts.registry import (
    AgeBand,
    AreaCode,
    DelistingReason,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdDetails,
    HouseholdId,
    HouseholdListed,
    HouseholdRankChanged,
    LeavingReason,
    ListEvidence,
    LivingConditions,
    Member,
    MemberLeft,
    PersonDetails,
    PersonId,
    Rank,
    Sex,
    SnapshotApplied,
    SnapshotId,
    SnapshotReceived,
)
from services.kit.refusal import FieldProblem, Refused
from services.registry.households.decisions import today_in_wita
from services.registry.households.state import Household
from services.registry.snapshots.state import Snapshot

# --- Receiving a list -------------------------------------------------------------------------------------------------

MOST_AREAS = 50


@dataclass(frozen=True, slots=True)
class ListOffered:
    """What the sender of a list says of it."""

    source: str  # "P3KE", "DTSEN"
    dated: date
    areas: tuple[AreaCode, ...]
    file_name: str


@dataclass(frozen=True, slots=True)
class ListRead:
    """What was found in the file. Every row is either a person who is taken or rejected."""

    file_digest: str
    rows: int
    rows_rejected: int
    households: int
    people: int
    first_problems: tuple[FieldProblem, ...] = ()


def declared_areas(texts: Collection[str]) -> tuple[AreaCode, ...]:
    """The areas that a list is complete for, dotted, in order, none inside another. Refuses what is no area."""
    if not texts or len(texts) > MOST_AREAS:
        raise _wrong_areas(f"name from 1 to {MOST_AREAS} areas")
    codes = {_known_area(text) for text in texts}
    return tuple(
        sorted(code for code in codes if not any(areas.covers(other, code) for other in codes if other != code))
    )


def _known_area(text: str) -> AreaCode:
    try:
        code = areas.normalise(text)
    except areas.InvalidAreaCode:
        raise _wrong_areas("one is no Kemendagri code") from None
    if not areas.is_known(code):
        raise _wrong_areas("one is not in the reference list")
    return code


def _wrong_areas(message: str) -> Refused:
    problem = FieldProblem("query.areas", message, "Give codes such as 52 or 52.01, one or several.")
    detail = "It is not clear which areas the list is complete for."
    return Refused("wrong-areas", detail, status=422, fields=[problem])


def refuse_out_of_turn(offered: ListOffered, others: Iterable[Snapshot], now: datetime) -> None:
    """Refuses a list from the future, and one older than another of the same source for an area of both."""
    if offered.dated > today_in_wita(now):
        problem = FieldProblem("query.dated", "lies in the future", "Give the date that the list itself bears.")
        raise Refused("list-from-the-future", "A list cannot be newer than today.", status=422, fields=[problem])
    for other in others:
        if other.source == offered.source and other.dated > offered.dated and _meet(other.areas, offered.areas):
            raise Refused(
                "older-list",
                f"A list of {offered.source} dated {other.dated} came in already for these areas (snapshot "
                f"{other.snapshot_id}); one dated {offered.dated} would turn ranks back.",
                remedy="Send a newer list, or the list of another area.",
            )


def _meet(some: Collection[AreaCode], others: Collection[AreaCode]) -> bool:
    return any(areas.covers(one, other) or areas.covers(other, one) for one in some for other in others)


def received_before(file_digest: str, source: str, snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """The snapshot that this very file gave, if it came in already."""
    return next((other for other in snapshots if (other.source, other.file_digest) == (source, file_digest)), None)


def receive(
    snapshot_id: SnapshotId, offered: ListOffered, read: ListRead, others: Iterable[Snapshot], now: datetime
) -> list[Event]:
    """The list came in whole. Refuses one without any good household: applied, it would delist everybody."""
    refuse_out_of_turn(offered, others, now)
    if read.households == 0:
        raise Refused(
            "no-good-household",
            f"None of the {read.rows} rows gives a household that can be taken; nothing was changed.",
            status=422,
            fields=read.first_problems,
            remedy="Correct the rows that are reported and send the file again.",
        )
    return [
        SnapshotReceived(
            snapshot_id=snapshot_id,
            source=offered.source,
            dated=offered.dated,
            areas=offered.areas,
            file_name=offered.file_name,
            file_digest=read.file_digest,
            rows=read.rows,
            rows_rejected=read.rows_rejected,
            households=read.households,
            people=read.people,
        )
    ]


# --- A household of the list ------------------------------------------------------------------------------------------


class StagedPerson(NamedTuple):
    """A person as a row of the list describes them; `person_id` is theirs if nobody knows them yet."""

    person_id: PersonId
    row: int
    head: bool
    sex: Sex
    age_band: AgeBand
    adult: bool
    civil_registry_match: bool | None
    details: PersonDetails


@dataclass(frozen=True, slots=True)
class StagedHousehold:
    """A household as the list describes it; `household_id` is its id if it is new here."""

    household_id: HouseholdId
    row: int  # its first
    area_code: AreaCode
    welfare_decile: int
    welfare_percentile: int | None
    conditions: LivingConditions
    details: HouseholdDetails
    people: tuple[StagedPerson, ...]
    shares_head: bool = False  # another family of the same list has the same head


@dataclass(frozen=True, slots=True)
class SameHead:
    """A household whose head has the NIK of the head on the list."""

    household: Household
    named: bool  # by its own family id, elsewhere on the list
    details: HouseholdDetails | None = None  # None: erased


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A member of a household that is known here; `details` are None for somebody who was erased."""

    person_id: PersonId
    left_because: LeavingReason | None
    details: PersonDetails | None

    @property
    def may_return(self) -> bool:
        """Whoever a list left out may be named again; the dead, and who moved out, are not listed with the others."""
        return self.left_because in (None, LeavingReason.NOT_ON_LIST)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Which known households the list may mean. `people` are the members of the one, if it was delisted."""

    same_family: Household | None = None
    same_head: tuple[SameHead, ...] = ()
    people: tuple[KnownPerson, ...] = ()

    @property
    def households(self) -> list[Household]:
        """Those that matter: a family id that is known goes before the head's NIK."""
        if self.same_family is not None:
            return [self.same_family]
        return [candidate.household for candidate in self.same_head]


class Outcome(StrEnum):
    LISTED = "listed"
    RANK_CHANGED = "rank_changed"
    UNCHANGED = "unchanged"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a household on the list comes to. `household_id` is the household that its family id now stands for."""

    outcome: Outcome
    events: tuple[Event, ...] = ()
    household_id: HouseholdId | None = None
    problems: tuple[tuple[int, Problem], ...] = ()  # each with its row
    spared: tuple[HouseholdId, ...] = ()  # whom an unresolved row may mean: this list delists none of them


def settle(staged: StagedHousehold, candidates: Candidates, snapshot: Snapshot) -> Settlement:
    """Lists the household, or says what the list says anew of one that is known; reports it where that is not sure.

    A household is known by the source's family id, else by its head's NIK. Where that leaves room for doubt nothing is
    guessed: the row is reported and no household is touched.
    """
    if doubt := _doubt(staged, candidates, snapshot):
        return _unresolved(staged, doubt, candidates.households)
    if not candidates.households:
        return _list(staged, staged.household_id, snapshot)
    household = candidates.households[0]
    if not household.is_listed:
        return _list_again(staged, household, candidates.people, snapshot)
    return _say_anew(staged, household, candidates, snapshot)


def _doubt(staged: StagedHousehold, candidates: Candidates, snapshot: Snapshot) -> Problem | None:
    known = candidates.households
    if len(known) > 1:
        return _SEVERAL_CANDIDATES
    if not known:
        return None
    if known[0].snapshot_id == snapshot.snapshot_id:
        return _TAKEN_ALREADY
    if candidates.same_family is None and candidates.same_head[0].named:
        return _NAMED_ELSEWHERE
    if candidates.same_family is None and staged.shares_head:
        return _HEAD_OF_SEVERAL
    if known[0].dated > snapshot.dated:
        return _NEWER_RANK_KNOWN
    return None


def _unresolved(staged: StagedHousehold, doubt: Problem, candidates: Sequence[Household]) -> Settlement:
    spared = tuple(household.household_id for household in candidates)
    return Settlement(Outcome.UNRESOLVED, problems=((staged.row, doubt),), spared=spared)


def _say_anew(staged: StagedHousehold, household: Household, candidates: Candidates, snapshot: Snapshot) -> Settlement:
    said = {
        "household_id": household.household_id,
        "rank": rank_of(staged, snapshot),
        "evidence": ListEvidence(file_digest=snapshot.file_digest, row=staged.row),
    }
    known_rank = (household.welfare_decile, household.welfare_percentile)
    same = known_rank == (staged.welfare_decile, staged.welfare_percentile)
    event = HouseholdConfirmed(**said) if same else HouseholdRankChanged(**said)
    return Settlement(
        Outcome.UNCHANGED if same else Outcome.RANK_CHANGED,
        (event, *_renumber(staged, candidates)),
        household.household_id,
        ((staged.row, _LIVES_ELSEWHERE),) if household.area_code != staged.area_code else (),
    )


def _renumber(staged: StagedHousehold, candidates: Candidates) -> list[Event]:
    """The source gave the household another family id: the log has to know, or nobody could match it again."""
    if candidates.same_family is not None:
        return []
    found = candidates.same_head[0]
    if found.details is None:
        return []
    known: dict[str, object] = {"source_family_id": staged.details.source_family_id}
    if found.household.sealed_area != found.household.area_code:
        known["address"] = None  # Where the household moved from; sealed anew, it would pass for where it lives.
    renumbered = found.details.model_copy(update=known)
    household_id = found.household.household_id
    return [HouseholdChanged(household_id=household_id, personal={household_id: renumbered})]


def _list_again(
    staged: StagedHousehold, household: Household, known: Sequence[KnownPerson], snapshot: Snapshot
) -> Settlement:
    """Who is recognised keeps their id; who has died or moved out since is not listed with the others; and who is named
    no longer belongs to the household no longer."""
    recognised = recognise(staged.people, known)
    left = {person.person_id for person in known if not person.may_return}
    people = [(person, recognised.get(person.row, person.person_id)) for person in staged.people]
    gone = tuple((person.row, _HAS_LEFT) for person, person_id in people if person_id in left)
    staying = [(person, person_id) for person, person_id in people if person_id not in left]
    if not staying:
        return _unresolved(staged, _EVERYBODY_LEFT, [household])
    listed = _list(staged, household.household_id, snapshot, staying, gone)
    named = {person_id for _, person_id in staying}
    unnamed = [person.person_id for person in known if person.left_because is None and person.person_id not in named]
    # Before the listing, which says anew how many people the household has.
    return replace(listed, events=(*(_leave(household, person, snapshot) for person in unnamed), *listed.events))


def _leave(household: Household, person_id: PersonId, snapshot: Snapshot) -> MemberLeft:
    return MemberLeft(
        household_id=household.household_id,
        person_id=person_id,
        reason=LeavingReason.NOT_ON_LIST,
        on=snapshot.dated,
    )


def _list(
    staged: StagedHousehold,
    household_id: HouseholdId,
    snapshot: Snapshot,
    people: Sequence[tuple[StagedPerson, PersonId]] | None = None,
    problems: tuple[tuple[int, Problem], ...] = (),
) -> Settlement:
    if people is None:
        people = [(person, person.person_id) for person in staged.people]
    listed = HouseholdListed(
        household_id=household_id,
        area_code=staged.area_code,
        rank=rank_of(staged, snapshot),
        evidence=ListEvidence(file_digest=snapshot.file_digest, row=staged.row),
        conditions=staged.conditions,
        members=tuple(
            Member(
                person_id=person_id,
                head=person.head,
                sex=person.sex,
                age_band=person.age_band,
                adult=person.adult,
                civil_registry_match=person.civil_registry_match,
            )
            for person, person_id in people
        ),
        personal={household_id: staged.details} | {person_id: person.details for person, person_id in people},
    )
    return Settlement(Outcome.LISTED, (listed,), household_id, problems)


def recognise(people: Sequence[StagedPerson], known: Sequence[KnownPerson]) -> dict[int, PersonId]:
    """Row -> the known person that it describes: by NIK, else by the source's id, else by name and birth date.

    Only what points from exactly one row to exactly one known person counts.
    """
    recognised: dict[int, PersonId] = {}
    for marks in _MARKS:
        taken = set(recognised.values())
        rows = _by_marks(marks, ((p.row, p.details) for p in people if p.row not in recognised))
        ids = _by_marks(marks, ((k.person_id, k.details) for k in known if k.person_id not in taken))
        recognised |= {rows[mark]: ids[mark] for mark in rows.keys() & ids.keys()}
    return recognised


_MARKS = (("national_id",), ("source_person_id",), ("name", "birth_date"))

Which = TypeVar("Which", int, PersonId)


def _by_marks(
    marks: tuple[str, ...], records: Iterable[tuple[Which, PersonDetails | None]]
) -> dict[tuple[object, ...], Which]:
    """Who bears which marks, where all marks are known and nobody else bears the same."""
    found: dict[tuple[object, ...], list[Which]] = {}
    for which, details in records:
        borne = tuple(getattr(details, mark, None) for mark in marks)
        if all(borne):
            found.setdefault(borne, []).append(which)
    return {borne: bearers[0] for borne, bearers in found.items() if len(bearers) == 1}


def rank_of(staged: StagedHousehold, snapshot: Snapshot) -> Rank:
    return Rank(
        source=snapshot.source,
        snapshot_id=snapshot.snapshot_id,
        dated=snapshot.dated,
        welfare_decile=staged.welfare_decile,
        welfare_percentile=staged.welfare_percentile,
    )


# --- Who is named no longer, and the end ------------------------------------------------------------------------------


def delist(household: Household, snapshot: Snapshot) -> list[Event]:
    """The household is off the list, if this list had to name it: same source, in a declared area, and it does not."""
    if (
        not household.is_listed
        or household.source != snapshot.source
        or household.snapshot_id == snapshot.snapshot_id
        or household.dated > snapshot.dated
        or not any(areas.covers(area, household.area_code) for area in snapshot.areas)
    ):
        return []
    return [
        HouseholdDelisted(
            household_id=household.household_id,
            reason=DelistingReason.NOT_ON_LIST,
            snapshot_id=snapshot.snapshot_id,
        )
    ]


def conclude(snapshot: Snapshot, outcomes: Counter[Outcome], people_on_list: int, delisted: int) -> list[Event]:
    """Every staged household was dealt with."""
    listed, changed, unchanged = (
        outcomes[outcome] for outcome in (Outcome.LISTED, Outcome.RANK_CHANGED, Outcome.UNCHANGED)
    )
    return [
        SnapshotApplied(
            snapshot_id=snapshot.snapshot_id,
            source=snapshot.source,
            dated=snapshot.dated,
            households_on_list=listed + changed + unchanged,
            people_on_list=people_on_list,
            listed=listed,
            rank_changed=changed,
            unchanged=unchanged,
            delisted=delisted,
            unresolved=outcomes[Outcome.UNRESOLVED],
        )
    ]


# --- What is reported -------------------------------------------------------------------------------------------------

_SEVERAL_CANDIDATES = Problem(
    "nik",
    "several-candidates",
    "The family id is new, and the head's NIK is that of the heads of several known households.",
    "Find out by a visit which household is meant; have the others corrected.",
)
_TAKEN_ALREADY = Problem(
    "id_keluarga",
    "household-named-twice",
    "Another family of this list was taken for the same known household.",
    "Ask the source which of the two families it is.",
)
_NAMED_ELSEWHERE = Problem(
    "nik",
    "head-of-another-family",
    "The family id is new, and its head is known as the head of a household that this list names as another family.",
    "Ask the source in which family the person belongs.",
)
_HEAD_OF_SEVERAL = Problem(
    "nik",
    "head-of-several-families",
    "The family id is new, and its head, who is known here, stands in this list as the head of another family too.",
    "Ask the source which of the families it is.",
)
_NEWER_RANK_KNOWN = Problem(
    "",
    "newer-rank-known",
    "A list with a later date has said something of this household already.",
    "Nothing is to be done; the newer list counts.",
)
_EVERYBODY_LEFT = Problem(
    "",
    "everybody-left",
    "All members known of this household have died or moved out.",
    "Find out by a visit who lives there.",
)
_LIVES_ELSEWHERE = Problem(
    "kode_kemdagri",
    "lives-elsewhere",
    "The household is known to live in another village than the list says; it stays there until somebody has looked.",
    "Check the village on the next visit.",
    Severity.WARNING,
)
_HAS_LEFT = Problem(
    "",
    "has-left",
    "The person is known to have died or moved out, and is not listed again with the household.",
    "Ask the source to take the person off the list, or have the record here corrected.",
    Severity.WARNING,
)
