"""The sample archive: made by `python -m services.audit.sample`, verified and tampered with by `make audit`."""

import asyncio
import gzip
import json
import shutil
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from services.audit.archive import SIGNED_AS, ArchiveWriter
from services.audit.made import made_log
from services.audit.places import SERVICES
from services.kit.notes import Signer

SAMPLE = Path(__file__).parents[2] / "docs" / "sample-archive"
EVENTS = {"registry": 160, "training": 120, "outcomes": 100, "notifications": 80}
VICTIM = ("training", 57)  # the event that is changed


@dataclass(frozen=True, slots=True)
class Step:
    told: str
    command: list[str]
    shown: str
    expected: Callable[[int, str], bool]


def steps() -> Iterator[Step]:
    """Verify the sample; then change one event in a copy, as a careful forger would, and verify that."""
    service, sequence = VICTIM
    yield Step(
        f"The sample archive: {sum(EVENTS.values())} made-up events of four services. Its own verifier reads it, with "
        "nothing but Python's standard library:",
        *_command(SAMPLE),
        lambda status, said: status == 0 and "all is well" in said,
    )
    with tempfile.TemporaryDirectory(prefix="entas-sample-") as folder:
        copy = Path(folder) / "tampered"
        shutil.copytree(SAMPLE, copy)
        before, after = tamper(copy, service, sequence)
        yield Step(
            f"In a copy somebody changes event {sequence} of {service}:\n  - {before}\n  + {after}\nand lists the "
            "changed file in the manifest, as a forger would. The same verifier:",
            *_command(copy),
            lambda status, said: status == 1 and f"changed: {service} sequence {sequence} " in said,
        )


def _command(folder: Path) -> tuple[list[str], str]:
    # -I -S: nothing of ours, and nothing that is installed, can be imported.
    return [sys.executable, "-I", "-S", str(folder / "verify.py")], f"python3 -I -S {folder.name}/verify.py"


def tamper(archive: Path, service: str, sequence: int) -> tuple[str, str]:
    """Changes a digit in one event's value, and the manifest's digest of its file. Gives what it was and what it is."""
    [log] = sorted((archive / service).glob("log-*.jsonl.gz"))
    lines = gzip.decompress(log.read_bytes()).splitlines()
    entry = json.loads(lines[sequence])
    value = b64decode(entry["value"]).decode()
    at = max(value.rfind(digit) for digit in "0123456789")
    changed = value[:at] + str((int(value[at]) + 1) % 10) + value[at + 1 :]
    entry["value"] = b64encode(changed.encode()).decode()
    lines[sequence] = json.dumps(entry, separators=(",", ":")).encode()
    log.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    manifest = json.loads((archive / "manifest.json").read_text())
    manifest["files"][f"{service}/{log.name}"]["sha256"] = sha256(log.read_bytes()).hexdigest()
    (archive / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return f"…{value[max(0, at - 40) : at + 5]}", f"…{changed[max(0, at - 40) : at + 5]}"


async def make(target: Path) -> None:
    """Writes the sample archive anew."""
    with ArchiveWriter(target, Signer(SIGNED_AS, sha256(b"sample archive").digest())) as writer:
        for service in SERVICES:
            log = made_log(service, EVENTS[service], 25)
            await writer.add_log(service, log, log.signer.verifier)


if __name__ == "__main__":
    shutil.rmtree(SAMPLE, ignore_errors=True)
    asyncio.run(make(SAMPLE))
