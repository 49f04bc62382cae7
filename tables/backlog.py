"""What a person has to do and where they have to be: tasks, events, and tombstones of those that are gone.

A row keeps them as numbers in columns, which is all that most decisions look at, and texts apart. `read` unpacks them once
for a record, the functions here change what was unpacked, `write` puts it back. It never decides anything and never reads a clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from oo.v1 import row_pb2, signal_pb2
from streams.units import DAY_MS
from tables import columns, texts
from tables.bounds import EVENTS_MAX, NEVER_MS, TASKS_MAX
from tables.compiled import BYTES_FORM, Int, compiled
from tables.ids import item_key
from tables.linear import Ints

TOMBSTONES_MAX = 256
LABELS_MAX = 8
NOTES_CHARS_MAX = 280

TOMBSTONE_MS = 28 * DAY_MS
EVENT_KEPT_MS = 3600 * 1000
"""How long an event stays after its end."""

KEY, TITLE, SOURCE, PRIORITY, DUE, MINUTES, LABELS, CREATED, UPDATED, OFFSET = range(10)
"""Of a task's column: the hash of its identity, that of its title's words, which source, its labels as bits of buckets
(tables.texts), when it was first told (0 where that is UPDATED), and the last write's stamp."""
QUIET_UNTIL, QUIET_REASON, SHOWN, DISMISSED, SNOOZED = range(10, 15)
_ID_CHARS, _TITLE_CHARS, _NOTES_CHARS, _URL_CHARS, _LABELS_CHARS = range(15, 20)
_TASK_WIDTH = 20

START, END, BUSY, EVENT_UPDATED, EVENT_OFFSET, EVENT_SOURCE, _EVENT_ID_CHARS, _EVENT_TITLE_CHARS = range(8)
_EVENT_WIDTH = 8


class Stamp(NamedTuple):
    """Which of two writes of the same item is later: event time, then source offset."""

    time_ms: int
    offset: int


@dataclass(frozen=True, slots=True)
class Overflow:
    """An item that found no place because the row is full; it goes to the dead letters."""

    reason: str
    detail: str
    signal: signal_pb2.Signal


class Told(NamedTuple):
    """One task: its numbers, and its texts."""

    column: list[Int]
    source: str
    external_id: str
    title: str
    notes: str
    url: str
    labels: str
    """One after the other, each behind its length."""

    @property
    def name(self) -> str:
        """Its candidate id."""
        return head(self.source) + self.external_id


