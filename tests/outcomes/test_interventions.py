"""Interventions: what a message has to say, whom it was for, and that it stands on that person's case just once."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Envelope, Event
from contracts.outcomes import (
    ClosingReason,
    DismissalReason,
    InterventionDismissed,
    InterventionKind,
    InterventionMatched,
    InterventionRecorded,
    InterventionReported,
    InterventionSubject,
    InterventionUnmatched,
    MemberRecruited,
    UnmatchedReason,
)
from contracts.partners import SupportFact
from contracts.registry import AgeBand, NominationRoute, ParticipantNominated, PersonErased, Sex
from services.kit.reactions import Reactions, Step
from services.kit.refusal import Refused
from services.outcomes.cases.state import CASES
from services.outcomes.cooperatives.state import COOPERATIVE_MEMBERS, COOPERATIVES
from services.outcomes.dinkop import SUPPORT, listen_to_dinkop
from services.outcomes.interventions.decisions import (
    Waiting,
    dismiss,
    id_of_report,
    match_by_number,
    match_by_officer,
    problems_in,
    record,
    record_waiting,
    report,
)
from services.outcomes.interventions.queries import waiting_of
from services.outcomes.interventions.state import (
    CASE_INTERVENTIONS,
    INTERVENTIONS,
    Intervention,
    InterventionStatus,
    subject_of,
)
from services.outcomes.people.state import PERSONS
from services.outcomes.state import TABLES
from tests.outcomes.reports import (
    COOPERATIVE,
    DEWI,
    LAST_WEEK,
    NOW,
    SARI,
    SARIS_NIK,
    TODAY,
    VILLAGE,
    assisted,
    closed,
    financed,
    joined,
    matched,
    membership,
    mentored,
    opened,
    reported,
    sold,
    unmatched,
)
from tests.support.scenario import Scenario


class Story(Scenario):
    """A working set of outcomes' tables, in which matching and opening cases put interventions on cases."""

    def __init__(self, *events: Event) -> None:
        super().__init__(TABLES, NOW)
        self.given(*events)

    def the_intervention(self, id_: str = "i-1") -> Intervention:
        return self.the(INTERVENTIONS, id_)

    def waiting(self, person: str = SARI) -> Waiting:
        """What the queries find: matched to this person, and on no case."""
        ids = dict.fromkeys(event.key for event, _ in self.events if event.topic == INTERVENTIONS.topic)
        rows = [row for id_ in ids if (row := self.row(INTERVENTIONS, id_)) and row.participant_id == person]
        for row in rows:
            self.row(CASE_INTERVENTIONS, person, row.intervention_id)
            if row.cooperative_number is not None:
                self.row(COOPERATIVE_MEMBERS, row.cooperative_number, person)
        return waiting_of(self.rows, rows, [person])[person]

    def match(self, id_: str, person: str = SARI) -> list[Event]:
        """What one transaction of the job decides."""
        decided = match_by_number(self.the_intervention(id_), [person])
        self.given(*decided)
        on_case = record(self.row(CASES, person), self.waiting(person)) if decided else []
        self.given(*on_case)
        return [*decided, *on_case]

    def open(self, person: str = SARI) -> list[Event]:
        """What one transaction of the reaction to CohortCompleted decides."""
        self.given(opened(person))
        on_case = record_waiting(self.waiting(person))
        self.given(*on_case)
        return on_case


def envelope(id_: str = "message-1") -> Envelope:
    return Envelope(
        id_, "a type", "urn:dinkop", "partners.dinkop", SARIS_NIK, 1, NOW, NOW, "partner:dinkop", "correlation"
    )


# --- What a partner reports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        (mentored(), (InterventionKind.MENTORING, None, None, None)),
        (financed(), (InterventionKind.FINANCING, 5_000_000, "KUR_SUPER_MIKRO", None)),
        (sold(), (InterventionKind.MARKET_ACCESS, None, "PASAR_DESA", None)),
        (assisted(amount_rupiah=600_000), (InterventionKind.ASSISTANCE, 600_000, "PKH", None)),
        (assisted(), (InterventionKind.ASSISTANCE, None, "PKH", None)),
        (joined(), (InterventionKind.COOPERATIVE_MEMBERSHIP, None, None, COOPERATIVE)),
    ],
)
def test_each_kind_of_support_becomes_an_intervention_whose_number_is_to_be_sealed(fact: SupportFact, said: Any):
    [event] = report(None, "i-1", "dinkop", fact, NOW)
    assert isinstance(event, InterventionReported)
    assert (event.kind, event.amount_rupiah, event.scheme, event.cooperative_number) == said
    assert (event.given_on, event.system) == (LAST_WEEK, "dinkop")
    assert event.personal == {"outcomes:intervention:i-1": InterventionSubject(national_id=SARIS_NIK)}
    with pytest.raises(ValueError, match="sealed before it is written"):
        event.to_bytes()


