"""What could be said now as numbers: who is on the slate, why each may not be chosen, and what the policy sees of it.

One compiled call goes from a row's columns to all of them. It never chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agents import candidates, eligibility, features, limits, written
from agents.candidates import Proposal
from agents.fatigue import Cap
from agents.features import ONE, PLACE, WEEK_MS, Moment
from agents.opened import Opened
from oo.v1 import decision_pb2, policy_pb2
from streams.units import DAY_MS, MINUTE_MS
from tables import backlog, columns, pending, slates, texts, windows
from tables.backlog import Backlog
from tables.compiled import BYTES_FORM, Int, compiled
from tables.linear import Ints


class Slate(NamedTuple):
    """K candidates in the order of their ids: those that are no tasks, then tasks; E of them may be chosen."""

    others: Sequence[Proposal]
    tasks: Ints
    """Which tasks of the backlog, by index."""
    block: Ints
    """What a decision logs of each, in the columns of tables.slates: (X + D, K)."""
    eligible: Ints
    """The places of those that may be chosen: (E,)."""
    x: Ints
    """What the policy sees of these, in units of 1/64; saying nothing has none, all zeros: (E, D)."""
    silent: int
    """Which of these is saying nothing."""
    often_done_now: bool
    """Half or more of a full count of tasks done falls into this part of the day."""


def slate_at(opened: Opened, *, at: Moment, caps: Sequence[Cap], config: policy_pb2.DecisionConfig) -> Slate:
    """Everything that could be said at this moment. A starter tip is for someone with no task to choose from: it is out as
    soon as one task is in, or would be but for the event that the person is in.
    """
    row, tasks, now_ms = opened.row, opened.usable.tasks, at.now_ms
    others = candidates.others(row, calendar=at.calendar, now_ms=now_ms)
    cooling = eligibility.cooling(row, now_ms=now_ms)
    permille = config.duplicate_permille
    picked, block, eligible, x, silent, often = _fill(
        tasks,
        opened.pending.columns,
        windows.block(row),
        _OF_ALWAYS if others is candidates.ALWAYS and not cooling else _beside(others, cooling, opened, at=at),
        (
            *(now_ms, at.part, at.free_ms, at.calendar.held, config.conflict_minutes, permille, config.same_kind_max),
            *(opened.limits.features, _HIDES if opened.limits.any else 0),
            *eligibility.held(row, caps, now_ms=now_ms, limits=opened.limits),
            *(at.clock.weekday() >= _SATURDAY, at.calendar.busy_until_ms > 0, at.space.d),
        ),
        _alike(opened.usable, others, now_ms=now_ms, permille=permille) if 0 < permille < 1000 else _NOBODY,
    )
    if often < 0:
        raise ValueError("not a block of windows")
    return Slate(others, picked, block, eligible, x, silent, often >= ONE // 2)


def _beside(others: Sequence[Proposal], cooling: Mapping[str, int], opened: Opened, *, at: Moment) -> Ints:
    """What `_fill` is told of each candidate that is no task, a row each."""
    beside: list[int] = []
    for one in others:
        own, task, hot = cooling.get(one.id, 0), written.NO_TASK, _NOBODY_WROTE
        if one.until_ms <= at.now_ms:
            own |= eligibility.EXPIRED
        if one.kind == _GENERATED:
            told = written.task_of(one.about, opened) if one.about else written.NO_TASK
            if told is None:
                own |= eligibility.ABOUT
            elif at.space != features.FIRST:
                task = told
            hot = features.writer(one.prompt_version, one.model, space=at.space)
        beside += (one.kind, texts.title_key(one.title), own, task, *hot)
    return np.array(beside, dtype=np.int64).reshape(-1, _BESIDE)


def hear(slate: Slate, expected: Ints) -> bool:
    """Put a trained model's scores into the slate, and say whether there is one; expected: (K,), -1 for none. What a slate shows nothing of has none."""
    block = slate.block
    shown = (expected >= 0) & (block[slates.KIND] != _NONE) & (block[slates.OUT] & _HIDES == 0)
    block[slates.X + PLACE["score"]] = np.where(shown, expected, 0)
    block[slates.X + PLACE["has_score"]] = np.where(shown, ONE, 0)
    slate.x[:, PLACE["score"] :] = block[slates.X + PLACE["score"] :, slate.eligible].T
    return bool(shown.any())


