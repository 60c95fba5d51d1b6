"""What keeps the house running in the long run: processes and servers that have ended are started again, whyever."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from deploy.local.daemon import StackError
from tests.support.world import World, wait_for

MORE_WORKERS = ("registry-worker-2", "training-worker-2", "training-worker-3")
"""Two relays that want to lead, and three workers of one service."""


class Supervisor:
    """What a container platform does. Nobody else starts anything while it looks after the house.

    Whoever ends a process says so before (`expect_end`): any other end is noted, as one that no fault of ours explains.
    """

    def __init__(self, world: World, names: list[str], environment: Mapping[str, str]) -> None:
        self._world = world
        self.names = names
        self._environment = environment
        self._expected: Counter[str] = Counter()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._left_alone: set[str] = set()
        self.server_starts: Counter[str] = Counter()
        self.ended_by_themselves: list[str] = []

    @contextmanager
    def looking_after(self) -> Iterator[None]:
        servers = {"kafka": self._world.start_kafka, "postgres": self._world.start_postgres}
        watches = [threading.Thread(target=self._watch_processes, daemon=True)]
        watches += [threading.Thread(target=self._watch_server, args=each, daemon=True) for each in servers.items()]
        for watch in watches:
            watch.start()
        try:
            yield
        finally:
            self._over.set()
            for watch in watches:
                watch.join()

    def expect_end(self, name: str) -> None:
        with self._lock:
            self._expected[name] += 1

    @contextmanager
    def taking(self, choose: Callable[[set[str]], str]) -> Iterator[str]:
        """Keeps other faults away from the process that is chosen, until the block ends."""
        with self._lock:
            name = choose(self._taken)
            self._taken.add(name)
        try:
            yield name
        finally:
            with self._lock:
                self._taken.discard(name)

    @contextmanager
    def leaving_alone(self, server: str) -> Iterator[None]:
        """A server that ends is not started again until the block ends."""
        self._left_alone.add(server)
        try:
            yield
        finally:
            self._left_alone.discard(server)

    def await_successor(self, name: str, pid: int | None) -> None:
        """Returns when another process than `pid` bears the name, and is ready if PostgreSQL lets it be."""
        wait_for(f"{name} is started again", lambda: self._world.process(name).pid() not in (None, pid), seconds=120)

    def _watch_processes(self) -> None:
        while not self._over.is_set():
            for name in self.names:
                process = self._world.process(name)
                if process.pid() is not None:
                    continue
                with self._lock:
                    explained = self._expected[name] > 0
                    self._expected[name] -= explained
                if not explained and process.log_file.exists():
                    self.ended_by_themselves.append(f"{name}: {process.log_tail(6)}")
                self._world.start_process(name, self._environment)
            time.sleep(0.05)

    def _watch_server(self, name: str, start: Callable[[], None]) -> None:
        while not self._over.is_set():
            if self._world.process(name).pid() is None and name not in self._left_alone:
                try:
                    start()
                except StackError:
                    # Its disk is still full, say: it is tried again.
                    time.sleep(0.5)
                else:
                    self.server_starts[name] += 1
            time.sleep(0.05)


def add_workers(world: World, environment: Mapping[str, str]) -> None:
    """Brings the house to its full size."""
    for name in MORE_WORKERS:
        world.start_process(name, environment)
    for name in MORE_WORKERS:
        world.await_state(name, "ready")
