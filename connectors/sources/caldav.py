"""CalDAV: events and tasks of all calendars behind an address, by sync-collection; a task done here is completed there.

It never asks a server to expand what repeats: texts are fetched and expanded here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any, Final

import httpx

from connectors.source_file import BYTES_MAX, Parsed, Problem, UnreadableFile, external_id
from connectors.sources.asking import Answer, ask
from connectors.sources.calendar_text import calendar
from connectors.sources.kept import Kept
from connectors.sources.source import (
    Access,
    Connect,
    Description,
    Failed,
    FaultKind,
    Field,
    Kind,
    Outcome,
    Page,
    Way,
)
from connectors.sources.todo_done import AlreadyDone, Repeats, completed, uid_of
from connectors.sources.webdav import CAL, DAV, Member, multistatus, names_fault

CALENDARS_MAX: Final = 50
ROUNDS_MAX: Final = 100
"""Answers that a list of changes may take."""
AT_ONCE: Final = 200
"""Texts fetched by one request."""
KEPT_EVERY: Final = 5
"""Requests after which a first read keeps how far it came."""
REDISCOVER_MS: Final = 3600 * 1000
REREAD_MS: Final = 3600 * 1000
"""Days pass, start dates come, and the window moves, though nothing changes there."""
TEXT_MAX: Final = 256 * 1024
ITEMS_MAX: Final = 20_000
"""Of one calendar."""
_ATTACHED = re.compile(r"^ATTACH[;:][^\n]*(?:\n[ \t][^\n]*)*\n", re.IGNORECASE | re.MULTILINE)

_PROPERTIES: Final = (
    '<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop>'
    "<resourcetype/><current-user-principal/><C:calendar-home-set/></prop></propfind>"
)


class CalDav:
    """A CalDAV server: Nextcloud, Radicale, iCloud, Fastmail and others."""

    description = Description(
        name="caldav",
        title="CalDAV",
        gives=(Kind.EVENTS, Kind.TASKS),
        ways=(
            Way(
                Connect.BASIC,
                (
                    Field("url", "Address of the server or calendar", "url"),
                    Field("username", "Name"),
                    Field(
                        "password", "Password (an app password, where there is such a thing)", "password", secret=True
                    ),
                ),
            ),
        ),
        writes_back=True,
        every_s=300,
    )

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield pages without signals while texts come in, then the one that says what changed."""
        kept = Kept.opened(cursor)
        server = _Server(access)
        calendars: list[str] = kept.place.get("calendars", [])
        if not calendars or not 0 <= access.now_ms - kept.place.get("found_ms", 0) < REDISCOVER_MS:
            calendars = await server.calendars()
        problems: list[Problem] = []
        tokens: dict[str, str] = {}
        changed = False
        for href in calendars:
            try:
                listed, tokens[href] = await server.changes(href, kept.place.get("tokens", {}).get(href, ""))
            except Failed as failed:
                if failed.fault.kind is not FaultKind.GONE:
                    raise
                # One of them was deleted there; if it still is in the list, or nothing is there, it is no such thing.
                left = await server.calendars()
                if href in left:
                    raise
                calendars = left
                continue
            for gone in listed.gone(kept.items, within=href):
                del kept.items[gone]
                changed = True
            wanted = [one for one, etag in listed.etags.items() if _etag(kept.items.get(one, "")) != etag]
            changed = changed or bool(wanted)
            async for number, texts in server.all_texts(href, wanted, listed.etags):
                for one, etag, text in texts:
                    kept.items[one] = f"{etag}\n{_usable(text, problems)}"
                if sum(len(one) + len(said) for one, said in kept.items.items()) > BYTES_MAX:
                    raise _too_much("texts")
                if number % KEPT_EVERY == 0:
                    yield Page(kept.closed())
        for gone in [one for one in kept.items if not one.startswith(tuple(calendars))]:
            del kept.items[gone]
            changed = True
        reread = not 0 <= access.now_ms - kept.place.get("read_ms", 0) < REREAD_MS
        kept.place = {
            "calendars": calendars,
            "found_ms": kept.place.get("found_ms", 0) if calendars == kept.place.get("calendars") else access.now_ms,
            "tokens": tokens,
            "read_ms": access.now_ms if changed or reread else kept.place.get("read_ms", 0),
        }
        if not changed and not reread:
            yield Page(kept.closed())
            return
        parsed = await _parsed(kept, access)
        yield kept.tell(
            replace(parsed, problems=(*problems, *parsed.problems)),
            name=self.description.name,
            access=access,
            modified_ms=access.now_ms,
        )

    async def complete(self, access: Access, cursor: bytes, *, external_id: str, operation: str) -> Outcome:
        """Complete a task, if it stands there as it was read."""
        kept = Kept.opened(cursor)
        found = next((href for href, text in kept.items.items() if _is(text, external_id)), None)
        if found is None:
            return Outcome.UNABLE if "/" in external_id else Outcome.MISSING
        server = _Server(access)
        answer = await server.ask("GET", found, allowed=(404, 410))
        if answer.status in (404, 410):
            return Outcome.MISSING
        try:
            text = completed(answer.body.decode(), now=access.now.astimezone(UTC))
        except AlreadyDone:
            return Outcome.ALREADY
        except (Repeats, ValueError):
            return Outcome.UNABLE
        etag = answer.headers.get("etag", "")
        if etag != _etag(kept.items[found]):
            return Outcome.CONFLICT
        headers = {"if-match": etag, "content-type": "text/calendar; charset=utf-8"}
        written = await server.ask(
            "PUT", found, headers=headers, content=text.encode(), allowed=(403, 404, 405, 409, 412, 423)
        )
        if written.status in (403, 405, 423):
            return Outcome.UNABLE  # Somebody else's list, or one that nobody may write.
        return Outcome.CONFLICT if written.status in (404, 409, 412) else Outcome.DONE