_NOBODY = np.zeros((0, 0), dtype=np.int64)
_NOBODY_WROTE = (-1, -1)
"""As features.writer says it."""


def _alike(items: Backlog, others: Sequence[Proposal], *, now_ms: int, permille: int) -> Ints:
    """Which titles share so many words that they say the same, where that is less than all: (K, K)."""
    picked = candidates.first_tasks(items.tasks, now_ms).tolist()
    titles = [one.title for one in others] + [items.told(i).title for i in picked]
    words = list(map(texts.words, titles))
    return np.array(
        [
            [one == other or texts.alike(one, other, permille=permille) if one else False for other in words]
            for one in words
        ],
        dtype=np.int64,
    )


_NONE, _TASK, _STARTER, _GENERATED = (
    int(decision_pb2.Decision.NONE),
    int(decision_pb2.Decision.TASK),
    int(decision_pb2.Decision.STARTER),
    int(decision_pb2.Decision.GENERATED),
)
_NOW, _PART, _FREE, _HELD, _CONFLICT_MINUTES, _PERMILLE, _SAME_KIND_MAX, _MASKED, _OUT_OF_SIGHT, _OF_KIND = range(10)
_WEEKEND, _BUSY, _D, _FACTS = range(_OF_KIND + 5, _OF_KIND + 9)
_SATURDAY = 5
_BESIDE = 6
_KIND, _TITLE, _OWN, _ABOUT, _PROMPT, _MODEL = range(_BESIDE)
_OF_ALWAYS = np.array(
    [(one.kind, texts.title_key(one.title), 0, written.NO_TASK, *_NOBODY_WROTE) for one in candidates.ALWAYS],
    dtype=np.int64,
)
"""What `_beside` says of these while none is put off."""
_PRIORITY, _OVERDUE, _WITHIN_DAY = PLACE["priority"], PLACE["overdue"], PLACE["due_within_day"]
_SHORT, _FITS, _NOVEL, _LABEL = PLACE["short"], PLACE["fits_gap"], PLACE["novel"], PLACE["label_0"]
_HAS_DUE, _WITHIN_WEEK, _AGE = PLACE["has_due"], PLACE["due_within_week"], PLACE["age"]
_SHOWN, _DISMISSED, _ROUTINE = PLACE["shown"], PLACE["dismissed"], PLACE["label_0_morning"]
_PARTS, _BUCKETS, _DEFAULT_MINUTES = 3, texts.LABEL_BUCKETS, features.DEFAULT_MINUTES
_FIRST_D, _HALF = features.FIRST.d, ONE // 2
_SNOOZED, _DONE, _COOLING = eligibility.SNOOZED, eligibility.DONE, eligibility.COOLING_DOWN
_CONFLICT, _HAS_TASKS = eligibility.CONFLICT, eligibility.HAS_TASKS
_CONSENT, _SOURCE = eligibility.CONSENT, eligibility.SOURCE
_HIDES = _CONSENT | _SOURCE
"""Of a candidate that is out for one of these the slate shows nothing but who it is."""
_DUPLICATE, _REPEATED_KIND = eligibility.DUPLICATE, eligibility.REPEATED_KIND
_REASON_SNOOZED, _REASON_DONE, _HIDDEN = 1, 3, limits.HIDDEN
"""Task.QuietReason, as the columns hold it."""


