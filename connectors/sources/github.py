"""GitHub: open issues and pull requests that are assigned to the person, page by page, each with its ETag.

It closes nothing there: that a tip is done says nothing about whether an issue is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, Final

from connectors.differences import Patience
from connectors.source_file import Parsed
from connectors.sources.asking import WAIT_S_MAX, Answer, ask, bearer, refusal
from connectors.sources.kept import Kept
from connectors.sources.source import (
    Access,
    Connect,
    Description,
    Failed,
    FaultKind,
    Field,
    Kind,
    OAuth,
    Page,
    Way,
)
from connectors.sources.told import Said, each, event_time, inner, several, task, word
from oo.v1.signal_pb2 import Signal

API: Final = "https://api.github.com"
AT_ONCE: Final = 100
PAGES_MAX: Final = 200
SECONDARY_S: Final = 60
"""How long a secondary limit lasts at least, where no header says (docs.github.com, "Rate limits for the REST API")."""
PATIENCE: Final = Patience(line_ms=30_000, emptied_ms=30_000)
"""What moves from one page to another between two requests is on neither."""
_KEPT: Final = ("id", "number", "title", "body", "html_url", "updated_at")


class GitHub:
    """What is assigned to a person."""

    description = Description(
        name="github",
        title="GitHub",
        gives=(Kind.TASKS,),
        ways=(
            Way(Connect.TOKEN, (Field("token", "Personal access token", "password", secret=True),)),
            Way(
                Connect.OAUTH,
                oauth=OAuth(
                    "https://github.com/login/oauth/authorize",
                    "https://github.com/login/oauth/access_token",
                    ("repo",),
                ),
            ),
        ),
        every_s=300,
    )

    def __init__(self, api: str = API) -> None:
        self._api = api

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield one page; a page of the service that is as it was costs nothing of its limit."""
        kept = Kept.opened(cursor)
        before: list[dict[str, Any]] = kept.place.get("pages", [])
        now: list[dict[str, Any]] = []
        items: dict[str, str] = {}
        for number in range(1, PAGES_MAX + 1):
            known = before[number - 1] if number <= len(before) else {}
            answer = await self._issues(access, number, known.get("etag"))
            if answer.status == 304:
                now.append(known)
                items |= {key: kept.items[key] for key in known["ids"] if key in kept.items}
            else:
                found = answer.json()
                if not isinstance(found, list):
                    raise Failed(FaultKind.ODD_ANSWER, "no-list")
                heard = {
                    word(one, "id") or f"#{number}.{i}": _written(one)
                    for i, one in enumerate(one if isinstance(one, dict) else {} for one in found)
                }
                items |= heard
                more = 'rel="next"' in answer.headers.get("link", "")
                now.append({"etag": answer.headers.get("etag"), "ids": list(heard), "more": more})
            if not now[-1]["more"]:
                break
        if now == before and before and not kept.memory.doubtful:
            yield Page(cursor)
            return
        kept.place, kept.items = {"pages": now}, items
        signals, problems = each(items.values(), lambda item: _signal(item, now=access.now), kind="an issue")
        yield kept.tell(
            Parsed(signals, problems),
            name=self.description.name,
            access=access,
            modified_ms=access.now_ms,
            patience=PATIENCE,
            again_s=PATIENCE.line_ms / 1000,
        )

    async def _issues(self, access: Access, number: int, etag: str | None) -> Answer:
        headers = bearer(access) | {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
        asked = {
            "filter": "assigned",
            "state": "open",
            "sort": "created",
            "per_page": str(AT_ONCE),
            "page": str(number),
        }
        answer = await ask(
            access,
            "GET",
            f"{self._api}/issues",
            headers=headers | ({"if-none-match": etag} if etag else {}),
            params=asked,
            allowed=(304, 403, 429),
        )
        if answer.status in (403, 429):
            raise _limited(access, answer)
        return answer


def _limited(access: Access, answer: Answer) -> Failed:
    """Return what a 403 or 429 means: a limit by one of three signs, or access that was taken away."""
    failed = refusal(access, answer)
    if failed.fault.until_ms:
        return failed
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        until_ms = min(int(reset[:12]) * 1000, access.now_ms + WAIT_S_MAX * 1000)
        return Failed(FaultKind.RATE_LIMITED, failed.fault.detail, until_ms=until_ms)
    if answer.status == 429 or b"secondary rate limit" in answer.body:
        until_ms = access.now_ms + SECONDARY_S * 1000
        return Failed(FaultKind.RATE_LIMITED, failed.fault.detail, until_ms=until_ms)
    return failed


def _written(one: Said) -> str:
    shown: dict[str, Any] = {name: one[name] for name in _KEPT if name in one}
    shown["body"] = word(one, "body")[:4_000]
    shown["repository"] = word(inner(one, "repository"), "full_name")
    shown["labels"] = [word(label, "name") for label in several(one, "labels") if isinstance(label, dict)]
    return json.dumps(shown, ensure_ascii=False)


def _signal(item: Said, *, now: datetime) -> Signal:
    """Return what an issue says; raises ValueError."""
    labels = [one for one in (word(item, "repository"), *several(item, "labels")) if isinstance(one, str)]
    said = task(
        external_id=word(item, "id"),
        title=word(item, "title"),
        notes=word(item, "body"),
        labels=labels,
        url=word(item, "html_url"),
    )
    return Signal(event_time=event_time(word(item, "updated_at"), now=now), task_upserted=said)
