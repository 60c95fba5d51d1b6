"""Whatever is wished in whatever order: nobody is verified and rejected at once, and every row tells one way."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.envelope import Event
from contracts.registry import Finding, RejectionReason
from services.kit.refusal import Refused
from services.registry.households.decisions import destination, is_served, move, record_death
from services.registry.participants.commands import Assign
from services.registry.participants.decisions import (
    assign,
    erase,
    expire,
    follow,
    record_visit,
    reject,
    reject_if_still_in,
    rules_in_force,
    verify,
)
from services.registry.participants.state import PARTICIPANTS, Participant, ParticipantStatus
from services.registry.rules.decisions import PRIORITY, VERIFICATION
from tests.registry.facts import (
    DETAILS,
    FACILITATOR,
    MOTHER,
    NOW,
    OTHER_VILLAGE,
    TODAY,
    VILLAGE,
    Story,
    default_rules,
    listed,
    visit,
)

FACILITATORS = st.sampled_from([FACILITATOR, "facilitator-8"])


class Ways(RuleBasedStateMachine):
    """Wishes in any order, refused or not, against a plain account of what was granted."""

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.story = Story(listed(), *default_rules())
        self.verified = self.rejected = self.erased = False  # the account: kept by hand, not by the fold
        self.accepted: set[str] = set()

    @property
    def participant(self) -> Participant | None:
        return self.story.row(PARTICIPANTS, MOTHER)

    def granted(self, events: list[Event]) -> bool:
        self.story.given(*events)
        return bool(events)

    @rule(facilitator=FACILITATORS)
    def assigns(self, facilitator: str) -> None:
        command = Assign(facilitator_id=facilitator, due_on=TODAY, person_ids=[MOTHER])
        story = self.story
        try:
            self.granted(assign(story.household, story.member(), self.participant, DETAILS[MOTHER], command))
        except Refused:
            return
        assert True not in (self.verified, self.rejected, self.erased)

    @precondition(lambda self: self.participant is not None)
    @rule(
        number=st.integers(1, 3),
        facilitator=FACILITATORS,
        finding=st.sampled_from([Finding.MATCHED, Finding.MATCHED, Finding.MOVED]),
        willing=st.booleans(),
    )
    def visits(self, number: int, facilitator: str, finding: Finding, willing: bool) -> None:
        assert self.participant is not None
        visit_id = f"v-{number}"
        known = self.story.visit(visit_id)
        wish = visit(visit_id=visit_id, captured_at=self.now, finding=finding, willing=willing)
        try:
            new = self.granted(record_visit(self.participant, known, wish, facilitator, self.now))
        except Refused:
            return
        assert new is (visit_id not in self.accepted)
        self.accepted.add(visit_id)

    @precondition(lambda self: self.participant is not None)
    @rule()
    def verifies(self) -> None:
        assert self.participant is not None
        story = self.story
        in_force = rules_in_force(story.rule(PRIORITY), story.rule(VERIFICATION))
        try:
            self.granted(verify(self.participant, story.household, None, DETAILS[MOTHER], None, in_force, self.now))
        except Refused:
            return
        assert True not in (self.verified, self.rejected, self.erased)
        self.verified = True

    @precondition(lambda self: self.participant is not None)
    @rule(reason=st.sampled_from(RejectionReason))
    def rejects(self, reason: RejectionReason) -> None:
        assert self.participant is not None
        try:
            self.granted(reject(self.participant, reason))
        except Refused:
            assert self.rejected or self.erased
            return
        self.verified, self.rejected = False, True

    @precondition(lambda self: self.participant is not None)
    @rule(days=st.sampled_from([1, 200, 400]))
    def time_passes(self, days: int) -> None:
        assert self.participant is not None
        self.now += timedelta(days=days)
        if self.granted(expire(self.participant, self.now)):
            assert self.verified
            self.verified = False

    @rule()
    def dies(self) -> None:
        story = self.story
        self.granted(record_death(story.household, story.member(), TODAY, self.now))
        if self.granted(reject_if_still_in(self.participant, RejectionReason.DECEASED)):
            self.verified, self.rejected = False, True

    @precondition(lambda self: self.story.household.head_person_id == MOTHER)
    @rule(code=st.sampled_from([VILLAGE, OTHER_VILLAGE, OTHER_VILLAGE, "35.78.01.1001"]))
    def moves(self, code: str) -> None:
        story = self.story
        village = destination(story.household, story.member(), code, TODAY, self.now)
        self.granted(move(story.household, village))
        if self.participant is not None:
            followed = self.granted(follow([self.participant], village))
            if followed and not is_served(village):
                self.verified, self.rejected = False, True

    @rule()
    def is_erased(self) -> None:
        if self.granted(erase(self.participant, self.story.member(), "UU 27/2022 art. 8")):
            assert not self.erased
        self.verified, self.erased = False, True

    @invariant()
    def is_never_verified_and_rejected(self) -> None:
        assert not (self.verified and (self.rejected or self.erased))

    @invariant()
    def the_row_tells_the_same_as_the_account(self) -> None:
        row = self.participant
        if row is None:
            return
        assert (row.status is ParticipantStatus.VERIFIED) is self.verified
        assert (row.rejection is not None) is self.rejected
        assert (row.status is ParticipantStatus.ERASED) is self.erased
        assert (row.expires_at is not None) is self.verified
        assert row.visits == len(self.accepted)
        assert row.area_code == self.story.household.area_code


TestWays = Ways.TestCase
TestWays.settings = settings(max_examples=60, stateful_step_count=25)


@given(st.permutations([0, 1, 2, 3]))
def test_of_two_ends_the_first_one_counts(order: list[int]):
    """A rejection and a verification that meet, with an expiry and a death beside them, in any order."""
    story = Story(listed(), *default_rules())
    command = Assign(facilitator_id=FACILITATOR, due_on=TODAY, person_ids=[MOTHER])
    story.given(*assign(story.household, story.member(), None, DETAILS[MOTHER], command))
    story.given(*record_visit(story.participant(), None, visit(), FACILITATOR, NOW))
    in_force = rules_in_force(story.rule(PRIORITY), story.rule(VERIFICATION))

    def wish(number: int) -> list[Event]:
        participant = story.participant()
        if number == 0:
            return verify(participant, story.household, None, DETAILS[MOTHER], None, in_force, NOW)
        if number == 1:
            return reject(participant, RejectionReason.NOT_ELIGIBLE)
        if number == 2:
            return expire(participant, NOW + timedelta(days=400))
        return reject_if_still_in(participant, RejectionReason.DECEASED)

    for number in order:
        try:
            story.given(*wish(number))
        except Refused:
            continue
    assert story.participant().status is ParticipantStatus.REJECTED
    first = RejectionReason.NOT_ELIGIBLE if order.index(1) < order.index(3) else RejectionReason.DECEASED
    assert story.participant().rejection is first
