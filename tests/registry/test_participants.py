"""A participant's way: nominated, assigned, visited, verified, rejected, expired, erased."""

from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.registry import (
    DelistingReason,
    Finding,
    HouseholdDelisted,
    LivingConditions,
    MemberCorrected,
    ParticipantCorrected,
    ParticipantRejected,
    ParticipantRelocated,
    ParticipantVerified,
    PersonErased,
    PriorityChanged,
    Rank,
    RejectionReason,
    VerificationAssigned,
    VerificationExpired,
    VisitNotes,
    VisitRecorded,
)
from services.kit.refusal import Refused
from services.registry.households.decisions import CorrectPerson, correct_member, record_death
from services.registry.participants.commands import Assign
from services.registry.participants.decisions import (
    assign,
    correct,
    erase,
    expire,
    follow,
    record_visit,
    refuse_past_due_date,
    reject,
    reject_if_still_in,
    relocate,
    reprioritise,
    rules_in_force,
    verify,
)
from services.registry.participants.state import ParticipantStatus
from services.registry.rules.decisions import PRIORITY, VERIFICATION
from tests.registry.facts import (
    CONDITIONS,
    DETAILS,
    FACILITATOR,
    FATHER,
    HOME,
    MOTHER,
    NOW,
    OTHER_VILLAGE,
    RANK,
    TO_VERIFIED,
    TO_VISITED,
    TODAY,
    VILLAGE,
    Story,
    assigned,
    default_rules,
    listed,
    nominated,
    records_of,
    verified,
    visit,
    visited,
)

ASSIGN = Assign(facilitator_id=FACILITATOR, due_on=TODAY, person_ids=[MOTHER])
REJECTED = ParticipantRejected(participant_id=MOTHER, reason=RejectionReason.MOVED)
ERASED = PersonErased(participant_id=MOTHER, household_id=HOME, area_code=VILLAGE, basis="UU 27/2022 art. 8")
EXPIRED = VerificationExpired(participant_id=MOTHER, verified_at=NOW, expired_at=NOW)
DELISTED = HouseholdDelisted(household_id=HOME, reason=DelistingReason.NOT_ON_LIST)


def verifying(story: Story, **more: Any) -> list[Any]:
    """Verifies the mother under the default rules."""
    story.given(*default_rules())
    arguments = {
        "participant": story.participant(),
        "household": story.household,
        "head": story.member(MOTHER),
        "details": DETAILS[MOTHER],
        "notes": None,
        "in_force": rules_in_force(story.rule(PRIORITY), story.rule(VERIFICATION)),
        "now": NOW,
    }
    return verify(**(arguments | more))


# --- Assigning --------------------------------------------------------------------------------------------------------


def test_a_person_is_nominated_with_the_first_assignment():
    story = Story(listed())
    events = assign(story.household, story.member(), None, DETAILS[MOTHER], ASSIGN)
    assert events == [
        nominated(),
        VerificationAssigned(participant_id=MOTHER, facilitator_id=FACILITATOR, due_on=TODAY),
    ]
    assert records_of(events) == [DETAILS[MOTHER]]
    participant = story.given(*events).participant()
    assert (participant.status, participant.facilitator_id) == (ParticipantStatus.ASSIGNED, FACILITATOR)


def test_whoever_is_nominated_already_is_only_assigned():
    story = Story(listed(), nominated())
    events = assign(story.household, story.member(), story.participant(), None, ASSIGN)
    assert [type(event) for event in events] == [VerificationAssigned]


def test_an_expired_verification_can_be_assigned_again_and_asks_for_a_new_visit():
    story = Story(*TO_VERIFIED, EXPIRED)
    participant = story.given(*assign(story.household, story.member(), story.participant(), None, ASSIGN)).participant()
    assert (participant.status, participant.finding, participant.visits) == (ParticipantStatus.ASSIGNED, None, 1)
    with pytest.raises(Refused, match="not-visited"):
        verifying(story)


