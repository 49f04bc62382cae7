"""What a file says now against what was last sent of it: only the difference becomes signals.

It never reads the file nor keeps the memory: both come in; the signals go out, and the memory to keep before they are
sent. Once they are acknowledged, `settled` of it is kept: a crash in between leaves it known that they may be out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.source_file import Parsed, timestamp
from oo.v1.signal_pb2 import CalendarEventRemoved, Signal, TaskRemoved

ITEMS_MAX = 50_000
"""Remembered per file; past it what has gone longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was last said about one task or event."""

    digest: str
    """Of its content."""
    change: int
    """0 when first said, one more for each change: a text that comes back is not a duplicate of its first time."""
    gone: bool = False
    """Said to be completed, removed, or over: its absence is nothing new."""
    source: str = ""
    """The signals' source."""
    ends_ms: int = 0
    """When an event is over; 0 for a task."""
    sure: bool = True
    """False while it may or may not have arrived."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was sent of one file to one person's account."""

    event_ms: int = 0
    """The latest event time sent; the next is never before it, or the last writer would not win."""
    items: Mapping[str, Sent] = field(default_factory=dict)
    """By kind and external id ("task:...", "event:..."), in order of their last change."""


def differences(
    memory: Memory, parsed: Parsed, *, user_id: str, modified_ms: int, now_ms: int, removals: bool
) -> tuple[list[Signal], Memory]:
    """Signals for what is new or changed, then removals of what is absent, and the memory to keep before sending them.

    A signal's event_id is made of its external id, its content and how often it changed: the same difference found
    twice (after a crash, by another process, on another day) has the same ids, so that it counts once. `removals` False leaves what is
    absent alone, as does a file that may be cut off. `modified_ms` is the file's, taken as now if it lies ahead.

    >>> call_mom = Signal(source='todo.txt')
    >>> call_mom.task_upserted.external_id, call_mom.task_upserted.title = 'todo.txt#1', 'Call Mom'
    >>> times = {'user_id': 'ann', 'modified_ms': 5, 'now_ms': 9, 'removals': True}
    >>> signals, memory = differences(Memory(), Parsed(signals=(call_mom,)), **times)
    >>> [signal.WhichOneof('payload') for signal in signals]
    ['task_upserted']
    >>> differences(settled(memory), Parsed(signals=(call_mom,)), **times)[0]
    []
    >>> differences(settled(memory), Parsed(signals=()), **times)[0][0].WhichOneof('payload')
    'task_removed'
    """
    event_ms = max(min(modified_ms, now_ms), memory.event_ms)
    latest_ms = event_ms
    items = dict(memory.items)
    changed: list[Signal] = []
    present: set[str] = set()
    for signal in parsed.signals:
        key = item_key(signal)
        present.add(key)
        known = items.get(key)
        digest = content_digest(signal)
        if known is not None and known.digest == digest and known.sure:
            continue
        now_said = _said(signal, digest=digest, change=_change(known, digest))
        # An item's own time may lie before what was last said about it: an event restored from a backup.
        own_ms = min(signal.event_time.ToMilliseconds(), now_ms)
        changed.append(_stamped(signal, now_said, event_ms=own_ms if known is None else max(own_ms, event_ms)))
        latest_ms = max(latest_ms, own_ms)
        items.pop(key, None)
        items[key] = now_said
    unread = set(parsed.unread)
    if removals and parsed.complete:
        for key, known in list(items.items()):
            if key in present or (known.gone and known.sure) or unread & {key, key.rpartition("/")[0]}:
                continue
            del items[key]
            if 0 < known.ends_ms <= now_ms:
                continue  # Over, and out of the window: nothing was taken away.
            signal = _removal(key, user_id=user_id, source=known.source)
            digest = content_digest(signal)
            items[key] = replace(known, digest=digest, change=_change(known, digest), gone=True, sure=False)
            changed.append(_stamped(signal, items[key], event_ms=latest_ms))
    return changed, Memory(event_ms=latest_ms if changed else memory.event_ms, items=_bounded(items, present))


def without_removals(signals: Sequence[Signal], parsed: Parsed, *, held: Collection[str]) -> list[Signal]:
    """The signals without removals of what is absent here and still stands in another file of the same person.

    `held` are the other files' keys. What a file itself says, a cancelled meeting for one, stays.
    """
    said_here = {item_key(signal) for signal in parsed.signals}
    return [signal for signal in signals if (key := item_key(signal)) in said_here or key not in held]


def settled(memory: Memory) -> Memory:
    """The memory once all that `differences` found is acknowledged."""
    return replace(
        memory, items={key: said if said.sure else replace(said, sure=True) for key, said in memory.items.items()}
    )


def _change(known: Sent | None, digest: str) -> int:
    """The number of a change; what may have arrived already keeps its own."""
    if known is None:
        return 0
    return known.change if known.digest == digest else known.change + 1


def item_key(signal: Signal) -> str:
    """What a signal is about, whatever it says about it."""
    payload = signal.WhichOneof("payload") or ""
    kind = "task" if payload.startswith("task") else "event"
    return f"{kind}:{getattr(signal, payload).external_id}"


def content_digest(signal: Signal) -> str:
    """A hash of what a signal says, without when and by whom."""
    payload = signal.WhichOneof("payload") or ""
    content: bytes = getattr(signal, payload).SerializeToString(deterministic=True)
    return hashlib.sha256(payload.encode() + b"\0" + content).hexdigest()[:16]


def _said(signal: Signal, *, digest: str, change: int) -> Sent:
    payload = signal.WhichOneof("payload") or ""
    ends_ms = signal.calendar_event_upserted.end.ToMilliseconds() if payload == "calendar_event_upserted" else 0
    gone = not payload.endswith("upserted")
    return Sent(digest, change, gone=gone, source=signal.source, ends_ms=ends_ms, sure=False)


def _stamped(signal: Signal, said: Sent, *, event_ms: int) -> Signal:
    stamped = Signal()
    stamped.CopyFrom(signal)
    stamped.event_time.CopyFrom(timestamp(event_ms))
    payload = signal.WhichOneof("payload") or ""
    revision = f"{said.digest}.{said.change}" if said.change else said.digest
    stamped.event_id = f"{getattr(signal, payload).external_id}@{revision}"
    return stamped


def _removal(key: str, *, user_id: str, source: str) -> Signal:
    kind, _, external_id = key.partition(":")
    signal = Signal(user_id=user_id, source=source)
    if kind == "task":
        signal.task_removed.CopyFrom(TaskRemoved(external_id=external_id))
    else:
        signal.calendar_event_removed.CopyFrom(CalendarEventRemoved(external_id=external_id))
    return signal


def _bounded(items: dict[str, Sent], present: set[str]) -> dict[str, Sent]:
    spare = len(items) - ITEMS_MAX
    for key in [key for key, said in items.items() if said.gone and key not in present][: max(spare, 0)]:
        del items[key]
    return items