@dataclass(slots=True)
class Backlog:
    """A row's tasks and events, unpacked."""

    tasks: Ints
    """(20, N) in the order of candidate ids."""
    events: Ints
    """(8, M) in the order of their start, then source and id."""
    sources: list[str]
    """What SOURCE counts in, sorted."""
    task_texts: str
    event_texts: str
    stones: bytes
    """Tombstones, the oldest first: the item's `KEY`, and the stamp that it went with; packed, as few records change them."""
    said: bool = False
    """Tasks were changed, which is not in the row yet."""
    said_events: bool = False
    """The same of events."""
    buried: bool = False
    """The same of tombstones."""
    dropped: bool = False
    """A task or an event is gone, so that a source may be of no use any more."""

    def gone(self, key: int) -> tuple[int, int] | None:
        """The stamp with which the item of this `item_key` went, by event time and source offset; None where there is no tombstone."""
        if not self.stones:
            return None
        found, *stamp = _stone(self.stones, columns.signed(key))
        if found < 0:
            raise ValueError("not a block of columns")
        return (stamp[0], stamp[1]) if found else None

    def told(self, index: int) -> Told:
        """One task, as a decision on it takes it."""
        column = self.tasks[:, index].tolist()
        at, said, texts = _start(self.tasks, index), self.task_texts, []
        for chars in column[_ID_CHARS:]:
            texts.append(said[at : at + chars])
            at += chars
        return Told(column, self.sources[column[SOURCE]], *texts)

    def task(self, index: int) -> row_pb2.Task:
        """One task, spelled out."""
        column, source, external_id, title, notes, url, labels = self.told(index)
        return row_pb2.Task(
            source=source,
            external_id=external_id,
            title=title,
            notes=notes,
            priority=column[PRIORITY],
            due_ms=column[DUE],
            estimated_minutes=column[MINUTES],
            labels=_labels_of(labels),
            url=url,
            created_ms=column[CREATED],
            updated_ms=column[UPDATED],
            updated_offset=column[OFFSET],
            quiet_until_ms=column[QUIET_UNTIL],
            quiet_reason=column[QUIET_REASON],
            shown=column[SHOWN],
            dismissed=column[DISMISSED],
            snoozed=column[SNOOZED],
        )

    def stamp(self, index: int | None) -> tuple[int, int] | None:
        """When a task was last written, by event time and source offset; None where there is none."""
        return None if index is None else (int(self.tasks[UPDATED, index]), int(self.tasks[OFFSET, index]))

    def event_stamp(self, index: int | None) -> tuple[int, int] | None:
        """The same of an event."""
        if index is None:
            return None
        return int(self.events[EVENT_UPDATED, index]), int(self.events[EVENT_OFFSET, index])

    def event(self, index: int) -> row_pb2.CalendarEvent:
        """One event, spelled out."""
        column = self.events[:, index].tolist()
        at = self._event_start(index)
        middle, end = at + column[_EVENT_ID_CHARS], at + column[_EVENT_ID_CHARS] + column[_EVENT_TITLE_CHARS]
        return row_pb2.CalendarEvent(
            source=self.sources[column[EVENT_SOURCE]],
            external_id=self.event_texts[at:middle],
            title=self.event_texts[middle:end],
            start_ms=column[START],
            end_ms=column[END],
            busy=bool(column[BUSY]),
            updated_ms=column[EVENT_UPDATED],
            updated_offset=column[EVENT_OFFSET],
        )

    def index(self, key: int) -> int | None:
        """Where the task of this `item_key` stands."""
        found = _index(self.tasks, columns.signed(key))
        return found if found >= 0 else None

    def event_index(self, *, source: str, external_id: str) -> int | None:
        """Where that event stands."""
        if source not in self.sources:
            return None
        chars = len(external_id)
        alike = (self.events[EVENT_SOURCE] == self.sources.index(source)) & (self.events[_EVENT_ID_CHARS] == chars)
        for index in np.flatnonzero(alike).tolist():
            if self.event_texts.startswith(external_id, self._event_start(index)):
                return int(index)
        return None

    def add(self, which: int, index: int) -> None:
        """Count one more in a task's column: SHOWN, DISMISSED or SNOOZED."""
        self.tasks[which, index] += 1
        self.said = True

    def put_off(self, index: int, *, until_ms: int, reason: int) -> None:
        """Keep a task quiet until then."""
        self.tasks[QUIET_UNTIL, index], self.tasks[QUIET_REASON, index] = until_ms, reason
        self.said = True

    def put_task(self, column: list[int], said: tuple[str, ...], source: str, index: int | None) -> int:
        """Put a task in the place of another one of the same id, or where there is none among the others; says where.

        `column`: its numbers, without SOURCE and those of its texts; `said`: those texts.
        """
        place = self._source(source)
        if index is None:
            index = bisect_left(range(self.tasks.shape[1]), head(source) + said[0], key=self._namer())
            start = end = _start(self.tasks, index)
            self.tasks = _with(self.tasks, index, (*column[:SOURCE], place, *column[SOURCE:], *map(len, said)))
        else:
            start, end = self._texts_at(index)
            self.tasks[:, index] = (*column[:SOURCE], place, *column[SOURCE:], *map(len, said))
        self.task_texts = "".join((self.task_texts[:start], *said, self.task_texts[end:]))
        self.said = True
        return index

    def put_spelled(self, task: row_pb2.Task) -> None:
        """Put in a task that is a message, as rows of before had them."""
        self.put_task(
            [
                columns.signed(item_key(task.source, task.external_id)),
                texts.title_key(task.title),
                *(task.priority, task.due_ms, task.estimated_minutes, texts.label_bits(task.labels), task.created_ms),
                *(task.updated_ms, task.updated_offset, task.quiet_until_ms, task.quiet_reason),
                *(task.shown, task.dismissed, task.snoozed),
            ],
            (task.external_id, task.title, task.notes, task.url, _as_text(task.labels)),
            task.source,
            None,
        )

    def texts_of(self, index: int) -> str:
        """All texts of a task, one after the other."""
        start, end = self._texts_at(index)
        return self.task_texts[start:end]

    def drop_task(self, index: int) -> None:
        """Take a task out."""
        start, end = self._texts_at(index)
        self.task_texts = self.task_texts[:start] + self.task_texts[end:]
        self.tasks = columns.without(self.tasks, index)
        self.said = self.dropped = True

    def put_event(self, event: row_pb2.CalendarEvent) -> int:
        """Put an event among the others, and says where."""
        source = self._source(event.source)
        column = [
            *(event.start_ms, event.end_ms, event.busy, event.updated_ms, event.updated_offset, source),
            *(len(event.external_id), len(event.title)),
        ]

        def order(i: int) -> tuple[int, int, str]:
            at = self._event_start(i)
            spelled = self.event_texts[at : at + int(self.events[_EVENT_ID_CHARS, i])]
            return int(self.events[START, i]), int(self.events[EVENT_SOURCE, i]), spelled

        index = bisect_left(range(self.events.shape[1]), (event.start_ms, source, event.external_id), key=order)
        start = self._event_start(index)
        self.event_texts = self.event_texts[:start] + event.external_id + event.title + self.event_texts[start:]
        self.events = columns.with_gap(self.events, index, 0)
        self.events[:, index] = column
        self.said_events = True
        return index

    def drop_event(self, index: int) -> None:
        """Take an event out."""
        start = self._event_start(index)
        end = start + int(self.events[_EVENT_ID_CHARS:, index].sum(dtype=np.int64))
        self.event_texts = self.event_texts[:start] + self.event_texts[end:]
        self.events = columns.without(self.events, index)
        self.said_events = self.dropped = True

    def _texts_at(self, index: int) -> tuple[int, int]:
        """Where a task's texts begin, and where they end."""
        return _start(self.tasks, index), _start(self.tasks, index + 1)

    def _namer(self) -> Callable[[int], str]:
        """What says the candidate id of a task, while none is changed."""
        tasks, said, heads = self.tasks, self.task_texts, list(map(head, self.sources))

        def name(index: int) -> str:
            source, start, end = _named(tasks, index)
            return heads[source] + said[start:end]

        return name

    def _event_start(self, index: int) -> int:
        return int(self.events[_EVENT_ID_CHARS:, :index].sum(dtype=np.int64))

    def _source(self, name: str) -> int:
        """What SOURCE says for that source; names that are new are put in their place."""
        place = bisect_left(self.sources, name)
        if place == len(self.sources) or self.sources[place] != name:
            self.sources.insert(place, name)
            self.tasks[SOURCE] += self.tasks[SOURCE] >= place
            self.events[EVENT_SOURCE] += self.events[EVENT_SOURCE] >= place
            self.said = self.said_events = True
        return place