def test_another_facilitator_can_be_sent_after_a_visit():
    story = Story(*TO_VISITED)
    events = assign(story.household, story.member(), story.participant(), None, ASSIGN)
    assert story.given(*events).participant().status is ParticipantStatus.ASSIGNED


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (TO_VERIFIED, "already-verified"),
        ((listed(), nominated(), REJECTED), "already-rejected"),
        ((listed(), nominated(), ERASED), "person-erased"),
        ((listed(), nominated(), DELISTED), "household-delisted"),
    ],
)
def test_who_cannot_be_assigned(given: tuple[Any, ...], code: str):
    story = Story(*given)
    with pytest.raises(Refused, match=code):
        assign(story.household, story.member(), story.participant(), None, ASSIGN)


def test_who_left_the_household_cannot_be_nominated():
    story = Story(listed())
    story.given(*record_death(story.household, story.member(FATHER), TODAY, NOW))
    with pytest.raises(Refused, match="member-left"):
        assign(story.household, story.member(FATHER), None, DETAILS[FATHER], ASSIGN)


def test_a_person_whose_key_is_gone_cannot_be_nominated():
    story = Story(listed())
    with pytest.raises(Refused, match="person-erased"):
        assign(story.household, story.member(), None, None, ASSIGN)


def test_a_visit_is_due_today_or_later():
    refuse_past_due_date(TODAY, NOW)
    with pytest.raises(Refused, match="due-in-the-past"):
        refuse_past_due_date(TODAY - timedelta(days=1), NOW)


# --- Visiting ---------------------------------------------------------------------------------------------------------


def test_a_visit_says_what_was_found_when_and_when_it_reached_us():
    story = Story(listed(), nominated(), assigned())
    wish = visit(notes="By the river", phone="0812-3456-7890", conditions=asdict(CONDITIONS))
    (fact,) = record_visit(story.participant(), None, wish, FACILITATOR, NOW)
    assert fact == VisitRecorded(
        participant_id=MOTHER,
        visit_id="v-1",
        area_code=VILLAGE,
        facilitator_id=FACILITATOR,
        captured_at=NOW - timedelta(hours=3),
        received_at=NOW,
        finding=Finding.MATCHED,
        willing=True,
        can_leave_home=True,
        situation_changed=False,
        reachable=True,
        conditions=CONDITIONS,
        personal={MOTHER: VisitNotes(notes="By the river", phone="+6281234567890")},
    )
    participant = story.given(fact).participant()
    assert (participant.status, participant.visits, participant.visit_id) == (ParticipantStatus.VISITED, 1, "v-1")


def test_a_visit_without_notes_seals_nothing():
    story = Story(listed(), nominated(), assigned())
    (fact,) = record_visit(story.participant(), None, visit(), FACILITATOR, NOW)
    assert records_of([fact]) == []
    known = story.given(fact).visit()
    assert known is not None
    assert (known.sealed, known.sealed_by) == (None, None)


@pytest.mark.parametrize("since", [(), (verified(),), (verified(), EXPIRED), (REJECTED,), (ERASED,), (assigned(),)])
def test_a_copy_of_a_visit_is_no_news_whatever_happened_since(since: tuple[Any, ...]):
    story = Story(*TO_VISITED, *since)
    assert record_visit(story.participant(), story.visit(), visit(), FACILITATOR, NOW) == []


def test_another_visit_under_the_same_id_is_told_apart_by_field():
    story = Story(*TO_VISITED)
    wish = visit(finding=Finding.MOVED, willing=False)
    with pytest.raises(Refused, match="visit-differs") as refused:
        record_visit(story.participant(), story.visit(), wish, FACILITATOR, NOW)
    assert [problem.field for problem in refused.value.fields] == ["body.finding", "body.willing"]


def test_a_copy_from_somebody_else_is_no_copy():
    story = Story(*TO_VISITED)
    with pytest.raises(Refused, match="visit-differs"):
        record_visit(story.participant(), story.visit(), visit(), "facilitator-8", NOW)


def test_only_the_assigned_facilitator_visits():
    story = Story(listed(), nominated(), assigned())
    with pytest.raises(Refused, match="another-facilitator") as refused:
        record_visit(story.participant(), None, visit(), "facilitator-8", NOW)
    assert refused.value.status == 403


def test_a_second_visit_counts_instead_of_the_first():
    story = Story(listed(), nominated(), assigned(), visited(finding=Finding.PERSON_NOT_FOUND))
    story.given(*record_visit(story.participant(), None, visit(visit_id="v-2"), FACILITATOR, NOW))
    participant = story.participant()
    assert (participant.visits, participant.visit_id, participant.finding) == (2, "v-2", Finding.MATCHED)