class _Listed:
    """What a calendar says has changed."""

    def __init__(self, *, whole: bool) -> None:
        self.etags: dict[str, str] = {}
        self._gone: set[str] = set()
        self._whole = whole

    def hear(self, members: Sequence[Member], *, calendar: str) -> None:
        for one in members:
            href = str(httpx.URL(calendar).join(one.href))
            if href.rstrip("/") == calendar.rstrip("/"):
                continue
            if one.status in (404, 410):
                self._gone.add(href)
                self.etags.pop(href, None)
            elif one.etag:
                self.etags[href] = one.etag
                self._gone.discard(href)
        if len(self.etags) + len(self._gone) > ITEMS_MAX:
            raise _too_much("items")

    def gone(self, known: dict[str, str], *, within: str) -> list[str]:
        """Return the known texts that are not there any more."""
        if not self._whole:
            return [one for one in known if one in self._gone]
        return [one for one in known if one.startswith(within) and one not in self.etags]


class _Server:
    def __init__(self, access: Access) -> None:
        self._access = access
        self._auth = httpx.BasicAuth(access.settings.get("username", ""), access.credentials.get("password", ""))

    async def ask(self, method: str, url: str, **how: Any) -> Answer:
        return await ask(self._access, method, url, auth=self._auth, **how)

    async def calendars(self) -> list[str]:
        """Return the addresses of all calendars: the given one, or those of its owner; raises Failed."""
        try:
            given = httpx.URL(self._access.settings.get("url", "").strip())
        except httpx.InvalidURL:
            raise Failed(FaultKind.GONE, "bad-address") from None
        try:
            at, (here, *_) = await self._properties(given, depth=0)
        except Failed as failed:
            # Many servers have nothing at their root, and say here where it is (RFC 6764, 5).
            if failed.fault.kind not in (FaultKind.GONE, FaultKind.ODD_ANSWER) or given.path.strip("/"):
                raise
            at, (here, *_) = await self._properties(given.join("/.well-known/caldav"), depth=0)
        if here.is_a(f"{CAL}calendar"):
            return [_folder(at.join(here.href))]
        home = here.href_in(f"{CAL}calendar-home-set")
        if not home and (principal := here.href_in(f"{DAV}current-user-principal")):
            at, (here, *_) = await self._properties(at.join(principal), depth=0)
            home = here.href_in(f"{CAL}calendar-home-set")
        at, members = await self._properties(at.join(home or here.href), depth=1)
        return sorted(_folder(at.join(one.href)) for one in members if one.is_a(f"{CAL}calendar"))[:CALENDARS_MAX]

    async def _properties(self, url: httpx.URL, *, depth: int) -> tuple[httpx.URL, list[Member]]:
        """Return where the answer came from in the end, and at least one member."""
        headers = {"depth": str(depth), "content-type": "application/xml; charset=utf-8"}
        answer = await self.ask("PROPFIND", str(url), headers=headers, content=_PROPERTIES)
        members, _ = multistatus(answer.body)
        if not members:
            raise Failed(FaultKind.ODD_ANSWER, "no-properties")
        return answer.url, members

    async def changes(self, calendar: str, token: str) -> tuple[_Listed, str]:
        """Return what changed since the token, or all where there is none or the server knows it no more."""
        listed = _Listed(whole=not token)
        for _ in range(ROUNDS_MAX):
            asked = (
                f'<sync-collection xmlns="DAV:"><sync-token>{_escaped(token)}</sync-token><sync-level>1</sync-level>'
                "<prop><getetag/></prop></sync-collection>"
            )
            answer = await self._report(calendar, asked, allowed=(403, 409, 412) if token else ())
            if answer.status >= 300:
                if not names_fault(answer.body, f"{DAV}valid-sync-token"):
                    raise Failed(FaultKind.TOKEN_REVOKED, f"HTTP {answer.status}")
                token, listed = "", _Listed(whole=True)
                continue
            members, given = multistatus(answer.body)
            listed.hear(members, calendar=calendar)
            # RFC 6578, 3.6: it gave what it could, and goes on from this token.
            if any(one.status == 507 for one in members) and given != token:
                token = given
                continue
            return listed, given
        raise Failed(FaultKind.ODD_ANSWER, "no-end")

    async def all_texts(
        self, calendar: str, hrefs: Sequence[str], etags: Mapping[str, str]
    ) -> AsyncGenerator[tuple[int, list[tuple[str, str, str]]]]:
        """Yield what `texts` returns, with the number of requests so far: of fewer where it is too much for one answer, and without
        the text where that alone is.
        """
        left = [hrefs[start : start + AT_ONCE] for start in range(0, len(hrefs), AT_ONCE)][::-1]
        number = 0
        while left:
            asked, number = left.pop(), number + 1
            try:
                yield number, await self.texts(calendar, asked)
            except Failed as failed:
                if failed.fault.kind is not FaultKind.TOO_MUCH:
                    raise
                middle = len(asked) // 2
                if middle:
                    left += [asked[middle:], asked[:middle]]
                else:
                    yield number, [(asked[0], etags[asked[0]], "")]

    async def texts(self, calendar: str, hrefs: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return address, ETag and text of those that are there."""
        paths = "".join(f"<href>{_escaped(httpx.URL(one).raw_path.decode())}</href>" for one in hrefs)
        asked = (
            '<C:calendar-multiget xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
            f"<prop><getetag/><C:calendar-data/></prop>{paths}</C:calendar-multiget>"
        )
        members, _ = multistatus((await self._report(calendar, asked)).body)
        return [
            (str(httpx.URL(calendar).join(one.href)), etag, one.text(f"{CAL}calendar-data"))
            for one in members
            if one.status == 200 and (etag := one.etag)
        ]

    async def _report(self, calendar: str, asked: str, *, allowed: tuple[int, ...] = ()) -> Answer:
        headers = {"depth": "1", "content-type": "application/xml; charset=utf-8"}
        return await self.ask("REPORT", calendar, headers=headers, content=asked, allowed=allowed)


async def _parsed(kept: Kept, access: Access) -> Parsed:
    text = "\n".join(said.partition("\n")[2] for said in kept.items.values()).encode()
    if not text.strip():
        return Parsed(())
    if len(text) > BYTES_MAX:
        raise _too_much("texts")
    try:
        parsed = await calendar(text, access=access, modified_ms=access.now_ms)
    except UnreadableFile as error:
        raise Failed(FaultKind.ODD_ANSWER, "unreadable", problem=str(error)) from None
    # What is gone the server says itself: nothing that cannot be read may hide it. No line number means anything here.
    return replace(parsed, problems=tuple(replace(one, line=0, hides=False) for one in parsed.problems))


def _too_much(what: str) -> Failed:
    problem = f"the calendars have more than 10 MB, or one has more than {ITEMS_MAX:,} entries; connect fewer"
    return Failed(FaultKind.TOO_MUCH, what, problem=problem)


def _usable(text: str, problems: list[Problem]) -> str:
    text = _ATTACHED.sub("", text)
    if "BEGIN:VCALENDAR" in text.upper() and "\0" not in text and len(text) <= TEXT_MAX:
        return text
    problems.append(Problem(0, "an entry that is no calendar or too large; left out", skipped=True))
    return ""


def _etag(said: str) -> str:
    return said.partition("\n")[0]


def _is(said: str, wanted: str) -> bool:
    text = said.partition("\n")[2]
    return "BEGIN:VTODO" in text.upper() and external_id(uid_of(text)) == wanted


def _folder(url: httpx.URL) -> str:
    return str(url).rstrip("/") + "/"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
