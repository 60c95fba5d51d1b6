"""What the house stands on and we may take away: the disks of its servers, and the wall clock of its processes."""

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import postgres
from tests.support.world import World

_ALONE = "ENTAS_FAULTS_MOUNT_NAMESPACE"
DISKS = {"postgres": "10G", "kafka": "4G"}
"""How much each server may write: sparse files, which take what is written and no more."""

METADATA = "__cluster_metadata-0"
"""Which topics there are. Controllers have disks of their own in production; Kafka (4.3.1) that is started again on a
full disk with its metadata on it may come up with none of its topics."""


class NotHere(Exception):
    """A kind of fault cannot be made on this machine; the message says why."""


# --- Disks ------------------------------------------------------------------------------------------------------------


def enter_mount_namespace() -> None:
    """Becomes the same command in a mount namespace of its own, where that is allowed: no mount outlives the run."""
    if os.environ.get(_ALONE) or os.geteuid() or shutil.which("unshare") is None:
        return
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return
    os.environ[_ALONE] = "1"
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.faults.long"]
    os.execvp(command[0], [*command, *sys.argv[1:]])


class Disk:
    """A file system of its own for a server's data, which can be filled to the last block and emptied again."""

    def __init__(self, image: Path, mounted_at: Path) -> None:
        self._image, self.mounted_at = image, mounted_at
        self._ballast = mounted_at / "ballast"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more can be written until the block ends. Raises OSError for anything but a full disk."""
        try:
            self._fill()
            yield
        finally:
            self._ballast.unlink(missing_ok=True)

    def _fill(self) -> None:
        """In smaller and smaller pieces, so that whoever writes meanwhile finds nothing left."""
        with self._ballast.open("wb") as ballast:
            size, piece = 0, 1 << 30
            while piece >= 4096:
                try:
                    os.posix_fallocate(ballast.fileno(), size, piece)
                    size += piece
                except OSError as error:
                    if error.errno != 28:
                        raise
                    piece //= 2

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.mounted_at).free


@contextmanager
def disks_of_their_own(world: World) -> Iterator[dict[str, Disk]]:
    """Moves the data of both servers, which are stopped and started for it. Raises `NotHere` where nobody may mount."""
    if not os.environ.get(_ALONE):
        raise NotHere("mounting takes root and a mount namespace (unshare --mount)")
    homes = {"postgres": postgres.home(world.folder) / "postgres" / "data", "kafka": world.folder / "kafka" / "data"}
    world.postgres_server.stop()
    world.stop_kafka()
    disks: dict[str, Disk] = {}
    apart: list[Path] = []
    try:
        for name, home in homes.items():
            disks[name] = _moved_to_a_disk(home, world.folder / f"{name}.disk", DISKS[name])
        apart.append(_kept_apart(homes["kafka"] / METADATA, world.folder / "kafka.metadata"))
        world.start_postgres()
        world.start_kafka()
        yield disks
    finally:
        world.postgres_server.stop()
        world.stop_kafka()
        for mounted in (*apart, *(disk.mounted_at for disk in disks.values())):
            subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def _moved_to_a_disk(home: Path, image: Path, size: str) -> Disk:
    before = home.with_name(f"{home.name}.before")
    home.rename(before)
    home.mkdir()
    for command in (
        ["truncate", f"--size={size}", str(image)],
        ["mkfs.ext4", "-q", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(home)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            home.rmdir()
            before.rename(home)
            raise NotHere(f"{command[0]} failed: {done.stderr.strip()}")
    (home / "lost+found").rmdir()
    subprocess.run(["cp", "-a", f"{before}/.", str(home)], check=True)
    shutil.rmtree(before)
    return Disk(image, home)


def _kept_apart(folder: Path, elsewhere: Path) -> Path:
    """Keeps a folder off the disk that it stands on."""
    shutil.move(folder, elsewhere)
    folder.mkdir()
    done = subprocess.run(["mount", "--bind", str(elsewhere), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"mount --bind failed: {done.stderr.strip()}")
    return folder


# --- The wall clock ---------------------------------------------------------------------------------------------------


class WallClock:
    """The wall clock of every process that was started with `environment`; the servers keep their own."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NotHere("setting the clock of a process takes a C compiler (cc)")
        self._file, library = folder / "wallclock.offset", folder / "wallclock.so"
        self._file.write_bytes(struct.pack("=q", 0))
        source = Path(__file__).with_name("wallclock.c")
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHere(f"{source.name} cannot be compiled: {done.stderr.strip()[-300:]}")
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET_FILE": str(self._file)}
        self._refuse_if_nothing_moves()

    def set_by(self, seconds: int) -> None:
        """Written in place: those who have it mapped see the old or the new number."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

    def _refuse_if_nothing_moves(self) -> None:
        self.set_by(86_400)
        asked = [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
        told = subprocess.run(asked, env=os.environ | self.environment, capture_output=True, text=True, check=True)
        self.set_by(0)
        if float(told.stdout.split()[0]) < time.time() + 80_000:
            raise NotHere("the clock of a process does not follow LD_PRELOAD here")
