"""How often Python looks for garbage that counting references does not find."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS_BETWEEN_LOOKS = 300_000


def look_less_often() -> None:
    """Leaves alone what is there for good, and looks at what is new after some hundred thousand objects, not after 700.

    Call it once a process has loaded its code.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, 20, 50)


@contextmanager
def without_looking() -> Iterator[None]:
    """Within it no garbage is looked for. Among the rows and facts of a batch, none of them in a cycle, that would take
    as long as folding them; once they are gone there is little left to look at."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