@compiled("void(i8[:, ::1], i8, i8[::1], i8[::1])")
def _task_features(tasks: Ints, i: Int, facts: Ints, x: Ints) -> None:
    """Writes what is a task's own into its vector, or into that of a tip about it, which holds already what all share."""
    now, due, minutes = facts[_NOW], tasks[backlog.DUE, i], tasks[backlog.MINUTES, i]
    if minutes == 0:
        minutes = np.int64(_DEFAULT_MINUTES)
    priority = tasks[backlog.PRIORITY, i]
    x[_PRIORITY] = 16 * (5 - priority) if priority else np.int64(0)
    if due:
        left = due - now
        x[_HAS_DUE] = ONE
        x[_OVERDUE] = ONE if left < 0 else 0
        left = max(left, np.int64(0))
        x[_WITHIN_DAY] = ONE * max(DAY_MS - left, np.int64(0)) // DAY_MS
        x[_WITHIN_WEEK] = ONE * max(WEEK_MS - left, np.int64(0)) // WEEK_MS
    x[_SHORT] = ONE * max(120 - minutes, np.int64(0)) // 120
    x[_FITS] = ONE if minutes * MINUTE_MS <= facts[_FREE] else 0
    created = tasks[backlog.CREATED, i]
    age = max(now - (created or tasks[backlog.UPDATED, i]), np.int64(0))
    x[_NOVEL] = ONE * max(DAY_MS - age, np.int64(0)) // DAY_MS
    days = age // DAY_MS
    x[_AGE] = ONE * days // (days + 7)
    shown, dismissed = tasks[backlog.SHOWN, i], tasks[backlog.DISMISSED, i]
    x[_SHOWN] = ONE * shown // (shown + 2)
    x[_DISMISSED] = ONE * dismissed // (dismissed + 1)
    bits, part = tasks[backlog.LABELS, i], facts[_PART]
    for b in range(_BUCKETS):
        if bits >> b & 1:
            x[_LABEL + b] = ONE
            if part:
                x[_ROUTINE + b * _PARTS + part - 1] = ONE


