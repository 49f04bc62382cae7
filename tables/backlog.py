"""What a person has to do and where they have to be: tasks, events, and tombstones of those that are gone.

Each function changes the row it is given: `step` copies a row once and hands the copy through. It never decides
anything and never reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from oo.v1 import row_pb2, signal_pb2
from streams.units import DAY_MS
from tables.ids import item_key

TASKS_MAX = 256
EVENTS_MAX = 256
TOMBSTONES_MAX = 256
LABELS_MAX = 8
NOTES_CHARS_MAX = 280

TOMBSTONE_MS = 28 * DAY_MS
EVENT_KEPT_MS = 3600 * 1000
"""How long an event stays after its end."""

NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which of two writes of the same item is later: event time, then source offset."""

    time_ms: int
    offset: int


@dataclass(frozen=True, slots=True)
class Overflow:
    """An item that found no place because the row is full; it goes to the dead letters."""

    reason: str
    detail: str
    signal: signal_pb2.Signal


def upsert_task(
    row: row_pb2.UserRow, upsert: signal_pb2.TaskUpserted, *, source: str, stamp: Stamp
) -> tuple[row_pb2.Task | None, Overflow | None]:
    """Put the task in; returns it (None where a later write stands already) and what had to leave for it, if anything.

    A full backlog keeps the 256 that rank highest: by priority, then due date, then the newer first.
    """
    index = task_index(row, source=source, external_id=upsert.external_id)
    key = item_key(source, upsert.external_id)
    known = row.tasks[index] if index is not None else None
    if not _is_later(row, known, key, stamp):
        return None, None
    task = row_pb2.Task(
        source=source,
        external_id=upsert.external_id,
        title=one_line(upsert.title),
        notes=one_line(upsert.notes)[:NOTES_CHARS_MAX],
        priority=upsert.priority,
        due_ms=to_ms(upsert.due) if upsert.HasField("due") else 0,
        estimated_minutes=upsert.estimated_minutes,
        labels=list(upsert.labels)[:LABELS_MAX],
        url=upsert.url,
        updated_ms=stamp.time_ms,
        updated_offset=stamp.offset,
    )
    _bury(row, key, None)
    if known is not None:
        # What the person did with it so far is not the source's to change.
        first_ms = created_ms(known)
        task.created_ms = 0 if first_ms == task.updated_ms else first_ms
        for name in ("quiet_until_ms", "quiet_reason", "shown", "dismissed", "snoozed"):
            setattr(task, name, getattr(known, name))
        known.CopyFrom(task)
        return known, None
    if len(row.tasks) < TASKS_MAX:
        row.tasks.append(task)
        return row.tasks[-1], None
    row.tasks_refused += 1
    last = max(range(len(row.tasks)), key=lambda i: rank(row.tasks[i]))
    if rank(task) >= rank(row.tasks[last]):
        whole = signal_pb2.Signal(user_id=row.user_id, source=source, event_time=from_ms(stamp.time_ms))
        whole.task_upserted.CopyFrom(upsert)
        return None, _backlog_full(whole)
    evicted = _overflow_task(row.user_id, row.tasks[last])
    row.tasks[last].CopyFrom(task)
    return row.tasks[last], evicted


def remove_task(
    row: row_pb2.UserRow, *, source: str, external_id: str, stamp: Stamp, now_ms: int
) -> row_pb2.Task | None:
    """Take the task out and leave a tombstone; returns what was there, or None (also where a later write stands)."""
    index = task_index(row, source=source, external_id=external_id)
    key = item_key(source, external_id)
    known = row.tasks[index] if index is not None else None
    if not _is_later(row, known, key, stamp):
        return None
    _bury(row, key, stamp, now_ms=now_ms)
    if index is None:
        return None
    removed = row_pb2.Task()
    removed.CopyFrom(row.tasks[index])
    del row.tasks[index]
    return removed


def upsert_event(
    row: row_pb2.UserRow, upsert: signal_pb2.CalendarEventUpserted, *, source: str, stamp: Stamp, now_ms: int
) -> tuple[bool, Overflow | None]:
    """Put the event in; says whether the calendar changed, and what had to leave (a full one keeps the 256 next)."""
    key = item_key(source, upsert.external_id)
    index = _event_index(row, source=source, external_id=upsert.external_id)
    known = row.events[index] if index is not None else None
    if not _is_later(row, known, key, stamp):
        return False, None
    event = row_pb2.CalendarEvent(
        source=source,
        external_id=upsert.external_id,
        title=one_line(upsert.title),
        start_ms=to_ms(upsert.start),
        end_ms=to_ms(upsert.end),
        busy=upsert.busy if upsert.HasField("busy") else True,
        updated_ms=stamp.time_ms,
        updated_offset=stamp.offset,
    )
    _bury(row, key, None)
    if index is not None:
        del row.events[index]
    if event.end_ms + EVENT_KEPT_MS <= now_ms:
        return index is not None, None
    # Kept in the order of their start: the next one is what is asked for.
    events = sorted([*row.events, event], key=lambda e: (e.start_ms, e.source, e.external_id))
    out, overflow = None, None
    if len(events) > EVENTS_MAX:
        out = events.pop()
        overflow = Overflow(
            reason="calendar-full",
            detail=f"a person's calendar keeps the {EVENTS_MAX} next events; this one starts after them",
            signal=_event_signal(row.user_id, out),
        )
    del row.events[:]
    row.events.extend(events)
    return out is not event, overflow


