"""Owns the processes of a stack: starting, finding, freezing and ending them, by pid file and log file."""

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import psutil

from deploy.local import launch

STACK_VARIABLE = "ENTAS_STACK"  # Marks every process of a stack with the stack's folder.


class StackError(Exception):
    """Something is wrong with the local stack; the text names what, where, and what to do about it."""


class End(StrEnum):
    """How a daemon ended."""

    ABSENT = "was not running"
    STOPPED = "stopped"
    KILLED = "killed, since it did not stop when asked"


@dataclass(frozen=True, slots=True)
class Daemon:
    """One process of a stack, known by its pid file `run/<name>.pid`, speaking to `logs/<name>.log`."""

    name: str
    folder: Path

    @property
    def pid_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.pid"

    @property
    def log_file(self) -> Path:
        return self.folder / "logs" / f"{self.name}.log"

    def launch(
        self, command: Sequence[str], environment: Mapping[str, str], *, cwd: str | Path = "/", user: str = ""
    ) -> None:
        """Starts the command in a session of its own, as that user (root only). Returns once it has become the command.

        The last run's log is kept beside the new one as `<name>.log.1`.
        """
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log:
            launched = subprocess.run(
                [sys.executable, "-I", "-S", launch.__file__, str(self.pid_file), user, *command],
                env={**environment, STACK_VARIABLE: str(self.folder)},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
            )
        if launched.returncode:
            raise StackError(f"{self.name} could not be started:\n{self.log_tail()}")

    def pid(self) -> int | None:
        """The pid of the running process, None when there is none. A pid file may outlive its process."""
        pid, born = self._noted()
        return pid if born and launch.birth(pid) == born else None

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to the process, and to no other that got its pid later. False when it is not running."""
        with self._held() as handle:
            if handle is None:
                return False
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return False
            return True

    def freeze(self) -> bool:
        """Stops the process in mid-air (SIGSTOP), and returns once each of its threads stands still."""
        if not self.send(signal.SIGSTOP):
            return False
        for _ in pace(self, within_seconds=10.0, until="each of its threads stands still"):
            if all(state == "T" for state in _thread_states(self.pid() or 0)):
                return True
        return False

    def thaw(self) -> bool:
        return self.send(signal.SIGCONT)

    def stop(self, first: signal.Signals = signal.SIGTERM, patience_seconds: float = 5.0) -> End:
        """Asks the process to end, ends it by force when it does not, and leaves none of its children behind."""
        with self._held() as handle:
            end = End.ABSENT if handle is None else self._end(handle, first, patience_seconds)
        self.pid_file.unlink(missing_ok=True)
        return end

    def kill(self) -> End:
        """Ends the process without asking (SIGKILL)."""
        return self.stop(signal.SIGKILL)

    def has_ended(self, within_seconds: float) -> bool:
        """Waits for the process to end by itself."""
        with self._held() as handle:
            return handle is None or _ended(handle, within_seconds)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log, for people to read."""
        try:
            with self.log_file.open(errors="replace") as log:
                return "".join(deque(log, maxlen=lines)).rstrip()
        except FileNotFoundError:
            return "(no log)"

    def _noted(self) -> tuple[int, str]:
        try:
            note = json.loads(self.pid_file.read_text())
            return int(note["pid"]), str(note["birth"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return 0, ""

    @contextmanager
    def _held(self) -> Iterator[int | None]:
        """A handle on the running process; while it is open, the pid cannot come to mean another process."""
        pid, born = self._noted()
        try:
            handle = os.pidfd_open(pid) if born else None
        except ProcessLookupError:
            handle = None
        if handle is None:
            yield None
            return
        try:
            yield handle if launch.birth(pid) == born else None
        finally:
            os.close(handle)

    def _end(self, handle: int, first: signal.Signals, patience_seconds: float) -> End:
        pid = self.pid()
        family = _children(pid) if pid else []
        # It may end, and be reaped, between two signals.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, first)
            signal.pidfd_send_signal(handle, signal.SIGCONT)  # A frozen process hears SIGTERM only when it wakes.
        end = End.STOPPED
        if not _ended(handle, patience_seconds):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            end = End.KILLED
            if not _ended(handle, 10.0):
                raise StackError(
                    f"{self.name} (pid {pid}) outlives SIGKILL; the kernel holds it, perhaps on a dead disk."
                )
        _end_orphans(family, at_once=end is End.KILLED or first is signal.SIGKILL)
        return end


def _thread_states(pid: int) -> list[str]:
    """One letter a thread, as in proc(5): R running, S sleeping, T stopped."""
    states = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # The thread ended while we looked.
            states.append(task.read_text(errors="replace").rpartition(")")[2].split()[0])
    return states


def _ended(handle: int, within_seconds: float) -> bool:
    return bool(select.select([handle], [], [], within_seconds)[0])


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end_orphans(family: list[psutil.Process], *, at_once: bool) -> None:
    if not at_once:
        for child in family:
            _signal(child, signal.SIGTERM)
        family = outlasting(family, seconds=1.0)
    for child in family:
        _signal(child, signal.SIGKILL)
    outlasting(family, seconds=3.0)


def outlasting(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Waits for the processes to end and returns those that run on. One that only waits to be reaped has ended."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return "a process that has just ended"


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def daemons_of(folder: Path) -> list[Daemon]:
    """Every daemon that has a pid file in that stack, running or not."""
    return [Daemon(file.stem, folder) for file in sorted((folder / "run").glob("*.pid"))]


def strays(folder: Path) -> Iterator[psutil.Process]:
    """Processes of that stack that no pid file knows, as after somebody deleted the folder under a running stack."""
    known = {daemon.pid() for daemon in daemons_of(folder)}
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(STACK_VARIABLE) == str(folder)
            if ours and process.pid not in known and not _descends_from(process, known):
                yield process
        except psutil.Error:
            continue  # It ended while we looked, or belongs to somebody else.


def _descends_from(process: psutil.Process, known: set[int | None]) -> bool:
    return any(parent.pid in known for parent in process.parents())


def end_strays(folder: Path) -> list[str]:
    """Ends what `strays` finds and says what it was: "java (pid 4711)"."""
    found = list(strays(folder))
    names = [f"{_name(process)} (pid {process.pid})" for process in found]
    for process in found:
        _signal(process, signal.SIGTERM)
        _signal(process, signal.SIGCONT)
    _end_orphans(outlasting(found, seconds=5.0), at_once=True)
    return names


def refuse_taken_port(port: int, wanted_by: str, variable: str) -> None:
    """Raises StackError when something listens on that port already, saying who (when that can be known)."""
    if port_is_free(port):
        return
    raise StackError(
        f"Port {port}, wanted by {wanted_by}, is taken by {_holder(port)}. "
        f"End that program, or choose another port: {variable}={port + 1000}"
    )


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # What has just ended may linger in TIME_WAIT.
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def refuse_damaged(data: Path, proof: str) -> None:
    """Raises StackError where a server's data lacks the file that every such folder has. Nothing is deleted."""
    if not (data / proof).exists():
        raise StackError(
            f"The data in {data} is damaged: {proof} is missing, and nobody knows what else. Put the folder back from "
            "a copy, or delete it with `make clean` and begin anew."
        )


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            with suppress(psutil.Error):
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid}: {' '.join(process.cmdline())[:100]})"
    return "a program of another user, or one that is just ending"


_given: deque[int] = deque(maxlen=500)
"""Ports that this process was given last: who asked may not listen there yet."""


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now, below those that the kernel hands out for outgoing connections.

    Were they not below, a client that keeps knocking while a server is down could connect to itself, or take the port.
    Each process chooses among a thousand of its own, mostly, so that two that choose at once do not choose the same.
    """
    first = 15_000 + os.getpid() % 15 * 1_000
    candidates = random.sample(range(first, first + 1_000), 1_000)
    ports = list(islice((port for port in candidates if port not in _given and port_is_free(port)), count))
    _given.extend(ports)
    return ports


def pace(daemon: Daemon, *, within_seconds: float, until: str) -> Iterator[None]:
    """Gives the caller turns to try something, 20 ms apart, while the daemon lives and there is time.

    Raises StackError with the end of the log when the daemon dies first or the time is over.
    """
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        yield
        if daemon.has_ended(within_seconds=0.02):
            raise StackError(_last_words(daemon, f"{daemon.name} ended before {until}"))
    raise StackError(
        _last_words(daemon, f"{daemon.name} did not get as far within {within_seconds:.0f} s that {until}")
    )


def _last_words(daemon: Daemon, what: str) -> str:
    return explained(f"{what}. The end of {daemon.log_file}:", daemon.log_tail())


def explained(what: str, said: str) -> str:
    """A failure's message: what happened, what to do where we can tell, and what the program itself said last."""
    remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in said), "")
    return "\n".join(part for part in (what, remedy, said) if part)


DISK_FULL = "The disk is full: free some space and start again; nothing needs to be repaired by hand."
_REMEDIES = {
    "No space left on device": DISK_FULL,
    "Address already in use": "Its port was taken in between by another program; start again, or choose another port.",
    "Cannot allocate memory": "The machine has too little free memory for it.",
}
