"""Processes of the lab's service that start within milliseconds: forked from one that has imported everything already.

`python -m tests.support.lab_service.nursery` reads a line of JSON for each process to start, and writes one when it has
started and one when it has ended. When its standard input ends, all of them are killed.
"""

import asyncio
import json
import os
import select
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.support.stack import ROOT


@dataclass
class Child:
    """A process that was forked; it speaks to `log_file`."""

    pid: int
    log_file: Path
    ended: "asyncio.Future[int]"

    def has_ended(self) -> bool:
        return self.ended.done()

    async def kill(self) -> None:
        if not self.ended.done():
            os.kill(self.pid, signal.SIGKILL)
            await self.ended


class Nursery:
    """The test's side: starts processes, and knows when they ended, and with which exit code."""

    def __init__(self, mother: Process) -> None:
        self._mother = mother
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, asyncio.Future[int]] = {}

    async def start(self, command: str, environment: Mapping[str, str], log_file: Path) -> Child:
        """Starts `python -m tests.support.lab_service COMMAND`, as it were. One start at a time."""
        asked = {"command": command, "environment": dict(environment), "log": str(log_file)}
        assert self._mother.stdin is not None
        self._mother.stdin.write(json.dumps(asked).encode() + b"\n")
        pid = await self._started.get()
        return Child(pid, log_file, self._ended[pid])

    async def listen(self) -> None:
        assert self._mother.stdout is not None
        async for line in self._mother.stdout:
            told = json.loads(line)
            if "code" in told:
                self._ended[told["pid"]].set_result(told["code"])
            else:
                self._ended[told["pid"]] = asyncio.get_running_loop().create_future()
                self._started.put_nowait(told["pid"])


@asynccontextmanager
async def nursery(environment: Mapping[str, str]) -> AsyncIterator[Nursery]:
    """A nursery with this environment, and nothing of ours from the one around it."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("ENTAS_")}
    mother = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.lab_service.nursery",
        env=around | {"TERM": "dumb", "COLUMNS": "200", **environment},
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    )
    made = Nursery(mother)
    listening = asyncio.ensure_future(made.listen())
    try:
        yield made
    finally:
        assert mother.stdin is not None
        mother.stdin.close()
        await mother.wait()
        await listening


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


def fork(command: str, environment: Mapping[str, str], log: str) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        run(command, environment, log)
    return pid


def run(command: str, environment: Mapping[str, str], log: str) -> NoReturn:
    from services.kit.process import main
    from tests.support.lab import Lab
    from tests.support.lab_service.service import service_of

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    sys.argv = ["lab", command]
    code = 1
    try:
        main(service_of(Lab(os.environ["LAB"])))
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
    import services.kit.process
    import tests.support.lab_service.service

    assert services.kit.process, tests.support.lab_service.service
    mind_children()
