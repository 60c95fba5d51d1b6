"""What the demo says when it cannot go on: what, where, and what to do about it."""

from typing import Any


class DemoFailed(Exception):
    """A step failed. The text names what, where, and the remedy or the log to look at."""


class Refused(DemoFailed):
    """A service refused a request; `code` is the problem's own."""

    def __init__(self, what: str, status: int, problem: dict[str, Any], log: str) -> None:
        self.code = str(problem.get("code", ""))
        self.status = status
        faults = [f"{error.get('field')}: {error.get('message')}" for error in problem.get("errors", [])[:3]]
        said = " ".join([str(problem.get("detail", "no reason given")), *faults, str(problem.get("remedy", ""))])
        super().__init__(f"{what} was refused with {status} {self.code}: {said.strip()}\nLook in {log}.")