def head(source: str) -> str:
    """What the candidate ids of a source's tasks begin with."""
    return f"task:{source}/"


def read(row: row_pb2.UserRow) -> Backlog:
    """Unpack a row's tasks and events. Raises ValueError for a row that nobody of ours wrote."""
    tasks, events = columns.read(row.task_columns, _TASK_WIDTH), columns.read(row.event_columns, _EVENT_WIDTH)
    if tasks.shape[0] != _TASK_WIDTH or events.shape[0] != _EVENT_WIDTH:
        raise ValueError("not a block of columns")
    backlog = Backlog(tasks, events, list(row.item_sources), row.task_texts, row.event_texts, row.buried)
    if not backlog.stones and row.tombstones:
        stones = [(columns.signed(one.key_hash), one.updated_ms, one.updated_offset) for one in row.tombstones]
        backlog.stones = columns.packed(columns.of(stones, width=3))
    if not backlog.tasks.shape[1] and not backlog.events.shape[1] and (row.tasks or row.events):
        # Written before there were columns.
        for task in row.tasks:
            backlog.put_spelled(task)
        for event in row.events:
            backlog.put_event(event)
    return backlog


def write(backlog: Backlog, row: row_pb2.UserRow) -> None:
    """Put what was changed back into the row."""
    if backlog.buried:
        row.ClearField("tombstones")
        row.buried = backlog.stones
        backlog.buried = False
    if backlog.dropped:
        _drop_sources(backlog)
        backlog.dropped = False
    if backlog.said:
        row.ClearField("tasks")
        row.task_columns = columns.packed(backlog.tasks) if backlog.tasks.shape[1] else b""
        row.task_texts = backlog.task_texts
    if backlog.said_events:
        row.ClearField("events")
        row.event_columns = columns.packed(backlog.events) if backlog.events.shape[1] else b""
        row.event_texts = backlog.event_texts
    if backlog.said or backlog.said_events:
        row.item_sources[:] = backlog.sources
        backlog.said = backlog.said_events = False


