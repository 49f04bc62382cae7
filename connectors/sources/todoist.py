"""Todoist, by the Sync endpoint of its API v1: one request tells all that changed, completions and deletions by name.

Items are read by our own tolerant model: in the service's own package one missing field loses the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from connectors.source_file import MINUTES_MAX, Parsed
from connectors.sources.asking import Answer, ask, bearer, refusal, retry_at_ms
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
    Outcome,
    Page,
    Way,
)
from connectors.sources.told import Said, each, event_time, inner, last_second, moment, several, task, word, zone_named
from oo.v1.signal_pb2 import Signal, TaskCompleted

API: Final = "https://api.todoist.com"
ALL: Final = "*"
_KEPT: Final = (
    *("id", "content", "description", "priority", "due", "deadline", "duration", "labels"),
    *("checked", "updated_at", "responsible_uid"),
)
"""Of an item, the rest is not kept."""
_LINK: Final = re.compile(r"\[([^\]]+)\]\(\S+?\)")


class Todoist:
    """A person's active tasks."""

    description = Description(
        name="todoist",
        title="Todoist",
        gives=(Kind.TASKS,),
        ways=(
            Way(Connect.TOKEN, (Field("token", "API token", "password", secret=True),)),
            Way(
                Connect.OAUTH,
                oauth=OAuth(
                    "https://app.todoist.com/oauth/authorize",
                    f"{API}/oauth/access_token",
                    ("data:read_write",),
                    pkce=False,
                ),
            ),
        ),
        writes_back=True,
        every_s=120,
    )

    def __init__(self, api: str = API) -> None:
        self._api = api

    async def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield one page: the service tells all that changed at once."""
        kept = Kept.opened(cursor)
        kept.items = {key: said for key, said in kept.items.items() if not json.loads(said).get("checked")}
        token = kept.place.get("token", ALL)
        form = {"sync_token": token, "resource_types": json.dumps(["items", "user"])}
        answer = await self._ask(access, "sync", form, allowed=(400,) if token != ALL else ())
        if answer.status == 400:
            answer = await self._ask(access, "sync", form | {"sync_token": ALL})
        said = _object(answer)
        given = word(said, "sync_token")
        if not given or not isinstance(said.get("items", []), list):
            raise Failed(FaultKind.ODD_ANSWER, "no-token")
        if said.get("full_sync") is True:
            kept.items = {}
        for number, item in enumerate(several(said, "items")):
            one = item if isinstance(item, dict) else {}
            key = word(one, "id") or f"#{number}"
            if one.get("is_deleted") is True:
                kept.items.pop(key, None)
            else:
                kept.items[key] = json.dumps({name: one[name] for name in _KEPT if name in one}, ensure_ascii=False)
        me = word(inner(said, "user"), "id") or kept.place.get("me", "")
        kept.place = {"token": given, "me": me}
        signals, problems = each(
            kept.items.values(),
            lambda item: _signal(item, me=me, zone=access.zone, now=access.now),
            kind="a task",
        )
        yield kept.tell(Parsed(signals, problems), name=self.description.name, access=access, modified_ms=access.now_ms)

    async def complete(self, access: Access, cursor: bytes, *, external_id: str, operation: str) -> Outcome:
        """Complete a task, or of one that comes again the occurrence that was read."""
        known = json.loads(Kept.opened(cursor).items.get(external_id, "{}"))
        answer = await ask(
            access, "GET", f"{self._api}/api/v1/tasks/{external_id}", headers=bearer(access), allowed=(404,)
        )
        if answer.status == 404:
            return Outcome.MISSING
        now = _object(answer)
        if now.get("checked") is True or word(now, "completed_at"):
            return Outcome.ALREADY
        before, due = word(inner(known, "due"), "date"), word(inner(now, "due"), "date")
        if due != before:
            # Of a task that comes again, a later date is what a completion leaves, ours of before too.
            moved_on = inner(now, "due").get("is_recurring") is True and before < due
            return Outcome.ALREADY if before and moved_on else Outcome.CONFLICT
        command = {"type": "item_close", "uuid": operation, "args": {"id": external_id}}
        said = _object(await self._ask(access, "sync", {"commands": json.dumps([command])}))
        status = inner(said, "sync_status").get(operation)
        if status == "ok":
            return Outcome.DONE
        if isinstance(status, dict):
            return Outcome.CONFLICT
        raise Failed(FaultKind.ODD_ANSWER, "no-status")

    async def _ask(
        self, access: Access, path: str, form: Mapping[str, str], *, allowed: tuple[int, ...] = ()
    ) -> Answer:
        answer = await ask(
            access,
            "POST",
            f"{self._api}/api/v1/{path}",
            headers=bearer(access),
            data=dict(form),
            allowed=(*allowed, 429),
        )
        if answer.status == 429:
            failed = refusal(access, answer)
            if not failed.fault.until_ms:  # It says so in the body too.
                wait = word(inner(_object(answer), "error_extra"), "retry_after")
                until_ms = retry_at_ms(wait, now_ms=access.now_ms)
                failed = Failed(FaultKind.RATE_LIMITED, "HTTP 429", until_ms=until_ms)
            raise failed
        return answer


def _object(answer: Answer) -> dict[str, Any]:
    said = answer.json()
    if not isinstance(said, dict):
        raise Failed(FaultKind.ODD_ANSWER, "no-object")
    return said


def _signal(item: Said, *, me: str, zone: ZoneInfo, now: datetime) -> Signal | None:
    """Return what an item says; None for what somebody else of a shared project is to do. Raises ValueError."""
    assigned = word(item, "responsible_uid")
    if me and assigned and assigned != me:
        return None
    signal = Signal(event_time=event_time(word(item, "updated_at"), now=now))
    if item.get("checked") is True:
        signal.task_completed.CopyFrom(TaskCompleted(external_id=word(item, "id")))
        return signal
    said = task(
        external_id=word(item, "id"),
        title=_LINK.sub(r"\1", word(item, "content")),
        notes=word(item, "description"),
        labels=[one for one in several(item, "labels") if isinstance(one, str)],
        url=f"https://app.todoist.com/app/task/{word(item, 'id')}",
    )
    said.priority = _priority(item.get("priority"))
    due = inner(item, "due") or inner(item, "deadline")
    if due:
        # A day; or a time where the person is; or an instant, with the zone that it was meant in beside it.
        place = zone_named(word(due, "timezone"), otherwise=zone)
        said.due.CopyFrom(last_second(moment(word(due, "date"), zone=place), zone=zone))
    said.estimated_minutes = _minutes(inner(item, "duration"))
    signal.task_upserted.CopyFrom(said)
    return signal


def _priority(said: object) -> int:
    """Return ours, 1 the most urgent, of theirs, 4 the most urgent; theirs of 1 is none.

    >>> [_priority(one) for one in (4, 3, 2, 1, None)]
    [1, 2, 3, 0, 0]
    """
    return 5 - said if isinstance(said, int) and 2 <= said <= 4 else 0


def _minutes(duration: Said) -> int:
    """Return an estimate's minutes.

    >>> _minutes({"amount": 15, "unit": "minute"}), _minutes({"amount": 1, "unit": "day"})
    (15, 1440)
    """
    amount = duration.get("amount")
    if not isinstance(amount, int) or amount < 0:
        return 0
    return min(amount * (1440 if duration.get("unit") == "day" else 1), MINUTES_MAX)
