"""The stack that is running, as an outsider may know it: its addresses, its clients, the memory of its processes."""

import json
import os
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from contracts import areas
from contracts.areas import AreaCode
from deploy.demo.failures import DemoFailed

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addresses:
    api: str
    worker: str


@dataclass(frozen=True)
class RunningStack:
    """What `python -m deploy.local up` wrote down of itself in `stack.json`."""

    folder: Path
    kafka_bootstrap: str
    token_url: str
    clients_file: Path
    clock_file: Path
    services: Mapping[str, Addresses]
    channels_to_files: tuple[str, ...] = ()  # the others have a real provider

    @classmethod
    def find(cls) -> "RunningStack":
        """Raises DemoFailed when no stack is up, or one with a clock that cannot be moved."""
        folder = Path(os.environ.get("ENTAS_LOCAL_FOLDER") or ROOT / ".local").absolute()
        try:
            facts = json.loads((folder / "stack.json").read_text())
        except FileNotFoundError:
            raise DemoFailed(f"No stack is running in {folder}. Start it with `make up`, or use `make demo`.") from None
        if not facts["clock_file"]:
            raise DemoFailed(
                "The stack runs on the system's clock, but the demo plays the year 2024 and has to move the clock. "
                "Start it anew with `make down` and `make demo`."
            )
        return cls(
            folder=folder,
            kafka_bootstrap=facts["kafka_bootstrap"],
            token_url=facts["token_url"],
            clients_file=Path(facts["clients_file"]),
            clock_file=Path(facts["clock_file"]),
            services={name: Addresses(**addresses) for name, addresses in facts["services"].items()},
            channels_to_files=tuple(facts.get("channels_to_files", ())),
        )

    def addresses_of(self, service: str) -> Addresses:
        """Raises DemoFailed for a service that the stack does not have."""
        try:
            return self.services[service]
        except KeyError:
            raise DemoFailed(
                f"The stack in {self.folder} runs no {service}. It was started by an older version: `make down`, then "
                "`make demo`."
            ) from None

    @property
    def messages(self) -> Path:
        """Where the senders of this stack put what they would send: a file for each channel."""
        return self.folder / "messages"

    def log_of(self, process: str) -> str:
        return str(self.folder / "logs" / f"{process}.log")

    @cached_property
    def clients(self) -> dict[str, dict[str, object]]:
        """Client id -> its secret, roles and areas."""
        clients: dict[str, dict[str, object]] = json.loads(self.clients_file.read_text())
        return clients

    def secret_of(self, client_id: str) -> str:
        """Raises DemoFailed for a client that the stack does not have."""
        try:
            return str(self.clients[client_id]["secret"])
        except KeyError:
            raise DemoFailed(
                f"{self.clients_file} has no client {client_id}. The stack was started by an older version: "
                "`make down`, then `make demo`."
            ) from None

    def facilitator_of(self, area: AreaCode) -> str:
        """The client id of the facilitator whose areas cover this one most closely."""
        found = [
            (max(len(prefix) for prefix in prefixes), client_id)
            for client_id, client in self.clients.items()
            if "facilitator" in _words(client["roles"])
            and (prefixes := [prefix for prefix in _words(client["areas"]) if areas.covers(prefix, area)])
        ]
        if not found:
            raise DemoFailed(f"{self.clients_file} has no client with the role facilitator for {area}.")
        return max(found)[1]

    def peak_memory_megabytes(self) -> dict[str, float]:
        """The most memory (RSS) that each process of the stack has used so far, and this one."""
        peaks = {"demo": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        for pid_file in sorted((self.folder / "run").glob("*.pid")):
            if peak := _peak_of(pid_file):
                peaks[pid_file.stem] = peak
        return peaks


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def _peak_of(pid_file: Path) -> float | None:
    """None where /proc is not what it is on Linux, or the process has ended."""
    try:
        status = Path(f"/proc/{json.loads(pid_file.read_text())['pid']}/status").read_text()
    except (OSError, ValueError, KeyError):
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None