def spell_out(row: row_pb2.UserRow) -> None:
    """Put tasks and events into the row as messages, instead of columns: as operators and tests look at them."""
    backlog = read(row)
    row.ClearField("tasks")
    row.ClearField("events")
    row.tasks.extend(map(backlog.task, range(backlog.tasks.shape[1])))
    row.events.extend(map(backlog.event, range(backlog.events.shape[1])))
    row.ClearField("tombstones")
    for key, updated_ms, offset in columns.unpacked(backlog.stones, width=3).T.tolist():
        row.tombstones.add(key_hash=key % (1 << 64), updated_ms=updated_ms, updated_offset=offset)
    for name in ("task_columns", "task_texts", "event_columns", "event_texts", "item_sources", "buried"):
        row.ClearField(name)


class Upserted(NamedTuple):
    """What became of a task that its source told."""

    at: int | None
    """Where it stands now; None where it found no place, or a later write stands already."""
    before: list[int] | None
    """Its column before, in the order of the constants above; None for unknown."""
    changed: bool
    """It is not what it was, but for when it was told."""
    overflow: Overflow | None = None
    """What had to leave for it."""


def upsert_task(
    row: row_pb2.UserRow, backlog: Backlog, upsert: signal_pb2.TaskUpserted, *, source: str, stamp: Stamp
) -> Upserted:
    """Put the task in.

    A full backlog keeps the 256 that rank highest: by priority, then due date, then the newer first.
    """
    key = item_key(source, upsert.external_id)
    index, gone = backlog.index(key), backlog.gone(key)
    if not _is_later(stamp, backlog.stamp(index), gone):
        return Upserted(None, None, changed=False)
    labels, title = list(upsert.labels)[:LABELS_MAX], one_line(upsert.title)
    said = (upsert.external_id, title, one_line(upsert.notes)[:NOTES_CHARS_MAX], upsert.url, _as_text(labels))
    due_ms = to_ms(upsert.due) if upsert.HasField("due") else 0
    before = backlog.tasks[:, index].tolist() if index is not None else None
    created_ms, done_with = 0, [0] * (_ID_CHARS - QUIET_UNTIL)
    if before is not None:
        # What the person did with it so far is not the source's to change.
        created_ms, done_with = before[CREATED] or before[UPDATED], before[QUIET_UNTIL:_ID_CHARS]
        created_ms = 0 if created_ms == stamp.time_ms else created_ms
    column = [
        *(columns.signed(key), texts.title_key(title), upsert.priority, due_ms, upsert.estimated_minutes),
        *(texts.label_bits(labels), created_ms, stamp.time_ms, stamp.offset, *done_with),
    ]
    if gone is not None:
        _bury(backlog, key, None)
    if index is not None and before is not None:
        old = backlog.texts_of(index)
        backlog.put_task(column, said, source, index)
        after = backlog.tasks[:, index].tolist()
        same = before[:CREATED] == after[:CREATED] and before[_ID_CHARS:] == after[_ID_CHARS:]
        return Upserted(index, before, changed=not same or old != backlog.texts_of(index))
    if backlog.tasks.shape[1] < TASKS_MAX:
        return Upserted(backlog.put_task(column, said, source, None), None, changed=True)
    row.tasks_refused += 1
    last = backlog.task(last_ranked(backlog.tasks))
    place = backlog.put_task(column, said, source, None)
    out = last_ranked(backlog.tasks)
    backlog.drop_task(out)
    if place == out:
        whole = signal_pb2.Signal(user_id=row.user_id, source=source, event_time=from_ms(stamp.time_ms))
        whole.task_upserted.CopyFrom(upsert)
        return Upserted(None, None, changed=False, overflow=_backlog_full(whole))
    return Upserted(place - (out < place), None, changed=True, overflow=_backlog_full(_task_signal(row.user_id, last)))


