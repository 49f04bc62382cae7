"""Tips that a language model wrote: how the answer to a request comes into the row, and whether what a tip is about still stands.

Works on the copy of the row that `step` hands through. It never decides, and never asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agents import candidates
from agents.change import Change
from agents.opened import Opened
from oo.v1 import journal_pb2, policy_pb2, row_pb2
from streams.units import DAY_MS
from tables import backlog, ids
from tables.backlog import Backlog

BY_REQUEST = 7
"""The step version from which on only the answer to the request that stands is taken; records of earlier ones fold as they did
(agents.signals)."""
ABOUT_MAX = 8
TASK_HEAD, EVENT_HEAD = "task:", "event:"
ON_LIST, IN_CALENDAR = "On your list:", "In your calendar:"
LINE_CHARS_MAX = 140


def event_head(source: str) -> str:
    """What the ids of a source's events begin with, where a written tip rests on one."""
    return f"{EVENT_HEAD}{source}/"


def is_awaited(row: row_pb2.UserRow, arrived: journal_pb2.Candidates, *, now_ms: int) -> bool:
    """Whether it answers the request that stands: not one that was superseded, has run out, or has its answer."""
    asked = row.asked
    return arrived.request_id == asked.request_id != "" and not asked.answered and now_ms <= asked.runs_out_ms


def take(opened: Opened, arrived: journal_pb2.Candidates, change: Change, *, generation: policy_pb2.Generation) -> None:
    """Take in the answer to the request that stands, however many tips it has; 16 of a person's are kept, the newest."""
    row = opened.row
    asked, now_ms = row.asked, row.now_ms
    asked.answered = True
    if asked.day == now_ms // DAY_MS:
        asked.day_tokens += min(arrived.tokens_in + arrived.tokens_out, _TOKENS_COUNTED_MAX)
    if opened.limits.generated:
        return
    ends_ms = asked.requested_ms + (generation.tip_valid_ms or DAY_MS)
    fresh = [
        _tip(one, asked, index=index, ends_ms=_ends_ms(one.about, opened, ends_ms))
        for index, one in enumerate(arrived.tips[: candidates.GENERATED_MAX])
        if one.title.strip() and (one.expires_ms or ends_ms) > now_ms
    ]
    kept = [one for one in row.generated if one.expires_ms + candidates.GENERATED_KEPT_MS > now_ms]
    generated = [*kept, *fresh][-candidates.GENERATED_MAX :]
    del row.generated[:]
    row.generated.extend(generated)
    change.slate |= bool(fresh)


def _ends_ms(about: Iterable[str], opened: Opened, ends_ms: int) -> int:
    """No later than the events that it is about."""
    items = opened.backlog
    events = (place for kind, _, place in _found(about, items) if kind == EVENT_HEAD)
    return min([ends_ms, *(int(items.events[backlog.END, place]) for place in events)])


_TOKENS_COUNTED_MAX = 1 << 20
"""Of one answer: whoever answers may say any number."""


def _tip(said: journal_pb2.GeneratedTip, asked: row_pb2.Asked, *, index: int, ends_ms: int) -> journal_pb2.GeneratedTip:
    about = [one for one in dict.fromkeys(said.about) if len(one) <= candidates.ID_CHARS_MAX * 2]
    made = journal_pb2.GeneratedTip(
        external_id=f"{asked.request_id}-{index}",
        title=said.title.strip()[: candidates.TITLE_CHARS_MAX],
        detail=said.detail.strip()[: candidates.DETAIL_CHARS_MAX],
        expires_ms=min(said.expires_ms or ends_ms, ends_ms),
        # Not what the answer says: what was drawn.
        prompt_version=asked.prompt_version,
        model=asked.model,
        about=about[:ABOUT_MAX],
        purposes=said.purposes,
        chance=asked.chance,
        chances=asked.chances,
    )
    if said.HasField("likeness"):
        made.likeness.CopyFrom(said.likeness)
    return made


NO_TASK = -1


def rests(about: Sequence[str], opened: Opened) -> bool:
    """Whether every task and event of these is there, may be used, and is not put off."""
    return task_of(about, opened) is not None


def task_of(about: Sequence[str], opened: Opened) -> int | None:
    """The place of the first task of these, whose features a tip about them has: NO_TASK for events alone, None where it does not rest."""
    items, limits, now_ms = opened.backlog, opened.limits, opened.row.now_ms
    found = list(_found(about, items))
    rest = len(found) == len(about) and all(
        limits.events_of(source) and items.events[backlog.END, place] > now_ms
        if kind == EVENT_HEAD
        else limits.tasks_of(source) and items.tasks[backlog.QUIET_UNTIL, place] <= now_ms
        for kind, source, place in found
    )
    return next((place for kind, _, place in found if kind == TASK_HEAD), NO_TASK) if rest else None


def told(about: Iterable[str], opened: Opened) -> list[str]:
    """What a tip is about, a line each, in the words of its sources."""
    items = opened.backlog
    return [
        (f"{IN_CALENDAR} {items.event(place).title}" if kind == EVENT_HEAD else f"{ON_LIST} {items.told(place).title}")[
            :LINE_CHARS_MAX
        ]
        for kind, _, place in _found(about, items)
    ]


def _found(about: Iterable[str], items: Backlog) -> Iterator[tuple[str, str, int]]:
    """Of each that is there: what kind its id is of, its source, and its place among the tasks or the events."""
    for one in about:
        for source in items.sources:
            if one.startswith(head := backlog.head(source)):
                place = items.index(ids.item_key(source, one[len(head) :]))
                if place is not None:
                    yield TASK_HEAD, source, place
                    break
            if one.startswith(head := event_head(source)):
                place = items.event_index(source=source, external_id=one[len(head) :])
                if place is not None:
                    yield EVENT_HEAD, source, place
                    break
