"""Where a stack keeps what, which ports it uses, and the secrets that are made for it."""

import hashlib
import json
import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deploy.local import postgres
from deploy.local.daemon import DISK_FULL, StackError

ROOT = Path(__file__).parents[2]
NEEDED_MEGABYTES = 500


@dataclass(frozen=True, slots=True)
class Service:
    """A row of the table of services: what `up` starts, and where it listens unless a variable says otherwise."""

    name: str
    api_port: int
    worker_port: int
    package: str = ""  # The Python package; by default services.<name>.

    @property
    def module(self) -> str:
        return self.package or f"services.{self.name}"


SERVICES = (
    Service("registry", api_port=8101, worker_port=8111),
    Service("training", api_port=8102, worker_port=8112),
    Service("outcomes", api_port=8103, worker_port=8113),
    Service("notifications", api_port=8104, worker_port=8114),
)

_STACK_PORTS = {"postgres": 8132, "kafka": 8192, "kafka-controller": 8193, "issuer": 8100}


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who may ask the issuer for tokens."""

    client_id: str
    roles: tuple[str, ...]
    areas: tuple[str, ...]


# NTB's kabupaten and kota: facilitators work in one of them.
KABUPATEN = ("52.01", "52.02", "52.03", "52.04", "52.05", "52.06", "52.07", "52.08", "52.71", "52.72")

CLIENTS = (
    Client("officer", ("officer",), ("52",)),
    Client("programme", ("officer",), ("*",)),  # Adopts rules, which hold everywhere.
    Client("facilitator", ("facilitator",), ("52",)),
    *(Client(f"facilitator:{code}", ("facilitator",), (code,)) for code in KABUPATEN),
    Client("district", ("district",), ("52.71",)),
    Client("auditor", ("auditor",), ("*",)),
    Client("operator", ("operator",), ("*",)),
    Client("partner:bappeda", ("partner:bappeda",), ("52",)),
    Client("partner:dukcapil", ("partner:dukcapil",), ("*",)),
    Client("partner:dinkop", ("partner:dinkop",), ("*",)),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """One stack's folder with `run`, `logs`, `secrets`, `postgres`, `kafka`, and its ports by the daemons' names."""

    folder: Path
    services: Sequence[Service] = SERVICES
    ports: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, services: Sequence[Service] = SERVICES) -> "Layout":
        """`ENTAS_LOCAL_FOLDER` moves the folder, `ENTAS_<NAME>_PORT` a port (see `port_variable`)."""
        folder = Path(os.environ.get("ENTAS_LOCAL_FOLDER") or ROOT / ".local").absolute()
        return cls(folder, services, {name: _chosen(name, port) for name, port in default_ports(services).items()})

    @classmethod
    def of_running_stack(cls) -> "Layout":
        """Like `from_environment`, with the ports that the running stack really has, where one runs."""
        chosen = cls.from_environment()
        return replace(chosen, ports=chosen.ports | chosen.ports_in_use())

    def ports_in_use(self) -> dict[str, int]:
        """The running stack's ports; empty when none runs."""
        ports: dict[str, int] = self._facts_in_use().get("ports", {})
        return ports

    def clock_in_use(self) -> str:
        """The clock of the running stack, "steered" or "system"; empty when none runs."""
        facts = self._facts_in_use()
        return "" if not facts else "steered" if facts["clock_file"] else "system"

    def _facts_in_use(self) -> dict[str, Any]:
        try:
            facts: dict[str, Any] = json.loads(self.facts.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return facts

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def facts(self) -> Path:
        """What the running stack is made of, for the demo and other programs outside: `stack.json`."""
        return self.folder / "stack.json"

    @property
    def clock_file(self) -> Path:
        return self.folder / "clock"

    @property
    def clients_file(self) -> Path:
        return self.secrets / "clients.json"

    @property
    def issuer_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['issuer']}"

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    def client_secret(self, client_id: str) -> str:
        return str(json.loads(self.clients_file.read_text())[client_id]["secret"])

    def prepare(self) -> None:
        """Makes the folder and every secret that is missing.

        Raises StackError when the disk is nearly full, or when data is there whose secrets are gone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._refuse_nearly_full_disk()
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        self._refuse_orphaned_data()
        for name in ("postgres.password", *(f"{service.name}.password" for service in self.services)):
            self._make(name, secrets.token_urlsafe(24))
        for name in ("master.key", "search.pepper"):
            self._make(name, secrets.token_hex(32))
        self._make_checkpoint_keys()
        key = Ed25519PrivateKey.generate()
        self._make("issuer.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
        self._make_clients()

    def remove_data(self) -> None:
        """Deletes all but the packages and jars in `cache`; nothing of the stack may run."""
        postgres.remove(self.folder)
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.name == "cache":
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _refuse_nearly_full_disk(self) -> None:
        home = postgres.home(self.folder)
        for place in {self.folder, home if home.exists() else home.parent}:
            free = shutil.disk_usage(place).free // 1_000_000
            if free < NEEDED_MEGABYTES:
                raise StackError(
                    f"{place} has {free} MB left on its disk; the stack needs {NEEDED_MEGABYTES} MB. {DISK_FULL}"
                )

    def _refuse_orphaned_data(self) -> None:
        if not (postgres.home(self.folder) / "postgres").exists():
            return
        gone = [
            name for name in ("postgres.password", "master.key", "search.pepper") if not (self.secrets / name).exists()
        ]
        if gone:
            raise StackError(
                f"There is a database, but {', '.join(gone)} in {self.secrets} is gone, and the data with it. "
                "Bring the file back, or start afresh with `make clean`."
            )

    def _make(self, name: str, text: str) -> None:
        file = self.secrets / name
        if not file.exists():
            write_privately(file, text)

    def checkpoint_key(self, service: Service) -> Path:
        """What the service signs its checkpoints with; the public half stands in `keys/<service>.vkey`."""
        return self.secrets / f"{service.name}.checkpoint.key"

    def _make_checkpoint_keys(self) -> None:
        public = self.folder / "keys"
        public.mkdir(exist_ok=True)
        for service in self.services:
            file = self.checkpoint_key(service)
            self._make(file.name, secrets.token_hex(32))
            (public / f"{service.name}.vkey").write_text(_verifier_key(f"entas/{service.name}", file.read_text()))

    def _make_clients(self) -> None:
        known = json.loads(self.clients_file.read_text()) if self.clients_file.exists() else {}
        services = (Client(f"service:{row.name}", (f"service:{row.name}",), ("*",)) for row in self.services)
        clients = {
            client.client_id: {
                "secret": known.get(client.client_id, {}).get("secret") or secrets.token_urlsafe(24),
                "roles": client.roles,
                "areas": client.areas,
            }
            for client in (*CLIENTS, *services)
        }
        write_privately(self.clients_file, json.dumps(clients, indent=2))


def _verifier_key(name: str, seed: str) -> str:
    """The public half of a key as others are given it (C2SP signed-note): name, key hash, type 1 and the key."""
    public = b"\x01" + Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).public_key().public_bytes_raw()
    key_hash = hashlib.sha256(f"{name}\n".encode() + public).hexdigest()[:8]
    return f"{name}+{key_hash}+{b64encode(public).decode()}\n"


def default_ports(services: Sequence[Service]) -> dict[str, int]:
    """Every daemon's port by its name."""
    ports = dict(_STACK_PORTS)
    for service in services:
        ports |= {f"{service.name}-api": service.api_port, f"{service.name}-worker": service.worker_port}
    return ports


def port_variable(name: str) -> str:
    """The variable that moves a daemon's port: ENTAS_REGISTRY_API_PORT for `registry-api`."""
    return f"ENTAS_{name.upper().replace('-', '_')}_PORT"


def write_privately(file: Path, text: str) -> None:
    """Writes a file that only its owner can read, all at once."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    draft.replace(file)


def _chosen(name: str, default: int) -> int:
    variable = port_variable(name)
    text = os.environ.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise StackError(f"{variable}={text} is no port; choose a number from 1 to 65535.")
    return int(text)
