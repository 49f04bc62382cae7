"""The slate of a decision: written in columns, read as the candidates that it is made of.

Decisions of before step version 5 spell their slate out; `spelled_out` gives the same of either. It never chooses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from oo.v1 import decision_pb2
from tables import backlog, columns
from tables.backlog import Backlog
from tables.compiled import BYTES_FORM, Int, compiled
from tables.lanes import returned
from tables.linear import Floats, Ints

REASONS = (
    *("consent", "quiet-hours", "cap-hour", "cap-day", "cap-kind", "expired", "done", "snoozed", "cooling-down"),
    *("conflict", "has-tasks", "duplicate", "repeated-kind", "source", "about"),
)
"""Why a candidate is out: each one's place is its bit, in the order in which they are named. New ones go to the end."""

_ALL = (1 << len(REASONS)) - 1

GRID = float(1 << 20)
"""Scores are whole multiples of 2^-20."""

NO_SLATE = "not a slate: its columns are not those of its candidates"

HEAD, KIND, OUT, NUMERATOR, WON, SCORE, X = range(7)
"""Of a candidate's column: which of the heads its id begins with, its kind, why it is out (bits of REASONS; 0 for eligible), its
propensity as a whole number over the denominator, how many draws it won, its score, and from X on its features."""


def pack(
    into: decision_pb2.PackedSlate,
    block: Ints,
    eligible: Ints,
    *,
    shares: Ints,
    scored: Floats,
    denominator: int,
    others: Iterable[str],
    items: Backlog,
    tasks: Ints,
) -> None:
    """Write a slate of K candidates, (X + d, K), with what a policy said of the eligible ones, which stands in the block then.

    shares, scored, denominator: as agents.bandit.choice.Choice has them; others: the ids of candidates that are no tasks; tasks: which of the items
    are the rest. HEAD of these is one more than their SOURCE.
    """
    into.heads.extend(["", *map(backlog.head, items.sources)])
    into.ids.extend(others)
    texts = items.task_texts
    into.MergeFromString(
        _rest(block, eligible, shares, scored, denominator, items.tasks, tasks, texts.encode(), texts.isascii())
    )


_IDS, _COLUMNS, _DENOMINATOR = (
    field.number << 3 | (0 if field.name == "denominator" else 2)
    for field in map(decision_pb2.PackedSlate.DESCRIPTOR.fields_by_name.__getitem__, ("ids", "columns", "denominator"))
)
"""What stands before each in a message's bytes."""


@compiled(f"(i8[:, ::1], i8[::1], i8[:, ::1], f8[:, ::1], i8, i8[:, ::1], i8[::1], {BYTES_FORM}, b1)")
def _rest(
    block: Ints,
    eligible: Ints,
    shares: Ints,
    scored: Floats,
    denominator: Int,
    tasks: Ints,
    picked: Ints,
    said: bytes,
    plain: Int,
) -> bytes:
    """Write what of a packed slate's bytes comes from columns: the ids of tasks, what is told of all candidates, and the denominator."""
    for i in range(len(eligible)):
        at = eligible[i]
        block[WON, at], block[NUMERATOR, at] = shares[0, i], shares[1, i]
        if scored.shape[1]:
            block[SCORE, at] = np.int64(np.rint(scored[0, i] * GRID))
    told, places = columns.written(block), backlog.id_places(tasks, picked, said, plain)
    most = 3 * (1 + columns.VARINT_MAX) + len(told)
    for k in range(len(picked)):
        most += 1 + columns.VARINT_MAX + places[1, k] - places[0, k]
    into, to = np.empty(most, dtype=np.uint8), np.uint64(0)
    for k in range(len(picked)):
        into[to] = _IDS
        to = columns.varint(np.uint64(places[1, k] - places[0, k]), into, to + np.uint64(1))
        for at in range(places[0, k], places[1, k]):
            into[to] = said[at]
            to += np.uint64(1)
    into[to] = _COLUMNS
    to = columns.varint(np.uint64(len(told)), into, to + np.uint64(1))
    for at in range(len(told)):
        into[to] = told[at]
        to += np.uint64(1)
    into[to] = _DENOMINATOR
    return returned(into[: columns.varint(np.uint64(denominator), into, to + np.uint64(1))])


