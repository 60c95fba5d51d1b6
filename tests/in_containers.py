"""`make test-containers`: the journey, a fault test and the stack's promises on servers in containers.

Takes the engine that DOCKER_HOST names, or the one that answers, or else Podman's, for as long as the tests run; the
official images, or else stand-ins (tests/support/images). Containers are gone at the end. What a run leaves that was
killed together with its keeper, the next one removes.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from deploy.local.daemon import StackError
from tests.support import containers, images
from tests.support.stack import ROOT, processes_of

_say = Console(highlight=False, markup=False, soft_wrap=True).print

TESTS = [
    "tests/journeys",
    "tests/faults/test_outages.py::test_a_minute_without_kafka_is_waited_out_and_every_process_still_ends_when_told",
    "tests/deploy/test_local_stack.py",
]


def main() -> None:
    tests = sys.argv[1:] or TESTS
    try:
        with _engine():
            sys.exit(_run(tests))
    except StackError as error:
        sys.exit(str(error))


def _run(tests: list[str]) -> int:
    """Gives pytest's exit code."""
    _remove_forgotten()
    chosen = {image.variable: images.provide(containers.engine(), image, _say) for image in images.BOTH}
    command = [sys.executable, "-m", "pytest", "-n", "3", "--no-loadscope-reorder", *tests]
    began = time.monotonic()
    try:
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **chosen, "STACK": "containers"}) as pytest:
            return _outwaited(pytest)
    finally:
        _remove_forgotten()
        _say(f"{time.monotonic() - began:.0f} s on servers in containers; none of these is left.")


def _outwaited(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Ctrl-C reaches it as well as us: it ends by itself, and takes its servers with it."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _remove_forgotten() -> None:
    """Removes the containers of stacks that no process here knows any more."""
    for folder in containers.stacks():
        if not processes_of(folder):
            containers.remove(folder)
            _say(f"Removed the containers of {folder}, which an earlier run had left behind.")


@contextmanager
def _engine() -> Iterator[None]:
    """An engine that answers; Podman's is started where none does."""
    try:
        containers.engine()
    except StackError:
        if os.environ.get("DOCKER_HOST") or not shutil.which("podman"):
            raise
    else:
        _say(f"The engine at {os.environ.get('DOCKER_HOST') or 'the usual place'} answers.")
        yield
        return
    _say("No engine answers; starting Podman's for this run.")
    with tempfile.TemporaryDirectory(prefix="entas-podman-") as folder:
        address = f"unix://{folder}/socket"
        os.environ |= {"DOCKER_HOST": address, "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1"}
        os.environ.setdefault("CONTAINERS_CONF", str(_write_limits(Path(folder))))
        # Should we be killed, it ends by itself once nobody has asked it anything for ten minutes.
        command = ["podman", "system", "service", "--time=600", address]
        service = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _await_answer(service)
            yield
        finally:
            service.terminate()
            service.wait()


def _write_limits(folder: Path) -> Path:
    """Podman gives a container more open files and processes than it may itself where its own limits are low."""
    given = {"nofile": _at_most(resource.RLIMIT_NOFILE, 65_536), "nproc": _at_most(resource.RLIMIT_NPROC, 4_096)}
    limits = json.dumps([f"{name}={limit}:{limit}" for name, limit in given.items()])
    runtime = '[engine]\nruntime = "runc"\n' if shutil.which("runc") else ""
    file = folder / "containers.conf"
    file.write_text(f"[containers]\ndefault_ulimits = {limits}\n{runtime}")
    return file


def _at_most(kind: int, enough: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return enough if hard == resource.RLIM_INFINITY else min(hard, enough)


def _await_answer(service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            containers.engine()
        except StackError:
            if service.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
