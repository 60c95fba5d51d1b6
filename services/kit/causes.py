"""What an error may tell operators: it is logged, kept with the cursor, and shown by a worker's health."""

import traceback
from pathlib import Path

from pydantic import ValidationError

from services.kit.masking import masked


def told(error: BaseException, *, plain: bool = False) -> str:
    """Kind and text of an error, numbers masked. With `plain` only its kind and place: for where people stand in the
    clear, as in partners' messages. A ValidationError always holds what was validated."""
    if plain or isinstance(error, ValidationError):
        frames = traceback.extract_tb(error.__traceback__)
        place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
        return f"{type(error).__name__}{place}"
    return masked(f"{type(error).__name__}: {error}")