def remove_task(backlog: Backlog, *, source: str, external_id: str, stamp: Stamp, now_ms: int) -> bool:
    """Take the task out and leaves a tombstone; says whether there was one (False also where a later write stands)."""
    key = item_key(source, external_id)
    index = backlog.index(key)
    if not _is_later(stamp, backlog.stamp(index), backlog.gone(key)):
        return False
    _bury(backlog, key, stamp, now_ms=now_ms)
    if index is None:
        return False
    backlog.drop_task(index)
    return True


def upsert_event(
    row: row_pb2.UserRow,
    backlog: Backlog,
    upsert: signal_pb2.CalendarEventUpserted,
    *,
    source: str,
    stamp: Stamp,
    now_ms: int,
) -> tuple[bool, Overflow | None]:
    """Put the event in; says whether the calendar changed, and what had to leave (a full one keeps the 256 next)."""
    key = item_key(source, upsert.external_id)
    index, gone = backlog.event_index(source=source, external_id=upsert.external_id), backlog.gone(key)
    if not _is_later(stamp, backlog.event_stamp(index), gone):
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
    if gone is not None:
        _bury(backlog, key, None)
    if index is not None:
        backlog.drop_event(index)
    if event.end_ms + EVENT_KEPT_MS <= now_ms:
        return index is not None, None
    place = backlog.put_event(event)
    if backlog.events.shape[1] <= EVENTS_MAX:
        return True, None
    overflow = Overflow(
        reason="calendar-full",
        detail=f"a person's calendar keeps the {EVENTS_MAX} next events; this one starts after them",
        signal=_event_signal(row.user_id, backlog.event(EVENTS_MAX)),
    )
    backlog.drop_event(EVENTS_MAX)
    return place != EVENTS_MAX, overflow


def remove_event(backlog: Backlog, *, source: str, external_id: str, stamp: Stamp, now_ms: int) -> bool:
    """Take the event out and leaves a tombstone; says whether one was there."""
    index = backlog.event_index(source=source, external_id=external_id)
    key = item_key(source, external_id)
    if not _is_later(stamp, backlog.event_stamp(index), backlog.gone(key)):
        return False
    _bury(backlog, key, stamp, now_ms=now_ms)
    if index is None:
        return False
    backlog.drop_event(index)
    return True


def pass_time(backlog: Backlog, *, now_ms: int) -> bool:
    """Drop events that are over and wakes tasks whose quiet time has ended; says whether a task woke."""
    over, waking = _passed(backlog.tasks, backlog.events, now_ms - EVENT_KEPT_MS, now_ms)
    if over:
        for index in reversed(np.flatnonzero(backlog.events[END] <= now_ms - EVENT_KEPT_MS).tolist()):
            backlog.drop_event(index)
    if waking:
        until_ms = backlog.tasks[QUIET_UNTIL]
        woke = (until_ms > 0) & (until_ms <= now_ms)
        until_ms[woke] = 0
        backlog.tasks[QUIET_REASON][woke] = row_pb2.Task.QUIET_REASON_UNSPECIFIED
        backlog.said = True
    return bool(waking)


