"""Sums over what a person taught, in fixed point: adding and taking away is exact, in any order, on any machine.

A contribution is w x xᵀ and w x r, with x and r in units of 1/64 and the weight w of 1/64 too, so sums are in units of
2^-18. Weights grow forward in event time (w doubles with each half-life) instead of old ones being decayed: nothing
needs to be touched as time passes. They stand relative to a landmark, a whole number of half-lives since 1970; moving
it forward halves every entry once per step. It never holds a float.

Source of forward decay: Cormode et al. 2009, "Forward decay: a practical time decay model for streaming systems".
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isqrt, sqrt
from typing import NamedTuple, TypeVar

import numpy as np

from oo.v1 import row_pb2
from streams.units import DAY_MS
from tables import columns
from tables.compiled import Int, compiled
from tables.linear import Floats, Ints

UNIT = 64
SCALE = UNIT**3
"""Sums are in units of 1/SCALE = 2^-18."""

PREDICTED_UNIT = 1024
"""Predicted rewards are in units of 1/1024; a loss, weight x squared difference, in units of 2^-18 like all sums."""
KNOWN_FROM = (2, 6, 15)
"""Effective reactions of a person at which the next bucket of losses begins."""
LOSSES = 2 * (len(KNOWN_FROM) + 1)
"""By how much is known of a person: first of the predictions for everybody, then of those for the person."""

HALF_LIFE_MS = 28 * DAY_MS

_STEPS = 32
"""Weights take one of 32 values within a half-life, less than a day each."""


def _weights() -> tuple[int, ...]:
    # 2^(i/32) from square roots alone, which every processor rounds alike.
    root = 2.0
    for _ in range(5):
        root = sqrt(root)
    values = [1.0]
    for _ in range(_STEPS - 1):
        values.append(values[-1] * root)
    return tuple(round(UNIT * value) for value in values)


_WEIGHTS = _weights()


def weight(time_ms: int, *, half_life_ms: int = HALF_LIFE_MS) -> tuple[int, int]:
    """Landmark of that time, and its weight relative to it in units of 1/64, from 64 up to just under 128.

    >>> weight(0), weight(HALF_LIFE_MS // 2), weight(HALF_LIFE_MS)
    ((0, 64), (0, 91), (1, 64))
    """
    landmark, rest_ms = divmod(time_ms, half_life_ms)
    return landmark, _WEIGHTS[rest_ms * _STEPS // half_life_ms]


@lru_cache(maxsize=8)
def triangle(d: int) -> tuple[Ints, Ints]:
    """Row and column of each stored entry of a d × d Gram matrix: the upper triangle by rows."""
    rows, columns = np.triu_indices(d)
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


class Predicted(NamedTuple):
    """What was expected of a decision when it was made, in units of 1/1024: for everybody, and for this person."""

    shared: int
    own: int
    known: int
    """How much was known of the person: a bucket of KNOWN_FROM."""


@dataclass(slots=True)
class Taught:
    """The sums of one person, unpacked; `add` changes it in place."""

    gram: Ints
    """The upper triangle of Σ w x xᵀ by rows: (d (d + 1) / 2,)."""
    moment: Ints
    """Σ w x r: (d,)."""
    losses: Ints = field(default_factory=lambda: np.zeros(LOSSES, dtype=np.int64))
    n: int = 0
    """Σ w in units of 1/64."""
    landmark: int = 0
    weight: int = 0
    """The greatest weight in it, relative to the landmark, in units of 1/64; 0 for nothing."""
    epoch: int = 0
    """Names the belief about how people differ that their part is integrated out with (tables.marginal)."""


def nothing(d: int) -> Taught:
    """Return the sums of someone who has taught nothing yet."""
    return Taught(gram=np.zeros(d * (d + 1) // 2, dtype=np.int64), moment=np.zeros(d, dtype=np.int64))


def read(row: row_pb2.UserRow, *, d: int, feature_version: int, alike: Container[int] = ()) -> Taught:
    """Unpack a row's sums. Those of other features teach nothing any more, but for versions that are `alike`: they begin with the same
    features, and what one has more was 0 in the others."""
    if not row.taught:
        return _spelled(row.sums, d=d, feature_version=feature_version, alike=alike)
    (kept,) = columns.unpacked(row.taught, width=1)
    version, n, landmark, weight_, epoch = kept[:_HEAD].tolist() if len(kept) >= _HEAD else (0,) * _HEAD
    had = _d_of(len(kept) - _HEAD - LOSSES)
    if version not in alike and (version != feature_version or had != d):
        return nothing(d)
    begin = _HEAD + LOSSES + had
    taught = Taught(
        kept[begin:], kept[begin - had : begin], kept[_HEAD : begin - had], n, landmark, weight_, epoch % (1 << 64)
    )
    return taught if had == d else resized(taught, d)


def write(taught: Taught, row: row_pb2.UserRow, *, feature_version: int) -> None:
    """Pack sums into a row.

    >>> one, row = nothing(2), row_pb2.UserRow()
    >>> add(one, x=[64, 32], reward=64, time_ms=0)
    >>> write(one, row, feature_version=1)
    >>> read(row, d=2, feature_version=1).gram.tolist(), read(row, d=2, feature_version=1).n
    ([262144, 131072, 65536], 64)
    """
    epoch = taught.epoch - (1 << 64) if taught.epoch >= 1 << 63 else taught.epoch
    head = np.array([feature_version, taught.n, taught.landmark, taught.weight, epoch], dtype=np.int64)
    kept = np.concatenate([head, taught.losses, taught.moment, taught.gram])
    row.taught = columns.packed(kept.reshape(1, -1))
    row.ClearField("sums")


def spell_out(row: row_pb2.UserRow) -> None:
    """Put the sums into the row as a message, instead of a block: as operators and tests look at them."""
    if not row.taught:
        if not row.sums.landmark and not row.sums.weight:
            row.ClearField("sums")  # Rows of before have it for whoever has only been silent, too.
        return
    (kept,) = columns.unpacked(row.taught, width=1)
    d = _d_of(len(kept) - _HEAD - LOSSES)
    taught = read(row, d=d, feature_version=int(kept[0]))
    row.sums.CopyFrom(
        row_pb2.Sums(
            feature_version=int(kept[0]),
            landmark=taught.landmark,
            n=taught.n,
            gram=taught.gram.tolist(),
            moment=taught.moment.tolist(),
            weight=taught.weight,
            losses=taught.losses.tolist() if taught.losses.any() else (),
            epoch=taught.epoch,
        )
    )
    row.ClearField("taught")


_HEAD = 5
"""Entries before the losses: feature version, n, landmark, weight, epoch."""


@lru_cache(maxsize=8)
def _d_of(entries: int) -> int:
    """How many features moments and Gram matrix of so many entries have."""
    return (isqrt(9 + 8 * max(entries, 0)) - 3) // 2


def _spelled(message: row_pb2.Sums, *, d: int, feature_version: int, alike: Container[int]) -> Taught:
    """Sums as rows had them before they were packed."""
    if (message.feature_version != feature_version and message.feature_version not in alike) or not message.gram:
        return nothing(d)
    taught = Taught(
        gram=np.array(message.gram, dtype=np.int64),
        moment=np.array(message.moment, dtype=np.int64),
        n=message.n,
        landmark=message.landmark,
        weight=message.weight,
        epoch=message.epoch,
    )
    if message.losses:
        taught.losses[:] = message.losses
    return resized(taught, d)


Entries = TypeVar("Entries", Ints, Floats)


def resized(taught: Taught, d: int) -> Taught:
    """Return what the same decisions taught with d features: more, which were 0, or without the last ones.

    >>> one = nothing(1)
    >>> add(one, x=[64], reward=64, time_ms=0)
    >>> resized(one, 2).gram.tolist(), resized(resized(one, 2), 1).gram.tolist() == one.gram.tolist()
    ([262144, 0, 0], True)
    """
    had = len(taught.moment)
    if had == d:
        return taught
    gram, moment = resized_triangle(taught.gram, had, d), resized_moment(taught.moment, d)
    return Taught(gram, moment, taught.losses, taught.n, taught.landmark, taught.weight, taught.epoch)


@compiled("i8[::1](i8[::1], i8, i8)")
def resized_triangle(entries: Ints, d: Int, to: Int) -> Ints:
    """Return the upper triangle by rows of a (to, to) matrix that begins as this (d, d) one does; what is new is 0."""
    found = np.zeros(to * (to + 1) // 2, dtype=np.int64)
    least, here, there = min(d, to), 0, 0
    for i in range(least):
        found[there : there + least - i] = entries[here : here + least - i]
        here += d - i
        there += to - i
    return found


def resized_moment(entries: Entries, d: int) -> Entries:
    """Return the first d entries; what is new is 0."""
    if len(entries) == d:
        return entries
    found = np.zeros(d, dtype=entries.dtype)
    found[: len(entries)] = entries[:d]
    return found


def add(
    taught: Taught,
    *,
    x: Iterable[int],
    reward: int,
    time_ms: int,
    predicted: Predicted | None = None,
    sign: int = 1,
    half_life_ms: int = HALF_LIFE_MS,
) -> None:
    """Add one contribution (or, with sign -1, take it away).

    x: (d,) in units of 1/64, each within [-64, 64]; reward in units of 1/64; `time_ms` of the decision, not of the
    reaction, so that a correction weighs what it replaces. One entry is at most 2^19 a contribution: an int64 holds 10^13.
    """
    landmark, w = weight(time_ms, half_life_ms=half_life_ms)
    move(taught, landmark=max(taught.landmark, landmark))
    steps = taught.landmark - landmark
    vector = x if isinstance(x, np.ndarray) else np.fromiter(x, dtype=np.int64)
    _accumulate(taught.gram, taught.moment, vector, reward, w, steps, sign)
    taught.n += sign * _halved(w, steps)
    taught.weight = max(taught.weight, w >> min(steps, 62))
    if predicted is not None:
        for way, said in enumerate((predicted.shared, predicted.own)):
            missed = reward * (PREDICTED_UNIT // UNIT) - said
            at = way * (LOSSES // 2) + predicted.known
            taught.losses[at] += sign * _halved(w * missed * missed >> 8, steps)


def move(taught: Taught, *, landmark: int) -> None:
    """Move sums on to a landmark not before their own."""
    steps = landmark - taught.landmark
    assert steps >= 0, "a landmark never moves back"
    if steps:
        taught.gram, taught.moment = halve(taught.gram, steps=steps), halve(taught.moment, steps=steps)
        taught.losses = halve(taught.losses, steps=steps)
        taught.n, taught.weight = _halved(taught.n, steps), taught.weight >> min(steps, 62)
        taught.landmark = landmark


def mask(taught: Taught, places: Sequence[int]) -> None:
    """Make these features 0 in all that was taught, those that are in it: the sums are those of the same decisions without them.

    >>> one, other = nothing(2), nothing(2)
    >>> add(one, x=[64, 32], reward=64, time_ms=0); add(other, x=[64, 0], reward=64, time_ms=0)
    >>> mask(one, [1])
    >>> one.gram.tolist() == other.gram.tolist(), one.moment.tolist() == other.moment.tolist()
    (True, True)
    """
    rows, columns_ = triangle(len(taught.moment))
    # What was read of a row is a view of its bytes' numbers, which others may share.
    taught.gram, taught.moment = taught.gram.copy(), taught.moment.copy()
    taught.gram[np.isin(rows, places) | np.isin(columns_, places)] = 0
    taught.moment[[place for place in places if place < len(taught.moment)]] = 0


def unit_at(taught: Taught, *, now_ms: int, half_life_ms: int = HALF_LIFE_MS) -> int:
    """Return the weight that a reaction of now would have in these sums, in units of 1/64.

    >>> one = nothing(1)
    >>> add(one, x=[64], reward=64, time_ms=0)
    >>> unit_at(one, now_ms=0), unit_at(one, now_ms=HALF_LIFE_MS)
    (64, 128)
    """
    landmark, w = weight(now_ms, half_life_ms=half_life_ms)
    return w << min(max(landmark - taught.landmark, 0), 62)


def scale_at(taught: Taught, *, now_ms: int, half_life_ms: int = HALF_LIFE_MS) -> float:
    """Return what an entry of these sums has to be multiplied by to be what it has decayed to by now.

    >>> one = nothing(1)
    >>> add(one, x=[64], reward=64, time_ms=0)
    >>> int(one.gram[0]) * scale_at(one, now_ms=0), int(one.gram[0]) * scale_at(one, now_ms=HALF_LIFE_MS)
    (1.0, 0.5)
    """
    return UNIT / (SCALE * unit_at(taught, now_ms=now_ms, half_life_ms=half_life_ms))


def halve(values: Ints, *, steps: int) -> Ints:
    """Each value over 2^steps, rounded to the nearest; a shift, so it is the same everywhere.

    >>> halve(np.array([5, -5, 1024]), steps=1).tolist()
    [3, -2, 512]
    """
    if steps == 0:
        return values.copy()
    if steps > 62:
        return np.zeros_like(values)
    rounded: Ints = (values + (1 << (steps - 1))) >> steps
    return rounded


def _halved(value: int, steps: int) -> int:
    if steps == 0:
        return value
    return 0 if steps > 62 else (value + (1 << (steps - 1))) >> steps


@compiled("void(i8[::1], i8[::1], i8[::1], i8, i8, i8, i8)")
def _accumulate(gram: Ints, moment: Ints, x: Ints, reward: int, w: int, steps: int, sign: int) -> None:
    if steps > 62:
        return
    half = 1 << (steps - 1) if steps else 0
    at, d = 0, x.shape[0]
    for i in range(d):
        f, rest, row = w * x[i], x[i:], gram[at : at + d - i]
        at += d - i
        if f == 0:
            continue
        if steps == 0:
            # Whole numbers of 32 bits, of which a processor multiplies several at once.
            f *= sign
            for j in range(d - i):
                row[j] += np.int64(np.int32(f) * np.int32(rest[j]))
            moment[i] += f * reward
        else:
            for j in range(d - i):
                row[j] += sign * ((f * rest[j] + half) >> steps)
            moment[i] += sign * ((f * reward + half) >> steps)
