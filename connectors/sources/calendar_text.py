"""Reads iCalendar where many people are served in one process: beside the event loop, one text at a time."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any, Final

from connectors.source_file import Parsed
from connectors.sources.source import Access

INSTANCES_MAX: Final = 20_000
"""Of a calendar that is read again and again: what fits into a row is chosen later, of all that is there."""
_ONE_AT_A_TIME: Final = threading.Lock()
"""The library keeps the time zones that a text defines for the whole process."""


async def calendar(data: bytes, *, access: Access, modified_ms: int) -> Parsed:
    """Return what a calendar says around the time of this read. Raises UnreadableFile."""
    return await asyncio.to_thread(
        parsed,
        data,
        user_id=access.user_id,
        zone=access.zone,
        now=access.now,
        modified=datetime.fromtimestamp(min(modified_ms, access.now_ms) / 1000, UTC),
        instances_max=INSTANCES_MAX,
    )


def parsed(data: bytes, **told: Any) -> Parsed:
    """As `connectors.ical.parse`, for any thread."""
    from connectors import ical

    with _ONE_AT_A_TIME:
        return ical.parse(data, **told)
