"""Ends a test's stack when its test run is over, however that ended.

Run as `python -m tests.support.keeper FOLDER` with a pipe for standard input: the pipe's end of file comes when the
test run closes it, and also when the test run is killed. Then every process of the stack is ended, its containers are
removed, and its folder is deleted.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from deploy.local import postgres
from deploy.local.daemon import daemons_of, end_strays


def end_stack(folder: Path) -> None:
    """Ends all daemons of a throw-away stack, without patience for what nobody will read, and deletes its data."""
    for daemon in daemons_of(folder):
        # PostgreSQL gives back its shared memory on SIGQUIT only.
        daemon.stop(signal.SIGQUIT if daemon.name.startswith("postgres") else signal.SIGKILL)
    end_strays(folder)
    if os.environ.get("STACK") == "containers":
        from tests.support import containers  # Here, since it is slow to import.

        containers.remove(folder)
    postgres.remove(folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run; its end is our sign.
    sys.stdin.read()
    end_stack(Path(sys.argv[1]))