def test_every_message_about_support_has_a_reaction_and_none_is_left_out():
    reactions = Reactions()
    listen_to_dinkop(reactions)
    assert set(SUPPORT) == set(SupportFact.__subclasses__())
    assert set(SUPPORT) < set(reactions.events)


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (mentored("123"), {"national_id": "is not a NIK of 16 digits"}),
        (mentored("527001410780000X"), {"national_id": "is not a NIK of 16 digits"}),
        (mentored("５２７００１４１０７８０００００"), {"national_id": "is not a NIK of 16 digits"}),
        (mentored(on=TODAY + timedelta(days=1)), {"visited_on": "lies in the future"}),
        (financed(on=TODAY + timedelta(days=1)), {"granted_on": "lies in the future"}),
        (assisted(on=date.max), {"delivered_on": "lies in the future"}),
        (joined(on=TODAY + timedelta(days=1)), {"joined_on": "lies in the future"}),
        (financed(amount_rupiah=0), {"amount_rupiah": "is not above 0"}),
        (assisted(amount_rupiah=-1), {"amount_rupiah": "is not above 0"}),
        (financed(scheme="kur_mikro"), {"scheme": "is not a code in capitals"}),
        (sold(scheme=""), {"scheme": "is not a code in capitals"}),
        (sold(scheme="PASAR DESA"), {"scheme": "is not a code in capitals"}),
        (sold(scheme="A" * 41), {"scheme": "is not a code in capitals"}),
        (sold(scheme=f"NIK_{SARIS_NIK}"), {"scheme": "is not a code in capitals"}),
        (sold(scheme="NIK_5270_0141_0780_0000"), {"scheme": "is not a code in capitals"}),
        (joined(number=SARIS_NIK), {"cooperative_number": "is not a cooperative's number"}),
        (joined(number="5270-0141-0780-0000"), {"cooperative_number": "is not a cooperative's number"}),
        (joined(number="K5270A0141B0780C0000"), {"cooperative_number": "is not a cooperative's number"}),
        (joined(number="koperasi tenun"), {"cooperative_number": "is not a cooperative's number"}),
        (
            financed("", TODAY + timedelta(days=1), amount_rupiah=0, scheme="x"),
            {
                "national_id": "is not a NIK of 16 digits",
                "granted_on": "lies in the future",
                "amount_rupiah": "is not above 0",
                "scheme": "is not a code in capitals",
            },
        ),
    ],
)
def test_a_message_is_refused_with_all_that_is_wrong_with_it_and_no_value(fact: SupportFact, expected: dict[str, str]):
    with pytest.raises(Refused) as refused:
        report(None, "i-1", "dinkop", fact, NOW)
    assert {problem.field: problem.message for problem in refused.value.fields} == expected
    told = f"{refused.value} {refused.value.fields}"
    assert all(str(value) not in told for value in fact.model_dump().values() if len(str(value)) > 3)


@pytest.mark.parametrize("scheme", ["KUR_SUPER_MIKRO", "BPUM", "E_KATALOG", "BLT_DD_2024", "PKH"])
def test_schemes_as_they_are_called_are_taken(scheme: str):
    assert problems_in(sold(scheme=scheme), NOW) == []


def test_what_was_given_today_by_the_calendar_in_mataram_is_past():
    evening = NOW.replace(hour=16, minute=30)  # 00.30 of 3 September in Mataram, still the 2nd in UTC
    assert problems_in(mentored(on=date(2024, 9, 3)), evening) == []
    assert problems_in(mentored(on=date(2024, 9, 3)), NOW) != []


def test_a_message_that_was_taken_in_says_nothing_new_whatever_it_says():
    story = Story(reported())
    assert report(story.the_intervention(), "i-1", "dinkop", mentored(), NOW) == []


