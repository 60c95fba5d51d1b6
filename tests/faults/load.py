"""A load of real commands: people who go on with their work while processes die and servers are away."""

import json
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import httpx
from aiokafka.errors import KafkaError

from tests.journeys.evidence import (
    assert_kafka_holds_the_log,
    assert_log_tells_the_story,
    assert_tables_say_what_the_oracle_says,
)
from tests.journeys.programme import Programme
from tests.support.world import HOUSE, REGISTRY, TRAINING, Caller, World, wait_for

_TRY_AGAIN_SECONDS = 0.2
_NOT_HEARD_OF_YET = ("no-such-candidate", "not-verified")


class Load:
    """Lanes of work, side by side. Each has people and a cohort of its own, so that the oracle can follow it.

    `patient` is the programme whose clients do not give up; any thread may use it while commands flow.
    """

    def __init__(
        self,
        programme: Programme,
        lanes: Sequence[tuple[list[str], str]],
        known: Sequence[str],
        reserved: list[str],
    ) -> None:
        self.programme = programme
        self.reserved = reserved  # adults with whom no lane works
        self.counts: Counter[str] = Counter()
        lock = threading.RLock()
        oracle = SimpleNamespace(
            registry=OneAtATime(programme.oracle.registry, lock),
            training=OneAtATime(programme.oracle.training, lock),
            outcomes=OneAtATime(programme.oracle.outcomes, lock),
            notifications=OneAtATime(programme.oracle.notifications, lock),
        )
        world = cast(World, PatientWorld(programme.world, self.counts))
        self.patient = replace(programme, world=world, oracle=cast(Any, oracle))
        self._registry = CivilRegistry(self.patient, known)
        self._works = [self._registry.acts(), *(Lane(self.patient, *lane).acts() for lane in lanes)]
        self._errors: list[BaseException] = []
        self._flows = threading.Event()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Commands flow until the block ends. Raises what a lane met that must not happen."""
        self._flows.set()
        threads = [threading.Thread(target=self._go_on, args=(work,), daemon=True) for work in self._works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._flows.clear()
            for thread in threads:
                thread.join(120)
            stuck = [thread for thread in threads if thread.is_alive()]
        if self._errors:
            raise self._errors[0]
        assert not stuck, f"{len(stuck)} lanes wait for an answer that does not come"

    def _go_on(self, work: Iterator[None]) -> None:
        try:
            while self._flows.is_set():
                next(work)
                self.counts["acts"] += 1
        except BaseException as error:  # noqa: BLE001 (raised again where the block ends)
            self._errors.append(error)

    def await_acts(self, number: int) -> None:
        """Returns when the lanes have done so much more."""
        goal = self.counts["acts"] + number
        self.await_that(f"{number} more acts are done", lambda: self.counts["acts"] >= goal)

    def await_that(self, what: str, check: Callable[[], object]) -> None:
        """Returns when it is true, and raises what a lane meets before that."""
        wait_for(what, lambda: bool(self._errors or check()), seconds=240)
        if self._errors:
            raise self._errors[0]

    def settle(self) -> None:
        """Waits until all is dealt with that flowed. Do it before the clock moves on."""
        self.programme.world.settle()
        self._registry.learn_rejections()

    def assert_nothing_was_lost(self) -> int:
        """Everything that was accepted happened once, everywhere, in order. Gives the number of copies in Kafka."""
        world, oracle = self.programme.world, self.programme.oracle
        self.settle()
        assert_tables_say_what_the_oracle_says(world, oracle, after_crashes=True)
        for service in HOUSE:
            assert_log_tells_the_story(world, oracle, service, after_crashes=True)
        return sum(assert_kafka_holds_the_log(world, service) for service in HOUSE)


# --- Who works --------------------------------------------------------------------------------------------------------


class Lane:
    """An officer and a facilitator with people of their own, one after the other."""

    def __init__(self, programme: Programme, people: Sequence[str], cohort_id: str) -> None:
        registry = programme.oracle.registry
        adult = {person: registry.members[registry.home_of[person], person]["adult"] for person in people}
        self._programme = programme
        self._cohort_id = cohort_id
        self._new = deque(person for person in people if adult[person])
        self._revisited = deque(person for person in people if not adult[person])
        self._verified: deque[str] = deque()
        self._enrolled: deque[str] = deque()
        self._confirmed: deque[str] = deque()
        self._visits = 0

    def acts(self) -> Iterator[None]:
        """Endless; each step is a few commands. In the end only those repeat that change nothing for good."""
        while True:
            if self._new:
                yield from self._find([self._new.popleft() for _ in range(min(3, len(self._new)))])
            yield from self._look_again()
            yield from self._teach()

    def _find(self, people: list[str]) -> Iterator[None]:
        self._programme.assign(people, "facilitator", date(2024, 12, 31))
        yield
        self._programme.visit([self._visit(person) for person in people], "facilitator")
        yield
        self._programme.verify(people[1:] or people, await_training=False)
        self._verified.extend(people[1:] or people)
        yield
        if people[1:]:
            self._programme.reject(people[0], "not_eligible", settle=False)
            yield

    def _look_again(self) -> Iterator[None]:
        self._programme.assign([self._revisited[0]], "facilitator", date(2024, 12, 31))
        yield
        visit = self._visit(self._revisited[0])
        self._programme.visit([visit, visit], "facilitator")
        self._revisited.rotate()
        yield

    def _teach(self) -> Iterator[None]:
        if self._verified and self._has_place(self._verified[0]):
            self._enrolled.append(self._verified.popleft())
        yield
        if self._enrolled:
            self._programme.confirm(self._cohort_id, self._enrolled[0])
            self._confirmed.append(self._enrolled.popleft())
            yield
        if len(self._confirmed) > 3:
            self._programme.withdraw(self._cohort_id, self._confirmed[0], "work")
            self._verified.append(self._confirmed.popleft())
            yield

    def _has_place(self, person: str) -> bool:
        """Tries to enrol. Training may not have heard of them yet; then they are tried again later."""
        body = {"participant_id": person}
        answer = self._programme.officer(TRAINING).post(f"/cohorts/{self._cohort_id}/participants", body)
        if answer.status_code == 409 or answer.status_code == 404:
            assert answer.json()["code"] in _NOT_HEARD_OF_YET, answer.text
            return False
        assert answer.status_code == 201, answer.text
        self._programme.oracle.training.enrolled(self._cohort_id, person)
        return True

    def _visit(self, person: str) -> dict[str, Any]:
        self._visits += 1
        return {
            "participant_id": person,
            "visit_id": f"{person[-12:]}-{self._visits}",
            "captured_at": self._programme.world.now.isoformat(),
            "finding": "matched",
            "willing": True,
            "can_leave_home": True,
            "reachable": self._visits % 2 == 0,
            "notes": "Rumah di ujung jalan",
        }


class CivilRegistry:
    """Publishes facts about known people, each twice, and now and then what cannot be taken in."""

    def __init__(self, programme: Programme, known: Sequence[str]) -> None:
        self._programme = programme
        self._known = deque(known)
        self._refused: dict[str, tuple[str, list[str]]] = {}  # message -> its type and the fields at fault
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._told: set[str] = set()

    def acts(self) -> Iterator[None]:
        number = 0
        while True:
            number += 1
            matched = {"matched": number % 2 == 0}
            if number % 5 == 0:
                self._refused[f"message-{number}"] = ("IdentityMatched", ["national_id"])
                self._publish(number, "IdentityMatched", "5270000101700000", **matched)
            elif number % 7 == 0:
                self._refused[f"message-{number}"] = ("DeathRecorded", ["died_on"])
                self._publish(number, "DeathRecorded", self._known[0], died_on="yesterday")
            else:
                self._publish(number, "IdentityMatched", self._known[0], **matched)
                self._programme.oracle.registry.identity_matched(self._known[0], matched["matched"])
            self._known.rotate()
            yield

    def _publish(self, number: int, fact: str, national_id: str, **said: Any) -> None:
        value = json.dumps({"national_id": national_id, **said}).encode()
        places = self._places[f"message-{number}"] = []
        while len(places) < 2:
            try:
                place = self._programme.publish(f"entas.partners.{fact}.v1", national_id, value, f"message-{number}")
            except KafkaError:
                time.sleep(_TRY_AGAIN_SECONDS)
            else:
                places.append(place)

    def learn_rejections(self) -> None:
        """Under which ids the messages were rejected: each once, however often it was sent."""
        for shown in self._programme.world.caller(REGISTRY, "partner:dukcapil").pages("/rejections"):
            message_id = shown["message_id"]
            if shown["rejection_id"] in self._told:
                continue
            fact, fields = self._refused.pop(message_id)
            # Of a message that was sent into an outage nobody knows whether the first copy is there.
            place = (shown["record_partition"], shown["record_offset"])
            assert place <= self._places[message_id][0]
            self._told.add(shown["rejection_id"])
            type_ = f"entas.partners.{fact}.v1"
            self._programme.oracle.registry.message_rejected(shown["rejection_id"], message_id, type_, place, fields)
        assert not self._refused, "messages that cannot be taken in were not rejected"


# --- Who does not give up ---------------------------------------------------------------------------------------------


@dataclass
class PatientCaller(Caller):
    """Sends a request again, under the same Idempotency-Key, until it is answered; as every client of ours is told to.

    Counts `commands`, `repeats` (requests that were sent again) and `replays` (that had been done already).
    """

    counts: Counter[str] = field(default_factory=Counter)

    def post(
        self, path: str, body: Any = None, *, csv: bytes | None = None, key: str | None = None, **query: Any
    ) -> httpx.Response:
        key = key or str(uuid.uuid4())
        self.counts["commands"] += 1
        while True:
            try:
                answer = super().post(path, body, csv=csv, key=key, **query)
            except httpx.TransportError:
                pass  # Nobody knows whether it was done; the key makes it harmless to ask again.
            else:
                if answer.status_code != 503 and not _is_in_flight(answer):
                    self.counts["replays"] += "Idempotency-Replayed" in answer.headers
                    return answer
            self.counts["repeats"] += 1
            time.sleep(_TRY_AGAIN_SECONDS)


def _is_in_flight(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and answer.json()["code"] == "request-in-flight"


class PatientWorld:
    """The world for clients who do not give up."""

    def __init__(self, world: World, counts: Counter[str]) -> None:
        self._world = world
        self._counts = counts

    def caller(self, service: str, client_id: str) -> Caller:
        return PatientCaller(client_id, self._world.caller(service, client_id).http, self._counts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


class OneAtATime:
    """A part of the oracle that several lanes may tell."""

    def __init__(self, part: Any, lock: threading.RLock) -> None:
        self._part, self._lock = part, lock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found
        told: Callable[..., Any] = found

        def tell(*said: Any) -> Any:
            with self._lock:
                return told(*said)

        return tell
