"""`make saboteur`: plants one fault at a time in a copy of the code. A test is trusted once it was seen to fail.

Each fault replaces a text that occurs exactly once in its file, and names the test that must turn red. All named tests
must be green without any fault. One PostgreSQL and one Kafka serve every run. Ends with 1 if a fault survived.
`.venv/bin/python -m tests.saboteur chain copies` plants only the faults whose names contain one of these words.
"""

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table

from tests.sabotage import FAULTS, Fault
from tests.support.stack import Stack

ROOT = Path(__file__).parents[1]
COPIED = ("contracts", "services", "deploy", "tests", "pyproject.toml")
PATIENCE_SECONDS = 240
AT_ONCE = 2


def main() -> None:
    words = sys.argv[1:]
    faults = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if not faults:
        sys.exit(f"No fault's name holds {' or '.join(words)}. Without words, all {len(FAULTS)} are planted.")
    console = Console(width=None if sys.stdout.isatty() else 150)
    with Stack() as stack, tempfile.TemporaryDirectory(prefix="entas-saboteur-") as folder:
        servers = {"DATABASE_URL": stack.postgres, "KAFKA_BOOTSTRAP": stack.kafka}
        copies = [_copied(Path(folder) / str(number)) for number in range(AT_ONCE)]
        console.print(f"Without a fault: {len(faults)} faults' tests …")
        if not _is_green(copies[0], sorted({fault.test for fault in faults}), servers, console):
            sys.exit("The named tests are not green without a fault; mend that first.")
        survived = _plant_all(copies, faults, servers, console)
    if survived:
        sys.exit(f"{survived} faults survived: the named test does not see them.")


def _copied(copy: Path) -> Path:
    """A copy of the code, compiled so that a changed file is told by its content: its time and size may be the same."""
    copy.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(copy, quiet=1, rx=re.compile(r"/\.venv/"), invalidation_mode=checked)
    return copy


def _plant_all(copies: Sequence[Path], faults: Sequence[Fault], servers: Mapping[str, str], console: Console) -> int:
    table = Table("fault", "planted in", "test that must turn red", "verdict", "s")
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def plant(fault: Fault) -> tuple[str, float]:
        copy, began = free.get(), time.monotonic()
        try:
            return _plant(copy, fault, servers), time.monotonic() - began
        finally:
            free.put(copy)

    survived = 0
    with ThreadPoolExecutor(len(copies)) as planting:
        for fault, (verdict, seconds) in zip(faults, planting.map(plant, faults), strict=True):
            survived += verdict != "red"
            shown = f"[{'green' if verdict == 'red' else 'bold red'}]{verdict}[/]"
            console.print(f"{shown} after {seconds:.0f} s: {fault.name}", highlight=False)
            table.add_row(fault.name, fault.file, fault.test.split("::")[-1], shown, f"{seconds:.0f}")
    console.print(table)
    console.print(f"{len(faults) - survived} of {len(faults)} faults were seen.")
    return survived


def _plant(copy: Path, fault: Fault, servers: Mapping[str, str]) -> str:
    """ "red" if the named test failed, else what happened instead."""
    file = copy / fault.file
    sound = file.read_text()
    if sound.count(fault.sound) != 1:
        return f"not planted: the text occurs {sound.count(fault.sound)} times"
    file.write_text(sound.replace(fault.sound, fault.broken))
    try:
        run = _pytest(copy, [fault.test], servers)
    except subprocess.TimeoutExpired:
        return "red"  # The test waits for what the fault keeps from happening.
    finally:
        file.write_text(sound)
    if run.returncode == 0:
        return "SURVIVED"
    # A fault that only breaks the import would turn everything red and prove nothing.
    return "red" if run.returncode == 1 and "FAILED" in run.stdout else "broken: " + run.stdout.strip()[-200:]


def _is_green(copy: Path, tests: Sequence[str], servers: Mapping[str, str], console: Console) -> bool:
    run = _pytest(copy, tests, servers, patience_seconds=PATIENCE_SECONDS * 3)
    if run.returncode != 0:
        console.print(run.stdout[-3000:], markup=False)
    return run.returncode == 0


def _pytest(
    copy: Path, tests: Sequence[str], servers: Mapping[str, str], patience_seconds: float = PATIENCE_SECONDS
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env={**os.environ, **servers, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patience_seconds,
        check=False,
    )


if __name__ == "__main__":
    main()