@given(ids=st.lists(st.text(st.characters(codec="ascii"), max_size=20), min_size=2, max_size=2, unique=True))
def test_each_message_id_is_one_intervention_of_its_own(ids: list[str]):
    one, other = ids
    assert id_of_report("urn:dinkop", one) == id_of_report("urn:dinkop", one)
    assert id_of_report("urn:dinkop", one) != id_of_report("urn:dinkop", other)
    assert id_of_report("urn:dinkop", one) != id_of_report("urn:other", one)


def test_a_message_that_will_be_refused_begins_nothing_so_no_key_is_made_for_it():
    reactions = Reactions()
    listen_to_dinkop(reactions)
    for fact, begins in ((mentored(), True), (mentored("123"), False)):
        reaction = reactions.to(type(fact))
        assert reaction is not None
        assert reaction.begins is not None
        begun = reaction.begins(Step(fact, envelope(), Story().rows, None, NOW))
        assert (begun is not None) is begins
        if begun is not None:
            id_ = id_of_report("urn:dinkop", "message-1")
            assert (begun.table, begun.key, begun.seals_under) == (INTERVENTIONS, (id_,), subject_of(id_))


# --- Whom it was for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bearers", "expected"),
    [
        ([SARI], InterventionMatched(intervention_id="i-1", participant_id=SARI, matched_by="national_id")),
        ([], InterventionUnmatched(intervention_id="i-1", because=UnmatchedReason.NOBODY_BEARS_THE_NUMBER)),
        ([SARI, DEWI], InterventionUnmatched(intervention_id="i-1", because=UnmatchedReason.SEVERAL_BEAR_THE_NUMBER)),
    ],
)
def test_the_one_person_who_bears_the_number_is_meant_and_else_nothing_is_guessed(bearers: list[str], expected: Event):
    assert match_by_number(Story(reported()).the_intervention(), bearers) == [expected]


@pytest.mark.parametrize("after", [unmatched(), matched()])
def test_a_number_is_looked_up_once(after: Event):
    assert match_by_number(Story(reported(), after).the_intervention(), [SARI]) == []


def test_the_sealed_number_leaves_the_row_with_the_decision_and_stays_while_an_officer_is_needed():
    dismissed = InterventionDismissed(intervention_id="i-1", because=DismissalReason.NOT_A_PARTICIPANT)
    assert Story(reported(), unmatched()).the_intervention().sealed is not None
    for decided in ([matched()], [unmatched(), matched()], [unmatched(), dismissed]):
        row = Story(reported(), *decided).the_intervention()
        assert (row.sealed, row.sealed_by) == (None, None)


def person(erased: bool = False) -> Any:
    nominated = ParticipantNominated(
        participant_id=SARI,
        household_id="h-1",
        area_code=VILLAGE,
        route=NominationRoute.TARGETING_LIST,
        sex=Sex.FEMALE,
        age_band=AgeBand.FROM_22,
        adult=True,
        personal={},
    )
    gone = PersonErased(participant_id=SARI, household_id="h-1", area_code=VILLAGE, basis="UU 27/2022 art. 8")
    return Story(nominated, *([gone] if erased else [])).the(PERSONS, SARI)


def test_an_officer_says_whom_an_unmatched_intervention_was_for():
    story = Story(reported(), unmatched())
    [decided] = match_by_officer(story.the_intervention(), person(), "officer-7")
    assert decided == InterventionMatched(intervention_id="i-1", participant_id=SARI, matched_by="officer-7")
    assert story.given(decided).the_intervention().status is InterventionStatus.MATCHED


@pytest.mark.parametrize("nobody", [None, "erased"])
def test_an_officer_cannot_match_to_nobody_or_to_somebody_who_was_erased(nobody: str | None):
    with pytest.raises(Refused, match="no-such-participant"):
        match_by_officer(
            Story(reported(), unmatched()).the_intervention(), None if nobody is None else person(erased=True), "o"
        )


@pytest.mark.parametrize(
    ("events", "code"),
    [([reported()], "not-looked-up-yet"), ([reported(), matched()], "already-decided")],
)
def test_an_officer_decides_only_what_waits_for_one(events: list[Event], code: str):
    row = Story(*events).the_intervention()
    with pytest.raises(Refused, match=code):
        match_by_officer(row, person(), "officer-7")
    with pytest.raises(Refused, match=code):
        dismiss(row, DismissalReason.REPORTED_TWICE)


