"""Says that a fault of our own happened, and where. Pure; never quotes an error's text, which may hold a person's words."""

from __future__ import annotations

import traceback
from pathlib import PurePath


def where(error: BaseException) -> str:
    """Name the kind of an error and the line that it came from.

    >>> try:
    ...     int("a secret")
    ... except ValueError as error:
    ...     where(error).split(" (")[0]
    'ValueError in <module>'
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} in {frames[-1].name} ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})"


def ours(place: str) -> str:
    """Say of a record that the fault is not its producer's; `place` as `where` names it."""
    return f"a fault of oO's own, on our side to mend: {place}"
