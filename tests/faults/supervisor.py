"""What a container platform does: starts a process again whenever it has ended, whyever it did."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.world import World


class Supervisor:
    """Looks after processes by name, each with an environment of its own."""

    def __init__(self, world: World, environments: Mapping[str, Mapping[str, str]]) -> None:
        self._world = world
        self._environments = environments
        self._over = threading.Event()
        self._last_words: list[str] = []

    @contextmanager
    def looking_after(self) -> Iterator[None]:
        """Begins by killing each process, so that it is started with its environment."""
        for name in self._environments:
            self._world.process(name).kill()
        thread = threading.Thread(target=self._look_after, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _look_after(self) -> None:
        while not self._over.is_set():
            for name, environment in self._environments.items():
                process = self._world.process(name)
                if process.pid() is None:
                    self._last_words.append(process.log_tail(3))
                    self._world.start_process(name, environment)
            time.sleep(0.05)

    def other_ends(self) -> list[str]:
        """The last words of processes that ended otherwise than at a crash point, or by our hand in the beginning."""
        return [words for words in self._last_words[len(self._environments) :] if "kills itself" not in words]
