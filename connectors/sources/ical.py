"""iCalendar files as a source; the format is connectors/ical."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from connectors.source_file import Parsed
from connectors.sources.calendar_text import parsed
from connectors.sources.file import BY_FILE, FileSource
from connectors.sources.source import Description, Kind


class ICal(FileSource):
    """One .ics file."""

    description = Description(name="ical", title="iCalendar", gives=(Kind.EVENTS, Kind.TASKS), ways=BY_FILE, every_s=60)
    endings = (".ics", ".ical", ".icalendar", ".ifb")
    begins = b"BEGIN:VCALENDAR"

    def parse(
        self, data: bytes, *, path: Path, user_id: str, zone: ZoneInfo, now: datetime, modified: datetime
    ) -> Parsed:
        """Return the events of the days around `now`, and every task."""
        return parsed(data, user_id=user_id, zone=zone, now=now, modified=modified)
