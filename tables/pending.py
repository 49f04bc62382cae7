"""The decisions that a person can still react to, the oldest first: the last one is being served.

A row keeps their numbers in columns, with what can be learned of each beside it. It never decides what becomes of one.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from oo.v1 import decision_pb2, outcome_pb2, row_pb2
from tables import columns
from tables.compiled import Int, compiled
from tables.linear import Ints

DECIDED, KIND, SEEN, TASK_KEY, FEATURES, OUTCOME, CORRECTED = range(7)
"""Of a decision's column: when, what kind of tip, when it was seen, which task (`backlog.KEY`), or whose
features a written tip has (0 for any other tip), the version of its features, what became of it, and whether that has replaced something."""
HAS_LEARNED, LEARNED, SHARED, OWN, KNOWN, COUNTED, COUNTED_PART = range(7, 14)
"""Whether something of it stands in the sums, and what; what was expected of it (`sums.Predicted`); and where it is counted."""
_ID = 14
_ID_FORM = struct.Struct("<qqi")
"""The 20 bytes of a decision id, in three columns."""
MOST = 16
"""Decisions that can still be learned from; a later reaction to an older one counts in the windows only."""
X = 17
"""Where its features begin; all zeros where nothing can be learned of it any more."""

_NONE, _TASK = int(decision_pb2.Decision.NONE), int(decision_pb2.Decision.TASK)
_UNNAMED = (_NONE, _TASK)
"""Kinds whose candidate no text names."""


_NO_X: Ints = np.empty(0, dtype=np.int64)


@dataclass(slots=True)
class Pending:
    """A row's decisions, unpacked."""

    columns: Ints
    """(X + d, N)."""
    names: list[str]
    """The candidates of those that are neither a task's nor silence, in turn."""
    said: bool = False
    """Something was changed that is not in the row yet."""
    named: bool = False
    """The same of the names."""

    def __len__(self) -> int:
        number: int = self.columns.shape[1]
        return number

    def get(self, which: int, index: int) -> int:
        """One number of one decision."""
        number: int = self.columns.item(which, index)
        return number

    def set(self, which: int, index: int, value: int) -> None:
        """Changes one number of one decision."""
        self.columns[which, index] = value
        self.said = True

    def id(self, index: int) -> bytes:
        """The 20 bytes of a decision's id."""
        return _ID_FORM.pack(*self.columns[_ID:X, index].tolist())

    def find(self, raw: bytes) -> int | None:
        """Where the decision of that id stands."""
        if len(raw) != _ID_FORM.size or not len(self):
            return None
        index = _find(self.columns, *_ID_FORM.unpack(raw))
        return index if index >= 0 else None

    def name(self, index: int) -> str:
        """The candidate that a decision chose, where it is neither a task's nor silence; else empty."""
        kinds = self.columns[KIND].tolist()
        return "" if kinds[index] in _UNNAMED else self.names[_named_before(kinds, index)]

    def x(self, index: int) -> Ints:
        """The features of what a decision chose: (d,)."""
        return self.columns[X:, index]

    def forget(self, index: int) -> None:
        """Nothing can be learned of it any more."""
        self.columns[X:, index] = 0
        self.said = True

    def release(self, index: int) -> None:
        """Nothing may be learned of it any more, nor anything that was be taken back: it is as if made with other features."""
        self.columns[FEATURES, index] = 0
        self.forget(index)

    def add(self, head: Sequence[int], *, raw_id: bytes, name: str, x: Ints | None) -> None:
        """Puts a new decision after all others; `head` has the numbers before its id. Past MOST of them the oldest goes, one that nobody
        saw before one that somebody did."""
        grown, gone = _with(self.columns, (*head, *_ID_FORM.unpack(raw_id)), _NO_X if x is None else x)
        if gone >= 0:
            self._forget_name(gone)
        self.columns = grown
        if name:
            self.names.append(name)
            self.named = True
        self.said = True

    def drop(self, index: int) -> None:
        """Takes a decision out."""
        self._forget_name(index)
        self.columns = columns.without(self.columns, index)
        self.said = True

    def _forget_name(self, index: int) -> None:
        kinds = self.columns[KIND].tolist()
        if kinds[index] not in _UNNAMED:
            del self.names[_named_before(kinds, index)]
            self.named = True


def _named_before(kinds: Sequence[int], index: int) -> int:
    return sum(kind not in _UNNAMED for kind in kinds[:index])


def read(row: row_pb2.UserRow, *, d: int, alike: Container[int] = ()) -> Pending:
    """Unpacks a row's decisions, with d features each. Raises ValueError for a row that nobody of ours wrote.

    `alike`: versions of features that begin with the same ones, so that something can be learned of decisions of theirs.
    """
    block = row.pending_columns
    if not block and row.pending:
        return Pending(_spelled(row, d=d, alike=alike), _names(row))
    kept = columns.read(block, X + d)
    if kept.shape[0] != X + d:
        if kept.shape[0] < X:
            raise ValueError("not a block of decisions")
        old, kept = kept, np.zeros((X + d, kept.shape[1]), dtype=np.int64)
        kept[:X] = old[:X]
        for at, version in enumerate(old[FEATURES].tolist()):
            if version in alike:
                x = old[X : X + d, at]
                kept[X : X + len(x), at] = x
    return Pending(kept, [*row.pending_names])


def write(pending: Pending, row: row_pb2.UserRow) -> None:
    """Puts what was changed back into the row."""
    if not pending.said:
        return
    if pending.named or row.pending:
        row.pending_names[:] = pending.names
    row.ClearField("pending")
    row.pending_columns = columns.packed(pending.columns)
    pending.said = pending.named = False