def remove_event(row: row_pb2.UserRow, *, source: str, external_id: str, stamp: Stamp, now_ms: int) -> bool:
    """Take the event out and leave a tombstone; says whether one was there."""
    index = _event_index(row, source=source, external_id=external_id)
    key = item_key(source, external_id)
    if not _is_later(row, row.events[index] if index is not None else None, key, stamp):
        return False
    _bury(row, key, stamp, now_ms=now_ms)
    if index is None:
        return False
    del row.events[index]
    return True


def pass_time(row: row_pb2.UserRow, *, now_ms: int) -> bool:
    """Drop events that are over and wake tasks whose quiet time has ended; says whether a task woke."""
    gone_ms = now_ms - EVENT_KEPT_MS
    over = [i for i, event in enumerate(row.events) if event.end_ms <= gone_ms]
    for index in reversed(over):
        del row.events[index]
    woke = False
    for task in row.tasks:
        if 0 < task.quiet_until_ms <= now_ms:
            task.quiet_until_ms = 0
            task.quiet_reason = row_pb2.Task.QUIET_REASON_UNSPECIFIED
            woke = True
    return woke


def task_index(row: row_pb2.UserRow, *, source: str, external_id: str) -> int | None:
    """Where the task stands in the row."""
    for index, task in enumerate(row.tasks):
        if task.external_id == external_id and task.source == source:
            return index
    return None


def task_of_key(row: row_pb2.UserRow, key: int) -> row_pb2.Task | None:
    """Return the task of that `item_key`."""
    return next((task for task in row.tasks if item_key(task.source, task.external_id) == key), None)


def created_ms(task: row_pb2.Task) -> int:
    """When the task was first told."""
    return task.created_ms or task.updated_ms


def rank(task: row_pb2.Task) -> tuple[int, int, int, str, str]:
    """Smaller comes first: priority, due date, the newer, then its name so that no two are equal."""
    return (task.priority or 5, task.due_ms or NEVER_MS, -task.updated_ms, task.source, task.external_id)


def one_line(text: str) -> str:
    """Return the text on one line: every run of white space is one space.

    >>> one_line(" call\\n  mum ")
    'call mum'
    """
    return " ".join(text.split())


def to_ms(timestamp: Timestamp) -> int:
    """Milliseconds since 1970, rounded down."""
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def from_ms(time_ms: int) -> Timestamp:
    """Return the protobuf time of milliseconds since 1970."""
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


def _is_later(row: row_pb2.UserRow, known: row_pb2.Task | row_pb2.CalendarEvent | None, key: int, stamp: Stamp) -> bool:
    written: row_pb2.Task | row_pb2.CalendarEvent | row_pb2.Tombstone | None = known
    if written is None:
        written = next((stone for stone in row.tombstones if stone.key_hash == key), None)
    return written is None or (stamp.time_ms, stamp.offset) >= (written.updated_ms, written.updated_offset)


def _bury(row: row_pb2.UserRow, key: int, stamp: Stamp | None, *, now_ms: int = 0) -> None:
    stones = [s for s in row.tombstones if s.key_hash != key and s.updated_ms > now_ms - TOMBSTONE_MS]
    if stamp is not None:
        stones.append(row_pb2.Tombstone(key_hash=key, updated_ms=stamp.time_ms, updated_offset=stamp.offset))
    elif len(stones) == len(row.tombstones):
        return
    del row.tombstones[:]
    row.tombstones.extend(stones[-TOMBSTONES_MAX:])


def _event_index(row: row_pb2.UserRow, *, source: str, external_id: str) -> int | None:
    for index, event in enumerate(row.events):
        if event.external_id == external_id and event.source == source:
            return index
    return None


def _overflow_task(user_id: str, task: row_pb2.Task) -> Overflow:
    upsert = signal_pb2.TaskUpserted(
        external_id=task.external_id,
        title=task.title,
        notes=task.notes,
        priority=task.priority,
        estimated_minutes=task.estimated_minutes,
        labels=task.labels,
        url=task.url,
    )
    if task.due_ms:
        upsert.due.CopyFrom(from_ms(task.due_ms))
    return _backlog_full(
        signal_pb2.Signal(
            user_id=user_id, source=task.source, event_time=from_ms(task.updated_ms), task_upserted=upsert
        )
    )


def _backlog_full(signal: signal_pb2.Signal) -> Overflow:
    return Overflow(
        reason="backlog-full",
        detail=f"a person's backlog keeps the {TASKS_MAX} tasks that rank highest (priority, due date, newest)",
        signal=signal,
    )


def _event_signal(user_id: str, event: row_pb2.CalendarEvent) -> signal_pb2.Signal:
    return signal_pb2.Signal(
        user_id=user_id,
        source=event.source,
        event_time=from_ms(event.updated_ms),
        calendar_event_upserted=signal_pb2.CalendarEventUpserted(
            external_id=event.external_id,
            title=event.title,
            start=from_ms(event.start_ms),
            end=from_ms(event.end_ms),
            busy=event.busy,
        ),
    )
