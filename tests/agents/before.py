"""Slate, windows and what a row has taken once more, in plain Python over messages: as they were before there were columns.

Taken from commit 4816535. It is compared with the compiled loops, and used for nothing else.
"""

from __future__ import annotations

import hashlib
import string
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import NamedTuple

from agents import profile, quiet_hours
from agents.features import NAMES, D
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, row_pb2
from oo.v1.outcome_pb2 import Outcome
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables.windows import SPANS_MS, Cell
from tables.zones import local, part_of

NEVER_MS = 1 << 62
ONE = 64
TASK, STARTER, GENERATED, NONE = (
    decision_pb2.Decision.TASK,
    decision_pb2.Decision.STARTER,
    decision_pb2.Decision.GENERATED,
    decision_pb2.Decision.NONE,
)
KINDS = (TASK, GENERATED, STARTER)
TO_DO = frozenset([TASK, GENERATED])
OF_QUIET = {row_pb2.Task.SNOOZED: "snoozed", row_pb2.Task.DONE: "done"}
SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


# Windows


def unpacked(windows: Iterable[row_pb2.Window]) -> dict[int, list[tuple[int, int]]]:
    return {window.width_s: list(zip(accumulate(window.key_steps), window.counts, strict=True)) for window in windows}


def window(width_s: int, counts: list[tuple[int, int]]) -> row_pb2.Window:
    keys = [0, *(key for key, _ in counts)]
    return row_pb2.Window(
        width_s=width_s, key_steps=[key - before for before, key in pairwise(keys)], counts=[n for _, n in counts]
    )


def first_bucket(now_ms: int, *, width_s: int, span_ms: int) -> int:
    return max(now_ms - span_ms, 0) // (width_s * 1000)


def key_of(cell: Cell, bucket: int) -> int:
    return bucket << 10 | cell.reaction << 6 | cell.kind << 2 | cell.part


def add(windows: Iterable[row_pb2.Window], cell: Cell, *, event_ms: int, now_ms: int) -> list[row_pb2.Window]:
    found, counts = [], unpacked(windows)
    for width_s, span_ms in SPANS_MS.items():
        first = first_bucket(now_ms, width_s=width_s, span_ms=span_ms)
        held = counts.get(width_s, [])
        kept = held[bisect_left(held, (first << 10, 0)) :]
        bucket = event_ms // (width_s * 1000)
        if bucket >= first:
            key = key_of(cell, bucket)
            index = bisect_left(kept, (key, 0))
            if index < len(kept) and kept[index][0] == key:
                kept[index] = (key, kept[index][1] + 1)
            else:
                kept.insert(index, (key, 1))
        found.append(window(width_s, kept[-2048:]))
    return found


