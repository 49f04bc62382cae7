"""A calendar by its address (webcal:, https:), as most calendars can be subscribed to.

Every read is of all of it; an ETag spares the reads in between. It never writes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from connectors.differences import Patience
from connectors.source_file import UnreadableFile
from connectors.sources.asking import ask, modified_ms
from connectors.sources.calendar_text import calendar
from connectors.sources.kept import Kept
from connectors.sources.source import Access, Connect, Description, Failed, FaultKind, Field, Kind, Page, Way

REREAD_MS: Final = 6 * 3600 * 1000
"""So long "not modified" is enough: days pass, start dates come, and the window moves."""
PATIENCE: Final = Patience(line_ms=0, emptied_ms=3600 * 1000)
"""A server that answers with an empty calendar for a while has lost nobody's meetings."""


class WebCal:
    """An iCalendar file behind an address."""

    description = Description(
        name="webcal",
        title="Calendar by address",
        gives=(Kind.EVENTS, Kind.TASKS),
        # Whoever knows a calendar's private address can read it.
        ways=(Way(Connect.URL, (Field("url", "Address of the calendar", "url", secret=True),)),),
        every_s=900,
    )

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield one page."""
        kept = Kept.opened(cursor)
        fresh = 0 <= access.now_ms - kept.place.get("read_ms", 0) < REREAD_MS and not kept.memory.doubtful
        known = {"if-none-match": kept.place.get("etag"), "if-modified-since": kept.place.get("modified")}
        answer = await ask(
            access,
            "GET",
            address(access.credentials.get("url", "")),
            headers={"accept": "text/calendar"}
            | ({name: said for name, said in known.items() if said} if fresh else {}),
            allowed=(304,),
        )
        if answer.status == 304:
            yield Page(cursor)
            return
        changed_ms = modified_ms(answer, now=access.now)
        try:
            parsed = await calendar(answer.body, access=access, modified_ms=changed_ms)
        except UnreadableFile as error:
            raise Failed(FaultKind.ODD_ANSWER, "no-calendar", problem=str(error)) from None
        kept.place = {
            "etag": answer.headers.get("etag"),
            "modified": answer.headers.get("last-modified"),
            "read_ms": access.now_ms,
        }
        yield kept.tell(
            parsed,
            name=self.description.name,
            access=access,
            modified_ms=changed_ms,
            patience=PATIENCE,
            again_s=PATIENCE.emptied_ms / 1000,
        )


def address(url: str) -> str:
    """Return what a webcal address is fetched from.

    >>> address("webcal://example.org/a.ics")
    'https://example.org/a.ics'
    """
    scheme, rest, path = url.strip().partition("://")
    return f"https://{path}" if rest and scheme.lower() in ("webcal", "webcals") else url.strip()
