"""The command line of the demo: `SIZE=small python -m deploy.demo`, on the stack that `deploy.local up` started."""

import asyncio
import logging
import os
import sys
import time

from rich.console import Console

from deploy.demo import programme
from deploy.demo.failures import DemoFailed
from deploy.demo.stack import RunningStack
from deploy.demo.story import tell
from deploy.demo.telling import Telling, console


def main() -> int:
    """0 if the figures agree at the end, 1 if they do not or a step failed."""
    telling, begun = Telling(console()), time.monotonic()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # What it would say, a DemoFailed says in one line.
    try:
        size = _size(os.environ.get("SIZE") or "small")
        agreed = asyncio.run(tell(RunningStack.find(), size, telling))
    except DemoFailed as failed:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"\n[bold red]The demo stopped.[/] {failed}", markup=True
        )
        return 1
    except KeyboardInterrupt:
        telling.console.print("\nStopped. The stack stays up: make clean, then make demo, to begin again.")
        return 130
    telling.console.print(f"\nThe demo took {time.monotonic() - begun:.1f} s.")
    return 0 if agreed else 1


def _size(name: str) -> programme.Size:
    if name not in programme.SIZES:
        raise DemoFailed(f"SIZE={name} is unknown; choose one of {', '.join(programme.SIZES)}.")
    return programme.SIZES[name]


if __name__ == "__main__":
    sys.exit(main())
