"""What a file says now against what was last sent of it: only the difference becomes signals.

It never reads the file nor keeps the memory: both come in; the signals go out, and the memory to keep before they are
sent. Once they are acknowledged, `settled` of it is kept: a crash in between leaves it known that they may be out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from connectors.likeness import pairs
from connectors.source_file import EVENT_MS_MIN, Parsed, timestamp
from oo.v1.signal_pb2 import CalendarEventRemoved, Signal, TaskCompleted, TaskRemoved
from tables.bounds import EVENTS_MAX, NEVER_MS, TASKS_MAX

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
    said_ms: int = 0
    """The event time of its last upsert that a person's change called for; 0 where that is not known."""
    core: str = ""
    """A digest of that upsert without what tools write beside the text."""
    text: str = ""
    """What a person wrote of a task: by it a changed line is known again."""
    alias: str = ""
    """The id that its line gives by itself by now, if that is another one."""
    absent_ms: int = 0
    """Since when it is not in the file; 0 while it is. With `gone`: it was taken away because of that."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was sent of one file to one person's account."""

    event_ms: int = 0
    """The latest event time sent; the next is never before it, or the last writer would not win."""
    items: Mapping[str, Sent] = field(default_factory=dict)
    """By kind and external id ("task:...", "event:..."), in order of their last change."""

    @property
    def doubtful(self) -> bool:
        """Whether something is absent that is not yet believed to be gone."""
        return any(said.absent_ms and not said.gone for said in self.items.values())


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something must be absent before it counts as taken away."""

    line_ms: int = 0
    emptied_ms: int = 0
    """Where nothing at all is left in the file: tools that synchronise do that for a while."""


AT_ONCE = Patience()


def differences(
    memory: Memory,
    parsed: Parsed,
    *,
    user_id: str,
    modified_ms: int,
    now_ms: int,
    removals: bool,
    patience: Patience = AT_ONCE,
    elsewhere: AbstractSet[str] = frozenset(),
) -> tuple[list[Signal], Memory]:
    """Signals for what is new or changed, then removals of what is absent, and the memory to keep before sending them.

    A signal's event_id is made of its external id, its content and how often it changed: the same difference found
    twice (after a crash, by another process, on another day) has the same ids, so that it counts once. `removals` False leaves what is
    absent alone, as does a file that may be cut off. `modified_ms` is the file's, taken as now if it lies ahead or
    before the door's times. What stands in another file too (`elsewhere`, by key) is not taken away.

    Absence is no word of a person's: a removal has the event time of what it takes back, and what comes back as it
    was, or with other tags of tools only, has it too. So neither outranks what the person said meanwhile.

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
    event_ms = max(_plausible(modified_ms, now_ms=now_ms), memory.event_ms)
    latest_ms = event_ms
    items = dict(memory.items)
    changed: list[Signal] = []
    present: set[str] = set()
    for key, own_key, signal in _recognised(memory, parsed):
        present.add(key)
        known = items.get(key)
        text = parsed.texts.get(own_key.partition(":")[2], "")
        said = _said(signal, text=text, alias="" if own_key == key else own_key, known=known)
        if known is not None and not said.said_ms:
            said = replace(said, said_ms=memory.event_ms)  # Of an earlier build: not later than this.
        if known is not None and known.digest == said.digest and known.sure:
            if known != said:
                items[key] = said  # Nothing to say, but known better; or back from an absence that nobody believed.
            continue
        # An item's own time may lie before what was last said about it: an event restored from a backup.
        own_ms = _plausible(signal.event_time.ToMilliseconds(), now_ms=now_ms)
        if known is not None and known.said_ms and _is_no_word(known, said):
            said_ms = known.said_ms
        else:
            said_ms = own_ms if known is None else max(own_ms, event_ms)
        said = replace(said, said_ms=said_ms, sure=False)
        changed.append(_stamped(signal, said, event_ms=said_ms))
        latest_ms = max(latest_ms, own_ms)
        items.pop(key, None)
        items[key] = said
    unread = set(parsed.unread)
    if removals and parsed.complete:
        emptied = not parsed.signals and not parsed.waiting and not unread
        patience_ms = patience.emptied_ms if emptied else patience.line_ms
        for key, known in list(items.items()):
            if key in present or (known.gone and known.sure) or unread & {key, key.rpartition("/")[0]}:
                continue
            if 0 < known.ends_ms <= now_ms:
                del items[key]
                continue  # Over, and out of the window: nothing was taken away.
            done = bool(known.text) and parsed.archived.get(known.text, 0) >= max(known.said_ms, 1) and not known.gone
            absent_ms = known.absent_ms or now_ms
            if not done and not known.gone and (now_ms - absent_ms < patience_ms or key in elsewhere):
                items[key] = replace(known, absent_ms=absent_ms)
                continue
            del items[key]
            signal = _completion(key, user_id=user_id, source=known.source) if done else _removal(key, user_id, known)
            digest = content_digest(signal)
            items[key] = replace(
                known,
                digest=digest,
                change=_change(known, digest),
                gone=True,
                sure=False,
                absent_ms=0 if done else absent_ms,
            )
            word_ms = latest_ms if done or not known.said_ms else known.said_ms
            changed.append(_stamped(signal, items[key], event_ms=word_ms))
    changed = _fitting(changed, memory.items, items)
    return changed, Memory(event_ms=latest_ms if changed else memory.event_ms, items=_bounded(items, present))


