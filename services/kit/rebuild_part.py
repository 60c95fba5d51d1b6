"""`python -m services.kit.rebuild_part services.training.state`: folds a part of a rebuild that another process leads.

It imports the tables that it folds and what folding takes, and nothing of an API or a worker: where a hundred thousand
facts are folded in three seconds, to import all of a service would take one of them. Its order comes as a line of JSON
on its standard input, which stays open as long as the process that leads.
"""

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter

from services.kit.causes import told
from services.kit.outages import OUTAGES
from services.kit.rebuild import fold_part
from services.kit.rebuild_parts import Order
from services.kit.replay import ReplayDefect
from services.kit.table import Table


async def fold_as_ordered(tables: Sequence[Table[Any]]) -> None:
    """Folds what the leading process asks for, and breaks off when that has ended."""
    leader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(leader), sys.stdin)
    order = TypeAdapter(Order).validate_json(await leader.readline())
    part = fold_part(order.url, order.bootstrap, tables, order.topic, order.partitions, _tell)
    await while_led(part, leader)


async def while_led(work: Coroutine[Any, Any, None], leader: asyncio.StreamReader) -> None:
    """Does the work of a part, and breaks it off when the process that leads the rebuild has ended."""
    working, leading = asyncio.ensure_future(work), asyncio.ensure_future(leader.read())
    leading.add_done_callback(lambda _: working.cancel())
    try:
        await working
    except asyncio.CancelledError:
        raise SystemExit("the process that led the rebuild has ended") from None
    finally:
        leading.cancel()


def _tell(_topic: str, records: int) -> None:
    sys.stdout.write(f"{records}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    (module,) = arguments
    try:
        asyncio.run(fold_as_ordered(import_module(module).TABLES))
    except ReplayDefect as defect:
        sys.exit(str(defect))
    except OUTAGES as outage:
        sys.exit(f"the database or Kafka cannot be reached; nothing was changed: {told(outage)}")


if __name__ == "__main__":
    main(sys.argv[1:])
