"""The bulk of the load: officers who ask for hundreds of visits in one request, devices that send theirs at once."""

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from deploy.demo.lists import ListSize, write_list
from tests.faults.load import Load
from tests.faults.long.evidence import Found, examine
from tests.faults.test_crash_points import learn_ids_from_the_log
from tests.journeys.evidence import assert_tables_say_what_the_oracle_says
from tests.journeys.oracle.lists import read_list
from tests.journeys.programme import Programme
from tests.support.world import HOUSE

A_REQUEST = 500
VISITS_A_REQUEST = 200
ROUNDS_BETWEEN_VISITS = 30
DUE_ON = date(2031, 12, 31)


class Pace:
    """Holds several lanes together at so many events a second. What an outage has cost is made up for afterwards."""

    def __init__(self, events_per_second: float) -> None:
        self._rate = events_per_second
        self._begun = 0.0
        self._lock = threading.Lock()
        self.events = 0

    def begin(self) -> None:
        self._begun, self.events = time.monotonic(), 0

    def keep(self, events: int) -> None:
        with self._lock:
            self.events += events
            ahead = self._begun + self.events / self._rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


class BulkLane:
    """People of its own, to whom facilitators are sent again and again. Each person is one event of each request."""

    def __init__(self, programme: Programme, people: Sequence[str], pace: Pace) -> None:
        self._programme = programme
        self._groups = [people[first : first + A_REQUEST] for first in range(0, len(people), A_REQUEST)]
        self._pace = pace

    def acts(self) -> Iterator[None]:
        rounds = 0
        while True:
            rounds += 1
            for group in self._groups:
                self._programme.assign(group, "facilitator", DUE_ON - timedelta(days=rounds % 365))
                self._pace.keep(len(group))
                yield
            if rounds % ROUNDS_BETWEEN_VISITS == 1:
                yield from self._visits(self._groups[0], rounds)

    def _visits(self, people: Sequence[str], rounds: int) -> Iterator[None]:
        for first in range(0, len(people), VISITS_A_REQUEST):
            part = people[first : first + VISITS_A_REQUEST]
            seen = {"captured_at": self._programme.world.now.isoformat(), "finding": "matched", "willing": True}
            seen |= {"can_leave_home": True, "reachable": rounds % 2 == 0, "notes": "Rumah di ujung jalan"}
            visits = [seen | {"participant_id": who, "visit_id": f"bulk-{rounds}"} for who in part]
            self._programme.visit(visits, "facilitator")
            self._pace.keep(len(part))
            yield


class HeavyLoad(Load):
    """The lanes of the short run, whose every act is followed by the oracle, and bulk lanes beside them."""

    def add(self, work: Iterator[None]) -> None:
        self._works.append(work)

    def raise_what_a_lane_met(self) -> None:
        if self._errors:
            raise self._errors[0]

    def assert_nothing_was_lost(self) -> int:
        """As in the short run, but event by event in little memory. Gives the number of copies in Kafka."""
        self.settle()
        found = self.examine()
        differences = [what for each in found for what in each.differences]
        assert not differences, "\n".join(differences[:20])
        return sum(len(each.copies) for each in found)

    def examine(self) -> list[Found]:
        """What each service's log, topics and tables say. Settle before."""
        world, oracle = self.programme.world, self.programme.oracle
        found = [examine(world, oracle, service) for service in HOUSE]
        try:
            assert_tables_say_what_the_oracle_says(world, oracle, after_crashes=True)
        except AssertionError as error:
            found[-1].differences.append(str(error))
        return found


def take_in_many(load: HeavyLoad, path: Path, size: ListSize) -> list[str]:
    """Another source's list, for the bulk lanes. Gives the people with whom nobody else works."""
    programme = load.programme
    before = set(programme.oracle.registry.home_of)
    write_list(path, size, seed=7, dated=date(2024, 6, 1))
    read = read_list(path, "REGSOSEK", date(2024, 6, 1), ["52"])
    received = programme.send_list(read)["snapshot"]
    programme.oracle.registry.list_received(received["snapshot_id"], read, read.path.name)
    programme.world.settle()
    learn_ids_from_the_log(programme, received["snapshot_id"], read)
    return [who for who in programme.oracle.registry.home_of if who not in before]