def settled(memory: Memory) -> Memory:
    """Return the memory once all that `differences` found is acknowledged."""
    return replace(
        memory, items={key: said if said.sure else replace(said, sure=True) for key, said in memory.items.items()}
    )


def waiting(parsed: Parsed, memory: Memory) -> int:
    """Return how many open tasks and events of the file have not been sent: a person's row has no room for them yet."""
    held = sum(not said.gone and not said.absent_ms for said in memory.items.values())
    return max(sum((signal.WhichOneof("payload") or "").endswith("upserted") for signal in parsed.signals) - held, 0)


def _fitting(changed: list[Signal], before: Mapping[str, Sent], items: dict[str, Sent]) -> list[Signal]:
    """Return what of it is sent: changes, and what is taken away; then what is new as far as a row has room for it.

    What ranks highest comes first. The rest is as if it had not been found: it is found again at the next look.
    """
    new: dict[str, list[Signal]] = {"task": [], "event": []}
    sent: list[Signal] = []
    for signal in changed:
        known = before.get(item_key(signal))
        fresh = (signal.WhichOneof("payload") or "").endswith("upserted") and (known is None or known.gone)
        (new[item_key(signal).partition(":")[0]] if fresh else sent).append(signal)
    bounds = (("task", TASKS_MAX), ("event", EVENTS_MAX))
    if all(sum(key.startswith(kind) for key in before) + len(new[kind]) <= most for kind, most in bounds):
        return changed  # In the file's order, where nothing has to make room first.
    for kind, most in bounds:
        held = sum(key.startswith(f"{kind}:") and not said.gone for key, said in items.items())
        room = max(most - (held - len(new[kind])), 0)
        late = {item_key(signal) for signal in sorted(new[kind], key=_rank)[room:]}
        sent += [signal for signal in new[kind] if item_key(signal) not in late]
        for key in late:
            items.pop(key)
            if key in before:
                items[key] = before[key]
    return sent


def _rank(signal: Signal) -> tuple[int, int]:
    """Smaller comes first, as in a row: tasks by priority, then due date; events by their start."""
    if signal.HasField("calendar_event_upserted"):
        return (0, signal.calendar_event_upserted.start.ToMilliseconds())
    task = signal.task_upserted
    return (task.priority or 5, task.due.ToMilliseconds() if task.HasField("due") else NEVER_MS)


def _plausible(time_ms: int, *, now_ms: int) -> int:
    """Return now for what a clock that was never set wrote, and for what lies ahead."""
    return min(time_ms, now_ms) if time_ms >= EVENT_MS_MIN else now_ms


