"""Turns into a daemon: notes its own pid, gives up root, becomes the command.

Run as a script by `daemon.py` (`python -I -S launch.py PID_FILE USER COMMAND ...`), with the standard library only.
The child writes the pid file itself, before it becomes the command: a start that is killed half-way leaves no process
that nobody knows.
"""

import json
import os
import pwd
import sys
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def birth(pid: int) -> str | None:
    """Names a running process beyond its pid: the boot and the clock tick it was born in. None once it has ended.

    A pid is given again after a while and a wall clock can be set; boot and tick together are not given twice.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    return f"{_BOOT_ID.read_text().strip()}/{fields[18]}"


def note(pid_file: Path, pid: int) -> None:
    """Writes who runs into the pid file, all at once: a reader sees the old note or the new one."""
    draft = pid_file.with_suffix(f".{pid}")
    draft.write_text(json.dumps({"pid": pid, "birth": birth(pid)}))
    draft.rename(pid_file)


def give_up_root(user: str) -> None:
    """Becomes the named user, for good; an empty name keeps the user as it is."""
    if not user:
        return
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main() -> int:
    pid_file, user, *command = sys.argv[1:]
    heard, said = os.pipe()
    if os.fork():
        os.close(said)
        with os.fdopen(heard) as channel:
            trouble = channel.read()  # The end of file is the moment when exec has closed the child's copy.
        sys.stderr.write(trouble)
        return 1 if trouble else 0
    try:
        os.setsid()
        note(Path(pid_file), os.getpid())
        give_up_root(user)
        os.execv(command[0], command)
    except OSError as error:
        os.write(said, f"{command[0]} could not be started: {error}\n".encode())
    os._exit(127)


if __name__ == "__main__":
    sys.exit(main())
