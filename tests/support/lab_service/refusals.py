"""Starts the lab's service as many processes that end by themselves: `python -m tests.support.lab_service.refusals`.

Reads a JSON list of {"command": [...], "environment": {...}} from standard input, and writes for each its exit code and
what it printed. Each is a process of its own, forked from this one: so what they all import is imported once.
"""

import json
import os
import sys
import tempfile
from typing import Any

from services.kit.process import main
from tests.support.lab import Lab
from tests.support.lab_service.service import service_of


def end_of(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as printed:
        pid = os.fork()
        if pid == 0:
            run(command, environment, printed.fileno())
        _, status = os.waitpid(pid, 0)
        printed.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "printed": printed.read().decode()}


def run(command: list[str], environment: dict[str, str], printed: int) -> None:
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.environ.update(environment)
    sys.argv = ["lab", *command]
    code = 1
    try:
        main(service_of(Lab(os.environ["LAB"])))
    except SystemExit as end:
        if isinstance(end.code, str):
            os.write(2, end.code.encode() + b"\n")
        else:
            code = end.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    json.dump([end_of(**start) for start in json.load(sys.stdin)], sys.stdout)