def test_an_earlier_visit_that_reaches_us_late_is_kept_and_changes_nothing():
    story = Story(listed(), nominated(), assigned(), visited())
    knock = visit(visit_id="v-0", captured_at=NOW - timedelta(days=2), finding=Finding.PERSON_NOT_FOUND)
    story.given(*record_visit(story.participant(), None, knock, FACILITATOR, NOW))
    participant, late = story.participant(), story.visit("v-0")
    assert (participant.visits, participant.visit_id, participant.finding) == (2, "v-1", Finding.MATCHED)
    assert late is not None
    assert late.finding is Finding.PERSON_NOT_FOUND


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((nominated(),), "no-visit-asked-for"),
        ((nominated(), assigned(), visited(), verified()), "no-visit-asked-for"),
        ((nominated(), assigned(), visited(), verified(), EXPIRED), "no-visit-asked-for"),
        ((nominated(), REJECTED), "already-rejected"),
        ((nominated(), ERASED), "person-erased"),
    ],
)
def test_a_visit_that_nobody_asked_for_is_refused(given: tuple[Any, ...], code: str):
    story = Story(listed(), *given)
    with pytest.raises(Refused, match=code):
        record_visit(story.participant(), None, visit(visit_id="v-9"), FACILITATOR, NOW)


def test_a_device_may_run_a_little_fast_but_not_a_day():
    story = Story(listed(), nominated(), assigned())
    assert record_visit(story.participant(), None, visit(captured_at=NOW + timedelta(minutes=4)), FACILITATOR, NOW)
    with pytest.raises(Refused, match="visit-in-the-future") as refused:
        record_visit(story.participant(), None, visit(captured_at=NOW + timedelta(days=1)), FACILITATOR, NOW)
    assert refused.value.fields[0].field == "body.captured_at"


def test_an_instant_without_a_zone_and_a_number_that_is_none_are_refused_without_repeating_them():
    with pytest.raises(ValidationError):
        visit(captured_at=NOW.replace(tzinfo=None))
    for phone in ("not a number", "5270014107900001", "+52 7001 4107 9000 01"):
        with pytest.raises(ValidationError) as invalid:
            visit(phone=phone)
        assert phone not in str(invalid.value)


# --- Verifying --------------------------------------------------------------------------------------------------------


def test_a_verification_holds_from_the_visit_on_and_shows_its_priority():
    (fact,) = verifying(Story(*TO_VISITED))
    assert isinstance(fact, ParticipantVerified)
    assert (fact.verified_at, fact.expires_at) == (NOW, NOW - timedelta(hours=3) + timedelta(days=365))
    assert (fact.rule_id, fact.rule_version, fact.visit_id) == ("verification", 1, "v-1")
    assert [(part.name, part.points) for part in fact.priority.parts] == [
        ("poorest decile", 40),
        ("extreme poor", 20),
        ("child at risk of stunting", 10),
        ("woman as head", 5),
        ("no latrine of their own", 5),
        ("can leave home", 5),
    ]
    assert fact.priority.score == 85


def test_the_participants_row_holds_the_priority_that_was_shown():
    story = Story(*TO_VISITED)
    (fact,) = verifying(story)
    participant = story.given(fact).participant()
    assert (participant.status, participant.priority, participant.priority_score) == (
        ParticipantStatus.VERIFIED,
        fact.priority,
        85,
    )


def test_what_was_seen_at_the_door_goes_before_what_the_list_says():
    mended = LivingConditions(latrine="Ya, dengan Septic Tank", stunting_risk=False)
    story = Story(listed(), nominated(), assigned(), visited(conditions=mended))
    (fact,) = verifying(story)
    names = {part.name for part in fact.priority.parts}
    assert names.isdisjoint({"no latrine of their own", "child at risk of stunting"})


