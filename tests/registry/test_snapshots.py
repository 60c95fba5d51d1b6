"""What a targeting list means for households that are new, known, named otherwise, or named no longer."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from contracts import areas
from contracts.envelope import Event
from contracts.registry import (
    AgeBand,
    DelistingReason,
    HouseholdChanged,
    HouseholdConfirmed,
    HouseholdDelisted,
    HouseholdDetails,
    HouseholdListed,
    HouseholdRankChanged,
    LeavingReason,
    ListEvidence,
    LivingConditions,
    MemberLeft,
    PersonDetails,
    Rank,
    Sex,
    SnapshotApplied,
    SnapshotReceived,
)
from services.kit.refusal import Refused
from services.registry.households.state import HOUSEHOLDS, Household
from services.registry.snapshots.decisions import (
    Candidates,
    KnownPerson,
    ListOffered,
    ListRead,
    Outcome,
    SameHead,
    Settlement,
    StagedHousehold,
    StagedPerson,
    conclude,
    declared_areas,
    delist,
    receive,
    received_before,
    recognise,
    refuse_out_of_turn,
    settle,
)
from services.registry.snapshots.state import SNAPSHOTS, Snapshot, SnapshotStatus, common_area
from services.registry.state import TABLES
from tests.registry.facts import (
    ADDRESS,
    CHILD,
    DETAILS,
    FATHER,
    HOME,
    MOTHER,
    NOW,
    OTHER_VILLAGE,
    VILLAGE,
    Story,
    listed,
)
from tests.support.scenario import Scenario

FIRST, SECOND = date(2024, 1, 1), date(2024, 4, 1)
DIGEST = "cd" * 32


def received(snapshot_id: str = "s-2", dated: date = SECOND, **more: Any) -> SnapshotReceived:
    facts: dict[str, Any] = {
        "snapshot_id": snapshot_id,
        "source": "P3KE",
        "dated": dated,
        "areas": ("52.01",),
        "file_name": "list.csv",
        "file_digest": DIGEST,
        "rows": 5,
        "rows_rejected": 1,
        "households": 1,
        "people": 4,
    }
    return SnapshotReceived(**(facts | more))


def snapshot(*events: Event) -> Snapshot:
    return Scenario(TABLES).given(*events or (received(),)).the(SNAPSHOTS, (events or (received(),))[0].key)


def household(household_id: str = HOME, *events: Event, **more: Any) -> Household:
    return Scenario(TABLES).given(listed(household_id, **more), *events).the(HOUSEHOLDS, household_id)


def person(row: int, details: PersonDetails, *, head: bool = False) -> StagedPerson:
    return StagedPerson(
        person_id=f"new-{row}",
        row=row,
        head=head,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        civil_registry_match=True,
        details=details,
    )


FAMILY = (person(7, DETAILS[MOTHER], head=True), person(8, DETAILS[FATHER]), person(9, DETAILS[CHILD]))


def staged(decile: int = 1, percentile: int | None = 2, **more: Any) -> StagedHousehold:
    said: dict[str, Any] = {
        "household_id": "new-home",
        "row": 7,
        "area_code": VILLAGE,
        "welfare_decile": decile,
        "welfare_percentile": percentile,
        "conditions": LivingConditions(roof="Seng"),
        "details": HouseholdDetails(address="Dusun Karang Anyar", source_family_id="K-0001"),
        "people": FAMILY,
    }
    return StagedHousehold(**(said | more))


def problems_of(settlement: Settlement) -> list[tuple[int, str]]:
    return [(row, problem.code) for row, problem in settlement.problems]


RANK = Rank(source="P3KE", snapshot_id="s-2", dated=SECOND, welfare_decile=1, welfare_percentile=2)
EVIDENCE = ListEvidence(file_digest=DIGEST, row=7)

# --- A household that nobody knows ------------------------------------------------------------------------------------


def test_a_household_that_nobody_knows_is_listed_with_its_evidence_and_everybody_sealed():
    settlement = settle(staged(), Candidates(), snapshot())
    (event,) = settlement.events
    assert isinstance(event, HouseholdListed)
    assert (settlement.outcome, settlement.household_id, event.household_id) == (Outcome.LISTED, "new-home", "new-home")
    assert (event.rank, event.evidence, event.area_code) == (RANK, EVIDENCE, VILLAGE)
    assert [(member.person_id, member.head) for member in event.members] == [
        ("new-7", True),
        ("new-8", False),
        ("new-9", False),
    ]
    assert event.personal == {
        "new-home": HouseholdDetails(address="Dusun Karang Anyar", source_family_id="K-0001"),
        "new-7": DETAILS[MOTHER],
        "new-8": DETAILS[FATHER],
        "new-9": DETAILS[CHILD],
    }


def test_families_of_one_list_that_share_a_head_are_both_listed_while_nobody_knows_them():
    assert settle(staged(shares_head=True), Candidates(), snapshot()).outcome is Outcome.LISTED


# --- A household that is known by its family id -----------------------------------------------------------------------


def test_another_rank_is_a_changed_rank():
    settlement = settle(staged(decile=3, percentile=None), Candidates(same_family=household()), snapshot())
    rank = Rank(source="P3KE", snapshot_id="s-2", dated=SECOND, welfare_decile=3)
    assert settlement.events == (HouseholdRankChanged(household_id=HOME, rank=rank, evidence=EVIDENCE),)
    assert (settlement.outcome, settlement.household_id) == (Outcome.RANK_CHANGED, HOME)


def test_the_same_rank_is_confirmed():
    settlement = settle(staged(), Candidates(same_family=household()), snapshot())
    assert settlement.events == (HouseholdConfirmed(household_id=HOME, rank=RANK, evidence=EVIDENCE),)
    assert settlement.outcome is Outcome.UNCHANGED


def test_a_percentile_that_was_not_known_before_changes_the_rank():
    rank = Rank(source="P3KE", snapshot_id="s-1", dated=FIRST, welfare_decile=1)
    settlement = settle(staged(), Candidates(same_family=household(rank=rank)), snapshot())
    assert settlement.outcome is Outcome.RANK_CHANGED


def test_a_household_that_the_list_sees_in_another_village_stays_and_is_reported():
    settlement = settle(staged(area_code=OTHER_VILLAGE), Candidates(same_family=household()), snapshot())
    assert [type(event) for event in settlement.events] == [HouseholdConfirmed]
    assert problems_of(settlement) == [(7, "lives-elsewhere")]


def test_two_families_of_one_list_cannot_both_be_the_same_household():
    settled_before = household(HOME, HouseholdConfirmed(household_id=HOME, rank=RANK, evidence=EVIDENCE))
    settlement = settle(staged(), Candidates(same_family=settled_before), snapshot())
    assert (settlement.outcome, settlement.events) == (Outcome.UNRESOLVED, ())
    assert problems_of(settlement) == [(7, "household-named-twice")]
    assert settlement.spared == (HOME,)


def test_a_rank_of_a_later_date_is_not_turned_back():
    later = Rank(source="DTSEN", snapshot_id="s-9", dated=date(2024, 6, 1), welfare_decile=2)
    settlement = settle(staged(), Candidates(same_family=household(rank=later)), snapshot())
    assert (settlement.outcome, problems_of(settlement)) == (Outcome.UNRESOLVED, [(7, "newer-rank-known")])


# --- A household that is known by its head's NIK ----------------------------------------------------------------------

RENUMBERED = HouseholdDetails(address="Dusun Karang Anyar", source_family_id="K-9999")


def test_a_new_family_id_with_a_known_head_is_the_known_household_and_the_log_learns_the_id():
    found = SameHead(household(), named=False, details=ADDRESS)
    settlement = settle(staged(details=RENUMBERED), Candidates(same_head=(found,)), snapshot())
    confirmed, changed = settlement.events
    assert confirmed == HouseholdConfirmed(household_id=HOME, rank=RANK, evidence=EVIDENCE)
    assert changed == HouseholdChanged(
        household_id=HOME, personal={HOME: ADDRESS.model_copy(update={"source_family_id": "K-9999"})}
    )
    assert (settlement.outcome, settlement.household_id) == (Outcome.UNCHANGED, HOME)


def test_the_address_that_a_household_has_left_is_not_sealed_anew_with_its_new_family_id():
    moved = household(HOME, HouseholdChanged(household_id=HOME, area_code="52.71.01.1001"))
    found = SameHead(moved, named=False, details=ADDRESS)
    *_, changed = settle(staged(details=RENUMBERED), Candidates(same_head=(found,)), snapshot()).events
    assert isinstance(changed, HouseholdChanged)
    assert changed.personal[HOME] == ADDRESS.model_copy(update={"address": None, "source_family_id": "K-9999"})


def test_a_new_family_id_of_a_household_whose_key_is_destroyed_seals_nothing_anew():
    found = SameHead(household(), named=False, details=None)
    settlement = settle(staged(decile=4), Candidates(same_head=(found,)), snapshot())
    assert [type(event) for event in settlement.events] == [HouseholdRankChanged]


def test_several_candidates_are_reported_and_nothing_is_guessed():
    candidates = Candidates(same_head=(SameHead(household("h-1"), False), SameHead(household("h-2"), False)))
    settlement = settle(staged(), candidates, snapshot())
    assert (settlement.outcome, settlement.events, settlement.household_id) == (Outcome.UNRESOLVED, (), None)
    assert problems_of(settlement) == [(7, "several-candidates")]
    assert settlement.spared == ("h-1", "h-2")


def test_a_known_family_id_goes_before_the_heads_nik():
    candidates = Candidates(same_family=household("h-1"), same_head=(SameHead(household("h-2"), False),))
    assert settle(staged(), candidates, snapshot()).household_id == "h-1"


def test_a_head_whose_household_the_list_names_by_its_own_id_is_not_matched():
    settlement = settle(staged(), Candidates(same_head=(SameHead(household(), named=True),)), snapshot())
    assert (settlement.outcome, problems_of(settlement)) == (Outcome.UNRESOLVED, [(7, "head-of-another-family")])


def test_a_known_head_of_two_new_families_is_matched_with_neither():
    candidates = Candidates(same_head=(SameHead(household(), named=False),))
    settlement = settle(staged(shares_head=True), candidates, snapshot())
    assert (settlement.outcome, problems_of(settlement)) == (Outcome.UNRESOLVED, [(7, "head-of-several-families")])


# --- Listed again -----------------------------------------------------------------------------------------------------

GONE = HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST, snapshot_id="s-1")


def known(
    *, left: Sequence[str] = (), unnamed: Sequence[str] = (), erased: Sequence[str] = ()
) -> tuple[KnownPerson, ...]:
    because = dict.fromkeys(left, LeavingReason.DECEASED) | dict.fromkeys(unnamed, LeavingReason.NOT_ON_LIST)
    return tuple(
        KnownPerson(person_id, because.get(person_id), None if person_id in erased else details)
        for person_id, details in DETAILS.items()
    )


def test_a_delisted_household_that_is_named_again_is_listed_again_and_people_keep_their_ids():
    settlement = settle(staged(decile=5), Candidates(household(HOME, GONE), people=known()), snapshot())
    (event,) = settlement.events
    assert isinstance(event, HouseholdListed)
    assert (settlement.outcome, event.household_id, event.rank.welfare_decile) == (Outcome.LISTED, HOME, 5)
    assert [member.person_id for member in event.members] == [MOTHER, FATHER, CHILD]
    assert set(event.personal) == {HOME, MOTHER, FATHER, CHILD}
    again = Story(listed(), GONE, event).household
    assert (again.is_listed, again.snapshot_id, again.people) == (True, "s-2", 3)


def test_who_died_is_not_listed_again_with_the_household():
    candidates = Candidates(household(HOME, GONE), people=known(left=[FATHER]))
    settlement = settle(staged(), candidates, snapshot())
    (event,) = settlement.events
    assert isinstance(event, HouseholdListed)
    assert [member.person_id for member in event.members] == [MOTHER, CHILD]
    assert problems_of(settlement) == [(8, "has-left")]


def test_a_household_whose_people_all_died_is_not_listed_again():
    left = MemberLeft(household_id=HOME, person_id=MOTHER, reason=LeavingReason.DECEASED, on=FIRST)
    candidates = Candidates(household(HOME, left, GONE), people=known(left=[MOTHER, FATHER, CHILD]))
    settlement = settle(staged(), candidates, snapshot())
    assert (settlement.outcome, problems_of(settlement)) == (Outcome.UNRESOLVED, [(7, "everybody-left")])


def test_who_was_erased_is_nobody_that_could_be_recognised():
    candidates = Candidates(household(HOME, GONE), people=known(erased=[MOTHER]))
    left, event = settle(staged(), candidates, snapshot()).events
    assert left == MemberLeft(household_id=HOME, person_id=MOTHER, reason=LeavingReason.NOT_ON_LIST, on=SECOND)
    assert isinstance(event, HouseholdListed)
    assert [member.person_id for member in event.members] == ["new-7", FATHER, CHILD]


def test_whom_the_list_names_no_longer_leaves_the_household_before_it_is_listed_again():
    relisted = staged(people=(person(7, DETAILS[MOTHER], head=True),))
    left, gone, event = settle(relisted, Candidates(household(HOME, GONE), people=known()), snapshot()).events
    for fact, who in ((left, FATHER), (gone, CHILD)):
        assert fact == MemberLeft(household_id=HOME, person_id=who, reason=LeavingReason.NOT_ON_LIST, on=SECOND)
    story = Story(listed(), GONE, left, gone, event)
    assert (story.household.is_listed, story.household.people, story.household.head_person_id) == (True, 1, MOTHER)
    assert [story.member(who).left_because for who in (MOTHER, FATHER)] == [None, LeavingReason.NOT_ON_LIST]


def test_whom_a_list_left_out_may_be_named_again():
    candidates = Candidates(household(HOME, GONE), people=known(unnamed=[FATHER]))
    settlement = settle(staged(), candidates, snapshot())
    (event,) = settlement.events
    assert isinstance(event, HouseholdListed)
    assert [member.person_id for member in event.members] == [MOTHER, FATHER, CHILD]
    assert problems_of(settlement) == []
    left = MemberLeft(household_id=HOME, person_id=FATHER, reason=LeavingReason.NOT_ON_LIST, on=FIRST)
    assert Story(listed(), left, GONE, event).member(FATHER).left_because is None


def test_who_was_left_out_before_does_not_leave_again():
    relisted = staged(people=(person(7, DETAILS[MOTHER], head=True),))
    people = known(left=[CHILD], unnamed=[FATHER])
    events = settle(relisted, Candidates(household(HOME, GONE), people=people), snapshot()).events
    assert [type(event) for event in events] == [HouseholdListed]


@pytest.mark.parametrize(
    ("said", "known_as", "recognised"),
    [
        (PersonDetails(name="Sari", national_id="1" * 16), PersonDetails(name="Ani", national_id="1" * 16), True),
        (PersonDetails(name="Sari", source_person_id="i"), PersonDetails(name="Ani", source_person_id="i"), True),
        (PersonDetails(name="Ani", birth_date=FIRST), PersonDetails(name="Ani", birth_date=FIRST), True),
        (PersonDetails(name="Ani"), PersonDetails(name="Ani"), False),
        (PersonDetails(name="", birth_date=FIRST), PersonDetails(name="", birth_date=FIRST), False),
        (PersonDetails(name="Ani", birth_date=FIRST), PersonDetails(name="Ani", birth_date=SECOND), False),
    ],
)
def test_people_are_recognised_by_nik_else_source_id_else_name_and_birth_date(
    said: PersonDetails, known_as: PersonDetails, recognised: bool
):
    found = recognise([person(3, said)], [KnownPerson("p", None, known_as)])
    assert found == ({3: "p"} if recognised else {})


def test_of_two_rows_that_could_be_one_known_person_the_nik_decides_and_else_neither_is():
    twin = PersonDetails(name="Ani", birth_date=FIRST)
    with_nik = twin.model_copy(update={"national_id": "1" * 16})
    people = [KnownPerson("p", None, with_nik)]
    assert recognise([person(3, twin), person(4, with_nik)], people) == {4: "p"}
    assert recognise([person(3, twin), person(4, twin)], people) == {}


# --- Named no longer --------------------------------------------------------------------------------------------------


def test_a_household_that_its_list_names_no_longer_is_delisted():
    assert delist(household(), snapshot()) == [
        HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST, snapshot_id="s-2")
    ]


OTHERS_RANK = Rank(source="DTSEN", snapshot_id="s-1", dated=FIRST, welfare_decile=1)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(household(area_code="52.02.01.2001"), id="outside the declared areas"),
        pytest.param(household(rank=OTHERS_RANK), id="of another source"),
        pytest.param(household(rank=RANK), id="named by this list"),
        pytest.param(household(HOME, GONE), id="delisted already"),
        pytest.param(household(rank=replace(RANK, snapshot_id="s-3", dated=NOW.date())), id="newer"),
    ],
)
def test_a_household_that_the_list_did_not_have_to_name_is_kept(kept: Household):
    assert delist(kept, snapshot()) == []


# --- The list itself --------------------------------------------------------------------------------------------------

OFFERED = ListOffered("P3KE", SECOND, ("52.01",), "list.csv")
READ = ListRead(DIGEST, rows=5, rows_rejected=1, households=1, people=4)


def test_a_list_that_came_in_whole_is_received():
    assert receive("s-2", OFFERED, READ, [], NOW) == [received()]


def test_a_list_without_a_good_household_would_delist_everybody_and_is_refused():
    with pytest.raises(Refused) as refusal:
        receive("s-2", OFFERED, ListRead(DIGEST, 3, 3, 0, 0), [], NOW)
    assert (refusal.value.code, refusal.value.status) == ("no-good-household", 422)


def test_a_list_from_the_future_is_refused_by_the_calendar_of_lombok():
    tomorrow = date(2024, 7, 9)
    refuse_out_of_turn(ListOffered("P3KE", NOW.date(), ("52",), "f"), [], NOW)
    with pytest.raises(Refused, match="list-from-the-future"):
        refuse_out_of_turn(ListOffered("P3KE", tomorrow, ("52",), "f"), [], NOW)
    refuse_out_of_turn(ListOffered("P3KE", tomorrow, ("52",), "f"), [], NOW.replace(hour=16))


@pytest.mark.parametrize(
    ("source", "area", "refused"),
    [
        ("P3KE", "52.01", True),
        ("P3KE", "52", True),
        ("P3KE", "52.01.01", True),
        ("P3KE", "52.02", False),
        ("DTSEN", "52.01", False),
    ],
)
def test_an_older_list_of_the_same_source_and_area_is_refused(source: str, area: str, refused: bool):
    offered = ListOffered(source, FIRST, (area,), "f")
    with pytest.raises(Refused, match="older-list") if refused else nullcontext():
        refuse_out_of_turn(offered, [snapshot()], NOW)


def test_a_list_of_the_same_date_may_correct_the_one_before():
    refuse_out_of_turn(OFFERED, [snapshot()], NOW)


def test_the_same_file_of_the_same_source_is_known():
    assert received_before(DIGEST, "P3KE", [snapshot()]) == snapshot()
    assert received_before(DIGEST, "DTSEN", [snapshot()]) is None
    assert received_before("00" * 32, "P3KE", [snapshot()]) is None


def test_declared_areas_are_dotted_sorted_and_none_lies_in_another():
    assert declared_areas(["5202", "52.01", "52.01.02", "52.01"]) == ("52.01", "52.02")


@pytest.mark.parametrize("wrong", [[], ["52.1"], ["99"], ["*"], [""], ["5270010101800000"]])
def test_what_is_no_area_is_refused(wrong: list[str]):
    with pytest.raises(Refused, match="wrong-areas"):
        declared_areas(wrong)


def test_the_area_of_a_snapshot_holds_all_that_it_declares():
    assert common_area(("52.01",)) == "52.01"
    assert common_area(("52.01", "52.02.01")) == "52"
    assert common_area(("52", "53.21")) == ""
    assert all(areas.covers(common_area(("52.01.01", "52.01.02")), code) for code in ("52.01.01", "52.01.02"))


def test_a_snapshot_is_received_and_then_applied_with_its_counts():
    outcomes = Counter({Outcome.LISTED: 5, Outcome.RANK_CHANGED: 3, Outcome.UNCHANGED: 2, Outcome.UNRESOLVED: 1})
    (applied,) = conclude(snapshot(), outcomes, people_on_list=40, delisted=4)
    assert applied == SnapshotApplied(
        snapshot_id="s-2",
        source="P3KE",
        dated=SECOND,
        households_on_list=10,
        people_on_list=40,
        listed=5,
        rank_changed=3,
        unchanged=2,
        delisted=4,
        unresolved=1,
    )
    before, after = snapshot(), snapshot(received(), applied)
    assert (before.status, before.area_code, before.version) == (SnapshotStatus.RECEIVED, "52.01", 1)
    assert (after.status, after.households_on_list, after.version) == (SnapshotStatus.APPLIED, 10, 2)
    assert (after.applied_at, after.rows, after.file_digest) == (NOW, 5, DIGEST)
