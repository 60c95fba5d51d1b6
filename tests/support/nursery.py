"""Processes of a service that start within milliseconds: forked from one that has imported everything already.

`python -m tests.support.nursery MODULE …` imports the modules, reads a line of JSON for each process to start, and
writes one when it has started and one when it has ended. When its standard input ends, all of them are killed.
"""

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

from deploy.local import launch
from tests.support.stack import ROOT


@dataclass
class Child:
    """A process that was forked; it speaks to `log_file`."""

    pid: int
    log_file: Path
    ended: "Future[int]"  # its exit code

    def has_ended(self) -> bool:
        return self.ended.done()

    def kill(self) -> None:
        if not self.ended.done():
            os.kill(self.pid, signal.SIGKILL)
            self.ended.result()


class Nursery:
    """The test's side: starts processes, and knows when they ended, and with which exit code. Any thread may use it."""

    def __init__(self, mother: "subprocess.Popen[bytes]") -> None:
        self._mother = mother
        self._alone = threading.Lock()
        self._started: SimpleQueue[int] = SimpleQueue()
        self._ended: dict[int, Future[int]] = {}
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    @property
    def pid(self) -> int:
        return self._mother.pid

    def start(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        log_file: Path,
        pid_file: Path | None = None,
    ) -> Child:
        """Starts `python -m MODULE ARGUMENTS`, as it were, with these variables laid over the nursery's own."""
        asked = {"module": module, "arguments": arguments, "environment": dict(environment), "log": str(log_file)}
        asked["pid_file"] = str(pid_file) if pid_file else ""
        assert self._mother.stdin is not None
        with self._alone:
            self._mother.stdin.write(json.dumps(asked).encode() + b"\n")
            self._mother.stdin.flush()
            pid = self._started.get(timeout=60)
        return Child(pid, log_file, self._ended[pid])

    def close(self) -> None:
        assert self._mother.stdin is not None
        self._mother.stdin.close()
        self._mother.wait()
        self._listening.join()
        assert self._mother.stdout is not None
        self._mother.stdout.close()

    def _listen(self) -> None:
        assert self._mother.stdout is not None
        for line in self._mother.stdout:
            told = json.loads(line)
            if "code" in told:
                self._ended[told["pid"]].set_result(told["code"])
            else:
                self._ended[told["pid"]] = Future()
                self._started.put(told["pid"])


@contextmanager
def nursery(*modules: str, environment: Mapping[str, str]) -> Iterator[Nursery]:
    """A nursery of processes of these modules, with this environment and nothing of ours from the one around it."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("ENTAS_")}
    made = Nursery(
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery", *modules],
            env=around | {"TERM": "dumb", "COLUMNS": "200", **environment},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    )
    try:
        yield made
    finally:
        made.close()


# --- The mother -------------------------------------------------------------------------------------------------------


def mind_children() -> None:
    children: set[int] = set()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    asked = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            tell_who_ended(children)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *whole, asked = (asked + data).split(b"\n")
            for line in whole:
                children.add(pid := fork(**json.loads(line)))
                tell(pid=pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def tell_who_ended(children: set[int]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            children.remove(ended[0])
            tell(pid=ended[0], code=os.waitstatus_to_exitcode(ended[1]))


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 (this is how the two sides speak)


def fork(module: str, arguments: list[str], environment: Mapping[str, str], log: str, pid_file: str) -> int:
    sys.stdout.flush()
    Path(log).touch()  # Whoever is told that the process has started may read it.
    pid = os.fork()
    if pid == 0:
        run(module, arguments, environment, log)
    if pid_file:
        launch.note(Path(pid_file), pid)
    return pid


def run(module: str, arguments: list[str], environment: Mapping[str, str], log: str) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        # As the interpreter does it: a text is told, and is a failure.
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        else:
            code = end.code or 0
    except BaseException:  # noqa: BLE001 (the interpreter's own last resort)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(f"{name}.__main__")
        del sys.modules[f"{name}.__main__"]  # It is run as the main module, and no other.
    mind_children()
