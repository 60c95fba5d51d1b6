"""How often Python looks for garbage that counting references does not find."""

import gc

OBJECTS_BETWEEN_LOOKS = 100_000


def look_less_often() -> None:
    """Leaves alone what is there for good, and looks at what is new after a hundred thousand objects, not after 700.

    A batch of 2,000 facts is a hundred thousand objects, none of them in a cycle: by Python's default the looking took
    more time than validating, folding and writing them together. Call it once a process has loaded its code.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, 20, 50)
