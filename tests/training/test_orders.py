"""Facts about several people reach training in any order: the lists end the same."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import Event
from contracts.registry import (
    ParticipantRejected,
    ParticipantRelocated,
    PersonErased,
    PriorityChanged,
    RejectionReason,
    VerificationExpired,
)
from contracts.training import ParticipantReplaced, ParticipantWithdrawn, WithdrawalReason
from tests.training.facts import (
    BASE,
    COHORT,
    DAYS,
    IN_LOMBOK_TIMUR,
    NOW,
    OTHER_COHORT,
    OTHER_KECAMATAN,
    VILLAGE,
    Story,
    confirmed,
    enrolled,
    known_people,
    planned,
    priority,
    quota,
    started,
    verified,
    waitlisted,
)

LATER = planned(OTHER_COHORT, number="P3KE-2024-02", days=tuple(day.replace(day=day.day + 7) for day in DAYS))
HOMES = {
    "a": VILLAGE,
    "b": VILLAGE,
    "c": IN_LOMBOK_TIMUR,
    "v": VILLAGE,
    "w": IN_LOMBOK_TIMUR,
    "x": VILLAGE,
    "y": VILLAGE,
}


def expired(person: str) -> VerificationExpired:
    return VerificationExpired(participant_id=person, verified_at=NOW, expired_at=NOW)


def rejected(person: str) -> ParticipantRejected:
    return ParticipantRejected(participant_id=person, reason=RejectionReason.DECEASED)


def erased(person: str) -> PersonErased:
    return PersonErased(participant_id=person, household_id="h", area_code=VILLAGE, basis="UU 27/2022 art. 8")


def outranked(person: str) -> PriorityChanged:
    return PriorityChanged(participant_id=person, priority=priority(99))


def moved(person: str) -> ParticipantRelocated:
    return ParticipantRelocated(participant_id=person, area_code=OTHER_KECAMATAN)


SCORES = {"v": 40, "w": 30, "x": 20, "y": 10}
PEOPLE = known_people(*(verified(p, SCORES.get(p, 90), area_code=home) for p, home in HOMES.items()))


def places(cohort_id: str, people: str) -> list[Event]:
    return [enrolled(p, n, cohort_id, area_code=HOMES[p]) for n, p in enumerate(people, 1)]


def line(cohort_id: str) -> list[Event]:
    return [waitlisted(p, score, cohort_id, area_code=HOMES[p]) for p, score in SCORES.items()]


def full_cohort_with_a_line(*more: Event) -> Story:
    return Story(*PEOPLE, *BASE, *places(COHORT, "abc"), *line(COHORT), *more)


def two_cohorts_with_one_line() -> Story:
    """Who waits, waits for both; the second has two free places, which nobody was given yet."""
    return Story(
        *PEOPLE, *BASE, LATER, *places(COHORT, "abc"), *places(OTHER_COHORT, "a"), *line(COHORT), *line(OTHER_COHORT)
    )


def ending(story: Story) -> Any:
    """Who is on which list with which status, and who has a place; not which of the places."""
    return {
        c: (story.statuses(c), set(story.holders(c).values()), story.cohort(c).enrolled, story.cohort(c).waitlisted)
        for c in story.cohort_ids()
    }


facts_of_one = st.sampled_from([[expired], [rejected], [erased], [outranked, rejected], [moved, expired], [outranked]])


def endings_of(told: dict[str, list[Any]], base: Callable[[], Story], order: Any) -> list[Any]:
    """How the lists end in two orders; each person's own facts keep theirs."""
    endings = []
    for _ in range(2):
        waiting = {person: [fact(person) for fact in facts] for person, facts in told.items()}
        story = base()
        while waiting:
            person = order.choice(sorted(waiting))
            story.told(waiting[person].pop(0))
            if not waiting[person]:
                del waiting[person]
        endings.append(ending(story))
    return endings


