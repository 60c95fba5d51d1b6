"""Stories: causes first, each log in its order, and nobody else's business."""

import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.story import Happening, NothingTold, Subject, evidence_in, in_order, story_of


class Logs:
    """What happened, as a test tells it: each event stands next in its service's log."""

    def __init__(self) -> None:
        self.events: list[Happening] = []

    def tell(self, topic: str, name: str, key: str, *, cause: Happening | None = None, **payload: Any) -> Happening:
        service = topic.partition(".")[0]
        sequence = sum(h.service == service for h in self.events)
        at = f"2024-07-08T00:00:{len(self.events):02}.000000Z"
        happening = Happening(
            service=service,
            sequence=sequence,
            topic=topic,
            partition=0,
            key=key,
            version=1,
            type=f"entas.{service}.{name}.v1",
            id=f"event-{len(self.events)}",
            time=at,
            recorded=at,
            actor="tester",
            causation_id=None if cause is None else cause.id,
            payload=payload,
        )
        self.events.append(happening)
        return happening

    async def mentioning(self, ids: Collection[str]) -> list[Happening]:
        wanted = set(ids)
        return [
            h for h in self.events if h.key in wanted or h.id in wanted or any(f'"{id_}"' in _text(h) for id_ in wanted)
        ]


def _text(happening: Happening) -> str:
    return repr(happening.payload).replace("'", '"')


@pytest.fixture
def logs() -> Logs:
    """Sari and Dewi of two households of one list are in one class; Sari's case follows."""
    told = Logs()
    tell = told.tell
    tell("registry.snapshots", "SnapshotReceived", "list", snapshot_id="list", file_digest="d1")
    for household, person in (("h1", "sari"), ("h2", "dewi")):
        tell(
            "registry.households",
            "HouseholdListed",
            household,
            household_id=household,
            rank={"snapshot_id": "list"},
            evidence={"file_digest": "d1", "row": 7 if household == "h1" else 9},
            members=[{"person_id": person}, {"person_id": f"{person}'s child"}],
        )
    for household, person in (("h1", "sari"), ("h2", "dewi")):
        nominated = {"participant_id": person, "household_id": household}
        tell("registry.participants", "ParticipantNominated", person, **nominated)
        tell("registry.participants", "ParticipantVerified", person, participant_id=person)
    tell("training.programmes", "ProgrammeOpened", "p", programme_id="p")
    tell("training.programmes", "CourseDefined", "p", programme_id="p", course_id="massage")
    tell("training.programmes", "CourseDefined", "p", programme_id="p", course_id="crafts")
    tell("training.programmes", "QuotaSet", "p", programme_id="p", area_code="52.01")
    tell("training.cohorts", "CohortPlanned", "c", cohort_id="c", programme_id="p", course_id="massage")
    tell("training.cohorts", "ParticipantEnrolled", "c", cohort_id="c", participant_id="dewi")
    tell("training.cohorts", "ParticipantEnrolled", "c", cohort_id="c", participant_id="sari")
    certified = {"cohort_id": "c", "participant_id": "sari", "certificate_number": "P3KE/1"}
    tell("training.cohorts", "CertificateIssued", "c", **certified)
    marks = [{"participant_id": "dewi", "status": "absent"}, {"participant_id": "sari", "status": "present"}]
    tell("training.cohorts", "AttendanceRecorded", "c", cohort_id="c", day="2024-07-08", marks=marks)
    done = tell("training.cohorts", "CohortCompleted", "c", cohort_id="c", completed=["dewi", "sari"])
    tell("outcomes.cases", "CaseOpened", "sari", cause=done, case_id="sari", participant_id="sari", cohort_id="c")
    return told


def names(story: list[Happening]) -> list[str]:
    return [f"{h.name} {h.key}" for h in story]


SARIS = [
    "SnapshotReceived list",
    "HouseholdListed h1",
    "ParticipantNominated sari",
    "ParticipantVerified sari",
    "ProgrammeOpened p",
    "CourseDefined p",
    "CohortPlanned c",
    "ParticipantEnrolled c",
    "CertificateIssued c",
    "AttendanceRecorded c",
    "CohortCompleted c",
    "CaseOpened sari",
]


@pytest.mark.parametrize(
    ("subject", "id_"),
    [(Subject.PARTICIPANT, "sari"), (Subject.CASE, "sari"), (Subject.HOUSEHOLD, "h1"), (Subject.CERTIFICATE, "P3KE/1")],
)
async def test_a_story_goes_from_the_row_of_the_list_to_the_case_and_tells_of_nobody_else(
    logs: Logs, subject: Subject, id_: str
):
    story = await story_of(subject, id_, logs)
    assert names(story) == SARIS
    assert not any("dewi" in _text(h) or h.key == "h2" for h in story)
    assert [h.payload["marks"] for h in story if "marks" in h.payload] == [
        [{"participant_id": "sari", "status": "present"}]
    ]
    [evidence] = evidence_in(story)
    assert (evidence.file_digest, evidence.row, evidence.listed_by.key) == ("d1", 7, "h1")


async def test_the_story_of_a_cohort_is_of_everybody_in_it(logs: Logs):
    story = names(await story_of(Subject.COHORT, "c", logs))
    assert story.count("ParticipantEnrolled c") == 2
    assert {"ProgrammeOpened p", "CohortPlanned c", "CohortCompleted c"} <= set(story)
    assert "QuotaSet p" not in story


@pytest.mark.parametrize("subject", Subject)
async def test_what_nobody_told_of_is_said_so(logs: Logs, subject: Subject):
    with pytest.raises(NothingTold, match="nobody"):
        await story_of(subject, "nobody", logs)


async def test_a_number_that_is_no_certificates_is_said_so(logs: Logs):
    with pytest.raises(NothingTold, match="No certificate has the number sari"):
        await story_of(Subject.CERTIFICATE, "sari", logs)


@given(seed=st.randoms(use_true_random=False), skew=st.integers(-50, 50))
def test_causes_come_first_and_logs_keep_their_order_whatever_the_clocks_say(seed: random.Random, skew: int):
    told = Logs()
    for n in range(20):
        cause = seed.choice(told.events) if told.events and seed.random() < 0.5 else None
        told.tell(f"{seed.choice(('registry', 'training', 'outcomes'))}.things", "Happened", f"s{n}", cause=cause)
    # The clock of training is wrong by up to 50 seconds.
    skewed = [
        replace(h, recorded=f"2024-07-08T00:{2 + (n + skew) // 60:02}:{(n + skew) % 60:02}Z")
        if h.service == "training"
        else h
        for n, h in enumerate(told.events)
    ]
    shuffled = seed.sample(skewed, len(skewed))
    place = {h.id: n for n, h in enumerate(in_order(shuffled))}
    assert len(place) == 20
    for h in told.events:
        assert h.causation_id is None or place[h.causation_id] < place[h.id]
    for service in ("registry", "training", "outcomes"):
        own = [place[h.id] for h in told.events if h.service == service]
        assert own == sorted(own)
