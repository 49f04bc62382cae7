"""RSS and Atom: the newest entries of a feed, as things to read.

A feed's text is only text here: no tag of it goes further.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any, Final

from connectors.differences import Patience
from connectors.source_file import NOTES_MAX, Parsed, Problem, external_id
from connectors.sources.asking import ask
from connectors.sources.kept import Kept
from connectors.sources.source import Access, Connect, Description, Failed, FaultKind, Field, Kind, Page, Way
from connectors.sources.told import event_time, stamp, task
from oo.v1.signal_pb2 import Signal

ENTRIES_MAX: Final = 20
"""A person's row has room for 256 tasks of all sources: a feed does not fill it."""
DAYS: Final = 14
"""Older entries are nothing to read now."""
LABEL: Final = "feed"
PATIENCE: Final = Patience(line_ms=0, emptied_ms=3600 * 1000)


class Feed:
    """One feed behind an address."""

    description = Description(
        name="feed",
        title="Feed (RSS, Atom)",
        gives=(Kind.TASKS,),
        ways=(Way(Connect.URL, (Field("url", "Address of the feed", "url", secret=True),)),),
        every_s=1800,
    )

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield one page."""
        kept = Kept.opened(cursor)
        day = access.now.date().isoformat()
        fresh = kept.place.get("day") == day and not kept.memory.doubtful
        known = {"if-none-match": kept.place.get("etag"), "if-modified-since": kept.place.get("modified")}
        answer = await ask(
            access,
            "GET",
            access.credentials.get("url", "").strip(),
            headers={"accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.1"}
            | ({name: said for name, said in known.items() if said} if fresh else {}),
            allowed=(304,),
        )
        if answer.status == 304:
            yield Page(cursor)
            return
        parsed = await asyncio.to_thread(_parsed, answer.body, access)
        kept.place = {
            "etag": answer.headers.get("etag"),
            "modified": answer.headers.get("last-modified"),
            "day": day,
        }
        yield kept.tell(
            parsed,
            name=self.description.name,
            access=access,
            modified_ms=access.now_ms,
            patience=PATIENCE,
            again_s=PATIENCE.emptied_ms / 1000,
        )


def _parsed(data: bytes, access: Access) -> Parsed:
    import fastfeedparser

    if b"<!ENTITY" in data:
        raise Failed(FaultKind.ODD_ANSWER, "entities")
    try:
        found = fastfeedparser.parse(data)
    except ValueError:  # Its words quote the feed.
        raise Failed(FaultKind.ODD_ANSWER, "no-feed", problem="it is no RSS or Atom feed") from None
    dated: list[tuple[int, Signal]] = []
    problems: list[Problem] = []
    for entry in found.entries:
        try:
            signal = _signal(entry, now=access.now)
        except (ValueError, OverflowError, AttributeError, TypeError):
            problems.append(Problem(0, "an entry without a title or an address; left out", skipped=True))
            continue
        dated.append((signal.event_time.ToMilliseconds(), signal))
    oldest_ms = int((access.now - timedelta(days=DAYS)).timestamp() * 1000)
    newest = sorted((one for one in dated if one[0] >= oldest_ms), key=lambda one: -one[0])
    return Parsed(tuple(signal for _, signal in newest[:ENTRIES_MAX]), tuple(problems))


def _signal(entry: Any, *, now: datetime) -> Signal:
    """Return what an entry says; raises ValueError."""
    link = str(entry.get("link") or "")
    said = task(
        external_id=external_id(str(entry.get("id") or link)),
        title=plain(str(entry.get("title") or "")),
        notes=plain(str(entry.get("description") or ""))[:NOTES_MAX],
        labels=[LABEL],
        url=link,
    )
    when = event_time(str(entry.get("published") or entry.get("updated") or ""), now=now)
    latest = stamp(now)
    return Signal(event_time=when if when.ToMilliseconds() < latest.ToMilliseconds() else latest, task_upserted=said)


def plain(html: str) -> str:
    """Return the text of what may hold tags, without any of them; what scripts and styles hold is no text.

    >>> plain("<p>Two &lt; three<script>alert(1)</script>, <b>always</b></p>")
    'Two < three, always'
    """
    reader = _Text()
    reader.feed(html)
    reader.close()
    return " ".join("".join(reader.parts).split())


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")
        if tag in ("p", "br", "li", "div"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden = max(self._hidden - 1, 0)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