class Writer(NamedTuple):
    """Who wrote a candidate: prompt and model, drawn with the probability chance over chances."""

    prompt_version: str
    model: str
    chance: int
    chances: int


def note_writers(into: decision_pb2.PackedSlate, writers: Iterable[tuple[int, Writer]]) -> None:
    """Add to a packed slate who wrote some of its candidates, by their places."""
    by: dict[Writer, list[int]] = {}
    for place, one in writers:
        by.setdefault(one, []).append(place)
    into.writers.extend(decision_pb2.Writer(**one._asdict(), places=places) for one, places in by.items())


def spelled_out(decision: decision_pb2.Decision) -> Sequence[decision_pb2.Candidate]:
    """Every candidate of a decision. Raises ValueError for a slate that nobody of ours packed."""
    if not decision.HasField("packed"):
        return decision.slate
    slate = decision.packed
    block = _block(slate)
    found, x = [], block[X:].T.tolist()
    for at, (head, kind, reasons, numerator, won, score) in enumerate(zip(*block[:X].tolist(), strict=True)):
        found.append(
            decision_pb2.Candidate(
                id=slate.heads[head] + slate.ids[at],
                kind=kind,
                ineligible=names(reasons),
                x=x[at],
                propensity=numerator / slate.denominator if slate.denominator else 0.0,
                draws_won=won,
                score=score / GRID,
            )
        )
    for writer in slate.writers:
        for at in writer.places:
            if at >= len(found):
                raise ValueError("not a slate: somebody wrote a candidate that is not there")
            one = found[at]
            one.prompt_version, one.model = writer.prompt_version, writer.model
            one.prompt_chance, one.prompt_chances = writer.chance, writer.chances
    return found


class Told(NamedTuple):
    """What is told of each candidate of a slate beside its id and features."""

    kinds: list[int]
    eligible: list[bool]
    propensities: list[float]
    scores: list[float]
    written_by: list[tuple[str, str]]
    """Prompt version and model, empty for what no language model wrote."""


def told(decision: decision_pb2.Decision) -> Told:
    """The same as `spelled_out` has it, without spelling it out. Raises ValueError for a slate that nobody of ours packed."""
    if not decision.HasField("packed"):
        return Told(
            kinds=[one.kind for one in decision.slate],
            eligible=[not one.ineligible for one in decision.slate],
            propensities=[one.propensity for one in decision.slate],
            scores=[one.score for one in decision.slate],
            written_by=[(one.prompt_version, one.model) for one in decision.slate],
        )
    slate = decision.packed
    block = _block(slate)
    kinds, reasons, numerators, won, scores = block[KIND:X].tolist()
    signed = [*kinds, int(block[X:].min(initial=0)), int(block[X:].max(initial=0))]
    if not all(-(1 << 31) <= one < 1 << 31 for one in signed) or not all(0 <= one < 1 << 32 for one in won):
        raise ValueError("not a slate: a number that no candidate can have")
    whole, written_by = slate.denominator, [("", "")] * len(kinds)
    for writer in slate.writers:
        for at in writer.places:
            if at >= len(kinds):
                raise ValueError("not a slate: somebody wrote a candidate that is not there")
            written_by[at] = writer.prompt_version, writer.model
    return Told(
        kinds=kinds,
        eligible=[not one & _ALL for one in reasons],
        propensities=[one / whole for one in numerators] if whole else [0.0] * len(kinds),
        scores=[one / GRID for one in scores],
        written_by=written_by,
    )


@compiled("b1(i8[:, ::1], i8, i8)")
def _is_slate(block: Ints, heads: Int, ids: Int) -> bool:
    """Whether these are columns of so many candidates whose ids begin with one of so many heads."""
    if block.shape[0] < X or block.shape[1] != ids:
        return False
    strange = np.int64(0)
    for head in block[HEAD]:
        strange += not 0 <= head < heads
    return bool(strange == 0)