def take_back(windows: Iterable[row_pb2.Window], cell: Cell, *, event_ms: int) -> list[row_pb2.Window]:
    found = []
    for width_s, counts in unpacked(windows).items():
        key = key_of(cell, event_ms // (width_s * 1000))
        found.append(window(width_s, [(k, n - (k == key)) for k, n in counts if k != key or n > 1]))
    return found


def width_of(span_ms: int) -> int:
    return next(width_s for width_s, kept_ms in SPANS_MS.items() if span_ms <= kept_ms)


def last(windows: Iterable[row_pb2.Window], *, now_ms: int, span_ms: int) -> dict[int, int]:
    width_s = width_of(span_ms)
    first = first_bucket(now_ms, width_s=width_s, span_ms=span_ms) << 10
    tally: dict[int, int] = {}
    for key, n in unpacked(windows).get(width_s, []):
        if key >= first:
            tally[key & 1023] = tally.get(key & 1023, 0) + n
    return tally


def rate_64(tally: dict[int, int], *, reaction: int, kind: int) -> int:
    asked = of_kind = 0
    for cell, n in tally.items():
        if (cell >> 2) & 15 == kind and cell >> 6 in (Outcome.DONE, Outcome.SNOOZE, Outcome.DISMISS):
            of_kind += n
            if cell >> 6 == reaction:
                asked += n
    return 64 * (asked + 1) // (of_kind + 3)


def falls_below_ms(
    windows: Iterable[row_pb2.Window], most: int, *, now_ms: int, span_ms: int, reaction: int, kind: int | None
) -> int:
    width_s = width_of(span_ms)
    first = first_bucket(now_ms, width_s=width_s, span_ms=span_ms)
    found = [
        (key >> 10, n)
        for key, n in unpacked(windows).get(width_s, [])
        if key >> 10 >= first and (key & 1023) >> 6 == reaction and kind in (None, (key >> 2) & 15)
    ]
    left = sum(n for _, n in found)
    if left < most:
        return 0
    for bucket, n in found:
        left -= n
        if left < most:
            return (bucket + 1) * width_s * 1000 + span_ms
    return 0


# What a row has taken


def first_day(now_ms: int) -> int:
    return max(now_ms - 7 * DAY_MS, 0) // DAY_MS


def has_taken(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, *, now_ms: int) -> bool:
    source = record.source
    for position in row.sources:
        if position.topic_id == source.topic_id and position.partition == source.partition:
            if source.offset <= position.offset and source.topic_id:
                return True
            break
    if not record.event_key:
        return False
    return any(one.day >= first_day(now_ms) and record.event_key in one.keys for one in row.event_keys)


def note_record(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, *, now_ms: int) -> None:
    if record.source.topic_id:
        for position in row.sources:
            if position.topic_id == record.source.topic_id and position.partition == record.source.partition:
                position.offset = record.source.offset
                break
        else:
            row.sources.append(record.source)
            del row.sources[:-64]
    if record.event_key:
        today = now_ms // DAY_MS
        if not row.event_keys or row.event_keys[-1].day != today:
            row.event_keys.add(day=today)
        row.event_keys[-1].keys.append(record.event_key)
        while row.event_keys[0].day < first_day(now_ms):
            del row.event_keys[0]
        if sum(len(one.keys) for one in row.event_keys) > 256:
            del row.event_keys[0].keys[0]
            if not row.event_keys[0].keys:
                del row.event_keys[0]


# Decisions that can still be reacted to


def first_seen_ms(row: row_pb2.UserRow) -> int:
    return min([p.seen_ms for p in row.pending if p.seen_ms and not p.outcome], default=0)


def first_waiting(row: row_pb2.UserRow, seen_ms_max: int) -> int:
    due = [i for i, p in enumerate(row.pending) if p.seen_ms and not p.outcome and p.seen_ms <= seen_ms_max]
    return due[0] if due else -1


def latest_on(row: row_pb2.UserRow, task_key: int) -> int:
    found = [i for i, p in enumerate(row.pending) if p.kind == TASK and p.task_key == task_key]
    return found[-1] if found else -1


def oldest_unseen(row: row_pb2.UserRow) -> int:
    return next((i for i, p in enumerate(row.pending) if not p.seen_ms), 0)


def repeated_kind(row: row_pb2.UserRow, running: int) -> int:
    kinds = [one.kind for one in row.pending if one.seen_ms][-running:]
    if not running or len(kinds) < running or len(set(kinds)) > 1:
        return 0
    return kinds[-1]


# The slate


class Calendar(NamedTuple):
    busy_until_ms: int
    next_title: str
    next_start_ms: int

    def free_ms(self, now_ms: int) -> int:
        return 0 if self.busy_until_ms else min(self.next_start_ms - now_ms, 4 * HOUR_MS)


class Proposal(NamedTuple):
    id: str
    kind: int
    task: row_pb2.Task | None = None
    title: str = ""
    detail: str = ""
    until_ms: int = NEVER_MS
    prompt_version: str = ""
    model: str = ""


NOTHING = Proposal("none", NONE)


class Cap(NamedTuple):
    reason: str
    kind: int
    from_ms: int
    until_ms: int


def rank(task: row_pb2.Task) -> tuple[int, int, int, str, str]:
    return (task.priority or 5, task.due_ms or NEVER_MS, -task.updated_ms, task.source, task.external_id)


def calendar_at(row: row_pb2.UserRow, *, now_ms: int) -> Calendar:
    busy_until_ms, next_title, next_start_ms = 0, "", NEVER_MS
    for event in row.events:
        if not event.busy or event.end_ms <= now_ms:
            continue
        if event.start_ms <= now_ms:
            busy_until_ms = max(busy_until_ms, event.end_ms)
        elif event.start_ms < next_start_ms:
            next_title, next_start_ms = event.title, event.start_ms
    return Calendar(busy_until_ms, next_title, next_start_ms)


def first_tasks(row: row_pb2.UserRow, *, now_ms: int) -> list[row_pb2.Task]:
    if len(row.tasks) <= 40:
        return list(row.tasks)
    return sorted(sorted(row.tasks, key=rank), key=lambda task: task.quiet_until_ms > now_ms)[:40]


STARTERS = (
    ("plan", "Write down the one thing you want done today"),
    ("pause", "Stand up and rest your eyes for five minutes"),
    ("tidy", "Clear one small thing that has been waiting"),
)


def propose(row: row_pb2.UserRow, *, calendar: Calendar, now_ms: int) -> list[Proposal]:
    slate = [Proposal(f"task:{task.source}/{task.external_id}", TASK, task) for task in first_tasks(row, now_ms=now_ms)]
    for tip in row.generated[:16]:
        slate.append(
            Proposal(
                id=f"generated:{tip.external_id}",
                kind=GENERATED,
                title=tip.title,
                detail=tip.detail,
                until_ms=tip.expires_ms,
                prompt_version=tip.prompt_version,
                model=tip.model,
            )
        )
    slate += [Proposal(f"starter:{name}", STARTER, title=title) for name, title in STARTERS]
    if calendar.busy_until_ms == 0 and calendar.next_start_ms - now_ms <= 120 * MINUTE_MS:
        if (calendar.next_start_ms - now_ms) // MINUTE_MS <= 30:
            name, title = "prepare", f"Take two minutes to get ready for {calendar.next_title}"
        else:
            name, title = "gap", f"Start something small before {calendar.next_title}"
        slate.append(Proposal(f"starter:{name}", STARTER, title=title, until_ms=calendar.next_start_ms))
    slate.append(NOTHING)
    slate.sort(key=attrgetter("id"))
    return slate


def caps(row: row_pb2.UserRow, *, config: policy_pb2.DecisionConfig) -> list[Cap]:
    if not row.unasked:
        return []

    def own(own: int, default: int, own_max: int) -> int:
        return min(own, own_max or own) if own else default

    bounds = [
        ("cap-hour", 0, HOUR_MS, own(row.profile.tips_per_hour, config.cap_hour, config.own_cap_hour_max)),
        ("cap-day", 0, DAY_MS, own(row.profile.tips_per_day, config.cap_day, config.own_cap_day_max)),
        ("cap-kind", TASK, DAY_MS, config.cap_day_task),
        ("cap-kind", STARTER, DAY_MS, config.cap_day_starter),
        ("cap-kind", GENERATED, DAY_MS, config.cap_day_generated),
    ]
    held = max(sum(window.counts) for window in row.unasked)
    from_ms = row.reacted_ms + config.asked_within_ms if row.reacted_ms else 0
    found = []
    for reason, kind, span_ms, most in bounds:
        if 0 < most <= held:
            until_ms = falls_below_ms(
                row.unasked, most, now_ms=row.now_ms, span_ms=span_ms, reaction=Outcome.SEEN, kind=kind or None
            )
            if until_ms:
                found.append(Cap(reason, kind, from_ms, until_ms))
    return found


def reasons(
    row: row_pb2.UserRow, slate: Sequence[Proposal], *, now_ms: int, config: policy_pb2.DecisionConfig
) -> list[tuple[str, ...]]:
    reached = caps(row, config=config)
    held = {int(kind): held_back(row, kind, reached, now_ms=now_ms) for kind in KINDS}
    cooling = {
        one.candidate: OF_QUIET.get(one.reason, "cooling-down") for one in row.cool_downs if one.until_ms > now_ms
    }
    busy = any(event.start_ms <= now_ms < event.end_ms and holds(event, config=config) for event in row.events)
    masks = [
        held[one.kind] + of_its_own(one, cooling, busy=busy, now_ms=now_ms, config=config) if one is not NOTHING else ()
        for one in slate
    ]
    if any(one.kind in TO_DO and mask in ((), ("conflict",)) for one, mask in zip(slate, masks, strict=True)):
        mark(masks, "has-tasks", [i for i, one in enumerate(slate) if one.kind == STARTER])
    if config.duplicate_permille:
        mark(masks, "duplicate", duplicates(slate, tips_left(slate, masks), permille=config.duplicate_permille))
    repeated = repeated_kind(row, config.same_kind_max)
    if repeated:
        left = tips_left(slate, masks)
        if any(slate[i].kind != repeated for i in left):
            mark(masks, "repeated-kind", [i for i in left if slate[i].kind == repeated])
    return masks


def held_back(row: row_pb2.UserRow, kind: int, reached: Sequence[Cap], *, now_ms: int) -> tuple[str, ...]:
    quiet = row.profile.HasField("quiet_hours") and quiet_hours.is_quiet(
        row.profile.quiet_hours, now_ms, time_zone=row.time_zone
    )
    return (
        *(() if profile.consents(row, kind) else ("consent",)),
        *(("quiet-hours",) if quiet else ()),
        *(cap.reason for cap in reached if cap.kind in (0, kind) and cap.from_ms <= now_ms),
    )


def of_its_own(
    proposal: Proposal, cooling: dict[str, str], *, busy: bool, now_ms: int, config: policy_pb2.DecisionConfig
) -> tuple[str, ...]:
    found: tuple[str, ...] = ("expired",) if proposal.until_ms <= now_ms else ()
    task = proposal.task
    if task is not None and task.quiet_until_ms > now_ms:
        found += (OF_QUIET.get(task.quiet_reason, "cooling-down"),)
    elif proposal.id in cooling:
        found += (cooling[proposal.id],)
    if busy and task is not None and 0 < config.conflict_minutes <= task.estimated_minutes:
        found += ("conflict",)
    return found


def holds(event: row_pb2.CalendarEvent, *, config: policy_pb2.DecisionConfig) -> bool:
    return event.busy and event.end_ms - event.start_ms <= config.conflict_event_ms_max


def tips_left(slate: Sequence[Proposal], masks: Sequence[tuple[str, ...]]) -> list[int]:
    return [i for i, (one, mask) in enumerate(zip(slate, masks, strict=True)) if not mask and one.kind != NONE]


def mark(masks: list[tuple[str, ...]], reason: str, places: Iterable[int]) -> None:
    for i in places:
        masks[i] = (*masks[i], reason)


def words(title: str) -> frozenset[str]:
    return frozenset(title.translate(SPACES).casefold().split())


def duplicates(slate: Sequence[Proposal], left: Sequence[int], *, permille: int) -> list[int]:
    def alike(one: frozenset[str], other: frozenset[str]) -> bool:
        shared = len(one & other)
        return shared > 0 and shared * 1000 >= permille * (len(one) + len(other) - shared)

    def order(proposal: Proposal) -> tuple[int, tuple[int, int, int, str, str]]:
        task = proposal.task
        return KINDS.index(proposal.kind), rank(task) if task is not None else (0, 0, 0, "", proposal.id)

    kept: set[frozenset[str]] = set()
    found = []
    for i in sorted(left, key=lambda i: order(slate[i])):
        task = slate[i].task
        said = words(slate[i].title if task is None else task.title)
        if said and (said in kept or (permille < 1000 and any(alike(said, one) for one in kept))):
            found.append(i)
        else:
            kept.add(said)
    return found


# Features


class Moment(NamedTuple):
    now_ms: int
    part: int
    often_done_now: bool
    base: dict[int, dict[str, int]]
    free_ms: int


def moment(row: row_pb2.UserRow, *, calendar: Calendar, now_ms: int) -> Moment:
    clock = local(now_ms, time_zone=row.time_zone)
    part = part_of(clock)
    day, week, month = (
        last(row.windows, now_ms=now_ms, span_ms=span_ms) for span_ms in (DAY_MS, 7 * DAY_MS, 28 * DAY_MS)
    )
    done_here = sum(n for cell, n in month.items() if cell >> 6 == Outcome.DONE and cell & 3 == part)
    shared = {
        "busy_now": ONE if calendar.busy_until_ms else 0,
        "morning": ONE * (part == 1),
        "afternoon": ONE * (part == 2),
        "evening": ONE * (part == 3),
        "weekend": ONE * (clock.weekday() >= 5),
        "done_in_this_part": ONE * done_here // (done_here + 5),
    }
    base = {
        int(kind): {
            **shared,
            name: ONE,
            "done_rate_28d": rate_64(month, reaction=Outcome.DONE, kind=kind),
            "dismiss_rate_7d": rate_64(week, reaction=Outcome.DISMISS, kind=kind),
            "snooze_rate_24h": rate_64(day, reaction=Outcome.SNOOZE, kind=kind),
        }
        for kind, name in ((TASK, "task"), (STARTER, "starter"), (GENERATED, "generated"))
    }
    return Moment(now_ms, part, shared["done_in_this_part"] >= ONE // 2, base, calendar.free_ms(now_ms))


def bucket(text: str, buckets: int) -> int:
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % buckets


def vector(proposal: Proposal, *, at: Moment) -> list[int]:
    if proposal.kind == NONE:
        return [0] * D
    values, task = dict(at.base[proposal.kind]), proposal.task
    for name, said in (("prompt", proposal.prompt_version), ("model", proposal.model)):
        if said:
            values[f"{name}_{bucket(said, 4)}"] = ONE // 2
    if task is not None:
        minutes = task.estimated_minutes or 30
        if task.due_ms:
            left_ms = task.due_ms - at.now_ms
            values["has_due"] = ONE
            values["overdue"] = ONE if left_ms < 0 else 0
            values["due_within_day"] = ONE * max(DAY_MS - max(left_ms, 0), 0) // DAY_MS
            values["due_within_week"] = ONE * max(7 * DAY_MS - max(left_ms, 0), 0) // (7 * DAY_MS)
        age_ms = max(at.now_ms - (task.created_ms or task.updated_ms), 0)
        age_days = age_ms // DAY_MS
        values["priority"] = 16 * (5 - task.priority) if task.priority else 0
        values["short"] = ONE * max(120 - minutes, 0) // 120
        values["fits_gap"] = ONE if minutes * MINUTE_MS <= at.free_ms else 0
        values["novel"] = ONE * max(DAY_MS - age_ms, 0) // DAY_MS
        values["age"] = ONE * age_days // (age_days + 7)
        values["shown"] = ONE * task.shown // (task.shown + 2)
        values["dismissed"] = ONE * task.dismissed // (task.dismissed + 1)
        for label in task.labels:
            i = bucket(label, 4)
            values[f"label_{i}"] = ONE
            if at.part:
                values[f"label_{i}_{('morning', 'afternoon', 'evening')[at.part - 1]}"] = ONE
    return [values.get(name, 0) for name in NAMES[:D]]
