"""Google Calendar, by events.list with sync tokens: a first read of the weeks around now, then what changed.

The service expands what repeats. It never writes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from connectors.source_file import TITLE_MAX, Parsed, cut, external_id, one_line
from connectors.sources.asking import Answer, ask, bearer, refusal
from connectors.sources.kept import Kept
from connectors.sources.source import Access, Connect, Description, Failed, FaultKind, Kind, OAuth, Page, Way
from connectors.sources.told import Said, each, event_time, inner, moment, several, stamp, word, zone_named
from oo.v1.signal_pb2 import CalendarEventUpserted, Signal

API: Final = "https://www.googleapis.com/calendar/v3"
CALENDARS_MAX: Final = 50
DAYS_BACK: Final = 1
DAYS_AHEAD: Final = 28
"""Told; as many as of a calendar file."""
DAYS_MORE: Final = 7
"""Read ahead of that, so that a sync token serves so long: what it covers was fixed when it was begun."""
DAY_MS: Final = 24 * 3600 * 1000
PAGE: Final = 2_500
_KEPT: Final = ("id", "summary", "start", "end", "transparency", "updated", "eventType")
_LIMITS: Final = ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded")
_NOT_EVENTS: Final = ("workingLocation", "birthday")


class GoogleCalendar:
    """The events of a person's calendars that are shown."""

    description = Description(
        name="google_calendar",
        title="Google Calendar",
        gives=(Kind.EVENTS,),
        ways=(
            Way(
                Connect.OAUTH,
                oauth=OAuth(
                    "https://accounts.google.com/o/oauth2/v2/auth",
                    "https://oauth2.googleapis.com/token",
                    ("https://www.googleapis.com/auth/calendar.readonly",),
                    extra={"access_type": "offline", "prompt": "consent"},
                ),
            ),
        ),
        every_s=300,
    )

    def __init__(self, api: str = API) -> None:
        self._api = api

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield a page without signals for each of the service's, then the one that says what changed."""
        kept = Kept.opened(cursor)
        calendars = await self._calendars(access)
        if access.now_ms - kept.place.get("begun_ms", 0) > DAYS_MORE * DAY_MS:
            kept.place = {"begun_ms": access.now_ms, "tokens": {}, "pages": {}}
        tokens: dict[str, str] = kept.place["tokens"]
        pages: dict[str, str] = kept.place["pages"]
        for calendar in calendars:
            while True:
                answer = await self._events(access, calendar, kept)
                if answer is None:
                    # 410: it knows the token no more. Nothing is told before all is read anew.
                    tokens.pop(calendar, None)
                    pages.pop(calendar, None)
                    continue
                if calendar not in tokens and calendar not in pages:
                    kept.items = {key: one for key, one in kept.items.items() if not key.startswith(f"{calendar}\n")}
                _hear(answer, calendar=calendar, items=kept.items)
                if following := word(answer, "nextPageToken"):
                    pages[calendar] = following
                    yield Page(kept.closed())
                    continue
                pages.pop(calendar, None)
                if not (token := word(answer, "nextSyncToken")):
                    raise Failed(FaultKind.ODD_ANSWER, "no-sync-token")
                tokens[calendar] = token
                break
        known = set(calendars)
        kept.items = {key: one for key, one in kept.items.items() if key.partition("\n")[0] in known}
        for gone in [one for one in tokens if one not in known]:
            del tokens[gone]
        signals, problems = each(
            kept.items.values(), lambda item: _signal(item, zone=access.zone, now=access.now), kind="an event"
        )
        # One meeting in two calendars of the person is one meeting.
        once = {one.calendar_event_upserted.external_id: one for one in reversed(signals)}
        parsed = Parsed(tuple(reversed(once.values())), problems)
        yield kept.tell(parsed, name=self.description.name, access=access, modified_ms=access.now_ms)

    async def _calendars(self, access: Access) -> list[str]:
        found: list[Said] = []
        page = ""
        while True:
            asked = {"maxResults": "250", "minAccessRole": "reader"} | ({"pageToken": page} if page else {})
            said = await self._ask(access, "users/me/calendarList", asked)
            if not isinstance(said, dict) or "items" not in said:
                raise Failed(FaultKind.ODD_ANSWER, "no-calendars")
            found += [one for one in several(said, "items") if isinstance(one, dict)]
            page = word(said, "nextPageToken")
            if not page or len(found) >= CALENDARS_MAX:
                break
        shown = [one for one in found if one.get("primary") is True or one.get("selected") is True]
        return [word(one, "id") for one in shown if word(one, "id")][:CALENDARS_MAX]

    async def _events(self, access: Access, calendar: str, kept: Kept) -> Said | None:
        """Return the next page of a calendar; None where its token is known no more."""
        token, page = kept.place["tokens"].get(calendar), kept.place["pages"].get(calendar)
        asked = {"singleEvents": "true", "maxResults": str(PAGE)} | ({"pageToken": page} if page else {})
        if token:
            asked["syncToken"] = token
        else:
            begun = datetime.fromtimestamp(kept.place["begun_ms"] / 1000, access.now.tzinfo)
            asked["timeMin"] = (begun - timedelta(days=DAYS_BACK)).isoformat()
            asked["timeMax"] = (begun + timedelta(days=DAYS_AHEAD + DAYS_MORE)).isoformat()
        # A page's token may run out too.
        allowed = (400, 410) if page else (410,) if token else ()
        said = await self._ask(access, f"calendars/{quote(calendar, safe='')}/events", asked, allowed=allowed)
        if said is None:
            return None
        if not isinstance(said.get("items"), list):
            raise Failed(FaultKind.ODD_ANSWER, "no-items")
        return said

    async def _ask(
        self, access: Access, path: str, asked: Mapping[str, str], *, allowed: tuple[int, ...] = ()
    ) -> dict[str, Any] | None:
        answer = await ask(
            access, "GET", f"{self._api}/{path}", headers=bearer(access), params=dict(asked), allowed=(*allowed, 403)
        )
        if answer.status == 403:
            raise _forbidden(access, answer)
        if answer.status >= 300:
            return None
        said = answer.json()
        if not isinstance(said, dict):
            raise Failed(FaultKind.ODD_ANSWER, "no-object")
        return said