@compiled("void(i8[:, ::1], i8[::1], i8[:, ::1], i8[:, ::1], i8[::1], i8[::1])")
def _mark_duplicates(tasks: Ints, picked: Ints, beside: Ints, alike: Ints, kinds: Ints, reasons: Ints) -> None:
    """Marks those that say what a better one of these says: tasks come first, by their rank, then written tips, then starters."""
    others, n = beside.shape[0], len(picked)
    order, keys, m = np.empty(others + n, dtype=np.int64), np.empty(others + n, dtype=np.int64), 0
    for t in range(n):
        if reasons[others + t] != 0:
            continue
        at = m
        while at > 0 and backlog.ranks_before(tasks, picked[t], picked[order[at - 1] - others]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = others + t
        m += 1
    for kind in (_GENERATED, _STARTER):
        for a in range(others):
            if kinds[a] == kind and reasons[a] == 0:
                order[m] = a
                m += 1
    kept = 0
    for at in range(m):
        a = order[at]
        key = tasks[backlog.TITLE, picked[a - others]] if a >= others else beside[a, _TITLE]
        said = False
        if key != 0 and len(alike):
            for other in order[:kept]:
                said |= alike[a, other] != 0
        elif key != 0:
            for other in keys[:kept]:
                said |= other == key
        if said:
            reasons[a] |= _DUPLICATE
        else:
            order[kept], keys[kept] = a, key
            kept += 1


@compiled(
    "Tuple((i8[::1], i8[:, ::1], i8[::1], i8[:, ::1], i8, i8))"
    f"(i8[:, ::1], i8[:, ::1], {BYTES_FORM}, i8[:, ::1], UniTuple(i8, {_FACTS}), i8[:, ::1])",
)
def _fill(
    tasks: Ints, decided: Ints, counted: bytes, beside: Ints, told: Sequence[Int], alike: Ints
) -> tuple[Ints, Ints, Ints, Ints, Int, Int]:
    """Returns what `Slate` holds from `tasks` on, the last as a feature, -1 where `counted` is no block of windows.

    decided: as tables.pending has them; beside: a row for each candidate that is no task.
    """
    facts = np.array(told, dtype=np.int64)
    base, kept = np.zeros((5, facts[_D]), dtype=np.int64), columns.read(counted, np.int64(3))
    often = np.int64(-1)
    if kept.shape[0] == 3:
        often = features.fill_base(kept, facts[_NOW], facts[_PART], facts[_WEEKEND] != 0, facts[_BUSY] != 0, base)
    picked = candidates.first_tasks(tasks, facts[_NOW])
    others, n = beside.shape[0], len(picked)
    k, now = others + n, facts[_NOW]
    block = np.zeros((slates.X + base.shape[1], k), dtype=np.int64)
    x = np.empty((k, base.shape[1]), dtype=np.int64)
    kinds, reasons = block[slates.KIND], block[slates.OUT]
    for a in range(others):
        kind = beside[a, _KIND]
        kinds[a], x[a] = kind, base[kind]
        reasons[a] = 0 if kind == _NONE else facts[_OF_KIND + kind] | beside[a, _OWN]
        if beside[a, _ABOUT] >= 0:
            _task_features(tasks, beside[a, _ABOUT], facts, x[a])
        for c in range(_PROMPT, _MODEL + 1):
            if beside[a, c] >= 0:
                x[a, beside[a, c]] = ONE if beside[a, c] < _FIRST_D else _HALF
    for t in range(n):
        i, a = picked[t], others + t
        block[slates.HEAD, a] = tasks[backlog.SOURCE, i] + 1
        kinds[a], x[a] = _TASK, base[_TASK]
        _task_features(tasks, i, facts, x[a])
        bits = facts[_OF_KIND + _TASK]
        if tasks[backlog.QUIET_UNTIL, i] > now:
            why = tasks[backlog.QUIET_REASON, i]
            if why == _HIDDEN:
                bits |= 0 if bits & _CONSENT else _SOURCE
            else:
                bits |= _SNOOZED if why == _REASON_SNOOZED else _DONE if why == _REASON_DONE else _COOLING
        if facts[_HELD] and 0 < facts[_CONFLICT_MINUTES] <= tasks[backlog.MINUTES, i]:
            bits |= _CONFLICT
        reasons[a] = bits
    to_do = False
    for a in range(k):
        if kinds[a] == _TASK or kinds[a] == _GENERATED:
            to_do |= reasons[a] == 0 or reasons[a] == _CONFLICT
    if to_do:
        for a in range(others):
            if kinds[a] == _STARTER:
                reasons[a] |= _HAS_TASKS
    if facts[_PERMILLE]:
        _mark_duplicates(tasks, picked, beside, alike, kinds, reasons)
    repeated = pending.repeated_kind(decided, facts[_SAME_KIND_MAX]) if facts[_SAME_KIND_MAX] else np.int64(0)
    if repeated:
        other = False
        for a in range(k):
            other |= reasons[a] == 0 and kinds[a] != _NONE and kinds[a] != repeated
        if other:
            for a in range(k):
                if reasons[a] == 0 and kinds[a] == repeated:
                    reasons[a] |= _REPEATED_KIND
    masked, out_of_sight = facts[_MASKED], facts[_OUT_OF_SIGHT]
    if masked or out_of_sight:
        for a in range(k):
            for c in range(x.shape[1]):
                if masked >> c & 1 or reasons[a] & out_of_sight:
                    x[a, c] = 0
    eligible = np.empty(k, dtype=np.int64)
    chosen_from = silent = np.int64(0)
    for a in range(k):
        for c in range(x.shape[1]):
            block[slates.X + c, a] = x[a, c]
        if reasons[a] == 0:
            if kinds[a] == _NONE:
                silent = chosen_from
            eligible[chosen_from] = a
            # Those that are out make way in x: each stands where it stood, or before.
            x[chosen_from] = x[a]
            chosen_from += 1
    return picked, block, eligible[:chosen_from], x[:chosen_from], silent, often