def test_a_telephone_number_from_the_door_is_sealed_with_the_person():
    (fact,) = verifying(Story(*TO_VISITED), notes=VisitNotes(phone="+6281234567890"))
    assert fact.personal == {MOTHER: DETAILS[MOTHER].model_copy(update={"phone": "+6281234567890"})}
    (quiet,) = verifying(Story(*TO_VISITED), notes=VisitNotes(notes="by the river"))
    assert quiet.personal == {MOTHER: DETAILS[MOTHER]}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((listed(), nominated()), "not-visited"),
        ((listed(), nominated(), assigned()), "not-visited"),
        ((listed(), nominated(), assigned(), visited(finding=Finding.MOVED)), "not-matched"),
        ((listed(), nominated(), assigned(), visited(willing=False)), "not-willing"),
        ((listed(), nominated(), assigned(), visited(captured_at=NOW - timedelta(days=365))), "visit-too-old"),
        ((*TO_VISITED, DELISTED), "household-delisted"),
        (TO_VERIFIED, "already-verified"),
        ((*TO_VERIFIED, EXPIRED), "not-visited"),
        ((*TO_VISITED, REJECTED), "already-rejected"),
        ((*TO_VISITED, ERASED), "person-erased"),
    ],
)
def test_what_the_field_does_not_bear_out_is_not_verified(given: tuple[Any, ...], code: str):
    with pytest.raises(Refused, match=code):
        verifying(Story(*given))


def test_nobody_is_verified_without_rules_or_without_knowing_who_they_are():
    story = Story(*TO_VISITED, *default_rules())
    with pytest.raises(Refused, match="no-priority-rule"):
        rules_in_force(None, story.rule(VERIFICATION))
    with pytest.raises(Refused, match="no-verification-rule"):
        rules_in_force(story.rule(PRIORITY), None)
    with pytest.raises(Refused, match="person-erased"):
        verifying(Story(*TO_VISITED), details=None)


# --- Rejecting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(RejectionReason))
def test_each_reason_ends_the_way(reason: RejectionReason):
    story = Story(*TO_VISITED)
    participant = story.given(*reject(story.participant(), reason)).participant()
    assert (participant.status, participant.rejection) == (ParticipantStatus.REJECTED, reason)


def test_a_rejection_names_the_visit_that_found_its_reason():
    story = Story(listed(), nominated(), assigned(), visited(finding=Finding.DUPLICATE))
    (found,) = reject(story.participant(), RejectionReason.DUPLICATE)
    (otherwise,) = reject(story.participant(), RejectionReason.NOT_ELIGIBLE)
    assert (found, otherwise) == (
        ParticipantRejected(participant_id=MOTHER, reason=RejectionReason.DUPLICATE, visit_id="v-1"),
        ParticipantRejected(participant_id=MOTHER, reason=RejectionReason.NOT_ELIGIBLE),
    )


def test_who_is_verified_can_still_be_rejected_and_is_verified_no_longer():
    story = Story(*TO_VERIFIED)
    participant = story.given(*reject(story.participant(), RejectionReason.DECEASED)).participant()
    assert (participant.status, participant.expires_at) == (ParticipantStatus.REJECTED, None)
    assert expire(participant, NOW + timedelta(days=999)) == []


def test_nobody_is_rejected_twice():
    story = Story(*TO_VISITED, REJECTED)
    with pytest.raises(Refused, match="already-rejected"):
        reject(story.participant(), RejectionReason.DUPLICATE)


def test_a_civil_registry_fact_rejects_once_and_only_who_takes_part():
    assert reject_if_still_in(None, RejectionReason.DECEASED) == []
    for given in (REJECTED, ERASED):
        assert reject_if_still_in(Story(*TO_VISITED, given).participant(), RejectionReason.DECEASED) == []
    assert len(reject_if_still_in(Story(*TO_VERIFIED).participant(), RejectionReason.DECEASED)) == 1


# --- Expiring ---------------------------------------------------------------------------------------------------------


def test_a_verification_expires_at_its_time_and_not_before():
    story = Story(*TO_VISITED, verified(expires_at=NOW))
    assert expire(story.participant(), NOW - timedelta(microseconds=1)) == []
    (fact,) = expire(story.participant(), NOW)
    assert fact == VerificationExpired(participant_id=MOTHER, verified_at=NOW - timedelta(hours=1), expired_at=NOW)
    assert story.given(fact).participant().status is ParticipantStatus.EXPIRED
    assert expire(story.participant(), NOW) == []


@pytest.mark.parametrize("given", [(nominated(),), (nominated(), assigned()), (nominated(), REJECTED)])
def test_only_what_was_verified_expires(given: tuple[Any, ...]):
    assert expire(Story(listed(), *given).participant(), NOW + timedelta(days=9999)) == []


