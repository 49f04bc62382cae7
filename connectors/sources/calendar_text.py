"""Reads iCalendar for sources that serve many people in one process: beside the event loop, one text at a time.

It bounds nothing that a person may have: what fits into a row is chosen later, of all that is there.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Final

from connectors.source_file import Parsed
from connectors.sources.source import Access

INSTANCES_MAX: Final = 20_000
_ONE_AT_A_TIME: Final = threading.Lock()
"""The library keeps the time zones that a text defines for the whole process."""


async def calendar(data: bytes, *, access: Access, modified_ms: int) -> Parsed:
    """Return what a calendar says around the time of this read. Raises UnreadableFile."""
    return await asyncio.to_thread(_parse, data, access, modified_ms)


def _parse(data: bytes, access: Access, modified_ms: int) -> Parsed:
    from connectors import ical

    with _ONE_AT_A_TIME:
        return ical.parse(
            data,
            user_id=access.user_id,
            zone=access.zone,
            now=access.now,
            modified=datetime.fromtimestamp(min(modified_ms, access.now_ms) / 1000, UTC),
            instances_max=INSTANCES_MAX,
        )