def spell_out(row: row_pb2.UserRow) -> None:
    """Puts the decisions into the row as messages, instead of a block: as operators and tests look at them."""
    if row.pending or not row.pending_columns:
        return
    block = columns.unpacked(row.pending_columns)
    names = iter(row.pending_names)
    for column in block.T.tolist():
        one = row.pending.add(
            decision_id=_ID_FORM.pack(*column[_ID:X]),
            decided_ms=column[DECIDED],
            kind=column[KIND],
            task_key=column[TASK_KEY] % (1 << 64),
            candidate_id="" if column[KIND] in _UNNAMED else next(names),
            feature_version=column[FEATURES],
            seen_ms=column[SEEN],
            outcome=column[OUTCOME],
            corrected=bool(column[CORRECTED]),
            shared_prediction=column[SHARED],
            own_prediction=column[OWN],
            known=column[KNOWN],
            counted_ms=column[COUNTED],
            counted_part=column[COUNTED_PART],
            x=column[X:] if any(column[X:]) else (),
        )
        if column[HAS_LEARNED]:
            one.learned_reward = column[LEARNED]
    row.ClearField("pending_columns")
    row.ClearField("pending_names")


def _names(row: row_pb2.UserRow) -> list[str]:
    return [one.candidate_id for one in row.pending if one.kind not in _UNNAMED]


def _spelled(row: row_pb2.UserRow, *, d: int, alike: Container[int]) -> Ints:
    """Decisions as rows had them before they were packed."""
    block = np.zeros((X + d, len(row.pending)), dtype=np.int64)
    for at, one in enumerate(row.pending):
        key = one.task_key - (1 << 64) if one.task_key >= 1 << 63 else one.task_key
        block[:X, at] = (
            *(one.decided_ms, one.kind, one.seen_ms, key, one.feature_version, one.outcome, one.corrected),
            *(one.HasField("learned_reward"), one.learned_reward, one.shared_prediction, one.own_prediction, one.known),
            *(one.counted_ms, one.counted_part, *_ID_FORM.unpack(one.decision_id)),
        )
        if len(one.x) == d or one.feature_version in alike:
            x = one.x[:d]
            block[X : X + len(x), at] = x
    return block


@compiled("i8(i8[:, ::1])")
def oldest_unseen(pending: Ints) -> Int:
    """The oldest decision that nobody saw, or else the oldest of all."""
    for i in range(pending.shape[1]):
        if not pending[SEEN, i]:
            return np.int64(i)
    return np.int64(0)


@compiled(f"Tuple((i8[:, ::1], i8))(i8[:, ::1], UniTuple(i8, {X}), i8[:])")
def _with(pending: Ints, head: Sequence[Int], x: Ints) -> tuple[Ints, Int]:
    """With one more at the end, and which of the others is gone for it; -1 for none. x may be empty."""
    width, n = pending.shape
    gone = np.int64(-1)
    if n >= MOST:
        gone, n = oldest_unseen(pending), n - 1
    grown = np.empty((width, n + 1), dtype=np.int64)
    for c in range(width):
        for i in range(n):
            grown[c, i] = pending[c, i + (0 <= gone <= i)]
    for c in range(X):
        grown[c, n] = head[c]
    for c in range(X, width):
        grown[c, n] = x[c - X] if len(x) else np.int64(0)
    return grown, gone


@compiled("i8(i8[:, ::1], i8, i8, i8)")
def _find(pending: Ints, a: Int, b: Int, c: Int) -> Int:
    for i in range(pending.shape[1]):
        if pending[_ID, i] == a and pending[_ID + 1, i] == b and pending[_ID + 2, i] == c:
            return np.int64(i)
    return np.int64(-1)


_UNRESOLVED = int(outcome_pb2.Outcome.KIND_UNSPECIFIED)


@compiled("i8(i8[:, ::1])")
def first_seen_ms(pending: Ints) -> Int:
    """When the first of those was seen that have no outcome yet; 0 for none."""
    soonest = np.int64(0)
    for i in range(pending.shape[1]):
        seen = pending[SEEN, i]
        if seen and pending[OUTCOME, i] == _UNRESOLVED and (soonest == 0 or seen < soonest):
            soonest = seen
    return soonest


@compiled("i8(i8[:, ::1], i8)")
def first_waiting(pending: Ints, seen_ms_max: Int) -> Int:
    """The oldest decision that was seen by then and has no outcome yet; -1 for none."""
    for i in range(pending.shape[1]):
        if 0 < pending[SEEN, i] <= seen_ms_max and pending[OUTCOME, i] == _UNRESOLVED:
            return np.int64(i)
    return np.int64(-1)


@compiled("i8(i8[:, ::1], i8)")
def latest_on(pending: Ints, task_key: Int) -> Int:
    """The newest decision on a task; -1 for none."""
    for i in range(pending.shape[1] - 1, -1, -1):
        if pending[TASK_KEY, i] == task_key and pending[KIND, i] == _TASK:
            return np.int64(i)
    return np.int64(-1)


@compiled("i8(i8[:, ::1], i8)")
def repeated_kind(pending: Ints, running: Int) -> Int:
    """The kind of the last so many tips that were seen, if all are of one kind; 0 where they are not, or are fewer."""
    kind, found = np.int64(0), np.int64(0)
    for i in range(pending.shape[1] - 1, -1, -1):
        if found == running:
            break
        if pending[SEEN, i]:
            if kind and pending[KIND, i] != kind:
                return np.int64(0)
            kind = pending[KIND, i]
            found += 1
    return kind if found == running else np.int64(0)
