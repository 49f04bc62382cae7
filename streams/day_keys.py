"""Names of keys that are nobody's: one a day for each use, in the topic of keys beside people's. Pure; it makes and ends none.

No user id can be such a name: ids hold no control characters.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal

from streams.units import DAY_MS

Use = Literal["letters", "sums"]

NOBODYS: Final = b"\0"
"""What the names of such keys begin with."""


def of_day(use: Use, at_ms: int) -> bytes:
    """The name of the key of that day, UTC, for this use.

    >>> of_day("letters", 1_764_288_000_000), day_of(b"\\0letters 2025-11-28", "letters")
    (b'\\x00letters 2025-11-28', 1764288000000)
    """
    return NOBODYS + f"{use} {datetime.fromtimestamp(at_ms // DAY_MS * DAY_MS / 1000, UTC):%Y-%m-%d}".encode()


def day_of(name: bytes, use: Use) -> int | None:
    """When the day of this key began, in ms; None for what is no key of this use.

    >>> day_of(b"\\0sums 2025-11-28", "letters"), day_of(b"ada", "sums"), day_of(b"\\0sums 2025-11-28x", "sums")
    (None, None, None)
    """
    front = NOBODYS + use.encode() + b" "
    if name.startswith(front):
        with suppress(ValueError):
            return round(datetime.fromisoformat(f"{name[len(front) :].decode()}T00:00:00+00:00").timestamp() * 1000)
    return None