# --- Erasing ----------------------------------------------------------------------------------------------------------


def test_an_erased_person_takes_part_no_longer_and_nothing_sealed_is_kept():
    story = Story(listed(), nominated(), assigned(), visited(personal={MOTHER: VisitNotes(notes="by the river")}))
    story.given(*erase(story.participant(), story.member(), "UU 27/2022 art. 8"))
    known = story.visit()
    assert known is not None
    assert (story.participant().status, story.participant().sealed, known.sealed) == (
        ParticipantStatus.ERASED,
        None,
        None,
    )
    assert erase(story.participant(), story.member(), "UU 27/2022 art. 8") == []


def test_whoever_is_listed_can_be_erased_though_nobody_nominated_them():
    story = Story(listed())
    assert erase(None, story.member(), "UU 27/2022 art. 8") == [ERASED]
    participant = Story(listed(), ERASED).participant()
    assert (participant.status, participant.household_id, participant.route) == (ParticipantStatus.ERASED, HOME, None)
    with pytest.raises(Refused, match="person-erased"):
        assign(story.household, story.member(), participant, DETAILS[MOTHER], ASSIGN)


# --- Keeping up with the household ------------------------------------------------------------------------------------


def test_participants_and_their_visits_move_with_the_household():
    story = Story(*TO_VISITED)
    events = relocate([story.participant()], OTHER_VILLAGE)
    assert events == [ParticipantRelocated(participant_id=MOTHER, area_code=OTHER_VILLAGE)]
    story.given(*events)
    known = story.visit()
    assert known is not None
    assert (story.participant().area_code, known.area_code) == (OTHER_VILLAGE, OTHER_VILLAGE)
    assert relocate([story.participant()], OTHER_VILLAGE) == []


def test_participants_of_a_household_that_moved_away_take_part_no_longer():
    story = Story(*TO_VERIFIED)
    assert follow([story.participant()], OTHER_VILLAGE) == relocate([story.participant()], OTHER_VILLAGE)
    events = follow([story.participant()], "35.78.01.1001")
    assert events == [ParticipantRejected(participant_id=MOTHER, reason=RejectionReason.MOVED)]
    assert follow([story.given(*events).participant()], "35.78.01.1001") == []


def test_a_correction_is_told_on_both_streams():
    story = Story(*TO_VISITED)
    (corrected,) = correct_member(story.member(), DETAILS[MOTHER], CorrectPerson(birth_date=date(1964, 1, 1)), NOW)
    assert isinstance(corrected, MemberCorrected)
    (fact,) = correct(story.participant(), corrected)
    assert isinstance(fact, ParticipantCorrected)
    assert (fact.age_band, fact.personal) == (corrected.age_band, corrected.personal)
    assert correct(None, corrected) == []
    assert correct(Story(*TO_VISITED, ERASED).participant(), corrected) == []


def test_a_newer_rank_gives_a_verified_participant_another_priority():
    story = Story(*TO_VISITED, *default_rules())
    story.given(*verifying(story))
    newer = Rank(source="P3KE", snapshot_id="s-2", dated=TODAY, welfare_decile=2)
    (fact,) = reprioritise(story.participant(), story.household, story.member(), newer, story.rule(PRIORITY))
    assert isinstance(fact, PriorityChanged)
    assert fact.priority.score == 45
    assert story.given(fact).participant().priority_score == 45
    same = reprioritise(story.participant(), story.household, story.member(), newer, story.rule(PRIORITY))
    assert same == []


@pytest.mark.parametrize("given", [TO_VISITED, (*TO_VERIFIED, EXPIRED), (*TO_VERIFIED, REJECTED)])
def test_the_priority_of_who_is_not_verified_does_not_change(given: tuple[Any, ...]):
    story = Story(*given, *default_rules())
    newer = replace(RANK, welfare_decile=9)
    rule = story.rule(PRIORITY)
    assert reprioritise(story.participant(), story.household, story.member(), newer, rule) == []


def test_a_household_whose_head_died_has_no_points_for_its_head():
    story = Story(*TO_VISITED)
    (fact,) = verifying(story, head=None)
    assert "woman as head" not in {part.name for part in fact.priority.parts}