def test_a_dismissed_intervention_is_decided_for_good():
    story = Story(reported(), unmatched())
    story.given(*dismiss(story.the_intervention(), DismissalReason.REPORTED_TWICE))
    assert (story.the_intervention().status, story.the_intervention().because) == ("dismissed", "reported_twice")
    with pytest.raises(Refused, match="already-decided"):
        match_by_officer(story.the_intervention(), person(), "officer-7")


# --- On the case ------------------------------------------------------------------------------------------------------


def test_what_is_matched_to_somebody_with_a_case_stands_on_it_at_once():
    story = Story(opened(), reported())
    assert [type(event) for event in story.match("i-1")] == [InterventionMatched, InterventionRecorded]
    row = story.the(CASE_INTERVENTIONS, SARI, "i-1")
    assert (row.kind, row.system, row.given_on, row.amount_rupiah, row.scheme) == (
        InterventionKind.FINANCING,
        "dinkop",
        LAST_WEEK,
        5_000_000,
        "KUR_MIKRO",
    )
    assert story.the(CASES, SARI).interventions == 1


def test_what_is_matched_before_the_case_opens_waits_and_stands_on_it_then():
    story = Story(reported())
    assert [type(event) for event in story.match("i-1")] == [InterventionMatched]
    assert [type(event) for event in story.open()] == [InterventionRecorded]
    assert story.the(CASES, SARI).interventions == 1


def test_another_persons_case_is_not_touched():
    story = Story(reported())
    story.match("i-1", DEWI)
    assert story.open(SARI) == []


def test_what_was_given_before_the_case_closed_stands_on_it_however_late_the_report_comes():
    late = {"given_on": TODAY}
    story = Story(opened(), closed(), reported(), reported("i-2", **late))
    story.match("i-1")
    story.match("i-2")
    assert [row.intervention_id for row in story.of_stream(CASE_INTERVENTIONS, SARI)] == ["i-1", "i-2"]
    after = replace(story.the(CASES, SARI), closed_on=LAST_WEEK - timedelta(days=1))
    assert record(after, Waiting((story.the_intervention(),))) == []


def test_nothing_more_is_said_about_somebody_who_was_erased():
    story = Story(opened(), closed(because=ClosingReason.ERASED), reported())
    assert [type(event) for event in story.match("i-1")] == [InterventionMatched]


def test_who_joins_a_cooperative_is_recruited_by_it_once():
    story = Story(opened(), membership("i-1"), membership("i-2"), membership("i-3", number="K-2"))
    assert [type(event) for event in story.match("i-1")][1:] == [InterventionRecorded, MemberRecruited]
    assert [type(event) for event in story.match("i-2")][1:] == [InterventionRecorded]
    assert [type(event) for event in story.match("i-3")][1:] == [InterventionRecorded, MemberRecruited]
    assert (story.the(COOPERATIVES, COOPERATIVE).recruited, story.the(COOPERATIVES, "K-2").recruited) == (1, 1)


kinds = st.sampled_from([reported, membership])
people = st.sampled_from([SARI, DEWI])


@given(
    told=st.lists(st.tuples(kinds, people), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_in_whatever_order_reports_are_matched_and_cases_open_each_stands_on_its_case_once(
    told: list[tuple[Any, str]], order: Any
):
    story = Story(*(make(f"i-{n}") for n, (make, _) in enumerate(told)))
    steps = [*((f"i-{n}", whom) for n, (_, whom) in enumerate(told)), ("", SARI), ("", DEWI)]
    order.shuffle(steps)
    decided: list[Event] = []
    for id_, whom in steps:
        decided += story.match(id_, whom) if id_ else story.open(whom)
    recorded = sorted((e.case_id, e.intervention_id) for e in decided if isinstance(e, InterventionRecorded))
    assert recorded == sorted((whom, f"i-{n}") for n, (_, whom) in enumerate(told))
    recruited = sorted(e.participant_id for e in decided if isinstance(e, MemberRecruited))
    assert recruited == sorted({whom for make, whom in told if make is membership})
    assert story.waiting(SARI).interventions == story.waiting(DEWI).interventions == ()