@compiled("i8(i8[:, ::1], i8)")
def _index(tasks: Ints, key: Int) -> Int:
    for i in range(tasks.shape[1]):
        if tasks[KEY, i] == key:
            return np.int64(i)
    return np.int64(-1)


@compiled("i8(i8[:, ::1], i8)")
def _start(tasks: Ints, index: Int) -> Int:
    """Where a task's texts begin."""
    start = np.int64(0)
    for c in range(_ID_CHARS, _TASK_WIDTH):
        for i in range(index):
            start += tasks[c, i]
    return start


@compiled("UniTuple(i8, 3)(i8[:, ::1], i8)")
def _named(tasks: Ints, index: Int) -> tuple[Int, Int, Int]:
    """A task's source, and where its id begins and ends among the texts."""
    start = _start(tasks, index)
    return tasks[SOURCE, index], start, start + tasks[_ID_CHARS, index]


@compiled(f"i8[:, ::1](i8[:, ::1], i8, UniTuple(i8, {_TASK_WIDTH}))")
def _with(tasks: Ints, index: Int, column: Sequence[Int]) -> Ints:
    more = columns.with_gap(tasks, index, np.int64(0))
    for c in range(_TASK_WIDTH):
        more[c, index] = column[c]
    return more


@compiled(f"i8({BYTES_FORM}, i8, i8, b1)")
def _past(said: bytes, at: Int, chars: Int, plain: Int) -> Int:
    """Where so many characters of UTF-8 end that begin there; plain: a byte each."""
    if plain:
        return at + chars
    for _ in range(chars):
        at += 1
        while at < len(said) and said[at] & 0xC0 == 0x80:
            at += 1
    return at


@compiled(f"i8[:, ::1](i8[:, ::1], i8[::1], {BYTES_FORM}, b1)")
def id_places(tasks: Ints, indices: Ints, said: bytes, plain: Int) -> Ints:
    """Where each one's id begins among the bytes of the texts, and where it ends: (2, K). The indices grow; plain: the texts are ASCII."""
    places = np.empty((2, len(indices)), dtype=np.int64)
    at = start = np.int64(0)
    for k in range(len(indices)):
        while at < indices[k]:
            chars = np.int64(0)
            for c in range(_ID_CHARS, _TASK_WIDTH):
                chars += tasks[c, at]
            start, at = _past(said, start, chars, plain), at + 1
        places[0, k], places[1, k] = start, _past(said, start, tasks[_ID_CHARS, at], plain)
    return places


@compiled("b1(i8[:, ::1], i8, i8)")
def ranks_before(tasks: Ints, a: Int, b: Int) -> Int:
    """Whether a task comes before another: by priority, due date, the newer, then source and id so that no two are equal."""
    one, other = tasks[PRIORITY, a], tasks[PRIORITY, b]
    one, other = one or np.int64(5), other or np.int64(5)
    if one != other:
        return one < other
    one, other = tasks[DUE, a], tasks[DUE, b]
    one, other = one or np.int64(NEVER_MS), other or np.int64(NEVER_MS)
    if one != other:
        return one < other
    if tasks[UPDATED, a] != tasks[UPDATED, b]:
        return tasks[UPDATED, a] > tasks[UPDATED, b]
    if tasks[SOURCE, a] != tasks[SOURCE, b]:
        return tasks[SOURCE, a] < tasks[SOURCE, b]
    # Within a source tasks stand in the order of their ids.
    return a < b


@compiled("i8(i8[:, ::1])")
def last_ranked(tasks: Ints) -> Int:
    """The task that comes after all others."""
    last = np.int64(0)
    for i in range(1, tasks.shape[1]):
        if ranks_before(tasks, last, np.int64(i)):
            last = np.int64(i)
    return last