def _recognised(memory: Memory, parsed: Parsed) -> list[tuple[str, str, Signal]]:
    """Each signal with the key that the memory knows its item by, and the key that its line gives by itself."""
    aliases = {said.alias: key for key, said in memory.items.items() if said.alias}
    found: dict[str, str] = {}
    for signal in parsed.signals:
        own = item_key(signal)
        if own in aliases:
            found[own] = aliases[own]
        elif own in memory.items:
            found[own] = own
    taken = set(found.values())
    known = {
        key: said.text
        for key, said in memory.items.items()
        if said.text and key not in taken and (not said.gone or said.absent_ms)
    }
    if known:
        # What is there before what was taken away.
        known = dict(sorted(known.items(), key=lambda one: memory.items[one[0]].gone))
        texts = {f"task:{task_id}": text for task_id, text in parsed.texts.items()}
        found |= pairs(known, {own: text for own, text in texts.items() if own not in found})
    result: list[tuple[str, str, Signal]] = []
    for signal in parsed.signals:
        own = item_key(signal)
        key = found.get(own, own)
        result.append((key, own, signal if key == own else _renamed(signal, key)))
    return result


def _renamed(signal: Signal, key: str) -> Signal:
    renamed = Signal()
    renamed.CopyFrom(signal)
    getattr(renamed, signal.WhichOneof("payload") or "").external_id = key.partition(":")[2]
    return renamed


def _is_no_word(known: Sent, said: Sent) -> bool:
    """True where no person changed anything: it was absent, or only what tools write is another."""
    if not said.core or known.core != said.core:
        return False
    return not known.gone or bool(known.absent_ms)


def _change(known: Sent | None, digest: str) -> int:
    """Return the number of a change; what may have arrived already keeps its own."""
    if known is None:
        return 0
    return known.change if known.digest == digest else known.change + 1


def item_key(signal: Signal) -> str:
    """Return what a signal is about, whatever it says about it."""
    payload = signal.WhichOneof("payload") or ""
    kind = "task" if payload.startswith("task") else "event"
    return f"{kind}:{getattr(signal, payload).external_id}"


def content_digest(signal: Signal) -> str:
    """Return a hash of what a signal says, without when and by whom."""
    payload = signal.WhichOneof("payload") or ""
    content: bytes = getattr(signal, payload).SerializeToString(deterministic=True)
    return hashlib.sha256(payload.encode() + b"\0" + content).hexdigest()[:16]


def _core_digest(signal: Signal, text: str) -> str:
    """As `content_digest`, of an upsert, with the text in place of a task's title and labels; empty for the rest."""
    if not (signal.WhichOneof("payload") or "").endswith("upserted"):
        return ""
    if not text:
        return content_digest(signal)
    core = Signal()
    core.CopyFrom(signal)
    core.task_upserted.title = text
    core.task_upserted.ClearField("labels")
    return content_digest(core)


def _said(signal: Signal, *, text: str, alias: str, known: Sent | None) -> Sent:
    payload = signal.WhichOneof("payload") or ""
    digest = content_digest(signal)
    return Sent(
        digest,
        _change(known, digest),
        gone=not payload.endswith("upserted"),
        source=signal.source,
        ends_ms=signal.calendar_event_upserted.end.ToMilliseconds() if payload == "calendar_event_upserted" else 0,
        said_ms=known.said_ms if known is not None else 0,
        core=_core_digest(signal, text),
        text=text,
        alias=alias,
    )


def _stamped(signal: Signal, said: Sent, *, event_ms: int) -> Signal:
    stamped = Signal()
    stamped.CopyFrom(signal)
    stamped.event_time.CopyFrom(timestamp(event_ms))
    payload = signal.WhichOneof("payload") or ""
    revision = f"{said.digest}.{said.change}" if said.change else said.digest
    stamped.event_id = f"{getattr(signal, payload).external_id}@{revision}"
    return stamped


def _removal(key: str, user_id: str, known: Sent) -> Signal:
    kind, _, external_id = key.partition(":")
    signal = Signal(user_id=user_id, source=known.source)
    if kind == "task":
        signal.task_removed.CopyFrom(TaskRemoved(external_id=external_id))
    else:
        signal.calendar_event_removed.CopyFrom(CalendarEventRemoved(external_id=external_id))
    return signal


def _completion(key: str, *, user_id: str, source: str) -> Signal:
    completed = TaskCompleted(external_id=key.partition(":")[2])
    return Signal(user_id=user_id, source=source, task_completed=completed)


def _bounded(items: dict[str, Sent], present: set[str]) -> dict[str, Sent]:
    spare = len(items) - ITEMS_MAX
    for key in [key for key, said in items.items() if said.gone and key not in present][: max(spare, 0)]:
        del items[key]
    return items
