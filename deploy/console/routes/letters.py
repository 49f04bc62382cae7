"""Dead letters: what was refused and why, what became of each, and sending some again."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from deploy.console.stack import TheRedriver, TheStack
from deploy.letters import Letter, over_time
from deploy.redriven import Fate, all_letters
from deploy.redriving import redrive_letters
from serving.problems import Problem
from streams.units import HOUR_MS

router = APIRouter(tags=["dead letters"])
AT_ONCE_MAX = 1_000


class Refused(BaseModel):
    """A dead letter, without what it holds."""

    id: str
    """TOPIC/PARTITION/OFFSET of the refused record."""
    refused_ms: int
    reason: str
    detail: str
    bytes: int | None
    """None where it cannot be opened any more; `sealed` says why."""
    sealed: str
    state: str
    is_open: bool


class Letters(BaseModel):
    """What stands in the topic now."""

    letters: list[Refused]
    """The newest first."""
    in_all: int
    open: dict[str, int]
    """By reason, those that were not sent again, or failed once more."""
    hour_ms: list[int]
    """The hours in which any was refused, the oldest first."""
    by_hour: dict[str, list[int]]
    """By reason; each list is as long as `hour_ms`."""


class Again(BaseModel):
    """Which to send again."""

    ids: Annotated[list[str], Field(min_length=1, max_length=AT_ONCE_MAX)]


class Sent(BaseModel):
    """What came of it."""

    sent: list[str]
    not_sent: dict[str, str]
    """Why, by id."""


@router.get("/letters", summary="What was refused, and what became of it")
def letters(stack: TheStack, reason: str = "", limit: Annotated[int, Query(ge=1, le=AT_ONCE_MAX)] = 200) -> Letters:
    found, fates = asyncio.run(all_letters(stack.cluster, stack.kek_dir))
    waiting = Counter(one.message.reason for one in found if fates[one.name].is_open)
    kept = [one for one in found if reason in ("", one.message.reason)]
    hours = over_time(kept, HOUR_MS)
    reasons = sorted({one.message.reason for one in kept})
    return Letters(
        letters=[_refused(one, fates[one.name]) for one in reversed(kept[-limit:])],
        in_all=len(kept),
        open=dict(sorted(waiting.items())),
        hour_ms=[begin for begin, _ in hours],
        by_hour={each: [some[each] for _, some in hours] for each in reasons},
    )


@router.post("/letters/redrive", summary="Send some again as they came; each is noted in oo.audit")
def redrive(stack: TheStack, by: TheRedriver, which: Again) -> Sent:
    found, fates = asyncio.run(all_letters(stack.cluster, stack.kek_dir))
    # Of a topic that was made anew, the newest.
    by_id = {one.id: one for one in found}
    if unknown := [one for one in which.ids if one not in by_id]:
        raise Problem(404, "unknown-letter", detail=f"There is no dead letter {unknown[0]}: the list shows their ids.")
    chosen = [by_id[one] for one in dict.fromkeys(which.ids) if fates[by_id[one].name].is_open]
    report = asyncio.run(redrive_letters(stack, by, chosen, fates))
    return Sent(
        sent=[one.id for one in (*report.sent, *report.found)], not_sent={one.id: why for one, why in report.not_sent}
    )


def _refused(one: Letter, fate: Fate) -> Refused:
    return Refused(
        id=one.id,
        refused_ms=one.message.refused_ms,
        reason=one.message.reason,
        detail=one.message.detail,
        bytes=None if one.away else one.message.original_length,
        sealed=one.away,
        state=fate.state,
        is_open=fate.is_open,
    )