@compiled(f"UniTuple(i8[:, ::1], 2)({BYTES_FORM}, i8, i8)")
def _eligible(raw: bytes, heads: Int, ids: Int) -> tuple[Ints, Ints]:
    """Of those that are not out, in rows where each stands, its kind, numerator and score; and their features, a row for each. No rows,
    where it is no slate.
    """
    block = columns.read(raw, 0)
    if not _is_slate(block, heads, ids):
        return np.empty((0, 0), dtype=np.int64), np.empty((0, 0), dtype=np.int64)
    width, n = block.shape
    k = 0
    for at in range(n):
        k += block[OUT, at] == 0
    found, x = np.empty((4, k), dtype=np.int64), np.empty((k, width - X), dtype=np.int64)
    i = 0
    for at in range(n):
        if block[OUT, at] == 0:
            found[0, i], found[1, i] = at, block[KIND, at]
            found[2, i], found[3, i] = block[NUMERATOR, at], block[SCORE, at]
            for f in range(width - X):
                x[i, f] = block[X + f, at]
            i += 1
    return found, x


def masked(decision: decision_pb2.Decision) -> dict[str, int]:
    """How many candidates each reason kept out. Raises ValueError for a slate that nobody of ours packed."""
    out: Counter[int] = Counter(_block(decision.packed)[OUT].tolist()) if decision.HasField("packed") else Counter()
    found = Counter(name for one in decision.slate for name in one.ineligible)
    for reasons, many in out.items():
        for name in names(reasons):
            found[name] += many
    return dict(found)


class Eligible(NamedTuple):
    """What could be drawn from a decision's slate; all are of K."""

    places: list[int]
    """In the whole slate."""
    kinds: list[int]
    x: Ints
    """Features, in units of 1/64: (K, d)."""
    propensities: list[float]
    scores: list[float]


def eligible(decision: decision_pb2.Decision) -> Eligible:
    """Read those of a slate that could be drawn, without spelling it out. Raises ValueError for one that nobody of ours packed."""
    if not decision.HasField("packed"):
        those = [(at, one) for at, one in enumerate(decision.slate) if not one.ineligible]
        return Eligible(
            places=[at for at, _ in those],
            kinds=[one.kind for _, one in those],
            x=np.array([one.x for _, one in those], dtype=np.int64),
            propensities=[one.propensity for _, one in those],
            scores=[one.score for _, one in those],
        )
    slate = decision.packed
    found, x = _eligible(slate.columns, len(slate.heads), len(slate.ids))
    if not len(found):
        raise ValueError(NO_SLATE)
    places, kinds, numerators, scores = found.tolist()
    if kinds and not 0 <= min(kinds) <= max(kinds) < 1 << 31:
        raise ValueError("not a slate: a kind that there cannot be")
    whole = slate.denominator
    return Eligible(
        places=places,
        kinds=kinds,
        x=x,
        propensities=[one / whole if whole else 0.0 for one in numerators],
        scores=[one / GRID for one in scores],
    )


def length(decision: decision_pb2.Decision) -> int:
    """How many candidates a decision has."""
    return len(decision.packed.ids) if decision.HasField("packed") else len(decision.slate)


def _block(slate: decision_pb2.PackedSlate) -> Ints:
    block = columns.unpacked(slate.columns)
    if not _is_slate(block, len(slate.heads), len(slate.ids)):
        raise ValueError(NO_SLATE)
    return block


@compiled("i8[:, ::1](i8[:, ::1], i8, i8)")
def widened(x: Ints, d: Int, most: Int) -> Ints:
    """Features with noughts up to so many, (K, d); no rows, where one is beyond -most to most."""
    wider = np.zeros((x.shape[0], d), dtype=np.int64)
    for a in range(x.shape[0]):
        for f in range(x.shape[1]):
            if not -most <= x[a, f] <= most:
                return wider[:0]
            wider[a, f] = x[a, f]
    return wider


def names(reasons: int) -> list[str]:
    """The reasons that these bits stand for.

    >>> names(0b1000000001)
    ['consent', 'conflict']
    """
    return [name for bit, name in enumerate(REASONS) if reasons >> bit & 1]