@compiled("i8(i8[:, ::1])")
def next_quiet_end_ms(tasks: Ints) -> Int:
    """The soonest end of a task's quiet time; 0 for none."""
    soonest = np.int64(0)
    for i in range(tasks.shape[1]):
        until = tasks[QUIET_UNTIL, i]
        if 0 < until < NEVER_MS and (soonest == 0 or until < soonest):
            soonest = until
    return soonest


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


@compiled("UniTuple(b1, 2)(i8[:, ::1], i8[:, ::1], i8, i8)")
def _passed(tasks: Ints, events: Ints, gone_ms: Int, now_ms: Int) -> tuple[Int, Int]:
    over = waking = False
    for i in range(events.shape[1]):
        over |= events[END, i] <= gone_ms
    for i in range(tasks.shape[1]):
        waking |= 0 < tasks[QUIET_UNTIL, i] <= now_ms
    return over, waking


def _as_text(labels: Iterable[str]) -> str:
    """Labels one after the other, each behind its length."""
    return "".join([f"{len(label)}:{label}" for label in labels])


def _labels_of(text: str) -> list[str]:
    """The labels that `_as_text` wrote.

    >>> _labels_of(_as_text(["home", "", "a:b"]))
    ['home', '', 'a:b']
    """
    found, at = [], 0
    while at < len(text):
        colon = text.index(":", at)
        end = colon + 1 + int(text[at:colon])
        found.append(text[colon + 1 : end])
        at = end
    return found


def _drop_sources(backlog: Backlog) -> None:
    """Forgets sources of which nothing is left."""
    used = {*backlog.tasks[SOURCE].tolist(), *backlog.events[EVENT_SOURCE].tolist()}
    for place in reversed(range(len(backlog.sources))):
        if place not in used:
            del backlog.sources[place]
            backlog.tasks[SOURCE] -= backlog.tasks[SOURCE] > place
            backlog.events[EVENT_SOURCE] -= backlog.events[EVENT_SOURCE] > place
            backlog.said = backlog.said_events = True


def _is_later(stamp: Stamp, known: tuple[int, int] | None, gone: tuple[int, int] | None) -> bool:
    """Whether a write counts beside the one that stands, or beside the tombstone."""
    written = gone if known is None else known
    return written is None or stamp >= written


def _bury(backlog: Backlog, key: int, stamp: Stamp | None, *, now_ms: int = 0) -> None:
    """Leaves a tombstone, or takes away the one that there is."""
    stones, key = columns.unpacked(backlog.stones, width=3), columns.signed(key)
    left = (stones[0] != key) & (stones[1] > now_ms - TOMBSTONE_MS)
    stones = stones[:, left]
    if stamp is not None:
        stones = np.concatenate([stones, [[key], [stamp.time_ms], [stamp.offset]]], axis=1)
    backlog.stones, backlog.buried = columns.packed(np.ascontiguousarray(stones[:, -TOMBSTONES_MAX:])), True


@compiled(f"UniTuple(i8, 3)({BYTES_FORM}, i8)")
def _stone(block: bytes, key: Int) -> tuple[Int, Int, Int]:
    """Whether there is a tombstone, and its stamp; -1 where it is no block of them."""
    stones = columns.read(block, np.int64(3))
    if stones.shape[0] != 3:
        return np.int64(-1), np.int64(0), np.int64(0)
    for i in range(stones.shape[1]):
        if stones[0, i] == key:
            return np.int64(1), stones[1, i], stones[2, i]
    return np.int64(0), np.int64(0), np.int64(0)


def signals_of(row: row_pb2.UserRow) -> Iterator[signal_pb2.Signal]:
    """Every task and event of a row that is spelled out, as a producer tells it."""
    for task in row.tasks:
        yield _task_signal(row.user_id, task)
    for event in row.events:
        yield _event_signal(row.user_id, event)


def _task_signal(user_id: str, task: row_pb2.Task) -> signal_pb2.Signal:
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
    return signal_pb2.Signal(
        user_id=user_id, source=task.source, event_time=from_ms(task.updated_ms), task_upserted=upsert
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