tellings = st.dictionaries(st.sampled_from(sorted(HOMES)), facts_of_one, min_size=2, max_size=4)
orders = st.randoms(use_true_random=False)


@settings(max_examples=60)
@given(told=tellings, quotas=st.tuples(st.integers(2, 5), st.integers(1, 3)), order=orders)
def test_every_order_of_peoples_facts_gives_one_cohort_the_same_list_within_its_quotas(
    told: Any, quotas: tuple[int, int], order: Any
):
    limits = [quota("52.01", quotas[0]), quota("52.03", quotas[1])]
    one, other = endings_of(told, lambda: full_cohort_with_a_line(*limits), order)
    assert one == other


@settings(max_examples=40)
@given(told=tellings, order=orders)
def test_every_order_of_peoples_facts_gives_two_cohorts_the_same_lists(told: Any, order: Any):
    one, other = endings_of(told, two_cohorts_with_one_line, order)
    assert one == other


def test_of_two_who_leave_it_does_not_matter_who_was_first():
    one, other = full_cohort_with_a_line(), full_cohort_with_a_line()
    one.told(rejected("a"), expired("v"))
    other.told(expired("v"), rejected("a"))
    assert ending(one) == ending(other)
    assert set(one.holders().values()) == {"b", "c", "w"}


def test_a_place_that_only_a_quota_kept_free_is_given_when_the_quota_has_room_again():
    story = full_cohort_with_a_line(quota("52.01", 2), quota("52.03", 1))
    story.told(rejected("c"))
    assert set(story.holders().values()) == {"a", "b", "w"}
    story.told(rejected("w"))
    assert set(story.holders().values()) == {"a", "b"}
    story.told(rejected("a"))
    assert set(story.holders().values()) == {"b", "v"}


def test_one_fact_reopens_the_places_on_every_list():
    small = planned(OTHER_COHORT, number="P3KE-2024-02", capacity=1, days=LATER.days)
    story = full_cohort_with_a_line(small, *places(OTHER_COHORT, "a"), *line(OTHER_COHORT))
    decided = story.told(rejected("a"))
    assert [type(e) for e in decided] == [ParticipantWithdrawn, ParticipantReplaced] * 2
    assert [(e.key, e.participant_id) for e in decided if isinstance(e, ParticipantReplaced)] == [
        (COHORT, "v"),
        (OTHER_COHORT, "v"),
    ]


def test_on_one_fact_two_cohorts_do_not_both_take_the_last_place_of_a_quota():
    one = planned(capacity=1)
    other = planned(OTHER_COHORT, number="P3KE-2024-02", capacity=1, days=LATER.days)
    lists = [*places(COHORT, "a"), *places(OTHER_COHORT, "a")]
    lines = [waitlisted("w", 30, c, area_code=HOMES["w"]) for c in (COHORT, OTHER_COHORT)]
    story = Story(*PEOPLE, *BASE[:-1], one, other, quota("52.03", 1), *lists, *lines)
    followers = [(e.key, e.participant_id) for e in story.told(rejected("a")) if isinstance(e, ParticipantReplaced)]
    assert followers == [(COHORT, "w")]


def test_after_the_start_a_fact_changes_the_candidate_and_no_list():
    story = full_cohort_with_a_line(confirmed("a"), confirmed("b"), confirmed("c"), started())
    before = story.statuses()
    assert story.told(expired("a"), rejected("b"), erased("c")) == []
    assert story.statuses() == before
    assert story.candidate("a").status == "expired"


def test_the_reasons_name_what_happened():
    story = full_cohort_with_a_line()
    reasons = [e.reason for e in story.told(expired("a"), rejected("b"), erased("c")) if hasattr(e, "reason")]
    assert reasons == [
        WithdrawalReason.VERIFICATION_EXPIRED,
        WithdrawalReason.NO_LONGER_ELIGIBLE,
        WithdrawalReason.NO_LONGER_ELIGIBLE,
    ]