def _forbidden(access: Access, answer: Answer) -> Failed:
    """Limits are 403 here, told apart from a withdrawn consent by their reason alone."""
    failed = refusal(access, answer)
    try:
        said = answer.json()
    except Failed:
        return failed
    error = inner(said, "error") if isinstance(said, dict) else {}
    reasons = [word(one, "reason") for one in several(error, "errors") if isinstance(one, dict)]
    if any(one in _LIMITS for one in reasons):
        return Failed(FaultKind.RATE_LIMITED, "HTTP 403", until_ms=failed.fault.until_ms)
    return failed


def _hear(said: Said, *, calendar: str, items: dict[str, str]) -> None:
    for number, item in enumerate(several(said, "items")):
        one = item if isinstance(item, dict) else {}
        key = f"{calendar}\n{word(one, 'id') or f'#{number}'}"
        declined = any(
            isinstance(who, dict) and who.get("self") is True and who.get("responseStatus") == "declined"
            for who in several(one, "attendees")
        )
        if word(one, "status") == "cancelled" or word(one, "eventType") in _NOT_EVENTS:
            items.pop(key, None)
        else:
            shown = {name: one[name] for name in _KEPT if name in one} | ({"declined": True} if declined else {})
            items[key] = json.dumps(shown, ensure_ascii=False)


def _signal(item: Said, *, zone: ZoneInfo, now: datetime) -> Signal | None:
    """Return what an event says; None outside of the days that are told. Raises ValueError."""
    start, end = _instant(inner(item, "start"), zone=zone), _instant(inner(item, "end"), zone=zone)
    if end < start:
        raise ValueError("it ends before it begins")
    if not (start < now + timedelta(days=DAYS_AHEAD) and end > now - timedelta(days=DAYS_BACK)):
        return None
    if not word(item, "id"):
        raise ValueError("no id")
    said = CalendarEventUpserted(
        external_id=external_id(word(item, "id")),
        title=cut(one_line(word(item, "summary")), TITLE_MAX) or "(no title)",
        start=stamp(start),
        end=stamp(end),
        busy=word(item, "transparency") != "transparent" and item.get("declined") is not True,
    )
    return Signal(event_time=event_time(word(item, "updated"), now=now), calendar_event_upserted=said)


def _instant(said: Said, *, zone: ZoneInfo) -> datetime:
    """Return an instant; a day begins where the person lives."""
    place = zone_named(word(said, "timeZone"), otherwise=zone)
    found: date | datetime = moment(word(said, "dateTime") or word(said, "date"), zone=place)
    return found if isinstance(found, datetime) else datetime.combine(found, time(), tzinfo=zone)
